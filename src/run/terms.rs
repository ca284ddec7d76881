//! What a run is told, and whom it tells.

use std::time::Duration;

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
