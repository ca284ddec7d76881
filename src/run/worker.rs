//! A worker: for each GUID in the channel, reuse its file, or fetch it, check it and save it.
//!
//! It sends back what came of it and decides nothing about the run: not whether to try again, not when to stop.

use std::cell::Cell;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::facts::{Facts, Known, Sha256};
use crate::failure::{Failure, Kind};
use crate::guid::UrlTemplate;
use crate::image::Seen;
use crate::origin::{Delivered, Origin, Said};

use super::judge::{Expect, facts, proves_itself};
use super::pace::Pace;
use crate::outcome::{Attempt, How, Job, Saved};
use crate::store::Store;

/// Space that a worker keeps from one body for the next; what a huge one took is given back at once.
const KEPT: usize = 4 << 20;

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
    /// The digest of each file is kept.
    pub digest: bool,
    /// Pictures that stand for what is not there.
    pub placeholders: Vec<Sha256>,
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
        if job.known.is_none()
            && job.attempts == 0
            && self.store.read(&job.guid, most, body)
            && let Some(seen) = proves_itself(body)
            // A picture that stands for another is asked for once more; perhaps there is one now.
            && let Ok(facts) = self.facts(body, Some(seen), Said::default())
        {
            return Some(Ok(Saved { how: How::Reused, facts }));
        }
        let Some(url) = self.url_to_ask_for(job) else {
            return Some(Err(Failure::new(Kind::BadUrl, "no URL")));
        };
        let wait_turn = || {
            let turn = self.pace.wait_turn(sent.get().is_some());
            sent.set(sent.get().or(turn));
            turn.is_some()
        };
        let (framing, said) = match self.origin.attempt(&url, self.known(job), body, &wait_turn)? {
            Ok(Delivered::Body(framing, said)) => (framing, said),
            Ok(Delivered::NotModified) => {
                self.pace.well();
                return Some(Ok(Saved { how: How::Unchanged, facts: Facts::default() }));
            }
            Err(failure) => {
                if let Some(sent) = sent.get() {
                    self.tell_pace(&failure, sent);
                }
                return Some(Err(failure));
            }
        };
        self.pace.well();
        self.pace.charge(body.len() as u64);
        let judged = self.expect.judge(body, framing, said.encoding.as_deref());
        let judged = judged.and_then(|seen| self.facts(body, seen, said));
        Some(judged.and_then(|facts| {
            self.store.save(number, &job.guid, body)?;
            Ok(Saved { how: if job.known.is_some() { How::Replaced } else { How::Fetched }, facts })
        }))
    }

    /// What is on record of an image's file, if the one that is there may be that one; not of a picture that stands for
    /// another, which the origin would say is still the same.
    fn known<'j>(&self, job: &'j Job) -> Option<&'j Known> {
        let known = job.known.as_deref()?;
        if known.sha256.is_some_and(|digest| self.placeholders.contains(&digest)) {
            return None;
        }
        let as_long = self.store.length(&job.guid).is_some_and(|length| known.bytes == Some(length));
        as_long.then_some(known)
    }

    /// What a good body tells of itself, and its origin of it; a picture that stands for another is a failure.
    fn facts(&self, body: &[u8], seen: Option<Seen>, said: Said) -> Result<Facts, Failure> {
        let sha256 = self.digest.then(|| Sha256::of(body));
        if let Some(digest) = sha256.filter(|digest| self.placeholders.contains(digest)) {
            let cause = format!("sha256 {digest} is one of --reject-digest");
            return Err(Failure::new(Kind::Placeholder, cause).with_status(200));
        }
        let Said { etag, last_modified, content_type, proof, .. } = said;
        let facts = facts(body, seen, sha256);
        Ok(Facts { proof: facts.proof.max(proof), etag, last_modified, content_type, ..facts })
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
