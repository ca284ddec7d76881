//! How tables are called, and which columns they have: names from the user, columns from the catalogue.
//!
//! Names are quoted as identifiers, never pasted.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::{Shape, Window};

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
#[allow(clippy::struct_excessive_bools, reason = "each is something that was said or not")]
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
    /// What is home is written down there.
    pub keep_files: bool,
    /// The user named none of them, so that those of the last run count where the usual table is not there.
    pub as_last_run: bool,
}

/// The names as a run's row keeps them, by the options that give them.
#[derive(Debug, Serialize, Deserialize)]
struct Names {
    table: String,
    id_column: String,
    done_column: String,
    updated_column: Option<String>,
    failure_table: String,
    file_table: String,
}

impl Tables {
    /// The names for a run's row, as JSON.
    pub(super) fn to_row(&self) -> String {
        let names = Names {
            table: self.table.to_string(),
            id_column: self.id.clone(),
            done_column: self.done.clone(),
            updated_column: self.updated_named.then(|| self.updated.clone()),
            failure_table: self.failure.to_string(),
            file_table: self.file.to_string(),
        };
        // Our own shape holds nothing that JSON cannot say.
        serde_json::to_string(&names).unwrap_or_default()
    }

    /// The same with the names in a run's row, where it has any.
    pub(super) fn like_row(&self, row: &str) -> Option<Self> {
        let names: Names = serde_json::from_str(row).ok()?;
        Some(Self {
            table: Name::parse(&names.table),
            id: names.id_column,
            done: names.done_column,
            updated_named: names.updated_column.is_some(),
            updated: names.updated_column.unwrap_or_else(|| self.updated.clone()),
            failure: Name::parse(&names.failure_table),
            file: Name::parse(&names.file_table),
            ..self.clone()
        })
    }
}

/// A table that toller makes for itself beside the user's, about the same ids; they are its first column.
#[derive(Debug)]
pub(super) struct OwnTable<'t> {
    pub(super) name: &'t Name,
    /// Names and types; `{id_type}` is the type of the ids.
    pub(super) columns: &'static [(&'static str, &'static str)],
    /// Where the user names another.
    pub(super) option: &'static str,
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

    /// A table must be toller's, and for ids of this type, where there is one.
    pub(super) fn must_fit(&self, own: &OwnTable<'_>, shape: &Shape) -> Result<()> {
        self.mismatch(own, shape, &self.columns(own.name)?).map_or(Ok(()), Err)
    }

    /// Whether a table is there, and toller's.
    pub(super) fn is_there_and_ours(&self, own: &OwnTable<'_>, shape: &Shape) -> Result<bool> {
        let there = self.columns(own.name)?;
        Ok(!there.is_empty() && self.mismatch(own, shape, &there).is_none())
    }

    /// Why a table with these columns, if there is one, is not toller's, or not for ids of this type.
    fn mismatch(&self, own: &OwnTable<'_>, shape: &Shape, there: &[Column]) -> Option<Error> {
        let OwnTable { name, columns, option } = own;
        if there.is_empty() {
            return None;
        }
        let lacking: Vec<_> =
            columns.iter().map(|(column, _)| *column).filter(|column| type_of(there, column).is_none()).collect();
        if !lacking.is_empty() {
            return Some(self.strange(name, &lacking, option));
        }
        // DuckDB numbers the rows of tables only.
        let numbers = format!("SELECT rowid FROM {} LIMIT 0", self.quoted(name));
        let cause = if self.connection.prepare(&numbers).is_err() {
            format!("{name} is a view, which cannot be written")
        } else {
            let kind = type_of(there, columns[0].0).filter(|kind| *kind != shape.id_type)?;
            let Shape { id_type, .. } = shape;
            format!("table {name} is for ids of type {kind}, and those of {} are {id_type}", self.tables.table)
        };
        Some(self.fault(cause).with_way_out(format!("name another with {option}")))
    }

    /// What makes the schema of a table that is not there; nothing where the user named none.
    pub(super) fn schema_ddl(&self, name: &Name) -> String {
        let make = |schema| format!("CREATE SCHEMA IF NOT EXISTS {}.{};", quote(self.catalogue), quote(schema));
        name.schema.as_deref().map_or(String::new(), make)
    }

    /// What makes a table; nothing where it is there.
    pub(super) fn ddl(&self, own: &OwnTable<'_>, shape: &Shape) -> Result<String> {
        if !self.columns(own.name)?.is_empty() {
            return Ok(String::new());
        }
        let column = |(name, kind): &(&str, &str)| format!("{name} {}", kind.replace("{id_type}", &shape.id_type));
        let columns: Vec<_> = own.columns.iter().map(column).collect();
        let schema = self.schema_ddl(own.name);
        Ok(format!("{schema}CREATE TABLE {} ({});", self.quoted(own.name), columns.join(", ")))
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
