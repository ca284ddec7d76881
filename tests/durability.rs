//! Nothing is recorded that a power cut could take away: files are renamed, then made durable, then recorded.
//! The system calls tell, where strace is there to listen.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Reply, eventually, guids, image_for};
use std::path::{Path, PathBuf};
use std::process::Command;

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
    if !can_trace(&env) {
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

fn can_trace(env: &Env) -> bool {
    let can = env.program("strace").args(["-f", "--seccomp-bpf", "-y", "-e", "trace=fsync", "true"]).try_run();
    if !can {
        skipped("no strace here that may trace");
    }
    can
}

/// A command of which some calls fail as `inject` says (strace's words): those that concern this path, or all of them.
fn with_failing(command: Cmd, inject: &str, path: Option<&Path>) -> Cmd {
    let (call, _) = inject.split_once(':').unwrap();
    let inject = format!("inject={inject}");
    let mut words: Vec<String> =
        ["-f", "-y", "-o", "trace", "-e", &format!("trace={call}"), "-e", &inject].map(str::to_owned).into();
    words.extend(path.into_iter().flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
    command.under("strace", words)
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

/// After a run whose sync failed: the row says so, and nothing is claimed or kept that it covered; these are left.
#[track_caller]
fn assert_forgotten(env: &Env, left: &[String]) {
    assert_eq!(env.runs().last().unwrap(), "failed");
    assert_eq!(env.value("SELECT count(*) FROM run_manifest WHERE error LIKE '%Input/output error%'"), "1");
    env.assert_done(left);
    let counted = env.value("SELECT fetched FROM run_manifest ORDER BY started_at DESC LIMIT 1");
    assert_eq!(counted, left.len().to_string(), "what is not kept does not count");
}

#[test]
fn a_flush_that_failed_is_never_asked_again_and_its_files_are_fetched_anew() {
    let guids = guids(100);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    // Linux tells it once; a second call would succeed.
    let out = with_failing(env.fetch(&origin), "syncfs:error=EIO:when=1", None).run();
    out.expect(1).complains().stderr_has("Input/output error").stderr_has(&env.dest().display().to_string());
    assert_forgotten(&env, &[]);
    let asked = std::fs::read_to_string(env.path("trace")).unwrap().matches("syncfs(").count();
    assert_eq!(asked, 1);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["fetched"], &summary["reused"]), (&100.into(), &0.into()));
    env.assert_done(&guids);
}

#[test]
fn a_file_that_could_not_be_made_durable_is_not_recorded_with_what_else_was_in_its_batch() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    let out = with_failing(env.fetch(&origin), "fsync:error=EIO:when=1", Some(&env.image(&guids[3]))).run();
    out.expect(1).complains().stderr_has("Input/output error");
    assert_forgotten(&env, &[]);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn what_was_durable_before_a_sync_failed_stays_and_so_do_failures() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    origin.on(&guids[6], [Reply::status(404)]);
    origin.hold();
    let fetch = env.fetch(&origin).args(["--workers", "1", "--batch", "4"]);
    let run = with_failing(fetch, "fsync:error=EIO:when=1", Some(&env.image(&guids[5]))).spawn();
    origin.allow(4);
    let recorded = "SELECT count(*) = 4 FROM dim_image WHERE thumb_downloaded";
    eventually("the first batch", || (env.value(recorded) == "true").then_some(()));
    origin.release();
    run.wait().expect(1).complains();
    assert_forgotten(&env, &guids[..4]);
    assert_eq!(env.value("SELECT kind FROM thumb_failure"), "not_found");
    let before = origin.request_count();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count() - before, 7);
}

#[test]
fn what_was_there_before_a_sync_failed_stays_and_is_not_recorded() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    // It may be all that somebody has of it.
    env.write(&format!("thumbs/{}.jpg", guids[0]), image_for(&guids[0]));
    let out = with_failing(env.fetch(&origin), "fsync:error=EIO:when=1", Some(&env.image(&guids[0]))).run();
    out.expect(1).complains();
    assert_eq!(env.files().into_iter().collect::<Vec<_>>(), [format!("{}.jpg", guids[0])]);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "0");
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["fetched"], &summary["reused"]), (&3.into(), &1.into()));
    env.assert_done(&guids);
}

#[test]
fn a_folder_whose_names_could_not_be_made_durable_is_a_sync_that_failed() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    let folder = env.dest().join(&guids[2][..2]);
    let fetch = env.fetch(&origin).args(["--fanout", "1"]);
    with_failing(fetch, "fsync:error=EIO:when=1", Some(&folder)).run().expect(1).complains();
    assert_forgotten(&env, &[]);
}

