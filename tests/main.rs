//! The one integration binary: the real program against a real origin on real sockets. Each module is about
//! one part of the contract, and each test's name is a sentence of it.
#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

mod bad_input;
mod fetch;
mod layers;
mod load;
mod options;
mod pending;
mod resume;
mod shipping;
mod status;
mod support_check;
mod tables;
