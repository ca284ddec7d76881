//! The origin: one attempt at one URL, from the request to a body whose framing was complete.
//!
//! This folder alone names ureq and rustls. It follows redirects itself, because ureq would follow one to
//! http and take our secrets along; it drains what it does not keep, because a connection with a rest in it is
//! lost; and it gives every way of going wrong its kind. It does not know what an image is, nor files, nor rows.

mod again;
mod attempt;
mod declared;
mod dial;
mod encoding;
mod head;
mod heard;
mod names;
mod proxies;
mod redirect;
mod roots;
mod said;
mod tls;
mod trust;
mod url;
mod wire;
mod words;

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use ureq::http::{Uri, Version};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use crate::error::{Error, Result};
use crate::failure::{Failure, Kind};

pub use proxies::{Proxies, ProxyUrl};
pub use roots::{Identity, Pem, Roots};
pub use said::Said;
pub use url::parse_url;

/// How much of a body that is not wanted is read to keep its connection.
const DRAIN: u64 = 256 * 1024;
/// How far ahead of what has come space for a body is made, whatever its length is said to be.
const AHEAD: usize = 1 << 20;
/// How long an idle connection is kept: longer than any back-off or cool-down.
const IDLE: Duration = Duration::from_secs(330);
/// Header lines of a request that decide how it is framed, or what toller relies on.
const RESERVED: [&str; 6] = ["accept-encoding", "connection", "content-length", "host", "range", "transfer-encoding"];

/// What the origin has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections kept, one for each worker.
    pub workers: usize,
    /// For one attempt, from connect to last byte.
    pub timeout: Duration,
    /// For connecting, the handshake included.
    pub connect_timeout: Duration,
    /// A larger body is a failure.
    pub max_bytes: u64,
    /// Sent to one origin only.
    pub headers: Vec<(String, String)>,
    /// A URL of that origin; without it, that of each URL that is asked for.
    pub headers_to: Option<String>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Whom to trust.
    pub roots: Roots,
    /// Who the client is, where an origin asks.
    pub identity: Option<Identity>,
    /// Through whom to go.
    pub proxies: Proxies,
}

/// How the end of a body that was kept is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length or chunks were complete (RFC 9112, section 6.3).
    Complete,
    /// Nothing but the connection's end tells, which ends a cut body too.
    CloseDelimited,
}

/// What an attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// A body.
    Body(Framing, Said),
    /// What is known is still what the origin has.
    NotModified,
}

/// The HTTP side: one Agent that all workers share.
#[derive(Debug)]
pub struct Origin {
    agent: Agent,
    shared: Arc<wire::Shared>,
    headers: HeaderMap,
    headers_to: Option<Uri>,
    timeout: Duration,
    connect_timeout: Duration,
    max_bytes: u64,
    workers: usize,
    warning: Option<String>,
    /// Hosts to which redirects have led images home.
    targets: Mutex<HashSet<Box<str>>>,
}

/// What one exchange gave.
enum Answer {
    Delivered(Delivered),
    Redirect(Vec<u8>),
}

