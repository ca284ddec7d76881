//! What is secret stays with whom it is for, and foreign text stays text: in tables, messages, lists and on the terminal.

use crate::support::{End, Env, Origin, Reply, guids};
use std::time::Duration;

/// All that a run says: both streams, and every table of toller's own.
fn told(env: &Env, streams: &str) -> String {
    env.query("FROM run_manifest").concat().concat() + &env.query("FROM thumb_failure").concat().concat() + streams
}

#[test]
fn a_signature_and_a_password_in_the_template_are_sent_and_told_nobody() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::redirect(302, "ftp://me:hidden@elsewhere.test/x?sig=hidden")]);
    let template = |signature: &str| {
        let url = origin.template().replace("://", "://me:hid%64en@");
        format!("{url}?sig={signature}&w=200")
    };
    let fetch = |url: &str| env.fetch_url(url).arg("--ca-cert").arg(origin.ca());
    let out = fetch(&template("hidden")).arg("-v").run().expect(4);
    let plan = fetch(&template("hidden")).args(["-n", "--retry-failed"]).run().expect(0);
    let words = told(&env, &(out.stdout + &out.stderr + &plan.stdout + &plan.stderr));
    assert!(!words.contains("hid"), "{words}");
    assert!(words.contains("w=200"), "{words}");
    for request in origin.requests() {
        assert!(request.path.ends_with("?sig=hidden&w=200"), "{}", request.path);
        assert_eq!(request.header("Authorization"), Some("Basic bWU6aGlkZGVu"));
    }
    // What failed for good is left alone while the URL is the same, and asked for again with another signature.
    let before = origin.request_count();
    fetch(&template("hidden")).run().expect(0);
    assert_eq!(origin.request_count(), before);
    fetch(&template("hidden2")).run().expect(4);
    assert_eq!(origin.request_count(), before + 2);
    // `pipe` prints none either, nor does a wrong command line.
    let pipe = env.toller(["pipe", "--url", &template("hidden"), "--dest", "there"]).arg("--ca-cert").arg(origin.ca());
    let out = pipe.stdin(guids.join("\n")).run().expect(4);
    assert!(!(out.stdout.clone() + &out.stderr).contains("hid"), "{}", out.report());
    for url in ["https://me:hidden@h/x?sig=hidden", "ftp://me:hidden@h/{guid}?sig=hidden"] {
        let out = fetch(url).run().expect(2).complains();
        assert!(!out.stderr.contains("hidden"), "{}", out.report());
    }
}

#[test]
fn headers_go_to_the_origin_of_the_template_whatever_url_a_line_names() {
    let (env, origin, elsewhere) = (Env::new(), Origin::builder().small().start(), Origin::builder().small().start());
    let lines = format!("a\nb\t{}/thumbs/b.jpg\nc\t{}/thumbs/c.jpg\n", elsewhere.url(), origin.url());
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest", "there"]).arg("--ca-cert").arg(origin.ca());
    pipe.args(["--header", "X-Api-Key: hidden"]).stdin(lines).run().expect(0);
    assert_eq!((origin.request_count(), elsewhere.request_count()), (2, 1));
    assert!(origin.requests().iter().all(|request| request.header("X-Api-Key") == Some("hidden")));
    assert_eq!(elsewhere.requests()[0].header("X-Api-Key"), None);
    // Without a template they go where each line says, and that is said.
    let pipe = env.toller(["pipe", "--dest", "there"]).arg("--ca-cert").arg(origin.ca());
    let pipe = pipe.args(["--header", "X-Api-Key: hidden"]).stdin(format!("d\t{}/thumbs/d.jpg\n", elsewhere.url()));
    pipe.run().expect(0).stderr_has("the host of every URL");
    assert_eq!(elsewhere.requests()[1].header("X-Api-Key"), Some("hidden"));
}

