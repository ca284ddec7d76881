//! Waiting for another program's lock on the warehouse.

use std::time::{Duration, Instant};

use crate::error::Result;

use super::{Opened, Window};

/// How long to wait before trying a locked warehouse again, while there is nothing else to do, at first and at the most: each
/// try takes a millisecond of a processor.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Tries until the lock is gone, the patience is over, or `stop` says so (`None`).
pub(super) fn patiently<'w>(
    patience: Duration,
    stop: &dyn Fn() -> bool,
    mut open: impl FnMut() -> Result<Opened<'w>>,
) -> Result<Option<Window<'w>>> {
    let started = Instant::now();
    let mut pause = TRY_AGAIN.0;
    loop {
        match open()? {
            Opened::Window(window) => return Ok(Some(window)),
            Opened::Locked(error) if started.elapsed() >= patience => return Err(error),
            Opened::Locked(_) if stop() => return Ok(None),
            Opened::Locked(_) => {
                std::thread::sleep(pause.min(patience.saturating_sub(started.elapsed())));
                pause = (pause * 5 / 4).min(TRY_AGAIN.1);
            }
        }
    }
}
