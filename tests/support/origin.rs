//! One HTTPS origin on real sockets, which serves good thumbnails until a test scripts it to do worse. It
//! logs every request with its connection, and has a gate that holds responses back, so that tests can wait
//! for what they need instead of sleeping. It knows nothing of toller.

use super::certs::{self, Tls};
use super::reply::{End, Rendered, Reply};
use super::request::{self, Request};
use super::wire::{Channel, Wire};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No wait in a test is longer than this; a test that runs into it fails with words.
pub const PATIENCE: Duration = Duration::from_mins(1);

type Answer = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    stopped: bool,
    connections: usize,
    handshakes: usize,
    requests: Vec<Request>,
    requests_of_path: HashMap<String, usize>,
    responses: usize,
    /// How many responses the gate lets through in all.
    allowed: usize,
    scripts: HashMap<String, Vec<Reply>>,
    always: Option<Answer>,
    open: Vec<Weak<TcpStream>>,
}

struct Shared {
    tls: Tls,
    small: bool,
    config: Option<Arc<rustls::ServerConfig>>,
    own_pem: String,
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Origin {
    shared: Arc<Shared>,
    port: u16,
    folder: PathBuf,
    listening: Option<JoinHandle<()>>,
}

pub struct Builder {
    tls: Tls,
    small: bool,
    port: u16,
}

impl Builder {
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    pub fn plain_http(self) -> Self {
        self.tls(Tls::Off)
    }

    /// Serves `small_image_for` in place of `image_for`.
    pub fn small(mut self) -> Self {
        self.small = true;
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub fn start(self) -> Origin {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let listener = listener(self.port);
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (config, own_pem) = certs::server_config(self.tls).unzip();
        let shared = Arc::new(Shared {
            tls: self.tls,
            small: self.small,
            config,
            own_pem: own_pem.unwrap_or_default(),
            state: Mutex::new(State { allowed: usize::MAX, ..State::default() }),
            changed: Condvar::new(),
        });
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("toller-origin-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let listening = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.listen(&listener)
        });
        Origin { shared, port, folder, listening: Some(listening) }
    }
}

/// Listens at a port, 0 for any. A process that another test starts may still hold what listened there before, until it has
/// become another program.
pub fn listener(port: u16) -> TcpListener {
    let start = Instant::now();
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(_) if start.elapsed() < PATIENCE => thread::park_timeout(Duration::from_millis(5)),
            bound => return bound.expect("a free port"),
        }
    }
}

