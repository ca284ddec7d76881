//! What concerns everybody: an origin that never works, one that goes away, one that refuses for the pace; and what only
//! looks like it, because single images fail.

use crate::support::{End, Env, Origin, Proxy, Reply, Tls, guids, listener, steady_port};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[test]
fn images_that_fail_after_their_retries_are_judged_among_those_they_were_first_tried_with() {
    let guids = guids(4000);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let bad: Vec<&String> = guids.iter().step_by(50).collect();
    for guid in &bad {
        origin.on(guid, [Reply::status(500)]);
    }
    let summary = env.fetch(&origin).args(["--retries", "2", "--json"]).run().expect(3).json();
    assert_eq!(
        (&summary["fetched"], &summary["failed"], &summary["status"]),
        (&3920.into(), &80.into(), &"partial".into())
    );
}

#[test]
fn what_was_refused_unasked_or_failed_alone_before_too_many_did_stays_what_it_is() {
    let guids = guids(600);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    env.sql("INSERT INTO dim_image VALUES ('../up', false, NULL)");
    origin.on(&guids[20], [Reply::status(404)]);
    origin.always(|request| if request.nth <= 400 { Reply::image() } else { Reply::status(403) });
    env.fetch(&origin).args(["--batch", "50"]).run().expect(1).complains().stderr_has("most of them forbidden");
    let stands = env.query("SELECT kind, permanent FROM thumb_failure GROUP BY ALL ORDER BY kind");
    assert_eq!(stands, [["bad_guid", "true"], ["forbidden", "false"], ["not_found", "true"]]);
}

#[test]
fn a_host_that_nobody_knows_ends_the_run_at_once_by_its_name() {
    let env = Env::with(&guids(300));
    let start = Instant::now();
    let out = env.fetch_url("https://no-such-host.invalid/{guid}.jpg").run().expect(1).complains();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(out.stderr.contains("https://no-such-host.invalid"), "{}", out.report());
    assert_eq!(env.runs(), ["failed"]);
    assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["dns", "false"]]);
}

#[test]
fn a_wrong_token_costs_five_requests_and_no_image() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let right = |request: &crate::support::Request| request.header("X-Token") == Some("right");
    origin.always(move |request| if right(request) { Reply::image() } else { Reply::status(403) });
    let out = env.fetch(&origin).args(["--header", "X-Token: wrong"]).run().expect(1).complains();
    assert!(out.stderr.contains(&origin.url()) && out.stderr.contains("403"), "{}", out.report());
    assert_eq!(origin.request_count(), 5);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure WHERE permanent"), "0");
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest"]).arg(env.path("piped"));
    let out = pipe.arg("--ca-cert").arg(origin.ca()).stdin(guids.join("\n")).run().expect(1);
    assert!(!out.stdout.contains("\"permanent\":true"), "{}", out.report());
    env.fetch(&origin).args(["--header", "X-Token: right"]).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_proxy_that_wants_a_password_is_asked_five_times() {
    let (env, origin, proxy) = (Env::with(&guids(300)), Origin::start(), Proxy::with_password("dXNlcjpwYXNz"));
    let out = env.fetch(&origin).args(["--proxy", &proxy.url()]).run().expect(1).complains();
    assert!(out.stderr.contains("proxy"), "{}", out.report());
    assert!(proxy.refused() <= 5, "{}", proxy.refused());
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure WHERE permanent"), "0");
}

#[test]
fn a_proxy_that_cannot_be_found_or_reached_is_the_one_that_is_named() {
    let nobody = format!("http://127.0.0.1:{}", steady_port());
    for (url, variable) in
        [("http://origin.test/{guid}.jpg", "HTTP_PROXY"), ("https://origin.test/{guid}.jpg", "HTTPS_PROXY")]
    {
        for (proxy, named) in [("http://proxy.invalid:3128", "proxy proxy.invalid: "), (&nobody, "proxy 127.0.0.1:")] {
            let env = Env::with(&guids(300));
            let out = env.fetch_url(url).env(variable, proxy).run().expect(1).complains();
            let told = out.stderr.contains(named) && out.stderr.contains("--proxy") && out.stderr.contains(variable);
            assert!(told && !out.stderr.contains("--url"), "{}", out.report());
            assert!(env.value("SELECT DISTINCT message FROM thumb_failure").starts_with(named));
        }
    }
}