#[test]
fn the_list_of_the_failed_cannot_be_made_to_name_urls() {
    let (env, origin, elsewhere) = (Env::new(), Origin::builder().small().start(), Origin::start());
    let evil = format!("x\t{}/stolen.jpg", elsewhere.url());
    env.warehouse_of(&[&evil, "a\nb", "bad", ".hidden", ""]);
    origin.on("bad", [Reply::status(404)]);
    let list = env.path("failed.txt");
    let out = env.fetch(&origin).arg("--failed-list").arg(&list).run().expect(4);
    out.stderr_has("3 ids are empty or hold a tab or a line break");
    let text = std::fs::read_to_string(&list).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [".hidden", "bad"]);
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest", "there"]).arg("--ca-cert").arg(origin.ca());
    pipe.args(["--header", "X-Api-Key: hidden"]).stdin(text).run().expect(4);
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn foreign_text_cannot_steer_a_terminal() {
    let env = Env::new();
    let odd = "https://h.test/\u{1b}[2J\u{9b}31m\u{202e}gpj.jpg";
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, link VARCHAR)");
    env.sql(&format!("INSERT INTO dim_image VALUES ('a\u{202e}b', false, '{odd}')"));
    let fetch = || {
        let fetch = env.toller(["fetch", "--url-column", "link", "--dest", "there", "--retries", "0", "-v"]);
        fetch.arg("--warehouse").arg(env.warehouse())
    };
    let plan = fetch().arg("-n").run().expect(0).stdout_has("\\x1b[2J").stdout_has("\\u{202e}gpj");
    let run = fetch().run().expect(4).stderr_has("U+001B at place 16");
    let status = env.toller(["status", "--warehouse"]).arg(env.warehouse()).run().expect(0);
    let usage = env.toller(["fetch", "--workers", "\u{1b}[2J"]).run().expect(2);
    for out in [plan, run, status, usage] {
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!(out.stdout.clone() + &out.stderr).contains(steers), "{}", out.report());
    }
}

#[test]
fn urls_of_a_column_are_trimmed_and_encoded_and_a_bad_one_says_where() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let column = format!("  {}/thumbs/a b ü|.jpg\n", origin.url());
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, link VARCHAR)");
    env.sql(&format!("INSERT INTO dim_image VALUES ('a b ü|', false, '{column}'), ('b', false, 'https://h<.test/x')"));
    let fetch = env.toller(["fetch", "--url-column", "link", "--extension", "jpg", "--warehouse"]).arg(env.warehouse());
    fetch.arg("--dest").arg(env.dest()).arg("--ca-cert").arg(origin.ca()).run().expect(4);
    assert_eq!(origin.requests()[0].path, "/thumbs/a%20b%20%C3%BC%7C.jpg");
    assert_eq!(env.value("SELECT kind || ': ' || message FROM thumb_failure"), "bad_url: '<' at place 10");
}

#[test]
fn an_extension_is_an_images_or_none_and_that_is_said() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    origin.always(|_| Reply::image());
    let url = format!("{}/thumb.php?id={{guid}}", origin.url());
    let fetch = env.fetch_url(&url).arg("--ca-cert").arg(origin.ca());
    fetch.run().expect(0).stderr_has(".php in --url is no image's extension");
    assert_eq!(env.files(), ["a".to_owned()].into());
    let env = Env::new();
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, link VARCHAR)");
    let fetch = env.toller(["fetch", "--url-column", "link", "--dest", "there", "--warehouse"]).arg(env.warehouse());
    fetch.run().expect(0).stderr_has("--extension names one");
}

#[test]
fn what_an_origin_sends_unasked_is_taken_for_nobodys_image() {
    let guids = guids(4);
    for origin in [Origin::builder().small(), Origin::builder().small().plain_http()] {
        let (env, origin) = (Env::with(&guids), origin.start());
        origin.always(|_| Reply::image().then(End::Unasked(Duration::from_millis(20))));
        let fetch = env.fetch(&origin).args(["--rate", "4", "--workers", "1", "--retries", "0"]);
        fetch.run().expect(0);
        env.assert_done(&guids);
        assert_eq!(origin.connections(), 4);
    }
}

#[test]
fn a_dead_pooled_connection_costs_no_turn_of_the_rate_and_no_second_count() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    // Every second request of a connection goes into one that is dead, and nothing has announced it.
    origin.always(|request| match request.nth_on_connection {
        1 => Reply::image(),
        _ => Reply::nothing().then(End::Drop),
    });
    let fetch = env.fetch(&origin).args(["--rate", "4", "--workers", "1", "--retries", "0", "--json"]);
    let out = fetch.run().expect(0);
    env.assert_done(&guids);
    assert_eq!((out.json()["requests"].as_u64(), origin.request_count()), (Some(12), 23));
    // What is asked again waits for no turn, which would be a quarter of a second away; a busy machine delays some.
    let requests = origin.requests();
    let again = requests.windows(2).filter(|two| two[0].nth_on_connection == 2).map(|two| two[1].at - two[0].at);
    let shortest = again.min().unwrap();
    assert!(shortest < Duration::from_millis(200), "{shortest:?}");
}
