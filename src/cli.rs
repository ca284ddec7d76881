//! The command line as it is typed: names, values and help, nothing decided.
//!
//! `config` turns it into what the program works with; only there are defaults combined and values checked
//! against each other.

mod examples;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Result};

use examples::{
    EXAMPLES, FETCH_EXAMPLES, LOAD_EXAMPLES, MERGE_EXAMPLES, PENDING_EXAMPLES, PIPE_EXAMPLES, STATUS_EXAMPLES,
    VERIFY_EXAMPLES,
};

const ABOUT: &str = "Brings every missing thumbnail of a DuckDB warehouse home from one HTTPS origin";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "toller", version, long_version = long_version(), about = ABOUT, before_help = EXAMPLES, max_term_width = 100)]
#[command(after_help = "Every option can also come from the environment, as TOLLER_ and its name: TOLLER_NO_SYNC=1.")]
#[command(disable_help_subcommand = true, arg_required_else_help = false, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The seven commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch what is pending: the main job
    #[command(before_help = FETCH_EXAMPLES)]
    Fetch(Box<Fetch>),
    /// Say where things stand, also during a fetch
    #[command(before_help = STATUS_EXAMPLES)]
    Status(Box<Status>),
    /// Make or extend a warehouse from CSV, TSV, Parquet, JSON or plain text
    #[command(before_help = LOAD_EXAMPLES)]
    Load(Box<Load>),
    /// Hold the warehouse against the disk, both ways
    #[command(before_help = VERIFY_EXAMPLES)]
    Verify(Box<Verify>),
    /// Print what is missing, one GUID a line
    #[command(before_help = PENDING_EXAMPLES)]
    Pending(Box<Pending>),
    /// Fetch GUIDs from standard input, without a warehouse
    #[command(before_help = PIPE_EXAMPLES)]
    Pipe(Box<Pipe>),
    /// Bring outcomes of `pipe` home into the warehouse
    #[command(before_help = MERGE_EXAMPLES)]
    Merge(Box<Merge>),
}

/// The warehouse and the names in it.
#[derive(Debug, Args)]
pub struct WarehouseArgs {
    /// The DuckDB file
    #[arg(long, value_name = "FILE")]
    pub warehouse: PathBuf,
    /// How long to wait for the warehouse when another program has it
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub lock_wait: f64,
    /// The table of images; schema.table is split at the dot
    #[arg(long, value_name = "NAME", default_value = "dim_image")]
    pub table: String,
    /// Its column of GUIDs
    #[arg(long, value_name = "NAME", default_value = "source_image_id")]
    pub id_column: String,
    /// Its column that says whether the thumbnail is home
    #[arg(long, value_name = "NAME", default_value = "thumb_downloaded")]
    pub done_column: String,
    /// Its column that says when that changed [default: updated_at, where there is one]
    #[arg(long, value_name = "NAME")]
    pub updated_column: Option<String>,
    /// The table of runs [default: run_manifest]
    #[arg(long, value_name = "NAME")]
    pub manifest_table: Option<String>,
    /// The table of what stands failed
    #[arg(long, value_name = "NAME", default_value = "thumb_failure")]
    pub failure_table: String,
}

