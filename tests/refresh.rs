//! `fetch --refresh`: what is home is asked for again, and stays whatever comes of it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use crate::support::{Cmd, Env, Origin, Reply, eventually, guids, image_for, small_image_for};

fn refresh(env: &Env, origin: &Origin) -> Cmd {
    env.fetch(origin).args(["--refresh", "7d", "--retries", "0"])
}

/// Everything was last seen so long ago.
fn age(env: &Env, days: u32) {
    env.sql(&format!(
        "UPDATE thumb_file SET checked_at = checked_at - INTERVAL {days} DAY; \
         UPDATE dim_image SET updated_at = updated_at - INTERVAL {days} DAY"
    ));
}

/// Answers 304 where the request names this version, and else sends it.
fn versioned(origin: &Origin) {
    origin.always(|request| {
        let etag = format!("\"{}\"", request.guid);
        let known = request.header("If-None-Match") == Some(&etag);
        if known { Reply::status(304).header("ETag", &etag) } else { Reply::image().header("ETag", &etag) }
    });
}

fn inodes(env: &Env) -> BTreeSet<(String, u64, i64)> {
    let about = |name: &String| {
        let about = env.path(&format!("thumbs/{name}")).metadata().unwrap();
        (name.clone(), about.ino(), about.mtime_nsec())
    };
    env.files().iter().map(about).collect()
}

#[test]
fn what_is_as_it_was_costs_a_question_and_no_file() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    let (before, asked) = (inodes(&env), origin.request_count());
    let facts = "SELECT * EXCLUDE checked_at FROM thumb_file ORDER BY ALL";
    let known = env.query(facts);
    let images = env.query("FROM dim_image ORDER BY ALL");
    let out = refresh(&env, &origin).arg("--json").run().expect(0).json();
    assert_eq!((&out["unchanged"], &out["fetched"], &out["pending"]), (&30.into(), &0.into(), &30.into()));
    assert_eq!((&out["status"], &out["bytes"]), (&"complete".into(), &0.into()));
    assert_eq!(origin.request_count() - asked, 30);
    assert_eq!(inodes(&env), before);
    assert_eq!(env.query(facts), known);
    assert_eq!(env.query("FROM dim_image ORDER BY ALL"), images);
    assert_eq!(
        env.value("SELECT count(*) FROM thumb_file WHERE checked_at > now()::TIMESTAMP - INTERVAL 1 HOUR"),
        "30"
    );
    assert_eq!(env.query("SELECT unchanged FROM run_manifest ORDER BY started_at"), [["0"], ["30"]]);
    // Seen just now: nothing to ask, and nothing is written.
    refresh(&env, &origin).run().expect(0).stdout_has("nothing");
    assert_eq!(origin.request_count() - asked, 30);
    assert_eq!(env.runs().len(), 2);
}

#[test]
fn what_has_changed_takes_the_place_of_the_old_and_the_row_tells_of_the_new() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    origin.always(move |_| Reply::image().header("Last-Modified", date));
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    let new = small_image_for("another");
    let body = new.clone();
    let changed = guids[1].clone();
    origin.always(move |request| match request.header("If-Modified-Since") {
        Some(since) if since == date && request.guid != changed => Reply::status(304),
        _ => Reply::bytes(200, "image/png", body.clone()).header("ETag", "\"2\""),
    });
    refresh(&env, &origin).run().expect(0).stdout_has("unchanged");
    assert_eq!(std::fs::read(env.image(&guids[1])).unwrap(), new);
    assert_eq!(std::fs::read(env.image(&guids[2])).unwrap(), image_for(&guids[2]));
    let row = format!(
        "SELECT bytes, etag, last_modified, content_type, sha256 FROM thumb_file WHERE source_image_id = '{}'",
        guids[1]
    );
    let digest = toller::facts::Sha256::of(&new).to_string();
    assert_eq!(env.query(&row), [[&new.len().to_string(), "\"2\"", "NULL", "image/png", &digest]]);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "4");
    assert_eq!(env.query("SELECT fetched, unchanged FROM run_manifest ORDER BY started_at"), [["4", "0"], ["1", "3"]]);
    env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(0);
}

