//! toller's own folder in a destination: its lock, and the temporary folders of runs.
//!
//! Others may be able to write there. So no symbolic link in it is ever followed, nothing is removed but what a run
//! makes under a run's name, and the holder's pid goes into no file but toller's own. Everything is reached from the
//! open folder, one name at a time, so that nobody can slip a link in between.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{self as sys, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, ExitCode, Result};
use crate::machine::host;

use super::{CORRUPT_FOLDER, OWN_FOLDER, Share};

pub(super) const LOCK: &str = "lock";
/// What a run's folder is called until its lock is held, so that no sweep takes it for a dead run's.
const UNBORN: &str = ".new";
/// What a probe is called, in the folder of a run.
pub(super) const PROBE: &str = "probe-";
/// How long a `pipe` waits for another one that sweeps at its start.
const SWEEP_TAKES: Duration = Duration::from_secs(3);
/// How long anybody waits for those who only look whether the lock is free, which takes them no time.
const LOOK_TAKES: Duration = Duration::from_millis(200);
/// A lock file that is longer is not toller's: a pid and the name of a host, or a block that a power cut has left empty.
const LONGEST_HOLDER: u64 = 4096;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `.toller`, open.
#[derive(Debug)]
pub(super) struct OwnFolder {
    folder: OwnedFd,
    path: PathBuf,
}

/// The temporary folder of a run, removed when it is dropped.
#[derive(Debug)]
pub(super) struct RunFolder {
    base: OwnedFd,
    name: String,
    folder: OwnedFd,
    /// While it is held no other run takes this one for dead.
    _lock: Option<File>,
}

impl OwnFolder {
    /// Opens the one of a destination, made if missing.
    pub(super) fn open(dest: &Path) -> Result<Self> {
        let path = dest.join(OWN_FOLDER);
        let opened = sys::openat(CWD, dest, FOLDER & !OFlags::NOFOLLOW, Mode::empty())
            .map_err(|cause| fault(dest, &cause.into()))?;
        let folder = make_folder(&opened, OWN_FOLDER).map_err(|cause| fault(&path, &cause))?;
        Ok(Self { folder, path })
    }

    /// The one of a destination, where it has one already.
    pub(super) fn find(dest: &Path) -> Option<Self> {
        let path = dest.join(OWN_FOLDER);
        let folder = sys::openat(CWD, &path, FOLDER, Mode::empty()).ok()?;
        Some(Self { folder, path })
    }

