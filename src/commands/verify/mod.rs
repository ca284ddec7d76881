//! `toller verify`: what the warehouse claims against what is on disk, both ways, and mended on demand.
//!
//! First everything is looked at and nothing touched. What is to be mended is then looked at once more, with the
//! destination's lock in hand: whatever has changed meanwhile is left for another time.

mod judge;
mod readers;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::error::{Error, ExitCode, Result};
use crate::manifest::new_run_id;
use crate::outcome::{How, Id, Outcome, Saved};
use crate::run::{Moment, Watch};
use crate::store::{self, Share, Store};
use crate::tally::Tally;
use crate::terminal::{self, Progress, Style, VerifyReport, grouped};
use crate::warehouse::{Claim, Claims, Effort, Shape, Warehouse};

use super::options::{
    ExpectArg, LayoutArgs, ProgressArg, WarehouseArgs, WarehouseConfig, digests, expect_like, layout_like, style,
};
use judge::{Finding, Judge, Room, Truth};
use readers::{Seen, look_at, readers};

/// How many claims, or files, are taken at once.
const AT_ONCE: usize = 10_000;
/// How many claims are mended at once: in a large warehouse a window takes its time, however little is written in it.
const MENDED_AT_ONCE: usize = 50_000;
/// How many files that cannot be read are named.
const NAMED: u64 = 20;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller verify --warehouse images.duckdb
  toller verify --warehouse images.duckdb --quick --verbose
  toller verify --warehouse images.duckdb --dest /mnt/thumbs --extension jpg --fix";

