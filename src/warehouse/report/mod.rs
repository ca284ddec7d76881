//! What a report shows of a warehouse: counts and examples, never a row for each image.
//!
//! Every query here is an aggregate or takes a handful of rows, so that neither memory nor the time for which the warehouse
//! is held grows much with it. A table that is missing, empty or another program's is one of which nothing is told.

mod bodies;
mod files;

use serde::Serialize;

use crate::error::Result;

use super::tables::{quote, text};
use super::{RunRow, Shape, Window};

pub use bodies::{SameBodies, SameBody};
pub use files::{Course, Files, Share, Step};

/// How many runs are shown.
const RUNS: usize = 40;
/// How many kinds of failure are shown; toller knows half as many.
const KINDS: usize = 40;
/// How many examples of each.
const EXAMPLES: usize = 3;

/// Which images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Those that came home last.
    Latest,
    /// Any.
    Random,
}

/// Everything that a report takes from the warehouse.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// Rows of images.
    pub total: u64,
    /// Those whose thumbnail is home.
    pub home: u64,
    /// Images that stand failed.
    pub failed: u64,
    /// Those that failed for good.
    pub failed_permanent: u64,
    /// The latest runs, newest first.
    pub runs: Vec<RunRow>,
    /// How many there were in all.
    pub runs_in_all: u64,
    /// How the latest run of some size went.
    pub course: Option<Course>,
    /// What is known of the files that are home.
    pub files: Option<Files>,
    /// What failed, the most frequent first.
    pub failures: Vec<FailedKind>,
    /// Files with one and the same body.
    pub same: Option<SameBodies>,
    /// Images to look at.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
}

/// What failed in one way.
#[derive(Debug, Clone, Serialize)]
pub struct FailedKind {
    /// As the table says it.
    pub kind: String,
    /// How many images.
    pub images: u64,
    /// Those of them that failed for good.
    pub permanent: u64,
    /// The latest of them.
    pub examples: Vec<Example>,
}

/// One image that failed.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is the column of that name")]
pub struct Example {
    pub guid: String,
    pub url: Option<String>,
    pub message: Option<String>,
    pub attempts: Option<i64>,
    pub failed_at: Option<String>,
}

/// One image that is home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// As the warehouse spells it.
    pub guid: String,
    /// What the table of files knows of it.
    pub format: Option<String>,
    /// In pixels.
    pub width: Option<i64>,
    /// In pixels.
    pub height: Option<i64>,
    /// Its length.
    pub bytes: Option<i64>,
}

