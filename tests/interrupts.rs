//! Being stopped: the first signal ends the run with everything recorded, the second ends it at once, an ignored
//! one changes nothing, and no wait that the program may be in holds it up.

use crate::support::env::skipped;
use crate::support::{Env, Origin, Reply, Running, eventually, guids};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

/// What a stop may take at the most: five seconds for what is in flight, and one for the rest.
const SIX: Duration = Duration::from_secs(6);

const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

/// A run of three workers that has seven images and waits for three more.
fn under_way(env: &Env, origin: &Origin) -> Running {
    origin.hold();
    origin.allow(7);
    let run = env.fetch(origin).spawn();
    origin.wait_for_requests(10);
    run
}

#[track_caller]
fn assert_stopped(env: &Env, run: Running, signal: &str, code: i32) {
    let start = Instant::now();
    run.signal(signal);
    let out = run.wait().expect(code);
    assert!(start.elapsed() < SIX, "it took {:?}\n{}", start.elapsed(), out.report());
    assert_recorded(env);
}

/// Asserts that all that is on disk is recorded by a run that was interrupted.
#[track_caller]
fn assert_recorded(env: &Env) {
    env.assert_true();
    assert_eq!(env.runs(), ["interrupted"]);
    let done = env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded");
    assert_eq!(done, env.files().len().to_string(), "what is on disk is recorded");
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0", "what was dropped has not failed");
    assert_eq!(env.value("SELECT finished_at IS NOT NULL FROM run_manifest"), "true");
    assert_eq!(env.leftovers(), ["lock"]);
}

/// All that takes its five seconds, side by side.
#[test]
fn whatever_the_run_hangs_in_each_signal_stops_it_with_its_own_code() {
    thread::scope(|scope| {
        for (signal, code) in SIGNALS {
            scope.spawn(move || the_origin_hangs(signal, code));
        }
        scope.spawn(a_name_is_looked_up);
        scope.spawn(the_warehouse_is_locked);
    });
}

fn the_origin_hangs(signal: &str, code: i32) {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let run = under_way(&env, &origin);
    assert_stopped(&env, run, signal, code);
    assert_eq!(env.files().len(), 7);
    origin.release();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["interrupted", "complete"]);
    assert!(origin.request_count() <= 43, "{} requests", origin.request_count());
}

fn the_warehouse_is_locked() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    let other = env.occupy();
    origin.release();
    eventually("all the files", || (env.files().len() == 12).then_some(()));
    let start = Instant::now();
    run.signal("TERM");
    let out = run.wait().expect(143).stderr_has("locked");
    assert!(start.elapsed() < SIX, "it took {:?}\n{}", start.elapsed(), out.report());
    drop(other);
    env.assert_true();
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "0");
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["requests"]), (&12.into(), &0.into()));
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["abandoned", "complete"]);
}

fn a_name_is_looked_up() {
    // A name server that never answers, made this machine's own in a view of the file system that only the
    // program has. That takes root.
    let deaf = UdpSocket::bind("127.9.8.7:53");
    let env = Env::with(&guids(5));
    let probe = env.program("unshare").args(["--mount", "true"]);
    let Some(deaf) = deaf.ok().filter(|_| probe.try_run()) else { return skipped("no root for a name server") };
    let conf = env.write("resolv.conf", "nameserver 127.9.8.7\noptions timeout:30 attempts:5\n");
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", conf.display());
    let fetch = env.fetch_url("https://thumbs.example.com/{guid}.jpg").args(["--timeout", "60"]);
    let run = fetch.args(["--connect-timeout", "60"]).under("unshare", ["--mount", "sh", "-c", &script]).spawn();
    deaf.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    deaf.recv_from(&mut [0; 512]).expect("it asks for the name");
    assert_stopped(&env, run, "TERM", 143);
}

#[test]
fn what_is_in_flight_may_end() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let run = under_way(&env, &origin);
    let start = Instant::now();
    run.signal("TERM");
    run.wait_for_stderr("signal");
    origin.release();
    run.wait().expect(143);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_recorded(&env);
    assert_eq!((env.files().len(), origin.request_count()), (10, 10));
}

#[test]
fn a_busy_run_stops_soon() {
    let guids = guids(3000);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|_| Reply::image().after(Duration::from_millis(20)));
    let run = env.fetch(&origin).args(["--batch", "50"]).spawn();
    origin.wait_for_responses(100);
    assert_stopped(&env, run, "TERM", 143);
    assert!((100..3000).contains(&env.files().len()));
}

