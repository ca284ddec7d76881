//! What happened to one GUID that was not saved: its kind, its cause, and whether it may pass.
//!
//! That is decided here, where a failure arises, by its kind; what follows from it is the run's to say.

use std::fmt;
use std::time::Duration;

/// The vocabulary, a row for each kind: what it stands for, its name in Rust, in tables and in JSON, and whether the same
/// request may succeed later.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $lasting:ident,)*) => {
        /// The stable vocabulary of failures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name that tables and JSON use.
            #[must_use]
            pub fn name(self) -> &'static str {
                self.row().0
            }

            fn row(self) -> (&'static str, Lasting) {
                match self {
                    $(Self::$kind => ($name, Lasting::$lasting),)*
                }
            }
        }
    };
}

/// Whether a failure lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    /// The same request will fail again.
    Permanent,
    /// It may succeed later.
    Transient,
    /// That depends on the status.
    ByStatus,
}

kinds! {
    /// 404 or 410.
    NotFound "not_found" Permanent,
    /// 401 or 403.
    Forbidden "forbidden" Permanent,
    /// 429.
    RateLimited "rate_limited" Transient,
    /// 5xx.
    ServerError "server_error" Transient,
    /// Any other status but 200.
    HttpStatus "http_status" ByStatus,
    /// Too many, a loop, to http, or to nowhere.
    Redirect "redirect" Permanent,
    /// The name was not found.
    Dns "dns" Transient,
    /// Refused, unreachable, a proxy that refuses, or closed before a whole response head.
    Connect "connect" Transient,
    /// The handshake or the certificate.
    Tls "tls" Transient,
    /// Not HTTP, or heads beyond all bounds.
    Protocol "protocol" Transient,
    /// The attempt's time was over.
    Timeout "timeout" Transient,
    /// Ended inside the body, or not proved whole.
    Truncated "truncated" Transient,
    /// Over the limit.
    TooLarge "too_large" Permanent,
    /// No bytes.
    Empty "empty" Permanent,
    /// Delivered whole, but not a whole image.
    NotAnImage "not_an_image" Permanent,
    /// Not the bytes that the origin declared.
    DigestMismatch "digest_mismatch" Transient,
    /// A picture that stands for one that is not there.
    Placeholder "placeholder" Permanent,
    /// Refused before any request.
    BadGuid "bad_guid" Permanent,
    /// Refused before any request.
    BadUrl "bad_url" Permanent,
    /// The file could not be written.
    Disk "disk" Transient,
}

impl Kind {
    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|kind| kind.name())
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened to one GUID when it was not saved. Data, not an error of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure.
    pub kind: Kind,
    /// The status, where the origin sent one.
    pub http_status: Option<u16>,
    /// The cause in words.
    pub message: String,
    /// How long the origin asks everybody to wait.
    pub retry_after: Option<Duration>,
    /// It concerns this image and no other, whatever its kind: its own name on disk, or where a redirect has led.
    pub own: bool,
    /// It may pass although its kind does not: what was asked for is at home all the same, or whoever refused did so to all.
    pub forgiven: bool,
    /// What helps against it, where it is not what helps against most of its kind.
    pub way_out: Option<&'static str>,
}

impl Failure {
    /// A failure without a status.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, http_status: None, message, retry_after: None, own: false, forgiven: false, way_out: None }
    }

    /// The same with the status that the origin sent.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// The same as one that concerns this image alone.
    #[must_use]
    pub fn of_one(mut self) -> Self {
        self.own = true;
        self
    }

    /// The same as one that may pass.
    #[must_use]
    pub fn forgiven(mut self) -> Self {
        self.forgiven = true;
        self
    }

    /// The same with what helps against it, where something else does than against most of its kind.
    #[must_use]
    pub fn with_way_out(mut self, way_out: impl Into<Option<&'static str>>) -> Self {
        self.way_out = way_out.into();
        self
    }

    /// The failure that a status other than 200 is.
    #[must_use]
    pub fn of_status(status: u16, reason: &str, retry_after: Option<Duration>) -> Self {
        let kind = match status {
            404 | 410 => Kind::NotFound,
            401 | 403 => Kind::Forbidden,
            // Only proxies send it.
            407 => Kind::Connect,
            429 => Kind::RateLimited,
            500..=599 => Kind::ServerError,
            _ => Kind::HttpStatus,
        };
        let message = if reason.is_empty() { format!("status {status}") } else { format!("status {status} {reason}") };
        Self { http_status: Some(status), retry_after, ..Self::new(kind, message) }
    }

    /// Whether it was refused before any request, so that it says nothing about the origin.
    #[must_use]
    pub fn is_refused_unasked(&self) -> bool {
        matches!(self.kind, Kind::BadGuid | Kind::BadUrl)
    }

    /// Whether the origin refused for its load or the client's rate.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.http_status, Some(429 | 503))
    }

    /// Whether it says something about the origin, or the way there, more than about the image. A refusal that says for how
    /// long is obeyed and proves nothing more.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        let refused = self.is_refusal() && self.retry_after.is_none();
        !self.own && (refused || matches!(self.kind, Kind::Dns | Kind::Connect | Kind::Tls))
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind.row().1 {
            Lasting::Permanent => self.forgiven,
            Lasting::Transient => true,
            Lasting::ByStatus => self.http_status == Some(408) || self.forgiven,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::from_name("other"), None);
    }

    #[test]
    fn a_status_is_transient_when_the_same_request_may_succeed_later() {
        for (status, kind, transient) in [
            (404, Kind::NotFound, false),
            (410, Kind::NotFound, false),
            (401, Kind::Forbidden, false),
            (403, Kind::Forbidden, false),
            (407, Kind::Connect, true),
            (429, Kind::RateLimited, true),
            (500, Kind::ServerError, true),
            (503, Kind::ServerError, true),
            (408, Kind::HttpStatus, true),
            (204, Kind::HttpStatus, false),
            (206, Kind::HttpStatus, false),
            (304, Kind::HttpStatus, false),
            (418, Kind::HttpStatus, false),
        ] {
            let failure = Failure::of_status(status, "", None);
            assert_eq!((failure.kind, failure.is_transient()), (kind, transient), "{status}");
        }
    }
}
