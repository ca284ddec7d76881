//! What is wrong is said in one line and loses nothing: bad GUIDs, bad options, warehouses and folders that
//! are not what they should be.

use crate::support::env::quoted;
use crate::support::{Env, Origin, Out, guid, guids, steady_port};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

#[test]
fn bad_guids_are_failures_and_their_neighbours_are_fetched() {
    let (env, origin) = (Env::with(&["good-1", "good-2"]), Origin::start());
    let long = "x".repeat(300);
    let bad =
        ["../x", "a/b", ".x", "", &long, "line\nbreak", "tab\there", "back\\slash", "..", "\u{85}", "a\r\nX-Evil: 1"];
    for id in bad {
        env.sql(&format!("INSERT INTO dim_image VALUES ({}, false, NULL)", quoted(id)));
    }
    env.sql("INSERT INTO dim_image VALUES ('nul' || chr(0) || 'x', false, NULL)");
    env.fetch(&origin).run().expect(4);
    env.assert_done(&["good-1", "good-2"]);
    assert_eq!(origin.request_count(), 2, "no request for any of them");
    let failures = env.query("SELECT source_image_id FROM thumb_failure WHERE kind = 'bad_guid' AND permanent");
    assert_eq!(failures.len(), bad.len() + 1);
    let failed: BTreeSet<&str> = failures.iter().map(|row| row[0].as_str()).collect();
    assert!(bad.iter().all(|id| failed.contains(id)), "{failed:?}");
    let beside: BTreeSet<_> = std::fs::read_dir(env.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside, ["thumbs", "warehouse.duckdb"].map(Into::into).into(), "nothing outside the destination");
    // They are known for good.
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn odd_but_harmless_guids_are_encoded_and_fetched() {
    let long = "y".repeat(200);
    let odd: BTreeMap<&str, &str> = [
        ("%2e%2e", "%252e%252e"),
        ("ü", "%C3%BC"),
        ("a b", "a%20b"),
        ("a?b=c&d#e", "a%3Fb%3Dc%26d%23e"),
        ("a%00", "a%2500"),
        ("{guid}", "%7Bguid%7D"),
        ("it's \"quoted\"", "it%27s%20%22quoted%22"),
        ("~a.b_c-d", "~a.b_c-d"),
        ("日本.jpg", "%E6%97%A5%E6%9C%AC.jpg"),
        ("a..", "a.."),
        (&long, &long),
    ]
    .into();
    let ids: Vec<&str> = odd.keys().copied().collect();
    let (env, origin) = (Env::with(&ids), Origin::start());
    env.fetch(&origin).run().expect(0);
    env.assert_done(&ids);
    let asked: BTreeSet<String> = origin.requests().into_iter().map(|request| request.path).collect();
    let wanted = odd.values().map(|encoded| format!("/thumbs/{encoded}.jpg")).collect();
    assert_eq!(asked, wanted);
}

#[test]
fn a_wrong_command_line_is_2_and_names_what_is_wrong() {
    let env = Env::with(&[guid(1)]);
    let good = "https://localhost:1/{guid}.jpg";
    let fetch = |args: &[&str]| -> Out {
        let fetch = env.toller(["fetch", "--warehouse"]).arg(env.warehouse());
        fetch.args(args).run().expect(2).complains()
    };
    fetch(&["--url", "https://localhost:1/thumb.jpg", "--dest", "d"]).stderr_has("{guid}");
    fetch(&["--url", "ftp://localhost/{guid}", "--dest", "d"]).stderr_has("ftp");
    fetch(&["--url", "localhost/{guid}", "--dest", "d"]).stderr_has("localhost/{guid}");
    fetch(&["--url", "https://{guid}.localhost/x", "--dest", "d"]);
    fetch(&["--dest", "d"]).stderr_has("--url");
    fetch(&["--url", good]).stderr_has("--dest");
    for (option, value) in [
        ("--workers", "0"),
        ("--workers", "65"),
        ("--workers", "three"),
        ("--timeout", "soon"),
        ("--max-bytes", "20X"),
        ("--max-failure-rate", "101"),
        ("--expect", "video"),
        ("--header", "no colon"),
        ("--header", "X-Evil: a\r\nX-More: b"),
        ("--batch", "0"),
        ("--progress", "loud"),
        ("--proxy", "http://localhost:99999"),
        ("--proxy", "localhost:999999"),
        ("--proxy", "http://me:pw@localhost:abc"),
        ("--proxy", "socks5://localhost:1080"),
        ("--no-such-option", "1"),
    ] {
        fetch(&["--url", good, "--dest", "d", option, value]).stderr_has(option);
    }
    env.toller(["fetch", "--url", good, "--dest", "d"]).run().expect(2).complains().stderr_has("--warehouse");
    env.toller(["fetsch"]).run().expect(2).complains().stderr_has("fetsch");
    assert!(!env.path("d").exists(), "nothing was touched");
    assert_eq!(env.value("SELECT count(*) FROM duckdb_tables()"), "1");
}

#[test]
fn a_missing_warehouse_is_an_error_and_is_not_made() {
    let (env, origin) = (Env::new(), Origin::start());
    env.fetch(&origin).run().expect(1).complains().stderr_has("warehouse.duckdb");
    assert!(!env.warehouse().exists());
    assert!(!env.dest().exists());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_file_that_is_no_warehouse_is_an_error() {
    let (env, origin) = (Env::new(), Origin::start());
    env.write("warehouse.duckdb", "a letter\n".repeat(1000));
    env.fetch(&origin).run().expect(1).complains().stderr_has("warehouse.duckdb");
    assert!(std::fs::read_to_string(env.warehouse()).unwrap().starts_with("a letter"));
    std::fs::remove_file(env.warehouse()).unwrap();
    std::fs::create_dir(env.warehouse()).unwrap();
    env.fetch(&origin).run().expect(1).complains().stderr_has("warehouse.duckdb");
}

#[test]
fn a_missing_table_and_a_missing_column_are_named() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    for (option, name) in [
        ("--table", "no_such_table"),
        ("--table", "no_such_schema.dim_image"),
        ("--id-column", "no_such_id"),
        ("--done-column", "no_such_flag"),
        ("--updated-column", "no_such_time"),
    ] {
        env.fetch(&origin).args([option, name]).run().expect(1).complains().stderr_has(name);
    }
    for nonsense in ["no_such_word > 1", "1 >", "true); DROP TABLE dim_image; --"] {
        let out = env.fetch(&origin).args(["--where", nonsense]).run().complains();
        assert!(matches!(out.code, Some(1 | 2)), "{}", out.report());
    }
    let fetch = env.toller(["fetch", "--url-column", "no_such_url", "--warehouse"]).arg(env.warehouse());
    fetch.arg("--dest").arg(env.dest()).run().expect(1).complains().stderr_has("no_such_url");
    assert_eq!(origin.connections(), 0);
    let tables = env.query("SELECT table_name FROM duckdb_tables()");
    assert_eq!(tables, [["dim_image"]], "nothing was made before it was known to fit");
}

/// A folder in which nobody can make anything, not even root, for whom `chmod` means nothing.
fn unwritable(env: &Env) -> PathBuf {
    let folder = env.path("read-only");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(folder.join("probe"), "").is_err() {
        return folder;
    }
    PathBuf::from("/proc/self")
}

#[test]
fn a_destination_that_cannot_be_written_ends_the_run_before_it_begins() {
    let (env, origin) = (Env::with(&guids(5)), Origin::start());
    let file = env.write("a-file", "not a folder");
    for dest in [unwritable(&env), unwritable_below(&env), file.clone(), file.join("below")] {
        let fetch = env.toller(["fetch", "--url", &origin.template(), "--warehouse"]).arg(env.warehouse());
        let out = fetch.arg("--dest").arg(&dest).arg("--ca-cert").arg(origin.ca()).run();
        out.expect(1).complains().stderr_has(&dest.display().to_string());
        assert_eq!(origin.request_count(), 0);
    }
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "0");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "not a folder");
}

