//! Groups of options that several commands share, and the plain configuration that each becomes.
//!
//! Every default and every check of a value is here, and so is every look at the environment; nothing below reads
//! either again.

mod files;
mod origin;
mod urls;
mod values;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::facts::Sha256;
use crate::guid::Shard;
use crate::run::Expect;
use crate::store::Layout;
use crate::warehouse::{Name, RunRow, Tables};

pub use files::one_stdin;
pub use origin::{FetchConfig, OriginArgs, ProgressArg, Typed, style};
use urls::extension;
pub use values::{age, interval};
use values::{time_or_none, whole};

/// What everything is called where nobody says otherwise.
const TABLE: &str = "dim_image";
const ID_COLUMN: &str = "source_image_id";
const DONE_COLUMN: &str = "thumb_downloaded";
const FAILURE_TABLE: &str = "thumb_failure";
const FILE_TABLE: &str = "thumb_file";

/// The warehouse and the names in it.
#[derive(Debug, Args)]
pub struct WarehouseArgs {
    /// The DuckDB file
    #[arg(long, value_name = "FILE")]
    pub warehouse: PathBuf,
    /// How long to wait for the warehouse when another program has it
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub lock_wait: String,
    /// The table of images; schema.table is split at the dot
    #[arg(long, value_name = "NAME", default_value = TABLE)]
    pub table: String,
    /// Its column of GUIDs
    #[arg(long, value_name = "NAME", default_value = ID_COLUMN)]
    pub id_column: String,
    /// Its column that says whether the thumbnail is home
    #[arg(long, value_name = "NAME", default_value = DONE_COLUMN)]
    pub done_column: String,
    /// Its column that says when that changed [default: updated_at, where there is one]
    #[arg(long, value_name = "NAME")]
    pub updated_column: Option<String>,
    /// The table of runs [default: run_manifest]
    #[arg(long, value_name = "NAME")]
    pub manifest_table: Option<String>,
    /// The table of what stands failed
    #[arg(long, value_name = "NAME", default_value = FAILURE_TABLE)]
    pub failure_table: String,
    /// The table of what is home
    #[arg(long, value_name = "NAME", default_value = FILE_TABLE)]
    pub file_table: String,
}

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
        let (tables, columns) =
            ([&args.table, &args.failure_table, &args.file_table], [&args.id_column, &args.done_column]);
        let parts = tables.into_iter().flat_map(|table| table.split('.'));
        if parts.chain(columns.map(String::as_str)).any(str::is_empty) {
            return Err(Error::usage("a table or a column", "its name, or a part of it, is empty"));
        }
        let names = [&args.table, &args.id_column, &args.done_column, &args.failure_table, &args.file_table];
        let usual = names.into_iter().eq([TABLE, ID_COLUMN, DONE_COLUMN, FAILURE_TABLE, FILE_TABLE]);
        let as_last_run = usual && args.updated_column.is_none() && args.manifest_table.is_none();
        let tables = Tables {
            table: Name::parse(&args.table),
            id: args.id_column,
            done: args.done_column,
            updated_named: args.updated_column.is_some(),
            updated: args.updated_column.unwrap_or_else(|| "updated_at".into()),
            manifest_named: args.manifest_table.is_some(),
            manifest: Name::parse(args.manifest_table.as_deref().unwrap_or("run_manifest")),
            failure: Name::parse(&args.failure_table),
            file: Name::parse(&args.file_table),
            keep_files: true,
            as_last_run,
        };
        let own = [&tables.table, &tables.manifest, &tables.failure, &tables.file];
        if BTreeSet::from(own.map(|name| name.canonical().to_lowercase())).len() < own.len() {
            let options = "--table, --manifest-table, --failure-table and --file-table";
            return Err(Error::usage(options, "two of them have one name"));
        }
        let columns = [&tables.id, &tables.done, &tables.updated];
        if BTreeSet::from(columns.map(|name| name.to_lowercase())).len() < columns.len() {
            let options = "--id-column, --done-column and --updated-column";
            return Err(Error::usage(options, "two of them have one name"));
        }
        let lock_wait = time_or_none("--lock-wait", &args.lock_wait)?;
        Ok(Self { file: args.warehouse, tables, lock_wait })
    }
}

/// Where files are, and how they are called: for the commands that can also take it from the last run.
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
}

/// `--expect`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpectArg {
    /// A whole image
    Image,
    /// Whatever is delivered whole
    Any,
}

/// Where files are, from what was typed and, for the rest, from the table's last run.
///
/// # Errors
/// A wrong value, or a destination that nobody has named.
pub fn layout_like(args: LayoutArgs, last: Option<&RunRow>) -> Result<Layout> {
    let dest = args.dest.or_else(|| last.and_then(|run| run.dest.as_deref()).map(PathBuf::from));
    let dest = dest.ok_or_else(|| {
        Error::usage("--dest", "no run of this table has named a destination yet, so it must be given")
    })?;
    let extension = match args.extension {
        Some(given) => extension(&given)?,
        None => last.and_then(|run| run.extension.clone()).unwrap_or_default(),
    };
    let fanout = args.fanout.or_else(|| last.and_then(|run| u8::try_from(run.fanout).ok())).unwrap_or(0);
    layout(dest, extension, fanout)
}

/// What counts as a good file, as was typed or as the table's last run had it.
#[must_use]
pub fn expect_like(given: Option<ExpectArg>, last: Option<&RunRow>) -> Expect {
    match (given, last.and_then(|run| run.expect.as_deref())) {
        (Some(given), _) => expect(given),
        (None, Some("any")) => Expect::Any,
        (None, _) => Expect::Image,
    }
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

/// Reads `--reject-digest`.
///
/// # Errors
/// It is no SHA-256.
pub fn digests(given: &[String]) -> Result<Vec<Sha256>> {
    let read = |text: &String| {
        let wrong = || Error::usage(format!("--reject-digest {text}"), "it must be 64 hexadecimal digits");
        Sha256::parse(text.trim()).ok_or_else(wrong)
    };
    given.iter().map(read).collect()
}

fn expect(arg: ExpectArg) -> Expect {
    match arg {
        ExpectArg::Image => Expect::Image,
        ExpectArg::Any => Expect::Any,
    }
}

fn layout(dest: PathBuf, extension: String, fanout: u8) -> Result<Layout> {
    if dest.as_os_str().is_empty() {
        return Err(Error::usage("--dest", "it is empty"));
    }
    Ok(Layout { dest, extension, fanout: whole("--fanout", fanout, 0, 8)? })
}
