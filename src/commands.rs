//! One function a command: puts the parts together, and says what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::cli::{self, Command, Origins};
use crate::config::{FetchConfig, WarehouseConfig};
use crate::error::{Error, ExitCode, Result};
use crate::ledger::{self, Beginning};
use crate::machine;
use crate::manifest::{RunManifest, Status, Tally, is_dead, new_run_id};
use crate::origin::Origin;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::report::{self, FetchReport, LoadSummary, Running, StatusReport, grouped, left_alone};
use crate::run::{self, Ended, Watch};
use crate::stop::{Stop, survive_file_limits};
use crate::store::{self, Making, Share, Store};
use crate::text::shown;
use crate::warehouse::{self, Effort, PendingRow, Selection, Source, UrlSource, Warehouse};
use crate::worker::Tools;
use crate::{merge, pending, pipe, verify};

/// How many runs `status` shows.
const LAST_RUNS: usize = 5;

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
        condition: args.condition.map(|sql| books.condition(sql)).transpose()?,
        urls: config.urls.clone(),
        skip_failed: !args.retry_failed,
        run_id: run_id.clone(),
    };
    let look = ledger::look(&books, &selection, place.lock_wait, &stop)?;
    let Some(look) = look else { return Ok(stopped(&stop)) };
    let pending = look.pending();
    let expected = pending.min(config.limit.unwrap_or(u64::MAX));
    if config.dry_run {
        let (first, alone) = (look.first(&selection, 3)?, look.left_alone(&selection)?);
        drop(look);
        print_plan(&config, pending, expected, first, &alone, args.json)?;
        return Ok(ExitCode::Done);
    }
    progress.list_failed(config.failed_list.as_deref().map(store::create_list).transpose()?);
    let manifest = manifest(&run_id, &config);
    if expected == 0 {
        let tally = Tally { pending, ..Tally::default() };
        let alone = look.left_alone(&selection)?;
        look.leave(&manifest, place.lock_wait)?;
        let report = FetchReport::new(None, Status::Complete, 0, &tally, started.elapsed());
        show(&report.leaving_alone(alone), args.json, config.quiet)?;
        return Ok(ExitCode::Done);
    }
    if let Some(notice) = look.notice() {
        progress.notice(notice);
    }
    let files = Store::open(config.layout.clone(), &run_id, Share::Alone, config.sync)?;
    if let Some(warning) = files.warning() {
        progress.notice(warning);
    }
    let beginning = Beginning {
        run: &manifest,
        limit: config.limit,
        holds_lock: files.warning().is_none(),
        lock_wait: place.lock_wait,
    };
    let Some(mut ledger) = look.begin(selection, beginning, &stop)? else { return Ok(stopped(&stop)) };
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

fn print_plan(
    config: &FetchConfig,
    pending: u64,
    expected: u64,
    first: Vec<PendingRow>,
    alone: &[(String, u64)],
    json: bool,
) -> Result<()> {
    let mut text = format!("would fetch {} of {} images{}\n", grouped(expected), grouped(pending), left_alone(alone));
    for PendingRow { id, url, .. } in first {
        let Ok(guid) = crate::guid::Guid::new(id) else { continue };
        let url = url.map(String::from).or_else(|| config.template().map(|template| template.recorded_url(&guid)));
        let url = url.unwrap_or_default();
        let file = config.layout.path(&guid);
        text.push_str(&format!("  {} -> {}\n", shown(&url), shown(&file.display().to_string())));
    }
    let plan = serde_json::json!({"dry_run": true, "pending": pending, "would_fetch": expected});
    report::show(&plan, json, |_| text)
}

fn status(args: cli::Status) -> Result<ExitCode> {
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
    report::show(&report, args.json, |report| report.text())?;
    Ok(ExitCode::Done)
}

fn load(args: cli::Load) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let sources: Vec<_> = args.sources.into_iter().map(Source::new).collect();
    let header = args.has_header.into();
    warehouse::may_be_warehouse(&place.file)?;
    // What is not there yet is made beside its place, and gets its name when it is whole.
    let making = Making::begin(&place.file, place.lock_wait)?;
    let file = making.as_ref().map_or(place.file.as_path(), Making::file);
    let loaded = warehouse::load(file, &place.tables, &sources, header, place.lock_wait);
    let report = loaded.map_err(|error| error.about(file, &place.file))?;
    making.map_or(Ok(()), Making::publish)?;
    report.notices.iter().for_each(|notice| report::print_notice(notice));
    let summary = LoadSummary::new(&report);
    report::show(&summary, args.json, |summary| summary.text())?;
    Ok(ExitCode::Done)
}
