//! The table of runs: one row each, opened before the first request, kept current with every batch, closed once. toller
//! makes it where it is missing.

use std::time::{Duration, SystemTime};

use duckdb::params;
use serde::Serialize;

use crate::ending::Ending;
use crate::error::Result;
use crate::manifest::{RunManifest, is_dead};
use crate::tally::Tally;

use super::tables::{Name, type_of};
use super::{Window, micros};

/// Its columns, as a table is made of them. No keys and no indexes: DuckDB has had replay bugs with those after a kill, and
/// every statement that writes here finds its rows by itself. All times are UTC.
///
/// `{text}` is VARCHAR without compression: so few strings gain nothing by it, and to build a dictionary for each of these
/// columns takes DuckDB 10 ms at the end of a run.
const COLUMNS: [(&str, &str); 25] = [
    ("run_id", "{text} NOT NULL"),
    ("started_at", "TIMESTAMP NOT NULL"),
    ("updated_at", "TIMESTAMP"),
    ("finished_at", "TIMESTAMP"),
    ("status", "{text} NOT NULL"), // running, complete, partial, interrupted, failed, abandoned
    ("pending", "BIGINT"),         // distinct GUIDs found at the start
    ("fetched", "BIGINT"),
    ("reused", "BIGINT"),
    ("failed", "BIGINT"),
    ("bytes", "BIGINT"),
    ("requests", "BIGINT"), // every one sent, retries and redirects too
    ("connections", "BIGINT"),
    ("workers", "INTEGER"),
    ("url", "{text}"), // the template, or the column that holds the URLs
    ("dest", "{text}"),
    ("extension", "{text}"),
    ("fanout", "INTEGER"),
    ("host", "{text}"),
    ("pid", "BIGINT"),
    ("version", "{text}"),
    ("error", "{text}"),
    ("expect", "{text}"),      // what counted as a good body
    ("image_table", "{text}"), // which table of images it was for
    ("unchanged", "BIGINT"),   // asked for again, and still the same
    ("tables", "{text}"),      // what its tables and columns were called, as JSON
];
/// So many of them an older toller knew too: what lacks one of these is another program's table. The rest are added.
const ALWAYS: usize = 21;

/// Which table takes the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsTable {
    pub(super) name: Name,
    /// What the user should know: another program's table stands where ours would.
    pub notice: Option<String>,
}

