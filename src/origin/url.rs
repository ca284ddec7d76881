//! URLs as people write them become URLs as servers want them: trimmed, percent-encoded, with a host that DNS knows.
//!
//! Much as browsers do it (the URL standard of WHATWG), less what would guess: a control character in the middle, or a
//! host that is none, is a failure that says which character it is and where.

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderValue, Uri};

use crate::failure::{Failure, Kind};

/// Whom to ask for what, and with which name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL, without user and password.
    pub uri: Uri,
    /// What `Authorization` says of them.
    pub basic: Option<HeaderValue>,
}

/// Checks that a URL can be asked for at all.
///
/// # Errors
/// A failure of kind `bad_url` that says why.
pub fn parse_url(url: &str) -> Result<Uri, Failure> {
    parse(url).map(|target| target.uri)
}

/// Reads a URL.
pub fn parse(text: &str) -> Result<Target, Failure> {
    let bad = |cause: String| Failure::new(Kind::BadUrl, cause);
    if is_clean(text) {
        let uri = text.parse().map_err(|cause| bad(format!("{cause}")))?;
        return Ok(Target { uri, basic: None });
    }
    let url = trimmed(text);
    if let Some(c) = url.chars().find(|c| c.is_control()) {
        return Err(bad(at(text, c)));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("no https:// at its beginning".into()))?;
    let scheme = match scheme.to_ascii_lowercase() {
        scheme if scheme == "https" || scheme == "http" => scheme,
        _ => return Err(bad("neither https nor http".into())),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (place, ""),
    };
    if host.is_empty() {
        return Err(bad("no host in it".into()));
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(bad("its port is no number from 0 to 65535".into()));
    }
    let mut clean =
        format!("{scheme}://{}", host_name(host).map_err(|c| bad(c.map_or_else(no_name, |c| at(text, c))))?);
    if !port.is_empty() {
        clean.push(':');
        clean.push_str(port);
    }
    clean.push_str(if path.starts_with('/') { "" } else { "/" });
    push_encoded(&mut clean, path);
    let uri = clean.parse().map_err(|cause| bad(format!("{cause}")))?;
    Ok(Target { uri, basic: user.filter(|user| !user.is_empty()).map(basic) })
}

/// Whether a URL is one already, with nothing in it to encode or to take out: most are, and cost no more.
fn is_clean(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let Some(slash) = rest.find('/') else { return false };
    let (place, path) = rest.split_at(slash);
    let host = match place.split_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) => return false,
        None => place,
    };
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b'?' | b'=' | b'&'))
}

/// Without what people and programs leave at both ends.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
}

/// Host and port of a URL.
pub fn place(uri: &Uri) -> (&str, u16) {
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual))
}

/// Whether one may hear what the other may.
pub fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && place(one) == place(other)
}

