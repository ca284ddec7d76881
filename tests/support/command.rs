//! Runs the real binary and keeps what it said. When a test fails, it prints the command as one would type
//! it, both streams, the exit code and the files, so that nobody has to run it again to see what happened.

use super::origin::PATIENCE;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A command line that is not running yet.
#[must_use]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(String, String)>,
    folder: PathBuf,
    stdin: Vec<u8>,
    keep_stdin: bool,
}

impl Cmd {
    /// A toller with an environment in which nothing of the outer one is left but PATH.
    pub(super) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: vec![
                ("PATH".into(), std::env::var("PATH").unwrap_or_default()),
                ("TMPDIR".into(), folder.display().to_string()),
            ],
            folder: folder.to_owned(),
            stdin: Vec::new(),
            keep_stdin: false,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Leaves stdin open; `Running::say` writes to it and `Running::hang_up` closes it.
    pub fn open_stdin(mut self) -> Self {
        self.keep_stdin = true;
        self
    }

    /// The same command, started by another program: `strace …`, or a shell with `exec "$0" "$@"` in it.
    pub fn under<S: AsRef<OsStr>>(mut self, program: &str, args: impl IntoIterator<Item = S>) -> Self {
        let own = std::mem::replace(&mut self.program, program.into());
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args = args.chain([own]).chain(self.args).collect();
        self
    }

    /// The same command on a terminal of so many columns. Both its streams are stdout then, and what is said to it is typed.
    pub fn on_terminal(self, columns: u16) -> Self {
        let words = [&self.program].into_iter().chain(&self.args).map(|word| quoted(&word.to_string_lossy()));
        let line = words.collect::<Vec<_>>().join(" ");
        let line = format!("stty rows 20 cols {columns}; exec {line}");
        Self { program: "script".into(), args: vec!["-qefc".into(), line.into(), "/dev/null".into()], ..self }
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
    }

    pub fn run(self) -> Out {
        self.spawn().wait()
    }

    /// Whether the program is there and goes well: what a test asks that needs more than everybody has.
    pub fn try_run(self) -> bool {
        let probe = Command::new(&self.program).args(&self.args).current_dir(&self.folder).output();
        probe.is_ok_and(|out| out.status.success())
    }

