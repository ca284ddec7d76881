//! `toller man`: the man page, from the definition of the arguments.
//!
//! Options that several commands take alike are told once, at the first of them, and named at the others.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Command};
use roff::{Inline, Roff, bold, italic, roman};

use crate::error::{ExitCode, Result};
use crate::terminal::print;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller man | man -l -
  toller man > ~/.local/share/man/man1/toller.1";

/// Carries out `toller man`.
///
/// # Errors
/// The page cannot be printed.
pub fn man(command: Command) -> Result<ExitCode> {
    print(&page(command, ""))?;
    Ok(ExitCode::Done)
}

const DESCRIPTION: &[&str] = &[
    "A DuckDB warehouse lists images by GUID; their thumbnails lie on one HTTPS origin. toller fetches every thumbnail \
     that is still missing, over a few connections that it keeps, checks that each is a whole image, writes it \
     atomically, and records in the warehouse what came of it, in batches.",
    "It can be killed at any instant and started again. The warehouse is open only in short windows, so that other \
     programs can use it while toller runs.",
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Nothing is pending any more, or only known permanent failures are."),
    (
        "1",
        "The run could not go on: no such table, disk full, bad certificate file, too many failures. Read the message.",
    ),
    ("2", "The command line is wrong."),
    (
        "3",
        "Some GUIDs failed in a way that may pass, or --max-runtime or a long Retry-After ended the run; of verify: warehouse \
         and disk do not agree. Run again later.",
    ),
    ("4", "Some GUIDs failed for good, none in a way that may pass. Look at them, with --failed-list."),
    ("75", "The warehouse stayed locked for --lock-wait, or another run has the destination. Run again later."),
    ("129, 130, 143", "Stopped by SIGHUP, SIGINT or SIGTERM, with everything recorded. Run again."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "TOLLER_*",
        "Every option of every command, as TOLLER_ and its name in capitals with _ for -: TOLLER_WAREHOUSE, TOLLER_NO_SYNC=1. \
         Options that are typed win; an empty variable is none; a switch is on unless its value is 0, false, no or off.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Trust roots in place of the system's. Without either, a bundled set of Mozilla's is used.",
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "The proxy for https, for http and for both, unless --proxy names one, and the hosts that need none.",
    ),
    ("NO_COLOR, TERM", "With NO_COLOR, or TERM=dumb, nothing but plain text is printed."),
];

const FILES: &[(&str, &str)] = &[
    ("DEST/.toller/lock", "Held by the one fetch or verify --fix that runs in DEST."),
    ("DEST/.toller/RUN_ID/", "Files that are not whole yet. Those of killed runs are swept by the next one."),
    ("DEST/.toller/corrupt/", "What verify --fix moved out of the way."),
    ("/etc/toller/NAME.env", "Settings of toller@NAME.timer, where the Debian package is installed."),
];

/// The whole page, in the macros of man(7).
#[must_use]
pub fn page(mut command: Command, date: &str) -> String {
    command.build();
    let mut page = Roff::new();
    let source = format!("toller {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["TOLLER", "1", date, &source, "User Commands"]);
    // No hyphens that are not there: an option must be found by a search for it.
    page.control("nh", []);
    page.control("SH", ["NAME"]);
    let about = about(&command);
    let (first, rest) = about.split_at(1);
    page.text([roman(format!("toller - {}{rest}", first.to_lowercase()))]);
    page.control("SH", ["SYNOPSIS"]);
    for command in commands(&command) {
        page.text(synopsis(command));
        page.control("br", []);
    }
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        page.control("PP", []);
        page.text([roman(*paragraph)]);
    }
    page.control("PP", []);
    page.text([roman(
        "A single - means standard input or standard output wherever a file does. Results go to standard output, \
         messages and progress to standard error.",
    )]);
    page.control("SH", ["COMMANDS"]);
    let mut told = BTreeMap::new();
    for command in commands(&command) {
        write_command(&mut page, command, &mut told);
    }
    for (title, rows) in [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)] {
        page.control("SH", [title]);
        for (head, text) in rows {
            page.control("TP", []);
            page.text([bold(*head)]);
            page.text([roman(*text)]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("curl"), roman("(1), "), bold("duckdb"), roman("(1), "), bold("systemd.timer"), roman("(5)")]);
    page.render()
}

