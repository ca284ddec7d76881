//! The pace that an origin with a limit allows, found out from its refusals: it falls with each and rises slowly with what
//! goes well. Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// Of so many answers so many must be refusals before the pace falls: some origins refuse now and then whatever the pace.
const MANY: (u32, u32) = (4, 12);
/// What is left at least of the pace at which things have gone well of late.
const PROVED: f64 = 0.9;
/// By how much a success raises the pace, at least and at most.
const RISE: (f64, f64) = (0.01, 0.06);
/// So many successes between two falls show that the limit is near, and is to be approached slowly.
const NEAR: u32 = 8;
/// Requests a second, at least: an origin that refuses everybody is a matter of pauses, not of pace. Beyond the most, none
/// is needed.
const BOUNDS: (f64, f64) = (1.0, 20_000.0);
/// The time over which is counted what came home.
const SPAN: Duration = Duration::from_secs(1);
/// Over less time than this no number means anything.
const SHORTEST: Duration = Duration::from_millis(50);

/// The pace of all workers together, once there is a limit.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Requests a second.
    rate: Option<f64>,
    rise: f64,
    /// When the pace fell last. Refusals of what was sent before say nothing new.
    fell_at: Option<Instant>,
    well_since_fall: u32,
    /// The latest answers since the pace fell, a bit each, and their number.
    latest: (u32, u32),
    well: Count,
    all: Count,
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        let count = Count { since: now, came: 0, before: 0.0 };
        Self { rate: None, rise: RISE.1, fell_at: None, well_since_fall: 0, latest: (0, 0), well: count, all: count }
    }

    /// Time between two requests.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate))
    }

    /// A request went well.
    pub(super) fn well(&mut self, now: Instant) {
        self.count(false, now);
        let Some(rate) = &mut self.rate else { return };
        *rate *= 1.0 + self.rise;
        self.well_since_fall += 1;
        if *rate > BOUNDS.1 {
            self.rate = None;
        }
    }

    /// A request that was sent then was refused for the pace or the load.
    pub(super) fn refused(&mut self, sent: Instant, now: Instant) {
        if self.fell_at.is_some_and(|fell| sent < fell) {
            return;
        }
        self.count(true, now);
        let refused = self.latest.0.count_ones();
        if refused < MANY.0 {
            return;
        }
        self.rise = if self.well_since_fall >= NEAR { self.rise / 2.0 } else { self.rise * 2.0 }.clamp(RISE.0, RISE.1);
        let least = self.well.a_second(now) * PROVED;
        let asked = self.rate.unwrap_or(f64::INFINITY).min(self.all.a_second(now).max(least));
        self.fall_to((asked * (1.0 - f64::from(refused) / f64::from(self.latest.1))).max(least), now);
    }

    /// All paused since the origin refused everybody: begin anew, from little.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        let rate = self.rate.unwrap_or(f64::INFINITY).min(self.well.a_second(now).max(self.all.before)) / 2.0;
        self.rise = RISE.1;
        self.fall_to(rate, now);
    }

    fn fall_to(&mut self, rate: f64, now: Instant) {
        self.rate = Some(rate.max(BOUNDS.0));
        self.fell_at = Some(now);
        self.well_since_fall = 0;
        self.latest = (0, 0);
    }

    fn count(&mut self, refused: bool, now: Instant) {
        self.all.push(now);
        if !refused {
            self.well.push(now);
        }
        let (bits, count) = self.latest;
        self.latest = ((bits << 1 | u32::from(refused)) & ((1 << MANY.1) - 1), (count + 1).min(MANY.1));
    }
}

/// How many a second, of late.
#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    came: u32,
    /// The same a span earlier.
    before: f64,
}

impl Count {
    fn push(&mut self, now: Instant) {
        let over = now.saturating_duration_since(self.since);
        if over >= SPAN {
            self.before = f64::from(self.came) / over.as_secs_f64();
            (self.since, self.came) = (now, 0);
        }
        self.came += 1;
    }

