//! Whether and when to try again: pure arithmetic, so that no test has to wait.
//!
//! It knows attempts and failures, not clocks and queues; `run` keeps the queue.

use std::time::Duration;

use crate::failure::Failure;

/// The longest that a `Retry-After` is obeyed within a run; a longer one ends it.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this long.
    After(Duration),
    /// It is over for this run.
    GiveUp,
    /// The origin wants to be left alone for longer than a run should wait.
    EndRun(Duration),
}

/// Decides after attempt number `attempt` (from 1) of at most `retries + 1`.
///
/// The wait is exponential with full jitter: `jitter`, from 0 to 1, of 0.5 s doubled each time up to 30 s, so
/// that clients that failed together do not come back together. A `Retry-After` is the least it waits.
#[must_use]
pub fn decide(attempt: u32, retries: u32, failure: &Failure, jitter: f64) -> Verdict {
    if let Some(wait) = failure.retry_after.filter(|wait| *wait > LONGEST_RETRY_AFTER) {
        return Verdict::EndRun(wait);
    }
    if !failure.is_transient() || attempt > retries {
        return Verdict::GiveUp;
    }
    let doubled = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    Verdict::After(doubled.mul_f64(jitter.clamp(0.0, 1.0)).max(failure.retry_after.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

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
    fn retry_after_is_the_least_wait_and_a_long_one_ends_the_run() {
        let ask = |seconds| Failure::of_status(429, "", Some(Duration::from_secs(seconds)));
        assert_eq!(decide(1, 4, &ask(3), 0.1), Verdict::After(Duration::from_secs(3)));
        assert_eq!(decide(1, 4, &ask(301), 0.1), Verdict::EndRun(Duration::from_secs(301)));
        assert_eq!(decide(5, 4, &ask(3), 0.1), Verdict::GiveUp);
    }
}
