//! Making and extending a warehouse from the files that its owner has, through DuckDB's own readers.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

use duckdb::params;

use crate::error::{Error, Result};
use crate::input;

use super::tables::{Column, quote, text, type_of};
use super::{Access, Effort, Tables, Warehouse, Window};

/// One file of GUIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Tsv,
    Parquet,
    Json,
    Lines,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Rows added to the table.
    pub added: u64,
    /// Rows in the table now.
    pub total: u64,
    /// The file was made.
    pub made: bool,
}

impl Source {
    /// Takes a file for what its name says it is; anything else, and standard input, is plain text.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
        let format = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("csv") => Format::Csv,
            Some("tsv") => Format::Tsv,
            Some("parquet" | "pq") => Format::Parquet,
            Some("json" | "ndjson" | "jsonl") => Format::Json,
            _ => Format::Lines,
        };
        Self { path, format }
    }

    /// The file as something to select from; the id column, once known, stays text, so that no zero before a
    /// number is lost.
    fn relation(&self, id: Option<&str>) -> String {
        // A name is a name: DuckDB would take these characters for a pattern.
        let path: String = self.path.to_string_lossy().chars().fold(String::new(), |mut path, c| {
            if matches!(c, '*' | '?' | '[') {
                path.extend(['[', c, ']']);
            } else {
                path.push(c);
            }
            path
        });
        let path = text(&path);
        let types = id.map(|id| format!(", types = {{{}: 'VARCHAR'}}", text(id))).unwrap_or_default();
        match self.format {
            Format::Csv => format!("read_csv({path}, header = true{types})"),
            Format::Tsv => format!("read_csv({path}, header = true, delim = '\t'{types})"),
            Format::Parquet => format!("read_parquet({path})"),
            Format::Json => format!("read_json({path})"),
            Format::Lines => "temp.line".into(),
        }
    }
}

/// Adds the GUIDs of all sources that the table does not have, in their order; makes the file and the table
/// where they are missing.
///
/// # Errors
/// A source or the warehouse that cannot be used; then nothing is added.
pub fn load(file: &Path, tables: &Tables, sources: &[Source], patience: Duration) -> Result<LoadReport> {
    for source in sources.iter().filter(|source| source.path != Path::new("-")) {
        std::fs::metadata(&source.path).map_err(|cause| Error::new("load", source.path.display(), cause))?;
    }
    let made = !file.exists();
    // Sorting out duplicates among millions takes more memory than a run is given.
    let warehouse = Warehouse::start(file.to_owned(), tables.clone(), super::room(2), Effort::Alone)?;
    let access = if made { Access::Make } else { Access::Write };
    let Some(window) = warehouse.open_within(access, patience, &|| false)? else { unreachable!("nothing stops it") };
    let mut report = LoadReport { made, ..LoadReport::default() };
    // Asked before it begins, because asking for a table that is not there ends a transaction.
    let mut exists = !window.columns(&tables.table)?.is_empty();
    window.run("load", "BEGIN")?;
    for source in sources {
        report.added += window.add(source, exists)?;
        exists = true;
    }
    window.run("load", "COMMIT")?;
    let count = format!("SELECT count(*) FROM {}", tables.table.quoted());
    let total: duckdb::Result<i64> = window.connection.query_row(&count, [], |row| row.get(0));
    report.total = total.map_err(|cause| window.error("load", &cause))?.unsigned_abs();
    window.close()?;
    Ok(report)
}

