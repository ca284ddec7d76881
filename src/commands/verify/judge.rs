//! What is true of one claim: its file, held against what the warehouse says of it.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::facts::{Facts, Sha256};
use crate::guid::Guid;
use crate::image::Seen;
use crate::machine;
use crate::run::{self, Expect};
use crate::store::{self, Layout, Look};
use crate::terminal::grouped;
use crate::warehouse::Claim;

/// What a claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// It is as the warehouse says.
    Agreed,
    /// The same, and nothing is on record of its file.
    Unfiled,
    Missing,
    Corrupt,
    Changed,
    Rejected,
    Unrecorded,
    /// Something is there that cannot be read.
    Unknown,
}

impl Truth {
    /// How the report calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agreed | Self::Unfiled => "good",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Changed => "changed",
            Self::Rejected => "rejected",
            Self::Unrecorded => "unrecorded",
            Self::Unknown => "unreadable",
        }
    }

    /// The warehouse and the disk do not say the same.
    pub(super) fn disagrees(self) -> bool {
        !matches!(self, Self::Agreed | Self::Unfiled | Self::Unknown)
    }

    /// A file is there that must not stay.
    pub(super) fn is_set_aside(self) -> bool {
        matches!(self, Self::Corrupt | Self::Changed | Self::Rejected)
    }
}

/// What came of looking at one claim.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) truth: Truth,
    /// In words, where it is not as the warehouse says.
    pub(super) cause: String,
    /// What is to be put on record of the file.
    pub(super) facts: Option<Box<Facts>>,
}

impl Finding {
    fn new(truth: Truth, cause: impl Display) -> Self {
        Self { truth, cause: cause.to_string(), facts: None }
    }

    fn agreed() -> Self {
        Self { truth: Truth::Agreed, cause: String::new(), facts: None }
    }
}

/// How much of the memory files may take while they are looked at.
#[derive(Debug)]
pub(super) struct Room {
    /// A longer file cannot be taken into memory. What a fetch has brought here once was in memory then.
    most: u64,
    /// So long may the files be that all who look have in memory at once.
    share: u64,
    /// Whoever has a longer one.
    large: Mutex<()>,
}

impl Room {
    pub(super) fn of(readers: usize) -> Self {
        let most = machine::memory() / 4;
        Self { most, share: most / readers.max(1) as u64, large: Mutex::new(()) }
    }
}

/// Judges claims; all who look share it.
#[derive(Debug)]
pub(super) struct Judge<'j> {
    pub(super) layout: &'j Layout,
    pub(super) expect: Expect,
    /// By names and sizes only.
    pub(super) quick: bool,
    /// What comes out will be made true.
    pub(super) fix: bool,
    /// Files that are not to be there.
    pub(super) rejected: Vec<Sha256>,
    /// What is known of a file can be put on record.
    pub(super) can_file: bool,
    pub(super) room: Room,
}

