//! `status`: where things stand, whether a fetch runs or not.

use crate::support::{Env, Origin, Out, Reply, eventually, guids};
use serde_json::{Value, json};

fn status(env: &Env) -> Out {
    env.toller(["status", "--json", "--warehouse"]).arg(env.warehouse()).run()
}

fn counts(status: &Value) -> [u64; 4] {
    ["total", "done", "pending", "failed_permanent"]
        .map(|key| status[key].as_u64().unwrap_or_else(|| panic!("{status}")))
}

#[test]
fn before_any_run_everything_is_pending() {
    let env = Env::with(&guids(7));
    let status = status(&env).expect(0).json();
    let wanted = json!({
        "total": 7, "done": 0, "pending": 7, "failed_permanent": 0,
        "running": null, "last_runs": [], "failures": {}
    });
    assert_eq!(status, wanted);
    let tables = env.value("SELECT count(*) FROM duckdb_tables()");
    assert_eq!(tables, "1", "to look at a warehouse changes nothing in it");
}

#[test]
fn after_a_run_the_counts_add_up() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(403)]);
    origin.on(&guids[2], [Reply::status(500)]);
    env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    let status = status(&env).expect(0).json();
    let [total, done, pending, failed_permanent] = counts(&status);
    assert_eq!((total, done, failed_permanent), (9, 6, 2));
    // Whether pending holds those that failed for good or not, nothing is counted twice or lost.
    assert!(pending == 1 || pending == 3, "{status}");
    assert_eq!(status["failures"], json!({"not_found": 1, "forbidden": 1, "server_error": 1}));
    assert_eq!(status["running"], Value::Null);
    let runs = status["last_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0]["status"], &runs[0]["fetched"]), (&"partial".into(), &6.into()));
    assert_eq!(runs[0]["run_id"], env.value("SELECT run_id FROM run_manifest"));
}

#[test]
fn rows_are_counted_and_one_without_an_id_is_none() {
    let env = Env::with(&["a", "a", "b"]);
    env.sql("INSERT INTO dim_image VALUES (NULL, NULL, NULL), ('c', true, NULL), ('d', NULL, NULL)");
    assert_eq!(counts(&status(&env).expect(0).json()), [5, 1, 4, 0]);
}

#[test]
fn a_living_run_is_shown_whatever_began_after_it() {
    let (env, origin) = (Env::with(&guids(4)), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    env.sql(
        "INSERT INTO run_manifest (run_id, started_at, updated_at, status) SELECT 'later-' || i, now()::TIMESTAMP + to_hours(i), \
         now()::TIMESTAMP + to_hours(i), if(i % 2 = 0, 'complete', 'running') FROM range(1, 9) AS r(i); \
         UPDATE run_manifest SET host = 'here', pid = 1, updated_at = TIMESTAMP '2020-01-01' WHERE status = 'running' AND run_id LIKE 'later%'",
    );
    let status = status(&env).expect(0).json();
    assert_eq!(status["running"]["pid"], run.pid(), "{status}");
    let runs: Vec<_> =
        status["last_runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    assert_eq!(runs[..5], ["later-8", "later-7", "later-6", "later-5", "later-4"]);
    assert_eq!(runs[5..], [status["running"]["run_id"].as_str().unwrap()]);
    origin.release();
    run.wait().expect(0);
}

#[test]
fn what_failed_for_good_is_pending_and_left_alone_and_every_command_says_so() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(403)]);
    origin.on(&guids[2], [Reply::status(404)]);
    env.fetch(&origin).run().expect(4);
    let status = env.toller(["status", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    status.stdout_has("3 pending, 3 of them failed for good");
    let again = env.fetch(&origin).run().expect(0);
    again.stdout_has("nothing to fetch; 3 failed for good (not_found 2, forbidden 1): see --retry-failed");
    let plan = env.fetch(&origin).arg("--dry-run").run().expect(0);
    plan.stdout_has("would fetch 0 of 0 images; 3 failed for good (not_found 2, forbidden 1): see --retry-failed");
    let plan = env.fetch(&origin).args(["--dry-run", "--retry-failed"]).run().expect(0);
    plan.stdout_has("would fetch 3 of 3 images\n");
    env.sql("UPDATE dim_image SET thumb_downloaded = true");
    env.fetch(&origin).run().expect(0).stdout_has("nothing is pending\n");
}

#[test]
fn during_a_run_it_says_how_far_and_how_fast() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    origin.allow(12);
    let run = env.fetch(&origin).args(["--batch", "5"]).spawn();
    origin.wait_for_requests(15);
    let running = eventually("ten recorded images", || {
        let running = status(&env).expect(0).json()["running"].clone();
        (running["fetched"].as_u64() >= Some(10)).then_some(running)
    });
    assert_eq!(running["pid"], run.pid());
    assert_eq!(running["run_id"], env.value("SELECT run_id FROM run_manifest"));
    assert!(running["fetched"].as_u64() <= Some(12), "{running}");
    assert_eq!((&running["reused"], &running["failed"]), (&0.into(), &0.into()));
    assert!(running["images_per_second"].as_f64() > Some(0.0), "{running}");
    assert!(running["eta_seconds"].as_f64() >= Some(0.0), "{running}");
    assert!(running["started_at"].is_string() && running["pending"].is_u64(), "{running}");
    origin.release();
    run.wait().expect(0);
    assert_eq!(status(&env).expect(0).json()["running"], Value::Null);
}

