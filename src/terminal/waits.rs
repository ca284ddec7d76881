//! What a run waits for, in words: when that is worth telling, when it is over, and how it is told in much or little room.

use std::time::{Duration, Instant, SystemTime};

use crate::run::{On, Wait};

use super::units::{clock, span};

/// What one has to know of each wait: its name in JSON, how long it goes on before it is told, and how long it has to be
/// gone before it is over.
fn about(on: On) -> (&'static str, Duration, Duration) {
    let (name, told_after, over_after) = match on {
        On::FirstAnswer => ("first_answer", 200, 0),
        On::CoolDown => ("cool_down", 0, 0),
        On::Origin => ("origin", 0, 0),
        On::Lock => ("lock", 500, 0),
        // A limit holds back now and then.
        On::Rate => ("rate", 500, 10_000),
        On::Bandwidth => ("bandwidth", 500, 10_000),
        On::OriginPace => ("origin_pace", 500, 10_000),
        On::BackOff => ("back_off", 900, 0),
        On::Answers => ("answers", 0, 0),
        On::Input => ("input", 500, 0),
        On::Output => ("output", 500, 0),
    };
    (name, Duration::from_millis(told_after), Duration::from_millis(over_after))
}

/// What has changed about what is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A wait is told from now on.
    Began,
    /// What was told is over after so long.
    Over(Duration),
}

/// What a run waits for, as far as it is worth telling.
#[derive(Debug, Default)]
pub(super) struct Waits {
    now: Option<Waited>,
    /// Since when something is told.
    told_since: Option<Instant>,
}

#[derive(Debug)]
struct Waited {
    wait: Wait,
    since: Instant,
    seen: Instant,
    /// The end, by the clock on the wall, which is read once: a second more or less would flicker.
    until: Option<(Instant, SystemTime)>,
    told: bool,
}

impl Waits {
    /// Takes in what the run waits for now.
    pub(super) fn see(&mut self, wait: Option<Wait>, now: Instant) -> Option<Change> {
        match (wait, &mut self.now) {
            (Some(wait), Some(known)) if wait.on == known.wait.on => {
                known.seen = now;
                known.until = wall(wait.until, known.until, now);
                known.wait = wait;
            }
            (Some(wait), _) => {
                let until = wall(wait.until, None, now);
                self.now = Some(Waited { wait, since: now, seen: now, until, told: false });
            }
            (None, known) => {
                known.take_if(|known| now.duration_since(known.seen) >= about(known.wait.on).2);
                if known.is_none() {
                    return self.told_since.take().map(|since| Change::Over(now.duration_since(since)));
                }
            }
        }
        let known = self.now.as_mut().filter(|known| !known.told)?;
        known.told = now.duration_since(known.since) >= about(known.wait.on).1;
        self.told_since = self.told_since.or(known.told.then_some(known.since));
        known.told.then_some(Change::Began)
    }

    fn told(&self) -> Option<&Waited> {
        self.now.as_ref().filter(|known| known.told)
    }

    /// Its name, end and cause, for programs.
    pub(super) fn named(&self) -> Option<(&'static str, Option<SystemTime>, &str)> {
        let known = self.told()?;
        Some((about(known.wait.on).0, known.until.map(|(_, until)| until), &known.wait.why))
    }

    /// Whether nothing comes home before it is over, where so many GUIDs are in flight.
    pub(super) fn stall(&self, in_flight: u64) -> bool {
        self.told().is_some_and(|known| match known.wait.on {
            On::Rate | On::Bandwidth | On::OriginPace => false,
            On::Lock | On::Output => in_flight == 0,
            _ => true,
        })
    }

    /// In words, the longest first.
    pub(super) fn words(&self, now: Instant) -> Vec<String> {
        self.told().map(|known| known.words(now)).unwrap_or_default()
    }
}

/// The end of a wait on the wall's clock; the one known already where it is the same.
fn wall(until: Option<Instant>, known: Option<(Instant, SystemTime)>, now: Instant) -> Option<(Instant, SystemTime)> {
    let until = until?;
    let on_the_wall = || (until, SystemTime::now() + until.saturating_duration_since(now));
    Some(known.filter(|(same, _)| *same == until).unwrap_or_else(on_the_wall))
}