impl Origin {
    /// Makes the Agent; connects to nobody yet.
    ///
    /// # Errors
    /// Trust roots, a proxy or a header that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let routes = proxies::Routes::new(&settings.proxies)?;
        let (certificates, warning) = roots::certificates(&settings.roots)?;
        let identity = settings.identity.as_ref().map(roots::identity).transpose()?;
        let config = Agent::config_builder()
            .proxy(routes.https().cloned())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&*settings.user_agent)
            .accept_encoding("identity")
            .timeout_global(Some(settings.timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .max_idle_connections_per_host(settings.workers)
            .max_idle_connections(settings.workers * 4)
            .max_idle_age(IDLE)
            .build();
        let shared = Arc::new(wire::Shared::new(routes));
        let tls = tls::Tls::new(Arc::clone(&shared), certificates, identity)
            .map_err(|cause| Error::new("client certificate", "--cert", words::tls_words(&cause, "")))?;
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(dial::Dial(Arc::clone(&shared)))
                .chain(tls)
                .chain(heard::Listen(Arc::clone(&shared)));
        let agent = Agent::with_parts(config, connector, names::Names(Arc::clone(&shared)));
        let headers_to = settings.headers_to.as_deref().map(parse_url).transpose();
        let headers_to = headers_to.map_err(|failure| Error::usage("--url", failure.message))?;
        Ok(Self {
            agent,
            shared,
            headers: header_map(&settings.headers)?,
            headers_to,
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            max_bytes: settings.max_bytes,
            workers: settings.workers,
            warning,
            targets: Mutex::default(),
        })
    }

    /// Something the user should know about whom this trusts.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The longest body that is no failure.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Requests sent so far, retries and redirects too.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// TCP connections opened so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Ends whatever waits for the network, in whatever thread; every later attempt fails.
    pub fn shut_down(&self) {
        self.shared.close();
        self.agent.clone().shutdown();
    }

    fn answer(
        &self,
        response: ureq::http::Response<ureq::Body>,
        uri: &Uri,
        body: &mut Vec<u8>,
    ) -> std::result::Result<Answer, Failure> {
        let (head, mut rest) = response.into_parts();
        if head.status.as_u16() != 200 {
            // Drained for the connection's sake; what goes wrong here changes nothing about the answer.
            let _ = std::io::copy(&mut rest.as_reader().take(DRAIN), &mut std::io::sink());
        }
        match head.status.as_u16() {
            200 => self.take(head.version, &head.headers, &mut rest, body).map(Answer::Delivered),
            304 => Ok(Answer::Delivered(Delivered::NotModified)),
            status @ (301 | 302 | 303 | 307 | 308) => match head.headers.get(LOCATION) {
                Some(location) => Ok(Answer::Redirect(location.as_bytes().to_vec())),
                None => Err(Failure::new(Kind::Redirect, "it has no Location").with_status(status)),
            },
            407 if self.shared.routes.relay(uri).is_some() => {
                Err(Failure::new(Kind::Connect, "proxy: it wants a name and a password that it knows").with_status(407))
            }
            status => {
                let wait = again::after(status, &head.headers, SystemTime::now());
                let reason = head.status.canonical_reason().unwrap_or_default();
                Err(Failure::of_status(status, reason, wait))
            }
        }
    }

    /// Takes a body in: read, held against the origin's own word, unpacked.
    fn take(
        &self,
        version: Version,
        headers: &HeaderMap,
        rest: &mut ureq::Body,
        body: &mut Vec<u8>,
    ) -> std::result::Result<Delivered, Failure> {
        let framing = framing(version, headers);
        self.read_body(rest, body)?;
        if framing == Framing::Complete && body.is_empty() {
            declared::proof(headers, None, body, None)?;
            return Err(Failure::new(Kind::Empty, "a body of no bytes").with_status(200));
        }
        let unpacked = match encoding::unpacked(headers, body, self.max_bytes) {
            // What cannot be unpacked, or is nothing then, may be so because it was damaged, which the digest tells.
            Err(failure) if failure.kind != Kind::TooLarge => {
                let nothing = (failure.kind == Kind::Empty).then_some(&[][..]);
                declared::proof(headers, None, body, nothing)?;
                let cut = failure.kind == Kind::NotAnImage && framing == Framing::CloseDelimited;
                return Err(if cut { Failure { kind: Kind::Truncated, ..failure } } else { failure });
            }
            other => other?,
        };
        let mut said = Said::of(headers);
        said.proof = declared::proof(headers, said.etag.as_deref(), body, unpacked.as_deref())?;
        let Some(unpacked) = unpacked else {
            said.encoding = encoding::unknown(headers);
            return Ok(Delivered::Body(framing, said));
        };
        *body = unpacked;
        Ok(Delivered::Body(Framing::Complete, said))
    }

    fn read_body(&self, rest: &mut ureq::Body, body: &mut Vec<u8>) -> std::result::Result<(), Failure> {
        let too_large = || Failure::new(Kind::TooLarge, format!("more than {} bytes", self.max_bytes)).with_status(200);
        let length = rest.content_length();
        if length.is_some_and(|length| length > self.max_bytes) {
            return Err(too_large());
        }
        let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(32 * 1024);
        let reader = rest.as_reader().take(self.max_bytes.saturating_add(1));
        read_whole(reader, expected, body).map_err(|error| {
            if error.kind() == std::io::ErrorKind::OutOfMemory {
                let cause = format!("no memory for more than {} of its bytes", body.len());
                return Failure::new(Kind::TooLarge, cause).with_status(200);
            }
            self.classify_body(error.into(), body.len()).with_status(200)
        })?;
        if body.len() as u64 > self.max_bytes {
            return Err(too_large());
        }
        Ok(())
    }
}

/// How the end of this answer's body will be known. A transfer coding that ureq does not undo leaves its length without a
/// meaning, and says nothing of the end (RFC 9112, sections 6.1 and 6.3).
fn framing(version: Version, headers: &HeaderMap) -> Framing {
    let lines = headers.get_all(TRANSFER_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let all = lines.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    let mut codings = all.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "identity")).peekable();
    let complete = match codings.peek() {
        None => headers.contains_key(CONTENT_LENGTH),
        // As the parser has it, which undoes nothing in an answer of HTTP/1.0.
        Some(_) => version != Version::HTTP_10 && codings.all(|word| word == "chunked"),
    };
    if complete { Framing::Complete } else { Framing::CloseDelimited }
}

/// Reads to the end, in place of what is in `body`; at an error too, `body` is what was read. A refusal of memory is one.
///
/// As `read_to_end`, but that zeroes all the space that a body may take; here what held the last one does for the next.
/// What is expected is somebody's word, so space grows with what arrives.
fn read_whole(mut reader: impl Read, expected: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
    let mut filled = 0;
    let result = loop {
        if filled == body.len() {
            // One more than is said, so that the end is seen without growing.
            let more = if filled > expected { filled } else { (expected - filled).saturating_add(1) }.min(AHEAD);
            if body.try_reserve_exact(more).is_err() {
                break Err(std::io::ErrorKind::OutOfMemory.into());
            }
            body.resize(filled + more, 0);
        }
        match reader.read(&mut body[filled..]) {
            Ok(0) => break Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    body.truncate(filled);
    result
}

/// Takes the header lines that the user gave.
fn header_map(lines: &[(String, String)]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        // The value may be a secret; only the name is repeated.
        let error = |cause: &str| Error::usage(format!("--header '{name}'"), cause);
        let key = HeaderName::try_from(name.as_str()).map_err(|_| error("not a header's name"))?;
        if RESERVED.contains(&key.as_str()) {
            return Err(error("toller sets this one itself"));
        }
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| error("not a header's value"))?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    // Set here too, since a map of our own keeps ureq from adding its own lines only where they are missing.
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(map)
}

#[cfg(test)]
mod tests;