/// Where to get images from, how, and where to put them: what `fetch` and `pipe` share.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct OriginArgs {
    /// The URL of an image, with {guid} in it
    #[arg(long, value_name = "TEMPLATE")]
    pub url: Option<String>,
    /// The folder for the files; made if missing
    #[arg(long, value_name = "DIR")]
    pub dest: PathBuf,
    /// What follows the GUID in a file's name [default: from the path of --url]
    #[arg(long, value_name = "EXT")]
    pub extension: Option<String>,
    /// Levels of folders, two characters of the GUID each
    #[arg(long, value_name = "N", default_value = "0")]
    pub fanout: u8,
    /// Threads = connections = requests in flight, 1 to 64
    #[arg(long, value_name = "N", default_value = "3")]
    pub workers: usize,
    /// At most so many requests a second, over all workers
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// At most so many body bytes a second (2M, 500k)
    #[arg(long, value_name = "BYTES")]
    pub bandwidth: Option<String>,
    /// Further attempts for transient failures
    #[arg(long, value_name = "N", default_value = "4")]
    pub retries: u32,
    /// For one attempt, from connect to last byte
    #[arg(long, value_name = "SECONDS", default_value = "20")]
    pub timeout: f64,
    /// For connecting, the TLS handshake included
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub connect_timeout: f64,
    /// A larger body is a failure
    #[arg(long, value_name = "BYTES", default_value = "20M")]
    pub max_bytes: String,
    /// What counts as a good body
    #[arg(long, value_name = "WHAT", default_value = "image")]
    pub expect: ExpectArg,
    /// At most so many images this run
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Stop cleanly after this long
    #[arg(long, value_name = "SECONDS")]
    pub max_runtime: Option<f64>,
    /// Stop when more than this share of the last 100 failed; 100 is never
    #[arg(long, value_name = "PERCENT", default_value = "50")]
    pub max_failure_rate: f64,
    /// Record so many outcomes at once
    #[arg(long, value_name = "N", default_value = "1000")]
    pub batch: usize,
    /// Record at least this often
    #[arg(long, value_name = "SECONDS")]
    pub batch_seconds: Option<f64>,
    /// Skip making files durable before they are recorded
    #[arg(long)]
    pub no_sync: bool,
    /// A header line for the origin; secrets belong in --header-file
    #[arg(long, value_name = "'Name: value'")]
    pub header: Vec<String>,
    /// Header lines for the origin, one a line
    #[arg(long, value_name = "FILE")]
    pub header_file: Option<PathBuf>,
    /// How toller calls itself
    #[arg(long, value_name = "TEXT", default_value = concat!("toller/", env!("CARGO_PKG_VERSION")))]
    pub user_agent: String,
    /// PEM roots on top of the others
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// The client's own certificate, PEM, for origins that ask for one
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM [default: in the file of --cert]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Through this proxy [default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, less NO_PROXY]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// How to show progress, on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressArg,
    /// No progress, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// A line for each failure
    #[arg(long, short)]
    pub verbose: bool,
    /// Say what would be fetched; touch nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Write the GUIDs that failed, one a line
    #[arg(long, value_name = "FILE")]
    pub failed_list: Option<PathBuf>,
}

