//! `toller pipe`: GUIDs in, outcomes out, and otherwise the same run as `fetch`.

use crate::support::{Cmd, Env, Origin, Out, Reply, eventually, guid, guids};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

const FIELDS: [&str; 13] = [
    "run_id",
    "guid",
    "ok",
    "path",
    "url",
    "bytes",
    "kind",
    "http_status",
    "message",
    "permanent",
    "attempts",
    "ms",
    "finished_at",
];

fn pipe(env: &Env, origin: &Origin) -> Cmd {
    bare(env, origin).args(["--url", &origin.template()])
}

/// Without `--url`.
fn bare(env: &Env, origin: &Origin) -> Cmd {
    env.toller(["pipe", "--dest"]).arg(env.dest()).arg("--ca-cert").arg(origin.ca())
}

fn text<S: AsRef<str>>(guids: &[S]) -> String {
    guids.iter().map(|guid| format!("{}\n", guid.as_ref())).collect()
}

fn lines(out: &Out) -> Vec<Value> {
    out.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is one JSON value")).collect()
}

fn of<'l>(lines: &'l [Value], guid: &str) -> &'l Value {
    lines.iter().find(|line| line["guid"] == guid).unwrap_or_else(|| panic!("no line for {guid}"))
}

#[test]
fn a_line_has_every_field_and_null_where_there_is_nothing_to_say() {
    let (env, origin) = (Env::new(), Origin::start());
    let (good, gone) = (guid(0), guid(1));
    origin.on(&gone, [Reply::status(404)]);
    let out = pipe(&env, &origin).stdin(text(&[&good, &gone, "a/b"])).run().expect(4);
    let lines = lines(&out);
    assert_eq!(lines.len(), 3);
    for line in out.stdout.lines() {
        let places: Vec<_> = FIELDS.iter().map(|field| line.find(&format!("\"{field}\":"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{line}");
    }
    let line = of(&lines, &good);
    assert_eq!(line["path"], env.image(&good).display().to_string());
    assert_eq!(line["url"], origin.template().replace("{guid}", &good));
    assert_eq!(line["bytes"], std::fs::metadata(env.image(&good)).unwrap().len());
    assert_eq!((&line["ok"], &line["attempts"]), (&true.into(), &1.into()));
    assert!(line["ms"].is_u64() && line["run_id"] == lines[1]["run_id"]);
    assert!(line["finished_at"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 27), "{line}");
    nothing(line, &["kind", "http_status", "message", "permanent"]);
    let line = of(&lines, &gone);
    assert_eq!((&line["ok"], &line["kind"], &line["http_status"]), (&false.into(), &"not_found".into(), &404.into()));
    assert_eq!((&line["permanent"], &line["attempts"]), (&true.into(), &1.into()));
    assert!(line["message"].is_string() && line["url"].is_string());
    nothing(line, &["path", "bytes"]);
    let line = of(&lines, "a/b");
    assert_eq!((&line["kind"], &line["permanent"], &line["attempts"]), (&"bad_guid".into(), &true.into(), &0.into()));
    nothing(line, &["path", "bytes", "url", "http_status"]);
}

fn nothing(line: &Value, fields: &[&str]) {
    for field in fields {
        assert!(line[field].is_null(), "{field} of {line}");
    }
}

#[test]
fn outcomes_come_in_the_order_of_completion() {
    let (env, origin) = (Env::new(), Origin::start());
    let guids = guids(12);
    origin.on(&guids[0], [Reply::image().after(Duration::from_millis(400))]);
    let out = pipe(&env, &origin).stdin(text(&guids)).run().expect(0);
    let lines = lines(&out);
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[11]["guid"], guids[0].as_str(), "the slow one is last");
    let times: Vec<_> = lines.iter().map(|line| line["finished_at"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_reader_sees_progress_while_the_input_goes_on() {
    let (env, origin) = (Env::new(), Origin::start());
    let mut running = pipe(&env, &origin).open_stdin().spawn();
    for guid in guids(3) {
        let said = Instant::now();
        running.say(&text(&[&guid]));
        running.wait_for_stdout(&guid);
        // A second is promised; the rest is for a busy machine.
        assert!(said.elapsed() < Duration::from_secs(5), "{:?}", said.elapsed());
    }
    running.hang_up();
    running.wait().expect(0);
}

#[test]
fn a_reader_that_goes_away_ends_it_with_1() {
    let (env, origin) = (Env::new(), Origin::start());
    origin.hold();
    origin.allow(1);
    let shell = ["-c", "\"$0\" \"$@\" | head -n 1; echo ${PIPESTATUS[0]}"];
    let guids = guids(400);
    let running = pipe(&env, &origin).args(["--batch", "1"]).under("bash", shell).stdin(text(&guids)).spawn();
    running.wait_for_stdout("finished_at");
    origin.release();
    let out = running.wait().expect(0).complains().stderr_has("stdout");
    assert_eq!(out.stdout.lines().last(), Some("1"), "{}", out.report());
    for file in env.files() {
        env.assert_whole(file.trim_end_matches(".jpg"));
    }
    assert_eq!(env.leftovers(), ["lock"]);
}

#[test]
fn a_line_may_bring_its_own_url() {
    let (env, origin) = (Env::new(), Origin::start());
    let own = |guid: &str| format!("{guid}\t{}/elsewhere/{guid}.jpg?size=s\r\n", origin.url());
    let input = own("a") + &own("b") + "c\n" + "d\t\n" + "e\tnonsense\n";
    let out = bare(&env, &origin).args(["--extension", "jpg"]).stdin(input).run().expect(4);
    let lines = lines(&out);
    env.assert_whole("a");
    env.assert_whole("b");
    assert_eq!(of(&lines, "a")["url"], format!("{}/elsewhere/a.jpg?size=s", origin.url()));
    for bad in ["c", "d", "e"] {
        assert_eq!(of(&lines, bad)["kind"], "bad_url", "{bad}");
    }
    assert_eq!(origin.request_count(), 2);
    // With --url it is an exception for those lines.
    let input = format!("f\ng\t{}/elsewhere/g.jpg\n", origin.url());
    pipe(&env, &origin).stdin(input).run().expect(0);
    let paths: Vec<String> = origin.requests().split_off(2).into_iter().map(|request| request.path).collect();
    assert!(
        paths.contains(&"/thumbs/f.jpg".into()) && paths.contains(&"/elsewhere/g.jpg?size=s".replace("?size=s", ""))
    );
}

#[test]
fn pending_with_a_url_column_is_what_pipe_understands() {
    let (env, origin) = (Env::new(), Origin::start());
    env.sql(&format!(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, link VARCHAR);
         INSERT INTO dim_image SELECT g, false, '{}/x/' || g || '.jpg' FROM unnest(['a', 'b', 'c']) AS t(g);",
        origin.url()
    ));
    let pending = env.toller(["pending", "--url-column", "link", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    let out = bare(&env, &origin).args(["--extension", "jpg"]).stdin(pending.stdout).run().expect(0);
    assert_eq!(lines(&out).len(), 3);
    assert!(origin.requests().iter().all(|request| request.path.starts_with("/x/")));
}

#[test]
fn pipes_share_a_destination_and_a_fetch_does_not() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let first = pipe(&env, &origin).stdin(text(&guids[..20])).spawn();
    origin.wait_for_requests(3);
    let second = pipe(&env, &origin).stdin(text(&guids[20..])).spawn();
    origin.wait_for_requests(6);
    env.fetch(&origin).run().expect(75).complains();
    origin.release();
    let (first, second) = (first.wait().expect(0), second.wait().expect(0));
    assert_ne!(lines(&first)[0]["run_id"], lines(&second)[0]["run_id"]);
    assert_eq!((lines(&first).len(), lines(&second).len(), env.files().len()), (20, 20, 40));
    assert_eq!((origin.request_count(), env.leftovers()), (40, vec!["lock".to_owned()]));
}

#[test]
fn a_fetch_keeps_pipes_out() {
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.hold();
    let fetch = env.fetch(&origin).spawn();
    origin.wait_for_requests(1);
    pipe(&env, &origin).stdin(text(&guids)).run().expect(75).complains();
    origin.release();
    fetch.wait().expect(0);
}

#[test]
fn after_kill_9_the_same_input_reuses_what_is_there() {
    let (env, origin) = (Env::new(), Origin::start());
    let guids = guids(30);
    origin.hold();
    origin.allow(12);
    let running = pipe(&env, &origin).stdin(text(&guids)).spawn();
    origin.wait_for_requests(15);
    running.kill9();
    let saved = env.files();
    assert_eq!(saved.len(), 12);
    origin.release();
    let out = pipe(&env, &origin).stdin(text(&guids)).run().expect(0);
    let lines = lines(&out);
    assert_eq!(lines.len(), 30);
    for guid in &guids {
        env.assert_whole(guid);
        let line = of(&lines, guid);
        let asked = u64::from(!saved.contains(&format!("{guid}.jpg")));
        assert_eq!((&line["ok"], &line["attempts"]), (&true.into(), &asked.into()), "{line}");
        assert!(line["bytes"].as_u64() > Some(0));
    }
    assert!(origin.request_count() <= 30 + 3, "{} requests", origin.request_count());
    assert_eq!(env.leftovers(), ["lock"], "what the dead one left is swept");
}

#[test]
fn memory_does_not_grow_with_the_input() {
    let (env, origin) = (Env::new(), Origin::start());
    let shell = ["-c", "exec \"$0\" \"$@\" > outcomes 2> errors"];
    let cmd = pipe(&env, &origin).args(["--max-failure-rate", "100", "--progress", "none"]);
    let mut running = cmd.under("sh", shell).open_stdin().spawn();
    let lines: String = (0..200_000).map(|number| format!("bad/{number}\n")).collect();
    running.say(&lines);
    running.say("last/one\n");
    eventually("the last line", || end_of(&env.path("outcomes")).contains("last/one").then_some(()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let peak: u64 = peak.trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak < 60_000, "{peak} kB");
    running.hang_up();
    running.wait().expect(4);
    assert_eq!(std::fs::read_to_string(env.path("outcomes")).unwrap().lines().count(), 200_001);
}

/// The last kilobyte of a file, for one that is too long to be read again and again.
fn end_of(path: &Path) -> String {
    let mut end = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.seek(SeekFrom::End(0)).unwrap();
        file.seek(SeekFrom::Start(length.saturating_sub(1000))).unwrap();
        file.read_to_end(&mut end).unwrap();
    }
    String::from_utf8_lossy(&end).into_owned()
}

#[test]
fn bad_input_without_an_end_says_nothing_about_the_origin_and_can_be_stopped() {
    let (env, origin) = (Env::new(), Origin::start());
    let shell = ["-c", "yes bad/guid | \"$0\" \"$@\""];
    let out = pipe(&env, &origin).args(["--max-runtime", "1"]).under("sh", shell).run().expect(3);
    assert!(lines(&out).len() > 1000);
    assert!(lines(&out).iter().all(|line| line["kind"] == "bad_guid"));
}

#[test]
fn failures_of_a_run_that_too_many_of_them_ended_are_not_for_good() {
    let (env, origin) = (Env::new(), Origin::start());
    // Before anything went well it would end for that.
    origin.always(|request| if request.nth < 10 { Reply::image() } else { Reply::status(403) });
    origin.hold();
    origin.allow(60);
    let running = pipe(&env, &origin).args(["--batch", "10"]).stdin(text(&guids(300))).spawn();
    running.wait_for_stdout("forbidden");
    origin.release();
    let out = running.wait().expect(1).complains().stderr_has("--max-failure-rate");
    let lines = lines(&out);
    assert!(lines.iter().any(|line| line["permanent"] == true), "some are printed before it is known");
    // What was said too early is taken back.
    let last: HashMap<_, _> = lines.iter().map(|line| (line["guid"].to_string(), line)).collect();
    assert!(last.len() >= 100);
    for line in last.values().filter(|line| line["ok"] == false) {
        assert_eq!((&line["kind"], &line["permanent"]), (&"forbidden".into(), &false.into()), "{line}");
    }
}

#[test]
fn a_retry_and_a_transient_failure_are_told_as_such() {
    let (env, origin) = (Env::new(), Origin::start());
    origin.on("a", [Reply::status(503), Reply::image()]);
    origin.on("b", [Reply::status(503)]);
    let out = pipe(&env, &origin).args(["--retries", "1"]).stdin("a\nb\n").run().expect(3);
    let lines = lines(&out);
    assert_eq!((&of(&lines, "a")["ok"], &of(&lines, "a")["attempts"]), (&true.into(), &2.into()));
    let line = of(&lines, "b");
    assert_eq!((&line["kind"], &line["permanent"]), (&"server_error".into(), &false.into()));
    assert_eq!((&line["attempts"], &line["http_status"]), (&2.into(), &503.into()));
}

#[test]
fn a_signal_ends_it_with_what_has_come_printed() {
    let (env, origin) = (Env::new(), Origin::start());
    origin.hold();
    origin.allow(2);
    let running = pipe(&env, &origin).stdin(text(&guids(20))).spawn();
    origin.wait_for_requests(5);
    running.signal("TERM");
    let out = running.wait().expect(143);
    assert_eq!((lines(&out).len(), env.files().len()), (2, 2));
    assert_eq!(env.leftovers(), ["lock"]);
}

#[test]
fn nothing_in_is_nothing_out_and_a_limit_is_kept() {
    let (env, origin) = (Env::new(), Origin::start());
    assert_eq!(pipe(&env, &origin).run().expect(0).stdout, "");
    let out = pipe(&env, &origin).args(["--limit", "3"]).stdin(text(&guids(10))).run().expect(0);
    assert_eq!((lines(&out).len(), origin.request_count()), (3, 3));
    let out = pipe(&env, &origin).arg("--dry-run").stdin(text(&guids(10))).run().expect(0).stdout_has("10 images");
    assert_eq!((out.stdout.lines().count(), origin.request_count()), (1, 3));
}

#[test]
fn lines_that_are_no_guids_are_outcomes_too() {
    let (env, origin) = (Env::new(), Origin::start());
    let mut input = b"\xff\xfe\n\n.hidden\n".to_vec();
    input.extend(text(&["x".repeat(100_000)]).bytes());
    input.extend(b"good");
    let out = pipe(&env, &origin).stdin(input).run().expect(4);
    let lines = lines(&out);
    let bad = lines.iter().filter(|line| line["kind"] == "bad_guid").count();
    assert_eq!((lines.len(), bad, &of(&lines, "good")["ok"]), (4, 3, &true.into()));
}
