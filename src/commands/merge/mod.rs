//! `toller merge`: outcomes that `pipe` printed, on however many machines, brought home into one warehouse.
//!
//! Lines are staged beside the warehouse as they are read, and applied when there are many. Nothing of a file is applied
//! before every line of it was seen to be good: what is staged of one that turns out bad is taken back, and one that goes
//! on when a batch is full is read to its end first. What is known better already is left alone, so that merging twice is
//! merging once.

mod source;

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::ending::Ending;
use crate::error::{ExitCode, Result};
use crate::line::Arrival;
use crate::machine;
use crate::manifest::{RunManifest, new_run_id};
use crate::outcome::{Outcome, Saved};
use crate::run::Expect;
use crate::store::{self, Layout, Look};
use crate::tally::Tally;
use crate::terminal::{self, MergeReport};
use crate::warehouse::{Effort, Merged, RunsTable, Shape, Staged, Warehouse};

use super::options::{ExpectArg, LayoutArgs, WarehouseArgs, WarehouseConfig, expect_like, layout_like, one_stdin};
use source::{Line, Source};

/// How many outcomes are applied in one window: many, because each window goes through the whole table.
const BATCH: usize = 2_000_000;
/// Or as many as together have texts of so many bytes.
const BATCH_BYTES: usize = 512 << 20;
/// How many of them are handed to DuckDB at once, or how many bytes.
const PIECE: usize = 20_000;
/// Likewise.
const PIECE_BYTES: usize = 16 << 20;
/// The memory that DuckDB may use for a batch at first; what does not fit goes by way of the disk.
const MEMORY: u64 = 320 << 20;
/// A digest, written out.
const HEX: usize = 64;
/// Below a destination no file lies deeper: its name and the folders of `--fanout`.
const DEEPEST: usize = 9;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller merge --warehouse images.duckdb outcomes-*.ndjson
  zcat outcomes.ndjson.gz | toller merge --warehouse images.duckdb --dest thumbs -";

