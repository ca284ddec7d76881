//! What becomes of an attempt that came home: `policy` decides, and here it is carried out.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::failure::Failure;
use crate::outcome::{Attempt, Job};

use super::Course;
use super::policy::{Charge, Turn, Verdict, hopeless};
use super::waiting::Waiting;

impl Course<'_> {
    /// Decides what an attempt means.
    pub(super) fn settle(&mut self, attempt: Attempt) {
        self.in_flight -= 1;
        self.came_at = Instant::now();
        let (charge, turn) = self.policy.weigh(&attempt, Instant::now());
        let Attempt { mut job, result, .. } = attempt;
        if result.is_err() {
            job.failed_at.get_or_insert_with(Instant::now);
        }
        if turn == Turn::Clear {
            self.charge_doubtful();
        }
        match (result, charge) {
            (Ok(saved), _) => self.end(job, Ok(saved)),
            (Err(failure), Charge::Own) => self.charge(job, failure),
            (Err(failure), Charge::Later) => self.doubtful.push((job, failure)),
            (Err(_), Charge::Free) => self.excuse(job, Duration::ZERO),
        }
        match turn {
            Turn::Nothing | Turn::Clear => {}
            Turn::Pause(pause) => {
                self.tools.pace.pause(pause);
                for (mut job, _) in std::mem::take(&mut self.doubtful) {
                    job.excused += 1;
                    self.excuse(job, Duration::ZERO);
                }
            }
            Turn::Resume { refused } => self.tools.pace.resume(refused),
            Turn::Hopeless => self.give_up(),
        }
    }

    /// What was not known is known: each failure was its image's.
    pub(super) fn charge_doubtful(&mut self) {
        for (job, failure) in std::mem::take(&mut self.doubtful) {
            self.charge(job, failure);
        }
    }

    /// A failure counts as its image's.
    fn charge(&mut self, mut job: Job, failure: Failure) {
        if failure.concerns_all() {
            self.tools.pace.looked_at();
        }
        match self.policy.judge(&job, &failure, fastrand::f64(), Instant::now()) {
            Verdict::After(wait) => self.put_off(job, wait),
            Verdict::Uncounted(wait) => {
                job.excused += 1;
                self.excuse(job, wait);
            }
            Verdict::GiveUp => self.end(job, Err(failure)),
            Verdict::EndRun(ending) => {
                self.end_run(Some(ending));
                self.end(job, Err(failure));
            }
        }
    }

    /// The attempt is not the image's to answer for.
    fn excuse(&mut self, mut job: Job, wait: Duration) {
        job.attempts = job.attempts.saturating_sub(1);
        self.put_off(job, wait);
    }

    fn put_off(&mut self, job: Job, wait: Duration) {
        let found = self.policy.tried(&job);
        self.end_run(found);
        self.retries += 1;
        self.sequence += 1;
        self.waiting.push(Reverse(Waiting { due: Instant::now() + wait, sequence: self.sequence, job }));
    }

    /// Nothing has ever worked.
    fn give_up(&mut self) {
        if let Some((job, failure)) = self.doubtful.last() {
            let url = self.tools.url(job).unwrap_or_default();
            self.early.get_or_insert(hopeless(&url, failure));
        }
        for (job, failure) in std::mem::take(&mut self.doubtful) {
            self.end(job, Err(failure));
        }
    }

    /// The run ends so, unless it ends for another reason already.
    pub(super) fn end_run(&mut self, how: Option<Ending>) {
        self.early = self.early.take().or(how);
    }
}
