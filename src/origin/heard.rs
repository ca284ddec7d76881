//! The last link of the connector's chain: sees HTTP go by in the clear, whatever carries it.
//!
//! It counts requests, tells a proxy the whole URL, and hands heads on only when they are complete and such that ureq
//! reads them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};

use super::head;
use super::wire::{self, Deadline, Shared};

/// A server that answers in HTTP/2.
#[derive(Debug)]
pub struct SpeaksHttp2;

impl fmt::Display for SpeaksHttp2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server speaks HTTP/2 only")
    }
}

impl std::error::Error for SpeaksHttp2 {}

/// Listens to every connection but those to a proxy: ureq opens them through this same chain, and what passes there
/// is no request.
#[derive(Debug)]
pub struct Listen(pub Arc<Shared>);

/// A transport that traces, counts and mends what passes.
#[derive(Debug)]
pub struct Heard<T> {
    below: T,
    shared: Arc<Shared>,
    /// What goes before the path in a request's first line, where a proxy reads it.
    site: Option<String>,
    /// The head of a response has still to come.
    head_is_due: bool,
}

impl<In: Transport> Connector<In> for Listen {
    type Out = Either<In, Heard<In>>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let routes = &self.0.routes;
        let to_proxy = details.config.proxy().is_none() && routes.is_proxy(details.uri);
        let site = routes.relay(details.uri).and(details.uri.authority()).map(|place| format!("http://{place}"));
        Ok(chained.map(|below| {
            if to_proxy {
                return Either::A(below);
            }
            Either::B(Heard { below, shared: Arc::clone(&self.0), site, head_is_due: false })
        }))
    }
}

impl<T: Transport> Heard<T> {
    /// Puts the site before the path (RFC 9112, section 3.2.2).
    fn make_absolute(&mut self, amount: usize) -> Result<usize, Error> {
        const METHOD: usize = b"GET ".len();
        let output = self.below.buffers().output();
        let site = self.site.as_deref().unwrap_or_default().as_bytes();
        if site.is_empty() || !output[..amount].starts_with(b"GET /") {
            return Ok(amount);
        }
        if output.len() < amount + site.len() {
            return Err(io::Error::other("the request is too long").into());
        }
        output.copy_within(METHOD..amount, METHOD + site.len());
        output[METHOD..METHOD + site.len()].copy_from_slice(site);
        Ok(amount + site.len())
    }

    /// Whether what was received may go on to ureq: it holds a whole head, which is now one that ureq reads.
    fn settle_head(&mut self) -> Result<bool, Error> {
        loop {
            let buffers = self.below.buffers();
            let input = buffers.input();
            if head::is_http2(input) {
                return Err(Error::Other(Box::new(SpeaksHttp2)));
            }
            let Some(end) = head::end(input) else { return Ok(input.len() > head::MOST) };
            if head::is_interim(&input[..end]) {
                buffers.input_consume(end);
                continue;
            }
            if let Some(mut mended) = head::mended(&input[..end]) {
                mended.extend_from_slice(&input[end..]);
                buffers.input_consume(input.len());
                // It is not longer than what was there.
                buffers.input_append_buf()[..mended.len()].copy_from_slice(&mended);
                buffers.input_appended(mended.len());
            }
            return Ok(true);
        }
    }
}

impl<T: Transport> Transport for Heard<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !wire::trace().sent {
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            wire::note(|trace| trace.sent = true);
        }
        self.head_is_due = true;
        let amount = self.make_absolute(amount)?;
        self.below.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = self.head_is_due.then(|| Deadline::new(timeout));
        let mut left = timeout;
        loop {
            let progress = self.below.await_input(left)?;
            if !self.head_is_due || !progress {
                return Ok(progress);
            }
            wire::note(|trace| trace.heard = true);
            if self.settle_head()? {
                self.head_is_due = false;
                return Ok(true);
            }
            // A head that comes in pieces has no more time than one.
            left = deadline.map_or(timeout, |deadline| deadline.left());
        }
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}
