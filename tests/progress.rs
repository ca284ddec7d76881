//! What a run shows while it goes on: what it does, what it waits for and until when, on a terminal of any width, in a log,
//! and to programs.

use crate::support::{Cmd, Env, Origin, Reply, eventually, guids};
use serde_json::Value;
use std::time::Duration;

/// A run in a log, where each wait has a line of its own.
fn lines(env: &Env, origin: &Origin) -> Cmd {
    env.fetch(origin).args(["--progress", "lines"])
}

/// How often the run has said so.
fn times(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn a_run_says_first_what_it_fetches_from_where_to_where_and_how_many() {
    let (env, origin) = (Env::with(&guids(12)), Origin::builder().small().start());
    let out = env.fetch(&origin).args(["--limit", "5"]).run().expect(0);
    let from_where_to_where = format!("fetching 5 images from {} to {}", origin.template(), env.dest().display());
    let run = env.value("SELECT run_id FROM run_manifest");
    assert!(
        out.stderr.starts_with(&format!("toller: {from_where_to_where}, 3 connections, run {run}\n")),
        "{}",
        out.report()
    );
    for silent in [vec!["--progress", "none"], vec!["-q"]] {
        let out = env.fetch(&origin).args(["--limit", "2"]).args(silent).run().expect(0);
        assert_eq!(out.stderr, "", "{}", out.report());
    }
}

#[test]
fn a_cool_down_is_told_with_its_end_and_cause_when_it_begins_and_once_more_when_it_is_over() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[3], [Reply::status(429).retry_after(2), Reply::image()]);
    let run = lines(&env, &origin).spawn();
    run.wait_for_stderr("cool-down until ");
    let out = run.wait().expect(0);
    let line = out.stderr.lines().find(|line| line.contains("cool-down")).unwrap();
    let (until, rest) = line.strip_prefix("toller: cool-down until ").unwrap().split_at(8);
    assert!(until.bytes().filter(|b| *b == b':').count() == 2, "{line}");
    assert_eq!(rest, " UTC, for 2 s more: status 429 Too Many Requests");
    assert_eq!((times(&out.stderr, "cool-down"), times(&out.stderr, "goes on after ")), (1, 1), "{}", out.report());
}

#[test]
fn the_first_answer_is_waited_for_in_words() {
    let (env, origin) = (Env::with(&guids(6)), Origin::builder().small().start());
    origin.hold();
    let run = lines(&env, &origin).spawn();
    run.wait_for_stderr("toller: waiting for the first answer\n");
    origin.release();
    run.wait().expect(0).stderr_has("toller: goes on after ");
}

#[test]
fn whoever_has_the_warehouse_is_named_while_it_is_waited_for_at_the_start_and_at_the_end() {
    let (env, origin) = (Env::with(&guids(6)), Origin::builder().small().start());
    let locked = format!("(PID {})\n", std::process::id());
    let other = env.occupy();
    origin.hold();
    let run = lines(&env, &origin).spawn();
    run.wait_for_stderr("toller: the warehouse is locked by ");
    run.wait_for_stderr(&locked);
    drop(other);
    origin.wait_for_requests(3);
    let other = env.occupy();
    origin.release();
    eventually("all the files", || (env.files().len() == 6).then_some(()));
    run.wait_for_stderr_times("toller: the warehouse is locked by ", 2);
    drop(other);
    let out = run.wait().expect(0);
    assert_eq!(times(&out.stderr, &locked), 2, "{}", out.report());
    assert!(out.stderr.starts_with("toller: the warehouse is locked by "), "{}", out.report());
}

#[test]
fn a_limit_of_the_users_own_is_named_once() {
    let (env, origin) = (Env::with(&guids(6)), Origin::builder().small().start());
    let out = lines(&env, &origin).args(["--rate", "4"]).run().expect(0);
    assert_eq!(times(&out.stderr, "toller: held back by --rate\n"), 1, "{}", out.report());
}

#[test]
fn an_origin_that_went_away_is_told_with_its_cause() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    // It is back before the first probe, which comes a second after the fifth failure.
    let since = std::sync::OnceLock::new();
    origin.always(move |request| {
        let away = |from: &std::time::Instant| request.at.duration_since(*from) < Duration::from_millis(950);
        let is_away = request.nth >= 20 && away(since.get_or_init(|| request.at));
        if is_away { Reply::nothing() } else { Reply::image() }
    });
    let out = lines(&env, &origin).run().expect(0);
    assert_eq!(times(&out.stderr, "toller: the origin is away, next try in 1 s: "), 1, "{}", out.report());
    assert_eq!(times(&out.stderr, "toller: goes on after "), 1, "{}", out.report());
}

/// What was drawn over itself, each state of the line by itself.
fn drawn(screen: &str) -> Vec<String> {
    let states = screen.split(['\r', '\n']).map(|state| state.replace("\x1b[K", ""));
    states.filter(|state| !state.is_empty()).collect()
}

