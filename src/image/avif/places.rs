//! Where the pictures of a file lie: the extents of its items and the chunks of its tracks.

use super::super::boxes::{self, Size};
use super::super::{NotWhole, Reach};
use super::{Reader, WITHOUT};

const BEYOND: NotWhole = NotWhole("avif cut inside its picture");
const BROKEN: NotWhole = NotWhole("avif with a broken list of places");

/// Holds every extent of every item against the body (ISO/IEC 14496-12, section 8.11.3).
pub fn pictures(body: &[u8], meta: &[u8]) -> Result<Reach, NotWhole> {
    // A version and flags come before the boxes inside.
    let inside = meta.get(4..).ok_or(WITHOUT)?;
    let places = boxes::find(inside, *b"iloc").ok_or(WITHOUT)?;
    let own = boxes::find(inside, *b"idat").unwrap_or(&[]);
    extents(&mut Reader(places), body, own).unwrap_or(Err(BROKEN))
}

/// `None` if the list is cut short or of no known version.
fn extents(list: &mut Reader<'_>, body: &[u8], own: &[u8]) -> Option<Result<Reach, NotWhole>> {
    let version = list.number(1)?;
    list.number(3)?;
    let sizes = list.number(2)?;
    let [offset_size, length_size, base_size, index_size] = [12, 8, 4, 0].map(|shift| sizes >> shift & 0xF);
    let (methods, id_size) = match version {
        0 => (false, 2),
        1 => (true, 2),
        2 => (true, 4),
        _ => return None,
    };
    let (mut found, mut reach) = (false, Reach::Whole);
    for _ in 0..list.number(id_size)? {
        list.number(id_size)?;
        let method = if methods { list.number(2)? & 0xF } else { 0 };
        list.number(2)?; // which file: always this one
        let base = list.number(base_size)?;
        for _ in 0..list.number(2)? {
            if methods {
                list.number(index_size)?;
            }
            let start = base.checked_add(list.number(offset_size)?)?;
            let length = list.number(length_size)?;
            found = true;
            if length == 0 {
                // All there is, so there is no telling whether that is enough. Most such extents take no bytes in the list.
                reach = Reach::Beginning;
                break;
            }
            // In the file, in the box beside this list, or in another item, whose own extents are here too.
            let whole = match method {
                0 => body.len(),
                1 => own.len(),
                _ => continue,
            };
            if start.checked_add(length).is_none_or(|end| end > whole as u64) {
                return Some(Err(BEYOND));
            }
        }
        if reach == Reach::Beginning {
            break;
        }
    }
    Some(if found { Ok(reach) } else { Err(WITHOUT) })
}

/// Holds every chunk of every track against the body (ISO/IEC 14496-12, sections 8.7.3 to 8.7.5).
pub fn samples(body: &[u8], moov: &[u8]) -> Result<Reach, NotWhole> {
    let (mut rest, mut found) = (moov, false);
    while let Some(track) = boxes::next(&mut rest) {
        match &track.kind {
            b"trak" if track.size != Size::Cut => {
                let table = [*b"mdia", *b"minf", *b"stbl"]
                    .iter()
                    .try_fold(track.inside, |inside, kind| boxes::find(inside, *kind));
                found |= chunks(table.ok_or(BROKEN)?, body.len() as u64).ok_or(BROKEN)??;
            }
            // Its samples come in fragments behind it, as many as there are.
            b"mvex" => return Ok(Reach::Beginning),
            _ => {}
        }
    }
    if found { Ok(Reach::Whole) } else { Err(WITHOUT) }
}

/// Whether the track has any samples; `None` if its tables are cut short.
fn chunks(table: &[u8], whole: u64) -> Option<Result<bool, NotWhole>> {
    // Each of them begins with a version and flags, which say nothing here.
    let list = |kind| boxes::find(table, kind).and_then(|inside| Some(Reader(inside.get(4..)?)));
    let (mut offsets, wide) = match list(*b"stco") {
        Some(offsets) => (offsets, 4),
        None => (list(*b"co64")?, 8),
    };
    let mut runs = list(*b"stsc")?;
    let mut sizes = list(*b"stsz")?;
    let same = sizes.number(4)?;
    let mut left = sizes.number(4)?;
    let any = left > 0;
    let (mut per_chunk, mut runs_left) = (0, runs.number(4)?);
    let mut next_run = if runs_left > 0 { runs.number(4)? } else { u64::MAX };
    for chunk in 1..=offsets.number(4)? {
        if chunk == next_run {
            per_chunk = runs.number(4)?;
            runs.number(4)?;
            runs_left -= 1;
            next_run = if runs_left > 0 { runs.number(4)? } else { u64::MAX };
        }
        let samples = per_chunk.min(left);
        left -= samples;
        let length = if same > 0 {
            samples * same
        } else {
            let mut length = 0;
            for _ in 0..samples {
                length += sizes.number(4)?;
            }
            length
        };
        if offsets.number(wide)?.checked_add(length).is_none_or(|end| end > whole) {
            return Some(Err(BEYOND));
        }
    }
    Some(if left > 0 { Err(BROKEN) } else { Ok(any) })
}
