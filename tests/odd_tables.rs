//! Tables that are unlike what everybody has: columns that hide DuckDB's own, views, collations, and rules that a record
//! would break.

use crate::support::env::quoted;
use crate::support::{Env, Origin, Reply, guids};

#[test]
fn a_column_called_rowid_hides_nothing() {
    for (kind, values) in
        [("BIGINT", ["NULL", "-7", "5"]), ("VARCHAR", ["'x'", "NULL", "''"]), ("BOOLEAN", ["true"; 3])]
    {
        for extra in ["", ", toller_row INTEGER DEFAULT 3"] {
            let guids = guids(40);
            let (env, origin) = (Env::new(), Origin::builder().small().start());
            env.sql(&format!(
                "CREATE TABLE dim_image (RowId {kind}, source_image_id VARCHAR, thumb_downloaded BOOLEAN{extra})"
            ));
            let rows = guids.iter().enumerate().map(|(n, guid)| format!("({}, {})", values[n % 3], quoted(guid)));
            let rows = rows.collect::<Vec<_>>().join(", ");
            env.sql(&format!("INSERT INTO dim_image (RowId, source_image_id) VALUES {rows}"));
            let at = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
            assert_eq!(at("pending").run().expect(0).stdout.lines().collect::<Vec<_>>(), guids, "{kind}");
            origin.on(&guids[3], [Reply::status(404)]);
            // Batches, of which each but the first comes after failures are known.
            let fetch = env.fetch(&origin).args(["--json", "--batch", "7", "--batch-seconds", "0.001"]);
            let summary = fetch.run().expect(4).json();
            assert_eq!((&summary["pending"], &summary["fetched"]), (&40.into(), &39.into()), "{kind}");
            assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "39");
            assert_eq!(at("status").arg("--json").run().expect(0).json()["pending"], 1);
            std::fs::remove_file(env.image(&guids[0])).unwrap();
            at("verify").arg("--fix").run().expect(0);
            assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "38");
        }
    }
}

#[test]
fn a_view_is_called_one() {
    let table = "CREATE TABLE assets (source_image_id VARCHAR, thumb_downloaded BOOLEAN, n INTEGER)";
    for view in ["FROM assets", "SELECT rowid, * FROM assets"] {
        let (env, origin) = (Env::new(), Origin::start());
        env.sql(&format!("{table}; INSERT INTO assets VALUES ('a', false, 1); CREATE VIEW dim_image AS {view}"));
        env.fetch(&origin).run().expect(1).complains().stderr_has("dim_image is a view").stderr_has("--table");
        assert_eq!(origin.connections(), 0);
        env.fetch(&origin).args(["--table", "assets"]).run().expect(0);
    }
}

#[test]
fn ids_are_told_apart_by_their_bytes_whatever_the_columns_collation() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    env.sql(
        "CREATE TABLE dim_image (source_image_id VARCHAR COLLATE NOCASE, thumb_downloaded BOOLEAN);
         INSERT INTO dim_image VALUES ('abc', false), ('ABC', false), ('Abc', false), ('abc', NULL)",
    );
    origin.on("ABC", [Reply::status(404)]);
    let at = |command: &str| env.toller([command, "--json", "--warehouse"]).arg(env.warehouse());
    let summary = env.fetch(&origin).arg("--json").run().expect(4).json();
    assert_eq!((&summary["pending"], &summary["fetched"], &summary["failed"]), (&3.into(), &2.into(), &1.into()));
    let done =
        "SELECT source_image_id FROM dim_image WHERE thumb_downloaded ORDER BY source_image_id COLLATE \"binary\"";
    assert_eq!(env.query(done), [["Abc"], ["abc"], ["abc"]]);
    let status = at("status").run().expect(0).json();
    assert_eq!((&status["total"], &status["pending"]), (&4.into(), &1.into()));
    assert_eq!(at("verify").run().expect(0).json()["good"], 2);
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    let line = "{\"guid\": \"Abc\", \"ok\": true, \"finished_at\": \"2030-01-01T00:00:00Z\"}\n";
    at("merge").arg("-").stdin(line).run().expect(0);
    assert_eq!(env.query(done), [["Abc"]]);
}

#[test]
fn a_table_that_cannot_take_a_record_is_found_out_before_the_first_request() {
    let rows =
        |columns: &str| format!("INSERT INTO dim_image ({columns}) VALUES ('a', false), ('b', false), ('c', false)");
    let usual = rows("source_image_id, thumb_downloaded");
    for (what, sql) in [
        (
            "generated",
            "CREATE TABLE dim_image (source_image_id VARCHAR, n INTEGER, thumb_downloaded BOOLEAN GENERATED ALWAYS AS (n > 0));
             INSERT INTO dim_image VALUES ('a', 0), ('b', 0), ('c', 0)"
                .to_owned(),
        ),
        (
            "a time that is generated",
            format!(
                "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, \
                 updated_at TIMESTAMP GENERATED ALWAYS AS (TIMESTAMP '2000-01-01')); {usual}"
            ),
        ),
        (
            "under a CHECK",
            format!("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN CHECK (NOT thumb_downloaded)); {usual}"),
        ),
        (
            "unique",
            format!("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP UNIQUE); {usual}"),
        ),
        (
            "under a unique index",
            format!(
                "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP); {usual};
                 CREATE UNIQUE INDEX once ON dim_image (updated_at)"
            ),
        ),
        (
            "a foreign key",
            format!(
                "CREATE TABLE allowed (b BOOLEAN PRIMARY KEY); INSERT INTO allowed VALUES (false);
                 CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN REFERENCES allowed (b)); {usual}"
            ),
        ),
    ] {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        env.sql(&sql);
        let out = env.fetch(&origin).run().expect(1).complains().stderr_has("dim_image");
        assert_eq!(origin.connections(), 0, "{what}: {}", out.report());
        let tables = env.query("SELECT table_name FROM duckdb_tables() WHERE table_name = 'run_manifest'");
        assert!(tables.is_empty() || env.runs().is_empty(), "{what}: no run was begun");
        assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE NOT thumb_downloaded"), "3", "{what}");
    }
}

