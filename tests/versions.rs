//! Warehouses of older DuckDBs, made and read back by those DuckDBs themselves: whatever toller did with a file, its
//! owner opens it with the same program as before, with its indexes and keys.

use crate::support::{Env, OldDuckDb, Origin, Reply, duckdbs, guids, small_image_for};

/// Tables as people have them. Each gets the same rows.
const TABLES: [(&str, &str); 3] = [
    ("plain", "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP)"),
    (
        "with indexes",
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
         CREATE INDEX by_id ON dim_image (source_image_id); CREATE INDEX by_done ON dim_image (thumb_downloaded);
         CREATE TABLE other (n INTEGER); INSERT INTO other VALUES (1), (2); CREATE UNIQUE INDEX by_n ON other (n);
         CREATE VIEW missing AS SELECT source_image_id FROM dim_image WHERE NOT thumb_downloaded",
    ),
    (
        "with keys",
        "CREATE TABLE source (name VARCHAR PRIMARY KEY); INSERT INTO source VALUES ('s');
         CREATE TABLE dim_image (source_image_id VARCHAR PRIMARY KEY, thumb_downloaded BOOLEAN NOT NULL DEFAULT false,
            updated_at TIMESTAMP, source VARCHAR DEFAULT 's' REFERENCES source (name));
         CREATE INDEX by_source ON dim_image (source)",
    ),
];

/// Has the old DuckDB run statements in a file, and print the rows of the last of them.
fn with(old: &OldDuckDb, env: &Env, file: &str, sql: &str) -> String {
    let script = "import duckdb, sys
c = duckdb.connect(sys.argv[1])
for sql in sys.argv[2].split(';;'):
    rows = c.execute(sql).fetchall()
print(rows)
c.close()";
    let python = old.python(env, script);
    python.arg(env.path(file)).arg(sql).run().expect(0).stdout
}

/// The numbers of rows and of those that are done, after the old DuckDB has written to the file; and, where there is an
/// index on the id, a row that was found by it.
fn state(old: &OldDuckDb, env: &Env, file: &str, by_index: Option<&str>) -> String {
    let one =
        by_index.map(|guid| format!(" AND (SELECT count(*) FROM dim_image WHERE source_image_id = '{guid}') = 1"));
    let counts = "SELECT count(*), count(*) FILTER (thumb_downloaded) FROM dim_image WHERE true";
    let write = "CREATE TABLE note (n INTEGER);;DROP TABLE note;;CHECKPOINT";
    with(old, env, file, &format!("{write};;{counts}{}", one.unwrap_or_default())).trim().to_owned()
}

