//! Why a run cannot go on, and what the process says to its caller with a number.
//!
//! An error is an operation, a subject and a cause in one lower-case line, with the way out in a second
//! line where one is known. It is printed once, in `main`. A GUID that failed is no error; see `outcome`.

use std::fmt;

/// What the process exits with, and what a script does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Nothing is pending any more.
    Done,
    /// The run could not go on.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Something is left that may go well later.
    Partial,
    /// Some GUIDs failed for good, none in a way that may pass.
    Permanent,
    /// The warehouse or the destination is in use (`EX_TEMPFAIL` of sysexits.h).
    Busy,
    /// Stopped by this signal, state saved.
    Signal(i32),
}

impl ExitCode {
    /// The number that the caller sees.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Permanent => 4,
            Self::Busy => 75,
            // 128 plus the signal, as shells report it.
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        }
    }
}

/// The run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    operation: String,
    cause: String,
    way_out: Option<String>,
    code: ExitCode,
}

/// What a run-level step gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with exit code 1: what was being done, to what, and why it failed.
    pub fn new(operation: impl Into<String>, subject: impl fmt::Display, cause: impl fmt::Display) -> Self {
        // One line, whatever a library put into its message.
        let cause = format!("{subject}: {cause}").split_whitespace().collect::<Vec<_>>().join(" ");
        Self { operation: operation.into(), cause, way_out: None, code: ExitCode::Failed }
    }

    /// A wrong command line.
    pub fn usage(subject: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new("command line", subject, cause).with_code(ExitCode::Usage)
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: ExitCode) -> Self {
        self.code = code;
        self
    }

    /// The same with a second line that names the way out.
    #[must_use]
    pub fn with_way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// The same about a path under the name that its user knows.
    #[must_use]
    pub fn about(mut self, path: &std::path::Path, known: &std::path::Path) -> Self {
        self.cause = self.cause.replace(&path.display().to_string(), &known.display().to_string());
        self
    }

    /// The exit code it asks for.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// The error without its way out, for the run's row.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.operation, self.cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.cause)?;
        match &self.way_out {
            Some(way_out) => write!(f, "\n{way_out}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
