//! The disk: full, out of inodes, read-only, gone, not ours. The run ends with 1 and says what is wrong, what was
//! fetched is recorded, and the next run goes on. Most of it takes root, for a small file system of its own.

use crate::support::env::skipped;
use crate::support::{Env, Origin, Out, Reply, guid, guids, image_for};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

/// A file system in memory on a test's destination; it goes when the test is over.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn on(env: &Env, options: &str) -> Option<Self> {
        std::fs::create_dir_all(env.dest()).unwrap();
        let options = format!("mode=755,{options}");
        let mount = env.program("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(env.dest());
        if !mount.try_run() {
            skipped("no root for a file system");
            return None;
        }
        Some(Self(env.dest()))
    }

    fn change(&self, options: &str) {
        let mount = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(mount.is_ok_and(|status| status.success()), "cannot remount with {options}");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Asserts that a run ended as one ends whose disk is no good: what it has is recorded, and no failure is for good.
#[track_caller]
fn assert_ended(env: &Env, out: Out, cause: &str) {
    let out = out.expect(1).complains().stderr_has(cause);
    assert!(out.stderr.contains(&env.dest().display().to_string()), "which disk?\n{}", out.report());
    assert_eq!(env.runs().last().unwrap(), "failed");
    assert_eq!(env.value("SELECT count(*) FROM run_manifest WHERE error IS NULL"), "0");
    env.assert_true();
    let done = env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded");
    assert_eq!(done, env.files().len().to_string(), "what was fetched is recorded\n{}", out.report());
    let lasting = env.query("SELECT kind FROM thumb_failure WHERE permanent OR kind <> 'disk'");
    assert!(lasting.is_empty(), "{lasting:?}");
}

#[test]
fn a_full_disk_ends_the_run_and_room_lets_the_next_one_go_on() {
    let guids = guids(300);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let Some(disk) = Tmpfs::on(&env, "size=300k") else { return };
    let out = env.fetch(&origin).run();
    assert_ended(&env, out, "No space left on device");
    assert!((5..30).contains(&env.files().len()), "{} files", env.files().len());
    assert!(origin.request_count() < 150, "{} requests", origin.request_count());
    disk.change("size=20m");
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
    assert_eq!(env.leftovers(), ["lock"]);
}

#[test]
fn a_disk_without_inodes_is_full() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let Some(disk) = Tmpfs::on(&env, "size=10m,nr_inodes=25") else { return };
    let out = env.fetch(&origin).run();
    assert_ended(&env, out, "No space left on device");
    assert!((5..25).contains(&env.files().len()), "{} files", env.files().len());
    disk.change("nr_inodes=1000");
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_an_error() {
    let (env, origin) = (Env::with(&guids(5)), Origin::builder().small().start());
    let Some(_disk) = Tmpfs::on(&env, "size=10m,nr_inodes=1") else { return };
    let out = env.fetch(&origin).run().expect(1).complains().stderr_has("No space left on device");
    assert!(out.stderr.contains(&env.dest().display().to_string()), "{}", out.report());
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_disk_that_is_read_only_ends_the_run_before_it_begins() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let Some(disk) = Tmpfs::on(&env, "size=10m") else { return };
    env.fetch(&origin).args(["--limit", "2"]).run().expect(0);
    disk.change("ro");
    let out = env.fetch(&origin).run().expect(1).complains().stderr_has("Read-only file system");
    assert!(out.stderr.contains(&env.dest().display().to_string()), "{}", out.report());
    assert_eq!((origin.request_count(), env.runs()), (2, vec!["complete".to_owned()]));
    disk.change("rw");
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_destination_that_takes_nothing_any_more_ends_the_run() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let Some(_disk) = Tmpfs::on(&env, "size=10m") else { return };
    let freeze = |how| env.program("chattr").arg(how).arg(env.dest()).try_run();
    if !freeze("+i") || !freeze("-i") {
        return skipped("no chattr, or a file system that does not know it");
    }
    origin.hold();
    origin.allow(7);
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(10);
    assert!(freeze("+i"));
    origin.release();
    let out = run.wait();
    assert!(freeze("-i"));
    assert_ended(&env, out, "Operation not permitted");
    assert_eq!(env.files().len(), 7);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_destination_that_goes_away_ends_the_run_and_leaves_no_lie() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    origin.allow(7);
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(10);
    std::fs::rename(env.dest(), env.path("elsewhere")).unwrap();
    origin.release();
    let out = run.wait().expect(1).complains();
    assert!(out.stderr.contains(&env.dest().display().to_string()), "{}", out.report());
    assert_eq!(env.runs(), ["failed"]);
    env.assert_true();
    assert!(!env.dest().exists() || env.files().is_empty(), "it is not made anew behind the user's back");
    // Whoever moved it moves it back.
    let _ = std::fs::remove_dir_all(env.dest());
    std::fs::rename(env.path("elsewhere"), env.dest()).unwrap();
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!(summary["reused"], 7);
    env.assert_done(&guids);
}

#[test]
fn a_folder_where_a_file_should_be_is_named_and_the_rest_is_recorded() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    std::fs::create_dir_all(env.image(&guids[9])).unwrap();
    env.fetch(&origin).args(["--workers", "1"]).run().expect(3);
    assert!(env.value("SELECT message FROM thumb_failure").contains(&guids[9]));
    assert_eq!(env.files().len(), 29);
    std::fs::remove_dir(env.image(&guids[9])).unwrap();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let (env, origin) = (Env::with(&["abcdef", "ghijkl"]), Origin::builder().small().start());
    let file = env.write("thumbs/gh", "mine");
    let out = env.fetch(&origin).args(["--fanout", "1"]).run().expect(1).complains().stderr_has("ghijkl");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine", "{}", out.report());
    assert_eq!(env.runs(), ["failed"]);
}

