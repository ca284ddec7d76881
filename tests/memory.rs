//! Memory: what a command takes is measured by what its cgroup has, as in a container, and not by what the host has.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, guids};
use std::path::PathBuf;

/// A cgroup with a limit of memory, below this process's own, of whichever version is there; it goes with the test.
struct Cgroup(PathBuf);

impl Cgroup {
    fn of(megabytes: u64) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = |name: &str| own.lines().find_map(|line| line.split_once(name)).map(|(_, path)| path.to_owned());
        let v1 = path(":memory:").map(|path| (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"));
        let v2 = path("0::").map(|path| (format!("/sys/fs/cgroup{path}"), "memory.max"));
        let made = v1.into_iter().chain(v2).find_map(|(parent, limit)| {
            let cgroup = Self(PathBuf::from(parent).join(format!("toller-test-{:08x}", fastrand::u32(..))));
            std::fs::create_dir(&cgroup.0).ok()?;
            let limited = std::fs::write(cgroup.0.join(limit), (megabytes << 20).to_string());
            limited.is_ok().then_some(cgroup)
        });
        if made.is_none() {
            skipped("no cgroup can be made here");
        }
        made
    }

    fn holding(&self, command: Cmd) -> Cmd {
        let enter = format!("echo $$ > '{}' && exec \"$0\" \"$@\"", self.0.join("cgroup.procs").display());
        command.under("bash", ["-c", &enter])
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn in_a_small_cgroup_on_a_large_host_every_command_lives() {
    const ROWS: usize = 1_000_000;
    let env = Env::new();
    let mut random = fastrand::Rng::with_seed(1);
    let ids: String = (0..ROWS).map(|_| format!("{:032x}\n", random.u128(..))).collect();
    let outcome = |id: &str| format!(r#"{{"guid":"{id}","ok":true,"finished_at":"2026-01-01T00:00:00Z"}}"#) + "\n";
    env.write("outcomes", ids.lines().step_by(20).map(outcome).collect::<String>());
    env.write("ids", ids);
    std::fs::create_dir(env.dest()).unwrap();
    let Some(cgroup) = Cgroup::of(160) else { return };
    let run = |args: &[&str]| {
        let command = env.toller([args[0], "--warehouse"]).arg(env.warehouse()).args(&args[1..]);
        cgroup.holding(command).run()
    };
    run(&["load", "ids"]).expect(0);
    run(&["merge", "outcomes"]).expect(0);
    assert_eq!(run(&["status", "--json"]).expect(0).json()["done"], ROWS / 20);
    assert_eq!(run(&["pending", "--limit", "3"]).expect(0).stdout.lines().count(), 3);
    // As after a fetch of all of them.
    env.sql(
        "INSERT INTO thumb_file (source_image_id, bytes, format, sha256) \
         SELECT source_image_id, 20000, 'jpeg', sha256(source_image_id) FROM dim_image",
    );
    let verified = run(&["verify", "--json", "--dest", "thumbs", "--fix"]).expect(0).json();
    assert_eq!(verified["missing"], ROWS / 20);
    // Nobody listens there, so that the run ends; what counts is that it says so.
    let fetch = ["fetch", "--url", "http://127.0.0.1:9/{guid}", "--dest", "thumbs", "--retries", "0"];
    run(&fetch).expect(1).complains();
}

#[test]
fn a_long_list_with_repetitions_is_loaded_in_little_memory() {
    // More than are remembered in so little memory.
    const ROWS: usize = 4_400_000;
    let env = Env::new();
    let id = |n: usize| format!("{:032x}\n", (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let mut list: String = (0..ROWS).map(id).collect();
    // Far from where they came first.
    list.extend((0..ROWS).step_by(10).map(id));
    env.write("ids.txt", list);
    let Some(cgroup) = Cgroup::of(192) else { return };
    let load = || {
        let command = env.toller(["load", "--json", "--warehouse"]).arg(env.warehouse()).arg("ids.txt");
        cgroup.holding(command).run().expect(0).json()
    };
    let loaded = load();
    assert_eq!((&loaded["added"], &loaded["known"]), (&ROWS.into(), &(ROWS / 10).into()));
    assert_eq!(env.value("SELECT count(DISTINCT source_image_id) FROM dim_image"), ROWS.to_string());
    let last = "SELECT source_image_id FROM dim_image WHERE rowid = (SELECT max(rowid) FROM dim_image)";
    assert_eq!(env.value(last), id(ROWS - 1).trim(), "in the order of the list");
    assert_eq!(load()["added"], 0);
}

#[test]
fn urls_that_are_long_are_loaded_beside_their_ids() {
    let env = Env::new();
    let rows = guids(110_000).into_iter().map(|guid| format!("{guid},https://x.test/{}\n", guid.repeat(28)));
    env.write("signed.csv", format!("source_image_id,url\n{}", rows.collect::<String>()));
    let load = || env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg("signed.csv");
    load().run().expect(0).stdout_has("110,000 images added");
    std::fs::remove_file(env.warehouse()).unwrap();
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, url VARCHAR)");
    load().run().expect(0).stdout_has("110,000 images added");
    assert!(!env.path("warehouse.duckdb.wal").exists());
    load().run().expect(0).stdout_has("0 images added");
}
