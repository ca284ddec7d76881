//! Is this body a whole image?
//!
//! A body that ends with its connection and carries no length looks complete to every HTTP client,
//! and an HTML page sent with status 200 looks like a success. Neither may reach its final name, so
//! each body is judged here by its own bytes before it is saved, and again when it is found on disk.
//!
//! The question is whether the end is there, not whether the pixels are good: containers are
//! walked, nothing is decoded, no checksum is computed. What a decoder would shrug off (bytes after the end,
//! filler between segments) passes; what no decoder could have made sense of does not.
//!
//! This file knows bytes only: nothing of HTTP, files or guids, and it imports nothing but `core`, so that
//! a fuzz target can include it alone. Every step shortens what is left to read, so the time is linear in
//! the body's length whatever the body holds.

use core::fmt;

/// How far the check could see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Proved whole to its end: JPEG, PNG, GIF, WebP.
    Whole,
    /// Known by its beginning only: AVIF, BMP, TIFF. The end may be missing.
    Beginning,
}

/// Why a body is not a whole image, in words for people: "html, not an image".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotWhole(pub &'static str);

impl fmt::Display for NotWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for NotWhole {}

/// Says how much of an image `body` provably is.
///
/// No prefix of a whole JPEG, PNG, GIF or WebP that lacks its end is [`Proof::Whole`]; bytes after the end
/// are allowed.
///
/// # Errors
///
/// [`NotWhole`] if `body` is empty, is something else than an image, or lacks a part of one.
pub fn check(body: &[u8]) -> Result<Proof, NotWhole> {
    if body.is_empty() {
        Err(NotWhole("empty"))
    } else if let Some(segments) = body.strip_prefix(b"\xFF\xD8")
        && segments.first() == Some(&0xFF)
    {
        jpeg(segments)
    } else if let Some(chunks) = body.strip_prefix(b"\x89PNG\r\n\x1A\n") {
        png(chunks)
    } else if let Some(blocks) = strip_either(body, b"GIF87a", b"GIF89a") {
        gif(blocks)
    } else if let Some(riff) = body.strip_prefix(b"RIFF")
        && let Some((declared, form)) = riff.split_first_chunk()
        && let Some(chunks) = form.strip_prefix(b"WEBP")
    {
        webp(u32::from_le_bytes(*declared), chunks)
    } else if body.get(4..8) == Some(b"ftyp") {
        avif(body)
    } else if let Some(header) = body.strip_prefix(b"BM") {
        bmp(header)
    } else if let Some(header) = strip_either(body, b"II*\0", b"MM\0*") {
        tiff(header, 4)
    } else if let Some(header) = strip_either(body, b"II+\0", b"MM\0+") {
        tiff(header, 12)
    } else {
        Err(guess(body))
    }
}

/// What follows one of two signatures that mean the same.
fn strip_either<'a>(body: &'a [u8], one: &[u8], other: &[u8]) -> Option<&'a [u8]> {
    body.strip_prefix(one).or_else(|| body.strip_prefix(other))
}

/// Walks the markers from behind SOI to EOI (ITU-T T.81, annex B).
///
/// Segments are stepped over by their length, so the EOI of a thumbnail inside APP1 is never seen. Between
/// segments the next marker is looked for as libjpeg does it. That one rule serves entropy-coded bytes after
/// SOS, fill bytes (B.1.1.2), and the stray bytes that some cameras leave between segments.
fn jpeg(mut rest: &[u8]) -> Result<Proof, NotWhole> {
    const CUT: NotWhole = NotWhole("jpeg cut inside a segment");
    let mut frame = false;
    let mut scan = false;
    loop {
        let marker = next_marker(&mut rest).ok_or(NotWhole("jpeg without end-of-image marker"))?;
        match marker {
            // TEM: nothing follows that belongs to it.
            0x01 => {}
            ..=0xBF => return Err(NotWhole("jpeg with a reserved marker")),
            // Only a second image has a second SOI, so the first one lost its end, or a length is wrong
            // and this is the thumbnail, whose EOI must not count.
            0xD8 => return Err(NotWhole("jpeg that starts again before its end")),
            0xD9 if scan => return Ok(Proof::Whole),
            0xD9 => return Err(NotWhole("jpeg without picture")),
            _ => {
                let length = rest.first_chunk().ok_or(CUT)?;
                let length = usize::from(u16::from_be_bytes(*length));
                if length < 2 {
                    return Err(NotWhole("jpeg with an impossible segment length"));
                }
                rest = rest.get(length..).ok_or(CUT)?;
                match marker {
                    0xC4 | 0xC8 | 0xCC => {} // DHT, JPG and DAC sit among the frame headers
                    0xC0..=0xCF => frame = true,
                    0xDA if frame => scan = true,
                    0xDA => return Err(NotWhole("jpeg without frame header")),
                    _ => {}
                }
            }
        }
    }
}

