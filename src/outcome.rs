//! What travels between the edges: a job on its way out, an attempt on its way back, an outcome when it is over.
//!
//! These are words, not deeds: what follows from them is `run`'s to say.

use std::time::{Duration, Instant, SystemTime};

use crate::facts::{Facts, Known};
use crate::failure::Failure;
use crate::guid::Guid;

/// A GUID in the channel, with what is known of it so far.
#[derive(Debug, Clone)]
pub struct Job {
    /// The image.
    pub guid: Guid,
    /// Its own URL, where the warehouse names one; else the template makes it.
    pub url: Option<Box<str>>,
    /// What is on record of its file, where it is home and the question is whether it is still the one.
    pub known: Option<Box<Known>>,
    /// Attempts made before this one.
    pub attempts: u32,
    /// Time spent in those attempts.
    pub spent: Duration,
    /// Attempts that were forgiven, since others fared no better.
    pub excused: u32,
    /// When it first failed.
    pub failed_at: Option<Instant>,
    /// Its place among those that were first tried in this run, once it has been.
    pub place: Option<u64>,
}

impl Job {
    /// A GUID that nothing has been tried for.
    #[must_use]
    pub fn new(guid: Guid, url: Option<Box<str>>) -> Self {
        Self { guid, url, known: None, attempts: 0, spent: Duration::ZERO, excused: 0, failed_at: None, place: None }
    }
}

/// What one try gave: the (guid, ok, err) message from a worker to main.
#[derive(Debug)]
pub struct Attempt {
    /// The job, this attempt counted in it.
    pub job: Job,
    /// When its first request was sent; none was for what is there already or refused.
    pub sent: Option<Instant>,
    /// What came of it.
    pub result: Result<Saved, Failure>,
}

/// The id of an outcome, checked once, when it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// It is a GUID.
    Guid(Guid),
    /// It is none, as its source spells it.
    Refused(Box<str>),
}

impl Id {
    /// Checks an id.
    #[must_use]
    pub fn new(text: Box<str>) -> Self {
        Guid::new(text).map_or_else(|(text, _)| Self::Refused(text), Self::Guid)
    }

    /// The GUID, if it is one.
    #[must_use]
    pub fn guid(&self) -> Option<&Guid> {
        if let Self::Guid(guid) = self { Some(guid) } else { None }
    }
}

impl From<Guid> for Id {
    fn from(guid: Guid) -> Self {
        Self::Guid(guid)
    }
}

impl std::ops::Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Guid(guid) => guid.as_str(),
            Self::Refused(text) => text,
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

/// The end of one GUID's story in this run: what is recorded.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whose.
    pub id: Id,
    /// Its URL, where one could be made; of a success only one that the warehouse says.
    pub url: Option<Box<str>>,
    /// Requests tried for it in this run.
    pub attempts: u32,
    /// Time spent on it.
    pub spent: Duration,
    /// When it ended.
    pub finished_at: SystemTime,
    /// What came of it.
    pub result: Result<Saved, Failure>,
}

impl Outcome {
    /// A GUID refused before any request.
    #[must_use]
    pub fn refused(id: impl Into<Id>, url: Option<Box<str>>, failure: Failure) -> Self {
        let now = SystemTime::now();
        Self { id: id.into(), url, attempts: 0, spent: Duration::ZERO, finished_at: now, result: Err(failure) }
    }

    /// A GUID whose file is home, whatever its story.
    #[must_use]
    pub fn claimed(id: Id) -> Self {
        let result = Ok(Saved { how: How::Reused, facts: Facts::default() });
        Self { id, url: None, attempts: 0, spent: Duration::ZERO, finished_at: SystemTime::now(), result }
    }
}

/// A whole file under its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// How it came there.
    pub how: How,
    /// What is known of it.
    pub facts: Facts,
}

/// How a file came under its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The origin sent it in this run.
    Fetched,
    /// It was there before, and nothing was asked of the origin.
    Reused,
    /// The origin sent it in place of the one that was home.
    Replaced,
    /// The origin says that the one that is home is still the one.
    Unchanged,
    /// The origin has none any more; the one that is home stays.
    Gone,
}

impl How {
    /// Whether the warehouse knew of a file before.
    #[must_use]
    pub fn was_home(self) -> bool {
        matches!(self, Self::Replaced | Self::Unchanged | Self::Gone)
    }

    /// Whether a file was written, or was found that nobody knows to be durable.
    #[must_use]
    pub fn is_new(self) -> bool {
        matches!(self, Self::Fetched | Self::Reused | Self::Replaced)
    }

    /// The name that the warehouse and its statements use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Reused => "reused",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::Gone => "gone",
        }
    }
}
