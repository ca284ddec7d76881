//! Options of `fetch` that choose what is fetched and where it goes, and the environment that stands in for
//! any of them.

use crate::support::{Env, Origin, Reply, guids};
use std::collections::BTreeSet;

#[test]
fn a_limit_takes_so_many_and_judges_those() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).args(["--limit", "4"]).run().expect(0);
    env.assert_true();
    assert_eq!((env.files().len(), origin.request_count()), (4, 4));
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 10);
}

#[test]
fn a_condition_narrows_what_is_pending() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let condition = format!("source_image_id = '{}' OR source_image_id = '{}'", guids[2], guids[4]);
    env.sql(&format!("UPDATE dim_image SET thumb_downloaded = true WHERE source_image_id = '{}'", guids[4]));
    // An OR must not reach around the condition that a row is pending.
    env.fetch(&origin).args(["--where", &condition]).run().expect(0);
    assert_eq!(env.files(), [format!("{}.jpg", guids[2])].into());
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_dry_run_touches_nothing() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let before = std::fs::read(env.warehouse()).unwrap();
    let out = env.fetch(&origin).arg("--dry-run").run().expect(0);
    assert!(guids.iter().all(|guid| out.stdout.contains(guid)), "{}", out.report());
    assert!(std::fs::read(env.warehouse()).unwrap() == before);
    assert!(!env.dest().exists());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_dry_run_shows_no_more_than_would_be_fetched() {
    let (env, origin) = (Env::with(&guids(6)), Origin::start());
    for (limit, shown) in [("0", 0), ("1", 1), ("2", 2), ("5", 3)] {
        let out = env.fetch(&origin).args(["-n", "--limit", limit]).run().expect(0);
        assert!(out.stdout.contains(&format!("would fetch {limit} of 6 images")), "{}", out.report());
        assert_eq!(out.stdout.matches(" -> ").count(), shown, "{}", out.report());
    }
}

#[test]
fn folders_fan_out_by_the_first_characters() {
    let (env, origin) = (Env::with(&["abcdef", "ab", "x"]), Origin::start());
    env.fetch(&origin).args(["--fanout", "2"]).run().expect(0);
    let files = env.files();
    assert!(files.contains("ab/cd/abcdef.jpg"), "{files:?}");
    assert_eq!(files.len(), 3);
    assert_eq!(env.value("SELECT fanout FROM run_manifest"), "2");
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    let summary = env.fetch(&origin).args(["--fanout", "2", "--json"]).run().expect(0).json();
    assert_eq!(summary["reused"], 3, "they are found again where they were put");
}

#[test]
fn the_extension_is_the_templates_or_the_one_that_was_named() {
    for (template, args, file) in [
        ("/thumbs/{guid}.jpeg?v=1.2", &[][..], "a.jpeg"),
        ("/thumbs/{guid}", &[], "a"),
        ("/thumbs/{guid}.jpg", &["--extension", "png"], "a.png"),
        ("/thumbs/{guid}.jpg", &["--extension", ".png"], "a.png"),
    ] {
        let (env, origin) = (Env::with(&["a"]), Origin::start());
        origin.always(|_| Reply::image());
        let fetch = env.fetch_url(&format!("{}{template}", origin.url())).arg("--ca-cert").arg(origin.ca());
        fetch.args(args).run().expect(0);
        assert_eq!(env.files(), BTreeSet::from([file.to_owned()]), "{template} {args:?}");
    }
}

#[test]
fn any_bytes_will_do_where_no_image_is_expected() {
    let (env, origin) = (Env::with(&["a", "b", "c", "d"]), Origin::start());
    let letter = || Reply::bytes(200, "text/plain", "a letter");
    origin.on("a", [letter()]);
    origin.on("b", [Reply::bytes(200, "text/plain", "")]);
    // What it is when it is not encoded so, only an image can show.
    origin.on("c", [letter().header("Content-Encoding", "aws-chunked")]);
    origin.on("d", [Reply::image().header("Content-Encoding", "aws-chunked")]);
    env.fetch(&origin).args(["--expect", "any"]).run().expect(4);
    assert_eq!(std::fs::read_to_string(env.image("a")).unwrap(), "a letter");
    let failed = env.query("SELECT source_image_id, kind, permanent FROM thumb_failure ORDER BY ALL");
    assert_eq!(failed, [["b", "empty", "true"], ["c", "not_an_image", "true"]]);
    env.assert_whole("d");
}

#[test]
fn a_body_over_the_limit_is_too_large() {
    let (env, origin) = (Env::with(&["a", "b"]), Origin::start());
    origin.on("b", [Reply::image().chunked().endless()]);
    env.fetch(&origin).args(["--max-bytes", "100k", "--timeout", "20"]).run().expect(4);
    assert_eq!(env.query("SELECT source_image_id, kind, permanent FROM thumb_failure"), [["b", "too_large", "true"]]);
    env.assert_done(&["a"]);
}

