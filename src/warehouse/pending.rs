//! What is missing: counted once, and read page by page in the table's order.
//!
//! A page is found by the row after which it begins, so that ten million pending GUIDs never stand in memory. Rows
//! stream out of DuckDB in vectors and are borrowed from them, which is five times as fast as row objects.

use std::ops::ControlFlow;
use std::time::SystemTime;

use duckdb::arrow::array::{Array, AsArray};
use duckdb::arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::facts::Known;
use crate::guid::UrlTemplate;

use super::refresh::OnRecord;
use super::tables::{quote, text};
use super::{Condition, Shape, Window, micros};

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

/// What becomes of a pending row that stands failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It is not wanted.
    LeaveOut,
    /// It is not wanted if it failed then or later.
    LeaveOutSince(SystemTime),
    /// It is wanted as any other.
    Take,
}

/// Which of the pending rows are wanted.
#[derive(Debug, Clone)]
pub struct Selection {
    /// A further condition.
    pub condition: Option<Condition>,
    /// Where URLs come from.
    pub urls: UrlSource,
    /// What becomes of those that stand failed for good with the same URL.
    pub failed: Failed,
    /// Leave out what this run has recorded as failed.
    pub run_id: String,
    /// Also what is home and was last seen before then.
    pub refresh: Option<SystemTime>,
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
    /// What is on record of its file, where that is home.
    pub known: Option<Box<Known>>,
}

/// One of them as it is read.
#[derive(Debug)]
pub struct PendingRef<'r> {
    /// Where it stands in the table.
    pub row: i64,
    /// Its id as text.
    pub id: &'r str,
    /// Its URL, where the table says one.
    pub url: Option<&'r str>,
    /// What is on record of its file, where that is home.
    known: Option<Box<Known>>,
}

impl PendingRef<'_> {
    fn into_row(self) -> PendingRow {
        PendingRow { row: self.row, id: self.id.into(), url: self.url.map(Into::into), known: self.known }
    }
}

/// The rows whose id stands in an earlier row as well, a bit for each row of the table.
#[derive(Debug, Default)]
pub struct Repeats(Vec<u64>);

impl Repeats {
    /// Whether that row is one of them.
    #[must_use]
    pub fn holds(&self, row: i64) -> bool {
        let (word, bit) = place(row);
        self.0.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    fn add(&mut self, row: i64) {
        let (word, bit) = place(row);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }
}

fn place(row: i64) -> (usize, i64) {
    (usize::try_from(row / 64).unwrap_or(0), row % 64)
}

impl Window<'_> {
    /// The rows that are pending, as SQL: `FROM … WHERE …`; without those that stand failed, or with them.
    fn pending_sql(&self, shape: &Shape, selection: &Selection, leave_failures_out: bool) -> Result<String> {
        let tables = self.tables;
        let Shape { rows, id, .. } = shape;
        let (from, wanted) = match selection.refresh {
            Some(before) => self.stale_sql(shape, before)?,
            None => (rows.clone(), format!("NOT {}", shape.done)),
        };
        let mut sql = format!("FROM {from} WHERE {id} IS NOT NULL AND {wanted}");
        if let Some(condition) = &selection.condition {
            sql.push_str(&condition.and());
        }
        if leave_failures_out {
            let url = match &selection.urls {
                UrlSource::Template(template) => {
                    format!("replace({}, '{{guid}}', url_encode({id}::VARCHAR))", text(template.as_str()))
                }
                UrlSource::Column(column) => format!("{}.{}::VARCHAR", quote(&tables.table.table), quote(column)),
                UrlSource::None => "NULL".into(),
            };
            let when = match selection.failed {
                Failed::LeaveOut => "true".into(),
                Failed::LeaveOutSince(time) => format!("f.failed_at >= make_timestamp({})", micros(time)),
                Failed::Take => "false".into(),
            };
            sql = format!(
                "{sql} AND {id} NOT IN (SELECT f.source_image_id FROM {failure} AS f JOIN {rows} \
                 ON {id} = f.source_image_id WHERE f.run_id = {run} \
                 OR ({when} AND f.permanent AND (f.kind = 'bad_guid' OR f.url IS NOT DISTINCT FROM {url})))",
                failure = self.quoted(&tables.failure),
                run = text(&selection.run_id),
            );
        }
        Ok(sql)
    }

