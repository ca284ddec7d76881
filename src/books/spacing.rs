//! How much of its time a run may hold the warehouse: whether another window fits.

use std::time::{Duration, Instant};

/// Before and after a window the warehouse is left alone for so many times its length.
const GAP: u32 = 20;

/// What an outcome adds to the length of a window: measured, as the next, on two cores that were busy fetching.
const EACH: Duration = Duration::from_nanos(500);
/// What it takes to go through a row of the table.
const ROW_NANOS: u64 = 100;
/// Rows that DuckDB goes through at the least.
const ROW_GROUP: u64 = 122_880;

/// Keeps the windows apart: before one there is a gap of [`GAP`] times what it is expected to take, and after it one
/// of as many times what it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spacing {
    /// When the latest window was closed.
    closed: Instant,
    /// How long it was open.
    held: Duration,
    /// What a window is expected to take before it has recorded anything.
    base: Duration,
    /// What each outcome adds.
    each: Duration,
    /// How many times longer than expected the latest record took, and the one before: both, because what made a single
    /// one slow will be over.
    slower: [f64; 2],
    /// What it takes to read a page.
    page: Duration,
}

impl Spacing {
    /// In a table of so many rows, of which so many are pending; all of which a window goes through, or in a `narrow`
    /// one only those that its batch is spread over.
    pub(super) fn new(rows: u64, pending: u64, narrow: bool) -> Self {
        let through = |rows: u64| Duration::from_nanos(rows.saturating_mul(ROW_NANOS));
        let (always, each) = if narrow { (rows.min(ROW_GROUP), rows / pending.max(1)) } else { (rows, 0) };
        Self {
            closed: Instant::now(),
            held: Duration::ZERO,
            base: Duration::from_millis(10) + through(always),
            each: EACH + through(each),
            slower: [1.0; 2],
            page: (Duration::from_millis(10) + through(rows)) / 5,
        }
    }

    /// The first window, which does not count, was closed.
    pub(super) fn begin(&mut self, closed: Instant) {
        self.closed = closed;
    }

    /// Whether a window that only reads a page keeps the spacing.
    pub(super) fn allows_page(&self, now: Instant) -> bool {
        self.has_room(self.page, now)
    }

    /// Whether a window for so many outcomes keeps the spacing.
    pub(super) fn allows(&self, batch: usize, now: Instant) -> bool {
        self.has_room(self.expected(batch).mul_f64(self.slower[0].min(self.slower[1])), now)
    }

    fn expected(&self, batch: usize) -> Duration {
        self.base + self.each * u32::try_from(batch).unwrap_or(u32::MAX)
    }

    fn has_room(&self, window: Duration, now: Instant) -> bool {
        window.max(self.held) * GAP <= now.saturating_duration_since(self.closed)
    }

    /// Recording so many outcomes took so long.
    pub(super) fn count_record(&mut self, took: Duration, batch: usize) {
        self.slower = [took.div_duration_f64(self.expected(batch)), self.slower[0]];
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
        // 19 ms, and half a microsecond each.
        let mut spacing = Spacing::new(90_000, 90_000, false);
        spacing.begin(start);
        assert!(!spacing.allows(2000, at(399)) && spacing.allows(2000, at(400)));
        assert!(!spacing.allows(42_000, at(799)) && spacing.allows(42_000, at(800)));
        // It took twice as long, which keeps the next away, and once more: so will all.
        for millis in [0, 1000] {
            spacing.count_record(Duration::from_millis(40), 2000);
            spacing.count(Duration::from_millis(40), at(millis));
            assert!(!spacing.allows(2000, at(millis + 799)) && spacing.allows(2000, at(millis + 800)));
        }
        assert!(!spacing.allows(12_000, at(1999)) && spacing.allows(12_000, at(2000)));
        // A page beside it says nothing about the next record, but keeps it away.
        spacing.count_page(Duration::from_millis(60));
        spacing.count(Duration::from_millis(100), at(3000));
        assert!(!spacing.allows(2000, at(4999)) && spacing.allows(2000, at(5000)));
        assert!(!spacing.allows_page(at(4999)) && spacing.allows_page(at(5000)));
    }

    #[test]
    fn in_a_large_table_a_small_batch_waits_for_all_of_it_unless_it_is_known_where_it_is() {
        let start = Instant::now();
        let allowed = |narrow, seconds| {
            let mut spacing = Spacing::new(10_000_000, 200_000, narrow);
            spacing.begin(start);
            spacing.allows(1000, start + Duration::from_secs(seconds))
        };
        assert!(!allowed(false, 20) && allowed(false, 21));
        assert!(allowed(true, 1));
    }
}
