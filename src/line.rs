//! An outcome as a line of NDJSON, both ways: as `pipe` prints it, and as `merge` reads it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::failure::{Failure, Kind};
use crate::outcome::{How, Id, Outcome, Saved};

/// One outcome as `pipe` prints it and `merge` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The run that printed it.
    #[serde(default)]
    pub run_id: Option<String>,
    /// The image.
    pub guid: String,
    /// Its file is home.
    pub ok: bool,
    /// Where.
    #[serde(default)]
    pub path: Option<String>,
    /// From where.
    #[serde(default)]
    pub url: Option<String>,
    /// Its length.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The kind of failure.
    #[serde(default)]
    pub kind: Option<String>,
    /// The status, where the origin sent one.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The cause in words.
    #[serde(default)]
    pub message: Option<String>,
    /// The same request will not succeed later.
    #[serde(default)]
    pub permanent: Option<bool>,
    /// Attempts made.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// Milliseconds spent.
    #[serde(default)]
    pub ms: Option<u64>,
    /// When it ended, RFC 3339.
    pub finished_at: String,
}

impl Line {
    /// What is printed of an outcome of this run. A failure for good that is `forgiven` is said to be one that may pass.
    #[must_use]
    pub fn new(run_id: &str, outcome: &Outcome, path: Option<String>, url: Option<String>, forgiven: bool) -> Self {
        let (saved, failure) = (outcome.result.as_ref().ok(), outcome.result.as_ref().err());
        Self {
            run_id: Some(run_id.to_owned()),
            guid: outcome.id.to_string(),
            ok: failure.is_none(),
            path,
            url,
            bytes: saved.map(|saved| saved.facts.bytes),
            kind: failure.map(|failure| failure.kind.name().to_owned()),
            http_status: failure.and_then(|failure| failure.http_status),
            message: failure.map(|failure| failure.message.clone()),
            permanent: failure.map(|failure| !forgiven && !failure.is_transient()),
            attempts: Some(outcome.attempts),
            ms: Some(u64::try_from(outcome.spent.as_millis()).unwrap_or(u64::MAX)),
            finished_at: humantime::format_rfc3339_micros(outcome.finished_at).to_string(),
        }
    }
}

/// What a line brings home.
#[derive(Debug)]
pub struct Arrival {
    /// What came of the GUID.
    pub outcome: Outcome,
    /// Where its file was when it was printed.
    pub path: Option<String>,
    /// A failure for good by its kind, and yet not to be taken so.
    pub forgiven: bool,
}

/// Reads a line.
///
/// # Errors
/// Says in words why it is none.
pub fn parse(line: &[u8]) -> std::result::Result<Arrival, String> {
    let line: Line = serde_json::from_slice(line).map_err(|cause| cause.to_string())?;
    let finished_at =
        humantime::parse_rfc3339_weak(&line.finished_at).map_err(|cause| format!("finished_at: {cause}"))?;
    let result = if line.ok {
        let facts = Facts { bytes: line.bytes.unwrap_or(0), ..Facts::default() };
        Ok(Saved { how: How::Fetched, facts })
    } else {
        let kind = line.kind.as_deref().and_then(Kind::from_name).ok_or("a failure without a known kind")?;
        let (http_status, message) = (line.http_status, line.message.unwrap_or_default());
        Err(Failure { http_status, ..Failure::new(kind, message) })
    };
    let forgiven = line.permanent == Some(false) && result.as_ref().is_err_and(|failure| !failure.is_transient());
    let outcome = Outcome {
        id: Id::new(line.guid.into()),
        // Only failures are recorded with their URL.
        url: line.url.filter(|_| !line.ok).map(Into::into),
        attempts: line.attempts.unwrap_or(0),
        spent: Duration::from_millis(line.ms.unwrap_or(0)),
        finished_at,
        result,
    };
    Ok(Arrival { outcome, path: line.path, forgiven })
}