/// `toller fetch`
#[derive(Debug, Args)]
pub struct Fetch {
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
    /// Also fetch what failed for good in an earlier run
    #[arg(long)]
    pub retry_failed: bool,
    /// The summary as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `toller pipe`
#[derive(Debug, Args)]
pub struct Pipe {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub origin: OriginArgs,
}

/// `toller status`
#[derive(Debug, Args)]
pub struct Status {
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

/// `toller load`
#[derive(Debug, Args)]
pub struct Load {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    /// Files of GUIDs; - is standard input, one GUID a line
    #[arg(value_name = "GUIDS", required = true)]
    pub sources: Vec<PathBuf>,
    /// Whether the first line of a CSV or TSV is a header; auto: where it holds the id column's name
    #[arg(long, value_name = "WHETHER", default_value = "auto")]
    pub has_header: HeaderArg,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `--has-header`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeaderArg {
    /// Where it holds the id column's name
    Auto,
    /// It is one
    Yes,
    /// It is an entry like the others
    No,
}

/// How files are called: for the commands that can also take it from the last run.
#[derive(Debug, Args)]
pub struct LayoutArgs {
    /// The folder of the files [default: that of the table's last run]
    #[arg(long, value_name = "DIR")]
    pub dest: Option<PathBuf>,
    /// What follows the GUID in a file's name [default: that of the table's last run]
    #[arg(long, value_name = "EXT")]
    pub extension: Option<String>,
    /// Levels of folders [default: that of the table's last run]
    #[arg(long, value_name = "N")]
    pub fanout: Option<u8>,
    /// What counts as a good file [default: that of the table's last run]
    #[arg(long, value_name = "WHAT")]
    pub expect: Option<ExpectArg>,
}

/// `toller verify`
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// Make the warehouse true: what is missing or corrupt is pending again, what is there is done
    #[arg(long)]
    pub fix: bool,
    /// Fix even where more than half of what is done would be pending again
    #[arg(long)]
    pub yes: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `toller pending`
#[derive(Debug, Args)]
pub struct Pending {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    /// A further condition on the pending rows
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Print only part K of N; auto takes it from Slurm or Kubernetes
    #[arg(long, value_name = "K/N")]
    pub shard: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print GUID, tab and the URL in this column
    #[arg(long, value_name = "NAME")]
    pub url_column: Option<String>,
}

/// `toller merge`
#[derive(Debug, Args)]
pub struct Merge {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// What `pipe` printed, gzipped or not; - is standard input
    #[arg(value_name = "OUTCOMES", required = true)]
    pub sources: Vec<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `--expect`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpectArg {
    /// A whole image
    Image,
    /// Whatever is delivered whole
    Any,
}

/// `--progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// A bar on a terminal, else lines
    Auto,
    /// A bar
    Bar,
    /// A line every 10 seconds
    Lines,
    /// Nothing
    None,
}

/// What `--version` says beyond `-V`: the parts that decide what this binary reads, writes and trusts.
fn long_version() -> String {
    // The duckdb crate 1.20000.1 is DuckDB 2.0.0: five digits, of the major, the minor and the patch version.
    let duckdb = locked("duckdb").split('.').nth(1).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or_default();
    let duckdb = format!("{}.{}.{}", duckdb / 10_000, duckdb / 100 % 100, duckdb % 100);
    let build = option_env!("TOLLER_BUILD").unwrap_or("from source, not a release");
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let (version, rustls, arch) = (env!("CARGO_PKG_VERSION"), locked("rustls"), std::env::consts::ARCH);
    format!("{version}\nduckdb {duckdb}\nrustls {rustls}\nbuild  {build}, {arch}, {linked}")
}

/// The version of a dependency, from the lock file, which is what decided it.
fn locked(name: &str) -> &'static str {
    let lines = include_str!("../Cargo.lock").lines();
    let version = lines.skip_while(|line| line.strip_prefix("name = ") != Some(&format!("\"{name}\""))).nth(1);
    version.and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
}

/// The command line's definition, each option with its place in the environment.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        command.mut_args(|arg| {
            let Some(name) = arg.get_long().filter(|name| *name != "help") else { return arg };
            let name = format!("TOLLER_{}", name.to_uppercase().replace('-', "_"));
            // A switch in the environment is on unless its value says no.
            let arg = match arg.get_action() {
                ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
                _ => arg,
            };
            // An empty variable is how a script says "not given".
            if std::env::var_os(&name).is_some_and(|value| !value.is_empty()) {
                arg.env(name).hide_env(true)
            } else {
                arg
            }
        })
    })
}

/// What the arguments came to.
#[derive(Debug)]
pub enum Parsed {
    /// A command to carry out, and where some of its values came from.
    Command(Command, Origins),
    /// Help or version, to be printed.
    Text(String),
}

/// Which of two values that exclude each other were typed, for "flags win" over the environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origins {
    /// `--url` was typed.
    pub url_typed: bool,
    /// `--url-column` was typed.
    pub url_column_typed: bool,
}

/// Reads the arguments and the environment.
///
/// # Errors
/// A wrong command line, in one line.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Parsed> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Parsed::Text(error.render().to_string())),
        Err(error) => return Err(usage(&error)),
    };
    let typed = |name: &str| {
        let (_, sub) = matches.subcommand()?;
        let source = sub.try_contains_id(name).ok().filter(|there| *there).and_then(|_| sub.value_source(name))?;
        Some(source == clap::parser::ValueSource::CommandLine)
    };
    let origins =
        Origins { url_typed: typed("url").unwrap_or(false), url_column_typed: typed("url_column").unwrap_or(false) };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    Ok(Parsed::Command(cli.command, origins))
}

/// clap's message in one line, and where to look.
fn usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let message: Vec<_> =
        text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let message = message.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).split("  tip:").next().unwrap_or_default().trim();
    let names = ["fetch", "status", "load", "verify", "pending", "pipe", "merge"];
    // Not `args`, which panics at what is no UTF-8.
    let first = std::env::args_os().nth(1);
    let command = names.iter().find(|name| first.as_ref().is_some_and(|first| first == **name));
    let command = command.map(|name| format!(" {name}")).unwrap_or_default();
    Error::usage(format!("toller{command}"), message).with_way_out(format!("see toller{command} --help"))
}