#[test]
fn a_run_that_is_stopped_and_cannot_make_its_files_durable_has_failed() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    origin.hold();
    // A shell, so that the signal reaches the fetch and not strace.
    let fetch = env.fetch(&origin).under("sh", ["-c", "echo $$ >pid; exec \"$0\" \"$@\""]);
    let run = with_failing(fetch, "fsync:error=EIO:when=1", Some(&env.image(&guids[1]))).spawn();
    origin.allow(4);
    eventually("four files", || (env.files().len() == 4).then_some(()));
    let pid = std::fs::read_to_string(env.path("pid")).unwrap();
    assert!(env.program("kill").args(["-TERM", pid.trim()]).try_run());
    origin.release();
    run.wait().expect(1).complains().stderr_has("Input/output error");
    assert_forgotten(&env, &[]);
}

#[test]
fn a_close_that_fails_is_a_file_that_was_not_saved() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    origin.hold();
    let run = env.fetch(&origin).args(["--workers", "1"]).spawn();
    origin.wait_for_requests(1);
    // The worker alone: all it closes from here on is the file that it has written.
    let threads = std::fs::read_dir(format!("/proc/{}/task", run.pid())).unwrap().flatten();
    let is_worker = |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).unwrap().starts_with("worker");
    let worker = threads.map(|thread| thread.path()).find(is_worker).unwrap();
    let inject = ["-e", "trace=close", "-e", "inject=close:error=ENOSPC", "-o", "trace", "-p"];
    let mut strace = env.program("strace").args(inject).arg(worker.file_name().unwrap()).spawn();
    strace.wait_for_stderr("attach");
    if !strace.is_running() {
        return skipped("no strace here that may trace another process");
    }
    origin.release();
    run.wait()
        .expect(1)
        .complains()
        .stderr_has("No space left on device")
        .stderr_has(&env.image(&guids[0]).display().to_string());
    strace.wait();
    env.assert_done::<&str>(&[]);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_pipe_does_not_print_what_could_not_be_made_durable() {
    let guids = guids(3);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    if !can_trace(&env) {
        return;
    }
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.dest());
    let pipe = pipe.arg("--ca-cert").arg(origin.ca()).stdin(guids.join("\n"));
    let out = with_failing(pipe, "fsync:error=EIO:when=1", Some(&env.image(&guids[1]))).run();
    let out = out.expect(1).complains().stderr_has("Input/output error");
    assert_eq!(out.stdout, "");
    assert!(env.files().is_empty(), "{}", out.report());
}

/// A folder of the test seen through FUSE, as mergerfs, sshfs and the like are; it goes when the test is over.
struct Fuse(PathBuf);

impl Fuse {
    fn on(env: &Env) -> Option<Self> {
        let below = env.path("below");
        for folder in [&below, &env.dest()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        if !env.program("bindfs").arg(below).arg(env.dest()).try_run() {
            skipped("no bindfs that may mount");
            return None;
        }
        Some(Self(env.dest()))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn where_a_flush_of_the_whole_is_not_handed_on_each_file_and_each_folder_is_synced() {
    let guids = guids(100);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let Some(_fuse) = Fuse::on(&env).filter(|_| can_trace(&env)) else { return };
    let listen = ["-f", "--seccomp-bpf", "-y", "-s", "0", "-e", CALLS, "-o", "trace"];
    let fetch = env.fetch(&origin).args(["--fanout", "1", "--workers", "1"]);
    fetch.under("strace", listen).run().expect(0);
    let trace = std::fs::read_to_string(env.path("trace")).unwrap();
    let calls: Vec<String> = trace.lines().map(str::to_owned).collect();
    assert!(places(&calls, &["syncfs"], "").is_empty(), "it is no use to ask");
    let synced = places(&calls, &["fsync"], "/.toller/");
    let saved = places(&calls, &["rename"], ".jpg");
    let mut before = 0;
    // A fan-out folder that is missing takes a second rename.
    for at in guids.iter().map(|guid| *places(&calls, &["rename"], &format!("/{guid}.jpg")).last().unwrap()) {
        assert!(synced.iter().any(|sync| (before..at).contains(sync)), "{}", calls[at]);
        before = at;
    }
    let last = *saved.iter().max().unwrap();
    let recorded =
        places(&calls, &["pwrite64", "write"], "warehouse.duckdb").into_iter().find(|at| *at > last).unwrap();
    let folders = guids.iter().map(|guid| env.dest().join(&guid[..2])).chain([env.dest()]);
    for folder in folders {
        let synced = places(&calls, &["fsync"], &format!("<{}>", folder.display()));
        assert!(synced.iter().any(|at| (last..recorded).contains(at)), "{}: {synced:?}", folder.display());
    }
}
