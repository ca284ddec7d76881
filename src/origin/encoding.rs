//! Bodies that come encoded although they were asked for as they are.
//!
//! Some stores keep objects gzipped and send them so to everybody. What they hold is what the warehouse means, so it is
//! unpacked, and checked as what it is.

use std::io::{ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;
use ureq::http::HeaderMap;
use ureq::http::header::CONTENT_ENCODING;

use crate::failure::{Failure, Kind};
use crate::text::shown;

/// Whether these bytes begin as gzip data do (RFC 1952, section 2.3.1).
pub fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b])
}

/// What is in `body`, at most `most` bytes, where the headers say that it is packed. gzip data end with their length and
/// checksum, so that what comes of them is whole.
pub fn unpacked(headers: &HeaderMap, body: &[u8], most: u64) -> Result<Option<Vec<u8>>, Failure> {
    let failure = |kind, words: String| Failure::new(kind, words).with_status(200);
    let values = headers.get_all(CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let all = values.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    let words: Vec<_> = all.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "identity")).collect();
    match words[..] {
        [] => return Ok(None),
        ["gzip" | "x-gzip"] => {}
        _ => {
            let words = format!("it comes encoded as {}, although it was not asked for so", shown(&words.join(", ")));
            return Err(failure(Kind::NotAnImage, words));
        }
    }
    // Some say so of bodies that are not; what it is then, the check will see.
    if !is_gzip(body) {
        return Ok(None);
    }
    let mut plain = Vec::new();
    match MultiGzDecoder::new(body).take(most.saturating_add(1)).read_to_end(&mut plain) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(failure(Kind::Truncated, format!("its gzip data end after {} bytes", body.len())))
        }
        Err(_) => Err(failure(Kind::NotAnImage, "its gzip data are corrupt".into())),
        Ok(_) if plain.len() as u64 > most => {
            Err(failure(Kind::TooLarge, format!("more than {most} bytes when unpacked")))
        }
        Ok(_) if plain.is_empty() => Err(failure(Kind::Empty, "a body of no bytes when unpacked".into())),
        Ok(_) => Ok(Some(plain)),
    }
}
