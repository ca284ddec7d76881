//! What a whole body and a whole attempt come to, with a server that says what it is told to.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use crate::facts::{Known, Proof};

use super::*;

fn origin() -> Origin {
    let origin = Origin::new(&Settings {
        workers: 1,
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        max_bytes: 1000,
        headers: Vec::new(),
        headers_to: None,
        user_agent: String::new(),
        roots: Roots::default(),
        identity: None,
        proxies: Proxies::default(),
    });
    origin.expect("nothing is wrong with it")
}

/// A server that gives these answers, one after the other; its URL, and the requests that it got.
fn server(answers: &[&str]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/x", listener.local_addr().expect("it is bound"));
    let answers: Vec<String> = answers.iter().map(|answer| answer.replace('\n', "\r\n")).collect();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    let request = String::from_utf8_lossy(&head).to_ascii_lowercase();
                    let Some(answer) = answers.next().filter(|_| sender.send(request).is_ok()) else { return };
                    stream.write_all(answer.as_bytes()).expect("the client reads");
                    head.clear();
                }
            }
        }
    });
    (url, requests)
}

fn known(etag: &str, last_modified: &str) -> Known {
    Known { etag: Some(etag.into()), last_modified: Some(last_modified.into()), ..Known::default() }
}

#[test]
fn what_is_known_is_asked_about_and_may_be_unmodified() {
    let said = "etag: W/\"2\"\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nContent-Type: image/jpeg\n";
    let unmodified = format!("HTTP/1.1 304 Not Modified\n{said}Content-Length: 20000\n\n");
    let modified = format!("HTTP/1.1 200 OK\n{said}Content-Length: 3\n\nabc");
    let (url, requests) = server(&[&unmodified, &modified, &modified, &unmodified]);
    let (origin, mut body) = (origin(), Vec::new());
    let mut attempt =
        |known: Option<&Known>| origin.attempt(&url, known, &mut body, &|| true).expect("nobody stops it");
    let said = Said {
        etag: Some("W/\"2\"".into()),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
        content_type: Some("image/jpeg".into()),
        proof: None,
        encoding: None,
    };
    let known = known("W/\"1\"", "Sat, 05 Nov 1994 08:49:37 GMT");
    assert_eq!(attempt(Some(&known)), Ok(Delivered::NotModified));
    assert_eq!(attempt(Some(&known)), Ok(Delivered::Body(Framing::Complete, said.clone())));
    assert_eq!(attempt(None), Ok(Delivered::Body(Framing::Complete, said)));
    let failure = attempt(None).expect_err("nobody asked for that");
    assert_eq!((failure.kind, failure.http_status), (Kind::HttpStatus, Some(304)));
    assert_eq!((origin.connections(), body), (1, b"abc".to_vec()), "a 304 leaves its connection whole");
    let conditions: Vec<bool> =
        requests.try_iter().map(|request| request.contains("if-none-match: w/\"1\"\r\n")).collect();
    assert_eq!(conditions, [true, true, false, false]);
}

#[test]
fn the_target_of_a_redirect_is_asked_about_the_same_version() {
    let redirect = "HTTP/1.1 302 Found\nLocation: /y\nContent-Length: 0\n\n";
    let (url, requests) = server(&[redirect, "HTTP/1.1 304 Not Modified\n\n"]);
    let (origin, mut body) = (origin(), b"kept".to_vec());
    // The ETag is none that a header can hold, so the date is sent in its place.
    let known = known("\"1\"\r\nX-Injected: 1", "Sat, 05 Nov 1994 08:49:37 GMT");
    let result = origin.attempt(&url, Some(&known), &mut body, &|| true);
    assert_eq!((result, body), (Some(Ok(Delivered::NotModified)), b"kept".to_vec()));
    let requests: Vec<String> = requests.try_iter().collect();
    assert!(requests[0].starts_with("get /x ") && requests[1].starts_with("get /y "), "{requests:?}");
    for request in &requests {
        assert!(request.contains("if-modified-since: sat, 05 nov 1994 08:49:37 gmt\r\n"), "{request}");
        assert!(!request.contains("injected") && !request.contains("if-none-match"), "{request}");
    }
}

