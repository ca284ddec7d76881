//! What a run needs of its books: the next pending GUIDs, a place for outcomes, an end.
//!
//! The trait has two implementations, in `books`: the warehouse and standard streams. Neither ever blocks for long:
//! what cannot be done now is tried again by the run, which has other things to do meanwhile.

use crate::ending::Ending;
use crate::error::Result;
use crate::outcome::{Job, Outcome};
use crate::tally::Tally;

use super::terms::Wait;

/// What comes next.
#[derive(Debug)]
pub enum Supply {
    /// A GUID to fetch.
    Job(Job),
    /// An id that is none; its story is over.
    Refused(Outcome),
    /// Nothing at this moment.
    Wait,
    /// Nothing before the books have been opened again.
    Dry,
    /// Nothing more.
    End,
}

/// What came of an attempt to close the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// They are closed; what is left was beyond this run.
    Closed {
        /// GUIDs are pending that this run has not tried.
        left: bool,
    },
    /// More has turned up in the meantime.
    More,
    /// Not now.
    Later,
}

/// The books of a run.
pub trait Ledger {
    /// What keeps the books from being kept at this moment.
    fn hindrance(&self) -> Option<Wait>;

    /// How many of what was counted as pending have turned out to be others' repeats since the run began.
    fn repeats(&self) -> u64;

    /// The next pending GUID.
    ///
    /// # Errors
    /// The source cannot be read.
    fn next(&mut self) -> Result<Supply>;

    /// Whether a batch of this size would be tried now; asked before its files are made durable.
    fn is_ready(&self, batch: usize) -> bool;

    /// Reads more of what is pending, where that is cheaper than a record; may as well do nothing.
    ///
    /// # Errors
    /// As [`Ledger::record`].
    fn turn_page(&mut self, idle: bool) -> Result<()>;

    /// Records a batch whose files are durable. False when it cannot be done now.
    ///
    /// # Errors
    /// It cannot be done at all; or, `idle` meaning that nothing else is left to do, not within the time to wait.
    fn record(&mut self, batch: &[Outcome], tally: &Tally, idle: bool) -> Result<bool>;

    /// Records the last batch and closes the books: `early`, or because nothing more is pending.
    ///
    /// # Errors
    /// As [`Ledger::record`].
    fn finish(&mut self, batch: &[Outcome], tally: &Tally, early: Option<&Ending>) -> Result<Closing>;
}
