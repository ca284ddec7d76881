//! JPEG XL: a container of boxes that hold the codestream in one piece or in several (ISO/IEC 18181-2, annex A), or a
//! codestream alone, which does not say how long it is.

use super::boxes::{self, Size};
use super::{NotWhole, Reach, Seen, Sides, Verdict, bytes};

/// The shortest codestream that there is has this length: one frame of one pixel.
const SHORTEST: usize = 12;

/// A codestream by its signature.
pub fn codestream(body: &[u8]) -> Verdict {
    let sides = sides(body).ok_or(NotWhole("jpeg xl cut inside its header"))?;
    Ok(Seen::new("jxl", Reach::Beginning, sides))
}

/// Walks the boxes behind the signature to the end of the codestream.
pub fn container(mut rest: &[u8]) -> Verdict {
    let mut beginning = None;
    while let Some(next) = boxes::next(&mut rest) {
        let (last, piece) = match &next.kind {
            b"jxlc" => (true, Some(next.inside)),
            // A piece has a number, and a bit that says whether it is the last one.
            b"jxlp" => (next.inside.first().is_some_and(|number| number & 0x80 != 0), next.inside.get(4..)),
            _ => (false, None),
        };
        beginning = beginning.or(piece);
        let seen = |reach| Ok(Seen::new("jxl", reach, beginning.and_then(sides).unwrap_or_default()));
        match next.size {
            Size::Cut => return Err(NotWhole("jpeg xl shorter than it declares")),
            Size::Open if last => return seen(Reach::Beginning),
            Size::There if last => return seen(Reach::Whole),
            _ => {}
        }
    }
    Err(NotWhole("jpeg xl without picture"))
}

/// What stands behind the signature of a codestream, the least significant bit first (ISO/IEC 18181-1, annex D.1.2).
fn sides(codestream: &[u8]) -> Option<Sides> {
    let start = bytes::<SHORTEST>(codestream, 0)?;
    let mut bits = Bits(start[2..].iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte)));
    let eights = bits.take(1) == 1;
    let height = bits.side(eights);
    let (wide, high) = RATIOS[bits.take(3) as usize];
    let width = if wide == 0 { bits.side(eights).into() } else { u64::from(height) * wide / high };
    Some((u32::try_from(width).ok()?, height))
}

/// Width to height, where the width is not written.
const RATIOS: [(u64, u64); 8] = [(0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)];

struct Bits(u128);

impl Bits {
    fn take(&mut self, count: u32) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "at most 30 bits are asked for")]
        let taken = (self.0 & ((1 << count) - 1)) as u32;
        self.0 >>= count;
        taken
    }

    /// A side, less by one: in eights, or after two bits that say how long it is.
    fn side(&mut self, eights: bool) -> u32 {
        if eights {
            return (self.take(5) + 1) * 8;
        }
        let length = [9, 13, 18, 30][self.take(2) as usize];
        self.take(length) + 1
    }
}
