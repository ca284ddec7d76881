//! Politeness: when the next request may be sent, for all workers together.
//!
//! Requests a second, body bytes a second, the cool-down that an origin asked for, the pace that its refusals leave and
//! the pause while it is away all come down to one question, "may I send now, or when?", answered under one lock. It
//! knows nothing of HTTP; it is told.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::terms::On;
use super::throttle::Throttle;

/// How much unused bandwidth is kept for later: enough to hold the average over slow answers, too little for a burst.
const BANDWIDTH_CREDIT: Duration = Duration::from_millis(500);

/// So many failures that may concern everybody let nobody begin before they were looked at.
const DOUBTS: u32 = 5;
/// Whoever had to wait so long ago is still said to be held back: a limit holds back one after the other.
const OF_LATE: Duration = Duration::from_millis(500);
/// Whoever waits for somebody's word is woken for it.
const UNTIL_TOLD: Duration = Duration::from_hours(1);

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

/// The earliest instants at which a request may be sent, by each of the rules.
#[derive(Debug)]
struct Clock {
    by_rate: Instant,
    by_bandwidth: Instant,
    by_cool_down: Instant,
    latest: Option<Instant>,
    throttle: Throttle,
    pause: Option<Pause>,
    /// Failures that may concern everybody, and that nobody has looked at.
    doubts: u32,
    halted: bool,
    /// Workers that wait for their turn.
    waiting: u64,
    /// By which rule one was last made to wait, and until when.
    held: Option<(On, Instant)>,
}

/// Nobody begins until then; after that one does.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    probing: bool,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self {
            by_rate: now,
            by_bandwidth: now,
            by_cool_down: now,
            latest: None,
            throttle: Throttle::new(now),
            pause: None,
            doubts: 0,
            halted: false,
            waiting: 0,
            held: None,
        }
    }

    /// Takes a turn if one is free; else says how long to wait before asking again. Whoever has `begun` an attempt may end it.
    fn take(&mut self, limits: Limits, begun: bool, now: Instant) -> Result<(), Duration> {
        if !begun && let Some(wait) = self.gate(now) {
            return Err(wait);
        }
        let by_throttle = self.latest.zip(self.throttle.interval()).map_or(now, |(latest, interval)| latest + interval);
        let rules = [
            (self.by_cool_down, On::CoolDown),
            (self.by_rate, On::Rate),
            (self.by_bandwidth, On::Bandwidth),
            (by_throttle, On::OriginPace),
        ];
        let (due, rule) = rules.into_iter().max_by_key(|(due, _)| *due).expect("there are four");
        if due > now {
            self.held = Some((rule, due));
            return Err(due - now);
        }
        if let Some(interval) = limits.interval {
            // A turn taken late does not delay the next one, but at most one is made up for.
            self.by_rate = self.by_rate.max(now.checked_sub(interval).unwrap_or(now)) + interval;
        }
        self.latest = Some(now);
        if let Some(pause) = self.pause.as_mut().filter(|_| !begun) {
            pause.probing = true;
        }
        Ok(())
    }

    /// How long nobody may begin.
    fn gate(&self, now: Instant) -> Option<Duration> {
        match self.pause {
            Some(pause) if pause.until > now => Some(pause.until - now),
            Some(pause) => pause.probing.then_some(UNTIL_TOLD),
            None => (self.doubts >= DOUBTS).then_some(UNTIL_TOLD),
        }
    }

    /// What keeps everybody from sending, and until when, if that is known; or, while somebody has had to wait of late, the
    /// limit that made it so.
    fn holds(&self, now: Instant) -> Option<(On, Option<Instant>)> {
        match (self.pause, self.held) {
            (Some(pause), _) => Some((On::Origin, Some(pause.until).filter(|until| *until > now))),
            _ if self.by_cool_down > now => Some((On::CoolDown, Some(self.by_cool_down))),
            (None, Some((rule, due))) if rule != On::CoolDown && now < due + OF_LATE => Some((rule, None)),
            _ => None,
        }
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

    /// Waits for the turn to send one request, the first of an attempt or a further one of what has `begun`; gives the
    /// instant. None once the run is being stopped.
    pub fn wait_turn(&self, begun: bool) -> Option<Instant> {
        let mut clock = self.lock();
        loop {
            if clock.halted {
                return None;
            }
            let now = Instant::now();
            let Err(wait) = clock.take(self.limits, begun, now) else { return Some(now) };
            clock.waiting += 1;
            clock = self.changed.wait_timeout(clock, wait).unwrap_or_else(PoisonError::into_inner).0;
            clock.waiting -= 1;
        }
    }

    /// An answer came that concerns nobody else.
    pub fn well(&self) {
        let mut clock = self.lock();
        clock.throttle.well(Instant::now());
        if std::mem::take(&mut clock.doubts) >= DOUBTS {
            self.changed.notify_all();
        }
    }

    /// What was sent then was refused for the pace or the load.
    pub fn refused(&self, sent: Instant) {
        self.lock().throttle.refused(sent, Instant::now());
    }

    /// A failure that may concern everybody; when there are too many nobody begins before they were looked at.
    pub fn doubt(&self) {
        self.lock().doubts += 1;
    }

    /// Such a failure was looked at.
    pub fn looked_at(&self) {
        let mut clock = self.lock();
        clock.doubts = clock.doubts.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Nobody begins an attempt for so long; then one does, and all others wait for what comes of it.
    pub fn pause(&self, wait: Duration) {
        self.lock().pause = Some(Pause { until: Instant::now() + wait, probing: false });
        self.changed.notify_all();
    }

    /// The origin is there again; if it had `refused`, it is asked for less than before.
    pub fn resume(&self, refused: bool) {
        let mut clock = self.lock();
        clock.pause = None;
        clock.doubts = 0;
        if refused {
            clock.throttle.begin_anew(Instant::now());
        }
        self.changed.notify_all();
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

    /// Wakes everybody who waits, and lets nobody send again; says how many waited.
    pub fn halt(&self) -> u64 {
        let mut clock = self.lock();
        clock.halted = true;
        self.changed.notify_all();
        clock.waiting
    }

    /// What keeps everybody from sending, or slows them, and until when, if that is known.
    #[must_use]
    pub fn holds(&self, now: Instant) -> Option<(On, Option<Instant>)> {
        self.lock().holds(now)
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
            if let Err(wait) = clock.take(limits, false, now) {
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
        assert!(pace.wait_turn(false).is_some());
        pace.cool_down(Duration::from_hours(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.wait_turn(false));
            pace.halt();
            assert_eq!(waiting.join().ok(), Some(None));
        });
    }

    #[test]
    fn in_a_pause_one_asks_when_it_is_over_and_the_others_wait_for_what_comes_of_it() {
        let (start, limits) = (Instant::now(), Limits { interval: None, bandwidth: None });
        let mut clock = Clock::new(start);
        let until = start + Duration::from_secs(2);
        clock.pause = Some(Pause { until, probing: false });
        assert_eq!(clock.take(limits, false, start), Err(Duration::from_secs(2)));
        assert_eq!(clock.take(limits, true, start), Ok(()), "what has begun goes on");
        assert_eq!(clock.take(limits, false, until), Ok(()));
        assert_eq!(clock.take(limits, false, until), Err(UNTIL_TOLD));
        assert_eq!(clock.take(limits, true, until), Ok(()), "the probe may be redirected");
        clock.pause = None;
        assert_eq!(clock.take(limits, false, until), Ok(()));
        clock.doubts = DOUBTS;
        assert_eq!(clock.take(limits, false, until), Err(UNTIL_TOLD));
    }
}