#[test]
fn a_run_stops_soon_in_a_back_off_or_a_cool_down() {
    for reply in [Reply::status(429).retry_after(100), Reply::status(500)] {
        let (env, origin) = (Env::with(&guids(3)), Origin::builder().small().start());
        origin.always(move |_| reply.clone());
        let run = env.fetch(&origin).args(["--retries", "50"]).spawn();
        origin.wait_for_responses(1);
        let start = Instant::now();
        run.signal("INT");
        run.wait().expect(130);
        assert!(start.elapsed() < SIX, "{:?}", start.elapsed());
        assert_recorded(&env);
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let run = under_way(&env, &origin);
    // As `timeout` does it: the process, and then its group.
    env.program("sh").args(["-c", "kill -TERM $0; kill -TERM $0", &run.pid().to_string()]).run().expect(0);
    run.wait_for_stderr("signal");
    origin.release();
    run.wait().expect(143);
    assert_recorded(&env);
    assert_eq!(env.files().len(), 10);
}

#[test]
fn a_signal_has_its_code_though_nobody_takes_the_summary() {
    let (env, origin) = (Env::with(&guids(40)), Origin::builder().small().start());
    origin.always(|_| Reply::image().after(Duration::from_millis(50)));
    let full = env.fetch(&origin).arg("--json").under("sh", ["-c", "exec \"$0\" \"$@\" >/dev/full"]).spawn();
    origin.wait_for_responses(3);
    full.signal("HUP");
    full.wait().expect(129);
    assert_eq!(env.runs(), ["interrupted"]);
}

#[test]
fn as_the_first_process_of_a_container_every_command_hears_signals() {
    let load: &[&str] = &["load", "--warehouse", "new.duckdb", "-"];
    let watch: &[&str] = &["status", "--warehouse", "warehouse.duckdb", "--watch"];
    for (args, signal, number) in [(load, "TERM", 15), (watch, "INT", 2)] {
        let env = Env::with(&guids(3));
        let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
        if !env.program("unshare").args(namespace).arg("true").try_run() {
            return skipped("no namespaces for processes");
        }
        let _other = env.occupy();
        let run = env.toller(args).open_stdin().under("unshare", namespace).spawn();
        let children = format!("/proc/{pid}/task/{pid}/children", pid = run.pid());
        let first = || std::fs::read_to_string(&children).ok()?.trim().parse().ok();
        let first: u32 = eventually("the first process", first);
        eventually("a handler", || catches(first, number).then_some(()));
        env.program("kill").args([format!("-{signal}"), first.to_string()]).run().expect(0);
        run.wait().expect(128 + i32::try_from(number).unwrap());
    }
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let run = under_way(&env, &origin);
    run.signal("INT");
    run.wait_for_stderr("signal");
    let start = Instant::now();
    run.signal("TERM");
    let out = run.wait();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(out.code == Some(143) || out.signal == Some(15), "{}", out.report());
    env.assert_true();
    origin.release();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["abandoned", "complete"]);
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for signal in ["HUP", "INT"] {
        let guids = guids(20);
        let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
        origin.hold();
        let ignoring = format!("trap '' {signal}; exec \"$0\" \"$@\"");
        let run = env.fetch(&origin).under("sh", ["-c", &ignoring]).spawn();
        origin.wait_for_requests(3);
        run.signal(signal);
        run.signal(signal);
        origin.release();
        run.wait().expect(0);
        env.assert_done(&guids);
        assert_eq!(env.runs(), ["complete"]);
    }
}

#[test]
fn another_signal_still_stops_a_run_under_nohup() {
    let (env, origin) = (Env::with(&guids(40)), Origin::builder().small().start());
    origin.hold();
    origin.allow(7);
    let run = env.fetch(&origin).under("sh", ["-c", "trap '' HUP; exec \"$0\" \"$@\""]).spawn();
    origin.wait_for_requests(10);
    run.signal("HUP");
    run.signal("TERM");
    run.wait_for_stderr("signal");
    origin.release();
    run.wait().expect(143);
    assert_recorded(&env);
}

#[test]
fn a_stop_records_as_soon_as_the_warehouse_is_free() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let run = under_way(&env, &origin);
    let other = env.occupy();
    run.signal("TERM");
    run.wait_for_stderr("signal");
    origin.release();
    eventually("what was in flight", || (env.files().len() == 10).then_some(()));
    drop(other);
    run.wait().expect(143);
    assert_recorded(&env);
    assert_eq!(env.files().len(), 10);
}

