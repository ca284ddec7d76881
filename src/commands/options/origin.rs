//! Where to get images from, how, and where to put them: what `fetch` and `pipe` are told alike.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::facts::Sha256;
use crate::guid::UrlTemplate;
use crate::origin::{self, Proxies, ProxyUrl};
use crate::run::{self, Expect};
use crate::store::Layout;
use crate::terminal::Style;
use crate::warehouse::UrlSource;

use super::super::output::must_be_another;
use super::files::{headers, identity, one_stdin, roots};
use super::urls::{extension, extension_of, sample, urls};
use super::values::{between, bytes, time, whole};
use super::{ExpectArg, expect, layout};

/// Above so many workers toller warns: most origins would call it rude.
const MANY_WORKERS: usize = 16;

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
    /// At most so many body bytes a second (2M, 500k, 1.5MiB)
    #[arg(long, value_name = "BYTES")]
    pub bandwidth: Option<String>,
    /// Further attempts for transient failures
    #[arg(long, value_name = "N", default_value = "4")]
    pub retries: u32,
    /// For one attempt, from connect to last byte (90, 90s, 1h30m, 500ms; m is minutes)
    #[arg(long, value_name = "TIME", default_value = "20s")]
    pub timeout: String,
    /// For connecting, the TLS handshake included
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub connect_timeout: String,
    /// A larger body is a failure
    #[arg(long, value_name = "BYTES", default_value = "20M")]
    pub max_bytes: String,
    /// What counts as a good body
    #[arg(long, value_name = "WHAT", default_value = "image")]
    pub expect: ExpectArg,
    /// The digest that is kept of every file
    #[arg(long, value_name = "WHICH", default_value = "sha256")]
    pub digest: DigestArg,
    /// A body with this SHA-256 is a failure: a picture that stands for what is not there
    #[arg(long, value_name = "HEX")]
    pub reject_digest: Vec<String>,
    /// Stop when more than this share of the last 100 bodies are one and the same; 100 is never [default: 50]
    #[arg(long, value_name = "PERCENT")]
    pub max_same: Option<f64>,
    /// At most so many images this run
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Stop cleanly after this long
    #[arg(long, value_name = "TIME")]
    pub max_runtime: Option<String>,
    /// Stop when more than this share of 100 that were first tried in a row failed; 100 is never
    #[arg(long, value_name = "PERCENT", default_value = "50")]
    pub max_failure_rate: f64,
    /// Record so many outcomes at once
    #[arg(long, value_name = "N", default_value = "1000")]
    pub batch: usize,
    /// Record at least this often
    #[arg(long, value_name = "TIME")]
    pub batch_seconds: Option<String>,
    /// Skip making files durable before they are recorded
    #[arg(long)]
    pub no_sync: bool,
    /// A header line for the origin; secrets belong in --header-file
    #[arg(long, value_name = "'Name: value'")]
    pub header: Vec<String>,
    /// Header lines for the origin, one a line
    #[arg(long, value_name = "FILE")]
    pub header_file: Vec<PathBuf>,
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

/// `--digest`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestArg {
    /// As `sha256sum` prints it
    Sha256,
    /// None
    None,
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
    /// An object a line, for programs
    Json,
    /// Nothing
    None,
}

/// The options that were typed, by the names of their fields: they win over the environment, which may speak to other
/// commands as well.
#[derive(Debug, Clone, Default)]
pub struct Typed(pub Vec<String>);

impl Typed {
    /// Whether this one was.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|typed| typed == name)
    }
}

/// What `fetch` and `pipe` run with.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct FetchConfig {
    /// The HTTP side.
    pub origin: origin::Settings,
    /// The files.
    pub layout: Layout,
    /// Make files durable before they are recorded.
    pub sync: bool,
    /// The course of the run.
    pub run: run::Settings,
    /// Requests a second.
    pub rate: Option<f64>,
    /// Body bytes a second.
    pub bandwidth: Option<u64>,
    /// Where URLs come from.
    pub urls: UrlSource,
    /// What is good.
    pub expect: Expect,
    /// Keep the digest of each file.
    pub digest: bool,
    /// Pictures that stand for what is not there.
    pub placeholders: Vec<Sha256>,
    /// At most so many images.
    pub limit: Option<u64>,
    /// Stop after this long.
    pub max_runtime: Option<Duration>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// How progress is shown.
    pub style: Style,
    /// No progress, no summary.
    pub quiet: bool,
    /// A line for each failure.
    pub verbose: bool,
    /// Where failed GUIDs are listed.
    pub failed_list: Option<PathBuf>,
    /// What the user should know before it begins.
    pub warnings: Vec<String>,
}

