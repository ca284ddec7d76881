//! BMP.

use super::*;

/// A file with this header and these rows behind it.
fn file(header: &[u8], rows: &[u8]) -> Vec<u8> {
    let offset = u32::try_from(14 + header.len()).unwrap();
    [b"BM\0\0\0\0\0\0\0\0", &offset.to_le_bytes()[..], header, rows].concat()
}

fn info(size: u32, width: i32, height: i32, depth: u16, compression: u32, length: u32) -> Vec<u8> {
    let mut info = [size.to_le_bytes(), width.to_le_bytes(), height.to_le_bytes()].concat();
    info.extend([&[1, 0][..], &depth.to_le_bytes(), &compression.to_le_bytes(), &length.to_le_bytes()].concat());
    info.resize(size as usize, 0);
    info
}

/// Every form of file there is, without anything that could be left out at its end.
pub fn bmps() -> Vec<Vec<u8>> {
    let core = b"\x0C\0\0\0\x05\0\x02\0\x01\0\x18\0"; // 5 x 2 of three bytes: a row of 15 and its padding, and a row
    vec![
        file(core, &[7; 16 + 15]),
        file(&info(16, 5, 2, 8, 0, 0), &[7; 8 + 5]),
        file(&info(40, 9, 2, 1, 0, 0), &[7; 4 + 2]),
        file(&info(64, 3, 1, 4, 0, 0), &[7; 2]),
        file(&info(124, 2, -2, 32, 3, 0), &[7; 16]), // top down
        file(&info(40, 3, 2, 8, 1, 9), &[7; 9]),
        file(&info(40, 300, 2, 8, 1, 0), b"\xFF\x07\x2D\x07\0\0\0\x03abc\0\0\x02\x01\x01\x05\x07\0\x01"),
        file(&info(40, 9, 2, 4, 2, 0), b"\x09\x12\0\0\0\x03ab\0\x01"),
        file(&info(40, 9, 2, 0, 5, 9), b"\x89PNG and "),
    ]
}

#[test]
fn a_bmp_is_whole_when_its_rows_are_there() {
    for image in bmps() {
        assert_eq!(reach(&image), Ok(Reach::Whole), "{}", image.escape_ascii());
        let reasons: std::collections::BTreeSet<_> = (2..image.len()).map(|length| why(&image[..length])).collect();
        assert!(reasons.is_subset(&["bmp cut inside its header", "bmp without all of its rows"].into()), "{reasons:?}");
    }
    let image = &bmps()[2];
    assert_eq!(why(&image[..54]), "bmp without all of its rows");
}

#[test]
fn a_bmp_that_does_not_say_where_its_rows_begin_has_them_behind_its_header() {
    for offset in [0, 7] {
        let mut image = bmps()[2].clone();
        image[10] = offset;
        assert_eq!(reach(&image), Ok(Reach::Whole));
        assert_eq!(why(&image[..image.len() - 1]), "bmp without all of its rows");
    }
}

#[test]
fn text_that_begins_like_a_bmp_is_none() {
    assert_eq!(why(b"BMW builds cars, and this is a text about it"), "not an image");
    assert_eq!(why(b"BM"), "bmp cut inside its header");
    for bad in [
        info(40, 0, 1, 24, 0, 0),
        info(40, 1, 0, 24, 0, 0),
        info(40, -1, 1, 24, 0, 0),
        info(40, 1, 1, 25, 0, 0),
        b"\x0C\0\0\0\x01\0\x01\0\x01\0\x19\0".to_vec(),
    ] {
        assert_eq!(why(&file(&bad, &[0; 90])), "not an image");
    }
    // More than any body can hold.
    assert_eq!(why(&file(&info(40, i32::MAX, i32::MIN, 64, 0, 0), &[0; 90])), "bmp without all of its rows");
}

#[test]
fn the_sides_of_a_bmp_are_those_of_its_header_whichever_row_comes_first() {
    let all: Vec<_> = bmps().iter().map(|image| sides(image)).collect();
    let expected = [(5, 2), (5, 2), (9, 2), (3, 1), (2, 2), (3, 2), (300, 2), (9, 2), (9, 2)];
    assert_eq!(all, expected.map(|(width, height)| ("bmp", width, height)));
}
