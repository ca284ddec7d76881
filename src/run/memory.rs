//! What a run keeps in mind: the GUIDs that wait for their next attempt, and how the last hundred fared.

use std::time::Instant;

use crate::outcome::Job;

/// Outcomes that the failure rate is taken from.
pub(super) const RECENT: u32 = 100;

/// A GUID in back-off.
pub(super) struct Waiting {
    pub(super) due: Instant,
    /// Tells apart what is due at the same instant.
    pub(super) sequence: u64,
    pub(super) job: Job,
}

impl Waiting {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.sequence)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Which of the last hundred outcomes failed, a bit each.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bits: u128,
    count: u32,
}

impl Recent {
    pub(super) fn push(&mut self, failed: bool) {
        self.bits = (self.bits << 1 | u128::from(failed)) & ((1 << RECENT) - 1);
        self.count = (self.count + 1).min(RECENT);
    }

    /// The share of failures, once there have been a hundred outcomes.
    pub(super) fn failed_percent(&self) -> Option<f64> {
        (self.count == RECENT).then(|| f64::from(self.bits.count_ones()) * 100.0 / f64::from(RECENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_rate_is_that_of_the_last_hundred() {
        let mut recent = Recent::default();
        for _ in 0..99 {
            recent.push(true);
        }
        assert_eq!(recent.failed_percent(), None);
        recent.push(false);
        assert_eq!(recent.failed_percent(), Some(99.0));
        for _ in 0..60 {
            recent.push(false);
        }
        assert_eq!(recent.failed_percent(), Some(39.0));
    }
}
