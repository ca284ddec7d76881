//! What went wrong, in toller's words: every error of ureq and rustls gets its kind and its cause.

use ureq::http::Uri;

use crate::failure::{Failure, Kind};

use super::dial::Unreached;
use super::names::LookUpFailed;
use super::proxies::ProxyRefused;
use super::{Origin, wire};

/// What helps where it is the proxy that cannot be reached.
const SEE_PROXY: &str = "see --proxy, and HTTPS_PROXY, HTTP_PROXY and ALL_PROXY in the environment";

impl Origin {
    /// What an error before or inside the response head means.
    pub(super) fn classify(&self, error: ureq::Error, uri: &Uri) -> Failure {
        use ureq::Error as E;
        let host = uri.host().unwrap_or_default();
        match error {
            E::Timeout(at) => self.timed_out(at),
            E::HostNotFound => Failure::new(Kind::Dns, format!("{host}: no address")),
            E::Other(cause) => match (cause.downcast_ref::<LookUpFailed>(), cause.downcast_ref::<Unreached>()) {
                (Some(failed), _) => {
                    Failure::new(Kind::Dns, failed.to_string()).with_way_out(failed.of_proxy.then_some(SEE_PROXY))
                }
                (_, Some(unreached)) => self.unreached(unreached, uri),
                _ => match cause.downcast_ref::<ProxyRefused>() {
                    Some(refused) => of_proxy(refused),
                    None => Failure::new(Kind::Protocol, cause.to_string()),
                },
            },
            E::Io(error) => of_connection(&error, host),
            E::Tls(cause) => Failure::new(Kind::Tls, cause),
            E::TlsRequired => Failure::new(Kind::Tls, "the connection is not encrypted"),
            E::ConnectProxyFailed(cause) => {
                let failure = Failure::new(Kind::Connect, format!("proxy: {}", proxy_words(&cause)));
                if cause.starts_with("proxy server responded 407") { failure.with_status(407) } else { failure }
            }
            E::ConnectionFailed => Failure::new(Kind::Connect, "connection failed"),
            E::BadUri(_) => Failure::new(Kind::BadUrl, "not a URL that can be asked for"),
            E::LargeResponseHeader(..) => Failure::new(Kind::Protocol, "a response head beyond 64 kB"),
            E::Protocol(cause) => Failure::new(Kind::Protocol, cause.to_string()),
            other => Failure::new(Kind::Protocol, other.to_string()),
        }
    }

    /// What an error inside a body means.
    pub(super) fn classify_body(&self, error: ureq::Error, received: usize) -> Failure {
        use ureq::Error as E;
        match error {
            E::Timeout(at) => self.timed_out(at),
            E::Protocol(cause) => Failure::new(Kind::Protocol, cause.to_string()),
            _ => Failure::new(Kind::Truncated, format!("the connection ended after {received} bytes of the body")),
        }
    }

    fn unreached(&self, unreached: &Unreached, uri: &Uri) -> Failure {
        let routes = &self.shared.routes;
        let proxied = routes.relay(uri).or(routes.tunnel(uri)).is_some();
        let proxy = if proxied { "proxy " } else { "" };
        if unreached.silent {
            let limit = self.connect_timeout.as_secs_f64();
            Failure::new(Kind::Timeout, format!("not connected within {limit} s: {proxy}{}", unreached.words))
        } else {
            let words = format!("{proxy}{}", unreached.words);
            Failure::new(Kind::Connect, words).with_way_out(proxied.then_some(SEE_PROXY))
        }
    }

    fn timed_out(&self, at: ureq::Timeout) -> Failure {
        let (words, limit) = match at {
            ureq::Timeout::Connect => ("not connected", self.connect_timeout),
            _ => ("not finished", self.timeout),
        };
        let whom = wire::trace().address.map(|address| format!(": {address}")).unwrap_or_default();
        Failure::new(Kind::Timeout, format!("{words} within {} s{whom}", limit.as_secs_f64()))
    }
}

fn of_connection(error: &std::io::Error, host: &str) -> Failure {
    match rustls_error(error) {
        Some(cause) => Failure::new(Kind::Tls, tls_words(cause, host)).with_way_out(tls_way_out(cause)),
        None => Failure::new(Kind::Connect, connect_words(error)),
    }
}

