//! `verify` by what is on record of each file: its digest, its size, its row in `thumb_file`.

use crate::support::env::skipped;
use crate::support::pictures::small_image_for;
use crate::support::{Env, Origin, Reply, guids};
use crate::verify::{counts, verify};

/// Nine that are home and on record, in order.
fn nine() -> (Env, Origin, Vec<String>) {
    let mut guids = guids(9);
    guids.sort();
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    (env, origin, guids)
}

fn put(env: &Env, guid: &str, body: impl AsRef<[u8]>) {
    env.write(&format!("thumbs/{guid}.jpg"), body);
}

/// Another byte in the pixels: as whole as before to whoever looks at its structure.
fn flipped(guid: &str) -> Vec<u8> {
    let mut image = small_image_for(guid);
    let at = image.len() - 10;
    image[at] ^= 1;
    image
}

fn digest_of(body: &[u8]) -> String {
    let hex = ring::digest::digest(&ring::digest::SHA256, body);
    hex.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is on record of every file, but for the times.
fn on_record(env: &Env) -> Vec<Vec<String>> {
    env.query(
        "SELECT source_image_id, bytes, format, width, height, sha256, proof FROM thumb_file ORDER BY source_image_id",
    )
}

fn aside(env: &Env, guid: &str) -> Vec<u8> {
    std::fs::read(env.path(&format!("thumbs/.toller/corrupt/{guid}.jpg"))).unwrap()
}

#[test]
fn one_flipped_bit_is_a_change_and_a_fix_has_the_file_fetched_anew() {
    let (env, origin, guids) = nine();
    let before = on_record(&env);
    put(&env, &guids[0], flipped(&guids[0]));
    put(&env, &guids[1], small_image_for("another"));
    put(&env, &guids[2], &small_image_for(&guids[2])[..500]);
    assert_eq!(verify(&env).run().expect(3).json(), counts([9, 6, 0, 1, 2, 0, 0, 0, 0]));
    assert_eq!(on_record(&env), before);
    assert_eq!(verify(&env).arg("--fix").run().expect(0).json(), counts([9, 6, 0, 1, 2, 0, 0, 0, 3]));
    assert_eq!(aside(&env, &guids[0]), flipped(&guids[0]));
    env.assert_done(&guids[3..]);
    assert_eq!(on_record(&env), before[3..]);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(on_record(&env), before);
    assert_eq!(verify(&env).run().expect(0).json(), counts([9, 9, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn where_no_digest_is_on_record_the_structure_counts() {
    let (env, _, guids) = nine();
    put(&env, &guids[0], flipped(&guids[0]));
    put(&env, &guids[1], &small_image_for(&guids[1])[..500]);
    for no_digest in ["sha256 = NULL", "sha256 = 'unknown'", "sha256 = 'abcd'"] {
        env.sql(&format!("UPDATE thumb_file SET {no_digest}"));
        assert_eq!(verify(&env).run().expect(3).json(), counts([9, 8, 0, 1, 0, 0, 0, 0, 0]), "{no_digest}");
    }
}

#[test]
fn a_rejected_digest_is_pending_again_wherever_it_is_found() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let placeholder = small_image_for("not available");
    for guid in &guids[..3] {
        origin.on(guid, [Reply::bytes(200, "image/jpeg", placeholder.clone())]);
    }
    origin.on(&guids[3], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    // One that no row claims.
    put(&env, &guids[3], &placeholder);
    let verify = || verify(&env).args(["--reject-digest", &digest_of(b"x"), "--reject-digest"]);
    let hex = digest_of(&placeholder).to_uppercase();
    assert_eq!(verify().arg(&hex).run().expect(3).json(), counts([9, 5, 0, 0, 0, 4, 0, 0, 0]));
    assert_eq!(verify().args([&hex, "--fix"]).run().expect(0).json(), counts([9, 5, 0, 0, 0, 4, 0, 0, 4]));
    assert_eq!((aside(&env, &guids[0]), aside(&env, &guids[3])), (placeholder.clone(), placeholder));
    env.assert_done(&guids[4..]);
    assert_eq!(on_record(&env).len(), 5);
    verify().arg("abc").run().expect(2).complains().stderr_has("64 hexadecimal digits");
}

#[test]
fn a_fix_puts_on_record_what_is_good_and_of_which_nothing_is() {
    let (env, _, guids) = nine();
    let before = on_record(&env);
    let updated = env.query("SELECT * FROM dim_image ORDER BY ALL");
    // As an older toller left it; then as one row too few.
    for lost in ["DROP TABLE thumb_file", &format!("DELETE FROM thumb_file WHERE source_image_id = '{}'", guids[0])] {
        env.sql(lost);
        let now = std::fs::read(env.warehouse()).unwrap();
        assert_eq!(verify(&env).run().expect(0).json(), counts([9, 9, 0, 0, 0, 0, 0, 0, 0]));
        assert!(std::fs::read(env.warehouse()).unwrap() == now, "the warehouse changed");
        // That is no disagreement, and so nothing is fixed.
        assert_eq!(verify(&env).arg("--fix").run().expect(0).json(), counts([9, 9, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(on_record(&env), before, "{lost}");
    }
    assert_eq!(env.query("SELECT * FROM dim_image ORDER BY ALL"), updated);
    assert_eq!(env.value("SELECT count(*) FROM thumb_file WHERE fetched_at IS NULL AND checked_at IS NOT NULL"), "9");
    env.sql("DROP TABLE thumb_file");
    env.sql(&format!("UPDATE dim_image SET thumb_downloaded = false WHERE source_image_id = '{}'", guids[0]));
    let words = env.toller(["verify", "--fix", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    words.stdout_has("filled               8");
    assert_eq!(on_record(&env), before);
}

#[test]
fn another_program_s_table_says_nothing_and_is_left_alone() {
    let (env, _, guids) = nine();
    env.sql("DROP TABLE thumb_file; CREATE TABLE thumb_file AS SELECT 1 AS sha256");
    put(&env, &guids[0], flipped(&guids[0]));
    std::fs::remove_file(env.image(&guids[1])).unwrap();
    assert_eq!(verify(&env).arg("--fix").run().expect(0).json(), counts([9, 8, 1, 0, 0, 0, 0, 0, 1]));
    assert_eq!(env.query("FROM thumb_file"), [["1"]]);
}

#[test]
fn ids_of_every_type_find_their_rows() {
    for (kind, id) in [("BIGINT", "7"), ("UUID", &*guids(1)[0]), ("VARCHAR COLLATE NOCASE", "Ab")] {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id {kind}, thumb_downloaded BOOLEAN);
             INSERT INTO dim_image VALUES ('{id}', false), ('{id}', false)"
        ));
        env.fetch(&origin).run().expect(0);
        put(&env, id, flipped(id));
        assert_eq!(verify(&env).run().expect(3).json(), counts([1, 0, 0, 0, 1, 0, 0, 0, 0]), "{kind}");
        let fix = verify(&env).args(["--fix", "--yes"]).run().expect(0);
        assert_eq!(fix.json(), counts([1, 0, 0, 0, 1, 0, 0, 0, 1]), "{kind}");
        assert_eq!(env.value("SELECT count(*) FROM thumb_file"), "0");
    }
}

#[test]
fn the_quick_look_is_at_names_and_sizes_and_reads_nothing() {
    let (env, _, guids) = nine();
    std::fs::remove_file(env.image(&guids[0])).unwrap();
    put(&env, &guids[1], "");
    put(&env, &guids[2], small_image_for("another of another length"));
    put(&env, &guids[3], flipped(&guids[3]));
    let pending = format!(
        "UPDATE dim_image SET thumb_downloaded = false WHERE source_image_id IN ('{}', '{}')",
        guids[4], guids[5]
    );
    env.sql(&pending);
    put(&env, &guids[5], "<html>Sorry</html>");
    let quick = || verify(&env).arg("--quick");
    assert_eq!(quick().run().expect(3).json(), counts([9, 4, 1, 2, 0, 0, 2, 0, 0]));
    if env.program("strace").args(["-o", "/dev/null", "true"]).try_run() {
        quick().under("strace", ["-f", "-e", "trace=openat", "-o", "calls"]).run().expect(3);
        let calls = std::fs::read_to_string(env.path("calls")).unwrap();
        assert!(calls.contains("warehouse.duckdb") && !calls.contains(".jpg\""), "{calls}");
    } else {
        skipped("no strace to see what is opened");
    }
    // Where nothing is on record, it must only be there and not empty.
    env.sql("UPDATE thumb_file SET bytes = NULL, sha256 = NULL");
    assert_eq!(quick().run().expect(3).json(), counts([9, 5, 1, 1, 0, 0, 2, 0, 0]));
    quick().args(["--reject-digest", &digest_of(b"x")]).run().expect(2).complains().stderr_has("--quick");
}

#[test]
fn a_quick_fix_reads_only_what_is_about_to_become_done() {
    let (env, origin, guids) = nine();
    std::fs::remove_file(env.image(&guids[0])).unwrap();
    put(&env, &guids[2], small_image_for("another of another length"));
    let pending = format!(
        "UPDATE dim_image SET thumb_downloaded = false WHERE source_image_id IN ('{}', '{}')",
        guids[4], guids[5]
    );
    env.sql(&pending);
    put(&env, &guids[5], "<html>Sorry</html>");
    env.sql(&format!("DELETE FROM thumb_file WHERE source_image_id IN ('{}', '{}')", guids[4], guids[8]));
    let fix = verify(&env).args(["--quick", "--fix"]).run().expect(0);
    assert_eq!(fix.json(), counts([9, 5, 1, 2, 0, 0, 1, 0, 4]), "{}", fix.report());
    let done: Vec<_> = [1, 3, 4, 6, 7, 8].map(|n: usize| guids[n].clone()).into();
    env.assert_done(&done);
    // No body of what is done is read, so that nothing more is known of it.
    let rows: Vec<_> = on_record(&env).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(rows, done[..5]);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn verbose_names_every_file_that_disagrees_and_quiet_says_nothing() {
    let (env, _, guids) = nine();
    std::fs::remove_file(env.image(&guids[0])).unwrap();
    put(&env, &guids[1], "<html>Sorry</html>");
    put(&env, &guids[2], flipped(&guids[2]));
    put(&env, &guids[3], small_image_for("rejected"));
    env.sql(&format!("UPDATE dim_image SET thumb_downloaded = false WHERE source_image_id = '{}'", guids[4]));
    let rejected = digest_of(&small_image_for("rejected"));
    let out = verify(&env).args(["--verbose", "--reject-digest", &rejected]).run().expect(3);
    let said = [
        ("missing", 0, "there is no such file".to_owned()),
        ("corrupt", 1, "html, not an image".into()),
        ("changed", 2, format!("its sha256 is {}", digest_of(&flipped(&guids[2])))),
        ("rejected", 3, format!("its sha256 is {rejected}")),
        ("unrecorded", 4, "it is whole and not recorded".into()),
    ];
    for (kind, number, cause) in &said {
        let line = format!("toller: {kind}: {}: {cause}", env.image(&guids[*number]).display());
        assert!(out.stderr.lines().any(|said| said.starts_with(&line)), "{line}\n{}", out.report());
    }
    assert_eq!(out.stderr.lines().count(), 1 + said.len(), "{}", out.report());
    let silent = env.toller(["verify", "-q", "--warehouse"]).arg(env.warehouse()).run().expect(3);
    assert_eq!((silent.stdout.as_str(), silent.stderr.as_str()), ("", ""));
}

#[test]
fn a_terminal_sees_how_far_it_is_and_others_see_no_bar() {
    let (env, _, _) = nine();
    if !env.program("script").args(["-qec", "true", "/dev/null"]).try_run() {
        return skipped("no script to make a terminal with");
    }
    // `script` gives it a terminal; everything that is said there comes to our stdout.
    let shell = r#"printf '"%s" ' "$0" "$@" >command; exec script -qec 'stty cols 100; . ./command' /dev/null"#;
    let on_terminal =
        |arg: &str| verify(&env).arg(arg).env("TERM", "xterm").under("bash", ["-c", shell]).run().expect(0);
    on_terminal("--json").stdout_has("9 of 9, ").stdout_has("images/s");
    for none in ["-q", "--progress=none"] {
        assert!(!on_terminal(none).stdout.contains("images/s"), "{none}");
    }
    assert_eq!(verify(&env).run().expect(0).stderr.lines().count(), 1);
}

#[test]
fn more_claims_than_are_taken_at_once_are_all_looked_at() {
    let (env, origin) = (Env::with(&guids(3)), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    env.sql(
        "INSERT INTO dim_image SELECT 'x' || range, true, NULL FROM range(25000);
         INSERT INTO dim_image SELECT 'y' || range, false, NULL FROM range(25000)",
    );
    assert_eq!(verify(&env).run().expect(3).json(), counts([25_003, 3, 25_000, 0, 0, 0, 0, 0, 0]));
    let fix = verify(&env).args(["--fix", "--yes"]).run().expect(0);
    assert_eq!(fix.json(), counts([25_003, 3, 25_000, 0, 0, 0, 0, 0, 25_000]));
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "3");
}

/// The statement of the README that makes a list for `sha256sum -c`.
fn documented_sql() -> String {
    let readme = include_str!("../README.md");
    let line = readme.lines().find(|line| line.contains("sha256 || ")).expect("the README has the statement");
    line.split('"').nth(1).expect("in quotes").to_owned()
}

#[test]
fn sha256sum_can_check_the_disk_by_the_documented_statement() {
    let (env, _, guids) = nine();
    let lines: String = env.query(&documented_sql()).into_iter().map(|row| row[0].clone() + "\n").collect();
    let check = || env.program("env").args(["-C", "thumbs", "sha256sum", "-c", "--quiet", "../list"]);
    env.write("list", &lines);
    assert_eq!(lines.lines().count(), 9);
    check().run().expect(0);
    put(&env, &guids[0], flipped(&guids[0]));
    check().run().expect(1).stdout_has(&format!("{}.jpg", guids[0]));
}
