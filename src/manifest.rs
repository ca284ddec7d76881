//! What the row of a run says of it, from its first moment to its last. It does not know where the row is kept.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::machine;

/// How a run stands, in the words of `run_manifest.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is under way.
    Running,
    /// Nothing is left that could go well later.
    Complete,
    /// Some GUIDs failed in a way that may pass.
    Partial,
    /// It was stopped before its end.
    Interrupted,
    /// It could not go on.
    Failed,
}

impl Status {
    /// The word in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// What the row of a run says from its first moment.
#[derive(Debug, Clone)]
pub struct RunManifest {
    /// Sorts by start; also the name of the run's temporary folder.
    pub run_id: String,
    /// When it began.
    pub started_at: SystemTime,
    /// Threads.
    pub workers: usize,
    /// The template, or the column that holds the URLs.
    pub url: Option<String>,
    /// The destination, absolute.
    pub dest: Option<PathBuf>,
    /// Of the files.
    pub extension: Option<String>,
    /// Levels of folders.
    pub fanout: Option<u8>,
    /// What counted as a good body.
    pub expect: Option<&'static str>,
    /// Where it runs.
    pub host: String,
}

/// How long a `running` row may go without news before it counts as dead, wherever it runs.
const A_DAY: Duration = Duration::from_hours(24);

/// Whether a run whose row says `running` is dead: its process is gone from this host, or it was silent for a day. Of a
/// run in a destination whose lock is free it is known without asking.
#[must_use]
pub fn is_dead(host: Option<&str>, pid: Option<i64>, silent: Option<Duration>, here: &str) -> bool {
    // Whoever asks is no run: in a container every process may have been the first one.
    let lives = |pid| pid != i64::from(std::process::id()) && machine::is_alive(pid);
    let gone = host == Some(here) && !pid.is_some_and(lives);
    gone || silent.is_none_or(|silent| silent >= A_DAY)
}

/// A run's name: the second it began in, UTC, and eight random digits.
#[must_use]
pub fn new_run_id(now: SystemTime) -> String {
    let time: String =
        humantime::format_rfc3339_seconds(now).to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{}-{:08x}", time.trim_end_matches('Z'), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_dead_when_its_process_is_gone_or_it_was_silent_for_a_day() {
        let (here, minute) = ("here", Some(Duration::from_mins(1)));
        let (own, living) = (Some(i64::from(std::process::id())), Some(1));
        assert!(!is_dead(Some(here), living, minute, here));
        assert!(is_dead(Some(here), own, minute, here));
        assert!(is_dead(Some(here), Some(i64::MAX), minute, here));
        assert!(is_dead(Some(here), None, minute, here));
        assert!(!is_dead(Some("elsewhere"), Some(i64::MAX), minute, here));
        assert!(
            is_dead(Some("elsewhere"), living, Some(A_DAY), here) && is_dead(Some(here), living, Some(A_DAY), here)
        );
        assert!(is_dead(None, living, None, here));
    }

    #[test]
    fn run_ids_sort_by_their_start() {
        let id = new_run_id(SystemTime::UNIX_EPOCH);
        assert!(id.starts_with("19700101T000000-"), "{id}");
        assert_eq!(id.len(), 24);
    }
}
