//! `verify`: the warehouse against the disk, both ways; and `--fix`, after which the warehouse is true.

use crate::support::env::skipped;
use crate::support::pictures::small_image_for;
use crate::support::{Cmd, Env, Origin, Reply, guids, image_for};
use serde_json::{Value, json};

pub fn verify(env: &Env) -> Cmd {
    env.toller(["verify", "--json", "--warehouse"]).arg(env.warehouse())
}

pub fn counts(counts: [u64; 9]) -> Value {
    let [checked, good, missing, corrupt, changed, rejected, unrecorded, stray, fixed] = counts;
    json!({"checked": checked, "good": good, "missing": missing, "corrupt": corrupt, "changed": changed,
           "rejected": rejected, "unrecorded": unrecorded, "stray": stray, "fixed": fixed})
}

/// A warehouse of twelve after a run, in which one of each kind is wrong then. It says so of the GUIDs 0 to 7.
fn disordered() -> (Env, Origin, Vec<String>) {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::start());
    // Two fail in the run, and come by another way.
    origin.on(&guids[5], [Reply::status(404)]);
    origin.on(&guids[6], [Reply::status(404), Reply::image()]);
    env.fetch(&origin).run().expect(4);
    std::fs::remove_file(env.image(&guids[0])).unwrap();
    std::fs::remove_file(env.image(&guids[1])).unwrap();
    env.write(&format!("thumbs/{}.jpg", guids[2]), &image_for(&guids[2])[..5000]);
    env.write(&format!("thumbs/{}.jpg", guids[3]), "");
    env.write(&format!("thumbs/{}.jpg", guids[4]), "<html>Sorry</html>");
    env.write(&format!("thumbs/{}.jpg", guids[5]), image_for(&guids[5]));
    env.sql(&format!("UPDATE dim_image SET thumb_downloaded = NULL WHERE source_image_id = '{}'", guids[7]));
    (env, origin, guids)
}

#[test]
fn a_warehouse_that_is_true_is_called_so() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[8], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    for args in [&[][..], &["--fix"]] {
        let out = verify(&env).args(args).run().expect(0);
        assert_eq!(out.json(), counts([8, 8, 0, 0, 0, 0, 0, 0, 0]));
    }
    env.assert_done(&guids[..8]);
    let words = env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    words.stdout_has("8 checked, 8 good");
}

#[test]
fn every_kind_of_disorder_is_counted_and_nothing_is_touched() {
    let (env, _, _) = disordered();
    env.write("thumbs/notes.txt", "mine");
    env.write(&format!("thumbs/{}.jpg", "nobody-knows"), small_image_for("nobody-knows"));
    env.write("thumbs/.toller/20200101T000000-0123abcd/0", "half an ima");
    let (before, files) = (std::fs::read(env.warehouse()).unwrap(), env.files());
    let out = verify(&env).run().expect(3);
    assert_eq!(out.json(), counts([11, 4, 2, 3, 0, 0, 2, 3, 0]), "{}", out.report());
    assert!(std::fs::read(env.warehouse()).unwrap() == before, "the warehouse changed");
    assert_eq!(env.files(), files);
    assert_eq!(env.leftovers(), ["20200101T000000-0123abcd", "lock"]);
    let words = env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(3);
    words.stdout_has("missing").stdout_has("corrupt").stdout_has("unrecorded").stdout_has("stray");
}

