//! Waiting for another program's lock on the warehouse.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ExitCode, Result};
use crate::machine;

use super::{Opened, Window};

/// Another program has the warehouse.
#[derive(Debug)]
pub struct Locked {
    /// Which one.
    pub by: String,
    /// What to say when the patience is over: exit code 75.
    pub error: Error,
}

impl Locked {
    /// What DuckDB says of another program's lock, for which it has no code: "Could not set lock on file ...: Conflicting lock
    /// is held in PROGRAM (PID 1)".
    pub(super) fn told(words: &str, file: &Path) -> Option<Self> {
        if !words.contains("Could not set lock on file") {
            return None;
        }
        let holder =
            words.split("held in ").nth(1).and_then(|rest| rest.split_once(" by user").or(rest.split_once(". ")));
        let by = holder.map_or("another program", |(holder, _)| holder).to_owned();
        let pid = by.split_once("(PID ").and_then(|(_, pid)| pid.trim_end_matches(')').parse().ok());
        let way_out = if pid.is_some_and(machine::is_ancestor) {
            "that is the program that has started toller: it must close its connection first"
        } else {
            "run again when it has ended, or wait longer with --lock-wait"
        };
        let error = Error::new("open warehouse", file.display(), format!("locked by {by}"));
        Some(Self { by, error: error.with_code(ExitCode::Busy).with_way_out(way_out) })
    }
}

/// How long to wait before trying a locked warehouse again, while there is nothing else to do, at first and at the most: each
/// try takes a millisecond of a processor.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Tries until the lock is gone, the patience is over, or `stop`, which is told who has it, says so (`None`).
pub(super) fn patiently<'w>(
    patience: Duration,
    stop: &mut dyn FnMut(&Locked) -> bool,
    mut open: impl FnMut() -> Result<Opened<'w>>,
) -> Result<Option<Window<'w>>> {
    let started = Instant::now();
    let mut pause = TRY_AGAIN.0;
    loop {
        match open()? {
            Opened::Window(window) => return Ok(Some(window)),
            Opened::Locked(locked) if started.elapsed() >= patience => return Err(locked.error),
            Opened::Locked(locked) if stop(&locked) => return Ok(None),
            Opened::Locked(_) => {
                std::thread::sleep(pause.min(patience.saturating_sub(started.elapsed())));
                pause = (pause * 5 / 4).min(TRY_AGAIN.1);
            }
        }
    }
}
