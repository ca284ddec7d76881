//! Is this body a whole image, and how wide and high?
//!
//! A body that ends with its connection and carries no length looks complete to every HTTP client,
//! and an HTML page sent with status 200 looks like a success. Neither may reach its final name, so
//! each body is judged here by its own bytes before it is saved, and again when it is found on disk.
//!
//! The question is whether the picture is there to its end, not whether it is a good one: containers are walked to where their
//! pixels end, a file for each format. What a decoder would shrug off (bytes after the end, filler between segments)
//! passes; what no decoder could have made sense of does not. No pixel is ever made. The sides are what the file says on that
//! way, before any turn that EXIF or a container asks for.
//!
//! This folder knows bytes only: nothing of HTTP, files or guids, and it imports nothing but `core`, so that
//! a fuzz target can include it alone. Every step shortens what is left to read, or is paid for from a budget of the
//! body's length, so the time is linear in that length whatever the body holds.

mod avif;
mod bmp;
mod boxes;
mod gif;
mod inflate;
mod jpeg;
mod jxl;
mod other;
mod png;
mod tiff;
mod webp;

use core::fmt;

/// What the check saw of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it was proved whole.
    pub reach: Reach,
    /// The format's name in lower case, one word: `jpeg`.
    pub format: &'static str,
    /// In pixels; `None` where the file does not say.
    pub width: Option<u32>,
    /// In pixels; `None` where the file does not say.
    pub height: Option<u32>,
}

impl Seen {
    /// No picture has a side of zero, so that zero stands for a side that is not known.
    fn new(format: &'static str, reach: Reach, (width, height): Sides) -> Self {
        let known = |side| if side == 0 { None } else { Some(side) };
        Self { reach, format, width: known(width), height: known(height) }
    }
}

/// Width and height, zero where unknown.
type Sides = (u32, u32);

/// How far the check could see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Proved whole to its end.
    Whole,
    /// An image as far as it goes, without anything in it that says where it ends: a GIF without its trailer, a bare
    /// JPEG XL codestream, a TIFF that does not say how long its strips are.
    Beginning,
}

/// Why a body is not a whole image, in words for people: "html, not an image".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotWhole(pub &'static str);

impl fmt::Display for NotWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for NotWhole {}

/// What each format answers.
type Verdict = Result<Seen, NotWhole>;

/// Says what image `body` is, and how much of it is provably there.
///
/// No prefix of a whole image that lacks a part of its picture is [`Reach::Whole`]; bytes after the end are allowed.
///
/// # Errors
///
/// [`NotWhole`] if `body` is empty, is something else than an image, or lacks a part of one.
pub fn check(body: &[u8]) -> Verdict {
    if body.is_empty() {
        Err(NotWhole("empty"))
    } else if let Some(segments) = body.strip_prefix(b"\xFF\xD8")
        && segments.first() == Some(&0xFF)
    {
        jpeg::check(segments)
    } else if let Some(chunks) = body.strip_prefix(b"\x89PNG\r\n\x1A\n") {
        png::check(chunks)
    } else if let Some(blocks) = body.strip_prefix(b"GIF87a").or_else(|| body.strip_prefix(b"GIF89a")) {
        gif::check(blocks)
    } else if let Some(riff) = body.strip_prefix(b"RIFF")
        && let Some((declared, form)) = riff.split_first_chunk()
        && let Some(chunks) = form.strip_prefix(b"WEBP")
    {
        webp::check(u32::from_le_bytes(*declared), chunks)
    } else if body.get(4..8) == Some(b"ftyp") {
        avif::check(body)
    } else if body.starts_with(b"\xFF\x0A") {
        jxl::codestream(body)
    } else if let Some(boxes) = body.strip_prefix(b"\0\0\0\x0CJXL \r\n\x87\n") {
        jxl::container(boxes)
    } else if body.starts_with(b"BM") {
        bmp::check(body)
    } else if let [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] = body {
        tiff::check(body)
    } else {
        Err(other::guess(body))
    }
}

/// The `N` bytes at `at`, for a number to be made of.
fn bytes<const N: usize>(body: &[u8], at: usize) -> Option<[u8; N]> {
    body.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
