//! What a run has come to: plain counting.

use std::collections::BTreeMap;

use crate::ending::Ending;
use crate::failure::Kind;
use crate::outcome::{How, Outcome, Saved};

/// The counts of a run so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows found pending at the start, less the repeated ids that have come to light.
    pub pending: u64,
    /// Files brought home.
    pub fetched: u64,
    /// Files that were there already.
    pub reused: u64,
    /// Files that the origin was asked for again, and that stay: it has no other, or none any more.
    pub unchanged: u64,
    /// Those among them of which it has none any more.
    pub gone: u64,
    /// GUIDs that failed, whether for good or not.
    pub failed: u64,
    /// Those among them that may go well later.
    pub transient: u64,
    /// Body bytes of the files fetched.
    pub bytes: u64,
    /// Requests sent, retries and redirects too.
    pub requests: u64,
    /// Connections opened.
    pub connections: u64,
    /// Failures by kind; as long as the vocabulary at the most.
    pub failures: BTreeMap<Kind, u64>,
}

impl Tally {
    /// Takes back what was counted of a file that turned out not to be kept.
    pub fn take_back(&mut self, outcome: &Outcome) {
        match &outcome.result {
            Ok(Saved { how: How::Reused, .. }) => self.reused -= 1,
            Ok(Saved { how: how @ (How::Unchanged | How::Gone), .. }) => {
                self.unchanged -= 1;
                self.gone -= u64::from(*how == How::Gone);
            }
            Ok(Saved { how: How::Fetched | How::Replaced, facts }) => {
                self.fetched -= 1;
                self.bytes -= facts.bytes;
            }
            Err(_) => {}
        }
    }

    /// Counts the end of one GUID.
    pub fn count(&mut self, outcome: &Outcome) {
        match &outcome.result {
            Ok(Saved { how: How::Reused, .. }) => self.reused += 1,
            Ok(Saved { how: how @ (How::Unchanged | How::Gone), .. }) => {
                self.unchanged += 1;
                self.gone += u64::from(*how == How::Gone);
            }
            Ok(Saved { how: How::Fetched | How::Replaced, facts }) => {
                self.fetched += 1;
                self.bytes += facts.bytes;
            }
            Err(failure) => {
                self.failed += 1;
                self.transient += u64::from(failure.is_transient());
                *self.failures.entry(failure.kind).or_default() += 1;
            }
        }
    }

    /// How a run ends that came to its natural end; `left` when something is pending that it has not tried.
    #[must_use]
    pub fn ending(&self, left: bool) -> Ending {
        if left || self.transient > 0 {
            Ending::Left
        } else if self.failed > 0 {
            Ending::ForGood
        } else {
            Ending::Home
        }
    }

    /// GUIDs whose story is over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.fetched + self.reused + self.unchanged + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::failure::Failure;
    use crate::outcome::Id;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_tally_counts_what_is_over_once() {
        let mut tally = Tally::default();
        let outcome = |result| Outcome {
            id: Id::new("a".into()),
            url: None,
            attempts: 1,
            spent: Duration::ZERO,
            finished_at: SystemTime::now(),
            result,
        };
        let saved = |how, bytes| Ok(Saved { how, facts: Facts { bytes, ..Facts::default() } });
        tally.count(&outcome(saved(How::Fetched, 10)));
        tally.count(&outcome(saved(How::Reused, 7)));
        tally.count(&outcome(Err(Failure::new(Kind::Timeout, ""))));
        tally.count(&outcome(Err(Failure::new(Kind::NotFound, ""))));
        assert_eq!((tally.fetched, tally.reused, tally.failed, tally.transient, tally.bytes), (1, 1, 2, 1, 10));
        assert_eq!(tally.done(), 4);
        assert_eq!(tally.failures, BTreeMap::from([(Kind::NotFound, 1), (Kind::Timeout, 1)]));
    }
}
