//! Everything that a run decides about what comes home: whether a failure is the image's or the origin's, whether nothing
//! works at all, when all pause and when they go on, when too much has failed or is one and the same picture. Pure: the clock is an argument.
//!
//! A failure that may concern everybody is held back until it is known. If the next one goes well, it was the image's, and is
//! counted like any other. If [`ROW`] of them come in a row, each from an image that has not failed beside others that
//! went well, it was the origin's: nobody is charged, all pause, and one probes.

mod ends;
mod retry;
mod sameness;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::facts::Facts;
use crate::failure::{Failure, Kind};
use crate::guid::Guid;
use crate::outcome::{Attempt, How, Job, Saved};

use super::rate::{Exceeded, OF, Rate};

pub(super) use ends::hopeless;
pub(super) use retry::Verdict;
use sameness::Sameness;

/// So many failures in a row that concern everybody are no chance.
const ROW: u32 = 5;
/// How long an origin may stay away before the run ends.
const AWAY: Duration = Duration::from_mins(5);
/// Where nothing is left that was never tried, nobody can tell the origin's absence from images that fail by themselves; they
/// are given so long.
const LAST_AWAY: Duration = Duration::from_mins(1);
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often an image's failure may be the origin's before it counts as its own all the same.
const WITNESS: u32 = 3;
/// So many hosts that have served something are remembered, where images have URLs of their own.
const HOSTS: usize = 64;

/// Whose an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// The image's, or nobody's.
    Own,
    /// Not known yet.
    Later,
    /// The origin's: again without a count.
    Free,
}

/// What an attempt means for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Nothing,
    /// The way is clear: what was not known is known now.
    Clear,
    /// Nobody asks for so long, and then only one.
    Pause(Duration),
    /// The probe came through; the origin had refused before, or not been there.
    Resume {
        refused: bool,
    },
    /// Nothing has ever worked, and so many failed in the same way.
    Hopeless,
}

/// While the origin is away.
#[derive(Debug)]
struct Outage {
    began: Instant,
    paused_at: Instant,
    pause: Duration,
    refused: bool,
}

/// What a run makes of what comes home.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is something that is known or not")]
pub(super) struct Policy {
    most_failing: f64,
    sameness: Sameness,
    /// Further attempts for transient failures.
    retries: u32,
    rate: Rate,
    /// Something was fetched.
    proven: bool,
    /// The origin has answered, whatever it said.
    heard: bool,
    /// The kind of the latest failures in a row, and their number, before anything worked.
    hopeless: Option<(Kind, u32)>,
    /// Failures in a row that may concern everybody.
    row: u32,
    outage: Option<Outage>,
    /// The latest cause of an outage, or of being put off.
    cause: String,
    /// When something was fetched last.
    fetched_at: Option<Instant>,
    /// There is more that was never tried, and could show that the origin is there.
    more: bool,
    /// So many were handed out and have not come back from their first attempt, which could show it too.
    ahead: u64,
    /// What is left fails by itself, whatever the origin does: no outage any more before something goes well.
    alone: bool,
    /// Since when the origin has put off everything, and how often.
    put_off: Option<(Instant, u32)>,
    /// The places of the images that were refused last, and when.
    refused: Vec<(Option<u64>, Instant)>,
    hosts: HashSet<Box<str>>,
    /// The latest message of each kind.
    causes: BTreeMap<Kind, String>,
}

impl Policy {
    pub(super) fn new(most_failing: f64, retries: u32, most_same: f64) -> Self {
        Self { most_failing, retries, sameness: Sameness::new(most_same), more: true, ..Self::default() }
    }

    /// How many GUIDs may be in flight until something has come home: once something failed that no image is to blame for,
    /// no more than it takes to show that nothing works.
    pub(super) fn most_in_flight(&self) -> u64 {
        self.hopeless.map_or(u64::MAX, |(_, count)| u64::from(ROW.saturating_sub(count).max(1)))
    }

