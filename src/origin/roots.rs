//! Whom to trust and through whom to go: trust roots and the proxy.
//!
//! Both follow what curl users know, and both are settled before the first request, so that a mistake in
//! them is one clear error and not 12,217 failures. The environment comes in as values; this file reads files only.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Proxy;

use crate::error::{Error, Result};

/// Where trust roots come from.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// PEM roots on top of the others.
    pub ca_cert: Option<PathBuf>,
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
    let own = roots.ca_cert.as_deref().map(pem).transpose()?;
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
    let mut list = match roots.file.as_deref().map(pem) {
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

fn pem(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let error = |cause: String| Error::new("trust roots", file.display(), cause);
    let bytes = std::fs::read(file).map_err(|cause| error(cause.to_string()))?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<std::result::Result<_, _>>()
        .map_err(|cause| error(format!("not PEM: {cause}")))?;
    if list.is_empty() {
        return Err(error("no certificate in it".into()).with_way_out("it must hold PEM blocks, BEGIN CERTIFICATE"));
    }
    // One that rustls cannot parse is left out without a word, as in the system's own store; but not all of them.
    let mut store = rustls::RootCertStore::empty();
    let faults: Vec<_> = list.iter().map_while(|root| store.add(root.clone()).err()).collect();
    if let (Some(cause), true) = (faults.last(), faults.len() == list.len()) {
        return Err(error(format!("bad certificate: {cause}")));
    }
    Ok(list)
}

/// What the command line and the environment say about proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `https` URLs: `--proxy`, else `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https: Option<String>,
    /// For `http` URLs: `--proxy`, else `HTTP_PROXY`, else `ALL_PROXY`.
    pub http: Option<String>,
    /// `NO_PROXY`, obeyed in every case.
    pub exempt: Option<String>,
}

/// Turns one proxy URL into ureq's form, with the exemptions.
///
/// # Errors
/// A URL that is none, or a kind of proxy that toller does not speak.
pub fn proxy(url: Option<&str>, exempt: Option<&str>) -> Result<Option<Proxy>> {
    let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(None) };
    // The URL may hold a password, so that no message may repeat it.
    let error =
        |cause: &str| Error::new("proxy", "its URL", cause).with_way_out("give http://HOST:PORT or https://HOST:PORT");
    let parsed = Proxy::new(url).map_err(|cause| error(&cause.to_string()))?;
    if !matches!(parsed.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
        return Err(error("only http and https proxies are spoken"));
    }
    // `Proxy::new` ignores NO_PROXY, and only the builder takes it.
    let mut builder = Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
    if let Some(name) = parsed.username() {
        builder = builder.username(name);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for pattern in exempt.unwrap_or_default().split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
        // As curl has it, a domain stands for its hosts too, with or without a dot before it.
        let domain = pattern.trim_start_matches("*.").trim_start_matches('.');
        builder = builder.no_proxy(domain).no_proxy(&format!(".{domain}"));
    }
    builder.build().map(Some).map_err(|cause| error(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_keeps_its_password_and_its_exemptions() {
        let proxy = proxy(Some("http://me:p%40ss@proxy.test:3128"), Some("a.test, .b.test"));
        let proxy = proxy.expect("a good proxy").expect("one");
        assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("p@ss")));
        for (url, exempt) in [
            ("https://a.test/x", true),
            ("https://c.a.test/x", true),
            ("https://c.b.test/x", true),
            ("https://other.test/x", false),
        ] {
            assert_eq!(proxy.is_no_proxy(&url.parse().expect("a URL")), exempt, "{url}");
        }
    }

    #[test]
    fn a_bad_proxy_is_refused_without_repeating_its_password() {
        for url in ["socks5://me:secret@h:1", "http://", "ftp://me:secret@h"] {
            let error = proxy(Some(url), None).expect_err(url);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
