//! Asking again: what may pass is asked for again, not at once and not alone, an origin that asks for peace gets
//! it from all workers together, and every run ends.

use crate::support::{End, Env, Origin, Reply, Request, binary, guid, guids};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A number below 100 that looks random and is the same in every run of the test. With this seed five attempts are
/// the most that one of a thousand images takes, which is what most seeds come to.
fn lot(request: &Request) -> u64 {
    const SEED: u64 = 6;
    let mut hasher = DefaultHasher::new();
    (&request.path, request.nth_of_path, SEED).hash(&mut hasher);
    hasher.finish() % 100
}

#[test]
fn a_thousand_images_arrive_from_an_origin_that_fails_every_fifth_time() {
    let guids = guids(1000);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    origin.always(move |request| match lot(request) {
        0..20 => Reply::status(503),
        lot @ (20 | 21) => {
            counted.fetch_add(1, Ordering::Relaxed);
            // Before a word of the answer, and in the middle of it.
            if lot == 20 { Reply::nothing().then(End::Reset) } else { Reply::image().cut_body(100).then(End::Reset) }
        }
        _ => Reply::image(),
    });
    let start = Instant::now();
    let out = env.fetch(&origin).args(["--retries", "8", "--json"]).run().expect(0);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((&out.json()["fetched"], &out.json()["failed"]), (&1000.into(), &0.into()));
    env.assert_done(&guids);
    let (handshakes, resets) = (origin.handshakes(), resets.load(Ordering::Relaxed));
    assert!(resets > 10 && handshakes <= 3 + resets, "{handshakes} handshakes, {resets} resets");
}

#[test]
fn a_worker_serves_others_while_one_image_waits_for_its_next_attempt() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(503).retry_after(1), Reply::image()]);
    origin.on(&guids[1], [Reply::status(500), Reply::status(500), Reply::image()]);
    env.fetch(&origin).args(["--workers", "1"]).run().expect(0);
    env.assert_done(&guids);
    let order: Vec<String> = origin.requests().into_iter().map(|request| request.guid).collect();
    let again = order.iter().skip(1).position(|guid| *guid == guids[0]).unwrap();
    assert!(again > 0, "the second attempt came right after the first");
    assert_eq!(origin.connections(), 1);
}

/// Fetches from an origin whose tenth answer is this one, and asserts that nobody sent anything for so long.
fn assert_peace(answer: impl Fn() -> Reply + Send + Sync + 'static, peace: Duration) {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let slow = Duration::from_millis(50);
    origin.always(move |request| if request.nth == 10 { answer() } else { Reply::image().after(slow) });
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["fetched"], &summary["failed"]), (&40.into(), &0.into()));
    env.assert_done(&guids);
    let requests = origin.requests();
    let asked = requests[9].at;
    // What the other workers had sent before the answer came does not count.
    let underway = asked + Duration::from_millis(250);
    let early = requests.iter().filter(|request| request.at > underway && request.at < asked + peace).count();
    assert_eq!(early, 0, "requests before {peace:?} were over");
    assert_eq!(requests.len(), 41);
    assert!(requests[40].at.duration_since(asked) < peace + Duration::from_secs(5), "then it goes on");
    assert_eq!(origin.connections(), 3);
}

#[test]
fn retry_after_is_obeyed_by_all_workers_in_seconds_and_as_a_date() {
    let dated = || {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
        Reply::status(503).header("Retry-After", &date)
    };
    thread::scope(|scope| {
        scope.spawn(|| assert_peace(|| Reply::status(429).retry_after(3), Duration::from_secs(3)));
        // A date has no fractions: up to a second of the three is lost.
        scope.spawn(|| assert_peace(dated, Duration::from_secs(2)));
    });
}

