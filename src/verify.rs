//! `toller verify`: what the warehouse claims against what is on disk, both ways, and mended on demand.

use std::path::Path;

use crate::cli;
use crate::config::{WarehouseConfig, layout_like};
use crate::error::{ExitCode, Result};
use crate::guid::Guid;
use crate::manifest::new_run_id;
use crate::report::{self, VerifyReport};
use crate::store::{self, Layout, Share, Store};
use crate::warehouse::{Claims, Effort, Shape, Warehouse};
use crate::worker::Expect;

/// How many claims, or files, are looked at between two windows.
const PAGE: usize = 10_000;

/// Carries out `toller verify`.
pub fn verify(args: cli::Verify) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?;
    let last = books.read(place.lock_wait, |window| window.last_destination())?;
    let (layout, expect) = layout_like(args.layout, last.as_ref())?;
    std::fs::metadata(&layout.dest)
        .map_err(|cause| crate::error::Error::new("destination", layout.dest.display(), cause))?;
    let mut report = VerifyReport { stray: store::leftovers(&layout.dest), ..VerifyReport::default() };
    let files = if args.fix {
        // Opening a destination sweeps it.
        report.fixed = report.stray;
        Some(Store::open(layout.clone(), &new_run_id(std::time::SystemTime::now()), Share::Alone, true)?)
    } else {
        None
    };
    let (claims, shape) = books.claims(place.lock_wait)?;
    let check =
        Check { layout: &layout, expect, files: files.as_ref(), books: &books, shape, lock_wait: place.lock_wait };
    check.claims(&claims, &mut report)?;
    check.strays(&claims, &mut report)?;
    report::show(&report, args.json, |report| report.text())?;
    Ok(if report.agrees() { ExitCode::Done } else { ExitCode::Partial })
}

/// What is checked, and mended where `files` is there.
struct Check<'c> {
    layout: &'c Layout,
    expect: Expect,
    files: Option<&'c Store>,
    books: &'c Warehouse,
    shape: Shape,
    lock_wait: std::time::Duration,
}

/// What a page of claims came to.
#[derive(Default)]
struct Found {
    to_pending: Vec<Box<str>>,
    to_done: Vec<Box<str>>,
    corrupt: Vec<Guid>,
}

impl Check<'_> {
    /// Every GUID of the warehouse: is its file what the warehouse says?
    fn claims(&self, claims: &Claims<'_>, report: &mut VerifyReport) -> Result<()> {
        let mut after = 0;
        let mut body = Vec::new();
        loop {
            let page = claims.page(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place;
            let mut found = Found::default();
            for claim in page {
                self.claim(claim.id, claim.done, &mut body, report, &mut found);
            }
            if let Some(files) = self.files {
                self.mend(files, &found, report)?;
            }
        }
    }

    fn claim(&self, id: Box<str>, done: bool, body: &mut Vec<u8>, report: &mut VerifyReport, found: &mut Found) {
        // An id that can have no file has none.
        let guid = Guid::new(id.clone()).ok();
        let read = guid.as_ref().is_some_and(|guid| store::read(&self.layout.path(guid), body).is_ok());
        let whole = read && self.expect.check(body).is_ok();
        report.checked += u64::from(done || read);
        match (done, read, whole) {
            (true, _, true) => report.good += 1,
            (true, false, _) => {
                report.missing += 1;
                found.to_pending.push(id);
            }
            (_, true, false) => {
                report.corrupt += 1;
                found.corrupt.extend(guid);
                if done {
                    found.to_pending.push(id);
                }
            }
            (false, _, true) => {
                report.unrecorded += 1;
                found.to_done.push(id);
            }
            (false, false, false) => {}
        }
    }

    /// The warehouse is told first: should this end half way, no row claims what is not there.
    fn mend(&self, files: &Store, found: &Found, report: &mut VerifyReport) -> Result<()> {
        if !found.to_done.is_empty() {
            let guids = found.to_done.iter().filter_map(|id| Guid::new(id.clone()).ok());
            files.sync(&guids.map(|guid| (guid, true)).collect::<Vec<_>>())?;
        }
        self.books.correct(&self.shape, &found.to_pending, false, self.lock_wait)?;
        self.books.correct(&self.shape, &found.to_done, true, self.lock_wait)?;
        for guid in &found.corrupt {
            files.set_aside(guid)?;
        }
        let pending_and_corrupt = found.corrupt.len() + found.to_pending.len();
        let corrupt_and_done =
            found.corrupt.iter().filter(|guid| found.to_pending.iter().any(|id| **id == *guid.as_str())).count();
        report.fixed += (pending_and_corrupt - corrupt_and_done + found.to_done.len()) as u64;
        Ok(())
    }

    /// Every file of the destination: does the warehouse know it?
    fn strays(&self, claims: &Claims<'_>, report: &mut VerifyReport) -> Result<()> {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut stray = 0;
        store::walk(&self.layout.dest, &mut |file: &Path| {
            match self.layout.guid_of(file) {
                Some(guid) => names.push(guid.into_text()),
                None => stray += 1,
            }
            if names.len() >= PAGE {
                stray += claims.count_unknown(&names)?;
                names.clear();
            }
            Ok(())
        })?;
        report.stray += stray + claims.count_unknown(&names)?;
        Ok(())
    }
}
