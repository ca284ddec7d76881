//! The user's table of images: what it looks like, what of it is done, and the two columns that toller writes.

use std::fmt::Display;
use std::time::SystemTime;

use crate::error::{Error, Result};

use super::pending::ONE_BY_ONE;
use super::tables::{Column, quote, type_of};
use super::{Condition, Staged, Window, micros, plain};

/// What the user's table looks like, and how SQL speaks of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The id column's type.
    pub id_type: String,
    /// The type of the column that takes the time, where there is one.
    pub updated_type: Option<String>,
    /// A primary key says that no id is there twice.
    pub unique: bool,
    /// The table, to write to.
    pub(super) table: String,
    /// What rows are read from. It goes by the table's own name, so that a condition can name it too.
    pub(super) rows: String,
    /// The id, told apart by its bytes even where the column has a collation.
    pub(super) id: String,
    /// Whether the thumbnail is home, never NULL.
    pub(super) done: String,
    /// The number of a row.
    pub(super) row: String,
    /// DuckDB's own numbers of rows can be had, by which it finds a row without reading the table.
    pub(super) numbered: bool,
}

/// The counts of a warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Rows with an id.
    pub total: u64,
    /// Those of them that are not done.
    pub pending: u64,
    /// Those of the pending that stand failed for good.
    pub failed_permanent: u64,
    /// What stands failed, by kind.
    pub failures: Vec<(String, u64)>,
}

impl Shape {
    /// Narrows a statement down to these rows, the last one excluded.
    pub(super) fn between(&self, first: impl Display, end: impl Display) -> String {
        format!(" AND {row} >= {first} AND {row} < {end}", row = self.row)
    }
}

/// What a user's table must not have a column called, for then nobody reaches DuckDB's own.
const ROW_NUMBER: &str = "rowid";

const ID_TYPES: [&str; 12] = [
    "VARCHAR",
    "UUID",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
];

/// This name, or one made from it that no column has.
fn unused(name: &str, columns: &[Column]) -> String {
    let mut name = name.to_owned();
    while type_of(columns, &name).is_some() {
        name.push('_');
    }
    name
}

