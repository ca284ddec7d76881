//! Politeness: rate and bandwidth as the origin measures them, a run that knows when it is not wanted, and
//! redirects that take nobody's secrets along.
#![allow(clippy::cast_precision_loss, reason = "images are small and numbers of them, too")]

use crate::support::{Env, Origin, Reply, Request, guids, image_for};
use std::time::{Duration, Instant};

/// The most requests in any second.
fn peak(requests: &[Request]) -> usize {
    let second = Duration::from_secs(1);
    let within = |first: &Request| requests.iter().filter(|r| r.at >= first.at && r.at < first.at + second).count();
    requests.iter().map(within).max().unwrap_or(0)
}

#[test]
fn a_rate_is_kept_by_all_workers_together_and_counts_redirects_and_retries() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    for guid in &guids[..10] {
        origin.on(guid, [Reply::redirect(302, &format!("/moved/{guid}.jpg"))]);
    }
    for guid in &guids[10..20] {
        origin.on(guid, [Reply::status(500), Reply::image()]);
    }
    env.fetch(&origin).args(["--rate", "25", "--workers", "6"]).run().expect(0);
    env.assert_done(&guids);
    let requests = origin.requests();
    assert_eq!(requests.len(), 60);
    let time = requests[59].at.duration_since(requests[0].at).as_secs_f64();
    assert!(time >= 59.0 / 25.0 * 0.95, "60 requests in {time} s");
    assert!(time < 6.0, "60 requests in {time} s");
    // One may come late, and then two are close together.
    assert!(peak(&requests) <= 27, "{} requests in a second", peak(&requests));
}

#[test]
fn a_bandwidth_is_kept_smoothly_by_the_origins_clock() {
    let guids = guids(120);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let size = |request: &Request| image_for(&request.guid).len() as f64;
    env.fetch(&origin).args(["--bandwidth", "500k"]).run().expect(0);
    env.assert_done(&guids);
    let requests = origin.requests();
    // A body is charged when it has come, so that the last three are not paid for by then.
    let paid = &requests[..requests.len() - 3];
    let bytes: f64 = paid.iter().map(size).sum();
    let time = requests[requests.len() - 1].at.duration_since(requests[0].at).as_secs_f64();
    let rate = bytes / time;
    assert!((0.93..1.07).contains(&(rate / 500_000.0)), "{rate} bytes a second over {time} s");
    for first in &requests {
        let second = requests.iter().filter(|r| r.at >= first.at && r.at < first.at + Duration::from_secs(1));
        let bytes: f64 = second.map(size).sum();
        assert!(bytes < 500_000.0 * 1.3, "{bytes} bytes in one second");
    }
}

#[test]
fn a_run_in_which_most_things_fail_stops_and_holds_nothing_against_them() {
    let guids = guids(400);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|request| if request.nth % 5 < 3 { Reply::status(403) } else { Reply::image() });
    let out = env.fetch(&origin).arg("--json").run().expect(1).complains().stderr_has("--max-failure-rate");
    assert_eq!(out.json()["status"], "failed");
    assert!((100..250).contains(&origin.request_count()), "{} requests", origin.request_count());
    assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["forbidden", "false"]]);
    assert_eq!(env.value("SELECT error IS NOT NULL FROM run_manifest WHERE status = 'failed'"), "true");
    env.assert_true();
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), env.files().len().to_string());
    // The origin has changed its mind: what failed is fetched without a word about it.
    origin.always(|_| Reply::image());
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
}

#[test]
fn a_rate_of_failures_may_be_allowed_or_given_up_on() {
    for (most, images, code) in [("100", 150, 4), ("60", 150, 4), ("49.5", 900, 1)] {
        let (env, origin) = (Env::with(&guids(images)), Origin::builder().small().start());
        origin.always(|request| if request.nth % 2 == 0 { Reply::status(404) } else { Reply::image() });
        env.fetch(&origin).args(["--max-failure-rate", most]).run().expect(code);
        assert_eq!(origin.request_count() == images, code == 4, "{} requests", origin.request_count());
        let permanent = env.query("SELECT DISTINCT permanent FROM thumb_failure").concat();
        assert_eq!(permanent, [(code == 4).to_string()]);
    }
}

#[test]
fn a_run_ends_when_its_time_is_over() {
    let guids = guids(200);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|_| Reply::image().after(Duration::from_millis(100)));
    let start = Instant::now();
    let out = env.fetch(&origin).args(["--max-runtime", "1", "--json"]).run().expect(3);
    let took = start.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(out.json()["status"], "interrupted");
    assert_eq!(env.runs(), ["interrupted"]);
    env.assert_true();
    let files = env.files().len();
    assert!((5..100).contains(&files), "{files} files");
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), files.to_string());
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0", "what was not tried has not failed");
    origin.always(|_| Reply::image());
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(origin.request_count(), 200, "nothing was asked for twice");
}

