//! Looking at what lies in a destination, whoever put it there: nothing is changed, and nothing keeps us.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::OWN_FOLDER;

/// Space that is kept from one file for the next.
const KEPT: usize = 4 << 20;
/// What is said of a folder, a pipe or a device under a final name.
const NO_FILE: &str = "it is not a file";

/// What lies under a final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Absent,
    /// A file, whose content was read.
    Read,
    /// A file of so many bytes, more than were wanted; it was not read.
    Longer(u64),
}

/// Reads a whole file of at most `most` bytes into `body`. A link is followed, as whoever shows the file would.
///
/// # Errors
/// It is there and cannot be read, or is no file: a folder, a pipe, a device. Neither says that the image is missing.
pub fn read(path: &Path, most: u64, body: &mut Vec<u8>) -> io::Result<Look> {
    body.clear();
    body.shrink_to(KEPT);
    let mut file = match open_whatever(path) {
        Err(error) if is_absent(&error) => return Ok(Look::Absent),
        other => other?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other(NO_FILE));
    }
    if found.len() > most {
        return Ok(Look::Longer(found.len()));
    }
    // Its length as it was a moment ago: what grows meanwhile is not read for ever.
    body.try_reserve_exact(usize::try_from(found.len()).unwrap_or(usize::MAX).saturating_add(1))?;
    (&mut file).take(found.len().saturating_add(1)).read_to_end(body)?;
    Ok(Look::Read)
}

/// How long a file is, without opening it; `None` where there is none. A link is followed.
///
/// # Errors
/// As [`read`].
pub fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => Err(io::Error::other(NO_FILE)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens what may be anything: a pipe is opened without waiting for whoever writes into it.
fn open_whatever(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Gives `visit` every file below a destination but toller's own, as a path below it; and every folder below it that is
/// not ours to look into, such as `lost+found`.
///
/// # Errors
/// A folder that cannot be read, or the first error of `visit`.
pub fn walk(dest: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    // Folders still to be read; files are never collected, so that a million of them take no memory.
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let folder = dest.join(&below);
        let fault = |cause: io::Error| Error::new("read folder", folder.display(), cause);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !below.as_os_str().is_empty() => {
                visit(&below)?;
                continue;
            }
            // A run that goes on meanwhile may take its folders away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !below.as_os_str().is_empty() => continue,
            other => other.map_err(fault)?,
        };
        for entry in entries {
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
