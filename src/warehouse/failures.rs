//! The table of what stands failed: at most one row for each GUID; a later success takes it away. toller makes it where it
//! is missing, without keys or indexes, as the runs' table.

use std::time::{Duration, SystemTime};

use duckdb::params;
use serde::Serialize;

use crate::error::{Error, Result};

use super::tables::OwnTable;
use super::{Failed, Selection, Shape, Warehouse, Window, micros, plain};

/// Its columns; `{id_type}` is the type of the ids.
const COLUMNS: [(&str, &str); 9] = [
    ("source_image_id", "{id_type} NOT NULL"),
    ("url", "VARCHAR"),
    ("kind", "VARCHAR NOT NULL"),
    ("http_status", "INTEGER"),
    ("message", "VARCHAR"),
    ("attempts", "BIGINT"), // over all runs
    ("permanent", "BOOLEAN NOT NULL"),
    ("run_id", "VARCHAR"),
    ("failed_at", "TIMESTAMP"),
];

/// One of them, as `status --failures` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each field is the column of that name")]
pub struct FailureRow {
    pub guid: String,
    pub kind: String,
    pub http_status: Option<i64>,
    pub message: Option<String>,
    pub url: Option<String>,
    pub attempts: u64,
    pub permanent: bool,
    pub failed_at: Option<String>,
    pub run_id: Option<String>,
}

/// So many are read at once.
const SOME: u64 = 50_000;
/// The memory in bytes that it may take to sort them; what does not fit goes by way of the disk.
const SORTING: u64 = 256 << 20;

impl Warehouse {
    /// Gives what stands failed, the latest first, of one kind or of all, some at a time. It is copied in one short window,
    /// and read when the warehouse is closed again.
    ///
    /// # Errors
    /// The warehouse cannot be read, and those of `some`.
    pub fn failures(
        &self,
        patience: Duration,
        kind: Option<&str>,
        most: u64,
        mut some: impl FnMut(&[FailureRow]) -> Result<()>,
    ) -> Result<u64> {
        let fault = |cause: duckdb::Error| Error::new("read failures", "memory", plain(&cause.to_string()));
        self.take_memory(SORTING)?;
        if !self.read(patience, |window| window.copy_failures(kind, most))? {
            return Ok(0);
        }
        let sort = "CREATE OR REPLACE TEMP TABLE sorted AS FROM temp.main.listed ORDER BY failed_at DESC, guid";
        let listed = self.connection.execute(sort, []).map_err(fault)? as u64;
        for first in (0..listed).step_by(usize::try_from(SOME).unwrap_or(usize::MAX)) {
            let rows = || -> duckdb::Result<Vec<FailureRow>> {
                let sql = "FROM temp.main.sorted WHERE rowid >= ? AND rowid < ? ORDER BY rowid";
                self.connection.prepare(sql)?.query_map([first, first + SOME], failure_row)?.collect()
            };
            some(&rows().map_err(fault)?)?;
        }
        Ok(listed)
    }
}

/// A row as it is copied.
fn failure_row(row: &duckdb::Row<'_>) -> duckdb::Result<FailureRow> {
    Ok(FailureRow {
        guid: row.get(0)?,
        kind: row.get(1)?,
        http_status: row.get(2)?,
        message: row.get(3)?,
        url: row.get(4)?,
        attempts: row.get::<_, Option<i64>>(5)?.unwrap_or_default().unsigned_abs(),
        permanent: row.get(6)?,
        failed_at: row.get(7)?,
        run_id: row.get(8)?,
    })
}

