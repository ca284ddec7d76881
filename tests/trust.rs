//! Whom the program trusts and through whom it goes: certificates are always verified, a bad one is known by its
//! words, and proxies are those that curl users know.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Proxy, Reply, Tls, client_pem, guids, steady_port};
use std::thread;
use std::time::{Duration, Instant};

/// An authority that signed nothing here.
const SOMEBODY_ELSE: &str = "-----BEGIN CERTIFICATE-----
MIIBnjCCAUWgAwIBAgIUB9tALxEv83OzE33CPNoLDpPSx7YwCgYIKoZIzj0EAwIw
JDEiMCAGA1UEAwwZc29tZWJvZHkgZWxzZSdzIGF1dGhvcml0eTAgFw0yNjExMjMw
ODAyNDRaGA8yMTI2MTAzMDA4MDI0NFowJDEiMCAGA1UEAwwZc29tZWJvZHkgZWxz
ZSdzIGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLp2rnI9xfF6
A6AfonokieH1SP9/D2k0CpLKdpCInH2ixiTDl6ftI6TZVTOrz0EKg4n+CEU6THx+
a+HfQX4XoZqjUzBRMB0GA1UdDgQWBBTLqPa1OiZkaqqkkuMxPSZf8FnIkzAfBgNV
HSMEGDAWgBTLqPa1OiZkaqqkkuMxPSZf8FnIkzAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIAegtz/0hZbBKFnhs4Ef6rSbvFn7G4LyYG+OFVJeS68K
AiBDRqFYNIibzyhQGObKHTIdayh+D7zEzgeh+5SYFW5tUA==
-----END CERTIFICATE-----
";

#[test]
fn every_broken_handshake_is_told_in_words_and_five_of_them_end_the_run() {
    thread::scope(|scope| {
        for (tls, words) in [
            (Tls::Expired, "expired"),
            (Tls::NotYetValid, "not valid yet"),
            (Tls::SelfSigned, ""),
            (Tls::WrongHost, "not for localhost"),
            (Tls::UnknownCa, "issuer is not trusted"),
            (Tls::TooOld, "protocol version"),
            (Tls::Garbage, "does not speak TLS"),
            (Tls::SelfSignedAuthority, "an authority's own"),
            (Tls::Http2Only, "does not speak HTTP/1.1"),
            (Tls::ClientCert, "wants a client certificate; --cert"),
        ] {
            scope.spawn(move || {
                let (env, origin) = (Env::with(&guids(300)), Origin::builder().tls(tls).start());
                let out = env.fetch(&origin).run().expect(1).complains().stderr_has("TLS").stderr_has(words);
                assert!(out.stderr.contains("https://localhost"), "{}", out.report());
                assert_eq!(origin.request_count(), 0, "{tls:?}");
                // Five in a row, and what the workers did until they were told.
                assert!((5..50).contains(&origin.connections()), "{tls:?}: {}", origin.connections());
                let failed = env.query("SELECT DISTINCT kind, permanent FROM thumb_failure");
                assert!(failed.iter().all(|row| *row == ["tls", "false"]), "{tls:?}: {failed:?}");
                let told = env.value("SELECT error FROM run_manifest WHERE status = 'failed'");
                assert!(told.contains(words), "{tls:?}: {told}");
                assert!(env.files().is_empty());
            });
        }
    });
}

#[test]
fn tls_1_2_and_a_long_chain_of_certificates_are_understood() {
    for tls in [Tls::Tls12, Tls::LongChain] {
        let guids = guids(20);
        let (env, origin) = (Env::with(&guids), Origin::builder().tls(tls).start());
        env.fetch(&origin).run().expect(0);
        env.assert_done(&guids);
        assert_eq!((origin.request_count(), origin.connections()), (20, 3), "{tls:?}");
    }
}

#[test]
fn a_failed_handshake_is_recorded_with_its_cause() {
    for (tls, words) in [(Tls::Expired, "expired"), (Tls::WrongHost, "not for localhost"), (Tls::TooOld, "protocol")] {
        // Too few for the run to be ended for it.
        let (env, origin) = (Env::with(&guids(2)), Origin::builder().tls(tls).start());
        env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
        let failed = env.query("SELECT kind, permanent, http_status, message FROM thumb_failure");
        assert_eq!(failed.len(), 2);
        for row in failed {
            assert_eq!(row[..3], ["tls", "false", "NULL"]);
            assert!(row[3].contains(words), "{}", row[3]);
        }
        assert_eq!(env.runs(), ["partial"]);
    }
}

