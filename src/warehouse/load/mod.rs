//! Making and extending a warehouse from the lists that its owner has.
//!
//! A list is first read into a table of the connection's own, [`incoming`], where nothing is lost or changed: text
//! by toller's own readers, which never guess, and Parquet by DuckDB's. From there it goes into the user's table. Ids
//! alone, for a warehouse that is being made, go there at once, by [`lanes`]: nobody knows the file until it is whole.

mod blocks;
mod delimited;
mod incoming;
mod insert;
mod json;
mod lanes;
mod looks;
mod parquet;
mod repeated;
mod seen;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::input::{self, Lines};

use super::tables::quote;
use super::{Access, Effort, Locked, Tables, Warehouse, Window};

use blocks::{Entries, Entry};
use incoming::{Incoming, Straight};
use looks::Heading;

/// What DuckDB gets for ids alone. What does not fit goes through the disk.
const MEMORY: u64 = 192 << 20;

/// What to do where that is not enough.
const IN_PARTS: &str = "it takes more memory, or more room on the disk, than there is: load the list in parts";

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

/// Whether the first line of a CSV or TSV says what its columns are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHeader {
    /// It does where it holds the id column's name.
    Auto,
    /// It does.
    Yes,
    /// It is a line like the others.
    No,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Entries in the lists.
    pub lines: u64,
    /// Rows added to the table.
    pub added: u64,
    /// Entries that were in the table, or came before.
    pub known: u64,
    /// Entries without a GUID.
    pub empty: u64,
    /// Rows in the table now.
    pub total: u64,
    /// The file was made.
    pub made: bool,
    /// What the user should know about the lists.
    pub notices: Vec<String>,
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

    /// An error about this file.
    fn fault(&self, cause: impl std::fmt::Display) -> Error {
        let cause = cause.to_string();
        let for_want_of_memory = cause.contains("Out of Memory Error");
        let error = Error::new("load", self.path.display(), cause);
        if for_want_of_memory { error.with_way_out(IN_PARTS) } else { error }
    }

    /// Asked before anything is begun.
    fn must_be_readable(&self) -> Result<()> {
        if self.path == Path::new("-") {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Err(self.fault("it is a folder")),
            Ok(_) => Ok(()),
            Err(cause) => Err(self.fault(cause)),
        }
    }

    fn read(&self, incoming: &mut Incoming<'_>, header: HasHeader) -> Result<()> {
        match self.format {
            Format::Csv | Format::Tsv => delimited::read(self, incoming, header),
            Format::Parquet => parquet::read(self, incoming),
            Format::Json => json::read(self, incoming),
            Format::Lines => self.read_lines(incoming),
        }
    }

    fn read_lines(&self, incoming: &mut Incoming<'_>) -> Result<()> {
        let lines = Lines::new(input::list(&self.path).map_err(|cause| self.fault(cause))?);
        incoming.begin(&[]).map_err(|cause| self.fault(cause))?;
        let text = PlainText { source: self.clone(), lines, heading: None };
        let text = incoming.stream(self, text)?;
        if let Some(name) = text.heading.as_ref().and_then(Heading::name) {
            incoming.notices.push(format!(
                "its first line, {name}, looks like a header, but was taken for a GUID as plain text has none; in a file whose name ends in .csv it would be one"
            ));
        }
        Ok(())
    }
}

/// Plain text: every line with anything in it is a GUID.
struct PlainText {
    source: Source,
    lines: Lines,
    heading: Option<Heading>,
}

impl Entries for PlainText {
    fn next_entry(&mut self) -> Result<Entry<'_>> {
        let line = self.lines.next_line().map_err(|cause| self.source.fault(cause))?;
        let Some(line) = line else { return Ok(Entry::End) };
        if line.trim().is_empty() {
            return Ok(Entry::Empty);
        }
        self.heading.get_or_insert_with(|| Heading::new(line)).compare(line);
        Ok(Entry::Id(line))
    }

    fn is_settled(&self) -> bool {
        true
    }
}

