//! The file that `load` makes: whole or not there, whoever else makes it and whenever it is killed.

use crate::support::{Cmd, Env, eventually, guids};
use std::os::unix::ffi::OsStrExt;

fn load(env: &Env) -> Cmd {
    env.toller(["load", "--warehouse"]).arg(env.warehouse())
}

/// What lies in the folder that has to do with the warehouse.
fn files(env: &Env) -> Vec<String> {
    let entries = std::fs::read_dir(env.path("")).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.contains("warehouse"));
    names.sort();
    names
}

#[test]
fn what_is_no_duckdb_file_is_refused_by_every_command_before_anything() {
    let env = Env::new();
    env.write("g.txt", "a\n");
    env.write("have.csv", "source_image_id\na\n");
    env.write("empty.duckdb", "");
    env.sql("SELECT 1");
    let parquet = env.path("have.parquet").display().to_string();
    env.sql(&format!("COPY (SELECT 'a' AS source_image_id) TO '{parquet}' (FORMAT parquet)"));
    for warehouse in [":memory:", ":memory:x", "have.csv", "have.parquet", "empty.duckdb", "/dev/null", "."] {
        let before = std::fs::read(env.path(warehouse)).ok();
        for command in [
            &["load", "g.txt"][..],
            &["status"],
            &["pending"],
            &["verify", "--dest", "x"],
            &["merge", "g.txt"],
            &["fetch", "--url", "https://127.0.0.1:1/{guid}", "--dest", "x"],
        ] {
            let out = env.toller(command).args(["--warehouse", warehouse]).run().expect(1).complains();
            assert!(out.stdout.is_empty() && out.stderr.contains(warehouse), "{}", out.report());
        }
        assert_eq!(std::fs::read(env.path(warehouse)).ok(), before, "{warehouse}");
    }
    assert!(!env.path("x").exists());
}

#[test]
fn a_warehouse_whose_path_is_not_utf8_is_refused_and_no_other_is_opened() {
    let env = Env::with(&["a"]);
    let other = env.path("\u{fffd}.duckdb");
    std::fs::rename(env.warehouse(), &other).unwrap();
    let before = std::fs::read(&other).unwrap();
    env.write("g.txt", "b\n");
    let name = std::ffi::OsStr::from_bytes(b"\xff.duckdb");
    for there in [false, true] {
        if there {
            std::fs::copy(&other, other.with_file_name(name)).unwrap();
        }
        for command in [&["load", "g.txt"][..], &["status"], &["pending"]] {
            let out = env.toller(command).arg("--warehouse").arg(name).run();
            out.expect(1).complains().stderr_has("not UTF-8");
        }
    }
    assert_eq!(std::fs::read(&other).unwrap(), before);
}

#[test]
fn a_file_is_the_warehouse_that_it_is_called_whatever_duckdb_makes_of_its_name() {
    for name in ["~", "~x.duckdb", "sqlite:x.duckdb", "s3:x", "*.duckdb", "[a].duckdb", "$HOME.db", "a'b.db"] {
        let env = Env::new();
        env.write("g.txt", "a\nb\n");
        for command in [["load", "g.txt"], ["status", "--json"]] {
            let run = env.toller([command[0], "--warehouse", name, command[1]]).run().expect(0);
            run.stdout_has("2");
        }
        assert!(env.path(name).is_file(), "{name}");
    }
    let env = Env::new();
    env.write("g.txt", "a\nb\n");
    std::fs::create_dir(env.path("a")).unwrap();
    for name in [r"a\b.duckdb", "x?y=z.duckdb"] {
        let load = env.toller(["load", "--warehouse", name, "g.txt"]);
        let out = load.run().expect(1).complains().stderr_has("another name");
        assert!(!env.path("a/b.duckdb").exists() && !env.path(name).exists(), "{}", out.report());
    }
}

#[test]
fn two_that_make_the_same_warehouse_take_turns() {
    let env = Env::new();
    env.write("b.txt", "b\n");
    let mut first = load(&env).arg("-").open_stdin().spawn();
    first.say("a\n");
    eventually("the first to begin", || env.path(".warehouse.duckdb.toller/warehouse.duckdb").exists().then_some(()));
    // One without patience leaves with 75, and takes nothing with it.
    load(&env)
        .args(["b.txt", "--lock-wait", "0"])
        .run()
        .expect(75)
        .complains()
        .stderr_has("another process is making it");
    let second = load(&env).arg("b.txt").spawn();
    first.hang_up();
    first.wait().expect(0).stdout_has("in a new warehouse");
    second.wait().expect(0).stdout_has("1 images added, 2 in all");
    assert_eq!(files(&env), ["warehouse.duckdb"]);
    assert_eq!(env.value("SELECT count(*) FROM dim_image"), "2");
}

