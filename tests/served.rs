//! A warehouse that a DuckDB server holds all day: pending by the client's SQL, `pipe`, and outcomes applied by SQL.

use std::path::{Path, PathBuf};

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Reply, guids, python, steady_port};

/// The server: it holds the file until its standard input ends.
const SERVER: &str = "\
import duckdb, os, sys
c = duckdb.connect('warehouse.duckdb', config={'allow_unsigned_extensions': 'true'})
for file in os.environ['QUACK_EXTENSIONS'].split(':'):
    c.execute(f\"LOAD '{file}'\")
c.execute(\"CALL quack_serve('quack:localhost:%s', token = 'secret')\" % sys.argv[1])
print('serving', flush=True)
sys.stdin.read()
";

/// Where `pip install --target FOLDER duckdb duckdb-extension-httpfs duckdb-extension-quack` has put them.
fn extensions(folder: &Path) -> String {
    let found = ["httpfs", "quack"].map(|name| {
        let versions = folder.join(format!("duckdb_extension_{name}/extensions"));
        let version = std::fs::read_dir(versions).unwrap().next().unwrap().unwrap();
        version.path().join(format!("{name}.duckdb_extension")).display().to_string()
    });
    found.join(":")
}

#[test]
fn what_a_server_holds_is_fetched_for_by_its_own_sql() {
    let Some(folder) = std::env::var_os("TOLLER_TEST_QUACK").map(PathBuf::from) else {
        skipped("no DuckDB server; TOLLER_TEST_QUACK may name the folder of one");
        return;
    };
    let guids = guids(30);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    // In the format that older DuckDBs read.
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg("-").stdin(guids.join("\n")).run().expect(0);
    origin.on(&guids[3], [Reply::status(404)]);
    origin.on(&guids[4], [Reply::status(503), Reply::image()]);
    let port = steady_port().to_string();
    let python = |args: &[&str]| -> Cmd {
        let cmd = env.program(python().unwrap()).args(args).env("PYTHONPATH", &folder.display().to_string());
        let cmd = cmd.env("QUACK_EXTENSIONS", &extensions(&folder)).env("WAREHOUSE_TOKEN", "secret");
        cmd.env("WAREHOUSE", &format!("quack:localhost:{port}"))
    };
    let server = python(&["-c", SERVER, &port]).open_stdin().spawn();
    server.wait_for_stdout("serving");
    // It is let out by nobody else.
    env.fetch(&origin).args(["--lock-wait", "0"]).run().expect(75).complains().stderr_has("served.py");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/examples/served.py");
    let pending = || python(&[script, "pending"]).run().expect(0).stdout;
    let pipe = |stdin: String| {
        let pipe = env.toller(["pipe", "--retries", "0", "--url", &origin.template(), "--dest"]).arg(env.dest());
        pipe.arg("--ca-cert").arg(origin.ca()).stdin(stdin).run().stdout
    };
    let first = pending();
    assert_eq!(first.lines().count(), 30);
    python(&[script, "apply"]).stdin(pipe(first)).run().expect(0);
    // What failed for good is left alone, what may pass is not.
    assert_eq!(pending().trim(), guids[4]);
    let lines = pipe(pending());
    for _ in 0..2 {
        python(&[script, "apply"]).stdin(lines.clone()).run().expect(0);
    }
    assert_eq!(pending(), "");
    let mut server = server;
    server.hang_up();
    server.wait().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "29");
    assert_eq!(env.query("SELECT guid, kind FROM toller_failure"), [[&*guids[3], "not_found"]]);
    assert_eq!(env.value("SELECT count(*) FROM toller_outcome"), "0");
}
