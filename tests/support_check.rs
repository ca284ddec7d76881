//! The origin must fail exactly as scripted, or the tests that lean on it prove nothing. So it is looked at
//! here through a bare socket, without toller.

use crate::support::reply::CHUNK;
use crate::support::{End, Env, Origin, Reply, duckdbs, guid, guids, image_for};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Asks over plain HTTP and reads to the end of the connection; what came, and how it ended.
fn ask(origin: &Origin, path: &str) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    (bytes, ended.err().map(|e| e.kind()))
}

fn body_of(response: &[u8]) -> &[u8] {
    let head = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    &response[head + 4..]
}

#[test]
fn images_are_distinct_jpegs_of_the_size_of_thumbnails() {
    let guids = guids(300);
    let images: HashSet<Vec<u8>> = guids.iter().map(|guid| image_for(guid)).collect();
    assert_eq!(images.len(), 300);
    let mean = images.iter().map(Vec::len).sum::<usize>() / 300;
    assert!((17_000..23_000).contains(&mean), "{mean} bytes on average");
    assert!(images.iter().all(|jpeg| jpeg.starts_with(&[0xff, 0xd8, 0xff])));
    assert!(images.iter().all(|jpeg| jpeg.ends_with(&[0xff, 0xd9])));
}

#[test]
fn connections_end_in_each_of_the_scripted_ways() {
    let origin = Origin::builder().plain_http().start();
    let image = image_for(&guid(1));
    let path = format!("/thumbs/{}.jpg", guid(1));
    let ways = [
        (Reply::image().closing(), Some(image.len()), None),
        (Reply::image().then(End::Reset), Some(image.len()), Some(ErrorKind::ConnectionReset)),
        (Reply::image().cut_body(99), Some(99), None),
        (Reply::image().cut_body(99).then(End::Reset), Some(99), Some(ErrorKind::ConnectionReset)),
        (Reply::image().cut_tail(2), Some(image.len() - 2), None),
        (Reply::image().until_close(), Some(image.len()), None),
        (Reply::image().chunked().cut_body(CHUNK + 8), Some(CHUNK + 8), None),
        (Reply::image().cut_head(9), None, None),
        (Reply::nothing(), None, None),
        (Reply::nothing().then(End::Reset), None, Some(ErrorKind::ConnectionReset)),
    ];
    for (reply, body, error) in ways {
        let case = format!("{reply:?}");
        origin.on(&path, [reply]);
        let (response, ended) = ask(&origin, &path);
        assert_eq!(ended, error, "{case}");
        assert_eq!(body, body.map(|_| body_of(&response).len()), "{case}");
    }
}

#[test]
fn an_env_reads_back_what_it_wrote_and_can_lock_others_out() {
    let env = Env::with(&["a", "it's"]);
    env.sql("UPDATE dim_image SET thumb_downloaded = NULL WHERE source_image_id = 'a'");
    let rows = env.query("SELECT source_image_id, thumb_downloaded FROM dim_image ORDER BY 1");
    assert_eq!(rows, [["a", "NULL"], ["it's", "false"]]);
    let Some(old) = duckdbs().first() else { return };
    let open = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True)";
    let other = env.occupy();
    let locked_out = old.python(&env, open).arg(env.warehouse()).run();
    locked_out.expect(1).stderr_has("lock");
    drop(other);
}

#[test]
fn endless_replies_go_on_until_the_client_leaves() {
    let origin = Origin::builder().plain_http().start();
    for reply in
        [Reply::endless_headers(), Reply::image().chunked().endless(), Reply::image().claiming(1 << 40).endless()]
    {
        origin.on("/endless", [reply]);
        let mut stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
        write!(stream, "GET /endless HTTP/1.1\r\n\r\n").unwrap();
        stream.read_exact(&mut vec![0; 5_000_000]).unwrap();
    }
}

#[test]
fn a_held_origin_logs_requests_and_answers_none() {
    let origin = Origin::builder().plain_http().start();
    origin.hold();
    origin.allow(1);
    let mut stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
    write!(stream, "GET /a.jpg HTTP/1.1\r\n\r\nGET /b.jpg HTTP/1.1\r\nX-Test: yes\r\n\r\n").unwrap();
    origin.wait_for_requests(2);
    assert_eq!(origin.requests()[1].header("x-test"), Some("yes"));
    assert_eq!(origin.requests()[1].connection, 1);
    assert_eq!(origin.requests()[1].nth_on_connection, 2);
    let mut first = vec![0; image_for("a").len()];
    stream.read_exact(&mut first).unwrap();
    drop(origin);
    let (rest, _) = read_all(&mut stream);
    assert!(rest.len() < 200, "the second answer was held back, but {} bytes came", rest.len());
}

#[test]
fn an_origin_ends_at_once_whatever_its_connections_do() {
    let start = Instant::now();
    let origin = Origin::builder().plain_http().start();
    origin.on("/slow", [Reply::image().after(Duration::from_secs(3600))]);
    origin.on("/hang", [Reply::silence()]);
    origin.on("/endless", [Reply::image().endless()]);
    let mut streams = Vec::new();
    for path in ["/slow", "/hang", "/endless"] {
        let mut stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        streams.push(stream);
    }
    streams.push(TcpStream::connect(("127.0.0.1", origin.port())).unwrap());
    origin.wait_for_requests(3);
    origin.wait_for_connections(4);
    drop(origin);
    assert!(start.elapsed() < Duration::from_secs(10));
}
