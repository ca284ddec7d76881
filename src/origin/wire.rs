//! The socket, and what the parts of the connector share with the origin.
//!
//! ureq takes three calls to ask the kernel whether a connection is still open, sets a timeout before every read, and
//! counts nothing. Here one call asks, timeouts are rounded, connections and requests are counted, and every wait can be
//! ended from outside.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use ureq::unversioned::transport::time::Duration as Budget;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::proxies::Routes;

/// How often a wait for the kernel or the C library looks whether the run is being stopped.
pub const LOOK_UP_FROM_WAIT: Duration = Duration::from_millis(50);

thread_local! {
    /// What happened to this thread's latest exchange; ureq connects and reads on the caller's thread.
    static TRACE: Cell<Trace> = const { Cell::new(Trace { fresh: false, address: None, sent: false, heard: false }) };
}

/// What is known of an exchange beyond ureq's error.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// It opened a connection, or tried to, rather than taking one from the pool.
    pub fresh: bool,
    /// To where it opened one.
    pub address: Option<SocketAddr>,
    /// A request was sent; one that is sent again, since the connection from the pool was dead, is the same.
    pub sent: bool,
    /// At least one byte of a response arrived.
    pub heard: bool,
}

/// Forgets the thread's last exchange, before a new one.
pub fn reset_trace() {
    TRACE.set(Trace { fresh: false, address: None, sent: false, heard: false });
}

/// Forgets on what connection the thread's exchange was tried, before it is tried on another.
pub fn reset_connection() {
    note(|trace| *trace = Trace { sent: trace.sent, fresh: false, address: None, heard: false });
}

/// What the thread's latest exchange has seen.
pub fn trace() -> Trace {
    TRACE.get()
}

/// Adds to what the thread's exchange has seen.
pub fn note(change: impl FnOnce(&mut Trace)) {
    let mut trace = TRACE.get();
    change(&mut trace);
    TRACE.set(trace);
}

/// What the connector, the resolver and the origin share. ureq wants its parts `'static`, hence one `Arc`.
#[derive(Debug, Default)]
pub struct Shared {
    /// TCP connections opened.
    pub connections: AtomicU64,
    /// Requests sent.
    pub requests: AtomicU64,
    /// Through whom to go.
    pub routes: Routes,
    /// The addresses of each name, and until when they are good.
    pub names: Mutex<HashMap<String, (Vec<SocketAddr>, Instant)>>,
    closed: AtomicBool,
    /// Whether an address answered when it was last asked.
    answered: Mutex<HashMap<SocketAddr, bool>>,
}

/// A mutex of which no holder can leave anything half done.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Nothing is known yet but the way.
    pub fn new(routes: Routes) -> Self {
        Self { routes, ..Self::default() }
    }

    /// Ends every wait for a look-up or a connection, and lets nobody open another.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether the run is being stopped.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Remembers whether an address answered.
    pub fn remember(&self, address: SocketAddr, answered: bool) {
        locked(&self.answered).insert(address, answered);
    }

    /// The same addresses: first those that answered, last those that did not.
    pub fn best_first(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let answered = locked(&self.answered);
        let mut list = addresses.to_vec();
        list.sort_by_key(|address| match answered.get(address) {
            Some(true) => 0,
            None => 1,
            Some(false) => 2,
        });
        list
    }
}

/// A timeout that goes on over several waits.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant, NextTimeout);

impl Deadline {
    /// It begins now.
    pub fn new(timeout: NextTimeout) -> Self {
        Self(Instant::now(), timeout)
    }

    /// What is left of it.
    pub fn left(&self) -> NextTimeout {
        let after = match self.1.after {
            Budget::Exact(after) => Budget::Exact(after.saturating_sub(self.0.elapsed())),
            Budget::NotHappening => Budget::NotHappening,
        };
        NextTimeout { after, ..self.1 }
    }
}

/// A TCP connection that sets its timeouts only when it must.
#[derive(Debug)]
pub struct Wire {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    timeout: Option<Duration>,
}

impl Wire {
    /// Of a connection that was just opened.
    pub fn new(stream: Arc<TcpStream>, buffers: LazyBuffers) -> Self {
        Self { stream, buffers, timeout: None }
    }

    /// Sends from another buffer than the transport's own.
    pub fn send(&mut self, bytes: &[u8], timeout: NextTimeout) -> Result<(), Error> {
        self.set_timeout(timeout)?;
        (&*self.stream).write_all(bytes).map_err(|error| timed_out(error, timeout.reason))
    }

    /// Receives into another buffer than the transport's own; nothing at the connection's end.
    pub fn receive(&mut self, space: &mut [u8], timeout: NextTimeout) -> Result<usize, Error> {
        self.set_timeout(timeout)?;
        read(&self.stream, space, timeout)
    }

    fn set_timeout(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let wanted = match timeout.after {
            Budget::NotHappening => None,
            Budget::Exact(left) if left.is_zero() => return Err(Error::Timeout(timeout.reason)),
            Budget::Exact(left) => Some(rounded(left)),
        };
        if wanted != self.timeout {
            self.stream.set_read_timeout(wanted)?;
            self.stream.set_write_timeout(wanted)?;
            self.timeout = wanted;
        }
        Ok(())
    }
}

fn read(mut stream: &TcpStream, space: &mut [u8], timeout: NextTimeout) -> Result<usize, Error> {
    loop {
        match stream.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(|error| timed_out(error, timeout.reason)),
        }
    }
}

/// A timeout above a second is rounded up to whole seconds, so that it does not change with every read.
fn rounded(left: Duration) -> Duration {
    if left > Duration::from_secs(1) {
        Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    } else {
        left.max(Duration::from_millis(1))
    }
}

fn timed_out(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => error.into(),
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.set_timeout(timeout)?;
        let sent = (&*self.stream).write_all(&self.buffers.output()[..amount]);
        sent.map_err(|error| timed_out(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.set_timeout(timeout)?;
        let amount = read(&self.stream, self.buffers.input_append_buf(), timeout)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing to read, and no end, is what an idle connection that is open looks like. What has come unasked would be
        // taken for the answer to the next request.
        let waiting = recv(&*self.stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(waiting, Err(Errno::AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_timeouts_are_rounded_up_and_short_ones_are_kept() {
        for (left, wanted) in [(19_999, 20_000), (20_000, 20_000), (1_001, 2_000), (1_000, 1_000), (300, 300), (0, 1)] {
            assert_eq!(rounded(Duration::from_millis(left)), Duration::from_millis(wanted));
        }
    }

    #[test]
    fn an_address_that_did_not_answer_is_tried_last() {
        let shared = Shared::default();
        let [a, b, c] = ["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().expect("an address"));
        assert_eq!(shared.best_first(&[a, b, c]), [a, b, c]);
        shared.remember(a, false);
        shared.remember(c, true);
        assert_eq!(shared.best_first(&[a, b, c]), [c, b, a]);
        shared.remember(c, false);
        assert_eq!(shared.best_first(&[a, b, c]), [b, a, c]);
    }
}
