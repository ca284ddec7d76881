//! How much of its time a run may hold the warehouse: whether another window fits.

use std::time::{Duration, Instant};

/// The warehouse is held for at most this part of the time.
const SHARE: u32 = 20;

/// How much of its time the warehouse is held, and whether another window fits into its share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    since: Instant,
    held: Duration,
    /// What a window that only reads a page is expected to take.
    page: Duration,
    /// What the latest record took, and for how many outcomes.
    last: (Duration, usize),
}

impl Share {
    /// What a window takes in a table of so many rows: measured on two cores, 10 ms and a second for ten million.
    pub(super) fn guess(rows: u64) -> Duration {
        Duration::from_millis(10) + Duration::from_nanos(rows.saturating_mul(100))
    }

    /// Counts from the end of the first window, which itself does not count.
    pub(super) fn new(since: Instant, expected: Duration) -> Self {
        Self { since, held: Duration::ZERO, page: expected / 5, last: (expected, 1000) }
    }

    /// Whether a window that only reads a page keeps the share.
    pub(super) fn allows_page(&self, now: Instant) -> bool {
        (self.held + self.page) * SHARE <= now.saturating_duration_since(self.since)
    }

    /// A window that recorded so many outcomes was held so long.
    pub(super) fn count(&mut self, held: Duration, batch: usize) {
        self.held += held;
        self.last = (held, batch.max(1));
    }

    /// A window that only read a page was held so long.
    pub(super) fn count_page(&mut self, held: Duration) {
        self.held += held;
    }

    /// Whether a window for so many outcomes, expected to take as long as the latest one and longer the more there
    /// are, keeps the share. Its cost grows far slower than the batch, so that waiting always makes it fit.
    pub(super) fn allows(&self, batch: usize, now: Instant) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "batches are far below 2^52")]
        let growth = (batch as f64 / self.last.1 as f64).sqrt().max(1.0);
        (self.held + self.last.0.mul_f64(growth)) * SHARE <= now.saturating_duration_since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_take_a_twentieth_of_the_time_and_large_batches_wait_longer() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut share = Share::new(start, Duration::from_millis(10));
        assert!(!share.allows(1000, at(199)));
        assert!(share.allows(1000, at(200)));
        assert!(!share.allows(4000, at(399)) && share.allows(4000, at(400)));
        share.count(Duration::from_millis(50), 1000);
        assert!(!share.allows(1000, at(1999)) && share.allows(1000, at(2000)));
    }
}
