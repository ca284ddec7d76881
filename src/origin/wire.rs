//! The Agent's connector and resolver: what ureq leaves to be desired at the level of sockets and names.
//!
//! ureq looks a name up for every request, on a thread of its own, asks the kernel four times whether a
//! connection is still open, and counts nothing. Here names are kept for a while, a connection that was just
//! used is taken for open, connections and requests are counted, and every wait can be ended from outside.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as Budget;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

/// How long the addresses of a name are used before they are looked up again.
const ADDRESSES_LAST: Duration = Duration::from_mins(1);
/// A connection idle for less than this is taken for open without asking the kernel.
const SURELY_OPEN: Duration = Duration::from_secs(1);
/// How often a wait for the kernel or the C library looks whether the run is being stopped.
const LOOK_UP_FROM_WAIT: Duration = Duration::from_millis(50);

thread_local! {
    /// What happened to this thread's latest exchange; ureq connects and reads on the caller's thread.
    static TRACE: Cell<Trace> = const { Cell::new(Trace { fresh: false, heard: false }) };
}

/// What is known of an exchange beyond ureq's error.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// It opened a connection, rather than taking one from the pool.
    pub fresh: bool,
    /// At least one byte of a response arrived.
    pub heard: bool,
}

/// Forgets the thread's last exchange, before a new one.
pub fn reset_trace() {
    TRACE.set(Trace { fresh: false, heard: false });
}

/// What the thread's latest exchange has seen.
pub fn trace() -> Trace {
    TRACE.get()
}

/// What the connector, the resolver and the origin share. ureq wants its parts `'static`, hence one `Arc`.
#[derive(Debug, Default)]
pub struct Shared {
    /// TCP connections opened.
    pub connections: AtomicU64,
    /// Requests sent.
    pub requests: AtomicU64,
    closed: AtomicBool,
    names: Mutex<HashMap<String, (Vec<SocketAddr>, Instant)>>,
}

impl Shared {
    /// Ends every wait for a look-up or a connection.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, (Vec<SocketAddr>, Instant)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what cannot be interrupted on a thread of its own, and waits for it no longer than allowed.
    ///
    /// It happens once a connection or once a minute, not once an image.
    fn wait_for<T: Send + 'static>(
        &self,
        timeout: NextTimeout,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let deadline = (!timeout.after.is_not_happening()).then(|| Instant::now() + *timeout.after);
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("connect".into()).spawn(move || sender.send(work()))?;
        loop {
            match receiver.recv_timeout(LOOK_UP_FROM_WAIT) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::ConnectionFailed),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::Timeout(timeout.reason));
            }
            if self.closed.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::NotConnected).into());
            }
        }
    }
}

/// A name that could not be turned into addresses.
#[derive(Debug)]
pub struct LookUpFailed(pub String);

impl fmt::Display for LookUpFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LookUpFailed {}

/// Looks names up through the C library, and keeps what it learns for [`ADDRESSES_LAST`].
#[derive(Debug)]
pub struct Names(pub Arc<Shared>);

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let key = format!("{host}:{port}");
        let known = self.0.names().get(&key).filter(|(_, until)| *until > Instant::now()).map(|(list, _)| list.clone());
        let list = match known {
            Some(list) => list,
            None => self.look_up(host, port, key, timeout)?,
        };
        let mut addresses = self.empty();
        for address in config.ip_family().keep_wanted(list.into_iter()).take(16) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(not_found(host, "no address")) } else { Ok(addresses) }
    }
}

impl Names {
    fn look_up(&self, host: &str, port: u16, key: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        // An address needs no look-up; IPv6 ones stand in brackets in a URL.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        keep_look_ups_inside_libc();
        let name = host.to_owned();
        let found = self.0.wait_for(timeout, move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter))?;
        let list = found.map_err(|error| not_found(host, &error.to_string()))?;
        self.0.names().insert(key, (list.clone(), Instant::now() + ADDRESSES_LAST));
        Ok(list)
    }
}

fn not_found(host: &str, cause: &str) -> Error {
    let cause = cause.strip_prefix("failed to lookup address information: ").unwrap_or(cause);
    Error::Other(Box::new(LookUpFailed(format!("{host}: {cause}"))))
}

