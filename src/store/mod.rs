//! The store: thumbnails as files below one destination, each of them whole or not there.
//!
//! A file is written under a temporary name in `DEST/.toller/RUN_ID/` and renamed, so that no moment shows half of
//! it; a batch is made durable before anybody records it. The destination's lock keeps two fetches apart.
//! Only this folder changes a destination. It does not know what an image is, and nothing of HTTP or DuckDB.

mod durable;
mod layout;
mod look;
mod names;
mod own;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::failure::{Failure, Kind};
use crate::guid::Guid;

pub use layout::Layout;
pub use look::{Look, length, read, walk};
use names::Names;
use own::{OwnFolder, RunFolder};

/// toller's own folder in a destination.
pub const OWN_FOLDER: &str = ".toller";
/// Where `verify --fix` moves what is not whole.
pub const CORRUPT_FOLDER: &str = "corrupt";
/// Up to so many files are made durable one by one; more, by flushing the file system once.
const ONE_BY_ONE: usize = 32;

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
    /// Goes before the lock does, so that no other run finds it without one.
    run: RunFolder,
    own: OwnFolder,
    folder: File,
    /// The file system it is on.
    device: u64,
    sync: bool,
    /// One `syncfs` does for many files.
    together: bool,
    /// Of what was found, something lies on another file system than the destination.
    elsewhere: AtomicBool,
    /// A sync that failed, and is never asked again.
    failed: OnceLock<Error>,
    /// The destination ignores case.
    names: Option<Names>,
    /// There was no file in it when it was opened, so that none has to be looked for.
    empty: bool,
    /// What the user should know: the file system has no locks.
    warning: Option<String>,
    /// Held until the store is dropped.
    _lock: Option<File>,
}

impl Store {
    /// Opens a destination, made if missing, and sweeps what dead runs left in it.
    ///
    /// # Errors
    /// A folder that cannot be made or written; a link where toller's own folder or lock should be; the lock is another
    /// process's (exit code 75).
    pub fn open(layout: Layout, run_id: &str, share: Share, sync: bool) -> Result<Self> {
        let fault = |cause: io::Error| fault(&layout.dest, &cause);
        durable::make_destination(&layout.dest, sync).map_err(fault)?;
        let folder = File::open(&layout.dest).map_err(fault)?;
        let device = folder.metadata().map_err(fault)?.dev();
        let own = OwnFolder::open(&layout.dest)?;
        let (lock, warning) = own.lock(share)?;
        let empty = share == Share::Alone
            && fs::read_dir(&layout.dest).map_err(fault)?.flatten().all(|entry| entry.file_name() == OWN_FOLDER);
        let run = own.begin(run_id)?;
        let names = Names::probe(&run).map_err(fault)?;
        if let Some(names) = names.as_ref().filter(|_| !empty) {
            walk(&layout.dest, &mut |file| {
                let name = file.file_name().unwrap_or_default();
                names.take(&name.to_string_lossy());
                Ok(())
            })?;
        }
        let together = durable::keeps_syncfs(&folder);
        let (elsewhere, failed) = (AtomicBool::new(false), OnceLock::new());
        Ok(Self {
            layout,
            run,
            own,
            folder,
            device,
            sync,
            together,
            elsewhere,
            failed,
            names,
            empty,
            warning,
            _lock: lock,
        })
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

    /// Takes the name of an image's file, before anything is asked of the origin for it.
    ///
    /// # Errors
    /// The destination ignores case, and the name is another image's.
    pub fn claim(&self, guid: &Guid) -> std::result::Result<(), Failure> {
        let Some(names) = &self.names else { return Ok(()) };
        let file = self.layout.path(guid);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if names.take(&name) {
            return Ok(());
        }
        let cause = "the destination ignores case, and another file there has this name in other letters";
        Err(Failure::new(Kind::Disk, format!("{}: {cause}", file.display())).of_one())
    }

    /// Reads the file of one image that was there before this run into `body`. False when there is none that can be read,
    /// or none of at most `most` bytes.
    ///
    /// A link under the file's own name may lead to anything; it is no file, and the image's replaces it. Folders above
    /// it may be links: so people spread a destination.
    pub fn read(&self, guid: &Guid, most: u64, body: &mut Vec<u8>) -> bool {
        if self.empty {
            return false;
        }
        let path = self.layout.path(guid);
        let Ok(about) = fs::symlink_metadata(&path) else { return false };
        if about.dev() != self.device {
            self.elsewhere.store(true, Ordering::Relaxed);
        }
        about.is_file() && matches!(read(&path, most, body), Ok(Look::Read))
    }

    /// How long the file of an image is, where there is one.
    #[must_use]
    pub fn length(&self, guid: &Guid) -> Option<u64> {
        let about = fs::symlink_metadata(self.layout.path(guid)).ok()?;
        about.is_file().then_some(about.len())
    }

    /// Makes a body visible under its final name, whole.
    ///
    /// # Errors
    /// A failure of kind `disk`, the path and the cause in its message.
    pub fn save(&self, worker: usize, guid: &Guid, body: &[u8]) -> std::result::Result<(), Failure> {
        // A worker saves one file at a time, so that its temporary name can always be the same.
        let temporary = format!("{worker}");
        let file = self.layout.path(guid);
        let failure = |error: &io::Error| {
            self.run.discard(&temporary);
            Failure::new(Kind::Disk, format!("{}: {error}", file.display()))
        };
        self.write(&temporary, body).map_err(|error| failure(&error))?;
        let published = match self.run.publish(&temporary, &file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.layout.fanout > 0 => {
                self.make_folders(&file).and_then(|()| self.run.publish(&temporary, &file))
            }
            other => other,
        };
        published.map_err(|error| {
            let failure = failure(&error);
            if is_of_one_name(&error) { failure.of_one() } else { failure }
        })
    }

    fn write(&self, temporary: &str, body: &[u8]) -> io::Result<()> {
        let mut file = self.run.create(temporary)?;
        file.write_all(body)?;
        if self.sync && !self.together {
            // By each worker for itself, and by the handle that wrote it, which hears of every error.
            file.sync_all()?;
        }
        durable::close(file)
    }

    /// The folders between the destination and a file. A destination that went away is not made anew behind the user's back.
    fn make_folders(&self, file: &Path) -> io::Result<()> {
        let between: Vec<_> = file.ancestors().skip(1).take(usize::from(self.layout.fanout)).collect();
        between.into_iter().rev().try_for_each(|folder| match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })
    }

