//! A request as the origin saw it, and just enough HTTP to read one.

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

/// All the numbers count from 1.
#[derive(Clone, Debug)]
pub struct Request {
    /// The how manieth accepted connection it came on.
    pub connection: usize,
    /// The how manieth request it is: of the origin, of its path, of its connection.
    pub nth: usize,
    pub nth_of_path: usize,
    pub nth_on_connection: usize,
    pub method: String,
    /// As it was sent, percent signs and all.
    pub path: String,
    /// The last part of the path, decoded and without its extension.
    pub guid: String,
    pub headers: Vec<(String, String)>,
    pub at: Instant,
}

impl Request {
    /// The counts are for the origin to fill in.
    pub(super) fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self {
            connection: 0,
            nth: 0,
            nth_of_path: 0,
            nth_on_connection: 0,
            method,
            guid: guid_in(&path),
            path,
            headers: headers.collect(),
            at: Instant::now(),
        }
    }

    pub(super) fn is_for_an_image(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        Path::new(path).extension().is_some_and(|extension| extension == "jpg")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The next request's head, without the empty line; none when the client is done. What came after it stays
/// in `pending`.
pub(super) fn next_head(from: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = pending.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end + 4);
            return Ok(Some(head));
        }
        match from.read(&mut buffer)? {
            0 => return Ok(None),
            n => pending.extend_from_slice(&buffer[..n]),
        }
    }
}

fn guid_in(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut decoded = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
