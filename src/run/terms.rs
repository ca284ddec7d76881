//! What a run is told, whom it tells, and what it says at its end.

use std::time::Duration;

use crate::error::{Error, ExitCode};
use crate::manifest::Status;
use crate::outcome::Outcome;
use crate::tally::Tally;

/// What a run has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads, connections, requests in flight.
    pub workers: usize,
    /// Further attempts for transient failures.
    pub retries: u32,
    /// Record when so many outcomes have come, or after so long.
    pub batch: usize,
    /// See `batch`.
    pub batch_time: Duration,
    /// Stop when more than this share, in percent, of the last hundred failed; 100 is never.
    pub max_failure_rate: f64,
    /// Stop when more than this share, in percent, of the last hundred bodies are one and the same; 100 is never.
    pub max_same: f64,
    /// GUIDs that the run expects to serve, for whoever watches.
    pub expected: Option<u64>,
}

/// Who watches a run.
pub trait Watch {
    /// The counts have changed.
    fn tick(&mut self, tally: &Tally, expected: Option<u64>);
    /// A GUID's story has ended.
    fn outcome(&mut self, outcome: &Outcome);
    /// Something that the user should know, in one line.
    fn notice(&mut self, line: &str);
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its counts.
    pub tally: Tally,
    /// The word in the run's row.
    pub status: Status,
    /// What the process exits with.
    pub code: ExitCode,
    /// Why it could not go on, if so.
    pub error: Option<Error>,
}
