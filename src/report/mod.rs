//! The page that `toller report` makes: one HTML file that needs nothing else, to be looked at, sent and printed.
//!
//! It takes what was found in the warehouse and the files, and makes text of it. Nothing in it runs and nothing is loaded from
//! anywhere; everything foreign is text, first made visible by [`crate::text::shown`] and then escaped by the template. It does not
//! know how the tables are read.

mod advice;
mod charts;
mod measures;
mod page;
mod sections;
mod sheet;
mod words;

use serde::Serialize;

use crate::error::Result;
use crate::warehouse::{Choice, Findings};

pub use sheet::{Picture, Sheet};

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it was made, UTC.
    pub made_at: String,
    /// The warehouse's name, without its folder.
    pub warehouse: String,
    /// The run that is under way.
    pub running: Option<String>,
    #[serde(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub found: Findings,
    /// Which images the sheet shows.
    pub chosen: Choice,
    #[allow(missing_docs, reason = "its type says it")]
    pub sheet: Sheet,
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// A chart cannot be drawn.
    pub fn page(&self) -> Result<String> {
        page::page(self)
    }
}
