//! A worker: for each GUID in the channel, reuse its file, or fetch it, check it and save it.
//!
//! It sends back what came of it and decides nothing about the run: not whether to try again, not when to stop.

use std::cell::Cell;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::facts::Facts;
use crate::failure::{Failure, Kind};
use crate::guid::UrlTemplate;
use crate::image::{self, Proof};
use crate::origin::{Delivered, Framing, Origin, Said};

use super::pace::Pace;
use crate::outcome::{Attempt, How, Job, Saved};
use crate::store::Store;

/// Space that a worker keeps from one body for the next; what a huge one took is given back at once.
const KEPT: usize = 4 << 20;

/// What counts as a good body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A whole image.
    Image,
    /// Whatever was delivered whole.
    Any,
}

impl Expect {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Any => "any",
        }
    }

    /// Whether a file on disk with this content is good, where the warehouse claims it.
    ///
    /// # Errors
    /// Says in words why not.
    pub fn check(self, body: &[u8]) -> Result<(), &'static str> {
        match self {
            _ if body.is_empty() => Err("empty"),
            Self::Any => Ok(()),
            Self::Image => image::check(body).map(drop).map_err(|why| why.0),
        }
    }

    /// Whether a body that the origin delivered is good.
    fn judge(self, body: &[u8], framing: Framing) -> Result<(), Failure> {
        let judged = match framing {
            // Only its own end can prove that nothing was cut off.
            Framing::CloseDelimited => match image::check(body) {
                Ok(Proof::Whole) => Ok(()),
                Ok(Proof::Beginning) => {
                    Err((Kind::Truncated, "nothing but the connection's end says that it is whole"))
                }
                Err(why) => Err((Kind::Truncated, why.0)),
            },
            Framing::Complete => self.check(body).map_err(|why| (Kind::NotAnImage, why)),
        };
        judged.map_err(|(kind, why)| Failure::new(kind, why).with_status(200))
    }
}

/// Whether a file that no row claims may be taken for what the origin has.
///
/// Nobody knows whether it is durable, so its own bytes must prove that it is whole, whatever is expected. A power cut
/// leaves files as long as they should be, with zeros where bytes did not reach the disk, at least a sector of them. Some
/// pictures do end in so many zeros; they are fetched once more than they need be.
#[must_use]
pub fn proves_itself(body: &[u8]) -> bool {
    const SECTOR: usize = 512;
    !body.ends_with(&[0; SECTOR]) && image::check(body) == Ok(Proof::Whole)
}

/// What a body tells of itself, and its origin of it.
fn facts(body: &[u8], said: Said) -> Facts {
    let Said { etag, last_modified, content_type, proof } = said;
    let proof = proof.unwrap_or_default();
    Facts { bytes: body.len() as u64, proof, etag, last_modified, content_type, ..Facts::default() }
}

/// What all workers share.
#[derive(Debug)]
pub struct Tools {
    /// The HTTP side.
    pub origin: Origin,
    /// The files.
    pub store: Store,
    /// When to send.
    pub pace: Pace,
    /// Makes the URL of a job that has none.
    pub template: Option<UrlTemplate>,
    /// What is good.
    pub expect: Expect,
}

/// Works until either channel is hung up or the pace is halted.
pub fn work(number: usize, tools: &Tools, jobs: &Receiver<Job>, attempts: &Sender<Attempt>) {
    let mut body = Vec::new();
    while let Ok(mut job) = jobs.recv() {
        let started = Instant::now();
        let sent = Cell::new(None);
        let Some(result) = tools.serve(number, &job, &mut body, &sent) else { return };
        // What was there already, or refused, has cost no attempt.
        job.attempts += u32::from(sent.get().is_some());
        job.spent += started.elapsed();
        if body.capacity() > KEPT {
            body = Vec::new();
        }
        if attempts.send(Attempt { job, sent: sent.get(), result }).is_err() {
            return;
        }
    }
}

impl Tools {
    /// The URL of a job, as it is recorded and shown.
    #[must_use]
    pub fn url(&self, job: &Job) -> Option<String> {
        job.url.as_deref().map(str::to_owned).or_else(|| Some(self.template.as_ref()?.recorded_url(&job.guid)))
    }

    fn url_to_ask_for(&self, job: &Job) -> Option<String> {
        job.url.as_deref().map(str::to_owned).or_else(|| Some(self.template.as_ref()?.url(&job.guid)))
    }

    /// `None` when the run is being stopped. `sent` becomes the time of the first request, if one is sent.
    fn serve(
        &self,
        number: usize,
        job: &Job,
        body: &mut Vec<u8>,
        sent: &Cell<Option<Instant>>,
    ) -> Option<Result<Saved, Failure>> {
        if let Err(failure) = self.store.claim(&job.guid) {
            return Some(Err(failure));
        }
        // Only the first attempt looks: what is not there then is brought by nobody else.
        let most = self.origin.max_bytes();
        if job.attempts == 0 && self.store.read(&job.guid, most, body) && proves_itself(body) {
            return Some(Ok(Saved { how: How::Reused, facts: facts(body, Said::default()) }));
        }
        let Some(url) = self.url_to_ask_for(job) else {
            return Some(Err(Failure::new(Kind::BadUrl, "no URL")));
        };
        let wait_turn = || {
            let turn = self.pace.wait_turn(sent.get().is_some());
            sent.set(sent.get().or(turn));
            turn.is_some()
        };
        let (framing, said) = match self.origin.attempt(&url, None, body, &wait_turn)? {
            Ok(Delivered::Body(framing, said)) => (framing, said),
            Ok(Delivered::NotModified(_)) => return Some(Err(Failure::of_status(304, "", None))),
            Err(failure) => {
                if let Some(sent) = sent.get() {
                    self.tell_pace(&failure, sent);
                }
                return Some(Err(failure));
            }
        };
        self.pace.well();
        self.pace.charge(body.len() as u64);
        let saved = self.expect.judge(body, framing).and_then(|()| self.store.save(number, &job.guid, body));
        Some(saved.map(|()| Saved { how: How::Fetched, facts: facts(body, said) }))
    }

    /// Before anything else, so that no other worker sends meanwhile; if it is too much, until main ends the run.
    fn tell_pace(&self, failure: &Failure, sent: Instant) {
        if let Some(wait) = failure.retry_after.filter(|_| !failure.own) {
            self.pace.cool_down(wait);
        }
        if failure.is_refusal() && !failure.own {
            self.pace.refused(sent);
        }
        if failure.concerns_all() {
            self.pace.doubt();
        } else if failure.kind != Kind::Timeout && !failure.is_refusal() {
            self.pace.well();
        }
    }
}