impl Waited {
    fn words(&self, now: Instant) -> Vec<String> {
        let why = &self.wait.why;
        let because = if why.is_empty() { String::new() } else { format!(": {why}") };
        // A wait that is as good as over still takes a second.
        let left =
            self.until.map(|(until, _)| span(until.saturating_duration_since(now).as_secs_f64().ceil().max(1.0)));
        let left = left.unwrap_or_default();
        let at = self.until.map(|(_, until)| clock(until)).unwrap_or_default();
        match self.wait.on {
            On::FirstAnswer => vec!["waiting for the first answer".into(), "no answer yet".into()],
            On::CoolDown => vec![
                format!("cool-down until {at} UTC, for {left} more{because}"),
                format!("cool-down until {at} UTC, for {left} more"),
                format!("cool-down until {at} UTC"),
                format!("cool-down, {left}"),
            ],
            On::Origin if self.until.is_some() => vec![
                format!("the origin is away, next try in {left}{because}"),
                format!("the origin is away, next try in {left}"),
                format!("origin away, {left}"),
            ],
            On::Origin => vec![format!("the origin is away, trying it now{because}"), "origin away".into()],
            On::Lock => {
                let holder = why.rsplit('/').next().unwrap_or(why);
                let named = format!("the warehouse is locked by {holder}");
                vec![why.clone(), named, format!("locked by {holder}"), "warehouse locked".into()]
            }
            On::Rate => vec!["held back by --rate".into(), "--rate".into()],
            On::Bandwidth => vec!["held back by --bandwidth".into(), "--bandwidth".into()],
            On::OriginPace => vec!["as fast as the origin allows".into(), "origin's pace".into()],
            On::BackOff => vec![format!("{why} to be tried again, next in {left}"), format!("again in {left}")],
            On::Answers => vec!["waiting for answers".into()],
            On::Input => vec!["waiting for GUIDs on stdin".into(), "no GUIDs".into()],
            On::Output => vec![why.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_once_when_it_lasts_and_its_end_is_told_once() {
        let (start, mut waits) = (Instant::now(), Waits::default());
        let at = |millis| start + Duration::from_millis(millis);
        let lock = || Some(Wait::new(On::Lock, "the warehouse is locked by /bin/x (PID 1)"));
        // One that is over soon is nobody's concern.
        assert_eq!((waits.see(lock(), at(0)), waits.see(None, at(400))), (None, None));
        assert_eq!((waits.see(lock(), at(1000)), waits.see(lock(), at(1600))), (None, Some(Change::Began)));
        assert_eq!(waits.see(lock(), at(1700)), None);
        assert_eq!(waits.words(at(1700))[2], "locked by x (PID 1)");
        assert!(waits.stall(0) && !waits.stall(3));
        // Another one follows: only the end of both is an end.
        let cool_down = || Some(Wait { on: On::CoolDown, until: Some(at(4000)), why: "status 429".into() });
        assert_eq!(waits.see(cool_down(), at(2000)), Some(Change::Began));
        assert_eq!(
            waits.named().map(|(name, until, why)| (name, until.is_some(), why)),
            Some(("cool_down", true, "status 429"))
        );
        assert!(waits.words(at(2000))[0].ends_with(" UTC, for 2 s more: status 429"), "{:?}", waits.words(at(2000)));
        assert_eq!(waits.see(None, at(4000)), Some(Change::Over(Duration::from_secs(3))));
        assert_eq!((waits.see(None, at(4100)), waits.words(at(4100))), (None, Vec::new()));
    }

    #[test]
    fn a_limit_that_holds_back_now_and_then_is_told_once() {
        let (start, mut waits) = (Instant::now(), Waits::default());
        let told = (0..100).filter(|n| {
            let wait = (n % 3 == 0).then(|| Wait::new(On::Rate, ""));
            waits.see(wait, start + Duration::from_millis(n * 300)).is_some()
        });
        assert_eq!(told.count(), 1);
    }
}
