//! Entries that say again what one before them said.
//!
//! Eight bytes of hash are remembered of every id, and that of a share of them at a time, so that memory stays flat
//! however long the list is. Only ids whose hashes are the same are compared themselves, by DuckDB, which spills.

use duckdb::arrow::array::{Array, UInt64Array};
use duckdb::{Connection, params};

use super::incoming::TABLE;

/// So many hashes are remembered at once: 128 MB of them.
const AT_ONCE: u64 = 16 << 20;

/// Lists the places of entries that are not their id's first, if there are any; `guid` is the id as the user's table
/// will have it, in SQL.
pub(super) fn list_repeated(connection: &Connection, guid: &str, ids: u64) -> duckdb::Result<bool> {
    let from = format!("{TABLE} AS incoming");
    let found = list_twice(connection, &from, guid, ids)?;
    if found {
        // A window goes through the disk when memory is short; grouping by so many texts may not.
        connection.execute_batch(&format!(
            "CREATE OR REPLACE TEMP TABLE repeated AS SELECT place FROM \
             (SELECT incoming.rowid AS place, row_number() OVER (PARTITION BY {guid} ORDER BY incoming.rowid) AS nth \
             FROM {from} SEMI JOIN temp.main.twice ON twice.hash = hash({guid})) WHERE nth > 1"
        ))?;
    }
    Ok(found)
}

/// Lists hashes that several of these ids have, if there are any.
pub(super) fn list_twice(connection: &Connection, from: &str, guid: &str, ids: u64) -> duckdb::Result<bool> {
    connection.execute_batch("CREATE OR REPLACE TEMP TABLE twice (hash UBIGINT)")?;
    let shares = ids.div_ceil(AT_ONCE);
    let mut found = false;
    for share in 0..shares {
        let mut hashes = hashes(connection, from, guid, share, shares)?;
        hashes.sort_unstable();
        let mut rows = connection.appender_to_catalog_and_db("twice", "temp", "main")?;
        for same in hashes.chunk_by(|one, next| one == next).filter(|same| same.len() > 1) {
            rows.append_row(params![same[0]])?;
            found = true;
        }
        rows.flush()?;
    }
    Ok(found)
}

fn hashes(connection: &Connection, from: &str, guid: &str, share: u64, shares: u64) -> duckdb::Result<Vec<u64>> {
    let mut statement = connection.prepare(&format!(
        "SELECT hash({guid}) AS hash FROM {from} WHERE {guid} IS NOT NULL AND hash({guid}) % {shares} = {share}"
    ))?;
    let mut hashes = Vec::new();
    for rows in statement.stream_arrow([])? {
        let rows = rows?;
        let column = rows.column(0).as_any().downcast_ref::<UInt64Array>();
        hashes.extend_from_slice(column.expect("DuckDB's hash is a UBIGINT").values());
    }
    Ok(hashes)
}
