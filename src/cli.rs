//! What was typed: the commands, the environment, and what is said of a wrong command line.

use std::any::TypeId;
use std::path::PathBuf;

use clap::builder::{FalseyValueParser, PathBufValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::options::Typed;
use crate::commands::{completions, fetch, load, man, merge, pending, pipe, report, status, verify};
use crate::error::{Error, ExitCode, Result};
use crate::run::stop::{end_as_first_process, survive_file_limits};

/// What `-h` begins with: the lines that most people want.
const EXAMPLES: &str = "\
Examples:
  toller load   --warehouse images.duckdb guids.csv
  toller fetch  --warehouse images.duckdb --dest thumbs \\
                --url 'https://cdn.example.com/thumbs/{guid}.jpg'
  toller status --warehouse images.duckdb
  toller report --warehouse images.duckdb
  toller verify --warehouse images.duckdb --fix";

const ABOUT: &str = "Brings every missing thumbnail of a DuckDB warehouse home from one HTTPS origin";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "toller", version, long_version = long_version(), about = ABOUT, before_help = EXAMPLES, max_term_width = 100)]
#[command(after_help = "Every option can also come from the environment, as TOLLER_ and its name: TOLLER_NO_SYNC=1.")]
#[command(arg_required_else_help = false, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch what is pending: the main job
    #[command(before_help = fetch::EXAMPLES)]
    Fetch(Box<fetch::FetchArgs>),
    /// Say where things stand, also during a fetch
    #[command(before_help = status::EXAMPLES)]
    Status(Box<status::StatusArgs>),
    /// Make or extend a warehouse from CSV, TSV, Parquet, JSON or plain text
    #[command(before_help = load::EXAMPLES)]
    Load(Box<load::LoadArgs>),
    /// Make one page to look at: what came home, what did not, how it went
    #[command(before_help = report::EXAMPLES)]
    Report(Box<report::ReportArgs>),
    /// Hold the warehouse against the disk, both ways
    #[command(before_help = verify::EXAMPLES)]
    Verify(Box<verify::VerifyArgs>),
    /// Print what is missing, one GUID a line
    #[command(before_help = pending::EXAMPLES)]
    Pending(Box<pending::PendingArgs>),
    /// Fetch GUIDs from standard input, without a warehouse
    #[command(before_help = pipe::EXAMPLES)]
    Pipe(Box<pipe::PipeArgs>),
    /// Bring outcomes of `pipe` home into the warehouse
    #[command(before_help = merge::EXAMPLES)]
    Merge(Box<merge::MergeArgs>),
    /// Print what completes toller's command line in a shell
    #[command(before_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
    /// Print the man page
    #[command(before_help = man::EXAMPLES)]
    Man,
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
        // As with curl, the last one counts.
        command.args_override_self(true).mut_args(|arg| {
            let arg = if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                arg.value_parser(PathBufValueParser::new().try_map(path))
            } else {
                arg
            };
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

/// A path as it was typed. A shell puts the home folder in the place of `~` only at the beginning of a word, so that
/// `--dest=~/x` would make a folder called `~`; no command makes or looks for one.
fn path(given: PathBuf) -> std::result::Result<PathBuf, String> {
    let text = given.to_string_lossy();
    match text.strip_prefix('~').and_then(|rest| rest.split_once('/')) {
        Some((_, below)) => Err(format!(
            "no shell has put a home folder in the place of ~; write \"$HOME/{below}\", or ./{text} for a file of that name"
        )),
        None => Ok(given),
    }
}

impl Command {
    /// Carries it out; `typed` says which of its values were.
    ///
    /// # Errors
    /// Whatever kept it from its end.
    pub fn carry_out(self, typed: &Typed) -> Result<ExitCode> {
        survive_file_limits().map_err(|cause| Error::new("start", "signals", cause))?;
        if !matches!(self, Self::Fetch(_) | Self::Pipe(_)) {
            // Those two have something to end in order.
            end_as_first_process().map_err(|cause| Error::new("start", "signals", cause))?;
        }
        match self {
            Self::Fetch(args) => fetch::fetch(*args, typed),
            Self::Status(args) => status::status(*args, typed),
            Self::Load(args) => load::load(*args),
            Self::Report(args) => report::report(*args),
            Self::Verify(args) => verify::verify(*args),
            Self::Pending(args) => pending::pending(*args),
            Self::Pipe(args) => pipe::pipe(*args, typed),
            Self::Merge(args) => merge::merge(*args),
            Self::Completions(args) => completions::completions(&args, command()),
            Self::Man => man::man(command()),
        }
    }
}

/// What the arguments came to.
#[derive(Debug)]
pub enum Parsed {
    /// A command to carry out, and where some of its values came from.
    Command(Command, Typed),
    /// Help or version, to be printed.
    Text(String),
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
    let given = matches.subcommand().map(|(_, given)| given);
    let typed = given.into_iter().flat_map(|given| given.ids().map(move |id| (given, id.as_str())));
    let typed = typed.filter(|(given, id)| given.value_source(id) == Some(ValueSource::CommandLine));
    let typed = Typed(typed.map(|(_, id)| id.to_owned()).collect());
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    Ok(Parsed::Command(cli.command, typed))
}

/// clap's message in one line, and where to look.
fn usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let message: Vec<_> =
        text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let message = message.join(" ");
    let mut parts = message.strip_prefix("error: ").unwrap_or(&message).split("  tip: ").map(str::trim);
    let message = parts.next().unwrap_or_default();
    // clap's guess at what was meant.
    let tip = parts.find(|tip| tip.contains(" exists")).map(|tip| format!("{tip}; ")).unwrap_or_default();
    // Not `args`, which panics at what is no UTF-8.
    let first = std::env::args_os().nth(1).filter(|first| Cli::command().find_subcommand(first).is_some());
    let command = first.map(|name| format!(" {}", name.display())).unwrap_or_default();
    Error::usage(format!("toller{command}"), message).with_way_out(format!("{tip}see toller{command} --help"))
}