#[test]
fn waiting_for_peace_is_no_part_of_an_attempt() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(429).retry_after(2), Reply::image()]);
    env.fetch(&origin).args(["--timeout", "1", "--retries", "1"]).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_storm_of_429_ends_and_nothing_has_failed() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|request| if request.nth <= 12 { Reply::status(429) } else { Reply::image() });
    env.fetch(&origin).args(["--retries", "8"]).run().expect(0);
    env.assert_done(&guids);
    // A slow pace may need fewer.
    assert!(origin.connections() <= 3, "{}", origin.connections());
}

#[test]
fn a_long_retry_after_ends_the_run_and_says_when_to_come_back() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[9], [Reply::status(429).retry_after(3600), Reply::image()]);
    let start = Instant::now();
    let out = env.fetch(&origin).args(["--json", "--workers", "1"]).run().expect(3);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let at = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_hours(1)).to_string();
    // To the minute, or the one before: the run is over by now.
    let before = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_mins(59)).to_string();
    let said = [at, before].iter().any(|time| out.stderr.contains(&time[..16]));
    assert!(said && out.stderr.contains("1h"), "{}", out.report());
    assert_eq!(out.json()["status"], "interrupted");
    assert_eq!(env.runs(), ["interrupted"]);
    assert_eq!(env.value("SELECT error IS NOT NULL FROM run_manifest"), "true");
    env.assert_true();
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), env.files().len().to_string());
    assert!(env.files().len() >= 9 && origin.request_count() < 30);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure WHERE permanent"), "0");
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced_for_free() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    // Each connection is closed soon after its answer, and found so, or not, when the next request is due.
    origin.always(|request| Reply::image().then(End::CloseAfter(Duration::from_millis([0, 40, 90][request.nth % 3]))));
    origin.on(&guids[11], [Reply::status(404).then(End::Close)]);
    let fetch = env.fetch(&origin).args(["--retries", "0", "--rate", "20", "--json"]);
    let summary = fetch.run().expect(4).json();
    assert_eq!((&summary["fetched"], &summary["failures"]), (&11.into(), &serde_json::json!({"not_found": 1})));
    env.assert_done(&guids[..11]);
    assert_eq!(origin.request_count(), 12, "a request into a dead connection never arrives");
    assert_eq!(env.value("SELECT attempts FROM thumb_failure"), "1");
}

#[test]
fn an_origin_that_restarts_costs_no_attempt() {
    let guids = guids(9);
    let env = Env::with(&guids);
    let first = Origin::builder().small().start();
    first.hold();
    first.allow(3);
    let (port, ca) = (first.port(), first.ca());
    let pem = env.write("ca.pem", std::fs::read(ca).unwrap());
    let fetch = env.fetch_url(&first.template()).arg("--ca-cert").arg(pem);
    let run = fetch.args(["--workers", "1", "--timeout", "10"]).spawn();
    first.wait_for_requests(4);
    // The fourth is in flight when the origin dies, the others come when it is there again.
    drop(first);
    let second = Origin::builder().small().port(port).start();
    run.wait().expect(0);
    env.assert_done(&guids);
    assert!(second.request_count() >= 6);
}

#[test]
fn attempts_add_up_over_runs_and_a_success_clears_them() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let bad = || Reply::status(500);
    origin.on(&guids[0], [bad(), bad(), Reply::status(502), Reply::status(502), bad(), Reply::image()]);
    let stands = "SELECT attempts, http_status, permanent, run_id = (SELECT run_id FROM run_manifest \
                  ORDER BY started_at DESC LIMIT 1) FROM thumb_failure";
    env.fetch(&origin).args(["--retries", "1"]).run().expect(3);
    assert_eq!(env.query(stands), [["2", "500", "false", "true"]]);
    env.fetch(&origin).args(["--retries", "1"]).run().expect(3);
    assert_eq!(env.query(stands), [["4", "502", "false", "true"]]);
    env.fetch(&origin).args(["--retries", "1"]).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    env.assert_done(&guids);
    // The tally counts each run for itself.
    assert_eq!(
        env.query("SELECT failed, requests FROM run_manifest ORDER BY started_at").concat(),
        ["1", "4", "1", "2", "0", "2"]
    );
}