    pub fn spawn(self) -> Running {
        let line = self.as_typed();
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.envs).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let text = self.stdin;
        let mut kept = None;
        if self.keep_stdin {
            let _ = stdin.write_all(&text);
            kept = Some(stdin);
        } else {
            // A thread of its own: a command that does not read must not hang the test. Nor is it an error
            // of the test when the command ends first.
            thread::spawn(move || stdin.write_all(&text));
        }
        let stdout = Stream::follow(child.stdout.take().expect("stdout is piped"));
        let stderr = Stream::follow(child.stderr.take().expect("stderr is piped"));
        let pid = child.id();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait()));
        Running { line, pid, ended, stdin: kept, stdout, stderr, folder: self.folder, over: false }
    }

    fn as_typed(&self) -> String {
        let given = self.envs.iter().skip(2).map(|(name, value)| format!("{name}={}", quoted(value)));
        let program = Path::new(&self.program).file_name().unwrap_or_default().to_string_lossy();
        let args = self.args.iter().map(|arg| quoted(&arg.to_string_lossy()));
        given.chain([program.into_owned()]).chain(args).collect::<Vec<_>>().join(" ")
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a stream has said so far, and a way to wait for more.
struct Stream {
    said: Arc<(Mutex<Said>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    fn follow(mut source: impl Read + Send + 'static) -> Self {
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let writer = Arc::clone(&said);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let n = source.read(&mut buffer).unwrap_or(0);
                let mut said = lock(&writer.0);
                said.bytes.extend_from_slice(&buffer[..n]);
                said.ended = n == 0;
                writer.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Self { said, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.said.0).bytes).into_owned()
    }

    fn wait_for(&self, found: impl Fn(&str) -> bool) -> bool {
        let missing = |s: &mut Said| !s.ended && !found(&String::from_utf8_lossy(&s.bytes));
        let waited = self.said.1.wait_timeout_while(lock(&self.said.0), PATIENCE, missing);
        let (said, _) = waited.unwrap_or_else(PoisonError::into_inner);
        found(&String::from_utf8_lossy(&said.bytes))
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that runs. It is killed when the test ends before it does.
#[must_use]
pub struct Running {
    line: String,
    pid: u32,
    ended: Receiver<std::io::Result<ExitStatus>>,
    stdin: Option<std::process::ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    folder: PathBuf,
    over: bool,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn wait(self) -> Out {
        self.wait_at_most(PATIENCE)
    }

    pub fn wait_at_most(mut self, limit: Duration) -> Out {
        self.stdin = None;
        let status = self.ended.recv_timeout(limit);
        self.over = status.is_ok();
        if !self.over {
            self.signal("KILL");
            let _ = self.ended.recv_timeout(PATIENCE);
            self.over = true;
        }
        self.stdout.finish();
        self.stderr.finish();
        let out = Out {
            line: self.line.clone(),
            code: status.as_ref().ok().and_then(|s| s.as_ref().ok()).and_then(ExitStatus::code),
            signal: status.as_ref().ok().and_then(|s| s.as_ref().ok()).and_then(ExitStatusExt::signal),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            folder: self.folder.clone(),
        };
        assert!(status.is_ok(), "still running after {limit:?}; killed.\n{}", out.report());
        out
    }

    /// Without an end to wait for: is it still running?
    pub fn is_running(&mut self) -> bool {
        match self.ended.try_recv() {
            Ok(status) => {
                // Put back what `wait` will want to see.
                let (sender, ended) = mpsc::channel();
                let _ = sender.send(status);
                self.ended = ended;
                false
            }
            Err(_) => true,
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill9(self) -> Out {
        self.signal("KILL");
        self.wait()
    }

    /// Sends a signal by its name without SIG. Through the program `kill`, since std has no call for it.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).output();
        assert!(sent.is_ok(), "cannot run kill: {sent:?}");
    }

    pub fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("open_stdin() was not called");
        stdin.write_all(text.as_bytes()).expect("the command reads its stdin");
    }

    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    pub fn wait_for_stdout(&self, what: &str) {
        let found = self.stdout.wait_for(|text| text.contains(what));
        assert!(found, "stdout never said {what:?}\n{}", self.report());
    }

    pub fn wait_for_stderr(&self, what: &str) {
        let found = self.stderr.wait_for(|text| text.contains(what));
        assert!(found, "stderr never said {what:?}\n{}", self.report());
    }

    pub fn wait_for_stderr_times(&self, what: &str, times: usize) {
        let found = self.stderr.wait_for(|text| text.matches(what).count() >= times);
        assert!(found, "stderr never said {what:?} {times} times\n{}", self.report());
    }

    fn report(&self) -> String {
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        format!("$ {}\n--- stdout\n{stdout}--- stderr\n{stderr}", self.line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.signal("KILL");
            let _ = self.ended.recv_timeout(PATIENCE);
        }
    }
}

/// What a command left behind.
pub struct Out {
    line: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    folder: PathBuf,
}

impl Out {
    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{}", self.report());
        self
    }

    #[track_caller]
    pub fn stderr_has(self, what: &str) -> Self {
        let found = self.stderr.contains(what);
        assert!(found, "expected {what:?} on stderr\n{}", self.report());
        self
    }

    #[track_caller]
    pub fn stdout_has(self, what: &str) -> Self {
        let found = self.stdout.contains(what);
        assert!(found, "expected {what:?} on stdout\n{}", self.report());
        self
    }

    /// Asserts that nothing looks like a crash and that the last error is one line of the house's form.
    #[track_caller]
    pub fn complains(self) -> Self {
        let polite = self.stderr.lines().any(|line| line.starts_with("toller: "));
        let crashed = self.stderr.contains("panicked") || self.stderr.contains("RUST_BACKTRACE");
        assert!(polite && !crashed, "expected a line `toller: …` on stderr\n{}", self.report());
        self
    }

    /// stdout as one JSON object.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|e| panic!("stdout is not one JSON value: {e}\n{}", self.report()))
    }

    /// All there is to know, for a message of one's own.
    pub fn report(&self) -> String {
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        let (line, stdout, stderr) = (&self.line, &self.stdout, &self.stderr);
        let tree = super::env::tree(&self.folder);
        format!("$ {line}\n{how}\n--- stdout\n{stdout}--- stderr\n{stderr}--- files\n{tree}")
    }
}