#[test]
fn a_destination_that_is_another_users_is_an_error() {
    let (env, origin) = (Env::with(&guids(5)), Origin::builder().small().start());
    // The warehouse may be nobody's, the destination is not; nobody is a user that everybody has.
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if !env.program("setpriv").args(nobody).arg("true").try_run() {
        return skipped("no root to be somebody else");
    }
    std::fs::create_dir(env.dest()).unwrap();
    std::fs::set_permissions(env.dest(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for path in [env.path(""), env.warehouse()] {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    // The program and the authority's certificate, where nobody can read them.
    let program = env.path("toller");
    env.copy_of_toller(&program);
    let ca = env.write("ca.pem", std::fs::read(origin.ca()).unwrap());
    let fetch = || {
        let fetch = env.program("setpriv").args(nobody).arg(&program).args(["fetch", "--url", &origin.template()]);
        fetch.arg("--warehouse").arg(env.warehouse()).arg("--dest").arg(env.dest()).arg("--ca-cert").arg(&ca)
    };
    let out = fetch().run().expect(1).complains().stderr_has("Permission denied");
    assert!(out.stderr.contains(&env.dest().display().to_string()), "{}", out.report());
    assert_eq!(origin.request_count(), 0);
    chown(env.dest(), Some(65534), Some(65534)).unwrap();
    fetch().run().expect(0);
    env.assert_done(&guids(5));
}

#[test]
fn a_warehouse_that_cannot_be_written_is_an_error_before_anything_is_asked() {
    let (env, origin) = (Env::with(&guids(5)), Origin::builder().small().start());
    let Some(disk) = Tmpfs::on(&env, "size=30m") else { return };
    let warehouse = env.dest().join("warehouse.duckdb");
    std::fs::rename(env.warehouse(), env.path("w")).unwrap();
    std::fs::copy(env.path("w"), &warehouse).unwrap();
    disk.change("ro");
    let fetch = env.toller(["fetch", "--url", &origin.template(), "--warehouse"]).arg(&warehouse);
    let fetch = fetch.arg("--dest").arg(env.path("elsewhere")).arg("--ca-cert").arg(origin.ca());
    fetch.run().expect(1).complains().stderr_has(&warehouse.display().to_string());
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_warehouse_whose_disk_is_full_loses_no_file() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let Some(_disk) = Tmpfs::on(&env, "size=30m") else { return };
    let warehouse = env.dest().join("warehouse.duckdb");
    std::fs::copy(env.warehouse(), &warehouse).unwrap();
    let fetch = || {
        let fetch = env.toller(["fetch", "--url", &origin.template(), "--warehouse"]).arg(&warehouse);
        fetch.arg("--dest").arg(env.path("images")).arg("--ca-cert").arg(origin.ca())
    };
    origin.hold();
    let run = fetch().spawn();
    origin.wait_for_requests(3);
    let ballast = env.dest().join("ballast");
    let _ = std::fs::write(&ballast, vec![1; 40 << 20]);
    origin.release();
    run.wait().expect(1).complains().stderr_has(&warehouse.display().to_string());
    std::fs::remove_file(ballast).unwrap();
    let summary = fetch().arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["requests"]), (&40.into(), &0.into()));
}

#[test]
fn a_new_warehouse_that_the_disk_has_no_room_for_is_not_made() {
    let env = Env::new();
    let Some(disk) = Tmpfs::on(&env, "size=9m") else { return };
    // Its blocks are written by several threads; all of them must be done with the file before it is taken away.
    env.write("ids.txt", guids(1_000_000).join("\n"));
    let warehouse = env.dest().join("warehouse.duckdb");
    let load = || env.toller(["load", "--warehouse"]).arg(&warehouse).arg("ids.txt");
    load().run().expect(1).complains().stderr_has("No space left on device");
    assert_eq!(std::fs::read_dir(env.dest()).unwrap().count(), 0);
    disk.change("size=90m");
    load().run().expect(0).stdout_has("1,000,000 images added");
}

#[test]
fn what_cannot_be_recorded_on_a_full_disk_is_told() {
    let guids = guids(3000);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let Some(_disk) = Tmpfs::on(&env, "size=3m") else { return };
    let warehouse = env.dest().join("warehouse.duckdb");
    env.toller(["load", "--warehouse"]).arg(&warehouse).arg("-").stdin(guids.join("\n")).run().expect(0);
    let fetch = env.toller(["fetch", "--url", &origin.template(), "--warehouse"]).arg(&warehouse);
    let out = fetch.arg("--dest").arg(env.dest().join("images")).arg("--ca-cert").arg(origin.ca()).run().expect(1);
    out.stderr_has("No space left on device").stderr_has("outcomes are not recorded; the next run finds the files");
}

#[test]
fn names_that_differ_only_in_case_are_different_images() {
    let names = ["abcdef", "ABCDEF", "AbCdEf", "ä", "Ä"];
    for fanout in ["0", "2"] {
        let (env, origin) = (Env::with(&names), Origin::start());
        env.fetch(&origin).args(["--fanout", fanout]).run().expect(0);
        assert_eq!((env.files().len(), origin.request_count()), (5, 5));
        for file in env.files() {
            let name = file.rsplit('/').next().unwrap().strip_suffix(".jpg").unwrap();
            assert_eq!(std::fs::read(env.dest().join(&file)).unwrap(), image_for(name), "{file}");
        }
    }
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_what_it_points_at_is_left_alone() {
    let (env, origin) = (Env::with(&[guid(1)]), Origin::start());
    origin.on(&guid(1), [Reply::image()]);
    let mine = env.write("mine", "not an image");
    std::fs::create_dir(env.dest()).unwrap();
    std::os::unix::fs::symlink(&mine, env.image(&guid(1))).unwrap();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&[guid(1)]);
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "not an image");
}

#[test]
fn what_is_wrong_with_one_name_ends_one_image() {
    let guids = guids(8);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    std::fs::create_dir_all(env.image(&guids[1]).join("in it")).unwrap();
    env.program("mkfifo").arg(env.image(&guids[2])).run().expect(0);
    env.fetch(&origin).run().expect(3);
    let failed = env.query("SELECT source_image_id, kind, permanent FROM thumb_failure");
    assert_eq!(failed, [[guids[1].as_str(), "disk", "false"]]);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "7");
    env.assert_whole(&guids[2]);
}
