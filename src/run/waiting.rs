//! What a run keeps in mind: the GUIDs that wait for their next attempt.

use std::time::Instant;

use crate::outcome::Job;

/// A GUID in back-off.
pub(super) struct Waiting {
    pub(super) due: Instant,
    /// Tells apart what is due at the same instant.
    pub(super) sequence: u64,
    pub(super) job: Job,
}

impl Waiting {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.sequence)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
