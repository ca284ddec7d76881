//! Writing: toller's own tables, the run's row, and a batch of outcomes in one transaction.

use std::time::{Duration, SystemTime};

use duckdb::params;

use crate::error::{Error, Result};
use crate::manifest::{RunManifest, Status, Tally, is_dead};
use crate::outcome::Outcome;

use super::tables::{FAILURE_COLUMNS, LATER_COLUMNS, MANIFEST_COLUMNS, Name, quote, type_of};
use super::{Shape, Warehouse, Window, micros, plain};

/// toller's own tables as they are to be used in this warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTables {
    /// One row a run.
    pub manifest: Name,
    /// What the user should know: another program's table stands where ours would.
    pub notice: Option<String>,
}

/// How a run's row is closed.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The last word about it.
    pub status: Status,
    /// Why it could not go on.
    pub error: Option<String>,
    /// What failed since then is not taken for good: a blocked client is not a hundred missing images.
    pub forgive_since: Option<SystemTime>,
}

/// What DuckDB 2.0 remembers of an update until it is committed: for each so many rows of which it touches one, so
/// many bytes, for a BOOLEAN and a TIMESTAMP (its `UpdateInfo` has room for a whole vector).
const UNDO: (u64, u64) = (2048, 35_000);

impl Warehouse {
    /// Puts a batch into a table that lives in memory, where SQL can reach it once the warehouse is open.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage(&self, batch: &[Outcome]) -> Result<()> {
        let made = self.connection.execute_batch(
            "CREATE OR REPLACE TEMP TABLE outcome (id VARCHAR, ok BOOLEAN DEFAULT true, url VARCHAR, kind VARCHAR, \
             http_status INTEGER, message VARCHAR, attempts BIGINT, permanent BOOLEAN, finished_at BIGINT)",
        );
        made.map_err(|cause| Error::new("stage", "memory", plain(&cause.to_string())))?;
        self.stage_more(batch)
    }

    /// Adds to what is staged already.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn stage_more(&self, batch: &[Outcome]) -> Result<()> {
        let stage = || -> duckdb::Result<()> {
            let (good, bad): (Vec<_>, Vec<_>) = batch.iter().partition(|outcome| outcome.result.is_ok());
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
}