#[test]
fn a_handshake_that_is_hung_up_on_may_pass_and_a_silent_one_is_a_timeout() {
    let (env, origin) = (Env::with(&guids(2)), Origin::builder().tls(Tls::HangUp).start());
    env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    let failed = env.query("SELECT DISTINCT kind IN ('tls', 'connect'), permanent FROM thumb_failure");
    assert_eq!(failed, [["true", "false"]]);
    let (env, origin) = (Env::with(&guids(2)), Origin::builder().tls(Tls::Silent).start());
    let start = Instant::now();
    env.fetch(&origin).args(["--retries", "0", "--connect-timeout", "1"]).run().expect(3);
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["timeout", "false"]]);
}

#[test]
fn a_certificate_that_turns_bad_after_a_success_does_not_end_the_run() {
    let guids = guids(12);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let bad = Origin::builder().tls(Tls::Expired).start();
    // Most of them are redirected to a host whose certificate is bad.
    for guid in &guids[1..] {
        origin.on(guid, [Reply::redirect(302, &format!("{}/{guid}.jpg", bad.url()))]);
    }
    env.fetch(&origin).args(["--retries", "0", "--workers", "1"]).run().expect(3);
    env.assert_done(&guids[..1]);
    assert_eq!(env.query("SELECT kind, count(*) FROM thumb_failure GROUP BY kind"), [["tls", "11"]]);
}

#[test]
fn without_the_authority_nobody_is_trusted() {
    let (env, origin) = (Env::with(&guids(2)), Origin::start());
    env.fetch_url(&origin.template()).args(["--retries", "0"]).run().expect(3);
    assert_eq!((origin.handshakes(), origin.request_count()), (0, 0));
    assert_eq!(env.value("SELECT DISTINCT kind FROM thumb_failure"), "tls");
}

#[test]
fn the_environment_may_name_the_roots() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let ca = origin.ca().display().to_string();
    env.fetch_url(&origin.template()).env("SSL_CERT_FILE", &ca).run().expect(0);
    env.assert_done(&guids);
    // A folder as c_rehash makes it: any file of that form will do.
    env.sql("UPDATE dim_image SET thumb_downloaded = false");
    std::fs::remove_dir_all(env.dest()).unwrap();
    env.write("certs/12345678.0", std::fs::read(&ca).unwrap());
    let folder = env.path("certs").display().to_string();
    env.fetch_url(&origin.template()).env("SSL_CERT_DIR", &folder).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn roots_that_were_named_and_are_no_good_are_an_error_before_the_first_request() {
    let (env, origin) = (Env::with(&guids(3)), Origin::start());
    let pem = std::fs::read_to_string(origin.ca()).unwrap();
    let half = env.write("half.pem", &pem[..pem.len() / 2]);
    let empty = env.write("empty.pem", "");
    let noise = env.write("noise.pem", [0xff, 0, 0x80].repeat(500));
    let no_cert = env.write("no-cert.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let key = env.write("key.pem", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n");
    let folder = env.path("");
    for bad in [half, empty, noise, no_cert, key, folder, env.path("missing.pem")] {
        let name = bad.display().to_string();
        let ca_cert = env.fetch_url(&origin.template()).args(["--ca-cert", &name]);
        ca_cert.run().expect(1).complains().stderr_has(&name);
        let from_environment = env.fetch_url(&origin.template()).env("SSL_CERT_FILE", &name);
        from_environment.run().expect(1).complains().stderr_has(&name).stderr_has("SSL_CERT_FILE");
    }
    assert_eq!(origin.connections(), 0);
    assert!(!env.dest().exists());
}

#[test]
fn ca_cert_comes_on_top_of_the_other_roots() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let ca = origin.ca().display().to_string();
    // The authority is among the others, and --ca-cert is somebody else's.
    let other = env.write("other.pem", SOMEBODY_ELSE);
    env.fetch_url(&origin.template()).env("SSL_CERT_FILE", &ca).arg("--ca-cert").arg(other).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn a_networks_exemption_from_the_proxy_counts_for_addresses() {
    let (origin, proxy) = (Origin::builder().small().start(), Proxy::start());
    for (exempt, through) in [("127.0.0.0/8", false), ("10.0.0.0/8,127.0.0.1", false), ("10.0.0.0/8", true)] {
        let env = Env::with(&guids(1));
        let before = proxy.tunnels();
        let template = origin.template().replace("localhost", "127.0.0.1");
        let fetch = env.fetch_url(&template).arg("--ca-cert").arg(origin.ca());
        fetch.env("HTTPS_PROXY", &proxy.url()).env("NO_PROXY", exempt).run().expect(0);
        assert_eq!(proxy.tunnels() > before, through, "{exempt}");
    }
}

