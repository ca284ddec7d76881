//! Killed at any instant, locked out at any instant: the next run goes on, and the warehouse never lies.

use crate::support::{Env, Origin, Reply, eventually, guids, image_for};

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

/// What an unclean end may leave under final names: of the length that it should have, and torn.
#[test]
fn what_no_row_claims_is_fetched_again_unless_it_proves_itself_whole() {
    let guids = guids(6);
    let text = b"a letter, of which nobody knows whether it is all there";
    for expect in ["image", "any"] {
        let (env, origin) = (Env::with(&guids), Origin::start());
        origin.on(&guids[5], [Reply::bytes(200, "image/jpeg", image_for(&guids[5]))]);
        let image = |n: usize| image_for(&guids[n]);
        let mut torn = image(1);
        torn[4096..].fill(0);
        let files = [
            image(0),
            torn,
            // The end is there, but so are the zeros of a sector that may have held more.
            [image(2), vec![0; 512]].concat(),
            [image(3), vec![0; 511]].concat(),
            text.to_vec(),
            b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0".to_vec(),
        ];
        for (guid, file) in guids.iter().zip(&files) {
            env.write(&format!("thumbs/{guid}.jpg"), file);
        }
        let summary = env.fetch(&origin).args(["--expect", expect, "--json"]).run().expect(0).json();
        assert_eq!((&summary["reused"], &summary["fetched"]), (&2.into(), &4.into()), "--expect {expect}");
        for n in [0, 1, 2, 4, 5] {
            assert!(std::fs::read(env.image(&guids[n])).unwrap() == image(n), "{n} with --expect {expect}");
        }
        assert!(std::fs::read(env.image(&guids[3])).unwrap() == files[3], "what is proved whole is left as it is");
    }
}

/// Zeros at the end of a body that the origin delivered are the origin's own.
#[test]
fn an_image_that_ends_in_zeros_is_taken_from_the_origin_and_stays_done() {
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    let image = [image_for("a"), vec![0; 4096]].concat();
    origin.on("a", [Reply::bytes(200, "image/jpeg", image.clone())]);
    env.fetch(&origin).run().expect(0);
    assert!(std::fs::read(env.image("a")).unwrap() == image);
    env.fetch(&origin).run().expect(0);
    env.toller(["verify", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    assert_eq!(origin.request_count(), 1);
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
