//! Why a run ends before its natural end, and what follows from it: status, exit code, words.

use std::time::{Duration, SystemTime};

use super::stop::Reason;
use crate::error::{Error, ExitCode};
use crate::failure::{Failure, Kind};
use crate::manifest::Status;

use super::policy::{ROW, TooMany, place_of};

/// Why a run ends before its natural end.
pub(super) enum Early {
    Asked(Reason),
    ComeBack(Duration),
    /// It has not answered for too long, for this reason.
    Away(String),
    /// What failed since then is not taken for good.
    Broken {
        error: Error,
        forgive_since: Option<SystemTime>,
    },
}

impl Early {
    pub(super) fn broken(error: Error) -> Self {
        Self::Broken { error, forgive_since: None }
    }

    /// Nothing has ever worked: every failure so far is the origin's.
    pub(super) fn hopeless(url: &str, failure: &Failure) -> Self {
        let (name, way_out) = match failure.kind {
            Kind::Dns => ("look-up", "look at the host in --url"),
            Kind::Tls => ("TLS", "see --ca-cert and SSL_CERT_FILE"),
            Kind::Forbidden => ("access", "see --header and --header-file"),
            _ if failure.http_status == Some(407) => ("proxy", "see --proxy: it takes user:password@ before the host"),
            Kind::Connect => ("connect", "look at the host and the port in --url, and see --proxy"),
            _ => ("protocol", "look at the scheme and the port in --url"),
        };
        let cause = format!("{ROW} {name} failures in a row and no success: {}", failure.message);
        let error = Error::new("fetch", place_of(url), cause).with_way_out(way_out);
        Self::Broken { error, forgive_since: Some(SystemTime::UNIX_EPOCH) }
    }

    /// Too many have failed.
    pub(super) fn too_many(found: &TooMany) -> Self {
        let way_out = match found.commonest {
            Kind::RateLimited => "ask for less with --rate, or allow more with --max-failure-rate",
            _ => "look at what failed, or allow more with --max-failure-rate",
        };
        let error = Error::new("fetch", "failure rate", &found.words).with_way_out(way_out);
        Self::Broken { error, forgive_since: SystemTime::now().checked_sub(found.since.elapsed()) }
    }

    pub(super) fn forgive_since(&self) -> Option<SystemTime> {
        if let Self::Broken { forgive_since, .. } = self { *forgive_since } else { None }
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::Asked(_) | Self::ComeBack(_) | Self::Away(_) => Status::Interrupted,
            Self::Broken { .. } => Status::Failed,
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Asked(Reason::Signal(signal)) => ExitCode::Signal(*signal),
            Self::Asked(Reason::Runtime) | Self::ComeBack(_) | Self::Away(_) => ExitCode::Partial,
            Self::Broken { error, .. } => error.code(),
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Asked(Reason::Signal(signal)) => format!("stopped by signal {signal}"),
            Self::Asked(Reason::Runtime) => "stopped by --max-runtime".into(),
            Self::ComeBack(wait) => {
                let wait = Duration::from_secs(wait.as_secs());
                let at = humantime::format_rfc3339_seconds(SystemTime::now() + wait);
                format!("the origin asks not to come back before {at}, in {}", humantime::format_duration(wait))
            }
            Self::Away(cause) => format!("the origin has not answered for five minutes: {cause}; run again later"),
            Self::Broken { error, .. } => error.line(),
        }
    }
}
