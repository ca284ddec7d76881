//! The store: thumbnails as files below one destination, each of them whole or not there.
//!
//! A file is written under a temporary name in `DEST/.toller/RUN_ID/` and renamed, so that no moment shows half of
//! it; a batch is made durable before anybody records it. The destination's lock keeps two fetches apart.
//! Only this file writes to disk. It does not know what an image is, and nothing of HTTP or DuckDB.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, ExitCode, Result};
use crate::guid::Guid;
use crate::machine::host;
use crate::outcome::{Failure, Kind};

/// toller's own folder in a destination.
pub const OWN_FOLDER: &str = ".toller";
/// Where `verify --fix` moves what is not whole.
pub const CORRUPT_FOLDER: &str = "corrupt";
const LOCK: &str = "lock";
/// What a folder is called until its lock is held, so that no sweep takes it for a dead run's.
const UNBORN: &str = ".new";
/// Up to so many files are made durable one by one; more, by flushing the file system once.
const ONE_BY_ONE: usize = 32;
/// How long a `pipe` waits for another one that sweeps at its start.
const SWEEP_TAKES: Duration = Duration::from_secs(3);

/// Where files go and what they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The destination.
    pub dest: PathBuf,
    /// Appended to the GUID, its dot included.
    pub extension: String,
    /// Levels of folders, two characters of the GUID each.
    pub fanout: u8,
}

impl Layout {
    /// The file of one image, below the destination.
    #[must_use]
    pub fn file(&self, guid: &Guid) -> String {
        let mut path = String::with_capacity(guid.as_str().len() + 32);
        guid.push_path(&mut path, &self.extension, self.fanout);
        path
    }

    /// The file of one image.
    #[must_use]
    pub fn path(&self, guid: &Guid) -> PathBuf {
        self.dest.join(self.file(guid))
    }

    /// The GUID that a file below the destination belongs to, if it is where that GUID's file would be.
    #[must_use]
    pub fn guid_of(&self, file: &Path) -> Option<Guid> {
        let name = file.file_name()?.to_str()?.strip_suffix(self.extension.as_str())?;
        let guid = Guid::new(name.into()).ok()?;
        (Path::new(&self.file(&guid)) == file).then_some(guid)
    }
}

/// Who else may use the destination meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Nobody: `fetch` and `verify --fix`.
    Alone,
    /// Others that share: `pipe`.
    WithOthers,
}

/// An open destination: its lock is held and this run's temporary folder exists.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    own: PathBuf,
    folder: File,
    sync: bool,
    /// There was no file in it when it was opened, so that none has to be looked for.
    empty: bool,
    /// What the user should know: the file system has no locks.
    warning: Option<String>,
    /// Held until the store is dropped.
    _locks: [Option<File>; 2],
}

impl Store {
    /// Opens a destination, made if missing, and sweeps what dead runs left in it.
    ///
    /// # Errors
    /// A folder that cannot be made or written; the lock is another process's (exit code 75).
    pub fn open(layout: Layout, run_id: &str, share: Share, sync: bool) -> Result<Self> {
        let base = layout.dest.join(OWN_FOLDER);
        let fault = |cause: io::Error| fault(&layout.dest, &cause);
        let made = !layout.dest.exists();
        fs::create_dir_all(&base).map_err(fault)?;
        let folder = File::open(&layout.dest).map_err(fault)?;
        if made && sync {
            // Files are no more durable than the folders above them, of which any may be new.
            rustix::fs::syncfs(&folder).map_err(|cause| fault(cause.into()))?;
        }
        let (lock, warning) = take_lock(&base.join(LOCK), share, &base)?;
        let empty = share == Share::Alone
            && fs::read_dir(&layout.dest).map_err(fault)?.flatten().all(|entry| entry.file_name() == OWN_FOLDER);
        let own = base.join(run_id);
        let own_lock = open_own_folder(&own).map_err(fault)?;
        Ok(Self { layout, own, folder, sync, empty, warning, _locks: [lock, own_lock] })
    }

    /// The names of its files.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Something the user should know about this destination.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Reads the file of one image that was there before this run into `body`. False when there is none that can be read.
    pub fn read(&self, guid: &Guid, body: &mut Vec<u8>) -> bool {
        !self.empty && read(&self.layout.path(guid), body).is_ok()
    }

