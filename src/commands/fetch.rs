//! `toller fetch`: the main job. Puts its parts together, and says what came of it.

use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use crate::books::{self, Beginning};
use crate::ending::{Ending, Reason};
use crate::error::{Error, ExitCode, Result};
use crate::machine;
use crate::manifest::{RunManifest, new_run_id};
use crate::run::{self, Watch};
use crate::store::Share;
use crate::tally::Tally;
use crate::terminal::{FetchReport, grouped, left_alone, show};
use crate::text::shown;
use crate::warehouse::{Effort, Failed, PendingRow, Selection, UrlSource, Warehouse};

use super::options::{FetchConfig, OriginArgs, Typed, WarehouseArgs, WarehouseConfig, age};
use super::output::must_be_another;
use super::session::{Session, stopped};

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller fetch --warehouse images.duckdb --dest thumbs \\
      --url 'https://cdn.example.com/thumbs/{guid}.jpg'
  toller fetch --warehouse images.duckdb --dest thumbs --extension jpg \\
      --url-column thumb_url --limit 100
  toller fetch -n --warehouse images.duckdb --dest thumbs \\
      --url 'https://cdn.example.com/{guid}'
  TOLLER_WAREHOUSE=images.duckdb toller fetch --url … --dest thumbs --json";

/// `toller fetch`
#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub origin: OriginArgs,
    /// Take each image's URL from this column instead of --url
    #[arg(long, value_name = "NAME")]
    pub url_column: Option<String>,
    /// A further condition on the pending rows
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Also ask again for what was last seen longer ago than this (7d, 12h)
    #[arg(long, value_name = "AGE")]
    pub refresh: Option<String>,
    /// Keep no table of what is home
    #[arg(long)]
    pub no_file_table: bool,
    /// Also fetch what failed for good in an earlier run; with an age (7d, 12h), only what failed longer ago than that
    #[arg(long, value_name = "AGE", num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    pub retry_failed: Option<String>,
    /// The summary as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// Carries out `toller fetch`.
///
/// # Errors
/// Whatever kept it from its end.
pub fn fetch(args: FetchArgs, typed: &Typed) -> Result<ExitCode> {
    let started = Instant::now();
    let mut place = WarehouseConfig::new(args.warehouse)?;
    place.tables.keep_files = !args.no_file_table;
    if args.no_file_table && args.refresh.is_some() {
        let cause = "it does not go with --no-file-table, which keeps nothing to compare with";
        return Err(Error::usage("--refresh", cause));
    }
    let config = FetchConfig::new(args.origin, args.url_column, None, typed, Duration::from_secs(10))?;
    if config.urls == UrlSource::None {
        return Err(Error::usage("--url", "it is required, unless --url-column is given")
            .with_way_out("such as: --url 'https://cdn.example.com/thumbs/{guid}.jpg'"));
    }
    if let Some(list) = &config.failed_list {
        must_be_another("--failed-list", list, &[("the warehouse", &place.file)])?;
    }
    let mut session = Session::open(&config)?;
    let warehouse = Warehouse::new(place.file, place.tables, Effort::Beside)?;
    let run_id = new_run_id(SystemTime::now());
    let selection = Selection {
        condition: args.condition.map(|sql| warehouse.condition(sql)).transpose()?,
        urls: config.urls.clone(),
        failed: failed(args.retry_failed.as_deref())?,
        run_id: run_id.clone(),
        refresh: args.refresh.as_deref().map(|given| age("--refresh", given).map(ago)).transpose()?,
    };
    let look = books::look(&warehouse, &selection, place.lock_wait, &session.stop, &mut session.progress)?;
    let Some(look) = look else { return Ok(stopped(&session.stop)) };
    let pending = look.pending();
    let expected = pending.min(config.limit.unwrap_or(u64::MAX));
    if config.dry_run {
        let shown = usize::try_from(expected).map_or(3, |expected| expected.min(3));
        let (first, alone) = (look.first(&selection, shown)?, look.left_alone(&selection)?);
        drop(look);
        print_plan(&config, pending, expected, first, &alone, args.json)?;
        return Ok(ExitCode::Done);
    }
    let manifest = manifest(&run_id, &config);
    if expected == 0 {
        session.list_failed(&config)?;
        let tally = Tally { pending, ..Tally::default() };
        let alone = look.left_alone(&selection)?;
        look.leave(&manifest, place.lock_wait)?;
        session.progress.close_list()?;
        let report = FetchReport::new(None, &Ending::Home, &tally, started.elapsed());
        say(&report.leaving_alone(alone), args.json, config.quiet)?;
        return Ok(ExitCode::Done);
    }
    if let Some(notice) = look.notice() {
        session.progress.notice(notice);
    }
    let files = session.store(&config, &run_id, Share::Alone)?;
    session.list_failed(&config)?;
    let beginning = Beginning {
        run: &manifest,
        limit: config.limit,
        holds_lock: files.warning().is_none(),
        lock_wait: place.lock_wait,
    };
    let ledger = look.begin(selection, beginning, &session.stop, &mut session.progress)?;
    let Some(mut ledger) = ledger else { return Ok(stopped(&session.stop)) };
    let images = if expected == 1 { "image" } else { "images" };
    session.say_what_begins(&config, &format!("{} {images}", grouped(expected)), &run_id);
    let (tools, stop, mut progress) = session.tools(&config, files);
    let settings = run::Settings { expected: Some(expected), ..config.run.clone() };
    let ended = run::run(&mut ledger, tools, &settings, &stop, &mut progress, pending);
    // Also where the books are broken: what failed is known.
    let closed = progress.close();
    let (tally, ending) = ended?;
    let examples = closed?;
    let report = FetchReport::new(Some(run_id), &ending, &tally, started.elapsed()).with_examples(examples);
    let said = say(&report, args.json, config.quiet);
    // A terminal that goes away takes its stdout with it.
    if !matches!(ending, Ending::Asked(Reason::Signal(_))) {
        said?;
    }
    ending.conclude()
}

/// What `--retry-failed` says: an age, or a switch, which is how the environment gives it.
fn failed(option: Option<&str>) -> Result<Failed> {
    match option.map(str::to_ascii_lowercase).as_deref() {
        None | Some("0" | "n" | "no" | "f" | "false" | "off") => Ok(Failed::LeaveOut),
        Some("1" | "y" | "yes" | "t" | "true" | "on") => Ok(Failed::Take),
        Some(_) => {
            let age = age("--retry-failed", option.unwrap_or_default())?;
            Ok(Failed::LeaveOutSince(ago(age)))
        }
    }
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

fn say(report: &FetchReport, json: bool, quiet: bool) -> Result<()> {
    if quiet && !json { Ok(()) } else { show(report, json, FetchReport::text) }
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
    show(&plan, json, |_| text)
}

fn ago(age: Duration) -> SystemTime {
    SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}
