//! The contact sheet: some images as they lie in their folder, each inside the page, or a frame that says why it is not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::guid::Guid;
use crate::image;
use crate::store::{self, Layout, Look};
use crate::warehouse;

/// A larger file is a frame: a page of thumbnails should stay one that can be sent.
const LARGEST: u64 = 200_000;
/// All of them together, in bytes of files; what follows is frames.
const ROOM: usize = 32 << 20;
/// An image of more pixels is a frame: a few bytes can hold so many that they keep a browser busy.
const MOST_PIXELS: i64 = 16_000_000;

/// What browsers show, by how it begins.
const SHOWN: [(&[u8], &str); 5] = [
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b"\x89PNG\r\n\x1A\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
];

/// Some images.
#[derive(Debug, Default, Serialize)]
pub struct Sheet {
    /// The folder of the files, where it could be looked into.
    pub folder: Option<String>,
    /// Why it could not.
    pub why_not: Option<String>,
    /// The images, in their order.
    pub pictures: Vec<Picture>,
}

/// One image of the sheet.
#[derive(Debug, Serialize)]
pub struct Picture {
    /// As the warehouse spells it.
    pub guid: String,
    /// What is known of it.
    pub format: Option<String>,
    #[allow(missing_docs, reason = "in pixels")]
    pub width: Option<i64>,
    #[allow(missing_docs, reason = "in pixels")]
    pub height: Option<i64>,
    #[allow(missing_docs, reason = "its length")]
    pub bytes: Option<i64>,
    /// Whether it can be seen.
    pub frame: Frame,
}

/// What is seen of an image.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// The image, as the address of an `img`.
    Embedded(#[serde(skip)] String),
    /// Why there is none.
    Empty(String),
}

impl Sheet {
    /// A sheet without files.
    #[must_use]
    pub fn without_files(why: String) -> Self {
        Self { why_not: Some(why), ..Self::default() }
    }

    /// Takes these images from their folder.
    #[must_use]
    pub fn of(layout: &Layout, pictures: Vec<warehouse::Picture>) -> Self {
        let (mut body, mut left) = (Vec::new(), ROOM);
        let pictures = pictures.into_iter().map(|picture| {
            let frame = frame(layout, &picture, &mut body, &mut left);
            let warehouse::Picture { guid, format, width, height, bytes } = picture;
            Picture { guid, format, width, height, bytes, frame }
        });
        let pictures = pictures.collect();
        Self { folder: Some(layout.dest.display().to_string()), why_not: None, pictures }
    }
}

fn frame(layout: &Layout, picture: &warehouse::Picture, body: &mut Vec<u8>, left: &mut usize) -> Frame {
    let empty = |why: &str| Frame::Empty(why.into());
    let Ok(guid) = Guid::new(picture.guid.as_str().into()) else { return empty("no name for a file") };
    if picture.width.zip(picture.height).is_some_and(|(width, height)| width.saturating_mul(height) > MOST_PIXELS) {
        return empty("too many pixels for a thumbnail");
    }
    match store::read(&layout.path(&guid), LARGEST, body) {
        Ok(Look::Absent) => return empty("no file here"),
        Ok(Look::Longer(_)) => return empty("too large for this page"),
        Ok(Look::Read) => {}
        Err(cause) => return Frame::Empty(format!("not readable: {cause}")),
    }
    let Some(kind) = kind(body) else { return empty("not a format that browsers show") };
    if image::check(body).is_err() {
        return empty("not a whole image");
    }
    let Some(room) = left.checked_sub(body.len()) else { return empty("this page is full") };
    *left = room;
    Frame::Embedded(format!("data:{kind};base64,{}", STANDARD.encode(body)))
}

/// What a file is called in an address. AVIF, like HEIC, is a box that says so; WebP has its length before its name.
fn kind(body: &[u8]) -> Option<&'static str> {
    if body.starts_with(b"RIFF") && body.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    if body.get(4..8) == Some(b"ftyp") && matches!(body.get(8..12), Some(b"avif" | b"avis")) {
        return Some("image/avif");
    }
    SHOWN.iter().find(|(beginning, _)| body.starts_with(beginning)).map(|(_, kind)| *kind)
}
