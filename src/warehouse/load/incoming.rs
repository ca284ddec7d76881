//! What a list holds, in a table of the connection's own: its column `c0` is the id, as text, `c1` and so on are the
//! others, as text or in the type that Parquet gave them. Its names are ours, so that no column of a user's can be
//! in the way.

use duckdb::{Appender, Connection, appender_params_from_iter};

use super::super::tables::{Column, Tables, type_of};

/// The table, in SQL.
pub(super) const TABLE: &str = "temp.main.incoming";
/// No list has more columns; a JSON object whose keys are ids would have one for each.
const MOST_COLUMNS: usize = 1_000;

pub(super) struct Incoming<'c> {
    pub(super) connection: &'c Connection,
    pub(super) tables: &'c Tables,
    /// The columns of the user's table, where there is one: no others are of use.
    target: Option<Vec<Column>>,
    /// The columns behind the id.
    pub(super) columns: Vec<Column>,
    rows: Option<Appender<'c>>,
    /// Lines with nothing in them, which are not in the table.
    pub(super) blank: u64,
    /// What the user should know.
    pub(super) notices: Vec<String>,
}

/// How much came.
pub(super) struct Count {
    /// Entries.
    pub(super) lines: u64,
    /// Those with an id.
    pub(super) ids: u64,
}

impl<'c> Incoming<'c> {
    pub(super) fn new(connection: &'c Connection, tables: &'c Tables, target: Option<Vec<Column>>) -> Self {
        Self { connection, tables, target, columns: Vec::new(), rows: None, blank: 0, notices: Vec::new() }
    }

    /// Which of a list's columns are to be taken, by their places; says which are not.
    pub(super) fn choose(&mut self, columns: &[Column], id: usize) -> Vec<usize> {
        let others = (0..columns.len()).filter(|place| *place != id);
        let (taken, left): (Vec<_>, Vec<_>) = others.partition(|place| self.has_room(&columns[*place].name));
        self.columns = taken.iter().map(|place| columns[*place].clone()).collect();
        for place in left {
            self.leave(&columns[place].name);
        }
        taken
    }

    /// Whether the user's table has such a column, or will have it.
    pub(super) fn has_room(&self, name: &str) -> bool {
        let is_id = name.eq_ignore_ascii_case(&self.tables.id);
        !is_id && self.target.as_ref().is_none_or(|target| type_of(target, name).is_some())
    }

    /// Notes that a column is left out.
    pub(super) fn leave(&mut self, name: &str) {
        self.notices.push(format!("column {name} is left out: {} has none of that name", self.tables.table));
    }

    /// Makes the table, for text.
    pub(super) fn begin(&mut self, columns: &[Column]) -> duckdb::Result<()> {
        self.columns = columns.to_vec();
        let columns: String = (0..=columns.len()).map(|n| format!("c{n} VARCHAR, ")).collect();
        self.connection.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE incoming ({columns})"))
    }

    /// Makes the table from a query.
    pub(super) fn begin_as(&mut self, query: &str) -> duckdb::Result<()> {
        self.connection.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE incoming AS {query}"))
    }

    /// Adds a column of text to the table.
    pub(super) fn widen(&mut self, name: &str) -> Result<(), String> {
        if self.columns.len() == MOST_COLUMNS {
            return Err(format!("it has more than {MOST_COLUMNS} columns; {name} is one more"));
        }
        self.columns.push(Column { name: name.to_owned(), kind: "VARCHAR".into(), key: false });
        let sql = format!("ALTER TABLE {TABLE} ADD COLUMN c{} VARCHAR", self.columns.len());
        self.end().and_then(|()| self.connection.execute_batch(&sql)).map_err(|cause| cause.to_string())
    }

    /// Appends a row of text, the id first.
    pub(super) fn append<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v str>>) -> duckdb::Result<()> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            None => self.rows.insert(self.connection.appender_to_catalog_and_db("incoming", "temp", "main")?),
        };
        rows.append_row(appender_params_from_iter(values))
    }

    /// Everything is there now.
    pub(super) fn end(&mut self) -> duckdb::Result<()> {
        self.rows.take().map_or(Ok(()), |mut rows| rows.flush())
    }

    /// Takes the first row away again.
    pub(super) fn drop_first(&mut self) -> duckdb::Result<()> {
        self.end()?;
        let sql = format!("DELETE FROM {TABLE} WHERE rowid = (SELECT min(rowid) FROM {TABLE})");
        self.connection.execute_batch(&sql)
    }

    pub(super) fn count(&self) -> duckdb::Result<Count> {
        let sql = format!("SELECT count(*), count(c0) FROM {TABLE}");
        self.connection.query_row(&sql, [], |row| {
            let (rows, ids): (u64, u64) = (row.get(0)?, row.get(1)?);
            Ok(Count { lines: rows + self.blank, ids })
        })
    }
}
