//! How wide and how high the pictures are, before any turn, mirroring or crop that the file asks for besides (irot, imir, clap).

use super::super::boxes;
use super::super::{Sides, bytes};
use super::Reader;

/// A place in the list of properties has at most 15 bits.
const PROPERTIES: u64 = 0x7FFF;

/// What the primary item's property says (ISO/IEC 23008-12, sections 6.5.3 and 9.3); a grid of pictures has one of its own.
pub fn primary(meta: &[u8]) -> Option<Sides> {
    // A version and flags come before the boxes inside.
    let inside = meta.get(4..)?;
    let mut primary = Reader(boxes::find(inside, *b"pitm")?);
    let id_size = if primary.number(1)? == 0 { 2 } else { 4 };
    primary.number(3)?;
    let primary = primary.number(id_size)?;
    let mut rest = boxes::find(inside, *b"iprp")?;
    let properties = boxes::find(rest, *b"ipco")?;
    while let Some(next) = boxes::next(&mut rest) {
        if next.kind == *b"ipma"
            && let Some((places, size)) = places(next.inside, primary)
        {
            return size_among(properties, places, size);
        }
    }
    None
}

/// The places of an item's properties, and how many bytes each takes; `None` if they are not in this list.
fn places(list: &[u8], item: u64) -> Option<(&[u8], usize)> {
    let mut list = Reader(list);
    let id_size = if list.number(1)? == 0 { 2 } else { 4 };
    let size = if list.number(3)? & 1 == 0 { 1 } else { 2 };
    for _ in 0..list.number(4)? {
        let id = list.number(id_size)?;
        let length = usize::try_from(list.number(1)?).ok()? * size;
        let (places, after) = list.0.split_at_checked(length)?;
        if id == item {
            return Some((places, size));
        }
        list.0 = after;
    }
    None
}

/// What the first property of sides says that stands at one of these places.
fn size_among(mut properties: &[u8], places: &[u8], size: usize) -> Option<Sides> {
    // The highest bit says that a reader has to know the property.
    let place_of = |place: &[u8]| Reader(place).number(size as u64).map(|place| place & (0x7FFF >> (16 - 8 * size)));
    for place in 1..=PROPERTIES {
        let property = boxes::next(&mut properties)?;
        if property.kind == *b"ispe" && places.chunks(size).any(|known| place_of(known) == Some(place)) {
            let [width, height] = [4, 8].map(|at| bytes(property.inside, at).map(u32::from_be_bytes));
            return Some((width?, height?));
        }
    }
    None
}

/// What the header of the first track says, in its last eight bytes and in parts of 65536 (ISO/IEC 14496-12, section 8.3.2).
pub fn track(moov: &[u8]) -> Option<Sides> {
    let header = boxes::find(boxes::find(moov, *b"trak")?, *b"tkhd")?;
    let [w0, w1, _, _, h0, h1, _, _] = *header.last_chunk::<8>()?;
    Some((u16::from_be_bytes([w0, w1]).into(), u16::from_be_bytes([h0, h1]).into()))
}

/// What stands behind the sixteen flags of a box `mini`: a bit for short sides, then each, less by one, in 7 or 15 bits.
pub fn small(mini: &[u8]) -> Option<Sides> {
    let bits = u32::from_be_bytes(bytes(mini, 2)?);
    let length = if bits >> 31 == 1 { 7 } else { 15 };
    let side = |before: u32| (bits << before >> (32 - length)) + 1;
    Some((side(1), side(1 + length)))
}
