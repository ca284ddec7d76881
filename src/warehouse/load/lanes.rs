//! Ids that go into a table several row groups at a time, over as many connections, and still stand there in their order.
//!
//! One statement over several threads would do it too, but whoever waits for it spins, on a processor that the others need.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use duckdb::Connection;

use super::blocks::SPLIT;

/// More threads than this would take more memory than there is for them.
pub(super) const MOST: usize = 4;

/// Threads that put blocks into a table, each a row group at a time, in transactions that end in the blocks' order.
pub(super) struct Lanes {
    connection: Connection,
    /// Of each thread, where it gets its blocks from; the first one is the next to get one.
    blocks: VecDeque<SyncSender<Block>>,
    threads: Vec<JoinHandle<duckdb::Result<()>>>,
    /// Comes when the last block is in the table.
    last: Receiver<()>,
}

struct Block {
    /// Ids, one a line.
    text: String,
    /// Comes when the block before is in the table, and never where that has failed.
    before: Receiver<()>,
    after: SyncSender<()>,
}

impl Lanes {
    /// Begins with as many threads as DuckDB has; `table` and its `column` are SQL.
    pub(super) fn open(connection: &Connection, table: &str, column: &str, threads: usize) -> duckdb::Result<Self> {
        let threads = threads.clamp(1, MOST);
        // DuckDB compresses a row group within the statement, and not when it commits, if several threads might insert; but
        // none of its own shall.
        let connection = connection.try_clone()?;
        connection.execute_batch(&format!("SET external_threads = {threads}"))?;
        let (first, last) = sync_channel(1);
        // Nothing is before the first block.
        let _ = first.send(());
        let mut lanes = Self { connection, blocks: VecDeque::new(), threads: Vec::new(), last };
        for _ in 0..threads {
            let (sender, blocks) = sync_channel::<Block>(0);
            let connection = lanes.connection.try_clone()?;
            let insert = format!("INSERT INTO {table} ({column}) SELECT {SPLIT}");
            let lane = move || blocks.into_iter().try_for_each(|block| block.put(&connection, &insert));
            match thread::Builder::new().spawn(lane) {
                Ok(thread) => lanes.threads.push(thread),
                // Fewer will do.
                Err(_) if !lanes.threads.is_empty() => break,
                Err(cause) => return Err(duckdb::Error::ToSqlConversionFailure(Box::new(cause))),
            }
            lanes.blocks.push_back(sender);
        }
        Ok(lanes)
    }

    /// Puts these ids behind those before, as soon as the next thread is free. An error may be that of an earlier block.
    pub(super) fn put(&mut self, text: String) -> duckdb::Result<()> {
        let (after, last) = sync_channel(1);
        let block = Block { text, before: std::mem::replace(&mut self.last, last), after };
        self.blocks.rotate_left(1);
        match self.blocks.back() {
            Some(thread) if thread.send(block).is_ok() => Ok(()),
            // It has an error to report, or one before it.
            _ => self.end(),
        }
    }

    /// Waits until all are in the table.
    pub(super) fn end(&mut self) -> duckdb::Result<()> {
        self.blocks.clear();
        let join = |thread: JoinHandle<_>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // All of them are waited for, whatever one says.
        let ended: Vec<_> = self.threads.drain(..).map(join).collect();
        let set = self.connection.execute_batch("SET external_threads = 1");
        ended.into_iter().collect::<duckdb::Result<()>>().and(set)
    }
}

impl Block {
    fn put(self, connection: &Connection, insert: &str) -> duckdb::Result<()> {
        connection.execute_batch("SET SESSION preserve_insertion_order = false; BEGIN")?;
        connection.prepare(insert)?.execute([self.text])?;
        if self.before.recv().is_err() {
            return connection.execute_batch("ROLLBACK");
        }
        connection.execute_batch("COMMIT")?;
        // Nobody may wait for the last one.
        let _ = self.after.send(());
        Ok(())
    }
}
