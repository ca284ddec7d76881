//! CSV and TSV: which delimiter, whether the first line is a header, and which column holds the ids.

use std::io;

use crate::error::{Error, Result};
use crate::input::{self, Lines, Records, fields};

use super::super::tables::Column;
use super::blocks::{Entries, Entry};
use super::incoming::Incoming;
use super::looks::Heading;
use super::{Format, HasHeader, Source};

/// What spreadsheets put between values where the comma is a decimal sign, and what else is usual.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// What the first line says.
enum First {
    /// What the columns are called, and which of them is the id.
    Header(Vec<String>, usize),
    /// It is a GUID.
    Guid,
    /// It is a GUID, unless it turns out to be of another kind than all the rest.
    Open,
}

pub(super) fn read(source: &Source, incoming: &mut Incoming<'_>, header: HasHeader) -> Result<()> {
    let fault = |cause: &dyn std::fmt::Display| source.fault(cause);
    let mut records = open(source, &incoming.tables.id).map_err(|cause| fault(&cause))?;
    if !records.next_record().map_err(|cause| fault(&cause))? {
        incoming.blank = records.blank();
        return incoming.begin(&[]).map_err(|cause| fault(&cause));
    }
    let names: Vec<String> = records.values().map(|name| name.unwrap_or_default().trim().to_owned()).collect();
    let width = names.len();
    let first = first(source, names, &incoming.tables.id, header)?;
    let (id, others) = match &first {
        First::Header(names, id) => (*id, incoming.choose(&distinct(names), *id)),
        First::Guid | First::Open => (0, Vec::new()),
    };
    let columns = incoming.columns.clone();
    incoming.begin(&columns).map_err(|cause| fault(&cause))?;
    let waits = !matches!(first, First::Header(..));
    let mut rows = Rows { source: source.clone(), records, width, id, first, waits, heading: None };
    if others.is_empty() {
        rows = incoming.stream(source, rows)?;
    } else {
        while rows.advance()? {
            let row = std::iter::once(guid(&rows.records, rows.id))
                .chain(others.iter().map(|place| rows.records.value(*place)));
            incoming.append(row).map_err(|cause| fault(&cause))?;
        }
    }
    incoming.blank += rows.records.blank();
    if let Some(name) = rows.heading.as_ref().and_then(Heading::name) {
        incoming.drop_first().map_err(|cause| fault(&cause))?;
        let cause = format!("its first line, {name}, was taken for a header; --has-header no takes it for a GUID");
        incoming.notices.push(cause);
    }
    Ok(())
}

/// The records below the header, each of them as wide as it.
struct Rows {
    source: Source,
    records: Records,
    width: usize,
    id: usize,
    first: First,
    /// The first record was read, to look at it, and is still to come.
    waits: bool,
    heading: Option<Heading>,
}

impl Rows {
    /// Goes on to the next one; false behind the last.
    fn advance(&mut self) -> Result<bool> {
        let fault = |cause: &dyn std::fmt::Display| self.source.fault(cause);
        if !std::mem::take(&mut self.waits) && !self.records.next_record().map_err(|cause| fault(&cause))? {
            return Ok(false);
        }
        if let Some(cause) = misshapen(&self.records, self.width) {
            let error = self.source.fault(format!("line {}: {cause}", self.records.number()));
            return Err(error.with_way_out(if self.records.width() > self.width {
                "a value that holds the delimiter has to stand in quotes"
            } else {
                "a line has as many values as the first, be they empty"
            }));
        }
        let guid = guid(&self.records, self.id);
        if guid.is_some_and(|guid| guid.contains(['\n', '\r'])) {
            let number = self.records.number();
            let cause = format!("line {number}: an id goes on in the next line; is a quote not closed?");
            return Err(self.source.fault(cause));
        }
        if let (First::Open, Some(guid)) = (&self.first, guid) {
            self.heading.get_or_insert_with(|| Heading::new(guid)).compare(guid);
        }
        Ok(true)
    }
}

fn guid(record: &Records, place: usize) -> Option<&str> {
    record.value(place).filter(|guid| !guid.trim().is_empty())
}

