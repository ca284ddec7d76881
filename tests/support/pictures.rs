//! Thumbnails that are real, distinct and cheap: a few JPEGs are encoded once, and each GUID gets one of
//! them with a comment of its own. So two images never have the same bytes, and a file that holds another
//! GUID's image, or half of its own, is found out by comparing it with `image_for`.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "pixels, sides and shades are small numbers"
)]

use jpeg_encoder::{ColorType, Encoder};
use std::sync::OnceLock;

const BASES: usize = 64;

/// The thumbnail of `guid`: the same bytes in every process. 8 to 35 kB, 20 kB on average.
pub fn image_for(guid: &str) -> Vec<u8> {
    static ENCODED: [OnceLock<Vec<u8>>; BASES] = [const { OnceLock::new() }; BASES];
    let base = (mix(guid.bytes().fold(7, |h, b| mix(h ^ u64::from(b)))) as usize) % BASES;
    signed(ENCODED[base].get_or_init(|| picture(base, 280)), guid)
}

/// A thumbnail of less than a kilobyte, for tests where only the number of images matters.
pub fn small_image_for(guid: &str) -> Vec<u8> {
    static ENCODED: OnceLock<Vec<u8>> = OnceLock::new();
    signed(ENCODED.get_or_init(|| picture(0, 8)), guid)
}

/// The `n`th of an endless list of UUIDs of version 4 that look random and are the same every time.
pub fn guid(n: u64) -> String {
    let (a, b) = (mix(n ^ 0x5157_4f4c_4c45_5200), mix(!n));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        ((b >> 48) & 0x3fff) | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

pub fn guids(count: usize) -> Vec<String> {
    (0..count as u64).map(guid).collect()
}

/// Puts a comment segment that holds the GUID behind the first segment, where encoders put theirs.
fn signed(jpeg: &[u8], guid: &str) -> Vec<u8> {
    let first = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]])) + 4;
    let comment = guid.as_bytes();
    let mut image = Vec::with_capacity(jpeg.len() + comment.len() + 4);
    image.extend_from_slice(&jpeg[..first]);
    image.extend_from_slice(&[0xff, 0xfe]);
    image.extend_from_slice(&(comment.len() as u16 + 2).to_be_bytes());
    image.extend_from_slice(comment);
    image.extend_from_slice(&jpeg[first..]);
    image
}

/// A slope of two colours under noise. The more noise, the larger the file.
fn picture(seed: usize, side: usize) -> Vec<u8> {
    let mut random = mix(seed as u64 + 1);
    let noise = 10 + (seed as i32 * 37 % BASES as i32) * 2 / 3;
    let mut pixels = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            random = mix(random);
            for channel in 0..3 {
                let along = if (seed >> channel) & 1 == 0 { x } else { y };
                let shade = 60 + (along * 120 / side) as i32 + 10 * channel;
                let grain = ((random >> (16 * channel)) & 0xffff) as i32 % (2 * noise + 1) - noise;
                pixels.push((shade + grain).clamp(0, 255) as u8);
            }
        }
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 75)
        .encode(&pixels, side as u16, side as u16, ColorType::Rgb)
        .expect("a picture this small can be encoded");
    jpeg
}

/// splitmix64: every input gives another output.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
