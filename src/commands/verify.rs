//! `toller verify`: what the warehouse claims against what is on disk, both ways, and mended on demand.
//!
//! First everything is looked at and nothing touched. What is to be mended is then looked at once more, with the
//! destination's lock in hand: whatever has changed meanwhile is left for another time.

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::error::{Error, ExitCode, Result};
use crate::guid::Guid;
use crate::machine;
use crate::manifest::new_run_id;
use crate::outcome::{Id, Outcome};
use crate::run::{self, Expect};
use crate::store::{self, Layout, Look, Share, Store};
use crate::terminal::{self, VerifyReport, grouped};
use crate::warehouse::{Claim, Claims, Effort, Shape, Warehouse};

use super::options::{LayoutArgs, WarehouseArgs, WarehouseConfig, layout_like};

/// How many claims, or files, are taken at once.
const AT_ONCE: usize = 10_000;
/// How many files that cannot be read are named.
const NAMED: u64 = 20;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller verify --warehouse images.duckdb
  toller verify --warehouse images.duckdb --dest /mnt/thumbs --extension jpg --fix";

/// `toller verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// Make the warehouse true: what is missing or corrupt is pending again, what is there is done
    #[arg(long)]
    pub fix: bool,
    /// Fix even where more than half of what is done would be pending again
    #[arg(long)]
    pub yes: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller verify`.
///
/// # Errors
/// The warehouse or the destination cannot be read; or, with --fix, written.
pub fn verify(args: VerifyArgs) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?;
    let last = books.read(place.lock_wait, |window| window.last_destination())?;
    let sure = args.yes || args.layout.dest.is_some();
    let source = match &last {
        _ if args.layout.dest.is_some() => "as --dest says".into(),
        Some(run) => format!("as run {} had it", run.run_id),
        None => String::new(),
    };
    let (layout, expect) = layout_like(args.layout, last.as_ref())?;
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
    let mut check = Check {
        layout: &layout,
        expect,
        // What a fetch has brought here once was in memory then.
        most: machine::memory() / 4,
        body: Vec::new(),
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
        for places in found.places.chunks(AT_ONCE) {
            check.mend(&mend, claims.at(places)?)?;
        }
    }
    terminal::show(&check.report, args.json, |report| report.text())?;
    match refused {
        Some(refused) => Err(refused),
        None if check.unreadable > 0 => Err(unreadable(&layout.dest, check.unreadable)),
        None if check.report.agrees() => Ok(ExitCode::Done),
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

fn unreadable(dest: &Path, count: u64) -> Error {
    let cause = format!("{} cannot be read, so nothing is known of them and nothing was changed", grouped(count));
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

/// What a claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// It is as the warehouse says.
    Agreed,
    Missing,
    Corrupt,
    Unrecorded,
    /// Something is there that cannot be read.
    Unknown,
}

/// What is checked, and what came of it.
struct Check<'c> {
    layout: &'c Layout,
    expect: Expect,
    /// A longer file cannot be taken into memory.
    most: u64,
    body: Vec<u8>,
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
        let (mut after, mut found, mut done) = (0, Found::default(), 0);
        loop {
            let some = claims.following(after, AT_ONCE)?;
            let Some(last) = some.last() else { return Ok((found, done)) };
            after = last.place;
            for claim in &some {
                done += u64::from(claim.done);
                let truth = self.truth(claim);
                self.count(claim, truth);
                if matches!(truth, Truth::Missing | Truth::Corrupt | Truth::Unrecorded) {
                    found.places.push(claim.place);
                    found.lost += u64::from(claim.done);
                }
            }
        }
    }

    fn truth(&mut self, claim: &Claim) -> Truth {
        let absent = if claim.done { Truth::Missing } else { Truth::Agreed };
        // An id that can have no file has none.
        let Ok(guid) = Guid::new(claim.id.clone()) else { return absent };
        let path = self.layout.path(&guid);
        let whole = match store::read(&path, self.most, &mut self.body) {
            Ok(Look::Absent) => return absent,
            Ok(Look::Read) => self.expect.check(&self.body).is_ok(),
            // Of such a file nothing would be asked but that it is not empty.
            Ok(Look::Longer(_)) if self.expect == Expect::Any => true,
            Ok(Look::Longer(length)) => {
                return self.unknown(&path, &format!("there is no memory for its {} bytes", grouped(length)));
            }
            Err(cause) => return self.unknown(&path, &cause.to_string()),
        };
        match (claim.done, whole) {
            (_, false) => Truth::Corrupt,
            (false, true) if run::proves_itself(&self.body).is_some() => Truth::Unrecorded,
            // What no row claims and does not prove itself may be what a power cut left; a fetch brings it anew.
            (_, true) => Truth::Agreed,
        }
    }

    fn unknown(&mut self, path: &Path, cause: &str) -> Truth {
        self.unreadable += 1;
        if self.unreadable <= NAMED {
            terminal::print_notice(&format!("{}: {cause}", path.display()));
        }
        Truth::Unknown
    }

    fn count(&mut self, claim: &Claim, truth: Truth) {
        let report = &mut self.report;
        report.checked += u64::from(claim.done || truth != Truth::Agreed);
        match truth {
            Truth::Agreed => report.good += u64::from(claim.done),
            Truth::Missing => report.missing += 1,
            Truth::Corrupt => report.corrupt += 1,
            Truth::Unrecorded => report.unrecorded += 1,
            Truth::Unknown => {}
        }
    }

    /// Mends what is still as it was found. The warehouse is told first: should this end half way, no row claims what is
    /// not there.
    fn mend(&mut self, mend: &Mend<'_>, claims: Vec<Claim>) -> Result<()> {
        let (mut to_pending, mut to_done, mut corrupt) = (Vec::new(), Vec::new(), Vec::new());
        let mut fixed = 0;
        for claim in claims {
            let truth = self.truth(&claim);
            fixed += u64::from(matches!(truth, Truth::Missing | Truth::Corrupt | Truth::Unrecorded));
            match truth {
                Truth::Agreed | Truth::Unknown => continue,
                Truth::Corrupt => corrupt.extend(Guid::new(claim.id.clone())),
                Truth::Missing | Truth::Unrecorded => {}
            }
            if truth == Truth::Unrecorded {
                to_done.push(claim.id);
            } else if claim.done {
                to_pending.push(claim.id);
            }
        }
        let there = to_done.iter().filter_map(|id| Guid::new(id.clone()).ok());
        mend.files.sync(&there.map(|guid| (guid, true)).collect::<Vec<_>>())?;
        mend.books.correct_to_pending(&mend.shape, &to_pending, mend.lock_wait)?;
        let found: Vec<_> = to_done.into_iter().map(|id| Outcome::claimed(Id::new(id))).collect();
        mend.books.correct_to_done(&mend.shape, &found, mend.lock_wait)?;
        for guid in &corrupt {
            mend.files.set_aside(guid)?;
        }
        self.report.fixed += fixed;
        Ok(())
    }

    /// Every file of the destination: does the warehouse know it?
    fn strays(&mut self, claims: &Claims<'_>) -> Result<()> {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut stray = 0;
        store::walk(&self.layout.dest, &mut |file: &Path| {
            match self.layout.guid_of(file) {
                Some(guid) => names.push(guid.into_text()),
                None => stray += 1,
            }
            if names.len() >= AT_ONCE {
                stray += claims.count_unknown(&names)?;
                names.clear();
            }
            Ok(())
        })?;
        self.report.stray += stray + claims.count_unknown(&names)?;
        Ok(())
    }
}
