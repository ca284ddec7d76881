//! What toller itself costs, without a network: the check of a body, and the record of a thousand outcomes in tables
//! of ten thousand, a million and ten million rows. `cargo bench` prints medians; `cargo bench -- ROWS…` takes other tables.
#![allow(dead_code, reason = "of the pictures only some are wanted")]

#[path = "../tests/support/pictures.rs"]
mod pictures;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use toller::image;
use toller::manifest::{RunManifest, new_run_id};

use toller::outcome::{How, Id, Outcome, Saved};
use toller::tally::Tally;
use toller::warehouse::{Access, Effort, Name, Opened, Tables, Warehouse};

/// Outcomes in a batch.
const BATCH: usize = 1000;
/// Batches recorded one after another.
const ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    check_bodies();
    for rows in if asked.is_empty() { vec![10_000, 1_000_000, 10_000_000] } else { asked } {
        let folder = std::env::temp_dir().join(format!("toller-bench-{}-{rows}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let recorded = record(&folder.join("warehouse.duckdb"), rows);
        std::fs::remove_dir_all(&folder)?;
        recorded?;
    }
    Ok(())
}

fn check_bodies() {
    let bodies: Vec<_> = pictures::guids(500).iter().map(|guid| pictures::image_for(guid)).collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let spent = median((0..ROUNDS).map(|_| {
        let started = Instant::now();
        let whole = bodies.iter().filter(|body| image::check(black_box(body)).is_ok()).count();
        assert_eq!(whole, bodies.len());
        started.elapsed()
    }));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (each, rate) = (spent.as_secs_f64() / bodies.len() as f64 * 1e6, bytes as f64 / spent.as_secs_f64() / 1e9);
    println!("check  {each:8.2} µs for a body of {} bytes, {rate:.1} GB/s", bytes / bodies.len());
}

/// As a fetch does it: staged while the file is everybody's, then recorded in a window; in the table's order, in which
/// pages are read, and knowing in turn where the rows are and not.
fn record(file: &Path, rows: u64) -> Result<(), Box<dyn Error>> {
    let wanted = usize::try_from(rows).map_or(usize::MAX, |rows| rows.min(BATCH * ROUNDS));
    let pending = make(file, rows, wanted)?;
    let table = |name: &str| Name::parse(name);
    let tables = Tables {
        table: table("dim_image"),
        id: "source_image_id".into(),
        done: "thumb_downloaded".into(),
        updated: "updated_at".into(),
        updated_named: false,
        manifest: table("run_manifest"),
        manifest_named: false,
        failure: table("thumb_failure"),
        file: table("thumb_file"),
        keep_files: true,
        as_last_run: false,
    };
    let warehouse = Warehouse::new(file.to_owned(), tables, Effort::Beside)?;
    let open = || match warehouse.open(Access::Write)? {
        Opened::Window(window) => Ok(window),
        Opened::Locked(locked) => Err(locked.error),
    };
    let run = RunManifest {
        run_id: new_run_id(SystemTime::now()),
        started_at: SystemTime::now(),
        workers: 3,
        url: None,
        dest: None,
        extension: None,
        fanout: None,
        expect: None,
        host: String::new(),
    };
    let window = open()?;
    let (shape, runs) = (window.shape()?, window.runs_table()?);
    window.make_own_tables(&runs, &shape)?;
    window.open_run(&runs, &run, wanted as u64, false)?;
    window.close()?;
    let (mut staging, mut narrow, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (round, pending) in pending.chunks(BATCH).enumerate() {
        let batch: Vec<_> = pending.iter().map(|(_, id)| outcome(id)).collect();
        let started = Instant::now();
        let staged = warehouse.stage(&batch)?;
        staging.push(started.elapsed());
        let span = pending.first().zip(pending.last()).map(|(first, last)| (first.0, last.0));
        let (span, held) = if round % 2 == 0 { (span, &mut narrow) } else { (None, &mut whole) };
        let window = open()?;
        window.record(&staged, span, &shape, (&runs, &run.run_id), &Tally::default(), None)?;
        held.push(window.close()?);
    }
    println!(
        "record {:8.2} ms of lock for {BATCH} of {rows} rows, {:.2} ms where ids repeat; {:.2} ms before it",
        millis(median(narrow)),
        millis(median(whole)),
        millis(median(staging)),
    );
    Ok(())
}

/// A warehouse of so many rows of which `wanted` are pending, here and there. Gives row and id of each.
fn make(file: &Path, rows: u64, wanted: usize) -> duckdb::Result<Vec<(i64, String)>> {
    let connection = duckdb::Connection::open(file)?;
    connection.execute_batch(&format!(
        "CREATE TABLE dim_image AS SELECT uuid()::VARCHAR AS source_image_id, hash(i) % {rows} >= {pending} AS thumb_downloaded, \
         NULL::TIMESTAMP AS updated_at FROM range({rows}) AS r(i)",
        // Some more than are wanted, because hashes are not spread that evenly.
        pending = wanted + wanted / 10,
    ))?;
    let mut pending = connection.prepare(&format!(
        "SELECT rowid, source_image_id FROM dim_image WHERE NOT thumb_downloaded ORDER BY rowid LIMIT {wanted}"
    ))?;
    pending.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn outcome(id: &str) -> Outcome {
    let result = Ok(Saved { how: How::Fetched, facts: toller::facts::Facts { bytes: 21_000, ..Default::default() } });
    Outcome {
        id: Id::new(id.into()),
        url: None,
        attempts: 1,
        spent: Duration::ZERO,
        finished_at: SystemTime::now(),
        result,
    }
}

fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