#[test]
fn a_run_that_waits_for_the_warehouse_to_begin_can_be_stopped() {
    let (env, origin) = (Env::with(&guids(3)), Origin::start());
    let other = env.occupy();
    let run = env.fetch(&origin).spawn();
    eventually("a handler for SIGTERM", || catches(run.pid(), 15).then_some(()));
    let start = Instant::now();
    run.signal("TERM");
    run.wait().expect(143);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(other);
    assert_eq!((origin.connections(), env.dest().exists()), (0, false));
}

/// Whether a process has a handler for this signal.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(caught.trim(), 16).is_ok_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn a_stdout_or_stderr_that_nobody_reads_is_no_reason_to_fail() {
    // A pipe whose reader is gone for sure: opened for both, then for writing alone.
    let gone = "mkfifo p; exec 3<>p; exec 1>p; exec 3<&-; exec \"$0\" \"$@\"";
    let both = "mkfifo p; exec 3<>p; exec 1>p 2>p; exec 3<&-; exec \"$0\" \"$@\"";
    let closed = "exec \"$0\" \"$@\" >&- 2>&-";
    let full = "exec \"$0\" \"$@\" 2>/dev/full";
    for script in [gone, both, closed, full] {
        let guids = guids(5);
        let (env, origin) = (Env::with(&guids), Origin::builder().small().plain_http().start());
        // Plain http, so that there is a warning to be said.
        let fetch = env.fetch_url(&origin.template()).args(["--json", "--progress", "lines", "-v"]);
        let out = fetch.under("sh", ["-c", script]).run().expect(0);
        assert!(!out.stderr.contains("panicked"), "{}", out.report());
        env.assert_done(&guids);
        assert_eq!(env.runs(), ["complete"]);
    }
}

#[test]
fn a_reader_of_pipe_that_stalls_does_not_hide_a_signal() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--batch", "100", "--dest"]).arg(env.dest());
    let pipe = pipe.arg("--ca-cert").arg(origin.ca()).stdin(guids(2000).join("\n"));
    let run = pipe.under("sh", ["-c", "mkfifo p; exec 3<>p; exec \"$0\" \"$@\" >p"]).spawn();
    origin.wait_for_responses(2000);
    let start = Instant::now();
    run.signal("TERM");
    run.wait().expect(143).stderr_has("nobody reads stdout");
    assert!(start.elapsed() < SIX + Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_worker_that_is_stuck_for_ever_is_left_behind() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).args(["--no-sync"]).spawn();
    origin.wait_for_requests(3);
    // A file that takes for ever to open, as on a dead mount.
    let own = eventually("the run's folder", || env.leftovers().into_iter().find(|name| name != "lock"));
    let fifo = env.dest().join(".toller").join(own).join("0");
    env.program("mkfifo").arg(fifo).run().expect(0);
    origin.release();
    eventually("all others", || (env.files().len() == 11).then_some(()));
    let start = Instant::now();
    run.signal("TERM");
    let out = run.wait().expect(143);
    assert!(start.elapsed() < SIX + Duration::from_secs(1), "{:?}\n{}", start.elapsed(), out.report());
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "11");
    assert_eq!(env.runs(), ["interrupted"]);
}

#[test]
fn a_file_beyond_the_limit_is_an_error_and_no_death() {
    let guids = guids(50);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let limited = "ulimit -f 10; exec \"$0\" \"$@\"";
    let out = env.fetch(&origin).under("sh", ["-c", limited]).run().expect(1).complains();
    assert!(out.stderr.contains("File too large") || out.stderr.contains("warehouse"), "{}", out.report());
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_signal_is_heard_while_the_books_cannot_be_closed() {
    // A run that ends itself, and a reader that stalls.
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--max-runtime", "1.5", "--dest"]).arg(env.dest());
    let pipe = pipe.arg("--ca-cert").arg(origin.ca()).stdin(guids(20_000).join("\n"));
    let run = pipe.under("sh", ["-c", "mkfifo p; exec 3<>p; exec \"$0\" \"$@\" >p"]).spawn();
    run.wait_for_stderr("--max-runtime");
    let start = Instant::now();
    run.signal("TERM");
    run.wait().expect(143).stderr_has("nobody reads stdout");
    assert!(start.elapsed() < SIX + Duration::from_secs(1), "{:?}", start.elapsed());
}
