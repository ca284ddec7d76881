//! BMP: its rows, by its header (Microsoft, Windows GDI, "Bitmap Header Types"; OS/2 has headers of 16 to 64 bytes).

use super::{NotWhole, Reach, Seen, Verdict, bytes};

const CUT: NotWhole = NotWhole("bmp cut inside its header");
const SHORT: NotWhole = NotWhole("bmp without all of its rows");
const NONE: NotWhole = NotWhole("not an image");

/// What a header says, as far as it says where the rows end.
struct Header {
    width: u32,
    height: u32,
    depth: u16,
    compression: u32,
    /// How long the rows are where they are compressed; zero where it does not say.
    size: u64,
}

/// Asks whether what follows "BM" can be a header, two letters alone begin many a text; then for the rows.
pub fn check(body: &[u8]) -> Verdict {
    let size = u32::from_le_bytes(bytes(body, 14).ok_or(CUT)?);
    let info = match size {
        12 | 16 | 40 | 52 | 56 | 64 | 108 | 124 => body.get(14..14 + size as usize).ok_or(CUT)?,
        _ => return Err(NONE),
    };
    let header = if size == 12 { core(info) } else { long(info) }.ok_or(NONE)?;
    if header.width == 0 || header.height == 0 || !matches!(header.depth, 0 | 1 | 2 | 4 | 8 | 16 | 24 | 32 | 64) {
        return Err(NONE);
    }
    let offset = u32::from_le_bytes(bytes(body, 10).ok_or(CUT)?);
    // Some writers leave out where the rows begin; then they begin behind the header at the earliest.
    let rows = body.get(offset.max(14 + size) as usize..).ok_or(SHORT)?;
    // Compressed or not, rows that are as long as the header says are all there.
    let reach = match (header.compression, size) {
        (0, _) | (3 | 6, 40..) if header.depth > 0 => {
            let row = (u64::from(header.width) * u64::from(header.depth)).div_ceil(8);
            // A row takes whole words; the last one may go without its padding.
            let all = row.next_multiple_of(4).saturating_mul(u64::from(header.height) - 1).saturating_add(row);
            if all <= rows.len() as u64 { Ok(Reach::Whole) } else { Err(SHORT) }
        }
        _ if header.size > 0 && header.size <= rows.len() as u64 => Ok(Reach::Whole),
        (1 | 2, 40..) => run_lengths(rows, header.compression == 2).ok_or(SHORT),
        _ => Err(SHORT),
    };
    Ok(Seen::new("bmp", reach?, (header.width, header.height)))
}

/// The header of OS/2 1.x: sides of two bytes.
fn core(info: &[u8]) -> Option<Header> {
    let [width, height, _, depth] = [4, 6, 8, 10].map(|at| bytes(info, at).map(u16::from_le_bytes));
    Some(Header { width: width?.into(), height: height?.into(), depth: depth?, compression: 0, size: 0 })
}

/// All others begin alike, and may end after sixteen bytes. A negative height means that the first row is the top one.
fn long(info: &[u8]) -> Option<Header> {
    let [width, height, compression, size] = [4, 8, 16, 20].map(|at| bytes(info, at).map(i32::from_le_bytes));
    Some(Header {
        width: u32::try_from(width?).ok()?,
        height: height?.unsigned_abs(),
        depth: u16::from_le_bytes(bytes(info, 14)?),
        compression: compression.unwrap_or(0).cast_unsigned(),
        size: size.unwrap_or(0).cast_unsigned().into(),
    })
}

/// Walks rows of runs to the end of the bitmap; two pixels a byte in those of four bits.
fn run_lengths(mut rows: &[u8], halves: bool) -> Option<Reach> {
    loop {
        let ([count, value], after) = rows.split_first_chunk()?;
        rows = match (count, value) {
            (0, 0) => after,
            (0, 1) => return Some(Reach::Whole),
            // A step to the side and up.
            (0, 2) => after.get(2..)?,
            (0, pixels) => {
                let length = if halves { usize::from(*pixels).div_ceil(2) } else { usize::from(*pixels) };
                after.get(length.next_multiple_of(2)..)?
            }
            _ => after,
        };
    }
}