/// A free port that stays free until somebody asks for it: below those that the system gives to connections.
pub fn steady_port() -> u16 {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let from = std::process::id() as usize * 64;
    loop {
        let port = 20_000 + (from + COUNT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = u16::try_from(port).expect("it is below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Origin {
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn builder() -> Builder {
        Builder { tls: Tls::Good, small: false, port: 0 }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        let scheme = if self.shared.tls == Tls::Off { "http" } else { "https" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// What `--url` wants.
    pub fn template(&self) -> String {
        format!("{}/thumbs/{{guid}}.jpg", self.url())
    }

    /// The PEM file of the authority, for `--ca-cert`.
    pub fn ca(&self) -> PathBuf {
        let file = self.folder.join("ca.pem");
        if !file.exists() {
            std::fs::create_dir_all(&self.folder).expect("the temporary folder can be written to");
            std::fs::write(&file, certs::ca_pem()).expect("and so can a file in it");
        }
        file
    }

    /// The PEM text of the origin's own certificate.
    pub fn own_pem(&self) -> &str {
        &self.shared.own_pem
    }

    /// Scripts one GUID (as `/thumbs/GUID.jpg`) or one path, which begins with `/`: the replies are used in
    /// turn, the last one for ever. It goes before `always`. What nobody scripted is a good image at every
    /// path that ends in `.jpg`, and a 404 elsewhere.
    pub fn on(&self, guid_or_path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies: Vec<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a script needs a reply");
        self.shared.lock().scripts.insert(guid_or_path.to_owned(), replies);
    }

    /// Answers every request that no script is for.
    pub fn always(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.shared.lock().always = Some(Arc::new(answer));
    }

    /// Holds back every response from now on. Requests are still read and logged.
    pub fn hold(&self) {
        let mut state = self.shared.lock();
        state.allowed = state.responses;
    }

    /// Lets `n` more responses through.
    pub fn allow(&self, n: usize) {
        let mut state = self.shared.lock();
        state.allowed = state.allowed.saturating_add(n);
        self.shared.changed.notify_all();
    }

    pub fn release(&self) {
        self.allow(usize::MAX);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    pub fn request_count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// TLS handshakes that came to a good end.
    pub fn handshakes(&self) -> usize {
        self.shared.lock().handshakes
    }

    pub fn wait_for_requests(&self, n: usize) {
        self.wait_until(&format!("{n} requests"), |state| state.requests.len() >= n);
    }

    /// Waits until `n` responses were let through the gate.
    pub fn wait_for_responses(&self, n: usize) {
        self.wait_until(&format!("{n} responses"), |state| state.responses >= n);
    }

    pub fn wait_for_connections(&self, n: usize) {
        self.wait_until(&format!("{n} connections"), |state| state.connections >= n);
    }

    fn wait_until(&self, what: &str, done: impl Fn(&State) -> bool) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |s| !done(s));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let (connections, requests, responses) = (state.connections, state.requests.len(), state.responses);
        drop(state);
        assert!(
            !timeout.timed_out(),
            "the origin waited {PATIENCE:?} for {what}; it had {connections} connections, {requests} \
             requests, {responses} responses"
        );
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        // The listener sees the flag when a last connection wakes it; it joins the other threads.
        let woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(listening) = self.listening.take().filter(|_| woken) {
            let _ = listening.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        let mut threads = Vec::new();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let stream = Arc::new(stream);
            let number = {
                let mut state = self.lock();
                if state.stopped {
                    break;
                }
                state.connections += 1;
                state.open.retain(|open| open.strong_count() > 0);
                state.open.push(Arc::downgrade(&stream));
                state.connections
            };
            self.changed.notify_all();
            let _ = stream.set_nodelay(true);
            let shared = Arc::clone(self);
            threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
            threads.push(thread::spawn(move || {
                // An error here is a client that went away, which is its right.
                let _ = shared.serve(stream, number);
            }));
        }
        for open in self.lock().open.iter().filter_map(Weak::upgrade) {
            let _ = open.shutdown(Shutdown::Both);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn serve(&self, stream: Arc<TcpStream>, connection: usize) -> io::Result<()> {
        let wire = Wire::new(stream);
        let mut channel = match (&self.config, self.tls) {
            (Some(config), _) => Channel::handshake(wire, Arc::clone(config))?,
            (None, Tls::Off) => Channel::plain(wire),
            (None, broken) => return self.break_handshake(wire, broken),
        };
        if self.config.is_some() {
            self.lock().handshakes += 1;
            self.changed.notify_all();
        }
        let mut pending = Vec::new();
        for nth_on_connection in 1.. {
            let Some(head) = request::next_head(&mut channel, &mut pending)? else {
                break;
            };
            let (reply, guid) = self.log(&head, connection, nth_on_connection);
            self.pause(reply.delay);
            let rendered = reply.render(&guid, self.small);
            if !self.pass_gate() {
                break;
            }
            self.send(&mut channel, &rendered, reply.drip)?;
            match reply.end {
                End::KeepAlive => continue,
                End::Unasked(idle) => {
                    self.pause(idle);
                    self.send(&mut channel, &Reply::image().render("nobody's", self.small), None)?;
                    continue;
                }
                End::Close => channel.close(),
                End::Drop => channel.drop_rudely(),
                End::Reset => channel.reset(),
                End::CloseAfter(idle) => {
                    self.pause(idle);
                    channel.close();
                }
                End::Hang => self.pause(Duration::MAX),
            }
            return Ok(());
        }
        channel.close();
        Ok(())
    }

    fn send(&self, channel: &mut Channel, what: &Rendered, drip: Option<Duration>) -> io::Result<()> {
        let at_once = if drip.is_some() { what.drip_from } else { what.bytes.len() };
        channel.write_all(&what.bytes[..at_once])?;
        for byte in &what.bytes[at_once..] {
            self.pause(drip.unwrap_or_default());
            channel.write_all(&[*byte])?;
        }
        while let Some(filler) = &what.forever {
            channel.write_all(filler)?;
        }
        Ok(())
    }

    /// Writes the request into the log and finds the reply for it.
    fn log(&self, head: &str, connection: usize, nth_on_connection: usize) -> (Reply, String) {
        let mut request = Request::parse(head);
        request.connection = connection;
        request.nth_on_connection = nth_on_connection;
        let mut state = self.lock();
        request.nth = state.requests.len() + 1;
        let nth_of_path = state.requests_of_path.entry(request.path.clone()).or_default();
        *nth_of_path += 1;
        request.nth_of_path = *nth_of_path;
        state.requests.push(request.clone());
        let by_guid = request.path.starts_with("/thumbs/").then_some(&request.guid);
        let script = by_guid.and_then(|guid| state.scripts.get(guid));
        let script = state.scripts.get(&request.path).or(script);
        let scripted = script.map(|all| all[(request.nth_of_path - 1).min(all.len() - 1)].clone());
        let always = state.always.clone();
        drop(state);
        self.changed.notify_all();
        let reply = scripted.unwrap_or_else(|| match always {
            Some(answer) => answer(&request),
            None if request.is_for_an_image() => Reply::image(),
            None => Reply::status(404),
        });
        (reply, request.guid)
    }

    /// Waits at the gate. False: the origin is shutting down.
    fn pass_gate(&self) -> bool {
        let closed = |state: &mut State| !state.stopped && state.responses >= state.allowed;
        let passed = self.changed.wait_while(self.lock(), closed);
        let mut state = passed.unwrap_or_else(PoisonError::into_inner);
        state.responses += 1;
        self.changed.notify_all();
        !state.stopped
    }

    /// A delay that the end of the origin cuts short.
    fn pause(&self, time: Duration) {
        if !time.is_zero() {
            let _ = self.changed.wait_timeout_while(self.lock(), time, |state| !state.stopped);
        }
    }

    fn break_handshake(&self, mut wire: Wire, how: Tls) -> io::Result<()> {
        if how == Tls::Silent {
            self.pause(Duration::MAX);
            return Ok(());
        }
        let _ = wire.read(&mut [0; 16 * 1024])?;
        match how {
            Tls::TooOld => wire.write_all(&[0x15, 3, 1, 0, 2, 2, 70])?,
            Tls::Garbage => wire.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?,
            _ => {}
        }
        wire.finish();
        Ok(())
    }
}
