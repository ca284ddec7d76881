//! How fast it goes: over the last seconds, and not over the life of a run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The last seconds.
const SPAN: Duration = Duration::from_secs(5);
/// How often the counts are looked at.
const EVERY: Duration = Duration::from_millis(250);

/// The counts of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Speed {
    counts: VecDeque<(Instant, u64, u64)>,
}

impl Speed {
    /// So many images are over and so many bytes have come.
    pub(super) fn count(&mut self, now: Instant, images: u64, bytes: u64) {
        if self.counts.back().is_some_and(|(latest, ..)| now.duration_since(*latest) < EVERY) {
            return;
        }
        self.counts.push_back((now, images, bytes));
        // The last one that is older than the span is where the span begins.
        while self.counts.get(1).is_some_and(|(second, ..)| now.duration_since(*second) >= SPAN) {
            self.counts.pop_front();
        }
    }

    /// What was before says nothing of what is to come.
    pub(super) fn begin_anew(&mut self) {
        self.counts.clear();
    }

    /// Images and bytes a second, once there is something to say.
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    pub(super) fn a_second(&self) -> Option<(f64, f64)> {
        let ((began, images, bytes), (now, more_images, more_bytes)) = (self.counts.front()?, self.counts.back()?);
        let seconds = now.duration_since(*began).as_secs_f64();
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        (seconds > 0.0).then(|| (rate(*images, *more_images), rate(*bytes, *more_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let (start, mut speed) = (Instant::now(), Speed::default());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        speed.count(at(0.0), 0, 0);
        assert_eq!(speed.a_second(), None);
        // A hundred a second for a minute, then ten.
        (1..=60).for_each(|second: u32| speed.count(at(second.into()), u64::from(second) * 100, 0));
        assert_eq!(speed.a_second(), Some((100.0, 0.0)));
        (1..=5).for_each(|second: u32| speed.count(at(60.0 + f64::from(second)), 6000 + u64::from(second) * 10, 0));
        assert_eq!(speed.a_second(), Some((10.0, 0.0)));
        speed.begin_anew();
        assert_eq!(speed.a_second(), None);
    }
}
