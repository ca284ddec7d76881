//! toller brings every missing thumbnail of a DuckDB warehouse home from one HTTPS origin.
//!
//! # The way of a GUID
//!
//! ```text
//!             next()               jobs (bounded)           attempts (bounded)          record()
//!  warehouse ─────────▶ run (main) ─────────────▶ worker ×3 ──────────────────▶ run (main) ─────────▶ warehouse
//!  (DuckDB)                 │        credit          │ origin.attempt → store.save   │ batch → one transaction
//! ```
//!
//! Main alone touches the warehouse, because a [`warehouse::Window`] lives on its stack; the workers share the
//! [`origin`] and the [`store`], and give back attempts. `pipe` is the same run with other books: the trait
//! [`run::Ledger`] is all that differs.
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
//! end of a GUID's story), *failure* (transient or permanent), *batch*, *record* (batch → warehouse), *window* (the time in which the
//! warehouse is open), *credit* (GUIDs that may be in flight), *run*, *tally*, *manifest*.
//!
//! # The house
//!
//! A room is a thing that changes for one reason. Read from the bottom up; imports go downwards only, which a test holds.
//!
//! | floor | rooms |
//! |---|---|
//! | words | [`guid`], [`outcome`], [`facts`] (of a file that is home) and [`failure`], [`tally`], [`manifest`] (the row of a run), [`ending`] (how a run ends), [`mod@line`] (an outcome as NDJSON), [`error`], [`text`] (what is foreign, shown), [`machine`] |
//! | pure | [`image`]: is a body a whole picture; [`input`]: lists and lines, compressed or not |
//! | edges | [`origin`]: one attempt, alone with ureq and rustls; [`store`]: the only one that changes a destination; [`warehouse`]: alone with duckdb. They know nothing of each other. |
//! | [`run`] | the loop, its workers, their pace, what stops it, and in `policy` all that decides; what it needs of its books is the trait [`run::Ledger`] |
//! | [`books`] | the two ledgers: the warehouse, and standard streams |
//! | [`terminal`] | progress, results for people and as JSON |
//! | [`report`] | the page of `toller report`, alone with maud and plotters |
//! | [`commands`] | a file each: arguments, examples, deeds, last words; `options` that several share, the `session` of `fetch` and `pipe` |
//! | [`cli`] | what was typed |

pub mod ending;
pub mod error;
pub mod facts;
pub mod failure;
pub mod guid;
pub mod line;
pub mod machine;
pub mod manifest;
pub mod outcome;
pub mod tally;
pub mod text;

pub mod image;
pub mod input;

pub mod origin;
pub mod store;
pub mod warehouse;

pub mod books;
pub mod run;

pub mod cli;
pub mod commands;
pub mod report;
pub mod terminal;
