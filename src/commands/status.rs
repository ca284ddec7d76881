//! `toller status`: where things stand, whether a run is under way or not.

use std::time::Duration;

use clap::Args;

use crate::error::{ExitCode, Result};
use crate::machine;
use crate::manifest::is_dead;
use crate::terminal::{Running, StatusReport, show};
use crate::warehouse::{Effort, Warehouse};

use super::options::{WarehouseArgs, WarehouseConfig};

/// How many runs are shown.
const LAST_RUNS: usize = 5;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller status --warehouse images.duckdb
  toller status --warehouse images.duckdb --json | jq .running.eta_seconds";

/// `toller status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    /// Count only rows for which this holds
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller status`.
///
/// # Errors
/// The warehouse cannot be read.
pub fn status(args: StatusArgs) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?;
    let condition = args.condition.map(|sql| books.condition(sql)).transpose()?;
    let (standing, mut runs) = books.read(place.lock_wait, |window| {
        let shape = window.shape()?;
        Ok((window.standing(&shape, condition.as_ref())?, window.last_runs(LAST_RUNS)?))
    })?;
    let host = machine::host();
    for run in runs.iter_mut().filter(|run| run.status == "running") {
        let silent = Duration::try_from_secs_f64(run.silent_for).unwrap_or_default();
        run.lives = !is_dead(run.host.as_deref(), run.pid, Some(silent), &host);
    }
    let running = runs.iter().find(|run| run.lives).map(Running::new);
    let mut dead = 0..LAST_RUNS;
    runs.retain(|run| run.lives || dead.next().is_some());
    let report = StatusReport::new(standing, running, runs);
    show(&report, args.json, |report| report.text())?;
    Ok(ExitCode::Done)
}