/// The port of a server that answers what it cannot read as servers of plain HTTP do.
fn plain_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

#[test]
fn a_proxy_with_which_tls_fails_is_the_one_that_is_named() {
    let plain = format!("https://localhost:{}", plain_server());
    let (other, stranger) =
        (Origin::builder().tls(Tls::WrongHost).start(), Origin::builder().tls(Tls::UnknownCa).start());
    for (proxy, words, way_out) in [
        (plain, "proxy localhost: the server does not speak TLS", "--proxy"),
        (other.url(), "proxy localhost: the certificate is not for localhost", "--proxy"),
        (stranger.url(), "proxy localhost: the certificate's issuer is not trusted", "--ca-cert"),
    ] {
        for url in ["http://origin.test/{guid}.jpg", "https://origin.test/{guid}.jpg"] {
            let env = Env::with(&guids(300));
            let fetch = env.fetch_url(url).args(["--proxy", &proxy]).arg("--ca-cert").arg(other.ca());
            let out = fetch.run().expect(1).complains().stderr_has(words).stderr_has(way_out);
            assert!(!out.stderr.contains("--url"), "{}", out.report());
            assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["tls", "false"]]);
        }
    }
}

#[test]
fn https_where_nobody_speaks_it_and_a_name_that_is_not_the_servers_are_no_matter_of_trust() {
    let plain_url = format!("https://localhost:{}/{{guid}}.jpg", plain_server());
    let other = Origin::builder().tls(Tls::WrongHost).start();
    for (url, words) in [
        (plain_url, "look at the port in --url, and whether it should begin with http://"),
        (other.template(), "look at the host in --url"),
    ] {
        let env = Env::with(&guids(300));
        let out = env.fetch_url(&url).arg("--ca-cert").arg(other.ca()).run().expect(1).complains().stderr_has(words);
        assert!(!out.stderr.contains("SSL_CERT_FILE"), "{}", out.report());
    }
    let stranger = Origin::builder().tls(Tls::UnknownCa).start();
    let out = Env::with(&guids(300)).fetch(&stranger).run().expect(1).complains();
    assert!(out.stderr.contains("see --ca-cert and SSL_CERT_FILE"), "{}", out.report());
}

#[test]
fn while_the_origin_is_away_all_wait_and_one_probes_and_no_image_is_charged() {
    let guids = guids(500);
    let env = Env::with(&guids);
    let port = steady_port();
    let first = Origin::builder().small().port(port).start();
    first.always(|_| Reply::image().after(Duration::from_millis(5)));
    let pem = env.write("ca.pem", std::fs::read(first.ca()).unwrap());
    let run = env.fetch_url(&first.template()).arg("--ca-cert").arg(pem).args(["--retries", "0"]).spawn();
    first.wait_for_responses(200);
    drop(first);
    // Whoever comes meanwhile is sent away.
    let away = listener(port);
    let (start, mut tried) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(4) {
        drop(away.accept());
        tried += 1;
    }
    drop(away);
    let second = Origin::builder().small().port(port).start();
    run.wait().expect(0);
    env.assert_done(&guids);
    assert!((1..40).contains(&tried), "{tried} connections in some seven seconds");
    assert!(second.request_count() < 305, "{}", second.request_count());
}

#[test]
fn an_origin_with_a_limit_gets_little_more_than_it_allows_and_gives_everything() {
    let guids = guids(300);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let (refused, latest) = (Arc::new(AtomicUsize::new(0)), Mutex::new(None::<Instant>));
    let counted = Arc::clone(&refused);
    // One each thirtieth of a second, as nginx without a burst has it.
    origin.always(move |request| {
        let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_some_and(|latest| request.at < latest + Duration::from_millis(33)) {
            counted.fetch_add(1, Ordering::Relaxed);
            return Reply::status(429);
        }
        *latest = Some(request.at);
        Reply::image()
    });
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused < 150, "{refused} refusals");
}

