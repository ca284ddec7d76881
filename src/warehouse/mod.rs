//! The warehouse: the DuckDB file that says what is pending and is told what came of it.
//!
//! This folder alone names duckdb. The file is open only inside a [`Window`], which is short, so that
//! other programs can use it between two of them. It does not know how images are fetched.

mod claims;
mod condition;
mod failures;
mod files;
mod images;
mod last;
mod load;
mod memory;
mod merge;
mod patience;
mod pending;
mod place;
mod record;
mod refresh;
mod repeats;
mod report;
mod runs;
mod staging;
mod tables;

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duckdb::{Config, Connection};

use crate::error::{Error, Result};

pub use claims::{Claim, Claims};
pub use condition::Condition;
pub use failures::FailureRow;
pub use images::{Shape, Standing};
pub use load::{HasHeader, LoadReport, Source, load};
pub use merge::Merged;
pub use patience::Locked;
pub use pending::{Failed, PendingRef, PendingRow, Selection, UrlSource};
pub use place::{may_be_warehouse, must_be_warehouse};
pub use repeats::Repeats;
pub use report::{Choice, Course, Example, FailedKind, Files, Findings, Picture, SameBodies, SameBody, Share, Step};
pub use runs::{RunRow, RunsTable};
pub use staging::Staged;
pub use tables::{Name, Tables};
use tables::{quote, text};

/// Memory that DuckDB may use at first; when a window needs more it gets more, up to half of what there is.
const MEMORY: u64 = 64 << 20;
/// A lock that is held for longer is a program that has the warehouse open, and no window of another toller's.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// What a window is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Others may read at the same time.
    Read,
    /// Nobody else may have the file open.
    Write,
    /// The same, and the file is made where it is missing, in the format of DuckDB 1.0.
    Make,
}

/// How many threads DuckDB gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// One, beside workers that have better to do: handing statements over to others costs more than it saves.
    Beside,
    /// One for each processor.
    Alone,
}

impl Effort {
    fn threads(self) -> usize {
        match self {
            Self::Beside => 1,
            Self::Alone => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Where the warehouse is, how its tables are called, and the one DuckDB that reads and writes it.
///
/// That DuckDB lives in memory for the whole run and attaches the file for the time of a window: a
/// millisecond, where starting a DuckDB takes 12. What is to be recorded is staged in it before, while others
/// still have the file.
#[derive(Debug)]
pub struct Warehouse {
    file: PathBuf,
    tables: Tables,
    connection: Connection,
    /// What the connection calls its own database, while the file is not attached.
    home: String,
    /// What DuckDB calls the file; known once it was attached.
    catalogue: OnceCell<String>,
    /// What DuckDB may use now, in bytes.
    memory: Cell<u64>,
    /// What the tables are called, where nobody says so and the last run does.
    found: OnceCell<Tables>,
    /// Who hears that another program has it, once that has taken [`WORTH_A_WORD`].
    tell: fn(&Locked),
}

/// The warehouse while it is open.
#[derive(Debug)]
pub struct Window<'w> {
    connection: &'w Connection,
    home: &'w str,
    catalogue: &'w str,
    tables: &'w Tables,
    file: &'w Path,
    memory: &'w Cell<u64>,
    opened: Instant,
    closed: bool,
}

/// What came of an attempt to open the warehouse.
#[derive(Debug)]
pub enum Opened<'w> {
    /// It is open.
    Window(Window<'w>),
    /// Another program has it.
    Locked(Locked),
}

impl Warehouse {
    /// A warehouse that must exist.
    ///
    /// # Errors
    /// There is no such file.
    pub fn new(file: PathBuf, tables: Tables, effort: Effort) -> Result<Self> {
        must_be_warehouse(&file)?;
        Self::start(file, tables, MEMORY, effort)
    }

    fn start(file: PathBuf, tables: Tables, memory: u64, effort: Effort) -> Result<Self> {
        // Longer than the file's name, so that DuckDB never calls the file the same.
        let home = format!("beside {}", file.file_name().unwrap_or_default().display());
        let start = || {
            let connection = Connection::open_in_memory_with_flags(settings(&file, memory, effort)?)?;
            let own = quote(&home);
            connection.execute_batch(&format!("ATTACH ':memory:' AS {own}; USE {own}; DETACH memory"))?;
            Ok(connection)
        };
        let connection =
            start().map_err(|cause: duckdb::Error| Error::new("start DuckDB", "memory", plain(&cause.to_string())))?;
        Ok(Self {
            file,
            tables,
            connection,
            home,
            catalogue: OnceCell::new(),
            memory: Cell::new(memory),
            found: OnceCell::new(),
            tell: |_| {},
        })
    }

    /// The same, and who waits long for another program's lock is told by whom it is held.
    #[must_use]
    pub fn telling(self, tell: fn(&Locked)) -> Self {
        Self { tell, ..self }
    }

    /// Changes how many threads DuckDB gets.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn exert(&self, effort: Effort) -> Result<()> {
        let set = self.connection.execute_batch(&format!("SET threads = {}", effort.threads()));
        set.map_err(|cause| Error::new("start threads", "memory", plain(&cause.to_string())))
    }

    /// Tries once to open it.
    ///
    /// # Errors
    /// Anything but another program's lock.
    pub fn open(&self, access: Access) -> Result<Opened<'_>> {
        let options = match access {
            Access::Read => " (READ_ONLY)",
            Access::Write => "",
            Access::Make => " (STORAGE_VERSION 'v1.0.0')",
        };
        if access != Access::Make {
            // ATTACH would make a file that has gone away meanwhile.
            must_exist(&self.file)?;
        }
        // Asked while the file is not open here, as everything that opens it by itself.
        let log_of = if access == Access::Write { place::must_be_closed_by(&self.file) } else { None };
        let options = if log_of.is_some() { " (READ_ONLY)" } else { options };
        let opened = Instant::now();
        match self.attach(options) {
            Ok(catalogue) => {
                let window = Window {
                    connection: &self.connection,
                    home: &self.home,
                    catalogue,
                    tables: self.found.get().unwrap_or(&self.tables),
                    file: &self.file,
                    memory: &self.memory,
                    opened,
                    closed: false,
                };
                // Nobody has it, so that the log was left by one that was killed.
                match log_of {
                    Some(version) => Err(self.left_open(&version)),
                    None => Ok(Opened::Window(window)),
                }
            }
            Err(cause) => self.not_opened(&cause),
        }
    }