impl Judge<'_> {
    /// The file of a claim; an id that can have no file has none.
    pub(super) fn path(&self, claim: &Claim) -> Option<PathBuf> {
        Guid::new(claim.id.clone()).ok().map(|guid| self.layout.path(&guid))
    }

    /// Looks at the file of a claim; `body` is space for it. Says what is to be put on record only if that is wanted.
    pub(super) fn look(&self, claim: &Claim, body: &mut Vec<u8>, facts: bool) -> Finding {
        let Some(path) = self.path(claim) else { return absent(claim) };
        // What is about to become done has to prove itself.
        if self.quick && (claim.done || !self.fix) {
            return size_up(claim, store::length(&path));
        }
        match store::read(&path, self.room.share, body) {
            Ok(Look::Longer(length)) if length <= self.room.most => {
                let _alone = self.room.large.lock().unwrap_or_else(PoisonError::into_inner);
                let read = store::read(&path, self.room.most, body);
                let finding = self.weigh(claim, read, body, facts);
                *body = Vec::new();
                finding
            }
            read => self.weigh(claim, read, body, facts),
        }
    }

    fn weigh(&self, claim: &Claim, read: io::Result<Look>, body: &[u8], facts: bool) -> Finding {
        let recorded = claim.done && claim.sha256.is_some();
        match (read, claim.bytes) {
            (Ok(Look::Absent), _) => absent(claim),
            (Ok(Look::Read), _) => self.judge(claim, body, facts),
            // Of such a file nothing would be asked but that it is the one on record, or not empty.
            (Ok(Look::Longer(length)), Some(bytes)) if self.expect == Expect::Any && recorded && length != bytes => {
                Finding::new(Truth::Changed, other_size(length, bytes))
            }
            (Ok(Look::Longer(_)), _) if self.expect == Expect::Any && !recorded && self.rejected.is_empty() => {
                Finding::agreed()
            }
            (Ok(Look::Longer(length)), _) => {
                Finding::new(Truth::Unknown, format!("there is no memory for its {} bytes", grouped(length)))
            }
            (Err(cause), _) => Finding::new(Truth::Unknown, cause),
        }
    }

    fn judge(&self, claim: &Claim, body: &[u8], facts: bool) -> Finding {
        // Of a file that is not home nothing counts but what it says itself.
        let recorded = claim.sha256.filter(|_| claim.done);
        let wanted = facts || recorded.is_some() || !self.rejected.is_empty();
        let digest = wanted.then(|| Sha256::of(body));
        if let Some(digest) = digest.filter(|digest| self.rejected.contains(digest)) {
            return Finding::new(Truth::Rejected, format!("its sha256 is {digest}"));
        }
        let same = recorded.is_some() && recorded == digest;
        // What was saved was judged then, and is this to the last byte.
        if same && (claim.image || self.expect == Expect::Any) {
            return Finding::agreed();
        }
        let seen = match self.expect.check(body) {
            Err(why) => return Finding::new(Truth::Corrupt, why),
            Ok(seen) => seen,
        };
        let of = |seen: Option<Seen>| facts.then(|| Box::new(run::facts(body, seen, digest)));
        match (recorded, digest) {
            (Some(recorded), Some(digest)) if !same => {
                Finding::new(Truth::Changed, format!("its sha256 is {digest}, and {recorded} is on record"))
            }
            _ if !claim.done => match run::proves_itself(body) {
                Some(seen) => {
                    Finding { facts: of(Some(seen)), ..Finding::new(Truth::Unrecorded, "it is whole and not recorded") }
                }
                // That may be what a power cut left; a fetch brings it anew.
                None => Finding::agreed(),
            },
            _ if self.can_file && !claim.filed => {
                Finding { facts: of(seen), ..Finding::new(Truth::Unfiled, "nothing is on record of it") }
            }
            _ => Finding::agreed(),
        }
    }
}

fn absent(claim: &Claim) -> Finding {
    if claim.done { Finding::new(Truth::Missing, "there is no such file") } else { Finding::agreed() }
}

/// Judges a file by its size, where that is on record.
fn size_up(claim: &Claim, length: io::Result<Option<u64>>) -> Finding {
    match (length, claim.bytes) {
        (Err(cause), _) => Finding::new(Truth::Unknown, cause),
        (Ok(None), _) => absent(claim),
        (Ok(Some(0)), _) => Finding::new(Truth::Corrupt, "empty"),
        (Ok(Some(_)), _) if !claim.done => Finding::new(Truth::Unrecorded, "it is there and not recorded"),
        (Ok(Some(length)), Some(bytes)) if length != bytes => Finding::new(Truth::Corrupt, other_size(length, bytes)),
        _ => Finding::agreed(),
    }
}

fn other_size(length: u64, bytes: u64) -> String {
    format!("it has {} bytes, and {} are on record", grouped(length), grouped(bytes))
}
