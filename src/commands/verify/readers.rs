//! Looking at many claims at once, with a thread for each processor. Main waits for them, and alone touches the warehouse.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::warehouse::Claim;

use super::judge::{Finding, Judge};

/// How many claims a thread takes at once: few, so that all end at nearly the same time.
const AT_ONCE: usize = 32;
/// How often main says how far they are.
const TICK: Duration = Duration::from_millis(100);

/// How far they are.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) claims: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// How many look at once.
pub(super) fn readers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What every claim comes to, in their order. Main does what is to be done `meanwhile`, and then ticks.
pub(super) fn look_at<T>(
    judge: &Judge<'_>,
    claims: &[Claim],
    facts: bool,
    seen: &Seen,
    meanwhile: impl FnOnce() -> T,
    tick: &mut dyn FnMut(),
) -> (Vec<Finding>, T) {
    let chunks = claims.chunks(AT_ONCE).len();
    let next = AtomicUsize::new(0);
    let look = |sender: &mpsc::Sender<(usize, Vec<Finding>)>| {
        let mut body = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(some) = claims.chunks(AT_ONCE).nth(number) else { return };
            let findings = some.iter().map(|claim| {
                body.clear();
                let finding = judge.look(claim, &mut body, facts);
                seen.claims.fetch_add(1, Ordering::Relaxed);
                seen.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                finding
            });
            // Main waits for all of them.
            let _ = sender.send((number, findings.collect()));
        }
    };
    let mut found: Vec<Vec<Finding>> = Vec::new();
    found.resize_with(chunks, Vec::new);
    let value = thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..readers().min(chunks) {
            let (sender, look) = (sender.clone(), &look);
            scope.spawn(move || look(&sender));
        }
        drop(sender);
        let value = meanwhile();
        loop {
            match results.recv_timeout(TICK) {
                Ok((number, findings)) => found[number] = findings,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return value,
            }
            tick();
        }
    });
    (found.into_iter().flatten().collect(), value)
}
