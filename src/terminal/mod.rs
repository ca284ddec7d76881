//! What people and scripts see: progress, results in both forms, units of time and size.

mod bar;
mod line;
mod results;
mod speed;
mod standing;
mod units;
mod verified;
mod waits;

pub use bar::{Examples, List, Progress, Style};
pub use results::*;
pub use standing::{Running, StatusReport, failures_text};
pub use units::{grouped, rough, size, span};
pub use verified::VerifyReport;
