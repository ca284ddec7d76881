//! Where a warehouse stands, what runs and ran in it, and what has failed, for people and as JSON.

use serde::Serialize;

use crate::text::shown;
use crate::warehouse::{FailureRow, RunRow, Standing};

use super::units::{grouped, rounded, span};

/// A run under way, as `status --json` shows it.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is what its name says")]
pub struct Running {
    pub run_id: String,
    pub pid: Option<i64>,
    pub started_at: Option<String>,
    pub fetched: u64,
    pub reused: u64,
    pub failed: u64,
    pub pending: u64,
    pub images_per_second: f64,
    pub eta_seconds: Option<f64>,
    /// GUIDs whose story is over.
    #[serde(skip)]
    pub done: u64,
}

impl Running {
    /// Takes what the run last said of itself.
    #[must_use]
    pub fn new(run: &RunRow) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
        let (done, left) = (run.done() as f64, run.pending.saturating_sub(run.done()) as f64);
        let rate = if run.seconds > 0.0 { done / run.seconds } else { 0.0 };
        Self {
            run_id: run.run_id.clone(),
            pid: run.pid,
            started_at: run.started_at.clone(),
            fetched: run.fetched,
            reused: run.reused,
            failed: run.failed,
            pending: run.pending,
            images_per_second: rounded(rate),
            eta_seconds: (rate > 0.0).then(|| rounded(left / rate)),
            done: run.done(),
        }
    }
}

/// Where a warehouse stands, in the shape of the contract.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "each field is what its name says")]
pub struct StatusReport {
    pub total: u64,
    pub done: u64,
    pub pending: u64,
    pub failed_permanent: u64,
    pub running: Option<Running>,
    pub last_runs: Vec<RunRow>,
    pub failures: serde_json::Map<String, serde_json::Value>,
}

impl StatusReport {
    /// Puts it together; `running` is the run that is under way.
    #[must_use]
    pub fn new(standing: Standing, running: Option<Running>, last_runs: Vec<RunRow>) -> Self {
        Self {
            total: standing.total,
            done: standing.total.saturating_sub(standing.pending),
            pending: standing.pending,
            failed_permanent: standing.failed_permanent,
            running,
            last_runs,
            failures: standing.failures.into_iter().map(|(kind, count)| (kind, count.into())).collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text =
            format!("{} images, {} done, {} pending", grouped(self.total), grouped(self.done), grouped(self.pending));
        if self.failed_permanent > 0 {
            text.push_str(&format!(", {} of them failed for good", grouped(self.failed_permanent)));
        }
        text.push('\n');
        if let Some(run) = &self.running {
            let left = run.eta_seconds.map(|eta| format!(", {} left", span(eta))).unwrap_or_default();
            let (of, rate) = (grouped(run.pending), run.images_per_second.round());
            let pid = run.pid.unwrap_or_default();
            text.push_str(&format!(
                "running: {} of {of}, {rate} images/s{left} (run {}, process {pid})\n",
                grouped(run.done),
                run.run_id
            ));
        }
        if !self.failures.is_empty() {
            let kinds: Vec<_> = self.failures.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            text.push_str(&format!("failed: {}\n", kinds.join(", ")));
        }
        if !self.last_runs.is_empty() {
            text.push_str("last runs:\n");
        }
        for run in &self.last_runs {
            let started = run.started_at.as_deref().unwrap_or("?");
            let started = started.get(..19).unwrap_or(started).replace('T', " ");
            let counts = [
                (run.fetched, "fetched"),
                (run.reused, "reused"),
                (run.unchanged, "unchanged"),
                (run.failed, "failed"),
            ];
            let counts: Vec<_> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{} {word}", grouped(*count)))
                .collect();
            let gone = (run.status == "running" && !run.lives).then_some("its process is gone");
            let error = run.error.as_deref().or(gone).map(|error| format!(": {error}")).unwrap_or_default();
            let line = format!("  {started}  {:<11} {} in {}{error}", run.status, counts.join(", "), span(run.seconds));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What stands failed, a line each: when, of which kind, which image, why, and how often it was tried.
#[must_use]
pub fn failures_text(rows: &[FailureRow]) -> String {
    let line = |row: &FailureRow| {
        let when = row.failed_at.as_deref().unwrap_or("?").replace('T', " ");
        let (when, kind) = (when.trim_end_matches('Z'), &row.kind);
        let attempts =
            if row.attempts == 1 { "1 attempt".into() } else { format!("{} attempts", grouped(row.attempts)) };
        let lasts = if row.permanent { ", for good" } else { "" };
        let why = row.message.as_deref().unwrap_or("no cause is known");
        shown(&format!("{when}  {kind:<15}  {}: {why} ({attempts}{lasts})", row.guid)).into_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
