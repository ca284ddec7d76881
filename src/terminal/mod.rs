//! What people and scripts see: progress, results in both forms, units of time and size.

mod bar;
mod results;

pub use bar::{Progress, Style};
pub use results::*;
