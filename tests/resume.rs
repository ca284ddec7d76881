//! Killed at any instant, locked out at any instant: the next run goes on, and the warehouse never lies.

use crate::support::{Env, Origin, eventually, guids};

#[test]
fn after_kill_9_the_next_run_goes_on() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    origin.allow(12);
    let run = env.fetch(&origin).args(["--batch", "5"]).spawn();
    origin.wait_for_requests(15);
    run.kill9();
    env.assert_true();
    origin.release();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    // Each of the three workers may lose the file it had in hand.
    assert!(origin.request_count() <= 30 + 3, "{} requests", origin.request_count());
    assert_eq!(env.runs(), ["abandoned", "complete"]);
    assert_eq!(env.leftovers(), ["lock"], "the next run sweeps what the dead one left");
}

#[test]
fn five_kills_in_a_row_lose_nothing() {
    let guids = guids(50);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    for _ in 0..5 {
        let answered = origin.request_count();
        let run = env.fetch(&origin).args(["--batch", "2"]).spawn();
        origin.wait_for_requests(answered + 3);
        origin.allow(7);
        origin.wait_for_requests(answered + 5);
        run.kill9();
        env.assert_true();
    }
    origin.release();
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert!(origin.request_count() <= 50 + 5 * 3, "{} requests", origin.request_count());
    assert_eq!(env.runs().iter().filter(|status| *status == "running").count(), 0);
}

#[test]
fn what_was_saved_but_not_recorded_is_reused() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    origin.allow(12);
    // A batch that never fills: the kill comes before anything is recorded.
    let run = env.fetch(&origin).args(["--batch", "1000", "--batch-seconds", "1000"]).spawn();
    origin.wait_for_requests(15);
    run.kill9();
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "0");
    let saved = env.files().len();
    assert_eq!(saved, 12, "a worker saves what it has before it asks for more");
    origin.release();
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["fetched"]), (&saved.into(), &(20 - saved).into()));
    env.assert_done(&guids);
}

#[test]
fn the_warehouse_is_free_while_images_are_fetched() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let run = env.fetch(&origin).args(["--batch", "4"]).spawn();
    origin.wait_for_requests(3);
    assert_eq!(env.runs(), ["running"], "the row goes in before the first request");
    origin.allow(6);
    let recorded = "SELECT count(*) >= 4 FROM dim_image WHERE thumb_downloaded";
    eventually("the first batch", || (env.value(recorded) == "true").then_some(()));
    // Another program may even write; toller touches only its own two columns.
    env.sql("ALTER TABLE dim_image ADD COLUMN note VARCHAR DEFAULT 'mine'");
    origin.release();
    run.wait().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE note = 'mine'"), "12");
}

#[test]
fn a_warehouse_that_is_locked_at_the_start_is_waited_for() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let other = env.occupy();
    let start = std::time::Instant::now();
    let out = env.fetch(&origin).args(["--lock-wait", "1"]).run().expect(75).complains();
    assert!(start.elapsed().as_secs() >= 1, "{}", out.report());
    assert_eq!(origin.connections(), 0);
    let run = env.fetch(&origin).spawn();
    drop(other);
    run.wait().expect(0);
    env.assert_done(&guids);
}

#[test]
fn fetching_goes_on_while_another_program_has_the_warehouse() {
    let guids = guids(30);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let mut run = env.fetch(&origin).args(["--batch", "5"]).spawn();
    origin.wait_for_requests(3);
    let other = env.occupy();
    origin.release();
    eventually("all the files", || (env.files().len() == 30).then_some(()));
    assert!(run.is_running(), "it waits with what it cannot record yet");
    drop(other);
    run.wait().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.runs(), ["complete"]);
}

#[test]
fn a_warehouse_that_stays_locked_costs_nothing_but_another_run() {
    let guids = guids(10);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let run = env.fetch(&origin).args(["--lock-wait", "1"]).spawn();
    origin.wait_for_requests(3);
    let other = env.occupy();
    origin.release();
    run.wait().expect(75).complains();
    drop(other);
    env.assert_true();
    assert_eq!(env.files().len(), 10);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!((&summary["reused"], &summary["requests"]), (&10.into(), &0.into()));
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 10);
}
