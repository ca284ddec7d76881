//! Opens TCP connections: all the addresses of a name share the connect time.
//!
//! As RFC 8305 has it, an address that has not answered after a quarter of a second is not given up, but the next one is
//! tried beside it, and the first to answer is taken. What answered is the first to be tried from then on. All of them
//! are waited for with one `poll`, so that it needs no thread, and a stop ends it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use ureq::Error;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

use super::wire::{self, LOOK_UP_FROM_WAIT, Shared, Wire, locked};

/// How long the next address waits for the one before it (RFC 8305, section 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// No address of a name answered.
#[derive(Debug)]
pub struct Unreached {
    /// Some of them said nothing until the time was over.
    pub silent: bool,
    /// Which they are, and what they said.
    pub words: String,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Unreached {}

/// Opens TCP connections, counts them, and forgets the addresses of a name when none of them answers.
#[derive(Debug)]
pub struct Dial(pub Arc<Shared>);

impl<In: Transport> Connector<In> for Dial {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        wire::note(|trace| trace.fresh = true);
        let (stream, address) = self.first_to_answer(&details.addrs, details.timeout).inspect_err(|_| {
            locked(&self.0.names).clear();
        })?;
        wire::note(|trace| trace.address = Some(address));
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Wire::new(stream, buffers))))
    }
}

impl Dial {
    fn first_to_answer(
        &self,
        addresses: &[SocketAddr],
        timeout: NextTimeout,
    ) -> Result<(TcpStream, SocketAddr), Error> {
        let begun = Instant::now();
        let end = (!timeout.after.is_not_happening()).then(|| begun + *timeout.after);
        let mut rest = self.0.best_first(addresses).into_iter();
        let mut trying: Vec<(SocketAddr, OwnedFd)> = Vec::new();
        let mut faults = Vec::new();
        let mut next_at = begun;
        loop {
            if self.0.is_closed() {
                return Err(io::Error::from(io::ErrorKind::NotConnected).into());
            }
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                return Err(self.unreached(&trying, &faults));
            }
            if now >= next_at || trying.is_empty() {
                match rest.next() {
                    Some(address) => {
                        next_at = now + NEXT_AFTER;
                        match begin(address) {
                            Ok(socket) => trying.push((address, socket)),
                            Err(error) => self.strike(address, &error, &mut faults),
                        }
                        continue;
                    }
                    None if trying.is_empty() => return Err(self.unreached(&trying, &faults)),
                    None => {}
                }
            }
            let mut wait = end.map_or(LOOK_UP_FROM_WAIT, |end| (end - now).min(LOOK_UP_FROM_WAIT));
            if rest.len() > 0 {
                wait = wait.min(next_at - now);
            }
            let Some(at) = first_ready(&trying, wait)? else { continue };
            let (address, socket) = trying.remove(at);
            match sockopt::socket_error(&socket).and_then(|result| result) {
                Ok(()) => {
                    // Those that were asked before it and have said nothing had their time.
                    let earlier = trying.iter().take(at);
                    earlier.for_each(|(address, _)| self.0.remember(*address, false));
                    self.0.remember(address, true);
                    let stream = TcpStream::from(socket);
                    stream.set_nonblocking(false)?;
                    return Ok((stream, address));
                }
                Err(error) => self.strike(address, &error.into(), &mut faults),
            }
        }
    }

    fn strike(&self, address: SocketAddr, error: &io::Error, faults: &mut Vec<String>) {
        self.0.remember(address, false);
        faults.push(format!("{address}: {error}"));
    }

    fn unreached(&self, silent: &[(SocketAddr, OwnedFd)], faults: &[String]) -> Error {
        let silent: Vec<_> = silent.iter().map(|(address, _)| *address).collect();
        for address in &silent {
            self.0.remember(*address, false);
        }
        let quiet = silent.iter().map(|address| format!("{address}: no answer"));
        let words: Vec<_> = faults.iter().cloned().chain(quiet).collect();
        let words = if words.is_empty() { "no address".into() } else { words.join("; ") };
        Error::Other(Box::new(Unreached { silent: !silent.is_empty(), words }))
    }
}

/// Begins to connect, and does not wait for it.
fn begin(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// The first of them that is connected, or has failed, if one is before the wait is over.
fn first_ready(trying: &[(SocketAddr, OwnedFd)], wait: Duration) -> io::Result<Option<usize>> {
    let mut sockets: Vec<_> = trying.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::OUT)).collect();
    // Rounded up, since less than a millisecond would be none.
    let wait = wait + Duration::from_millis(1);
    let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut sockets, Some(&wait)) {
        Err(Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(sockets.iter().position(|socket| !socket.revents().is_empty())),
    }
}
