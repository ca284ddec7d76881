//! Sharing: other programs have the warehouse before, during and after the run, and other tollers the
//! destination. The other program is this one: DuckDB's lock is between processes.

use crate::support::env::{quoted, wait_a_little};
use crate::support::{Env, Origin, PATIENCE, Reply, eventually, guids};
use duckdb::{AccessMode, Config, Connection};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Opens a warehouse as readers do, who share it among themselves and keep writers out.
fn read_only(warehouse: &Path) -> duckdb::Result<Connection> {
    Connection::open_with_flags(warehouse, Config::default().access_mode(AccessMode::ReadOnly)?)
}

fn me() -> String {
    std::process::id().to_string()
}

#[test]
fn every_command_names_the_process_that_has_the_warehouse() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let other = env.occupy();
    let list = env.write("more.txt", "a\n");
    let outcomes = env.write("outcomes.ndjson", "");
    let fetch = vec!["--url".into(), origin.template(), "--dest".into(), env.dest().display().to_string()];
    let commands = [
        ("fetch", fetch),
        ("status", vec![]),
        ("verify", vec![]),
        ("pending", vec![]),
        ("load", vec![list.display().to_string()]),
        ("merge", vec![outcomes.display().to_string()]),
    ];
    thread::scope(|scope| {
        for (command, more) in commands {
            let words = env.toller([command, "--lock-wait", "1", "--warehouse"]).arg(env.warehouse()).args(more);
            scope.spawn(move || {
                let start = Instant::now();
                let out = words.run().expect(75).complains().stderr_has(&me());
                let took = start.elapsed();
                assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}\n{}", out.report());
            });
        }
    });
    drop(other);
    assert_eq!(env.runs(), ["complete"]);
}

#[test]
fn whoever_waits_longer_than_for_a_batch_is_told_for_whom_and_then_served() {
    let env = Env::with(&guids(3));
    let other = env.occupy();
    let status = env.toller(["status", "--warehouse"]).arg(env.warehouse()).spawn();
    let words = "waiting for the warehouse, which is locked by";
    status.wait_for_stderr(words);
    drop(other);
    let out = status.wait().expect(0).stdout_has("pending").stderr_has(&me());
    assert_eq!(out.stderr.matches(words).count(), 1, "{}", out.report());
}

#[test]
fn no_patience_is_a_choice() {
    let (env, origin) = (Env::with(&guids(3)), Origin::start());
    let _other = env.occupy();
    let start = Instant::now();
    let out = env.fetch(&origin).args(["--lock-wait", "0"]).run().expect(75).complains().stderr_has(&me());
    out.stderr_has("that is the program that has started toller: it must close its connection first");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_lock_during_the_run_is_nobodys_concern_and_its_time_does_not_count() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).args(["--lock-wait", "1", "--batch", "5"]).spawn();
    origin.wait_for_requests(3);
    let other = env.occupy();
    let start = Instant::now();
    // The warehouse is away for longer than --lock-wait, but there is always something to fetch.
    for answered in 1..=57_u32 {
        origin.allow(1);
        origin.wait_for_requests(answered as usize + 3);
        eventually("a while", || (start.elapsed() >= Duration::from_millis(60) * answered).then_some(()));
    }
    assert!(start.elapsed() > Duration::from_secs(3), "that was longer than --lock-wait");
    drop(other);
    origin.release();
    run.wait().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["complete"]);
}

#[test]
fn a_lock_at_the_end_is_waited_for_and_then_named() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).args(["--lock-wait", "1"]).spawn();
    origin.wait_for_requests(3);
    let other = env.occupy();
    origin.release();
    run.wait().expect(75).complains().stderr_has(&me());
    drop(other);
    env.assert_true();
    assert_eq!((env.files().len(), env.runs()), (10, vec!["running".to_owned()]));
    // Its row is closed by the next run, which finds the files.
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["abandoned", "complete"]);
    assert_eq!(origin.request_count(), 10);
}

