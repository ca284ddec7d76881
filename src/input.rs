//! Text that comes in: a file or standard input, compressed or not, a line at a time.
//!
//! A list that is no UTF-8 text is refused here, in words that name the way out, before somebody reads lines from it.

mod csv;
mod lines;
mod zst;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

pub use csv::{Records, fields};
pub use lines::Lines;

/// Enough to hold the beginnings below.
const BUFFER: usize = 1 << 16;

/// How files begin that look like lists to somebody who goes by the name, and what to do about them.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\xff\xfe", "it is UTF-16; make it UTF-8 first: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "it is UTF-16; make it UTF-8 first: iconv -f UTF-16 -t UTF-8"),
    (b"\xfd7zXZ\0", "it is compressed by xz; unpack it first: xz -d"),
    (b"BZh11AY&SY", "it is compressed by bzip2; unpack it first: bzip2 -d"),
    (b"\x04\x22\x4d\x18", "it is compressed by lz4; unpack it first: lz4 -d"),
    (b"LZIP\x01", "it is compressed by lzip; unpack it first: lzip -d"),
    (b"\x1f\x9d", "it is compressed by compress; unpack it first: uncompress"),
    (b"PK\x03\x04", "it is a ZIP archive or a spreadsheet; unpack it, or save the sheet as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it first: 7z x"),
    (b"\xd0\xcf\x11\xe0", "it is a spreadsheet; save it as CSV"),
    (b"PAR1\x15", "it is Parquet; give it a name that ends in .parquet"),
    (b"SQLite format 3\0", "it is an SQLite database; export a list from it: sqlite3 -csv -header"),
];

/// Opens a list, of which nothing is to be taken for what it is not.
///
/// # Errors
/// It cannot be opened, or is no text; the way out is named.
pub fn list(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut text = open(path)?;
    match foreign(text.fill_buf()?) {
        Some(cause) => Err(io::Error::new(io::ErrorKind::InvalidData, cause)),
        None => Ok(text),
    }
}

/// Opens a text; `-` is standard input.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    text(source(path)?)
}

/// Opens what a text is made from, byte for byte.
///
/// # Errors
/// It cannot be opened.
pub fn source(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    Ok(if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) })
}

/// Keeps a stream in a file without a name, which goes away with the handle, so that it can be read twice.
///
/// # Errors
/// The stream cannot be read, or the folder for temporary files cannot take it.
pub fn spool(stream: &mut dyn Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("toller-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    io::copy(stream, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Makes the text of a source. A compressed one is known by its first bytes (RFC 1952, section 2.3.1; RFC 8878,
/// section 3.1), whatever it is called.
///
/// # Errors
/// Not even its beginning can be read.
pub fn text(source: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let mut text = BufReader::with_capacity(BUFFER, source);
    let begins = text.fill_buf()?;
    let mut text: Box<dyn BufRead + Send> = if begins.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(text)))
    } else if zst::begins(begins) {
        Box::new(BufReader::with_capacity(BUFFER, zst::Frames::new(text)))
    } else {
        Box::new(text)
    };
    // Some editors put a mark before the first letter, which is no part of the text.
    if text.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    Ok(text)
}

fn foreign(begins: &[u8]) -> Option<&'static str> {
    // The fourth byte of bzip2 is its block size, a digit.
    let bzip2 = begins.len() >= 10 && begins.starts_with(b"BZh") && begins[4..10] == b"1AY&SY"[..];
    let words = |magic: &[u8]| FOREIGN.iter().find(|(known, _)| *known == magic).map(|(_, words)| *words);
    match begins {
        _ if bzip2 => words(b"BZh11AY&SY"),
        // UTF-16 without its mark: every other byte of a GUID is none.
        [0, a, 0, b, ..] | [a, 0, b, 0, ..] if *a != 0 && *b != 0 => words(b"\xff\xfe"),
        _ => FOREIGN.iter().find(|(magic, _)| begins.starts_with(magic)).map(|(_, words)| *words),
    }
}
