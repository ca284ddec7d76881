//! Lines of a text, whichever system wrote it: they end with a line feed, a carriage return, or both.

use std::io::{self, BufRead};

/// No list has longer lines; what has is something else, and would take memory without end.
const LONGEST: usize = 16 << 20;

/// The lines of a text, one after the other, in one buffer.
pub struct Lines {
    text: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    ending: &'static str,
    number: u64,
    /// The last line ended with a carriage return, so that a line feed that follows belongs to it.
    returned: bool,
    /// The line was looked at, and is still to be read.
    peeked: bool,
}

impl Lines {
    /// Reads from a text.
    #[must_use]
    pub fn new(text: Box<dyn BufRead + Send>) -> Self {
        Self { text, line: Vec::new(), ending: "", number: 0, returned: false, peeked: false }
    }

    /// The number of the line that was read last, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the line that was read last ended with; nothing, where the text ended.
    #[must_use]
    pub fn ending(&self) -> &'static str {
        self.ending
    }

    /// The next line, which stays the next.
    ///
    /// # Errors
    /// As [`Lines::next_line`].
    pub fn peek(&mut self) -> io::Result<Option<&str>> {
        self.peeked = self.peeked || self.read()?;
        if self.peeked { self.line().map(Some) } else { Ok(None) }
    }

    /// The next line without its ending; `None` behind the last.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8, or is longer than any list's; the line is named.
    pub fn next_line(&mut self) -> io::Result<Option<&str>> {
        if std::mem::take(&mut self.peeked) || self.read()? { self.line().map(Some) } else { Ok(None) }
    }

    fn line(&self) -> io::Result<&str> {
        let cause = "it is not UTF-8; make it that first: iconv -f WINDOWS-1252 -t UTF-8";
        std::str::from_utf8(&self.line).map_err(|_| fault(self.number, cause))
    }

    /// Reads a line; false behind the last.
    fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.ending = "";
        let number = self.number + 1;
        loop {
            let bytes = self.text.fill_buf().map_err(|cause| fault(number, cause))?;
            if bytes.is_empty() {
                break;
            }
            if std::mem::take(&mut self.returned) && bytes[0] == b'\n' {
                self.text.consume(1);
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            let Some(end) = end else {
                let read = bytes.len();
                self.text.consume(read);
                if self.line.len() > LONGEST {
                    return Err(fault(number, "it is longer than 16 MB, and no list has such lines"));
                }
                continue;
            };
            self.ending = match (bytes[end], bytes.get(end + 1)) {
                (b'\r', Some(b'\n')) => "\r\n",
                (b'\r', _) => "\r",
                _ => "\n",
            };
            // Where the buffer ends between the two, the second is still to come.
            self.returned = self.ending == "\r";
            self.text.consume(end + self.ending.len());
            break;
        }
        if self.line.is_empty() && self.ending.is_empty() {
            return Ok(false);
        }
        self.number = number;
        Ok(true)
    }
}

fn fault(number: u64, cause: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {cause}"))
}
