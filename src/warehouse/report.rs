//! Where things stand: what `status` reads, and what the last run said of itself.

use serde::Serialize;

use crate::error::Result;

use super::tables::{FAILURE_COLUMNS, LATER_COLUMNS, MANIFEST_COLUMNS, text};
use super::{Condition, Shape, Window};

/// The counts of a warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Distinct GUIDs.
    pub total: u64,
    /// Distinct GUIDs with a row that is not done.
    pub pending: u64,
    /// Those of the pending that stand failed for good.
    pub failed_permanent: u64,
    /// What stands failed, by kind.
    pub failures: Vec<(String, u64)>,
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

impl Window<'_> {
    /// Counts what is there, done and failed.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn standing(&self, shape: &Shape, condition: Option<&Condition>) -> Result<Standing> {
        let tables = self.tables;
        let Shape { rows, id, done, .. } = shape;
        let filter = condition.map(Condition::and).unwrap_or_default();
        let id_count = if shape.unique { "count(*)".into() } else { format!("count(DISTINCT {id})") };
        let pending = format!("FROM {rows} WHERE {id} IS NOT NULL AND NOT {done}{filter}");
        let ours =
            !self.columns(&tables.failure)?.is_empty() && self.lacking(&tables.failure, &FAILURE_COLUMNS)?.is_empty();
        let query = || -> duckdb::Result<Standing> {
            let count = |sql: String| -> duckdb::Result<u64> {
                let count: i64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
                Ok(u64::try_from(count).unwrap_or(0))
            };
            let mut standing = Standing {
                total: count(format!("SELECT {id_count} FROM {rows} WHERE {id} IS NOT NULL{filter}"))?,
                pending: count(format!("SELECT {id_count} {pending}"))?,
                ..Standing::default()
            };
            if ours {
                let failure = self.quoted(&tables.failure);
                standing.failed_permanent = count(format!(
                    "SELECT count(DISTINCT f.source_image_id) FROM {failure} AS f WHERE f.permanent AND f.source_image_id IN (SELECT {id} {pending})"
                ))?;
                let mut kinds = self
                    .connection
                    .prepare(&format!("SELECT kind::VARCHAR, count(*) FROM {failure} GROUP BY 1 ORDER BY 2 DESC, 1"))?;
                let kinds = kinds.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
                standing.failures = kinds.collect::<duckdb::Result<_>>()?;
            }
            Ok(standing)
        };
        self.with_room(query).map_err(|cause| self.blame("read status", condition, &cause))
    }

    /// The latest runs, newest first, and before them those whose row says that they are under way; none where no run was ever recorded.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn last_runs(&self, most: usize) -> Result<Vec<RunRow>> {
        self.runs_where("true", most)
    }

    fn runs_where(&self, condition: &str, most: usize) -> Result<Vec<RunRow>> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(Vec::new()) };
        let lacking = self.lacking(&manifest, &LATER_COLUMNS)?;
        let later =
            LATER_COLUMNS.map(|column| if lacking.contains(&column) { "NULL::VARCHAR" } else { column }).join(", ");
        let time = |column: &str| format!("strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ')");
        let sql = format!(
            "SELECT run_id::VARCHAR, {}, {}, {}, status::VARCHAR, {}, url, dest, extension, fanout::BIGINT, host, pid::BIGINT, \
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
            let rows = statement.query_map([], |row| {
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
                    seconds: row.get(23)?,
                    silent_for: row.get(24)?,
                    lives: false,
                })
            })?;
            rows.collect()
        };
        query().map_err(|cause| self.error("read runs", &cause))
    }

    /// The latest run of this table of images that had a destination.
    ///
    /// Runs of an older toller do not say which table they were for. They count only where none says it: among
    /// several tables nobody knows whose they were, and a wrong folder is worse than none.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn last_destination(&self) -> Result<Option<RunRow>> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(None) };
        let mut condition = String::from("dest IS NOT NULL");
        if self.lacking(&manifest, &LATER_COLUMNS)?.is_empty() {
            condition += &format!(
                " AND coalesce(lower(image_table) = lower({}), NOT EXISTS (FROM {} WHERE dest IS NOT NULL AND image_table IS NOT NULL))",
                text(&self.tables.table.canonical()),
                self.quoted(&manifest),
            );
        }
        Ok(self.runs_where(&condition, 1)?.into_iter().next())
    }

    fn readable_manifest(&self) -> Result<Option<super::Name>> {
        for name in [self.tables.manifest.clone(), self.tables.manifest.prefixed("toller_")] {
            if !self.columns(&name)?.is_empty() && self.lacking(&name, &MANIFEST_COLUMNS)?.is_empty() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}
