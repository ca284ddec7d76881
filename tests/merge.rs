//! `toller merge`: what pipes printed comes home, once and truly.

use crate::support::{Cmd, Env, Origin, Reply, guids};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// Everything that a second merge must not change.
const IMAGES: &str = "SELECT * FROM dim_image ORDER BY ALL";
const FAILURES: &str = "SELECT * FROM thumb_failure ORDER BY ALL";

fn merge(env: &Env, sources: &[&str]) -> Cmd {
    env.toller(["merge", "--warehouse"]).arg(env.warehouse()).args(sources)
}

fn pipe(env: &Env, origin: &Origin) -> Cmd {
    let pipe = env.toller(["pipe", "--retries", "0", "--url", &origin.template(), "--dest"]);
    pipe.arg(env.dest()).arg("--ca-cert").arg(origin.ca())
}

fn text(guids: &[String]) -> String {
    guids.iter().map(|guid| format!("{guid}\n")).collect()
}

fn ok(guid: &str) -> String {
    format!(r#"{{"guid":"{guid}","ok":true,"bytes":10,"finished_at":"2026-01-01T00:00:00.000001Z"}}"#) + "\n"
}

fn failed(guid: &str, second: u32) -> String {
    let rest = format!(r#""attempts":2,"finished_at":"2026-01-01T00:00:{second:02}.5Z""#);
    format!(r#"{{"guid":"{guid}","ok":false,"kind":"server_error","http_status":503,"message":"m",{rest}}}"#) + "\n"
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn done(env: &Env) -> Vec<String> {
    let rows = env.query("SELECT source_image_id FROM dim_image WHERE thumb_downloaded ORDER BY 1");
    rows.into_iter().map(|row| row[0].clone()).collect()
}

#[test]
fn pipe_and_merge_leave_what_one_fetch_leaves() {
    let origin = Origin::start();
    let mut guids = guids(60);
    guids.push("a/b".into());
    for (at, reply) in [(3, 404), (4, 410), (5, 503), (6, 403)] {
        origin.on(&guids[at], [Reply::status(reply)]);
    }
    origin.on(&guids[7], [Reply::html()]);
    let (plain, spread) = (Env::with(&guids), Env::with(&guids));
    plain.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    for part in 1..=3 {
        let shard = spread.toller(["pending", "--shard", &format!("{part}/3"), "--warehouse"]);
        let shard = shard.arg(spread.warehouse()).run().expect(0).stdout;
        let printed = pipe(&spread, &origin).stdin(shard).run().stdout;
        spread.write(&format!("outcomes/{part}.ndjson"), printed);
    }
    let sources = ["outcomes/1.ndjson", "outcomes/2.ndjson", "outcomes/3.ndjson"];
    merge(&spread, &sources).run().expect(0).stdout_has("61 outcomes merged");
    for same in [
        "SELECT source_image_id, thumb_downloaded, updated_at > TIMESTAMP '2020-01-01' FROM dim_image ORDER BY ALL",
        "SELECT * EXCLUDE (run_id, failed_at), failed_at IS NULL FROM thumb_failure ORDER BY ALL",
    ] {
        assert_eq!(plain.query(same), spread.query(same));
    }
    assert_eq!(plain.files(), spread.files());
    let before = (spread.query(IMAGES), spread.query(FAILURES));
    assert_eq!(before.1.len(), 6);
    let again = merge(&spread, &sources).arg("--json").run().expect(0).json();
    assert_eq!((spread.query(IMAGES), spread.query(FAILURES)), before, "a second merge changes nothing");
    assert_eq!((&again["done"], &again["failed"], &again["ignored"]), (&0.into(), &0.into(), &6.into()));
    assert_eq!(
        spread.query("SELECT status, fetched, failed FROM run_manifest ORDER BY started_at"),
        [["partial", "55", "6"], ["complete", "0", "0"]]
    );
}

#[test]
fn a_torn_last_line_is_reported_and_skipped() {
    let env = Env::with(&["a", "b", "c", "d"]);
    env.write("torn", ok("a") + &ok("b")[..40]);
    env.write("whole", ok("b").trim_end());
    env.write("zeros", ok("c") + &"\0".repeat(100));
    let out = merge(&env, &["torn", "whole", "zeros"]).run().expect(0);
    let reported: Vec<_> = out.stderr.lines().filter(|line| line.contains("torn and is skipped")).collect();
    assert!(reported.len() == 2 && reported[0].contains("torn:") && reported[1].contains("zeros:"), "{}", out.report());
    assert_eq!(done(&env), ["a", "b", "c"]);
}

#[test]
fn a_gzip_stream_that_ends_anywhere_is_a_torn_last_line() {
    let guids = guids(2000);
    let all: String = guids.iter().map(|guid| ok(guid)).collect();
    let stream = gzipped(&all);
    for length in [5, 12, stream.len() / 2, stream.len() - 1] {
        let env = Env::with(&guids);
        env.write("cut.gz", &stream[..length]);
        merge(&env, &["cut.gz"]).run().expect(0).stderr_has("cut.gz: its last line is torn");
        let came = done(&env).len();
        assert!(length > stream.len() / 3 || came == 0, "{came} of {length} bytes");
        assert!(length < stream.len() / 3 || came > 500, "{came} of {length} bytes");
        // The same through standard input.
        merge(&env, &["-"]).stdin(&stream[..length]).run().expect(0).stderr_has("torn");
        assert_eq!(done(&env).len(), came);
    }
}

#[test]
fn any_other_bad_line_names_file_and_line_and_nothing_of_that_file_is_applied() {
    let time = r#""finished_at":"2026-01-01T00:00:00Z""#;
    for bad in [
        "nonsense".to_owned(),
        "{}".into(),
        format!(r#"{{"ok":true,{time}}}"#),
        format!(r#"{{"guid":"x",{time}}}"#),
        r#"{"guid":"x","ok":true}"#.into(),
        r#"{"guid":"x","ok":true,"finished_at":"yesterday"}"#.into(),
        format!(r#"{{"guid":"x","ok":false,{time}}}"#),
        format!(r#"{{"guid":"x","ok":false,"kind":"made_up",{time}}}"#),
        format!(r#"{{"guid":7,"ok":true,{time}}}"#),
        ok("x")[..30].to_owned(),
        "\u{0}\u{0}".into(),
    ] {
        let env = Env::with(&["a", "b", "c"]);
        env.write("good", ok("a"));
        env.write("bad", ok("b") + "\n" + &bad + "\n" + &ok("c"));
        env.write("later", ok("c"));
        let out = merge(&env, &["good", "bad", "later"]).run().expect(1).complains().stderr_has("bad: line 3:");
        assert_eq!(done(&env), ["a"], "{bad}: {}", out.report());
        assert_eq!(env.runs(), ["failed"]);
        assert!(env.value("SELECT error FROM run_manifest").contains("bad: line 3"));
    }
}

#[test]
fn files_streams_and_gzip_are_all_taken() {
    let env = Env::with(&["a", "b", "c", "d", "e"]);
    env.write("a", ok("a"));
    env.write("b.gz", gzipped(&ok("b")));
    merge(&env, &["a", "b.gz", "-"]).stdin(gzipped(&ok("c"))).run().expect(0);
    merge(&env, &["-"]).stdin(ok("d")).run().expect(0);
    assert_eq!(done(&env), ["a", "b", "c", "d"]);
    // A pipe under a name can be read only once, as standard input can.
    env.write("e", ok("e"));
    merge(&env, &[]).under("bash", ["-c", "\"$0\" \"$@\" <(cat e)"]).run().expect(0);
    assert_eq!(done(&env).len(), 5);
    merge(&env, &["nowhere"]).run().expect(1).complains().stderr_has("nowhere");
    merge(&env, &[]).run().expect(2);
}

#[test]
fn dest_checks_that_the_files_are_there() {
    let origin = Origin::start();
    let guids = guids(12);
    for fanout in ["0", "2"] {
        let env = Env::with(&guids);
        let out = pipe(&env, &origin).args(["--fanout", fanout]).stdin(text(&guids)).run().expect(0);
        env.write("outcomes", out.stdout);
        let files: Vec<String> = env.files().into_iter().collect();
        std::fs::remove_file(env.dest().join(&files[2])).unwrap();
        env.write(&format!("thumbs/{}", files[5]), "");
        // The folder has moved meanwhile.
        std::fs::rename(env.dest(), env.path("moved")).unwrap();
        let check = |more: &[&str]| merge(&env, &["outcomes", "--dest", "moved", "--json"]).args(more);
        let report = check(&[]).run().expect(3).json();
        assert_eq!((&report["done"], &report["missing"]), (&10.into(), &2.into()));
        assert_eq!(env.runs(), ["partial"]);
        let report = check(&["--extension", "jpg", "--fanout", fanout]).run().expect(3).json();
        assert_eq!((&report["done"], &report["missing"]), (&0.into(), &2.into()));
        assert_eq!(done(&env).len(), 10);
        // Without it the shards' word is taken.
        merge(&env, &["outcomes"]).run().expect(0);
        assert_eq!(done(&env).len(), 12);
    }
}

#[test]
fn dest_takes_the_rest_from_the_last_run() {
    let origin = Origin::start();
    let guids = guids(6);
    let env = Env::with(&guids);
    env.fetch(&origin).args(["--fanout", "1", "--limit", "2"]).run().expect(0);
    env.write("outcomes", guids[2..].iter().map(|guid| ok(guid)).collect::<String>());
    let dest = env.dest().display().to_string();
    merge(&env, &["outcomes", "--dest", &dest]).run().expect(3);
    pipe(&env, &origin).args(["--fanout", "1"]).stdin(text(&guids)).run().expect(0);
    merge(&env, &["outcomes", "--dest", &dest]).run().expect(0);
    assert_eq!(done(&env).len(), 6);
}

#[test]
fn what_is_known_better_is_left_alone() {
    let env = Env::with(&["a", "b"]);
    env.write("first", failed("a", 10) + &failed("b", 10));
    merge(&env, &["first"]).run().expect(0);
    let stands =
        "SELECT source_image_id, attempts, permanent, epoch_us(failed_at) % 60_000_000 FROM thumb_failure ORDER BY 1";
    assert_eq!(env.query(stands), [["a", "2", "false", "10500000"], ["b", "2", "false", "10500000"]]);
    // Neither an older failure nor the same one, but a newer one adds up.
    env.write("older", failed("a", 9) + &failed("b", 11) + &failed("b", 10));
    merge(&env, &["older"]).run().expect(0).stdout_has("ignored");
    assert_eq!(env.query(stands), [["a", "2", "false", "10500000"], ["b", "4", "false", "11500000"]]);
    // A success takes the failure away, and no later failure brings it back.
    env.write("good", ok("a"));
    merge(&env, &["good"]).run().expect(0);
    env.write("late", failed("a", 59));
    merge(&env, &["late"]).run().expect(0).stdout_has("ignored");
    assert_eq!((done(&env), env.query(stands).len()), (vec!["a".to_owned()], 1));
    let done_before = env.query(IMAGES);
    merge(&env, &["good", "late", "older", "first"]).run().expect(0);
    assert_eq!(env.query(IMAGES), done_before);
    assert_eq!(env.query(stands), [["b", "4", "false", "11500000"]]);
}

#[test]
fn several_lines_of_one_guid_are_one_outcome() {
    let env = Env::with(&["a", "b", "c"]);
    env.sql("INSERT INTO dim_image VALUES ('b', NULL, NULL)");
    let lines = failed("a", 1)
        + &ok("a")
        + &failed("a", 2)
        + &ok("b")
        + &ok("b")
        + &failed("c", 1)
        + &failed("c", 3)
        + &failed("c", 2);
    env.write("lines", lines);
    let report = merge(&env, &["lines", "--json"]).run().expect(0).json();
    assert_eq!((&report["lines"], &report["done"], &report["failed"]), (&8.into(), &2.into(), &1.into()));
    assert_eq!(done(&env), ["a", "b", "b"]);
    assert_eq!(env.query("SELECT source_image_id, attempts FROM thumb_failure"), [["c", "4"]]);
}

#[test]
fn a_failure_that_was_taken_back_is_not_for_good() {
    let env = Env::with(&["a", "b"]);
    let line = |guid: &str, second: u32, permanent: bool, attempts: u32| {
        let rest =
            format!(r#""permanent":{permanent},"attempts":{attempts},"finished_at":"2026-01-01T00:00:{second:02}Z""#);
        format!(r#"{{"guid":"{guid}","ok":false,"kind":"forbidden",{rest}}}"#) + "\n"
    };
    env.write("lines", line("a", 1, true, 3) + &line("b", 1, true, 1) + &line("a", 2, false, 0));
    merge(&env, &["lines"]).run().expect(0);
    let stands = env.query("SELECT source_image_id, permanent, attempts FROM thumb_failure ORDER BY 1");
    assert_eq!(stands, [["a", "false", "3"], ["b", "true", "1"]]);
}

#[test]
fn guids_that_the_table_does_not_know_change_nothing() {
    for (kind, known, alike) in [
        ("UUID", "0d3b5f0e-1f2a-4c3d-8e4f-5a6b7c8d9e0f", "1d3b5f0e-1f2a-4c3d-8e4f-5a6b7c8d9e0f"),
        ("INTEGER", "17", "18"),
        ("VARCHAR", "a", "A"),
    ] {
        let env = Env::new();
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id {kind}, thumb_downloaded BOOLEAN);
             INSERT INTO dim_image VALUES ('{known}', false), (NULL, false);"
        ));
        env.write("lines", ok(known) + &ok(alike) + &failed("no such thing", 1) + &ok("99999999999999999999"));
        let report = merge(&env, &["lines", "--json"]).run().expect(0).json();
        assert_eq!((&report["done"], &report["unknown"]), (&1.into(), &3.into()), "{kind}");
        assert_eq!(done(&env), [known]);
        assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    }
}

#[test]
fn a_locked_warehouse_is_waited_for_and_then_75() {
    let env = Env::with(&["a"]);
    env.write("a", ok("a"));
    let occupied = env.occupy();
    merge(&env, &["a", "--lock-wait", "0"]).run().expect(75).complains();
    let waiting = merge(&env, &["a"]).spawn();
    drop(occupied);
    waiting.wait().expect(0);
    assert_eq!(done(&env), ["a"]);
}

#[test]
fn a_line_without_an_end_is_an_error_and_not_a_gigabyte_of_memory() {
    let env = Env::with(&["a", "b"]);
    let bomb: Vec<u8> = gzipped(&(ok("a") + &"x".repeat(1 << 20)));
    let tail = gzipped(&"x".repeat(1 << 27));
    // A gigabyte of one line; the stream is a few megabytes.
    env.write("bomb.gz", [bomb, tail.repeat(8)].concat());
    env.write("good", ok("b"));
    let limited = merge(&env, &["good", "bomb.gz"]).under("bash", ["-c", "ulimit -v 1000000; exec \"$0\" \"$@\""]);
    limited.run().expect(1).complains().stderr_has("bomb.gz: line 2:").stderr_has("longer");
    assert_eq!(done(&env), ["b"]);
    // A torn one is torn, as long as it is a line.
    env.write("torn", ok("a") + &"x".repeat(1_000_000));
    merge(&env, &["torn"]).run().expect(0).stderr_has("torn");
}

#[test]
fn long_lines_fill_a_batch_by_their_bytes() {
    let env = Env::with(&["a"]);
    let line = |n: u32| {
        let url = "u".repeat(1_000_000);
        format!(r#"{{"guid":"{n}","ok":false,"kind":"timeout","url":"{url}","finished_at":"2026-01-01T00:00:00Z"}}"#)
            + "\n"
    };
    let lines: String = (0..200).map(line).collect();
    env.write("lines", lines);
    // The whole of it is 200 MB, and each is held two or three times.
    let limited = merge(&env, &["lines", "--json"]).under("bash", ["-c", "ulimit -v 1200000; exec \"$0\" \"$@\""]);
    assert_eq!(limited.run().expect(0).json()["unknown"], 200);
}

#[test]
fn another_spelling_of_an_id_is_another_image() {
    for (kind, own, others) in [
        ("INTEGER", "7", ["007", "7.4", " 7 "]),
        (
            "UUID",
            "aaaaaaaa-0000-4000-8000-000000000001",
            ["AAAAAAAA-0000-4000-8000-000000000001", "aaaaaaaa000040008000000000000001", "x"],
        ),
    ] {
        let env = Env::new();
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id {kind}, thumb_downloaded BOOLEAN); INSERT INTO dim_image VALUES ('{own}', false)"
        ));
        let line =
            |guid: &str| format!("{{\"guid\": \"{guid}\", \"ok\": true, \"finished_at\": \"2030-01-01T00:00:00Z\"}}\n");
        let merge = |text: String| {
            env.toller(["merge", "--json", "-", "--warehouse"]).arg(env.warehouse()).stdin(text).run().expect(0).json()
        };
        let summary = merge(others.map(line).concat());
        assert_eq!((&summary["done"], &summary["unknown"]), (&0.into(), &3.into()), "{kind}");
        assert_eq!(env.value("SELECT thumb_downloaded FROM dim_image"), "false");
        assert_eq!(merge(line(own))["done"], 1, "{kind}");
    }
}

#[test]
fn with_a_destination_an_outcome_counts_if_its_file_is_there_and_is_what_is_expected() {
    for (expect, done) in [(None, 2), (Some("any"), 2), (Some("image"), 1)] {
        let env = Env::with(&["a", "b", "c"]);
        env.write("thumbs/a.jpg", crate::support::small_image_for("a"));
        env.write("thumbs/b.jpg", "<html>Sorry</html>");
        env.write("out.ndjson", ok("a") + &ok("b") + &ok("c"));
        let expect: Vec<_> = expect.iter().flat_map(|what| ["--expect", what]).collect();
        let merge =
            merge(&env, &["out.ndjson", "--json", "--extension", "jpg"]).args(&expect).arg("--dest").arg(env.dest());
        assert_eq!(merge.run().expect(3).json()["done"], done, "{expect:?}");
    }
}

#[test]
fn a_long_file_with_a_bad_line_is_taken_back_and_what_came_before_it_stands() {
    let guids = guids(45_000);
    let env = Env::with(&guids);
    // Successes and failures of both files come together before they are handed over.
    let lines = |guids: &[String]| -> String {
        guids.chunks(2).map(|two| ok(&two[0]) + &two.get(1).map(|guid| failed(guid, 1)).unwrap_or_default()).collect()
    };
    env.write("good", lines(&guids[..4000]));
    env.write("bad", lines(&guids[4000..]) + "nonsense\n");
    merge(&env, &["good", "bad"]).run().expect(1).complains().stderr_has("bad: line 41001:");
    let count = |sql: &str| env.value(&format!("SELECT count(*) FROM {sql}"));
    assert_eq!(count("dim_image WHERE thumb_downloaded"), "2000");
    assert_eq!(count("thumb_failure"), "2000");
    env.write("bad", lines(&guids[4000..]));
    let report = merge(&env, &["good", "bad", "--json"]).run().expect(0).json();
    assert_eq!(
        (&report["done"], &report["failed"], &report["ignored"]),
        (&20_500.into(), &20_500.into(), &2000.into())
    );
}

#[test]
fn of_several_successes_the_latest_stands_and_one_that_was_found_again_says_less() {
    let line = |guid: &str, second: u32, attempts: u32, sha: char, etag: &str| {
        let sha = String::from(sha).repeat(64);
        let rest = format!(r#""sha256":"{sha}","proof":"structure","etag":{etag},"bytes":{second}"#);
        format!(
            r#"{{"guid":"{guid}","ok":true,"attempts":{attempts},"finished_at":"2026-01-01T00:00:{second:02}Z",{rest}}}"#
        ) + "\n"
    };
    let lines = [
        line("a", 1, 1, 'a', r#""1""#) + &line("a", 3, 1, 'c', r#""3""#) + &line("a", 2, 1, 'b', r#""2""#),
        line("b", 1, 1, 'a', r#""1""#) + &line("b", 5, 0, 'a', "null"),
        line("c", 1, 1, 'a', r#""1""#) + &line("c", 5, 0, 'b', "null"),
        failed("d", 50) + &line("d", 2, 0, 'a', "null") + &failed("d", 59),
    ];
    let stands = "SELECT source_image_id, substr(sha256, 1, 1), coalesce(etag, '-'), bytes, fetched_at IS NULL FROM thumb_file ORDER BY 1";
    let true_now = [
        ["a", "c", "3", "3", "false"],
        ["b", "a", "1", "1", "false"],
        ["c", "b", "-", "5", "true"],
        ["d", "a", "-", "2", "true"],
    ];
    // The order of the lines decides nothing, nor does it whether they come together.
    for reversed in [false, true] {
        let env = Env::with(&["a", "b", "c", "d"]);
        let mut all: Vec<_> = lines.concat().split_inclusive('\n').map(str::to_owned).collect();
        if reversed {
            all.reverse();
        }
        env.write("lines", all.concat());
        for _ in 0..2 {
            merge(&env, &["lines"]).run().expect(0);
            assert_eq!(env.query(stands), true_now, "reversed: {reversed}");
            assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
        }
    }
}
