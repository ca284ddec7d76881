//! Whole images of every kind, every prefix of them, and bytes that are none.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::{Duration, Instant};

mod avif;
mod bmp;
mod gif;
mod jpeg;
mod jxl;
mod png;
mod tiff;
mod webp;

use gif::SCREEN;
use jpeg::{SOF, SOI, SOS};
use png::{PNG, chunk};

/// Those that say where their picture ends, and have nothing behind it.
fn whole_images() -> Vec<Vec<u8>> {
    let old_gif = [b"GIF87a", &SCREEN[6..], gif::PICTURE, b"\0\x3B"].concat();
    let plain_gif = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x01\x44\0\x3B";
    let mut images = vec![
        jpeg::small_jpeg(),
        jpeg::exif_jpeg(),
        jpeg::progressive_jpeg(),
        png::small_png(),
        gif::small_gif(),
        old_gif,
        plain_gif.to_vec(),
    ];
    images.extend([webp::webps(), avif::avifs(), bmp::bmps(), tiff::tiffs(), jxl::jxls()].concat());
    images
}

fn reach(body: &[u8]) -> Result<Reach, NotWhole> {
    check(body).map(|seen| seen.reach)
}

/// Format, width and height, zero where it is not known.
fn sides(body: &[u8]) -> (&'static str, u32, u32) {
    let seen = check(body).expect("an image");
    (seen.format, seen.width.unwrap_or(0), seen.height.unwrap_or(0))
}

/// A GIF between two blocks may lack nothing but its trailer: all others say that a part is missing.
fn lacks_a_part(body: &[u8]) {
    match reach(body) {
        Ok(Reach::Beginning) if body.starts_with(b"GIF8") => {}
        Ok(reach) => panic!("taken as {reach:?}: {}", body.escape_ascii()),
        Err(_) => {}
    }
}

fn why(body: &[u8]) -> &'static str {
    match reach(body) {
        Ok(reach) => panic!("taken as {reach:?}: {}", body.escape_ascii()),
        Err(NotWhole(reason)) => reason,
    }
}

#[test]
fn whole_images_are_whole() {
    for image in whole_images() {
        assert_eq!(reach(&image), Ok(Reach::Whole), "{}", image.escape_ascii());
    }
}

#[test]
fn no_truncation_is_whole() {
    for image in whole_images() {
        for length in 0..image.len() {
            lacks_a_part(&image[..length]);
        }
    }
}

#[test]
fn bytes_after_the_end_are_allowed() {
    for image in whole_images() {
        for tail in [&b"\0"[..], b"\xFF", b"\xFF\xD8\xFF", b"<html>", &image] {
            let longer = [&image, tail].concat();
            assert_eq!(check(&longer), check(&image));
            assert_eq!(reach(&longer), Ok(Reach::Whole));
        }
    }
}

#[test]
fn what_is_no_image_gets_a_name() {
    let cases: [(&[u8], &str); 24] = [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "html, not an image"),
        (b"\xEF\xBB\xBF\r\n <HTML lang=en>", "html, not an image"),
        (b"<!doctype html><svg></svg>", "html, not an image"),
        (b"<?xml version='1.0'?><Error/>", "xml, not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg, not an image toller takes"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", "svg, not an image toller takes"),
        (b"<", "html or xml, not an image"),
        (b" {\"error\": 404}", "json, not an image"),
        (b"[]", "json, not an image"),
        (b"\x1F\x8B\x08\0", "gzip, not an image"),
        (b"\0\0\x01\0\x02\0\x10\x10", "ico, not an image toller takes"),
        (b"\0\0\x01\0\0\0\0\0", "not an image"),
        (b"\0\0\0\x0CjP  \r\n\x87\n", "jpeg 2000, not an image toller takes"),
        (b"\xFF\x4F\xFF\x51\0\x29", "jpeg 2000, not an image toller takes"),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1", "heic, not an image toller takes"),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp41", "mp4 or the like, not an image"),
        (b"Not found", "not an image"),
        (b"\n\n", "not an image"),
        (b"\xFF\xD8", "not an image"),
        (b"\xFF\xD8\0\0", "not an image"),
        (b"GIF88a", "not an image"),
        (b"RIFF\x04\0\0\0WAVEfmt ", "not an image"),
        (&[0; 600], "not an image"),
    ];
    for (body, reason) in cases {
        assert_eq!(why(body), reason, "{}", body.escape_ascii());
        assert_eq!(NotWhole(reason).to_string(), reason);
    }
}

/// The largest body that is ever checked by default, built to be as slow as can be.
#[test]
fn time_is_linear_for_any_body() {
    const SIZE: usize = 20_000_000;
    let header = png::header(1, 1, [8, 0, 0]);
    let empty = chunk(*b"IDAT", b"");
    let extended = webp::extended();
    // A directory that comes after itself, as long as can be.
    let circle = [&b"II*\0\x08\0\0\0\xFF\xFF"[..], &vec![0; 12 * 0xFFFF], b"\x08\0\0\0"].concat();
    let cases: [(&[&[u8]], &[u8]); 19] = [
        (&[SOI], b"\xFF"),
        (&[SOI, b"\xFF"], b"\0\xFF"),
        (&[SOI, SOF, SOS], b"\0"),
        (&[SOI, SOF, SOS], b"\xFF\0"),
        (&[SOI, SOF, SOS], b"\xFF\xFF\0"),
        (&[SOI, SOF, SOS], b"\xFF\xD0"),
        (&[SOI, SOF], b"\xFF\xE0\0\x02"),
        (&[SOI, SOF], SOS),
        (&[PNG, &header], &empty),
        (&[SCREEN], b"\0"),
        (&[SCREEN], b"\x21\xF9\0"),
        (&[SCREEN, b"\x21\xF9"], b"\x01"),
        (&[b"RIFF\0\0\0\x01WEBP", &extended], b"ICCP\0\0\0\0"),
        (&[b"\0\0\0\0ftyp"], b"mif1"),
        (&[b"\0\0\0\x0CftypavisZZZZ"], b"\0\0\0\x08meta"),
        (&[b"\0\0\0\x14ftypavif\0\0\0\0mif1\0\0\0\0metaZZZZ"], b"\0\0\0\x08idat"),
        (&[b"BM\0\0\0\0\0\0\0\0\x36\0\0\0", b"\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x08\0\x01"], b"\0"),
        (&[&circle], b"\0"),
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

fn any_image() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![jpeg::any_jpeg(), png::any_png(), gif::any_gif(), webp::any_webp(), avif::any_avif()]
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in vec(any::<u8>(), 0..300)) {
        let _ = reach(&body);
    }

    #[test]
    fn any_bytes_behind_a_beginning_get_an_answer(
        image in prop::sample::select(whole_images()),
        keep in 0..200_usize,
        tail in vec(any::<u8>(), 0..300),
    ) {
        let _ = reach(&[&image[..keep.min(image.len())], &tail].concat());
    }

    #[test]
    fn a_changed_image_gets_an_answer(
        image in prop::sample::select(whole_images()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut image = image;
        for (place, byte) in changes {
            let place = place.index(image.len());
            image[place] = byte;
        }
        let _ = reach(&image);
    }

    #[test]
    fn any_image_is_whole_until_it_is_cut(
        image in any_image(),
        cut in any::<prop::sample::Index>(),
        tail in vec(any::<u8>(), 0..20),
    ) {
        prop_assert_eq!(reach(&image), Ok(Reach::Whole));
        prop_assert_eq!(reach(&[&image[..], &tail].concat()), Ok(Reach::Whole));
        lacks_a_part(&image[..cut.index(image.len())]);
    }
}
