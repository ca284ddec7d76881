//! JPEG.

use super::*;

pub const SOI: &[u8] = b"\xFF\xD8";
pub const EOI: &[u8] = b"\xFF\xD9";
/// Frame header: 8 bits, 1 x 1, one component.
pub const SOF: &[u8] = b"\xFF\xC0\0\x0B\x08\0\x01\0\x01\x01\x01\x11\0";
/// Scan header of that component.
pub const SOS: &[u8] = b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0";

pub fn segment(marker: u8, inside: &[u8]) -> Vec<u8> {
    let length = u16::try_from(inside.len() + 2).expect("a test's segment is short");
    [&[0xFF, marker], &length.to_be_bytes()[..], inside].concat()
}

pub fn small_jpeg() -> Vec<u8> {
    let tables = segment(0xDB, &[1; 65]);
    let codes = segment(0xC4, &[0; 17]);
    [SOI, &tables, SOF, &codes, SOS, b"\x12\xFF\0\x34", EOI].concat()
}

/// A camera's JPEG: APP1 holds a complete one as its thumbnail.
pub fn exif_jpeg() -> Vec<u8> {
    let app1 = segment(0xE1, &[b"Exif\0\0MM\0*".as_slice(), &small_jpeg()].concat());
    [SOI, &app1, small_jpeg().strip_prefix(SOI).unwrap()].concat()
}

/// Progressive, with restarts, fill bytes, tables between its scans and a number of lines at the end.
pub fn progressive_jpeg() -> Vec<u8> {
    let frame = [b"\xFF\xC2", &SOF[2..]].concat();
    let codes = segment(0xC4, &[0; 17]);
    let lines = segment(0xDC, &[0, 1]);
    [
        SOI,
        b"\xFF\xFF\xFF", // fill before a marker
        &frame,
        SOS,
        b"\x01\xFF\xD0\x02\xFF\xFF\xD1\x03\xFF\0",
        &codes,
        SOS,
        b"\x04\xFF\xFF\0\xFF\x01\xFF",
        &lines,
        SOS,
        b"\x05\xFF\xFF\xFF",
        EOI,
    ]
    .concat()
}

#[test]
fn a_thumbnail_is_not_the_image() {
    let image = exif_jpeg();
    let inner = image.windows(2).position(|pair| pair == EOI).unwrap() + 2;
    assert!(inner < image.len() - 2, "two EOIs, one in APP1");
    for length in [inner, image.len() - 2] {
        assert_eq!(why(&image[..length]), "jpeg without end-of-image marker");
    }
    // APP1 that claims to be shorter than it is must not let its thumbnail stand for the image.
    let mut shorter = image.clone();
    shorter[4..6].copy_from_slice(&[0, 8]);
    assert_eq!(why(&shorter), "jpeg that starts again before its end");
}

#[test]
fn stray_bytes_between_segments_are_allowed() {
    let padding = segment(0xE1, b"maker");
    let image = [SOI, &padding, b"\0\0\0", SOF, b"\0\0", SOS, b"\x12", EOI].concat();
    assert_eq!(reach(&image), Ok(Reach::Whole));
}

#[test]
fn jpegs_that_lack_a_part_say_which() {
    let cases: [(&[&[u8]], &str); 8] = [
        (&[SOI, EOI], "jpeg without picture"),
        (&[SOI, SOF, EOI], "jpeg without picture"),
        (&[SOI, SOS, EOI], "jpeg without frame header"),
        (&[SOI, SOF, SOS, b"\x12"], "jpeg without end-of-image marker"),
        (&[SOI, SOF, SOS, b"\x12\xFF"], "jpeg without end-of-image marker"),
        (&[SOI, b"\xFF\xE0\0\x01", SOF], "jpeg with an impossible segment length"),
        (&[SOI, SOF, SOS, b"\xFF\x4F", EOI], "jpeg with a reserved marker"),
        (&[SOI, &segment(0xC4, &[0; 17]), SOS, EOI], "jpeg without frame header"),
    ];
    for (parts, reason) in cases {
        assert_eq!(why(&parts.concat()), reason);
    }
}

