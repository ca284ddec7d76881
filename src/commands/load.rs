//! `toller load`: makes or extends a warehouse from the lists that its owner has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::{ExitCode, Result};
use crate::terminal::{LoadSummary, print_locked, print_notice, show};
use crate::warehouse::{self, HasHeader, Source};

use super::making::Making;
use super::options::{WarehouseArgs, WarehouseConfig, one_stdin};

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller load --warehouse images.duckdb guids.csv more.parquet
  toller load --warehouse images.duckdb --id-column guid export.ndjson
  psql -Atc 'SELECT id FROM images' | toller load --warehouse images.duckdb -";

/// `toller load`
#[derive(Debug, Args)]
pub struct LoadArgs {
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

impl From<HeaderArg> for HasHeader {
    fn from(arg: HeaderArg) -> Self {
        match arg {
            HeaderArg::Auto => Self::Auto,
            HeaderArg::Yes => Self::Yes,
            HeaderArg::No => Self::No,
        }
    }
}

/// Carries out `toller load`.
///
/// # Errors
/// A list or the warehouse cannot be used; then nothing is added.
pub fn load(args: LoadArgs) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    one_stdin(None, args.sources.iter().map(|source| ("GUIDS", source)))?;
    let sources: Vec<_> = args.sources.into_iter().map(Source::new).collect();
    let header = args.has_header.into();
    warehouse::may_be_warehouse(&place.file)?;
    // What is not there yet is made beside its place, and gets its name when it is whole.
    let making = Making::begin(&place.file, place.lock_wait)?;
    let file = making.as_ref().map_or(place.file.as_path(), Making::file);
    let loaded = warehouse::load(file, &place.tables, &sources, header, place.lock_wait, print_locked);
    let report = loaded.map_err(|error| error.about(file, &place.file))?;
    making.map_or(Ok(()), Making::publish)?;
    report.notices.iter().for_each(|notice| print_notice(notice));
    let summary = LoadSummary::new(&report);
    show(&summary, args.json, |summary| summary.text())?;
    Ok(ExitCode::Done)
}
