//! What a run shows while it goes on: a bar on a terminal, a line every ten seconds elsewhere; all on stderr.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::run::Watch;
use crate::tally::Tally;
use crate::text::{fits_a_line, shown};

use super::units::{grouped, rough, size};

const LINE_EVERY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar that is drawn over and over.
    Bar,
    /// Plain lines.
    Lines,
    /// Nothing.
    None,
}

/// Shows a run on stderr.
pub struct Progress {
    style: Style,
    verbose: bool,
    bar: Option<ProgressBar>,
    failed_list: Option<Box<dyn Write>>,
    /// Ids that no line can hold.
    unlisted: u64,
    started: Instant,
    next: Instant,
}

impl Progress {
    /// Shows nothing before the first tick.
    #[must_use]
    pub fn new(style: Style, verbose: bool) -> Self {
        let now = Instant::now();
        Self { style, verbose, bar: None, failed_list: None, unlisted: 0, started: now, next: now + LINE_EVERY }
    }

    /// Lists the GUIDs that fail, one a line, too.
    pub fn list_failed(&mut self, list: Box<dyn Write>) {
        self.failed_list = Some(list);
    }

    /// Takes the bar away and writes out the list.
    ///
    /// # Errors
    /// The list could not be written.
    pub fn close(mut self) -> Result<()> {
        let list = self.failed_list.take();
        if self.unlisted > 0 {
            let count = grouped(self.unlisted);
            let words = "ids are empty or hold a tab or a line break, and are left out of --failed-list";
            self.line(&format!("toller: {count} {words}"));
        }
        list.map_or(Ok(()), |mut list| list.flush()).map_err(|cause| Error::new("write", "--failed-list", cause))
    }

    fn line(&self, line: &str) {
        // A closed stderr must not end a run.
        let print = || drop(writeln!(stderr(), "{}", shown(line)));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn words(&self, tally: &Tally, expected: Option<u64>) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let (rate, flow) = (tally.done() as f64 / seconds, tally.bytes as f64 / seconds);
        let mut words = format!("{rate:.0} images/s, {}/s", size(flow));
        if tally.failed > 0 {
            words.push_str(&format!(", {} failed", grouped(tally.failed)));
        }
        if let Some(left) =
            expected.and_then(|all| all.checked_sub(tally.done())).filter(|left| *left > 0 && rate > 0.0)
        {
            #[expect(clippy::cast_precision_loss, reason = "for the eye")]
            let left = Duration::from_secs_f64((left as f64 / rate).min(1e9));
            words.push_str(&format!(", {} left", rough(left)));
        }
        words
    }

    fn draw(&mut self, tally: &Tally, expected: Option<u64>) {
        let words = self.words(tally, expected);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(expected, ProgressDrawTarget::stderr_with_hz(5));
            let template =
                if expected.is_some() { "{bar:32} {human_pos} of {human_len}, {msg}" } else { "{human_pos}, {msg}" };
            // The template is ours; were it wrong, indicatif's own would do.
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_position(tally.done());
        bar.set_message(words);
    }
}

impl Watch for Progress {
    fn tick(&mut self, tally: &Tally, expected: Option<u64>) {
        let now = Instant::now();
        match self.style {
            Style::Bar if now >= self.next || self.bar.is_none() => {
                self.next = now + Duration::from_millis(200);
                self.draw(tally, expected);
            }
            Style::Lines if now >= self.next => {
                self.next = now + LINE_EVERY;
                let of = expected.map(|all| format!(" of {}", grouped(all))).unwrap_or_default();
                self.line(&format!("{}{of}, {}", grouped(tally.done()), self.words(tally, expected)));
            }
            Style::Bar | Style::Lines | Style::None => {}
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        if outcome.result.is_err()
            && let Some(list) = &mut self.failed_list
        {
            if fits_a_line(&outcome.id) {
                // A list that cannot be written must not cost the run; closing it says so.
                let _ = writeln!(list, "{}", outcome.id);
            } else {
                self.unlisted += 1;
            }
        }
        if let (true, Err(failure)) = (self.verbose, &outcome.result) {
            let attempts = if outcome.attempts == 1 { "attempt" } else { "attempts" };
            self.line(&format!("{}: {failure} ({} {attempts})", outcome.id, outcome.attempts));
        }
    }

    fn notice(&mut self, line: &str) {
        self.line(&format!("toller: {line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
