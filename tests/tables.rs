//! Warehouses as they come: ids of other types, other names, other programs' tables, other DuckDBs. toller
//! touches two columns of the user's table and nothing else in it.

use crate::support::env::quoted;
use crate::support::{Env, Origin, Reply, guid, guids, image_for};
use std::collections::BTreeSet;

/// Fetches a table made by `sql` and expects exactly these ids to be done at the end.
fn fetch_all_of(sql: &str, ids: &[&str]) -> Env {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    env.sql(sql);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!(summary["pending"], ids.len());
    env.assert_done(ids);
    assert_eq!(origin.request_count(), ids.len());
    env
}

#[test]
fn ids_may_be_uuids() {
    let (a, b) = (guid(1), guid(2));
    let sql = format!(
        "CREATE TABLE dim_image (source_image_id UUID, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
         INSERT INTO dim_image VALUES ('{a}', false, NULL), ('{}', NULL, NULL)",
        b.to_uppercase()
    );
    fetch_all_of(&sql, &[&a, &b]);
}

#[test]
fn ids_may_be_integers() {
    for integer in ["BIGINT", "INTEGER", "UBIGINT", "HUGEINT"] {
        let sql = format!(
            "CREATE TABLE dim_image (source_image_id {integer}, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
             INSERT INTO dim_image VALUES (7, false, NULL), (2000000000, NULL, NULL), (0, false, NULL)"
        );
        fetch_all_of(&sql, &["7", "2000000000", "0"]);
    }
}

#[test]
fn failures_are_kept_under_an_id_of_the_same_type() {
    for (kind, id) in [("BIGINT", "42"), ("UUID", &guid(1)), ("VARCHAR", "some-id")] {
        let (env, origin) = (Env::new(), Origin::start());
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id {kind}, thumb_downloaded BOOLEAN);
             INSERT INTO dim_image VALUES ({}, false)",
            quoted(id)
        ));
        origin.on(id, [Reply::status(404)]);
        env.fetch(&origin).run().expect(4);
        let failure = "SELECT source_image_id, typeof(source_image_id) FROM thumb_failure";
        assert_eq!(env.query(failure), [[id, kind]]);
        // Known for good under that type, too.
        env.fetch(&origin).run().expect(0);
        assert_eq!(origin.request_count(), 1);
    }
}

#[test]
fn null_flags_are_pending_and_null_ids_are_nobody() {
    let env = fetch_all_of(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
         INSERT INTO dim_image VALUES ('a', NULL, NULL), ('b', false, NULL), (NULL, NULL, NULL), (NULL, false, NULL)",
        &["a", "b"],
    );
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE updated_at IS NOT NULL"), "2");
    assert_eq!(env.value("SELECT count(*) FROM dim_image"), "4");
}

#[test]
fn what_is_done_already_is_left_alone() {
    let env = fetch_all_of(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
         INSERT INTO dim_image VALUES ('a', false, '2001-01-01')",
        &["a"],
    );
    // A row that another program filled: its file is somebody else's business.
    env.sql("INSERT INTO dim_image VALUES ('z', true, '2001-01-01')");
    let origin = Origin::start();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.connections(), 0);
    assert_eq!(env.value("SELECT updated_at FROM dim_image WHERE source_image_id = 'z'"), "2001-01-01 00:00:00");
}

#[test]
fn duplicate_ids_are_one_image() {
    let env = fetch_all_of(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
         INSERT INTO dim_image SELECT unnest(['a', 'b', 'a', 'a']), false, NULL;
         INSERT INTO dim_image VALUES ('b', NULL, NULL)",
        &["a", "b"],
    );
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "5");
    assert_eq!(env.query("SELECT pending, fetched, reused FROM run_manifest"), [["2", "2", "0"]]);
}

#[test]
fn a_primary_key_and_an_index_are_no_obstacle() {
    fetch_all_of(
        "CREATE TABLE dim_image (source_image_id VARCHAR PRIMARY KEY, thumb_downloaded BOOLEAN NOT NULL,
            updated_at TIMESTAMP);
         CREATE INDEX by_done ON dim_image (thumb_downloaded);
         INSERT INTO dim_image VALUES ('a', false, NULL), ('b', false, NULL)",
        &["a", "b"],
    );
}

