//! What comes next: pending GUIDs, a page of the warehouse at a time, each of them once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::Result;
use crate::outcome::{Id, Outcome};
use crate::warehouse::{PendingRow, Selection, Shape, Window};

/// How many pending GUIDs are read at once, at the least and at the most: enough for what is fetched from one window
/// to the next, which on a large warehouse are far apart.
pub(super) const PAGE: (usize, usize) = (250_000, 600_000);

/// The page in hand, and what has left it and is not recorded yet.
#[derive(Debug)]
pub(super) struct Page {
    rows: VecDeque<PendingRow>,
    /// Where the next page begins.
    after: i64,
    /// The end of the table was read, so many times.
    passes: u32,
    over: bool,
    /// Hashes of what is in the page, in flight or in the batch, so that an id with several rows is served once, and
    /// the first row of each.
    outstanding: HashMap<u64, i64>,
    /// Rows whose id was in hand already.
    repeats: u64,
}

impl Page {
    /// Nothing, before the first row of the table.
    pub(super) fn new() -> Self {
        Self { rows: VecDeque::new(), after: -1, passes: 0, over: false, outstanding: HashMap::new(), repeats: 0 }
    }

    /// Reads all there is, knowing that it fits.
    pub(super) fn read_all(&mut self, window: &Window<'_>, shape: &Shape, selection: &Selection) -> Result<()> {
        window.all_pending(shape, selection, |row| self.push(row))?;
        self.passes += 1;
        self.over = true;
        Ok(())
    }

    /// Reads on, unless there is enough in hand; after so many were recorded since the last time. Says
    /// whether it did.
    pub(super) fn read(
        &mut self,
        window: &Window<'_>,
        shape: &Shape,
        selection: &Selection,
        recorded: usize,
    ) -> Result<bool> {
        let size = (recorded * 2).clamp(PAGE.0, PAGE.1);
        if self.rows.len() >= size / 2 {
            return Ok(false);
        }
        let mut read = 0;
        window.pending(shape, selection, self.after, size, |row| {
            read += 1;
            self.after = row.row;
            self.push(row);
        })?;
        if read < size {
            self.after = -1;
            self.passes += 1;
            self.over = true;
        }
        Ok(true)
    }

    fn push(&mut self, row: PendingRow) {
        match self.outstanding.entry(hash(&row.id)) {
            Entry::Vacant(vacant) => {
                vacant.insert(row.row);
                self.rows.push_back(row);
            }
            // Whoever records it records all its rows.
            Entry::Occupied(_) => self.repeats += 1,
        }
    }

    /// The next of them.
    pub(super) fn pop(&mut self) -> Option<PendingRow> {
        self.rows.pop_front()
    }

    /// The first ids in it, as if they had come home.
    pub(super) fn first(&self, most: usize) -> Vec<Outcome> {
        self.rows.iter().take(most).map(|row| Outcome::claimed(Id::new(row.id.clone()))).collect()
    }

    /// How many rows had an id that was in hand already.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// How many ids are in it.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The end of the table was read, and since then nothing was asked anew.
    pub(super) fn is_last(&self) -> bool {
        self.over
    }

    /// How often the end of the table was read.
    pub(super) fn passes(&self) -> u32 {
        self.passes
    }

    /// Takes the table for one that may have changed.
    pub(super) fn begin_again(&mut self) {
        self.over = false;
    }

    /// The first and the last row of those that succeeded.
    pub(super) fn span(&self, batch: &[Outcome]) -> Option<(i64, i64)> {
        let good = batch.iter().filter(|outcome| outcome.result.is_ok());
        good.filter_map(|outcome| self.outstanding.get(&hash(&outcome.id))).fold(None, |span, row| {
            span.map_or(Some((*row, *row)), |(first, last)| Some((first.min(*row), last.max(*row))))
        })
    }

    /// These are recorded: the table knows about them.
    pub(super) fn forget(&mut self, batch: &[Outcome]) {
        for outcome in batch {
            self.outstanding.remove(&hash(&outcome.id));
        }
    }
}

/// A short stand-in for an id, for sets that only have to know whether they have seen it.
#[must_use]
pub fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