#[test]
fn a_fix_makes_the_warehouse_true_and_a_fetch_makes_it_whole() {
    let (env, origin, guids) = disordered();
    env.write("thumbs/.toller/20200101T000000-0123abcd/0", "half an ima");
    // More than half of what is done is lost.
    let out = verify(&env).args(["--fix", "--yes"]).run().expect(0);
    assert_eq!(out.json(), counts([11, 4, 2, 3, 0, 0, 2, 1, 7]), "{}", out.report());
    let done: Vec<&String> = guids.iter().enumerate().filter(|(n, _)| *n == 5 || *n >= 7).map(|(_, g)| g).collect();
    env.assert_done(&done);
    assert_eq!(env.leftovers(), ["corrupt", "lock"]);
    // What was corrupt can still be looked at.
    let aside = |n: usize| std::fs::read(env.path(&format!("thumbs/.toller/corrupt/{}.jpg", guids[n]))).unwrap();
    assert_eq!(aside(2), &image_for(&guids[2])[..5000]);
    assert_eq!((aside(3), aside(4)), (b"".to_vec(), b"<html>Sorry</html>".to_vec()));
    // The failure of what turned out to be there is gone, the other one stays.
    assert_eq!(env.query("SELECT source_image_id FROM thumb_failure"), [[guids[6].as_str()]]);
    let again = verify(&env).run().expect(0);
    assert_eq!(again.json(), counts([6, 6, 0, 0, 0, 0, 0, 0, 0]));
    let before = origin.request_count();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count() - before, 5);
    env.fetch(&origin).arg("--retry-failed").run().expect(0);
    env.assert_done(&guids);
    // The folder of what was set aside is no leftover of a dead run.
    assert_eq!(env.leftovers(), ["corrupt", "lock"]);
}

#[test]
fn a_file_that_nobody_knows_is_counted_and_is_no_disagreement_and_never_deleted() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let mine = env.write("thumbs/notes.txt", "mine");
    let stray = env.write("thumbs/nobody-knows.jpg", small_image_for("nobody-knows"));
    for args in [&[][..], &["--fix"]] {
        env.write("thumbs/.toller/20200101T000000-0123abcd/0", "half an ima");
        let out = verify(&env).args(args).run().expect(0);
        assert_eq!(out.json(), counts([3, 3, 0, 0, 0, 0, 0, 3, 0]), "{}", out.report());
    }
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
    assert!(stray.exists());
}

#[test]
fn what_is_not_given_is_taken_from_the_last_run() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).args(["--fanout", "2", "--extension", "jpeg"]).run().expect(0);
    assert_eq!(verify(&env).run().expect(0).json(), counts([6, 6, 0, 0, 0, 0, 0, 0, 0]));
    // Given, it is what counts: under those names there is nothing, and what is there is of no image.
    let elsewhere = verify(&env).args(["--fanout", "0"]).run().expect(3);
    assert_eq!(elsewhere.json(), counts([6, 0, 6, 0, 0, 0, 0, 6, 0]));
    std::fs::rename(env.dest(), env.path("moved")).unwrap();
    verify(&env).run().expect(1).complains().stderr_has("thumbs");
    assert_eq!(verify(&env).arg("--dest").arg(env.path("moved")).run().expect(0).json()["good"], 6);
}

#[test]
fn what_is_no_image_is_good_where_anything_is() {
    let guids = guids(2);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::html()]);
    env.fetch(&origin).args(["--expect", "any"]).run().expect(0);
    assert_eq!(verify(&env).run().expect(0).json()["good"], 2);
    assert_eq!(verify(&env).args(["--expect", "image"]).run().expect(3).json()["corrupt"], 1);
}

#[test]
fn a_warehouse_without_runs_can_be_verified_by_naming_the_rest() {
    let (env, whole) = (Env::with(&["a", "b", "c"]), small_image_for("a"));
    env.write("thumbs/a.jpg", whole);
    env.sql("UPDATE dim_image SET thumb_downloaded = true WHERE source_image_id = 'b'");
    verify(&env).run().expect(2).complains().stderr_has("--dest");
    let fix = verify(&env).args(["--extension", "jpg", "--fix", "--dest"]).arg(env.dest());
    assert_eq!(fix.run().expect(0).json(), counts([2, 0, 1, 0, 0, 0, 1, 0, 2]));
    env.assert_done(&["a"]);
}