    /// What is left out because it failed for good: how many GUIDs, by kind, most first.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn left_alone(&self, shape: &Shape, selection: &Selection) -> Result<Vec<(String, u64)>> {
        if selection.failed == Failed::Take || !self.has_failures()? {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT coalesce(kind::VARCHAR, ''), count(*) FROM {failure} WHERE source_image_id IN (SELECT {id} {all} EXCEPT SELECT {id} {wanted}) \
             GROUP BY 1 ORDER BY 2 DESC, 1",
            failure = self.quoted(&self.tables.failure),
            id = shape.id,
            all = self.pending_sql(shape, selection, false)?,
            wanted = self.pending_sql(shape, selection, true)?,
        );
        let read = || {
            let mut statement = self.connection.prepare(&sql)?;
            let kinds = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            kinds.collect()
        };
        self.with_room(read).map_err(|cause| self.not_read(selection, &cause))
    }

    /// How many rows are pending.
    ///
    /// # Errors
    /// A condition or a URL column that DuckDB does not take is a wrong command line.
    pub fn count_pending_rows(&self, shape: &Shape, selection: &Selection) -> Result<u64> {
        if let UrlSource::Column(column) = &selection.urls {
            self.column_must_be_there(column)?;
        }
        let pending = self.pending_sql(shape, selection, self.leaves_failures_out(selection)?)?;
        let counted: duckdb::Result<i64> =
            self.connection.query_row(&format!("SELECT count(*) {pending}"), [], |row| row.get(0));
        counted.map(i64::unsigned_abs).map_err(|cause| self.not_read(selection, &cause))
    }

    /// How many rows the table has; DuckDB knows it without looking.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn count_rows(&self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.quoted(&self.tables.table));
        let count: duckdb::Result<i64> = self.connection.query_row(&sql, [], |row| row.get(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.error("read table", &cause))
    }

    fn not_read(&self, selection: &Selection, cause: &duckdb::Error) -> Error {
        self.blame("read pending", selection.condition.as_ref(), cause)
    }

    fn column_must_be_there(&self, column: &str) -> Result<()> {
        if self.lacking(&self.tables.table, &[column])?.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.columns(&self.tables.table)?.into_iter().map(|column| column.name).collect();
        Err(self
            .fault(format!("no column {column} in {}", self.tables.table))
            .with_way_out(format!("its columns are {}; name one with --url-column", names.join(", "))))
    }

    /// All pending rows in the table's order, where they are few in a large table.
    ///
    /// Sorted, although they are in order, because that puts them together: as they are read each vector holds but a
    /// few, and to hand one over costs as much as fifty rows.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn all_pending(&self, shape: &Shape, selection: &Selection, mut take: impl FnMut(PendingRow)) -> Result<()> {
        let select = self.select_pending(shape, selection, self.leaves_failures_out(selection)?)?;
        let take = |found: PendingRef<'_>| {
            take(found.into_row());
            ControlFlow::Continue(())
        };
        self.stream(selection, &format!("{select} ORDER BY {}", shape.row), take).map(drop)
    }

    /// The next pending rows after `after`, at most `limit`, in the table's order, each given to `take`.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn pending(
        &self,
        shape: &Shape,
        selection: &Selection,
        after: i64,
        limit: usize,
        mut take: impl FnMut(PendingRow),
    ) -> Result<()> {
        let mut taken = 0;
        self.each_pending(shape, selection, after, limit, |found| {
            if taken == limit {
                return ControlFlow::Break(());
            }
            taken += 1;
            take(found.into_row());
            ControlFlow::Continue(())
        })
        .map(drop)
    }

    /// The pending rows after `after` in the table's order, until `take` breaks off, or after `most`
    /// of them or some more. True when there are no more.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn each_pending(
        &self,
        shape: &Shape,
        selection: &Selection,
        after: i64,
        most: usize,
        take: impl FnMut(PendingRef<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        // The table alone is read in its order, at the speed of the disk. With other tables beside it only sorting is
        // sure: a join may go through them and look into the table.
        let leave_failures_out = self.leaves_failures_out(selection)?;
        let alone = selection.condition.is_none() && selection.refresh.is_none() && !leave_failures_out;
        let row = &shape.row;
        let order = if alone { String::new() } else { format!(" ORDER BY {row} LIMIT {most}") };
        let select = self.select_pending(shape, selection, leave_failures_out)?;
        let (count, ended) = self.stream(selection, &format!("{select} AND {row} > {after}{order}"), take)?;
        Ok(ended && (alone || count < most))
    }

    /// The pending rows as SQL: `SELECT row, id, URL FROM … WHERE …`.
    fn select_pending(&self, shape: &Shape, selection: &Selection, leave_failures_out: bool) -> Result<String> {
        let url = match &selection.urls {
            UrlSource::Column(column) => {
                self.column_must_be_there(column)?;
                format!("{}.{}::VARCHAR", quote(&self.tables.table.table), quote(column))
            }
            UrlSource::Template(_) | UrlSource::None => "NULL::VARCHAR".into(),
        };
        let pending = self.pending_sql(shape, selection, leave_failures_out)?;
        let known = if selection.refresh.is_some() { self.known_sql(shape)? } else { String::new() };
        Ok(format!("SELECT {}, {}::VARCHAR, {url}{known} {pending}", shape.row, shape.id))
    }

    /// Runs a query for rows, ids and URLs and gives each to `take`, until it breaks off. Says how many came, and
    /// whether these were all.
    fn stream(
        &self,
        selection: &Selection,
        sql: &str,
        mut take: impl FnMut(PendingRef<'_>) -> ControlFlow<()>,
    ) -> Result<(usize, bool)> {
        let mut count = 0;
        let mut read = |count: &mut usize| -> duckdb::Result<bool> {
            let mut statement = self.connection.prepare(sql)?;
            for vectors in statement.stream_arrow([])? {
                let vectors = vectors?;
                let rows = vectors.column(0).as_primitive::<Int64Type>().values();
                let (ids, urls) = (vectors.column(1).as_string::<i32>(), vectors.column(2).as_string::<i32>());
                *count += rows.len();
                let known = OnRecord::new(&vectors);
                for (at, row) in rows.iter().enumerate() {
                    let url = urls.is_valid(at).then(|| urls.value(at));
                    let known = known.as_ref().and_then(|known| known.at(at));
                    if take(PendingRef { row: *row, id: ids.value(at), url, known }).is_break() {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        };
        loop {
            match read(&mut count) {
                Err(cause) if count == 0 && self.has_more_memory(&cause) => {}
                other => return other.map(|ended| (count, ended)).map_err(|cause| self.not_read(selection, &cause)),
            }
        }
    }

    /// The pending rows whose id is in an earlier pending row as well. Where a key says that there are none, nothing is
    /// asked; else DuckDB sorts them out, on disk where they are too many for its memory.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn repeats(&self, shape: &Shape, selection: &Selection) -> Result<Repeats> {
        let mut repeats = Repeats::default();
        if shape.unique {
            return Ok(repeats);
        }
        let Shape { id, row, .. } = shape;
        let pending = self.pending_sql(shape, selection, self.leaves_failures_out(selection)?)?;
        // By hashes first, which are smaller than ids; what they bring together is then told apart.
        let sql = format!(
            "SELECT {row} {pending} AND hash({id}) IN (SELECT hash({id}) {pending} GROUP BY 1 HAVING count(*) > 1) \
             QUALIFY row_number() OVER (PARTITION BY {id} ORDER BY {row}) > 1"
        );
        let mut read = || -> duckdb::Result<()> {
            let mut statement = self.connection.prepare(&sql)?;
            for vectors in statement.stream_arrow([])? {
                vectors?.column(0).as_primitive::<Int64Type>().values().iter().for_each(|row| repeats.add(*row));
            }
            Ok(())
        };
        loop {
            match read() {
                Err(cause) if self.has_more_memory(&cause) => {}
                other => break other.map_err(|cause| self.not_read(selection, &cause))?,
            }
        }
        Ok(repeats)
    }

    /// Whether a query may be tried again with more memory than it turned out to have.
    fn has_more_memory(&self, cause: &duckdb::Error) -> bool {
        cause.to_string().contains("Out of Memory Error") && self.may_use_more()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_remembered_by_a_bit_each() {
        let mut repeats = Repeats::default();
        for row in [0, 63, 64, 1_000_000] {
            assert!(!repeats.holds(row));
            repeats.add(row);
            assert!(repeats.holds(row) && !repeats.holds(row + 1));
        }
        assert!(!repeats.holds(i64::MAX));
    }
}
