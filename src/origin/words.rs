//! What went wrong, in toller's words: every error of ureq and rustls gets its kind and its cause.

use ureq::http::Uri;

use crate::outcome::{Failure, Kind};

use super::{Origin, wire};

impl Origin {
    /// What an error before or inside the response head means.
    pub(super) fn classify(&self, error: ureq::Error, uri: &Uri) -> Failure {
        use ureq::Error as E;
        let host = uri.host().unwrap_or_default();
        match error {
            E::Timeout(at) => self.timed_out(at),
            E::HostNotFound => Failure::new(Kind::Dns, format!("{host}: no address")),
            E::Other(cause) if cause.is::<wire::LookUpFailed>() => Failure::new(Kind::Dns, cause.to_string()),
            E::Io(error) => match rustls_error(&error) {
                Some(cause) => Failure::new(Kind::Tls, tls_words(cause, host)),
                None => Failure::new(Kind::Connect, connect_words(&error)),
            },
            E::Tls(cause) => Failure::new(Kind::Tls, cause),
            E::TlsRequired => Failure::new(Kind::Tls, "the connection is not encrypted"),
            E::ConnectProxyFailed(cause) => Failure::new(Kind::Connect, format!("proxy: {cause}")),
            E::ConnectionFailed => Failure::new(Kind::Connect, "connection failed"),
            E::BadUri(cause) => Failure::new(Kind::BadUrl, cause),
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

    fn timed_out(&self, at: ureq::Timeout) -> Failure {
        let limit = if at == ureq::Timeout::Connect { self.connect_timeout } else { self.timeout };
        let words = match at {
            ureq::Timeout::Connect => "not connected",
            _ => "not finished",
        };
        Failure::new(Kind::Timeout, format!("{words} within {} s", limit.as_secs_f64()))
    }
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn tls_words(error: &rustls::Error, host: &str) -> String {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(cause) => match cause {
            C::Expired | C::ExpiredContext { .. } => "the certificate has expired".into(),
            C::NotValidYet | C::NotValidYetContext { .. } => "the certificate is not valid yet".into(),
            C::UnknownIssuer => "the certificate's issuer is not trusted; --ca-cert adds one".into(),
            C::NotValidForName | C::NotValidForNameContext { .. } => format!("the certificate is not for {host}"),
            other => format!("bad certificate: {other:?}"),
        },
        rustls::Error::AlertReceived(alert) => format!("the server refused the handshake: {alert:?}"),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".into(),
        other => other.to_string(),
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