#[test]
fn ids_of_every_type_are_mended() {
    let uuid = &guids(1)[0];
    for (kind, missing, there) in [("BIGINT", "7", "8"), ("UUID", &**uuid, "00000000-0000-4000-8000-000000000001")] {
        let (env, origin) = (Env::new(), Origin::builder().small().start());
        env.sql(&format!(
            "CREATE TABLE dim_image (source_image_id {kind} PRIMARY KEY, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);
             INSERT INTO dim_image VALUES ('{missing}', false, NULL), ('{there}', false, NULL)"
        ));
        origin.on(there, [Reply::status(404)]);
        env.fetch(&origin).run().expect(4);
        std::fs::remove_file(env.image(missing)).unwrap();
        env.write(&format!("thumbs/{there}.jpg"), small_image_for(there));
        assert_eq!(
            verify(&env).args(["--fix", "--yes"]).run().expect(0).json(),
            counts([2, 0, 1, 0, 0, 0, 1, 0, 2]),
            "{kind}"
        );
        env.assert_done(&[there]);
        assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    }
}

#[test]
fn duplicate_rows_are_one_image_and_all_of_them_are_mended() {
    let (env, origin) = (Env::with(&["a", "a", "b", "b"]), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    std::fs::remove_file(env.image("a")).unwrap();
    env.sql("UPDATE dim_image SET thumb_downloaded = false WHERE rowid = 3");
    let out = verify(&env).args(["--fix", "--yes"]).run().expect(0);
    assert_eq!(out.json(), counts([2, 0, 1, 0, 0, 0, 1, 0, 2]), "{}", out.report());
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE NOT thumb_downloaded"), "2");
    env.assert_done(&["b"]);
}

/// A fetch of a second table of that warehouse, into a folder of its own.
fn fetch_other(env: &Env, origin: &Origin) -> Cmd {
    let fetch = env.toller(["fetch", "--table", "lake.other", "--fanout", "1", "--url", &origin.template(), "--dest"]);
    fetch.arg(env.path("others")).arg("--warehouse").arg(env.warehouse()).arg("--ca-cert").arg(origin.ca())
}

/// Two tables in one warehouse, fetched one after the other.
fn two_tables() -> (Env, Vec<String>) {
    let guids = guids(60);
    let (mine, other) = guids.split_at(50);
    let (env, origin) = (Env::with(mine), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let list = format!("{other:?}").replace('"', "'");
    let select = format!("SELECT unnest({list}) AS source_image_id, false AS thumb_downloaded");
    env.sql(&format!("CREATE SCHEMA lake; CREATE TABLE lake.other AS {select}"));
    fetch_other(&env, &origin).run().expect(0);
    (env, mine.to_vec())
}

#[test]
fn the_folder_is_that_of_the_table_s_own_last_run() {
    let (env, mine) = two_tables();
    let tables = "SELECT image_table FROM run_manifest ORDER BY started_at";
    assert_eq!(env.query(tables), [["main.dim_image"], ["lake.other"]]);
    for table in ["dim_image", "main.dim_image", "MAIN.Dim_Image"] {
        let out = verify(&env).args(["--fix", "--table", table]).run().expect(0);
        assert_eq!(out.json(), counts([50, 50, 0, 0, 0, 0, 0, 0, 0]), "{table}: {}", out.report());
    }
    let out = verify(&env).args(["--table", "lake.other"]).run().expect(0);
    assert_eq!(out.json()["good"], 10);
    env.assert_done(&mine);
    // A table that no run was for has no folder.
    env.sql("CREATE TABLE third AS FROM dim_image");
    verify(&env).args(["--table", "third", "--fix"]).run().expect(2).complains().stderr_has("--dest");
}

#[test]
fn the_folder_is_named_and_so_is_who_named_it() {
    let guids = guids(2);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let (dest, run) = (env.dest().display().to_string(), env.value("SELECT run_id FROM run_manifest"));
    let words = env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    let words = words.stdout_has(&dest).stdout_has(&run);
    assert_eq!(words.stderr, "", "it is said once: {}", words.report());
    verify(&env).run().expect(0).stderr_has(&dest).stderr_has(&run);
    verify(&env).args(["--dest", "thumbs"]).run().expect(0).stderr_has(&dest).stderr_has("--dest");
}

#[test]
fn runs_of_an_older_toller_count_while_no_run_names_a_table_and_their_table_gets_the_column() {
    let (env, mine) = two_tables();
    env.sql("ALTER TABLE run_manifest DROP COLUMN image_table; DELETE FROM run_manifest WHERE fanout = 1");
    assert_eq!(verify(&env).run().expect(0).json()["good"], 50);
    // A run of one table says nothing of the other ones.
    let origin = Origin::builder().small().start();
    env.sql("UPDATE lake.other SET thumb_downloaded = false");
    fetch_other(&env, &origin).run().expect(0);
    assert_eq!(env.query("SELECT image_table FROM run_manifest ORDER BY started_at"), [["NULL"], ["lake.other"]]);
    verify(&env).arg("--fix").run().expect(2).complains().stderr_has("--dest");
    env.assert_done(&mine);
}

#[test]
fn a_fix_that_would_lose_more_than_half_is_refused_and_changes_nothing_unless_it_is_meant() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    env.write("thumbs/.toller/20200101T000000-0123abcd/0", "half an ima");
    for guid in &guids[..4] {
        std::fs::remove_file(env.image(guid)).unwrap();
    }
    env.write(&format!("thumbs/{}.jpg", guids[4]), "<html>Sorry</html>");
    let all = |env: &Env| {
        let lock = std::fs::read_to_string(env.dest().join(".toller/lock")).unwrap();
        (std::fs::read(env.warehouse()).unwrap(), env.files(), env.leftovers(), lock)
    };
    let before = all(&env);
    let out = verify(&env).arg("--fix").run().expect(1).complains().stderr_has("--yes").stderr_has("--dest");
    assert_eq!(out.json(), counts([9, 4, 4, 1, 0, 0, 0, 1, 0]), "what was found is said: {}", out.report());
    assert!(out.stderr.contains("5 of 9 images"), "{}", out.report());
    assert!(all(&env) == before, "something changed");
    // One less is not more than half, and so it is when the folder was named.
    env.write(&format!("thumbs/{}.jpg", guids[4]), small_image_for(&guids[4]));
    verify(&env).arg("--fix").run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "5");
    env.sql("UPDATE dim_image SET thumb_downloaded = true");
    std::fs::remove_dir_all(env.dest()).unwrap();
    std::fs::create_dir(env.dest()).unwrap();
    verify(&env).arg("--fix").run().expect(1);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "9");
    verify(&env).args(["--fix", "--dest", "thumbs"]).run().expect(0);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "0");
}