#[test]
fn one_that_was_made_by_another_program_meanwhile_is_not_replaced() {
    let env = Env::new();
    let mut load = load(&env).arg("-").open_stdin().spawn();
    load.say("a\n");
    eventually("it to begin", || env.path(".warehouse.duckdb.toller/warehouse.duckdb").exists().then_some(()));
    env.warehouse_of(&["theirs"]);
    load.hang_up();
    load.wait().expect(75).complains().stderr_has("meanwhile");
    assert_eq!(env.query("SELECT source_image_id FROM dim_image"), [["theirs"]]);
    assert_eq!(files(&env), ["warehouse.duckdb"]);
}

#[test]
fn a_load_that_is_killed_leaves_nothing_that_the_next_trips_over() {
    let env = Env::new();
    let mut killed = load(&env).arg("-").open_stdin().spawn();
    killed.say(&guids(5000).join("\n"));
    let making = env.path(".warehouse.duckdb.toller/warehouse.duckdb");
    eventually("it to begin", || making.exists().then_some(()));
    killed.kill9();
    assert!(!env.warehouse().exists(), "there is no half a warehouse");
    // What a killed one may leave that no DuckDB opens.
    std::fs::write(&making, "torn").unwrap();
    load(&env).arg("-").stdin("a\n").run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM dim_image"), "1");
    assert_eq!(files(&env), ["warehouse.duckdb"]);
}

#[test]
fn a_load_that_fails_leaves_nothing_behind() {
    let env = Env::new();
    load(&env).arg("missing.txt").run().expect(1).complains();
    load(&env).arg("-").stdin(b"a\n\xff\n".to_vec()).run().expect(1).complains();
    assert_eq!(files(&env), Vec::<String>::new());
    let out =
        env.toller(["load", "--warehouse", "no/such/folder.duckdb", "-"]).stdin("a\n").run().expect(1).complains();
    out.stderr_has("no/such/folder.duckdb");
    std::os::unix::fs::symlink("nowhere", env.warehouse()).unwrap();
    load(&env).arg("-").stdin("a\n").run().expect(1).complains().stderr_has("link");
}

#[test]
fn a_new_warehouse_is_durable_before_it_has_its_name() {
    let env = Env::new();
    let probe = env.program("strace").args(["-f", "-e", "trace=fsync", "true"]);
    if !probe.try_run() {
        return crate::support::env::skipped("no strace");
    }
    let trace = env.path("trace.txt");
    let calls = ["-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,link", "-o"];
    let calls = calls.map(String::from).into_iter().chain([trace.display().to_string()]);
    load(&env).arg("-").stdin("a\n").under("strace", calls).run().expect(0);
    let trace = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let renamed =
        lines.iter().position(|line| line.contains("renameat2") && line.contains("warehouse.duckdb")).unwrap();
    let synced = |line: &&str| line.contains("fsync(") && line.contains(".toller/warehouse.duckdb>");
    assert!(lines[..renamed].iter().any(synced), "{trace}");
    let folder = env.path("").canonicalize().unwrap().display().to_string();
    assert!(
        lines[renamed..].iter().any(|line| line.contains("fsync(") && line.contains(&format!("<{folder}>"))),
        "{trace}"
    );
}

#[test]
fn a_log_of_another_database_is_not_played_into_a_new_one() {
    let env = Env::new();
    let log = env.write("warehouse.duckdb.wal", "somebody's");
    env.write("g.txt", "a\nb\n");
    load(&env).arg("g.txt").run().expect(1).complains().stderr_has("warehouse.duckdb.wal").stderr_has("another name");
    assert!(!env.warehouse().exists());
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "somebody's");
    std::fs::remove_file(log).unwrap();
    load(&env).arg("g.txt").run().expect(0);
}

#[test]
fn a_folder_of_somebody_elses_under_the_name_for_making_keeps_what_is_in_it() {
    let env = Env::new();
    let mine = env.write(".warehouse.duckdb.toller/mine.txt", "mine");
    env.write("g.txt", "a\n");
    load(&env).arg("g.txt").run().expect(0);
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
    env.toller(["load", "--warehouse", "-", "g.txt"]).run().expect(1).complains();
    assert!(!env.path("-").exists());
}
