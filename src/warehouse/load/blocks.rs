//! Lists of nothing but ids: read ahead on a thread of their own, and put into DuckDB by the block.
//!
//! A block is one text of many lines, which DuckDB takes apart itself: to hand over every id by itself costs more
//! than to read it. One statement gives each of DuckDB's threads a row group, which it compresses.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use duckdb::Connection;

use crate::error::{Error, Result};

use super::super::tables::quote;
use super::seen::{Seen, hash};

/// So many rows DuckDB compresses together.
const ROW_GROUP: usize = 122_880;
/// More threads than this would take more memory than there is for them.
const MOST_THREADS: usize = 4;
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
    /// The table that they were put into instead, in SQL; its column is called `id`.
    pub(super) cut: Option<String>,
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

/// Takes blocks apart beside the file, over a connection of its own, while the one before is put into it. What it has made
/// is there for statements that begin later, but not within a transaction.
pub(super) struct Cutter {
    connection: Connection,
    /// Two tables in memory, which take turns: who takes a block is done with the one before.
    tables: [String; 2],
}

impl Cutter {
    /// Beside the file of this connection, in its database of this name in memory.
    pub(super) fn new(connection: &Connection, home: &str) -> duckdb::Result<Self> {
        let tables = ["even", "odd"].map(|turn| format!("{}.main.{turn}", quote(home)));
        Ok(Self { connection: connection.try_clone()?, tables })
    }

    fn cut(&mut self, ids: &mut Ids) -> duckdb::Result<()> {
        self.tables.swap(0, 1);
        let sql = format!("CREATE OR REPLACE TABLE {} AS SELECT {SPLIT} AS id", self.tables[0]);
        self.connection.prepare(&sql)?.execute([std::mem::take(&mut ids.text)])?;
        ids.cut = Some(self.tables[0].clone());
        Ok(())
    }
}

/// Gives `take` all that there is to read, while the next block is read, and where there is a cutter the one between is
/// cut; tells whether every id was known again that came again.
pub(super) fn stream<E: Entries>(
    mut entries: E,
    fault: impl Fn(duckdb::Error) -> Error,
    threads: usize,
    mut seen: Seen,
    cutter: Option<Cutter>,
    mut take: impl FnMut(&Block) -> duckdb::Result<()>,
) -> Result<(E, bool)> {
    let most = ROW_GROUP * threads.min(MOST_THREADS);
    let (sender, blocks) = sync_channel(1);
    // Not waited for where taking fails: it may be waiting for somebody who writes into a pipe.
    let reader = thread::spawn(move || {
        read(&mut entries, most, &mut seen, &sender)?;
        Ok((entries, seen.is_whole()))
    });
    if let Some(cutter) = cutter {
        let (cut, ahead) = cut_ahead(cutter, blocks);
        cut.into_iter().try_for_each(|block| take(&block?)).map_err(fault)?;
        // Where it panicked not all has come.
        ahead.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    } else {
        blocks.into_iter().try_for_each(|block| take(&block)).map_err(fault)?;
    }
    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Nobody cuts further ahead than by one block.
fn cut_ahead(mut cutter: Cutter, blocks: Receiver<Block>) -> (Receiver<duckdb::Result<Block>>, JoinHandle<()>) {
    let (sender, cut) = sync_channel(0);
    let ahead = thread::spawn(move || {
        for mut block in blocks {
            let done = if block.fresh.count > 0 { cutter.cut(&mut block.fresh) } else { Ok(()) };
            // Whoever takes no more of them has an error to report.
            if sender.send(done.map(|()| block)).is_err() {
                return;
            }
        }
    });
    (cut, ahead)
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