    /// Whether there is more to hand out that was never tried.
    pub(super) fn more_left(&mut self, more: bool) {
        self.more = more;
    }

    /// Whether the origin has answered, whatever it said.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Why the origin is away, or has put off everything.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    /// A GUID is handed out for the first time.
    pub(super) fn begin(&mut self) -> u64 {
        self.ahead += 1;
        self.rate.begin()
    }

    /// Whose an attempt is, and what it means for all.
    pub(super) fn weigh(&mut self, attempt: &Attempt, now: Instant) -> (Charge, Turn) {
        if attempt.job.failed_at.is_none() {
            self.ahead = self.ahead.saturating_sub(1);
        }
        let Some(sent) = attempt.sent else { return (Charge::Own, Turn::Nothing) };
        if let Some(place) = attempt.job.place {
            self.rate.sent(place, sent);
        }
        let probe = self.outage.as_ref().is_some_and(|outage| sent >= outage.paused_at);
        let Err(failure) = &attempt.result else {
            self.proven = true;
            self.heard = true;
            self.alone = false;
            self.put_off = None;
            self.fetched_at = Some(now);
            self.remember_host(&attempt.job);
            return self.clear(probe);
        };
        let witness = self.is_witness(&attempt.job, failure);
        if let Some(turn) = self.hope(failure) {
            // It has answered, if only to refuse: whoever was waiting for that goes on.
            let over = self.outage.take_if(|_| probe).filter(|_| turn != Turn::Hopeless);
            return (Charge::Later, over.map_or(turn, |outage| Turn::Resume { refused: outage.refused }));
        }
        let refused = failure.is_refusal() && failure.retry_after.is_none();
        if failure.is_refusal() && failure.retry_after.is_some() && !failure.own {
            self.put_off.get_or_insert((now, 0)).1 += 1;
            self.cause.clone_from(&failure.message);
        }
        let everybodys = failure.concerns_all() || failure.kind == Kind::Timeout;
        if let Some(outage) = &self.outage {
            if everybodys {
                if failure.concerns_all() {
                    self.cause.clone_from(&failure.message);
                }
                // Others have gone well since this one first failed, so that it says nothing.
                let suspect = self.is_suspect(&attempt.job);
                let untried = self.more || self.ahead > 0;
                if probe && !untried && now.duration_since(outage.began) >= LAST_AWAY {
                    let refused = outage.refused;
                    (self.outage, self.alone) = (None, true);
                    return (Charge::Own, Turn::Resume { refused });
                }
                let turn = if probe { self.pause(refused, now) } else { Turn::Nothing };
                return (if suspect { Charge::Own } else { Charge::Free }, turn);
            }
        } else if witness {
            self.cause.clone_from(&failure.message);
            self.row += 1;
            return (Charge::Later, if self.row >= ROW { self.pause(refused, now) } else { Turn::Nothing });
        } else if everybodys {
            // It neither shows that the origin is there nor that it is not.
            return (Charge::Own, Turn::Nothing);
        }
        self.heard |= failure.http_status.is_some();
        self.clear(probe)
    }

    /// Before anything worked: the kinds that no image is to blame for.
    fn hope(&mut self, failure: &Failure) -> Option<Turn> {
        let barred = failure.kind == Kind::Forbidden || failure.http_status == Some(407);
        let unheard = matches!(failure.kind, Kind::Dns | Kind::Connect | Kind::Tls | Kind::Protocol);
        let hopes = if barred { !self.proven } else { unheard && !self.heard };
        // Where a redirect leads is the image's own, but who bars the way there bars it for all.
        if (failure.own && !barred) || !hopes {
            return None;
        }
        let count = self.hopeless.filter(|(kind, _)| *kind == failure.kind).map_or(0, |(_, count)| count) + 1;
        let other = count == 1 && self.hopeless.is_some();
        self.hopeless = Some((failure.kind, count));
        Some(match count {
            ROW.. => Turn::Hopeless,
            _ if other => Turn::Clear,
            _ => Turn::Nothing,
        })
    }

