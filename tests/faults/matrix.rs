//! The rows of the fault matrix: what the origin does, and what must come of it.

use crate::support::{End, Reply, guid, image_for};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::time::Duration;

/// Whether it is worth asking again: the column `permanent`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    Passes,
    Lasts,
    /// No failure at all.
    Fine,
}
use Lasting::{Fine, Lasts, Passes};

pub struct Row {
    pub fault: &'static str,
    pub reply: Reply,
    pub kind: &'static str,
    /// 0 where no response head came; none where more than one did.
    pub status: Option<u16>,
    pub lasting: Lasting,
    /// `--timeout` in seconds.
    pub timeout: &'static str,
    /// At the most. One is what a fault costs that leaves its connection whole, two what one costs that does
    /// not, three when the program cannot tell it from an idle connection that was closed, and has to try.
    pub connections: usize,
}

/// What the origin does, and that nothing comes of it, until the row says otherwise.
fn fault(fault: &'static str, reply: Reply) -> Row {
    Row { fault, reply, kind: "", status: Some(0), lasting: Fine, timeout: "20", connections: 1 }
}

impl Row {
    /// It is a failure for good, of this kind.
    fn lasts(self, kind: &'static str) -> Self {
        Self { kind, lasting: Lasts, ..self }
    }

    /// It is a failure that may pass, of this kind.
    fn passes(self, kind: &'static str) -> Self {
        Self { kind, lasting: Passes, ..self }
    }

    /// The failure has this status.
    fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// More than one response head came, and either status will do.
    fn any_status(self) -> Self {
        Self { status: None, ..self }
    }

    /// So many connections are opened at the most.
    fn connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// `--timeout` is that short.
    fn within(self, timeout: &'static str) -> Self {
        Self { timeout, ..self }
    }

    /// What the run ends with.
    pub fn code(&self) -> i32 {
        match self.lasting {
            Fine => 0,
            Passes => 3,
            Lasts => 4,
        }
    }
}

/// The image that meets the fault.
pub fn faulty() -> String {
    guid(1)
}

/// All rows.
pub fn matrix() -> Vec<Row> {
    [statuses(), redirects(), not_an_image(), cut(), uncoded(), no_head(), not_http(), too_slow(), odd()]
        .into_iter()
        .flatten()
        .collect()
}

/// Statuses. The connection survives all of them.
#[rustfmt::skip]
fn statuses() -> Vec<Row> {
    let html = |status| Reply::html().with_status(status);
    vec![
        fault("400 Bad Request", Reply::status(400)).lasts("http_status").status(400),
        fault("401 Unauthorized", Reply::status(401)).lasts("forbidden").status(401),
        fault("402 Payment Required", Reply::status(402)).lasts("http_status").status(402),
        fault("403 Forbidden", Reply::status(403)).lasts("forbidden").status(403),
        fault("404 Not Found", Reply::status(404)).lasts("not_found").status(404),
        fault("404 with a long chunked page", html(404).chunked()).lasts("not_found").status(404),
        fault("404 with a page without end", html(404).chunked().endless()).lasts("not_found").status(404).connections(2),
        fault("404 with a page that is cut", html(404).cut_body(99)).lasts("not_found").status(404).connections(2),
        fault("404 with an image", Reply::image().with_status(404)).lasts("not_found").status(404),
        fault("408 Request Timeout", Reply::status(408)).passes("http_status").status(408),
        fault("410 Gone", Reply::status(410)).lasts("not_found").status(410),
        fault("416 Range Not Satisfiable", Reply::status(416)).lasts("http_status").status(416),
        fault("418 I'm a teapot", Reply::status(418)).lasts("http_status").status(418),
        fault("429 Too Many Requests", Reply::status(429)).passes("rate_limited").status(429),
        fault("451 For Legal Reasons", Reply::status(451)).lasts("http_status").status(451),
        fault("500 Internal Server Error", Reply::status(500)).passes("server_error").status(500),
        fault("501 Not Implemented", Reply::status(501)).passes("server_error").status(501),
        fault("502 Bad Gateway", Reply::status(502)).passes("server_error").status(502),
        fault("503 Service Unavailable", Reply::status(503)).passes("server_error").status(503),
        fault("503 with Retry-After that means none", Reply::status(503).header("Retry-After", "soon")).passes("server_error").status(503),
        fault("504 Gateway Timeout", Reply::status(504)).passes("server_error").status(504),
        fault("599, which nobody knows", Reply::status(599)).passes("server_error").status(599),
        fault("500 that closes, as it says", Reply::status(500).closing()).passes("server_error").status(500).connections(2),
        fault("201 with an image", Reply::image().with_status(201)).lasts("http_status").status(201),
        fault("203 with an image", Reply::image().with_status(203)).lasts("http_status").status(203),
        fault("204 No Content", Reply::status(204)).lasts("http_status").status(204),
        fault("206 with a whole image", Reply::image().with_status(206)).lasts("http_status").status(206),
        fault("304 Not Modified", Reply::status(304)).lasts("http_status").status(304),
        fault("300 with a page", html(300)).lasts("http_status").status(300),
    ]
}