impl Entries for Rows {
    fn next_entry(&mut self) -> Result<Entry<'_>> {
        Ok(if self.advance()? { guid(&self.records, self.id).map_or(Entry::Empty, Entry::Id) } else { Entry::End })
    }

    fn is_settled(&self) -> bool {
        !self.heading.as_ref().is_some_and(Heading::is_open)
    }
}

/// Opens the list behind whatever says what its delimiter is.
fn open(source: &Source, id: &str) -> io::Result<Records> {
    let mut lines = Lines::new(input::list(&source.path)?);
    let Some(first) = lines.peek()? else { return Ok(Records::new(lines, ',')) };
    // Spreadsheets write that line for each other.
    if let Some(delimiter) = named_delimiter(first) {
        lines.next_line()?;
        return Ok(Records::new(lines, delimiter));
    }
    let delimiter = match source.format {
        Format::Tsv => '\t',
        _ => delimiter(first, id),
    };
    Ok(Records::new(lines, delimiter))
}

fn named_delimiter(line: &str) -> Option<char> {
    let mut rest = line.trim_matches('"').strip_prefix("sep=")?.chars();
    rest.next().filter(|c| rest.next().is_none() && c.is_ascii() && *c != '"')
}

/// The delimiter that lays the id column's name bare, else the first that is there at all.
fn delimiter(first: &str, id: &str) -> char {
    let split = |delimiter: char| fields(first, delimiter);
    let named = DELIMITERS.into_iter().find(|delimiter| {
        let names = split(*delimiter);
        names.len() > 1 && names.iter().any(|name| name.trim().eq_ignore_ascii_case(id))
    });
    named.or_else(|| DELIMITERS.into_iter().find(|delimiter| split(*delimiter).len() > 1)).unwrap_or(',')
}

fn first(source: &Source, names: Vec<String>, wanted: &str, header: HasHeader) -> Result<First> {
    let ids: Vec<_> = (0..names.len()).filter(|place| names[*place].eq_ignore_ascii_case(wanted)).collect();
    match (header, &ids[..], names.len()) {
        (HasHeader::No, _, 1) => Ok(First::Guid),
        (HasHeader::No, ..) => Err(source
            .fault("its columns have no names, so that the GUIDs cannot be told from the rest")
            .with_way_out(format!("put a line of names above them, one of which is {wanted}"))),
        (_, [id], _) => Ok(First::Header(names, *id)),
        (_, [_, _, ..], _) => Err(source.fault(format!("more than one column is called {wanted}"))),
        (HasHeader::Yes, [], 1) => Ok(First::Header(names, 0)),
        (HasHeader::Auto, [], 1) => Ok(First::Open),
        (_, [], _) => Err(no_column(source, wanted, &names)),
    }
}

/// None of several columns is the id column.
pub(super) fn no_column(source: &Source, wanted: &str, names: &[String]) -> Error {
    source
        .fault(format!("no column {wanted}"))
        .with_way_out(format!("its columns are {}; name one with --id-column", names.join(", ")))
}

/// Names as a table can have them: each once, in whatever case, and none empty.
fn distinct(names: &[String]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let name = if name.is_empty() { format!("column{place}") } else { name.clone() };
        let taken = |name: &str, columns: &[Column]| columns.iter().any(|known| known.name.eq_ignore_ascii_case(name));
        let mut own = name.clone();
        let mut copies = 0;
        while taken(&own, &columns) {
            copies += 1;
            own = format!("{name}_{copies}");
        }
        columns.push(Column { name: own, kind: "VARCHAR".into(), key: false });
    }
    columns
}

/// What is wrong with the number of values. Empty ones at the end say nothing, and spreadsheets like to write them.
fn misshapen(record: &Records, width: usize) -> Option<String> {
    let wrong = record.width() < width || (width..record.width()).any(|place| record.value(place).is_some());
    wrong.then(|| {
        let plural = |count: usize| if count == 1 { "1 value".into() } else { format!("{count} values") };
        format!("{}, where the first line has {width}", plural(record.width()))
    })
}