    /// Attaches the file under the name that DuckDB itself gives it, and says which: the name goes into what is written
    /// of an index, and DuckDB 0.10 to 1.1 refuse a file in which they find another.
    fn attach(&self, options: &str) -> duckdb::Result<&str> {
        // From the root, since DuckDB takes `~/x`, `name:x` and the like for something else than the names of files.
        let file = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        self.connection.execute_batch(&format!("ATTACH {}{options}", text(&file.to_string_lossy())))?;
        let catalogue = if let Some(known) = self.catalogue.get() {
            known
        } else {
            let asked = "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> ?";
            let name = self.connection.query_row(asked, [&self.home], |row| row.get(0))?;
            self.catalogue.get_or_init(|| name)
        };
        self.connection.execute_batch(&format!("USE {}", quote(catalogue)))?;
        Ok(catalogue)
    }

    /// Opens it, trying again for `patience` while another program has it. `None` when `stop`, which is told who, says so.
    ///
    /// # Errors
    /// As [`Warehouse::open`]; and exit code 75 when the patience is over.
    pub fn open_within(
        &self,
        access: Access,
        patience: Duration,
        stop: &mut dyn FnMut(&Locked) -> bool,
    ) -> Result<Option<Window<'_>>> {
        patience::patiently(patience, stop, || self.open(access))
    }

    /// The table whose name the last run gave.
    #[must_use]
    pub fn found_table(&self) -> Option<&Name> {
        self.found.get().map(|tables| &tables.table)
    }

    /// Opens the warehouse for reading and gives what `read` takes from it; where nobody named a table, that of the last
    /// run does if the usual one is not there.
    ///
    /// # Errors
    /// As [`Warehouse::open_within`], and those of `read`.
    pub fn read<T>(&self, patience: Duration, read: impl FnOnce(&Window<'_>) -> Result<T>) -> Result<T> {
        self.with(Access::Read, patience, |window| {
            let found = if self.found.get().is_none() { window.tables_of_last_run()? } else { None };
            match found {
                Some(tables) => read(&Window { tables: self.found.get_or_init(|| tables), closed: true, ..*window }),
                None => read(window),
            }
        })
    }

    /// Opens the warehouse for writing and gives what `write` makes of it.
    ///
    /// # Errors
    /// As [`Warehouse::open_within`], and those of `write`.
    pub fn write<T>(&self, patience: Duration, write: impl FnOnce(&Window<'_>) -> Result<T>) -> Result<T> {
        self.with(Access::Write, patience, write)
    }

    fn open_telling(&self, access: Access, patience: Duration) -> Result<Window<'_>> {
        let waiting_since = Instant::now();
        let mut told = false;
        let window = self.open_within(access, patience, &mut |locked| {
            if !told && waiting_since.elapsed() >= WORTH_A_WORD {
                told = true;
                (self.tell)(locked);
            }
            false
        })?;
        Ok(window.expect("nothing stops it"))
    }

    fn with<T>(&self, access: Access, patience: Duration, work: impl FnOnce(&Window<'_>) -> Result<T>) -> Result<T> {
        let window = self.open_telling(access, patience)?;
        let value = work(&window)?;
        window.close()?;
        Ok(value)
    }

    fn left_open(&self, version: &str) -> Error {
        let cause = format!(
            "DuckDB {version} was killed and has left a log, which only it plays so that it can read the result"
        );
        Error::new("open warehouse", self.file.display(), cause).with_way_out("open and close it once with that DuckDB")
    }

    fn not_opened(&self, cause: &duckdb::Error) -> Result<Opened<'_>> {
        let words = cause.to_string();
        match Locked::told(&words, &self.file) {
            Some(locked) => Ok(Opened::Locked(locked)),
            None => Err(Error::new("open warehouse", self.file.display(), plain(&words))),
        }
    }
}

