//! The record of a batch: what succeeded is done, what failed stands in the failures' table, the run's row is current, in one
//! transaction.

use crate::ending::Ending;
use crate::error::Result;
use crate::tally::Tally;

use super::{RunsTable, Shape, Staged, Window};

/// What DuckDB 2.0 remembers of an update until it is committed: for each so many rows of which it touches one, so
/// many bytes, for a BOOLEAN and a TIMESTAMP (its `UpdateInfo` has room for a whole vector).
const UNDO: (u64, u64) = (2048, 35_000);

impl Window<'_> {
    /// Makes toller's own tables where they are missing, or lack a column that an older toller did not know.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn make_own_tables(&self, runs: &RunsTable, shape: &Shape) -> Result<()> {
        let ddl = self.runs_ddl(runs)? + &self.failures_ddl(shape)? + &self.files_ddl(shape)?;
        if ddl.is_empty() {
            return Ok(());
        }
        self.transaction("make tables", || self.connection.execute_batch(&ddl))?;
        // Checkpointed by itself, so that no kill can leave it to be replayed together with rows.
        self.connection.execute_batch("CHECKPOINT").map_err(|cause| self.error("make tables", &cause))
    }

    /// Records a batch that is staged: what succeeded is done, what failed stands in the failures' table, the run's row
    /// is current. `span` is the first and the last row of what succeeded, where each of it is in one row: to go
    /// through these alone costs as much as the batch, and not as much as the table.
    ///
    /// One transaction, or where many rows are gone through several, the run's row in the last of them.
    ///
    /// # Errors
    /// The warehouse cannot be written; then the batch does not count as recorded, though some of it may be.
    pub fn record(
        &self,
        staged: &Staged,
        span: Option<(i64, i64)>,
        shape: &Shape,
        (runs, run_id): (&RunsTable, &str),
        tally: &Tally,
        end: Option<&Ending>,
    ) -> Result<()> {
        let span = span.filter(|_| shape.numbered);
        let parts = self.parts(shape, staged.count(), span)?;
        let files = self.has_own_files(shape)?;
        let mut before = 0;
        for (at, part) in parts.iter().enumerate() {
            before += self.transaction("record", || {
                if at == 0 {
                    self.settle_failures(shape, run_id, staged.bad > 0)?;
                    if files {
                        self.settle_files(shape, Some(run_id), staged.again > 0)?;
                    }
                }
                // A batch of nothing but failures is no reason to go through the table.
                let changed = if staged.good + staged.again > 0 { self.set_done(shape, true, part)? } else { 0 };
                if at + 1 == parts.len() {
                    if span.is_some() && before + changed < staged.good {
                        // Rows have moved since they were read, or somebody else has made them done.
                        self.set_done(shape, true, "")?;
                    }
                    self.update_run(runs, run_id, tally, end)?;
                }
                Ok(changed)
            })?;
        }
        Ok(())
    }

    /// The table, or the span of it, in parts, as conditions on its rows, of which each can be updated within DuckDB's
    /// memory: what it cannot keep there it writes to disk and reads again, which takes longer than several passes.
    pub(super) fn parts(&self, shape: &Shape, batch: usize, span: Option<(i64, i64)>) -> Result<Vec<String>> {
        let room = self.memory.get() / 2;
        let small = batch as u64 * UNDO.1 < room;
        let (first, rows) = match span {
            Some((first, last)) => (first.unsigned_abs(), last.abs_diff(first) + 1),
            None if small || !shape.numbered => return Ok(vec![String::new()]),
            None => (0, self.count_rows()?),
        };
        let parts = if small { 1 } else { (rows / UNDO.0 * UNDO.1 / room + 1).min(batch as u64) };
        let part = |at: u64| {
            let (from, to) = (first + rows * at / parts, first + rows * (at + 1) / parts);
            // Without a span the last one is open: rows that were deleted have made the numbers of the others larger.
            let last = at + 1 == parts && span.is_none();
            if last { format!(" AND {} >= {from}", shape.row) } else { shape.between(from, to) }
        };
        Ok((0..parts).map(part).collect())
    }
}
