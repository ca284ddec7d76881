//! The warehouse as a run's books: what is pending comes from it a page at a time, and outcomes go into it in batches,
//! each in a window that is as short as may be.

use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::error::Result;
use crate::failure::{Failure, Kind};
use crate::guid::Guid;
use crate::manifest::RunManifest;
use crate::outcome::{Id, Job, Outcome};
use crate::run::stop::Stop;
use crate::run::{Closing, Ledger, Supply, Wait, Watch};
use crate::tally::Tally;
use crate::warehouse::{
    Access, Effort, Locked, Opened, PendingRow, RunsTable, Selection, Shape, Staged, UrlSource, Warehouse, Window,
};

use super::page::{PAGE, Page};
use super::patience::{locked_by, open_patiently};
use super::spacing::Spacing;

/// How often the table is gone through again for what became pending during the run.
const PASSES: u32 = 3;
/// In a table with so many rows DuckDB gets all processors for the first and the last window, when no worker is at work.
const LARGE: u64 = 1_000_000;
/// With so many rows it is tried whether the table takes a record at all: two, because they may have to differ.
const REHEARSED: usize = 2;
/// How long to wait before trying a locked warehouse again, at first and at the most: each try costs milliseconds.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The DuckDB warehouse as a run's books.
#[derive(Debug)]
pub struct WarehouseLedger<'w> {
    warehouse: &'w Warehouse,
    selection: Selection,
    run_id: String,
    runs: RunsTable,
    shape: Shape,
    /// The table has many rows.
    large: bool,
    /// What of the batch is staged, which only grows until it is recorded.
    staged: Option<Staged>,
    page: Page,
    /// So many repeated ids had come to light before the run began.
    known_repeats: u64,
    /// How many GUIDs may still be handed out.
    allowance: u64,
    /// How much of its time the warehouse has been held, between the first and the last window.
    spacing: Spacing,
    /// Not before this is the warehouse tried again, because another program had it.
    try_again_at: Instant,
    /// The latest wait for that.
    try_again_in: Duration,
    /// Who had the warehouse when it was last tried.
    locked_by: Option<String>,
    /// Since when nothing but the warehouse's lock is in the way.
    waiting_since: Option<Instant>,
    lock_wait: Duration,
}

/// What the first look at the warehouse gave.
#[derive(Debug)]
pub struct FirstLook<'w> {
    warehouse: &'w Warehouse,
    window: Window<'w>,
    shape: Shape,
    runs: RunsTable,
    rows: u64,
    page: Page,
    /// Rows of what this run would fetch.
    pending_rows: u64,
}

/// What a run begins with.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'b> {
    /// The row that it opens.
    pub run: &'b RunManifest,
    /// At most so many GUIDs.
    pub limit: Option<u64>,
    /// It holds the lock of its destination, so that no other run there is alive.
    pub holds_lock: bool,
    /// How long to wait for the warehouse's lock.
    pub lock_wait: Duration,
}

/// Opens the warehouse for reading, within the time to wait, and counts what is pending. `None` when asked to stop
/// meanwhile.
///
/// # Errors
/// A warehouse that cannot be used, or stays locked (exit code 75).
pub fn look<'w>(
    warehouse: &'w Warehouse,
    selection: &Selection,
    lock_wait: Duration,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Option<FirstLook<'w>>> {
    let Some(window) = open_patiently(warehouse, Access::Read, lock_wait, stop, watch)? else { return Ok(None) };
    let shape = window.shape()?;
    let runs = window.runs_table()?;
    window.failures_must_fit(&shape)?;
    window.files_must_fit(&shape)?;
    let rows = window.count_rows()?;
    if rows >= LARGE {
        warehouse.exert(Effort::Alone)?;
    }
    let mut page = Page::new();
    let pending_rows = window.count_pending_rows(&shape, selection)?;
    if (1..PAGE.0 as u64).contains(&pending_rows) {
        page.read_all(&window, &shape, selection)?;
    }
    Ok(Some(FirstLook { warehouse, window, shape, runs, rows, page, pending_rows }))
}

