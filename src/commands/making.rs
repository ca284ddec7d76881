//! A warehouse that is being made: in a folder beside its place, until it is whole and durable.
//!
//! The folder has its name from the warehouse and a lock in it, so two that make the same one take turns, and what a
//! killed one left behind is swept by the next. The file in it has its final name already, because DuckDB calls a
//! catalogue by it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags};

use crate::error::{Error, ExitCode, Result};

/// What its lock is called.
const LOCK: &str = "lock";
/// How long to wait before looking again whether the other one is ready.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// A file on its way to its place.
#[derive(Debug)]
pub(super) struct Making {
    place: PathBuf,
    folder: PathBuf,
    file: PathBuf,
    _lock: File,
}

impl Making {
    /// Begins to make a file; `None` where it is there, or another process has made it meanwhile.
    ///
    /// # Errors
    /// Its folder cannot be written to; another process makes it for longer than `patience` (exit code 75).
    pub(super) fn begin(place: &Path, patience: Duration) -> Result<Option<Self>> {
        let fault = |cause: io::Error| Error::new("make warehouse", place.display(), cause);
        let Some(name) = place.file_name() else { return Ok(None) };
        let mut own = std::ffi::OsString::from(".");
        own.push(name);
        own.push(".toller");
        let folder = place.with_file_name(own);
        let started = Instant::now();
        loop {
            if place.exists() {
                return Ok(None);
            }
            if place.is_symlink() {
                return Err(fault(io::Error::other("it is a link to a file that is not there")));
            }
            if let Some(lock) = take(&folder).map_err(fault)? {
                let making = Self { place: place.to_owned(), file: folder.join(name), folder, _lock: lock };
                // Asked again, now that nobody else can make it.
                if place.exists() {
                    return Ok(None);
                }
                making.must_have_no_log()?;
                making.sweep();
                return Ok(Some(making));
            }
            if started.elapsed() >= patience {
                let busy = Error::new("make warehouse", place.display(), "another process is making it");
                return Err(busy.with_code(ExitCode::Busy).with_way_out("run again when it has ended"));
            }
            std::thread::sleep(TRY_AGAIN);
        }
    }

    /// Where it is made.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// The disk cannot keep it, or there is a file of that name now (exit code 75).
    pub(super) fn publish(self) -> Result<()> {
        let fault = |cause: io::Error| Error::new("make warehouse", self.place.display(), cause);
        File::open(&self.file).and_then(|file| file.sync_all()).map_err(fault)?;
        self.rename().map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => fault(io::Error::other("another program has made it meanwhile"))
                .with_code(ExitCode::Busy)
                .with_way_out("run again, and this list is added to it"),
            _ => fault(cause),
        })?;
        let parent = self.place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(fault)
    }

    fn rename(&self) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.file, CWD, &self.place, RenameFlags::NOREPLACE) {
            // Network file systems know no such rename, but a second name only where there is none.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                match fs::hard_link(&self.file, &self.place) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                    Ok(()) => Ok(()),
                    // Nor does FAT know second names; the lock is what keeps two apart there.
                    Err(_) => fs::rename(&self.file, &self.place),
                }
            }
            other => other.map_err(io::Error::from),
        }
    }

    /// A log of another database lies where this one's would be, and DuckDB would play it into what is made here.
    fn must_have_no_log(&self) -> Result<()> {
        let log = beside(&self.place, ".wal");
        match fs::symlink_metadata(&log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(Error::new(
                "make warehouse",
                self.place.display(),
                format!("{} is the log of another one", log.display()),
            )
            .with_way_out("move that log away, or give this warehouse another name")),
        }
    }

    /// Removes what a killed one has left, by the names that DuckDB gives; whatever else lies there is somebody's.
    fn sweep(&self) {
        // Best effort: what cannot be removed is in the way of making the file, and said then.
        for suffix in ["", ".wal"] {
            let _ = fs::remove_file(beside(&self.file, suffix));
        }
        let _ = fs::remove_dir_all(beside(&self.file, ".tmp"));
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Best effort: what stays behind is swept by the next one.
        self.sweep();
        let _ = fs::remove_file(self.folder.join(LOCK));
        let _ = fs::remove_dir(&self.folder);
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the folder and takes its lock; `None` while another process has it.
fn take(folder: &Path) -> io::Result<Option<File>> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        // Not a link of somebody else's, which would lead the sweep astray.
        _ if !fs::symlink_metadata(folder)?.is_dir() => {
            return Err(io::Error::other(format!("{} is in the way", folder.display())));
        }
        _ => {}
    }
    let path = folder.join(LOCK);
    let lock = match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
        // The one who had the folder has just removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // Without locks on this file system, the rename at the end is what keeps two apart.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // A lock on a file that is gone keeps nobody out.
    let same = fs::metadata(&path).is_ok_and(|found| lock.metadata().is_ok_and(|own| own.ino() == found.ino()));
    Ok(same.then_some(lock))
}
