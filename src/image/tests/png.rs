//! PNG, and the stream of its rows.

use super::*;
use flate2::{Compression, Crc, write::ZlibEncoder};
use std::io::Write;

pub const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";

pub fn chunk(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).expect("a test's chunk is short");
    let mut sum = Crc::new();
    sum.update(&kind);
    sum.update(inside);
    [&length.to_be_bytes(), &kind[..], inside, &sum.sum().to_be_bytes()].concat()
}

/// IHDR of a picture with these sides, this depth, colour type and interlacing.
pub fn header(width: u32, height: u32, [depth, colour, interlace]: [u8; 3]) -> Vec<u8> {
    chunk(*b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, interlace]].concat())
}

pub fn packed(rows: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(rows).unwrap();
    encoder.finish().unwrap()
}

fn png(header: &[u8], pixels: &[u8]) -> Vec<u8> {
    [PNG, header, &chunk(*b"IDAT", pixels), &chunk(*b"IEND", b"")].concat()
}

/// 5 x 3 in grey, its rows in two chunks with a third one that is empty between them.
pub fn small_png() -> Vec<u8> {
    let rows = packed(b"\0abcde\0fghij\0klmno", 9);
    let (one, other) = rows.split_at(7);
    let text = chunk(*b"tEXt", b"IEND");
    let pixels = [one, b"", other].map(|piece| chunk(*b"IDAT", piece)).concat();
    [PNG, &header(5, 3, [8, 0, 0]), &text, &pixels, &chunk(*b"IEND", b"")].concat()
}

#[test]
fn pngs_that_lack_a_part_say_which() {
    let header = header(1, 1, [8, 0, 0]);
    let pixels = chunk(*b"IDAT", &packed(&[0; 2], 6));
    let end = chunk(*b"IEND", b"");
    let endless = b"\xFF\xFF\xFF\xFFIDAT";
    let cases: [(&[&[u8]], &str); 9] = [
        (&[PNG], "png without chunk IEND"),
        (&[PNG, &header, &pixels], "png without chunk IEND"),
        (&[PNG, &header, &end], "png without chunk IDAT"),
        (&[PNG, &pixels, &end], "png without chunk IHDR"),
        (&[PNG, &chunk(*b"IHDR", &[1; 12])], "png without chunk IHDR"),
        (&[PNG, &header[..20]], "png cut inside chunk IHDR"),
        (&[PNG, &header, endless], "png cut inside chunk IDAT"),
        (&[PNG, &header, &pixels, &end[..11]], "png cut inside chunk IEND"),
        (&[PNG, &header, &[0; 40]], "png with a chunk of no valid type"),
    ];
    for (parts, reason) in cases {
        assert_eq!(why(&parts.concat()), reason);
    }
}

#[test]
fn a_png_with_one_wrong_bit_in_any_chunk_is_refused() {
    let image = small_png();
    for bit in PNG.len() * 8..image.len() * 8 {
        let mut wrong = image.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let _ = why(&wrong);
    }
    let mut wrong = image.clone();
    let place = image.windows(4).position(|kind| kind == b"IDAT").unwrap() + 5;
    wrong[place] ^= 1;
    assert_eq!(why(&wrong), "png with a wrong checksum in chunk IDAT");
}

#[test]
fn a_png_whose_rows_were_cut_but_not_its_chunks_is_refused() {
    let rows: Vec<u8> = (0..60_u32).flat_map(|n| (n * n * 2_654_435_761).to_le_bytes()).collect();
    let header = header(59, 4, [8, 0, 0]);
    for level in [0, 1, 9] {
        let pixels = packed(&rows, level);
        assert_eq!(reach(&png(&header, &pixels)), Ok(Reach::Whole), "level {level}");
        // The checksum of the stream and the bits that end its last block can go: every row is there without them.
        for length in 0..pixels.len() - 8 {
            assert_eq!(why(&png(&header, &pixels[..length])), "png without all of its rows", "level {level}, {length}");
        }
    }
    assert_eq!(why(&png(&header, b"no stream at all")), "png without all of its rows");
}

#[test]
fn rows_are_counted_for_every_kind_of_pixel_and_both_ways_of_interlacing() {
    // Sides of 5 and 3; of the seven passes, the second has one pixel in one row, the third none, as 3 rows do not reach the fifth.
    let cases = [
        ([1, 0, 0], 3 * 2),
        ([2, 3, 0], 3 * 3),
        ([16, 2, 0], 3 * 31),
        ([8, 4, 0], 3 * 11),
        ([8, 6, 0], 3 * 21),
        ([16, 6, 0], 3 * 41),
        // Passes 1, 2, 4, 5, 6 and 7: 1 x 1, 1 x 1, 1 x 1, 3 x 1, 2 x 2, 5 x 1.
        ([8, 0, 1], 2 + 2 + 2 + 4 + 2 * 3 + 6),
        ([1, 3, 1], 2 + 2 + 2 + 2 + 2 * 2 + 2),
    ];
    for (kind, size) in cases {
        let of = |size: usize| reach(&png(&header(5, 3, kind), &packed(&vec![0; size], 6)));
        assert_eq!(of(size), Ok(Reach::Whole), "{kind:?}");
        assert_eq!(of(size + 1), Ok(Reach::Whole), "{kind:?}");
        assert_eq!(of(size - 1), Err(NotWhole("png without all of its rows")), "{kind:?}");
    }
    for impossible in
        [header(0, 1, [8, 0, 0]), header(1, 0, [8, 0, 0]), header(1, 1, [3, 0, 0]), header(1, 1, [8, 0, 2])]
    {
        assert_eq!(why(&png(&impossible, &packed(&[0; 9], 6))), "png with an impossible header");
    }
    // More than any body can hold, and more than fits into 64 bits.
    assert_eq!(why(&png(&header(u32::MAX, u32::MAX, [16, 6, 1]), &packed(&[0; 9], 6))), "png without all of its rows");
}

