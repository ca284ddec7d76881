//! Every result in its two forms, for people and as JSON, worded in one place.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::ending::Ending;
use crate::error::{Error, Result};
use crate::manifest::Status;
use crate::tally::Tally;
use crate::text::shown;
use crate::warehouse::{LoadReport, Locked};

use super::bar::Examples;
use super::units::{grouped, rounded, size, span};

/// Prints a result. A reader that has gone away is no error: it has seen what it wanted.
///
/// # Errors
/// The result is lost, as on a full disk.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::new("print", "stdout", error)),
        _ => Ok(()),
    }
}

/// Prints a result as one line of JSON, or for people.
///
/// # Errors
/// As [`print()`].
pub fn show<R: Serialize>(report: &R, json: bool, text: impl FnOnce(&R) -> String) -> Result<()> {
    // Our own shapes hold nothing that JSON cannot say.
    let line = || format!("{}\n", serde_json::to_string(report).unwrap_or_default());
    print(&if json { line() } else { lines_shown(&text(report)) })
}

/// A text of several lines, and nothing foreign in it that steers a terminal.
fn lines_shown(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// Prints an error: one line, and the way out in a second one where it is known.
pub fn print_error(error: &Error) {
    let text: String =
        lines_shown(&error.to_string()).lines().enumerate().fold(String::new(), |text, (number, line)| match number {
            0 => format!("{text}toller: {line}\n"),
            _ => format!("{text}  {line}\n"),
        });
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints something that the user should know.
pub fn print_notice(line: &str) {
    let _ = writeln!(io::stderr().lock(), "toller: {}", shown(line));
}

/// Says that the warehouse is waited for.
pub fn print_locked(locked: &Locked) {
    print_notice(&format!("waiting for the warehouse, which is locked by {}", locked.by));
}

/// The end of a `fetch`, in the shape of the contract.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is what its name says")]
pub struct FetchReport {
    pub run_id: Option<String>,
    pub status: Status,
    pub exit_code: u8,
    pub pending: u64,
    pub fetched: u64,
    pub reused: u64,
    pub unchanged: u64,
    /// Those among them that are gone at the origin; `thumb_file.gone_at` says which.
    #[serde(skip)]
    pub gone: u64,
    pub failed: u64,
    pub failures: BTreeMap<&'static str, u64>,
    pub bytes: u64,
    pub requests: u64,
    pub connections: u64,
    pub seconds: f64,
    pub images_per_second: f64,
    /// What is not home and was left alone, by kind; where there was nothing else.
    #[serde(skip)]
    pub left_alone: Vec<(String, u64)>,
    /// Of each kind of failure one that met it, and its cause.
    #[serde(skip)]
    pub examples: Examples,
}

/// What failed for good and is left alone, behind a count of something else; nothing where there is none.
#[must_use]
pub fn left_alone(kinds: &[(String, u64)]) -> String {
    if kinds.is_empty() {
        return String::new();
    }
    let all = grouped(kinds.iter().map(|(_, count)| count).sum());
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count))).collect();
    format!("; {all} failed for good ({}): see --retry-failed", kinds.join(", "))
}

impl FetchReport {
    /// Puts the counts of a run together.
    #[must_use]
    pub fn new(run_id: Option<String>, ending: &Ending, tally: &Tally, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
        let home = (tally.fetched + tally.reused + tally.unchanged) as f64;
        Self {
            run_id,
            status: ending.status(),
            exit_code: ending.code().number(),
            pending: tally.pending,
            fetched: tally.fetched,
            reused: tally.reused,
            unchanged: tally.unchanged,
            gone: tally.gone,
            failed: tally.failed,
            failures: tally.failures.iter().map(|(kind, count)| (kind.name(), *count)).collect(),
            bytes: tally.bytes,
            requests: tally.requests,
            connections: tally.connections,
            seconds: rounded(seconds),
            images_per_second: rounded(home / seconds.max(0.001)),
            left_alone: Vec::new(),
            examples: Examples::new(),
        }
    }

