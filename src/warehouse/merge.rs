//! Merging: a staged batch of what `pipe` printed, less what is known better already.
//!
//! The user's table is gone through once to look and once to write, however large it is; everything else is asked of
//! the batch.

use crate::error::Result;
use crate::tally::Tally;

use super::{RunsTable, Shape, Staged, Window};

/// What a merge did with a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// GUIDs that the table does not know.
    pub unknown: u64,
    /// Failures that were older than what is known.
    pub ignored: u64,
    /// GUIDs that are done and were not before.
    pub done: u64,
    /// GUIDs that stand failed.
    pub failed: u64,
}

impl Window<'_> {
    /// Records what a `pipe` printed and is staged: like [`Window::record`], but leaves alone what is known better.
    ///
    /// # Errors
    /// The warehouse cannot be written; then nothing of the batch is recorded.
    pub fn merge(
        &self,
        _: &Staged,
        runs: &RunsTable,
        shape: &Shape,
        run_id: &str,
        tally: &mut Tally,
    ) -> Result<Merged> {
        let Shape { rows, id, done, id_type: kind, .. } = shape;
        let failure = self.quoted(&self.tables.failure);
        let known = format!(
            "CREATE OR REPLACE TEMP TABLE known AS SELECT {id} AS id, bool_or(NOT {done}) AS pending \
             FROM {rows} WHERE {id} IN (SELECT TRY_CAST(id AS {kind}) FROM temp.main.outcome) GROUP BY 1"
        );
        // Another spelling of an id is another GUID, with another file: `007` is not 7.
        let unknown = format!(
            "DELETE FROM temp.main.outcome WHERE TRY_CAST(id AS {kind})::VARCHAR IS DISTINCT FROM id \
             OR TRY_CAST(id AS {kind}) NOT IN (SELECT id FROM temp.main.known)"
        );
        let ignored = format!(
            "DELETE FROM temp.main.outcome WHERE how IS NULL AND (id::{kind} NOT IN (SELECT id FROM temp.main.known WHERE pending) \
             OR EXISTS (SELECT 1 FROM {failure} AS f \
             WHERE f.source_image_id = id::{kind} AND f.failed_at >= make_timestamp(finished_at)))"
        );
        let counts = format!(
            "SELECT count(*) FILTER (how IS NULL), count(*) FILTER (how IS NULL AND NOT permanent), \
             count(*) FILTER (how IS NOT NULL AND pending) \
             FROM temp.main.outcome AS o JOIN temp.main.known AS k ON k.id = o.id::{kind}"
        );
        // What is known of a file already stands, unless the outcome is the newer one.
        let files = self.has_own_files(shape)?;
        let stands = format!(
            "UPDATE temp.main.outcome SET how = 'known', proof = NULL WHERE how IS NOT NULL AND EXISTS (SELECT 1 FROM {file} AS f \
             WHERE f.source_image_id = id::{kind} AND f.checked_at >= make_timestamp(finished_at))",
            file = self.quoted(&self.tables.file),
        );
        let (merged, counted) = self.transaction("merge", || {
            self.connection.execute_batch(&known)?;
            let unknown = self.connection.execute(&unknown, [])? as u64;
            let ignored = self.connection.execute(&ignored, [])? as u64;
            let (failed, transient, done) = self.connection.query_row(&counts, [], |row| {
                let count = |at| row.get(at).map(|count: i64| u64::try_from(count).unwrap_or(0));
                Ok((count(0)?, count(1)?, count(2)?))
            })?;
            if files {
                self.connection.execute_batch(&stands)?;
                self.settle_files(shape, Some(run_id), false)?;
            }
            self.settle_failures(shape, run_id, failed > 0)?;
            self.set_done(shape, true, "")?;
            // Counted on the side, because a transaction may have to be tried again.
            let mut counted = tally.clone();
            counted.failed += failed;
            counted.transient += transient;
            counted.fetched += done;
            self.update_run(runs, run_id, &counted, None)?;
            Ok((Merged { unknown, ignored, done, failed }, counted))
        })?;
        *tally = counted;
        Ok(merged)
    }
}