/// Adds the GUIDs of all sources that the table does not have, in their order; makes the file and the table
/// where they are missing. Who waits long for another program is told through `tell` who it is.
///
/// # Errors
/// A source or the warehouse that cannot be used; then nothing is added.
pub fn load(
    file: &Path,
    tables: &Tables,
    sources: &[Source],
    header: HasHeader,
    patience: Duration,
    tell: fn(&Locked),
) -> Result<LoadReport> {
    sources.iter().try_for_each(Source::must_be_readable)?;
    let made = !file.exists();
    let memory = super::memory::room(2).min(MEMORY);
    // Each thread holds blocks of its own, for which there may be no room.
    let effort = if memory < MEMORY { Effort::Beside } else { Effort::Alone };
    if !made {
        super::must_be_warehouse(file)?;
    }
    let warehouse = Warehouse::start(file.to_owned(), tables.clone(), memory, effort)?.telling(tell);
    if !made {
        // Its indexes have to be in memory, and what is in a transaction until it is over.
        warehouse.take_memory(super::memory::room(4))?;
    }
    let window = warehouse.open_telling(if made { Access::Make } else { Access::Write }, patience)?;
    let mut report = LoadReport { made, ..LoadReport::default() };
    // Asked before it begins, because asking for a table that is not there ends a transaction.
    let mut exists = !window.columns(&tables.table)?.is_empty();
    if exists {
        // What `fetch` would not take is better known before it is filled.
        window.shape()?;
    }
    // Nobody knows a file that is being made, and what is left of it when it fails goes.
    let transaction = |word: &str| if made { Ok(()) } else { window.run(word) };
    transaction("BEGIN")?;
    if !exists {
        // By itself, so that no list is blamed for it.
        window.run(&window.schema_ddl(&tables.table))?;
    }
    for source in sources {
        window.add(source, header, exists, &mut report)?;
        exists = true;
    }
    if !made {
        // From here on nothing that fails could be taken back.
        warehouse.take_memory(super::memory::room(2))?;
    }
    transaction("COMMIT")?;
    report.total = window.size()?;
    window.close()?;
    Ok(report)
}

impl Window<'_> {
    fn run(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|cause| self.error("load", &cause))
    }

    fn size(&self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.quoted(&self.tables.table));
        let count: duckdb::Result<i64> = self.connection.query_row(&sql, [], |row| row.get(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.error("load", &cause))
    }

    fn add(&self, source: &Source, header: HasHeader, exists: bool, report: &mut LoadReport) -> Result<()> {
        let target = if exists { Some(self.columns(&self.tables.table)?) } else { None };
        let straight = (report.made && !exists).then(|| Straight {
            ddl: self.table_ddl(&[]),
            table: self.quoted(&self.tables.table),
            id: quote(&self.tables.id),
        });
        let mut incoming = Incoming::new(self.connection, self.tables, target, straight, self.memory);
        source.read(&mut incoming, header)?;
        let fault = |cause: &duckdb::Error| source.fault(super::plain(&cause.to_string()));
        incoming.end().map_err(|cause| fault(&cause))?;
        let there = incoming.count().map_err(|cause| fault(&cause))?;
        if there.lines == 0 {
            incoming.notices.push("there is nothing in it".into());
        }
        incoming.notices.extend(looks::strange(&incoming, self, exists).map_err(|cause| fault(&cause))?);
        let fresh = there.ids - there.again;
        let straight = incoming.went_straight() && self.is_distinct(&incoming, fresh).map_err(|cause| fault(&cause))?;
        let mut added = if straight { fresh } else { self.put(source, &mut incoming, exists, fresh)? };
        if there.again > 0 {
            added += self.put_again(source, &mut incoming)?;
        }
        report.lines += there.lines;
        report.added += added;
        report.known += there.ids - added;
        report.empty += there.lines - there.ids;
        report.notices.extend(incoming.notices.iter().map(|notice| format!("{}: {notice}", source.path.display())));
        Ok(())
    }

    /// Puts what came into the user's table, and makes that where it is not there.
    fn put(&self, source: &Source, incoming: &mut Incoming<'_>, exists: bool, ids: u64) -> Result<u64> {
        let fault = |cause: &duckdb::Error| source.fault(super::plain(&cause.to_string()));
        if !exists {
            if source.format != Format::Parquet {
                self.type_columns(incoming).map_err(|cause| fault(&cause))?;
            }
            self.run(&self.table_ddl(&incoming.columns))?;
        }
        self.put_fitting(source, incoming, ids)
    }

    fn put_fitting(&self, source: &Source, incoming: &Incoming<'_>, ids: u64) -> Result<u64> {
        let fault = |cause: &duckdb::Error| source.fault(super::plain(&cause.to_string()));
        let places = self.places(incoming)?;
        if let Some(cause) = self.misfit(incoming, &places).map_err(|cause| fault(&cause))? {
            return Err(source.fault(cause));
        }
        self.insert(&places, ids, incoming.distinct).map_err(|cause| fault(&cause))
    }

    /// Puts those into the table that seem to have come before, and have not.
    fn put_again(&self, source: &Source, incoming: &mut Incoming<'_>) -> Result<u64> {
        let places = self.places(incoming)?;
        let left = self.take_again(&places[0]);
        let left = left.map_err(|cause| source.fault(super::plain(&cause.to_string())))?;
        incoming.distinct = false;
        if left == 0 { Ok(0) } else { self.put_fitting(source, incoming, left) }
    }
}