#[test]
fn the_rest_of_the_row_is_left_alone() {
    let env = fetch_all_of(
        "CREATE TABLE dim_image (note VARCHAR DEFAULT 'x', thumb_downloaded BOOLEAN, size INTEGER[],
            source_image_id VARCHAR, updated_at TIMESTAMP, created TIMESTAMP DEFAULT TIMESTAMP '2001-01-01');
         INSERT INTO dim_image (source_image_id, thumb_downloaded, size) VALUES ('a', false, [1, 2])",
        &["a"],
    );
    let rest = "SELECT note, size, created FROM dim_image";
    assert_eq!(env.query(rest), [["x", "[1, 2]", "2001-01-01 00:00:00"]]);
    let columns = "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'dim_image'";
    assert_eq!(env.value(columns), "6", "toller adds no columns");
    assert_eq!(env.value("SELECT count(*) FROM duckdb_indexes()"), "0", "nor indexes");
}

#[test]
fn a_table_without_a_time_column_does_without() {
    let env = fetch_all_of(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN);
         INSERT INTO dim_image VALUES ('a', false)",
        &["a"],
    );
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    let origin = Origin::start();
    let named = env.fetch(&origin).args(["--updated-column", "fetched_at"]);
    named.run().expect(1).complains().stderr_has("fetched_at");
}

