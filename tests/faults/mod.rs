//! The fault matrix: every way in which an origin has been seen to go wrong, and what must come of it. Each row
//! is a run of the real program over four images, one after another on one worker, of which the second meets the
//! fault; the other three must never notice.

mod matrix;

use crate::support::{Env, Origin, Reply, guid, guids, image_for};
use matrix::Lasting::{Fine, Lasts, Passes};
use matrix::{Row, faulty, matrix};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// Rows that are tried at once: some of them only wait.
const ABREAST: usize = 6;

/// An origin with the addresses that the matrix redirects to.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.on("/hop/0", [Reply::bytes(200, "image/jpeg", image_for(&faulty()))]);
    let odd = "/hop/a%20b%7C%5B%5D%7B%7D%22%3C%3E%5E%60%C3%BC";
    origin.on(odd, [Reply::bytes(200, "image/jpeg", image_for(&faulty()))]);
    for n in 1..9 {
        origin.on(&format!("/hop/{n}"), [Reply::redirect(302, &format!("/hop/{}", n - 1))]);
    }
    origin.on("/loop", [Reply::redirect(301, "/loop/back")]);
    origin.on("/loop/back", [Reply::redirect(301, "/loop")]);
    origin.on("/slow", [Reply::image().after(Duration::from_secs(3))]);
    origin
}

/// A warehouse of four images, made once and copied for each row.
fn four() -> Env {
    static WAREHOUSE: OnceLock<Vec<u8>> = OnceLock::new();
    let env = Env::new();
    let warehouse = WAREHOUSE.get_or_init(|| std::fs::read(Env::with(&guids(4)).warehouse()).unwrap());
    env.write("warehouse.duckdb", warehouse);
    env
}

impl Row {
    fn check(&self) {
        let (env, origin) = (four(), origin());
        origin.on(&faulty(), [self.reply.clone()]);
        let fetch = env.fetch(&origin).args(["--workers", "1", "--retries", "0", "--max-bytes", "100k"]);
        let out = fetch.args(["--timeout", self.timeout, "--json"]).run().expect(self.code());
        assert!(!out.stderr.contains("panicked"), "{}", out.report());
        // All at once, since opening a warehouse is what takes the time here.
        let found = env.query(
            "SELECT status, connections, requests, (SELECT string_agg(source_image_id, ' ' ORDER BY rowid)
                FROM dim_image WHERE thumb_downloaded), source_image_id, kind, coalesce(http_status, 0), permanent,
                attempts, message <> '' FROM run_manifest LEFT JOIN thumb_failure ON true",
        );
        let [found] = &found[..] else { panic!("one run and one failure at the most: {found:?}") };

        let status = self.status.map_or_else(|| found[6].clone(), |status| status.to_string());
        let lasts = (self.lasting == Lasts).to_string();
        let failure = match self.lasting {
            Fine => ["NULL", "NULL", "0", "NULL", "NULL", "NULL"],
            Lasts | Passes => [&*faulty(), self.kind, &status, &lasts, "1", "true"],
        };
        assert_eq!(found[4..], failure, "id, kind, status, permanent, attempts, a message\n{}", out.report());

        let done: Vec<String> = guids(4).into_iter().filter(|guid| self.lasting == Fine || *guid != faulty()).collect();
        assert_eq!(found[3], done.join(" "), "what is done");
        assert_eq!(env.files(), done.iter().map(|guid| format!("{guid}.jpg")).collect());
        for guid in done {
            let file = std::fs::read(env.image(&guid)).unwrap();
            assert!(file.starts_with(&image_for(&guid)), "{guid}: {} bytes", file.len());
        }
        assert_eq!(env.leftovers(), ["lock"]);

        let (opened, most) = (origin.connections(), self.connections);
        assert!(opened <= most, "{opened} connections, {most} at the most");
        let status = if self.code() == 3 { "partial" } else { "complete" };
        assert_eq!(found[..2], [status.to_owned(), opened.to_string()], "what the run says of itself");
        // One that went into a connection which was being closed, and was sent again, is one.
        let (sent, came): (usize, _) = (found[2].parse().unwrap(), origin.request_count());
        assert!(sent.abs_diff(came) <= 1, "{sent} requests sent and {came} arrived");
    }
}

