//! The fault matrix: every way in which an origin has been seen to go wrong, and what must come of it. Each row
//! is a run of the real program over four images, one after another on one worker, of which the second meets the
//! fault; the other three must never notice.

use crate::support::{End, Env, Origin, Reply, guid, guids, image_for};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// Rows that are tried at once: some of them only wait.
const ABREAST: usize = 6;

/// What is left under final names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    /// The three images that met no fault.
    Three,
    All,
}
use Files::{All, Three};

/// Whether it is worth asking again: the column `permanent`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Passes,
    Lasts,
    /// No failure at all.
    Fine,
}
use Lasting::{Fine, Lasts, Passes};

struct Row {
    fault: &'static str,
    reply: Reply,
    kind: &'static str,
    /// 0 where no response head came; -1 where more than one did.
    status: i32,
    lasting: Lasting,
    files: Files,
    code: i32,
    /// `--timeout` in seconds.
    timeout: &'static str,
    /// At the most. One is what a fault costs that leaves its connection whole, two what one costs that does
    /// not, three when the program cannot tell it from an idle connection that was closed, and has to try.
    connections: usize,
}

/// The image that meets the fault.
fn faulty() -> String {
    guid(1)
}

#[rustfmt::skip]
fn matrix() -> Vec<Row> {
    let row = |fault, reply, kind, status, lasting, files, code, connections| {
        Row { fault, reply, kind, status, lasting, files, code, timeout: "20", connections }
    };
    let late = |fault, reply, kind, status, lasting, files, code, connections| {
        Row { fault, reply, kind, status, lasting, files, code, timeout: "1", connections }
    };
    let image = || image_for(&faulty());
    let length = image().len();
    let html = |status| Reply::html().with_status(status);
    let jpeg = |body: &[u8]| Reply::bytes(200, "image/jpeg", body);
    let raw = |head: &str| Reply::raw(head.replace('\n', "\r\n"));
    let second = Duration::from_secs(1);
    let tenth = Duration::from_millis(100);
    vec![
        //  fault                                   what the origin does                              kind           status  lasting files code conns
        // Statuses. The connection survives all of them.
        row("400 Bad Request",                      Reply::status(400),                               "http_status",   400, Lasts,  Three, 4, 1),
        row("401 Unauthorized",                     Reply::status(401),                               "forbidden",     401, Lasts,  Three, 4, 1),
        row("402 Payment Required",                 Reply::status(402),                               "http_status",   402, Lasts,  Three, 4, 1),
        row("403 Forbidden",                        Reply::status(403),                               "forbidden",     403, Lasts,  Three, 4, 1),
        row("404 Not Found",                        Reply::status(404),                               "not_found",     404, Lasts,  Three, 4, 1),
        row("404 with a long chunked page",         html(404).chunked(),                              "not_found",     404, Lasts,  Three, 4, 1),
        row("404 with a page without end",          html(404).chunked().endless(),                    "not_found",     404, Lasts,  Three, 4, 2),
        row("404 with a page that is cut",          html(404).cut_body(99),                           "not_found",     404, Lasts,  Three, 4, 2),
        row("404 with an image",                    Reply::image().with_status(404),                  "not_found",     404, Lasts,  Three, 4, 1),
        row("408 Request Timeout",                  Reply::status(408),                               "http_status",   408, Passes, Three, 3, 1),
        row("410 Gone",                             Reply::status(410),                               "not_found",     410, Lasts,  Three, 4, 1),
        row("416 Range Not Satisfiable",            Reply::status(416),                               "http_status",   416, Lasts,  Three, 4, 1),
        row("418 I'm a teapot",                     Reply::status(418),                               "http_status",   418, Lasts,  Three, 4, 1),
        row("429 Too Many Requests",                Reply::status(429),                               "rate_limited",  429, Passes, Three, 3, 1),
        row("451 For Legal Reasons",                Reply::status(451),                               "http_status",   451, Lasts,  Three, 4, 1),
        row("500 Internal Server Error",            Reply::status(500),                               "server_error",  500, Passes, Three, 3, 1),
        row("501 Not Implemented",                  Reply::status(501),                               "server_error",  501, Passes, Three, 3, 1),
        row("502 Bad Gateway",                      Reply::status(502),                               "server_error",  502, Passes, Three, 3, 1),
        row("503 Service Unavailable",              Reply::status(503),                               "server_error",  503, Passes, Three, 3, 1),
        row("503 with Retry-After that means none", Reply::status(503).header("Retry-After", "soon"), "server_error",  503, Passes, Three, 3, 1),
        row("504 Gateway Timeout",                  Reply::status(504),                               "server_error",  504, Passes, Three, 3, 1),
        row("599, which nobody knows",              Reply::status(599),                               "server_error",  599, Passes, Three, 3, 1),
        row("500 that closes, as it says",          Reply::status(500).closing(),                     "server_error",  500, Passes, Three, 3, 2),
        row("201 with an image",                    Reply::image().with_status(201),                  "http_status",   201, Lasts,  Three, 4, 1),
        row("203 with an image",                    Reply::image().with_status(203),                  "http_status",   203, Lasts,  Three, 4, 1),
        row("204 No Content",                       Reply::status(204),                               "http_status",   204, Lasts,  Three, 4, 1),
        row("206 with a whole image",               Reply::image().with_status(206),                  "http_status",   206, Lasts,  Three, 4, 1),
        row("304 Not Modified",                     Reply::status(304),                               "http_status",   304, Lasts,  Three, 4, 1),
        row("300 with a page",                      html(300),                                        "http_status",   300, Lasts,  Three, 4, 1),
        // Redirects. /hop/N leads to /hop/0 in N steps, and that is the image.
        row("five redirects",                       Reply::redirect(302, "/hop/4"),                   "",                0, Fine,   All,   0, 1),
        row("a redirect with a page without end",   Reply::redirect(302, "/hop/0").chunked().endless(), "",              0, Fine,   All,   0, 2),
        row("six redirects",                        Reply::redirect(302, "/hop/5"),                   "redirect",       -1, Lasts,  Three, 4, 1),
        row("a loop of two",                        Reply::redirect(301, "/loop"),                    "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to itself",                 Reply::redirect(307, ""),                         "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to http",                   Reply::redirect(301, "http://localhost/x.jpg"),   "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to a file",                 Reply::redirect(301, "file:///etc/passwd"),       "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to nonsense",               Reply::redirect(308, "http://[oops"),             "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to nowhere",                Reply::status(302),                               "redirect",       -1, Lasts,  Three, 4, 1),
        row("a redirect to what is not there",      Reply::redirect(303, "/nothing"),                 "not_found",     404, Lasts,  Three, 4, 1),
        // 200, delivered whole, and not a whole image.
        row("a page with status 200",               Reply::html(),                                    "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a page that claims to be a JPEG",      jpeg(b"<html>Sorry</html>"),                      "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a JSON error",                         Reply::bytes(200, "application/json", "{}"),      "not_an_image",  200, Lasts,  Three, 4, 1),
        row("no bytes",                             jpeg(b""),                                        "empty",         200, Lasts,  Three, 4, 1),
        row("no bytes in chunks",                   jpeg(b"").chunked(),                              "empty",         200, Lasts,  Three, 4, 1),
        row("a JPEG that was stored cut",           jpeg(&image()[..length / 2]),                     "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a JPEG without its last byte",         jpeg(&image()[..length - 1]),                     "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a JPEG without its first byte",        jpeg(&image()[1..]),                              "not_an_image",  200, Lasts,  Three, 4, 1),
        row("zeros",                                jpeg(&[0; 20_000]),                               "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a PNG that ends in its header",        jpeg(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),         "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a BMP without its last row",           jpeg(&bmp()[..62]),                               "not_an_image",  200, Lasts,  Three, 4, 1),
        row("an AVIF that ends in its first box",   jpeg(b"\0\0\0\x14ftypavif\0\0\0\0mif1"),           "not_an_image",  200, Lasts,  Three, 4, 1),
        row("a drawing",                            Reply::bytes(200, "image/svg+xml", "<svg></svg>"),  "not_an_image",  200, Lasts,  Three, 4, 1),
        row("gzip, though identity was asked for",  Reply::image().gzip(),                            "",                0, Fine,   All,   0, 1),
        row("gzip in chunks",                       Reply::image().gzip().chunked(),                  "",                0, Fine,   All,   0, 1),
        row("gzip that only says so",               Reply::image().header("Content-Encoding", "gzip"), "",               0, Fine,   All,   0, 1),
        row("gzip that was stored cut",             gzipped(&image(), 9),                             "truncated",     200, Passes, Three, 3, 1),
        row("gzip of more than is allowed",         gzipped(&vec![0; 10_000_000], 0),                 "too_large",     200, Lasts,  Three, 4, 1),
        row("gzip of nothing",                      gzipped(b"", 0),                                  "empty",         200, Lasts,  Three, 4, 1),
        row("an encoding that toller does not know", Reply::image().header("Content-Encoding", "br"), "not_an_image",  200, Lasts,  Three, 4, 1),
        row("less announced than there is",         Reply::image().claiming(500).then(End::Close),    "not_an_image",  200, Lasts,  Three, 4, 2),
        row("less announced, the rest following",   Reply::image().claiming(500),                     "not_an_image",  200, Lasts,  Three, 4, 2),
        row("a body over --max-bytes",              jpeg(&[0xff; 100_001]),                           "too_large",     200, Lasts,  Three, 4, 2),
        row("chunks over --max-bytes",              jpeg(&[0xff; 100_001]).chunked(),                 "too_large",     200, Lasts,  Three, 4, 2),
        row("a terabyte, as it says",               Reply::image().claiming(1 << 40).endless(),       "too_large",     200, Lasts,  Three, 4, 2),
        row("chunks without end",                   Reply::image().chunked().endless(),               "too_large",     200, Lasts,  Three, 4, 2),
        row("a body without length or end",         Reply::image().until_close().endless(),           "too_large",     200, Lasts,  Three, 4, 2),
        // Cut inside the body.
        row("cut after the head",                   Reply::image().cut_body(0),                       "truncated",     200, Passes, Three, 3, 2),
        row("cut inside the body",                  Reply::image().cut_body(5000),                    "truncated",     200, Passes, Three, 3, 2),
        row("cut without a word",                   Reply::image().cut_body(5000).then(End::Drop),    "truncated",     200, Passes, Three, 3, 2),
        row("reset inside the body",                Reply::image().cut_body(5000).then(End::Reset),   "truncated",     200, Passes, Three, 3, 2),
        row("without its last byte",                Reply::image().cut_tail(1),                       "truncated",     200, Passes, Three, 3, 2),
        row("more announced than there is",         Reply::image().claiming(90_000).then(End::Close), "truncated",     200, Passes, Three, 3, 2),
        row("cut inside a chunk",                   Reply::image().chunked().cut_body(5000),          "truncated",     200, Passes, Three, 3, 2),
        row("cut between two chunks",               Reply::image().chunked().cut_body(4096 + 8),      "truncated",     200, Passes, Three, 3, 2),
        row("without the last chunk",               Reply::image().chunked().cut_tail(5),             "truncated",     200, Passes, Three, 3, 2),
        row("cut, and delimited by the end",        Reply::image().until_close().cut_body(5000),      "truncated",     200, Passes, Three, 3, 2),
        row("nearly whole, delimited by the end",   Reply::image().until_close().cut_tail(1),         "truncated",     200, Passes, Three, 3, 2),
        row("a page, delimited by the end",         Reply::html().until_close(),                      "truncated",     200, Passes, Three, 3, 2),
        row("a GIF that does not say where it ends", jpeg(GIF).until_close(),                         "truncated",     200, Passes, Three, 3, 2),
        // Before a whole head.
        row("closed instead of an answer",          Reply::nothing(),                                 "connect",         0, Passes, Three, 3, 3),
        row("dropped instead of an answer",         Reply::nothing().then(End::Drop),                 "connect",         0, Passes, Three, 3, 3),
        row("reset instead of an answer",           Reply::nothing().then(End::Reset),                "connect",         0, Passes, Three, 3, 3),
        row("closed inside the head",               Reply::image().cut_head(30),                      "connect",         0, Passes, Three, 3, 2),
        row("reset inside the head",                Reply::image().cut_head(30).then(End::Reset),     "connect",         0, Passes, Three, 3, 2),
        // Not HTTP.
        row("garbage",                              raw("What do you want?\n\n"),                     "protocol",        0, Passes, Three, 3, 2),
        row("binary garbage",                       Reply::raw([0x80, 0, 255, 13, 10, 13, 10].repeat(9)), "protocol",    0, Passes, Three, 3, 2),
        row("another protocol",                     raw("SSH-2.0-OpenSSH_9.6\n\n"),                   "protocol",        0, Passes, Three, 3, 2),
        row("a status that is no number",           raw("HTTP/1.1 abc OK\nContent-Length: 0\n\n"),    "protocol",        0, Passes, Three, 3, 2),
        row("a header without a colon",             raw("HTTP/1.1 200 OK\nnonsense\n\n"),             "protocol",        0, Passes, Three, 3, 2),
        row("two lengths that differ",              raw("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nab"), "protocol", -1, Passes, Three, 3, 2),
        row("a length that is no number",           raw("HTTP/1.1 200 OK\nContent-Length: many\n\nab"),   "protocol",   -1, Passes, Three, 3, 2),
        row("a chunk that is none",                 raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n\n"), "protocol", -1, Passes, Three, 3, 2),
        row("a length in two lines",                folded_length(),                                  "protocol",        0, Passes, Three, 3, 2),
        row("HTTP/2, which nobody asked for",       Reply::raw([0, 0, 0, 4, 0, 0, 0, 0, 0]),          "protocol",        0, Passes, Three, 3, 2),
        row("too many headers",                     Reply::image().many_headers(1000),                "protocol",        0, Passes, Three, 3, 2),
        row("too large a header",                   Reply::image().header("X", &"x".repeat(100_000)), "protocol",        0, Passes, Three, 3, 2),
        row("headers without end",                  Reply::endless_headers(),                         "protocol",        0, Passes, Three, 3, 2),
        // Too slow for a --timeout of one second.
        late("silence",                             Reply::silence(),                                 "timeout",         0, Passes, Three, 3, 2),
        late("an answer that comes too late",       Reply::image().after(3 * second),                 "timeout",         0, Passes, Three, 3, 2),
        late("a head, a byte at a time",            raw("HTTP/1.1 200 OK\nX: xxxxxxxx").drip(tenth),  "timeout",         0, Passes, Three, 3, 2),
        late("a body, a byte at a time",            Reply::image().drip(tenth),                       "timeout",       200, Passes, Three, 3, 2),
        late("chunks, a byte at a time",            Reply::image().chunked().drip(tenth),             "timeout",       200, Passes, Three, 3, 2),
        late("a body that stops half way",          Reply::image().cut_body(5000).then(End::Hang),    "timeout",       200, Passes, Three, 3, 2),
        late("a body without end that stops",       Reply::image().until_close().then(End::Hang),     "timeout",       200, Passes, Three, 3, 2),
        late("a redirect that goes slow",           Reply::redirect(302, "/slow"),                    "timeout",        -1, Passes, Three, 3, 2),
        late("a 404 whose page stops half way",     html(404).cut_body(99).then(End::Hang),           "not_found",     404, Lasts,  Three, 4, 2),
        // Odd, and no fault at all.
        row("chunks",                               Reply::image().chunked(),                         "",                0, Fine,   All,   0, 1),
        row("an image called text",                 Reply::bytes(200, "text/html", image()),          "",                0, Fine,   All,   0, 1),
        row("bytes after the image's end",          jpeg(&[image(), vec![0; 99]].concat()),           "",                0, Fine,   All,   0, 1),
        row("a body of just --max-bytes",           jpeg(&exactly(100_000)),                          "",                0, Fine,   All,   0, 1),
        row("no reason and small letters",          with_image(&HEAD.replace(" OK", "").replace("Content-L", "content-l")), "", 0, Fine, All, 0, 1),
        row("a header that is not ASCII",           Reply::image().header("X-Place", "Zürich"),       "",                0, Fine,   All,   0, 1),
        row("chunks with extensions and trailers",  fancy_chunks(),                                   "",                0, Fine,   All,   0, 2),
        row("a slow answer",                        Reply::image().after(3 * tenth),                  "",                0, Fine,   All,   0, 1),
        row("a header in two lines",                Reply::image().header("X", "one\r\n two\r\n\tthree"), "",             0, Fine,   All,   0, 1),
        row("a control character in a header",      Reply::image().header("X", "one\u{1}two"),         "",                0, Fine,   All,   0, 1),
        row("a space in a header's name",           Reply::image().header("X Y", "one"),              "",                0, Fine,   All,   0, 1),
        row("a header without a name",              Reply::image().header("", "one"),                 "",                0, Fine,   All,   0, 1),
        row("an early hint in two lines",           early_hint(),                                     "",                0, Fine,   All,   0, 1),
        row("a redirect with blanks and brackets",  Reply::redirect(302, " /hop/a b|[]{}\"<>^`ü "),   "",                0, Fine,   All,   0, 1),
        row("a hundred headers",                    Reply::image().many_headers(100),                 "",                0, Fine,   All,   0, 1),
        row("a close that was announced",           Reply::image().closing(),                         "",                0, Fine,   All,   0, 2),
        row("a close that was not",                 Reply::image().then(End::Close),                  "",                0, Fine,   All,   0, 2),
        row("a reset after the image",              Reply::image().then(End::Reset),                  "",                0, Fine,   All,   0, 2),
        row("an image delimited by the end",        Reply::image().until_close(),                     "",                0, Fine,   All,   0, 2),
        row("more than was announced",              too_much(),                                       "",                0, Fine,   All,   0, 2),
        row("HTTP/1.0",                             with_image("HTTP/1.0 200 OK\n\n").then(End::Close), "",                0, Fine,   All,   0, 2),
        row("early hints",                          with_image(&format!("HTTP/1.1 103 Early Hints\nLink: </x>\n\n{HEAD}")), "", 0, Fine, All, 0, 1),
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
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body).unwrap();
    let packed = packed.finish().unwrap();
    Reply::bytes(200, "image/jpeg", &packed[..packed.len() - less]).header("Content-Encoding", "gzip")
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

/// An origin with the addresses that the matrix redirects to.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.on("/hop/0", [Reply::bytes(200, "image/jpeg", image_for(&faulty()))]);
    let odd = "/hop/a%20b%7C%5B%5D%7B%7D%22%3C%3E%5E%60%C3%BC";
    origin.on(odd, [Reply::bytes(200, "image/jpeg", image_for(&faulty()))]);
    for n in 1..9 {
        origin.on(&format!("/hop/{n}"), [Reply::redirect(302, &format!("/hop/{}", n - 1))]);
    }
    origin.on("/loop", [Reply::redirect(301, "/loop/back")]);
    origin.on("/loop/back", [Reply::redirect(301, "/loop")]);
    origin.on("/slow", [Reply::image().after(Duration::from_secs(3))]);
    origin
}

/// A warehouse of four images, made once and copied for each row.
fn four() -> Env {
    static WAREHOUSE: OnceLock<Vec<u8>> = OnceLock::new();
    let env = Env::new();
    let warehouse = WAREHOUSE.get_or_init(|| std::fs::read(Env::with(&guids(4)).warehouse()).unwrap());
    env.write("warehouse.duckdb", warehouse);
    env
}

impl Row {
    fn check(&self) {
        let (env, origin) = (four(), origin());
        origin.on(&faulty(), [self.reply.clone()]);
        let fetch = env.fetch(&origin).args(["--workers", "1", "--retries", "0", "--max-bytes", "100k"]);
        let out = fetch.args(["--timeout", self.timeout, "--json"]).run().expect(self.code);
        assert!(!out.stderr.contains("panicked"), "{}", out.report());
        // All at once, since opening a warehouse is what takes the time here.
        let found = env.query(
            "SELECT status, connections, requests, (SELECT string_agg(source_image_id, ' ' ORDER BY rowid)
                FROM dim_image WHERE thumb_downloaded), source_image_id, kind, coalesce(http_status, 0), permanent,
                attempts, message <> '' FROM run_manifest LEFT JOIN thumb_failure ON true",
        );
        let [found] = &found[..] else { panic!("one run and one failure at the most: {found:?}") };

        let status = if self.status < 0 { found[6].clone() } else { self.status.to_string() };
        let lasts = (self.lasting == Lasts).to_string();
        let failure = match self.lasting {
            Fine => ["NULL", "NULL", "0", "NULL", "NULL", "NULL"],
            Lasts | Passes => [&*faulty(), self.kind, &status, &lasts, "1", "true"],
        };
        assert_eq!(found[4..], failure, "id, kind, status, permanent, attempts, a message\n{}", out.report());

        let done: Vec<String> = guids(4).into_iter().filter(|guid| self.files == All || *guid != faulty()).collect();
        assert_eq!(found[3], done.join(" "), "what is done");
        assert_eq!(env.files(), done.iter().map(|guid| format!("{guid}.jpg")).collect());
        for guid in done {
            let file = std::fs::read(env.image(&guid)).unwrap();
            assert!(file.starts_with(&image_for(&guid)), "{guid}: {} bytes", file.len());
        }
        assert_eq!(env.leftovers(), ["lock"]);

        let (opened, most) = (origin.connections(), self.connections);
        assert!(opened <= most, "{opened} connections, {most} at the most");
        let status = if self.code == 3 { "partial" } else { "complete" };
        assert_eq!(found[..2], [status.to_owned(), opened.to_string()], "what the run says of itself");
        // One that went into a connection which was being closed, and was sent again, is one.
        let (sent, came): (usize, _) = (found[2].parse().unwrap(), origin.request_count());
        assert!(sent.abs_diff(came) <= 1, "{sent} requests sent and {came} arrived");
    }
}