/// Redirects. /hop/N leads to /hop/0 in N steps, and that is the image.
#[rustfmt::skip]
fn redirects() -> Vec<Row> {
    vec![
        fault("five redirects", Reply::redirect(302, "/hop/4")),
        fault("a redirect with a page without end", Reply::redirect(302, "/hop/0").chunked().endless()).connections(2),
        fault("six redirects", Reply::redirect(302, "/hop/5")).lasts("redirect").any_status(),
        fault("a loop of two", Reply::redirect(301, "/loop")).lasts("redirect").any_status(),
        fault("a redirect to itself", Reply::redirect(307, "")).lasts("redirect").any_status(),
        fault("a redirect to http", Reply::redirect(301, "http://localhost/x.jpg")).lasts("redirect").any_status(),
        fault("a redirect to a file", Reply::redirect(301, "file:///etc/passwd")).lasts("redirect").any_status(),
        fault("a redirect to nonsense", Reply::redirect(308, "http://[oops")).lasts("redirect").any_status(),
        fault("a redirect to nowhere", Reply::status(302)).lasts("redirect").any_status(),
        fault("a redirect to what is not there", Reply::redirect(303, "/nothing")).lasts("not_found").status(404),
    ]
}

/// 200, delivered whole, and not a whole image.
#[rustfmt::skip]
fn not_an_image() -> Vec<Row> {
    let jpeg = |body: &[u8]| Reply::bytes(200, "image/jpeg", body);
    let image = || image_for(&faulty());
    let length = image().len();
    vec![
        fault("a page with status 200", Reply::html()).lasts("not_an_image").status(200),
        fault("a page that claims to be a JPEG", jpeg(b"<html>Sorry</html>")).lasts("not_an_image").status(200),
        fault("a JSON error", Reply::bytes(200, "application/json", "{}")).lasts("not_an_image").status(200),
        fault("no bytes", jpeg(b"")).lasts("empty").status(200),
        fault("no bytes in chunks", jpeg(b"").chunked()).lasts("empty").status(200),
        fault("a JPEG that was stored cut", jpeg(&image()[..length / 2])).lasts("not_an_image").status(200),
        fault("a JPEG without its last byte", jpeg(&image()[..length - 1])).lasts("not_an_image").status(200),
        fault("a JPEG without its first byte", jpeg(&image()[1..])).lasts("not_an_image").status(200),
        fault("zeros", jpeg(&[0; 20_000])).lasts("not_an_image").status(200),
        fault("a PNG that ends in its header", jpeg(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")).lasts("not_an_image").status(200),
        fault("a BMP without its last row", jpeg(&bmp()[..62])).lasts("not_an_image").status(200),
        fault("an AVIF that ends in its first box", jpeg(b"\0\0\0\x14ftypavif\0\0\0\0mif1")).lasts("not_an_image").status(200),
        fault("a drawing", Reply::bytes(200, "image/svg+xml", "<svg></svg>")).lasts("not_an_image").status(200),
        fault("an image called aws-chunked", Reply::image().header("Content-Encoding", "aws-chunked")),
        fault("an image called utf-8", Reply::image().header("Content-Encoding", "utf-8")),
        fault("an image called none", Reply::image().header("Content-Encoding", "none").chunked()),
        fault("an image called binary", Reply::image().header("Content-Encoding", "binary")),
        fault("brotli that only says so", Reply::image().header("Content-Encoding", "br")),
        fault("gzip, also called aws-chunked", Reply::image().gzip().header("Content-Encoding", "aws-chunked")),
        fault("gzip, though identity was asked for", Reply::image().gzip()),
        fault("gzip in chunks", Reply::image().gzip().chunked()),
        fault("gzip that only says so", Reply::image().header("Content-Encoding", "gzip")),
        fault("gzip that was stored cut", gzipped(&image(), 9)).passes("truncated").status(200),
        fault("gzip of more than is allowed", gzipped(&vec![0; 10_000_000], 0)).lasts("too_large").status(200),
        fault("gzip of nothing", gzipped(b"", 0)).lasts("empty").status(200),
        fault("an encoding that toller does not know", jpeg(&[0x1b; 20_000]).header("Content-Encoding", "br")).lasts("not_an_image").status(200),
        fault("a GIF without an end, called aws-chunked", jpeg(GIF).header("Content-Encoding", "aws-chunked")).lasts("not_an_image").status(200),
        fault("a JPEG that was stored cut, called utf-8", jpeg(&image()[..length / 2]).header("Content-Encoding", "utf-8")).lasts("not_an_image").status(200),
        fault("less announced than there is", Reply::image().claiming(500).then(End::Close)).lasts("not_an_image").status(200).connections(2),
        fault("less announced, the rest following", Reply::image().claiming(500)).lasts("not_an_image").status(200).connections(2),
        fault("a body over --max-bytes", jpeg(&[0xff; 100_001])).lasts("too_large").status(200).connections(2),
        fault("chunks over --max-bytes", jpeg(&[0xff; 100_001]).chunked()).lasts("too_large").status(200).connections(2),
        fault("a terabyte, as it says", Reply::image().claiming(1 << 40).endless()).lasts("too_large").status(200).connections(2),
        fault("chunks without end", Reply::image().chunked().endless()).lasts("too_large").status(200).connections(2),
        fault("a body without length or end", Reply::image().until_close().endless()).lasts("too_large").status(200).connections(2),
    ]
}

/// Cut inside the body.
#[rustfmt::skip]
fn cut() -> Vec<Row> {
    let jpeg = |body: &[u8]| Reply::bytes(200, "image/jpeg", body);
    vec![
        fault("cut after the head", Reply::image().cut_body(0)).passes("truncated").status(200).connections(2),
        fault("cut inside the body", Reply::image().cut_body(5000)).passes("truncated").status(200).connections(2),
        fault("cut without a word", Reply::image().cut_body(5000).then(End::Drop)).passes("truncated").status(200).connections(2),
        fault("reset inside the body", Reply::image().cut_body(5000).then(End::Reset)).passes("truncated").status(200).connections(2),
        fault("without its last byte", Reply::image().cut_tail(1)).passes("truncated").status(200).connections(2),
        fault("more announced than there is", Reply::image().claiming(90_000).then(End::Close)).passes("truncated").status(200).connections(2),
        fault("cut inside a chunk", Reply::image().chunked().cut_body(5000)).passes("truncated").status(200).connections(2),
        fault("cut between two chunks", Reply::image().chunked().cut_body(4096 + 8)).passes("truncated").status(200).connections(2),
        fault("without the last chunk", Reply::image().chunked().cut_tail(5)).passes("truncated").status(200).connections(2),
        fault("cut, and delimited by the end", Reply::image().until_close().cut_body(5000)).passes("truncated").status(200).connections(2),
        fault("nearly whole, delimited by the end", Reply::image().until_close().cut_tail(1)).passes("truncated").status(200).connections(2),
        fault("a page, delimited by the end", Reply::html().until_close()).passes("truncated").status(200).connections(2),
        fault("a GIF that does not say where it ends", jpeg(GIF).until_close()).passes("truncated").status(200).connections(2),
    ]
}

/// Delimited by the connection's end under a transfer coding that nobody undoes, and not proved whole.
#[rustfmt::skip]
fn uncoded() -> Vec<Row> {
    let gif = |coding| Reply::bytes(200, "image/jpeg", GIF).header("Transfer-Encoding", coding).until_close();
    let old = |body: &[u8]| Reply::raw([b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat());
    let image = image_for(&faulty());
    let chunk = [format!("{:x}\r\n", image.len()).as_bytes(), &image, b"\r\n0\r\n\r\n"].concat();
    let long = format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n", chunk.len());
    let long = Reply::raw([long.as_bytes(), &chunk].concat());
    let rows = vec![
        fault("a GIF without an end, coded as identity", gif("identity")),
        fault("a GIF without an end, coded as gzip", gif("gzip")),
        fault("a GIF without an end, coded as nothing", gif("")),
        fault("a GIF without an end, coded as chunked in quotes", gif("\"chunked\"")),
        fault("a GIF without an end, coded as what only ends in chunked", gif("notchunked")),
        fault("a GIF without an end, coded as chunked with a parameter", gif("chunked;q=1")),
        fault("a JPEG that is cut, coded as identity", Reply::image().header("Transfer-Encoding", "identity").until_close().cut_tail(50)),
        fault("a GIF without an end, coded as chunked in HTTP/1.0", old(GIF)),
        fault("a JPEG that is cut, coded as chunked in HTTP/1.0", old(&image[..5000])),
        fault("chunks in HTTP/1.0", old(&chunk)),
        fault("chunks of a length in HTTP/1.0", long),
        fault("chunks of what is packed besides", packed(&image, 0).header("Transfer-Encoding", "gzip").chunked()),
    ];
    rows.into_iter().map(|row| row.passes("truncated").status(200).connections(2)).collect()
}

/// Before a whole head.
#[rustfmt::skip]
fn no_head() -> Vec<Row> {
    vec![
        fault("closed instead of an answer", Reply::nothing()).passes("connect").connections(3),
        fault("dropped instead of an answer", Reply::nothing().then(End::Drop)).passes("connect").connections(3),
        fault("reset instead of an answer", Reply::nothing().then(End::Reset)).passes("connect").connections(3),
        fault("closed inside the head", Reply::image().cut_head(30)).passes("connect").connections(2),
        fault("reset inside the head", Reply::image().cut_head(30).then(End::Reset)).passes("connect").connections(2),
    ]
}

/// Not HTTP.
#[rustfmt::skip]
fn not_http() -> Vec<Row> {
    let raw = |head: &str| Reply::raw(head.replace('\n', "\r\n"));
    vec![
        fault("garbage", raw("What do you want?\n\n")).passes("protocol").connections(2),
        fault("binary garbage", Reply::raw([0x80, 0, 255, 13, 10, 13, 10].repeat(9))).passes("protocol").connections(2),
        fault("another protocol", raw("SSH-2.0-OpenSSH_9.6\n\n")).passes("protocol").connections(2),
        fault("a status that is no number", raw("HTTP/1.1 abc OK\nContent-Length: 0\n\n")).passes("protocol").connections(2),
        fault("a header without a colon", raw("HTTP/1.1 200 OK\nnonsense\n\n")).passes("protocol").connections(2),
        fault("two lengths that differ", raw("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nab")).passes("protocol").any_status().connections(2),
        fault("a length that is no number", raw("HTTP/1.1 200 OK\nContent-Length: many\n\nab")).passes("protocol").any_status().connections(2),
        fault("a chunk that is none", raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n\n")).passes("protocol").any_status().connections(2),
        fault("a length in two lines", folded_length()).passes("protocol").connections(2),
        fault("HTTP/2, which nobody asked for", Reply::raw([0, 0, 0, 4, 0, 0, 0, 0, 0])).passes("protocol").connections(2),
        fault("too many headers", Reply::image().many_headers(1000)).passes("protocol").connections(2),
        fault("too large a header", Reply::image().header("X", &"x".repeat(100_000))).passes("protocol").connections(2),
        fault("headers without end", Reply::endless_headers()).passes("protocol").connections(2),
    ]
}

/// Too slow for a --timeout of one second.
#[rustfmt::skip]
fn too_slow() -> Vec<Row> {
    let html = |status| Reply::html().with_status(status);
    let raw = |head: &str| Reply::raw(head.replace('\n', "\r\n"));
    let second = Duration::from_secs(1);
    let tenth = Duration::from_millis(100);
    vec![
        fault("silence", Reply::silence()).passes("timeout").within("1").connections(2),
        fault("an answer that comes too late", Reply::image().after(3 * second)).passes("timeout").within("1").connections(2),
        fault("a head, a byte at a time", raw("HTTP/1.1 200 OK\nX: xxxxxxxx").drip(tenth)).passes("timeout").within("1").connections(2),
        fault("a body, a byte at a time", Reply::image().drip(tenth)).passes("timeout").status(200).within("1").connections(2),
        fault("chunks, a byte at a time", Reply::image().chunked().drip(tenth)).passes("timeout").status(200).within("1").connections(2),
        fault("a body that stops half way", Reply::image().cut_body(5000).then(End::Hang)).passes("timeout").status(200).within("1").connections(2),
        fault("a body without end that stops", Reply::image().until_close().then(End::Hang)).passes("timeout").status(200).within("1").connections(2),
        fault("a redirect that goes slow", Reply::redirect(302, "/slow")).passes("timeout").any_status().within("1").connections(2),
        fault("a 404 whose page stops half way", html(404).cut_body(99).then(End::Hang)).lasts("not_found").status(404).within("1").connections(2),
    ]
}

/// Odd, and no fault at all.
#[rustfmt::skip]
fn odd() -> Vec<Row> {
    let jpeg = |body: &[u8]| Reply::bytes(200, "image/jpeg", body);
    let image = || image_for(&faulty());
    let tenth = Duration::from_millis(100);
    vec![
        fault("chunks", Reply::image().chunked()),
        fault("an image called text", Reply::bytes(200, "text/html", image())),
        fault("bytes after the image's end", jpeg(&[image(), vec![0; 99]].concat())),
        fault("a body of just --max-bytes", jpeg(&exactly(100_000))),
        fault("no reason and small letters", with_image(&HEAD.replace(" OK", "").replace("Content-L", "content-l"))),
        fault("a header that is not ASCII", Reply::image().header("X-Place", "Zürich")),
        fault("chunks with extensions and trailers", fancy_chunks()).connections(2),
        fault("a slow answer", Reply::image().after(3 * tenth)),
        fault("a header in two lines", Reply::image().header("X", "one\r\n two\r\n\tthree")),
        fault("a control character in a header", Reply::image().header("X", "one\u{1}two")),
        fault("a space in a header's name", Reply::image().header("X Y", "one")),
        fault("a header without a name", Reply::image().header("", "one")),
        fault("an early hint in two lines", early_hint()),
        fault("a redirect with blanks and brackets", Reply::redirect(302, " /hop/a b|[]{}\"<>^`ü ")),
        fault("a hundred headers", Reply::image().many_headers(100)),
        fault("a close that was announced", Reply::image().closing()).connections(2),
        fault("a close that was not", Reply::image().then(End::Close)).connections(2),
        fault("a reset after the image", Reply::image().then(End::Reset)).connections(2),
        fault("an image delimited by the end", Reply::image().until_close()).connections(2),
        fault("an image delimited by the end, coded as identity", Reply::image().header("Transfer-Encoding", "identity").until_close()).connections(2),
        fault("an image of a length, coded as identity", Reply::image().header("Transfer-Encoding", "identity")),
        fault("chunked in HTTP/1.0, and no chunks", with_image("HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n").then(End::Close)).connections(2),
        fault("more than was announced", too_much()).connections(2),
        fault("HTTP/1.0", with_image("HTTP/1.0 200 OK\n\n").then(End::Close)).connections(2),
        fault("early hints", with_image(&format!("HTTP/1.1 103 Early Hints\nLink: </x>\n\n{HEAD}"))),
    ]
}

/// A GIF without its trailer: an image, and no proof that it is all of it.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";

/// An image of 2 x 2 whose header says how long it is.
fn bmp() -> Vec<u8> {
    let mut bmp =
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0\0\0\0\0\x10\0\0\0".to_vec();
    bmp.resize(70, 0);
    bmp
}

/// What an image's answer begins with; LENGTH is its length.
const HEAD: &str = "HTTP/1.1 200 OK\nContent-Length: LENGTH\n\n";

/// An image with zeros behind it.
fn exactly(length: usize) -> Vec<u8> {
    let mut body = image_for(&faulty());
    body.resize(length, 0);
    body
}

/// This head, with the image behind it.
fn with_image(head: &str) -> Reply {
    let image = image_for(&faulty());
    let head = head.replace('\n', "\r\n").replace("LENGTH", &image.len().to_string());
    Reply::raw([head.into_bytes(), image].concat()).then(End::KeepAlive)
}

fn too_much() -> Reply {
    let image = image_for(&faulty());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", image.len());
    Reply::raw([head.into_bytes(), image, b"and more".repeat(99)].concat()).then(End::KeepAlive)
}

/// An object that is stored gzipped, without its last bytes.
fn gzipped(body: &[u8], less: usize) -> Reply {
    packed(body, less).header("Content-Encoding", "gzip")
}

/// The same, and not a word of it.
fn packed(body: &[u8], less: usize) -> Reply {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).unwrap();
    let packed = packed.finish().unwrap();
    Reply::bytes(200, "image/jpeg", &packed[..packed.len() - less])
}

fn folded_length() -> Reply {
    let image = image_for(&faulty());
    let (front, end) = (image.len() / 10, image.len() % 10);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {front}\r\n {end}\r\n\r\n");
    Reply::raw([head.as_bytes(), &image].concat())
}

fn early_hint() -> Reply {
    let image = image_for(&faulty());
    let head = format!("HTTP/1.1 200 OK\r\nX: one\r\n two\r\nContent-Length: {}\r\n\r\n", image.len());
    let hint = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n y\r\n\r\n";
    Reply::raw([&hint[..], head.as_bytes(), &image].concat()).then(End::KeepAlive)
}

fn fancy_chunks() -> Reply {
    let image = image_for(&faulty());
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:X};name=\"value\"\r\n", image.len());
    Reply::raw([head.as_bytes(), &image, b"\r\n000;last\r\nX-Checksum: 1234\r\n\r\n"].concat()).then(End::KeepAlive)
}