/// Asserts that of nine, the first is found to be unreadable and is left alone, whatever else is mended.
#[track_caller]
fn assert_left_alone(env: &Env, guids: &[String], verify: &dyn Fn() -> Cmd) {
    let state = "SELECT * FROM dim_image WHERE source_image_id = (SELECT min(source_image_id) FROM dim_image)";
    let before = env.query(state);
    assert!(!env.image(&guids[8]).exists());
    for args in [&[][..], &["--fix"]] {
        let out = verify().args(args).run().expect(1).complains().stderr_has(&guids[0]);
        let fixed = u64::from(!args.is_empty());
        assert_eq!(out.json(), counts([9, 7, 1, 0, 0, 0, 0, 0, fixed]), "{}", out.report());
        assert_eq!(env.query(state), before);
        assert!(std::fs::symlink_metadata(env.image(&guids[0])).is_ok());
        assert!(!env.leftovers().contains(&"corrupt".to_owned()));
    }
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "8");
}

/// Nine that are home, of which the last one has gone.
fn nine() -> (Env, Vec<String>) {
    let mut guids = guids(9);
    guids.sort();
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    std::fs::remove_file(env.image(&guids[8])).unwrap();
    (env, guids)
}

#[test]
fn a_file_that_cannot_be_read_is_not_missing() {
    let (env, guids) = nine();
    let image = env.image(&guids[0]).display().to_string();
    let strace = ["-f", "-o", "/dev/null", "-P", &image, "-e"];
    if !env.program("strace").args(["-o", "/dev/null", "true"]).try_run() {
        return skipped("no strace to make errors with");
    }
    for (call, error) in [("openat", "EACCES"), ("openat", "EIO"), ("openat", "EMFILE"), ("read", "EIO")] {
        let inject = format!("inject={call}:error={error}");
        assert_left_alone(&env, &guids, &|| verify(&env).under("strace", strace.iter().copied().chain([&*inject])));
        env.sql("UPDATE dim_image SET thumb_downloaded = true");
    }
}