impl FetchConfig {
    /// Takes the arguments; `url_column` is `fetch`'s alone, and `stdin` what `pipe` reads there.
    ///
    /// # Errors
    /// The first value that is wrong, absurd, or does not go with another.
    pub fn new(
        args: OriginArgs,
        url_column: Option<String>,
        stdin: Option<&str>,
        typed: &Typed,
        batch_time: Duration,
    ) -> Result<Self> {
        failed_list_must_be_another(&args)?;
        let files = args.header_file.iter().map(|file| ("--header-file", file));
        let files = files.chain(args.ca_cert.iter().map(|file| ("--ca-cert", file)));
        let files = files.chain(args.cert.iter().map(|file| ("--cert", file)));
        one_stdin(stdin, files.chain(args.key.iter().map(|file| ("--key", file))))?;
        let mut warnings = Vec::new();
        let urls = urls(args.url, url_column, typed, &mut warnings)?;
        let template = if let UrlSource::Template(template) = &urls { Some(template.clone()) } else { None };
        let extension = match args.extension {
            Some(given) => extension(&given)?,
            None => extension_of(&urls, args.expect, &mut warnings),
        };
        let workers = whole("--workers", args.workers, 1, 64)?;
        if workers > MANY_WORKERS {
            warnings.push(format!("--workers {workers}: most origins would call more than {MANY_WORKERS} rude"));
        }
        let timeout = time("--timeout", &args.timeout)?;
        let headers = headers(&args.header, &args.header_file)?;
        if template.is_none() && !headers.is_empty() {
            warnings.push("without --url, the lines of --header go to the host of every URL that is named".into());
        }
        Ok(Self {
            origin: origin::Settings {
                workers,
                timeout,
                connect_timeout: time("--connect-timeout", &args.connect_timeout)?.min(timeout),
                max_bytes: bytes("--max-bytes", &args.max_bytes)?,
                headers,
                headers_to: template.as_ref().and_then(sample),
                user_agent: user_agent(args.user_agent)?,
                roots: roots(
                    args.ca_cert,
                    template.as_ref().is_some_and(|template| template.as_str().starts_with("http:")),
                )?,
                identity: identity(args.cert, args.key)?,
                proxies: proxies(args.proxy),
            },
            layout: layout(args.dest, extension, args.fanout)?,
            sync: !args.no_sync,
            run: run::Settings {
                workers,
                retries: whole("--retries", args.retries, 0, 1000)?,
                batch: whole("--batch", args.batch, 1, 1_000_000)?,
                batch_time: match args.batch_seconds {
                    Some(text) => time("--batch-seconds", &text)?,
                    None => batch_time,
                },
                max_failure_rate: between("--max-failure-rate", args.max_failure_rate, 0.0, 100.0)?,
                max_same: max_same(args.max_same, args.digest)?,
                expected: None,
            },
            rate: args.rate.map(|rate| between("--rate", rate, 0.001, 1e6)).transpose()?,
            bandwidth: args.bandwidth.as_deref().map(|text| bytes("--bandwidth", text)).transpose()?,
            urls,
            expect: expect(args.expect),
            digest: args.digest == DigestArg::Sha256,
            placeholders: placeholders(&args.reject_digest, args.digest)?,
            limit: args.limit,
            max_runtime: args.max_runtime.map(|text| time("--max-runtime", &text)).transpose()?,
            dry_run: args.dry_run,
            style: style(args.progress, args.quiet),
            quiet: args.quiet,
            verbose: args.verbose,
            failed_list: args.failed_list,
            warnings,
        })
    }

    /// The template, where there is one.
    #[must_use]
    pub fn template(&self) -> Option<&UrlTemplate> {
        match &self.urls {
            UrlSource::Template(template) => Some(template),
            _ => None,
        }
    }
}

/// Whatever is to be written, no file that is read is lost.
fn failed_list_must_be_another(args: &OriginArgs) -> Result<()> {
    let Some(list) = &args.failed_list else { return Ok(()) };
    let headers = args.header_file.iter().map(|file| ("the file of --header-file", file));
    let keys = [
        ("the file of --ca-cert", &args.ca_cert),
        ("the file of --cert", &args.cert),
        ("the file of --key", &args.key),
    ];
    let keys = keys.into_iter().filter_map(|(what, file)| Some((what, file.as_ref()?)));
    let read: Vec<_> = headers.chain(keys).map(|(what, file)| (what, file.as_path())).collect();
    must_be_another("--failed-list", list, &read)
}

/// Reads `--reject-digest`.
///
/// # Errors
/// It is no SHA-256, or none is computed.
fn placeholders(given: &[String], digest: DigestArg) -> Result<Vec<Sha256>> {
    if digest == DigestArg::None && !given.is_empty() {
        return Err(Error::usage("--reject-digest", "it does not go with --digest none"));
    }
    super::digests(given)
}

/// Reads `--max-same`.
///
/// # Errors
/// It is no share, or there are no digests to tell bodies by.
fn max_same(given: Option<f64>, digest: DigestArg) -> Result<f64> {
    match given {
        Some(share) if digest == DigestArg::None && share < 100.0 => {
            Err(Error::usage("--max-same", "it does not go with --digest none"))
        }
        _ => between("--max-same", given.unwrap_or(50.0), 0.0, 100.0),
    }
}

fn user_agent(text: String) -> Result<String> {
    if text.chars().all(|c| matches!(c, ' '..='~')) {
        Ok(text)
    } else {
        Err(Error::usage("--user-agent", "it must be printable ASCII"))
    }
}

fn proxies(flag: Option<String>) -> Proxies {
    let from = |names: [&'static str; 2]| {
        let said = |by| Some(ProxyUrl { by, url: std::env::var(by).ok().filter(|value| !value.is_empty())? });
        names.into_iter().find_map(said)
    };
    let flag = flag.map(|url| ProxyUrl { by: "--proxy", url });
    let all = from(["all_proxy", "ALL_PROXY"]);
    let choose = |own: Option<ProxyUrl>| flag.clone().or(own).or_else(|| all.clone());
    Proxies {
        https: choose(from(["https_proxy", "HTTPS_PROXY"])),
        http: choose(from(["http_proxy", "HTTP_PROXY"])),
        exempt: from(["no_proxy", "NO_PROXY"]).map(|said| said.url),
    }
}

/// How progress is to be shown here.
#[must_use]
pub fn style(progress: ProgressArg, quiet: bool) -> Style {
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    match progress {
        _ if quiet => Style::None,
        ProgressArg::None => Style::None,
        ProgressArg::Json => Style::Json,
        ProgressArg::Auto | ProgressArg::Bar if terminal => Style::Bar,
        ProgressArg::Auto | ProgressArg::Bar | ProgressArg::Lines => Style::Lines,
    }
}
