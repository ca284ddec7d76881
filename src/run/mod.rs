//! The run: hands out jobs, takes attempts back, records batches, and knows when it is over.
//!
//! Main sends some GUIDs ahead, its credit, and one more for each that comes back. Both channels hold that many, so
//! nothing is unbounded and nobody blocks: the workers have work while a batch is recorded. A GUID in back-off waits
//! here with its due time, and a worker never sleeps for it. Ending is hanging up.

mod crew;
mod judge;
mod ledger;
pub mod pace;
mod policy;
mod rate;
mod settle;
pub mod stop;
mod terms;
mod throttle;
mod view;
mod waiting;
mod winding;
pub mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::ending::Ending;
use crate::error::Result;
use crate::facts::Facts;
use crate::failure::{Failure, Kind};
use crate::guid::Guid;
use crate::outcome::{How, Job, Outcome, Saved};
use crate::tally::Tally;

use crew::Crew;
use policy::Policy;
use stop::Stop;
use waiting::Waiting;
use worker::work;

pub use judge::{Expect, facts, proves_itself};
pub use ledger::{Closing, Ledger, Supply};
pub use terms::{Moment, On, Settings, Wait, Watch};
pub use worker::Tools;

/// The fewest and the most GUIDs in flight.
const IN_FLIGHT: (u64, u64) = (256, 4096);
/// So many each channel holds: more than may be in flight, so that nobody blocks.
const CAPACITY: usize = 4096;
/// How long the workers should have work without being sent any: longer than a window on a large warehouse.
const AHEAD_SECONDS: f64 = 2.0;
/// How long what is in flight may take to end once the run is being stopped.
const GRACE: Duration = Duration::from_secs(5);
/// How long what was cut off then may take to notice.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// So many GUIDs may be in back-off before no new ones are begun.
const MOST_WAITING: usize = 4096;
/// So many outcomes may wait to be recorded before the workers do: some 70 MB.
const MOST_UNRECORDED: usize = 400_000;

/// Runs until nothing is pending, or until it has to end; says what it came to and how it ended.
///
/// # Errors
/// The books cannot be kept. Everything else that ends a run is an [`Ending`].
pub fn run(
    ledger: &mut dyn Ledger,
    tools: Arc<Tools>,
    settings: &Settings,
    stop: &Stop,
    watch: &mut dyn Watch,
    pending: u64,
) -> Result<(Tally, Ending)> {
    let shared = Arc::clone(&tools);
    let crew = Crew::start(settings.workers, CAPACITY, move |number, jobs, attempts| {
        work(number, &shared, jobs, attempts);
    });
    let crew = crew.inspect_err(|error| {
        // The books were opened for this run; whether they can be closed is not the error to report.
        let _ = ledger.finish(&[], &Tally { pending, ..Tally::default() }, Some(&Ending::broken(error.clone())));
    })?;
    let course = Course {
        ledger,
        tools,
        settings,
        watch,
        pending,
        tally: Tally { pending, ..Tally::default() },
        started: Instant::now(),
        batch: Vec::new(),
        batch_since: Instant::now(),
        durable: 0,
        waiting: BinaryHeap::new(),
        sequence: 0,
        in_flight: 0,
        most_in_flight: 0,
        retries: 0,
        came_at: Instant::now(),
        exhausted: false,
        dry: false,
        left: false,
        policy: Policy::new(settings.max_failure_rate, settings.retries, settings.max_same),
        doubtful: Vec::new(),
        early: None,
    };
    course.follow(crew, stop)
}

