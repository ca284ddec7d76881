//! TLS for the Agent: rustls between the socket and ureq.
//!
//! ureq's own connector copies every record from a buffer for the socket into one of rustls, which is zeroed and made
//! anew each time, and from there by way of a third into the one that ureq reads. Here records are received where they
//! are decrypted, and handed to ureq from there: a twentieth of all the processor time that a fetch takes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustls::client::{UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ALL_VERSIONS, CipherSuite, ClientConfig, RootCertStore};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::proxies::ProxyRefused;
use super::roots::CertifiedKey;
use super::trust::Trust;
use super::wire::{Deadline, Shared, Wire};

/// What is received at once: two whole records (RFC 8446, section 5.2) with a little of a third.
const RECEIVE: usize = 36 * 1024;
/// A handshake message may be larger than that, but not than this.
const MOST_RECEIVED: usize = 256 * 1024;

/// Puts TLS around the connection to an https URL.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    shared: Arc<Shared>,
}

impl Tls {
    /// Trusts these roots, of which those that rustls cannot parse are left out, as in a system's own store; and says
    /// who the client is, where an origin asks.
    ///
    /// # Errors
    /// A key that does not go with its certificate.
    pub fn new(
        shared: Arc<Shared>,
        roots: Vec<CertificateDer<'static>>,
        identity: Option<CertifiedKey>,
    ) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| cost(suite.suite()));
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(ALL_VERSIONS)
            .expect("ring speaks all versions");
        let builder = match WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build() {
            Ok(authorities) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Trust { authorities, named: roots }))
            }
            // Without any root.
            Err(_) => builder.with_root_certificates(RootCertStore::empty()),
        };
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        // An origin that speaks nothing else says so, where it would go on in HTTP/2 otherwise.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shared })
    }

    /// With whom to speak TLS, if at all: the URL's host, or the proxy that relays it.
    fn peer<'a>(&'a self, details: &'a ConnectionDetails) -> Option<&'a str> {
        if details.needs_tls() {
            return details.uri.host();
        }
        let relay = self.shared.routes.relay(details.uri)?;
        (relay.protocol() == ureq::ProxyProtocol::Https).then(|| relay.host())
    }
}

impl<T: Transport> Connector<Either<T, Wire>> for Tls {
    type Out = Either<Either<T, Wire>, Secure<T>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<Either<T, Wire>>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(below) = chained else { return Ok(None) };
        let Some(host) = self.peer(details).filter(|_| !below.is_tls()) else { return Ok(Some(Either::A(below))) };
        let host = host.trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Tls("the host is no name for TLS"))?;
        let mut secure = Secure {
            below,
            connection: UnbufferedClientConnection::new(Arc::clone(&self.config), name).map_err(wrapped)?,
            received: vec![0; RECEIVE],
            waiting: 0..0,
            to_send: vec![0; 1024],
            buffers: LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size()),
        };
        let deadline = Deadline::new(details.timeout);
        let routes = &self.shared.routes;
        let with_proxy = routes.is_proxy(details.uri) || routes.relay(details.uri).is_some();
        match secure.shake_hands(&deadline) {
            Ok(()) => Ok(Some(Either::B(secure))),
            Err(Error::Io(cause)) if with_proxy => {
                Err(Error::Other(Box::new(ProxyRefused { host: host.to_owned(), cause })))
            }
            Err(error) => Err(error),
        }
    }
}

/// How dear a cipher is. Servers mostly take the first that they are offered, and as in browsers that is AES with 128 bits, which
/// goes over every block 10 times and not 14 (FIPS 197, section 5), on both sides.
fn cost(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    }
}

/// As ureq's own connector wraps it.
fn wrapped(error: rustls::Error) -> Error {
    io::Error::new(io::ErrorKind::InvalidData, error).into()
}

/// How far rustls came with what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The handshake goes on with what the server sends next.
    Handshake,
    /// The handshake is done, and there is nothing to read.
    Open,
    /// Plain text is in the buffers.
    Plain,
    /// The server said that nothing follows.
    Closed,
}

/// A connection with TLS, over a proxy's tunnel or straight over TCP.
pub struct Secure<T> {
    below: Either<T, Wire>,
    connection: UnbufferedClientConnection,
    /// What came from the server, of which the part that is `waiting` is not decrypted yet.
    received: Vec<u8>,
    waiting: Range<usize>,
    to_send: Vec<u8>,
    buffers: LazyBuffers,
}

