//! Whom to trust, and who one is: trust roots, and the client's own certificate.
//!
//! Both follow what curl users know, and both are settled before the first request, so that a mistake in
//! them is one clear error and not 12,217 failures. The environment comes in as values; this file reads files only.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::input;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A PEM file that the user named, and what is in it: read once, since it may be a stream.
#[derive(Clone)]
pub struct Pem {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl fmt::Debug for Pem {
    /// Its name alone: there may be a key in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl Pem {
    /// Reads one, whatever it should hold; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(what: &str, path: PathBuf) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = input::source(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|cause| Error::new(what, path.display(), cause))?;
        Ok(Self { path, bytes })
    }
}

/// Where trust roots come from.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// PEM roots on top of the others.
    pub ca_cert: Option<Pem>,
    /// `SSL_CERT_FILE`.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`.
    pub dir: Option<PathBuf>,
    /// The template is plain http, so that only a redirect would need any.
    pub spare: bool,
}

/// The roots: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the system's, else Mozilla's; and `--ca-cert`'s. With them
/// comes a warning, when those that the environment names are not to be had and `--ca-cert`'s must do alone: to take
/// the system's instead would be to trust more than was asked for.
///
/// # Errors
/// A file that was named and cannot be read, or holds no certificate.
pub fn certificates(roots: &Roots) -> Result<(Vec<CertificateDer<'static>>, Option<String>)> {
    let own = roots.ca_cert.as_ref().map(|file| pem("trust roots", &file.path, &file.bytes)).transpose()?;
    let (mut list, warning) = match named(roots) {
        None => (system(), None),
        Some(Ok(list)) => (list, None),
        Some(Err(error)) if own.is_some() || roots.spare => {
            let left =
                if own.is_some() { "only those of --ca-cert are trusted" } else { "no redirect to https is trusted" };
            (Vec::new(), Some(format!("{}; {left}", error.line())))
        }
        Some(Err(error)) => return Err(error),
    };
    list.extend(own.unwrap_or_default());
    // A folder of roots often holds each of them more than once.
    list.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    list.dedup();
    Ok((list, warning))
}

/// The roots that the environment names, if it does.
fn named(roots: &Roots) -> Option<Result<Vec<CertificateDer<'static>>>> {
    let path = roots.file.as_deref().or(roots.dir.as_deref())?;
    // Not left to the loader, because it takes an unreadable file for an empty one.
    let read = |file: &Path| {
        let bytes = std::fs::read(file).map_err(|cause| Error::new("trust roots", file.display(), cause))?;
        pem("trust roots", file, &bytes)
    };
    let mut list = match roots.file.as_deref().map(read) {
        Some(Err(error)) => return Some(Err(error.with_way_out("it is named by SSL_CERT_FILE"))),
        list => list.and_then(Result::ok).unwrap_or_default(),
    };
    let found = rustls_native_certs::load_certs_from_paths(None, roots.dir.as_deref());
    list.extend(found.certs);
    if list.is_empty() {
        let cause = found.errors.first().map_or("no certificate in it".into(), ToString::to_string);
        let error = Error::new("trust roots", path.display(), cause);
        return Some(Err(error.with_way_out("it is named by SSL_CERT_DIR")));
    }
    Some(Ok(list))
}

fn system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() { webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec() } else { found }
}

/// Who the client is, for an origin that asks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM: its certificate, and those between it and its authority.
    pub cert: Pem,
    /// PEM: its key; else it is in the certificate's file.
    pub key: Option<Pem>,
}

/// A certificate with its chain, and the key that belongs to it.
pub type CertifiedKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Takes what `--cert` and `--key` name.
///
/// # Errors
/// A file that does not hold what it should, or a key that is another certificate's.
pub fn identity(identity: &Identity) -> Result<CertifiedKey> {
    let Pem { path: cert, bytes } = &identity.cert;
    let chain = pem("client certificate", cert, bytes).map_err(|error| error.with_way_out("it is named by --cert"))?;
    let Pem { path, bytes } = identity.key.as_ref().unwrap_or(&identity.cert);
    let error = |cause: &str| Error::new("client key", path.display(), cause);
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|cause| match cause {
        PemError::NoItemsFound if bytes.windows(9).any(|word| word == b"ENCRYPTED") => {
            error("it has a passphrase").with_way_out("openssl pkey -in FILE -out KEY takes it off")
        }
        PemError::NoItemsFound => error("no key in it").with_way_out("--key names the file of the key, as PEM"),
        _ => error("not PEM").with_way_out("--key names the file of the key, as PEM"),
    })?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| error("not a key that toller can use").with_way_out("RSA, ECDSA and Ed25519 keys can be used"))?;
    match rustls::sign::CertifiedKey::new(chain.clone(), signer).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(error(&format!("not the key of the certificate in {}", cert.display())))
        }
        _ => Ok((chain, key)),
    }
}

fn pem(what: &str, file: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let error = |cause: String| Error::new(what, file.display(), cause);
    let list: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| error("not PEM".into()))?;
    if list.is_empty() {
        return Err(error("no certificate in it".into()).with_way_out("it must hold PEM blocks, BEGIN CERTIFICATE"));
    }
    // One that rustls cannot parse is left out without a word, as in the system's own store; but not all of them.
    let mut store = rustls::RootCertStore::empty();
    let faults: Vec<_> = list.iter().map_while(|root| store.add(root.clone()).err()).collect();
    if let (Some(cause), true) = (faults.last(), faults.len() == list.len()) {
        return Err(error(super::words::tls_words(cause, "")));
    }
    Ok(list)
}