#[test]
fn what_the_environment_says_to_other_commands_is_no_mistake() {
    let env = Env::with(&guids(3));
    let status = |args: &[&str]| env.toller(["status", "--warehouse"]).arg(env.warehouse()).args(args);
    let plain = status(&["--json"]).run().expect(0).stdout;
    let own = [("TOLLER_LIMIT", "10"), ("TOLLER_RETRIES", "2"), ("TOLLER_URL", "https://x.test/{guid}.jpg")];
    let with = own.iter().fold(status(&["--json"]), |status, (name, value)| status.env(name, value));
    assert_eq!(with.run().expect(0).stdout, plain);
    status(&["--failures"]).env("TOLLER_WHERE", "true").run().expect(0);
    status(&["--limit", "1"]).run().expect(2).complains().stderr_has("--failures");
    status(&["--failures", "--where", "true"]).run().expect(2).complains().stderr_has("--failures");
}

#[test]
fn a_killed_run_is_not_running() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    run.kill9();
    assert_eq!(status(&env).expect(0).json()["running"], Value::Null);
}

#[test]
fn people_get_the_same_numbers() {
    let guids = guids(5);
    let (env, origin) = (Env::with(&guids), Origin::start());
    env.fetch(&origin).args(["--limit", "3"]).run().expect(0);
    let out = env.toller(["status", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    for number in ["5", "3", "2"] {
        assert!(out.stdout.contains(number), "no {number}: {}", out.report());
    }
    assert!(!out.stdout.contains('\x1b'), "no colours where nobody sees them: {}", out.report());
}

#[test]
fn a_locked_warehouse_is_waited_for_only_so_long() {
    let env = Env::with(&guids(2));
    let other = env.occupy();
    let status = env.toller(["status", "--lock-wait", "1", "--warehouse"]).arg(env.warehouse());
    status.run().expect(75).complains();
    drop(other);
}

#[test]
fn a_warehouse_that_is_not_there_is_not_made() {
    let env = Env::new();
    status(&env).expect(1).complains().stderr_has("warehouse.duckdb");
    assert!(!env.warehouse().exists());
}

#[test]
fn what_failed_is_listed_with_its_cause_the_latest_first() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(500)]);
    let list = |more: &[&str]| {
        env.toller(["status", "--warehouse"]).arg(env.warehouse()).args(["--failures"]).args(more).run()
    };
    list(&[]).expect(0).stdout_has("nothing stands failed\n");
    env.fetch(&origin).args(["--retries", "1"]).run().expect(3);
    env.sql(&format!(
        "UPDATE thumb_failure SET failed_at = TIMESTAMP '2020-01-02 03:04:05' WHERE source_image_id = '{}'",
        guids[0]
    ));
    let all = list(&[]).expect(0).stdout;
    let lines: Vec<_> = all.lines().collect();
    assert!(
        lines[0].ends_with(&format!("  server_error     {}: status 500 Internal Server Error (2 attempts)", guids[1])),
        "{all}"
    );
    assert_eq!(
        lines[1],
        format!("2020-01-02 03:04:05  not_found        {}: status 404 Not Found (1 attempt, for good)", guids[0])
    );
    assert_eq!(list(&["not_found"]).expect(0).stdout.lines().collect::<Vec<_>>(), [lines[1]]);
    assert_eq!(list(&["--limit", "1"]).expect(0).stdout.lines().collect::<Vec<_>>(), [lines[0]]);
    assert_eq!(list(&["timeout", "--json"]).expect(0).stdout, "");
    let object = list(&["not_found", "--json"]).expect(0).json();
    let url = format!("{}/thumbs/{}.jpg", origin.url(), guids[0]);
    let wanted = json!({
        "guid": guids[0], "kind": "not_found", "http_status": 404, "message": "status 404 Not Found", "url": url, "attempts": 1,
        "permanent": true, "failed_at": "2020-01-02T03:04:05Z", "run_id": env.value("SELECT run_id FROM run_manifest"),
    });
    assert_eq!(object, wanted);
    list(&["no_such_kind"]).expect(2).complains().stderr_has("not_found, ");
}

