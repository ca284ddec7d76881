//! What toller and the origin say to each other of one version of a file: the names by which it can be known again (RFC 9110,
//! section 8.8), and what sort of file it is.

use ureq::http::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use ureq::http::{HeaderName, HeaderValue};

use crate::facts::{Known, Proof};

/// What is longer is no name for a version, and is neither kept nor sent.
const LONGEST: usize = 1024;

/// The line that asks for a body only where it is another one (RFC 9110, section 13.1). What stands in a warehouse may be
/// anything: what cannot stand in a header is left out, and so is `*`, which would ask for no body at all.
pub(super) fn condition(known: &Known) -> Option<(HeaderName, HeaderValue)> {
    let value = |text: Option<&str>| {
        let text = text?.trim_ascii();
        let fits = !matches!(text, "" | "*") && text.len() <= LONGEST;
        HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| fits)
    };
    let etag = value(known.etag.as_deref()).map(|etag| (IF_NONE_MATCH, etag));
    etag.or_else(|| Some((IF_MODIFIED_SINCE, value(known.last_modified.as_deref())?)))
}

/// What the origin says of what it sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// As it wrote it, quotes and `W/` too.
    pub etag: Option<Box<str>>,
    /// As it wrote it.
    pub last_modified: Option<Box<str>>,
    /// As it wrote it.
    pub content_type: Option<Box<str>>,
    /// Whether its word proves the body whole: the digest that it declared, or an ETag that is the body's MD5.
    pub proof: Option<Proof>,
    /// As what the body comes encoded, where nobody here can undo that: only itself can then show that it does not.
    pub encoding: Option<Box<str>>,
}

impl Said {
    /// What the head of a response says, nothing being proved yet.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let text = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?.trim();
            let fits = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
            fits.then(|| text.into())
        };
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
            content_type: text(CONTENT_TYPE),
            proof: None,
            encoding: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(etag: &str, last_modified: &str) -> Option<String> {
        let given = |text: &str| (text != "none").then(|| text.into());
        let known = Known { etag: given(etag), last_modified: given(last_modified), ..Known::default() };
        condition(&known).map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
    }

    #[test]
    fn what_is_known_becomes_one_condition_the_etag_before_the_date() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (etag, last_modified, wanted) in [
            ("\"a\"", date, Some("if-none-match: \"a\"")),
            ("W/\"a\"", "none", Some("if-none-match: W/\"a\"")),
            (" unquoted\t", "none", Some("if-none-match: unquoted")),
            ("\"ü\"", "none", Some("if-none-match: \"ü\"")),
            ("none", date, Some("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT")),
            ("none", "none", None),
            ("", " ", None),
            ("*", date, Some("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT")),
            ("\"a\"\r\nX-Injected: yes", date, Some("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT")),
            ("\"a\0\"", "a\nb", None),
            ("a".repeat(1025).as_str(), "b".repeat(100_000).as_str(), None),
        ] {
            assert_eq!(asked(etag, last_modified).as_deref(), wanted, "{etag:?} {last_modified:?}");
        }
    }

    #[test]
    fn what_is_said_is_kept_as_it_was_written_if_it_is_text_of_sane_length() {
        let said = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).expect("a value that can arrive");
            Said::of(&HeaderMap::from_iter([(ETAG, value)])).etag
        };
        assert_eq!(said(b"  W/\"a b\" ").as_deref(), Some("W/\"a b\""));
        assert_eq!(said("\"ü\"".as_bytes()).as_deref(), Some("\"ü\""));
        assert_eq!((said(b""), said(b"\"\xff\""), said(b"\"a\tb\"")), (None, None, None));
        assert_eq!((said(&[b'a'; 1024]).map(|text| text.len()), said(&[b'a'; 1025])), (Some(1024), None));
        assert_eq!(Said::of(&HeaderMap::new()), Said::default());
    }
}
