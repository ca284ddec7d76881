//! The wish to stop: a signal, or the time that a run was given.
//!
//! The first signal asks, the second one ends the process at once. It decides nothing; `run` looks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::ending::Reason;
use crate::machine::is_ignored;

/// Has a file that grows beyond `ulimit -f` be an error of whoever writes it, and not the end of the process.
///
/// # Errors
/// The system refuses.
pub fn survive_file_limits() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Looked at by the run; set by the system.
#[derive(Debug, Clone)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP; those that were ignored at the start stay ignored.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(max_runtime: Option<Duration>) -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let second = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            if is_ignored(number) {
                continue;
            }
            // Registered first, so that it runs first: it ends the process only when a signal came before.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&second))?;
            flag::register(number, Arc::clone(&second))?;
            flag::register_usize(number, Arc::clone(&signal), number.unsigned_abs() as usize)?;
        }
        let deadline = max_runtime.and_then(|time| Instant::now().checked_add(time));
        Ok(Self { signal, deadline })
    }

    /// Why to stop, once there is a reason.
    #[must_use]
    pub fn requested(&self) -> Option<Reason> {
        let signal = self.signal.load(Ordering::Relaxed);
        if let Some(signal) = i32::try_from(signal).ok().filter(|signal| *signal > 0) {
            return Some(Reason::Signal(signal));
        }
        self.deadline.filter(|deadline| Instant::now() >= *deadline).map(|_| Reason::Runtime)
    }
}