/// `toller merge`
#[derive(Debug, Args)]
pub struct MergeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// With --dest, look into each file, and take for home only what is this
    #[arg(long, value_name = "WHAT")]
    pub expect: Option<ExpectArg>,
    /// What `pipe` printed, gzipped or not; - is standard input
    #[arg(value_name = "OUTCOMES", required = true)]
    pub sources: Vec<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller merge`.
///
/// # Errors
/// Outcomes or the warehouse cannot be used; what was applied before is recorded.
pub fn merge(args: MergeArgs) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    one_stdin(None, args.sources.iter().map(|source| ("OUTCOMES", source)))?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?.telling(terminal::print_locked);
    books.take_memory(MEMORY)?;
    let proof = Proof::new(args.layout, args.expect, &books, place.lock_wait)?;
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
    let (shape, runs) = books.write(place.lock_wait, |window| {
        let (shape, runs) = (window.shape()?, window.runs_table()?);
        window.failures_must_fit(&shape)?;
        window.files_must_fit(&shape)?;
        window.make_own_tables(&runs, &shape)?;
        window.open_run(&runs, &run, 0, false)?;
        Ok((shape, runs))
    })?;
    if let Some(notice) = &runs.notice {
        terminal::print_notice(notice);
    }
    let mut merge = Merge {
        books: &books,
        runs,
        shape,
        proof,
        lock_wait: place.lock_wait,
        tally: Tally::default(),
        report: MergeReport { run_id: run.run_id.clone(), ..MergeReport::default() },
        batch: Batch::default(),
    };
    let merged = args.sources.iter().try_for_each(|source| merge.source(source));
    // Where a file was bad, what is in the batch is from the good ones before it.
    let rest = merge.apply();
    let merged = merged.and(rest);
    let end = match &merged {
        Ok(()) => merge.tally.ending(merge.report.missing > 0),
        Err(error) => Ending::broken(error.clone()),
    };
    let closed = books.write(place.lock_wait, |window| window.close_run(&merge.runs, &run.run_id, &merge.tally, &end));
    // The first error is the one to report.
    merged?;
    closed?;
    terminal::show(&merge.report, args.json, |report| report.text())?;
    Ok(if merge.report.missing > 0 { ExitCode::Partial } else { ExitCode::Done })
}

struct Merge<'m> {
    books: &'m Warehouse,
    runs: RunsTable,
    shape: Shape,
    proof: Proof,
    lock_wait: Duration,
    tally: Tally,
    report: MergeReport,
    /// Of as many files as it takes to fill it: a thousand small ones are no reason to open the warehouse as often.
    batch: Batch,
}

/// What is applied in one window.
#[derive(Default)]
struct Batch {
    /// What is beside the warehouse already.
    staged: Option<Staged>,
    /// What is not.
    outcomes: Vec<Outcome>,
    /// Of the texts of these.
    piece_bytes: usize,
    /// Of all texts.
    bytes: usize,
    /// So many of its outcomes are from files that were read to their end.
    whole: usize,
}

impl Batch {
    fn staged(&self) -> usize {
        self.staged.as_ref().map_or(0, Staged::count)
    }

    fn count(&self) -> usize {
        self.staged() + self.outcomes.len()
    }
}

impl Merge<'_> {
    fn source(&mut self, path: &Path) -> Result<()> {
        let source = Source::open(path)?;
        self.batch.whole = self.batch.count();
        let torn = match self.read(&source) {
            Ok(torn) => torn,
            Err(error) => {
                self.take_back()?;
                return Err(error);
            }
        };
        if torn {
            self.report.torn += 1;
            terminal::print_notice(&format!("{}: its last line is torn and is skipped", path.display()));
        }
        Ok(())
    }

    /// Reads a source to its end, or as far as it went when it was seen to be good; says whether its last line is torn.
    fn read(&mut self, source: &Source) -> Result<bool> {
        let mut lines = source.lines()?;
        let (mut torn, mut seen) = (false, None);
        while let Some(line) = lines.next()? {
            let Line::Whole(arrival) = line else {
                torn = true;
                continue;
            };
            self.report.lines += 1;
            if !self.proof.is_given(&arrival) {
                self.report.missing += 1;
                continue;
            }
            self.add(arrival.outcome)?;
            if self.batch.count() >= BATCH || self.batch.bytes >= BATCH_BYTES {
                if seen.is_none() {
                    let (last, ends_torn) = source.check()?;
                    lines.end_at(last);
                    seen = Some(ends_torn);
                }
                self.apply()?;
            }
        }
        Ok(torn || seen == Some(true))
    }

    fn add(&mut self, outcome: Outcome) -> Result<()> {
        let bytes = length(&outcome);
        let batch = &mut self.batch;
        batch.outcomes.push(outcome);
        (batch.piece_bytes, batch.bytes) = (batch.piece_bytes + bytes, batch.bytes + bytes);
        if batch.outcomes.len() >= PIECE || batch.piece_bytes >= PIECE_BYTES { self.stage() } else { Ok(()) }
    }

    /// Stages what is not staged, that of whole files by itself, so that what comes after it can be taken back.
    fn stage(&mut self) -> Result<()> {
        let batch = &mut self.batch;
        let (whole, rest) =
            batch.outcomes.split_at(batch.whole.saturating_sub(batch.staged()).min(batch.outcomes.len()));
        let staged = match &mut batch.staged {
            Some(staged) => staged,
            None => batch.staged.insert(self.books.stage(&[])?),
        };
        for piece in [whole, rest] {
            self.books.stage_more(staged, piece)?;
        }
        batch.outcomes.clear();
        batch.piece_bytes = 0;
        Ok(())
    }

    /// Leaves in the batch only what is from whole files.
    fn take_back(&mut self) -> Result<()> {
        let batch = &mut self.batch;
        batch.outcomes.truncate(batch.whole.saturating_sub(batch.staged()));
        match &mut batch.staged {
            Some(staged) if staged.count() > batch.whole => self.books.take_back(staged, batch.whole),
            _ => Ok(()),
        }
    }

    fn apply(&mut self) -> Result<()> {
        if self.batch.count() == 0 {
            return Ok(());
        }
        self.stage()?;
        let Some(staged) = std::mem::take(&mut self.batch).staged else { return Ok(()) };
        let staged = self.books.one_each(staged)?;
        let (runs, shape, tally, run_id) = (&self.runs, &self.shape, &mut self.tally, &self.report.run_id);
        let merged = self.books.write(self.lock_wait, |window| window.merge(&staged, runs, shape, run_id, tally))?;
        let Merged { unknown, ignored, done, failed } = merged;
        self.report.failed += failed;
        self.report.unknown += unknown;
        self.report.ignored += ignored;
        self.report.done += done;
        Ok(())
    }
}

/// The bytes of its texts.
fn length(outcome: &Outcome) -> usize {
    let said = match &outcome.result {
        Ok(Saved { facts, .. }) => {
            let words = [&facts.etag, &facts.last_modified, &facts.content_type].into_iter().flatten();
            HEX + words.map(|word| word.len()).sum::<usize>()
        }
        Err(failure) => failure.message.len(),
    };
    outcome.id.len() + outcome.url.as_ref().map_or(0, |url| url.len()) + said
}

/// Whether the files that outcomes speak of are looked for, and how.
struct Proof {
    place: Place,
    /// What each of them must be, where that was named; else it is enough that it is there.
    expect: Option<Expect>,
}

/// Where files are looked for.
enum Place {
    /// Nowhere: the shards' word is taken.
    Nowhere,
    /// In a destination whose layout is known.
    Known(Layout),
    /// In a destination of which nothing else is known: below it, as the line says.
    AsSaid(PathBuf),
}

impl Proof {
    fn new(args: LayoutArgs, given: Option<ExpectArg>, books: &Warehouse, lock_wait: Duration) -> Result<Self> {
        let expect = given.map(|given| expect_like(Some(given), None));
        let Some(dest) = args.dest.clone() else { return Ok(Self { place: Place::Nowhere, expect }) };
        let last = books.read(lock_wait, |window| window.last_destination())?;
        if last.is_none() && args.extension.is_none() && args.fanout.is_none() {
            return Ok(Self { place: Place::AsSaid(dest), expect });
        }
        Ok(Self { place: Place::Known(layout_like(args, last.as_ref())?), expect })
    }

    fn is_given(&self, arrival: &Arrival) -> bool {
        let Some(guid) = arrival.outcome.id.guid() else { return arrival.outcome.result.is_err() };
        if arrival.outcome.result.is_err() {
            return true;
        }
        match &self.place {
            Place::Nowhere => true,
            Place::Known(layout) => self.is_there(&layout.path(guid)),
            Place::AsSaid(dest) => {
                let said = Path::new(arrival.path.as_deref().unwrap_or_default());
                let names = said.components().rev().map_while(|part| match part {
                    Component::Normal(name) => Some(Path::new(name)),
                    _ => None,
                });
                let longer = |below: &mut PathBuf, name: &Path| {
                    *below = if below.as_os_str().is_empty() { name.to_owned() } else { name.join(&*below) };
                    Some(dest.join(&*below))
                };
                names.take(DEEPEST).scan(PathBuf::new(), longer).any(|file| self.is_there(&file))
            }
        }
    }

    fn is_there(&self, path: &Path) -> bool {
        let there = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        let mut body = Vec::new();
        let is = |expect: Expect| {
            matches!(store::read(path, machine::memory() / 4, &mut body), Ok(Look::Read)) && expect.check(&body).is_ok()
        };
        there && self.expect.is_none_or(is)
    }
}