#[test]
fn the_sides_of_a_png_are_those_of_its_header() {
    assert_eq!(sides(&small_png()), ("png", 5, 3));
    let interlaced = png(&header(70_000, 1, [1, 0, 1]), &packed(&vec![0; 20_000], 6));
    assert_eq!(sides(&interlaced), ("png", 70_000, 1));
}

pub fn any_png() -> impl Strategy<Value = Vec<u8>> {
    (1..9_u32, vec(any::<u8>(), 9 * 9), 0..10_u32, 1..40_usize).prop_map(|(width, noise, level, piece)| {
        let rows = &noise[..9 * (width as usize + 1)];
        let pixels: Vec<u8> = packed(rows, level).chunks(piece).flat_map(|piece| chunk(*b"IDAT", piece)).collect();
        [PNG, &header(width, 9, [8, 0, 0]), &pixels, &chunk(*b"IEND", b"")].concat()
    })
}

/// Text, noise and runs, so that blocks of every kind are made of them.
fn any_rows() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..300);
    let few = vec(0..3_u8, 0..3000);
    let run = (any::<u8>(), 0..70_000_usize).prop_map(|(byte, length)| std::vec![byte; length]);
    vec(prop_oneof![noise, few, run], 0..6).prop_map(|parts| parts.concat())
}

/// A stream of DEFLATE with blocks of these bits, over and over.
fn stream_of(block: &str, size: usize) -> Vec<u8> {
    let bits = block.bytes().filter(|bit| *bit != b' ').map(|bit| bit == b'1');
    let bits: Vec<bool> = bits.collect::<Vec<_>>().repeat(8);
    let bytes: Vec<u8> =
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
    [&b"\x78\x9C"[..], &bytes.repeat(size / bytes.len())].concat()
}

#[test]
fn a_stream_is_read_in_linear_time_however_it_is_made() {
    // Nothing in blocks of known codes, of ten bits each.
    let fixed = "0 10 0000000";
    // Nothing in blocks that bring their codes: lengths 8 and 18 have codes of one bit; 256 zeros, then an 8 for the end, and one for a distance.
    let lengths = "000 000 100 000 100"; // 16, 17, 18, 0, 8
    let own = format!("0 01 00000 00000 1000 {lengths} 1 1111111 1 1101011 0 0 00000000");
    // Nothing but literals of eight bits, and nothing stored.
    let literal = "0 10 00110000 0000000";
    for block in [fixed, &own, literal] {
        assert!(
            inflate::holds([&stream_of(block, 1000)[..], b"\x01\x01\0\xFE\xFF."].into_iter(), 1),
            "{block} is a block"
        );
        let stream = stream_of(block, 2_000_000);
        let began = Instant::now();
        assert!(!inflate::holds([&stream[..]].into_iter(), u64::MAX));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 5 }), "{block}: {took:?}");
    }
}

proptest! {
    #[test]
    fn a_stream_holds_what_was_packed_and_nothing_more(rows in any_rows(), level in 0..10_u32, piece in 1..5000_usize) {
        let stream = packed(&rows, level);
        let length = rows.len() as u64;
        prop_assert!(inflate::holds(stream.chunks(piece), length));
        prop_assert!(!inflate::holds(stream.chunks(piece), length + 1));
        // The last four bytes are the checksum; before them at least the last block's end goes.
        let cut = &stream[..stream.len() - 5];
        prop_assert!(!inflate::holds(cut.chunks(piece), length + 1));
    }

    #[test]
    fn a_changed_stream_gets_an_answer(
        rows in any_rows(),
        level in 0..10_u32,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut stream = packed(&rows, level);
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        let _ = inflate::holds(stream.chunks(1000), u64::MAX);
    }

    #[test]
    fn any_stream_gets_an_answer(noise in vec(any::<u8>(), 0..300), enough in 0..2000_u64) {
        for start in [&b"\x78\x9C"[..], b"\x78\x9C\x03", b"\x78\x9C\x05", b"\x78\x9C\x00"] {
            let _ = inflate::holds([start, &noise].into_iter(), enough);
        }
    }
}
