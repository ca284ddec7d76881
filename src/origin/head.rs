//! Heads of responses as servers send them, and not as the parser wants them.
//!
//! httparse, and with it ureq, refuses a whole answer for one bad line that browsers and curl let pass. Here a folded line is
//! unfolded (RFC 9112, section 5.2), and a line with a character that no header may have is left out. Nothing is mended that could change how
//! long the body is: there the parser's refusal stands.

/// A longer head is left to the parser, which refuses it.
pub const MOST: usize = 64 * 1024;

/// Where the first head in these bytes ends, behind its empty line.
pub fn end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Whether it is one of those that come before the answer: 100 and 103, but not 101, after which nothing is HTTP.
pub fn is_interim(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.") && head.get(9) == Some(&b'1') && head.get(9..12) != Some(b"101")
}

/// Whether a server that was asked in HTTP/1.1 answers in HTTP/2: with a frame of settings (RFC 9113, section 6.5).
pub fn is_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0 | 1, _, 4, 0 | 1, 0, 0, 0, 0, ..])
}

/// The head as it was meant; `None` where it is good as it is, or is not to be mended.
pub fn mended(head: &[u8]) -> Option<Vec<u8>> {
    let lines = || {
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', head).chain(std::iter::once(head.len()));
        ends.map(move |end| {
            let line = &head[std::mem::replace(&mut from, end + 1)..end];
            line.strip_suffix(b"\r").unwrap_or(line)
        })
    };
    if lines().skip(1).all(|line| line.is_empty() || is_header(line)) {
        return None;
    }
    let mut lines = lines();
    let mut good = vec![lines.next()?.to_vec()];
    // What a folded line belongs to: the last of the good ones, or one that was left out.
    let mut left_out = true;
    for line in lines.filter(|line| !line.is_empty()) {
        if matches!(line[0], b' ' | b'\t') {
            let Some(last) = good.last_mut().filter(|_| !left_out) else { continue };
            if frames(last) {
                return None;
            }
            last.push(b' ');
            last.extend_from_slice(line.trim_ascii());
        } else {
            left_out = !is_header(line);
            if !left_out {
                good.push(line.to_vec());
            } else if frames(line) || !line.contains(&b':') {
                return None;
            }
        }
    }
    // A control character may have come with a folded line.
    let (status, headers) = good.split_first()?;
    let mut mended = status.clone();
    for line in headers.iter().filter(|line| is_header(line)) {
        mended.extend_from_slice(b"\r\n");
        mended.extend_from_slice(line);
    }
    mended.extend_from_slice(b"\r\n\r\n");
    Some(mended)
}

/// Whether a line speaks of the body's length, well or badly.
fn frames(line: &[u8]) -> bool {
    let line = line.to_ascii_lowercase();
    [&b"content-length"[..], b"transfer-encoding"].iter().any(|name| line.windows(name.len()).any(|part| part == *name))
}

/// Name, colon and value, each of characters that it may have (RFC 9112, section 5).
fn is_header(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| !IS_OF_A_NAME[usize::from(*byte)]) else { return false };
    let bad = |byte: &&u8| (**byte < 32 && **byte != b'\t') || **byte == 127;
    // Counted to the end, because the compiler then takes many bytes at a time.
    colon > 0 && line[colon] == b':' && line[colon + 1..].iter().filter(bad).count() == 0
}

/// A table, since every line of every head is held against it.
const IS_OF_A_NAME: [bool; 256] = {
    let (mut table, mut c) = ([false; 256], 0_u8);
    while c < 128 {
        let separates = matches!(c, b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}');
        table[c as usize] = c.is_ascii_graphic() && !separates;
        c += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(head: &str) -> Option<String> {
        let head = head.replace('\n', "\r\n");
        mended(head.as_bytes()).map(|mended| String::from_utf8_lossy(&mended).replace("\r\n", "\n"))
    }

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        for (bytes, wanted) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n", Some(25)),
            ("HTTP/1.1 200 OK\nA: b\n\nbody", Some(22)),
            ("HTTP/1.1 200 OK\r\n\r\n", Some(19)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            ("", None),
        ] {
            assert_eq!(end(bytes.as_bytes()), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn a_good_head_is_left_as_it_is() {
        for head in ["HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\nA: b\nB:\nC:  \u{fc}\t \n\n", "garbage\n\n"] {
            assert_eq!(mend(head), None, "{head:?}");
        }
    }

    #[test]
    fn folded_lines_are_unfolded_and_what_is_no_header_is_left_out() {
        for (lines, wanted) in [
            ("A: b\n  c\n\td\nE: f\n", "A: b c d\nE: f\n"),
            ("A: b\x01c\nE: f\n", "E: f\n"),
            ("A: b\x00\nE: f\n", "E: f\n"),
            ("A B: c\nE: f\n", "E: f\n"),
            ("A : c\nE: f\n", "E: f\n"),
            (": c\nE: f\n", "E: f\n"),
            ("A B: c\n and more of it\nE: f\n", "E: f\n"),
            (" folded from nothing\nE: f\n", "E: f\n"),
            ("A: b\n c\x7f\nE: f\n", "E: f\n"),
            ("\u{fc}: c\nContent-Length: 3\n", "Content-Length: 3\n"),
        ] {
            let mended = mend(&format!("HTTP/1.1 200 OK\n{lines}\n"));
            assert_eq!(mended, Some(format!("HTTP/1.1 200 OK\n{wanted}\n")), "{lines:?}");
        }
    }

    #[test]
    fn nothing_is_mended_that_says_how_long_the_body_is_or_is_no_line_of_a_head() {
        for lines in [
            "no colon\n",
            "Content-Length: 1\n 2\n",
            "Content-Length : 12\n",
            "Content-Length: 1\x002\n",
            "Transfer-Encoding: chun\n ked\n",
            "Transfer-Encoding\x01: chunked\n",
            "X Content-Length: 5\n",
            "A: b\rContent-Length: 5\n",
        ] {
            assert_eq!(mend(&format!("HTTP/1.1 200 OK\nE: f\n{lines}\n")), None, "{lines:?}");
        }
    }

    #[test]
    fn what_comes_before_the_answer_and_what_is_another_protocol_is_known() {
        assert!(is_interim(b"HTTP/1.1 100 Continue\r\n\r\n") && is_interim(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
        assert!(!is_interim(b"HTTP/1.1 101 Switching\r\n\r\n") && !is_interim(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(is_http2(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3]) && !is_http2(b"HTTP/1.1 200"));
    }
}
