//! What people and scripts see: progress, results in both forms, units of time and size.

mod bar;
mod results;
mod units;
mod verified;

pub use bar::{Progress, Style};
pub use results::*;
pub use units::{grouped, rough, size, span};
pub use verified::VerifyReport;
