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
                let wait = retry_after(status, &head.headers, SystemTime::now());
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

/// How long the origin asks to wait: `Retry-After` of a 429 or 503, in seconds or as a date (RFC 9110, section 10.2.3), which
/// counts from the answer's own `Date`; else, of a 429, when its limit is set anew.
fn retry_after(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = text("date").and_then(date).unwrap_or(now);
    let asked = text(RETRY_AFTER.as_str()).and_then(|text| match date(text) {
        Some(date) => Some(date.duration_since(now).unwrap_or_default()),
        None => seconds(text),
    });
    match status {
        429 => asked.or_else(|| limit_reset(headers, now)),
        503 => asked,
        _ => None,
    }
}

/// When a limit is set anew: `RateLimit-Reset` and its older names, or `t` in `RateLimit`; from now, or, if it is too large
/// for that, from 1970.
fn limit_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const DAYS_30: Duration = Duration::from_hours(30 * 24);
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let in_limit = || text("ratelimit")?.split([';', ',']).find_map(|part| part.trim().strip_prefix("t="));
    let named = ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"].into_iter().find_map(text);
    let asked = seconds(named.or_else(in_limit)?)?;
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(if asked > DAYS_30 { asked.saturating_sub(since_1970) } else { asked })
}

/// Seconds, rounded up.
fn seconds(text: &str) -> Option<Duration> {
    // Bounded, so that no arithmetic with it overflows; more is as good as never.
    const MOST: f64 = 1e11;
    let number = text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse::<f64>().ok()).flatten()?;
    Some(Duration::from_secs_f64(number.ceil().min(MOST)))
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
    fn an_origin_says_in_many_ways_when_to_come_back() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let ask = |status, lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            retry_after(status, &lines.collect(), now).map(|wait| wait.as_secs())
        };
        let after = |value| ask(503, &[("retry-after", value)]);
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("0.2"), Some(1), "a fraction is rounded up");
        assert!(after("99999999999999999999999").is_some_and(|long| long > 1_000_000_000), "long, and not unheard");
        assert_eq!(after("Sun, 06 Nov 1994 08:49:40 GMT"), Some(3));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(
            (after("soon"), after("-1"), ask(429, &[]), ask(500, &[("retry-after", "3")])),
            (None, None, None, None)
        );
        let dated = [("retry-after", "Sun, 06 Nov 1994 09:00:10 GMT"), ("date", "Sun, 06 Nov 1994 09:00:00 GMT")];
        assert_eq!(ask(429, &dated), Some(10), "by the origin's own clock");
        for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
            assert_eq!(ask(429, &[(name, "7")]), Some(7));
            assert_eq!(ask(429, &[(name, "784111784")]), Some(7), "seconds since 1970");
            assert_eq!((ask(503, &[(name, "7")]), ask(429, &[(name, "7"), ("retry-after", "2")])), (None, Some(2)));
        }
        assert_eq!(ask(429, &[("ratelimit", "\"default\";r=0;t=9")]), Some(9));
    }

    #[test]
    fn headers_that_frame_the_request_are_refused_and_secrets_are_not_repeated() {
        for (name, value) in [("Host", "x"), ("Content-Length", "1"), ("a b", "x"), ("X-Key", "secret\nX: y")] {
            let error = header_map(&[(name.into(), value.into())]).expect_err(name);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
