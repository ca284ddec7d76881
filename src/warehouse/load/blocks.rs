//! Lists of nothing but ids: read ahead on a thread of their own, and put into DuckDB by the block.
//!
//! A block is one text of many lines, which DuckDB takes apart itself: to hand over every id by itself costs more
//! than to read it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::error::{Error, Result};

use super::seen::{Seen, hash};

/// So many rows DuckDB compresses together.
pub(super) const ROW_GROUP: usize = 122_880;
/// Takes a text of ids apart, in SQL.
pub(super) const SPLIT: &str = "unnest(string_split(?, chr(10)))";
/// A block of longer lines holds fewer of them.
const BYTES: usize = 16 << 20;

/// The entries of a list, one after the other, in which nothing but the id is of use.
pub(super) trait Entries: Send + 'static {
    /// The next one.
    fn next_entry(&mut self) -> Result<Entry<'_>>;
    /// Whether all that were given are ids, whatever comes.
    fn is_settled(&self) -> bool;
}

/// What comes next in a list.
pub(super) enum Entry<'e> {
    /// An id.
    Id(&'e str),
    /// An entry without one.
    Empty,
    /// Nothing any more.
    End,
}

/// Ids, one a line; none has the end of a line in it.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) text: String,
    pub(super) count: u64,
}

/// Some of the entries.
#[derive(Default)]
pub(super) struct Block {
    /// Ids that have not come before, as far as that is known.
    pub(super) fresh: Ids,
    /// Ids that have come before, but for the rare one that only has the hash of one that has.
    pub(super) again: Ids,
    /// Entries without an id.
    pub(super) empty: u64,
    /// All of them are ids, whatever comes.
    pub(super) settled: bool,
}

/// Gives `take` all that there is to read, in blocks of up to so many ids, while the next one is read; tells whether every id
/// was known again that came again.
pub(super) fn stream<E: Entries>(
    mut entries: E,
    fault: impl Fn(duckdb::Error) -> Error,
    most: usize,
    mut seen: Seen,
    take: impl FnMut(Block) -> duckdb::Result<()>,
) -> Result<(E, bool)> {
    let (sender, blocks) = sync_channel(1);
    // Not waited for where taking fails: it may be waiting for somebody who writes into a pipe.
    let reader = move || {
        read(&mut entries, most, &mut seen, &sender)?;
        Ok((entries, seen.is_whole()))
    };
    let reader = thread::Builder::new().spawn(reader).map_err(|cause| Error::new("start", "thread", cause))?;
    blocks.into_iter().try_for_each(take).map_err(fault)?;
    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn read(entries: &mut impl Entries, most: usize, seen: &mut Seen, blocks: &SyncSender<Block>) -> Result<()> {
    let mut hashes = Vec::with_capacity(most);
    loop {
        let mut block = Block::default();
        let mut ended = false;
        hashes.clear();
        for _ in 0..most {
            match entries.next_entry()? {
                Entry::Id(id) => {
                    hashes.push(hash(id));
                    block.fresh.push(id);
                }
                Entry::Empty => block.empty += 1,
                Entry::End => ended = true,
            }
            if ended || block.fresh.text.len() >= BYTES {
                break;
            }
        }
        block.settled = entries.is_settled();
        block.part(&seen.add(&hashes));
        // Whoever takes no more of them has an error to report.
        if blocks.send(block).is_err() || ended {
            return Ok(());
        }
    }
}

impl Block {
    /// Moves the ids in these places, which are in order, to those that have come before.
    fn part(&mut self, again: &[usize]) {
        if again.is_empty() {
            return;
        }
        let mut again = again.iter().copied().peekable();
        let text = std::mem::take(&mut self.fresh).text;
        for (place, id) in text.split('\n').enumerate() {
            let ids = if again.next_if_eq(&place).is_some() { &mut self.again } else { &mut self.fresh };
            ids.push(id);
        }
    }
}

impl Ids {
    fn push(&mut self, id: &str) {
        if self.count > 0 {
            self.text.push('\n');
        }
        self.text.push_str(id);
        self.count += 1;
    }
}
