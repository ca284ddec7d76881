//! How the tables are called and what they look like: names from the user, shapes from the catalogue.
//!
//! Names are quoted as identifiers, never pasted. What does not fit is said before anything is written.

use std::fmt::Display;

use crate::error::{Error, Result};

use super::Window;

/// A table's name, with its schema where the user gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    schema: Option<String>,
    table: String,
}

impl Name {
    /// Splits `schema.table` at its first dot.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, table)) => Self { schema: Some(schema.into()), table: table.into() },
            None => Self { schema: None, table: text.into() },
        }
    }

    /// The name for SQL, in this catalogue.
    fn quoted(&self, catalogue: &str) -> String {
        let schema = self.schema.as_deref().unwrap_or("main");
        format!("{}.{}.{}", quote(catalogue), quote(schema), quote(&self.table))
    }

    /// The one spelling of a table that can be spelt with its schema and without.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}.{}", self.schema.as_deref().unwrap_or("main"), self.table)
    }

    /// The same table name behind a prefix, in the same schema.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self { schema: self.schema.clone(), table: format!("{prefix}{}", self.table) }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// Quotes an identifier for SQL.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for SQL.
#[must_use]
pub fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What the tables and columns are called in this warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// The user's table.
    pub table: Name,
    /// Its GUIDs.
    pub id: String,
    /// True when the thumbnail is home.
    pub done: String,
    /// When that changed.
    pub updated: String,
    /// The user named that column, so that it must be there.
    pub updated_named: bool,
    /// One row a run.
    pub manifest: Name,
    /// The user named that table, so that no other may take its place.
    pub manifest_named: bool,
    /// What stands failed.
    pub failure: Name,
}

/// The columns that `run_manifest` must have to be toller's.
pub const MANIFEST_COLUMNS: [&str; 21] = [
    "run_id",
    "started_at",
    "updated_at",
    "finished_at",
    "status",
    "pending",
    "fetched",
    "reused",
    "failed",
    "bytes",
    "requests",
    "connections",
    "workers",
    "url",
    "dest",
    "extension",
    "fanout",
    "host",
    "pid",
    "version",
    "error",
];

/// The columns that an older toller's `run_manifest` lacks; they are added to it.
pub const LATER_COLUMNS: [&str; 2] = ["expect", "image_table"];

/// The columns that `thumb_failure` must have to be toller's.
pub const FAILURE_COLUMNS: [&str; 9] =
    ["source_image_id", "url", "kind", "http_status", "message", "attempts", "permanent", "run_id", "failed_at"];

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

impl Shape {
    /// Narrows a statement down to these rows, the last one excluded.
    pub(super) fn between(&self, first: impl Display, end: impl Display) -> String {
        format!(" AND {row} >= {first} AND {row} < {end}", row = self.row)
    }
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// It is in the primary key.
    pub key: bool,
}

/// The type of one of them; DuckDB's names know no case.
pub fn type_of<'c>(columns: &'c [Column], name: &str) -> Option<&'c str> {
    columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).map(|column| column.kind.as_str())
}

/// This name, or one made from it that no column has.
fn unused(name: &str, columns: &[Column]) -> String {
    let mut name = name.to_owned();
    while type_of(columns, &name).is_some() {
        name.push('_');
    }
    name
}

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

/// What a user's table must not have a column called, for then nobody reaches DuckDB's own.
const ROW_NUMBER: &str = "rowid";

impl Window<'_> {
    /// A table's name for SQL.
    pub(super) fn quoted(&self, name: &Name) -> String {
        name.quoted(self.catalogue)
    }

    /// The columns of a table; none when there is no such table.
    ///
    /// The catalogue's own tables would be the usual way, but the first look at them costs 20 ms a window.
    pub(super) fn columns(&self, name: &Name) -> Result<Vec<Column>> {
        let query = || {
            let sql = format!("SELECT name, type, pk FROM pragma_table_info({})", text(&self.quoted(name)));
            let mut statement = self.connection.prepare(&sql)?;
            let rows =
                statement.query_map([], |row| Ok(Column { name: row.get(0)?, kind: row.get(1)?, key: row.get(2)? }))?;
            rows.collect::<duckdb::Result<Vec<_>>>()
        };
        match query() {
            Err(cause) if cause.to_string().contains("does not exist") => Ok(Vec::new()),
            other => other.map_err(|cause| self.error("read catalogue", &cause)),
        }
    }

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
        let missing = |column: &str, option: &str| {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            self.fault(format!("no column {column} in {}", tables.table))
                .with_way_out(format!("its columns are {}; name one with {option}", names.join(", ")))
        };
        let id_type = type_of(&columns, &tables.id).ok_or_else(|| missing(&tables.id, "--id-column"))?;
        if !ID_TYPES.contains(&id_type) {
            return Err(
                self.fault(format!("column {} is {id_type}; it must be VARCHAR, UUID or an integer", tables.id))
            );
        }
        match type_of(&columns, &tables.done).ok_or_else(|| missing(&tables.done, "--done-column"))? {
            "BOOLEAN" => {}
            other => return Err(self.fault(format!("column {} is {other}; it must be BOOLEAN", tables.done))),
        }
        let updated_type = type_of(&columns, &tables.updated);
        match updated_type {
            None if tables.updated_named => return Err(missing(&tables.updated, "--updated-column")),
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

    fn fault(&self, cause: String) -> Error {
        Error::new("warehouse", self.file.display(), cause)
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

    /// Which of these columns a table lacks; one that is not there lacks none.
    pub(super) fn lacking<'c>(&self, name: &Name, wanted: &[&'c str]) -> Result<Vec<&'c str>> {
        let columns = self.columns(name)?;
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        Ok(wanted.iter().copied().filter(|column| type_of(&columns, column).is_none()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_dot_and_quoted() {
        assert_eq!(Name::parse("a.b").quoted("w"), "\"w\".\"a\".\"b\"");
        assert_eq!(Name::parse("a\"b; DROP TABLE x").quoted("w\""), "\"w\"\"\".\"main\".\"a\"\"b; DROP TABLE x\"");
        assert_eq!(
            Name::parse("s.run_manifest").prefixed("toller_").quoted("w"),
            "\"w\".\"s\".\"toller_run_manifest\""
        );
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(
            ["a", "main.a", "b.a", "main.b.a"].map(|name| Name::parse(name).canonical()),
            ["main.a", "main.a", "b.a", "main.b.a"]
        );
    }
}