fn unwritable_below(env: &Env) -> PathBuf {
    let folder = env.path("read-only");
    let root = std::fs::write(folder.join("probe"), "").is_ok();
    if root { PathBuf::from("/proc/thumbs") } else { folder.join("thumbs") }
}

#[test]
fn a_folder_where_a_file_should_be_ends_one_image() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    std::fs::create_dir_all(env.image(&guids[1])).unwrap();
    env.fetch(&origin).arg("-v").run().expect(3).stderr_has(&guids[1]);
    assert_eq!(env.runs(), ["partial"]);
    env.assert_true();
    std::fs::remove_dir(env.image(&guids[1])).unwrap();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_bad_certificate_file_is_an_error() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    let empty = env.write("empty.pem", "");
    let letter = env.write("letter.pem", "Dear CA,\n");
    for bad in [env.path("missing.pem"), empty, letter] {
        let name = bad.file_name().unwrap().to_str().unwrap().to_owned();
        let fetch = env.fetch_url(&origin.template()).arg("--ca-cert").arg(bad);
        fetch.run().expect(1).complains().stderr_has(&name);
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_origin_that_is_not_there_may_come_back() {
    let guids = guids(3);
    let env = Env::with(&guids);
    let nobody = format!("https://localhost:{}/{{guid}}.jpg", steady_port());
    env.fetch_url(&nobody).args(["--retries", "0"]).run().expect(3);
    assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["connect", "false"]]);
    let no_name = "https://no-such-host.invalid/{guid}.jpg";
    env.fetch_url(no_name).args(["--retries", "0"]).run().expect(3);
    assert_eq!(env.query("SELECT DISTINCT kind, permanent, attempts FROM thumb_failure"), [["dns", "false", "2"]]);
    assert_eq!(env.value("SELECT sum(connections) FROM run_manifest"), "0");
}

#[test]
fn an_argument_that_is_no_utf_8_is_a_wrong_command_line() {
    use std::os::unix::ffi::OsStrExt;
    let bad = std::ffi::OsStr::from_bytes(b"\xff");
    let env = Env::new();
    env.toller([bad]).run().expect(2).complains();
    env.toller(["fetch"]).arg("--url").arg(bad).run().expect(2).complains();
}