/// Appends a path with its query, percent-encoded where it has to be; a fragment is the client's own and left out.
pub fn push_encoded(url: &mut String, path: &str) {
    let bytes = path.split('#').next().unwrap_or_default().as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let stands = match byte {
            b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(byte),
        };
        if stands {
            url.push(char::from(*byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The host as DNS knows it; the character that no host may have, or none if it is the whole that is wrong.
fn host_name(host: &str) -> Result<String, Option<char>> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().map(|_| host.to_owned()).map_err(|_| None);
    }
    // WHATWG's forbidden host code points, less those that ended the host already.
    if let Some(c) = host.chars().find(|c| c.is_whitespace() || "<>[]\\^|%\":`{}@".contains(*c)) {
        return Err(Some(c));
    }
    if host.is_ascii() {
        return Ok(host.to_ascii_lowercase());
    }
    idna::domain_to_ascii(host).ok().filter(|name| !name.is_empty()).ok_or(None)
}

fn no_name() -> String {
    "its host is no name and no address".into()
}

fn at(text: &str, wrong: char) -> String {
    let place = text.chars().position(|c| c == wrong).unwrap_or_default() + 1;
    let name = match wrong {
        ' ' => "a space".into(),
        '\t' => "a tab".into(),
        '\n' | '\r' => "a line break".into(),
        c if c.is_control() || c.is_whitespace() => format!("U+{:04X}", c as u32),
        c => format!("{c:?}"),
    };
    format!("{name} at place {place}")
}

/// User and password for `Authorization` (RFC 7617), decoded.
fn basic(user: &str) -> HeaderValue {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |part| percent_decode_str(part).collect::<Vec<u8>>();
    credentials(&decoded(name), &decoded(password))
}

/// The value of `Authorization` and `Proxy-Authorization` for a name and a password.
pub fn credentials(name: &[u8], password: &[u8]) -> HeaderValue {
    let words = [name, b":", password].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(words)))
        .expect("base64 is made of letters, digits and signs");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_trimmed_encoded_and_its_host_is_one_that_dns_knows() {
        for (url, wanted) in [
            ("https://h.test/x", "https://h.test/x"),
            (" \n\u{feff}https://h.test/x\t", "https://h.test/x"),
            ("HTTPS://H.Test:443/X", "https://h.test:443/X"),
            ("https://h.test", "https://h.test/"),
            ("https://h.test?x", "https://h.test/?x"),
            (
                "https://h.test/a b/ü|[]{}\"<>^`\\.jpg",
                "https://h.test/a%20b/%C3%BC%7C%5B%5D%7B%7D%22%3C%3E%5E%60%5C.jpg",
            ),
            ("https://h.test/x?a=b c&d=ü#frag ment", "https://h.test/x?a=b%20c&d=%C3%BC"),
            ("https://h.test/100%/%41%zz", "https://h.test/100%25/%41%25zz"),
            ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
            ("https://BÜCHER.example:8443/x", "https://xn--bcher-kva.example:8443/x"),
            ("https://例え.テスト/x", "https://xn--r8jz45g.xn--zckzah/x"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x"),
            ("https://my_bucket.test/x", "https://my_bucket.test/x"),
            ("https://me:p@h.test/x", "https://h.test/x"),
        ] {
            assert_eq!(parse_url(url).map(|uri| uri.to_string()).as_deref(), Ok(wanted), "{url:?}");
        }
    }

    #[test]
    fn a_bad_url_says_which_character_and_where() {
        for (url, words) in [
            ("https://h.test/a\tb", "a tab at place 17"),
            ("https://h .test/x", "a space at place 10"),
            (" https://h|.test/x", "'|' at place 11"),
            ("https://h.test/a\x01", "no word of this"),
            ("https://h.test/a\x01b", "U+0001 at place 17"),
            ("https://h.test:x/", "port"),
            ("https://h.test:99999/", "port"),
            ("https:///x", "no host"),
            ("h.test/x", "no https://"),
            ("ftp://h.test/x", "neither https nor http"),
            ("https://[::x]/", "no name and no address"),
            ("https://[oops/", "'[' at place 9"),
            ("", "no https://"),
        ] {
            match parse_url(url) {
                Ok(_) => assert_eq!(words, "no word of this", "{url:?}"),
                Err(failure) => assert!(failure.message.contains(words), "{url:?}: {failure}"),
            }
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        for (url, wanted) in [
            ("https://me:p%40ss@h.test/", "Basic bWU6cEBzcw=="),
            ("https://me@h.test/", "Basic bWU6"),
            ("https://a%3Ab:c:d@h.test/", "Basic YTpiOmM6ZA=="),
        ] {
            let basic = parse(url).expect("a good URL").basic.expect("a user");
            assert_eq!(basic.to_str().ok(), Some(wanted), "{url}");
            assert!(basic.is_sensitive());
        }
        assert_eq!(parse("https://h.test/a@b").map(|target| target.basic), Ok(None));
    }
}
