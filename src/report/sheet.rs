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
    /// Why it is not in the page.
    pub why_not: Option<String>,
    /// The image itself, as the address of an `img`.
    #[serde(skip)]
    pub address: Option<String>,
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
            let seen = address(layout, &picture, &mut body, &mut left);
            let (address, why_not) = (seen.as_ref().ok().cloned(), seen.err());
            let warehouse::Picture { guid, format, width, height, bytes } = picture;
            Picture { guid, format, width, height, bytes, why_not, address }
        });
        let pictures = pictures.collect();
        Self { folder: Some(layout.dest.display().to_string()), why_not: None, pictures }
    }
}

/// The image as the address of an `img`, or why there is none.
fn address(
    layout: &Layout,
    picture: &warehouse::Picture,
    body: &mut Vec<u8>,
    left: &mut usize,
) -> Result<String, String> {
    let guid = Guid::new(picture.guid.as_str().into()).map_err(|_| "no name for a file")?;
    if picture.width.zip(picture.height).is_some_and(|(width, height)| width.saturating_mul(height) > MOST_PIXELS) {
        return Err("too many pixels for a thumbnail".into());
    }
    match store::read(&layout.path(&guid), LARGEST, body).map_err(|cause| format!("not readable: {cause}"))? {
        Look::Absent => return Err("no file here".into()),
        Look::Longer(_) => return Err("too large for this page".into()),
        Look::Read => {}
    }
    let kind = kind(body).ok_or("not a format that browsers show")?;
    image::check(body).map_err(|_| "not a whole image")?;
    *left = left.checked_sub(body.len()).ok_or("this page is full")?;
    Ok(format!("data:{kind};base64,{}", STANDARD.encode(body)))
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