    /// Makes a body visible under its final name, whole.
    ///
    /// # Errors
    /// A failure of kind `disk`, the path and the cause in its message.
    pub fn save(&self, worker: usize, guid: &Guid, body: &[u8]) -> std::result::Result<(), Failure> {
        // A worker saves one file at a time, so that its temporary name can always be the same.
        let temporary = self.own.join(format!("{worker}"));
        let file = self.layout.path(guid);
        let failure = |error: &io::Error| {
            // What could not be renamed is of no use; if it cannot be removed either, the next run sweeps it.
            let _ = fs::remove_file(&temporary);
            Failure::new(Kind::Disk, format!("{}: {error}", file.display()))
        };
        fs::write(&temporary, body).map_err(|error| failure(&error))?;
        let renamed = match fs::rename(&temporary, &file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.layout.fanout > 0 => {
                file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::rename(&temporary, &file))
            }
            other => other,
        };
        renamed.map_err(|error| {
            let failure = failure(&error);
            if is_of_one_name(&error) { failure.of_one() } else { failure }
        })
    }

    /// Makes the files of these images, and their names, durable.
    ///
    /// # Errors
    /// The disk says that it could not keep them.
    pub fn sync<'a>(&self, guids: impl ExactSizeIterator<Item = &'a Guid>) -> Result<()> {
        if !self.sync || guids.len() == 0 {
            return Ok(());
        }
        let fault = |cause: io::Error| fault(&self.layout.dest, &cause);
        if guids.len() > ONE_BY_ONE {
            return rustix::fs::syncfs(&self.folder).map_err(|cause| fault(cause.into()));
        }
        let mut folders = BTreeSet::from([self.layout.dest.clone()]);
        for guid in guids {
            let path = self.layout.path(guid);
            match File::open(&path).and_then(|file| file.sync_all()) {
                // Somebody took the file away again; then there is nothing to keep.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(fault)?,
            }
            // Every folder between the destination and the file may be new.
            folders.extend(path.ancestors().skip(1).take(usize::from(self.layout.fanout)).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| File::open(folder)?.sync_all()).map_err(fault)
    }

    /// Moves a file that is not whole to `.toller/corrupt/`, whatever lies there under its name.
    ///
    /// # Errors
    /// The move failed.
    pub fn set_aside(&self, guid: &Guid) -> Result<()> {
        let corrupt = self.layout.dest.join(OWN_FOLDER).join(CORRUPT_FOLDER);
        let file = self.layout.path(guid);
        let name = file.file_name().unwrap_or_default();
        fs::create_dir_all(&corrupt)
            .and_then(|()| fs::rename(&file, corrupt.join(name)))
            .map_err(|cause| Error::new("set aside", file.display(), cause))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Best effort: what stays behind is swept by the next run.
        let _ = fs::remove_dir_all(&self.own);
    }
}

/// Whether an error says something about one name and nothing about the disk.
fn is_of_one_name(error: &io::Error) -> bool {
    use rustix::io::Errno as E;
    let names = [E::ISDIR, E::NAMETOOLONG, E::INVAL, E::ILSEQ];
    E::from_io_error(error).is_some_and(|errno| names.contains(&errno))
}

fn fault(dest: &Path, cause: &io::Error) -> Error {
    Error::new("destination", dest.display(), cause)
}

/// Takes the destination's lock and, with nobody else there, sweeps; gives a warning where there are no locks.
fn take_lock(path: &Path, share: Share, base: &Path) -> Result<(Option<File>, Option<String>)> {
    let fault = |cause: &io::Error| Error::new("destination", path.display(), cause);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|e| fault(&e))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => {
                sweep(base, Share::Alone);
                let holder = format!("{} {}\n", std::process::id(), host());
                file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(|e| fault(&e))?;
                if share == Share::Alone {
                    return Ok((Some(file), None));
                }
                // Others may share from here on; between the two calls one of them may have come in to sweep.
                file.unlock().map_err(|e| fault(&e))?;
                if file.try_lock_shared().is_ok() {
                    return Ok((Some(file), None));
                }
            }
            Err(TryLockError::WouldBlock) if share == Share::WithOthers => match file.try_lock_shared() {
                Ok(()) => {
                    sweep(base, Share::WithOthers);
                    return Ok((Some(file), None));
                }
                Err(_) if started.elapsed() < SWEEP_TAKES => std::thread::sleep(Duration::from_millis(50)),
                Err(_) => return Err(busy(path)),
            },
            Err(TryLockError::WouldBlock) => return Err(busy(path)),
            Err(TryLockError::Error(error)) => {
                let warning =
                    format!("{}: no locks on this file system ({error}); run one toller at a time", path.display());
                return Ok((None, Some(warning)));
            }
        }
    }
}