#[test]
fn what_failed_for_good_is_asked_for_again_on_demand_only() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(403), Reply::image()]);
    origin.on(&guids[1], [Reply::html(), Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count(), 4);
    env.fetch(&origin).arg("--retry-failed").run().expect(4);
    assert_eq!(origin.request_count(), 6);
    env.assert_done(&[&guids[0], &guids[2], &guids[3]]);
    let stands = env.query("SELECT source_image_id, kind, attempts FROM thumb_failure");
    assert_eq!(stands, [[guids[1].as_str(), "not_found", "2"]]);
}

#[test]
fn a_new_url_in_the_column_is_a_new_chance() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let base = origin.url();
    env.sql(&format!(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, address VARCHAR);
         INSERT INTO dim_image VALUES ('a', false, '{base}/gone/a.jpg'), ('b', false, '{base}/gone/b.jpg')"
    ));
    origin.on("/gone/a.jpg", [Reply::status(404)]);
    origin.on("/gone/b.jpg", [Reply::status(404)]);
    let fetch = || {
        let fetch = env.toller(["fetch", "--url-column", "address", "--extension", "jpg", "--warehouse"]);
        fetch.arg(env.warehouse()).arg("--dest").arg(env.dest()).arg("--ca-cert").arg(origin.ca())
    };
    fetch().run().expect(4);
    env.sql(&format!("UPDATE dim_image SET address = '{base}/moved/a.jpg' WHERE source_image_id = 'a'"));
    fetch().run().expect(0);
    assert_eq!(origin.requests().iter().map(|request| request.nth_of_path).max(), Some(1));
    assert_eq!(env.query("SELECT source_image_id, attempts FROM thumb_failure"), [["b", "1"]]);
    env.assert_done(&["a"]);
}

#[test]
fn the_list_of_what_failed_can_be_fetched_again() {
    let guids = guids(8);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[2], [Reply::status(404)]);
    origin.on(&guids[3], [Reply::status(500), Reply::image()]);
    origin.on(&guids[5], [Reply::html()]);
    env.sql("INSERT INTO dim_image VALUES ('../up', false, NULL)");
    let list = env.path("failed.txt");
    let failed_list = || env.fetch(&origin).args(["--retries", "0"]).arg("--failed-list").arg(&list);
    failed_list().run().expect(3);
    let listed = std::fs::read_to_string(&list).unwrap();
    assert!(listed.ends_with('\n'));
    let wanted: BTreeSet<&str> = [&guids[2], &guids[3], &guids[5], "../up"].into();
    assert_eq!(listed.lines().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(listed.lines().count(), 4);
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.path("again"));
    let out = pipe.arg("--ca-cert").arg(origin.ca()).stdin(listed).run().expect(4);
    assert_eq!(out.stdout.lines().filter(|line| line.contains("\"ok\":true")).count(), 1, "{}", out.report());
    assert_eq!(origin.requests().iter().filter(|request| request.nth_of_path == 2).count(), 3);
    // Nothing is asked for again but what may pass, and it does: the list is a new one, and empty.
    failed_list().run().expect(0);
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "");
}

#[test]
fn the_list_of_what_failed_takes_the_place_of_nothing_that_is_read() {
    let (env, origin) = (Env::with(&guids(2)), Origin::builder().small().start());
    let headers = env.write("headers", "X-Key: secret\n");
    std::os::unix::fs::symlink(env.warehouse(), env.path("link")).unwrap();
    let before = std::fs::read(env.warehouse()).unwrap();
    for list in ["warehouse.duckdb", "./thumbs/../warehouse.duckdb", "link", "headers"] {
        std::fs::create_dir_all(env.dest()).unwrap();
        let fetch = env.fetch(&origin).arg("--header-file").arg(&headers).args(["--failed-list", list]);
        fetch.run().expect(2).complains().stderr_has("--failed-list");
    }
    assert!(std::fs::read(env.warehouse()).unwrap() == before);
    assert_eq!((std::fs::read_to_string(&headers).unwrap().as_str(), origin.request_count()), ("X-Key: secret\n", 0));
}

