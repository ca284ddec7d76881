//! What a run looks like from outside at a moment: its counts, and what keeps it from going on.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::Course;
use super::terms::{Moment, On, Wait};

/// Without an attempt coming home for so long, a run waits for answers: for the first one, or for more.
const QUIET: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));

impl Course<'_> {
    /// Shows how the run stands to whoever watches.
    pub(super) fn show(&mut self, stopping: bool) {
        self.count_what_others_know();
        let wait = self.awaited(Instant::now(), stopping);
        let (tally, retries) = (&self.tally, self.retries);
        let expected = self.settings.expected.map(|expected| expected.min(tally.pending));
        self.watch.tick(&Moment { tally, expected, retries, in_flight: self.in_flight, wait, stopping });
    }

    /// What it waits for: what keeps everything from going on comes before what keeps it from being recorded, and that
    /// before what slows it.
    fn awaited(&self, now: Instant, stopping: bool) -> Option<Wait> {
        let hindrance = self.ledger.hindrance();
        let nothing_else = self.in_flight == 0 && self.waiting.is_empty();
        if stopping || (nothing_else && hindrance.is_some()) {
            return hindrance;
        }
        if nothing_else {
            return (!self.exhausted && !self.dry).then(|| Wait::new(On::Input, ""));
        }
        let held = self.tools.pace.holds(now);
        if let Some((on @ (On::CoolDown | On::Origin), until)) = held {
            return Some(Wait { on, until, why: self.policy.cause().to_owned() });
        }
        if self.in_flight == 0 {
            let due = self.waiting.peek().map(|Reverse(first)| first.due);
            let images = if self.waiting.len() == 1 { "image" } else { "images" };
            return Some(Wait { on: On::BackOff, until: due, why: format!("{} {images}", self.waiting.len()) });
        }
        let quiet = now.duration_since(self.came_at);
        if !self.policy.has_heard() && quiet >= QUIET.0 {
            return Some(Wait::new(On::FirstAnswer, ""));
        }
        let slowed = held.map(|(on, until)| Wait { on, until, why: String::new() });
        hindrance.or(slowed).or_else(|| (quiet >= QUIET.1).then(|| Wait::new(On::Answers, "")))
    }
}
