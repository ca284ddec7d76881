//! Whole images of every kind, every prefix of them, and bytes that are none.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SOI: &[u8] = b"\xFF\xD8";
const EOI: &[u8] = b"\xFF\xD9";
/// Frame header: 8 bits, 1 x 1, one component.
const SOF: &[u8] = b"\xFF\xC0\0\x0B\x08\0\x01\0\x01\x01\x01\x11\0";
/// Scan header of that component.
const SOS: &[u8] = b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0";
const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";
/// 1 x 1, two colours in a global table.
const SCREEN: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF";
/// 1 x 1 with a local table, code size 2, one sub-block of two bytes.
const PICTURE: &[u8] = b"\x2C\0\0\0\0\x01\0\x01\0\x80\0\0\0\xFF\xFF\xFF\x02\x02\x44\x01\0";
const BMP_FILE: &[u8] = b"BM\x3A\0\0\0\0\0\0\0\x36\0\0\0";

fn segment(marker: u8, inside: &[u8]) -> Vec<u8> {
    let length = u16::try_from(inside.len() + 2).expect("a test's segment is short");
    [&[0xFF, marker], &length.to_be_bytes()[..], inside].concat()
}

fn small_jpeg() -> Vec<u8> {
    let tables = segment(0xDB, &[1; 65]);
    let codes = segment(0xC4, &[0; 17]);
    [SOI, &tables, SOF, &codes, SOS, b"\x12\xFF\0\x34", EOI].concat()
}

/// A camera's JPEG: APP1 holds a complete one as its thumbnail.
fn exif_jpeg() -> Vec<u8> {
    let app1 = segment(0xE1, &[b"Exif\0\0MM\0*".as_slice(), &small_jpeg()].concat());
    [SOI, &app1, small_jpeg().strip_prefix(SOI).unwrap()].concat()
}

/// Progressive, with restarts, fill bytes, tables between its scans and a number of lines at the end.
fn progressive_jpeg() -> Vec<u8> {
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

fn chunk(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).expect("a test's chunk is short");
    [&length.to_be_bytes(), &kind[..], inside, b"crc!"].concat()
}

fn small_png() -> Vec<u8> {
    let header = chunk(*b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\0\0\0\0");
    let text = chunk(*b"tEXt", b"IEND");
    let pixels = chunk(*b"IDAT", b"\x78\x9C\x63\0\0\0\x01\0\x01");
    [PNG, &header, &text, &pixels, &pixels, &chunk(*b"IEND", b"")].concat()
}

fn small_gif() -> Vec<u8> {
    let pause = b"\x21\xF9\x04\0\x0A\0\0\0";
    let comment = b"\x21\xFE\x01\x3B\x02;;\0"; // trailers inside sub-blocks do not count
    [SCREEN, comment, pause, PICTURE, pause, PICTURE, b"\x3B"].concat()
}

fn webp_of(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).expect("a test's chunk is short");
    let padding = &[0][..inside.len() % 2];
    let declared = 12 + length.next_multiple_of(2);
    [b"RIFF", &declared.to_le_bytes()[..], b"WEBP", &kind, &length.to_le_bytes(), inside, padding].concat()
}

fn whole_images() -> Vec<Vec<u8>> {
    let old_gif = [b"GIF87a", &SCREEN[6..], PICTURE, b"\0\x3B"].concat();
    let plain_gif = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x01\x44\0\x3B";
    vec![
        small_jpeg(),
        exif_jpeg(),
        progressive_jpeg(),
        small_png(),
        small_gif(),
        old_gif,
        plain_gif.to_vec(),
        webp_of(*b"VP8 ", &[7; 20]),
        webp_of(*b"VP8L", &[7; 21]),
        webp_of(*b"VP8X", &[0; 10]),
    ]
}

fn bmp_of(size: u32, fields: &[u8]) -> Vec<u8> {
    let mut info = [&size.to_le_bytes(), fields].concat();
    info.resize(size as usize, 0);
    [BMP_FILE, &info].concat()
}

fn images_by_beginning() -> Vec<Vec<u8>> {
    vec![
        b"\0\0\0\x14ftypavif\0\0\0\0mif1".to_vec(),
        b"\0\0\0\x18ftypmif1\0\0\0\0miafavis".to_vec(),
        b"\0\0\0\0ftypmif1\0\0\0\0avif".to_vec(),
        b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\x1Cmif1\0\0\0\0avif".to_vec(),
        bmp_of(12, b"\x01\0\x01\0\x01\0\x18\0"),
        bmp_of(40, b"\x01\0\0\0\x01\0\0\0\x01\0\x18\0"),
        bmp_of(124, b"\x01\0\0\0\xFF\xFF\xFF\xFF\x01\0\x20\0"), // top down
        b"II*\0\x08\0\0\0".to_vec(),
        b"MM\0*\0\0\0\x08".to_vec(),
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec(),
        b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10".to_vec(),
    ]
}

