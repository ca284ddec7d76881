//! Waiting for the warehouse's lock, and saying so.

use std::time::Duration;

use crate::error::Result;
use crate::run::stop::Stop;
use crate::run::{Moment, On, Wait, Watch};
use crate::tally::Tally;
use crate::warehouse::{Access, Locked, Warehouse, Window};

/// Opens the warehouse before anything is fetched, and says meanwhile who has it.
pub(super) fn open_patiently<'w>(
    warehouse: &'w Warehouse,
    access: Access,
    patience: Duration,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Option<Window<'w>>> {
    let mut told = false;
    let tally = Tally::default();
    let mut tell = |wait| {
        watch.tick(&Moment { tally: &tally, expected: None, retries: 0, in_flight: 0, wait, stopping: false });
    };
    let window = warehouse.open_within(access, patience, &mut |locked: &Locked| {
        told = true;
        tell(Some(locked_by(&locked.by)));
        stop.requested().is_some()
    });
    if told {
        tell(None);
    }
    window
}

/// The wait for a warehouse that this program has.
pub(super) fn locked_by(holder: &str) -> Wait {
    Wait::new(On::Lock, format!("the warehouse is locked by {holder}"))
}