#[test]
fn every_fault_has_its_kind_and_its_code_and_leaves_no_file() {
    let rows = matrix();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| row.check())).is_err() {
                        eprintln!("that was the fault: {}\n", row.fault);
                        wrong.lock().unwrap().push(row.fault);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} faults are not met as the contract says: {wrong:#?}", wrong.len(), rows.len());
}

/// A run over one image for each row that `choose` takes, on three workers, with as many retries as given.
fn run_with_all(choose: impl Fn(&Row) -> bool, cure: bool, code: i32) -> (Env, Origin, Vec<(String, Row)>) {
    let rows = matrix().into_iter().filter(choose);
    let rows: Vec<(String, Row)> = rows.enumerate().map(|(n, row)| (guid(1000 + n as u64), row)).collect();
    let ids: Vec<&String> = rows.iter().map(|(guid, _)| guid).collect();
    let (env, origin) = (Env::with(&ids), origin());
    for (guid, row) in &rows {
        let script = [row.reply.clone(), Reply::image()];
        origin.on(guid, script.into_iter().take(if cure { 2 } else { 1 }));
    }
    let fetch = env.fetch(&origin).args(["--retries", "4", "--timeout", "1", "--max-bytes", "100k", "--workers", "8"]);
    fetch.run().expect(code);
    (env, origin, rows)
}