    /// The better of the two spans.
    fn a_second(&self, now: Instant) -> f64 {
        let over = now.saturating_duration_since(self.since).max(SHORTEST);
        let current = f64::from(self.came) / over.as_secs_f64();
        if over >= SPAN * 2 { current } else { current.max(self.before) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three workers whose answers take `latency` fetch so many images at the throttle's pace, on a clock of our own.
    /// Gives refusals and time.
    fn fetch(images: u32, latency: Duration, mut allows: impl FnMut(Duration) -> bool) -> (u32, Duration) {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let mut free = [(start, None); 3];
        let (mut last, mut fetched, mut refused) = (None, 0, 0);
        while fetched < images {
            let worker = (0..3).min_by_key(|&worker| free[worker].0).unwrap_or(0);
            let (at, answer) = free[worker];
            match answer {
                Some((_, true)) => {
                    throttle.well(at);
                    fetched += 1;
                }
                Some((sent, false)) => {
                    throttle.refused(sent, at);
                    refused += 1;
                }
                None => {}
            }
            let sent = last.map_or(at, |last: Instant| at.max(last + throttle.interval().unwrap_or_default()));
            last = Some(sent);
            assert!(sent - start < Duration::from_hours(1), "{fetched} of {images} in an hour");
            free[worker] = (sent + latency, Some((sent, allows(sent - start))));
        }
        (refused, last.unwrap_or(start) - start)
    }

    /// A server that lets one through each `1/rate` seconds, with so many more at once.
    fn bucket(rate: f64, burst: f64) -> impl FnMut(Duration) -> bool {
        let (mut excess, mut last) = (0.0_f64, 0.0);
        move |at: Duration| {
            let at = at.as_secs_f64();
            let now = (excess - (at - last) * rate).max(0.0) + 1.0;
            let allowed = now <= burst + 1.0;
            if allowed || last == 0.0 {
                (excess, last) = (now, at);
            }
            allowed
        }
    }

    #[test]
    fn an_origin_with_a_limit_gets_little_more_than_it_allows() {
        for (rate, burst) in [(5.0, 0.0), (32.0, 0.0), (32.0, 20.0), (500.0, 0.0)] {
            for latency in [1, 20, 100].map(Duration::from_millis) {
                let (refused, time) = fetch(600, latency, bucket(rate, burst));
                let able = (600.0 / rate).max(600.0 * latency.as_secs_f64() / 3.0);
                let slow = time.as_secs_f64() / able;
                let words = format!("{refused} refusals at {rate} + {burst} with {latency:?}, {slow:.2} of the time");
                assert!(refused < 250 && slow < 3.0, "{words}");
            }
        }
    }

    #[test]
    fn refusals_that_do_not_come_from_the_pace_do_not_bring_it_down_for_good() {
        for (percent, images, most) in [(2, 10_000, 1.2), (10, 10_000, 1.5), (20, 1000, 6.0)] {
            for seed in 0..5 {
                let mut random = fastrand::Rng::with_seed(seed);
                let (_, time) = fetch(images, Duration::from_millis(5), |_| random.u32(0..100) >= percent);
                let slow = time.as_secs_f64() / (f64::from(images) * 0.005 / 3.0);
                assert!(slow < most, "{percent} %, seed {seed}: {slow:.2} of the time");
            }
        }
    }

    #[test]
    fn without_a_refusal_there_is_no_limit() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        throttle.well(start);
        throttle.refused(start, start);
        assert_eq!(throttle.interval(), None, "one is none");
        (0..MANY.0).for_each(|_| throttle.refused(start, start));
        assert!(throttle.interval().is_some());
        (0..10_000).for_each(|_| throttle.well(start));
        assert_eq!(throttle.interval(), None, "and one that is never met again is forgotten");
    }
}
