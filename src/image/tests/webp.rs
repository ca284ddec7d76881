//! WebP.

use super::*;

/// A key frame of 1 x 1 that is shown, with a first partition of three bytes.
pub const LOSSY: &[u8] = b"\x70\0\0\x9D\x01\x2A\x01\0\x01\0abc";
/// 1 x 1.
pub const LOSSLESS: &[u8] = b"\x2F\0\0\0\0\x12\x34";

pub fn chunk(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).expect("a test's chunk is short");
    [&kind[..], &length.to_le_bytes(), inside, &[0][..inside.len() % 2]].concat()
}

pub fn riff(chunks: &[&[u8]]) -> Vec<u8> {
    chunk(*b"RIFF", &[b"WEBP", &chunks.concat()[..]].concat())
}

/// The header of an extended file.
pub fn extended() -> Vec<u8> {
    chunk(*b"VP8X", &[0; 10])
}

pub fn frame(inside: &[u8]) -> Vec<u8> {
    chunk(*b"ANMF", &[&[0; 16], inside].concat())
}

/// Every form of file there is.
pub fn webps() -> Vec<Vec<u8>> {
    let (lossy, lossless) = (chunk(*b"VP8 ", LOSSY), chunk(*b"VP8L", LOSSLESS));
    let (alpha, profile) = (chunk(*b"ALPH", b"a"), chunk(*b"ICCP", b"profile"));
    let animation = [chunk(*b"ANIM", &[0; 6]), frame(&[&alpha[..], &lossy].concat()), frame(&lossless)].concat();
    vec![
        riff(&[&lossy]),
        riff(&[&lossless]),
        riff(&[&lossless, b"what follows is nobody's"]),
        riff(&[&extended(), &profile, &alpha, &lossy]),
        riff(&[&extended(), &lossless, &chunk(*b"EXIF", b"camera")]),
        riff(&[&extended(), &animation]),
    ]
}

#[test]
fn webps_that_lack_a_part_say_which() {
    let lossless = chunk(*b"VP8L", LOSSLESS);
    let cases: [(&[u8], &str); 10] = [
        (&riff(&[]), "webp without picture"),
        (&riff(&[&chunk(*b"ICCP", &[0; 8])]), "webp without picture"),
        (&riff(&[&extended()]), "webp without picture"),
        (&riff(&[&extended(), &chunk(*b"ANMF", &[0; 16])]), "webp without picture"),
        (&riff(&[&extended(), &frame(&chunk(*b"ALPH", b"a"))]), "webp without picture"),
        (b"RIFF\x0C\0\0\0WEBPVP8 \x08\0\0\0\0\0\0\0\0\0\0\0", "webp with a chunk longer than the file"),
        (b"RIFF\xFF\xFF\xFF\xFFWEBPVP8 \0\0\0\0", "webp shorter than it declares"),
        (b"RIFF\0\0\0\0WEBP", "webp without picture"),
        // Odd or even, the length that is declared is followed by a padding byte where it needs one.
        (&riff(&[&lossless])[..26], "webp shorter than it declares"),
        (&[b"RIFF\x13\0\0\0WEBP", &lossless[..15]].concat(), "webp shorter than it declares"),
    ];
    for (body, reason) in cases {
        assert_eq!(why(body), reason, "{}", body.escape_ascii());
    }
}

#[test]
fn a_picture_that_runs_past_what_the_webp_declares_is_refused_wherever_it_is() {
    let beyond = "webp with a chunk longer than the file";
    for picture in [chunk(*b"VP8 ", LOSSY), chunk(*b"VP8L", LOSSLESS)] {
        for before in [vec![], extended(), [extended(), chunk(*b"ICCP", b"profile")].concat()] {
            // The bytes are there, but behind what was declared.
            let whole = riff(&[&before, &picture]);
            for length in whole.len() - picture.len() + 8..whole.len() - 1 {
                let mut short = whole.clone();
                short[4..8].copy_from_slice(&u32::try_from(length - 8).unwrap().to_le_bytes());
                assert_eq!(why(&short), beyond);
            }
        }
        // In a frame of an animation: beyond the frame, and the frame beyond the file.
        let mut inner = riff(&[&extended(), &frame(&picture)]);
        let size = inner.len() - picture.len() + 4;
        inner[size] += 4;
        assert_eq!(why(&inner), beyond);
        let mut outer = riff(&[&extended(), &frame(&picture), &frame(&picture)]);
        let size = outer.len() - picture.len() - 20;
        outer[size] += 4;
        assert_eq!(why(&outer), beyond);
    }
    // What was the rule before: an extended file's header is no picture, and what follows must be there.
    let profile = chunk(*b"ICCP", &[0; 8]);
    assert_eq!(why(&riff(&[&extended(), &profile[..12]])), beyond);
}

