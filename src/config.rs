//! Arguments become one plain configuration before anything happens.
//!
//! Every default and every check of a value is here, and so is every look at the environment; nothing below reads
//! either again.

mod urls;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{ExpectArg, HeaderArg, LayoutArgs, OriginArgs, Origins, ProgressArg, WarehouseArgs};
use crate::error::{Error, Result};
use crate::guid::{Shard, UrlTemplate};
use crate::origin::{self, Identity, Proxies, Roots};
use crate::progress::Style;
use crate::run;
use crate::store::Layout;
use crate::warehouse::{HasHeader, Name, Tables, UrlSource};
use crate::worker::Expect;

use urls::{extension, extension_of, sample, urls};

/// Above so many workers toller warns: most origins would call it rude.
const MANY_WORKERS: usize = 16;

/// Which warehouse, and how patiently.
#[derive(Debug, Clone)]
pub struct WarehouseConfig {
    /// The DuckDB file.
    pub file: PathBuf,
    /// The names in it.
    pub tables: Tables,
    /// How long to wait for its lock.
    pub lock_wait: Duration,
}

impl WarehouseConfig {
    /// Takes the arguments.
    ///
    /// # Errors
    /// A wait that is no time, or an empty name.
    pub fn new(args: WarehouseArgs) -> Result<Self> {
        let names = [&args.table, &args.id_column, &args.done_column, &args.failure_table];
        if names.iter().any(|name| name.is_empty()) {
            return Err(Error::usage("a table or a column", "its name is empty"));
        }
        let tables = Tables {
            table: Name::parse(&args.table),
            id: args.id_column,
            done: args.done_column,
            updated_named: args.updated_column.is_some(),
            updated: args.updated_column.unwrap_or_else(|| "updated_at".into()),
            manifest_named: args.manifest_table.is_some(),
            manifest: Name::parse(args.manifest_table.as_deref().unwrap_or("run_manifest")),
            failure: Name::parse(&args.failure_table),
        };
        let lock_wait = seconds("--lock-wait", args.lock_wait, 0.0)?;
        Ok(Self { file: args.warehouse, tables, lock_wait })
    }
}

