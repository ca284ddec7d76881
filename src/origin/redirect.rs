//! Where a redirect leads, and whether it may be followed.
//!
//! Locations are what servers send, and not what RFC 9110 asks for: with spaces, quotes and UTF-8 in them. They are read as
//! any other URL is.

use fluent_uri::{Uri as Reference, UriRef};
use ureq::http::Uri;

use crate::text::{shown, without_secrets};

use super::url::{self, Target};

/// The most redirects that are followed for one attempt.
const MOST: usize = 5;
/// So much of a bad Location is shown.
const SHOWN: usize = 200;

/// The URL that a Location leads to (RFC 9110, section 10.2.2), if it may be followed.
pub fn next_hop(from: &Uri, location: &[u8], seen: &[Uri]) -> Result<Target, String> {
    let text = text_of(location);
    let Some(next) = resolve(from, url::trimmed(&text)) else {
        let text: String = told(&text).chars().take(SHOWN).collect();
        return Err(format!("bad Location {}", shown(&text)));
    };
    let secure = |uri: &Uri| uri.scheme_str() == Some("https");
    if secure(from) && !secure(&next.uri) {
        Err("from https to http".into())
    } else if seen.contains(&next.uri) {
        Err("a loop".into())
    } else if seen.len() > MOST {
        Err(format!("more than {MOST}"))
    } else {
        Ok(next)
    }
}

/// What may be told of a Location that is no URL, so that nobody knows where a password in it begins: what comes behind it.
fn told(location: &str) -> String {
    match location.rsplit_once('@') {
        None => without_secrets(location),
        Some((before, behind)) if !before.contains(['?', '#']) => format!("…{}", without_secrets(behind)),
        Some(_) => "…".into(),
    }
}

/// UTF-8, or else every byte that is not ASCII for itself.
fn text_of(location: &[u8]) -> String {
    let by_itself = |byte: &u8| if byte.is_ascii() { char::from(*byte).into() } else { format!("%{byte:02X}") };
    String::from_utf8(location.to_vec()).unwrap_or_else(|_| location.iter().map(by_itself).collect::<String>())
}

/// RFC 3986, section 5.
fn resolve(from: &Uri, location: &str) -> Option<Target> {
    let whole = match location {
        text if text.contains("://") && text.find(':') < text.find(['/', '?', '#']) => Some(url::parse(text).ok()?),
        text if text.starts_with("//") => Some(url::parse(&format!("{}:{text}", from.scheme_str()?)).ok()?),
        _ => None,
    };
    let mut clean = String::new();
    match &whole {
        Some(target) => clean = target.uri.to_string(),
        None => url::push_encoded(&mut clean, location),
    }
    let base = from.to_string();
    let base = Reference::parse(base.as_str()).ok()?;
    let target = UriRef::parse(clean.as_str()).ok()?.resolve_against(&base).ok()?;
    let next = url::parse(target.as_str()).ok()?;
    Some(Target { basic: whole.and_then(|target| target.basic), ..next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(from: &str, location: &str) -> Result<String, String> {
        let from: Uri = from.parse().expect("a URL");
        next_hop(&from, location.as_bytes(), std::slice::from_ref(&from)).map(|target| target.uri.to_string())
    }

    #[test]
    fn a_location_is_resolved_against_the_url_it_came_from() {
        for (location, wanted) in [
            ("https://other.test/x", "https://other.test/x"),
            ("https://other.test/a/../x", "https://other.test/x"),
            ("//other.test/x", "https://other.test/x"),
            ("/x?y=1", "https://h.test/x?y=1"),
            ("/x?next=https://other.test", "https://h.test/x?next=https://other.test"),
            ("x", "https://h.test/a/x"),
            ("../x", "https://h.test/x"),
            ("?y", "https://h.test/a/b?y"),
        ] {
            assert_eq!(hop("https://h.test/a/b", location).as_deref(), Ok(wanted), "{location}");
        }
    }

    #[test]
    fn a_location_as_servers_send_it_is_encoded_and_followed() {
        for (location, wanted) in [
            (" /a b.jpg ", "https://h.test/a%20b.jpg"),
            ("/ä.jpg", "https://h.test/%C3%A4.jpg"),
            ("/a|[]{}\"<>^`.jpg", "https://h.test/a%7C%5B%5D%7B%7D%22%3C%3E%5E%60.jpg"),
            ("a b.jpg?c=d e", "https://h.test/a/a%20b.jpg?c=d%20e"),
            ("https://ä.test/a b", "https://xn--4ca.test/a%20b"),
            ("//other.test/ä", "https://other.test/%C3%A4"),
            ("https://me:pw@h.test/x", "https://h.test/x"),
        ] {
            assert_eq!(hop("https://h.test/a/b", location).as_deref(), Ok(wanted), "{location}");
        }
        let from: Uri = "https://h.test/".parse().expect("a URL");
        let latin = next_hop(&from, b"/\xe4 \xff", &[]).map(|target| target.uri.to_string());
        assert_eq!(latin.as_deref(), Ok("https://h.test/%E4%20%FF"));
    }

    #[test]
    fn some_redirects_are_not_followed() {
        for location in
            ["http://h.test/x", "/a/b", "ftp://h.test/x", "https:///x", "http://[", "", "#x", "javascript:x"]
        {
            assert!(hop("https://h.test/a/b", location).is_err(), "{location}");
        }
        assert!(hop("http://h.test/a", "https://h.test/a").is_ok());
        let six: Vec<Uri> = (0..6).map(|n| format!("https://h.test/{n}").parse().expect("a URL")).collect();
        assert!(next_hop(&six[5], b"/new", &six).is_err());
        assert!(next_hop(&six[4], b"/new", &six[..5]).is_ok());
    }

    #[test]
    fn a_bad_location_is_shown_without_its_secrets_and_cannot_steer() {
        let words = hop("https://h.test/", "ftp://me:pw@h.test/\u{202e}x?sig=hidden").expect_err("not followed");
        assert_eq!(words, "bad Location …h.test/\\u{202e}x?…");
    }

    #[test]
    fn a_password_in_a_location_of_any_shape_is_not_shown() {
        for location in [
            "https:/u:PW@[h/x",
            "https:u:PW@h",
            "https:u:PW@h/x?sig=PW",
            "mailto:u:PW@x",
            "//u:PW@/x?sig=PW",
            "x y:u:PW@x",
            "https://u:PW/PW@h:99999/x",
            "https://u:PW?PW@h:99999/x",
            "https://u:PW#PW@h:99999/x#PW",
            "https://u:P@W@h:99999/x",
            "ftp://h/x?a=@PW",
        ] {
            let words = hop("https://h.test/", location).expect_err(location);
            assert!(!words.contains("PW") && !words.contains("W@"), "{location}: {words}");
        }
    }
}