#[test]
fn what_is_gone_at_the_origin_is_kept_and_a_failure_is_for_the_next_run() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    let (before, images) = (inodes(&env), env.query("FROM dim_image ORDER BY ALL"));
    for (guid, reply) in guids.iter().zip([404, 410, 503, 403]) {
        origin.on(guid, [Reply::image(), Reply::status(reply), Reply::status(304)]);
    }
    origin.on(&guids[4], [Reply::image(), Reply::html(), Reply::status(304)]);
    let out = refresh(&env, &origin).arg("--json").run().expect(3).json();
    assert_eq!((&out["unchanged"], &out["failed"]), (&3.into(), &3.into()), "{out}");
    assert_eq!(inodes(&env), before);
    assert_eq!(env.query("FROM dim_image ORDER BY ALL"), images, "all of it stays done");
    let gone = env.query("SELECT source_image_id FROM thumb_file WHERE gone_at IS NOT NULL ORDER BY 1").concat();
    assert_eq!(gone.into_iter().collect::<BTreeSet<_>>(), guids[..2].iter().cloned().collect());
    let failed = env.query("SELECT kind, permanent FROM thumb_failure ORDER BY 1");
    assert_eq!(failed, [["forbidden", "false"], ["not_an_image", "false"], ["server_error", "false"]]);
    // The next run asks for these again; they are there now, and what they left is gone.
    refresh(&env, &origin).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    // What was gone and has come back is not gone.
    env.sql("UPDATE thumb_file SET gone_at = gone_at - INTERVAL 9 DAY");
    refresh(&env, &origin).run().expect(0).stdout_has("stay as they were\n");
    assert_eq!(env.value("SELECT count(*) FROM thumb_file WHERE gone_at IS NOT NULL"), "0");
}

#[test]
fn a_picture_that_stands_for_another_is_not_asked_for_by_its_version_and_goes_when_there_is_one() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    let digest = toller::facts::Sha256::of(&image_for(&guids[1])).to_string();
    let refresh = || refresh(&env, &origin).args(["--reject-digest", &digest]);
    let out = refresh().arg("--json").run().expect(3).json();
    assert_eq!((&out["unchanged"], &out["failures"]["placeholder"]), (&3.into(), &1.into()), "{out}");
    env.assert_done(&guids);
    let new = small_image_for("the real one");
    let body = new.clone();
    origin.on(&guids[1], [Reply::bytes(200, "image/png", body)]);
    refresh().run().expect(0);
    assert_eq!(std::fs::read(env.image(&guids[1])).unwrap(), new);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
}

#[test]
fn an_origin_that_has_lost_more_than_half_ends_the_run() {
    let guids = guids(150);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    origin.on(&guids[0], [Reply::image(), Reply::status(410)]);
    refresh(&env, &origin).args(["--limit", "1"]).run().expect(0).stdout_has("stay as they were; 1 of them gone");
    origin.always(|_| Reply::status(404));
    refresh(&env, &origin).run().expect(1).complains().stderr_has("failure rate");
    env.assert_done(&guids);
}

#[test]
fn what_the_origin_is_asked_by_is_what_is_on_disk() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    // Done by another program, without a file of ours or a row.
    env.sql(&format!("UPDATE dim_image SET thumb_downloaded = true WHERE source_image_id = '{}'", guids[0]));
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    // Gone, and cut: a 304 would not bring them back.
    std::fs::remove_file(env.image(&guids[1])).unwrap();
    env.write(&format!("thumbs/{}.jpg", guids[2]), &image_for(&guids[2])[..100]);
    let asked = origin.request_count();
    let out = refresh(&env, &origin).arg("--json").run().expect(0).json();
    assert_eq!((&out["unchanged"], &out["fetched"]), (&2.into(), &3.into()), "{out}");
    assert_eq!(origin.request_count() - asked, 5);
    env.assert_done(&guids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "5");
}

#[test]
fn pending_and_old_are_fetched_by_one_run_and_an_old_warehouse_goes_by_its_own_times() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).args(["--limit", "3"]).run().expect(0);
    env.sql("DROP TABLE thumb_file");
    let where_old = "UPDATE dim_image SET updated_at = TIMESTAMP '2020-01-01' WHERE source_image_id = (SELECT min(source_image_id) FROM dim_image WHERE thumb_downloaded)";
    env.sql(where_old);
    let condition = ["--where", "bytes IS NULL AND etag IS NULL"];
    env.sql("ALTER TABLE dim_image ADD COLUMN bytes BIGINT; ALTER TABLE dim_image ADD COLUMN etag VARCHAR");
    let plan = refresh(&env, &origin).args(condition).args(["-n", "--json"]).run().expect(0).json();
    assert_eq!(plan["pending"], 4);
    let out = refresh(&env, &origin).args(condition).arg("--json").run().expect(0).json();
    assert_eq!((&out["pending"], &out["fetched"]), (&4.into(), &4.into()), "{out}");
    env.assert_done(&guids);
    let refused = refresh(&env, &origin).arg("--no-file-table").run();
    refused.expect(2).complains().stderr_has("--no-file-table");
}

