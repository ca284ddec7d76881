//! Politeness: when the next request may be sent, for all workers together.
//!
//! Requests a second, body bytes a second and the cool-down that an origin asked for all come down to one
//! question, "may I send now, or when?", answered under one lock. It knows nothing of HTTP; it is told.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much unused bandwidth is kept for later: enough to hold the average over slow answers, too little for a burst.
const BANDWIDTH_CREDIT: Duration = Duration::from_millis(500);

/// The pace that all workers share.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    clock: Mutex<Clock>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Time between two requests.
    interval: Option<Duration>,
    /// Body bytes a second.
    bandwidth: Option<f64>,
}

/// The earliest instants at which a request may be sent, by each of the three rules.
#[derive(Debug)]
struct Clock {
    by_rate: Instant,
    by_bandwidth: Instant,
    by_cool_down: Instant,
    halted: bool,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self { by_rate: now, by_bandwidth: now, by_cool_down: now, halted: false }
    }

    /// Takes a turn if one is free; else says how long to wait before asking again.
    fn take(&mut self, limits: Limits, now: Instant) -> Result<(), Duration> {
        let due = self.by_rate.max(self.by_bandwidth).max(self.by_cool_down);
        if due > now {
            return Err(due - now);
        }
        if let Some(interval) = limits.interval {
            // A turn taken late does not delay the next one, but at most one is made up for.
            self.by_rate = self.by_rate.max(now.checked_sub(interval).unwrap_or(now)) + interval;
        }
        Ok(())
    }

    fn charge(&mut self, limits: Limits, bytes: u64, now: Instant) {
        if let Some(bandwidth) = limits.bandwidth {
            let earliest = now.checked_sub(BANDWIDTH_CREDIT).unwrap_or(now);
            #[expect(clippy::cast_precision_loss, reason = "bodies are far below 2^52 bytes")]
            let cost = Duration::from_secs_f64(bytes as f64 / bandwidth);
            self.by_bandwidth = self.by_bandwidth.max(earliest) + cost;
        }
    }
}

impl Pace {
    /// A pace of at most `rate` requests and `bandwidth` body bytes a second; `None` is without limit.
    #[must_use]
    pub fn new(rate: Option<f64>, bandwidth: Option<u64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a limit in bytes a second is far below 2^52")]
        let bandwidth = bandwidth.map(|bytes| bytes as f64);
        let limits = Limits { interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)), bandwidth };
        Self { limits, clock: Mutex::new(Clock::new(Instant::now())), changed: Condvar::new() }
    }

    /// Waits for the turn to send one request. False once the run is being stopped.
    pub fn wait_turn(&self) -> bool {
        let mut clock = self.lock();
        loop {
            if clock.halted {
                return false;
            }
            let Err(wait) = clock.take(self.limits, Instant::now()) else { return true };
            clock = self.changed.wait_timeout(clock, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Charges a body that has arrived.
    pub fn charge(&self, bytes: u64) {
        if self.limits.bandwidth.is_some() {
            self.lock().charge(self.limits, bytes, Instant::now());
        }
    }

    /// No request from anybody for this long: the origin asked for it.
    pub fn cool_down(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut clock = self.lock();
        clock.by_cool_down = clock.by_cool_down.max(until);
    }

    /// Wakes everybody who waits, and lets nobody send again.
    pub fn halt(&self) {
        self.lock().halted = true;
        self.changed.notify_all();
    }

    /// A poisoned lock means that a worker panicked; the run ends for that, and the clock itself is whole.
    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for 30 seconds of pretended time with three workers whose answers take `latency`.
    fn requests_in_30_seconds(limits: Limits, latency: Duration, bytes: u64) -> Vec<Duration> {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let mut free = [start; 3];
        let mut sent = Vec::new();
        loop {
            let worker = (0..3).min_by_key(|&w| free[w]).unwrap_or(0);
            let now = free[worker];
            if now - start >= Duration::from_secs(30) {
                return sent;
            }
            if let Err(wait) = clock.take(limits, now) {
                free[worker] = now + wait;
                continue;
            }
            sent.push(now - start);
            clock.charge(limits, bytes, now + latency);
            free[worker] = now + latency;
        }
    }

    #[test]
    fn a_rate_is_held_within_a_twentieth_and_is_smooth() {
        let limits = Limits { interval: Some(Duration::from_millis(10)), bandwidth: None };
        let sent = requests_in_30_seconds(limits, Duration::from_millis(20), 20_000);
        assert!((2850..=3001).contains(&sent.len()), "{}", sent.len());
        for second in 0..30 {
            let in_it = sent.iter().filter(|at| at.as_secs() == second).count();
            assert!(in_it <= 101, "{in_it} in second {second}");
        }
    }

    #[test]
    fn a_bandwidth_is_held_within_a_twentieth_over_slow_answers() {
        let limits = Limits { interval: None, bandwidth: Some(500_000.0) };
        for latency in [1, 20, 50, 90] {
            let sent = requests_in_30_seconds(limits, Duration::from_millis(latency), 20_000);
            let share = f64::from(u32::try_from(sent.len()).expect("few")) * 20_000.0 / (30.0 * 500_000.0);
            assert!((0.95..=1.05).contains(&share), "{share} with answers after {latency} ms");
        }
    }

    #[test]
    fn a_cool_down_holds_everybody_and_a_halt_lets_nobody_wait() {
        let pace = Pace::new(None, None);
        assert!(pace.wait_turn());
        pace.cool_down(Duration::from_hours(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.wait_turn());
            pace.halt();
            assert_eq!(waiting.join().ok(), Some(false));
        });
    }
}
