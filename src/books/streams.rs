//! Standard streams as a run's books, for engines that have a scheduler already.
//!
//! GUIDs come in on stdin and outcomes go out on stdout, each after its file is durable. A thread reads stdin, because a
//! read may block for ever, and hands over a bounded number of lines.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, SystemTime};

use crate::ending::Ending;
use crate::error::{Error, Result};
use crate::failure::{Failure, Kind};
use crate::guid::{Guid, UrlTemplate};
use crate::input;
use crate::line::Line;
use crate::outcome::{Id, Job, Outcome};
use crate::run::{Closing, Ledger, On, Supply, Wait};
use crate::store::Layout;
use crate::tally::Tally;

use super::printer::{Printer, stdout_error};

/// Lines read ahead, and lines refused in a row before what has gathered is printed.
const AHEAD: usize = 4096;
/// Failures for good that are kept in mind, in case the run turns out to be no judge of them.
const REMEMBERED: usize = 1000;
/// So many outcomes may wait for a reader that stalls.
const MOST_UNPRINTED: usize = 20_000;
/// What printing the last lines usually takes.
const A_MOMENT: Duration = Duration::from_millis(100);
/// A longer line is no GUID with a URL; the rest of it is read and dropped.
const LONGEST_LINE: u64 = 64 * 1024;

/// Standard streams as a run's books.
pub struct StreamLedger {
    lines: Receiver<io::Result<Vec<u8>>>,
    printer: Printer,
    /// GUIDs that were handed out and not printed.
    unprinted: usize,
    /// The last batch was handed to the printer.
    closing: bool,
    run_id: String,
    layout: Layout,
    template: Option<UrlTemplate>,
    allowance: u64,
    /// Lines refused since the run was last made to look at what has gathered.
    refused: usize,
    /// The latest failures for good that were printed.
    failed: VecDeque<Outcome>,
}

impl StreamLedger {
    /// Begins to read stdin, at most `limit` GUIDs of it.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(run_id: String, layout: Layout, template: Option<UrlTemplate>, limit: Option<u64>) -> Result<Self> {
        Ok(Self {
            lines: read_stdin()?,
            printer: Printer::start()?,
            unprinted: 0,
            closing: false,
            run_id,
            layout,
            template,
            allowance: limit.unwrap_or(u64::MAX),
            refused: 0,
            failed: VecDeque::new(),
        })
    }

    /// How many lines come in.
    ///
    /// # Errors
    /// Stdin cannot be read.
    pub fn count() -> Result<u64> {
        let mut lines = read_stdin()?.into_iter();
        lines.try_fold(0, |count, line| line.map(|_| count + 1)).map_err(|cause| stdin_error(&cause))
    }

    fn supply(&self, line: &[u8]) -> Supply {
        let (id, url) = match line.iter().position(|byte| *byte == b'\t') {
            Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
            None => (line, None),
        };
        let url = url.map(|url| String::from_utf8_lossy(url).into_owned().into_boxed_str());
        let refused =
            |id: Id, kind, cause| Supply::Refused(Outcome::refused(id, url.clone(), Failure::new(kind, cause)));
        let Ok(text) = std::str::from_utf8(id) else {
            return refused(Id::Refused(String::from_utf8_lossy(id).into()), Kind::BadGuid, "it is not UTF-8");
        };
        match Guid::new(text.into()) {
            Err((id, cause)) => refused(Id::Refused(id), Kind::BadGuid, cause),
            Ok(guid) if url.is_none() && self.template.is_none() => {
                refused(guid.into(), Kind::BadUrl, "no URL in the line, and no --url")
            }
            Ok(guid) => Supply::Job(Job::new(guid, url)),
        }
    }

    fn write(&self, text: &mut Vec<u8>, batch: &[Outcome], since: Option<SystemTime>) -> Result<()> {
        for outcome in batch {
            let line = self.line(outcome, since);
            serde_json::to_writer(&mut *text, &line).map_err(|cause| stdout_error(&cause.into()))?;
            text.push(b'\n');
        }
        Ok(())
    }

    /// What failed `since` then is not taken for good, but for what was refused before any request, which says nothing about
    /// the origin.
    fn line(&self, outcome: &Outcome, since: Option<SystemTime>) -> Line {
        let guid = outcome.id.guid().filter(|_| outcome.result.is_ok());
        let path = guid.map(|guid| self.layout.path(guid).display().to_string());
        let own = outcome.url.as_deref().map(str::to_owned);
        let url = own.or_else(|| Some(self.template.as_ref()?.recorded_url(guid?)));
        let mut line = Line::new(&self.run_id, outcome, path, url);
        let forgiven = since.is_some_and(|since| outcome.finished_at >= since)
            && outcome.result.as_ref().is_err_and(|failure| !failure.is_refused_unasked());
        if forgiven {
            line.permanent = Some(false);
        }
        line
    }

    fn remember(&mut self, batch: &[Outcome]) {
        let lasts = |failure: &Failure| !failure.is_transient() && !failure.is_refused_unasked();
        let for_good = |outcome: &&Outcome| outcome.result.as_ref().is_err_and(lasts);
        let latest = batch.iter().rev().filter(for_good).take(REMEMBERED);
        self.failed.extend(latest.cloned().collect::<Vec<_>>().into_iter().rev());
        self.failed.drain(..self.failed.len().saturating_sub(REMEMBERED));
    }

    /// What was printed as a failure for good, once more and as one that may pass: whoever reads has the line already.
    fn take_back(&mut self, text: &mut Vec<u8>, since: SystemTime) -> Result<()> {
        let now = SystemTime::now();
        let again = |outcome| Outcome { attempts: 0, finished_at: now, ..outcome };
        let failed = std::mem::take(&mut self.failed).into_iter().filter(|outcome| outcome.finished_at >= since);
        let failed: Vec<_> = failed.map(again).collect();
        self.write(text, &failed, Some(since))
    }
}