#[test]
fn a_kill_between_a_new_file_and_its_record_is_found_and_mended() {
    let guids = guids(1);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    let new = small_image_for("another");
    let body = new.clone();
    let send = move |origin: &Origin| {
        let body = body.clone();
        origin.always(move |request| match request.header("If-None-Match") {
            Some("\"new\"") => Reply::status(304),
            _ => Reply::bytes(200, "image/jpeg", body.clone()).header("ETag", "\"new\""),
        });
    };
    send(&origin);
    let reading = || std::fs::read(env.image(&guids[0])).unwrap();
    // The warehouse is taken while the answer is awaited, so that nothing can be recorded.
    let running = refresh(&env, &origin).args(["--batch-seconds", "60"]);
    origin.hold();
    let running = running.spawn();
    let asked = origin.request_count();
    origin.wait_for_requests(asked.max(2));
    let held = env.occupy();
    origin.release();
    eventually("the new file", || (reading() == new).then_some(()));
    running.kill9();
    drop(held);
    let on_record = env.value("SELECT etag FROM thumb_file");
    assert_ne!(on_record, "\"new\"", "it was killed before it could record");
    // The row is of the old file, so that the origin is asked by what it does not have any more.
    refresh(&env, &origin).run().expect(0);
    assert_eq!(env.value("SELECT etag FROM thumb_file"), "\"new\"");
    assert_eq!(env.value("SELECT sha256 FROM thumb_file"), toller::facts::Sha256::of(&new).to_string());
    assert_eq!(reading(), new);
}

#[test]
fn what_is_gone_at_the_origin_and_here_is_a_failure_and_a_blocked_client_finds_nothing_gone() {
    let guids = guids(150);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    origin.on(&guids[0], [Reply::image(), Reply::status(404)]);
    std::fs::remove_file(env.image(&guids[0])).unwrap();
    let out = refresh(&env, &origin).args(["--where", &format!("source_image_id = '{}'", guids[0])]).run().expect(3);
    out.stdout_has("not_found 1");
    assert_eq!(env.query("SELECT kind, permanent FROM thumb_failure"), [["not_found", "false"]]);
    origin.always(|_| Reply::status(404));
    refresh(&env, &origin).run().expect(1).complains().stderr_has("failure rate");
    assert_eq!(env.value("SELECT count(*) FROM thumb_file WHERE gone_at IS NOT NULL"), "0");
}

#[test]
fn rows_of_one_id_that_are_done_and_pending_are_all_done_by_one_question() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    versioned(&origin);
    env.fetch(&origin).run().expect(0);
    age(&env, 8);
    env.sql("INSERT INTO dim_image (source_image_id, thumb_downloaded) SELECT source_image_id, false FROM dim_image");
    let out = refresh(&env, &origin).arg("--json").run().expect(0).json();
    assert_eq!((&out["pending"], &out["unchanged"], &out["reused"]), (&3.into(), &3.into(), &0.into()), "{out}");
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "6");
    // Twice in the table of files, too.
    env.sql("INSERT INTO thumb_file FROM thumb_file");
    age(&env, 8);
    let out = refresh(&env, &origin).arg("--json").run().expect(0).json();
    assert_eq!((&out["pending"], &out["unchanged"]), (&3.into(), &3.into()), "{out}");
}

#[test]
fn a_column_of_another_type_is_read_as_far_as_it_can_be() {
    for change in ["bytes TYPE HUGEINT", "bytes TYPE VARCHAR", "etag TYPE BLOB", "checked_at TYPE VARCHAR"] {
        let guids = guids(2);
        let (env, origin) = (Env::with(&guids), Origin::start());
        versioned(&origin);
        env.fetch(&origin).run().expect(0);
        env.sql(&format!(
            "UPDATE dim_image SET updated_at = TIMESTAMP '2020-01-01'; ALTER TABLE thumb_file ALTER {change}"
        ));
        // What cannot be read is asked for without it.
        env.fetch(&origin).args(["--refresh", "0"]).run().expect(0).stdout_has("complete: 2 images");
        env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    }
}
