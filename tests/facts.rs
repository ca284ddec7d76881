//! `thumb_file`: what is home is what it says, whoever brought it; and pictures that stand for what is not there.

use crate::support::{Env, Origin, Reply, guids, image_for, small_image_for};

/// What is told of each file, less what belongs to one run.
const FACTS: &str = "SELECT * EXCLUDE (run_id, fetched_at, checked_at), fetched_at IS NULL, checked_at IS NULL, run_id IS NULL \
                     FROM thumb_file ORDER BY ALL";

fn digest_of(body: &[u8]) -> String {
    toller::facts::Sha256::of(body).to_string()
}

/// Every file of the destination is in the table, as DuckDB itself sees it, and nothing else is.
fn assert_facts(env: &Env) {
    let glob = format!("{}/*.jpg", env.dest().display());
    let wrong = env.query(&format!(
        "SELECT f.source_image_id, b.filename FROM thumb_file AS f FULL JOIN \
         (SELECT *, parse_filename(filename, true) AS id FROM read_blob('{glob}')) AS b ON b.id = f.source_image_id \
         WHERE f.sha256 IS DISTINCT FROM sha256(b.content) OR f.bytes IS DISTINCT FROM b.size"
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
    let unlike = env.value(
        "SELECT count(*) FROM dim_image FULL JOIN thumb_file USING (source_image_id) \
         WHERE thumb_downloaded IS DISTINCT FROM (bytes IS NOT NULL)",
    );
    assert_eq!(unlike, "0", "what is done has a row, and nothing else has");
}

#[test]
fn of_every_file_that_is_home_the_table_says_what_it_is() {
    let guids = guids(7);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let modified = "Wed, 21 Oct 2015 07:28:00 GMT";
    origin.on(&guids[0], [Reply::image().header("ETag", "W/\"v1\"").header("Last-Modified", modified)]);
    origin.on(&guids[1], [Reply::status(404)]);
    let declared = digest_of(&image_for(&guids[2]));
    let base64 = "SELECT base64(unhex('".to_owned() + &declared + "'))";
    let value = format!("sha-256=:{}:", env.value(&base64));
    origin.on(&guids[2], [Reply::image().header("Repr-Digest", &value)]);
    env.write(&format!("thumbs/{}.jpg", guids[3]), image_for(&guids[3]));
    env.fetch(&origin).run().expect(4);
    assert_facts(&env);
    let told = |at: usize, what: &str| {
        env.value(&format!("SELECT concat_ws(' ', {what}) FROM thumb_file WHERE source_image_id = '{}'", guids[at]))
    };
    assert_eq!(told(0, "etag, last_modified, content_type"), format!("W/\"v1\" {modified} image/jpeg"));
    assert_eq!(told(0, "format, width, height, proof"), "jpeg 280 280 structure");
    assert_eq!(told(2, "proof"), "declared");
    assert_eq!(told(3, "fetched_at IS NULL, checked_at IS NULL, etag IS NULL, proof"), "true false true structure");
    let runs =
        env.value("SELECT count(*) FROM thumb_file JOIN run_manifest USING (run_id) WHERE fetched = 5 AND reused = 1");
    assert_eq!(runs, "6", "each knows its run");
    // Made pending and fetched anew, each has one row all the same.
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).run().expect(0);
    assert_facts(&env);
}

#[test]
fn what_pipe_prints_and_merge_brings_home_is_what_one_fetch_writes() {
    let mut guids = guids(40);
    let origin = Origin::start();
    origin.on(&guids[5], [Reply::status(404)]);
    guids.push("a/b".into());
    let (plain, spread) = (Env::with(&guids), Env::with(&guids));
    for env in [&plain, &spread] {
        env.write(&format!("thumbs/{}.jpg", guids[6]), image_for(&guids[6]));
    }
    plain.fetch(&origin).run().expect(4);
    let pipe = spread.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(spread.dest());
    let lines = guids.iter().map(|guid| format!("{guid}\n")).collect::<String>();
    let printed = pipe.arg("--ca-cert").arg(origin.ca()).stdin(lines).run().expect(4).stdout;
    spread.write("out.ndjson", &printed);
    let merge = || spread.toller(["merge", "--warehouse"]).arg(spread.warehouse()).arg("out.ndjson").run().expect(0);
    merge();
    assert_eq!(plain.query(FACTS), spread.query(FACTS));
    assert_facts(&spread);
    let before = spread.query("FROM thumb_file ORDER BY ALL");
    merge();
    assert_eq!(spread.query("FROM thumb_file ORDER BY ALL"), before, "a second merge changes nothing");
}

#[test]
fn lines_of_an_older_toller_are_merged_and_say_nothing_of_their_files() {
    let env = Env::with(&["a", "b"]);
    let line = |guid: &str| format!(r#"{{"guid":"{guid}","ok":true,"bytes":10,"finished_at":"2026-01-01T00:00:00Z"}}"#);
    let new = line("b").replace('}', r#","format":"jpeg","width":3,"sha256":"","proof":"structure"}"#);
    let new = new.replace("\"sha256\":\"\"", &format!("\"sha256\":\"{}\"", digest_of(b"b").to_uppercase()));
    env.write("out.ndjson", format!("{}\n{new}\n", line("a")));
    env.toller(["merge", "--warehouse"]).arg(env.warehouse()).arg("out.ndjson").run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "2");
    let facts = env.query("SELECT source_image_id, bytes, format, width, height, sha256, fetched_at FROM thumb_file");
    assert_eq!(facts, [["b", "10", "jpeg", "3", "NULL", &digest_of(b"b"), "2026-01-01 00:00:00"]]);
    // More than the column holds, as a hostile image may say.
    env.write(
        "out.ndjson",
        line("a").replace("2026", "2027").replace('}', r#","width":4294967295,"proof":"length"}"#) + "\n",
    );
    env.toller(["merge", "--warehouse"]).arg(env.warehouse()).arg("out.ndjson").run().expect(0);
    assert_eq!(env.query("SELECT bytes, width FROM thumb_file WHERE source_image_id = 'a'"), [["10", "NULL"]]);
    for wrong in [r#","sha256":"12","proof":"length"}"#, r#","proof":"hope"}"#, r#","width":-1}"#] {
        env.write("out.ndjson", line("a").replace('}', wrong) + "\n");
        let out = env.toller(["merge", "--warehouse"]).arg(env.warehouse()).arg("out.ndjson").run().expect(1);
        out.complains().stderr_has("line 1");
    }
}

#[test]
fn without_a_table_of_files_none_is_kept_and_no_row_outlives_its_file() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).args(["--limit", "2", "--no-file-table"]).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'thumb_file'"), "0");
    env.fetch(&origin).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "2");
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).arg("--no-file-table").run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "0", "what they said may not be true any more");
    // And the digest alone can be left out.
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).args(["--digest", "none"]).run().expect(0);
    assert_eq!(env.query("SELECT DISTINCT sha256, width, proof FROM thumb_file"), [["NULL", "280", "structure"]]);
    let refused = env.fetch(&origin).args(["--digest", "none", "--reject-digest", &digest_of(b"")]).run();
    refused.expect(2).complains().stderr_has("--digest none");
    let refused = env.fetch(&origin).args(["--digest", "none", "--max-same", "30"]).run();
    refused.expect(2).complains().stderr_has("--digest none");
    env.fetch(&origin).args(["--reject-digest", "12"]).run().expect(2).complains().stderr_has("64 hexadecimal digits");
}

