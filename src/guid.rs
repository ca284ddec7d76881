//! The GUID: the one piece of foreign input that becomes a file name, a URL and a row.
//!
//! It is checked once, on entry, so that nothing behind this file has to ask again whether a
//! name could leave the destination or break a request line. It does not know where GUIDs come from.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text::without_secrets;

/// The longest GUID in bytes: with an extension it still fits the 255 bytes of a file name.
pub const MAX_BYTES: usize = 200;

/// Everything but RFC 3986's unreserved characters (section 2.3) is percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An image's name in the warehouse, known to be fit for a file name and a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guid(Box<str>);

impl Guid {
    /// Checks a name: 1 to [`MAX_BYTES`] bytes without control characters, `/` or `\`, and no `.` first.
    ///
    /// # Errors
    /// Says in words what is wrong with the name.
    pub fn new(name: Box<str>) -> Result<Self, (Box<str>, &'static str)> {
        let fault = if name.is_empty() {
            Some("it is empty")
        } else if name.len() > MAX_BYTES {
            Some("it is longer than 200 bytes")
        } else if name.starts_with('.') {
            Some("it begins with a dot")
        } else if name.contains(['/', '\\']) {
            Some("it holds a slash or a backslash")
        } else if name.chars().any(char::is_control) {
            Some("it holds a control character")
        } else {
            None
        };
        match fault {
            Some(fault) => Err((name, fault)),
            None => Ok(Self(name)),
        }
    }

    /// The name as the warehouse spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the name back as plain text.
    #[must_use]
    pub fn into_text(self) -> Box<str> {
        self.0
    }

    /// Appends the file's path below the destination: `fanout` folders of two characters each, then the
    /// name and the extension.
    ///
    /// A dot becomes `_` in a folder's name, for a folder called `..` would lead out of the destination;
    /// a name that is too short for its folders is filled up with `_`.
    pub fn push_path(&self, path: &mut String, extension: &str, fanout: u8) {
        let mut letters = self.0.chars().map(|c| if c == '.' { '_' } else { c });
        for _ in 0..fanout {
            path.push(letters.next().unwrap_or('_'));
            path.push(letters.next().unwrap_or('_'));
            path.push('/');
        }
        path.push_str(&self.0);
        path.push_str(extension);
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the GUID goes in a URL.
pub const PLACEHOLDER: &str = "{guid}";

/// A URL with one or more `{guid}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    full: String,
    recorded: String,
}

impl UrlTemplate {
    /// Takes a template; `None` when it has no `{guid}`.
    #[must_use]
    pub fn new(template: &str) -> Option<Self> {
        let there = template.contains(PLACEHOLDER);
        there.then(|| Self { full: template.to_owned(), recorded: recorded(template) })
    }

    /// The template as it is recorded and shown: without user and password, and with a mark in place of what its query
    /// says, which may be a signature. The mark is another one when that changes, and gives nothing of it away.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.recorded
    }

    /// The URL of one image, to be asked for: the GUID percent-encoded into every `{guid}`.
    #[must_use]
    pub fn url(&self, guid: &Guid) -> String {
        filled(&self.full, guid)
    }

    /// The same as it is recorded and shown.
    #[must_use]
    pub fn recorded_url(&self, guid: &Guid) -> String {
        filled(&self.recorded, guid)
    }

    /// The extension that the template's path gives the files: `.jpg` for `…/{guid}.jpg?s=1`, or nothing.
    #[must_use]
    pub fn extension(&self) -> &str {
        let path = self.full.split(['?', '#']).next().unwrap_or_default();
        let segment = path.rsplit('/').next().unwrap_or_default();
        let tail = segment.rsplit(PLACEHOLDER).next().unwrap_or_default();
        match tail.rfind('.') {
            Some(dot) if tail.len() > dot + 1 && tail[dot + 1..].bytes().all(|b| b.is_ascii_alphanumeric()) => {
                &tail[dot..]
            }
            _ => "",
        }
    }
}

fn filled(template: &str, guid: &Guid) -> String {
    let mut url = String::with_capacity(template.len() + guid.0.len());
    let mut parts = template.split(PLACEHOLDER);
    url.push_str(parts.next().unwrap_or_default());
    for part in parts {
        url.extend(utf8_percent_encode(&guid.0, RESERVED));
        url.push_str(part);
    }
    url
}

/// A template without what may be secret in it.
fn recorded(template: &str) -> String {
    let url = template.split('#').next().unwrap_or_default();
    let (site, query) = url.split_once('?').map_or((url, None), |(site, query)| (site, Some(query)));
    let site = without_secrets(site);
    let Some(query) = query else { return site };
    let marked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => format!("{name}={}", mark(value)),
        None => mark(pair),
    });
    format!("{site}?{}", marked.collect::<Vec<_>>().join("&"))
}