impl Window<'_> {
    /// Copies what stands failed, or the latest of it, into memory, which spills to disk when there is much of it; says whether
    /// there is a table to copy.
    fn copy_failures(&self, kind: Option<&str>, most: u64) -> Result<bool> {
        let shape = self.shape()?;
        if !self.has_own_failures(&shape)? {
            return Ok(false);
        }
        let latest = match i64::try_from(most) {
            Ok(most) => format!(" ORDER BY f.failed_at DESC, guid LIMIT {most}"),
            Err(_) => String::new(),
        };
        let copy = format!(
            "CREATE OR REPLACE TEMP TABLE listed AS SELECT source_image_id::VARCHAR AS guid, coalesce(kind::VARCHAR, '') AS kind, \
             http_status::BIGINT AS http_status, message::VARCHAR AS message, url::VARCHAR AS url, attempts::BIGINT AS attempts, \
             coalesce(permanent, false) AS permanent, strftime(failed_at, '%Y-%m-%dT%H:%M:%SZ') AS failed_at, run_id::VARCHAR AS run_id \
             FROM {} AS f WHERE f.kind = coalesce(?, f.kind){latest}",
            self.quoted(&self.tables.failure),
        );
        let copied = self.connection.execute(&copy, params![kind]);
        copied.map(|_| true).map_err(|cause| self.error("read failures", &cause))
    }

    fn failures(&self) -> OwnTable<'_> {
        OwnTable { name: &self.tables.failure, columns: &COLUMNS, option: "--failure-table" }
    }

    /// The failures' table must be toller's, and for ids of this type, where there is one.
    ///
    /// # Errors
    /// It is another program's, or another table's.
    pub fn failures_must_fit(&self, shape: &Shape) -> Result<()> {
        self.must_fit(&self.failures(), shape)
    }

    /// What makes the table; nothing where it is there.
    pub(super) fn failures_ddl(&self, shape: &Shape) -> Result<String> {
        self.ddl(&self.failures(), shape)
    }

    /// Makes the failures' table say of what is staged what is true now.
    pub(super) fn settle_failures(&self, shape: &Shape, run_id: &str, failures: bool) -> duckdb::Result<()> {
        let failure = self.quoted(&self.tables.failure);
        let kind = &shape.id_type;
        if failures {
            self.connection.execute_batch(&format!(
                "CREATE OR REPLACE TEMP TABLE failed AS SELECT o.*, coalesce(max(f.attempts), 0) AS before \
                 FROM temp.main.outcome AS o LEFT JOIN {failure} AS f ON f.source_image_id = o.id::{kind} \
                 WHERE o.how IS NULL GROUP BY ALL"
            ))?;
        }
        // An outcome that is known already says nothing of what failed since.
        let these =
            format!("source_image_id IN (SELECT id::{kind} FROM temp.main.outcome WHERE how IS DISTINCT FROM 'known')");
        // Asked first, because a DELETE writes to the log even where it finds nothing.
        let known: bool =
            self.connection
                .query_row(&format!("SELECT EXISTS (FROM {failure} WHERE {these})"), [], |row| row.get(0))?;
        if known {
            self.connection.execute(&format!("DELETE FROM {failure} WHERE {these}"), [])?;
        }
        if failures {
            self.connection.execute(
                &format!(
                    "INSERT INTO {failure} ({columns}) SELECT id::{kind}, url, kind, http_status, message, attempts + before, \
                     permanent, ?, make_timestamp(finished_at) FROM temp.main.failed",
                    columns = COLUMNS.map(|(name, _)| name).join(", ")
                ),
                params![run_id],
            )?;
        }
        Ok(())
    }

    /// What failed in this run since then is not for good, but for what was refused before any request: that says nothing
    /// about the origin.
    pub(super) fn forgive_failures(&self, run_id: &str, since: SystemTime) -> duckdb::Result<()> {
        let forgive = format!(
            "UPDATE {} SET permanent = false WHERE run_id = ? AND failed_at >= make_timestamp(?) \
             AND kind NOT IN ('bad_guid', 'bad_url')",
            self.quoted(&self.tables.failure)
        );
        self.connection.execute(&forgive, params![run_id, micros(since)]).map(drop)
    }

    pub(super) fn leaves_failures_out(&self, selection: &Selection) -> Result<bool> {
        Ok((selection.failed != Failed::Take || !selection.run_id.is_empty()) && self.has_failures()?)
    }

    pub(super) fn has_failures(&self) -> Result<bool> {
        let failure = &self.tables.failure;
        if self.columns(failure)?.is_empty() {
            return Ok(false);
        }
        let sql = format!("SELECT EXISTS (FROM {})", self.quoted(failure));
        self.connection.query_row(&sql, [], |row| row.get(0)).map_err(|cause| self.error("read failures", &cause))
    }

    /// How many GUIDs stand failed, by kind, most first; none where the table is missing, or another program's.
    pub(super) fn failures_by_kind(&self, shape: &Shape) -> Result<Vec<(String, u64)>> {
        if !self.has_own_failures(shape)? {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT coalesce(kind::VARCHAR, ''), count(*) FROM {} GROUP BY 1 ORDER BY 2 DESC, 1",
            self.quoted(&self.tables.failure)
        );
        let read = || {
            let mut statement = self.connection.prepare(&sql)?;
            let kinds = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            kinds.collect::<duckdb::Result<_>>()
        };
        read().map_err(|cause| self.error("read failures", &cause))
    }

    /// Whether the failures' table is there, and toller's.
    pub(super) fn has_own_failures(&self, shape: &Shape) -> Result<bool> {
        self.is_there_and_ours(&self.failures(), shape)
    }
}