#[test]
fn another_programs_thumb_file_is_left_alone() {
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    env.sql("CREATE TABLE thumb_file (note VARCHAR); INSERT INTO thumb_file VALUES ('mine')");
    let out = env.fetch(&origin).run().expect(1).complains();
    out.stderr_has("table thumb_file is not toller's").stderr_has("--file-table");
    assert_eq!(origin.request_count(), 0);
    env.fetch(&origin).arg("--no-file-table").run().expect(0);
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).args(["--file-table", "main.home"]).run().expect(0);
    assert_eq!(env.query("FROM thumb_file"), [["mine"]]);
    assert_eq!(env.value("SELECT count(*) FROM home"), "1");
}

#[test]
fn a_warehouse_of_the_first_toller_is_taken_as_it_is_and_gets_what_is_new() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).args(["--limit", "1"]).run().expect(0);
    env.sql(
        "DROP TABLE thumb_file; ALTER TABLE run_manifest DROP COLUMN unchanged; ALTER TABLE run_manifest DROP COLUMN image_table; \
         ALTER TABLE run_manifest DROP COLUMN expect",
    );
    for command in ["status", "pending", "verify"] {
        env.toller([command, "--warehouse"]).arg(env.warehouse()).run().expect(0);
    }
    env.fetch(&origin).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "2");
    assert_eq!(env.query("SELECT unchanged FROM run_manifest ORDER BY started_at"), [["NULL"], ["0"]]);
    assert_eq!(env.query("SELECT fetched FROM run_manifest ORDER BY started_at"), [["1"], ["2"]]);
}

