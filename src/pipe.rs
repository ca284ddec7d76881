//! `toller pipe`: the same run with standard streams for books, for engines that have a scheduler already.
//!
//! GUIDs come in on stdin and outcomes go out on stdout, each after its file is durable. A thread reads stdin, because a
//! read may block for ever, and hands over a bounded number of lines.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::cli::{self, Origins};
use crate::commands::{conclude, listen};
use crate::config::FetchConfig;
use crate::error::{Error, ExitCode, Result};
use crate::guid::{Guid, UrlTemplate};
use crate::input;
use crate::ledger::{Closing, EarlyEnd, Ledger, Supply};
use crate::manifest::{Tally, new_run_id};
use crate::origin::Origin;
use crate::outcome::{Failure, Job, Kind, Outcome};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::report::{self, grouped};
use crate::run::{self, Watch};
use crate::store::{self, Layout, Share, Store};
use crate::worker::Tools;

/// Lines read ahead, and lines refused in a row before what has gathered is printed.
const AHEAD: usize = 4096;
/// Print after so many seconds, which with what it takes is at least once a second.
const PRINT_AFTER: f64 = 0.8;
/// Failures for good that are kept in mind, in case the run turns out to be no judge of them.
const REMEMBERED: usize = 1000;
/// So many outcomes may wait for a reader that stalls.
const MOST_UNPRINTED: usize = 20_000;
/// What printing the last lines usually takes.
const A_MOMENT: Duration = Duration::from_millis(100);
/// A longer line is no GUID with a URL; the rest of it is read and dropped.
const LONGEST_LINE: u64 = 64 * 1024;

/// One outcome as `pipe` prints it and `merge` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The run that printed it.
    #[serde(default)]
    pub run_id: Option<String>,
    /// The image.
    pub guid: String,
    /// Its file is home.
    pub ok: bool,
    /// Where.
    #[serde(default)]
    pub path: Option<String>,
    /// From where.
    #[serde(default)]
    pub url: Option<String>,
    /// Its length.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The kind of failure.
    #[serde(default)]
    pub kind: Option<String>,
    /// The status, where the origin sent one.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The cause in words.
    #[serde(default)]
    pub message: Option<String>,
    /// The same request will not succeed later.
    #[serde(default)]
    pub permanent: Option<bool>,
    /// Attempts made.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// Milliseconds spent.
    #[serde(default)]
    pub ms: Option<u64>,
    /// When it ended, RFC 3339.
    pub finished_at: String,
}

impl Line {
    fn new(
        run_id: &str,
        layout: &Layout,
        template: Option<&UrlTemplate>,
        outcome: &Outcome,
        since: Option<SystemTime>,
    ) -> Self {
        let failure = outcome.result.as_ref().err();
        let forgiven = since.is_some_and(|since| outcome.finished_at >= since);
        // What was refused before any request says nothing about the origin.
        let forgiven = forgiven && failure.is_some_and(|failure| !failure.is_refused_unasked());
        let saved = outcome.result.as_ref().ok();
        let guid = saved.and_then(|_| Guid::new(outcome.id.clone()).ok());
        let own = outcome.url.as_deref().map(str::to_owned);
        Self {
            run_id: Some(run_id.to_owned()),
            guid: outcome.id.to_string(),
            ok: failure.is_none(),
            path: guid.as_ref().map(|guid| layout.path(guid).display().to_string()),
            url: own.or_else(|| Some(template?.recorded_url(guid.as_ref()?))),
            bytes: saved.map(|saved| saved.bytes),
            kind: failure.map(|failure| failure.kind.name().to_owned()),
            http_status: failure.and_then(|failure| failure.http_status),
            message: failure.map(|failure| failure.message.clone()),
            permanent: failure.map(|failure| !forgiven && !failure.is_transient()),
            attempts: Some(outcome.attempts),
            ms: Some(u64::try_from(outcome.spent.as_millis()).unwrap_or(u64::MAX)),
            finished_at: humantime::format_rfc3339_micros(outcome.finished_at).to_string(),
        }
    }
}

