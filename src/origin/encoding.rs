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

/// Those that make other bytes of a body (IANA's registry of HTTP content codings). Stores repeat other words as well, that
/// were said to them or are none.
const CODINGS: [&str; 12] = [
    "gzip",
    "x-gzip",
    "br",
    "zstd",
    "deflate",
    "compress",
    "x-compress",
    "dcb",
    "dcz",
    "exi",
    "pack200-gzip",
    "aes128gcm",
];

/// Whether a header of this name says that a body is packed.
pub fn is_packed(headers: &HeaderMap, name: &str) -> bool {
    words(headers, name).iter().any(|word| CODINGS.contains(&word.as_str()))
}

/// The encodings of which nobody here knows what they have made of the body.
pub fn unknown(headers: &HeaderMap) -> Option<Box<str>> {
    let words = words(headers, CONTENT_ENCODING.as_str());
    words.iter().any(|word| !is_named_gzip(word)).then(|| shown(&words.join(", ")).into())
}

fn is_named_gzip(word: &str) -> bool {
    matches!(word, "gzip" | "x-gzip")
}

fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let all = values.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    all.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "identity")).map(str::to_owned).collect()
}

/// What is in `body`, at most `most` bytes, where the headers say that it is packed and it is so in a way that is known. gzip
/// data end with their length and checksum, so that what comes of them is whole.
pub fn unpacked(headers: &HeaderMap, body: &[u8], most: u64) -> Result<Option<Vec<u8>>, Failure> {
    let failure = |kind, words: String| Failure::new(kind, words).with_status(200);
    let words = words(headers, CONTENT_ENCODING.as_str());
    // A word that is no coding changes nothing. Some say so of bodies that are not; what it is then, the check will see.
    let mut codings = words.iter().filter(|word| CODINGS.contains(&word.as_str()));
    if !is_gzip(body) || !codings.next().is_some_and(|word| is_named_gzip(word)) || codings.next().is_some() {
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
