//! The wish to stop: a signal, or the time that a run was given.
//!
//! The first signal asks, the second one ends the process at once. It decides nothing; `run` looks.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::ending::Reason;
use crate::machine::is_ignored;

/// `timeout` signals the process and then its group, and who closes a terminal is heard twice as well: what comes within
/// this time is one signal.
const ONE_SIGNAL: Duration = Duration::from_millis(50);
/// Who asks for an end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Has signals end the process where it is the first one, as in a container, to which the system does not do that by itself.
///
/// # Errors
/// The system refuses.
pub fn end_as_first_process() -> io::Result<()> {
    let mut ends = SIGNALS.into_iter().filter(|number| std::process::id() == 1 && !is_ignored(*number));
    ends.try_for_each(|number| {
        flag::register_conditional_shutdown(number, 128 + number, Arc::new(true.into())).map(drop)
    })
}

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
    /// It came some time ago, so that another is a second one.
    heard: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP; those that were ignored at the start stay ignored.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(max_runtime: Option<Duration>) -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(AtomicBool::new(false));
        let (mut first, sender) = UnixStream::pair()?;
        for number in SIGNALS {
            if is_ignored(number) {
                continue;
            }
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&heard))?;
            flag::register_usize(number, Arc::clone(&signal), number.unsigned_abs() as usize)?;
            low_level::pipe::register(number, sender.try_clone()?)?;
        }
        let is_heard = Arc::clone(&heard);
        let listen = move || {
            if first.read_exact(&mut [0]).is_ok() {
                std::thread::sleep(ONE_SIGNAL);
                is_heard.store(true, Ordering::Relaxed);
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen)?;
        let deadline = max_runtime.and_then(|time| Instant::now().checked_add(time));
        Ok(Self { signal, heard, deadline })
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

    /// After a signal, waits the moment until another one would be a second one: who is told of it may send it.
    pub fn await_silence(&self) {
        while self.signal.load(Ordering::Relaxed) > 0 && !self.heard.load(Ordering::Relaxed) {
            std::thread::sleep(ONE_SIGNAL / 10);
        }
    }
}
