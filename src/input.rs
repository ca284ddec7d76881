//! Text that comes in: a file or standard input, gzipped or not, a line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Opens a text; `-` is standard input.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    text(source(path)?)
}

/// Opens what a text is made from, byte for byte.
///
/// # Errors
/// It cannot be opened.
pub fn source(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) })
}

/// Makes the text of a source. A gzipped one is known by its first two bytes (RFC 1952, section 2.3.1).
///
/// # Errors
/// Not even its beginning can be read.
pub fn text(source: Box<dyn Read>) -> io::Result<Box<dyn BufRead>> {
    let mut text = BufReader::with_capacity(1 << 16, source);
    let mut text: Box<dyn BufRead> = if text.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(text)))
    } else {
        Box::new(text)
    };
    // Some editors put a mark before the first letter, which is no part of the text.
    if text.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    Ok(text)
}
