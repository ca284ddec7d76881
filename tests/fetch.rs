//! The main job: what is pending goes in, files and a truthful warehouse come out.

use crate::support::{Env, Origin, Reply, Tls, guid, guids, image_for};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn every_pending_image_is_fetched_and_recorded() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.leftovers(), ["lock"]);
    let paths: BTreeSet<String> = origin.requests().into_iter().map(|r| r.path).collect();
    let wanted: BTreeSet<String> = guids.iter().map(|guid| format!("/thumbs/{guid}.jpg")).collect();
    assert_eq!(paths, wanted);
    assert_eq!(origin.request_count(), 40);
}

#[test]
fn a_run_leaves_one_row_that_tells_the_truth() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).run().expect(0);
    let row = env.query(
        "SELECT status, pending, fetched, reused, failed, bytes, requests, workers, fanout, version, url, \
         dest, error, finished_at >= started_at, updated_at >= started_at, pid > 0, run_id IS NOT NULL, \
         host IS NOT NULL, ltrim(extension, '.') FROM run_manifest",
    );
    let bytes: usize = guids.iter().map(|guid| image_for(guid).len()).sum();
    let dest = env.dest().display().to_string();
    let (bytes, url) = (bytes.to_string(), origin.template());
    let wanted = [
        "complete",
        "12",
        "12",
        "0",
        "0",
        &bytes,
        "12",
        "3",
        "0",
        env!("CARGO_PKG_VERSION"),
        &url,
        &dest,
        "NULL",
        "true",
        "true",
        "true",
        "true",
        "true",
        "jpg",
    ];
    assert_eq!(row, [wanted]);
    let opened = origin.connections().to_string();
    assert_eq!(env.value("SELECT connections FROM run_manifest"), opened);
}

#[test]
fn what_succeeds_gets_the_time_in_utc() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    // A zone far from UTC, lest local time pass for it.
    env.fetch(&origin).env("TZ", "Pacific/Kiritimati").run().expect(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for column in ["(SELECT updated_at FROM dim_image)", "started_at", "finished_at"] {
        let off = env.value(&format!("SELECT abs(epoch({column}) - {now}) < 300 FROM run_manifest"));
        assert_eq!(off, "true", "{column}");
    }
}

#[test]
fn a_second_run_makes_no_request() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).run().expect(0);
    let before = env.query("FROM dim_image ORDER BY ALL");
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count(), 10);
    assert!(origin.connections() <= 3);
    assert_eq!(env.runs(), ["complete"], "a run that finds nothing pending writes nothing");
    assert_eq!(env.query("FROM dim_image ORDER BY ALL"), before);
}

#[test]
fn a_run_with_nothing_to_do_writes_nothing() {
    let (env, origin) = (Env::with::<&str>(&[]), Origin::start());
    let before = std::fs::read(env.warehouse()).unwrap();
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!(summary["pending"], 0);
    assert_eq!(summary["exit_code"], 0);
    assert!(std::fs::read(env.warehouse()).unwrap() == before, "the warehouse changed");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn only_what_is_missing_is_fetched() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).run().expect(0);
    env.sql("UPDATE dim_image SET thumb_downloaded = false WHERE rowid < 5");
    for row in env.query("SELECT source_image_id FROM dim_image WHERE rowid < 5") {
        std::fs::remove_file(env.image(&row[0])).unwrap();
    }
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 25);
    assert_eq!(env.runs(), ["complete", "complete"]);
}

#[test]
fn a_whole_file_that_is_already_there_is_reused_without_a_request() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let image = image_for(&guids[0]);
    env.write(&format!("thumbs/{}.jpg", guids[0]), &image);
    // What a lesser program may have left: nothing, a half, and a page.
    env.write(&format!("thumbs/{}.jpg", guids[1]), "");
    env.write(&format!("thumbs/{}.jpg", guids[2]), &image_for(&guids[2])[..4000]);
    env.write(&format!("thumbs/{}.jpg", guids[3]), "<html>Sorry</html>");
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["fetched"]), (&1.into(), &4.into()));
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 4);
    assert!(origin.requests().iter().all(|request| request.guid != guids[0]));
}

#[test]
fn three_workers_open_one_connection_each() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    origin.release();
    run.wait().expect(0);
    assert_eq!((origin.connections(), origin.handshakes(), origin.request_count()), (3, 3, 60));
    assert_eq!(env.value("SELECT connections FROM run_manifest"), "3");
    env.assert_done(&guids);
}

#[test]
fn workers_are_requests_in_flight() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).args(["--workers", "7"]).spawn();
    origin.wait_for_requests(7);
    origin.release();
    run.wait().expect(0);
    assert_eq!(origin.connections(), 7);
}

