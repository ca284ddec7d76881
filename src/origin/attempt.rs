//! One attempt at one URL: the request, the redirects after it, and dead connections replaced.

use std::borrow::Cow;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, HeaderMap, PROXY_AUTHORIZATION};
use ureq::http::{Request, Uri};

use crate::facts::Known;
use crate::failure::{Failure, Kind};

use super::url::{self, Target, same_origin};
use super::{Answer, Delivered, Origin, redirect, said, wire};

/// So many hosts that redirects led to are remembered.
const TARGETS: usize = 64;

impl Origin {
    /// One attempt: GET, redirects followed, the body read into `body` up to the limit. Where a version of it is `known`, only
    /// another one is asked for.
    ///
    /// `wait_turn` is asked before every request; the time it takes does not count. `None` when it says no, or when the
    /// run is being stopped.
    pub fn attempt(
        &self,
        url: &str,
        known: Option<&Known>,
        body: &mut Vec<u8>,
        wait_turn: &dyn Fn() -> bool,
    ) -> Option<Result<Delivered, Failure>> {
        let first = match url::parse(url) {
            Ok(target) => target,
            Err(failure) => return Some(Err(failure)),
        };
        let mut seen = Vec::new();
        let mut hop = first.clone();
        let mut left = self.timeout;
        let condition = known.and_then(said::condition);
        loop {
            let mut headers = self.headers_for(&hop, &first);
            // What is known came from where redirects led, so that is asked about it as well (RFC 9110, section 15.4).
            if let Some((name, value)) = &condition {
                headers.to_mut().insert(name, value.clone());
            }
            let answer = match self.exchange(&hop.uri, &headers, &mut left, body, wait_turn)? {
                Ok(Answer::Delivered(Delivered::NotModified)) if condition.is_none() => {
                    Err(Failure::of_status(304, "Not Modified", None))
                }
                other => other,
            };
            let location = match answer {
                Ok(Answer::Redirect(location)) => location,
                Ok(Answer::Delivered(delivered)) => {
                    if !seen.is_empty() {
                        self.has_served(&hop.uri);
                    }
                    return Some(Ok(delivered));
                }
                // Where a redirect leads is this image's own, unless it has led others home.
                Err(failure) if !seen.is_empty() && !self.served(&hop.uri) => return Some(Err(failure.of_one())),
                Err(failure) => return Some(Err(failure)),
            };
            seen.push(hop.uri.clone());
            hop = match redirect::next_hop(&hop.uri, &location, &seen) {
                Ok(next) => next,
                Err(cause) => return Some(Err(Failure::new(Kind::Redirect, cause))),
            };
        }
    }

    fn has_served(&self, uri: &Uri) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = uri.authority().filter(|_| targets.len() < TARGETS) {
            targets.insert(authority.as_str().into());
        }
    }

    fn served(&self, uri: &Uri) -> bool {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        uri.authority().is_some_and(|authority| targets.contains(authority.as_str()))
    }

    /// What is said to this host: the user's headers to the origin they are for alone, a URL's name and password to the
    /// host that it names.
    fn headers_for(&self, hop: &Target, first: &Target) -> Cow<'_, HeaderMap> {
        let scope = self.headers_to.as_ref().unwrap_or(&first.uri);
        let own = same_origin(&hop.uri, scope);
        let mut headers = if own { Cow::Borrowed(&self.headers) } else { Cow::Owned(HeaderMap::new()) };
        let inherited = first.basic.as_ref().filter(|_| same_origin(&hop.uri, &first.uri));
        if let Some(basic) = hop.basic.as_ref().or(inherited).filter(|_| !headers.contains_key(AUTHORIZATION)) {
            headers.to_mut().insert(AUTHORIZATION, basic.clone());
        }
        if let Some(proxy) = self.shared.routes.relay(&hop.uri)
            && let Some(name) = proxy.username()
        {
            let password = proxy.password().unwrap_or_default();
            headers.to_mut().insert(PROXY_AUTHORIZATION, url::credentials(name.as_bytes(), password.as_bytes()));
        }
        headers
    }

    /// One request and its answer. A pooled connection that turns out dead is replaced at once, as part of the same
    /// request: it waits for no turn, and is not counted again.
    fn exchange(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        left: &mut Duration,
        body: &mut Vec<u8>,
        wait_turn: &dyn Fn() -> bool,
    ) -> Option<Result<Answer, Failure>> {
        if !wait_turn() {
            return None;
        }
        wire::reset_trace();
        // A dead connection is gone from the pool, but others may come into it and die meanwhile; the last turn takes
        // none from there.
        for turn in 0..=self.workers {
            if self.shared.is_closed() {
                return None;
            }
            let started = Instant::now();
            wire::reset_connection();
            let result = self.send(uri, headers, turn > 0 && turn == self.workers, *left);
            let trace = wire::trace();
            let dead = matches!(&result, Err(ureq::Error::Io(_))) && !trace.fresh && !trace.heard;
            let answer = match result {
                Err(_) if dead && turn < self.workers && !left.is_zero() => None,
                Err(error) => {
                    if let Some(address) = trace.address {
                        self.shared.remember(address, false);
                    }
                    Some(Err(self.classify(error, uri)))
                }
                Ok(response) => Some(self.answer(response, uri, body)),
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
        headers: &HeaderMap,
        fresh: bool,
        left: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = Request::get(uri.clone()).body(())?;
        *request.headers_mut() = headers.clone();
        let routes = &self.shared.routes;
        let straight = routes.https().is_some() && routes.tunnel(uri).is_none();
        if left < self.timeout || straight || fresh {
            request = configured(&self.agent, request, fresh, straight, left);
        }
        self.agent.run(request)
    }
}

fn configured(agent: &Agent, request: Request<()>, fresh: bool, straight: bool, left: Duration) -> Request<()> {
    let mut config = agent.configure_request(request).timeout_global(Some(left.max(Duration::from_millis(1))));
    if fresh {
        config = config.max_idle_age(Duration::ZERO);
    }
    if straight {
        config = config.proxy(None);
    }
    config.build()
}