fn commands(toller: &Command) -> impl Iterator<Item = &Command> {
    toller.get_subcommands()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && arg.get_id() != "help")
}

fn synopsis(command: &Command) -> Vec<Inline> {
    let mut line = vec![bold(format!("toller {}", command.get_name()))];
    // One of --url and --url-column is required; the usual one stands for both.
    for arg in options(command).filter(|arg| arg.is_required_set() || arg.get_id() == "url") {
        line.extend([roman(" "), bold(format!("--{}", long(arg))), roman(" "), italic(value(arg))]);
    }
    line.extend([roman(" ["), italic("OPTION"), roman("]...")]);
    for arg in command.get_positionals() {
        line.extend([roman(" "), italic(value(arg)), roman(dots(arg))]);
    }
    line
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// What stands behind an argument that can be given several times.
fn dots(arg: &Arg) -> &'static str {
    if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" }
}

fn value(arg: &Arg) -> String {
    arg.get_value_names().and_then(|names| names.first()).map_or_else(String::new, ToString::to_string)
}

/// A command's options, in full where they are new, by name where an earlier command has the same.
fn write_command(page: &mut Roff, command: &Command, told: &mut BTreeMap<String, String>) {
    page.control("SS", [format!("toller {}", command.get_name()).as_str()]);
    page.text([roman(format!("{}.", about(command)))]);
    let mut same: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arg in options(command) {
        let known = format!("{:?} {} {:?}", arg.get_long(), sentence(arg), arg.get_default_values());
        if let Some(teller) = told.get(&known) {
            same.entry(teller.clone()).or_default().push(format!("--{}", long(arg)));
            continue;
        }
        told.insert(known, command.get_name().to_owned());
        write_option(page, arg);
    }
    for arg in command.get_positionals() {
        page.control("TP", []);
        page.text([italic(value(arg)), roman(dots(arg))]);
        page.text([roman(sentence(arg))]);
    }
    for (teller, names) in same {
        page.control("PP", []);
        let mut line = vec![roman("As for "), bold(format!("toller {teller}")), roman(": ")];
        for (nth, name) in names.iter().enumerate() {
            line.extend([roman(if nth == 0 { "" } else { ", " }), bold(name)]);
        }
        line.push(roman("."));
        page.text(line);
    }
    let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    page.control("PP", []);
    page.text([roman("Examples:")]);
    page.control("PP", []);
    page.control("RS", ["2"]);
    page.control("nf", []);
    for line in examples.lines().skip(1) {
        page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    page.control("fi", []);
    page.control("RE", []);
}

fn write_option(page: &mut Roff, arg: &Arg) {
    let mut head = Vec::new();
    if let Some(short) = arg.get_short() {
        head.extend([bold(format!("-{short}")), roman(", ")]);
    }
    head.push(bold(format!("--{}", long(arg))));
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        head.extend([roman(" "), italic(value(arg))]);
    }
    page.control("TP", []);
    page.text(head);
    let mut text = sentence(arg);
    if matches!(arg.get_action(), ArgAction::Append) {
        text.push_str(" Can be given several times.");
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue) {
        text.push_str(&format!(" Default: {}.", defaults.join(" ")));
    }
    page.text([roman(text)]);
    let values: Vec<_> =
        if matches!(arg.get_action(), ArgAction::SetTrue) { Vec::new() } else { arg.get_possible_values() };
    for value in values {
        page.control("RS", []);
        page.control("TP", ["8"]);
        page.text([bold(value.get_name())]);
        page.text([roman(format!("{}.", value.get_help().map(ToString::to_string).unwrap_or_default()))]);
        page.control("RE", []);
    }
}

/// The help of an option as a sentence; `[default: …]` at its end is one more.
fn sentence(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((help, default)) => format!("{help}. Default: {}.", default.trim_end_matches(']')),
        None => format!("{help}."),
    }
}
