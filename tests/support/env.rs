//! One temporary folder for each test, with a warehouse and a destination in it, and the questions that
//! tests ask about both. The folder goes when the test passes and stays when it fails.

use super::command::Cmd;
use super::origin::{Origin, PATIENCE};
use super::pictures;
use duckdb::Connection;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The binary that is tested: the one built with the tests, or the one that `TOLLER_TEST_BINARY` names, such as another
/// processor's on a machine that can run it.
pub fn binary() -> &'static Path {
    static NAMED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let named = NAMED.get_or_init(|| {
        let named = std::env::var_os("TOLLER_TEST_BINARY")?;
        Some(Path::new(&named).canonicalize().expect("TOLLER_TEST_BINARY is a file"))
    });
    named.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_toller")))
}

pub struct Env {
    folder: PathBuf,
    /// The test's own DuckDB, once it has asked something: to start one for every question costs more than the answers.
    duckdb: Mutex<Option<Connection>>,
}

impl Env {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("toller-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        Self { folder: folder.canonicalize().expect("it was just made"), duckdb: Mutex::new(None) }
    }

    /// An Env with a warehouse of these GUIDs in the usual table, all pending.
    pub fn with<S: AsRef<str>>(guids: &[S]) -> Self {
        let env = Self::new();
        env.warehouse_of(guids);
        env
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn warehouse(&self) -> PathBuf {
        self.path("warehouse.duckdb")
    }

    pub fn dest(&self) -> PathBuf {
        self.path("thumbs")
    }

    /// Where the thumbnail of a GUID belongs without `--fanout`.
    pub fn image(&self, guid: &str) -> PathBuf {
        self.dest().join(format!("{guid}.jpg"))
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let parent = path.parent().expect("a path below the folder");
        std::fs::create_dir_all(parent).expect("the folder can be written to");
        std::fs::write(&path, contents).expect("the folder can be written to");
        path
    }

    /// A program that is a script. Another process writes it: what this one has open to write while it starts others cannot
    /// be run.
    pub fn script(&self, name: &str, text: impl Into<Vec<u8>>) -> PathBuf {
        let path = self.write(name, "");
        std::fs::remove_file(&path).expect("it was just made");
        let write = self.program("sh").args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&path);
        write.stdin(text).run().expect(0);
        path
    }

    /// A copy of toller, which another process makes for the same reason.
    pub fn copy_of_toller(&self, path: &Path) {
        self.program("cp").arg(binary()).arg(path).run().expect(0);
    }

    /// Makes the usual table (when it is missing) and puts the GUIDs in as pending.
    pub fn warehouse_of<S: AsRef<str>>(&self, guids: &[S]) {
        let rows: Vec<String> = guids.iter().map(|guid| quoted(guid.as_ref())).collect();
        let mut sql = String::from(
            "CREATE TABLE IF NOT EXISTS dim_image \
             (source_image_id VARCHAR, thumb_downloaded BOOLEAN, updated_at TIMESTAMP);",
        );
        if !rows.is_empty() {
            sql += "INSERT INTO dim_image SELECT unnest([";
            sql += &rows.join(",");
            sql += "]), false, TIMESTAMP '2000-01-01';";
        }
        self.sql(&sql);
    }

    /// Runs statements in the warehouse. Opens and closes it, and waits while another process has it.
    pub fn sql(&self, sql: &str) {
        self.connected(|connection| connection.execute_batch(sql))
            .unwrap_or_else(|e| panic!("{e}\nin: {}", &sql[..sql.len().min(2000)]));
    }

