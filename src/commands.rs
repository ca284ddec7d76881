//! One function a command: puts the parts together, and says what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::cli::{self, Command, Origins};
use crate::config::{FetchConfig, WarehouseConfig};
use crate::error::{Error, ExitCode, Result};
use crate::ledger;
use crate::machine;
use crate::manifest::{RunManifest, Status, Tally, new_run_id};
use crate::origin::Origin;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::report::{self, FetchReport, LoadSummary, Running, StatusReport, grouped};
use crate::run::{self, Ended, Watch};
use crate::stop::{Stop, survive_file_limits};
use crate::store::{self, Share, Store};
use crate::warehouse::{self, Access, Effort, PendingRow, Selection, Source, UrlSource, Warehouse};
use crate::worker::Tools;
use crate::{merge, pending, pipe, verify};

/// How many runs `status` shows.
const LAST_RUNS: usize = 5;
/// A run of another host that has said nothing for so long is dead (seconds).
const DAY: f64 = 86_400.0;

/// Carries out a command.
///
/// # Errors
/// Whatever kept it from its end.
pub fn carry_out(command: Command, origins: Origins) -> Result<ExitCode> {
    survive_file_limits().map_err(|cause| Error::new("start", "signals", cause))?;
    match command {
        Command::Fetch(args) => fetch(*args, origins),
        Command::Status(args) => status(*args),
        Command::Load(args) => load(*args),
        Command::Verify(args) => verify::verify(*args),
        Command::Pending(args) => pending::pending(*args),
        Command::Pipe(args) => pipe::pipe(*args, origins),
        Command::Merge(args) => merge::merge(*args),
    }
}

fn fetch(args: cli::Fetch, origins: Origins) -> Result<ExitCode> {
    let started = Instant::now();
    let place = WarehouseConfig::new(args.warehouse)?;
    let config = FetchConfig::new(args.origin, args.url_column, origins, 10.0)?;
    if config.urls == UrlSource::None {
        return Err(Error::usage("--url", "it is required, unless --url-column is given"));
    }
    let stop = listen(config.max_runtime)?;
    let mut progress = Progress::new(config.style, config.verbose);
    for warning in &config.warnings {
        progress.notice(warning);
    }
    let origin = Origin::new(&config.origin)?;
    if let Some(warning) = origin.warning() {
        progress.notice(warning);
    }
    let books = Warehouse::new(place.file, place.tables, Effort::Beside)?;
    let run_id = new_run_id(SystemTime::now());
    let selection = Selection {
        condition: args.condition,
        urls: config.urls.clone(),
        skip_failed: !args.retry_failed,
        run_id: run_id.clone(),
    };
    let access = if config.dry_run { Access::Read } else { Access::Write };
    let look = ledger::look(&books, &selection, access, place.lock_wait, &stop)?;
    let Some(look) = look else { return Ok(stopped(&stop)) };
    let expected = look.pending.min(config.limit.unwrap_or(u64::MAX));
    if config.dry_run {
        let (first, pending) = (look.first(&selection, 3)?, look.pending);
        drop(look);
        print_plan(&config, pending, expected, first, args.json)?;
        return Ok(ExitCode::Done);
    }
    progress.list_failed(config.failed_list.as_deref().map(store::create_list).transpose()?);
    if expected == 0 {
        let tally = Tally { pending: look.pending, ..Tally::default() };
        look.leave(&manifest(&run_id, &config))?;
        let report = FetchReport::new(None, Status::Complete, 0, &tally, started.elapsed());
        show(&report, args.json, config.quiet)?;
        return Ok(ExitCode::Done);
    }
    if let Some(notice) = look.notice() {
        progress.notice(notice);
    }
    let files = Store::open(config.layout.clone(), &run_id, Share::Alone, config.sync)?;
    if let Some(warning) = files.warning() {
        progress.notice(warning);
    }
    let pending = look.pending;
    let manifest = manifest(&run_id, &config);
    let mut ledger =
        look.begin(&books, selection, &manifest, config.limit, files.warning().is_none(), place.lock_wait)?;
    let pace = Pace::new(config.rate, config.bandwidth);
    let template = config.template().cloned();
    let tools = Arc::new(Tools { origin, store: files, pace, template, expect: config.expect });
    let settings = run::Settings { expected: Some(expected), ..config.run.clone() };
    let ended = run::run(&mut ledger, tools, &settings, &stop, &mut progress, pending)?;
    progress.close()?;
    let report = FetchReport::new(Some(run_id), ended.status, ended.code.number(), &ended.tally, started.elapsed());
    show(&report, args.json, config.quiet)?;
    conclude(ended)
}

