//! Printing while nobody may be reading.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::error::{Error, Result};

/// Writes to stdout on a thread of its own, because whoever reads may stall for ever, and a signal must be heard all the
/// same. One text at a time.
pub(super) struct Printer {
    texts: SyncSender<Vec<u8>>,
    printed: Receiver<io::Result<()>>,
    busy: Cell<bool>,
    failed: Cell<Option<io::Error>>,
}

impl Printer {
    pub(super) fn start() -> Result<Self> {
        let (texts, to_print) = sync_channel::<Vec<u8>>(1);
        let (say, printed) = sync_channel(1);
        let print = move || {
            while let Ok(text) = to_print.recv() {
                let mut out = io::stdout().lock();
                let done = out.write_all(&text).and_then(|()| out.flush());
                if say.send(done).is_err() {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("stdout".into()).spawn(print);
        spawned.map_err(|cause| stdout_error(&cause))?;
        Ok(Self { texts, printed, busy: Cell::new(false), failed: Cell::new(None) })
    }

    /// Whether the last text is out, or never will be.
    pub(super) fn is_free(&self) -> bool {
        if self.busy.get()
            && let Ok(done) = self.printed.try_recv()
        {
            self.heard(done);
        }
        !self.busy.get()
    }

    fn heard(&self, done: io::Result<()>) {
        self.busy.set(false);
        self.failed.set(done.err());
    }

    /// Hands a text over, the last one being out.
    pub(super) fn print(&mut self, text: Vec<u8>) -> Result<()> {
        self.check()?;
        self.busy.set(true);
        self.texts.send(text).map_err(|_| stdout_error(&io::ErrorKind::BrokenPipe.into()))
    }

    /// Whether all is out within this time.
    pub(super) fn wait(&mut self, time: Duration) -> Result<bool> {
        if self.busy.get()
            && let Ok(done) = self.printed.recv_timeout(time)
        {
            self.heard(done);
        }
        self.check()?;
        Ok(!self.busy.get())
    }

    fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), |cause| Err(stdout_error(&cause)))
    }
}

pub(super) fn stdout_error(cause: &io::Error) -> Error {
    Error::new("print outcomes", "stdout", cause)
}
