//! What a run shows while it goes on: a bar on a terminal, a line every ten seconds elsewhere, objects for programs; all
//! on stderr.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::run::{Moment, Watch};
use crate::tally::Tally;
use crate::text::{fits_a_line, shown};

use super::line::{Part, line};
use super::speed::Speed;
use super::units::{grouped, rough, rounded, size, span};
use super::waits::{Change, Waits};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar that is drawn over and over.
    Bar,
    /// Plain lines.
    Lines,
    /// An object a line.
    Json,
    /// Nothing.
    None,
}

impl Style {
    /// When it is shown for the first time.
    fn first(self) -> Duration {
        if self == Self::Bar { Duration::ZERO } else { self.every() }
    }

    /// How often it is shown.
    fn every(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(200),
            Self::Json => Duration::from_secs(5),
            Self::Lines | Self::None => Duration::from_secs(10),
        }
    }
}

/// A list that is made as its lines come.
pub trait List: Write {
    /// There is no more to come: it gets its name.
    ///
    /// # Errors
    /// Not all of it could be written.
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

/// Shows a run on stderr.
pub struct Progress {
    style: Style,
    verbose: bool,
    /// The bar is on the terminal.
    drawn: bool,
    failed_list: Option<Box<dyn List>>,
    /// Ids that no line can hold.
    unlisted: u64,
    speed: Speed,
    waits: Waits,
    latest: Latest,
    examples: Examples,
    next: Instant,
}

/// Of each kind of failure the first GUID that met it, and its cause.
pub type Examples = BTreeMap<&'static str, String>;

/// How the run stood when it was last looked at.
#[derive(Debug, Default)]
struct Latest {
    tally: Tally,
    expected: Option<u64>,
    retries: u64,
    in_flight: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    Starting,
    Fetching,
    Waiting,
    Stopping,
    Ended,
}

/// A line of `--progress json`. Its fields are a promise to programs.
#[derive(Debug, Serialize)]
struct Object<'p> {
    time: String,
    state: State,
    waits_for: Option<&'static str>,
    until: Option<String>,
    why: Option<&'p str>,
    message: Option<&'p str>,
    expected: Option<u64>,
    fetched: u64,
    reused: u64,
    unchanged: u64,
    failed: u64,
    retries: u64,
    in_flight: u64,
    bytes: u64,
    requests: u64,
    connections: u64,
    images_per_second: f64,
    eta_seconds: Option<f64>,
}

impl Progress {
    /// Shows nothing before the first tick.
    #[must_use]
    pub fn new(style: Style, verbose: bool) -> Self {
        Self {
            style,
            verbose,
            drawn: false,
            failed_list: None,
            unlisted: 0,
            speed: Speed::default(),
            waits: Waits::default(),
            latest: Latest::default(),
            examples: Examples::new(),
            next: Instant::now() + style.first(),
        }
    }

    /// Lists the GUIDs that fail, one a line, too.
    pub fn list_failed(&mut self, list: Box<dyn List>) {
        self.failed_list = Some(list);
    }

    /// Says what begins, unless nothing is to be shown.
    pub fn begin(&mut self, what: &str) {
        if self.style != Style::None {
            self.notice(what);
        }
        self.next = Instant::now() + self.style.first();
    }

    /// Takes the bar away and finishes the list; gives an example of each kind of failure.
    ///
    /// # Errors
    /// The list could not be written.
    pub fn close(mut self) -> Result<Examples> {
        if self.unlisted > 0 {
            let count = grouped(self.unlisted);
            let words = "ids are empty or hold a tab or a line break, and are left out of --failed-list";
            self.notice(&format!("{count} {words}"));
        }
        if self.style == Style::Json {
            self.latest.state = State::Ended;
            self.object(None);
        }
        self.close_list()?;
        Ok(std::mem::take(&mut self.examples))
    }

    /// Finishes the list, if one was begun.
    ///
    /// # Errors
    /// It could not be written.
    pub fn close_list(&mut self) -> Result<()> {
        let written = self.failed_list.take().map_or(Ok(()), List::finish);
        written.map_err(|cause| Error::new("write", "--failed-list", cause))
    }