#[test]
fn time_that_is_over_in_a_cool_down_ends_the_run() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|request| if request.nth == 4 { Reply::status(429).retry_after(200) } else { Reply::image() });
    let start = Instant::now();
    env.fetch(&origin).args(["--max-runtime", "1"]).run().expect(3);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    env.assert_true();
}

const SECRETS: [&str; 3] = ["Authorization", "Cookie", "X-Api-Key"];

#[test]
fn secrets_stay_with_the_host_they_are_for() {
    let guids = guids(3);
    let (env, origin, elsewhere) = (Env::with(&guids), Origin::start(), Origin::start());
    // Another name for the same machine, another port, and the own host by its full address.
    let other_name = format!("https://127.0.0.1:{}/other/{}.jpg", elsewhere.port(), guids[0]);
    origin.on(&guids[0], [Reply::redirect(302, &other_name)]);
    origin.on(&guids[1], [Reply::redirect(307, &format!("{}/other/{}.jpg", elsewhere.url(), guids[1]))]);
    origin.on(&guids[2], [Reply::redirect(301, &format!("{}/other/{}.jpg", origin.url(), guids[2]))]);
    let file = env.write("headers", "# mine\nX-Api-Key: hidden one\n\nCookie: session=hidden two\n");
    let fetch = env.fetch(&origin).args(["--header", "Authorization: Bearer hidden three"]);
    let out = fetch.arg("--header-file").arg(file).arg("-v").run().expect(0);
    env.assert_done(&guids);
    assert_eq!((origin.request_count(), elsewhere.request_count()), (4, 2));
    for request in origin.requests() {
        let values = SECRETS.map(|name| request.header(name).unwrap_or_default().to_owned());
        assert_eq!(values, ["Bearer hidden three", "session=hidden two", "hidden one"], "{}", request.path);
    }
    for request in elsewhere.requests() {
        assert!(SECRETS.iter().all(|name| request.header(name).is_none()), "{:?}", request.headers);
        assert!(request.header("Referer").is_none() && request.header("User-Agent").is_some());
    }
    let told = env.query("FROM run_manifest").concat().concat() + &out.stdout + &out.stderr;
    assert!(!told.contains("hidden"), "{told}");
}

#[test]
fn a_redirect_never_leads_from_https_to_http() {
    let guids = guids(2);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let plain = Origin::builder().plain_http().start();
    origin.on(&guids[0], [Reply::redirect(302, &format!("{}/thumbs/{}.jpg", plain.url(), guids[0]))]);
    env.fetch(&origin).run().expect(4);
    assert_eq!(plain.connections(), 0);
    assert_eq!(env.query("SELECT kind, permanent FROM thumb_failure"), [["redirect", "true"]]);
    env.assert_done(&guids[1..]);
}

#[test]
fn a_redirect_may_lead_from_http_to_https() {
    let guids = guids(2);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let plain = Origin::builder().plain_http().start();
    let secure = origin.url();
    plain.always(move |request| Reply::redirect(301, &format!("{secure}{}", request.path)));
    let fetch = env.fetch_url(&plain.template()).arg("--ca-cert").arg(origin.ca());
    fetch.args(["--header", "X-Api-Key: hidden"]).run().expect(0);
    env.assert_done(&guids);
    assert!(origin.requests().iter().all(|request| request.header("X-Api-Key").is_none()));
}

#[test]
fn a_header_file_with_a_mistake_is_an_error_that_repeats_no_secret() {
    let (env, origin) = (Env::with(&guids(1)), Origin::start());
    let bad = env.write("headers", "X-Good: yes\nhidden\n");
    for (file, wanted) in [(bad, "line 2"), (env.path("missing"), "missing")] {
        let out = env.fetch(&origin).arg("--header-file").arg(file).run().expect(1).complains().stderr_has(wanted);
        assert!(!out.stderr.contains("hidden"), "{}", out.report());
    }
    for bad in ["X: a\r\nX-Injected: hidden", "no colon hidden", "Host: hidden", ": hidden"] {
        let out = env.fetch(&origin).args(["--header", bad]).run().expect(2).complains();
        assert!(!out.stderr.contains("hidden"), "{}", out.report());
    }
    assert_eq!(origin.connections(), 0);
}