#[test]
fn an_earlier_list_of_what_failed_stays_until_there_is_a_new_one() {
    let (env, origin) = (Env::with(&guids(3)), Origin::builder().small().start());
    let list = env.write("failed.txt", "gone\n");
    // The list is what it reads.
    origin.on("gone", [Reply::status(404), Reply::status(404)]);
    let pipe = env
        .program("sh")
        .args(["-c", "exec \"$0\" \"$@\" <failed.txt"])
        .arg(binary())
        .args(["pipe", "--dest", "again"]);
    let pipe = pipe.args(["--failed-list", "failed.txt", "--url", &origin.template(), "--ca-cert"]).arg(origin.ca());
    pipe.run().expect(4);
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "gone\n");
    // Another run is at work there, and then the run is killed.
    origin.hold();
    let first = env.fetch(&origin).spawn();
    origin.wait_for_requests(4);
    let fetch = || env.fetch(&origin).args(["--failed-list", "failed.txt"]);
    fetch().run().expect(75);
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "gone\n");
    origin.release();
    first.wait().expect(0);
    fetch().run().expect(0);
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "");
    let left = std::fs::read_dir(env.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with(".failed")));
}

#[test]
fn an_origin_that_is_always_slow_fails_and_does_not_hang() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    origin.on(&guid(1), [Reply::image().drip(Duration::from_millis(200))]);
    let start = Instant::now();
    env.fetch(&origin).args(["--timeout", "0.5", "--retries", "1"]).run().expect(3);
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!(env.query("SELECT kind, attempts FROM thumb_failure"), [["timeout", "2"]]);
}

#[test]
fn what_failed_for_good_long_enough_ago_is_asked_for_again() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    for (guid, days) in [(&guids[0], 8), (&guids[1], 6)] {
        let set = "UPDATE thumb_failure SET failed_at = failed_at - INTERVAL";
        env.sql(&format!("{set} {days} DAY WHERE source_image_id = '{guid}'"));
    }
    let asked = |guid: &str| origin.requests().iter().filter(|request| request.guid == guid).count();
    let counts = || (asked(&guids[0]), asked(&guids[1]));
    env.fetch(&origin).run().expect(0).stdout_has("2 failed for good");
    env.fetch(&origin).arg("--retry-failed=9d").run().expect(0).stdout_has("2 failed for good");
    env.fetch(&origin).env("TOLLER_RETRY_FAILED", "0").run().expect(0).stdout_has("2 failed for good");
    assert_eq!(counts(), (1, 1), "neither is old enough");
    let plan = env.fetch(&origin).args(["--dry-run", "--retry-failed=7d"]).run().expect(0);
    plan.stdout_has("would fetch 1 of 1 images").stdout_has("1 failed for good");
    env.fetch(&origin).arg("--retry-failed=7d").run().expect(4);
    assert_eq!(counts(), (2, 1), "eight days are more than seven, six are not");
    env.fetch(&origin).env("TOLLER_RETRY_FAILED", "5d").run().expect(4);
    assert_eq!(counts(), (2, 2), "the first one has failed anew meanwhile");
    env.fetch(&origin).env("TOLLER_RETRY_FAILED", "1").run().expect(4);
    assert_eq!(counts(), (3, 3), "a switch that is on");
    env.fetch(&origin).arg("--retry-failed").args(["--limit", "1"]).run().expect(4);
    assert_eq!(asked(&guids[0]) + asked(&guids[1]), 7, "no value is taken from what follows");
    env.fetch(&origin).arg("--retry-failed=soon").run().expect(2).complains().stderr_has("--retry-failed soon");
}
