//! PNG: chunks and their checksums from IHDR to IEND, and enough between them for every row (PNG, third edition).

use super::{NotWhole, Reach, Seen, Sides, Verdict, inflate};

/// Walks the chunks behind the signature (sections 5.3 and 5.6).
pub fn check(chunks: &[u8]) -> Verdict {
    let mut rest = chunks;
    let mut header = None;
    let mut pixels = false;
    loop {
        let (kind, inside) = next(&mut rest)?;
        if header.is_none() && (kind != b"IHDR" || inside.len() != 13) {
            return Err(NotWhole("png without chunk IHDR"));
        }
        let header = *header.get_or_insert(inside);
        match kind {
            b"IDAT" => pixels = true,
            b"IEND" if pixels => return rows(header, chunks),
            b"IEND" => return Err(NotWhole("png without chunk IDAT")),
            _ => {}
        }
    }
}

/// Takes the next chunk off `rest`, its kind and what is inside, if its checksum is right.
fn next<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8; 4], &'a [u8]), NotWhole> {
    let (length, chunk) = rest.split_first_chunk::<4>().ok_or(NotWhole("png without chunk IEND"))?;
    let kind = chunk.first_chunk::<4>().ok_or(NotWhole("png without chunk IEND"))?;
    if !kind.iter().all(u8::is_ascii_alphabetic) {
        return Err(NotWhole("png with a chunk of no valid type"));
    }
    let length = (u32::from_be_bytes(*length) as usize).saturating_add(4);
    let whole =
        chunk.split_at_checked(length).and_then(|(sum_of, after)| Some((sum_of, after.split_first_chunk::<4>()?)));
    let (sum_of, (sum, after)) = whole.ok_or(NotWhole(match kind {
        b"IHDR" => "png cut inside chunk IHDR",
        b"IDAT" => "png cut inside chunk IDAT",
        b"IEND" => "png cut inside chunk IEND",
        _ => "png cut inside a chunk",
    }))?;
    if crc32(sum_of) != u32::from_be_bytes(*sum) {
        return Err(NotWhole(match kind {
            b"IHDR" => "png with a wrong checksum in chunk IHDR",
            b"IDAT" => "png with a wrong checksum in chunk IDAT",
            _ => "png with a wrong checksum",
        }));
    }
    *rest = after;
    Ok((kind, &sum_of[4..]))
}

/// Whether the chunks of pixels hold as much as the header demands: an encoder that was stopped leaves whole chunks too.
fn rows(header: &[u8], mut chunks: &[u8]) -> Verdict {
    let (sides, size) = unpacked(header).ok_or(NotWhole("png with an impossible header"))?;
    // They were walked before, so that there are no errors; what matters is that the sums are not made twice.
    let pieces = core::iter::from_fn(|| {
        loop {
            let (length, chunk) = chunks.split_first_chunk::<4>()?;
            let (chunk, after) = chunk.split_at_checked((u32::from_be_bytes(*length) as usize).saturating_add(8))?;
            chunks = after;
            if let Some(inside) = chunk.strip_prefix(b"IDAT") {
                return inside.split_last_chunk::<4>().map(|(inside, _)| inside);
            }
        }
    });
    if inflate::holds(pieces, size) {
        Ok(Seen::new("png", Reach::Whole, sides))
    } else {
        Err(NotWhole("png without all of its rows"))
    }
}

/// The sides of this header, and how many bytes its rows have, each with the byte of its filter (sections 7.2, 8.1 and 11.2.1).
fn unpacked(header: &[u8]) -> Option<(Sides, u64)> {
    let [w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, _, _, interlace] = *header.first_chunk::<13>()?;
    let sides = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
    let (width, height) = (u64::from(sides.0), u64::from(sides.1));
    let samples = match (colour, depth) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        _ => return None,
    };
    if width == 0 || height == 0 || interlace > 1 {
        return None;
    }
    // Of a picture or of one of its passes, which begins at x, y and takes every dx-th column and dy-th row.
    let size = |(x, dx, y, dy): (u64, u64, u64, u64)| {
        let columns = width.saturating_sub(x).div_ceil(dx);
        let rows = height.saturating_sub(y).div_ceil(dy);
        let row = 1 + (columns * samples * u64::from(depth)).div_ceil(8);
        if columns == 0 { 0 } else { row.saturating_mul(rows) }
    };
    let all =
        if interlace == 0 { size((0, 1, 0, 1)) } else { ADAM7.into_iter().map(size).fold(0, u64::saturating_add) };
    Some((sides, all))
}

/// The passes of an interlaced picture: first column, columns apart, first row, rows apart.
const ADAM7: [(u64, u64, u64, u64); 7] =
    [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)];

/// The checksum of a chunk (annex D), eight bytes at a time.
fn crc32(of: &[u8]) -> u32 {
    let (eights, rest) = of.as_chunks::<8>();
    let sum = eights.iter().fold(!0, |sum: u32, [b0, b1, b2, b3, b4, b5, b6, b7]| {
        let [s0, s1, s2, s3] = (sum ^ u32::from_le_bytes([*b0, *b1, *b2, *b3])).to_le_bytes();
        let bytes = [*b7, *b6, *b5, *b4, s3, s2, s1, s0];
        bytes.iter().zip(&CRC).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)])
    });
    !rest.iter().fold(sum, |sum, byte| CRC[0][usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8))
}

/// What a byte adds to the checksum when this many others follow it.
static CRC: [[u32; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "below 256")]
        let mut sum = byte as u32;
        let mut table = 0;
        while table < 8 {
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
                bit += 1;
            }
            tables[table][byte] = sum;
            table += 1;
        }
        byte += 1;
    }
    tables
}
