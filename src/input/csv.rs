//! Records of a CSV or TSV, read to the letter (RFC 4180): what is doubtful is an error that names its line.
//!
//! DuckDB's own reader guesses quotes, types and headers from a sample, and takes what does not fit for one column.
//! Here a quote that is never closed, or that is followed by more of the value, ends it.

use std::io;

use super::Lines;

const QUOTE: char = '"';
/// A value with more text is a quote that was never closed.
const LONGEST: usize = 16 << 20;

/// The records of a text.
pub struct Records {
    lines: Lines,
    delimiter: char,
    /// The values of the record, one behind the other, and where each ends.
    values: String,
    ends: Vec<usize>,
    number: u64,
    blank: u64,
}

/// Where in a record the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Bare,
    Quoted,
    Closed,
}

/// The values of one line, as far as it goes: to look at a first line before its delimiter is known.
#[must_use]
pub fn fields(line: &str, delimiter: char) -> Vec<String> {
    let (mut values, mut ends) = (String::new(), Vec::new());
    // Where it breaks off does not matter here: whoever reads the record will hear of it.
    let _ = split(line, delimiter, Place::Start, &mut values, &mut ends);
    ends.push(values.len());
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| values[start..*end].to_owned()).collect()
}

/// Appends a line's values, as far as they are closed; `None` where text follows a closing quote.
fn split(line: &str, delimiter: char, from: Place, values: &mut String, ends: &mut Vec<usize>) -> Option<Place> {
    let mut place = from;
    for c in line.chars() {
        place = match (place, c) {
            (Place::Start, QUOTE) => Place::Quoted,
            (Place::Quoted, QUOTE) => Place::Closed,
            (Place::Closed, QUOTE) => {
                values.push(QUOTE);
                Place::Quoted
            }
            (Place::Start | Place::Bare | Place::Closed, c) if c == delimiter => {
                ends.push(values.len());
                Place::Start
            }
            (Place::Closed, _) => return None,
            (place, c) => {
                values.push(c);
                if place == Place::Quoted { Place::Quoted } else { Place::Bare }
            }
        };
    }
    Some(place)
}

impl Records {
    /// Reads from lines.
    #[must_use]
    pub fn new(lines: Lines, delimiter: char) -> Self {
        Self { lines, delimiter, values: String::new(), ends: Vec::new(), number: 0, blank: 0 }
    }

    /// The line on which the record that was read last begins.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many lines without anything in them were passed over.
    #[must_use]
    pub fn blank(&self) -> u64 {
        self.blank
    }

    /// The number of values in the record.
    #[must_use]
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    /// A value of the record; one without text is none.
    ///
    /// # Panics
    /// The record has not so many.
    #[must_use]
    pub fn value(&self, place: usize) -> Option<&str> {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        Some(&self.values[start..self.ends[place]]).filter(|value| !value.is_empty())
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.width()).map(|place| self.value(place))
    }

    /// Reads the next record; false behind the last.
    ///
    /// # Errors
    /// It cannot be read, or its quotes are not in order; the line is named.
    pub fn next_record(&mut self) -> io::Result<bool> {
        self.values.clear();
        self.ends.clear();
        let mut place = Place::Start;
        loop {
            let quoted = place == Place::Quoted;
            let ending = if quoted { self.lines.ending() } else { "" };
            let Some(line) = self.lines.next_line()? else {
                return if quoted { Err(self.fault("a quote is opened and never closed")) } else { Ok(false) };
            };
            if !quoted && line.trim().is_empty() && !line.contains(self.delimiter) {
                self.blank += 1;
                continue;
            }
            self.values.push_str(ending);
            if !quoted && memchr::memchr(b'"', line.as_bytes()).is_none() {
                for value in line.split(self.delimiter) {
                    self.values.push_str(value);
                    self.ends.push(self.values.len());
                }
                self.number = self.lines.number();
                return Ok(true);
            }
            let after = split(line, self.delimiter, place, &mut self.values, &mut self.ends);
            if !quoted {
                self.number = self.lines.number();
            }
            match after {
                None => return Err(self.fault("text follows a closing quote; a quote inside a value is written twice")),
                Some(Place::Quoted) if self.values.len() > LONGEST => {
                    return Err(self.fault("a quote is opened and not closed for 16 MB"));
                }
                Some(Place::Quoted) => place = Place::Quoted,
                Some(_) => {
                    self.ends.push(self.values.len());
                    return Ok(true);
                }
            }
        }
    }

    fn fault(&self, cause: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {cause}", self.number))
    }
}