#[test]
fn missing_images_and_redirects_leave_the_connections_at_three() {
    let guids = guids(45);
    let (env, origin) = (Env::with(&guids), Origin::start());
    for (n, guid) in guids.iter().enumerate() {
        match n % 3 {
            0 => origin.on(guid, [Reply::bytes(404, "text/html", "<h1>gone</h1>".repeat(500))]),
            1 => origin.on(guid, [Reply::redirect(302, &format!("/moved/{guid}.jpg"))]),
            _ => {}
        }
    }
    let summary = env.fetch(&origin).arg("--json").run().expect(4).json();
    assert!(origin.connections() <= 3, "{} connections", origin.connections());
    assert_eq!(summary["requests"], 60);
    assert_eq!((&summary["fetched"], &summary["failed"]), (&30.into(), &15.into()));
    assert_eq!(summary["failures"], serde_json::json!({"not_found": 15}));
    let found: Vec<&String> = guids.iter().skip(1).step_by(3).chain(guids.iter().skip(2).step_by(3)).collect();
    env.assert_done(&found);
    assert_eq!(env.runs(), ["complete"]);
}

#[test]
fn a_request_says_who_asks_and_wants_the_bytes_as_they_are() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    env.fetch(&origin).args(["--header", "X-Team: images", "--header", "Accept: image/*"]).run().expect(0);
    let request = &origin.requests()[0];
    let agent = format!("toller/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.method, "GET");
    assert_eq!(request.header("User-Agent"), Some(agent.as_str()));
    assert_eq!(request.header("Accept-Encoding"), Some("identity"));
    assert_eq!(request.header("X-Team"), Some("images"));
    assert_eq!(request.header("Accept"), Some("image/*"));
    let host = format!("localhost:{}", origin.port());
    assert_eq!(request.header("Host"), Some(host.as_str()));
}

#[test]
fn a_missing_image_is_known_for_good() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    let failure = "SELECT source_image_id, url, kind, http_status, attempts, permanent, failed_at IS NOT NULL, \
                   run_id = (SELECT run_id FROM run_manifest ORDER BY started_at DESC LIMIT 1) FROM thumb_failure";
    let url = origin.template().replace("{guid}", &guids[0]);
    let row =
        |attempts| [guids[0].as_str(), &url, "not_found", "404", attempts, "true", "true", "true"].map(str::to_owned);
    assert_eq!(env.query(failure), [row("1")]);
    // The next run knows it, and has nothing to do.
    env.fetch(&origin).run().expect(0);
    assert_eq!((origin.request_count(), env.runs().len()), (3, 1));
    // Asked again on demand, and counted on.
    env.fetch(&origin).arg("--retry-failed").run().expect(4);
    assert_eq!(env.query(failure), [row("2")]);
    // At another address it is another matter.
    let elsewhere = format!("{}/elsewhere/{{guid}}.jpg", origin.url());
    env.fetch_url(&elsewhere).arg("--ca-cert").arg(origin.ca()).run().expect(0);
    assert_eq!(env.query(failure), Vec::<Vec<String>>::new(), "a success deletes the row");
    env.assert_done(&guids);
}

#[test]
fn a_failure_that_may_pass_is_tried_again_by_the_next_run() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[1], [Reply::status(503), Reply::image()]);
    env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    assert_eq!(env.query("SELECT kind, permanent FROM thumb_failure"), [["server_error", "false"]]);
    assert_eq!(env.runs(), ["partial"]);
    env.fetch(&origin).args(["--retries", "0"]).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    assert_eq!(env.runs(), ["partial", "complete"]);
}

#[test]
fn a_failure_that_passes_is_no_failure() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(500), Reply::status(503), Reply::image()]);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["failed"], &summary["requests"]), (&0.into(), &6.into()));
    env.assert_done(&guids);
}

#[test]
fn what_may_pass_outweighs_what_will_not() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(410)]);
    origin.on(&guids[1], [Reply::status(500)]);
    let out = env.fetch(&origin).args(["--json", "--retries", "0"]).run().expect(3);
    let failures = serde_json::json!({"not_found": 1, "server_error": 1});
    assert_eq!(out.json()["failures"], failures);
    assert_eq!(out.json()["status"], "partial");
}

#[test]
fn a_page_with_status_200_and_a_torn_image_are_never_saved() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::html()]);
    origin.on(&guids[1], [Reply::image().until_close().cut_tail(300)]);
    origin.on(&guids[2], [Reply::image().cut_body(5000)]);
    env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    env.assert_done(&guids[3..]);
    let kinds = "SELECT source_image_id, kind, permanent FROM thumb_failure";
    let kinds: BTreeSet<Vec<String>> = env.query(kinds).into_iter().collect();
    let wanted = [(0, "not_an_image", "true"), (1, "truncated", "false"), (2, "truncated", "false")];
    let wanted = wanted.map(|(n, kind, permanent)| vec![guids[n].clone(), kind.into(), permanent.into()]);
    assert_eq!(kinds, BTreeSet::from(wanted));
}

