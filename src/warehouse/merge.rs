//! Merging: a staged batch of what `pipe` printed, less what is known better already.
//!
//! The user's table is gone through once to look and once to write, however large it is; everything else is asked of
//! the batch.

use crate::error::{Error, Result};
use crate::tally::Tally;

use super::{RunsTable, Shape, Staged, Warehouse, Window, plain};

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

/// What is staged of GUIDs that have several outcomes, or a hash that another one has.
const SEVERAL: &str = "CREATE OR REPLACE TEMP TABLE several AS SELECT *, rowid AS place FROM temp.main.outcome \
     WHERE hash(id) IN (SELECT hash(id) FROM temp.main.outcome GROUP BY 1 HAVING count(*) > 1)";
/// One outcome for each of them. A success stands, the latest of several; but what was found again says less of a file than
/// what brought it. Failures add up as they come, and one that is not newer than those before it is ignored.
const ONE_EACH: &str = "DELETE FROM temp.main.outcome WHERE rowid IN (SELECT place FROM temp.main.several); \
     INSERT INTO temp.main.outcome SELECT * EXCLUDE (place, home, before, says_less, in_all, nth) REPLACE (in_all AS attempts) FROM ( \
       SELECT *, (sum(attempts) OVER (PARTITION BY id))::BIGINT AS in_all, \
         row_number() OVER (PARTITION BY id ORDER BY finished_at DESC, place) AS nth FROM ( \
         SELECT *, bool_or(how IS NOT NULL) OVER (PARTITION BY id) AS home, \
           max(finished_at) OVER (PARTITION BY id, how IS NULL ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before, \
           how = 'reused' AND lag(place) OVER earlier IS NOT NULL AND sha256 IS NOT DISTINCT FROM lag(sha256) OVER earlier AS says_less \
         FROM temp.main.several WINDOW earlier AS (PARTITION BY id, how IS NULL ORDER BY finished_at, place)) \
       WHERE CASE WHEN home THEN how IS NOT NULL AND NOT says_less ELSE before IS NULL OR finished_at > before END) \
     WHERE nth = 1; \
     DROP TABLE temp.main.several";

impl Warehouse {
    /// Makes one outcome of several that are staged of one GUID. This asks nothing of the warehouse, which is everybody's
    /// meanwhile.
    ///
    /// # Errors
    /// Neither memory nor the disk for temporary files has room.
    pub fn one_each(&self, staged: Staged) -> Result<Staged> {
        let settle = || -> duckdb::Result<Staged> {
            if self.connection.execute(SEVERAL, [])? == 0 {
                return Ok(staged);
            }
            self.connection.execute_batch(ONE_EACH)?;
            self.count_staged()
        };
        settle().map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))
    }
}

impl Window<'_> {
    /// Records what a `pipe` printed and is staged: like [`Window::record`], but leaves alone what is known better.
    ///
    /// Several transactions: what is known of files and failures first, then what is done, the run's row in the last of
    /// them. What a kill leaves undone the next merge of the same does.
    ///
    /// # Errors
    /// The warehouse cannot be written; then the batch does not count as recorded, though some of it may be.
    pub fn merge(
        &self,
        staged: &Staged,
        runs: &RunsTable,
        shape: &Shape,
        run_id: &str,
        tally: &mut Tally,
    ) -> Result<Merged> {
        let parts = self.parts(shape, staged.count(), None)?;
        let files = self.has_own_files(shape)?;
        let mut settled = (Merged::default(), tally.clone());
        for (at, part) in parts.iter().enumerate() {
            let now = self.transaction("merge", || {
                // On the side, because a transaction may have to be tried again.
                let mut now = settled.clone();
                if at == 0 {
                    now.0 = self.settle(shape, run_id, files, &mut now.1)?;
                }
                self.set_done(shape, true, part)?;
                if at + 1 == parts.len() {
                    self.update_run(runs, run_id, &now.1, None)?;
                }
                Ok(now)
            })?;
            settled = now;
        }
        *tally = settled.1;
        Ok(settled.0)
    }

    /// Takes out of what is staged what is known better, and writes down what the rest says of files and failures.
    fn settle(&self, shape: &Shape, run_id: &str, files: bool, tally: &mut Tally) -> duckdb::Result<Merged> {
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
        self.connection.execute_batch(&known)?;
        let unknown = self.connection.execute(&unknown, [])? as u64;
        let ignored = self.connection.execute(&ignored, [])? as u64;
        let (failed, transient, done) = self.connection.query_row(&counts, [], |row| {
            let count = |at| row.get(at).map(|count: i64| u64::try_from(count).unwrap_or(0));
            Ok((count(0)?, count(1)?, count(2)?))
        })?;
        if files {
            // What is known of a file already stands, unless the outcome is the newer one.
            self.connection.execute_batch(&format!(
                "UPDATE temp.main.outcome SET how = 'known', proof = NULL WHERE how IS NOT NULL AND EXISTS (SELECT 1 FROM {file} AS f \
                 WHERE f.source_image_id = id::{kind} AND f.checked_at >= make_timestamp(finished_at))",
                file = self.quoted(&self.tables.file),
            ))?;
            self.settle_files(shape, Some(run_id), false)?;
        }
        self.settle_failures(shape, run_id, failed > 0)?;
        tally.failed += failed;
        tally.transient += transient;
        tally.fetched += done;
        Ok(Merged { unknown, ignored, done, failed })
    }
}
