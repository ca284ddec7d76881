//! A batch beside the warehouse: in a table of the connection's own, where SQL can reach it once the warehouse is open, and
//! put there while others still have the file.

use duckdb::params;

use crate::error::{Error, Result};
use crate::outcome::Outcome;

use super::{Warehouse, micros, plain};

/// What is staged. Only this file makes one, and nothing else can be recorded, so that nobody records the batch before.
#[derive(Debug)]
pub struct Staged {
    /// GUIDs that succeeded.
    pub(super) good: usize,
    /// GUIDs that failed.
    pub(super) bad: usize,
}

impl Staged {
    /// How many outcomes it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.good + self.bad
    }
}

impl Warehouse {
    /// Stages a batch, in place of what was staged before.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage(&self, batch: &[Outcome]) -> Result<Staged> {
        let made = self.connection.execute_batch(
            "CREATE OR REPLACE TEMP TABLE outcome (id VARCHAR, ok BOOLEAN DEFAULT true, url VARCHAR, kind VARCHAR, \
             http_status INTEGER, message VARCHAR, attempts BIGINT, permanent BOOLEAN, finished_at BIGINT)",
        );
        made.map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))?;
        let mut staged = Staged { good: 0, bad: 0 };
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
            (staged.good, staged.bad) = (staged.good + good.len(), staged.bad + bad.len());
            // Most are good, and of those nothing but the id is asked for.
            let mut rows =
                self.connection.appender_with_columns_to_catalog_and_db("outcome", "temp", "main", &["id"])?;
            good.into_iter().try_for_each(|outcome| rows.append_row([&*outcome.id]))?;
            rows.flush()?;
            if bad.is_empty() {
                return Ok(());
            }
            let mut rows = self.connection.appender_to_catalog_and_db("outcome", "temp", "main")?;
            for outcome in bad {
                let Err(failure) = &outcome.result else { continue };
                rows.append_row(params![
                    &*outcome.id,
                    false,
                    outcome.url.as_deref(),
                    failure.kind.name(),
                    failure.http_status,
                    failure.message,
                    outcome.attempts,
                    !failure.is_transient(),
                    micros(outcome.finished_at),
                ])?;
            }
            rows.flush()
        };
        stage().map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))
    }

    /// Says of staged failures that they may pass, whatever their kind.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage_forgiven(&self, _: &Staged, ids: &[Box<str>]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let stage = || -> duckdb::Result<()> {
            self.connection.execute_batch("CREATE OR REPLACE TEMP TABLE forgiven (id VARCHAR)")?;
            let mut rows = self.connection.appender_to_catalog_and_db("forgiven", "temp", "main")?;
            ids.iter().try_for_each(|id| rows.append_row(params![&**id]))?;
            rows.flush()?;
            let forgive =
                "UPDATE temp.main.outcome SET permanent = false WHERE id IN (SELECT id FROM temp.main.forgiven)";
            self.connection.execute_batch(forgive)
        };
        stage().map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))
    }
}