/// A run under way.
struct Course<'r> {
    ledger: &'r mut dyn Ledger,
    tools: Arc<Tools>,
    settings: &'r Settings,
    watch: &'r mut dyn Watch,
    /// Counted at the start.
    pending: u64,
    tally: Tally,
    started: Instant,
    batch: Vec<Outcome>,
    batch_since: Instant,
    /// So many at the front of the batch have durable files.
    durable: usize,
    /// GUIDs in back-off, the one due first on top.
    waiting: BinaryHeap<Reverse<Waiting>>,
    sequence: u64,
    in_flight: u64,
    /// So many may be in flight.
    most_in_flight: u64,
    /// Attempts that are made again.
    retries: u64,
    /// When an attempt came home last.
    came_at: Instant,
    /// The ledger has nothing more.
    exhausted: bool,
    /// The ledger has nothing before it is opened again.
    dry: bool,
    /// At the natural end something was pending that this run has not tried.
    left: bool,
    policy: Policy,
    /// What failed in a way that may be the origin's; at most as many as make that certain.
    doubtful: Vec<(Job, Failure)>,
    /// How it ends before its natural end, once that is known.
    early: Option<Ending>,
}

impl Course<'_> {
    fn follow(mut self, mut crew: Crew, stop: &Stop) -> Result<(Tally, Ending)> {
        if let Err(error) = self.drive(&mut crew, stop) {
            self.early = Some(Ending::broken(error));
        }
        self.wind_down(crew, stop)
    }

    fn drive(&mut self, crew: &mut Crew, stop: &Stop) -> Result<()> {
        loop {
            let mut drained = 0;
            while let Ok(attempt) = crew.attempts.try_recv() {
                self.settle(attempt);
                drained += 1;
            }
            if let Some(reason) = stop.requested() {
                self.early.get_or_insert(Ending::Asked(reason));
            }
            self.end_run(self.policy.gone(Instant::now()));
            if let Some(error) = crew.lost() {
                self.early.get_or_insert(Ending::broken(error));
            }
            if self.early.is_some() {
                return Ok(());
            }
            self.hand_out(crew)?;
            self.policy.more_left(!self.exhausted);
            if self.in_flight == 0 {
                // Nothing else is under way that could tell.
                self.charge_doubtful();
            }
            let idle = self.in_flight == 0 && self.waiting.is_empty();
            if idle && self.exhausted {
                match self.close(None)? {
                    Closing::Closed { left } => {
                        self.left = left;
                        return Ok(());
                    }
                    Closing::More => self.exhausted = false,
                    Closing::Later => {}
                }
            } else {
                self.record_if_due(idle)?;
            }
            self.show(false);
            self.wait(crew, drained);
        }
    }

    /// Sends as many as may be in flight: first what is due again, then what is new.
    fn hand_out(&mut self, crew: &Crew) -> Result<()> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let ahead = (self.tally.done() as f64 / self.started.elapsed().as_secs_f64() * AHEAD_SECONDS) as u64;
        // Until something has come home, no more than what all workers can hold: should nothing work, few requests
        // have shown it.
        let home = self.tally.fetched + self.tally.reused + self.tally.unchanged > 0;
        let workers = self.settings.workers as u64;
        self.most_in_flight =
            if home { ahead.clamp(IN_FLIGHT.0, IN_FLIGHT.1) } else { workers.min(self.policy.most_in_flight()) };
        let now = Instant::now();
        while self.in_flight < self.most_in_flight {
            let job = match self.waiting.peek() {
                Some(Reverse(first)) if first.due <= now => self.waiting.pop().map(|Reverse(first)| first.job),
                // An origin that fails everybody is not asked for ever more.
                _ if self.waiting.len() >= MOST_WAITING => None,
                _ => self.next()?,
            };
            let (Some(mut job), Some(jobs)) = (job, &crew.jobs) else { break };
            job.place.get_or_insert_with(|| self.policy.begin());
            // The channel holds more than may be in flight, so that this never blocks.
            if jobs.send(job).is_err() {
                break;
            }
            self.in_flight += 1;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Job>> {
        self.dry = false;
        while !self.exhausted {
            match self.ledger.next()? {
                Supply::Job(job) => return Ok(Some(job)),
                Supply::Refused(outcome) => self.conclude(outcome),
                Supply::Wait => break,
                Supply::Dry => {
                    self.dry = true;
                    break;
                }
                Supply::End => self.exhausted = true,
            }
        }
        Ok(None)
    }

    fn end(&mut self, job: Job, result: std::result::Result<Saved, Failure>) {
        let found = self.policy.ended(&job, result.as_ref().err());
        self.end_run(found);
        let result = match result {
            // What was home before stays there and stays done, if it is there.
            Err(failure)
                if job.known.is_some()
                    && failure.kind == Kind::NotFound
                    && self.tools.store.length(&job.guid).is_some_and(|length| length > 0) =>
            {
                Ok(Saved { how: How::Gone, facts: Facts::default() })
            }
            Err(failure) if job.known.is_some() => Err(failure.forgiven()),
            other => other,
        };
        let same = result.as_ref().ok().and_then(|saved| self.policy.came(&job.guid, saved));
        self.end_run(same);
        // Where nothing went wrong nobody looks at the URL that the template makes.
        let url = if result.is_ok() { job.url.clone() } else { self.tools.url(&job).map(String::into_boxed_str) };
        let (attempts, spent) = (job.attempts, job.spent);
        let id = job.guid.into();
        self.conclude(Outcome { id, url, attempts, spent, finished_at: SystemTime::now(), result });
    }

    /// A GUID's story is over: it is counted, and joins the batch.
    fn conclude(&mut self, outcome: Outcome) {
        self.tally.count(&outcome);
        self.watch.outcome(&outcome);
        if self.batch.is_empty() {
            self.batch_since = Instant::now();
        }
        self.batch.push(outcome);
    }

    fn record_if_due(&mut self, idle: bool) -> Result<()> {
        let full = self.batch.len() >= self.settings.batch;
        let old = !self.batch.is_empty() && self.batch_since.elapsed() >= self.settings.batch_time;
        if !(full || old || self.dry) {
            return Ok(());
        }
        if !self.ledger.is_ready(self.batch.len()) {
            // Reading more costs the others far less than recording what has come.
            if self.dry && self.batch.len() < MOST_UNRECORDED {
                self.ledger.turn_page(idle)?;
            }
            return Ok(());
        }
        self.make_durable()?;
        self.count_what_others_know();
        if self.ledger.record(&self.batch, &self.tally, idle && self.dry)? {
            self.batch.clear();
            self.durable = 0;
        }
        Ok(())
    }

    /// Nothing is recorded whose file a power cut could take away.
    fn make_durable(&mut self) -> Result<()> {
        let file = |outcome: &Outcome| {
            let how = outcome.result.as_ref().ok()?.how;
            // Only what nobody knew of before may be taken away again.
            how.is_new().then_some((outcome.id.guid()?.clone(), how != How::Fetched))
        };
        let files: Vec<(Guid, bool)> = self.batch[self.durable..].iter().filter_map(file).collect();
        self.tools.store.sync(&files)?;
        self.durable = self.batch.len();
        Ok(())
    }

    fn close(&mut self, early: Option<&Ending>) -> Result<Closing> {
        self.make_durable()?;
        self.count_what_others_know();
        let closing = self.ledger.finish(&self.batch, &self.tally, early)?;
        if closing != Closing::Later {
            self.batch.clear();
            self.durable = 0;
        }
        Ok(closing)
    }

    fn count_what_others_know(&mut self) {
        // Rows may have come meanwhile whose ids were in hand, so that more come to light than were counted.
        self.tally.pending = self.pending.saturating_sub(self.ledger.repeats());
        self.tally.requests = self.tools.origin.requests();
        self.tally.connections = self.tools.origin.connections();
    }

    /// Waits for something to do. While attempts come in fast it sleeps a little and takes many at once, because
    /// being woken for each costs more than all the rest of the bookkeeping.
    fn wait(&mut self, crew: &Crew, drained: u32) {
        if drained > 2 {
            thread::sleep(Duration::from_millis(4));
            return;
        }
        let mut limit = Duration::from_millis(50);
        // What is due is of no use before there is room for it, and then an attempt has come.
        if let Some(Reverse(first)) = self.waiting.peek().filter(|_| self.in_flight < self.most_in_flight) {
            limit = limit.min(first.due.saturating_duration_since(Instant::now()));
        }
        if let Ok(attempt) = crew.attempts.recv_timeout(limit) {
            self.settle(attempt);
        }
    }
}
