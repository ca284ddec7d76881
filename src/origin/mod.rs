//! The origin: one attempt at one URL, from the request to a body whose framing was complete.
//!
//! This folder alone names ureq and rustls. It follows redirects itself, because ureq would follow one to
//! http and take our secrets along; it drains what it does not keep, because a connection with a rest in it is
//! lost; and it gives every way of going wrong its kind. It does not know what an image is, nor files, nor rows.

mod roots;
mod tls;
mod wire;
mod words;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use fluent_uri::{Uri as Reference, UriRef};
use ureq::http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, TRANSFER_ENCODING,
};
use ureq::http::{Request, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};
use ureq::{Agent, Proxy};

use crate::error::{Error, Result};
use crate::outcome::{Failure, Kind};

pub use roots::{Proxies, Roots};

/// The most redirects that are followed for one attempt.
const MOST_REDIRECTS: usize = 5;
/// How much of a body that is not wanted is read to keep its connection.
const DRAIN: u64 = 256 * 1024;
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
    /// Sent to the origin's own host only.
    pub headers: Vec<(String, String)>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Whom to trust.
    pub roots: Roots,
    /// Through whom to go.
    pub proxies: Proxies,
}

/// How the end of a body that was kept is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length or chunks were complete (RFC 9112, section 6.3).
    Complete,
    /// The connection ended, which a cut body does too.
    CloseDelimited,
}

/// The HTTP side: one Agent that all workers share.
#[derive(Debug)]
pub struct Origin {
    agent: Agent,
    shared: Arc<wire::Shared>,
    headers: HeaderMap,
    timeout: Duration,
    connect_timeout: Duration,
    max_bytes: u64,
    workers: usize,
    http_proxy: Option<Proxy>,
    warning: Option<String>,
}

/// What one exchange gave.
enum Answer {
    Body(Framing),
    Redirect(String),
}

