//! The destination as a place that others can write to, or that takes two names for one: no link in toller's own folder is
//! followed, nothing is swept but what a run has left, and no image is taken for another.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, guid, guids, image_for};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEAD: &str = "20251124T080143-0123abcd";

/// Every command that writes to a destination.
fn writers(env: &Env, origin: &Origin) -> [(&'static str, Cmd); 3] {
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.dest()).stdin("a\n");
    let verify = env.toller(["verify", "--fix", "--extension", "jpg", "--dest"]).arg(env.dest());
    [
        ("fetch", env.fetch(origin)),
        ("pipe", pipe.arg("--ca-cert").arg(origin.ca())),
        ("verify --fix", verify.arg("--warehouse").arg(env.warehouse())),
    ]
}

/// Somebody's documents, some of them named as toller names its own.
fn documents(env: &Env) -> PathBuf {
    for name in ["letter.txt", "lock", "0", &format!("{DEAD}/0"), &format!("{DEAD}/lock"), "corrupt/letter.txt"] {
        env.write(&format!("documents/{name}"), "mine");
    }
    env.path("documents")
}

fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push((entry.path(), std::fs::read(entry.path()).unwrap())),
                _ => found.push((entry.path(), Vec::new())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_own_folder_that_is_a_link_is_refused_and_nothing_behind_it_is_touched() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    let documents = documents(&env);
    let before = tree(&documents);
    std::fs::create_dir(env.dest()).unwrap();
    symlink(&documents, env.dest().join(".toller")).unwrap();
    for (what, command) in writers(&env, &origin) {
        let out = command.run().expect(1).complains().stderr_has("symbolic link").stderr_has("/.toller");
        assert_eq!(tree(&documents), before, "{what}\n{}", out.report());
    }
    assert_eq!(origin.request_count(), 0);
    // Whoever only looks does not look there.
    let look = env.toller(["verify", "--extension", "jpg", "--dest"]).arg(env.dest()).arg("--warehouse");
    look.arg(env.warehouse()).arg("--json").run().expect(0).stdout_has("\"stray\":0");
}

#[test]
fn a_lock_that_toller_did_not_make_is_refused_and_not_written_to() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    let mine = env.write("mine", "");
    let lock = env.write("thumbs/.toller/lock", "");
    let put = |what: &str| {
        std::fs::remove_file(&lock).unwrap();
        match what {
            "a link" => symlink(&mine, &lock).unwrap(),
            "a pipe" => assert!(env.program("mkfifo").arg(&lock).try_run()),
            text => std::fs::write(&lock, text).unwrap(),
        }
    };
    for (what, words) in [
        ("a link", "symbolic link"),
        ("a pipe", "no regular file"),
        ("Dear Sir", "toller did not write it"),
        ("12 rows\nof mine\n", "toller did not write it"),
    ] {
        put(what);
        for (command, cmd) in writers(&env, &origin) {
            let out = cmd.run().expect(1).complains().stderr_has(words).stderr_has("/.toller/lock");
            assert!(out.stderr.contains("remove it") || out.stderr.contains("move it away"), "{}", out.report());
            assert_eq!(std::fs::read_to_string(&mine).unwrap(), "", "{what}, {command}\n{}", out.report());
        }
        if !what.starts_with("a ") {
            assert_eq!(std::fs::read_to_string(&lock).unwrap(), what);
        }
    }
}

#[test]
fn a_lock_that_a_power_cut_has_left_empty_or_half_written_stops_nobody() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    let lock = env.write("thumbs/.toller/lock", "");
    let block = "\0".repeat(4096);
    for left in [
        "",
        "4711 some.host\n",
        "\0",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        &block,
        "4711",
        "4711 so",
        "4711 some.host\0\0",
    ] {
        for (command, cmd) in writers(&env, &origin) {
            // A run that finds nothing to do has no need of the lock.
            env.sql("UPDATE dim_image SET thumb_downloaded = false");
            std::fs::write(&lock, left).unwrap();
            let out = cmd.run();
            assert_eq!(out.code, Some(0), "{command} after {left:?}: {}", out.report());
        }
    }
    env.fetch(&origin).run().expect(0);
    env.assert_done(&["a"]);
}

#[test]
fn only_what_a_run_has_left_under_a_runs_name_is_swept() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    let documents = documents(&env);
    let before = tree(&documents);
    env.write(&format!("thumbs/.toller/{DEAD}/0"), "half an ima");
    env.write(&format!("thumbs/.toller/{DEAD}/lock"), "");
    env.write(&format!("thumbs/.toller/{DEAD}.new/lock"), "");
    let kept = [
        env.write("thumbs/.toller/notes/0", "mine"),
        env.write("thumbs/.toller/20251124T080143-0123abce/letter.txt", "mine"),
        env.write("thumbs/.toller/20251124T080143-0123abcf/0/letter.txt", "mine"),
        env.write("thumbs/.toller/20251124T080143-01230000", "mine"),
    ];
    let swept = env.write("thumbs/.toller/20251124T080143-0123abce/0", "half an ima");
    symlink(&documents, env.dest().join(".toller/20251124T080143-0123abc0")).unwrap();
    symlink(documents.join("letter.txt"), env.dest().join(".toller/20251124T080143-0123abce/1")).unwrap();
    env.fetch(&origin).run().expect(0);
    assert_eq!(tree(&documents), before);
    for file in kept {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    }
    assert!(!swept.exists());
    let left = env.leftovers();
    assert!(!left.iter().any(|name| name.starts_with(DEAD)), "{left:?}");
}