#[test]
fn bad_chunks_behind_the_picture_of_a_webp_are_forgiven() {
    for picture in [chunk(*b"VP8 ", LOSSY), frame(&chunk(*b"VP8L", LOSSLESS))] {
        for bad in [&b"EXIF\xFF\xFF\xFF\xFFcut"[..], b"EX", b"\0\0\0\0\0\0\0\0", b"XMP \x40\0\0\0"] {
            assert_eq!(reach(&riff(&[&extended(), &picture, bad])), Ok(Reach::Whole), "{}", bad.escape_ascii());
        }
    }
}

#[test]
fn a_picture_that_no_decoder_takes_is_no_webp() {
    let change = |picture: &[u8], at: usize, byte: u8| {
        let mut changed = picture.to_vec();
        changed[at] = byte;
        changed
    };
    let lossy = [
        change(LOSSY, 0, 0x71), // not a key frame
        change(LOSSY, 0, 0x60), // not shown
        change(LOSSY, 1, 0x02), // a partition longer than the chunk
        change(LOSSY, 3, 0),    // no start code
        change(LOSSY, 6, 0),    // no width
        LOSSY[..9].to_vec(),
        vec![],
    ];
    for picture in lossy {
        assert_eq!(why(&riff(&[&chunk(*b"VP8 ", &picture)])), "webp with an impossible picture");
    }
    for picture in [change(LOSSLESS, 0, 0), change(LOSSLESS, 4, 0x20), LOSSLESS[..4].to_vec()] {
        assert_eq!(why(&riff(&[&extended(), &chunk(*b"VP8L", &picture)])), "webp with an impossible picture");
    }
}

#[test]
fn the_sides_of_a_webp_are_those_of_its_canvas_or_of_its_picture() {
    // 16383 is the longest side; above it are two bits of scaling.
    let lossy = chunk(*b"VP8 ", b"\x70\0\0\x9D\x01\x2A\xFF\x7F\x03\x81abc");
    assert_eq!(sides(&riff(&[&lossy])), ("webp", 16383, 259));
    // The lower fourteen bits are 300 less one, the upper ones 4097 less one, and then one of transparency.
    let lossless: u32 = 1 << 28 | 0x1000 << 14 | 0x12B;
    let lossless = chunk(*b"VP8L", &[b"\x2F", &lossless.to_le_bytes()[..], b"\x12\x34"].concat());
    assert_eq!(sides(&riff(&[&lossless])), ("webp", 300, 4097));
    let canvas = chunk(*b"VP8X", b"\x02\0\0\0\0\0\x01\x04\0\0");
    for picture in [&lossy, &lossless, &frame(&lossy)] {
        assert_eq!(sides(&riff(&[&canvas, picture])), ("webp", 65_537, 5));
    }
    assert_eq!(sides(&riff(&[&chunk(*b"VP8X", b"\x02\0"), &lossy])), ("webp", 0, 0));
}

pub fn any_webp() -> impl Strategy<Value = Vec<u8>> {
    let picture = vec(any::<u8>(), 0..60).prop_map(|noise| chunk(*b"VP8L", &[LOSSLESS, &noise].concat()));
    let other = vec(any::<u8>(), 0..40).prop_map(|noise| chunk(*b"ICCP", &noise));
    (vec(other, 0..3), picture).prop_map(|(before, picture)| riff(&[&extended(), &before.concat(), &picture]))
}