impl<'w> FirstLook<'w> {
    /// Rows of what this run would fetch, less those whose id has come up in another one: no run remembers every id before it
    /// begins.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending_rows - self.page.repeats()
    }

    /// The first of the pending GUIDs, to show what would be fetched.
    ///
    /// # Errors
    /// As [`look`].
    pub fn first(&self, selection: &Selection, most: usize) -> Result<Vec<PendingRow>> {
        let mut rows = Vec::new();
        self.window.pending(&self.shape, selection, -1, most, |row| rows.push(row))?;
        Ok(rows)
    }

    /// What is not home and is left alone, because it failed for good: how many GUIDs, by kind.
    ///
    /// # Errors
    /// As [`look`].
    pub fn left_alone(&self, selection: &Selection) -> Result<Vec<(String, u64)>> {
        self.window.left_alone(&self.shape, selection, self.pending_rows)
    }

    /// What the user should know about the tables.
    #[must_use]
    pub fn notice(&self) -> Option<&str> {
        self.runs.notice.as_deref()
    }

    /// Closes the warehouse again, nothing being pending; rows of dead runs, if there are any, are closed too.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn leave(self, run: &RunManifest, lock_wait: Duration) -> Result<()> {
        let dead = self.window.has_dead_runs(&self.runs, run)?;
        self.window.close()?;
        if dead {
            self.warehouse.write(lock_wait, |window| window.close_dead_runs(&self.runs, run))?;
        }
        Ok(())
    }

    /// Opens the warehouse for writing, tries whether it takes a record, opens the run's row and reads the first page.
    /// `None` when asked to stop meanwhile.
    ///
    /// # Errors
    /// The warehouse cannot be written, or stays locked.
    pub fn begin(
        self,
        selection: Selection,
        beginning: Beginning<'_>,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Option<WarehouseLedger<'w>>> {
        let Beginning { run, limit, holds_lock, lock_wait } = beginning;
        let (pending, repeats) = (self.pending(), self.page.repeats());
        let warehouse = self.warehouse;
        self.window.close()?;
        let Some(window) = open_patiently(warehouse, Access::Write, lock_wait, stop, watch)? else { return Ok(None) };
        let mut ledger = WarehouseLedger {
            warehouse,
            selection,
            run_id: run.run_id.clone(),
            runs: self.runs,
            shape: self.shape,
            large: self.rows >= LARGE,
            staged: None,
            known_repeats: repeats,
            page: self.page,
            allowance: limit.unwrap_or(u64::MAX),
            spacing: Spacing::new(self.rows, self.pending_rows, repeats == 0),
            try_again_at: Instant::now(),
            try_again_in: Duration::ZERO,
            locked_by: None,
            waiting_since: None,
            lock_wait,
        };
        if ledger.page.len() == 0 {
            ledger.page.read(&window, &ledger.shape, &ledger.selection, 0)?;
        }
        let first = ledger.page.first(REHEARSED);
        let staged = warehouse.stage(&first)?;
        window.rehearse(&staged, &ledger.shape, ledger.page.span(&first))?;
        window.make_own_tables(&ledger.runs, &ledger.shape)?;
        window.open_run(&ledger.runs, run, pending, holds_lock)?;
        window.close()?;
        if ledger.large {
            warehouse.exert(Effort::Beside)?;
        }
        ledger.spacing.begin(Instant::now());
        Ok(Some(ledger))
    }
}

impl WarehouseLedger<'_> {
    /// The rows that a batch is in, as long as no id has come up in two of them. Another row of an id, in a page that was not
    /// read yet, will be served by itself, and finds its file.
    fn span(&self, batch: &[Outcome]) -> Option<(i64, i64)> {
        self.page.span(batch).filter(|_| self.page.repeats() == 0)
    }

    /// Puts a batch beside the warehouse, while that is everybody's; what was put there before it was found locked, once.
    fn stage(&mut self, batch: &[Outcome]) -> Result<Staged> {
        match self.staged.take() {
            Some(mut staged) if (1..=batch.len()).contains(&staged.count()) => {
                let more = &batch[staged.count()..];
                self.warehouse.stage_more(&mut staged, more)?;
                Ok(staged)
            }
            _ => self.warehouse.stage(batch),
        }
    }

    /// The warehouse is there: nobody has to be waited for.
    fn unlocked(&mut self) {
        self.locked_by = None;
        self.waiting_since = None;
        self.try_again_in = Duration::ZERO;
    }

    /// The warehouse stays locked: no matter while there is other work, an error once the patience is over.
    fn still_locked(&mut self, idle: bool, Locked { by, error }: Locked) -> Result<()> {
        self.locked_by = Some(by);
        let since = self.waiting_since.filter(|_| idle).unwrap_or_else(Instant::now);
        self.waiting_since = idle.then_some(since);
        self.try_again_in = (self.try_again_in + TRY_AGAIN.0).min(TRY_AGAIN.1);
        self.try_again_at = Instant::now() + self.try_again_in;
        if idle && since.elapsed() >= self.lock_wait { Err(error) } else { Ok(()) }
    }

    fn supply(&self, row: PendingRow) -> Supply {
        let PendingRow { id, url, known, .. } = row;
        let refused =
            |id: Id, kind, cause: String| Supply::Refused(Outcome::refused(id, None, Failure::new(kind, cause)));
        match (Guid::new(id), &self.selection.urls) {
            (Err((id, cause)), _) => refused(Id::Refused(id), Kind::BadGuid, cause.into()),
            (Ok(guid), UrlSource::Column(column)) if url.is_none() => {
                refused(guid.into(), Kind::BadUrl, format!("column {column} is NULL"))
            }
            (Ok(guid), _) => Supply::Job(Job { known, ..Job::new(guid, url) }),
        }
    }
}