    /// Takes the destination's lock and, with nobody else there, sweeps; gives a warning where there are no locks.
    pub(super) fn lock(&self, share: Share) -> Result<(Option<File>, Option<String>)> {
        let path = self.path.join(LOCK);
        let fault = |cause: &io::Error| fault(&path, cause);
        let mut file = self.open_lock()?;
        let started = Instant::now();
        loop {
            let patience = match file.try_lock() {
                Ok(()) => {
                    self.sweep(Share::Alone);
                    let holder = format!("{} {}\n", std::process::id(), host());
                    file.set_len(0).and_then(|()| file.rewind()).map_err(|e| fault(&e))?;
                    file.write_all(holder.as_bytes()).map_err(|e| fault(&e))?;
                    if share == Share::Alone {
                        return Ok((Some(file), None));
                    }
                    // Others may share from here on; between the two calls one of them may have come in to sweep.
                    file.unlock().map_err(|e| fault(&e))?;
                    if file.try_lock_shared().is_ok() {
                        return Ok((Some(file), None));
                    }
                    SWEEP_TAKES
                }
                Err(TryLockError::WouldBlock) if share == Share::WithOthers => {
                    if file.try_lock_shared().is_ok() {
                        self.sweep(Share::WithOthers);
                        return Ok((Some(file), None));
                    }
                    SWEEP_TAKES
                }
                Err(TryLockError::WouldBlock) => LOOK_TAKES,
                Err(TryLockError::Error(error)) => {
                    let warning =
                        format!("{}: no locks on this file system ({error}); run one toller at a time", path.display());
                    return Ok((None, Some(warning)));
                }
            };
            if started.elapsed() > patience {
                return Err(self.busy(&mut file));
            }
            // At no fixed interval, so as not to keep step with somebody who looks at one.
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..15)));
        }
    }

    /// Says at once that the lock is another process's.
    pub(super) fn must_be_free(&self) -> Result<()> {
        // What is wrong with the lock itself is said by whoever takes it.
        let Ok(mut file) = self.open_lock() else { return Ok(()) };
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) { Err(self.busy(&mut file)) } else { Ok(()) }
    }

    /// A file that toller made: a regular one, with a holder in it or what is left of one.
    fn open_lock(&self) -> Result<File> {
        let path = self.path.join(LOCK);
        let fault = |cause: io::Error| fault(&path, &cause);
        let strange = |cause: &str| {
            fault(io::Error::other(cause)).with_way_out("move it away if no program needs it, or give another --dest")
        };
        // Without NONBLOCK a named pipe would keep us.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = sys::openat(&self.folder, LOCK, flags, Mode::from_raw_mode(0o666));
        let mut file = File::from(opened.map_err(|cause| fault(explain(&self.folder, LOCK, cause)))?);
        if !file.metadata().map_err(fault)?.is_file() {
            return Err(strange("it is no regular file"));
        }
        if holder(&mut file).map_err(fault)?.is_none() {
            return Err(strange("toller did not write it: its content is no process and host"));
        }
        Ok(file)
    }

    fn busy(&self, file: &mut File) -> Error {
        let cause = match holder(file).ok().flatten().as_deref().and_then(|holder| holder.split_once(' ')) {
            Some((pid, host)) => format!("in use by process {pid} on {host}"),
            None => "in use by another process".into(),
        };
        Error::new("destination", self.path.parent().unwrap_or(&self.path).display(), cause)
            .with_code(ExitCode::Busy)
            .with_way_out("run again when it has ended")
    }

    /// Makes a run's folder with its lock held from the first moment it has its name.
    pub(super) fn begin(&self, run_id: &str) -> Result<RunFolder> {
        let unborn = format!("{run_id}{UNBORN}");
        let begin = || -> io::Result<RunFolder> {
            sys::mkdirat(&self.folder, &unborn, Mode::from_raw_mode(0o777))?;
            let folder = sys::openat(&self.folder, &unborn, FOLDER, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let lock = File::from(sys::openat(&folder, LOCK, flags, Mode::from_raw_mode(0o666))?);
            // Nobody tries to lock what is not born, so that only a file system without locks can refuse this.
            let held = lock.try_lock().is_ok();
            sys::renameat(&self.folder, &unborn, &self.folder, run_id)?;
            let base = self.folder.try_clone()?;
            Ok(RunFolder { base, name: run_id.to_owned(), folder, _lock: held.then_some(lock) })
        };
        begin().map_err(|cause| fault(&self.path.join(run_id), &cause))
    }

    /// Removes what dead runs have left: all of it when nobody shares, else that of runs whose lock is free. What is
    /// not born yet belongs to somebody who shares, and is left alone unless there is nobody.
    fn sweep(&self, share: Share) {
        for name in self.runs(share == Share::Alone) {
            if share == Share::Alone || is_free(&self.folder, &name) {
                remove_run(&self.folder, &name);
            }
        }
    }

    /// How many temporary files dead runs have left.
    pub(super) fn leftovers(&self) -> u64 {
        let runs = self.runs(false).into_iter().filter(|name| !is_living(&self.folder, name));
        runs.flat_map(|name| names(&self.folder, &name)).filter(|file| is_made_by_runs(file) && file != LOCK).count()
            as u64
    }

    fn runs(&self, unborn: bool) -> Vec<String> {
        let mut found = names(&self.folder, ".");
        found.retain(|name| {
            let born = name.strip_suffix(UNBORN).filter(|_| unborn).unwrap_or(name);
            is_run_id(born)
        });
        found
    }

    /// Moves a file into the folder of what is not whole, whatever lies there under its name.
    pub(super) fn set_aside(&self, file: &Path) -> io::Result<()> {
        let corrupt = make_folder(&self.folder, CORRUPT_FOLDER)?;
        Ok(sys::renameat(CWD, file, corrupt, Path::new(file.file_name().unwrap_or_default()))?)
    }
}

impl RunFolder {
    /// Opens a new, empty file in it.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(sys::openat(&self.folder, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Whether a file of this name is in it, however it is spelt there.
    pub(super) fn holds(&self, name: &str) -> bool {
        sys::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Gives one of its files a final name.
    pub(super) fn publish(&self, name: &str, file: &Path) -> io::Result<()> {
        Ok(sys::renameat(&self.folder, name, CWD, file)?)
    }

    /// Removes one of its files; what cannot be removed the next run sweeps.
    pub(super) fn discard(&self, name: &str) {
        let _ = sys::unlinkat(&self.folder, name, AtFlags::empty());
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        remove_run(&self.base, &self.name);
    }
}

fn fault(path: &Path, cause: &io::Error) -> Error {
    Error::new("destination", path.display(), cause)
}

/// The system's own words for a link that it would not follow would puzzle people.
fn explain(folder: impl AsFd, name: &str, cause: Errno) -> io::Error {
    let about = sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    if about.is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::Symlink) {
        return io::Error::other("it is a symbolic link, which toller does not follow there; remove it");
    }
    cause.into()
}