impl Window<'_> {
    /// Which table takes the runs, and whether the failures' table is ours.
    ///
    /// # Errors
    /// A table that was named, or the failures' table, belongs to another program.
    pub fn own_tables(&self) -> Result<OwnTables> {
        let tables = self.tables;
        let strange = |name: &Name, lacking: &[&str], option: &str| {
            let cause = format!("table {name} is not toller's: it lacks {}", lacking.join(", "));
            Error::new("warehouse", self.file.display(), cause).with_way_out(format!("name another with {option}"))
        };
        let lacking = self.lacking(&tables.failure, &FAILURE_COLUMNS)?;
        if !lacking.is_empty() {
            return Err(strange(&tables.failure, &lacking, "--failure-table"));
        }
        let lacking = self.lacking(&tables.manifest, &MANIFEST_COLUMNS)?;
        if lacking.is_empty() {
            return Ok(OwnTables { manifest: tables.manifest.clone(), notice: None });
        }
        let other = tables.manifest.prefixed("toller_");
        if tables.manifest_named || !self.lacking(&other, &MANIFEST_COLUMNS)?.is_empty() {
            return Err(strange(&tables.manifest, &lacking, "--manifest-table"));
        }
        let notice = format!("table {} is another program's and is left alone; runs go to {other}", tables.manifest);
        Ok(OwnTables { manifest: other, notice: Some(notice) })
    }

    /// Makes toller's own tables where they are missing.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn make_own_tables(&self, own: &OwnTables, shape: &Shape) -> Result<()> {
        let failure = &self.tables.failure;
        let columns = self.columns(&own.manifest)?;
        let complete = LATER_COLUMNS.iter().all(|column| type_of(&columns, column).is_some());
        if complete && !self.columns(failure)?.is_empty() {
            return Ok(());
        }
        let schema = include_str!("schema.sql")
            .replace("{text}", "VARCHAR USING COMPRESSION uncompressed")
            .replace("{manifest}", &self.quoted(&own.manifest))
            .replace("{failure}", &self.quoted(failure))
            .replace("{id_type}", &shape.id_type);
        let manifest = self.quoted(&own.manifest);
        let add =
            LATER_COLUMNS.map(|column| format!("ALTER TABLE {manifest} ADD COLUMN IF NOT EXISTS {column} VARCHAR"));
        self.transaction("make tables", || {
            self.connection.execute_batch(&schema)?;
            self.connection.execute_batch(&add.join(";"))
        })?;
        // Checkpointed by itself, so that no kill can leave it to be replayed together with rows.
        self.connection.execute_batch("CHECKPOINT").map_err(|cause| self.error("make tables", &cause))
    }

    /// Opens the row of a run, and closes those of runs that are dead: with our destination's lock in our
    /// hands none of its other rows can be alive.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn open_run(&self, own: &OwnTables, run: &RunManifest, pending: u64, holds_lock: bool) -> Result<()> {
        let manifest = self.quoted(&own.manifest);
        let now = micros(SystemTime::now());
        let dest = run.dest.as_ref().map(|dest| dest.to_string_lossy().into_owned());
        let dead = self.dead_runs(&manifest, run, dest.as_deref().filter(|_| holds_lock), now)?;
        let insert = format!(
            "INSERT INTO {manifest} (run_id, started_at, updated_at, status, pending, fetched, reused, failed, bytes, requests, \
             connections, workers, url, dest, extension, fanout, host, pid, version, expect, image_table) VALUES (?, \
             make_timestamp(?), make_timestamp(?), 'running', ?, 0, 0, 0, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        );
        self.transaction("open run", || {
            self.abandon(&manifest, &dead, now)?;
            self.connection.execute(
                &insert,
                params![
                    run.run_id,
                    micros(run.started_at),
                    now,
                    number(pending),
                    i32::try_from(run.workers).unwrap_or(i32::MAX),
                    run.url,
                    dest,
                    run.extension,
                    run.fanout.map(i32::from),
                    run.host,
                    i64::from(std::process::id()),
                    env!("CARGO_PKG_VERSION"),
                    run.expect,
                    self.tables.table.canonical(),
                ],
            )
        })?;
        Ok(())
    }

    /// Whether there are rows of dead runs to be closed.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn has_dead_runs(&self, own: &OwnTables, run: &RunManifest) -> Result<bool> {
        if self.columns(&own.manifest)?.is_empty() {
            return Ok(false);
        }
        Ok(!self.dead_runs(&self.quoted(&own.manifest), run, None, micros(SystemTime::now()))?.is_empty())
    }

    /// Closes the rows of dead runs where a run has nothing to do itself.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn close_dead_runs(&self, own: &OwnTables, run: &RunManifest) -> Result<()> {
        let (manifest, now) = (self.quoted(&own.manifest), micros(SystemTime::now()));
        let dead = self.dead_runs(&manifest, run, None, now)?;
        self.transaction("close dead runs", || self.abandon(&manifest, &dead, now))
    }

    fn abandon(&self, manifest: &str, dead: &[String], now: i64) -> duckdb::Result<()> {
        let close = format!(
            "UPDATE {manifest} SET status = 'abandoned', finished_at = make_timestamp(?) WHERE run_id = ? AND status = 'running'"
        );
        dead.iter().try_for_each(|run_id| self.connection.execute(&close, params![now, run_id]).map(drop))
    }

    fn dead_runs(&self, manifest: &str, run: &RunManifest, dest: Option<&str>, now: i64) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT run_id::VARCHAR, host::VARCHAR, pid::BIGINT, dest::VARCHAR, epoch_us(coalesce(updated_at, started_at)) \
             FROM {manifest} WHERE status = 'running'"
        );
        let query = || -> duckdb::Result<Vec<String>> {
            let mut statement = self.connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                let (id, host, pid): (String, Option<String>, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let (its_dest, updated): (Option<String>, Option<i64>) = (row.get(3)?, row.get(4)?);
                let ours = dest.is_some() && its_dest.as_deref() == dest;
                let silent = updated.map(|updated| Duration::from_micros(now.saturating_sub(updated).unsigned_abs()));
                Ok((ours || is_dead(host.as_deref(), pid, silent, &run.host)).then_some(id))
            })?;
            rows.filter_map(duckdb::Result::transpose).collect()
        };
        query().map_err(|cause| self.error("read runs", &cause))
    }

    /// Tries whether the table takes what is staged, and takes it back: a rule that every record would break is then known
    /// before the first request.
    ///
    /// # Errors
    /// It does not.
    pub fn rehearse(&self, shape: &Shape, span: Option<(i64, i64)>) -> Result<()> {
        let part = span.filter(|_| shape.numbered).map(|(first, last)| shape.between(first, last + 1));
        let tried = || {
            self.connection.execute_batch("BEGIN")?;
            let tried = self.set_done(shape, true, &part.unwrap_or_default());
            self.connection.execute_batch("ROLLBACK")?;
            tried
        };
        tried().map(drop).map_err(|cause| {
            let cause = format!("table {} takes no record: {}", self.tables.table, plain(&cause.to_string()));
            Error::new("warehouse", self.file.display(), cause)
                .with_way_out(format!("{} and {} must be free to change", self.tables.done, self.tables.updated))
        })
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
        own: &OwnTables,
        shape: &Shape,
        run_id: &str,
        (batch, span): (&[Outcome], Option<(i64, i64)>),
        tally: &Tally,
        end: Option<&RunEnd>,
    ) -> Result<()> {
        let good = batch.iter().filter(|outcome| outcome.result.is_ok()).count();
        let span = span.filter(|_| shape.numbered);
        let parts = self.parts(shape, batch.len(), span)?;
        let mut before = 0;
        for (at, part) in parts.iter().enumerate() {
            before += self.transaction("record", || {
                if at == 0 {
                    self.settle_failures(shape, run_id, good < batch.len())?;
                }
                let changed = self.set_done(shape, true, part)?;
                if at + 1 == parts.len() {
                    if span.is_some() && before + changed < good {
                        // Rows have moved since they were read, or somebody else has made them done.
                        self.set_done(shape, true, "")?;
                    }
                    self.update_run(own, run_id, tally, end)?;
                }
                Ok(changed)
            })?;
        }
        Ok(())
    }

    /// The table, or the span of it, in parts, as conditions on its rows, of which each can be updated within DuckDB's
    /// memory: what it cannot keep there it writes to disk and reads again, which takes longer than several passes.
    fn parts(&self, shape: &Shape, batch: usize, span: Option<(i64, i64)>) -> Result<Vec<String>> {
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

    /// Makes what is staged as good done, or pending again, in that part of the table; gives the number of rows that
    /// changed.
    pub(super) fn set_done(&self, shape: &Shape, done: bool, part: &str) -> duckdb::Result<usize> {
        let tables = self.tables;
        let column = quote(&tables.done);
        let now = micros(SystemTime::now());
        let updated = match &shape.updated_type {
            None => String::new(),
            // Without the ICU extension nothing else turns a moment into this type.
            Some(zoned) if zoned.contains("ZONE") => {
                format!(", {} = to_timestamp({now} / 1000000.0)", quote(&tables.updated))
            }
            Some(plain) => format!(", {} = make_timestamp({now})::{plain}", quote(&tables.updated)),
        };
        let sql = format!(
            "UPDATE {table} SET {column} = {done}{updated} WHERE {id} IN (SELECT id::{kind} FROM temp.main.outcome WHERE ok) \
             AND {is_done} <> {done}{part}",
            table = shape.table,
            id = shape.id,
            is_done = shape.done,
            kind = shape.id_type,
        );
        self.connection.execute(&sql, [])
    }

    /// Applies what is staged; gives the number of rows of the user's table that changed.
    pub(super) fn apply(&self, shape: &Shape, run_id: &str, failures: bool) -> duckdb::Result<usize> {
        self.settle_failures(shape, run_id, failures)?;
        self.set_done(shape, true, "")
    }

    /// Makes the failures' table say of what is staged what is true now.
    fn settle_failures(&self, shape: &Shape, run_id: &str, failures: bool) -> duckdb::Result<()> {
        let failure = self.quoted(&self.tables.failure);
        let kind = &shape.id_type;
        if failures {
            self.connection.execute_batch(&format!(
                "CREATE OR REPLACE TEMP TABLE failed AS SELECT o.*, coalesce(max(f.attempts), 0) AS before \
                 FROM temp.main.outcome AS o LEFT JOIN {failure} AS f ON f.source_image_id = o.id::{kind} WHERE NOT o.ok GROUP BY ALL"
            ))?;
        }
        // Asked first, because a DELETE writes to the log even where it finds nothing.
        let known: bool = self.connection.query_row(
            &format!(
                "SELECT EXISTS (FROM {failure} WHERE source_image_id IN (SELECT id::{kind} FROM temp.main.outcome))"
            ),
            [],
            |row| row.get(0),
        )?;
        if known {
            let sql =
                format!("DELETE FROM {failure} WHERE source_image_id IN (SELECT id::{kind} FROM temp.main.outcome)");
            self.connection.execute(&sql, [])?;
        }
        if failures {
            self.connection.execute(
                &format!(
                    "INSERT INTO {failure} (source_image_id, url, kind, http_status, message, attempts, permanent, run_id, failed_at) \
                     SELECT id::{kind}, url, kind, http_status, message, attempts + before, permanent, ?, make_timestamp(finished_at) \
                     FROM temp.main.failed"
                ),
                params![run_id],
            )?;
        }
        Ok(())
    }

    /// Brings the run's row up to date, and closes it at its end.
    pub(super) fn update_run(
        &self,
        own: &OwnTables,
        run_id: &str,
        tally: &Tally,
        end: Option<&RunEnd>,
    ) -> duckdb::Result<()> {
        let now = micros(SystemTime::now());
        let manifest = self.quoted(&own.manifest);
        self.connection.execute(
            &format!(
                "UPDATE {manifest} SET updated_at = make_timestamp(?), fetched = ?, reused = ?, failed = ?, bytes = ?, requests = ?, \
                 connections = ?, status = coalesce(?, status), finished_at = make_timestamp(?), error = ? WHERE run_id = ?"
            ),
            params![
                now,
                number(tally.fetched),
                number(tally.reused),
                number(tally.failed),
                number(tally.bytes),
                number(tally.requests),
                number(tally.connections),
                end.map(|end| end.status.word()),
                end.map(|_| now),
                end.and_then(|end| end.error.as_deref()),
                run_id
            ],
        )?;
        if let Some(since) = end.and_then(|end| end.forgive_since) {
            let failure = self.quoted(&self.tables.failure);
            // What was refused before any request says nothing about the origin.
            let forgive = format!(
                "UPDATE {failure} SET permanent = false WHERE run_id = ? AND failed_at >= make_timestamp(?) \
                 AND kind NOT IN ('bad_guid', 'bad_url')"
            );
            self.connection.execute(&forgive, params![run_id, micros(since)])?;
        }
        Ok(())
    }

    /// Closes the row of a merge.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn close_run(&self, own: &OwnTables, run_id: &str, tally: &Tally, end: &RunEnd) -> Result<()> {
        self.transaction("close run", || self.update_run(own, run_id, tally, Some(end)))
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
