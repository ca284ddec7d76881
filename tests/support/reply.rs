//! What the test origin answers, as data: a good image unless told otherwise, and every way in which an
//! origin, a CDN or the network between has been seen to go wrong.

use super::pictures::{image_for, small_image_for};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::time::Duration;

/// What happens to the connection after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    KeepAlive,
    /// A proper end: close_notify, then FIN. Nothing announces it but a header you add.
    Close,
    /// FIN without close_notify, as when a server process dies.
    Drop,
    /// RST.
    Reset,
    /// Stays open and silent for so long, then `Close`.
    CloseAfter(Duration),
    /// Stays open and silent for so long, then sends another image that nobody has asked for.
    Unasked(Duration),
    /// Stays open and silent for ever.
    Hang,
}

#[derive(Clone, Debug)]
enum Body {
    /// The image of the GUID that was asked for.
    Image,
    Bytes(Vec<u8>),
    /// Not HTTP: these bytes and nothing else, head included.
    Raw(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    /// A Content-Length that may be a lie.
    Claimed(u64),
    Chunked,
    /// Neither length nor chunks: the end of the connection is the end of the body.
    UntilClose,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    Head(usize),
    Body(usize),
    Tail(usize),
}

/// Payload bytes in each chunk of a chunked body; with its size line and line ends a full one takes 8 more.
pub const CHUNK: usize = 4096;

#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    framing: Framing,
    cut: Cut,
    gzip: bool,
    endless: bool,
    pub(super) delay: Duration,
    pub(super) drip: Option<Duration>,
    pub(super) end: End,
}

/// What is sent: all of it at once, or the part before `drip_from` at once and the rest byte by byte.
pub(super) struct Rendered {
    pub bytes: Vec<u8>,
    pub drip_from: usize,
    /// Sent again and again after `bytes`, until the client has had enough.
    pub forever: Option<Vec<u8>>,
}

impl Reply {
    /// 200 and the right image for whatever GUID was asked for.
    pub fn image() -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type".into(), "image/jpeg".into())],
            body: Body::Image,
            framing: Framing::Length,
            cut: Cut::Nowhere,
            gzip: false,
            endless: false,
            delay: Duration::ZERO,
            drip: None,
            end: End::KeepAlive,
        }
    }

    /// A status with a short page of text, as error pages are; 204 and 304 come without one.
    pub fn status(status: u16) -> Self {
        Self::bytes(status, "text/plain", format!("this is a {status}\n"))
    }

    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: Body::Bytes(body.into()),
            ..Self::image()
        }
    }

    /// The page that a captive portal or a soft 404 sends with status 200.
    pub fn html() -> Self {
        let page = "<!DOCTYPE html><html><body><h1>Sorry</h1></body></html>\n".repeat(40);
        Self::bytes(200, "text/html", page)
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    /// These bytes in place of a response; then the connection ends properly.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: Body::Raw(bytes.into()), end: End::Close, ..Self::image() }
    }

    /// Reads the request and closes; `.then(End::Reset)` for the rude form.
    pub fn nothing() -> Self {
        Self::raw([])
    }

    /// Reads the request and never answers.
    pub fn silence() -> Self {
        Self::raw([]).then(End::Hang)
    }

    /// A status line, then header lines for ever.
    pub fn endless_headers() -> Self {
        Self { endless: true, ..Self::raw("HTTP/1.1 200 OK\r\n") }
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn many_headers(mut self, count: usize) -> Self {
        self.headers.extend((0..count).map(|n| (format!("X-Header-{n}"), "v".into())));
        self
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("Retry-After", &seconds.to_string())
    }

    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// No Content-Length, no chunks: the body lasts until the connection ends.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.then(End::Close)
    }

    /// Claims this Content-Length, whatever the body is.
    pub fn claiming(mut self, length: u64) -> Self {
        self.framing = Framing::Claimed(length);
        self
    }

    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self.header("Content-Encoding", "gzip")
    }

    /// The body never ends.
    pub fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Sends only the first `n` bytes of the head, then closes (or what `then` says, if it comes later).
    pub fn cut_head(mut self, n: usize) -> Self {
        self.cut = Cut::Head(n);
        self.then(End::Close)
    }

    /// Sends the head and only `n` bytes of what follows it, then closes. Sizes of chunks count.
    pub fn cut_body(mut self, n: usize) -> Self {
        self.cut = Cut::Body(n);
        self.then(End::Close)
    }

    /// Sends everything but the last `n` bytes, then closes.
    pub fn cut_tail(mut self, n: usize) -> Self {
        self.cut = Cut::Tail(n);
        self.then(End::Close)
    }

    pub fn then(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Says `Connection: close` and does it.
    pub fn closing(self) -> Self {
        self.header("Connection", "close").then(End::Close)
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The head at once, then a byte of the body each `pause`.
    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    pub(super) fn render(&self, guid: &str, small: bool) -> Rendered {
        let (head, body) = match &self.body {
            Body::Raw(bytes) => (Vec::new(), bytes.clone()),
            Body::Bytes(bytes) => self.framed(bytes.clone()),
            Body::Image if small => self.framed(small_image_for(guid)),
            Body::Image => self.framed(image_for(guid)),
        };
        let head_length = head.len();
        let mut bytes = head;
        bytes.extend_from_slice(&body);
        bytes.truncate(match self.cut {
            Cut::Nowhere => bytes.len(),
            Cut::Head(n) => n.min(head_length),
            Cut::Body(n) => head_length + n,
            Cut::Tail(n) => bytes.len().saturating_sub(n),
        });
        let forever = self.endless.then(|| match (&self.body, self.framing) {
            (Body::Raw(_), _) => b"X-Filler: filling, filling, filling\r\n".repeat(400),
            (_, Framing::Chunked) => chunk(&[0; CHUNK]).repeat(4),
            _ => vec![0; 4 * CHUNK],
        });
        Rendered { drip_from: head_length.min(bytes.len()), bytes, forever }
    }

    fn framed(&self, mut body: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        if self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body).expect("memory can be written to");
            body = encoder.finish().expect("memory can be written to");
        }
        let bodyless = matches!(self.status, 204 | 304);
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.framing {
            _ if bodyless => body.clear(),
            Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            Framing::Claimed(n) => head.push_str(&format!("Content-Length: {n}\r\n")),
            Framing::UntilClose => {}
            Framing::Chunked => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                body = body.chunks(CHUNK).flat_map(chunk).collect();
                if !self.endless {
                    body.extend_from_slice(b"0\r\n\r\n");
                }
            }
        }
        head.push_str("\r\n");
        (head.into_bytes(), body)
    }
}

fn chunk(payload: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", payload.len()).into_bytes();
    chunk.extend_from_slice(payload);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