#[test]
fn a_record_that_fails_later_closes_the_run_with_its_error() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).args(["--batch", "5"]).spawn();
    origin.wait_for_requests(3);
    // What the first look could not see: a rule that only some rows break.
    env.sql(&format!(
        "CREATE TABLE kept AS FROM dim_image; DROP TABLE dim_image;
         CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP,
            CHECK (NOT thumb_downloaded OR source_image_id <> {})); INSERT INTO dim_image FROM kept; DROP TABLE kept",
        quoted(&guids[0])
    ));
    origin.release();
    run.wait().expect(1).complains().stderr_has("record").stderr_has("CHECK");
    let rows = env.query("SELECT status, finished_at IS NOT NULL, error FROM run_manifest");
    assert_eq!((&*rows[0][0], &*rows[0][1]), ("failed", "true"));
    assert!(rows[0][2].contains("CHECK"), "{rows:?}");
    env.assert_true();
}

#[test]
fn failures_of_a_table_with_ids_of_another_type_are_told_apart_before_the_first_request() {
    let (env, origin) = (Env::with(&guids(2)), Origin::builder().small().start());
    origin.on(&guids(2)[0], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    env.sql(
        "CREATE TABLE other (source_image_id BIGINT, thumb_downloaded BOOLEAN); INSERT INTO other VALUES (7, false)",
    );
    let asked = origin.request_count();
    let out = env.fetch(&origin).args(["--table", "other"]).run().expect(1).complains();
    out.stderr_has("thumb_failure").stderr_has("--failure-table");
    assert_eq!(origin.request_count(), asked);
    let status = env.toller(["status", "--json", "--table", "other", "--warehouse"]).arg(env.warehouse()).run();
    assert_eq!(status.expect(0).json()["pending"], 1);
    // A file that is there is taken in all the same.
    env.write("thumbs/7.jpg", crate::support::small_image_for("7"));
    let verify = env.toller(["verify", "--table", "other", "--extension", "jpg", "--fix", "--dest"]).arg(env.dest());
    verify.arg("--warehouse").arg(env.warehouse()).run().expect(0);
    assert_eq!(env.value("SELECT thumb_downloaded FROM other"), "true");
    env.sql("UPDATE other SET thumb_downloaded = false");
    let names = ["--table", "other", "--failure-table", "other_failure", "--file-table", "other_file"];
    env.fetch(&origin).args(names).run().expect(0);
}

#[test]
fn two_tables_of_one_name_are_a_wrong_command_line() {
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    for names in [
        ["--manifest-table", "x", "--failure-table", "main.X"],
        ["--table", "t", "--failure-table", "t"],
        ["--file-table", "t", "--failure-table", "t"],
        ["--table", ".", "--limit", "1"],
    ] {
        env.fetch(&origin).args(names).run().expect(2).complains();
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn rows_without_a_name_in_tollers_own_tables_stop_nobody() {
    let (env, origin) = (Env::with(&guids(3)), Origin::builder().small().start());
    origin.on(&guids(3)[0], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    env.sql(
        "ALTER TABLE run_manifest ALTER run_id DROP NOT NULL; ALTER TABLE thumb_failure ALTER kind DROP NOT NULL; \
         INSERT INTO run_manifest (run_id, started_at, status) VALUES (NULL, TIMESTAMP '2020-01-01', 'running'); \
         UPDATE thumb_failure SET kind = NULL",
    );
    let at = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
    at("status").run().expect(0);
    env.fetch(&origin).run().expect(0);
    env.fetch(&origin).arg("--retry-failed").run().expect(4);
    at("status").run().expect(0);
}

#[test]
fn a_column_of_urls_may_be_called_as_one_of_toller_s_own() {
    for column in ["url", "message", "kind", "run_id"] {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, {column} VARCHAR)"
        ));
        for guid in guids(3) {
            let url = origin.template().replace("{guid}", &guid);
            env.sql(&format!("INSERT INTO dim_image VALUES ('{guid}', false, '{url}')"));
        }
        origin.on(&guids(3)[1], [Reply::status(404)]);
        let fetch = || {
            let fetch =
                env.toller(["fetch", "--extension", "jpg", "--url-column", column, "--where", "true", "--dest"]);
            fetch.arg(env.dest()).arg("--ca-cert").arg(origin.ca()).arg("--warehouse").arg(env.warehouse())
        };
        fetch().run().expect(4);
        fetch().run().expect(0);
        fetch().arg("--retry-failed").run().expect(4);
        assert_eq!(env.value("SELECT attempts FROM thumb_failure"), "2");
    }
}
