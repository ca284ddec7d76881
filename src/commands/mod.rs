//! The commands, one file each: its arguments, its examples, what it does, and what it says at its end.

pub mod completions;
pub mod fetch;
pub mod load;
mod making;
pub mod man;
pub mod merge;
pub mod options;
mod output;
pub mod pending;
pub mod pipe;
pub mod report;
mod session;
pub mod status;
pub mod verify;
