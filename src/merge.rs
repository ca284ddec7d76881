//! `toller merge`: outcomes that `pipe` printed, on however many machines, brought home into one warehouse.
//!
//! A file is read twice: once to know that every line of it is good, then to apply it, so that a bad file changes
//! nothing. What is known better already is left alone, so that merging twice is merging once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli;
use crate::config::{WarehouseConfig, layout_like};
use crate::error::{Error, ExitCode, Result};
use crate::guid::Guid;
use crate::input;
use crate::machine;
use crate::manifest::{RunManifest, Status, Tally, new_run_id};
use crate::outcome::{Failure, Kind, Outcome, Saved};
use crate::pipe::Line;
use crate::report::{self, MergeReport};
use crate::store::{self, Layout};
use crate::warehouse::{Merged, OwnTables, RunEnd, Shape, Warehouse};

/// How many outcomes are applied in one transaction.
const BATCH: usize = 100_000;

/// Carries out `toller merge`.
pub fn merge(args: cli::Merge) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables)?;
    let layout = if args.layout.dest.is_some() {
        let last = books.read(place.lock_wait, |window| window.last_destination())?;
        Some(layout_like(args.layout, last.as_ref())?.0)
    } else {
        None
    };
    let run = RunManifest {
        run_id: new_run_id(SystemTime::now()),
        started_at: SystemTime::now(),
        workers: 0,
        url: None,
        dest: None,
        extension: None,
        fanout: None,
        expect: None,
        host: machine::host(),
    };
    let (shape, own) = books.write(place.lock_wait, |window| {
        let (shape, own) = (window.shape()?, window.own_tables()?);
        window.make_own_tables(&own, &shape)?;
        window.open_run(&own, &run, 0, false)?;
        Ok((shape, own))
    })?;
    let mut merge = Merge {
        books: &books,
        own,
        shape,
        layout,
        lock_wait: place.lock_wait,
        tally: Tally::default(),
        report: MergeReport { run_id: run.run_id.clone(), ..MergeReport::default() },
    };
    let merged = args.sources.iter().try_for_each(|source| merge.source(source));
    let end = match &merged {
        Ok(()) => RunEnd { status: merge.tally.verdict(merge.report.missing > 0).0, error: None, forgive: false },
        Err(error) => RunEnd { status: Status::Failed, error: Some(error.line()), forgive: false },
    };
    let closed = books.write(place.lock_wait, |window| window.close_run(&merge.own, &run.run_id, &merge.tally, &end));
    // The first error is the one to report.
    merged?;
    closed?;
    if args.json {
        report::print_json(&merge.report);
    } else {
        report::print(&merge.report.text());
    }
    Ok(if merge.report.missing > 0 { ExitCode::Partial } else { ExitCode::Done })
}

struct Merge<'m> {
    books: &'m Warehouse,
    own: OwnTables,
    shape: Shape,
    layout: Option<Layout>,
    lock_wait: Duration,
    tally: Tally,
    report: MergeReport,
}

impl Merge<'_> {
    fn source(&mut self, source: &Path) -> Result<()> {
        let mut text = Text::open(source)?;
        let mut torn = false;
        text.each(|_, line| {
            torn |= line.is_none();
            Ok(())
        })?;
        if torn {
            self.report.torn += 1;
            let line = format!("{}: its last line is torn and is skipped", source.display());
            report::print_notice(&line);
        }
        let mut batch = Batch::default();
        text.rewind()?;
        text.each(|_, line| {
            if let Some(outcome) = line {
                self.report.lines += 1;
                batch.add(outcome);
            }
            if batch.outcomes.len() >= BATCH { self.apply(&mut batch) } else { Ok(()) }
        })?;
        self.apply(&mut batch)
    }

    fn apply(&mut self, batch: &mut Batch) -> Result<()> {
        let mut outcomes = batch.take();
        if let Some(layout) = &self.layout {
            let before = outcomes.len();
            outcomes.retain(|outcome| outcome.result.is_err() || is_there(layout, outcome));
            self.report.missing += (before - outcomes.len()) as u64;
        }
        if outcomes.is_empty() {
            return Ok(());
        }
        let (own, shape, tally, run_id) = (&self.own, &self.shape, &mut self.tally, &self.report.run_id);
        let failed = tally.failed;
        let Merged { unknown, ignored, changed } =
            self.books.write(self.lock_wait, |window| window.merge(own, shape, run_id, &outcomes, tally))?;
        self.report.failed += self.tally.failed - failed;
        self.report.unknown += unknown;
        self.report.ignored += ignored;
        self.report.done += changed;
        Ok(())
    }
}

