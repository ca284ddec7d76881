//! `toller report`: one page to look at, of what came home, what did not, and how it went.
//!
//! The warehouse is read in one window and closed before the first file is looked at, and the page is written last: nobody
//! waits for it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use crate::error::{Error, ExitCode, Result};
use crate::machine;
use crate::report::{Report, Sheet};
use crate::store::Layout;
use crate::terminal::{self, List};
use crate::warehouse::{Choice, Effort, Picture, RunRow, Warehouse};

use super::options::{LayoutArgs, WarehouseArgs, WarehouseConfig, layout_like};
use super::output::{Output, must_be_another};

/// A page of more images is none to look at.
const MOST_IMAGES: usize = 2_000;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller report --warehouse images.duckdb
  toller report --warehouse images.duckdb --output monday.html --images 200 --sample random
  toller report --warehouse images.duckdb --json | jq .home";

/// `toller report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub warehouse: WarehouseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub layout: LayoutArgs,
    /// Where the page goes; - is stdout [default: beside the warehouse, FILE.report.html; none with --json]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// So many images on the contact sheet
    #[arg(long, value_name = "N", default_value = "60")]
    pub images: usize,
    /// Which images
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    pub sample: SampleArg,
    /// What the page shows, as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `--sample`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleArg {
    /// Any of those that are home
    Random,
    /// Those that came home last
    Latest,
}

/// Carries out `toller report`.
///
/// # Errors
/// The warehouse cannot be read, or the page not written.
pub fn report(args: ReportArgs) -> Result<ExitCode> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && args.json {
        return Err(Error::usage("--output - and --json", "only one of them can have stdout"));
    }
    if args.images > MOST_IMAGES {
        return Err(Error::usage(format!("--images {}", args.images), format!("it must be from 0 to {MOST_IMAGES}")));
    }
    let choice = match args.sample {
        SampleArg::Random => Choice::Random,
        SampleArg::Latest => Choice::Latest,
    };
    let place = WarehouseConfig::new(args.warehouse)?;
    let books = Warehouse::new(place.file.clone(), place.tables, Effort::Alone)?.telling(terminal::print_locked);
    let (mut found, last) = books
        .read(place.lock_wait, |window| Ok((window.findings(choice, args.images)?, window.last_destination()?)))?;
    drop(books);
    let running = mark_living(&mut found.runs);
    let pictures = std::mem::take(&mut found.pictures);
    let report = Report {
        made_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        warehouse: place.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        running,
        found,
        chosen: choice,
        sheet: sheet(args.layout, last.as_ref(), pictures)?,
    };
    if to_stdout {
        terminal::print(&report.page()?)?;
    } else if args.output.is_some() || !args.json {
        let output = args.output.unwrap_or_else(|| {
            let mut name = place.file.clone().into_os_string();
            name.push(".report.html");
            name.into()
        });
        must_be_another("--output", &output, &[("the warehouse", &place.file)])?;
        write(&report.page()?, &output).map_err(|cause| {
            Error::new("write report", output.display(), cause).with_way_out("name another file with --output")
        })?;
        terminal::print_notice(&format!("the report is in {}", output.display()));
    }
    if args.json {
        terminal::show(&report, true, |_| String::new())?;
    }
    Ok(ExitCode::Done)
}

fn write(page: &str, path: &Path) -> io::Result<()> {
    let mut output = Output::begin(path)?;
    output.write_all(page.as_bytes())?;
    Box::new(output).finish()
}

/// Says of each run that is on record as under way whether its process lives, and gives the first one that does.
fn mark_living(runs: &mut [RunRow]) -> Option<String> {
    let host = machine::host();
    for run in runs.iter_mut() {
        run.lives = run.is_alive(&host);
    }
    runs.iter().find(|run| run.lives).map(|run| run.run_id.clone())
}

/// The images from their folder. That nobody has named one, or that it is on another machine, is no error: the tables are
/// here. A folder that was typed must be there.
fn sheet(args: LayoutArgs, last: Option<&RunRow>, pictures: Vec<Picture>) -> Result<Sheet> {
    let typed = args.dest.is_some();
    if !typed && last.is_none() {
        return Ok(Sheet::without_files("no run has named the folder of the files".into()));
    }
    let layout = layout_like(args, last)?;
    match std::fs::read_dir(&layout.dest) {
        Ok(_) => {
            let dest = std::path::absolute(&layout.dest).unwrap_or_else(|_| layout.dest.clone());
            Ok(Sheet::of(&Layout { dest, ..layout }, pictures))
        }
        Err(cause) if typed => Err(Error::new("destination", layout.dest.display(), cause)
            .with_way_out("name the folder of the files with --dest")),
        Err(cause) => Ok(Sheet::without_files(format!("{}: {cause}", layout.dest.display()))),
    }
}
