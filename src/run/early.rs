//! Why a run ends before its natural end, and what follows from it: status, exit code, words.

use std::time::{Duration, SystemTime};

use crate::error::{Error, ExitCode};
use crate::manifest::Status;
use crate::stop::Reason;

/// Why a run ends before its natural end.
pub(super) enum Early {
    Asked(Reason),
    ComeBack(Duration),
    Broken { error: Error, forgive: bool },
}

impl Early {
    pub(super) fn broken(error: Error) -> Self {
        Self::Broken { error, forgive: false }
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::Asked(_) | Self::ComeBack(_) => Status::Interrupted,
            Self::Broken { .. } => Status::Failed,
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Asked(Reason::Signal(signal)) => ExitCode::Signal(*signal),
            Self::Asked(Reason::Runtime) | Self::ComeBack(_) => ExitCode::Partial,
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
            Self::Broken { error, .. } => error.line(),
        }
    }
}