    /// Makes the files of these images, and their names, durable; of each is told whether it was there before this run.
    ///
    /// # Errors
    /// The disk says that it could not keep them, now or at an earlier time in this run.
    pub fn sync(&self, files: &[(Guid, bool)]) -> Result<()> {
        if !self.sync || files.is_empty() {
            return Ok(());
        }
        let failed = match self.failed.get() {
            Some(error) => error,
            None => match self.try_sync(files) {
                Ok(()) => return Ok(()),
                Err(cause) => self.failed.get_or_init(|| {
                    Error::new("make durable", self.layout.dest.display(), cause).with_way_out(
                        "what is not recorded the next run fetches anew; see what the system says of this disk",
                    )
                }),
            },
        };
        // The system now holds for clean what may never have reached the disk, and the next run would find it whole.
        // What this run brought is removed. What was there before may be all that somebody has of it: it stays, and
        // who looks next is to see what the disk has.
        for (guid, found) in files {
            let path = self.layout.path(guid);
            if *found {
                durable::forget_cached(&path);
            } else {
                // Best effort: a disk that fails may not take this either.
                let _ = fs::remove_file(&path);
            }
        }
        Err(failed.clone())
    }

    fn try_sync(&self, files: &[(Guid, bool)]) -> io::Result<()> {
        let together = self.together && files.len() > ONE_BY_ONE;
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        if together {
            durable::flush(&self.folder)?;
        }
        // Also after a flush: before Linux 5.17 that does not tell when the journal has been given up; this does.
        let mut folders = BTreeSet::from([self.layout.dest.clone()]);
        for (guid, found) in files.iter().filter(|(_, found)| !together || (*found && elsewhere)) {
            let path = self.layout.path(guid);
            if *found || self.together {
                durable::sync_file(&path)?;
            }
            // Every folder between the destination and the file may be new.
            folders.extend(path.ancestors().skip(1).take(usize::from(self.layout.fanout)).map(Path::to_owned));
        }
        durable::sync_folders(&folders)
    }

    /// Moves a file that is not whole to `.toller/corrupt/`, whatever lies there under its name.
    ///
    /// # Errors
    /// The move failed.
    pub fn set_aside(&self, guid: &Guid) -> Result<()> {
        let file = self.layout.path(guid);
        self.own.set_aside(&file).map_err(|cause| Error::new("set aside", file.display(), cause))
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

/// Says at once that a destination is in use, to whoever will need it alone after much else.
///
/// # Errors
/// Another process has it (exit code 75).
pub fn must_be_free(dest: &Path) -> Result<()> {
    OwnFolder::find(dest).map_or(Ok(()), |own| own.must_be_free())
}

/// How many temporary files dead runs have left in a destination.
#[must_use]
pub fn leftovers(dest: &Path) -> u64 {
    OwnFolder::find(dest).map_or(0, |own| own.leftovers())
}
