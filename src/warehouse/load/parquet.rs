//! Parquet, by DuckDB's own reader: ids become text, other columns keep their type.

use crate::error::Result;

use super::super::plain;
use super::super::tables::{Column, quote, text};
use super::Source;
use super::delimited::no_column;
use super::incoming::Incoming;

pub(super) fn read(source: &Source, incoming: &mut Incoming<'_>) -> Result<()> {
    let fault = |cause: &duckdb::Error| source.fault(plain(&cause.to_string()));
    let packed = source.path.extension().is_some_and(|ending| ending == "gz" || ending == "zst");
    if packed {
        return Err(source
            .fault("a compressed Parquet file is not read")
            .with_way_out("unpack it first; Parquet is compressed inside"));
    }
    let relation = relation(source)?;
    let columns = describe(incoming, &relation).map_err(|cause| fault(&cause))?;
    let wanted = &incoming.tables.id;
    let id = match columns.iter().position(|column| column.name.eq_ignore_ascii_case(wanted)) {
        Some(id) => id,
        None if columns.len() == 1 => 0,
        None => {
            let names: Vec<_> = columns.into_iter().map(|column| column.name).collect();
            return Err(no_column(source, wanted, &names));
        }
    };
    let guid = guid(source, &columns[id])?;
    let others = incoming.choose(&columns, id);
    let others =
        others.iter().enumerate().map(|(n, place)| format!(", {} AS c{}", quote(&columns[*place].name), n + 1));
    let others: String = others.collect();
    let query = format!(
        "SELECT CASE WHEN guid >= '!' AND guid < chr(127) THEN guid WHEN trim(guid) <> '' THEN guid END AS c0, * EXCLUDE (guid) \
         FROM (SELECT {guid} AS guid{others} FROM {relation})"
    );
    incoming.begin_as(&query).map_err(|cause| fault(&cause))
}

/// The file as something to select from.
fn relation(source: &Source) -> Result<String> {
    let path = std::path::absolute(&source.path).map_err(|cause| source.fault(cause))?;
    let Some(path) = path.to_str() else {
        return Err(source
            .fault("its path is not UTF-8, and DuckDB would open another")
            .with_way_out("give it another name"));
    };
    // A name is a name: DuckDB would take these characters for a pattern.
    let path: String = path.chars().fold(String::new(), |mut path, c| {
        if matches!(c, '*' | '?' | '[') {
            path.extend(['[', c, ']']);
        } else {
            path.push(c);
        }
        path
    });
    Ok(format!("read_parquet({}, hive_partitioning = false)", text(&path)))
}

fn describe(incoming: &Incoming<'_>, relation: &str) -> duckdb::Result<Vec<Column>> {
    let mut statement = incoming.connection.prepare(&format!("DESCRIBE FROM {relation}"))?;
    let rows = statement.query_map([], |row| Ok(Column { name: row.get(0)?, kind: row.get(1)?, key: false }))?;
    rows.collect()
}

/// The id as text, in SQL.
fn guid(source: &Source, column: &Column) -> Result<String> {
    let (name, kind) = (quote(&column.name), column.kind.as_str());
    let nested = kind.ends_with(']') || kind.starts_with("STRUCT") || kind.starts_with("MAP");
    match kind {
        // Older writers do not say that their bytes are text.
        "BLOB" => Ok(format!("decode({name})")),
        "FLOAT" | "DOUBLE" => Err(source
            .fault(format!("column {} is {kind}, which may have lost digits of an id", column.name))
            .with_way_out("write it as text or as an integer")),
        _ if nested => {
            Err(source.fault(format!("column {} is {kind}; an id is a text, a UUID or an integer", column.name)))
        }
        _ => Ok(format!("{name}::VARCHAR")),
    }
}
