//! An outcome as a line of NDJSON, both ways: as `pipe` prints it, and as `merge` reads it.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Proof, Sha256};
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
    /// What the file is: this and what follows an older toller did not say.
    #[serde(default)]
    pub format: Option<Cow<'static, str>>,
    /// In pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// In pixels.
    #[serde(default)]
    pub height: Option<u32>,
    /// In hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    /// What proved it whole.
    #[serde(default)]
    pub proof: Option<String>,
    /// As the origin wrote it.
    #[serde(default)]
    pub etag: Option<Box<str>>,
    /// As the origin wrote it.
    #[serde(default)]
    pub last_modified: Option<Box<str>>,
    /// As the origin wrote it.
    #[serde(default)]
    pub content_type: Option<Box<str>>,
}

impl Line {
    /// What it says of a file.
    fn facts(&mut self) -> Result<Facts, String> {
        let sha256 = self.sha256.as_deref().map(|hex| Sha256::parse(hex).ok_or("sha256: not 64 hexadecimal digits"));
        let proof = self.proof.as_deref().map(|name| Proof::from_name(name).ok_or("an unknown proof"));
        Ok(Facts {
            bytes: self.bytes.unwrap_or(0),
            format: self.format.take(),
            width: self.width,
            height: self.height,
            sha256: sha256.transpose()?,
            proof: proof.transpose()?,
            etag: self.etag.take(),
            last_modified: self.last_modified.take(),
            content_type: self.content_type.take(),
        })
    }
}

impl Line {
    /// What is printed of an outcome of this run.
    #[must_use]
    pub fn new(run_id: &str, outcome: &Outcome, path: Option<String>, url: Option<String>) -> Self {
        let (facts, failure) = match &outcome.result {
            Ok(saved) => (Some(&saved.facts), None),
            Err(failure) => (None, Some(failure)),
        };
        Self {
            run_id: Some(run_id.to_owned()),
            guid: outcome.id.to_string(),
            ok: failure.is_none(),
            path,
            url,
            bytes: facts.map(|facts| facts.bytes),
            kind: failure.map(|failure| failure.kind.name().to_owned()),
            http_status: failure.and_then(|failure| failure.http_status),
            message: failure.map(|failure| failure.message.clone()),
            permanent: failure.map(|failure| !failure.is_transient()),
            attempts: Some(outcome.attempts),
            ms: Some(u64::try_from(outcome.spent.as_millis()).unwrap_or(u64::MAX)),
            finished_at: humantime::format_rfc3339_micros(outcome.finished_at).to_string(),
            format: facts.and_then(|facts| facts.format.clone()),
            width: facts.and_then(|facts| facts.width),
            height: facts.and_then(|facts| facts.height),
            sha256: facts.and_then(|facts| facts.sha256).map(|digest| digest.to_string()),
            proof: facts.and_then(|facts| facts.proof).map(|proof| proof.name().to_owned()),
            etag: facts.and_then(|facts| facts.etag.clone()),
            last_modified: facts.and_then(|facts| facts.last_modified.clone()),
            content_type: facts.and_then(|facts| facts.content_type.clone()),
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
}

/// Reads a line.
///
/// # Errors
/// Says in words why it is none.
pub fn parse(line: &[u8]) -> std::result::Result<Arrival, String> {
    let mut line: Line = serde_json::from_slice(line).map_err(|cause| cause.to_string())?;
    let finished_at =
        humantime::parse_rfc3339_weak(&line.finished_at).map_err(|cause| format!("finished_at: {cause}"))?;
    let result = if line.ok {
        // No request was sent for what was there already.
        let how = if line.attempts == Some(0) { How::Reused } else { How::Fetched };
        Ok(Saved { how, facts: line.facts()? })
    } else {
        let kind = line.kind.as_deref().and_then(Kind::from_name).ok_or("a failure without a known kind")?;
        let failure = Failure::new(kind, line.message.unwrap_or_default());
        let failure = if line.permanent == Some(false) { failure.forgiven() } else { failure };
        Err(Failure { http_status: line.http_status, ..failure })
    };
    let outcome = Outcome {
        id: Id::new(line.guid.into()),
        // Only failures are recorded with their URL.
        url: line.url.filter(|_| !line.ok).map(Into::into),
        attempts: line.attempts.unwrap_or(0),
        spent: Duration::from_millis(line.ms.unwrap_or(0)),
        finished_at,
        result,
    };
    Ok(Arrival { outcome, path: line.path })
}