/// What stands for a value of a query. Sizes and versions stay, and where the GUID goes.
///
/// Two bytes of a checksum are enough to see that a value is another one, and too few to try passwords against.
fn mark(value: &str) -> String {
    let number = value.len() <= 4 && value.bytes().all(|byte| byte.is_ascii_digit());
    if number || value.contains(PLACEHOLDER) {
        return value.to_owned();
    }
    let mut crc = flate2::Crc::new();
    crc.update(value.as_bytes());
    format!("~{:04x}", crc.sum() & 0xffff)
}

/// Part K of N of all GUIDs: disjoint from the others, and complete together with them.
///
/// The hash is CRC-32 as in zlib (RFC 1952, section 8) over the GUID's bytes, so that every machine and every language
/// comes to the same parts: a GUID is in part `crc32(guid) % N + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: u32,
    of: u32,
}

impl Shard {
    /// Part `part` of `of`, counted from 1; `None` when there is no such part.
    #[must_use]
    pub fn new(part: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&part).then_some(Self { part, of })
    }

    /// Whether a GUID is in this part.
    #[must_use]
    pub fn holds(self, guid: &str) -> bool {
        let mut crc = flate2::Crc::new();
        crc.update(guid.as_bytes());
        crc.sum() % self.of + 1 == self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid(name: &str) -> Guid {
        Guid::new(name.into()).expect("a good name")
    }

    fn path(name: &str, fanout: u8) -> String {
        let mut path = String::new();
        guid(name).push_path(&mut path, ".jpg", fanout);
        path
    }

    #[test]
    fn names_that_could_leave_the_destination_or_break_a_request_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".x", "a\0b", "a\nb", "a\u{85}b", &"x".repeat(201)] {
            assert!(Guid::new(bad.into()).is_err(), "{bad:?}");
        }
        for good in ["a", "%2e%2e", "ü", "a b", "a..b", &"x".repeat(200)] {
            assert!(Guid::new(good.into()).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn folders_never_lead_upwards() {
        assert_eq!(path("abcdef", 0), "abcdef.jpg");
        assert_eq!(path("abcdef", 2), "ab/cd/abcdef.jpg");
        assert_eq!(path("a....", 2), "a_/__/a.....jpg");
        assert_eq!(path("ü", 2), "ü_/__/ü.jpg");
    }

    #[test]
    fn a_guid_is_encoded_into_every_placeholder() {
        let template = UrlTemplate::new("https://h/{guid}/{guid}.jpg?x={guid}").expect("a template");
        assert_eq!(
            template.url(&guid("a b%2eü~")),
            "https://h/a%20b%252e%C3%BC~/a%20b%252e%C3%BC~.jpg?x=a%20b%252e%C3%BC~"
        );
        assert_eq!(UrlTemplate::new("https://h/x.jpg"), None);
    }

    #[test]
    fn a_template_is_recorded_without_its_secrets_but_a_changed_one_is_another() {
        let recorded = |template| UrlTemplate::new(template).expect("a template").as_str().to_owned();
        for same in ["https://h/{guid}.jpg", "https://h/{guid}?w=200&v=3&id={guid}.jpg", "https://h/x@y/{guid}"] {
            assert_eq!(recorded(same), same);
        }
        let signed = recorded("https://me:secret@h/{guid}.jpg?sig=secret&w=200&secret#secret");
        assert!(signed.starts_with("https://h/{guid}.jpg?sig=~") && signed.contains("&w=200&~"), "{signed}");
        assert!(!signed.contains("secret"), "{signed}");
        assert_ne!(recorded("https://h/{guid}?sig=one"), recorded("https://h/{guid}?sig=two"));
        let template = UrlTemplate::new("https://me:pw@h/{guid}?sig=one").expect("a template");
        assert_eq!(template.url(&guid("a b")), "https://me:pw@h/a%20b?sig=one");
        assert_eq!(template.recorded_url(&guid("a b")), template.as_str().replace("{guid}", "a%20b"));
    }

    #[test]
    fn the_extension_comes_from_the_path_alone() {
        for (template, extension) in [
            ("https://h/{guid}.jpg", ".jpg"),
            ("https://h/{guid}", ""),
            ("https://h.example/{guid}", ""),
            ("https://h/{guid}/thumb.webp?f=.png", ".webp"),
            ("https://h/{guid}?f=x.png", ""),
            ("https://h/v1.2/{guid}", ""),
            ("https://h/{guid}.", ""),
        ] {
            assert_eq!(UrlTemplate::new(template).expect("a template").extension(), extension, "{template}");
        }
    }

    #[test]
    fn parts_are_disjoint_and_complete_and_the_same_everywhere() {
        // zlib.crc32(b"123456789") is the check value of CRC-32.
        assert!(Shard::new(0xCBF4_3926 % 7 + 1, 7).expect("a part").holds("123456789"));
        for number in 0..1000 {
            let guid = format!("guid-{number}");
            let holders = (1..=8).filter(|part| Shard::new(*part, 8).expect("a part").holds(&guid)).count();
            assert_eq!(holders, 1, "{guid}");
        }
        assert_eq!((Shard::new(0, 3), Shard::new(4, 3), Shard::new(0, 0)), (None, None, None));
    }
}