#[test]
fn a_refusal_that_says_to_wait_for_nothing_says_as_little_as_one_without_a_word() {
    let guids = guids(60);
    for (status, name, value) in [
        (429, "Retry-After", "0"),
        (503, "Retry-After", "Wed, 01 Jan 2020 00:00:00 GMT"),
        (429, "RateLimit-Reset", "0"),
        (429, "X-RateLimit-Reset", "1577836800"),
    ] {
        let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
        origin.always(move |request| match request.nth {
            ..=20 => Reply::image(),
            _ => Reply::status(status).header(name, value),
        });
        env.fetch(&origin).args(["--max-runtime", "2"]).run().expect(3);
        let refused = origin.request_count() - 20;
        assert!((1..30).contains(&refused), "{refused} refusals in two seconds: {name}: {value}");
    }
}

#[test]
fn an_image_that_is_always_hung_up_on_holds_nobody_else_up_and_ends() {
    let guids = guids(600);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    for guid in guids.iter().step_by(60) {
        origin.on(guid, [Reply::nothing().then(End::Reset)]);
    }
    let start = Instant::now();
    let summary = env.fetch(&origin).args(["--retries", "1", "--json"]).run().expect(3).json();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(summary["failures"], serde_json::json!({"connect": 10}));
    assert_eq!(env.query("SELECT DISTINCT attempts FROM thumb_failure"), [["2"]]);
}

#[test]
fn images_that_always_fail_are_recorded_as_failed_however_many_stand_last() {
    // Spread among good ones, and all at the end of the table, where nothing else is left to tell.
    for bad in [(0..300).step_by(10).collect::<Vec<_>>(), (292..300).collect()] {
        let guids = guids(300);
        let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
        for at in &bad {
            origin.on(&guids[*at], [Reply::status(503)]);
        }
        let run = env.fetch(&origin).args(["--retries", "1", "--json"]).spawn();
        let summary = run.wait_at_most(Duration::from_secs(150)).expect(3).json();
        assert_eq!((&summary["fetched"], &summary["status"]), (&(300 - bad.len()).into(), &"partial".into()));
        assert_eq!(env.value("SELECT count(*) FROM thumb_failure WHERE kind = 'server_error'"), bad.len().to_string());
    }
}

#[test]
fn what_redirects_lead_to_is_the_origin_too_once_it_has_served() {
    let guids = guids(300);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let target = Origin::builder().small().start();
    let to = target.url();
    origin.always(move |request| Reply::redirect(302, &format!("{to}{}", request.path)));
    // It refuses for two seconds in mid run, without saying for how long.
    let refusing: Arc<Mutex<Option<Instant>>> = Arc::default();
    target.always(move |request| {
        let mut since = refusing.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = if request.nth > 100 { Some(*since.get_or_insert_with(Instant::now)) } else { None };
        if begun.is_some_and(|begun| begun.elapsed() < Duration::from_secs(2)) {
            Reply::status(503)
        } else {
            Reply::image()
        }
    });
    let fetch = env.fetch(&origin).arg("--json");
    let summary = fetch.run().expect(0).json();
    assert_eq!(summary["fetched"], 300);
    assert!(target.request_count() < 400, "{}", target.request_count());
}

#[test]
fn a_redirect_that_asks_for_a_day_concerns_its_image_alone() {
    let guids = guids(40);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let elsewhere = Origin::builder().small().start();
    elsewhere.always(|_| Reply::status(503).header("Retry-After", "86400"));
    origin.on(&guids[3], [Reply::redirect(302, &format!("{}/x.jpg", elsewhere.url()))]);
    let summary = env.fetch(&origin).arg("--json").run().expect(3).json();
    assert_eq!((&summary["fetched"], &summary["failed"]), (&39.into(), &1.into()));
}

#[test]
fn a_run_that_is_stopped_before_anything_worked_leaves_nothing_for_good() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.always(|_| Reply::status(403));
    origin.hold();
    let run = env.fetch(&origin).spawn();
    origin.wait_for_requests(3);
    run.signal("TERM");
    origin.release();
    run.wait().expect(143);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure WHERE permanent"), "0");
}
