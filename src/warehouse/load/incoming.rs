//! What a list holds, in a table of the connection's own: its column `c0` is the id, as text, `c1` and so on are the
//! others, as text or in the type that Parquet gave them. Its names are ours, so that no column of a user's can be
//! in the way.

use std::cell::Cell;

use duckdb::{Appender, Connection, appender_params_from_iter};

use crate::error::Error;

use super::super::memory::{allow, room};
use super::super::plain;
use super::super::tables::{Column, Tables, type_of};
use super::Source;
use super::blocks::{self, Block, Entries, Ids, ROW_GROUP, SPLIT};
use super::lanes::{Lanes, MOST};
use super::seen::Seen;

/// The table, in SQL.
pub(super) const TABLE: &str = "temp.main.incoming";
/// The one beside it, in SQL, for ids that seem to have come before.
pub(super) const AGAIN: &str = "temp.main.again";
/// Ids of so many bytes are long.
const LONG: u64 = 100;
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
    /// Where ids may go at once, or went.
    straight: Option<Straight>,
    /// What DuckDB may use, in bytes; so much may be used once more to remember ids.
    memory: &'c Cell<u64>,
    /// By which they go there.
    lanes: Option<Lanes>,
    /// How many came by the block; nothing where none did.
    by_block: Option<ByBlock>,
    /// No id is in the table twice, as far as its text goes; else one may be.
    pub(super) distinct: bool,
    /// Lines with nothing in them, which are not in the table.
    pub(super) blank: u64,
    /// What the user should know.
    pub(super) notices: Vec<String>,
}

/// A user's table that is not there yet: ids that need no second look go into it at once.
pub(super) struct Straight {
    /// What makes it.
    pub(super) ddl: String,
    /// Its name for SQL.
    pub(super) table: String,
    /// The id's.
    pub(super) id: String,
}

/// Ids that came by the block.
#[derive(Default, Clone, Copy)]
struct ByBlock {
    /// Those that are in the table.
    fresh: u64,
    /// Those that are not, but beside it, because they seem to have come before.
    again: u64,
}

/// How much came.
pub(super) struct Count {
    /// Entries.
    pub(super) lines: u64,
    /// Those with an id.
    pub(super) ids: u64,
    /// Those of them that are in [`AGAIN`].
    pub(super) again: u64,
}

impl<'c> Incoming<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        tables: &'c Tables,
        target: Option<Vec<Column>>,
        straight: Option<Straight>,
        memory: &'c Cell<u64>,
    ) -> Self {
        Self {
            connection,
            tables,
            target,
            columns: Vec::new(),
            rows: None,
            straight,
            memory,
            lanes: None,
            by_block: None,
            distinct: false,
            blank: 0,
            notices: Vec::new(),
        }
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
        if !columns.is_empty() {
            self.take_memory()?;
        }
        let columns: String = (0..=columns.len()).map(|n| format!("c{n} VARCHAR, ")).collect();
        self.connection.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE incoming ({columns})"))
    }

    /// Lets DuckDB use a quarter of what there is: of rows that are long it keeps more in memory than it can do without.
    fn take_memory(&self) -> duckdb::Result<()> {
        allow(self.connection, self.memory, room(4))
    }

    /// Makes the table from a query.
    pub(super) fn begin_as(&mut self, query: &str) -> duckdb::Result<()> {
        self.take_memory()?;
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

    /// Takes a list of ids in which nothing else is of use.
    pub(super) fn stream<E: Entries>(&mut self, source: &Source, entries: E) -> Result<E, Error> {
        let fault = |cause: duckdb::Error| source.fault(plain(&cause.to_string()));
        let threads = self.connection.query_row("SELECT current_setting('threads')", [], |row| row.get::<_, u64>(0));
        let threads = usize::try_from(threads.map_err(fault)?).unwrap_or(1);
        self.connection.execute_batch("CREATE OR REPLACE TEMP TABLE again (c0 VARCHAR)").map_err(fault)?;
        // Of what goes through one statement, each thread takes a row group.
        let most = if self.straight.is_some() { ROW_GROUP } else { ROW_GROUP * threads.min(MOST) };
        let seen = Seen::new(self.memory.get());
        let streamed = blocks::stream(entries, fault, most, seen, |block| self.append_block(block, threads));
        let ended = self.lanes.take().map_or(Ok(()), |mut lanes| lanes.end());
        let (entries, whole) = streamed?;
        ended.map_err(fault)?;
        self.distinct = whole;
        Ok(entries)
    }

    fn append_block(&mut self, block: Block, threads: usize) -> duckdb::Result<()> {
        let begun = self.by_block.is_some();
        let counts = self.by_block.get_or_insert_default();
        counts.fresh += block.fresh.count;
        counts.again += block.again.count;
        self.blank += block.empty;
        if !begun {
            self.straight = self.straight.take().filter(|_| block.settled && block.fresh.count > 0);
            if let Some(Straight { ddl, table, id }) = &self.straight {
                self.connection.execute_batch(ddl)?;
                self.lanes = Some(Lanes::open(self.connection, table, id, threads)?);
            }
        }
        if block.fresh.text.len() as u64 > LONG * block.fresh.count {
            self.take_memory()?;
        }
        self.append_ids(AGAIN, &block.again)?;
        match &mut self.lanes {
            Some(lanes) if block.fresh.count > 0 => lanes.put(block.fresh.text),
            Some(_) => Ok(()),
            None => self.append_ids(TABLE, &block.fresh),
        }
    }

    fn append_ids(&self, table: &str, ids: &Ids) -> duckdb::Result<()> {
        if ids.count == 0 {
            return Ok(());
        }
        // What were not taken apart before it is inserted, would be inserted by one thread.
        let sql =
            format!("INSERT INTO {table} (c0) WITH ids AS MATERIALIZED (SELECT {SPLIT} AS id) SELECT id FROM ids");
        self.connection.prepare(&sql)?.execute([&ids.text]).map(|_| ())
    }

    /// Where the ids are, in SQL: their table and their column.
    pub(super) fn place(&self) -> (&str, &str) {
        match &self.straight {
            Some(straight) if self.by_block.is_some() => (&straight.table, &straight.id),
            _ => (TABLE, "c0"),
        }
    }

    /// Whether they are in the user's table already.
    pub(super) fn went_straight(&self) -> bool {
        self.by_block.is_some() && self.straight.is_some()
    }

    /// Everything is there now.
    pub(super) fn end(&mut self) -> duckdb::Result<()> {
        self.rows.take().map_or(Ok(()), |mut rows| rows.flush())
    }

    /// Takes the first row away again.
    pub(super) fn drop_first(&mut self) -> duckdb::Result<()> {
        self.end()?;
        self.by_block.iter_mut().for_each(|ids| ids.fresh -= 1);
        let sql = format!("DELETE FROM {TABLE} WHERE rowid = (SELECT min(rowid) FROM {TABLE})");
        self.connection.execute_batch(&sql)
    }

    pub(super) fn count(&self) -> duckdb::Result<Count> {
        if let Some(ByBlock { fresh, again }) = self.by_block {
            return Ok(Count { lines: fresh + again + self.blank, ids: fresh + again, again });
        }
        let sql = format!("SELECT count(*), count(c0) FROM {TABLE}");
        self.connection.query_row(&sql, [], |row| {
            let (rows, ids): (u64, u64) = (row.get(0)?, row.get(1)?);
            Ok(Count { lines: rows + self.blank, ids, again: 0 })
        })
    }
}
