//! A forward proxy as tinyproxy and Squid are by default: CONNECT for what is encrypted, whole URLs for plain http, and
//! no CONNECT for that; open, behind a password, or refusing. It takes every
//! name for this machine, so that a test can ask for hosts that only the proxy can reach.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

#[derive(Default)]
struct Log {
    stopped: bool,
    targets: Vec<String>,
    relayed: Vec<String>,
    refused: usize,
    open: Vec<TcpStream>,
}

enum Rule {
    Open,
    /// The value that `Proxy-Authorization` must have.
    Password(String),
    Refuse,
}

pub struct Proxy {
    port: u16,
    log: Arc<Mutex<Log>>,
}

impl Proxy {
    pub fn start() -> Self {
        Self::with_rule(Rule::Open)
    }

    /// Lets in only who sends these, Basic; 407 for all others. `base64` is that of `user:password`.
    pub fn with_password(base64: &str) -> Self {
        Self::with_rule(Rule::Password(format!("Basic {base64}")))
    }

    /// Answers 403 to every CONNECT.
    pub fn refusing() -> Self {
        Self::with_rule(Rule::Refuse)
    }

    fn with_rule(rule: Rule) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = (Arc::clone(&log), Arc::new(rule));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (log, rule) = shared.clone();
                if lock(&log).stopped {
                    break;
                }
                thread::spawn(move || client.and_then(|client| tunnel(client, &rule, &log)));
            }
        });
        Self { port, log }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `http://user:password@127.0.0.1:PORT`
    pub fn url_with(&self, user_and_password: &str) -> String {
        format!("http://{user_and_password}@127.0.0.1:{}", self.port)
    }

    /// `host:port` of every tunnel that was opened.
    pub fn targets(&self) -> Vec<String> {
        lock(&self.log).targets.clone()
    }

    pub fn tunnels(&self) -> usize {
        lock(&self.log).targets.len()
    }

    /// The whole URL of every plain request that was passed on.
    pub fn relayed(&self) -> Vec<String> {
        lock(&self.log).relayed.clone()
    }

    pub fn refused(&self) -> usize {
        lock(&self.log).refused
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut log = lock(&self.log);
        log.stopped = true;
        for stream in &log.open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(log);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tunnel(mut client: TcpStream, rule: &Rule, log: &Mutex<Log>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let head = read_head(&mut client)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let authorization = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(n, v)| n.eq_ignore_ascii_case("Proxy-Authorization").then(|| v.trim().to_owned()));
    let refusal = match rule {
        Rule::Refuse => Some("403 Forbidden"),
        Rule::Password(wanted) if authorization.as_ref() != Some(wanted) => {
            Some("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"toller\"")
        }
        _ => None,
    };
    if let Some(status) = refusal {
        lock(log).refused += 1;
        return write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
    if method != "CONNECT" {
        return relay(client, &head, target, log);
    }
    let port = target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let mut origin = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    origin.set_nodelay(true)?;
    {
        let mut log = lock(log);
        log.targets.push(target.to_owned());
        log.open.push(client.try_clone()?);
        log.open.push(origin.try_clone()?);
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, origin.try_clone()?);
    let up = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut origin, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = origin.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}

/// Passes on the requests of one connection, one after another, and what is answered.
fn relay(client: TcpStream, first: &str, target: &str, log: &Mutex<Log>) -> io::Result<()> {
    let (site, _) = site_and_path(target)?;
    let port = site.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80);
    let origin = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    origin.set_nodelay(true)?;
    lock(log).open.extend([client.try_clone()?, origin.try_clone()?]);
    let (mut from, mut to) = (origin.try_clone()?, client.try_clone()?);
    let down = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut client, mut origin) = (client, origin);
    let mut head = first.to_owned();
    loop {
        let url = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (_, path) = site_and_path(&url)?;
        let own: Vec<_> = head.split("\r\n").filter(|line| !line.to_lowercase().starts_with("proxy-")).collect();
        origin.write_all(own.join("\r\n").replacen(&url, &path, 1).as_bytes())?;
        lock(log).relayed.push(url);
        match read_head(&mut client) {
            Ok(next) => head = next,
            Err(_) => break,
        }
    }
    let _ = origin.shutdown(Shutdown::Both);
    let _ = down.join();
    Ok(())
}

fn site_and_path(url: &str) -> io::Result<(String, String)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("not a whole URL"))?;
    let slash = rest.find('/').unwrap_or(rest.len());
    Ok((rest[..slash].to_owned(), rest[slash..].to_owned()))
}

/// Byte by byte, since what follows the empty line belongs to the tunnel.
fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