/// A count as DuckDB gives it.
fn count(row: &duckdb::Row<'_>, column: usize) -> duckdb::Result<u64> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// A time for people and for JSON. Times that are none, such as infinity, are NULL.
fn time(column: &str) -> String {
    format!("CASE WHEN isfinite({column}) THEN strftime({column}, '%Y-%m-%dT%H:%M:%SZ') END")
}

impl Window<'_> {
    /// Takes everything that a report shows, and so many images to look at.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn findings(&self, choice: Choice, pictures: usize) -> Result<Findings> {
        let shape = self.shape()?;
        let files = self.has_facts(&shape)?.then(|| self.quoted(&self.tables.file));
        let read = || -> duckdb::Result<Findings> {
            let mut found = self.counts(&shape)?;
            if let Some(table) = &files {
                found.files = self.files_told(table)?;
                found.same = found.files.as_ref().map(|known| self.same_bodies(table, known.count)).transpose()?;
            }
            found.pictures = match &files {
                Some(table) if found.files.is_some() => self.known_pictures(table, choice, pictures)?,
                _ => self.done_pictures(&shape, choice, pictures)?,
            };
            Ok(found)
        };
        let mut found = read().map_err(|cause| self.error("read report", &cause))?;
        (found.runs, found.runs_in_all) = (self.last_runs(RUNS)?, self.count_runs()?);
        if let Some(table) = files {
            found.course = self.course(&table, &found.runs).map_err(|cause| self.error("read report", &cause))?;
        }
        if self.has_own_failures(&shape)? {
            let failures = self.failures_told();
            (found.failed, found.failed_permanent, found.failures) =
                failures.map_err(|cause| self.error("read failures", &cause))?;
        }
        Ok(found)
    }

    /// The rows of images, done and not. Those without an id are asked for by themselves: where there are none, DuckDB
    /// knows without reading a single id.
    fn counts(&self, shape: &Shape) -> duckdb::Result<Findings> {
        let Shape { rows, done, .. } = shape;
        let ask = |condition: &str| -> duckdb::Result<(u64, u64)> {
            let sql = format!("SELECT count(*), count(*) FILTER (WHERE {done}) FROM {rows}{condition}");
            self.connection.query_row(&sql, [], |row| Ok((count(row, 0)?, count(row, 1)?)))
        };
        let (all, home) = ask("")?;
        let (no_id, no_id_home) = ask(&format!(" WHERE {} IS NULL", quote(&self.tables.id)))?;
        Ok(Findings { total: all - no_id, home: home - no_id_home, ..Findings::default() })
    }

    fn failures_told(&self) -> duckdb::Result<(u64, u64, Vec<FailedKind>)> {
        let failure = self.quoted(&self.tables.failure);
        let all = format!("SELECT count(*), count(*) FILTER (WHERE permanent) FROM {failure}");
        let (failed, permanent) = self.connection.query_row(&all, [], |row| Ok((count(row, 0)?, count(row, 1)?)))?;
        let kinds = format!(
            "SELECT coalesce(kind::VARCHAR, ''), count(*), count(*) FILTER (WHERE permanent) FROM {failure} \
             GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {KINDS}"
        );
        let mut statement = self.connection.prepare(&kinds)?;
        let kinds = statement.query_map([], |row| {
            let (kind, images, permanent) = (row.get(0)?, count(row, 1)?, count(row, 2)?);
            Ok(FailedKind { kind, images, permanent, examples: Vec::new() })
        })?;
        let mut kinds = kinds.collect::<duckdb::Result<Vec<_>>>()?;
        self.add_examples(&failure, &mut kinds)?;
        Ok((failed, permanent, kinds))
    }

    /// The latest of each kind, in one pass that keeps no more than is shown.
    fn add_examples(&self, failure: &str, kinds: &mut [FailedKind]) -> duckdb::Result<()> {
        let names: Vec<_> = kinds.iter().map(|kind| text(&kind.kind)).collect();
        let sql = format!(
            "SELECT kind, e.guid, e.url, e.message, e.attempts, {at} FROM (SELECT coalesce(kind::VARCHAR, '') AS kind, \
             unnest(max_by({{'guid': source_image_id::VARCHAR, 'url': url::VARCHAR, 'message': message::VARCHAR, \
             'attempts': attempts::BIGINT, 'failed_at': failed_at::TIMESTAMP}}, coalesce(failed_at, '-infinity'), {EXAMPLES})) AS e \
             FROM {failure} WHERE coalesce(kind::VARCHAR, '') IN ({names}) GROUP BY 1)",
            at = time("e.failed_at"),
            names = names.join(", "),
        );
        if names.is_empty() {
            return Ok(());
        }
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(0)?;
            let example = Example {
                guid: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                url: row.get(2)?,
                message: row.get(3)?,
                attempts: row.get(4)?,
                failed_at: row.get(5)?,
            };
            if let Some(known) = kinds.iter_mut().find(|known| known.kind == kind) {
                known.examples.push(example);
            }
        }
        Ok(())
    }

    /// Images that are done, by the table of images alone.
    fn done_pictures(&self, shape: &Shape, choice: Choice, most: usize) -> duckdb::Result<Vec<Picture>> {
        let Shape { rows, id, done, row, updated_type, .. } = shape;
        let own = quote(&self.tables.table.table);
        let done = format!("FROM {rows} WHERE {done} AND {own}.{} IS NOT NULL", quote(&self.tables.id));
        let order = match updated_type {
            Some(_) => format!("{own}.{} DESC NULLS LAST", quote(&self.tables.updated)),
            None => format!("{row} DESC"),
        };
        // Ids are read of the chosen rows only.
        let chosen = match choice {
            Choice::Latest => format!("SELECT {row} AS r {done} ORDER BY {order} LIMIT {most}"),
            Choice::Random => format!("SELECT r FROM (SELECT {row} AS r {done}) USING SAMPLE reservoir({most} ROWS)"),
        };
        let order = if choice == Choice::Latest { format!(" ORDER BY {order}") } else { String::new() };
        let sql = format!("SELECT {id}::VARCHAR FROM {rows} WHERE {row} IN ({chosen}){order}");
        let mut statement = self.connection.prepare(&sql)?;
        let found = statement.query_map([], |row| Ok(Picture { guid: row.get(0)?, ..Picture::default() }))?;
        found.collect()
    }
}
