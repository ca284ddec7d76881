//! How a run ends, and what follows from it: the word in its row, the exit code, the words for whoever asks why.

use std::time::{Duration, SystemTime};

use crate::error::{Error, ExitCode, Result};
use crate::manifest::Status;

/// Why a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This signal came.
    Signal(i32),
    /// `--max-runtime` is over.
    Runtime,
}

/// How a run ends. Its natural ends are the first three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All that was pending is home.
    Home,
    /// What is not home has failed for good.
    ForGood,
    /// Something is left that may go well later.
    Left,
    /// It was asked to stop.
    Asked(Reason),
    /// The origin asks to be left alone for so long.
    ComeBack(Duration),
    /// The origin has not answered for too long, for this reason.
    Away(String),
    /// It could not go on.
    Broken {
        /// Why.
        error: Error,
        /// What failed since then is not taken for good: a blocked client is not a hundred missing images.
        forgive_since: Option<SystemTime>,
    },
}

impl Ending {
    /// It could not go on, and what failed stays failed.
    #[must_use]
    pub fn broken(error: Error) -> Self {
        Self::Broken { error, forgive_since: None }
    }

    /// Whether it could not go on.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }

    /// What failed since then is not taken for good.
    #[must_use]
    pub fn forgive_since(&self) -> Option<SystemTime> {
        if let Self::Broken { forgive_since, .. } = self { *forgive_since } else { None }
    }

    /// The last word in the run's row.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Home | Self::ForGood => Status::Complete,
            Self::Left => Status::Partial,
            Self::Asked(_) | Self::ComeBack(_) | Self::Away(_) => Status::Interrupted,
            Self::Broken { .. } => Status::Failed,
        }
    }

    /// What the process exits with.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Home => ExitCode::Done,
            Self::ForGood => ExitCode::Permanent,
            Self::Asked(Reason::Signal(signal)) => ExitCode::Signal(*signal),
            Self::Left | Self::Asked(Reason::Runtime) | Self::ComeBack(_) | Self::Away(_) => ExitCode::Partial,
            Self::Broken { error, .. } => error.code(),
        }
    }

    /// Why it ended before its natural end, in words.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Home | Self::ForGood | Self::Left => return None,
            Self::Asked(Reason::Signal(signal)) => format!("stopped by signal {signal}"),
            Self::Asked(Reason::Runtime) => "stopped by --max-runtime".into(),
            Self::ComeBack(wait) => {
                let wait = Duration::from_secs(wait.as_secs());
                let at = humantime::format_rfc3339_seconds(SystemTime::now() + wait);
                format!("the origin asks not to come back before {at}, in {}", humantime::format_duration(wait))
            }
            Self::Away(cause) => format!("the origin has not answered for five minutes: {cause}; run again later"),
            Self::Broken { error, .. } => error.line(),
        })
    }

    /// What the run's row says of it as an error: nothing where it was asked to stop.
    #[must_use]
    pub fn recorded_error(&self) -> Option<String> {
        if matches!(self, Self::Asked(_)) { None } else { self.words() }
    }

    /// The exit code of a run, its error printed by whoever prints errors.
    ///
    /// # Errors
    /// What it could not go on for.
    pub fn conclude(self) -> Result<ExitCode> {
        match self {
            Self::Broken { error, .. } => Err(error),
            other => Ok(other.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_code_and_words_follow_from_how_a_run_ends() {
        let error = Error::new("save", "file", "no room");
        for (ending, status, code, recorded) in [
            (Ending::Home, "complete", 0, None),
            (Ending::ForGood, "complete", 4, None),
            (Ending::Left, "partial", 3, None),
            (Ending::Asked(Reason::Signal(15)), "interrupted", 143, None),
            (Ending::Asked(Reason::Runtime), "interrupted", 3, None),
            (Ending::ComeBack(Duration::from_mins(10)), "interrupted", 3, Some("before ")),
            (Ending::Away("refused".into()), "interrupted", 3, Some("refused")),
            (Ending::broken(error.clone()), "failed", 1, Some("save: file: no room")),
            (Ending::broken(error.with_code(ExitCode::Busy)), "failed", 75, Some("no room")),
        ] {
            assert_eq!((ending.status().word(), ending.code().number()), (status, code), "{ending:?}");
            let error = ending.recorded_error();
            assert_eq!(error.is_some(), recorded.is_some(), "{ending:?}");
            assert!(error.unwrap_or_default().contains(recorded.unwrap_or_default()), "{ending:?}");
            assert_eq!(ending.conclude().is_err(), status == "failed");
        }
    }
}