/// `toller verify`
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct VerifyArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// What counts as a good file [default: that of the table's last run]
    #[arg(long, value_name = "WHAT")]
    pub expect: Option<ExpectArg>,
    /// Make the warehouse true: what is there and whole is done and on record, all else is pending again
    #[arg(long)]
    pub fix: bool,
    /// Fix even where more than half of what is done would be pending again
    #[arg(long)]
    pub yes: bool,
    /// Look at names and sizes only
    #[arg(long)]
    pub quick: bool,
    /// A file with this SHA-256 is not to be there; repeatable
    #[arg(long, value_name = "HEX")]
    pub reject_digest: Vec<String>,
    /// How to show progress, on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressArg,
    /// No progress, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// A line for each file that disagrees
    #[arg(long, short)]
    pub verbose: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller verify`.
///
/// # Errors
/// The warehouse or the destination cannot be read; or, with --fix, written.
pub fn verify(args: VerifyArgs) -> Result<ExitCode> {
    let rejected = digests(&args.reject_digest)?;
    if args.quick && !rejected.is_empty() {
        return Err(Error::usage("--reject-digest", "it does not go with --quick, which reads no file"));
    }
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?.telling(terminal::print_locked);
    let last = books.read(place.lock_wait, |window| window.last_destination())?;
    let sure = args.yes || args.layout.dest.is_some();
    let source = match &last {
        _ if args.layout.dest.is_some() => "as --dest says".into(),
        Some(run) => format!("as run {} had it", run.run_id),
        None => String::new(),
    };
    let (layout, expect) = (layout_like(args.layout, last.as_ref())?, expect_like(args.expect, last.as_ref()));
    std::fs::metadata(&layout.dest).map_err(|cause| {
        Error::new("destination", layout.dest.display(), cause).with_way_out("name the folder of the files with --dest")
    })?;
    let dest = std::path::absolute(&layout.dest).unwrap_or_else(|_| layout.dest.clone());
    let looked = format!("looking in {}, {source}", dest.display());
    // Who reads the result as words finds it there.
    if args.json {
        terminal::print_notice(&looked);
    }
    if args.fix {
        store::must_be_free(&layout.dest)?;
    }
    let (claims, shape) = books.claims(place.lock_wait)?;
    let (quick, fix, can_file, room) = (args.quick, args.fix, claims.can_file, Room::of(readers()));
    let style = style(args.progress, args.quiet);
    let mut check = Check {
        judge: Judge { layout: &layout, expect, quick, fix, rejected, can_file, room },
        view: View::new(style, args.verbose, claims.count()?),
        unreadable: 0,
        report: VerifyReport { place: looked, stray: store::leftovers(&layout.dest), ..VerifyReport::default() },
    };
    let (found, done) = check.claims(&claims)?;
    check.strays(&claims)?;
    let refused = (args.fix && !sure && found.lost > done / 2).then(|| wholesale(&layout.dest, found.lost, done));
    if args.fix && refused.is_none() {
        // Opening a destination sweeps it.
        let files = Store::open(layout.clone(), &new_run_id(SystemTime::now()), Share::Alone, true)?;
        let mend = Mend { files: &files, books: &books, shape, lock_wait: place.lock_wait };
        check.view = View::new(style, args.verbose, found.places.len() as u64);
        for places in found.places.chunks(MENDED_AT_ONCE) {
            check.mend(&mend, &claims.at(places)?)?;
        }
    }
    let Check { report, view, unreadable, .. } = check;
    view.progress.close()?;
    if args.json || !args.quiet {
        terminal::show(&report, args.json, VerifyReport::text)?;
    }
    match refused {
        Some(refused) => Err(refused),
        None if unreadable > 0 => Err(cannot_be_read(&layout.dest, unreadable)),
        None if report.agrees() => Ok(ExitCode::Done),
        None => Ok(ExitCode::Partial),
    }
}

/// A folder in which nearly nothing is there is more often the wrong one than an empty one.
fn wholesale(dest: &Path, lost: u64, done: u64) -> Error {
    let cause = format!(
        "{} of {} images that are done would be pending again, so nothing was fixed",
        grouped(lost),
        grouped(done)
    );
    Error::new("verify", dest.display(), cause)
        .with_way_out("if this is their folder, say so with --yes; if not, name it with --dest")
}

fn cannot_be_read(dest: &Path, count: u64) -> Error {
    let cause = format!(
        "{} cannot be read, so that nothing is known of them, and nothing was changed about them",
        grouped(count)
    );
    Error::new("verify", dest.display(), cause).with_way_out("each is named above, or the first of them")
}

/// What there is to mend.
#[derive(Default)]
struct Found {
    /// Where among the claims.
    places: Vec<i64>,
    /// How many of them are done and would be pending again.
    lost: u64,
}

/// What those who wait see.
struct View {
    progress: Progress,
    verbose: bool,
    seen: Seen,
    /// How many claims there are to look at.
    all: u64,
}

impl View {
    fn new(style: Style, verbose: bool, all: u64) -> Self {
        Self { progress: Progress::new(style, verbose), verbose, seen: Seen::default(), all }
    }
}

/// What is checked, and what came of it.
struct Check<'c> {
    judge: Judge<'c>,
    view: View,
    unreadable: u64,
    report: VerifyReport,
}

/// With what it is mended.
struct Mend<'m> {
    files: &'m Store,
    books: &'m Warehouse,
    shape: Shape,
    lock_wait: Duration,
}

impl Check<'_> {
    /// Every GUID of the warehouse: is its file what the warehouse says? Gives what is to be mended, and how many are done.
    fn claims(&mut self, claims: &Claims<'_>) -> Result<(Found, u64)> {
        let (mut found, mut done) = (Found::default(), 0);
        let mut some = claims.following(0, AT_ONCE)?;
        while let Some(last) = some.last() {
            let after = last.place;
            let (findings, next) = self.look_at(&some, false, || claims.following(after, AT_ONCE));
            for (claim, finding) in some.iter().zip(&findings) {
                done += u64::from(claim.done);
                self.count(claim, finding);
                if finding.truth.disagrees() || finding.truth == Truth::Unfiled {
                    found.places.push(claim.place);
                }
                found.lost += u64::from(claim.done && finding.truth.disagrees());
            }
            some = next?;
        }
        Ok((found, done))
    }

    fn look_at<T>(&mut self, claims: &[Claim], facts: bool, meanwhile: impl FnOnce() -> T) -> (Vec<Finding>, T) {
        let View { progress, seen, all, .. } = &mut self.view;
        let seen = &*seen;
        look_at(&self.judge, claims, facts, seen, meanwhile, &mut || {
            let (reused, bytes) = (seen.claims.load(Ordering::Relaxed), seen.bytes.load(Ordering::Relaxed));
            progress.tick(&Moment::new(&Tally { reused, bytes, ..Tally::default() }, Some(*all)));
        })
    }

    fn count(&mut self, claim: &Claim, finding: &Finding) {
        let report = &mut self.report;
        report.checked += u64::from(claim.done || finding.truth.disagrees() || finding.truth == Truth::Unknown);
        match finding.truth {
            Truth::Agreed | Truth::Unfiled => report.good += u64::from(claim.done),
            Truth::Missing => report.missing += 1,
            Truth::Corrupt => report.corrupt += 1,
            Truth::Changed => report.changed += 1,
            Truth::Rejected => report.rejected += 1,
            Truth::Unrecorded => report.unrecorded += 1,
            Truth::Unknown => self.unreadable += 1,
        }
        let unknown = finding.truth == Truth::Unknown && self.unreadable <= NAMED;
        if unknown || (self.view.verbose && (finding.truth.disagrees() || finding.truth == Truth::Unknown)) {
            let path = self.judge.path(claim).unwrap_or_default();
            let (kind, cause) = (finding.truth.name(), &finding.cause);
            self.view.progress.notice(&format!("{kind}: {}: {cause}", path.display()));
        }
    }

    /// Mends what is still as it was found. The warehouse is told first: should this end half way, no row claims what is
    /// not there.
    fn mend(&mut self, mend: &Mend<'_>, claims: &[Claim]) -> Result<()> {
        let (mut to_pending, mut to_done, mut durable, mut aside) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut fixed, mut filled) = (0, 0);
        let (findings, ()) = self.look_at(claims, true, || ());
        for (claim, finding) in claims.iter().zip(findings) {
            fixed += u64::from(finding.truth.disagrees());
            filled += u64::from(finding.truth == Truth::Unfiled);
            let id = Id::new(claim.id.clone());
            if finding.truth.is_set_aside() {
                aside.extend(id.guid().cloned());
            }
            if finding.truth == Truth::Unrecorded {
                durable.extend(id.guid().cloned().map(|guid| (guid, true)));
            }
            if let Some(facts) = finding.facts {
                let saved = Saved { how: How::Reused, facts: *facts };
                to_done.push(Outcome { result: Ok(saved), ..Outcome::claimed(id) });
            } else if finding.truth.disagrees() && (claim.done || claim.filed) {
                to_pending.push(claim.id.clone());
            }
        }
        mend.files.sync(&durable)?;
        mend.books.correct_to_pending(&mend.shape, &to_pending, mend.lock_wait)?;
        mend.books.correct_to_done(&mend.shape, &to_done, mend.lock_wait)?;
        for guid in &aside {
            mend.files.set_aside(guid)?;
        }
        self.report.fixed += fixed;
        self.report.filled += filled;
        Ok(())
    }

    /// Every file of the destination: does the warehouse know it?
    fn strays(&mut self, claims: &Claims<'_>) -> Result<()> {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut stray = 0;
        store::walk(&self.judge.layout.dest, &mut |file: &Path| {
            match self.judge.layout.guid_of(file) {
                Some(guid) => names.push(guid.into_text()),
                None => stray += 1,
            }
            if names.len() >= AT_ONCE {
                claims.add_names(&names)?;
                names.clear();
            }
            Ok(())
        })?;
        claims.add_names(&names)?;
        self.report.stray += stray + claims.count_unknown()?;
        Ok(())
    }
}