/// A static glibc still loads the host's NSS modules, and dies in them on hosts whose `nsswitch.conf` names
/// modules built against another glibc. `files dns` is what libc can do by itself.
fn keep_look_ups_inside_libc() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
        #[allow(unsafe_code, reason = "the only way to tell glibc; called once, before the first look-up")]
        {
            unsafe extern "C" {
                fn __nss_configure_lookup(database: *const std::ffi::c_char, services: *const std::ffi::c_char) -> i32;
            }
            // SAFETY: both arguments are NUL-terminated literals, which glibc copies.
            unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        }
    });
}

/// Opens TCP connections, counts them, and forgets the addresses of a name that refuses.
#[derive(Debug)]
pub struct Dial(pub Arc<Shared>);

impl<In: Transport> Connector<In> for Dial {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        TRACE.set(Trace { fresh: true, ..TRACE.get() });
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let mut addresses = details.addrs.iter();
        let stream = loop {
            let Some(address) = addresses.next().copied() else {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
            };
            match self.dial(address, details.timeout) {
                Ok(stream) => break stream,
                Err(error) => {
                    self.0.names().clear();
                    if addresses.len() == 0 || matches!(error, Error::Timeout(_)) {
                        return Err(error);
                    }
                }
            }
        };
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Wire { stream, buffers, timeout: None, last_use: Instant::now() })))
    }
}

impl Dial {
    fn dial(&self, address: SocketAddr, timeout: NextTimeout) -> Result<TcpStream, Error> {
        let limit = if timeout.after.is_not_happening() { Duration::from_hours(1) } else { *timeout.after };
        let limit = limit.max(Duration::from_millis(1));
        match self.0.wait_for(timeout, move || TcpStream::connect_timeout(&address, limit))? {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Error::Timeout(timeout.reason)),
            Err(error) => Err(io::Error::new(error.kind(), format!("{address}: {error}")).into()),
            Ok(stream) => Ok(stream),
        }
    }
}

/// A TCP connection that sets its timeouts and asks whether it is open only when it must.
#[derive(Debug)]
pub struct Wire {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    timeout: Option<Duration>,
    last_use: Instant,
}

impl Wire {
    /// Sends from another buffer than the transport's own.
    pub fn send(&mut self, bytes: &[u8], timeout: NextTimeout) -> Result<(), Error> {
        self.set_timeout(timeout)?;
        (&*self.stream).write_all(bytes).map_err(|error| timed_out(error, timeout.reason))
    }

    /// Receives into another buffer than the transport's own; nothing at the connection's end.
    pub fn receive(&mut self, space: &mut [u8], timeout: NextTimeout) -> Result<usize, Error> {
        self.set_timeout(timeout)?;
        let amount = read(&self.stream, space, timeout)?;
        self.last_use = Instant::now();
        Ok(amount)
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
        self.last_use = Instant::now();
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        if self.last_use.elapsed() < SURELY_OPEN {
            return true;
        }
        // Nothing to read, and no end, is what an idle connection that is open looks like.
        let quiet = |stream: &TcpStream| -> io::Result<bool> {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
        };
        quiet(&self.stream).unwrap_or(false)
    }
}

/// The last link of the chain: sees HTTP go by in the clear, whatever carries it.
#[derive(Debug)]
pub struct Listen {
    /// Where the counts go.
    pub shared: Arc<Shared>,
    /// The proxies: ureq opens the connection to them through this same chain, and what passes there is no request.
    pub proxies: Vec<Uri>,
}

/// A transport that traces and counts what passes.
#[derive(Debug)]
pub struct Heard<T>(T, Arc<Shared>);

impl<In: Transport> Connector<In> for Listen {
    type Out = Either<In, Heard<In>>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let to_proxy = details.config.proxy().is_none() && self.proxies.contains(details.uri);
        Ok(chained.map(|transport| {
            if to_proxy { Either::A(transport) } else { Either::B(Heard(transport, Arc::clone(&self.shared))) }
        }))
    }
}

impl<T: Transport> Transport for Heard<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.1.requests.fetch_add(1, Ordering::Relaxed);
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let progress = self.0.await_input(timeout)?;
        if progress {
            TRACE.set(Trace { heard: true, ..TRACE.get() });
        }
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
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
}