fn why(body: &[u8]) -> &'static str {
    match check(body) {
        Ok(proof) => panic!("taken as {proof:?}: {}", body.escape_ascii()),
        Err(NotWhole(reason)) => reason,
    }
}

#[test]
fn whole_images_are_whole() {
    for image in whole_images() {
        assert_eq!(check(&image), Ok(Proof::Whole), "{}", image.escape_ascii());
    }
}

#[test]
fn every_truncation_is_an_error() {
    for image in whole_images() {
        for length in 0..image.len() {
            let _ = why(&image[..length]);
        }
    }
}

#[test]
fn bytes_after_the_end_are_allowed() {
    for image in whole_images() {
        for tail in [&b"\0"[..], b"\xFF", b"\xFF\xD8\xFF", b"<html>", &image] {
            let longer = [&image, tail].concat();
            assert_eq!(check(&longer), Ok(Proof::Whole));
        }
    }
}

#[test]
fn some_formats_are_known_by_their_beginning() {
    for image in images_by_beginning() {
        let proof = check(&image);
        assert_eq!(proof, Ok(Proof::Beginning), "{}", image.escape_ascii());
    }
}

#[test]
fn a_beginning_cut_short_is_an_error() {
    for image in images_by_beginning() {
        for length in 0..image.len() {
            let _ = why(&image[..length]);
        }
    }
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
    assert_eq!(check(&image), Ok(Proof::Whole));
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
fn pngs_that_lack_a_part_say_which() {
    let header = chunk(*b"IHDR", &[1; 13]);
    let pixels = chunk(*b"IDAT", &[0; 9]);
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
fn gifs_and_webps_that_lack_a_part_say_which() {
    let cases: [(&[&[u8]], &str); 7] = [
        (&[SCREEN, b"\x3B"], "gif without picture"),
        (&[SCREEN, PICTURE, b"junk"], "gif with an unknown block"),
        (&[SCREEN, PICTURE, &[0; 40]], "gif without trailer"),
        (&[b"RIFF\x04\0\0\0WEBP"], "webp without picture"),
        (&[&webp_of(*b"ICCP", &[0; 8])], "webp without picture"),
        (&[b"RIFF\x0C\0\0\0WEBPVP8 \x08\0\0\0", &[0; 8]], "webp with a chunk longer than the file"),
        (&[b"RIFF\xFF\xFF\xFF\xFFWEBPVP8 \0\0\0\0"], "webp shorter than it declares"),
    ];
    for (parts, reason) in cases {
        assert_eq!(why(&parts.concat()), reason);
    }
}

#[test]
fn what_is_no_image_gets_a_name() {
    let cases: [(&[u8], &str); 22] = [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "html, not an image"),
        (b"\xEF\xBB\xBF\r\n <HTML lang=en>", "html, not an image"),
        (b"<?xml version='1.0'?><Error/>", "xml, not an image"),
        (b"<", "html or xml, not an image"),
        (b" {\"error\": 404}", "json, not an image"),
        (b"[]", "json, not an image"),
        (b"\x1F\x8B\x08\0", "gzip, not an image"),
        (b"Not found", "not an image"),
        (b"\n\n", "not an image"),
        (b"\xFF\xD8", "not an image"),
        (b"\xFF\xD8\0\0", "not an image"),
        (b"GIF88a", "not an image"),
        (b"RIFF\x04\0\0\0WAVEfmt ", "not an image"),
        (b"BMW builds cars, and this is a text about it", "not an image"),
        (b"BM", "bmp cut inside its header"),
        (b"II*\0\x08", "tiff cut inside its header"),
        (b"\0\0\0\x20ftypavif", "cut inside its ftyp box"),
        (b"\0\0\0\x04ftypavif\0\0\0\0", "mp4, heic or the like, not a known image"),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1avif", "mp4, heic or the like, not a known image"),
        (b"\0\0\0\x14ftypisomavifmp41", "mp4, heic or the like, not a known image"),
        (b"\0\0\0\x01ftyp\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFavif", "cut inside its ftyp box"),
    ];
    for (body, reason) in cases {
        assert_eq!(why(body), reason, "{}", body.escape_ascii());
        assert_eq!(NotWhole(reason).to_string(), reason);
    }
    for bad in [bmp_of(40, b"\0\0\0\0\x01\0\0\0\x01\0\x18\0"), bmp_of(12, b"\x01\0\x01\0\x01\0\x19\0")] {
        assert_eq!(why(&bad), "not an image");
    }
}

/// The largest body that is ever checked by default, built to be as slow as can be.
#[test]
fn time_is_linear_for_any_body() {
    const SIZE: usize = 20_000_000;
    let header = chunk(*b"IHDR", &[1; 13]);
    let cases: [(&[&[u8]], &[u8]); 14] = [
        (&[SOI], b"\xFF"),
        (&[SOI, b"\xFF"], b"\0\xFF"),
        (&[SOI, SOF, SOS], b"\0"),
        (&[SOI, SOF, SOS], b"\xFF\0"),
        (&[SOI, SOF, SOS], b"\xFF\xFF\0"),
        (&[SOI, SOF, SOS], b"\xFF\xD0"),
        (&[SOI, SOF], b"\xFF\xE0\0\x02"),
        (&[SOI, SOF], SOS),
        (&[PNG, &header], b"\0\0\0\0IDATcrc!"),
        (&[SCREEN], b"\0"),
        (&[SCREEN], b"\x21\xF9\0"),
        (&[SCREEN, b"\x21\xF9"], b"\x01"),
        (&[b"\0\0\0\0ftyp"], b"mif1"),
        (&[], b" "),
    ];
    // An unoptimised build is some twenty times slower, and still far from a quadratic walk's hours.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
    for (start, again) in cases {
        let mut body = start.concat();
        while body.len() < SIZE {
            body.extend_from_slice(again);
        }
        let began = Instant::now();
        let reason = why(&body);
        let took = began.elapsed();
        assert!(took < limit, "{}: {reason}: {took:?}", again.escape_ascii());
    }
}

/// Entropy-coded bytes as an encoder writes them: every FF is stuffed.
fn entropy() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let stuff = |byte| [byte, 0].into_iter().take(1 + usize::from(byte == 0xFF));
        bytes.into_iter().flat_map(stuff).collect()
    })
}