#[test]
fn a_servers_own_certificate_is_trusted_when_it_is_given_but_not_for_another_name() {
    for tls in [Tls::SelfSigned, Tls::SelfSignedAuthority] {
        let guids = guids(4);
        let (env, origin) = (Env::with(&guids), Origin::builder().small().tls(tls).start());
        let own = env.write("own.pem", origin.own_pem());
        env.fetch_url(&origin.template()).arg("--ca-cert").arg(&own).run().expect(0);
        env.assert_done(&guids);
        // The same certificate from a host that it does not name.
        let env = Env::with(&guids[..1]);
        let template = origin.template().replace("localhost", "127.0.0.2");
        env.fetch_url(&template).arg("--ca-cert").arg(&own).args(["--retries", "0"]).run().expect(3);
        let told = env.value("SELECT kind || ' ' || message FROM thumb_failure");
        assert!(told.starts_with("tls") || told.starts_with("connect"), "{told}");
    }
    // Named, but out of date or for another host: still refused.
    for (tls, words) in [(Tls::Expired, "expired"), (Tls::WrongHost, "not for localhost")] {
        let (env, origin) = (Env::with(&guids(1)), Origin::builder().tls(tls).start());
        let own = env.write("own.pem", origin.own_pem());
        env.fetch_url(&origin.template()).arg("--ca-cert").arg(&own).args(["--retries", "0"]).run().expect(3);
        let told = env.value("SELECT message FROM thumb_failure");
        assert!(told.contains(words), "{told}");
        assert_eq!(origin.request_count(), 0);
    }
}

#[test]
fn a_client_certificate_is_shown_to_an_origin_that_asks() {
    let guids = guids(4);
    let origin = Origin::builder().small().tls(Tls::ClientCert).start();
    let (cert, key) = client_pem();
    let env = Env::with(&guids);
    let (cert_file, key_file) = (env.write("cert.pem", &cert), env.write("key.pem", &key));
    let both = env.write("both.pem", format!("{key}{cert}"));
    env.fetch(&origin).arg("--cert").arg(&cert_file).arg("--key").arg(&key_file).run().expect(0);
    env.assert_done(&guids);
    let list = guids.join("\n");
    let pipe = env.toller(["pipe", "--url", &origin.template(), "--dest", "there"]).arg("--ca-cert").arg(origin.ca());
    let out = pipe.arg("--cert").arg(&both).stdin(list).run().expect(0);
    assert_eq!(out.stdout.lines().count(), 4);
    // What is wrong with them is one clear error, before anything is asked.
    let (_, other_key) = client_pem();
    let other_key = env.write("other.pem", other_key);
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let sealed = env.write("sealed.pem", sealed);
    let before = origin.connections();
    for (cert, key, words) in [
        (&cert_file, &other_key, "not the key of the certificate"),
        (&cert_file, &cert_file, "no key in it"),
        (&cert_file, &sealed, "passphrase"),
        (&key_file, &key_file, "no certificate in it"),
        (&cert_file, &env.path("missing"), "missing"),
    ] {
        let fetch = env.fetch(&origin).arg("--cert").arg(cert).arg("--key").arg(key);
        fetch.run().expect(1).complains().stderr_has(words);
    }
    env.fetch(&origin).arg("--key").arg(&key_file).run().expect(2).complains().stderr_has("--cert");
    assert_eq!(origin.connections(), before);
}

#[test]
fn an_empty_root_is_enough() {
    let guids = guids(5);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let root = env.path("root");
    if !env.program("chroot").args(["/", "true"]).try_run() {
        return skipped("no root for a chroot");
    }
    env.warehouse_of(&guids);
    std::fs::create_dir(&root).unwrap();
    std::fs::rename(env.warehouse(), root.join("warehouse.duckdb")).unwrap();
    env.copy_of_toller(&root.join("toller"));
    std::fs::copy(origin.ca(), root.join("ca.pem")).unwrap();
    let url = format!("https://127.0.0.1:{}/thumbs/{{guid}}.jpg", origin.port());
    let fetch = |args: &[&str]| {
        let fetch = env.program("chroot").arg(&root).args(["/toller", "fetch", "--warehouse", "/warehouse.duckdb"]);
        fetch.args(["--dest", "/thumbs", "--url", &url]).args(args)
    };
    // There, Mozilla's roots are all there is, and they do not know this origin.
    fetch(&["--retries", "0"]).run().expect(1).complains().stderr_has("issuer is not trusted");
    fetch(&["--ca-cert", "/ca.pem"]).run().expect(0);
    std::fs::rename(root.join("warehouse.duckdb"), env.warehouse()).unwrap();
    std::fs::rename(root.join("thumbs"), env.dest()).unwrap();
    env.assert_done(&guids);
}

