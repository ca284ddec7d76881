//! `verify`: the warehouse against the disk, both ways; and `--fix`, after which the warehouse is true.

use crate::support::pictures::small_image_for;
use crate::support::{Cmd, Env, Origin, Reply, guids, image_for};
use serde_json::{Value, json};

fn verify(env: &Env) -> Cmd {
    env.toller(["verify", "--json", "--warehouse"]).arg(env.warehouse())
}

fn counts(counts: [u64; 7]) -> Value {
    let [checked, good, missing, corrupt, unrecorded, stray, fixed] = counts;
    json!({"checked": checked, "good": good, "missing": missing, "corrupt": corrupt, "unrecorded": unrecorded,
           "stray": stray, "fixed": fixed})
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
        assert_eq!(out.json(), counts([8, 8, 0, 0, 0, 0, 0]));
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
    assert_eq!(out.json(), counts([11, 4, 2, 3, 2, 3, 0]), "{}", out.report());
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
    let out = verify(&env).arg("--fix").run().expect(0);
    assert_eq!(out.json(), counts([11, 4, 2, 3, 2, 1, 8]), "{}", out.report());
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
    assert_eq!(again.json(), counts([6, 6, 0, 0, 0, 0, 0]));
    let before = origin.request_count();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count() - before, 5);
    env.fetch(&origin).arg("--retry-failed").run().expect(0);
    env.assert_done(&guids);
    // The folder of what was set aside is no leftover of a dead run.
    assert_eq!(env.leftovers(), ["corrupt", "lock"]);
}

#[test]
fn a_file_that_nobody_knows_is_reported_and_never_deleted() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let mine = env.write("thumbs/notes.txt", "mine");
    let out = verify(&env).arg("--fix").run().expect(3);
    assert_eq!(out.json(), counts([3, 3, 0, 0, 0, 1, 0]));
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
}

#[test]
fn what_is_not_given_is_taken_from_the_last_run() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).args(["--fanout", "2", "--extension", "jpeg"]).run().expect(0);
    assert_eq!(verify(&env).run().expect(0).json(), counts([6, 6, 0, 0, 0, 0, 0]));
    // Given, it is what counts: under those names there is nothing, and what is there is of no image.
    let elsewhere = verify(&env).args(["--fanout", "0"]).run().expect(3);
    assert_eq!(elsewhere.json(), counts([6, 0, 6, 0, 0, 6, 0]));
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
    assert_eq!(fix.run().expect(0).json(), counts([2, 0, 1, 0, 1, 0, 2]));
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
        assert_eq!(verify(&env).arg("--fix").run().expect(0).json(), counts([2, 0, 1, 0, 1, 0, 2]), "{kind}");
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
    let out = verify(&env).arg("--fix").run().expect(0);
    assert_eq!(out.json(), counts([2, 0, 1, 0, 1, 0, 2]), "{}", out.report());
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE NOT thumb_downloaded"), "2");
    env.assert_done(&["b"]);
}
