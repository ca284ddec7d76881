//! Winding down: the workers are stopped, what they still bring home is taken in, and the books are closed.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use crate::ending::{Ending, Reason};
use crate::error::Result;
use crate::outcome::Attempt;
use crate::tally::Tally;

use super::crew::Crew;
use super::ledger::Closing;
use super::policy::Charge;
use super::stop::Stop;
use super::{Course, GRACE, LAST_GRACE};

/// How often whoever watches is shown how the end comes on.
const A_LOOK: Duration = Duration::from_millis(200);

/// Why a run ends before its natural end, and what it still does; to whoever has sent a signal, how to end it at once.
fn last_words(early: &Ending, words: &str, finishing: u64) -> String {
    let Ending::Asked(Reason::Signal(_)) = early else { return words.to_owned() };
    let doing = match finishing {
        0 => "recording what came home".to_owned(),
        1 => "finishing 1 image".to_owned(),
        many => format!("finishing {many} images"),
    };
    format!("{words}: {doing}; once more to stop now")
}

impl Course<'_> {
    /// Stops the workers, takes in what they still bring home, and closes the books.
    pub(super) fn wind_down(mut self, mut crew: Crew, stop: &Stop) -> Result<(Tally, Ending)> {
        let Some(mut early) = self.early.take() else {
            crew.leave(GRACE);
            self.show(false);
            let ending = self.tally.ending(self.left);
            return Ok((self.tally, ending));
        };
        // Those who still waited for their turn have begun nothing.
        let unbegun = self.tools.pace.halt() + crew.queue.try_iter().count() as u64 + crew.attempts.len() as u64;
        crew.jobs = None;
        stop.await_silence();
        if let (Some(words), false) = (early.words(), early.is_broken()) {
            self.watch.notice(&last_words(&early, &words, self.in_flight.saturating_sub(unbegun)));
        }
        self.take_in_the_last(&crew);
        crew.leave(Duration::ZERO);
        if let Err(error) = self.make_durable() {
            self.leave_out_what_is_not_durable();
            // The first error is the one to report; a signal is none.
            if !early.is_broken() {
                early = Ending::broken(error);
            }
        }
        let closed = self.close_early(&early, stop);
        self.show(true);
        match closed {
            // The first error is the one to report; of this one it is said what follows from it.
            Err(second) if early.is_broken() => {
                let count = self.batch.len();
                self.watch
                    .notice(&format!("{second}: {count} outcomes are not recorded; the next run finds the files"));
            }
            Ok(Some(signal)) if !early.is_broken() => early = Ending::Asked(signal),
            closed => drop(closed?),
        }
        Ok((self.tally, early))
    }

    /// What is in flight may end; after the grace it is cut off, and stays pending. A worker that does not notice even
    /// that is left to itself.
    fn take_in_the_last(&mut self, crew: &Crew) {
        let mut deadline = Instant::now() + GRACE;
        let mut cut_off = false;
        loop {
            match crew.attempts.recv_deadline(deadline.min(Instant::now() + A_LOOK)) {
                Ok(Attempt { job, result: Ok(saved), .. }) => self.end(job, Ok(saved)),
                Ok(attempt) if !cut_off => {
                    // What may be the origin's is no image's, and will be asked for again.
                    let (charge, _) = self.policy.weigh(&attempt, Instant::now());
                    if let Attempt { job, result: Err(failure), .. } = attempt
                        && charge == Charge::Own
                        && !failure.is_transient()
                    {
                        self.end(job, Err(failure));
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => self.show(true),
                Err(RecvTimeoutError::Timeout) if cut_off => return,
                Err(RecvTimeoutError::Timeout) => {
                    cut_off = true;
                    deadline = Instant::now() + LAST_GRACE;
                    self.tools.origin.shut_down();
                }
            }
        }
    }

    /// Closes the books, however long that takes; but not for longer than the grace after a signal, which is then what ended
    /// the run.
    fn close_early(&mut self, end: &Ending, stop: &Stop) -> Result<Option<Reason>> {
        let mut asked = None;
        loop {
            if !matches!(self.close(Some(end))?, Closing::Later) {
                return Ok(None);
            }
            if let Some(signal @ Reason::Signal(_)) = stop.requested()
                && asked.get_or_insert_with(Instant::now).elapsed() > GRACE
            {
                let (count, why) = (self.batch.len(), self.ledger.hindrance().map_or(String::new(), |wait| wait.why));
                self.watch.notice(&format!("{why}: {count} outcomes are not recorded; the next run finds the files"));
                return Ok(Some(signal));
            }
            self.show(true);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the disk may not keep is not recorded and does not count; what failed is, and what was there before.
    fn leave_out_what_is_not_durable(&mut self) {
        for outcome in self.batch.split_off(self.durable) {
            if outcome.result.as_ref().is_ok_and(|saved| saved.how.is_new()) {
                self.tally.take_back(&outcome);
            } else {
                self.batch.push(outcome);
            }
        }
        self.durable = self.batch.len();
    }
}