/// The next marker's code, taken off `rest` with all that precedes it; those without meaning for the walk, which fill a
/// scan, are passed over: a stuffed FF (B.1.1.5), a fill byte (B.1.1.2), and RST0 to RST7.
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator would keep the compiler from using vectors")]
fn next_marker(rest: &mut &[u8]) -> Option<u8> {
    // Nearly every FF of a scan is stuffed, so that most stretches are done with in a few vector instructions.
    const STRETCH: usize = 64;
    let is_marker = |code: u8| !matches!(code, 0x00 | 0xD0..=0xD7 | 0xFF);
    let mut from = 0;
    while let Some(stretch) = rest.get(from..=from + STRETCH) {
        let pairs = stretch.iter().zip(&stretch[1..]);
        if pairs.fold(false, |found, (&byte, &code)| found | ((byte == 0xFF) & (code != 0))) {
            let here = stretch.windows(2).position(|pair| pair[0] == 0xFF && is_marker(pair[1]));
            if let Some(at) = here {
                *rest = &rest[from + at + 1..];
                return rest.split_off_first().copied();
            }
        }
        from += STRETCH;
    }
    let here = rest.get(from..)?.windows(2).position(|pair| pair[0] == 0xFF && is_marker(pair[1]))?;
    *rest = &rest[from + here + 1..];
    rest.split_off_first().copied()
}

/// Walks the chunks from IHDR to IEND (PNG, third edition, sections 5.3 and 5.6).
fn png(mut rest: &[u8]) -> Result<Proof, NotWhole> {
    let mut first = true;
    let mut pixels = false;
    loop {
        let (length, kind) = rest
            .split_first_chunk::<4>()
            .and_then(|(length, after)| Some((length, after.first_chunk::<4>()?)))
            .ok_or(NotWhole("png without chunk IEND"))?;
        let length = u32::from_be_bytes(*length) as usize;
        if first && (kind != b"IHDR" || length != 13) {
            return Err(NotWhole("png without chunk IHDR"));
        }
        first = false;
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(NotWhole("png with a chunk of no valid type"));
        }
        // Length, type and checksum are 12 bytes around the chunk's own.
        rest = rest.get(length.saturating_add(12)..).ok_or(NotWhole(match kind {
            b"IHDR" => "png cut inside chunk IHDR",
            b"IDAT" => "png cut inside chunk IDAT",
            b"IEND" => "png cut inside chunk IEND",
            _ => "png cut inside a chunk",
        }))?;
        match kind {
            b"IDAT" => pixels = true,
            b"IEND" if pixels => return Ok(Proof::Whole),
            b"IEND" => return Err(NotWhole("png without chunk IDAT")),
            _ => {}
        }
    }
}

/// Walks the blocks to the trailer (GIF version 89a, sections 17 to 27 and its grammar in appendix B).
fn gif(mut rest: &[u8]) -> Result<Proof, NotWhole> {
    const CUT: NotWhole = NotWhole("gif without trailer");
    let (screen, after) = rest.split_first_chunk::<7>().ok_or(CUT)?;
    rest = after.get(colour_table(screen[4])..).ok_or(CUT)?;
    let mut picture = false;
    loop {
        let (block, after) = rest.split_first().ok_or(CUT)?;
        rest = match block {
            // One label, then sub-blocks, whatever the extension: that is how unknown ones are skipped.
            0x21 => sub_blocks(after.get(1..).ok_or(CUT)?).ok_or(CUT)?,
            0x2C => {
                let (image, after) = after.split_first_chunk::<9>().ok_or(CUT)?;
                picture = true;
                // The colours are followed by one byte, the LZW code size.
                let codes = after.get(colour_table(image[8]) + 1..).ok_or(CUT)?;
                sub_blocks(codes).ok_or(CUT)?
            }
            0x3B if picture => return Ok(Proof::Whole),
            0x3B => return Err(NotWhole("gif without picture")),
            // Some writers end their sub-blocks twice; viewers step over it.
            0x00 => after,
            _ => return Err(NotWhole("gif with an unknown block")),
        };
    }
}

/// The bytes of the colour table that these packed fields announce.
fn colour_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// What follows a run of sub-blocks and the empty one that ends it.
fn sub_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(rest);
        }
    }
}

