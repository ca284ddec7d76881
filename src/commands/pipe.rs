//! `toller pipe`: the same run with standard streams for books.

use std::time::{Duration, SystemTime};

use clap::Args;

use crate::books::StreamLedger;
use crate::error::{ExitCode, Result};
use crate::manifest::new_run_id;
use crate::run;
use crate::store::Share;
use crate::terminal::{grouped, print};

use super::options::{FetchConfig, OriginArgs, Typed};
use super::session::Session;

/// Print after so long, which with what it takes is at least once a second.
const PRINT_AFTER: Duration = Duration::from_millis(800);

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller pipe --url 'https://cdn.example.com/thumbs/{guid}.jpg' --dest thumbs \\
      < guids.txt > outcomes.ndjson
  toller pending --warehouse images.duckdb --shard 2/8 |
      toller pipe --url … --dest thumbs > 2.ndjson";

/// `toller pipe`
#[derive(Debug, Args)]
pub struct PipeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its type says it")]
    pub origin: OriginArgs,
}

/// Carries out `toller pipe`.
///
/// # Errors
/// Whatever kept it from its end.
pub fn pipe(args: PipeArgs, typed: &Typed) -> Result<ExitCode> {
    let config = FetchConfig::new(args.origin, None, Some("the list of GUIDs"), typed, PRINT_AFTER)?;
    if config.dry_run {
        let count = StreamLedger::count()?.min(config.limit.unwrap_or(u64::MAX));
        print(&format!("would fetch {} images\n", grouped(count)))?;
        return Ok(ExitCode::Done);
    }
    let mut session = Session::open(&config)?;
    let run_id = new_run_id(SystemTime::now());
    let files = session.store(&config, &run_id, Share::WithOthers)?;
    session.list_failed(&config)?;
    let mut ledger =
        StreamLedger::start(run_id.clone(), config.layout.clone(), config.template().cloned(), config.limit)?;
    session.say_what_begins(&config, "what comes on stdin", &run_id);
    let (tools, stop, mut progress) = session.tools(&config, files);
    let ended = run::run(&mut ledger, tools, &config.run, &stop, &mut progress, 0);
    // Also where the books are broken: what failed is known.
    let closed = progress.close();
    let (_, ending) = ended?;
    closed?;
    ending.conclude()
}