/// What every command that writes leaves behind can be read and written there.
fn every_command_leaves_it_readable(old: &OldDuckDb, (kind, table): (&str, &str)) {
    const FILE: &str = "warehouse.duckdb";
    let guids = guids(6);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let rows: Vec<String> = guids[..5].iter().map(|guid| format!("('{guid}', false)")).collect();
    let fill = format!("INSERT INTO dim_image (source_image_id, thumb_downloaded) VALUES {}", rows.join(", "));
    with(old, &env, FILE, &format!("{table};;{fill};;CHECKPOINT"));
    let by_index = (kind == "with indexes").then_some(&*guids[0]);
    let check = |command: &str, wanted: &str| {
        assert_eq!(state(old, &env, FILE, by_index), wanted, "{kind}, DuckDB {}: after {command}", old.version);
    };

    origin.on(&guids[4], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    check("fetch", "[(5, 4)]");

    let at = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
    env.write("more.txt", &guids[5]);
    at("load").arg("more.txt").run().expect(0);
    check("load", "[(6, 4)]");

    std::fs::remove_file(env.image(&guids[0])).unwrap();
    env.write(&format!("thumbs/{}.jpg", guids[5]), small_image_for(&guids[5]));
    at("verify").arg("--fix").run().expect(0);
    check("verify --fix", "[(6, 4)]");

    let line = format!("{{\"guid\": \"{}\", \"ok\": true, \"finished_at\": \"2030-01-01T00:00:00Z\"}}\n", guids[4]);
    at("merge").arg("-").stdin(line).run().expect(0);
    check("merge", "[(6, 5)]");
}

#[test]
fn a_warehouse_of_an_older_duckdb_stays_readable_there_whatever_wrote_to_it() {
    for old in duckdbs() {
        for table in TABLES {
            every_command_leaves_it_readable(old, table);
        }
    }
}

#[test]
fn whatever_the_file_is_called_its_indexes_stay_readable() {
    let names =
        ["memory.duckdb", "main.db", "temp.db", "a.b.c", "it's \"q\" x.duckdb", ".hidden.db", "dim_image", "ünï.db"];
    // The oldest is the strictest.
    let Some(old) = duckdbs().first() else { return };
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    for name in names {
        with(old, &env, name, &format!("{};;INSERT INTO dim_image VALUES ('a', false, NULL)", TABLES[1].1));
        let fetch = env.toller(["fetch", "--warehouse", name, "--url", &origin.template()]);
        fetch.arg("--ca-cert").arg(origin.ca()).arg("--dest").arg(env.dest()).run().expect(0);
        assert_eq!(state(old, &env, name, Some("a")), "[(1, 1)]", "{name}, DuckDB {}", old.version);
    }
}

#[test]
fn a_schema_may_be_called_like_the_file_or_like_duckdbs_own_catalogues() {
    for schema in ["temp", "warehouse", "memory", "system", "outcome"] {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        env.sql(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE warehouse.{schema}.dim_image (source_image_id VARCHAR PRIMARY KEY, \
             thumb_downloaded BOOLEAN); INSERT INTO warehouse.{schema}.dim_image VALUES ('a', false), ('b', false)"
        ));
        origin.on("b", [Reply::status(404)]);
        let table = format!("{schema}.dim_image");
        env.fetch(&origin).args(["--table", &table]).run().expect(4);
        env.fetch(&origin).args(["--table", &table]).run().expect(0);
        let done = format!("SELECT source_image_id FROM warehouse.{schema}.dim_image WHERE thumb_downloaded");
        assert_eq!(env.query(&done), [["a"]], "{schema}");
        let status = env.toller(["status", "--json", "--table", &table, "--warehouse"]).arg(env.warehouse());
        assert_eq!(status.run().expect(0).json()["failed_permanent"], 1);
    }
}

#[test]
fn a_log_that_an_old_duckdb_left_is_left_to_it_where_only_it_can_play_it() {
    for old in duckdbs() {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        let left = "import duckdb, os, sys
c = duckdb.connect(sys.argv[1])
c.execute('CREATE TABLE note (n INTEGER)'); c.execute('CHECKPOINT')
c.execute('CREATE TABLE dim_image (source_image_id VARCHAR PRIMARY KEY, thumb_downloaded BOOLEAN, updated_at TIMESTAMP)')
c.execute(\"INSERT INTO dim_image VALUES ('a', false, NULL)\")
os.kill(os.getpid(), 9)";
        old.python(&env, left).arg(env.warehouse()).run();
        assert!(env.path("warehouse.duckdb.wal").exists(), "DuckDB {} leaves a log", old.version);
        let fetch = env.fetch(&origin).run();
        if fetch.code == Some(1) {
            fetch.complains().stderr_has("open and close it once");
            assert_eq!(origin.request_count(), 0);
        }
        // Whatever toller did, its owner reads it.
        let state = with(old, &env, "warehouse.duckdb", "SELECT count(*) FROM dim_image");
        assert_eq!(state.trim(), "[(1,)]", "DuckDB {}", old.version);
        env.fetch(&origin).run().expect(0);
        let state = with(old, &env, "warehouse.duckdb", "SELECT count(*) FROM dim_image WHERE thumb_downloaded");
        assert_eq!(state.trim(), "[(1,)]", "DuckDB {}", old.version);
    }
}