/// Asked without opening it: closing a file drops this process's locks on it, DuckDB's too.
fn must_exist(file: &Path) -> Result<()> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(Error::new("open warehouse", file.display(), "it is a folder")),
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::new("open warehouse", file.display(), cause)
            .with_way_out(format!("make one with: toller load --warehouse {} GUIDS", file.display()))),
    }
}

/// Nothing is looked for outside, little memory is used, and what does not fit into it goes beside the warehouse.
fn settings(file: &Path, memory: u64, effort: Effort) -> duckdb::Result<Config> {
    Config::default()
        .with("autoinstall_known_extensions", "false")?
        .with("autoload_known_extensions", "false")?
        // Asking for a table that may not be there is usual here; guessing which was meant takes 10 ms.
        .with("catalog_error_max_schemas", "0")?
        .with("memory_limit", format!("{memory}B"))?
        .with("temp_directory", format!("{}.tmp", file.display()))?
        .threads(i64::try_from(effort.threads()).unwrap_or(1))
}

/// DuckDB's message in one line, without the pointer into the statement that follows it.
fn plain(words: &str) -> String {
    let words = words.split("\n\nLINE ").next().unwrap_or(words);
    let words = words.split(" LINE 1:").next().unwrap_or(words);
    // Its advice is for those who write SQL.
    let words = words.split("Possible solutions:").next().unwrap_or(words);
    // Addresses within DuckDB say nothing to anybody here.
    let words = words.split("Stack Trace:").next().unwrap_or(words);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Microseconds since 1970, which is how times cross into SQL.
fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Window<'_> {
    /// Closes the file and says how long it was held.
    ///
    /// # Errors
    /// DuckDB could not write what it had left to write.
    pub fn close(mut self) -> Result<Duration> {
        self.closed = true;
        let detached =
            self.connection.execute_batch(&format!("USE {}; DETACH {}", quote(self.home), quote(self.catalogue)));
        detached.map_err(|cause| self.error("close warehouse", &cause))?;
        Ok(self.opened.elapsed())
    }

    /// Runs statements in one transaction: all of them, or none; once more when DuckDB had too little memory.
    fn transaction<T>(&self, operation: &str, mut work: impl FnMut() -> duckdb::Result<T>) -> Result<T> {
        let mut run = || {
            self.connection.execute_batch("BEGIN")?;
            match work() {
                Ok(value) => self.connection.execute_batch("COMMIT").map(|()| value),
                Err(error) => {
                    // The error that matters is the first; a rollback that fails changes nothing about it.
                    let _ = self.connection.execute_batch("ROLLBACK");
                    Err(error)
                }
            }
        };
        loop {
            match run() {
                Err(cause) if cause.to_string().contains("Out of Memory Error") && self.may_use_more() => {}
                other => return other.map_err(|cause| self.error(operation, &cause)),
            }
        }
    }

    fn error(&self, operation: &str, cause: &duckdb::Error) -> Error {
        Error::new(operation, self.file.display(), plain(&cause.to_string()))
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if !self.closed {
            // Left because of an error, which is the one to report; each of these may have nothing to do.
            let (home, detach) = (format!("USE {}", quote(self.home)), format!("DETACH {}", quote(self.catalogue)));
            for statement in ["ROLLBACK", &home, &detach] {
                let _ = self.connection.execute_batch(statement);
            }
        }
    }
}
