//! A batch beside the warehouse: in a table of the connection's own, where SQL can reach it once the warehouse is open, and
//! put there while others still have the file.

use duckdb::params;

use crate::error::{Error, Result};
use crate::facts::Proof;
use crate::outcome::{Outcome, Saved};

use super::{Warehouse, micros, plain};

/// What is said of a file that is home.
const GOOD: [&str; 12] = [
    "id",
    "how",
    "finished_at",
    "bytes",
    "format",
    "width",
    "height",
    "sha256",
    "proof",
    "etag",
    "last_modified",
    "content_type",
];
/// What is said of a failure; it has no `how`.
const BAD: [&str; 9] = ["id", "how", "finished_at", "url", "kind", "http_status", "message", "attempts", "permanent"];

/// What is staged. Only this file makes one, and nothing else can be recorded, so that nobody records the batch before.
#[derive(Debug)]
pub struct Staged {
    /// GUIDs whose file is home now.
    pub(super) good: usize,
    /// GUIDs whose file was home before, and was asked for again.
    pub(super) again: usize,
    /// GUIDs that failed.
    pub(super) bad: usize,
}

impl Staged {
    /// How many outcomes it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.good + self.again + self.bad
    }
}

impl Warehouse {
    /// Stages a batch, in place of what was staged before.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage(&self, batch: &[Outcome]) -> Result<Staged> {
        let made = self.connection.execute_batch(
            "CREATE OR REPLACE TEMP TABLE outcome (id VARCHAR, how VARCHAR, finished_at BIGINT, \
             bytes BIGINT, format VARCHAR, width INTEGER, height INTEGER, sha256 VARCHAR, proof VARCHAR, etag VARCHAR, \
             last_modified VARCHAR, content_type VARCHAR, url VARCHAR, kind VARCHAR, http_status INTEGER, message VARCHAR, \
             attempts BIGINT, permanent BOOLEAN)",
        );
        made.map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))?;
        let mut staged = Staged { good: 0, again: 0, bad: 0 };
        self.stage_more(&mut staged, batch)?;
        Ok(staged)
    }

    /// Adds to what is staged already.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage_more(&self, staged: &mut Staged, batch: &[Outcome]) -> Result<()> {
        let mut stage = || -> duckdb::Result<()> {
            let (good, bad): (Vec<_>, Vec<_>) = batch.iter().partition(|outcome| outcome.result.is_ok());
            self.stage_good(&good)?;
            self.stage_bad(&bad)?;
            let again = |outcome: &&&Outcome| outcome.result.as_ref().is_ok_and(|saved| saved.how.was_home());
            let count = good.iter().filter(again).count();
            (staged.good, staged.again) = (staged.good + good.len() - count, staged.again + count);
            staged.bad += bad.len();
            Ok(())
        };
        stage().map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))
    }

    /// Leaves of what is staged only what came first.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn take_back(&self, staged: &mut Staged, count: usize) -> Result<()> {
        let less = format!("DELETE FROM temp.main.outcome WHERE rowid >= {count}");
        let counted = self.connection.execute_batch(&less).and_then(|()| self.count_staged());
        *staged = counted.map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))?;
        Ok(())
    }

    /// What is staged, none of it of files that were home before.
    pub(super) fn count_staged(&self) -> duckdb::Result<Staged> {
        let sql = "SELECT count(*), count(how) FROM temp.main.outcome";
        let count = |row: &duckdb::Row<'_>, at| row.get(at).map(|count: i64| usize::try_from(count).unwrap_or(0));
        let (all, good) = self.connection.query_row(sql, [], |row| Ok((count(row, 0)?, count(row, 1)?)))?;
        Ok(Staged { good, again: 0, bad: all - good })
    }

    fn stage_good(&self, good: &[&Outcome]) -> duckdb::Result<()> {
        if good.is_empty() {
            return Ok(());
        }
        let columns = if self.tables.keep_files { &GOOD[..] } else { &GOOD[..2] };
        let mut rows = self.connection.appender_with_columns_to_catalog_and_db("outcome", "temp", "main", columns)?;
        for outcome in good {
            let Ok(Saved { how, facts }) = &outcome.result else { continue };
            if !self.tables.keep_files {
                rows.append_row(params![&*outcome.id, how.name()])?;
                continue;
            }
            rows.append_row(params![
                &*outcome.id,
                how.name(),
                micros(outcome.finished_at),
                i64::try_from(facts.bytes).unwrap_or(i64::MAX),
                facts.format.as_deref(),
                // A hostile image may say more than the column holds.
                facts.width.and_then(|side| i32::try_from(side).ok()),
                facts.height.and_then(|side| i32::try_from(side).ok()),
                facts.sha256.map(|digest| digest.to_string()),
                facts.proof.map(Proof::name),
                facts.etag.as_deref(),
                facts.last_modified.as_deref(),
                facts.content_type.as_deref(),
            ])?;
        }
        rows.flush()
    }

    fn stage_bad(&self, bad: &[&Outcome]) -> duckdb::Result<()> {
        if bad.is_empty() {
            return Ok(());
        }
        let mut rows = self.connection.appender_with_columns_to_catalog_and_db("outcome", "temp", "main", &BAD)?;
        for outcome in bad {
            let Err(failure) = &outcome.result else { continue };
            rows.append_row(params![
                &*outcome.id,
                None::<&str>,
                micros(outcome.finished_at),
                outcome.url.as_deref(),
                failure.kind.name(),
                failure.http_status,
                failure.message,
                outcome.attempts,
                !failure.is_transient(),
            ])?;
        }
        rows.flush()
    }
}