#[test]
fn whatever_may_pass_is_cured_by_asking_again() {
    let (env, _, rows) = run_with_all(|row| row.lasting == Passes, true, 0);
    assert!(rows.len() > 30);
    let ids: Vec<&String> = rows.iter().map(|(guid, _)| guid).collect();
    env.assert_done(&ids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
}

#[test]
fn whatever_lasts_is_asked_for_once() {
    let (env, origin, rows) =
        run_with_all(|row| row.lasting == Lasts && row.kind != "redirect" && row.timeout != "1", false, 4);
    env.assert_done::<String>(&[]);
    for (guid, row) in &rows {
        let asked = origin.requests().iter().filter(|request| request.guid == *guid).count();
        assert_eq!(asked, 1, "{}", row.fault);
    }
    // And the next run has nothing to do.
    let before = origin.request_count();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count(), before);
}

#[test]
fn what_is_wrong_with_an_address_is_known_by_its_kind() {
    let origin = Origin::start();
    let nobody = {
        let gone = Origin::start();
        gone.port()
    };
    let env = Env::new();
    let good = format!("{}/good.jpg", origin.url());
    let refused = format!("https://localhost:{nobody}/x.jpg");
    let addresses = [
        ("good", good.as_str(), ""),
        ("a name that is not found", "https://no-such-host.invalid/x.jpg", "dns false"),
        ("a port where nobody is", &refused, "connect false"),
        ("an unspoken scheme", "ftp://localhost/x.jpg", "bad_url true"),
        ("no scheme", "//localhost/x.jpg", "bad_url true"),
        ("no host", "https:///x.jpg", "bad_url true"),
        ("a blank in its host", "https://local host/x.jpg", "bad_url true"),
        ("a line break in it", "https://localhost/a\r\nX-Injected: yes", "bad_url true"),
        ("nothing", "", "bad_url true"),
        ("../up", &good, "bad_guid true"),
        (".hidden", &good, "bad_guid true"),
        ("a\nb", &good, "bad_guid true"),
        ("", &good, "bad_guid true"),
    ];
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, address VARCHAR)");
    for (id, address, _) in addresses {
        env.sql(&format!("INSERT INTO dim_image VALUES ('{id}', false, '{address}')"));
    }
    let fetch = env.toller(["fetch", "--url-column", "address", "--extension", "jpg", "--retries", "0", "--warehouse"]);
    let fetch = fetch.arg(env.warehouse()).arg("--dest").arg(env.dest()).arg("--ca-cert").arg(origin.ca());
    let out = fetch.run().expect(3);
    for (id, _, wanted) in addresses.iter().skip(1) {
        let found = env.query(&format!("SELECT kind, permanent FROM thumb_failure WHERE source_image_id = '{id}'"));
        assert_eq!(found.concat().join(" "), *wanted, "{id:?}\n{}", out.report());
    }
    assert_eq!(origin.request_count(), 1);
    env.assert_done(&["good"]);
}
