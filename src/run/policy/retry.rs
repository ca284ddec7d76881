//! The retry rule: whether an image is asked for again, when, and whether that counts; or whether its failure ends the run.
//!
//! Pure: the clock and the jitter are arguments, so that no test has to wait. `run` keeps the queue.

use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::error::Error;
use crate::failure::{Failure, Kind};
use crate::outcome::Job;

use super::Policy;

/// The longest that a `Retry-After` is obeyed within a run; a longer one ends it.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);
/// The longest wait before the first further attempt; before each one after it twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer, unless the origin asks for it.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait after a refusal that is forgiven.
const FORGIVEN: Duration = Duration::from_secs(2);
/// How often a refusal that others met too is forgiven one image.
const REFUSALS: u32 = 8;
/// Refusals of three images within this time have one cause.
const TOGETHER: Duration = Duration::from_secs(10);

/// What to do about a failure that is its image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) enum Verdict {
    /// Try again after this long.
    After(Duration),
    /// The same, and the attempt does not count.
    Uncounted(Duration),
    /// It is over for this run.
    GiveUp,
    /// It is over, and so is the run.
    EndRun(Ending),
}

impl Policy {
    /// Decides after an attempt that failed, which is counted in the job.
    pub(in crate::run) fn judge(&mut self, job: &Job, failure: &Failure, jitter: f64, now: Instant) -> Verdict {
        if let Some(wait) = failure.retry_after.filter(|wait| *wait > LONGEST_RETRY_AFTER) {
            // Where a redirect leads to is asked for by this image alone.
            return if failure.own { Verdict::GiveUp } else { Verdict::EndRun(Ending::ComeBack(wait)) };
        }
        if failure.kind == Kind::Disk {
            return if failure.own { Verdict::GiveUp } else { Verdict::EndRun(no_room(failure)) };
        }
        if self.forgives(job, failure, now) {
            return Verdict::Uncounted(at_least(FORGIVEN.mul_f64(jitter), failure));
        }
        if !failure.is_transient() || job.attempts > self.retries {
            return Verdict::GiveUp;
        }
        // Exponential with full jitter, so that clients that failed together do not come back together.
        let doubled = FIRST.saturating_mul(1 << job.attempts.saturating_sub(1).min(16)).min(LONGEST);
        Verdict::After(at_least(doubled.mul_f64(jitter), failure))
    }

    /// Whether others were refused too: then the pace is to blame, and adapts.
    fn forgives(&mut self, job: &Job, failure: &Failure, now: Instant) -> bool {
        if !failure.is_refusal() || failure.own {
            return false;
        }
        self.refused.retain(|(place, at)| *place != job.place && now.duration_since(*at) < TOGETHER);
        let shared = self.refused.len() >= 2;
        self.refused.push((job.place, now));
        if self.refused.len() > 3 {
            self.refused.remove(0);
        }
        shared && job.excused < REFUSALS
    }
}

/// A `Retry-After` is the least that anybody waits.
fn at_least(wait: Duration, failure: &Failure) -> Duration {
    wait.max(failure.retry_after.unwrap_or_default())
}

fn no_room(failure: &Failure) -> Ending {
    let error = Error::new("save", "file", &failure.message);
    Ending::broken(error.with_way_out("make room or mend the disk, and run again: what was fetched is kept"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Guid;

    /// The verdict after attempt number `attempt` of at most `retries + 1` of an image that fails alone.
    fn decide(attempt: u32, retries: u32, failure: &Failure, jitter: f64) -> Verdict {
        let mut job = Job::new(Guid::new("a".into()).expect("a GUID"), None);
        job.attempts = attempt;
        Policy::new(100.0, retries, 100.0).judge(&job, failure, jitter, Instant::now())
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_jitter_takes_its_share() {
        let failure = Failure::new(Kind::Timeout, "");
        let waits: Vec<_> = (1..=9).map(|attempt| decide(attempt, 9, &failure, 1.0)).collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0];
        assert_eq!(waits, seconds.map(|s| Verdict::After(Duration::from_secs_f64(s))));
        assert_eq!(decide(3, 9, &failure, 0.5), Verdict::After(Duration::from_secs(1)));
        assert_eq!(decide(10, 9, &failure, 1.0), Verdict::GiveUp);
        assert_eq!(decide(1, 0, &failure, 1.0), Verdict::GiveUp);
    }

    #[test]
    fn what_failed_for_good_is_not_tried_again() {
        assert_eq!(decide(1, 9, &Failure::new(Kind::NotFound, ""), 1.0), Verdict::GiveUp);
    }

    #[test]
    fn retry_after_is_the_least_wait_and_a_long_one_ends_the_run_unless_it_is_one_images() {
        let ask = |seconds| Failure::of_status(429, "", Some(Duration::from_secs(seconds)));
        assert_eq!(decide(1, 4, &ask(3), 0.1), Verdict::After(Duration::from_secs(3)));
        assert_eq!(decide(1, 4, &ask(301), 0.1), Verdict::EndRun(Ending::ComeBack(Duration::from_secs(301))));
        assert_eq!(decide(1, 4, &ask(301).of_one(), 0.1), Verdict::GiveUp);
        assert_eq!(decide(5, 4, &ask(3), 0.1), Verdict::GiveUp);
    }

    #[test]
    fn a_disk_that_takes_nothing_ends_the_run_and_one_bad_name_does_not() {
        let failure = Failure::new(Kind::Disk, "no room");
        assert!(matches!(decide(1, 4, &failure, 0.1), Verdict::EndRun(Ending::Broken { .. })));
        assert_eq!(decide(1, 4, &failure.of_one(), 0.1), Verdict::GiveUp);
    }

    #[test]
    fn a_refusal_that_three_images_met_together_does_not_count_eight_times() {
        let mut policy = Policy::new(100.0, 0, 100.0);
        let now = Instant::now();
        let mut verdict = |place, excused| {
            let mut job = Job::new(Guid::new("a".into()).expect("a GUID"), None);
            (job.attempts, job.place, job.excused) = (1, Some(place), excused);
            policy.judge(&job, &Failure::of_status(503, "", None), 1.0, now)
        };
        assert_eq!((verdict(0, 0), verdict(1, 0)), (Verdict::GiveUp, Verdict::GiveUp));
        assert_eq!(verdict(2, 7), Verdict::Uncounted(Duration::from_secs(2)));
        assert_eq!(verdict(3, 8), Verdict::GiveUp);
    }
}
