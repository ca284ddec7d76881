//! The one integration binary: the real program against a real origin on real sockets. Each module is about
//! one part of the contract, and each test's name is a sentence of it.
#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::duration_suboptimal_units,
    reason = "the numbers of a test are small, and seconds compare best with seconds"
)]

mod support;

mod addresses;
mod bad_input;
mod blocks;
mod conditions;
mod destination;
mod digests;
mod disk;
mod documents;
mod durability;
mod facts;
mod faults;
mod fetch;
mod guessed;
mod hostile;
mod interrupts;
mod layers;
mod lists;
mod load;
mod locks;
mod making;
mod memory;
mod merge;
mod odd_tables;
mod options;
mod outages;
mod pending;
mod pipe;
mod politeness;
mod progress;
mod refresh;
mod release;
mod report;
mod resume;
mod retries;
mod secrets;
mod served;
mod shipping;
mod status;
mod stdin;
mod support_check;
mod tables;
mod trust;
mod verify;
mod verify_digests;
mod versions;