#[test]
fn a_304_with_nothing_usable_known_was_not_asked_for() {
    let (url, requests) = server(&["HTTP/1.1 304 Not Modified\n\n"]);
    let known = Known { etag: Some("*".into()), ..Known::default() };
    let result = origin().attempt(&url, Some(&known), &mut Vec::new(), &|| true);
    assert_eq!(result, Some(Err(Failure::of_status(304, "Not Modified", None))));
    assert!(requests.try_iter().all(|request| !request.contains("if-")));
}

#[test]
fn a_body_is_held_against_what_was_declared_of_it() {
    let answer = |line: &str| format!("HTTP/1.1 200 OK\n{line}\nContent-Length: 3\n\nabc");
    let right = answer("Content-MD5: kAFQmDzST7DWlj99KOF/cg==");
    let etag = answer("etag: \"900150983cd24fb0d6963f7d28e17f72\"");
    let wrong = answer("Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==");
    let corrupt = answer("Content-Encoding: br\nContent-MD5: AAAAAAAAAAAAAAAAAAAAAA==");
    let labelled = answer("Content-Encoding: aws-chunked\nContent-MD5: AAAAAAAAAAAAAAAAAAAAAA==");
    let (url, _requests) = server(&[&right, &etag, &wrong, &corrupt, &labelled]);
    let (origin, mut body) = (origin(), Vec::new());
    let mut attempt = || origin.attempt(&url, None, &mut body, &|| true).expect("nobody stops it");
    let proof = |result: std::result::Result<Delivered, Failure>| match result {
        Ok(Delivered::Body(Framing::Complete, said)) => Ok((said.proof, said.encoding.as_deref().map(str::to_owned))),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(failure.kind),
    };
    assert_eq!(proof(attempt()), Ok((Some(Proof::Declared), None)));
    assert_eq!(proof(attempt()), Ok((Some(Proof::Etag), None)));
    assert_eq!(proof(attempt()), Err(Kind::DigestMismatch));
    assert_eq!(proof(attempt()), Ok((None, Some("br".into()))), "what its digest is of, nobody knows");
    assert_eq!(proof(attempt()), Err(Kind::DigestMismatch), "a word that is no coding makes no other bytes");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn after_a_stop_no_connection_is_opened() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/x", listener.local_addr().expect("it is bound"));
    let origin = origin();
    origin.shut_down();
    assert_eq!(origin.attempt(&url, None, &mut Vec::new(), &|| true), None);
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err() && origin.connections() == 0);
}

#[test]
fn headers_that_frame_the_request_are_refused_and_secrets_are_not_repeated() {
    for (name, value) in [("Host", "x"), ("Content-Length", "1"), ("a b", "x"), ("X-Key", "secret\nX: y")] {
        let error = header_map(&[(name.into(), value.into())]).expect_err(name);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn space_for_a_body_grows_with_what_arrives_whatever_was_said() {
    let mut body = Vec::new();
    read_whole(&b"abc"[..], usize::MAX, &mut body).expect("a stated length is only a word");
    assert_eq!((&body[..], body.capacity() <= AHEAD), (&b"abc"[..], true));
    for length in [0, 1, 20_000, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD + 17] {
        for expected in [0, 7, length, length + 1, usize::MAX] {
            let sent: Vec<u8> = (0..=250u8).cycle().take(length).collect();
            read_whole(&sent[..], expected, &mut body).expect("memory can be read");
            assert!(body == sent, "{length} bytes, {expected} expected");
            assert!(body.capacity() <= length + AHEAD + 1, "{length}: {}", body.capacity());
            body = Vec::new();
        }
    }
}
