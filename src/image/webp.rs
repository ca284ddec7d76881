//! WebP: the chunks of a RIFF file to its picture, or to the end of its animation (RFC 9649, sections 2.3 to 2.7).

use super::{NotWhole, Reach, Seen, Sides, Verdict, bytes};

const WITHOUT: NotWhole = NotWhole("webp without picture");
const BEYOND: NotWhole = NotWhole("webp with a chunk longer than the file");

/// Walks the chunks behind the form type of a RIFF file that declares to be so long.
///
/// The declared length counts from the form type on, and decoders take nothing from behind it.
pub fn check(declared: u32, chunks: &[u8]) -> Verdict {
    const FORM: u64 = 4; // "WEBP" counts in what was declared, but is no longer in `chunks`
    let declared = u64::from(declared);
    if FORM + (chunks.len() as u64) < declared.next_multiple_of(2) {
        return Err(NotWhole("webp shorter than it declares"));
    }
    let inside = declared.saturating_sub(FORM).min(chunks.len() as u64);
    let mut rest = usize::try_from(inside).ok().and_then(|inside| chunks.get(..inside)).ok_or(BEYOND)?;
    let sides = match next(&mut rest).ok_or(WITHOUT)? {
        (b"VP8X", Some(header)) => extended(rest).map(|_| canvas(header).unwrap_or_default())?,
        (kind, chunk) => bitstream(*kind, chunk).unwrap_or(Err(WITHOUT))?,
    };
    Ok(Seen::new("webp", Reach::Whole, sides))
}

/// What the header of an extended file says, each side in three bytes and less by one (RFC 9649, section 2.7).
fn canvas(header: &[u8]) -> Option<Sides> {
    let [w0, w1, w2, h0, h1, h2] = bytes(header, 4)?;
    Some((u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1))
}

/// Looks for the picture, or for all pictures of an animation, behind the header of an extended file.
fn extended(mut rest: &[u8]) -> Result<Sides, NotWhole> {
    let mut frames = Err(WITHOUT);
    while let Some((kind, chunk)) = next(&mut rest) {
        if let Some(picture) = bitstream(*kind, chunk) {
            return picture;
        }
        match (kind, chunk) {
            (b"ANMF", _) => frames = frame(chunk.ok_or(BEYOND)?),
            // Behind a picture, a bad chunk costs nobody anything.
            (_, None) if frames.is_err() => return Err(BEYOND),
            _ => {}
        }
        if kind == b"ANMF" && frames.is_err() {
            return frames;
        }
    }
    frames
}

/// Looks into a frame of an animation: a header of 16 bytes, perhaps transparency, and the picture.
fn frame(chunk: &[u8]) -> Result<Sides, NotWhole> {
    let mut rest = chunk.get(16..).ok_or(WITHOUT)?;
    while let Some((kind, chunk)) = next(&mut rest) {
        if let Some(picture) = bitstream(*kind, chunk) {
            return picture;
        }
        chunk.ok_or(BEYOND)?;
    }
    Err(WITHOUT)
}

/// The next chunk's kind and what it holds, nothing if that is not all there, taken off `rest` with its padding.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8; 4], Option<&'a [u8]>)> {
    let (kind, after) = rest.split_first_chunk::<4>()?;
    let (size, after) = after.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*size) as usize;
    *rest = after.get(size.next_multiple_of(2)..).unwrap_or(&[]);
    Some((kind, after.get(..size)))
}

/// Judges a chunk of pixels by what libwebp asks of its header; `None` for a chunk of another kind.
fn bitstream(kind: [u8; 4], chunk: Option<&[u8]>) -> Option<Result<Sides, NotWhole>> {
    let sides: fn(&[u8]) -> Option<Sides> = match &kind {
        b"VP8 " => lossy,
        b"VP8L" => lossless,
        _ => return None,
    };
    Some(match chunk {
        None => Err(BEYOND),
        Some(chunk) => sides(chunk).ok_or(NotWhole("webp with an impossible picture")),
    })
}

/// A key frame that is shown, its first partition inside the chunk, and neither side zero (RFC 6386, section 9.1).
fn lossy(chunk: &[u8]) -> Option<Sides> {
    let [tag0, tag1, tag2, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = bytes(chunk, 0)? else { return None };
    let partition = u32::from_le_bytes([tag0, tag1, tag2, 0]) >> 5;
    let [width, height] = [[w0, w1], [h0, h1]].map(|side| u32::from(u16::from_le_bytes(side) & 0x3FFF));
    let plausible = tag0 & 0x11 == 0x10 && (partition as usize) < chunk.len() && width > 0 && height > 0;
    plausible.then_some((width, height))
}

/// The signature, sides of 14 bits that are less by one, and version 0 (RFC 9649, section 3.4); a lossless picture does
/// not say how long it is.
fn lossless(chunk: &[u8]) -> Option<Sides> {
    let [signature, header @ ..] = bytes::<5>(chunk, 0)?;
    let header = u32::from_le_bytes(header);
    (signature == 0x2F && header >> 29 == 0).then_some(((header & 0x3FFF) + 1, (header >> 14 & 0x3FFF) + 1))
}
