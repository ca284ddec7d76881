//! A file that a command writes where its user says: it is there whole or not at all, and what was there before stays until
//! then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::terminal::List;

/// What is being written.
pub(super) struct Output {
    to: BufWriter<Box<dyn Write>>,
    /// Some of it could not be written, which nobody may have looked at.
    broken: Option<io::ErrorKind>,
    /// Where it is to stand, if it is a file.
    place: Option<Place>,
}

struct Place {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Begins it; `-` is stdout. A device or a pipe is written into; nothing takes its place.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let to = |to: Box<dyn Write>, place| Ok(Self { to: BufWriter::new(to), broken: None, place });
        if path == Path::new("-") {
            return to(Box::new(io::stdout()), None);
        }
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => Err(io::Error::other("it is a folder")),
            Ok(there) if !there.is_file() => to(Box::new(OpenOptions::new().write(true).open(path)?), None),
            _ => {
                let place = Place::beside(path)?;
                to(Box::new(place.file.try_clone()?), Some(place))
            }
        }
    }
}

impl Place {
    fn beside(path: &Path) -> io::Result<Self> {
        // A link stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let temporary = format!(".{}.toller-{:08x}", name.display(), fastrand::u32(..));
        let temporary = path.with_file_name(temporary);
        Ok(Self { file: File::create_new(&temporary)?, temporary, path })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).inspect_err(|cause| self.broken = Some(cause.kind()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl List for Output {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.to.flush()?;
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if let Some(place) = &self.place {
            place.file.sync_all()?;
            fs::rename(&place.temporary, &place.path)?;
            self.place = None;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // It is not whole, and why is what its user hears of.
            let _ = fs::remove_file(&place.temporary);
        }
    }
}

/// What an option names to be written must be none of these files that the command reads, or keeps its books in.
///
/// # Errors
/// It is.
pub(super) fn must_be_another(option: &str, path: &Path, others: &[(&str, &Path)]) -> Result<()> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let there = identity(path);
    let log = |other: &Path| PathBuf::from(format!("{}.wal", other.display()));
    let same =
        |other: &Path| path == other || there.is_some() && (there == identity(other) || there == identity(&log(other)));
    match others.iter().find(|(_, other)| same(other)) {
        // What is read there is stdin.
        Some(_) if path == Path::new("-") => Ok(()),
        Some((what, _)) => Err(Error::usage(option, format!("{} is {what}", path.display()))),
        None => Ok(()),
    }
}
