//! JPEG XL: a container of boxes that hold the codestream in one piece or in several (ISO/IEC 18181-2, annex A), or a
//! codestream alone, which does not say how long it is.

use super::boxes::{self, Size};
use super::{NotWhole, Proof, Verdict};

/// The shortest codestream that there is has this length: one frame of one pixel.
const SHORTEST: usize = 12;

/// A codestream by its signature.
pub fn codestream(body: &[u8]) -> Verdict {
    if body.len() < SHORTEST { Err(NotWhole("jpeg xl cut inside its header")) } else { Ok(Proof::Beginning) }
}

/// Walks the boxes behind the signature to the end of the codestream.
pub fn container(mut rest: &[u8]) -> Verdict {
    while let Some(next) = boxes::next(&mut rest) {
        let last = match &next.kind {
            b"jxlc" => true,
            // A piece has a number, and a bit that says whether it is the last one.
            b"jxlp" => next.inside.first().is_some_and(|number| number & 0x80 != 0),
            _ => false,
        };
        match next.size {
            Size::Cut => return Err(NotWhole("jpeg xl shorter than it declares")),
            Size::Open if last => return Ok(Proof::Beginning),
            Size::There if last => return Ok(Proof::Whole),
            _ => {}
        }
    }
    Err(NotWhole("jpeg xl without picture"))
}