#[test]
fn plain_http_goes_through_the_proxy_for_http() {
    let guids = guids(5);
    let (origin, proxy, other) = (Origin::builder().small().plain_http().start(), Proxy::start(), Proxy::start());
    let env = Env::with(&guids);
    let fetch = env.fetch_url(&origin.template()).env("HTTP_PROXY", &proxy.url()).env("HTTPS_PROXY", &other.url());
    fetch.run().expect(0);
    env.assert_done(&guids);
    assert_eq!((proxy.relayed().len(), proxy.tunnels(), other.tunnels()), (5, 0, 0));
}

#[test]
fn a_proxy_is_told_the_whole_url_of_plain_http_and_the_password_it_wants() {
    let guids = guids(6);
    // me:p@ss
    let (origin, proxy) = (Origin::builder().small().plain_http().start(), Proxy::with_password("bWU6cEBzcw=="));
    let env = Env::with(&guids);
    env.fetch_url(&origin.template()).args(["--proxy", &proxy.url_with("me:p%40ss")]).run().expect(0);
    env.assert_done(&guids);
    let mut relayed = proxy.relayed();
    relayed.sort();
    let mut wanted: Vec<_> = guids.iter().map(|guid| origin.template().replace("{guid}", guid)).collect();
    wanted.sort();
    assert_eq!(relayed, wanted);
    assert!(origin.connections() <= 3, "{}", origin.connections());
    assert!(origin.requests().iter().all(|request| request.header("Proxy-Authorization").is_none()));
    let env = Env::with(&guids[..2]);
    env.fetch_url(&origin.template()).args(["--retries", "0", "--proxy", &proxy.url()]).run().expect(3);
    let failed = env.query("SELECT DISTINCT kind, permanent, message LIKE 'proxy:%' FROM thumb_failure");
    assert_eq!(failed, [["connect", "false", "true"]]);
}

/// A fetch of five images from an origin, and whether it went through the proxy: in three tunnels, or in none.
#[track_caller]
fn assert_way(origin: &Origin, proxy: &Proxy, through: bool, with: impl FnOnce(Cmd) -> Cmd) {
    let guids = guids(5);
    let env = Env::with(&guids);
    let (tunnels, connections) = (proxy.tunnels(), origin.connections());
    with(env.fetch(origin)).run().expect(0);
    env.assert_done(&guids);
    let (tunnels, connections) = (proxy.tunnels() - tunnels, origin.connections() - connections);
    assert_eq!(tunnels, if through { connections } else { 0 }, "{tunnels} tunnels, {connections} connections");
    assert!((1..=3).contains(&connections), "{connections} connections");
}

#[test]
fn a_proxy_is_taken_from_the_flag_or_the_environment() {
    let (origin, proxy, other) = (Origin::builder().small().start(), Proxy::start(), Proxy::start());
    let (url, elsewhere) = (proxy.url(), other.url());
    assert_way(&origin, &proxy, true, |fetch| fetch.args(["--proxy", &url]));
    assert_way(&origin, &proxy, true, |fetch| fetch.env("TOLLER_PROXY", &url));
    assert_way(&origin, &proxy, true, |fetch| fetch.env("HTTPS_PROXY", &url));
    assert_way(&origin, &proxy, true, |fetch| fetch.env("https_proxy", &url));
    assert_way(&origin, &proxy, true, |fetch| fetch.env("ALL_PROXY", &url));
    assert_way(&origin, &proxy, true, |fetch| fetch.env("HTTPS_PROXY", &url).env("ALL_PROXY", &elsewhere));
    assert_way(&origin, &proxy, true, |fetch| fetch.args(["--proxy", &url]).env("HTTPS_PROXY", &elsewhere));
    assert_way(&origin, &proxy, false, |fetch| fetch.env("HTTP_PROXY", &url));
    assert_way(&origin, &proxy, false, |fetch| fetch.env("HTTPS_PROXY", ""));
    assert_eq!(other.tunnels(), 0);
    assert!(proxy.targets().iter().all(|target| *target == format!("localhost:{}", origin.port())));
}