/// Carries out `toller pipe`.
pub fn pipe(args: cli::Pipe, origins: Origins) -> Result<ExitCode> {
    let config = FetchConfig::new(args.origin, None, origins, PRINT_AFTER)?;
    let lines = read_stdin()?;
    if config.dry_run {
        let count =
            lines.iter().try_fold(0, |count, line| line.map(|_| count + 1)).map_err(|cause| stdin_error(&cause))?;
        report::print(&format!("would fetch {} images\n", grouped(count.min(config.limit.unwrap_or(u64::MAX)))))?;
        return Ok(ExitCode::Done);
    }
    let stop = listen(config.max_runtime)?;
    let mut progress = Progress::new(config.style, config.verbose);
    for warning in &config.warnings {
        progress.notice(warning);
    }
    let origin = Origin::new(&config.origin)?;
    if let Some(warning) = origin.warning() {
        progress.notice(warning);
    }
    let run_id = new_run_id(SystemTime::now());
    let files = Store::open(config.layout.clone(), &run_id, Share::WithOthers, config.sync)?;
    if let Some(warning) = files.warning() {
        progress.notice(warning);
    }
    progress.list_failed(config.failed_list.as_deref().map(store::create_list).transpose()?);
    let mut ledger = StreamLedger {
        lines,
        printer: Printer::start()?,
        run_id,
        layout: config.layout.clone(),
        template: config.template().cloned(),
        allowance: config.limit.unwrap_or(u64::MAX),
        unprinted: 0,
        closing: false,
        refused: 0,
        failed: VecDeque::new(),
    };
    let pace = Pace::new(config.rate, config.bandwidth);
    let template = config.template().cloned();
    let tools = Arc::new(Tools { origin, store: files, pace, template, expect: config.expect });
    let ended = run::run(&mut ledger, tools, &config.run, &stop, &mut progress, 0)?;
    progress.close()?;
    conclude(ended)
}

/// Standard streams as a run's books.
struct StreamLedger {
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
    fn supply(&self, line: &[u8]) -> Supply {
        let (id, url) = match line.iter().position(|byte| *byte == b'\t') {
            Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
            None => (line, None),
        };
        let url = url.map(|url| String::from_utf8_lossy(url).into_owned().into_boxed_str());
        let refused = |id, kind, cause| Supply::Refused(Outcome::refused(id, url.clone(), Failure::new(kind, cause)));
        let Ok(text) = std::str::from_utf8(id) else {
            return refused(String::from_utf8_lossy(id).into(), Kind::BadGuid, "it is not UTF-8");
        };
        match Guid::new(text.into()) {
            Err((id, cause)) => refused(id, Kind::BadGuid, cause),
            Ok(guid) if url.is_none() && self.template.is_none() => {
                refused(guid.into_text(), Kind::BadUrl, "no URL in the line, and no --url")
            }
            Ok(guid) => Supply::Job(Job::new(guid, url)),
        }
    }

    fn write(&self, text: &mut Vec<u8>, batch: &[Outcome], since: Option<SystemTime>) -> Result<()> {
        for outcome in batch {
            let line = Line::new(&self.run_id, &self.layout, self.template.as_ref(), outcome, since);
            serde_json::to_writer(&mut *text, &line).map_err(|cause| stdout_error(&cause.into()))?;
            text.push(b'\n');
        }
        Ok(())
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
    fn hindrance(&self) -> &'static str {
        "nobody reads stdout"
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

    fn finish(&mut self, batch: &[Outcome], _: &Tally, early: Option<&EarlyEnd>) -> Result<Closing> {
        if !self.printer.is_free() {
            return Ok(Closing::Later);
        }
        if !self.closing {
            self.closing = true;
            let mut text = Vec::new();
            let since = early.and_then(|early| early.forgive_since);
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

/// Writes to stdout on a thread of its own, because whoever reads may stall for ever, and a signal must be heard all the
/// same. One text at a time.
struct Printer {
    texts: SyncSender<Vec<u8>>,
    printed: Receiver<io::Result<()>>,
    busy: Cell<bool>,
    failed: Cell<Option<io::Error>>,
}

impl Printer {
    fn start() -> Result<Self> {
        let (texts, to_print) = sync_channel::<Vec<u8>>(1);
        let (say, printed) = sync_channel(1);
        let print = move || {
            while let Ok(text) = to_print.recv() {
                let mut out = io::stdout().lock();
                let done = out.write_all(&text).and_then(|()| out.flush());
                if say.send(done).is_err() {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("stdout".into()).spawn(print);
        spawned.map_err(|cause| stdout_error(&cause))?;
        Ok(Self { texts, printed, busy: Cell::new(false), failed: Cell::new(None) })
    }

    /// Whether the last text is out, or never will be.
    fn is_free(&self) -> bool {
        if self.busy.get()
            && let Ok(done) = self.printed.try_recv()
        {
            self.heard(done);
        }
        !self.busy.get()
    }

    fn heard(&self, done: io::Result<()>) {
        self.busy.set(false);
        self.failed.set(done.err());
    }

    /// Hands a text over, the last one being out.
    fn print(&mut self, text: Vec<u8>) -> Result<()> {
        self.check()?;
        self.busy.set(true);
        self.texts.send(text).map_err(|_| stdout_error(&io::ErrorKind::BrokenPipe.into()))
    }

    /// Whether all is out within this time.
    fn wait(&mut self, time: Duration) -> Result<bool> {
        if self.busy.get()
            && let Ok(done) = self.printed.recv_timeout(time)
        {
            self.heard(done);
        }
        self.check()?;
        Ok(!self.busy.get())
    }

    fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), |cause| Err(stdout_error(&cause)))
    }
}

fn stdout_error(cause: &io::Error) -> Error {
    Error::new("print outcomes", "stdout", cause)
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
