//! `toller pending`: what is missing, a line each, for an engine that hands it out.
//!
//! Some are read in a short window and printed after it, so that a slow reader never keeps the warehouse from
//! other programs. Neither the number of pending GUIDs nor that of repeated ones decides how much memory it takes.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::Args;

use crate::books::hash;
use crate::error::{Error, ExitCode, Result};
use crate::guid::Shard;
use crate::terminal::{self, grouped};
use crate::text::fits_a_line;
use crate::warehouse::{Effort, Failed, PendingRef, Repeats, Selection, UrlSource, Warehouse};

use super::options::{WarehouseArgs, WarehouseConfig, shard};

/// What is read in one window has so many bytes: close to a million GUIDs, read in less than half a second.
const FULL: usize = 32 << 20;
/// Or with so many rows, where they have to be sorted.
const MOST_ROWS: usize = 1_000_000;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller pending --warehouse images.duckdb | wc -l
  toller pending --warehouse images.duckdb --shard 2/8 > shard-2.txt";

/// `toller pending`
#[derive(Debug, Args)]
pub struct PendingArgs {
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

/// Carries out `toller pending`.
///
/// # Errors
/// The warehouse cannot be read, or stdout not written.
pub fn pending(args: PendingArgs) -> Result<ExitCode> {
    let place = WarehouseConfig::new(args.warehouse)?;
    let shard = args.shard.as_deref().map(shard).transpose()?;
    let books = Warehouse::new(place.file, place.tables, Effort::Alone)?.telling(terminal::print_locked);
    let urls = args.url_column.map_or(UrlSource::None, UrlSource::Column);
    let condition = args.condition.map(|sql| books.condition(sql)).transpose()?;
    let selection = Selection { condition, urls, failed: Failed::Take, run_id: String::new(), refresh: None };
    let left = args.limit.unwrap_or(u64::MAX);
    let once = Once::Seen(HashSet::new());
    let mut printout = Printout { shard, left, once, after: -1, text: Vec::new(), unprintable: 0 };
    let mut out = io::stdout().lock();
    loop {
        let over = books.read(place.lock_wait, |window| {
            let shape = window.shape()?;
            if printout.after >= 0 && matches!(printout.once, Once::Seen(_)) {
                printout.once = Once::Repeats(window.repeats(&shape, &selection)?);
            }
            window.each_pending(&shape, &selection, printout.after, MOST_ROWS, |found| printout.add(&found))
        })?;
        match out.write_all(&printout.text).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::Done),
            other => other.map_err(|cause| Error::new("print", "stdout", cause))?,
        }
        printout.text.clear();
        if over || printout.left == 0 {
            printout.say_what_is_left_out();
            return Ok(ExitCode::Done);
        }
    }
}

/// How an id with several rows is printed once.
enum Once {
    /// What was read in the first window, by hashes; one that comes again may be another id's.
    Seen(HashSet<u64>),
    /// All rows are known whose id stands in an earlier one. To find them the whole table is read, for which who wants the
    /// first few lines is not kept waiting.
    Repeats(Repeats),
}

/// What is read in one window.
struct Printout {
    shard: Option<Shard>,
    /// GUIDs that may still be printed.
    left: u64,
    /// The last row that was read.
    after: i64,
    once: Once,
    text: Vec<u8>,
    /// Ids that no line can hold.
    unprintable: u64,
}

impl Printout {
    fn add(&mut self, found: &PendingRef<'_>) -> ControlFlow<()> {
        let &PendingRef { row, id, url, .. } = found;
        if self.left == 0 || self.text.len() >= FULL {
            return ControlFlow::Break(());
        }
        let wanted = self.shard.is_none_or(|shard| shard.holds(id));
        let again = match &mut self.once {
            Once::Seen(seen) => {
                if wanted && !seen.insert(hash(id)) {
                    return ControlFlow::Break(());
                }
                false
            }
            Once::Repeats(repeats) => repeats.holds(row),
        };
        self.after = row;
        if !wanted || again {
            return ControlFlow::Continue(());
        }
        if !fits_a_line(id) {
            self.unprintable += 1;
            return ControlFlow::Continue(());
        }
        self.left -= 1;
        self.text.extend_from_slice(id.as_bytes());
        if let Some(url) = url {
            self.text.push(b'\t');
            // A space makes no better URL of it, and keeps the line one line.
            self.text.extend(url.bytes().map(|byte| if breaks_a_line(byte) { b' ' } else { byte }));
        }
        self.text.push(b'\n');
        ControlFlow::Continue(())
    }

    fn say_what_is_left_out(&self) {
        if self.unprintable > 0 {
            let count = grouped(self.unprintable);
            terminal::print_notice(&format!(
                "{count} ids are empty or hold a tab or a line break, and are left out; `toller fetch` records them as bad_guid"
            ));
        }
    }
}

/// What separates GUID and URL, and line from line.
fn breaks_a_line(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r')
}