/// The exit code of a run, its error printed by whoever prints errors.
pub(crate) fn conclude(ended: Ended) -> Result<ExitCode> {
    match ended.error {
        Some(error) => Err(error),
        None => Ok(ended.code),
    }
}

/// Stopped before anything was begun.
fn stopped(stop: &Stop) -> ExitCode {
    match stop.requested() {
        Some(crate::stop::Reason::Signal(signal)) => ExitCode::Signal(signal),
        _ => ExitCode::Partial,
    }
}

/// Listens for signals.
pub(crate) fn listen(max_runtime: Option<Duration>) -> Result<Stop> {
    Stop::listen(max_runtime).map_err(|cause| Error::new("start", "signals", cause))
}

/// What the row of a run says of its configuration.
fn manifest(run_id: &str, config: &FetchConfig) -> RunManifest {
    let url = match &config.urls {
        UrlSource::Template(template) => Some(template.as_str().to_owned()),
        UrlSource::Column(column) => Some(format!("column {column}")),
        UrlSource::None => None,
    };
    RunManifest {
        run_id: run_id.to_owned(),
        started_at: SystemTime::now(),
        workers: config.run.workers,
        url,
        // Absolute, so that the row means the same to whoever reads it; where there is no working directory, as given.
        dest: Some(std::path::absolute(&config.layout.dest).unwrap_or_else(|_| config.layout.dest.clone())),
        extension: Some(config.layout.extension.clone()),
        fanout: Some(config.layout.fanout),
        expect: Some(config.expect.word()),
        host: machine::host(),
    }
}

fn show(report: &FetchReport, json: bool, quiet: bool) -> Result<()> {
    if quiet && !json { Ok(()) } else { report::show(report, json, FetchReport::text) }
}

fn print_plan(config: &FetchConfig, pending: u64, expected: u64, first: Vec<PendingRow>, json: bool) -> Result<()> {
    let mut text = format!("would fetch {} of {} pending images\n", grouped(expected), grouped(pending));
    for PendingRow { id, url, .. } in first {
        let Ok(guid) = crate::guid::Guid::new(id) else { continue };
        let url =
            url.map(String::from).or_else(|| config.template().map(|template| template.url(&guid))).unwrap_or_default();
        text.push_str(&format!("  {url} -> {}\n", config.layout.path(&guid).display()));
    }
    let plan = serde_json::json!({"dry_run": true, "pending": pending, "would_fetch": expected});
    report::show(&plan, json, |_| text)
}

fn status(args: cli::Status) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?;
    let (standing, mut runs) = books.read(place.lock_wait, |window| {
        let shape = window.shape()?;
        Ok((window.standing(&shape, args.condition.as_deref())?, window.last_runs(LAST_RUNS)?))
    })?;
    let host = machine::host();
    for run in runs.iter_mut().filter(|run| run.status == "running") {
        let here = run.host.as_deref() == Some(&host);
        run.lives = if here { run.pid.is_some_and(machine::is_alive) } else { run.silent_for < DAY };
    }
    let running = runs.iter().find(|run| run.lives).map(Running::new);
    let report = StatusReport::new(standing, running, runs);
    report::show(&report, args.json, |report| report.text())?;
    Ok(ExitCode::Done)
}

fn load(args: cli::Load) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let sources: Vec<_> = args.sources.into_iter().map(Source::new).collect();
    let new = !place.file.exists();
    let loaded = warehouse::load(&place.file, &place.tables, &sources, place.lock_wait);
    if loaded.is_err() && new {
        store::discard_warehouse(&place.file);
    }
    let summary = LoadSummary::new(&loaded?);
    report::show(&summary, args.json, |summary| summary.text())?;
    Ok(ExitCode::Done)
}