fn is_there(layout: &Layout, outcome: &Outcome) -> bool {
    let path = Guid::new(outcome.id.clone()).ok().map(|guid| layout.path(&guid));
    path.and_then(|path| std::fs::metadata(path).ok()).is_some_and(|found| found.is_file() && found.len() > 0)
}

/// Outcomes of one transaction, one for each GUID: a success stands, failures add up in the order they come.
#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    places: HashMap<Box<str>, usize>,
}

impl Batch {
    fn add(&mut self, outcome: Outcome) {
        let Some(place) = self.places.get(&outcome.id) else {
            self.places.insert(outcome.id.clone(), self.outcomes.len());
            self.outcomes.push(outcome);
            return;
        };
        let known = &mut self.outcomes[*place];
        if known.result.is_ok() {
            return;
        }
        if outcome.result.is_ok() {
            *known = outcome;
        } else if outcome.finished_at > known.finished_at {
            let attempts = known.attempts.saturating_add(outcome.attempts);
            *known = Outcome { attempts, ..outcome };
        }
    }

    fn take(&mut self) -> Vec<Outcome> {
        self.places.clear();
        std::mem::take(&mut self.outcomes)
    }
}

/// A source that can be read twice.
struct Text {
    source: PathBuf,
    /// What standard input held.
    spooled: Option<File>,
}

impl Text {
    fn open(source: &Path) -> Result<Self> {
        let spooled = (source == Path::new("-")).then(|| store::spool(&mut input::open(source)?)).transpose();
        let spooled = spooled.map_err(|cause| Error::new("merge", source.display(), cause))?;
        Ok(Self { source: source.to_owned(), spooled })
    }

    fn rewind(&mut self) -> Result<()> {
        let rewound = self.spooled.as_mut().map(Seek::rewind).transpose();
        rewound.map(drop).map_err(|cause| Error::new("merge", self.source.display(), cause))
    }

    /// Gives `visit` every line as an outcome, and `None` for a torn last one.
    fn each(&mut self, mut visit: impl FnMut(usize, Option<Outcome>) -> Result<()>) -> Result<()> {
        let error = |cause: String| Error::new("merge", self.source.display(), cause);
        let mut text: Box<dyn BufRead> = match &mut self.spooled {
            Some(file) => Box::new(BufReader::new(file)),
            None => input::open(&self.source).map_err(|cause| error(cause.to_string()))?,
        };
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            match text.read_until(b'\n', &mut line) {
                // A gzip stream that ends too soon is what a killed shard leaves.
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return visit(number, None),
                other => other.map_err(|cause| error(format!("line {number}: {cause}")))?,
            };
            if line.is_empty() {
                return Ok(());
            }
            let whole = line.ends_with(b"\n");
            if line.trim_ascii().is_empty() {
                continue;
            }
            match parse(&line) {
                Ok(outcome) => visit(number, Some(outcome))?,
                Err(_) if !whole => visit(number, None)?,
                Err(cause) => {
                    return Err(error(format!("line {number}: {cause}"))
                        .with_way_out("nothing of this file was applied; it must be what `toller pipe` printed"));
                }
            }
        }
        Ok(())
    }
}

fn parse(line: &[u8]) -> std::result::Result<Outcome, String> {
    let line: Line = serde_json::from_slice(line).map_err(|cause| cause.to_string())?;
    let finished_at =
        humantime::parse_rfc3339_weak(&line.finished_at).map_err(|cause| format!("finished_at: {cause}"))?;
    let result = if line.ok {
        Ok(Saved { bytes: line.bytes.unwrap_or(0), reused: false })
    } else {
        let kind = line.kind.as_deref().and_then(Kind::from_name).ok_or("a failure without a known kind")?;
        let failure = Failure {
            kind,
            http_status: line.http_status,
            message: line.message.unwrap_or_default(),
            retry_after: None,
        };
        Err(failure)
    };
    Ok(Outcome {
        id: line.guid.into(),
        url: line.url.map(Into::into),
        attempts: line.attempts.unwrap_or(0),
        spent: Duration::from_millis(line.ms.unwrap_or(0)),
        finished_at,
        result,
    })
}