    /// The same, with an example of each kind of failure.
    #[must_use]
    pub fn with_examples(self, examples: Examples) -> Self {
        Self { examples, ..self }
    }

    /// The same, naming what was left alone.
    #[must_use]
    pub fn leaving_alone(self, left_alone: Vec<(String, u64)>) -> Self {
        Self { left_alone, ..self }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let done = self.fetched + self.reused + self.unchanged + self.failed;
        if self.pending == 0 && done == 0 {
            let what = if self.left_alone.is_empty() { "nothing is pending" } else { "nothing to fetch" };
            return format!("{what}{}\n", left_alone(&self.left_alone));
        }
        let mut text = format!("{}: {} images in {}\n", self.status.word(), grouped(done), span(self.seconds));
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let (bytes, fetched) = (self.bytes as f64, self.fetched as f64);
        row(
            &mut text,
            "fetched",
            self.fetched,
            &format!("{}, {:.0} images/s", size(bytes), fetched / self.seconds.max(0.001)),
        );
        if self.reused > 0 {
            row(&mut text, "reused", self.reused, "were there already");
        }
        if self.unchanged > 0 {
            let gone = match self.gone {
                0 => String::new(),
                gone => format!("; {} of them gone at the origin (gone_at)", grouped(gone)),
            };
            row(&mut text, "unchanged", self.unchanged, &format!("stay as they were{gone}"));
        }
        if self.failed > 0 {
            let kinds: Vec<_> =
                self.failures.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count))).collect();
            row(&mut text, "failed", self.failed, &kinds.join(", "));
            for (kind, example) in &self.examples {
                text.push_str(&format!("    {kind}, such as {}\n", shown(example)));
            }
        }
        let each = match self.connections {
            0 => String::new(),
            1 => "over 1 connection".into(),
            many => format!("over {} connections, {} each", grouped(many), grouped(self.requests / many)),
        };
        row(&mut text, "requests", self.requests, &each);
        text
    }
}

pub(super) fn row(text: &mut String, name: &str, count: u64, note: &str) {
    text.push_str(format!("  {name:<10}{:>12}   {note}", grouped(count)).trim_end());
    text.push('\n');
}

/// What `load` did.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is what its name says")]
pub struct LoadSummary {
    pub lines: u64,
    pub added: u64,
    pub known: u64,
    pub empty: u64,
    pub total: u64,
    pub made: bool,
}

impl LoadSummary {
    /// Takes the counts.
    #[must_use]
    pub fn new(report: &LoadReport) -> Self {
        let LoadReport { lines, added, known, empty, total, made, .. } = *report;
        Self { lines, added, known, empty, total, made }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let made = if self.made { ", in a new warehouse" } else { "" };
        let mut text = format!("{} images added, {} in all{made}\n", grouped(self.added), grouped(self.total));
        let rows = [(self.known, "were there already, or came before"), (self.empty, "held no GUID")];
        for (count, why) in rows.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("  {} of {} entries {why}\n", grouped(count), grouped(self.lines)));
        }
        text
    }
}

/// What `merge` did.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "each field is what its name says")]
pub struct MergeReport {
    pub run_id: String,
    pub lines: u64,
    pub done: u64,
    pub failed: u64,
    pub ignored: u64,
    pub unknown: u64,
    pub missing: u64,
    pub torn: u64,
}

impl MergeReport {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} outcomes merged\n", grouped(self.lines));
        let rows = [
            ("done", self.done, "newly done"),
            ("failed", self.failed, ""),
            ("ignored", self.ignored, "failures older than what is known"),
            ("unknown", self.unknown, "not in the table"),
            ("missing", self.missing, "said to be home, but no file"),
        ];
        for (name, count, note) in rows.into_iter().filter(|(_, count, _)| *count > 0) {
            row(&mut text, name, count, note);
        }
        text
    }
}
