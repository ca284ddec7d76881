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

/// Up to so many rows are held against what stands failed one by one.
pub(super) const ONE_BY_ONE: u64 = 1_000_000;
/// So many rows of the table are sorted first, where they have to be.
const PART: i64 = 1_000_000;

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

impl Window<'_> {
    /// The rows that are pending, as SQL: `FROM … WHERE …`; without those that stand failed, or with them; of that `part`
    /// of the table.
    pub(super) fn pending_sql(
        &self,
        shape: &Shape,
        selection: &Selection,
        leave_failures_out: bool,
        part: &str,
    ) -> Result<String> {
        let Shape { rows, id, .. } = shape;
        let (from, wanted) = match selection.refresh {
            Some(before) => self.stale_sql(shape, before)?,
            None => (rows.clone(), format!("NOT {}", shape.done)),
        };
        let mut sql = format!("FROM {from} WHERE {id} IS NOT NULL AND {wanted}{part}");
        if let Some(condition) = &selection.condition {
            sql.push_str(&condition.and());
        }
        if leave_failures_out {
            sql = format!(
                "{sql} AND {id} NOT IN (SELECT f.source_image_id {})",
                self.left_out_sql(shape, selection, part)
            );
        }
        Ok(sql)
    }

    /// The failures that are left out, as SQL: `FROM … AS f … WHERE …`. The table is asked only where it says the URLs.
    fn left_out_sql(&self, shape: &Shape, selection: &Selection, part: &str) -> String {
        let Shape { rows, id, .. } = shape;
        let (beside, part, url) = match &selection.urls {
            UrlSource::Template(template) => {
                let template = text(template.as_str());
                (String::new(), "", format!("replace({template}, '{{guid}}', url_encode(f.source_image_id::VARCHAR))"))
            }
            UrlSource::Column(column) => {
                let url = format!("{}.{}::VARCHAR", quote(&self.tables.table.table), quote(column));
                (format!(" JOIN {rows} ON {id} = f.source_image_id"), part, url)
            }
            UrlSource::None => (String::new(), "", "NULL".into()),
        };
        let when = match selection.failed {
            Failed::LeaveOut => "true".into(),
            Failed::LeaveOutSince(time) => format!("f.failed_at >= make_timestamp({})", micros(time)),
            Failed::Take => "false".into(),
        };
        format!(
            "FROM {failure} AS f{beside} WHERE (f.run_id = {run} \
             OR ({when} AND f.permanent AND (f.kind = 'bad_guid' OR f.url IS NOT DISTINCT FROM {url}))){part}",
            failure = self.quoted(&self.tables.failure),
            run = text(&selection.run_id),
        )
    }

    /// Whether what is left out is told by the rows of failures alone, where so many rows are pending: to look for each of
    /// them among a hundred million ids takes a minute. A row of failures goes when its image comes home, so that the
    /// numbers are the same unless somebody else has changed the table.
    fn goes_by_rows(selection: &Selection, pending: u64) -> bool {
        let plain = selection.condition.is_none() && selection.refresh.is_none();
        plain && !matches!(selection.urls, UrlSource::Column(_)) && pending > ONE_BY_ONE
    }

    /// What is left out because it failed for good, beside so many rows that are pending: how many GUIDs, by kind, most first.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn left_alone(&self, shape: &Shape, selection: &Selection, pending: u64) -> Result<Vec<(String, u64)>> {
        if selection.failed == Failed::Take || !self.has_failures()? {
            return Ok(Vec::new());
        }
        let left_out = self.left_out_sql(shape, selection, "");
        let which = if Self::goes_by_rows(selection, pending) {
            left_out
        } else {
            let all = self.pending_sql(shape, selection, false, "")?;
            format!(
                "FROM {failure} AS f WHERE f.source_image_id IN (SELECT f.source_image_id {left_out}) \
                 AND f.source_image_id IN (SELECT {id} {all})",
                failure = self.quoted(&self.tables.failure),
                id = shape.id,
            )
        };
        let sql = format!("SELECT coalesce(f.kind::VARCHAR, ''), count(*) {which} GROUP BY 1 ORDER BY 2 DESC, 1");
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
        let count = |of: &str| -> Result<u64> {
            let counted: duckdb::Result<i64> =
                self.connection.query_row(&format!("SELECT count(*) {of}"), [], |row| row.get(0));
            counted.map(i64::unsigned_abs).map_err(|cause| self.not_read(selection, &cause))
        };
        let all = count(&self.pending_sql(shape, selection, false, "")?)?;
        if all == 0 || !self.leaves_failures_out(selection)? {
            return Ok(all);
        }
        if Self::goes_by_rows(selection, all) {
            let left_out = count(&self.left_out_sql(shape, selection, ""))?;
            if left_out < all / 2 {
                return Ok(all - left_out);
            }
        }
        count(&self.pending_sql(shape, selection, true, "")?)
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

    pub(super) fn not_read(&self, selection: &Selection, cause: &duckdb::Error) -> Error {
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
        let select = self.select_pending(shape, selection, self.leaves_failures_out(selection)?, "")?;
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
        mut take: impl FnMut(PendingRef<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        // The table alone is read in its order, at the speed of the disk. With other tables beside it only sorting is
        // sure: a join may go through them and look into the table. So a part of the table is sorted, and then the next,
        // twice as long, until there is enough.
        let leave_failures_out = self.leaves_failures_out(selection)?;
        let alone = selection.condition.is_none() && selection.refresh.is_none() && !leave_failures_out;
        let row = &shape.row;
        if alone {
            let part = format!(" AND {row} > {after}");
            let select = self.select_pending(shape, selection, false, &part)?;
            return self.stream(selection, &select, take).map(|(_, ended)| ended);
        }
        let end = if shape.numbered { i64::try_from(self.count_rows()?).unwrap_or(i64::MAX) } else { 0 };
        let (mut from, mut length, mut count) = (after + 1, PART, 0);
        loop {
            // The last one is open: rows that were deleted have made the numbers of the others larger.
            let last = from + length >= end;
            let part = if last { format!(" AND {row} >= {from}") } else { shape.between(from, from + length) };
            let select = self.select_pending(shape, selection, leave_failures_out, &part)?;
            let sorted = format!("{select} ORDER BY {row} LIMIT {}", most - count);
            let (more, ended) = self.stream(selection, &sorted, &mut take)?;
            count += more;
            if !ended || count >= most || last {
                return Ok(ended && count < most);
            }
            (from, length) = (from + length, length * 2);
        }
    }

    /// The pending rows as SQL: `SELECT row, id, URL FROM … WHERE …`.
    fn select_pending(
        &self,
        shape: &Shape,
        selection: &Selection,
        leave_failures_out: bool,
        part: &str,
    ) -> Result<String> {
        let url = match &selection.urls {
            UrlSource::Column(column) => {
                self.column_must_be_there(column)?;
                format!("{}.{}::VARCHAR", quote(&self.tables.table.table), quote(column))
            }
            UrlSource::Template(_) | UrlSource::None => "NULL::VARCHAR".into(),
        };
        let pending = self.pending_sql(shape, selection, leave_failures_out, part)?;
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

    /// Whether a query may be tried again with more memory than it turned out to have.
    pub(super) fn has_more_memory(&self, cause: &duckdb::Error) -> bool {
        cause.to_string().contains("Out of Memory Error") && self.may_use_more()
    }
}