#[test]
fn every_option_may_come_from_the_environment() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let fetch = env
        .toller(["fetch", "--workers", "2"])
        .env("TOLLER_WAREHOUSE", env.warehouse().to_str().unwrap())
        .env("TOLLER_URL", &origin.template())
        .env("TOLLER_DEST", env.dest().to_str().unwrap())
        .env("TOLLER_CA_CERT", origin.ca().to_str().unwrap())
        .env("TOLLER_NO_SYNC", "1")
        .env("TOLLER_JSON", "1")
        .env("TOLLER_WORKERS", "5")
        .env("TOLLER_HEADER", "X-Team: images")
        .env("TOLLER_NO_SUCH_OPTION", "ignored");
    let out = fetch.run().expect(0);
    assert_eq!(out.json()["fetched"], 4);
    assert_eq!(env.value("SELECT workers FROM run_manifest"), "2", "flags win");
    assert_eq!(origin.requests()[0].header("X-Team"), Some("images"));
    env.assert_done(&guids);
    let wrong = env.fetch(&origin).env("TOLLER_RETRIES", "many");
    wrong.run().expect(2).complains();
}

#[test]
fn the_failed_are_listed_for_another_try() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[1], [Reply::status(404)]);
    origin.on(&guids[3], [Reply::status(500)]);
    let list = env.path("failed.txt");
    env.fetch(&origin).args(["--retries", "0", "--failed-list"]).arg(&list).run().expect(3);
    let text = std::fs::read_to_string(&list).unwrap();
    let listed: BTreeSet<&str> = text.lines().collect();
    assert_eq!(listed, BTreeSet::from([guids[1].as_str(), guids[3].as_str()]));
}

#[test]
fn many_workers_are_warned_about_and_help_shows_examples_first() {
    let (env, origin) = (Env::with::<&str>(&["a"]), Origin::start());
    env.fetch(&origin).args(["--workers", "17"]).run().expect(0).stderr_has("17");
    for command in ["fetch", "load", "status"] {
        let out = env.toller([command, "-h"]).run().expect(0);
        let example = out.stdout.find(&format!("toller {command} "));
        let options = out.stdout.find("--warehouse <").or_else(|| out.stdout.find("--lock-wait"));
        assert!(example.is_some() && example < options, "{}", out.report());
    }
    let version = format!("toller {}\n", env!("CARGO_PKG_VERSION"));
    assert!(env.toller(["--version"]).run().expect(0).stdout.starts_with(&version));
}

#[test]
fn the_last_of_two_counts_and_what_was_meant_is_named() {
    let guids = crate::support::guids(5);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let (first, second) = (env.write("a.headers", "X-A: 1\n"), env.write("b.headers", "X-B: 2\n"));
    let fetch = env.fetch(&origin).args(["--limit", "5", "--json", "--limit", "2", "--json"]);
    let fetch = fetch.arg("--header-file").arg(first).arg("--header-file").arg(second);
    assert_eq!(fetch.run().expect(0).json()["fetched"], 2);
    let asked = &origin.requests()[0];
    assert_eq!((asked.header("x-a"), asked.header("x-b")), (Some("1"), Some("2")), "lines of all files are sent");
    env.toller(["fecth"]).run().expect(2).complains().stderr_has("'fetch'");
    env.toller(["status", "--warehose", "x"]).run().expect(2).complains().stderr_has("'--warehouse'");
    env.toller(["help"]).run().expect(0).stdout_has("toller fetch");
    env.toller(["help", "fetch"]).run().expect(0).stdout_has("--url");
}

#[test]
fn times_and_sizes_are_taken_as_people_write_them() {
    let guids = guids(2);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let fetch = env.fetch(&origin).args(["--timeout", "1m30s", "--connect-timeout", "500ms", "--max-runtime", "1h"]);
    let fetch = fetch.args(["--batch-seconds", "1.5", "--lock-wait", "2 min", "--max-bytes", "1.5MiB"]);
    fetch.args(["--bandwidth", "2MB"]).env("TOLLER_MAX_RUNTIME", "7d").run().expect(0);
    env.assert_done(&guids);
    for (option, value) in
        [("--timeout", "1M"), ("--max-runtime", "0"), ("--lock-wait", "99y"), ("--max-bytes", "2Mbit")]
    {
        let out = env.fetch(&origin).args([option, value]).run().expect(2).complains();
        out.stderr_has(&format!("{option} {value}")).stderr_has("it must be");
    }
}
