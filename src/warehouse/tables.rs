//! How tables are called, and which columns they have: names from the user, columns from the catalogue.
//!
//! Names are quoted as identifiers, never pasted.

use crate::error::{Error, Result};

use super::Window;

/// A table's name, with its schema where the user gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub(super) schema: Option<String>,
    pub(super) table: String,
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
    /// What is home.
    pub file: Name,
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

    /// An error about the warehouse.
    pub(super) fn fault(&self, cause: String) -> Error {
        Error::new("warehouse", self.file.display(), cause)
    }

    /// A table that stands where one of toller's would, and is another program's.
    pub(super) fn strange(&self, name: &Name, lacking: &[&str], option: &str) -> Error {
        self.fault(format!("table {name} is not toller's: it lacks {}", lacking.join(", ")))
            .with_way_out(format!("name another with {option}"))
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