impl Origin {
    /// Makes the Agent; connects to nobody yet.
    ///
    /// # Errors
    /// Trust roots, a proxy or a header that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let exempt = settings.proxies.exempt.as_deref();
        let proxy = roots::proxy(settings.proxies.https.as_deref(), exempt)?;
        let http_proxy = roots::proxy(settings.proxies.http.as_deref(), exempt)?;
        let (certificates, warning) = roots::certificates(&settings.roots)?;
        let config = Agent::config_builder()
            .proxy(proxy.clone())
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
        let shared = Arc::new(wire::Shared::default());
        let proxies = proxy.iter().chain(&http_proxy).map(|proxy| proxy.uri().clone()).collect();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(wire::Dial(Arc::clone(&shared)))
                .chain(tls::Tls::new(certificates))
                .chain(wire::Listen { shared: Arc::clone(&shared), proxies });
        let agent = Agent::with_parts(config, connector, wire::Names(Arc::clone(&shared)));
        Ok(Self {
            agent,
            shared,
            headers: header_map(&settings.headers)?,
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            max_bytes: settings.max_bytes,
            workers: settings.workers,
            http_proxy,
            warning,
        })
    }

    /// Something the user should know about whom this trusts.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
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

    /// One attempt: GET, redirects followed, the body read into `body` up to the limit.
    ///
    /// `wait_turn` is asked before every request; the time it takes does not count. `None` when it says no.
    pub fn attempt(
        &self,
        url: &str,
        body: &mut Vec<u8>,
        wait_turn: &dyn Fn() -> bool,
    ) -> Option<std::result::Result<Framing, Failure>> {
        let first = match parse_url(url) {
            Ok(uri) => uri,
            Err(failure) => return Some(Err(failure)),
        };
        let mut seen = vec![first.clone()];
        let mut uri = first.clone();
        let mut left = self.timeout;
        loop {
            let own = uri.authority() == first.authority() && uri.scheme() == first.scheme();
            let answer = self.exchange(&uri, own, &mut left, body, wait_turn)?;
            let location = match answer {
                Ok(Answer::Redirect(location)) => location,
                Ok(Answer::Body(framing)) => return Some(Ok(framing)),
                Err(failure) if seen.len() > 1 => return Some(Err(failure.of_one())),
                Err(failure) => return Some(Err(failure)),
            };
            uri = match next_hop(&uri, &location, &seen) {
                Ok(next) => next,
                Err(cause) => return Some(Err(Failure::new(Kind::Redirect, cause))),
            };
            seen.push(uri.clone());
        }
    }

    /// One request and its answer. A pooled connection that turns out dead is replaced at once.
    fn exchange(
        &self,
        uri: &Uri,
        own: bool,
        left: &mut Duration,
        body: &mut Vec<u8>,
        wait_turn: &dyn Fn() -> bool,
    ) -> Option<std::result::Result<Answer, Failure>> {
        // A dead connection is gone from the pool, but others may come into it and die meanwhile; the last turn takes
        // none from there.
        for turn in 0..=self.workers {
            let fresh = turn > 0 && turn == self.workers;
            if !wait_turn() {
                return None;
            }
            let started = Instant::now();
            wire::reset_trace();
            let result = self.send(uri, own, fresh, *left);
            let dead = matches!(&result, Err(ureq::Error::Io(_))) && !wire::trace().fresh && !wire::trace().heard;
            let answer = match result {
                Err(_) if dead && turn < self.workers && !left.is_zero() => None,
                Err(error) => Some(Err(self.classify(error, uri))),
                Ok(response) => Some(self.answer(response, body)),
            };
            *left = left.saturating_sub(started.elapsed());
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    fn send(
        &self,
        uri: &Uri,
        own: bool,
        fresh: bool,
        left: Duration,
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = Request::get(uri.clone()).body(())?;
        if own {
            *request.headers_mut() = self.headers.clone();
        }
        let plain = uri.scheme_str() == Some("http") && self.http_proxy.as_ref() != self.agent.config().proxy();
        if left < self.timeout || plain || fresh {
            let mut config =
                self.agent.configure_request(request).timeout_global(Some(left.max(Duration::from_millis(1))));
            if fresh {
                config = config.max_idle_age(Duration::ZERO);
            }
            if plain {
                config = config.proxy(self.http_proxy.clone());
            }
            request = config.build();
        }
        self.agent.run(request)
    }

    fn answer(
        &self,
        response: ureq::http::Response<ureq::Body>,
        body: &mut Vec<u8>,
    ) -> std::result::Result<Answer, Failure> {
        let (head, mut rest) = response.into_parts();
        if head.status.as_u16() != 200 {
            // Drained for the connection's sake; what goes wrong here changes nothing about the answer.
            let _ = std::io::copy(&mut rest.as_reader().take(DRAIN), &mut std::io::sink());
        }
        match head.status.as_u16() {
            200 => self.read_body(&head.headers, &mut rest, body).map(Answer::Body),
            301 | 302 | 303 | 307 | 308 => match head.headers.get(LOCATION).map(HeaderValue::to_str) {
                Some(Ok(location)) => Ok(Answer::Redirect(location.to_owned())),
                Some(Err(_)) => Err(redirect(head.status, "its Location is not text")),
                None => Err(redirect(head.status, "it has no Location")),
            },
            status => {
                let wait = matches!(status, 429 | 503).then(|| retry_after(&head.headers, SystemTime::now())).flatten();
                let reason = head.status.canonical_reason().unwrap_or_default();
                Err(Failure::of_status(status, reason, wait))
            }
        }
    }

    fn read_body(
        &self,
        headers: &HeaderMap,
        rest: &mut ureq::Body,
        body: &mut Vec<u8>,
    ) -> std::result::Result<Framing, Failure> {
        let too_large = || Failure::new(Kind::TooLarge, format!("more than {} bytes", self.max_bytes)).with_status(200);
        let length = rest.content_length();
        if length.is_some_and(|length| length > self.max_bytes) {
            return Err(too_large());
        }
        let framed =
            length.is_some() || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(32 * 1024);
        let reader = rest.as_reader().take(self.max_bytes.saturating_add(1));
        read_whole(reader, expected, body)
            .map_err(|error| self.classify_body(error.into(), body.len()).with_status(200))?;
        if body.len() as u64 > self.max_bytes {
            return Err(too_large());
        }
        if framed && body.is_empty() {
            return Err(Failure::new(Kind::Empty, "a body of no bytes").with_status(200));
        }
        Ok(if framed { Framing::Complete } else { Framing::CloseDelimited })
    }
}

/// Reads to the end, in place of what is in `body`; at an error too, `body` is what was read.
///
/// As `read_to_end`, but that zeroes all the space that a body may take; here what held the last one does for the next.
fn read_whole(mut reader: impl Read, expected: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
    let mut filled = 0;
    // One more than is said, so that the end is seen without growing.
    let mut space = expected + 1;
    let result = loop {
        if body.len() < space {
            body.resize(space, 0);
        }
        match reader.read(&mut body[filled..]) {
            Ok(0) => break Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
        if filled == body.len() {
            space = filled * 2;
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

/// Checks that a URL can be asked for at all.
///
/// # Errors
/// A failure of kind `bad_url` that says why.
pub fn parse_url(url: &str) -> std::result::Result<Uri, Failure> {
    let bad = |cause: &str| Failure::new(Kind::BadUrl, cause);
    let uri: Uri = url.parse().map_err(|cause| bad(&format!("{cause}")))?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(bad("neither https nor http"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("no host in it"));
    }
    Ok(uri)
}

fn redirect(status: ureq::http::StatusCode, cause: &str) -> Failure {
    Failure::new(Kind::Redirect, cause).with_status(status.as_u16())
}

/// The URL that a Location leads to (RFC 9110, section 10.2.2), if it may be followed.
fn next_hop(from: &Uri, location: &str, seen: &[Uri]) -> std::result::Result<Uri, String> {
    let bad = || format!("bad Location {location:?}");
    let base = from.to_string();
    let base = Reference::parse(base.as_str()).map_err(|_| bad())?;
    let target = UriRef::parse(location).map_err(|_| bad())?;
    let target = target.resolve_against(&base).map_err(|_| bad())?;
    let next: Uri = target.as_str().parse().map_err(|_| bad())?;
    let secure = |uri: &Uri| uri.scheme_str() == Some("https");
    if parse_url(target.as_str()).is_err() {
        Err(bad())
    } else if secure(from) && !secure(&next) {
        Err("from https to http".into())
    } else if seen.contains(&next) {
        Err("a loop".into())
    } else if seen.len() > MOST_REDIRECTS {
        Err(format!("more than {MOST_REDIRECTS}"))
    } else {
        Ok(next)
    }
}

/// How long `Retry-After` asks to wait: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // Bounded, so that no arithmetic with it overflows; a day is far beyond what a run waits.
        return Some(Duration::from_secs(seconds.min(366 * 86_400)));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(from: &str, location: &str) -> std::result::Result<String, String> {
        let from: Uri = from.parse().expect("a URL");
        next_hop(&from, location, std::slice::from_ref(&from)).map(|uri| uri.to_string())
    }

    #[test]
    fn a_location_is_resolved_against_the_url_it_came_from() {
        for (location, wanted) in [
            ("https://other.test/x", "https://other.test/x"),
            ("//other.test/x", "https://other.test/x"),
            ("/x?y=1", "https://h.test/x?y=1"),
            ("x", "https://h.test/a/x"),
            ("../x", "https://h.test/x"),
            ("?y", "https://h.test/a/b?y"),
        ] {
            assert_eq!(hop("https://h.test/a/b", location).as_deref(), Ok(wanted), "{location}");
        }
    }

    #[test]
    fn some_redirects_are_not_followed() {
        for location in ["http://h.test/x", "/a/b", "ftp://h.test/x", "https:///x", "https://h.test/ä", "http://[", ""]
        {
            assert!(hop("https://h.test/a/b", location).is_err(), "{location}");
        }
        assert!(hop("http://h.test/a", "https://h.test/a").is_ok());
        let six: Vec<Uri> = (0..6).map(|n| format!("https://h.test/{n}").parse().expect("a URL")).collect();
        assert!(next_hop(&six[5], "/new", &six).is_err());
        assert!(next_hop(&six[4], "/new", &six[..5]).is_ok());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let ask = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!(ask("120"), Some(Duration::from_mins(2)));
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(ask("soon"), None);
        assert_eq!(ask("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn headers_that_frame_the_request_are_refused_and_secrets_are_not_repeated() {
        for (name, value) in [("Host", "x"), ("Content-Length", "1"), ("a b", "x"), ("X-Key", "secret\nX: y")] {
            let error = header_map(&[(name.into(), value.into())]).expect_err(name);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
