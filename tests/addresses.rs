//! A name with several addresses, of which some are silent: what the first one does must not decide what comes home.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, guids, steady_port};
use rustix::net::{AddressFamily, SocketType, bind, ipproto, listen, socket};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A root in which `localhost` has an IPv6 address before the IPv4 one, with the program in it; none where there can be
/// none.
fn root(env: &Env, origin: &Origin) -> Option<std::path::PathBuf> {
    let probe = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !probe || !env.program("chroot").args(["/", "true"]).try_run() {
        skipped("no root for a chroot, or no IPv6");
        return None;
    }
    let root = env.path("root");
    env.write("root/etc/hosts", "::1 localhost\n127.0.0.1 localhost\n");
    // Without it, libc takes the first line alone.
    env.write("root/etc/host.conf", "multi on\n");
    env.copy_of_toller(&root.join("toller"));
    std::fs::copy(origin.ca(), root.join("ca.pem")).unwrap();
    Some(root)
}

fn pipe(env: &Env, origin: &Origin, root: &std::path::Path) -> Cmd {
    let pipe = env.program("chroot").arg(root).args(["/toller", "pipe", "--url", &origin.template()]);
    pipe.args(["--dest", "/thumbs", "--ca-cert", "/ca.pem"])
}

/// A socket at this port of the IPv6 loopback whose queue holds one connection and then is silent.
fn listener(port: u16) -> TcpListener {
    let socket = socket(AddressFamily::INET6, SocketType::STREAM, Some(ipproto::TCP)).unwrap();
    bind(&socket, &SocketAddr::from((Ipv6Addr::LOCALHOST, port))).unwrap();
    listen(&socket, 0).unwrap();
    TcpListener::from(socket)
}

/// Fills the queue: whoever comes now gets no answer at all.
fn fill(port: u16) -> TcpStream {
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap()
}

#[test]
fn a_silent_first_address_costs_a_moment_and_not_the_images() {
    let guids = guids(60);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let Some(root) = root(&env, &origin) else { return };
    let silent = listener(origin.port());
    let _queued = fill(origin.port());
    let start = Instant::now();
    let out = pipe(&env, &origin, &root).args(["--retries", "0"]).stdin(guids.join("\n")).run().expect(0);
    assert_eq!(out.stdout.lines().filter(|line| line.contains("\"ok\":true")).count(), 60, "{}", out.report());
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!((origin.request_count(), origin.connections()), (60, 3));
    drop(silent);
}

#[test]
fn where_no_address_answers_the_failure_names_them() {
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let Some(root) = root(&env, &origin) else { return };
    let port = steady_port();
    let silent = listener(port);
    let _queued = fill(port);
    let pipe = env.program("chroot").arg(&root).args(["/toller", "pipe", "--dest", "/thumbs", "--retries", "0"]);
    let url = format!("https://localhost:{port}/{{guid}}.jpg");
    let out = pipe.args(["--connect-timeout", "1", "--url", &url]).stdin("a\n").run().expect(3);
    let line: serde_json::Value = serde_json::from_str(out.stdout.lines().next().unwrap()).unwrap();
    let message = line["message"].as_str().unwrap();
    assert_eq!(line["kind"], "timeout", "{message}");
    for words in [format!("[::1]:{port}: no answer"), format!("127.0.0.1:{port}: Connection refused")] {
        assert!(message.contains(&words), "{message}");
    }
    drop(silent);
}

#[test]
fn an_address_that_dies_in_mid_run_is_left_for_another() {
    let guids = guids(40);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    let Some(root) = root(&env, &origin) else { return };
    let port = origin.port();
    let first = listener(port);
    let args = ["--workers", "1", "--retries", "1", "--timeout", "3"];
    let mut toller = pipe(&env, &origin, &root).args(args).open_stdin().spawn();
    toller.say(&format!("{}\n", guids[..20].join("\n")));
    // The first address carries the beginning of the run to the origin …
    let (client, _) = first.accept().unwrap();
    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut up, mut down) = (
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server.try_clone().unwrap(), client.try_clone().unwrap()),
    );
    let carry = [
        std::thread::spawn(move || std::io::copy(&mut up.0, &mut up.1)),
        std::thread::spawn(move || std::io::copy(&mut down.0, &mut down.1)),
    ];
    origin.wait_for_responses(20);
    toller.wait_for_stdout(&guids[19]);
    // … and then answers nobody any more.
    let _queued = fill(port);
    for stream in [&client, &server] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    toller.say(&guids[20..].join("\n"));
    toller.hang_up();
    let out = toller.wait().expect(0);
    assert_eq!(out.stdout.lines().filter(|line| line.contains("\"ok\":true")).count(), 40, "{}", out.report());
    assert_eq!(origin.connections(), 2);
    for thread in carry {
        let _ = thread.join();
    }
}
