//! How much memory DuckDB may use; what does not fit into it goes by way of the disk.

use std::cell::Cell;

use duckdb::Connection;

use crate::error::{Error, Result};
use crate::machine;

use super::{MEMORY, Warehouse, Window, plain};

/// What the rest of the process takes, and what DuckDB takes without counting it.
const OWN_MEMORY: u64 = 128 << 20;

/// That part of the memory that is there for DuckDB.
pub(super) fn room(part: u64) -> u64 {
    (machine::memory().saturating_sub(OWN_MEMORY) / part).max(MEMORY)
}

/// Lets DuckDB use so many bytes, or half of what there is if that is less, and not less than it may use now.
pub(super) fn allow(connection: &Connection, memory: &Cell<u64>, bytes: u64) -> duckdb::Result<()> {
    memory.set(bytes.min(room(2)).max(memory.get()));
    connection.execute_batch(&format!("SET memory_limit = '{}B'", memory.get()))
}

impl Warehouse {
    /// Lets DuckDB use so many bytes of memory, or half of what there is, if that is less.
    ///
    /// # Errors
    /// It refuses.
    pub fn take_memory(&self, bytes: u64) -> Result<()> {
        let set = allow(&self.connection, &self.memory, bytes);
        set.map_err(|cause| Error::new("take memory", "memory", plain(&cause.to_string())))
    }
}

impl Window<'_> {
    /// Runs a query that has to remember every id: with a quarter of the memory that there is, since sorting out
    /// ten million on disk takes half a minute, and while it takes the warehouse is held.
    pub(super) fn with_room<T>(&self, query: impl FnOnce() -> duckdb::Result<T>) -> duckdb::Result<T> {
        let set = |bytes: u64| self.connection.execute_batch(&format!("SET memory_limit = '{bytes}B'"));
        set(room(4).max(self.memory.get()))?;
        let result = query();
        // Only a wish: what is in use may not fit into it.
        let _ = set(self.memory.get());
        result
    }

    /// Doubles the memory that DuckDB may use, up to half of what there is.
    pub(super) fn may_use_more(&self) -> bool {
        let more = (self.memory.get() * 2).min(room(2));
        let allowed =
            more > self.memory.get() && self.connection.execute_batch(&format!("SET memory_limit = '{more}B'")).is_ok();
        self.memory.set(if allowed { more } else { self.memory.get() });
        allowed
    }
}