#[test]
fn an_image_that_proves_its_end_needs_no_length_and_one_that_does_not_needs_it() {
    let (env, origin) = (Env::with(&["bmp", "gif"]), Origin::start());
    let bmp = [&b"BM\0\0\0\0\0\0\0\0\x1A\0\0\0\x0C\0\0\0\x02\0\x02\0\x01\0\x18\0"[..], &[9; 16]].concat();
    let gif = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0".to_vec();
    origin.on("bmp", [Reply::bytes(200, "image/bmp", bmp.clone()).until_close()]);
    origin.on("gif", [Reply::bytes(200, "image/gif", gif.clone())]);
    env.fetch(&origin).run().expect(0);
    for (guid, image) in [("bmp", bmp), ("gif", gif)] {
        assert_eq!(std::fs::read(env.image(guid)).unwrap(), image);
    }
}

#[test]
fn plain_http_works_and_is_warned_about() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::builder().plain_http().start());
    env.fetch_url(&origin.template()).run().expect(0).stderr_has("http");
    env.assert_done(&guids);
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_the_run() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().tls(Tls::UnknownCa).start());
    env.fetch(&origin).args(["--retries", "0"]).run().expect(1).complains();
    assert_eq!(origin.request_count(), 0);
    assert_eq!(env.value("SELECT DISTINCT kind FROM thumb_failure"), "tls");
    assert_eq!(env.runs(), ["failed"]);
    env.assert_done::<&str>(&[]);
}

#[test]
fn two_fetches_do_not_share_a_destination() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let first = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    let second = env.fetch(&origin).run().expect(75).complains();
    let names_the_holder = second.stderr.contains(&first.pid().to_string());
    assert!(names_the_holder, "{}", second.report());
    origin.release();
    first.wait().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["complete"]);
}

#[test]
fn a_slow_origin_is_no_reason_to_fail() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.always(|_| Reply::image().after(Duration::from_millis(200)));
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn the_summary_is_one_json_object() {
    let guids = guids(8);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let out = env.fetch(&origin).arg("--json").run().expect(0);
    let summary = out.json();
    let keys: BTreeSet<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = "run_id status exit_code pending fetched reused unchanged failed failures bytes requests connections \
                  seconds images_per_second";
    assert_eq!(keys, wanted.split_whitespace().collect());
    assert_eq!(summary["status"], "complete");
    assert_eq!(summary["run_id"], env.value("SELECT run_id FROM run_manifest"));
    assert_eq!(summary["failures"], serde_json::json!({}));
    assert_eq!((&summary["pending"], &summary["fetched"]), (&8.into(), &8.into()));
    assert!(summary["seconds"].as_f64().unwrap() > 0.0);
    assert!(summary["images_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn without_json_nothing_goes_to_stdout_but_the_summary() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let out = env.fetch(&origin).args(["-q"]).run().expect(0);
    assert_eq!(out.stderr, "", "{}", out.report());
    assert!(!out.stdout.contains('\x1b') && !out.stdout.contains('\r'), "{}", out.report());
}

#[test]
fn in_a_large_table_what_stands_failed_is_left_out_and_counted_and_the_order_is_kept() {
    let origin = Origin::start();
    let env = Env::new();
    env.sql(&format!(
        "CREATE TABLE dim_image AS SELECT 'g' || i AS source_image_id, i < 1_200_000 AS thumb_downloaded, \
         NULL::TIMESTAMP AS updated_at FROM range(2_500_000) AS r(i);
         CREATE TABLE thumb_failure (source_image_id VARCHAR NOT NULL, url VARCHAR, kind VARCHAR NOT NULL, http_status INTEGER, \
         message VARCHAR, attempts BIGINT, permanent BOOLEAN NOT NULL, run_id VARCHAR, failed_at TIMESTAMP);
         INSERT INTO thumb_failure SELECT 'g' || (1_200_000 + 2 * i), replace('{}', '{{guid}}', 'g' || (1_200_000 + 2 * i)), \
         'not_found', 404, 'm', 1, true, 'r', now()::TIMESTAMP FROM range(50_000) AS r(i);
         UPDATE thumb_failure SET url = 'https://elsewhere.example/' WHERE source_image_id = 'g1200004';",
        origin.template()
    ));
    let status = env.toller(["status", "--json", "--warehouse"]).arg(env.warehouse()).run().expect(0).json();
    assert_eq!((&status["pending"], &status["failed_permanent"]), (&1_300_000.into(), &50_000.into()));
    let plan = env.fetch(&origin).args(["-n", "--limit", "5"]).run().expect(0);
    assert!(plan.stdout.starts_with("would fetch 5 of 1,250,001 images; 49,999 failed for good"), "{}", plan.stdout);
    env.fetch(&origin).args(["--limit", "3"]).run().expect(0);
    let home = "SELECT source_image_id FROM dim_image WHERE thumb_downloaded AND rowid >= 1_200_000 ORDER BY rowid";
    assert_eq!(env.query(home), [["g1200001"], ["g1200003"], ["g1200004"]]);
    assert_eq!(env.value("SELECT pending FROM run_manifest"), "1250001");
}