#[test]
fn a_reserved_marker_is_stepped_over_in_a_scan_with_restarts_only() {
    let restarts = segment(0xDD, &[0, 4]);
    let [none, scan] = [segment(0xDD, &[0, 0]), b"\x12\xFF\xD0\x34\xFF\x4F\x56\xFF\xD1".to_vec()];
    assert_eq!(reach(&[SOI, &restarts, SOF, SOS, &scan, EOI].concat()), Ok(Reach::Whole));
    assert_eq!(reach(&[SOI, SOF, &restarts, SOS, &scan, EOI].concat()), Ok(Reach::Whole));
    for image in [[SOI, &none, SOF, SOS, &scan, EOI], [SOI, &restarts, b"\xFF\x4F", SOF, SOS, EOI]] {
        assert_eq!(why(&image.concat()), "jpeg with a reserved marker");
    }
    assert_eq!(why(&[SOI, &restarts, SOF, SOS, &scan].concat()), "jpeg without end-of-image marker");
}

/// A frame header of one component.
fn frame(marker: u8, width: u16, height: u16) -> Vec<u8> {
    segment(marker, &[&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat())
}

#[test]
fn the_sides_of_a_jpeg_are_those_of_its_first_frame_header() {
    let app1 = segment(0xE1, &[b"Exif\0\0MM\0*".as_slice(), &small_jpeg()].concat());
    for marker in [0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCF] {
        let image = [SOI, &app1, &frame(marker, 1000, 2), SOS, b"\x12", EOI].concat();
        assert_eq!(sides(&image), ("jpeg", 1000, 2), "{marker:x}");
        // Of the pictures of a camera that writes several, the first is shown.
        assert_eq!(sides(&[image, small_jpeg()].concat()), ("jpeg", 1000, 2));
    }
    let twice = [SOI, &frame(0xC0, 7, 5), &frame(0xC0, 9, 9), SOS, EOI].concat();
    assert_eq!(sides(&twice), ("jpeg", 7, 5));
}

#[test]
fn a_jpeg_may_tell_its_height_behind_its_first_scan_or_not_at_all() {
    let image = |height, lines: &[u8]| [SOI, &frame(0xC0, 7, height), SOS, b"\x12", lines, EOI].concat();
    let lines = segment(0xDC, &[1, 4]);
    assert_eq!(sides(&image(0, &lines)), ("jpeg", 7, 260));
    assert_eq!(sides(&image(3, &lines)), ("jpeg", 7, 3));
    assert_eq!(sides(&image(0, b"")), ("jpeg", 7, 0));
    assert_eq!(sides(&image(0, b"\xFF\xDC\0\x03\x09")), ("jpeg", 7, 0));
    assert_eq!(sides(&[SOI, b"\xFF\xC0\0\x02", SOS, EOI].concat()), ("jpeg", 0, 0));
}

/// Entropy-coded bytes as an encoder writes them: every FF is stuffed.
fn entropy() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let stuff = |byte| [byte, 0].into_iter().take(1 + usize::from(byte == 0xFF));
        bytes.into_iter().flat_map(stuff).collect()
    })
}

/// A JPEG whose segments hold anything, markers of all kinds included.
pub fn any_jpeg() -> impl Strategy<Value = Vec<u8>> {
    let app = (0xE0..=0xEF_u8, vec(any::<u8>(), 0..60));
    let app = app.prop_map(|(marker, inside)| segment(marker, &inside));
    let scan = entropy().prop_map(|bytes| [SOS, &bytes].concat());
    (vec(app, 0..4), vec(scan, 1..4))
        .prop_map(|(apps, scans)| [SOI, &apps.concat(), SOF, &scans.concat(), EOI].concat())
}