#[test]
fn a_long_list_of_failures_is_whole_and_in_its_order() {
    let (env, origin) = (Env::with(&guids(2)), Origin::builder().small().start());
    env.fetch(&origin).run().expect(0);
    env.sql(
        "INSERT INTO thumb_failure SELECT 'g' || i, NULL, 'not_found', 404, NULL, 1, true, 'r', TIMESTAMP '2020-01-01' + to_seconds(i) \
         FROM range(25000) AS r(i)",
    );
    let list = env.toller(["status", "--failures", "--json", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    let ids: Vec<Value> =
        list.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["guid"].clone()).collect();
    let wanted: Vec<Value> = (0..25000).rev().map(|i| format!("g{i}").into()).collect();
    assert_eq!(ids, wanted);
}

#[test]
fn the_summary_gives_an_example_of_each_kind_of_failure() {
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    guids[..2].iter().for_each(|guid| origin.on(guid, [Reply::status(404)]));
    origin.on(&guids[2], [Reply::html()]);
    let out = env.fetch(&origin).args(["--workers", "1"]).run().expect(4);
    out.stdout_has(&format!("    not_found, such as {}: status 404 Not Found\n", guids[0]))
        .stdout_has(&format!("    not_an_image, such as {}: ", guids[2]));
}

#[test]
fn it_is_shown_anew_until_the_run_ends() {
    let (env, origin) = (Env::with(&guids(20)), Origin::builder().small().start());
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    let watch = |more: &[&str]| env.toller(["status", "--watch", "0.2", "--warehouse"]).arg(env.warehouse()).args(more);
    let (text, json) = (watch(&[]).spawn(), watch(&["--json"]).spawn());
    text.wait_for_stdout("\n\n20 images");
    json.wait_for_stdout("}\n{");
    let screen = watch(&[]).on_terminal(80).spawn();
    screen.wait_for_stdout("\x1b[2J\x1b[H20 images, 0 done, 20 pending\r\nrunning: ");
    origin.release();
    run.wait().expect(0);
    text.wait().expect(0).stdout_has("20 images, 20 done, 0 pending\n");
    screen.wait().expect(0).stdout_has("20 images, 20 done, 0 pending\r\n");
    let last: Value = serde_json::from_str(json.wait().expect(0).stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["running"], &last["done"]), (&Value::Null, &20.into()));
    assert_eq!(
        watch(&[]).run().expect(0).stdout.matches("20 images").count(),
        1,
        "where nothing runs it is shown once"
    );
}

#[test]
fn commands_that_read_call_the_tables_what_the_last_run_called_them() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    env.sql(
        "CREATE SCHEMA media; CREATE TABLE media.assets (asset VARCHAR, home BOOLEAN, seen TIMESTAMP); \
         INSERT INTO media.assets SELECT unnest(['a', 'b', 'c']), false, NULL",
    );
    origin.on("c", [Reply::status(404)]);
    let names =
        ["--table", "media.assets", "--id-column", "asset", "--done-column", "home", "--updated-column", "seen"];
    let own = ["--failure-table", "media.failed", "--file-table", "media.files"];
    let read = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
    read("status").run().expect(1).complains().stderr_has("media.assets");
    env.fetch(&origin).args(names).args(own).run().expect(4);
    let status = read("status").run().expect(0).stdout_has("3 images, 2 done, 1 pending, 1 of them failed for good\n");
    assert_eq!(status.stderr, "toller: table media.assets, as the last run had it\n");
    read("status").arg("--failures").run().expect(0).stdout_has("not_found        c: status 404 Not Found");
    assert_eq!(read("pending").run().expect(0).stdout, "c\n");
    read("verify").run().expect(0).stdout_has("2 checked, 2 good");
    // What is named counts as it stands, and what writes does not guess.
    read("status").args(["--table", "assets"]).run().expect(1).complains();
    env.fetch(&origin).run().expect(1).complains().stderr_has("no table dim_image");
    // The usual table comes first.
    env.warehouse_of(&["x"]);
    assert_eq!(read("pending").run().expect(0).stdout, "x\n");
}