#[test]
fn a_folder_for_what_is_not_whole_that_is_a_link_is_refused() {
    let (env, origin) = (Env::with(&["a", "b"]), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let documents = documents(&env);
    let before = tree(&documents);
    symlink(&documents, env.dest().join(".toller/corrupt")).unwrap();
    std::fs::write(env.image("a"), "not an image").unwrap();
    let verify = env.toller(["verify", "--fix", "--warehouse"]).arg(env.warehouse());
    let out = verify.run().expect(1).complains().stderr_has("symbolic link");
    assert_eq!(tree(&documents), before, "{}", out.report());
    assert!(env.image("a").exists());
}

#[test]
fn a_link_under_a_final_name_is_not_reused_whatever_it_leads_to() {
    let (env, origin) = (Env::with(&guids(3)), Origin::start());
    let mine = env.write("mine.jpg", image_for(&guid(1)));
    env.write("thumbs/x", "");
    symlink(&mine, env.image(&guid(1))).unwrap();
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["fetched"], &summary["reused"]), (&3.into(), &0.into()));
    assert!(env.image(&guid(1)).symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(mine).unwrap(), image_for(&guid(1)));
}

#[test]
fn a_destination_and_its_folders_may_be_links() {
    let (env, origin) = (Env::with(&["abcdef", "xyz"]), Origin::start());
    std::fs::create_dir_all(env.path("large/ab")).unwrap();
    std::fs::create_dir_all(env.path("real")).unwrap();
    symlink(env.path("real"), env.dest()).unwrap();
    symlink(env.path("large/ab"), env.dest().join("ab")).unwrap();
    env.fetch(&origin).args(["--fanout", "1"]).run().expect(0);
    assert_eq!(std::fs::read(env.path("large/ab/abcdef.jpg")).unwrap(), image_for("abcdef"));
    assert_eq!(std::fs::read(env.path("real/xy/xyz.jpg")).unwrap(), image_for("xyz"));
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    let summary = env.fetch(&origin).args(["--fanout", "1", "--json"]).run().expect(0).json();
    assert_eq!(summary["reused"], 2);
}

/// exFAT on a test's destination, which takes `abc` and `ABC` for one name; it goes when the test is over.
struct ExFat {
    at: PathBuf,
    device: String,
}

impl ExFat {
    fn on(env: &Env) -> Option<Self> {
        std::fs::create_dir_all(env.dest()).unwrap();
        let disk = env.path("disk.img");
        std::fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
        let device = Command::new("losetup").args(["--find", "--show"]).arg(&disk).output();
        let device = device.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
        // From here on it is given back, whatever comes.
        let mounted = Self { at: env.dest(), device };
        let made = env.program("mkfs.exfat").arg(&mounted.device).try_run();
        if !made || !env.program("mount.exfat-fuse").arg(&mounted.device).arg(env.dest()).try_run() {
            skipped("no exFAT that may be mounted (losetup, mkfs.exfat of exfatprogs, mount.exfat-fuse of exfat-fuse)");
            return None;
        }
        Some(mounted)
    }
}

impl Drop for ExFat {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output();
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

#[test]
fn names_that_a_destination_takes_for_one_are_failures_and_never_share_a_file() {
    let names = ["abc", "ABC", "Abc", "ärger", "ÄRGER", "plain"];
    for fanout in ["0", "1"] {
        let (env, origin) = (Env::with(&names), Origin::start());
        let Some(_disk) = ExFat::on(&env) else { return };
        let fetch = || env.fetch(&origin).args(["--fanout", fanout]);
        let out = fetch().run().expect(3);
        // The first of each spelling is home; for the others nothing is asked.
        assert_eq!(origin.request_count(), 3, "{}", out.report());
        assert_eq!(env.files().len(), 3, "{}", out.report());
        for file in env.files() {
            let name = file.rsplit('/').next().unwrap().strip_suffix(".jpg").unwrap();
            assert_eq!(std::fs::read(env.dest().join(&file)).unwrap(), image_for(name), "{file}");
        }
        let failed = env.query("SELECT kind, permanent, message LIKE '%ignores case%' FROM thumb_failure");
        assert_eq!(failed, vec![["disk", "false", "true"]; 3]);
        // In the next run too, which finds a file under the name and does not take it for this image's.
        let summary = fetch().arg("--json").run().expect(3).json();
        assert_eq!((&summary["reused"], &summary["failures"]["disk"]), (&0.into(), &3.into()));
        assert_eq!(origin.request_count(), 3);
        // What was not recorded when the power went is found under its own name.
        env.sql("UPDATE dim_image SET thumb_downloaded = false");
        let summary = fetch().arg("--json").run().expect(3).json();
        assert_eq!((&summary["reused"], &summary["failures"]["disk"]), (&3.into(), &3.into()));
        // Nothing keeps them from another destination.
        let there = env.toller(["fetch", "--url", &origin.template()]).arg("--warehouse").arg(env.warehouse());
        there.arg("--dest").arg(env.path("elsewhere")).arg("--ca-cert").arg(origin.ca()).run().expect(0);
        assert_eq!(std::fs::read_dir(env.path("elsewhere")).unwrap().count(), 3 + 1);
    }
}
