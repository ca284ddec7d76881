//! What a run is told, and whom it tells.

use std::time::{Duration, Instant};

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

/// What a run can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The origin has not answered yet.
    FirstAnswer,
    /// The origin asked for a pause.
    CoolDown,
    /// The origin is away; one asks again after a pause.
    Origin,
    /// Another program has the warehouse.
    Lock,
    /// The user's limit of requests a second.
    Rate,
    /// The user's limit of bytes a second.
    Bandwidth,
    /// The pace that the origin's refusals leave.
    OriginPace,
    /// All that is left has failed and is tried again later.
    BackOff,
    /// Requests are under way, and nothing has come for a while.
    Answers,
    /// Nobody says what to fetch.
    Input,
    /// Nobody takes what was fetched.
    Output,
}

/// What a run waits for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// For what.
    pub on: On,
    /// Until when, where that is known.
    pub until: Option<Instant>,
    /// Whose doing it is, in words; may be empty.
    pub why: String,
}

impl Wait {
    /// A wait for whose end nobody has a time.
    #[must_use]
    pub fn new(on: On, why: impl Into<String>) -> Self {
        Self { on, until: None, why: why.into() }
    }
}

/// How a run stands at a moment.
#[derive(Debug, Clone)]
pub struct Moment<'r> {
    /// What has come of it so far.
    pub tally: &'r Tally,
    /// GUIDs that it expects to serve.
    pub expected: Option<u64>,
    /// Attempts that went wrong and were, or will be, made again.
    pub retries: u64,
    /// GUIDs that workers have or will have soon.
    pub in_flight: u64,
    /// What keeps it from going on, or from recording.
    pub wait: Option<Wait>,
    /// It winds down.
    pub stopping: bool,
}

/// Who watches a run.
pub trait Watch {
    /// So it stands now.
    fn tick(&mut self, moment: &Moment<'_>);
    /// A GUID's story has ended.
    fn outcome(&mut self, outcome: &Outcome);
    /// Something that the user should know, in one line.
    fn notice(&mut self, line: &str);
}
