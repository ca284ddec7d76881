//! What a run has come to: its tally, and the row of `run_manifest` that says so.
//!
//! Pure counting. It does not know where the row is kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::ExitCode;
use crate::machine;
use crate::outcome::{Kind, Outcome};

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

/// The counts of a run so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Distinct GUIDs found at the start.
    pub pending: u64,
    /// Files brought home.
    pub fetched: u64,
    /// Files that were there already.
    pub reused: u64,
    /// GUIDs that failed, whether for good or not.
    pub failed: u64,
    /// Those among them that may go well later.
    pub transient: u64,
    /// Body bytes of the files fetched.
    pub bytes: u64,
    /// Requests sent, retries and redirects too.
    pub requests: u64,
    /// Connections opened.
    pub connections: u64,
    /// Failures by kind; as long as the vocabulary at the most.
    pub failures: BTreeMap<Kind, u64>,
}

impl Tally {
    /// Takes back what was counted of a file that turned out not to be kept.
    pub fn take_back(&mut self, outcome: &Outcome) {
        match &outcome.result {
            Ok(saved) if saved.reused => self.reused -= 1,
            Ok(saved) => {
                self.fetched -= 1;
                self.bytes -= saved.bytes;
            }
            Err(_) => {}
        }
    }

    /// Counts the end of one GUID.
    pub fn count(&mut self, outcome: &Outcome) {
        match &outcome.result {
            Ok(saved) if saved.reused => self.reused += 1,
            Ok(saved) => {
                self.fetched += 1;
                self.bytes += saved.bytes;
            }
            Err(failure) => {
                self.failed += 1;
                self.transient += u64::from(failure.is_transient());
                *self.failures.entry(failure.kind).or_default() += 1;
            }
        }
    }

    /// How a run that came to its natural end stands, and what it exits with; `left` when something is pending
    /// that it has not tried.
    #[must_use]
    pub fn verdict(&self, left: bool) -> (Status, ExitCode) {
        if left || self.transient > 0 {
            (Status::Partial, ExitCode::Partial)
        } else if self.failed > 0 {
            (Status::Complete, ExitCode::Permanent)
        } else {
            (Status::Complete, ExitCode::Done)
        }
    }

    /// GUIDs whose story is over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.fetched + self.reused + self.failed
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
    let gone = host == Some(here) && !pid.is_some_and(machine::is_alive);
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
    use crate::outcome::{Failure, Saved};

    #[test]
    fn a_tally_counts_what_is_over_once() {
        let mut tally = Tally::default();
        let outcome = |result| Outcome {
            id: "a".into(),
            url: None,
            attempts: 1,
            spent: Duration::ZERO,
            finished_at: SystemTime::now(),
            result,
        };
        tally.count(&outcome(Ok(Saved { bytes: 10, reused: false })));
        tally.count(&outcome(Ok(Saved { bytes: 7, reused: true })));
        tally.count(&outcome(Err(Failure::new(Kind::Timeout, ""))));
        tally.count(&outcome(Err(Failure::new(Kind::NotFound, ""))));
        assert_eq!((tally.fetched, tally.reused, tally.failed, tally.transient, tally.bytes), (1, 1, 2, 1, 10));
        assert_eq!(tally.done(), 4);
        assert_eq!(tally.failures, BTreeMap::from([(Kind::NotFound, 1), (Kind::Timeout, 1)]));
    }

    #[test]
    fn a_run_is_dead_when_its_process_is_gone_or_it_was_silent_for_a_day() {
        let (here, minute) = ("here", Some(Duration::from_mins(1)));
        let own = Some(i64::from(std::process::id()));
        assert!(!is_dead(Some(here), own, minute, here));
        assert!(is_dead(Some(here), Some(i64::MAX), minute, here));
        assert!(is_dead(Some(here), None, minute, here));
        assert!(!is_dead(Some("elsewhere"), Some(i64::MAX), minute, here));
        assert!(is_dead(Some("elsewhere"), own, Some(A_DAY), here) && is_dead(Some(here), own, Some(A_DAY), here));
        assert!(is_dead(None, own, None, here));
    }

    #[test]
    fn run_ids_sort_by_their_start() {
        let id = new_run_id(SystemTime::UNIX_EPOCH);
        assert!(id.starts_with("19700101T000000-"), "{id}");
        assert_eq!(id.len(), 24);
    }
}
