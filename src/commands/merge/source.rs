//! Where outcomes come from: a file or a stream, read a line at a time, from its beginning as often as need be.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::input;
use crate::line::{Arrival, parse};

/// A longer line is none that `pipe` printed.
const LONGEST_LINE: u64 = 1 << 20;

/// A source that can be read several times.
pub(super) struct Source {
    path: PathBuf,
    /// What came from a stream.
    spooled: Option<File>,
}

/// A line of it.
#[allow(clippy::large_enum_variant, reason = "one at a time is in hand, and nearly all are outcomes")]
pub(super) enum Line {
    /// An outcome.
    Whole(Arrival),
    /// The last one, which ends too soon.
    Torn,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        // A pipe, standard input or not, can be read only once.
        let stream = path == Path::new("-") || std::fs::metadata(path).is_ok_and(|found| !found.is_file());
        let spool = || input::spool(&mut *input::source(path)?);
        let spooled = stream.then(spool).transpose();
        let spooled = spooled.map_err(|cause| Error::new("merge", path.display(), cause))?;
        Ok(Self { path: path.to_owned(), spooled })
    }

    /// Its lines from the first on.
    pub(super) fn lines(&self) -> Result<Lines<'_>> {
        let lines =
            |text, torn| Lines { source: &self.path, text, torn, line: Vec::new(), number: 0, last: usize::MAX };
        match self.text() {
            Ok(text) => Ok(lines(text, false)),
            // A gzip stream that ends too soon, even in its head, is what a killed shard leaves.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(lines(Box::new(io::empty()), true)),
            Err(cause) => Err(Error::new("merge", self.path.display(), cause)),
        }
    }

    fn text(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let Some(file) = &self.spooled else { return input::open(&self.path) };
        input::text(Box::new(Spooled { file: file.try_clone()?, at: 0 }))
    }

    /// Reads it to its end: how many lines there are, and whether the last one is torn.
    ///
    /// # Errors
    /// Any other of them is none that `pipe` printed.
    pub(super) fn check(&self) -> Result<(usize, bool)> {
        let (mut lines, mut torn) = (self.lines()?, false);
        while let Some(line) = lines.next()? {
            torn |= matches!(line, Line::Torn);
        }
        Ok((lines.number, torn))
    }
}

/// What was kept of a stream, read by whoever has it at a place of its own.
struct Spooled {
    file: File,
    at: u64,
}

impl Read for Spooled {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The lines of a source.
pub(super) struct Lines<'s> {
    source: &'s Path,
    text: Box<dyn BufRead + Send>,
    /// It ends before its first line.
    torn: bool,
    line: Vec<u8>,
    /// So many lines were read.
    number: usize,
    /// Not more than so many are wanted.
    last: usize,
}

impl Lines<'_> {
    /// Ends after that line: a file that grows meanwhile has more to say another time.
    pub(super) fn end_at(&mut self, last: usize) {
        self.last = last;
    }

    /// The next of them; blank ones are none.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        if std::mem::take(&mut self.torn) {
            return Ok(Some(Line::Torn));
        }
        while self.number < self.last {
            self.line.clear();
            let number = self.number + 1;
            let read = match self.text.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line) {
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                    self.last = 0;
                    return Ok(Some(Line::Torn));
                }
                other => other.map_err(|cause| self.error(format!("line {number}: {cause}")))?,
            };
            if read == 0 {
                break;
            }
            self.number = number;
            let ended = self.line.ends_with(b"\n");
            if read as u64 == LONGEST_LINE && !ended {
                return Err(self.bad("it is longer than a megabyte"));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return match parse(&self.line) {
                Ok(arrival) => Ok(Some(Line::Whole(arrival))),
                Err(_) if !ended => Ok(Some(Line::Torn)),
                Err(cause) => Err(self.bad(&cause)),
            };
        }
        Ok(None)
    }

    fn error(&self, cause: String) -> Error {
        Error::new("merge", self.source.display(), cause)
    }

    fn bad(&self, cause: &str) -> Error {
        self.error(format!("line {}: {cause}", self.number))
            .with_way_out("nothing of this file was applied; it must be what `toller pipe` printed")
    }
}
