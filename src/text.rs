//! Foreign text in messages: ids, URLs and servers' words are shown to people, and stay text.
//!
//! What could steer a terminal or turn a line around is escaped, and what is secret in a URL is left out. Tables and JSON
//! hold what was given.

use std::borrow::Cow;

/// The text as it may be shown: control characters, and what changes the direction of writing, as escapes.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len() + 8), |mut shown, c| {
        match c {
            _ if !steers(c) => shown.push(c),
            c if c.is_ascii() => shown.extend(std::ascii::escape_default(c as u8).map(char::from)),
            c => shown.extend(c.escape_unicode()),
        }
        shown
    });
    Cow::Owned(escaped)
}

/// Control characters of all sorts, marks and overrides of direction (Unicode, UAX 9), and what breaks a line.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A URL without what may be secret in it: user and password, and the values of its query.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let (before, query) = match url.split_once(['?', '#']) {
        Some((before, _)) => (before, "?…"),
        None => (url, ""),
    };
    let (scheme, rest) = before.find("//").map_or(("", before), |at| before.split_at(at + 2));
    let slash = rest.find('/').unwrap_or(rest.len());
    let from = if scheme.is_empty() { 0 } else { rest[..slash].rfind('@').map_or(0, |at| at + 1) };
    format!("{scheme}{}{query}", &rest[from..])
}

/// Whether a line of text holds this id so that it is read back as what it was: not empty, and neither a tab nor the end
/// of a line in it, nor the mark at its beginning that a reader takes away.
#[must_use]
pub fn fits_a_line(id: &str) -> bool {
    !id.is_empty() && !id.contains(['\t', '\n', '\r']) && !id.starts_with('\u{feff}') && id.len() < 64 * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_the_rest_is_not() {
        for (text, wanted) in [
            ("plain, ü and 漢", "plain, ü and 漢"),
            ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
            ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
            ("a\u{9b}b", "a\\u{9b}b"),
            ("a\u{202e}gpj", "a\\u{202e}gpj"),
            ("\"quoted\" 'so' \\ ", "\"quoted\" 'so' \\ "),
        ] {
            assert_eq!(shown(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_left_out() {
        for (url, wanted) in [
            ("https://h/x.jpg", "https://h/x.jpg"),
            ("https://me:pa@ss@h:1/x@y.jpg?sig=1&b", "https://h:1/x@y.jpg?…"),
            ("//me@h/x#f", "//h/x?…"),
            ("/x@y?z", "/x@y?…"),
            ("https://h?sig=//a@b", "https://h?…"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), wanted);
        }
    }

    #[test]
    fn an_id_fits_a_line_that_is_read_back_as_the_same() {
        assert!(fits_a_line("a b") && fits_a_line("../x"));
        for id in ["", "a\tb", "a\nb", "a\rb", "\u{feff}a"] {
            assert!(!fits_a_line(id), "{id:?}");
        }
    }
}
