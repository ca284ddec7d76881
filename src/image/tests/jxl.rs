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