#[test]
fn the_bar_fits_every_terminal_and_says_in_it_what_matters_most() {
    for (columns, wanted) in [
        (40, "░ 0 of 1,234, no answer yet"),
        (80, "░ 0 of 1,234, waiting for the first answer"),
        (200, &format!("{} 0 of 1,234, waiting for the first answer", "░".repeat(40))),
    ] {
        let (env, origin) = (Env::with(&guids(1234)), Origin::builder().small().start());
        origin.hold();
        let mut run = env.fetch(&origin).open_stdin().on_terminal(columns).spawn();
        run.wait_for_stdout(wanted);
        run.say("\x03");
        run.wait_for_stdout("stopped by signal 2: finishing 3 images; once more to stop now");
        origin.release();
        let out = run.wait().expect(130);
        let bars =
            drawn(&out.stdout).into_iter().filter(|state| state.contains(" of 1,234") && !state.contains("toller:"));
        let longest = bars.map(|state| state.trim_end_matches("^C").chars().count()).max();
        assert!(longest.is_some_and(|longest| longest < columns.into()), "{longest:?} of {columns}\n{}", out.report());
        assert!(out.stdout.contains("interrupted: 3 images in "), "{}", out.report());
    }
}

#[test]
fn the_bar_shows_what_failed_and_how_fast_it_goes_of_late() {
    let guids = guids(400);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    guids[..3].iter().for_each(|guid| origin.on(guid, [Reply::status(404)]));
    guids[3..5].iter().for_each(|guid| origin.on(guid, [Reply::status(500), Reply::image()]));
    origin.always(|_| Reply::image().after(Duration::from_millis(20)));
    let out = env.fetch(&origin).on_terminal(120).run().expect(4);
    let full = drawn(&out.stdout).into_iter().find(|state| {
        ["images/s, ", "B/s, ", "3 failed, ", "2 retries", " left"].iter().all(|part| state.contains(part))
    });
    assert!(full.is_some(), "{}", out.report());
    out.stdout_has("not_found, such as ").stdout_has(": status 404 Not Found");
}

#[test]
fn a_program_gets_an_object_a_line_whatever_there_is_to_say() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[3], [Reply::status(429).retry_after(1), Reply::image()]);
    origin.on(&guids[4], [Reply::status(404)]);
    origin.hold();
    let run = env.fetch(&origin).args(["--progress", "json", "-v"]).spawn();
    run.wait_for_stderr("first_answer");
    origin.release();
    let out = run.wait().expect(4);
    let objects: Vec<Value> = out.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields: Vec<&str> = objects[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = vec![
        "time",
        "state",
        "waits_for",
        "until",
        "why",
        "message",
        "expected",
        "fetched",
        "reused",
        "unchanged",
        "failed",
        "retries",
        "in_flight",
        "bytes",
        "requests",
        "connections",
        "images_per_second",
        "eta_seconds",
    ];
    wanted.sort_unstable();
    assert_eq!(
        {
            let mut fields = fields;
            fields.sort_unstable();
            fields
        },
        wanted
    );
    let some = |state: &str, field: &str, value: Value| {
        objects.iter().any(|object| object["state"] == state && object[field] == value)
    };
    assert!(
        objects[0]["message"].as_str().is_some_and(|text| text.starts_with("fetching 30 images")),
        "{}",
        out.report()
    );
    assert!(some("waiting", "waits_for", "first_answer".into()), "{}", out.report());
    assert!(some("waiting", "why", "status 429 Too Many Requests".into()), "{}", out.report());
    let until = objects.iter().find(|object| object["waits_for"] == "cool_down").unwrap()["until"].as_str().unwrap();
    assert!(until.ends_with('Z') && until.len() == 20, "{until}");
    let message = format!("{}: not_found: status 404 Not Found (1 attempt)", guids[4]);
    assert!(objects.iter().any(|object| object["message"] == message.as_str()), "{}", out.report());
    let last = objects.last().unwrap();
    let counts = ["expected", "fetched", "failed", "retries", "requests"].map(|field| last[field].as_u64().unwrap());
    assert_eq!((&last["state"], counts), (&"ended".into(), [30, 29, 1, 1, 31]), "{}", out.report());
}

#[test]
fn pipe_says_that_nobody_gives_it_anything() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let pipe = env.toller(["pipe", "--progress", "lines", "--url", &origin.template(), "--ca-cert"]).arg(origin.ca());
    let mut run = pipe.arg("--dest").arg(env.dest()).open_stdin().spawn();
    run.wait_for_stderr("toller: fetching what comes on stdin from ");
    run.wait_for_stderr("toller: waiting for GUIDs on stdin\n");
    run.say("a\n");
    run.hang_up();
    run.wait().expect(0).stderr_has("toller: goes on after ");
}
