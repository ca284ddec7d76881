//! `toller merge`: outcomes that `pipe` printed, on however many machines, brought home into one warehouse.
//!
//! A file is read twice: once to know that every line of it is good, then to apply it, so that a bad file changes
//! nothing. What is known better already is left alone, so that merging twice is merging once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::ending::Ending;
use crate::error::{Error, ExitCode, Result};
use crate::input;
use crate::line::{Arrival, parse};
use crate::machine;
use crate::manifest::{RunManifest, new_run_id};
use crate::outcome::{How, Outcome, Saved};
use crate::run::Expect;
use crate::store::{self, Layout, Look};
use crate::tally::Tally;
use crate::terminal::{self, MergeReport};
use crate::warehouse::{Effort, Merged, RunsTable, Shape, Warehouse};

use super::options::{ExpectArg, LayoutArgs, WarehouseArgs, WarehouseConfig, expect_like, layout_like};

/// How many outcomes are applied in one transaction: many, because each goes through the whole table twice.
const BATCH: usize = 250_000;
/// Or as many as together have texts of so many bytes, which fit into the memory that DuckDB begins with.
const BATCH_BYTES: usize = 32 << 20;
/// A digest, written out.
const HEX: usize = 64;
/// A longer line is none that `pipe` printed.
const LONGEST_LINE: u64 = 1 << 20;
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
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?.telling(terminal::print_locked);
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
            terminal::print_notice(&line);
        }
        text.each(|_, line| {
            let Some(arrival) = line else { return Ok(()) };
            self.report.lines += 1;
            if !self.proof.is_given(&arrival) {
                self.report.missing += 1;
                return Ok(());
            }
            self.batch.add(arrival);
            if self.batch.is_full() { self.apply() } else { Ok(()) }
        })
    }

    fn apply(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.outcomes.is_empty() {
            return Ok(());
        }
        let staged = self.books.stage(&batch.outcomes)?;
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

/// Outcomes of one transaction, one for each GUID: a success stands, the latest of several; failures add up in the order they
/// come.
#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    places: HashMap<Box<str>, usize>,
    /// Of its texts.
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.outcomes.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, arrival: Arrival) {
        let outcome = arrival.outcome;
        let id: Box<str> = (&*outcome.id).into();
        let said = match &outcome.result {
            Ok(Saved { facts, .. }) => {
                let words = [&facts.etag, &facts.last_modified, &facts.content_type].into_iter().flatten();
                HEX + words.map(|word| word.len()).sum::<usize>()
            }
            Err(failure) => failure.message.len(),
        };
        self.bytes += id.len() + outcome.url.as_ref().map_or(0, |url| url.len()) + said;
        if let Some(place) = self.places.get(&id) {
            let known = &mut self.outcomes[*place];
            let later = outcome.finished_at > known.finished_at;
            let better = match (&known.result, &outcome.result) {
                (Ok(_), Err(_)) => false,
                (Err(_), Ok(_)) => true,
                (Err(_), Err(_)) => later,
                // Found again, the same file says less of itself.
                (Ok(old), Ok(new)) => later && (new.how != How::Reused || new.facts.sha256 != old.facts.sha256),
            };
            if !better {
                return;
            }
            let attempts = known.attempts.saturating_add(outcome.attempts);
            *known = Outcome { attempts, ..outcome };
        } else {
            self.places.insert(id, self.outcomes.len());
            self.outcomes.push(outcome);
        }
    }
}

/// A source that is read twice.
struct Text {
    source: PathBuf,
    /// What came from a stream.
    spooled: Option<File>,
    /// How many lines the first reading found; a file that grows meanwhile has more to say another time.
    lines: Option<usize>,
}

impl Text {
    fn open(source: &Path) -> Result<Self> {
        // A pipe, standard input or not, can be read only once.
        let stream = source == Path::new("-") || std::fs::metadata(source).is_ok_and(|found| !found.is_file());
        let spool = || input::spool(&mut *input::source(source)?);
        let spooled = stream.then(spool).transpose();
        let spooled = spooled.map_err(|cause| Error::new("merge", source.display(), cause))?;
        Ok(Self { source: source.to_owned(), spooled, lines: None })
    }

    fn read(&mut self) -> io::Result<Box<dyn BufRead + Send>> {
        let Some(file) = &mut self.spooled else { return input::open(&self.source) };
        file.rewind()?;
        input::text(Box::new(file.try_clone()?))
    }

    /// Gives `visit` every line as an outcome, and `None` for a torn last one.
    fn each(&mut self, mut visit: impl FnMut(usize, Option<Arrival>) -> Result<()>) -> Result<()> {
        let source = self.source.display().to_string();
        let error = |cause: String| Error::new("merge", &source, cause);
        let bad = |number: usize, cause: &str| {
            error(format!("line {number}: {cause}"))
                .with_way_out("nothing of this file was applied; it must be what `toller pipe` printed")
        };
        let most = self.lines.unwrap_or(usize::MAX);
        let mut text = match self.read() {
            // A gzip stream that ends too soon, even in its head, is what a killed shard leaves.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return visit(1, None),
            other => other.map_err(|cause| error(cause.to_string()))?,
        };
        let mut line = Vec::new();
        for number in 1..=most {
            line.clear();
            let read = match text.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return visit(number, None),
                other => other.map_err(|cause| error(format!("line {number}: {cause}")))?,
            };
            if line.is_empty() {
                return Ok(());
            }
            if read as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
                return Err(bad(number, "it is longer than a megabyte"));
            }
            self.lines = Some(self.lines.map_or(number, |lines| lines.max(number)));
            if line.trim_ascii().is_empty() {
                continue;
            }
            match parse(&line) {
                Ok(arrival) => visit(number, Some(arrival))?,
                Err(_) if !line.ends_with(b"\n") => visit(number, None)?,
                Err(cause) => return Err(bad(number, &cause)),
            }
        }
        Ok(())
    }
}
