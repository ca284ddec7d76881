//! What is missing: counted once, and read page by page in the table's order.
//!
//! A page is found by the row after which it begins, so that ten million pending GUIDs never stand in memory.

use duckdb::params;

use crate::error::{ExitCode, Result};
use crate::guid::UrlTemplate;

use super::tables::{quote, text};
use super::{Shape, Window};

/// Where URLs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// One template for all.
    Template(UrlTemplate),
    /// A column of the table.
    Column(String),
    /// No URL is wanted.
    None,
}

/// Which of the pending rows are wanted.
#[derive(Debug, Clone)]
pub struct Selection {
    /// A further condition, SQL.
    pub condition: Option<String>,
    /// Where URLs come from.
    pub urls: UrlSource,
    /// Leave out what stands failed for good with the same URL.
    pub skip_failed: bool,
    /// Leave out what this run has recorded as failed.
    pub run_id: String,
}

/// One pending GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// Where it stands in the table.
    pub row: i64,
    /// Its id as text.
    pub id: Box<str>,
    /// Its URL, where the table says one.
    pub url: Option<Box<str>>,
}

impl Window<'_> {
    /// The rows that are pending, as SQL: `FROM … WHERE …`.
    fn pending_sql(&self, selection: &Selection) -> Result<String> {
        let tables = self.tables;
        let (id, done) = (quote(&tables.id), quote(&tables.done));
        let mut sql =
            format!("FROM {} AS t WHERE t.{id} IS NOT NULL AND NOT coalesce(t.{done}, false)", tables.table.quoted());
        if let Some(condition) = &selection.condition {
            // On lines of its own, so that a comment at its end comments nothing of ours.
            sql.push_str(&format!(" AND (\n{condition}\n)"));
        }
        if self.has_failures()? {
            let url = match &selection.urls {
                UrlSource::Template(template) => {
                    format!("replace({}, '{{guid}}', url_encode(t.{id}::VARCHAR))", text(template.as_str()))
                }
                UrlSource::Column(column) => format!("t.{}::VARCHAR", quote(column)),
                UrlSource::None => "NULL".into(),
            };
            let skip = if selection.skip_failed {
                format!(" OR (f.permanent AND (f.kind = 'bad_guid' OR f.url IS NOT DISTINCT FROM {url}))")
            } else {
                String::new()
            };
            sql = format!(
                "{sql} AND t.{id} NOT IN (SELECT f.source_image_id FROM {failure} AS f JOIN {table} AS t \
                 ON t.{id} = f.source_image_id WHERE f.run_id = {run}{skip})",
                failure = tables.failure.quoted(),
                table = tables.table.quoted(),
                run = text(&selection.run_id),
            );
        }
        Ok(sql)
    }

    fn has_failures(&self) -> Result<bool> {
        let failure = &self.tables.failure;
        if self.columns(failure)?.is_empty() {
            return Ok(false);
        }
        let sql = format!("SELECT EXISTS (FROM {})", failure.quoted());
        self.connection.query_row(&sql, [], |row| row.get(0)).map_err(|cause| self.error("read failures", &cause))
    }

    /// How many distinct GUIDs are pending.
    ///
    /// # Errors
    /// A condition or a URL column that DuckDB does not take is a wrong command line.
    pub fn count_pending(&self, shape: &Shape, selection: &Selection) -> Result<u64> {
        if let UrlSource::Column(column) = &selection.urls {
            self.column_must_be_there(column)?;
        }
        // Where a key says that no id is there twice, nothing has to be remembered to count them.
        let count = if shape.unique { "*".into() } else { format!("DISTINCT t.{}", quote(&self.tables.id)) };
        let sql = format!("SELECT count({count}) {}", self.pending_sql(selection)?);
        let count: duckdb::Result<i64> = self.connection.query_row(&sql, [], |row| row.get(0));
        let count = count.map_err(|cause| {
            let error = self.error("read pending", &cause);
            if selection.condition.is_some() {
                error.with_code(ExitCode::Usage).with_way_out("look at the SQL of --where")
            } else {
                error
            }
        })?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn column_must_be_there(&self, column: &str) -> Result<()> {
        if self.lacking(&self.tables.table, &[column])?.is_empty() {
            return Ok(());
        }
        let cause = format!("no column {column} in {}", self.tables.table);
        Err(crate::error::Error::new("warehouse", self.file.display(), cause)
            .with_way_out("name one with --url-column"))
    }

    /// The next pending rows after `after`, at most `limit`, in the table's order, each given to `take`.
    ///
    /// # Errors
    /// As [`Window::count_pending`].
    pub fn pending(
        &self,
        selection: &Selection,
        after: i64,
        limit: usize,
        mut take: impl FnMut(PendingRow),
    ) -> Result<()> {
        let url = match &selection.urls {
            UrlSource::Column(column) => format!("t.{}::VARCHAR", quote(column)),
            UrlSource::Template(_) | UrlSource::None => "NULL::VARCHAR".into(),
        };
        let sql = format!(
            "SELECT t.rowid, t.{id}::VARCHAR, {url} {pending} AND t.rowid > ? ORDER BY t.rowid LIMIT ?",
            id = quote(&self.tables.id),
            pending = self.pending_sql(selection)?,
        );
        let mut read = || -> duckdb::Result<()> {
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
            while let Some(row) = rows.next()? {
                let url: Option<String> = row.get(2)?;
                let id: String = row.get(1)?;
                take(PendingRow { row: row.get(0)?, id: id.into(), url: url.map(Into::into) });
            }
            Ok(())
        };
        read().map_err(|cause| self.error("read pending", &cause))
    }
}