#[test]
fn a_file_of_another_user_s_is_not_missing() {
    use std::os::unix::fs::PermissionsExt;
    let (env, guids) = nine();
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let probe = env.program("setpriv").args(user).args(["test", "-w", "/dev/null"]);
    if !probe.try_run() || !env.program("chown").args(["-R", "65534:65534", "."]).try_run() {
        return skipped("no root and setpriv to be somebody else with");
    }
    let image = env.image(&guids[0]);
    std::fs::set_permissions(&image, PermissionsExt::from_mode(0o000)).unwrap();
    let reachable = env.program("setpriv").args(user).arg("test").arg("-e").arg(&image).try_run();
    if !reachable {
        return skipped("the temporary folder is root's alone");
    }
    assert_left_alone(&env, &guids, &|| verify(&env).under("setpriv", user));
}

#[test]
fn what_is_no_file_under_a_final_name_hangs_nothing_and_is_left_alone() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let (env, guids) = nine();
    let image = env.image(&guids[0]);
    let whole = std::fs::read(&image).unwrap();
    let make: [(&str, &dyn Fn()); 5] = [
        ("a pipe", &|| assert!(env.program("mkfifo").arg(&image).try_run())),
        ("a folder", &|| std::fs::create_dir(&image).unwrap()),
        ("a device", &|| symlink("/dev/zero", &image).unwrap()),
        ("a link to itself", &|| symlink(&image, &image).unwrap()),
        ("a socket", &|| drop(UnixListener::bind(&image).unwrap())),
    ];
    for (what, make) in make {
        let _ = std::fs::remove_file(&image).or_else(|_| std::fs::remove_dir(&image));
        make();
        println!("{what}");
        assert_left_alone(&env, &guids, &|| verify(&env));
        env.sql("UPDATE dim_image SET thumb_downloaded = true");
    }
    // A link is what it leads to; one that leads nowhere leads to no image.
    std::fs::remove_file(&image).unwrap();
    symlink(env.write("elsewhere.jpg", whole), &image).unwrap();
    assert_eq!(verify(&env).run().expect(3).json(), counts([9, 8, 1, 0, 0, 0, 0, 0, 0]));
    std::fs::remove_file(env.path("elsewhere.jpg")).unwrap();
    assert_eq!(verify(&env).run().expect(3).json(), counts([9, 7, 2, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_folder_that_is_not_ours_to_look_into_is_somebody_else_s() {
    use std::os::unix::fs::PermissionsExt;
    let (env, _) = nine();
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if !env.program("chown").args(["-R", "65534:65534", "."]).try_run()
        || !env.program("setpriv").args(user).args(["test", "-x"]).arg(env.dest()).try_run()
    {
        return skipped("no root and setpriv to be somebody else with");
    }
    env.write("thumbs/lost+found/x.jpg", "x");
    std::fs::set_permissions(env.path("thumbs/lost+found"), PermissionsExt::from_mode(0o700)).unwrap();
    let out = verify(&env).under("setpriv", user).run().expect(3);
    assert_eq!(out.json(), counts([9, 8, 1, 0, 0, 0, 0, 1, 0]), "{}", out.report());
}

#[test]
fn a_file_of_terabytes_is_not_read() {
    let (env, guids) = nine();
    std::fs::File::options().write(true).open(env.image(&guids[0])).unwrap().set_len(1 << 41).unwrap();
    assert_left_alone(&env, &guids, &|| verify(&env));
    // It is not the one on record; where nothing is, nothing is asked of it but that it is there.
    let any = || verify(&env).args(["--expect", "any"]);
    assert_eq!(any().run().expect(3).json()["changed"], 1);
    env.sql("UPDATE thumb_file SET sha256 = NULL");
    assert_eq!(any().run().expect(0).json()["good"], 8);
}