/// A JPEG whose segments hold anything, markers of all kinds included.
fn any_jpeg() -> impl Strategy<Value = Vec<u8>> {
    let app = (0xE0..=0xEF_u8, vec(any::<u8>(), 0..60));
    let app = app.prop_map(|(marker, inside)| segment(marker, &inside));
    let scan = entropy().prop_map(|bytes| [SOS, &bytes].concat());
    (vec(app, 0..4), vec(scan, 1..4))
        .prop_map(|(apps, scans)| [SOI, &apps.concat(), SOF, &scans.concat(), EOI].concat())
}

fn any_png() -> impl Strategy<Value = Vec<u8>> {
    let pixels = vec(any::<u8>(), 0..60).prop_map(|inside| chunk(*b"IDAT", &inside));
    vec(pixels, 1..4).prop_map(|pixels| {
        let header = chunk(*b"IHDR", &[1; 13]);
        [PNG, &header, &pixels.concat(), &chunk(*b"IEND", b"")].concat()
    })
}

fn any_gif() -> impl Strategy<Value = Vec<u8>> {
    let block = vec(any::<u8>(), 1..40).prop_map(|inside| {
        let length = u8::try_from(inside.len()).expect("a sub-block is short");
        [&[length], &inside[..]].concat()
    });
    vec(block, 0..4).prop_map(|blocks| {
        let codes = PICTURE.strip_suffix(b"\x02\x44\x01\0").unwrap();
        [SCREEN, codes, &blocks.concat(), b"\0\x3B"].concat()
    })
}

fn any_image() -> impl Strategy<Value = Vec<u8>> {
    let webp = vec(any::<u8>(), 0..60).prop_map(|inside| webp_of(*b"VP8L", &inside));
    prop_oneof![any_jpeg(), any_png(), any_gif(), webp]
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in vec(any::<u8>(), 0..300)) {
        let _ = check(&body);
    }

    #[test]
    fn any_bytes_behind_a_signature_get_an_answer(
        image in prop::sample::select([whole_images(), images_by_beginning()].concat()),
        keep in 0..40_usize,
        tail in vec(any::<u8>(), 0..300),
    ) {
        let _ = check(&[&image[..keep.min(image.len())], &tail].concat());
    }

    #[test]
    fn a_changed_image_gets_an_answer(
        image in prop::sample::select([whole_images(), images_by_beginning()].concat()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut image = image;
        for (place, byte) in changes {
            let place = place.index(image.len());
            image[place] = byte;
        }
        let _ = check(&image);
    }

    #[test]
    fn any_image_is_whole_until_it_is_cut(
        image in any_image(),
        cut in any::<prop::sample::Index>(),
        tail in vec(any::<u8>(), 0..20),
    ) {
        prop_assert_eq!(check(&image), Ok(Proof::Whole));
        prop_assert_eq!(check(&[&image[..], &tail].concat()), Ok(Proof::Whole));
        prop_assert!(check(&image[..cut.index(image.len())]).is_err());
    }
}