#[test]
fn a_picture_that_stands_for_what_is_not_there_is_refused_by_its_digest() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let stand_in = small_image_for("not available");
    origin.on(&guids[0], [Reply::bytes(200, "image/jpeg", stand_in.clone())]);
    // One that is there already is no better.
    env.write(&format!("thumbs/{}.jpg", guids[1]), &stand_in);
    let rejected = ["--reject-digest", &digest_of(b"another"), "--reject-digest", &digest_of(&stand_in).to_uppercase()];
    env.fetch(&origin).args(rejected).run().expect(4);
    let failed = env.query("SELECT source_image_id, kind, permanent, http_status FROM thumb_failure");
    assert_eq!(failed, [[&guids[0], "placeholder", "true", "200"]]);
    env.assert_done(&guids[1..]);
    assert_facts(&env);
}

#[test]
fn one_picture_for_everything_ends_the_run_and_says_what_to_do() {
    let guids = guids(400);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let stand_in = small_image_for("not available");
    let digest = digest_of(&stand_in);
    let body = stand_in.clone();
    // Two of three.
    origin.always(move |request| match request.nth % 3 {
        0 => Reply::image(),
        _ => Reply::bytes(200, "image/jpeg", body.clone()),
    });
    let out = env.fetch(&origin).args(["--workers", "1"]).run().expect(1).complains();
    out.stderr_has(&digest).stderr_has("of the last 100").stderr_has("--max-same 100").stderr_has("--reject-digest");
    assert!(origin.request_count() < 400, "{}", origin.request_count());
    assert_eq!(env.value("SELECT status FROM run_manifest"), "failed");
    let named = env.value("SELECT error FROM run_manifest");
    assert_eq!(guids.iter().filter(|guid| named.contains(guid.as_str())).count(), 3, "{named}");
    // What came is whole and recorded; what it is, the table tells.
    let same = env.value("SELECT count(*) FROM thumb_file GROUP BY sha256 ORDER BY 1 DESC LIMIT 1");
    assert!(same.parse::<u32>().unwrap() > 50, "{same}");
    env.fetch(&origin).args(["--max-same", "100"]).run().expect(0);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let body = stand_in.clone();
    origin.always(
        move |request| {
            if request.nth % 3 == 0 { Reply::bytes(200, "image/jpeg", body.clone()) } else { Reply::image() }
        },
    );
    env.fetch(&origin).run().expect(0);
    assert_facts(&env);
}

#[test]
fn what_the_origin_said_of_a_file_outlives_its_being_found_again() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.always(|_| Reply::image().header("ETag", "\"1\""));
    env.fetch(&origin).run().expect(0);
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).run().expect(0).stdout_has("reused");
    let known = "SELECT DISTINCT etag, content_type, fetched_at IS NULL FROM thumb_file";
    assert_eq!(env.query(known), [["\"1\"", "image/jpeg", "true"]]);
}

#[test]
fn of_several_lines_of_one_file_the_latest_counts_however_they_are_merged() {
    let line = |second: u32, body: &[u8]| {
        let digest = digest_of(body);
        let facts = format!(r#""sha256":"{digest}","proof":"structure","bytes":{}"#, body.len());
        format!(r#"{{"guid":"a","ok":true,"attempts":1,{facts},"finished_at":"2026-01-01T00:00:{second:02}Z"}}"#) + "\n"
    };
    let (old, new) = (line(1, b"old"), line(2, b"new"));
    for order in [[&old, &new], [&new, &old]] {
        for together in [true, false] {
            let env = Env::with(&["a"]);
            env.write("1.ndjson", order[0]);
            env.write("2.ndjson", order[1]);
            let merge = |files: &[&str]| env.toller(["merge", "--warehouse"]).arg(env.warehouse()).args(files).run();
            if together {
                merge(&["1.ndjson", "2.ndjson"]).expect(0);
            } else {
                merge(&["1.ndjson"]).expect(0);
                env.sql("UPDATE dim_image SET thumb_downloaded = false");
                merge(&["2.ndjson"]).expect(0);
            }
            assert_eq!(env.query("SELECT sha256 FROM thumb_file"), [[digest_of(b"new")]]);
            assert_eq!(env.value("SELECT thumb_downloaded FROM dim_image"), "true");
        }
    }
}

#[test]
fn a_view_in_place_of_the_table_of_files_is_known_before_the_first_request() {
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    env.fetch(&origin).run().expect(0);
    env.sql("ALTER TABLE thumb_file RENAME TO files; CREATE VIEW thumb_file AS FROM files; UPDATE dim_image SET thumb_downloaded = false");
    let asked = origin.request_count();
    env.fetch(&origin).run().expect(1).complains().stderr_has("is a view").stderr_has("--file-table");
    assert_eq!(origin.request_count(), asked);
}
