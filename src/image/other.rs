//! What servers like to send in place of an image, and images that toller does not take, each by its name.

use super::NotWhole;

/// How much of a text is searched for the element that says what it is.
const SEARCHED: usize = 1000;

/// Names a body that begins like no format known here.
pub fn guess(body: &[u8]) -> NotWhole {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start();
    let opens_with = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    let svg = || text[..text.len().min(SEARCHED)].windows(4).any(|tag| tag == b"<svg");
    NotWhole(match text {
        _ if body.starts_with(b"\x1F\x8B") => "gzip, not an image",
        _ if body.starts_with(b"\0\0\0\x0CjP  ") || body.starts_with(b"\xFF\x4F\xFF\x51") => {
            "jpeg 2000, not an image toller takes"
        }
        // A cursor is the same with a 2. The count that follows tells it from zeros.
        _ if matches!(body, [0, 0, 1 | 2, 0, count, 0, ..] if *count > 0) => "ico, not an image toller takes",
        [b'{' | b'[', ..] => "json, not an image",
        _ if opens_with(b"<!doctype html") || opens_with(b"<html") => "html, not an image",
        [b'<', ..] if svg() => "svg, not an image toller takes",
        _ if opens_with(b"<?xml") => "xml, not an image",
        [b'<', ..] => "html or xml, not an image",
        _ => "not an image",
    })
}
