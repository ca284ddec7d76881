//! toller brings every missing thumbnail of a DuckDB warehouse home from one HTTPS origin.
//!
//! # The way of a GUID
//!
//! ```text
//!             next()               jobs (bounded)           attempts (bounded)          record()
//!  warehouse ─────────▶ run (main) ─────────────▶ worker ×3 ──────────────────▶ run (main) ─────────▶ warehouse
//!  (DuckDB)                 │     credit window      │ origin.attempt → store.save   │ batch → one transaction
//! ```
//!
//! Main alone touches the warehouse, because a [`warehouse::Window`] lives on its stack; the workers borrow the
//! [`origin`] and the [`store`], and give back attempts. `pipe` is the same run with other books: the trait
//! [`ledger::Ledger`] is all that differs.
//!
//! # Invariants
//!
//! - Under a final name there is a whole file or none: written elsewhere, checked before, renamed.
//! - *save → sync → record*: the warehouse never claims a file that a power cut could take away.
//! - The warehouse is open in short windows only, for at most a twentieth of the time between the first and the last.
//! - Everything in flight is bounded: both channels, the page of pending GUIDs, the batch, the body.
//! - A worker never ends the run and never sleeps for one GUID; every wait has an end.
//!
//! # Words
//!
//! *guid*, *origin* (the HTTP side), *store* (the files), *warehouse* (the DuckDB file), *pending*, *job* (a GUID in the
//! channel), *worker*, *attempt* (one try), *fetch* (an attempt with its retries), *save* (the file becomes visible), *outcome* (the
//! end of a GUID's story), *failure* (transient or permanent), *batch*, *record* (batch → warehouse), *window* (GUIDs in flight; or
//! the time in which the warehouse is open), *run*, *tally*, *manifest*.
//!
//! # Layers
//!
//! Words (`guid`, `outcome`, `error`, `text`, `machine`) ← pure (`image`, `retry`, `manifest`) and `input` ← edges (`origin`, `store`,
//! `warehouse`, `pace`) ← `worker` ← `ledger`, `stop` ← `run` ← `config`, `cli`, and a file for each larger command. The edges
//! never import each other or `config`. A test reads the `use` lines and fails on a breach. The warehouse is a folder, one
//! file for each thing that is asked of it, because all of them together would be 1,000 lines and more.

pub mod error;
pub mod guid;
pub mod machine;
pub mod outcome;
pub mod text;

pub mod image;
pub mod input;
pub mod manifest;
pub mod retry;

pub mod origin;
pub mod pace;
pub mod store;
pub mod warehouse;

pub mod ledger;
pub mod run;
pub mod stop;
pub mod worker;

pub mod cli;
pub mod commands;
pub mod config;
mod merge;
mod pending;
mod pipe;
pub mod progress;
pub mod report;
mod verify;
