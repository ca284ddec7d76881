//! What `verify` found, in its two forms.

use serde::Serialize;

use super::results::row;
use super::units::grouped;

/// What `verify` found, in the shape of the contract.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// GUIDs held against the disk: those recorded as done, and others that have a file.
    pub checked: u64,
    /// Recorded, there and whole; where a digest is on record, with that digest.
    pub good: u64,
    /// Recorded, but no file.
    pub missing: u64,
    /// A file that is not whole.
    pub corrupt: u64,
    /// A whole file with another digest than is on record.
    pub changed: u64,
    /// A file with one of the digests that were rejected.
    pub rejected: u64,
    /// A whole file that is not recorded.
    pub unrecorded: u64,
    /// Files of no GUID, temporary ones of dead runs among them: nobody's, and so no disagreement.
    pub stray: u64,
    /// Of the disagreements, what `--fix` mended.
    pub fixed: u64,
    /// Good files of which nothing was on record, and now is: no disagreement.
    #[serde(skip)]
    pub filled: u64,
    /// Where the files were looked for, and who says so.
    #[serde(skip)]
    pub place: String,
}

impl VerifyReport {
    /// Whether warehouse and disk agree now.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.missing + self.corrupt + self.changed + self.rejected + self.unrecorded == self.fixed
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{} checked, {} good\n", self.place, grouped(self.checked), grouped(self.good));
        let rows = [
            ("missing", self.missing, "recorded, but no file"),
            ("corrupt", self.corrupt, "a file that is not whole"),
            ("changed", self.changed, "a whole file, but not the one on record"),
            ("rejected", self.rejected, "a file with a rejected digest"),
            ("unrecorded", self.unrecorded, "a whole file that is not recorded"),
            ("stray", self.stray, "files of no image, left alone"),
            ("fixed", self.fixed, ""),
            ("filled", self.filled, "rows of good files that nothing was on record of"),
        ];
        for (name, count, note) in rows.into_iter().filter(|(_, count, _)| *count > 0) {
            row(&mut text, name, count, note);
        }
        text
    }
}