/// Holds the body against its declared length (RFC 9649, sections 2.3 to 2.7).
fn webp(declared: u32, chunks: &[u8]) -> Result<Proof, NotWhole> {
    const FORM: u64 = 4; // "WEBP" counts in what was declared, but is no longer in `chunks`
    let declared = u64::from(declared);
    if FORM + (chunks.len() as u64) < declared.next_multiple_of(2) {
        return Err(NotWhole("webp shorter than it declares"));
    }
    let [b'V', b'P', b'8', b' ' | b'L' | b'X', s0, s1, s2, s3, ..] = chunks else {
        return Err(NotWhole("webp without picture"));
    };
    let first = u64::from(u32::from_le_bytes([*s0, *s1, *s2, *s3]));
    if FORM + 8 + first > declared {
        return Err(NotWhole("webp with a chunk longer than the file"));
    }
    Ok(Proof::Whole)
}

/// Looks for an AVIF brand in the file type box (ISO/IEC 14496-12, sections 4.2 and 4.3; AVIF, section 6).
fn avif(body: &[u8]) -> Result<Proof, NotWhole> {
    const CUT: NotWhole = NotWhole("cut inside its ftyp box");
    let small = body.first_chunk().map(|size| u32::from_be_bytes(*size));
    let (size, header) = match small.ok_or(CUT)? {
        0 => (body.len(), 8), // the box is all there is
        1 => {
            let large = body.get(8..).and_then(<[u8]>::first_chunk).ok_or(CUT)?;
            // A size beyond the address space is beyond the body too.
            let size = usize::try_from(u64::from_be_bytes(*large)).map_err(|_| CUT)?;
            (size, 16)
        }
        size => (size as usize, 8),
    };
    let brands = body.get(..size).ok_or(CUT)?.get(header..).unwrap_or(&[]);
    // The second of the four-byte words is the minor version, and no brand.
    let known =
        brands.chunks_exact(4).enumerate().any(|(place, brand)| place != 1 && (brand == b"avif" || brand == b"avis"));
    if known { Ok(Proof::Beginning) } else { Err(NotWhole("mp4, heic or the like, not a known image")) }
}

/// Asks whether what follows "BM" can be a header: two letters alone begin many a text.
///
/// The layouts are those of `BITMAPFILEHEADER`, `BITMAPCOREHEADER` and `BITMAPINFOHEADER`; the OS/2 and later
/// versions are known by their size (Microsoft, Windows GDI, "Bitmap Header Types").
fn bmp(header: &[u8]) -> Result<Proof, NotWhole> {
    const CUT: NotWhole = NotWhole("bmp cut inside its header");
    // The rest of the file header: file size, two reserved fields, where the pixels are.
    let info = header.get(12..).ok_or(CUT)?;
    let size = u32::from_le_bytes(*info.first_chunk().ok_or(CUT)?);
    let plausible = match size {
        12 => {
            let [_, _, _, _, w0, w1, h0, h1, _, _, b0, b1] = info.first_chunk().ok_or(CUT)?;
            [w0, w1] != [&0; 2] && [h0, h1] != [&0; 2] && depth([*b0, *b1])
        }
        40 | 52 | 56 | 64 | 108 | 124 => {
            let info = info.get(..size as usize).ok_or(CUT)?;
            let fields = info.first_chunk::<16>().ok_or(CUT)?;
            fields[4..8] != [0; 4] && fields[8..12] != [0; 4] && depth([fields[14], fields[15]])
        }
        _ => false,
    };
    if plausible { Ok(Proof::Beginning) } else { Err(NotWhole("not an image")) }
}

/// Whether a BMP can have so many bits a pixel; none means that a JPEG or PNG is inside.
fn depth(bits: [u8; 2]) -> bool {
    matches!(u16::from_le_bytes(bits), 0 | 1 | 2 | 4 | 8 | 16 | 24 | 32 | 64)
}

/// After the magic number, the header need only be there (TIFF 6.0, section 2; `BigTIFF` has a longer one).
fn tiff(header: &[u8], length: usize) -> Result<Proof, NotWhole> {
    if header.len() < length {
        return Err(NotWhole("tiff cut inside its header"));
    }
    Ok(Proof::Beginning)
}

/// Names what servers like to send in place of an image.
fn guess(body: &[u8]) -> NotWhole {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = text.trim_ascii_start();
    let opens_with = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    NotWhole(match text {
        _ if body.starts_with(b"\x1F\x8B") => "gzip, not an image",
        [b'{' | b'[', ..] => "json, not an image",
        _ if opens_with(b"<!doctype html") || opens_with(b"<html") => "html, not an image",
        _ if opens_with(b"<?xml") => "xml, not an image",
        [b'<', ..] => "html or xml, not an image",
        _ => "not an image",
    })
}

#[cfg(test)]
mod tests;