#[test]
fn readers_come_and_go_during_a_run_and_cost_it_nothing() {
    let guids = guids(1500);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|_| Reply::image().after(Duration::from_millis(50)));
    let run = env.fetch(&origin).args(["--batch", "20"]).spawn();
    origin.wait_for_requests(1);
    let (mut opened, mut refused, mut before) = (0, 0, 0);
    let start = Instant::now();
    while (opened < 20 || before == 0) && start.elapsed() < PATIENCE {
        match read_only(&env.warehouse()) {
            Err(_) => refused += 1,
            Ok(reader) => {
                opened += 1;
                let sql = "SELECT count(*) FROM dim_image WHERE thumb_downloaded";
                let done: i64 = reader.query_row(sql, [], |row| row.get(0)).unwrap();
                assert!(done >= before, "{done} done after {before}");
                before = done;
            }
        }
        wait_a_little();
    }
    assert!(before > 0 && refused < opened, "{before} done, opened {opened} times, refused {refused} times");
    origin.always(|_| Reply::image());
    run.wait().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_reader_that_stays_is_waited_for() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let reader = read_only(&env.warehouse()).unwrap();
    env.fetch(&origin).args(["--lock-wait", "0"]).run().expect(75).complains();
    // Reading is what two readers may do together.
    let pending = env.toller(["pending", "--lock-wait", "0", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    assert_eq!(pending.stdout.lines().count(), 6);
    env.toller(["status", "--lock-wait", "0", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    let run = env.fetch(&origin).spawn();
    drop(reader);
    run.wait().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_destination_belongs_to_one_fetch_whatever_its_warehouse() {
    let guids = guids(6);
    let (env, other, origin) = (Env::with(&guids), Env::with(&guids), Origin::builder().small().start());
    origin.hold();
    let first = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = first.pid().to_string();
    let others = [
        other.toller(["fetch", "--url", &origin.template()]).arg("--warehouse").arg(other.warehouse()),
        other.toller(["pipe", "--url", &origin.template()]).stdin("x\n"),
        env.toller(["verify", "--fix", "--extension", "jpg"]).arg("--warehouse").arg(env.warehouse()),
    ];
    thread::scope(|scope| {
        for other in others {
            let (other, holder, host) = (other.arg("--dest").arg(env.dest()), &holder, host.trim());
            scope.spawn(move || {
                let start = Instant::now();
                other.run().expect(75).complains().stderr_has(holder).stderr_has(host);
                assert!(start.elapsed() < Duration::from_secs(6));
            });
        }
    });
    // Only looking is allowed.
    let look = env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run();
    assert!(matches!(look.code, Some(0 | 3)), "{}", look.report());
    origin.release();
    first.wait().expect(0);
    env.assert_done(&guids);
}

#[test]
fn pipes_share_a_destination_and_keep_a_fetch_out() {
    let guids = guids(8);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let pipe = || {
        let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.dest());
        pipe.arg("--ca-cert").arg(origin.ca()).open_stdin()
    };
    let (mut one, mut two) = (pipe().stdin(format!("{}\n", guids[0])).spawn(), pipe().spawn());
    one.wait_for_stdout(&guids[0]);
    two.say(&format!("{}\n", guids[1]));
    two.wait_for_stdout(&guids[1]);
    env.fetch(&origin).run().expect(75).complains();
    // The first goes, and does not take along what the second is working with.
    one.hang_up();
    one.wait().expect(0);
    two.say(&(guids[2..].join("\n") + "\n"));
    guids[2..].iter().for_each(|guid| two.wait_for_stdout(guid));
    env.fetch(&origin).run().expect(75).complains();
    two.hang_up();
    two.wait().expect(0);
    assert_eq!(env.leftovers(), ["lock"]);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["requests"]), (&8.into(), &0.into()));
    env.assert_done(&guids);
}

#[test]
fn who_only_looks_whether_a_destination_is_free_keeps_nobody_out() {
    let (env, origin) = (Env::with(&guids(1)), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let lock = std::fs::File::open(env.dest().join(".toller/lock")).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Held for half of the time.
                let held = lock.try_lock_shared().is_ok();
                wait_a_little();
                if held {
                    lock.unlock().unwrap();
                }
                wait_a_little();
            }
        });
        let ends = (0..8).map(|_| {
            env.sql("UPDATE dim_image SET thumb_downloaded = false");
            env.fetch(&origin).run()
        });
        let ends: Vec<_> = ends.collect();
        over.store(true, Ordering::Relaxed);
        for out in ends {
            out.expect(0);
        }
    });
}

#[test]
fn pipes_that_start_together_sweep_the_dead_and_not_one_another() {
    let guids = guids(8);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    for round in 0..10 {
        env.write(&format!("thumbs/.toller/20200101T000000-0123abc{round}/0"), "half an ima");
        let pipe = |guid: &String| {
            let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.dest());
            pipe.arg("--ca-cert").arg(origin.ca()).stdin(format!("{guid}\n")).spawn()
        };
        let pipes: Vec<_> = guids.iter().map(pipe).collect();
        for pipe in pipes {
            pipe.wait().expect(0);
        }
        assert_eq!((env.files().len(), env.leftovers()), (8, vec!["lock".to_owned()]));
        env.files().iter().for_each(|file| std::fs::remove_file(env.dest().join(file)).unwrap());
    }
}

#[test]
fn a_lock_that_a_dead_process_left_is_no_lock() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.write("thumbs/.toller/lock", "1 elsewhere\n");
    env.write("thumbs/.toller/20200101T000000-0123abcd/0", "half an ima");
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.leftovers(), ["lock"]);
}

#[test]
fn running_rows_are_closed_when_nobody_can_be_behind_them() {
    let (env, origin) = (Env::with(&guids(1)), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    let row = &env.query("SELECT host, dest, started_at FROM run_manifest")[0];
    let (here, ours, now) = (&*row[0], &*row[1], &*row[2]);
    // A pid that was somebody's a moment ago, and one that is.
    let gone = env.program("true").spawn();
    let (dead, alive) = (gone.pid(), std::process::id());
    gone.wait().expect(0);
    let cases = [
        //  what                               host         pid    dest        hours  what it becomes
        ("its pid is gone", here, dead, "/other", 0, "abandoned"),
        ("its pid lives", here, alive, "/other", 0, "running"),
        ("it says it has our destination", here, alive, ours, 0, "abandoned"),
        ("in a container, where its pid is that of our init", here, 1, ours, 0, "abandoned"),
        ("on another host, heard of lately", "elsewhere", dead, "/other", 23, "running"),
        ("on another host, silent for a day", "elsewhere", dead, "/other", 25, "abandoned"),
        ("here, silent for a day", here, alive, "/other", 25, "abandoned"),
    ];
    for (what, host, pid, dest, hours, _) in cases {
        env.sql(&format!(
            "INSERT INTO run_manifest (run_id, started_at, updated_at, status, host, pid, dest) VALUES ({}, \
             '{now}', TIMESTAMP '{now}' - INTERVAL {hours} HOUR, 'running', {}, {pid}, {})",
            quoted(what),
            quoted(host),
            quoted(dest),
        ));
    }
    env.sql("INSERT INTO dim_image VALUES ('another', false, NULL)");
    env.fetch(&origin).run().expect(0);
    for (what, _, _, _, _, wanted) in cases {
        let found = env.query(&format!("SELECT status, finished_at IS NULL FROM run_manifest WHERE run_id = '{what}'"));
        assert_eq!(found, [[wanted, &(wanted == "running").to_string()]], "{what}");
    }
}