impl<T: Transport> Secure<T> {
    /// Lets rustls work until it needs more, or has something; sends what it has to say, and with it `amount` bytes of
    /// the output buffer as soon as the connection is open.
    fn step(&mut self, mut amount: usize, deadline: &Deadline) -> Result<Step, Error> {
        let (mut plain, mut ready) = (false, 0);
        loop {
            let Self { connection, received, waiting, to_send, buffers, .. } = self;
            let UnbufferedStatus { mut discard, state } =
                connection.process_tls_records(&mut received[waiting.clone()]);
            let mut flush = false;
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    ready += grown(to_send, ready, |space| match message.encode(space) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        other => other.map_err(|_| None),
                    })?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(message)) => {
                    message.done();
                    flush = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut open)) if amount > 0 => {
                    let output = &buffers.output()[..amount];
                    ready += grown(to_send, ready, |space| match open.encrypt(output, space) {
                        Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        other => other.map_err(|_| None),
                    })?;
                    amount = 0;
                    flush = true;
                    None
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(wrapped)?;
                        discard += record.discard;
                        let space = buffers.input_append_buf();
                        let Some(space) = space.get_mut(..record.payload.len()) else {
                            return Err(Error::LargeResponseHeader(record.payload.len(), space.len()));
                        };
                        space.copy_from_slice(record.payload);
                        buffers.input_appended(record.payload.len());
                    }
                    plain = true;
                    // Before a request goes out it has to be sent all the same.
                    (amount == 0).then_some(Step::Plain)
                }
                Ok(ConnectionState::WriteTraffic(_)) => Some(if plain { Step::Plain } else { Step::Open }),
                Ok(ConnectionState::BlockedHandshake) => Some(Step::Handshake),
                Ok(_) => Some(Step::Closed),
                Err(error) => return Err(self.refuse(error, deadline)),
            };
            waiting.start += discard;
            if flush {
                self.send(ready, deadline)?;
                ready = 0;
            }
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn shake_hands(&mut self, deadline: &Deadline) -> Result<(), Error> {
        while self.step(0, deadline)? != Step::Open {
            self.receive(deadline)?;
        }
        Ok(())
    }

    /// Tells the server what is wrong with it, if it still listens, and gives the error.
    fn refuse(&mut self, error: rustls::Error, deadline: &Deadline) -> Error {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        if let Ok(ConnectionState::EncodeTlsData(mut alert)) = state
            && let Ok(length) = alert.encode(&mut self.to_send)
        {
            // The error that led here is the one to report.
            let _ = self.send(length, deadline);
        }
        wrapped(error)
    }

    fn send(&mut self, length: usize, deadline: &Deadline) -> Result<(), Error> {
        let bytes = &self.to_send[..length];
        match &mut self.below {
            Either::B(wire) => wire.send(bytes, deadline.left()),
            Either::A(tunnel) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let space = tunnel.buffers().output();
                    let (now, later) = rest.split_at(rest.len().min(space.len()));
                    space[..now.len()].copy_from_slice(now);
                    tunnel.transmit_output(now.len(), deadline.left())?;
                    rest = later;
                }
                Ok(())
            }
        }
    }

    /// Receives what there is, at least a byte. An end here is not one that the server announced.
    fn receive(&mut self, deadline: &Deadline) -> Result<(), Error> {
        // Mostly nothing waits: what came was whole records.
        self.received.copy_within(self.waiting.clone(), 0);
        self.waiting = 0..self.waiting.len();
        if self.waiting.end == self.received.len() {
            if self.waiting.end >= MOST_RECEIVED {
                return Err(wrapped(rustls::Error::General("a message without end".into())));
            }
            self.received.resize(self.waiting.end * 2, 0);
        }
        let space = &mut self.received[self.waiting.end..];
        let length = match &mut self.below {
            Either::B(wire) => wire.receive(space, deadline.left())?,
            Either::A(tunnel) => {
                if tunnel.buffers().input().is_empty() && !tunnel.await_input(deadline.left())? {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                let input = tunnel.buffers().input();
                let length = input.len().min(space.len());
                space[..length].copy_from_slice(&input[..length]);
                tunnel.buffers().input_consume(length);
                length
            }
        };
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.waiting.end += length;
        Ok(())
    }
}

/// Encodes behind the first `ready` bytes of `space`, made larger where it has to be: gives the length. `encode` says
/// with `Some` how much it needs.
fn grown(
    space: &mut Vec<u8>,
    ready: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<usize, Error> {
    loop {
        match encode(&mut space[ready..]) {
            Ok(length) => return Ok(length),
            Err(Some(needed)) => space.resize(ready + needed, 0),
            Err(None) => return Err(wrapped(rustls::Error::EncryptError)),
        }
    }
}

impl<T: Transport> Transport for Secure<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if amount > 0 && self.step(amount, &Deadline::new(timeout))? == Step::Closed {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = Deadline::new(timeout);
        loop {
            match self.step(0, &deadline)? {
                Step::Plain => return Ok(true),
                Step::Closed => return Ok(false),
                Step::Handshake | Step::Open => self.receive(&deadline)?,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl<T> std::fmt::Debug for Secure<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}
