//! From what came in to the user's table: each id once, nothing that does not fit.

use crate::error::Result;

use super::super::Window;
use super::super::tables::{Column, quote, type_of};
use super::incoming::{AGAIN, Incoming, TABLE};
use super::repeated::{list_repeated, list_twice};

/// So much of a value is shown.
const SHOWN: usize = 80;
/// A plain scan keeps the order by itself, and sorting millions of rows would take longer than all the rest.
const SORTED: &str = "ORDER BY incoming.rowid";
/// What a column of text may be instead.
const TYPES: [&str; 5] = ["BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP"];

impl Window<'_> {
    /// Gives each column of text the type in which every one of its values reads as it was written, if there is one.
    pub(super) fn type_columns(&self, incoming: &mut Incoming<'_>) -> duckdb::Result<()> {
        let any = |n: usize, condition: &str| {
            let sql =
                format!("SELECT count(*) FROM (SELECT 1 FROM {TABLE} WHERE c{n} IS NOT NULL AND {condition} LIMIT 1)");
            self.connection.query_row(&sql, [], |row| row.get::<_, u64>(0)).map(|count| count > 0)
        };
        for (n, column) in incoming.columns.iter_mut().enumerate().map(|(n, column)| (n + 1, column)) {
            if column.kind != "VARCHAR" || !any(n, "true")? {
                continue;
            }
            for kind in TYPES {
                if !any(n, &changes(n, kind))? {
                    column.kind = kind.into();
                    break;
                }
            }
        }
        Ok(())
    }

    /// What makes the user's table: the id, the columns that came with it, and toller's two.
    pub(super) fn table_ddl(&self, columns: &[Column]) -> String {
        let tables = self.tables;
        let own = |name: &str| [&tables.done, &tables.updated].iter().any(|own| own.eq_ignore_ascii_case(name));
        let others = columns.iter().filter(|column| !own(&column.name));
        let others: String = others.map(|column| format!(", {} {}", quote(&column.name), column.kind)).collect();
        format!(
            "CREATE TABLE {} ({} VARCHAR{others}, {} BOOLEAN DEFAULT false, {} TIMESTAMP)",
            self.quoted(&tables.table),
            quote(&tables.id),
            quote(&tables.done),
            quote(&tables.updated),
        )
    }

    /// Whether no id went into the user's table twice. If one did, all of them are taken out again: what is deleted
    /// within the table would leave holes there, and be held in memory until then.
    pub(super) fn is_distinct(&self, incoming: &Incoming<'_>, ids: u64) -> duckdb::Result<bool> {
        let (table, id) = incoming.place();
        if incoming.distinct || !list_twice(self.connection, table, id, ids)? {
            return Ok(true);
        }
        self.connection.execute_batch(&format!(
            "CREATE OR REPLACE TEMP TABLE incoming AS SELECT {id} AS c0 FROM {table}; DROP TABLE {table}; \
             CHECKPOINT {}",
            quote(self.catalogue)
        ))?;
        Ok(false)
    }

    /// Leaves of what seems to have come before only what has not: it has the hash of another id.
    pub(super) fn take_again(&self, place: &Column) -> duckdb::Result<u64> {
        let table = self.quoted(&self.tables.table);
        let (id, kind, bytes) = (&place.name, &place.kind, by_bytes(place));
        let kept = self.connection.execute(
            &format!(
                "CREATE OR REPLACE TEMP TABLE incoming AS SELECT c0 FROM {AGAIN} AS again \
                 ANTI JOIN {table} AS known ON known.{id}{bytes} = TRY_CAST(again.c0 AS {kind})"
            ),
            [],
        )?;
        Ok(kept as u64)
    }

    /// Where each column that came goes: its name for SQL and its type there, the id's first.
    pub(super) fn places(&self, incoming: &Incoming<'_>) -> Result<Vec<Column>> {
        let target = self.columns(&self.tables.table)?;
        let names =
            std::iter::once(self.tables.id.as_str()).chain(incoming.columns.iter().map(|column| column.name.as_str()));
        let place = |name: &str| Column {
            name: quote(name),
            kind: type_of(&target, name).unwrap_or("VARCHAR").to_owned(),
            key: false,
        };
        Ok(names.map(place).collect())
    }

    /// The first value that would not be in the table as it was written.
    pub(super) fn misfit(&self, incoming: &Incoming<'_>, places: &[Column]) -> duckdb::Result<Option<String>> {
        for (n, place) in places.iter().enumerate() {
            let own = if n == 0 { "VARCHAR" } else { &incoming.columns[n - 1].kind };
            let kind = &place.kind;
            if own == kind || kind == "VARCHAR" {
                continue;
            }
            // A cast to a number of fewer places rounds without a word.
            let rounds = |as_it_is: &str| {
                let cast = format!("TRY_CAST(TRY_CAST(c{n} AS {kind}) AS {as_it_is})");
                format!("TRY_CAST(c{n} AS {as_it_is}) IS DISTINCT FROM {cast}")
            };
            let whole = kind.ends_with("INT") || kind == "INTEGER";
            let changed = match n {
                // `007` is another value than 7, but the same key.
                1.. if whole => changes(n, kind),
                // A double has too few places to show it.
                _ if whole => rounds("DECIMAL(38, 10)"),
                _ if kind.starts_with("DECIMAL") => rounds("DOUBLE"),
                _ => "false".into(),
            };
            let sql = format!(
                "SELECT c{n}::VARCHAR FROM {TABLE} WHERE c{n} IS NOT NULL AND (TRY_CAST(c{n} AS {kind}) IS NULL OR {changed}) \
                 ORDER BY rowid LIMIT 1"
            );
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            if let Some(row) = rows.next()? {
                let value: String = row.get(0)?;
                let shown: String = value.chars().take(SHOWN).collect();
                return Ok(Some(format!("column {}: {shown} does not fit into {kind}", place.name.trim_matches('"'))));
            }
        }
        Ok(None)
    }

    /// Adds what the table does not have, in the order in which it came.
    pub(super) fn insert(&self, places: &[Column], ids: u64, distinct: bool) -> duckdb::Result<u64> {
        let table = self.quoted(&self.tables.table);
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let values: Vec<String> =
            places.iter().enumerate().map(|(n, place)| format!("incoming.c{n}::{}", place.kind)).collect();
        let (id, guid) = (names[0], &values[0]);
        // A row that says nothing of it is pending.
        let done = quote(&self.tables.done);
        let fill = if names.iter().any(|name| name.eq_ignore_ascii_case(&done)) { None } else { Some(done) };
        let filled = if fill.is_some() { ", false" } else { "" };
        let fill = fill.map(|done| format!(", {done}")).unwrap_or_default();
        // Joins and sorts of these kinds go through the disk when memory is short; IN and DELETE do not.
        let mut from = format!("{TABLE} AS incoming");
        let mut order = "";
        // Texts that differ may be the same as another type.
        let distinct = distinct && places[0].kind == "VARCHAR";
        if !distinct && list_repeated(self.connection, guid, ids)? {
            from.push_str(" ANTI JOIN temp.main.repeated ON repeated.place = incoming.rowid");
            order = SORTED;
        }
        let filled_before = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)");
        if self.connection.query_row(&filled_before, [], |row| row.get::<_, u64>(0))? > 0 {
            let bytes = by_bytes(&places[0]);
            from.push_str(&format!(" ANTI JOIN {table} AS known ON known.{id}{bytes} = {guid}"));
            order = SORTED;
        }
        let added = self.connection.execute(
            &format!(
                "INSERT INTO {table} ({}{fill}) SELECT {}{filled} FROM {from} WHERE incoming.c0 IS NOT NULL {order}",
                names.join(", "),
                values.join(", "),
            ),
            [],
        )?;
        Ok(added as u64)
    }
}

/// Whatever collation the column has, ids are told apart by their bytes.
fn by_bytes(place: &Column) -> &'static str {
    if place.kind == "VARCHAR" { " COLLATE \"binary\"" } else { "" }
}

/// Whether a value reads otherwise as this type, in SQL.
fn changes(n: usize, kind: &str) -> String {
    format!("TRY_CAST(TRY_CAST(c{n} AS {kind}) AS VARCHAR) IS DISTINCT FROM c{n}::VARCHAR")
}