impl Ledger for WarehouseLedger<'_> {
    fn hindrance(&self) -> Option<Wait> {
        self.locked_by.as_deref().map(locked_by)
    }

    fn repeats(&self) -> u64 {
        self.page.repeats() - self.known_repeats
    }

    fn next(&mut self) -> Result<Supply> {
        if self.allowance == 0 {
            return Ok(Supply::End);
        }
        let Some(row) = self.page.pop() else {
            return Ok(if self.page.is_last() { Supply::End } else { Supply::Dry });
        };
        self.allowance -= 1;
        Ok(self.supply(row))
    }

    fn is_ready(&self, batch: usize) -> bool {
        let now = Instant::now();
        now >= self.try_again_at && self.spacing.allows(batch, now)
    }

    fn turn_page(&mut self, idle: bool) -> Result<()> {
        let now = Instant::now();
        if now < self.try_again_at || !self.spacing.allows_page(now) {
            return Ok(());
        }
        let warehouse = self.warehouse;
        let window = match warehouse.open(Access::Read)? {
            Opened::Window(window) => window,
            Opened::Locked(locked) => return self.still_locked(idle, locked),
        };
        self.unlocked();
        self.page.read(&window, &self.shape, &self.selection, PAGE.0)?;
        let held = window.close()?;
        self.spacing.count_page(held);
        self.spacing.count(held, Instant::now());
        Ok(())
    }

    fn record(&mut self, batch: &[Outcome], tally: &Tally, idle: bool) -> Result<bool> {
        let warehouse = self.warehouse;
        let staged = self.stage(batch)?;
        let window = match warehouse.open(Access::Write)? {
            Opened::Window(window) => window,
            Opened::Locked(locked) => {
                self.staged = Some(staged);
                return self.still_locked(idle, locked).map(|()| false);
            }
        };
        self.unlocked();
        window.record(&staged, self.span(batch), &self.shape, (&self.runs, &self.run_id), tally, None)?;
        self.page.forget(batch);
        let reading = Instant::now();
        if !self.page.is_last() && self.page.read(&window, &self.shape, &self.selection, batch.len())? {
            self.spacing.count_page(reading.elapsed());
        }
        let reading = reading.elapsed();
        let held = window.close()?;
        self.spacing.count_record(held.saturating_sub(reading), batch.len());
        self.spacing.count(held, Instant::now());
        Ok(true)
    }

    fn finish(&mut self, batch: &[Outcome], tally: &Tally, early: Option<&Ending>) -> Result<Closing> {
        // The last window does not count towards the spacing.
        if Instant::now() < self.try_again_at {
            return Ok(Closing::Later);
        }
        let warehouse = self.warehouse;
        if self.large {
            warehouse.exert(Effort::Alone)?;
        }
        let staged = self.stage(batch)?;
        let window = match warehouse.open(Access::Write)? {
            Opened::Window(window) => window,
            Opened::Locked(locked) => {
                self.staged = Some(staged);
                return self.still_locked(true, locked).map(|()| Closing::Later);
            }
        };
        self.unlocked();
        let recorded = window.record(&staged, self.span(batch), &self.shape, (&self.runs, &self.run_id), tally, early);
        if let (Err(error), Some(_)) = (&recorded, early) {
            // The batch is lost to the warehouse, its files are not; that the run has ended, and why, is still to be known.
            let end = Ending::broken(error.clone());
            // The first error is the one to report.
            let _ = window.close_run(&self.runs, &self.run_id, tally, &end);
        }
        recorded?;
        self.page.forget(batch);
        if early.is_some() {
            window.close()?;
            return Ok(Closing::Closed { left: true });
        }
        // Rows may have come, or moved, while the run went on; with a limit they are not this run's to judge.
        if self.allowance > 0 {
            self.page.begin_again();
            self.page.read(&window, &self.shape, &self.selection, 0)?;
        }
        let left = self.allowance > 0 && self.page.len() > 0;
        if left && self.page.passes() <= PASSES {
            window.close()?;
            if self.large {
                warehouse.exert(Effort::Beside)?;
            }
            return Ok(Closing::More);
        }
        window.close_run(&self.runs, &self.run_id, tally, &tally.ending(left))?;
        window.close()?;
        Ok(Closing::Closed { left })
    }
}
