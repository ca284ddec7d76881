//! JPEG XL.

use super::avif::boxed;
use super::*;

const SIGNATURE: &[u8] = b"\0\0\0\x0CJXL \r\n\x87\n";
/// Its real beginning: a size, and much that takes a decoder to read.
pub const BARE: &[u8] = b"\xFF\x0A\x7A\x1F\x07\x91\x08\x06\x01\0\x2C\0";

fn container(boxes: &[&[u8]]) -> Vec<u8> {
    [SIGNATURE, &boxed(*b"ftyp", b"jxl \0\0\0\0jxl "), &boxes.concat()].concat()
}

/// Every form of file that proves where it ends.
pub fn jxls() -> Vec<Vec<u8>> {
    let [first, last] = [b"\0\0\0\0first", b"\x80\0\0\x01 last"].map(|piece| boxed(*b"jxlp", piece));
    vec![container(&[&boxed(*b"jxlc", BARE)]), container(&[&first, &boxed(*b"Exif", b"camera"), &last])]
}

#[test]
fn a_jpeg_xl_is_whole_when_its_codestream_is_there() {
    let image = &jxls()[1];
    assert_eq!(reach(image), Ok(Reach::Whole));
    assert_eq!(why(&image[..image.len() - 1]), "jpeg xl shorter than it declares");
    assert_eq!(why(&image[..image.len() - 17]), "jpeg xl without picture");
    assert_eq!(why(&container(&[&boxed(*b"Exif", b"camera")])), "jpeg xl without picture");
}

#[test]
fn a_jpeg_xl_that_goes_on_to_the_end_of_the_file_proves_nothing() {
    assert_eq!(reach(BARE), Ok(Reach::Beginning));
    assert_eq!(why(&BARE[..11]), "jpeg xl cut inside its header");
    assert_eq!(reach(&container(&[b"\0\0\0\0jxlc", BARE])), Ok(Reach::Beginning));
}

/// A codestream with these numbers behind its signature, each with how many bits it takes.
fn header(numbers: &[(u128, u32)]) -> Vec<u8> {
    let pack = |(bits, at), (number, count): &(u128, u32)| (bits | number << at, at + count);
    let (bits, _) = numbers.iter().fold((0, 0), pack);
    [b"\xFF\x0A", &bits.to_le_bytes()[..]].concat()
}

#[test]
fn the_sides_of_a_jpeg_xl_are_at_the_beginning_of_its_codestream() {
    let long = |choice: u128, count, side: u128| [(choice, 2), (side - 1, count)];
    let of = |numbers: &[&[(u128, u32)]]| sides(&header(&numbers.concat()));
    for (choice, count, side) in [(0, 9, 512), (1, 13, 300), (2, 18, 262_144), (3, 30, 1 << 30)] {
        let side = long(choice, count, side);
        let height = u32::try_from(side[1].0 + 1).unwrap();
        assert_eq!(of(&[&[(0, 1)], &side, &[(0, 3)], &long(3, 30, 7)]), ("jxl", 7, height));
    }
    // In eights, each of its own and in a proportion.
    assert_eq!(of(&[&[(1, 1), (31, 5), (0, 3), (4, 5)]]), ("jxl", 40, 256));
    for (ratio, width) in [(1, 240), (2, 288), (3, 320), (4, 360), (5, 426), (6, 300), (7, 480)] {
        assert_eq!(of(&[&[(1, 1), (29, 5), (ratio, 3)]]), ("jxl", width, 240));
        assert_eq!(of(&[&[(0, 1)], &long(0, 9, 240), &[(ratio, 3)]]), ("jxl", width, 240));
    }
    let image = header(&[(1, 1), (0, 5), (7, 3)]);
    assert_eq!(sides(&container(&[&boxed(*b"Exif", b"camera"), &boxed(*b"jxlc", &image)])), ("jxl", 16, 8));
    let [first, last] = [&[&[0; 4], &image[..]], &[&[0x80, 0, 0, 1], &b"last"[..]]].map(|piece| piece.concat());
    let pieces = [first, last].map(|piece| boxed(*b"jxlp", &piece)).concat();
    assert_eq!(sides(&container(&[&pieces])), ("jxl", 16, 8));
    assert_eq!(sides(&container(&[&boxed(*b"jxlc", &image[..8])])), ("jxl", 0, 0));
}