fn busy(path: &Path) -> Error {
    let holder = fs::read_to_string(path).unwrap_or_default();
    let cause = match holder.split_whitespace().collect::<Vec<_>>()[..] {
        [pid, host] => format!("in use by process {pid} on {host}"),
        _ => "in use by another process".into(),
    };
    Error::new("destination", path.parent().and_then(Path::parent).unwrap_or(path).display(), cause)
        .with_code(ExitCode::Busy)
        .with_way_out("run again when it has ended")
}

/// Makes a run's folder with its lock held from the first moment it has its name.
fn open_own_folder(own: &Path) -> io::Result<Option<File>> {
    let mut unborn = own.as_os_str().to_owned();
    unborn.push(UNBORN);
    let unborn = PathBuf::from(unborn);
    fs::create_dir_all(&unborn)?;
    let lock = File::create(unborn.join(LOCK))?;
    let held = lock.try_lock().is_ok();
    fs::rename(&unborn, own)?;
    Ok(held.then_some(lock))
}

/// Removes the folders of dead runs: all of them when nobody shares, else those whose lock is free.
fn sweep(base: &Path, share: Share) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == LOCK || name == CORRUPT_FOLDER {
            continue;
        }
        let folder = entry.path();
        let dead = share == Share::Alone || File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if dead {
            // Best effort: a leftover takes room and nothing else.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Reads a whole file into `body`.
///
/// # Errors
/// It is not there, or cannot be read.
pub fn read(path: &Path, body: &mut Vec<u8>) -> io::Result<()> {
    body.clear();
    // A FIFO under that name must not keep anybody waiting for whoever writes into it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.read_to_end(body).map(drop)
}

/// Opens a list that grows a line at a time, for `--failed-list`; `-` is stdout.
///
/// # Errors
/// The file cannot be made.
pub fn create_list(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    match File::create(path) {
        Ok(file) => Ok(Box::new(BufWriter::new(file))),
        Err(error) => Err(Error::new("failed list", path.display(), error)),
    }
}

/// Gives `visit` every file below a destination but toller's own, as a path below it.
///
/// # Errors
/// A folder that cannot be read, or the first error of `visit`.
pub fn walk(dest: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    // Folders still to be read; files are never collected, so that a million of them take no memory.
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let folder = dest.join(&below);
        let fault = |cause: io::Error| Error::new("read folder", folder.display(), cause);
        for entry in fs::read_dir(&folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let path = below.join(entry.file_name());
            if path == Path::new(OWN_FOLDER) {
                continue;
            }
            if entry.file_type().map_err(fault)?.is_dir() {
                folders.push(path);
            } else {
                visit(&path)?;
            }
        }
    }
    Ok(())
}

/// How many temporary files dead runs have left in a destination.
#[must_use]
pub fn leftovers(dest: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dest.join(OWN_FOLDER)) else { return 0 };
    let files = |folder: PathBuf| -> u64 {
        let living = File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
        let Ok(files) = fs::read_dir(folder) else { return 0 };
        if living { 0 } else { files.flatten().filter(|file| file.file_name() != LOCK).count() as u64 }
    };
    entries.flatten().filter(|entry| entry.file_name() != CORRUPT_FOLDER).map(|entry| files(entry.path())).sum()
}

/// Removes what an unsuccessful `load` has begun.
pub fn discard_warehouse(file: &Path) {
    for suffix in ["", ".wal"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_file(path);
    }
}

/// Keeps a stream in a file without a name, which goes away with the handle.
///
/// # Errors
/// The stream cannot be read, or the folder for temporary files cannot take it.
pub fn spool(stream: &mut dyn Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("toller-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    io::copy(stream, &mut file)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}