impl From<HeaderArg> for HasHeader {
    fn from(arg: HeaderArg) -> Self {
        match arg {
            HeaderArg::Auto => Self::Auto,
            HeaderArg::Yes => Self::Yes,
            HeaderArg::No => Self::No,
        }
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
    /// Takes the arguments; `url_column` is `fetch`'s alone.
    ///
    /// # Errors
    /// The first value that is wrong, absurd, or does not go with another.
    pub fn new(args: OriginArgs, url_column: Option<String>, origins: Origins, batch_seconds: f64) -> Result<Self> {
        let mut warnings = Vec::new();
        let urls = urls(args.url, url_column, origins, &mut warnings)?;
        let template = match &urls {
            UrlSource::Template(template) => Some(template.clone()),
            _ => None,
        };
        let extension = match args.extension {
            Some(given) => extension(&given)?,
            None => extension_of(&urls, args.expect, &mut warnings),
        };
        let workers = whole("--workers", args.workers, 1, 64)?;
        if workers > MANY_WORKERS {
            warnings.push(format!("--workers {workers}: most origins would call more than {MANY_WORKERS} rude"));
        }
        let timeout = seconds("--timeout", args.timeout, 0.001)?;
        let mut headers = Vec::new();
        for line in &args.header {
            headers.push(header(line).ok_or_else(|| Error::usage("--header", "it must be 'Name: value'"))?);
        }
        if let Some(file) = &args.header_file {
            headers.extend(header_file(file)?);
        }
        if template.is_none() && !headers.is_empty() {
            warnings.push("without --url, the lines of --header go to the host of every URL that is named".into());
        }
        Ok(Self {
            origin: origin::Settings {
                workers,
                timeout,
                connect_timeout: seconds("--connect-timeout", args.connect_timeout, 0.001)?.min(timeout),
                max_bytes: bytes("--max-bytes", &args.max_bytes)?,
                headers,
                headers_to: template.as_ref().and_then(sample),
                user_agent: user_agent(args.user_agent)?,
                roots: Roots {
                    spare: template.as_ref().is_some_and(|template| template.as_str().starts_with("http:")),
                    ca_cert: args.ca_cert,
                    file: path_from("SSL_CERT_FILE"),
                    dir: path_from("SSL_CERT_DIR"),
                },
                identity: identity(args.cert, args.key)?,
                proxies: proxies(args.proxy.as_deref()),
            },
            layout: layout(args.dest, extension, args.fanout)?,
            sync: !args.no_sync,
            run: run::Settings {
                workers,
                retries: whole("--retries", args.retries, 0, 1000)?,
                batch: whole("--batch", args.batch, 1, 1_000_000)?,
                batch_time: seconds("--batch-seconds", args.batch_seconds.unwrap_or(batch_seconds), 0.001)?,
                max_failure_rate: between("--max-failure-rate", args.max_failure_rate, 0.0, 100.0)?,
                expected: None,
            },
            rate: args.rate.map(|rate| between("--rate", rate, 0.001, 1e6)).transpose()?,
            bandwidth: args.bandwidth.as_deref().map(|text| bytes("--bandwidth", text)).transpose()?,
            urls,
            expect: expect(args.expect),
            limit: args.limit,
            max_runtime: args.max_runtime.map(|time| seconds("--max-runtime", time, 0.001)).transpose()?,
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

/// How files are called, from what was typed and, for the rest, from the table's last run.
///
/// # Errors
/// A wrong value, or a destination that nobody has named.
pub fn layout_like(args: LayoutArgs, last: Option<&crate::warehouse::RunRow>) -> Result<(Layout, Expect)> {
    let dest = args.dest.or_else(|| last.and_then(|run| run.dest.as_deref()).map(PathBuf::from));
    let dest = dest.ok_or_else(|| {
        Error::usage("--dest", "no run of this table has named a destination yet, so it must be given")
    })?;
    let extension = match args.extension {
        Some(given) => extension(&given)?,
        None => last.and_then(|run| run.extension.clone()).unwrap_or_default(),
    };
    let fanout = args.fanout.or_else(|| last.and_then(|run| u8::try_from(run.fanout).ok())).unwrap_or(0);
    let expect = match (args.expect, last.and_then(|run| run.expect.as_deref())) {
        (Some(given), _) => expect(given),
        (None, Some("any")) => Expect::Any,
        (None, _) => Expect::Image,
    };
    Ok((layout(dest, extension, fanout)?, expect))
}

/// Reads `--shard`: K/N, or `auto` for what Slurm or Kubernetes say of this process.
///
/// # Errors
/// Not of that form, no such part, or nobody says.
pub fn shard(text: &str) -> Result<Shard> {
    let (part, of) = if text == "auto" {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.trim().parse::<u32>().ok());
        // Slurm counts from any number and in any steps, Kubernetes from 0.
        let step = number("SLURM_ARRAY_TASK_STEP").unwrap_or(1).max(1);
        let least = number("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
        let slurm = number("SLURM_ARRAY_TASK_ID").zip(number("SLURM_ARRAY_TASK_COUNT"));
        let slurm = slurm.map(|(id, of)| ((id.saturating_sub(least) / step).checked_add(1), of));
        let index = number("JOB_COMPLETION_INDEX");
        let job = index.zip(number("JOB_COMPLETIONS")).map(|(index, of)| (index.checked_add(1), of));
        let nobody = match index {
            Some(_) => "JOB_COMPLETIONS is not set; Kubernetes leaves that to the job's manifest",
            None => "neither a Slurm array nor an Indexed Job says which part this is",
        };
        slurm.or(job).ok_or_else(|| Error::usage("--shard auto", nobody))?
    } else {
        let (part, of) = text.split_once('/').unwrap_or_default();
        (part.parse().ok(), of.parse().unwrap_or(0))
    };
    let shard = part.and_then(|part| Shard::new(part, of));
    shard.ok_or_else(|| Error::usage(format!("--shard {text}"), "it must be K/N with K from 1 to N"))
}

fn expect(arg: ExpectArg) -> Expect {
    match arg {
        ExpectArg::Image => Expect::Image,
        ExpectArg::Any => Expect::Any,
    }
}

fn identity(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Identity>> {
    match (cert, key) {
        (Some(cert), key) => Ok(Some(Identity { cert, key })),
        (None, Some(_)) => Err(Error::usage("--key", "it does not go without --cert")),
        (None, None) => Ok(None),
    }
}

fn layout(dest: PathBuf, extension: String, fanout: u8) -> Result<Layout> {
    if dest.as_os_str().is_empty() {
        return Err(Error::usage("--dest", "it is empty"));
    }
    Ok(Layout { dest, extension, fanout: whole("--fanout", fanout, 0, 8)? })
}

fn user_agent(text: String) -> Result<String> {
    if text.chars().all(|c| matches!(c, ' '..='~')) {
        Ok(text)
    } else {
        Err(Error::usage("--user-agent", "it must be printable ASCII"))
    }
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned())).filter(|(name, _)| !name.is_empty())
}

fn header_file(file: &Path) -> Result<Vec<(String, String)>> {
    let error = |cause: String| Error::new("header file", file.display(), cause);
    let text = std::fs::read_to_string(file).map_err(|cause| error(cause.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            header(line).ok_or_else(|| error(format!("line {}: it must be 'Name: value'", number + 1)))
        })
        .collect()
}

fn proxies(flag: Option<&str>) -> Proxies {
    let from =
        |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let all = from(["all_proxy", "ALL_PROXY"]);
    let choose = |own: Option<String>| flag.map(str::to_owned).or(own).or_else(|| all.clone());
    Proxies {
        https: choose(from(["https_proxy", "HTTPS_PROXY"])),
        http: choose(from(["http_proxy", "HTTP_PROXY"])),
        exempt: from(["no_proxy", "NO_PROXY"]),
    }
}

fn path_from(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn style(progress: ProgressArg, quiet: bool) -> Style {
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    match progress {
        _ if quiet => Style::None,
        ProgressArg::None => Style::None,
        ProgressArg::Auto | ProgressArg::Bar if terminal => Style::Bar,
        ProgressArg::Auto | ProgressArg::Bar | ProgressArg::Lines => Style::Lines,
    }
}

fn whole<N: PartialOrd + std::fmt::Display + Copy>(option: &str, value: N, least: N, most: N) -> Result<N> {
    if value < least || value > most {
        return Err(Error::usage(format!("{option} {value}"), format!("it must be from {least} to {most}")));
    }
    Ok(value)
}

fn between(option: &str, value: f64, least: f64, most: f64) -> Result<f64> {
    if value.is_finite() && value >= least && value <= most {
        return Ok(value);
    }
    Err(Error::usage(format!("{option} {value}"), format!("it must be from {least} to {most}")))
}

/// A time in seconds, a year at the most.
fn seconds(option: &str, value: f64, least: f64) -> Result<Duration> {
    between(option, value, least, 366.0 * 86_400.0).map(Duration::from_secs_f64)
}

/// A number of bytes with k, M or G, a thousand each: a limit is then never exceeded, whatever the reader takes it for.
fn bytes(option: &str, text: &str) -> Result<u64> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|number| *number > 0);
    number.ok_or_else(|| Error::usage(format!("{option} {text}"), "it must be a number of bytes, such as 500k or 2M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_a_unit() {
        for (text, wanted) in [("1", 1), ("500k", 500_000), ("2M", 2_000_000), ("1g", 1_000_000_000)] {
            assert_eq!(bytes("--x", text), Ok(wanted));
        }
        for text in ["", "0", "k", "-1", "1.5M", "1T", "99999999999G", "ü"] {
            assert!(bytes("--x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        assert!(seconds("--x", f64::NAN, 0.0).is_err());
        assert!(seconds("--x", f64::INFINITY, 0.0).is_err());
        assert!(seconds("--x", -1.0, 0.0).is_err());
        assert!(whole("--workers", 65, 1, 64).is_err());
        assert!(whole("--workers", 0, 1, 64).is_err());
    }
}
