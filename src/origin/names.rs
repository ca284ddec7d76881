//! Names become addresses.
//!
//! ureq looks a name up for every request, on a thread of its own. Here what was learned is kept for a while, a look-up
//! can be ended from outside, and where a proxy carries plain http the name that is looked up is the proxy's.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::url::place;
use super::wire::{LOOK_UP_FROM_WAIT, Shared, locked};

/// How long the addresses of a name are used before they are looked up again.
const ADDRESSES_LAST: Duration = Duration::from_mins(1);

/// A name that could not be turned into addresses.
#[derive(Debug)]
pub struct LookUpFailed {
    /// It is a proxy's, and not in any URL of an image.
    pub of_proxy: bool,
    host: String,
    cause: String,
}

impl fmt::Display for LookUpFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", if self.of_proxy { "proxy " } else { "" }, self.host, self.cause)
    }
}

impl std::error::Error for LookUpFailed {}

/// Looks names up through the C library, and keeps what it learns for [`ADDRESSES_LAST`].
#[derive(Debug)]
pub struct Names(pub Arc<Shared>);

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let relay = self.0.routes.relay(uri);
        let (host, port) = relay.map_or_else(|| place(uri), |proxy| (proxy.host(), proxy.port()));
        let not_found = |cause: &str| {
            let of_proxy = relay.is_some() || self.0.routes.is_proxy(uri);
            Error::Other(Box::new(LookUpFailed { of_proxy, host: host.to_owned(), cause: cause.to_owned() }))
        };
        let mut addresses = self.empty();
        let mut take = |list: &[SocketAddr]| {
            let list = list.iter().map(|address| {
                let mut address = *address;
                address.set_port(port);
                address
            });
            config.ip_family().keep_wanted(list).take(16).for_each(|address| addresses.push(address));
        };
        let names = locked(&self.0.names);
        if let Some((list, _)) = names.get(host).filter(|(_, until)| *until > Instant::now()) {
            take(list);
        } else {
            drop(names);
            let found = self.look_up(host, port, timeout)?;
            take(&found.map_err(|cause| not_found(without_its_beginning(&cause.to_string())))?);
        }
        if addresses.is_empty() { Err(not_found("no address")) } else { Ok(addresses) }
    }
}

impl Names {
    /// Runs what cannot be interrupted on a thread of its own, and waits for it no longer than allowed.
    ///
    /// It happens once a minute, not once an image.
    fn wait_for<T: Send + 'static>(
        &self,
        timeout: NextTimeout,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let deadline = (!timeout.after.is_not_happening()).then(|| Instant::now() + *timeout.after);
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("look-up".into()).spawn(move || sender.send(work()))?;
        loop {
            match receiver.recv_timeout(LOOK_UP_FROM_WAIT) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::ConnectionFailed),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::Timeout(timeout.reason));
            }
            if self.0.is_closed() {
                return Err(io::Error::from(io::ErrorKind::NotConnected).into());
            }
        }
    }

    fn look_up(&self, host: &str, port: u16, timeout: NextTimeout) -> Result<io::Result<Vec<SocketAddr>>, Error> {
        // An address needs no look-up; IPv6 ones stand in brackets in a URL.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Ok(vec![SocketAddr::new(address, port)]));
        }
        keep_look_ups_inside_libc();
        let name = host.to_owned();
        let found = self.wait_for(timeout, move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter))?;
        if let Ok(list) = &found {
            locked(&self.0.names).insert(host.to_owned(), (list.clone(), Instant::now() + ADDRESSES_LAST));
        }
        Ok(found)
    }
}

fn without_its_beginning(cause: &str) -> &str {
    cause.strip_prefix("failed to lookup address information: ").unwrap_or(cause)
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