fn names(columns: &[(&'static str, &str)]) -> Vec<&'static str> {
    columns.iter().map(|(name, _)| *name).collect()
}

/// The names of all columns, for a statement.
fn all_names() -> String {
    names(&COLUMNS).join(", ")
}

/// The type of a column, for DDL.
fn kind(declared: &str) -> String {
    declared.replace("{text}", "VARCHAR USING COMPRESSION uncompressed")
}

/// One row of `run_manifest` as `status --json` shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each field is the column of that name")]
pub struct RunRow {
    pub run_id: String,
    pub started_at: Option<String>,
    pub updated_at: Option<String>,
    pub finished_at: Option<String>,
    pub status: String,
    pub pending: u64,
    pub fetched: u64,
    pub reused: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub bytes: u64,
    pub requests: u64,
    pub connections: u64,
    pub workers: u64,
    pub url: Option<String>,
    pub dest: Option<String>,
    pub extension: Option<String>,
    pub fanout: u64,
    pub host: Option<String>,
    pub pid: Option<i64>,
    pub version: Option<String>,
    pub error: Option<String>,
    /// What counted as a good body; a column that older tables lack.
    #[serde(skip)]
    pub expect: Option<String>,
    /// Which table of images it was for; likewise.
    #[serde(skip)]
    pub image_table: Option<String>,
    /// What its tables and columns were called; likewise.
    #[serde(skip)]
    pub tables: Option<String>,
    /// Seconds from its start to its last news.
    #[serde(skip)]
    pub seconds: f64,
    /// Seconds since then.
    #[serde(skip)]
    pub silent_for: f64,
    /// It is under way, and its process lives.
    #[serde(skip)]
    pub lives: bool,
}

impl RunRow {
    /// GUIDs whose story is over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.fetched + self.reused + self.unchanged + self.failed
    }
}

impl Window<'_> {
    /// Which table takes the runs.
    ///
    /// # Errors
    /// A table that was named belongs to another program.
    pub fn runs_table(&self) -> Result<RunsTable> {
        let tables = self.tables;
        let lacking = self.lacking(&tables.manifest, &names(&COLUMNS[..ALWAYS]))?;
        if lacking.is_empty() {
            return Ok(RunsTable { name: tables.manifest.clone(), notice: None });
        }
        let other = tables.manifest.prefixed("toller_");
        if tables.manifest_named || !self.lacking(&other, &names(&COLUMNS[..ALWAYS]))?.is_empty() {
            return Err(self.strange(&tables.manifest, &lacking, "--manifest-table"));
        }
        let notice = format!("table {} is another program's and is left alone; runs go to {other}", tables.manifest);
        Ok(RunsTable { name: other, notice: Some(notice) })
    }

    /// What makes the table, or adds the columns that an older toller did not know; nothing where it is complete.
    pub(super) fn runs_ddl(&self, runs: &RunsTable) -> Result<String> {
        let table = self.quoted(&runs.name);
        let there = self.columns(&runs.name)?;
        if there.is_empty() {
            let columns = COLUMNS.map(|(name, declared)| format!("{name} {}", kind(declared))).join(", ");
            return Ok(format!("{}CREATE TABLE {table} ({columns});", self.schema_ddl(&runs.name)));
        }
        let lacking = COLUMNS[ALWAYS..].iter().filter(|(name, _)| type_of(&there, name).is_none());
        Ok(lacking
            .map(|(name, declared)| format!("ALTER TABLE {table} ADD COLUMN {name} {};", kind(declared)))
            .collect())
    }

    /// Opens the row of a run, and closes those of runs that are dead: with our destination's lock in our
    /// hands none of its other rows can be alive.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn open_run(&self, runs: &RunsTable, run: &RunManifest, pending: u64, holds_lock: bool) -> Result<()> {
        let manifest = self.quoted(&runs.name);
        let now = micros(SystemTime::now());
        let dest = run.dest.as_ref().map(|dest| dest.to_string_lossy().into_owned());
        let dead = self.dead_runs(&manifest, run, dest.as_deref().filter(|_| holds_lock), now)?;
        let insert = format!(
            "INSERT INTO {manifest} ({}) VALUES (?, make_timestamp(?), make_timestamp(?), NULL, 'running', ?, 0, 0, 0, 0, 0, 0, \
             ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, 0, ?)",
            all_names()
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
                    self.tables.to_row(),
                ],
            )
        })?;
        Ok(())
    }

    /// Whether there are rows of dead runs to be closed.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn has_dead_runs(&self, runs: &RunsTable, run: &RunManifest) -> Result<bool> {
        if self.columns(&runs.name)?.is_empty() {
            return Ok(false);
        }
        Ok(!self.dead_runs(&self.quoted(&runs.name), run, None, micros(SystemTime::now()))?.is_empty())
    }

    /// Closes the rows of dead runs where a run has nothing to do itself.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn close_dead_runs(&self, runs: &RunsTable, run: &RunManifest) -> Result<()> {
        let (manifest, now) = (self.quoted(&runs.name), micros(SystemTime::now()));
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
            "SELECT coalesce(run_id::VARCHAR, ''), host::VARCHAR, pid::BIGINT, dest::VARCHAR, epoch_us(coalesce(updated_at, started_at)) \
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

    /// Brings the run's row up to date, and closes it at its end.
    pub(super) fn update_run(
        &self,
        runs: &RunsTable,
        run_id: &str,
        tally: &Tally,
        end: Option<&Ending>,
    ) -> duckdb::Result<()> {
        let now = micros(SystemTime::now());
        let manifest = self.quoted(&runs.name);
        self.connection.execute(
            &format!(
                "UPDATE {manifest} SET updated_at = make_timestamp(?), pending = ?, fetched = ?, reused = ?, unchanged = ?, failed = ?, bytes = ?, \
                 requests = ?, connections = ?, status = coalesce(?, status), finished_at = make_timestamp(?), error = ? WHERE run_id = ?"
            ),
            params![
                now,
                number(tally.pending),
                number(tally.fetched),
                number(tally.reused),
                number(tally.unchanged),
                number(tally.failed),
                number(tally.bytes),
                number(tally.requests),
                number(tally.connections),
                end.map(|end| end.status().word()),
                end.map(|_| now),
                end.and_then(Ending::recorded_error),
                run_id
            ],
        )?;
        match end.and_then(Ending::forgive_since) {
            Some(since) => {
                self.forgive_failures(run_id, since)?;
                self.forgive_gone(&manifest, run_id, since)
            }
            None => Ok(()),
        }
    }

    /// Closes the row of a merge.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn close_run(&self, runs: &RunsTable, run_id: &str, tally: &Tally, end: &Ending) -> Result<()> {
        self.transaction("close run", || self.update_run(runs, run_id, tally, Some(end)))
    }

    /// The latest runs, newest first, and before them those whose row says that they are under way; none where no run was ever recorded.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn last_runs(&self, most: usize) -> Result<Vec<RunRow>> {
        self.runs_where("true", most)
    }

    pub(super) fn runs_where(&self, condition: &str, most: usize) -> Result<Vec<RunRow>> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(Vec::new()) };
        let lacking = self.lacking(&manifest, &names(&COLUMNS[ALWAYS..]))?;
        let later = COLUMNS[ALWAYS..].iter().map(|(column, declared)| match lacking.contains(column) {
            true if *declared == "BIGINT" => "NULL::BIGINT",
            true => "NULL::VARCHAR",
            false => *column,
        });
        let later = later.collect::<Vec<_>>().join(", ");
        let time = |column: &str| format!("strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ')");
        let sql = format!(
            "SELECT coalesce(run_id::VARCHAR, ''), {}, {}, {}, status::VARCHAR, {}, url, dest, extension, fanout::BIGINT, host, pid::BIGINT, \
             version, error, {later}, coalesce((epoch_us(updated_at) - epoch_us(started_at)) / 1000000.0, 0)::DOUBLE, \
             coalesce(({} - epoch_us(coalesce(updated_at, started_at))) / 1000000.0, 0)::DOUBLE \
             FROM {} WHERE {condition} QUALIFY status = 'running' OR row_number() OVER (ORDER BY started_at DESC, run_id DESC) <= {most} \
             ORDER BY started_at DESC, run_id DESC",
            time("started_at"),
            time("updated_at"),
            time("finished_at"),
            ["pending", "fetched", "reused", "failed", "bytes", "requests", "connections", "workers"]
                .map(|c| format!("{c}::BIGINT"))
                .join(", "),
            super::micros(std::time::SystemTime::now()),
            self.quoted(&manifest),
        );
        let query = || -> duckdb::Result<Vec<RunRow>> {
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_map([], run_row)?.collect()
        };
        query().map_err(|cause| self.error("read runs", &cause))
    }

    /// How many runs were recorded.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub(super) fn count_runs(&self) -> Result<u64> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(0) };
        let sql = format!("SELECT count(*) FROM {}", self.quoted(&manifest));
        let count = self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.error("read runs", &cause))
    }

    /// The table of runs, where there is one of toller's.
    pub(super) fn readable_manifest(&self) -> Result<Option<super::Name>> {
        for name in [self.tables.manifest.clone(), self.tables.manifest.prefixed("toller_")] {
            if !self.columns(&name)?.is_empty() && self.lacking(&name, &names(&COLUMNS[..ALWAYS]))?.is_empty() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// A row as it is selected for [`RunRow`].
fn run_row(row: &duckdb::Row<'_>) -> duckdb::Result<RunRow> {
    let count = |column: usize| -> duckdb::Result<u64> {
        Ok(row.get::<_, Option<i64>>(column)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    };
    Ok(RunRow {
        run_id: row.get(0)?,
        started_at: row.get(1)?,
        updated_at: row.get(2)?,
        finished_at: row.get(3)?,
        status: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        pending: count(5)?,
        fetched: count(6)?,
        reused: count(7)?,
        failed: count(8)?,
        bytes: count(9)?,
        requests: count(10)?,
        connections: count(11)?,
        workers: count(12)?,
        url: row.get(13)?,
        dest: row.get(14)?,
        extension: row.get(15)?,
        fanout: count(16)?,
        host: row.get(17)?,
        pid: row.get(18)?,
        version: row.get(19)?,
        error: row.get(20)?,
        expect: row.get(21)?,
        image_table: row.get(22)?,
        unchanged: count(23)?,
        tables: row.get(24)?,
        seconds: row.get(25)?,
        silent_for: row.get(26)?,
        lives: false,
    })
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