fn of_proxy(ProxyRefused { host, cause }: &ProxyRefused) -> Failure {
    let failure = of_connection(cause, host);
    let is_trust = failure.kind == Kind::Tls && failure.way_out.is_none();
    let message = format!("proxy {host}: {}", failure.message);
    Failure { message, ..failure }.with_way_out((!is_trust).then_some(SEE_PROXY))
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What is wrong with a handshake or a certificate, without a library's names for it.
pub fn tls_words(error: &rustls::Error, host: &str) -> String {
    use rustls::{AlertDescription as A, Error as E};
    match error {
        E::InvalidCertificate(cause) => certificate_words(cause, host),
        E::NoApplicationProtocol | E::AlertReceived(A::NoApplicationProtocol) => {
            "the server does not speak HTTP/1.1".into()
        }
        E::PeerMisbehaved(rustls::PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            "the server chose another protocol than HTTP/1.1".into()
        }
        E::AlertReceived(A::CertificateRequired) => {
            "the server wants a client certificate; --cert and --key give one".into()
        }
        E::AlertReceived(alert) => format!("the server refused the handshake: {}", spaced(&format!("{alert:?}"))),
        E::InvalidMessage(_) | E::PeerSentOversizedRecord => "the server does not speak TLS".into(),
        E::PeerIncompatible(cause) => format!("the server's TLS is not toller's: {}", spaced(&format!("{cause:?}"))),
        E::PeerMisbehaved(cause) => format!("the server breaks the rules of TLS: {}", spaced(&format!("{cause:?}"))),
        E::DecryptError => "what the server sent cannot be decrypted".into(),
        E::General(words) => words.clone(),
        other => format!("TLS failed: {}", spaced(&format!("{other:?}"))),
    }
}

/// What helps against it, where that is not to trust one more authority.
fn tls_way_out(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as A, CertificateError as C, Error as E};
    Some(match error {
        E::InvalidMessage(_) | E::PeerSentOversizedRecord => {
            "look at the port in --url, and whether it should begin with http://"
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => "look at the host in --url",
        E::InvalidCertificate(
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. },
        ) => "look at this machine's clock; if it is right, whoever runs the origin has to renew the certificate",
        E::AlertReceived(
            A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied,
        ) => "see --cert and --key",
        E::InvalidCertificate(_) => return None,
        _ => "look at the host and the port in --url",
    })
}

fn certificate_words(cause: &rustls::CertificateError, host: &str) -> String {
    use rustls::CertificateError as C;
    match cause {
        C::Expired | C::ExpiredContext { .. } => "the certificate has expired".into(),
        C::NotValidYet | C::NotValidYetContext { .. } => "the certificate is not valid yet".into(),
        C::UnknownIssuer => "the certificate's issuer is not trusted; --ca-cert adds one".into(),
        C::NotValidForName | C::NotValidForNameContext { .. } => format!("the certificate is not for {host}"),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "the certificate is not one for servers".into(),
        C::BadSignature => "the certificate's signature is wrong".into(),
        C::BadEncoding => "the certificate cannot be read".into(),
        C::Other(cause) if cause.to_string() == "CaUsedAsEndEntity" => {
            "the certificate is an authority's own, or signed by itself; given as --ca-cert it is trusted".into()
        }
        C::Other(cause) => format!("bad certificate: {}", spaced(&cause.to_string())),
        other => format!("bad certificate: {}", spaced(&format!("{other:?}"))),
    }
}

/// A library's name for something, without what is behind it, as words: `BadCertificate` is `bad certificate`.
fn spaced(name: &str) -> String {
    let name: Vec<char> = name.chars().take_while(|c| c.is_alphanumeric()).collect();
    let mut words = String::new();
    for (at, c) in name.iter().enumerate() {
        let begins = at > 0 && c.is_uppercase() && !name[at - 1].is_uppercase();
        words.push_str(if begins { " " } else { "" });
        words.extend(c.to_lowercase());
    }
    words
}

/// ureq says it as `proxy server responded 403/403`.
fn proxy_words(cause: &str) -> String {
    match cause.strip_prefix("proxy server responded ").and_then(|rest| rest.split('/').next()) {
        Some("407") => "it wants a name and a password that it knows (407)".into(),
        Some(status) => format!("it answered {status}"),
        None => cause.to_owned(),
    }
}

fn connect_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::UnexpectedEof => "closed before a whole response head".into(),
        K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted => "reset before a whole response head".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_library_become_words() {
        for (name, wanted) in [
            ("CaUsedAsEndEntity", "ca used as end entity"),
            ("BadDER", "bad der"),
            ("UnsupportedContext { a: 1 }", "unsupported context"),
            ("", ""),
        ] {
            assert_eq!(spaced(name), wanted);
        }
    }

    #[test]
    fn no_word_about_tls_looks_like_a_librarys() {
        use rustls::{AlertDescription as A, CertificateError as C, Error as E, PeerIncompatible, PeerMisbehaved};
        for error in [
            E::InvalidCertificate(C::UnhandledCriticalExtension),
            E::InvalidCertificate(C::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1],
                supported_algorithms: Vec::new(),
            }),
            E::AlertReceived(A::HandshakeFailure),
            E::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            E::PeerMisbehaved(PeerMisbehaved::MessageInterleavedWithHandshakeMessage),
            E::HandshakeNotComplete,
            E::BadMaxFragmentSize,
        ] {
            let words = tls_words(&error, "h.test");
            let plain = |c: char| c.is_ascii_alphanumeric() || " :;'-,./".contains(c);
            assert!(words.chars().all(plain), "{words}");
            let camel =
                words.as_bytes().windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
            assert!(!camel, "{words}");
        }
    }
}