    /// A line that stays, or as an object.
    fn say(&mut self, text: &str) {
        if self.style == Style::Json {
            return self.object(Some(text));
        }
        self.erase();
        write(&format!("{}\n", shown(text)));
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            write("\r\x1b[K");
        }
    }

    /// How many are left, and how long they will take at the speed of the last seconds.
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    fn left(&self) -> Option<Duration> {
        let left = self.latest.expected?.checked_sub(self.latest.tally.done()).filter(|left| *left > 0)?;
        let (rate, _) = self.speed.a_second().filter(|(rate, _)| *rate > 0.0)?;
        (self.latest.state == State::Fetching).then(|| Duration::from_secs_f64((left as f64 / rate).min(1e9)))
    }

    /// All that is to be said, in its order.
    fn parts(&self, now: Instant) -> Vec<Part> {
        let Latest { tally, expected, retries, state, .. } = &self.latest;
        let done = tally.done();
        let mut parts = Vec::new();
        match expected {
            Some(all) => parts.push(Part::shortening(
                0,
                vec![format!("{} of {}", grouped(done), grouped(*all)), format!("{done}/{all}")],
            )),
            None if done > 0 => parts.push(Part::new(0, grouped(done))),
            None => {}
        }
        if let Some((rate, flow)) = self.speed.a_second().filter(|_| *state == State::Fetching && done > 0) {
            let digits = usize::from(rate < 9.95);
            parts.push(Part::shortening(3, vec![format!("{rate:.digits$} images/s"), format!("{rate:.digits$}/s")]));
            parts.push(Part::new(6, format!("{}/s", size(flow))));
        }
        if tally.failed > 0 {
            parts.push(Part::new(4, format!("{} failed", grouped(tally.failed))));
        }
        if *retries > 0 {
            let word = if *retries == 1 { "retry" } else { "retries" };
            parts.push(Part::new(5, format!("{} {word}", grouped(*retries))));
        }
        if let Some(left) = self.left() {
            parts.push(Part::new(2, format!("{} left", rough(left))));
        }
        let waits = self.waits.words(now);
        if !waits.is_empty() {
            parts.push(Part::shortening(1, waits));
        } else if *state == State::Stopping {
            parts.push(Part::new(1, "stopping".into()));
        }
        parts
    }

    fn draw(&mut self, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let share = self.latest.expected.map(|all| self.latest.tally.done() as f64 / all.max(1) as f64);
        // The last columns are left free for the ^C that a terminal shows, and since some go on to the next line behind them.
        let text = line(&self.parts(now), share, columns().saturating_sub(3));
        write(&format!("\r{}\x1b[K", shown(&text)));
        self.drawn = true;
    }

    fn object(&self, message: Option<&str>) {
        let time = |time| humantime::format_rfc3339_millis(time).to_string();
        let Latest { tally, expected, retries, in_flight, state } = &self.latest;
        let (waits_for, until, why) = self.waits.named().map_or((None, None, None), |(name, until, why)| {
            (Some(name), until, Some(why).filter(|why| !why.is_empty()))
        });
        let object = Object {
            time: time(SystemTime::now()),
            state: *state,
            waits_for,
            until: until.map(|until| humantime::format_rfc3339_seconds(until).to_string()),
            why,
            message,
            expected: *expected,
            fetched: tally.fetched,
            reused: tally.reused,
            unchanged: tally.unchanged,
            failed: tally.failed,
            retries: *retries,
            in_flight: *in_flight,
            bytes: tally.bytes,
            requests: tally.requests,
            connections: tally.connections,
            images_per_second: rounded(self.speed.a_second().map_or(0.0, |(rate, _)| rate)),
            eta_seconds: self.left().map(|left| rounded(left.as_secs_f64())),
        };
        // Our own shape holds nothing that JSON cannot say.
        write(&format!("{}\n", serde_json::to_string(&object).unwrap_or_default()));
    }

    /// Says what has changed about what the run waits for, in a line of its own where no bar shows it.
    fn tell(&mut self, change: &Change, now: Instant) {
        match (self.style, change) {
            (Style::Lines, Change::Began) => {
                let words = self.waits.words(now).swap_remove(0);
                self.say(&format!("toller: {words}"));
            }
            (Style::Lines, Change::Over(after)) => {
                self.say(&format!("toller: goes on after {}", span((after.as_secs_f64() * 10.0).round() / 10.0)));
            }
            (Style::Json, _) => {
                self.object(None);
                self.next = now + self.style.every();
            }
            (Style::Bar | Style::None, _) => {}
        }
    }
}

impl Watch for Progress {
    fn tick(&mut self, moment: &Moment<'_>) {
        let now = Instant::now();
        self.speed.count(now, moment.tally.done(), moment.tally.bytes);
        let stalled = self.waits.stall(moment.in_flight);
        let change = self.waits.see(moment.wait.clone(), now);
        let stalls = self.waits.stall(moment.in_flight);
        if stalled != stalls {
            self.speed.begin_anew();
        }
        let Moment { tally, expected, retries, in_flight, .. } = *moment;
        let state = match (moment.stopping, stalls) {
            (true, _) => State::Stopping,
            (_, true) => State::Waiting,
            _ => State::Fetching,
        };
        self.latest = Latest { tally: tally.clone(), expected, retries, in_flight, state };
        if let Some(change) = &change {
            self.tell(change, now);
        }
        if now >= self.next {
            self.next = now + self.style.every();
            match self.style {
                Style::Bar => self.draw(now),
                Style::Lines => self.say(&line(&self.parts(now), None, usize::MAX)),
                Style::Json if change.is_none() => self.object(None),
                Style::Json | Style::None => {}
            }
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let Err(failure) = &outcome.result else { return };
        let example = || format!("{}: {}", outcome.id, failure.message);
        self.examples.entry(failure.kind.name()).or_insert_with(example);
        if let Some(list) = &mut self.failed_list {
            if fits_a_line(&outcome.id) {
                // A list that cannot be written must not cost the run; closing it says so.
                let _ = writeln!(list, "{}", outcome.id);
            } else {
                self.unlisted += 1;
            }
        }
        if self.verbose {
            let attempts = if outcome.attempts == 1 { "attempt" } else { "attempts" };
            self.say(&format!("{}: {failure} ({} {attempts})", outcome.id, outcome.attempts));
        }
    }

    fn notice(&mut self, line: &str) {
        let before = if self.style == Style::Json { "" } else { "toller: " };
        self.say(&format!("{before}{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

/// A closed stderr must not end a run.
fn write(text: &str) {
    let mut stderr = stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// How wide the terminal is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}