/// Opens a real folder in another one, made if missing.
fn make_folder(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    match sys::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
        // Whatever else keeps it from being made, it may be there already.
        Err(cause) if sys::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_err() => return Err(cause.into()),
        _ => {}
    }
    sys::openat(&parent, name, FOLDER, Mode::empty()).map_err(|cause| explain(parent, name, cause))
}

/// What a lock file says: a pid and a host, or what a power cut has left of them, whose end may be missing or be NULs.
/// `None` when toller did not write it.
fn holder(file: &mut File) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LONGEST_HOLDER + 1).read_to_end(&mut bytes)?;
    Ok(said(&bytes).filter(|_| bytes.len() as u64 <= LONGEST_HOLDER))
}

fn said(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    let (line, is_whole) = text.strip_suffix('\n').map_or((text, false), |line| (line, true));
    let (pid, host) = line.split_once(' ').map_or((line, None), |(pid, host)| (pid, Some(host)));
    let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = host.map_or(!is_whole, |host| !host.contains(|c: char| c.is_whitespace() || c.is_control()));
    (text.is_empty() || (is_pid && is_host)).then(|| line.to_owned())
}

/// The form of a run's id: `20251124T080143-0123abcd`.
fn is_run_id(name: &str) -> bool {
    let form = b"ddddddddTdddddd-xxxxxxxx";
    name.len() == form.len()
        && name.bytes().zip(form).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            other => byte == *other,
        })
}

/// What a run makes in its folder: the lock, a file for each worker, and probes.
fn is_made_by_runs(file: &str) -> bool {
    file == LOCK || file.starts_with(PROBE) || file.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names in a real folder; none where it cannot be read.
fn names(base: &OwnedFd, name: &str) -> Vec<String> {
    let Ok(folder) = sys::openat(base, name, FOLDER, Mode::empty()) else { return Vec::new() };
    let Ok(entries) = Dir::read_from(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned())).collect()
}

fn lock_of(base: &OwnedFd, run: &str) -> Option<File> {
    let folder = sys::openat(base, run, FOLDER, Mode::empty()).ok()?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Some(sys::openat(folder, LOCK, flags, Mode::empty()).ok()?.into())
}

fn is_free(base: &OwnedFd, run: &str) -> bool {
    lock_of(base, run).is_some_and(|lock| lock.try_lock().is_ok())
}

fn is_living(base: &OwnedFd, run: &str) -> bool {
    lock_of(base, run).is_some_and(|lock| lock.try_lock().is_err())
}

/// Removes what a run has made, and its folder when that was all. Best effort: a leftover takes room and nothing else.
fn remove_run(base: &OwnedFd, run: &str) {
    let Ok(folder) = sys::openat(base, run, FOLDER, Mode::empty()) else { return };
    for file in names(base, run).into_iter().filter(|file| is_made_by_runs(file)) {
        let _ = sys::unlinkat(&folder, &file, AtFlags::empty());
    }
    let _ = sys::unlinkat(base, run, AtFlags::REMOVEDIR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_tollers_however_little_of_it_a_power_cut_has_left() {
        let whole = format!("{} {}\n", std::process::id(), host());
        assert_eq!(said(whole.as_bytes()).as_deref(), Some(whole.trim_end()));
        for left in 0..=whole.len() {
            for nuls in [0, 1, whole.len() - left, 4096 - left] {
                let bytes = [&whole.as_bytes()[..left], &vec![0; nuls]].concat();
                assert!(said(&bytes).is_some(), "{left} bytes and {nuls} NULs");
            }
        }
        for other in
            ["\n", " ", " h\n", "12\n", "12 h\n\n", "12 h\nx", "12 a b\n", "x", "1x h\n", "\0x", "12\0 h\n", "\u{fe}"]
        {
            assert_eq!(said(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_run_is_known_by_its_name() {
        assert!(is_run_id(&crate::manifest::new_run_id(std::time::SystemTime::now())));
        assert!(is_run_id("20251124T080143-0123abcd"));
        for other in
            ["", "corrupt", "lock", "20251124T080143-0123ABCD", "20251124T080143-0123abc", "20251124T080143-0123abcde"]
        {
            assert!(!is_run_id(other), "{other}");
        }
    }
}
