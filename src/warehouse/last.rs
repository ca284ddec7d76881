//! What runs say of themselves: whether one lives, where the last one's files are, and what its tables were called.

use std::time::Duration;

use crate::error::Result;
use crate::manifest::is_dead;

use super::tables::text;
use super::{RunRow, Tables, Window};

impl RunRow {
    /// Whether it is under way, and its process lives, as far as this host can tell.
    #[must_use]
    pub fn is_alive(&self, here: &str) -> bool {
        let silent = Duration::try_from_secs_f64(self.silent_for).unwrap_or_default();
        self.status == "running" && !is_dead(self.host.as_deref(), self.pid, Some(silent), here)
    }
}

impl Window<'_> {
    /// The latest run of this table of images that had a destination.
    ///
    /// Runs of an older toller do not say which table they were for. They count only where none says it: among
    /// several tables nobody knows whose they were, and a wrong folder is worse than none.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn last_destination(&self) -> Result<Option<RunRow>> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(None) };
        let mut condition = String::from("dest IS NOT NULL");
        if self.lacking(&manifest, &["image_table"])?.is_empty() {
            condition += &format!(
                " AND coalesce(lower(image_table) = lower({}), NOT EXISTS (FROM {} WHERE dest IS NOT NULL AND image_table IS NOT NULL))",
                text(&self.tables.table.canonical()),
                self.quoted(&manifest),
            );
        }
        Ok(self.runs_where(&condition, 1)?.into_iter().next())
    }

    /// What the last run says its tables and columns are called.
    fn last_names(&self) -> Result<Option<String>> {
        let Some(manifest) = self.readable_manifest()? else { return Ok(None) };
        if !self.lacking(&manifest, &["tables"])?.is_empty() {
            return Ok(None);
        }
        Ok(self.runs_where("tables IS NOT NULL", 1)?.into_iter().next().and_then(|run| run.tables))
    }

    /// The names that the last run had, where the usual table is not there and nothing else was named.
    pub(super) fn tables_of_last_run(&self) -> Result<Option<Tables>> {
        if !self.tables.as_last_run || !self.columns(&self.tables.table)?.is_empty() {
            return Ok(None);
        }
        Ok(self.last_names()?.and_then(|row| self.tables.like_row(&row)))
    }
}
