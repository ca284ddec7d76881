//! AVIF: what its boxes say of where its pictures lie, held against the body (AVIF, section 6; ISO/IEC 14496-12 for the
//! boxes, 23008-12 for pictures in them).

use super::boxes::{self, Boxed, Size};
use super::{NotWhole, Reach, Seen, Verdict, bytes};

mod places;
mod sides;

const WITHOUT: NotWhole = NotWhole("avif without picture");

/// What the brands promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Pictures that the box `meta` places.
    Pictures,
    /// A sequence, which the box `moov` places, perhaps beside a picture.
    Sequence,
    /// One picture in a box `mini`, which holds all of it.
    Small,
}

/// Reads the brands, then the boxes up to the one that says where everything lies.
pub fn check(body: &[u8]) -> Verdict {
    let mut rest = body;
    let form = boxes::next(&mut rest).ok_or(NotWhole("mp4 or the like, not an image")).and_then(|ftyp| form(&ftyp))?;
    let (decides, cut) = match form {
        Form::Pictures => (b"meta", NotWhole("avif cut before or inside its box meta")),
        Form::Sequence => (b"moov", NotWhole("avif cut before or inside its box moov")),
        Form::Small => (b"mini", NotWhole("avif cut before or inside its box mini")),
    };
    let (mut picture, mut sides) = (Reach::Whole, None);
    while let Some(next) = boxes::next(&mut rest) {
        if next.kind == *decides && next.size == Size::Cut {
            return Err(cut);
        }
        let (reach, here) = match &next.kind {
            b"meta" if form != Form::Small && next.size != Size::Cut => {
                (places::pictures(body, next.inside)?, sides::primary(next.inside))
            }
            b"moov" if form == Form::Sequence => (places::samples(body, next.inside)?, sides::track(next.inside)),
            b"mini" if form == Form::Small && next.inside.is_empty() => return Err(WITHOUT),
            b"mini" if form == Form::Small => {
                let reach = if next.size == Size::Open { Reach::Beginning } else { Reach::Whole };
                (reach, sides::small(next.inside))
            }
            _ => (Reach::Whole, None),
        };
        sides = sides.or(here);
        if reach == Reach::Beginning {
            picture = reach;
        }
        if next.kind == *decides {
            return Ok(Seen::new("avif", picture, sides.unwrap_or_default()));
        }
    }
    Err(cut)
}

/// Looks for the brands in the file type box (ISO/IEC 14496-12, section 4.3).
fn form(ftyp: &Boxed<'_>) -> Result<Form, NotWhole> {
    if ftyp.size == Size::Cut {
        return Err(NotWhole("cut inside its ftyp box"));
    }
    let (major, version) = (bytes::<4>(ftyp.inside, 0), bytes::<4>(ftyp.inside, 4));
    // The second of the four-byte words is the minor version, and no brand but behind this one.
    if major == Some(*b"mif3") && version == Some(*b"avif") {
        return Ok(Form::Small);
    }
    let brands = || ftyp.inside.as_chunks::<4>().0.iter().enumerate().filter(|(place, _)| *place != 1).map(|(_, b)| b);
    let any = |wanted: &[[u8; 4]]| brands().any(|brand| wanted.contains(brand));
    if any(&[*b"avis"]) {
        Ok(Form::Sequence)
    } else if any(&[*b"avif"]) {
        Ok(Form::Pictures)
    } else if any(&[*b"heic", *b"heix", *b"heim", *b"heis", *b"hevc", *b"hevx", *b"mif1", *b"msf1"]) {
        Err(NotWhole("heic, not an image toller takes"))
    } else {
        Err(NotWhole("mp4 or the like, not an image"))
    }
}

/// Numbers one after the other, the most significant byte first.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// A number of up to eight bytes; none is zero.
    fn number(&mut self, size: u64) -> Option<u64> {
        let (number, after) = self.0.split_at_checked(usize::try_from(size).ok().filter(|size| *size <= 8)?)?;
        self.0 = after;
        Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}
