//! `toller status`: where things stand, whether a run is under way or not, and what has failed and why.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use crate::error::{Error, ExitCode, Result};
use crate::failure::Kind;
use crate::machine;
use crate::terminal::{Running, StatusReport, failures_text, print, print_locked, print_notice, show};
use crate::warehouse::{Condition, Effort, Warehouse};

use super::options::{Typed, WarehouseArgs, WarehouseConfig, interval};

/// How many runs are shown.
const LAST_RUNS: usize = 5;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller status --warehouse images.duckdb
  toller status --warehouse images.duckdb --watch
  toller status --warehouse images.duckdb --failures not_found --limit 20
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
    /// List what stands failed and why, the latest first; of all kinds, or of this one
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "")]
    pub failures: Option<String>,
    /// List at most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Show it anew at this interval, every 2 seconds if none is given, until the run ends
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2")]
    pub watch: Option<String>,
    /// One JSON object on stdout; with --failures and --watch one a line
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller status`.
///
/// # Errors
/// The warehouse cannot be read.
pub fn status(args: StatusArgs, typed: &Typed) -> Result<ExitCode> {
    // What the environment says may be meant for other commands.
    let listing = args.failures.is_some();
    for (field, option, fits) in
        [("limit", "--limit", listing), ("condition", "--where", !listing), ("watch", "--watch", !listing)]
    {
        if typed.has(field) && !fits {
            let cause = if listing { "it does not go with --failures" } else { "it goes with --failures only" };
            return Err(Error::usage(option, cause));
        }
    }
    let place = WarehouseConfig::new(args.warehouse)?;
    let watch = args.watch.as_deref().map(|time| interval("--watch", time)).transpose()?;
    let kind = args.failures.as_deref().map(kind).transpose()?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?.telling(print_locked);
    if let Some(kind) = kind {
        return list(&books, place.lock_wait, kind, args.limit.unwrap_or(u64::MAX), args.json);
    }
    let condition = args.condition.map(|sql| books.condition(sql)).transpose()?;
    let screen = watch.is_some() && !args.json && is_screen();
    for round in 0_u64.. {
        let report = look(&books, place.lock_wait, condition.as_ref())?;
        if round == 0
            && let Some(table) = books.found_table()
        {
            print_notice(&format!("table {table}, as the last run had it"));
        }
        match (screen, round, args.json) {
            (true, ..) => print("\x1b[2J\x1b[H")?,
            (false, 1.., false) => print("\n")?,
            _ => {}
        }
        show(&report, args.json, |report| report.text())?;
        match watch {
            Some(interval) if report.running.is_some() => std::thread::sleep(interval),
            _ => break,
        }
    }
    Ok(ExitCode::Done)
}

/// Whether what is shown can be taken away again.
fn is_screen() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn look(books: &Warehouse, lock_wait: Duration, condition: Option<&Condition>) -> Result<StatusReport> {
    let (standing, mut runs) = books.read(lock_wait, |window| {
        let shape = window.shape()?;
        Ok((window.standing(&shape, condition)?, window.last_runs(LAST_RUNS)?))
    })?;
    let host = machine::host();
    for run in &mut runs {
        run.lives = run.is_alive(&host);
    }
    let running = runs.iter().find(|run| run.lives).map(Running::new);
    let mut dead = 0..LAST_RUNS;
    runs.retain(|run| run.lives || dead.next().is_some());
    Ok(StatusReport::new(standing, running, runs))
}

/// The kind that was named; empty is all of them.
fn kind(name: &str) -> Result<Option<&'static str>> {
    let known = Kind::names().find(|known| *known == name);
    if known.is_none() && !name.is_empty() {
        let names = Kind::names().collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("--failures {name}"), "there is no such kind").with_way_out(names));
    }
    Ok(known)
}

fn list(books: &Warehouse, lock_wait: Duration, kind: Option<&str>, most: u64, json: bool) -> Result<ExitCode> {
    let listed = books.failures(lock_wait, kind, most, |rows| {
        if json {
            return rows.iter().try_for_each(|row| show(row, true, |_| String::new()));
        }
        print(&failures_text(rows))
    })?;
    if listed == 0 && !json {
        print("nothing stands failed\n")?;
    }
    Ok(ExitCode::Done)
}
