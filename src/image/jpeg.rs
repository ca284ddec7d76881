//! JPEG: markers to the end of the image (ITU-T T.81, annex B).

use super::{NotWhole, Reach, Seen, Sides, Verdict, bytes};

/// Walks the markers from behind SOI to EOI.
///
/// Segments are stepped over by their length, so the EOI of a thumbnail inside APP1 is never seen. Between
/// segments the next marker is looked for as libjpeg does it. That one rule serves entropy-coded bytes after
/// SOS, fill bytes (B.1.1.2), and the stray bytes that some cameras leave between segments.
pub fn check(mut rest: &[u8]) -> Verdict {
    const CUT: NotWhole = NotWhole("jpeg cut inside a segment");
    let mut frame = false;
    let mut sides = (0, 0);
    let mut scan = false;
    let mut restarts = false;
    let mut in_scan = false;
    loop {
        let marker = next_marker(&mut rest).ok_or(NotWhole("jpeg without end-of-image marker"))?;
        match marker {
            // TEM: nothing follows that belongs to it.
            0x01 => {}
            // Inside a scan with restarts a decoder goes on at the next restart.
            ..=0xBF if restarts && in_scan => {}
            ..=0xBF => return Err(NotWhole("jpeg with a reserved marker")),
            // Only a second image has a second SOI, so the first one lost its end, or a length is wrong
            // and this is the thumbnail, whose EOI must not count.
            0xD8 => return Err(NotWhole("jpeg that starts again before its end")),
            0xD9 if scan => return Ok(Seen::new("jpeg", Reach::Whole, sides)),
            0xD9 => return Err(NotWhole("jpeg without picture")),
            _ => {
                let length = rest.first_chunk().ok_or(CUT)?;
                let length = usize::from(u16::from_be_bytes(*length));
                if length < 2 {
                    return Err(NotWhole("jpeg with an impossible segment length"));
                }
                let (segment, after) = rest.split_at_checked(length).ok_or(CUT)?;
                rest = after;
                in_scan = marker == 0xDA;
                match marker {
                    0xDD => restarts = segment.get(2..4).is_some_and(|interval| interval != [0; 2]),
                    0xC4 | 0xC8 | 0xCC => {} // DHT, JPG and DAC sit among the frame headers
                    0xC0..=0xCF if !frame => (frame, sides) = (true, sides_of(segment)),
                    // A frame may leave its height to what follows the first scan (B.2.5).
                    0xDC if sides.1 == 0 => sides.1 = short(segment, 2),
                    0xDA if frame => scan = true,
                    0xDA => return Err(NotWhole("jpeg without frame header")),
                    _ => {}
                }
            }
        }
    }
}

/// What a frame header says behind its length and its precision (B.2.2).
fn sides_of(frame: &[u8]) -> Sides {
    (short(frame, 5), short(frame, 3))
}

fn short(segment: &[u8], at: usize) -> u32 {
    bytes(segment, at).map_or(0, u16::from_be_bytes).into()
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
