//! How much of its time a run may hold the warehouse: whether another window fits.

use std::time::{Duration, Instant};

/// The warehouse is held for at most this part of the time.
const SHARE: u32 = 20;

/// What an outcome adds to the length of a window: measured on two cores that were busy fetching.
const EACH: Duration = Duration::from_nanos(500);

/// Keeps the windows apart: before one there is a gap of [`SHARE`] times what it is expected to take, and after it one
/// of as many times what it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// When the latest window was closed.
    closed: Instant,
    /// How long it was open.
    held: Duration,
    /// What a window is expected to take before it has recorded anything.
    base: Duration,
    /// How many times longer than expected the latest record took.
    slower: f64,
    /// What it takes to read a page.
    page: Duration,
}

impl Share {
    /// Begins when the first window is closed, which does not count; in a table of so many rows.
    pub(super) fn new(closed: Instant, rows: u64) -> Self {
        // Measured on two cores: 10 ms, and a second for ten million.
        let base = Duration::from_millis(10) + Duration::from_nanos(rows.saturating_mul(100));
        Self { closed, held: Duration::ZERO, base, slower: 1.0, page: base / 5 }
    }

    /// Whether a window that only reads a page keeps the share.
    pub(super) fn allows_page(&self, now: Instant) -> bool {
        self.has_room(self.page, now)
    }

    /// Whether a window for so many outcomes keeps the share.
    pub(super) fn allows(&self, batch: usize, now: Instant) -> bool {
        self.has_room(self.expected(batch).mul_f64(self.slower), now)
    }

    fn expected(&self, batch: usize) -> Duration {
        self.base + EACH * u32::try_from(batch).unwrap_or(u32::MAX)
    }

    fn has_room(&self, window: Duration, now: Instant) -> bool {
        window.max(self.held) * SHARE <= now.saturating_duration_since(self.closed)
    }

    /// Recording so many outcomes took so long.
    pub(super) fn count_record(&mut self, took: Duration, batch: usize) {
        self.slower = took.div_duration_f64(self.expected(batch));
    }

    /// Reading a page took so long.
    pub(super) fn count_page(&mut self, took: Duration) {
        self.page = took;
    }

    /// A window was closed after so long.
    pub(super) fn count(&mut self, held: Duration, closed: Instant) {
        (self.held, self.closed) = (held, closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_take_a_twentieth_of_the_time_and_large_batches_wait_longer() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut share = Share::new(start, 90_000);
        // 19 ms, and half a microsecond each.
        assert!(!share.allows(2000, at(399)) && share.allows(2000, at(400)));
        assert!(!share.allows(42_000, at(799)) && share.allows(42_000, at(800)));
        // It took twice as long, and so will the next.
        share.count_record(Duration::from_millis(40), 2000);
        share.count(Duration::from_millis(40), at(1000));
        assert!(!share.allows(2000, at(1799)) && share.allows(2000, at(1800)));
        assert!(!share.allows(12_000, at(1999)) && share.allows(12_000, at(2000)));
        // A page beside it says nothing about the next record, but keeps it away.
        share.count_page(Duration::from_millis(60));
        share.count(Duration::from_millis(100), at(3000));
        assert!(!share.allows(2000, at(4999)) && share.allows(2000, at(5000)));
        assert!(!share.allows_page(at(4999)) && share.allows_page(at(5000)));
    }
}