#[test]
fn a_bad_proxy_in_the_environment_is_an_error_that_names_its_variable() {
    let (origin, port) = (Origin::start(), steady_port());
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        let env = Env::with(&guids(1));
        let fetch = env.fetch(&origin).env(name, "http://me:hidden@localhost:99999");
        let out = fetch.run().expect(1).complains().stderr_has(name).stderr_has("port");
        assert!(!out.stderr.contains("hidden"), "{}", out.report());
    }
    // What the option says counts in its place, and nothing is as good an answer as any.
    for proxy in [String::new(), format!("http://127.0.0.1:{port}")] {
        let code = if proxy.is_empty() { 0 } else { 3 };
        let env = Env::with(&guids(1));
        let fetch = env.fetch(&origin).env("HTTPS_PROXY", "http://localhost:99999");
        fetch
            .env("HTTP_PROXY", "http://localhost:99999")
            .args(["--retries", "0", "--proxy", &proxy])
            .run()
            .expect(code);
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn no_proxy_is_obeyed_in_every_case() {
    let (origin, proxy) = (Origin::builder().small().start(), Proxy::start());
    let (url, own) = (proxy.url(), format!("localhost:{}", origin.port()));
    for (exempt, through) in [
        ("localhost", false),
        ("example.com, localhost", false),
        ("LOCALHOST", false),
        ("*", false),
        (&own, false),
        ("localhost:1", true),
        ("example.com", true),
        ("local", true),
        ("host", true),
        ("", true),
    ] {
        assert_way(&origin, &proxy, through, |fetch| fetch.env("HTTPS_PROXY", &url).env("NO_PROXY", exempt));
    }
    assert_way(&origin, &proxy, false, |fetch| fetch.env("ALL_PROXY", &url).env("no_proxy", "localhost"));
    assert_way(&origin, &proxy, false, |fetch| fetch.args(["--proxy", &url]).env("NO_PROXY", "localhost"));
}

#[test]
fn a_domain_in_no_proxy_stands_for_its_hosts() {
    let (origin, proxy) = (Origin::start(), Proxy::start());
    // No such host is known here; whether the proxy is asked for it tells the way.
    let template = format!("https://a.images.invalid:{}/{{guid}}.jpg", origin.port());
    for (exempt, through) in [
        ("images.invalid", false),
        (".images.invalid", false),
        ("*.images.invalid", false),
        ("a.images.invalid", false),
        ("b.images.invalid", true),
        ("mages.invalid", true),
    ] {
        let env = Env::with(&guids(1));
        let before = proxy.tunnels();
        let fetch = env.fetch_url(&template).arg("--ca-cert").arg(origin.ca()).args(["--retries", "0"]);
        fetch.env("HTTPS_PROXY", &proxy.url()).env("NO_PROXY", exempt).run().expect(3);
        assert_eq!(proxy.tunnels() - before, usize::from(through), "{exempt}");
        let kind = if through { "tls" } else { "dns" };
        assert_eq!(env.value("SELECT kind FROM thumb_failure"), kind, "{exempt}");
    }
}

#[test]
fn a_proxy_may_want_a_password() {
    let origin = Origin::builder().small().start();
    // me:p@ss
    let proxy = Proxy::with_password("bWU6cEBzcw==");
    assert_way(&origin, &proxy, true, |fetch| fetch.args(["--proxy", &proxy.url_with("me:p%40ss")]));
    for wrong in [proxy.url(), proxy.url_with("me:hidden")] {
        let env = Env::with(&guids(2));
        let out = env.fetch(&origin).args(["--retries", "0", "--proxy", &wrong, "-v"]).run().expect(3);
        assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["connect", "false"]]);
        let told =
            env.query("FROM thumb_failure").concat().concat() + &env.query("FROM run_manifest").concat().concat();
        assert!(told.contains("proxy"), "{told}");
        assert!(!(told + &out.stdout + &out.stderr).contains("hidden"), "{}", out.report());
    }
    assert_eq!(proxy.refused(), 4);
}

#[test]
fn a_proxy_that_refuses_or_is_not_there_may_come_back() {
    let (origin, refusing) = (Origin::start(), Proxy::refusing());
    let gone = format!("http://127.0.0.1:{}", steady_port());
    for url in [refusing.url(), gone] {
        let env = Env::with(&guids(2));
        let start = Instant::now();
        env.fetch(&origin).args(["--retries", "0", "--proxy", &url]).run().expect(3);
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(env.query("SELECT DISTINCT kind, permanent FROM thumb_failure"), [["connect", "false"]]);
    }
    assert_eq!(origin.connections(), 0, "nobody goes around a proxy");
}

#[test]
fn a_certificate_is_verified_through_a_proxy_too() {
    let (origin, proxy) = (Origin::builder().tls(Tls::UnknownCa).start(), Proxy::start());
    let env = Env::with(&guids(9));
    env.fetch(&origin).args(["--proxy", &proxy.url()]).run().expect(1).complains().stderr_has("TLS");
    assert_eq!(origin.request_count(), 0);
}
