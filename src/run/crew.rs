//! The workers as threads: started together, looked after, and left behind where one is stuck.
//!
//! They are not scoped: a scope waits for all of its threads, and one that hangs in the kernel, as on a dead mount, would
//! keep the run from its end. What they share is behind an `Arc`, so that a thread that is left behind can do no harm.

use std::any::Any;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::{Error, Result};
use crate::outcome::{Attempt, Job};

/// The workers and both ends of what goes to and from them.
pub(super) struct Crew {
    workers: Vec<JoinHandle<()>>,
    /// Hung up once no more is to come.
    pub(super) jobs: Option<Sender<Job>>,
    /// What nobody has taken yet.
    pub(super) queue: Receiver<Job>,
    pub(super) attempts: Receiver<Attempt>,
}

impl Crew {
    /// Starts so many threads that work until either channel is hung up; each channel holds so many.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(super) fn start(
        workers: usize,
        capacity: usize,
        work: impl Fn(usize, &Receiver<Job>, &Sender<Attempt>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let (job_sender, jobs) = bounded(capacity);
        let (attempt_sender, attempts) = bounded(capacity);
        let mut crew = Self { workers: Vec::new(), jobs: Some(job_sender), queue: jobs, attempts };
        let work = Arc::new(work);
        for number in 0..workers {
            let (work, jobs, attempts) = (Arc::clone(&work), crew.queue.clone(), attempt_sender.clone());
            let body = move || work(number, &jobs, &attempts);
            let spawned = thread::Builder::new().name(format!("worker-{number}")).spawn(body);
            crew.workers.push(spawned.map_err(|cause| Error::new("start", "worker", cause))?);
        }
        Ok(crew)
    }

    /// Why a worker has ended, while there is work: it panicked.
    pub(super) fn lost(&mut self) -> Option<Error> {
        let number = self.workers.iter().position(JoinHandle::is_finished)?;
        let cause = self.workers.swap_remove(number).join().err();
        let cause = cause.as_deref().map_or("it ended", words);
        let error = Error::new("run", "worker", format!("it panicked: {cause}"));
        Some(error.with_way_out("that is a fault of toller's own; what was fetched is recorded"))
    }

    /// Waits until all have ended, and leaves behind those that do not in time: they end with the process.
    pub(super) fn leave(mut self, within: Duration) {
        self.jobs = None;
        let deadline = Instant::now() + within;
        let mut left = self.attempts.recv_deadline(deadline);
        while left.is_ok() {
            left = self.attempts.recv_deadline(deadline);
        }
        let all = matches!(left, Err(RecvTimeoutError::Disconnected));
        for worker in self.workers.into_iter().filter(|worker| all || worker.is_finished()) {
            // What it panicked of was said when it did.
            let _ = worker.join();
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::guid::Guid;

    fn job(id: &str) -> Job {
        Job::new(Guid::new(id.into()).expect("a GUID"), None)
    }

    #[test]
    fn a_worker_that_panics_is_missed_and_what_the_others_brought_is_there() {
        let mut crew = Crew::start(2, 8, |_, jobs, attempts| {
            while let Ok(job) = jobs.recv() {
                assert_ne!(job.guid.as_str(), "bad", "a fault of our own");
                let result = Err(Failure::new(crate::failure::Kind::Timeout, ""));
                let _ = attempts.send(Attempt { job, sent: None, result });
            }
        })
        .expect("threads");
        for id in ["a", "bad", "b"] {
            crew.jobs.as_ref().expect("open").send(job(id)).expect("room");
        }
        let came: Vec<_> =
            (0..2).map(|_| crew.attempts.recv().expect("the other worker").job.guid.into_text()).collect();
        assert_eq!(came, ["a".into(), "b".into()]);
        let lost = std::iter::repeat_with(|| crew.lost()).flatten().next().expect("it panicked");
        assert!(lost.to_string().contains("a fault of our own"), "{lost}");
        crew.leave(Duration::from_secs(5));
    }
}