    /// The rows of a query as text; NULL is `NULL`.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let as_text = format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({sql})");
        let rows = self.connected(|connection| {
            let mut statement = connection.prepare(&as_text)?;
            let mut rows = statement.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let width = row.as_ref().column_count();
                let cells = (0..width).map(|n| row.get::<_, Option<String>>(n));
                let cells = cells.map(|cell| Ok(cell?.unwrap_or_else(|| "NULL".into())));
                all.push(cells.collect::<duckdb::Result<Vec<String>>>()?);
            }
            Ok(all)
        });
        rows.unwrap_or_else(|e| panic!("{e}\nin: {sql}"))
    }

    /// The first cell of the first row.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        rows.first().and_then(|row| row.first()).unwrap_or_else(|| panic!("no rows: {sql}")).clone()
    }

    /// Opens the warehouse and keeps it, as another program would: toller finds it locked until this is
    /// dropped. (The lock is a lock between processes, so do not use `sql` or `query` meanwhile.)
    pub fn occupy(&self) -> Connection {
        unlocked(|| Connection::open(self.warehouse())).expect("the warehouse opens")
    }

    fn connected<T>(&self, work: impl Fn(&Connection) -> duckdb::Result<T>) -> duckdb::Result<T> {
        let mut duckdb = self.duckdb.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = duckdb.get_or_insert_with(|| Connection::open_in_memory().expect("DuckDB starts"));
        // A new file is made for the DuckDBs that most people have.
        let options = if self.warehouse().exists() { "" } else { " (STORAGE_VERSION 'v0.10.2')" };
        let path = quoted(&self.warehouse().display().to_string());
        let attach = format!("ATTACH {path} AS warehouse{options}");
        unlocked(|| connection.execute_batch(&attach))?;
        let result = connection.execute_batch("USE warehouse").and_then(|()| work(connection));
        if result.is_err() {
            // Nothing may be left of what it had begun, if it had begun anything.
            let _ = connection.execute_batch("ROLLBACK");
        }
        connection.execute_batch("USE memory.main; DETACH warehouse")?;
        result
    }

    /// `toller ARGS…`
    pub fn toller<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        Cmd::new(binary(), &self.folder).args(args)
    }

    /// `toller fetch` of this warehouse from that origin.
    pub fn fetch(&self, origin: &Origin) -> Cmd {
        self.fetch_url(&origin.template()).arg("--ca-cert").arg(origin.ca())
    }

    /// `toller fetch` of this warehouse, with this template and no `--ca-cert`.
    pub fn fetch_url(&self, template: &str) -> Cmd {
        let fetch = self.toller(["fetch"]).arg("--warehouse").arg(self.warehouse());
        fetch.args(["--url", template]).arg("--dest").arg(self.dest())
    }

    /// Any other program, in the same folder and the same empty environment.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Cmd {
        Cmd::new(program, &self.folder)
    }

    /// The `run_manifest` rows as `status`, oldest first.
    pub fn runs(&self) -> Vec<String> {
        let rows = self.query("SELECT status FROM run_manifest ORDER BY started_at");
        rows.into_iter().map(|row| row[0].clone()).collect()
    }

    /// What lies in the destination's `.toller/`: files, and folders even when they are empty.
    pub fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dest().join(".toller")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Every file below the destination but those of `.toller/`, relative and sorted.
    pub fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        walk(&self.dest(), &mut |path, _| {
            let name = path.strip_prefix(self.dest()).expect("walk stays below").display().to_string();
            if !name.starts_with(".toller/") {
                files.insert(name);
            }
        });
        files
    }

    /// Asserts the one thing that must hold after every run, killed or not: what the usual table calls done
    /// is exactly there, and what is there under a final name is whole and the image of its GUID.
    #[track_caller]
    pub fn assert_true(&self) {
        for name in self.files() {
            let guid = name.strip_suffix(".jpg").unwrap_or_else(|| panic!("a stray file: {name}"));
            self.assert_whole(guid);
        }
        for row in self.query("SELECT source_image_id FROM dim_image WHERE thumb_downloaded") {
            self.assert_whole(&row[0]);
        }
    }

    /// Asserts that these GUIDs and no others are done, and that their files and no others are there.
    #[track_caller]
    pub fn assert_done<S: AsRef<str>>(&self, guids: &[S]) {
        self.assert_true();
        let wanted: BTreeSet<String> = guids.iter().map(|guid| guid.as_ref().to_owned()).collect();
        let done = self.query("SELECT source_image_id FROM dim_image WHERE thumb_downloaded");
        let done: BTreeSet<String> = done.into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(done, wanted, "the rows that are done");
        let files: BTreeSet<String> = wanted.iter().map(|guid| format!("{guid}.jpg")).collect();
        assert_eq!(self.files(), files, "the files in the destination");
    }

    /// Asserts that a GUID's file has the bytes the origin serves for it, large or small.
    #[track_caller]
    pub fn assert_whole(&self, guid: &str) {
        let path = self.image(guid);
        let found = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let whole = found == pictures::image_for(guid) || found == pictures::small_image_for(guid);
        assert!(whole, "{} has {} bytes that are not its image", path.display(), found.len());
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the files of this test are kept in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Opens what another process may have for a while.
fn unlocked<T>(open: impl Fn() -> duckdb::Result<T>) -> duckdb::Result<T> {
    let start = Instant::now();
    loop {
        match open() {
            Err(e) if e.to_string().contains("Could not set lock") && start.elapsed() < PATIENCE => wait_a_little(),
            opened => return opened,
        }
    }
}

/// DuckDB cannot wait for a lock, and another process cannot be waited for, so some things must be asked
/// again. Nobody unparks this thread: it is a pause, and the only one in the tests.
pub fn wait_a_little() {
    std::thread::park_timeout(Duration::from_millis(5));
}

/// Asks again and again until the answer is there.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Some(answer) => return answer,
            None if start.elapsed() < PATIENCE => wait_a_little(),
            None => panic!("waited {PATIENCE:?} for {what}"),
        }
    }
}

pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A folder's contents, a line each, for the report of a failed test.
pub fn tree(folder: &Path) -> String {
    let mut lines = Vec::new();
    walk(folder, &mut |path, size| {
        let name = path.strip_prefix(folder).unwrap_or(path);
        lines.push(format!("{size:>9}  {}\n", name.display()));
    });
    lines.sort_by(|a, b| a[9..].cmp(&b[9..]));
    let more = lines.len().saturating_sub(100);
    let shown: String = lines.into_iter().take(100).collect();
    if more > 0 { format!("{shown}and {more} more\n") } else { shown }
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path, u64)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(about) if about.is_dir() => walk(&entry.path(), found),
            Ok(about) => found(&entry.path(), about.len()),
            Err(_) => {}
        }
    }
}

/// Says that a test could not be made here. Past `eprintln`, which the test runner swallows when a test passes. Where
/// everything is to be tested, `TOLLER_TEST_ALL=1`, that is a failure.
#[track_caller]
pub fn skipped(why: &str) {
    let all = std::env::var_os("TOLLER_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "not tested: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The Python there is, or the one that `TOLLER_TEST_PYTHON` names: itself, and not what looks for one each time it is started.
pub fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = std::env::var("TOLLER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let itself = Command::new(named).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
        let itself = String::from_utf8(itself.stdout).ok()?.trim().to_owned();
        (!itself.is_empty()).then_some(itself)
    });
    found.as_deref()
}

/// A DuckDB as others have it.
#[derive(Debug)]
pub struct OldDuckDb {
    pub python: &'static str,
    /// The folder of its package, for `PYTHONPATH`.
    pub path: String,
    pub version: String,
}

impl OldDuckDb {
    /// Its Python with this script.
    pub fn python(&self, env: &Env, script: &str) -> Cmd {
        env.program(self.python).env("PYTHONPATH", &self.path).args(["-c", script])
    }
}

/// The DuckDBs in the folders that `$TOLLER_TEST_DUCKDBS` lists, separated by colons, each made by
/// `pip install --target FOLDER duckdb==VERSION`. Without one the test that asks says so and passes.
pub fn duckdbs() -> &'static [OldDuckDb] {
    static FOUND: OnceLock<Vec<OldDuckDb>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let folders = std::env::var("TOLLER_TEST_DUCKDBS").unwrap_or_default();
        let each = folders.split(':').filter(|folder| !folder.is_empty()).map(|folder| {
            let version = ["-c", "import duckdb; print(duckdb.__version__)"];
            let python = python().expect("Python starts");
            let out = Command::new(python).args(version).env("PYTHONPATH", folder).output().expect("Python starts");
            assert!(out.status.success(), "{folder}: {}", String::from_utf8_lossy(&out.stderr));
            let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            OldDuckDb { python, path: folder.into(), version }
        });
        each.collect()
    });
    if found.is_empty() {
        skipped("no older DuckDBs; TOLLER_TEST_DUCKDBS may name some");
    }
    found
}