impl Window<'_> {
    fn run(&self, operation: &str, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|cause| self.error(operation, &cause))
    }

    fn add(&self, source: &Source, exists: bool) -> Result<u64> {
        let fault = |cause: &duckdb::Error| Error::new("load", source.path.display(), super::plain(&cause.to_string()));
        if source.format == Format::Lines {
            self.read_lines(&source.path)?;
        }
        let columns = self.describe(&source.relation(None)).map_err(|cause| fault(&cause))?;
        let id = self.id_column(source, &columns)?;
        let columns = self.describe(&source.relation(Some(&id))).map_err(|cause| fault(&cause))?;
        if !exists {
            self.make_table(&columns, &id).map_err(|cause| fault(&cause))?;
        }
        let added = self.insert(source, &columns, &id)?;
        added.map(|added| added as u64).map_err(|cause| fault(&cause))
    }

    fn read_lines(&self, path: &Path) -> Result<()> {
        let fault = |cause: &dyn std::fmt::Display| Error::new("load", path.display(), cause);
        let lines = input::open(path).map_err(|cause| fault(&cause))?;
        let sql = "CREATE OR REPLACE TEMP TABLE line (guid VARCHAR)";
        self.connection.execute_batch(sql).map_err(|cause| fault(&cause))?;
        let mut rows =
            self.connection.appender_to_catalog_and_db("line", "temp", "main").map_err(|cause| fault(&cause))?;
        for (number, line) in lines.lines().enumerate() {
            let line = line.map_err(|cause| fault(&format!("line {}: {cause}", number + 1)))?;
            let guid = line.strip_suffix('\r').unwrap_or(&line);
            if !guid.is_empty() {
                rows.append_row(params![guid]).map_err(|cause| fault(&cause))?;
            }
        }
        rows.flush().map_err(|cause| fault(&cause))
    }

    fn describe(&self, relation: &str) -> duckdb::Result<Vec<Column>> {
        let mut statement = self.connection.prepare(&format!("DESCRIBE FROM {relation}"))?;
        let rows = statement.query_map([], |row| Ok(Column { name: row.get(0)?, kind: row.get(1)?, key: false }))?;
        rows.collect()
    }

    /// Which of a source's columns holds the GUIDs: the one of that name, or the only one.
    fn id_column(&self, source: &Source, columns: &[Column]) -> Result<String> {
        let wanted = &self.tables.id;
        match columns.iter().find(|column| column.name.eq_ignore_ascii_case(wanted)) {
            Some(column) => Ok(column.name.clone()),
            None if columns.len() == 1 => Ok(columns[0].name.clone()),
            None => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                let cause = format!("no column {wanted}");
                Err(Error::new("load", source.path.display(), cause)
                    .with_way_out(format!("its columns are {}; name one with --id-column", names.join(", "))))
            }
        }
    }

    fn make_table(&self, columns: &[Column], id: &str) -> duckdb::Result<()> {
        let tables = self.tables;
        let own =
            |name: &str| [&tables.id, &tables.done, &tables.updated].iter().any(|own| own.eq_ignore_ascii_case(name));
        let id_type = type_of(columns, id).unwrap_or("VARCHAR");
        let mut parts = vec![format!("{} {id_type}", quote(&tables.id))];
        parts.extend(
            columns
                .iter()
                .filter(|column| column.name != id && !own(&column.name))
                .map(|column| format!("{} {}", quote(&column.name), column.kind)),
        );
        parts.push(format!("{} BOOLEAN DEFAULT false", quote(&tables.done)));
        parts.push(format!("{} TIMESTAMP", quote(&tables.updated)));
        self.connection.execute_batch(&format!("CREATE TABLE {} ({})", tables.table.quoted(), parts.join(", ")))
    }

    fn insert(&self, source: &Source, columns: &[Column], id: &str) -> Result<duckdb::Result<usize>> {
        let tables = self.tables;
        let table = tables.table.quoted();
        let target = self.columns(&tables.table)?;
        let Some(id_type) = type_of(&target, &tables.id) else {
            let cause = format!("no column {} in {}", tables.id, tables.table);
            return Err(Error::new("load", self.file.display(), cause).with_way_out("name one with --id-column"));
        };
        // A source's own time and done columns are taken too, where it has them.
        let shared: Vec<_> = columns
            .iter()
            .map(|column| &column.name)
            .filter(|name| *name != id && !name.eq_ignore_ascii_case(&tables.id))
            .filter_map(|name| Some((quote(name), type_of(&target, name)?)))
            .collect();
        let names: String = shared.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = shared.iter().map(|(name, kind)| format!(", {name}::{kind}")).collect();
        let (own, id, done) = (quote(&tables.id), quote(id), quote(&tables.done));
        // A row that says nothing of it is pending.
        let (fill, filled) = if shared.iter().any(|(name, _)| name.eq_ignore_ascii_case(&done)) {
            (String::new(), "")
        } else {
            (format!(", {done}"), ", false")
        };
        Ok(self.connection.execute(
            &format!(
                "INSERT INTO {table} ({own}{names}{fill}) SELECT {id}::{id_type}{values}{filled} FROM (SELECT *, row_number() OVER () AS toller_order \
                 FROM {relation} WHERE {id} IS NOT NULL AND {id}::VARCHAR <> '') \
                 WHERE {id}::{id_type} NOT IN (SELECT {own} FROM {table} WHERE {own} IS NOT NULL) \
                 QUALIFY row_number() OVER (PARTITION BY {id}::{id_type} ORDER BY toller_order) = 1 ORDER BY toller_order",
                relation = source.relation(Some(id.trim_matches('"'))),
            ),
            [],
        ))
    }
}
