//! Nothing is recorded that a power cut could take away: files are renamed, then made durable, then recorded.
//! The system calls tell, where strace is there to listen.

use crate::support::env::skipped;
use crate::support::{Env, Origin, eventually, guids};

const CALLS: &str = "trace=rename,renameat,renameat2,fsync,fdatasync,syncfs,write,pwrite64,openat";

/// The system calls of a fetch of so many images, in their order; none where there is no strace. `during` finds the
/// origin held, and releases it.
fn calls_of(
    images: usize,
    args: &[&str],
    during: impl FnOnce(&Env, &Origin),
) -> Option<(Env, Vec<String>, Vec<String>)> {
    let guids = guids(images);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !env.program("strace").args(["-f", "--seccomp-bpf", "-y", "-e", "trace=fsync", "true"]).try_run() {
        skipped("no strace here that may trace");
        return None;
    }
    let trace = env.path("trace");
    let fetch = env.fetch(&origin).args(args);
    let listen = ["-f", "--seccomp-bpf", "-y", "-s", "0", "-e", CALLS, "-o", trace.to_str().unwrap()];
    origin.hold();
    let run = fetch.under("strace", listen).spawn();
    during(&env, &origin);
    origin.release();
    run.wait().expect(0);
    env.assert_done(&guids);
    let lines = std::fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect();
    Some((env, guids, lines))
}

/// Where the calls of this name are whose line holds this text. A call that another thread's interrupts is known by
/// its first half, which names the file.
fn places(calls: &[String], names: &[&str], text: &str) -> Vec<usize> {
    let is = |line: &str| names.iter().any(|name| line.split_whitespace().nth(1).is_some_and(|c| c.starts_with(name)));
    calls.iter().enumerate().filter(|(_, line)| is(line) && line.contains(text)).map(|(at, _)| at).collect()
}

struct Order {
    saved: Vec<usize>,
    recorded: usize,
}

/// When the images got their final names, and when the warehouse was first written to after that.
fn order(calls: &[String], guids: &[String]) -> Order {
    let saved: Vec<usize> = guids
        .iter()
        .map(|guid| {
            let renames = places(calls, &["rename"], &format!("/thumbs/{guid}.jpg"));
            let [once] = renames[..] else { panic!("{guid} got its name {} times", renames.len()) };
            once
        })
        .collect();
    let last = *saved.iter().max().unwrap();
    let written = places(calls, &["pwrite64", "write"], "warehouse.duckdb");
    let recorded = written.into_iter().find(|at| *at > last).expect("the warehouse is written to after the last save");
    Order { saved, recorded }
}

#[test]
fn the_files_of_a_small_batch_are_made_durable_one_by_one_before_it_is_recorded() {
    let Some((env, guids, calls)) = calls_of(10, &[], |_, _| {}) else { return };
    let order = order(&calls, &guids);
    for (guid, saved) in guids.iter().zip(&order.saved) {
        let synced = places(&calls, &["fsync", "fdatasync"], &format!("/thumbs/{guid}.jpg>"));
        assert!(synced.iter().any(|at| saved < at && *at < order.recorded), "{guid}: {synced:?} after {saved}");
    }
    let last = *order.saved.iter().max().unwrap();
    let names = places(&calls, &["fsync", "fdatasync"], &format!("{}>", env.dest().display()));
    assert!(names.iter().any(|at| last < *at && *at < order.recorded), "nor are the names durable: {names:?}");
}

#[test]
fn the_files_of_a_large_batch_are_made_durable_together_before_it_is_recorded() {
    let Some((env, guids, calls)) = calls_of(100, &[], |_, _| {}) else { return };
    let order = order(&calls, &guids);
    let last = *order.saved.iter().max().unwrap();
    let flushed = places(&calls, &["syncfs"], &env.dest().display().to_string());
    assert!(
        flushed.iter().any(|at| last < *at && *at < order.recorded),
        "{flushed:?} between {last} and {}",
        order.recorded
    );
}

#[test]
fn every_batch_is_durable_before_it_is_recorded() {
    let two_batches = |env: &Env, origin: &Origin| {
        for done in [4, 8] {
            origin.allow(4);
            let recorded = format!("SELECT count(*) >= {done} FROM dim_image WHERE thumb_downloaded");
            eventually("a batch in the warehouse", || (env.value(&recorded) == "true").then_some(()));
        }
    };
    let Some((_, guids, calls)) = calls_of(20, &["--batch", "4"], two_batches) else { return };
    let saved = order(&calls, &guids).saved;
    let synced = places(&calls, &["fsync", "fdatasync", "syncfs"], "/thumbs");
    // Each window begins with opening the warehouse. Fetching goes on during a window, but what is recorded in it
    // was made durable before it, and after the last one.
    let windows = places(&calls, &["openat"], "/warehouse.duckdb\", O_RDWR");
    let mut batches = 0;
    for pair in windows.windows(2).filter(|pair| saved.iter().any(|at| (pair[0]..pair[1]).contains(at))) {
        let durable = synced.iter().any(|at| (pair[0]..pair[1]).contains(at));
        assert!(durable, "opened at {pair:?} with no sync between: {synced:?}");
        batches += 1;
    }
    assert!(batches >= 3, "{batches} batches in {windows:?}");
}

#[test]
fn who_wants_no_durability_does_not_pay_for_it() {
    let Some((_, guids, calls)) = calls_of(10, &["--no-sync"], |_, _| {}) else { return };
    order(&calls, &guids);
    let synced = places(&calls, &["fsync", "fdatasync", "syncfs"], "/thumbs");
    assert!(synced.is_empty(), "{synced:?}");
}

#[test]
fn a_file_is_written_elsewhere_and_then_renamed() {
    let Some((_, guids, calls)) = calls_of(10, &[], |_, _| {}) else { return };
    order(&calls, &guids);
    for guid in guids {
        let opened = places(&calls, &["openat"], &format!("/thumbs/{guid}.jpg"));
        let to_write = opened.into_iter().filter(|at| calls[*at].contains("O_WRONLY") || calls[*at].contains("O_RDWR"));
        assert_eq!(to_write.count(), 0, "{guid}");
        let renames = places(&calls, &["rename"], &format!("/thumbs/{guid}.jpg"));
        assert!(renames.iter().all(|at| calls[*at].contains("/.toller/")), "{guid}: {}", calls[renames[0]]);
    }
}