impl Window<'_> {
    /// Looks at the user's table.
    ///
    /// # Errors
    /// No such table, no such column, or a column of a type that cannot be worked with.
    pub fn shape(&self) -> Result<Shape> {
        let tables = self.tables;
        let columns = self.columns(&tables.table)?;
        if columns.is_empty() {
            return Err(self.no_table()?);
        }
        let updated = tables.updated_named.then_some((&tables.updated, "--updated-column"));
        let named = [(&tables.id, "--id-column"), (&tables.done, "--done-column")].into_iter().chain(updated);
        let missing: Vec<_> = named.filter(|(column, _)| type_of(&columns, column).is_none()).collect();
        let (Some(id_type), Some(done_type), []) =
            (type_of(&columns, &tables.id), type_of(&columns, &tables.done), &missing[..])
        else {
            return Err(self.no_columns(&columns, &missing));
        };
        if !ID_TYPES.contains(&id_type) {
            return Err(
                self.fault(format!("column {} is {id_type}; it must be VARCHAR, UUID or an integer", tables.id))
            );
        }
        if done_type != "BOOLEAN" {
            return Err(self.fault(format!("column {} is {done_type}; it must be BOOLEAN", tables.done)));
        }
        let updated_type = type_of(&columns, &tables.updated);
        match updated_type {
            Some(kind) if !kind.starts_with("TIMESTAMP") => {
                return Err(self.fault(format!("column {} is {kind}; it must be TIMESTAMP", tables.updated)));
            }
            _ => {}
        }
        let numbered = type_of(&columns, ROW_NUMBER).is_none();
        self.must_be_a_table(numbered)?;
        let keys: Vec<_> = columns.iter().filter(|column| column.key).collect();
        let unique = matches!(keys[..], [key] if key.name.eq_ignore_ascii_case(&tables.id));
        let (table, own) = (self.quoted(&tables.table), quote(&tables.table.table));
        let (rows, row) = if numbered {
            (table.clone(), format!("{own}.{ROW_NUMBER}"))
        } else {
            let number = unused("toller_row", &columns);
            let rows = format!("(SELECT *, row_number() OVER () - 1 AS {number} FROM {table}) AS {own}");
            (rows, format!("{own}.{number}"))
        };
        let id = format!("{own}.{}", quote(&tables.id));
        Ok(Shape {
            id: if id_type == "VARCHAR" { format!("({id} COLLATE \"binary\")") } else { id },
            done: format!("coalesce({own}.{}, false)", quote(&tables.done)),
            id_type: id_type.to_owned(),
            updated_type: updated_type.map(str::to_owned),
            unique,
            table,
            rows,
            row,
            numbered,
        })
    }

    /// All that the table lacks, and what it has instead.
    fn no_columns(&self, columns: &[Column], missing: &[(&String, &str)]) -> Error {
        let lacking: Vec<_> = missing.iter().map(|(column, _)| column.as_str()).collect();
        let options: Vec<_> = missing.iter().map(|(_, option)| *option).collect();
        let there: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let (column, one) = if missing.len() == 1 { ("column", "one") } else { ("columns", "others") };
        self.fault(format!("no {column} {} in {}", lacking.join(", "), self.tables.table)).with_way_out(format!(
            "its columns are {}; name {one} with {}",
            there.join(", "),
            options.join(", ")
        ))
    }

    /// A view looks like a table and cannot be updated. DuckDB numbers the rows of tables only; its list of views, which
    /// takes 50 ms at the first look, is asked where a column hides these numbers.
    fn must_be_a_table(&self, numbered: bool) -> Result<()> {
        let name = &self.tables.table;
        let asked = if numbered {
            let numbers = format!("SELECT {ROW_NUMBER} FROM {} LIMIT 0", self.quoted(name));
            Ok(self.connection.prepare(&numbers).is_err())
        } else {
            let schema = name.schema.as_deref().unwrap_or("main");
            let views = "SELECT count(*) > 0 FROM duckdb_views() WHERE database_name = ? AND lower(schema_name) = lower(?) \
                         AND lower(view_name) = lower(?)";
            self.connection.query_row(views, [self.catalogue, schema, &name.table], |row| row.get(0))
        };
        if asked.map_err(|cause| self.error("read catalogue", &cause))? {
            return Err(self
                .fault(format!("{name} is a view, which cannot be updated"))
                .with_way_out("name the table behind it with --table"));
        }
        Ok(())
    }

    fn no_table(&self) -> Result<Error> {
        let names = || -> duckdb::Result<Vec<String>> {
            let mut statement = self.connection.prepare(
                "SELECT CASE WHEN schema_name = current_schema() THEN '' ELSE schema_name || '.' END || table_name \
                 FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal ORDER BY 1 LIMIT 20",
            )?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let names = names().map_err(|cause| self.error("read catalogue", &cause))?;
        let error = self.fault(format!("no table {}", self.tables.table));
        Ok(if names.is_empty() {
            error.with_way_out(format!("fill it with: toller load --warehouse {} GUIDS", self.file.display()))
        } else {
            error.with_way_out(format!("its tables are {}; name one with --table", names.join(", ")))
        })
    }

    /// Counts what is there, done and failed, in rows: to tell ids apart would take gigabytes in a large table.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn standing(&self, shape: &Shape, condition: Option<&Condition>) -> Result<Standing> {
        let Shape { rows, id, done, .. } = shape;
        let filter = condition.map(Condition::and).unwrap_or_default();
        let count = |sql: &str| -> Result<u64> {
            let count: duckdb::Result<i64> = self.connection.query_row(sql, [], |row| row.get(0));
            count.map(i64::unsigned_abs).map_err(|cause| self.blame("read status", condition, &cause))
        };
        let there = format!("FROM {rows} WHERE {id} IS NOT NULL{filter}");
        let pending = format!("{there} AND NOT {done}");
        let (total, pending_rows) =
            (count(&format!("SELECT count(*) {there}"))?, count(&format!("SELECT count(*) {pending}"))?);
        let failed = if self.has_own_failures(shape)? {
            // A row of failures goes when its image comes home: where many are pending it need not be looked for among them.
            let by_rows = condition.is_none() && pending_rows > ONE_BY_ONE;
            let among = format!(" AND f.source_image_id IN (SELECT {id} {pending})");
            let failure = self.quoted(&self.tables.failure);
            let among = if by_rows { "" } else { &among };
            count(&format!("SELECT count(*) FROM {failure} AS f WHERE f.permanent{among}"))?
        } else {
            0
        };
        Ok(Standing {
            total,
            pending: pending_rows,
            failed_permanent: failed.min(pending_rows),
            failures: self.failures_by_kind(shape)?,
        })
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
            "UPDATE {table} SET {column} = {done}{updated} WHERE {id} IN (SELECT id::{kind} FROM temp.main.outcome WHERE how IS NOT NULL) \
             AND {is_done} <> {done}{part}",
            table = shape.table,
            id = shape.id,
            is_done = shape.done,
            kind = shape.id_type,
        );
        self.connection.execute(&sql, [])
    }

    /// Tries whether the table takes what is staged, and takes it back: a rule that every record would break is then known
    /// before the first request.
    ///
    /// # Errors
    /// It does not.
    pub fn rehearse(&self, _: &Staged, shape: &Shape, span: Option<(i64, i64)>) -> Result<()> {
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
}