    /// Whether a failure of this image would say something about the origin.
    fn is_witness(&self, job: &Job, failure: &Failure) -> bool {
        let fresh = job.attempts <= 1 && job.excused < WITNESS && !self.alone && !self.is_suspect(job);
        let known = job.url.as_deref().is_none_or(|url| self.hosts.contains(host(url)));
        let there = if failure.is_refusal() { self.proven } else { self.heard };
        failure.concerns_all() && fresh && known && there
    }

    /// Whether others have gone well since this image first failed.
    fn is_suspect(&self, job: &Job) -> bool {
        job.failed_at.zip(self.fetched_at).is_some_and(|(failed, fetched)| fetched > failed)
    }

    fn remember_host(&mut self, job: &Job) {
        if let Some(host) = job.url.as_deref().map(host)
            && self.hosts.len() < HOSTS
            && !self.hosts.contains(host)
        {
            self.hosts.insert(host.into());
        }
    }

    /// An answer came that does not concern everybody.
    fn clear(&mut self, probe: bool) -> (Charge, Turn) {
        self.hopeless = None;
        self.row = 0;
        let turn = match self.outage.take_if(|_| probe) {
            Some(Outage { refused, .. }) => Turn::Resume { refused },
            // What was sent before the pause says nothing of what is now.
            None if self.outage.is_some() => Turn::Nothing,
            None => Turn::Clear,
        };
        (Charge::Own, turn)
    }

    fn pause(&mut self, refused: bool, now: Instant) -> Turn {
        let before = self.outage.as_ref().map(|outage| outage.pause);
        let pause = before.map_or(Duration::from_secs(1), |pause| (pause * 2).min(LONGEST_PAUSE));
        let began = self.outage.as_ref().map_or(now, |outage| outage.began);
        self.outage = Some(Outage { began, paused_at: now, pause, refused });
        self.row = 0;
        Turn::Pause(pause)
    }

    /// Whether the run ends because the origin has been away for too long.
    pub(super) fn gone(&self, now: Instant) -> Option<Ending> {
        let long = |since: Instant| now.duration_since(since) >= AWAY;
        let away = self.outage.as_ref().is_some_and(|outage| long(outage.began));
        let put_off = self.put_off.is_some_and(|(since, times)| times >= ROW && long(since));
        (away || put_off).then(|| Ending::Away(self.cause.clone()))
    }

    /// An attempt failed, and another one follows.
    pub(super) fn tried(&mut self, job: &Job) -> Option<Ending> {
        let exceeded = self.rate.tried(job.place?, self.most());
        self.too_many(exceeded)
    }

    /// A GUID's story is over.
    pub(super) fn ended(&mut self, job: &Job, failure: Option<&Failure>) -> Option<Ending> {
        if let Some(failure) = failure {
            self.causes.entry(failure.kind).or_default().clone_from(&failure.message);
        }
        let exceeded = self.rate.ended(job.place?, failure.map(|failure| failure.kind), self.most());
        self.too_many(exceeded)
    }

    /// A file came home. Says so when it is too often the same one.
    pub(super) fn came(&mut self, guid: &Guid, saved: &Saved) -> Option<Ending> {
        match saved {
            Saved { how: How::Fetched | How::Replaced, facts: Facts { sha256: Some(digest), .. } } => {
                self.sameness.came(*digest, guid).map(|same| ends::always_the_same(&same))
            }
            _ => None,
        }
    }

    fn most(&self) -> f64 {
        if self.most_failing < 100.0 { self.most_failing } else { f64::INFINITY }
    }

    fn too_many(&self, exceeded: Option<Exceeded>) -> Option<Ending> {
        let Exceeded { failed, commonest, since } = exceeded?;
        let cause = self.causes.get(&commonest).map_or("", String::as_str);
        let words =
            format!("{failed} of {OF} that were tried one after the other failed, most of them {commonest}: {cause}");
        Some(ends::too_many(&words, commonest, since?))
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