#[test]
fn every_fault_has_its_kind_and_its_code_and_leaves_no_file() {
    let rows = matrix();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| row.check())).is_err() {
                        eprintln!("that was the fault: {}\n", row.fault);
                        wrong.lock().unwrap().push(row.fault);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} faults are not met as the contract says: {wrong:#?}", wrong.len(), rows.len());
}

/// A run over one image for each row that `choose` takes, on three workers, with as many retries as given.
fn run_with_all(choose: impl Fn(&Row) -> bool, cure: bool, code: i32) -> (Env, Origin, Vec<(String, Row)>) {
    let rows = matrix().into_iter().filter(choose);
    let rows: Vec<(String, Row)> = rows.enumerate().map(|(n, row)| (guid(1000 + n as u64), row)).collect();
    let ids: Vec<&String> = rows.iter().map(|(guid, _)| guid).collect();
    let (env, origin) = (Env::with(&ids), origin());
    for (guid, row) in &rows {
        let script = [row.reply.clone(), Reply::image()];
        origin.on(guid, script.into_iter().take(if cure { 2 } else { 1 }));
    }
    let fetch = env.fetch(&origin).args(["--retries", "4", "--timeout", "1", "--max-bytes", "100k", "--workers", "8"]);
    fetch.run().expect(code);
    (env, origin, rows)
}

#[test]
fn whatever_may_pass_is_cured_by_asking_again() {
    let (env, _, rows) = run_with_all(|row| row.lasting == Passes, true, 0);
    assert!(rows.len() > 30);
    let ids: Vec<&String> = rows.iter().map(|(guid, _)| guid).collect();
    env.assert_done(&ids);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), "0");
}

#[test]
fn whatever_lasts_is_asked_for_once() {
    let (env, origin, rows) =
        run_with_all(|row| row.lasting == Lasts && row.kind != "redirect" && row.timeout != "1", false, 4);
    env.assert_done::<String>(&[]);
    for (guid, row) in &rows {
        let asked = origin.requests().iter().filter(|request| request.guid == *guid).count();
        assert_eq!(asked, 1, "{}", row.fault);
    }
    // And the next run has nothing to do.
    let before = origin.request_count();
    env.fetch(&origin).run().expect(0);
    assert_eq!(origin.request_count(), before);
}

#[test]
fn what_is_wrong_with_an_address_is_known_by_its_kind() {
    let origin = Origin::start();
    let nobody = {
        let gone = Origin::start();
        gone.port()
    };
    let env = Env::new();
    let good = format!("{}/good.jpg", origin.url());
    let refused = format!("https://localhost:{nobody}/x.jpg");
    let addresses = [
        ("good", good.as_str(), ""),
        ("a name that is not found", "https://no-such-host.invalid/x.jpg", "dns false"),
        ("a port where nobody is", &refused, "connect false"),
        ("an unspoken scheme", "ftp://localhost/x.jpg", "bad_url true"),
        ("no scheme", "//localhost/x.jpg", "bad_url true"),
        ("no host", "https:///x.jpg", "bad_url true"),
        ("a blank in its host", "https://local host/x.jpg", "bad_url true"),
        ("a line break in it", "https://localhost/a\r\nX-Injected: yes", "bad_url true"),
        ("nothing", "", "bad_url true"),
        ("../up", &good, "bad_guid true"),
        (".hidden", &good, "bad_guid true"),
        ("a\nb", &good, "bad_guid true"),
        ("", &good, "bad_guid true"),
    ];
    env.sql("CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, address VARCHAR)");
    for (id, address, _) in addresses {
        env.sql(&format!("INSERT INTO dim_image VALUES ('{id}', false, '{address}')"));
    }
    let fetch = env.toller(["fetch", "--url-column", "address", "--extension", "jpg", "--retries", "0", "--warehouse"]);
    let fetch = fetch.arg(env.warehouse()).arg("--dest").arg(env.dest()).arg("--ca-cert").arg(origin.ca());
    let out = fetch.run().expect(3);
    for (id, _, wanted) in addresses.iter().skip(1) {
        let found = env.query(&format!("SELECT kind, permanent FROM thumb_failure WHERE source_image_id = '{id}'"));
        assert_eq!(found.concat().join(" "), *wanted, "{id:?}\n{}", out.report());
    }
    assert_eq!(origin.request_count(), 1);
    env.assert_done(&["good"]);
}