#[test]
fn every_name_may_be_another_one() {
    let (env, origin) = (Env::new(), Origin::start());
    env.sql(
        r#"CREATE SCHEMA "the marts";
           CREATE TABLE "the marts"."Pictures; DROP" ("picture ""id""" VARCHAR, "is done" BOOLEAN, "select" TIMESTAMP);
           INSERT INTO "the marts"."Pictures; DROP" SELECT unnest(['a', 'b', 'gone']), false, NULL"#,
    );
    origin.on("gone", [Reply::status(404)]);
    let names = ["--table", "the marts.Pictures; DROP", "--id-column", "picture \"id\"", "--done-column", "is done"];
    let more = ["--updated-column", "select", "--manifest-table", "the marts.runs'", "--failure-table", "not there"];
    let more = [&more[..], &["--file-table", "the marts.home's"]].concat();
    env.fetch(&origin).args(names).args(&more).run().expect(4);
    let table = r#"FROM "the marts"."Pictures; DROP""#;
    let done =
        env.query(&format!(r#"SELECT "picture ""id""", "select" IS NOT NULL {table} WHERE "is done" ORDER BY 1"#));
    assert_eq!(done, [["a", "true"], ["b", "true"]]);
    assert_eq!(env.value(r#"SELECT status FROM "the marts"."runs'""#), "complete");
    assert_eq!(env.value(r#"SELECT kind FROM "not there""#), "not_found");
    let tables = env.query("SELECT table_name FROM duckdb_tables() ORDER BY 1");
    assert_eq!(tables.concat(), ["Pictures; DROP", "home's", "not there", "runs'"]);
    // The same names again: nothing is left to do, and nothing is made anew.
    env.fetch(&origin).args(names).args(&more).run().expect(0);
    assert_eq!(origin.request_count(), 3);
}

#[test]
fn tollers_own_tables_are_made_with_the_schemas_that_they_were_given() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[2], [Reply::status(404)]);
    let names = ["--manifest-table", "ops.runs", "--failure-table", "bad news.all", "--file-table", "ops.home"];
    env.toller(["status", "--warehouse"]).arg(env.warehouse()).args(names).run().expect(0);
    env.fetch(&origin).args(names).run().expect(4);
    assert_eq!(env.value("SELECT status FROM ops.runs"), "complete");
    assert_eq!(env.value("SELECT kind FROM \"bad news\".\"all\""), "not_found");
    assert_eq!(env.value("SELECT count(*) FROM ops.home"), "2");
}

#[test]
fn another_programs_run_manifest_is_left_alone() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.sql("CREATE TABLE run_manifest (id INTEGER, note VARCHAR); INSERT INTO run_manifest VALUES (1, 'mine')");
    let out = env.fetch(&origin).run().expect(0);
    let said = out.stderr.lines().filter(|line| line.contains("toller_run_manifest")).count();
    assert_eq!(said, 1, "{}", out.report());
    assert_eq!(env.query("FROM run_manifest"), [["1", "mine"]]);
    assert_eq!(env.value("SELECT fetched FROM toller_run_manifest WHERE status = 'complete'"), "3");
    env.assert_done(&guids);
    // And again: the second run finds its own.
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    env.fetch(&origin).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM toller_run_manifest"), "2");
    assert_eq!(env.query("FROM run_manifest"), [["1", "mine"]]);
}

#[test]
fn a_manifest_table_that_was_named_must_fit() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    env.sql("CREATE TABLE runs (run_id VARCHAR, started_at TIMESTAMP)");
    let out = env.fetch(&origin).args(["--manifest-table", "runs"]).run();
    let out = out.expect(1).complains().stderr_has("runs").stderr_has("finished_at");
    assert!(!out.stderr.contains("started_at,"), "it has that one: {}", out.report());
    assert_eq!(origin.connections(), 0);
    assert_eq!(env.value("SELECT count(*) FROM runs"), "0");
}

#[test]
fn urls_may_come_from_a_column() {
    let (env, origin) = (Env::new(), Origin::start());
    let base = origin.url();
    env.sql(&format!(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, address VARCHAR);
         INSERT INTO dim_image VALUES ('a', false, '{base}/x/one.jpg?size=3&v=%20'), ('b', false, '{base}/y/two.jpg'),
            ('c', false, NULL), ('d', false, 'not a url'), ('e', false, 'ftp://localhost/e.jpg')"
    ));
    let fetch = env.toller(["fetch", "--url-column", "address"]).arg("--ca-cert").arg(origin.ca());
    let fetch = fetch.arg("--warehouse").arg(env.warehouse()).arg("--dest").arg(env.dest());
    fetch.run().expect(4);
    let asked: BTreeSet<String> = origin.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(asked, ["/x/one.jpg?size=3&v=%20", "/y/two.jpg"].map(String::from).into());
    // There is no template to take an extension from.
    assert_eq!(env.files(), ["a", "b"].map(String::from).into());
    assert_eq!(std::fs::read(env.dest().join("a")).unwrap(), image_for("one"));
    let failures = "SELECT source_image_id, kind, permanent FROM thumb_failure ORDER BY 1";
    let wanted = ["c", "d", "e"].map(|id| [id, "bad_url", "true"]);
    assert_eq!(env.query(failures), wanted);
}

#[test]
fn a_large_table_is_recorded_in_parts_and_nothing_is_left_out() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    // A thousand ids, each in both halves of four million rows; rows were deleted, so that row numbers go beyond their count.
    env.sql(
        "CREATE TABLE dim_image AS SELECT if(i % 2000 = 0, 'p' || (i // 2000 % 1000), 'd') AS source_image_id, \
         i % 2000 <> 0 AS thumb_downloaded, NULL::TIMESTAMP AS updated_at FROM range(4_000_000) AS r(i);
         DELETE FROM dim_image WHERE rowid < 100_000 AND thumb_downloaded",
    );
    origin.on("p7", [Reply::status(404)]);
    let run = env.fetch(&origin).args(["--json", "--batch", "1000", "--batch-seconds", "1000"]).run().expect(4);
    assert_eq!((&run.json()["fetched"], &run.json()["failed"]), (&999.into(), &1.into()));
    assert_eq!(env.query("SELECT source_image_id FROM dim_image WHERE NOT thumb_downloaded"), [["p7"], ["p7"]]);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE updated_at IS NOT NULL"), "1998");
    assert_eq!(env.query("SELECT source_image_id, kind FROM thumb_failure"), [["p7", "not_found"]]);
    assert_eq!(env.query("SELECT status, fetched, failed FROM run_manifest"), [["complete", "999", "1"]]);
}

#[test]
fn rows_that_move_during_the_run_are_found_again() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    // The same rows, but none of them where it was.
    env.sql(
        "CREATE TABLE kept AS FROM dim_image; INSERT INTO dim_image SELECT * FROM kept;
         DELETE FROM dim_image WHERE rowid < 6; DROP TABLE kept",
    );
    origin.release();
    run.wait().expect(0);
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 6, "what was recorded where it had been would be asked for again");
}
