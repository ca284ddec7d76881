//! Lists of nothing but ids: read ahead on a thread of their own, and put into DuckDB by the block.
//!
//! A block is one text of many lines, which DuckDB takes apart itself: to hand over every id by itself costs more
//! than to read it. One statement gives each of DuckDB's threads a row group, which it compresses.

use std::hash::{DefaultHasher, Hasher};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::error::Result;

/// So many rows DuckDB compresses together.
const ROW_GROUP: usize = 122_880;
/// More threads than this would take more memory than there is for them.
const MOST_THREADS: usize = 4;
/// A block of longer lines holds fewer of them.
const BYTES: usize = 16 << 20;

/// More hashes would take more memory than there is for them; then DuckDB is asked.
const MOST_HASHES: usize = 16 << 20;

/// The entries of a list, one after the other, in which nothing but the id is of use.
pub(super) trait Entries: Send + 'static {
    /// The next one, which may be empty; `None` behind the last.
    fn next_entry(&mut self) -> Result<Option<Option<&str>>>;
    /// Whether all that were given are ids, whatever comes.
    fn is_settled(&self) -> bool;
}

/// Some of them.
pub(super) struct Block {
    /// Ids, each but the last with a line feed behind it; none has one in it.
    pub(super) text: String,
    /// How many.
    pub(super) ids: u64,
    /// Entries without one.
    pub(super) empty: u64,
    /// All of them are ids, whatever comes.
    pub(super) settled: bool,
}

/// Gives `take` all that there is to read, while the next block is read; tells whether no id came twice, if it is known.
pub(super) fn stream<E: Entries>(
    mut entries: E,
    threads: usize,
    mut take: impl FnMut(&Block) -> Result<()>,
) -> Result<(E, Option<bool>)> {
    let most = ROW_GROUP * threads.min(MOST_THREADS);
    let (sender, blocks) = sync_channel(1);
    // Not waited for where taking fails: it may be waiting for somebody who writes into a pipe.
    let reader = thread::spawn(move || read(&mut entries, most, &sender).map(|distinct| (entries, distinct)));
    blocks.into_iter().try_for_each(|block| take(&block))?;
    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn read(entries: &mut impl Entries, most: usize, blocks: &SyncSender<Block>) -> Result<Option<bool>> {
    let mut seen = Some(Vec::new());
    loop {
        let mut block = Block { text: String::new(), ids: 0, empty: 0, settled: true };
        let mut ended = false;
        for _ in 0..most {
            match entries.next_entry()? {
                Some(Some(id)) => {
                    block.push(id);
                    seen.as_mut().into_iter().for_each(|seen| seen.push(hash(id)));
                }
                Some(None) => block.empty += 1,
                None => ended = true,
            }
            if ended || block.text.len() >= BYTES {
                break;
            }
        }
        block.settled = entries.is_settled();
        seen = seen.filter(|seen| seen.len() <= MOST_HASHES);
        // Whoever takes no more of them has an error to report.
        if blocks.send(block).is_err() || ended {
            return Ok(seen.map(are_distinct));
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    hasher.finish()
}

/// Ids of which two have the same hash are taken for repeated, and compared by whoever asks.
fn are_distinct(mut hashes: Vec<u64>) -> bool {
    hashes.sort_unstable();
    hashes.windows(2).all(|two| two[0] != two[1])
}

impl Block {
    fn push(&mut self, id: &str) {
        if self.ids > 0 {
            self.text.push('\n');
        }
        self.text.push_str(id);
        self.ids += 1;
    }
}