impl Ledger for StreamLedger {
    fn hindrance(&self) -> Option<Wait> {
        (!self.printer.is_free()).then(|| Wait::new(On::Output, "nobody reads stdout"))
    }

    /// Nothing was counted before.
    fn repeats(&self) -> u64 {
        0
    }

    fn next(&mut self) -> Result<Supply> {
        if self.allowance == 0 {
            return Ok(Supply::End);
        }
        if self.unprinted >= MOST_UNPRINTED && !self.printer.is_free() {
            return Ok(Supply::Wait);
        }
        // Nothing but refusals would be gathered without an end.
        if self.refused == AHEAD {
            self.refused = 0;
            return Ok(Supply::Wait);
        }
        match self.lines.try_recv() {
            Ok(line) => {
                self.allowance -= 1;
                self.unprinted += 1;
                let supply = self.supply(&line.map_err(|cause| stdin_error(&cause))?);
                self.refused += usize::from(matches!(supply, Supply::Refused(_)));
                Ok(supply)
            }
            Err(TryRecvError::Empty) => Ok(Supply::Wait),
            Err(TryRecvError::Disconnected) => Ok(Supply::End),
        }
    }

    fn is_ready(&self, _: usize) -> bool {
        self.printer.is_free()
    }

    fn turn_page(&mut self, _: bool) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, batch: &[Outcome], _: &Tally, _: bool) -> Result<bool> {
        if !self.printer.is_free() {
            return Ok(false);
        }
        let mut text = Vec::new();
        self.write(&mut text, batch, None)?;
        self.printer.print(text)?;
        self.remember(batch);
        self.unprinted = self.unprinted.saturating_sub(batch.len());
        Ok(true)
    }

    fn finish(&mut self, batch: &[Outcome], _: &Tally, early: Option<&Ending>) -> Result<Closing> {
        if !self.printer.is_free() {
            return Ok(Closing::Later);
        }
        if !self.closing {
            self.closing = true;
            let mut text = Vec::new();
            let since = early.and_then(Ending::forgive_since);
            if let Some(since) = since {
                self.take_back(&mut text, since)?;
            }
            self.write(&mut text, batch, since)?;
            self.printer.print(text)?;
        }
        let printed = self.printer.wait(A_MOMENT)?;
        Ok(if printed { Closing::Closed { left: false } } else { Closing::Later })
    }
}

fn stdin_error(cause: &io::Error) -> Error {
    Error::new("read GUIDs", "stdin", cause)
}

/// Reads stdin on a thread of its own, which ends with it, or with the process.
fn read_stdin() -> Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, lines) = sync_channel(AHEAD);
    let reader = move || {
        let read = input::open(Path::new("-")).and_then(|mut text| send_lines(&mut text, &sender));
        if let Err(error) = read {
            // The run has ended if nobody takes it.
            let _ = sender.send(Err(error));
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(reader).map_err(|cause| stdin_error(&cause))?;
    Ok(lines)
}

fn send_lines(text: &mut dyn BufRead, lines: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let read = text.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.pop_if(|last| *last == b'\n').is_none() && read as u64 == LONGEST_LINE {
            text.skip_until(b'\n')?;
        }
        line.pop_if(|last| *last == b'\r');
        if !line.is_empty() && lines.send(Ok(line)).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_whatever_ends_them_and_an_endless_one_is_cut() {
        let long = "x".repeat(100_000);
        let text = format!("a\r\n\nb\tu\n{long}\nc");
        let (sender, lines) = sync_channel(10);
        send_lines(&mut text.as_bytes(), &sender).expect("memory can be read");
        drop(sender);
        let lines: Vec<_> = lines.iter().map(|line| line.expect("a line").len()).collect();
        assert_eq!(lines, [1, 3, 65_536, 1]);
    }
}
