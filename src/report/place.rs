//! Where the page goes: standard output, or a file that is there whole or not at all.
//!
//! Beside the store, only this file writes: one page, where its user said.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes the page to `path`.
///
/// # Errors
/// It would take the place of the warehouse, or cannot be written.
pub fn write(page: &str, path: &Path, warehouse: &Path) -> Result<()> {
    if is_same(path, warehouse) {
        return Err(Error::usage("--output", format!("{} is the warehouse", path.display())));
    }
    let written = match fs::metadata(path) {
        // A device or a pipe is written into; nothing takes its place.
        Ok(there) if !there.is_file() && !there.is_dir() => {
            fs::OpenOptions::new().write(true).open(path).and_then(|mut there| there.write_all(page.as_bytes()))
        }
        _ => replace(page, path),
    };
    written.map_err(|cause| {
        Error::new("write report", path.display(), cause).with_way_out("name another file with --output")
    })
}

/// Under a temporary name first, so that an older page stays until the new one is whole.
fn replace(page: &str, path: &Path) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let temporary = path.with_file_name(format!(".toller-report-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    if path.is_dir() {
        return Err(io::Error::other(format!("{} is a folder", name.display())));
    }
    let make = || {
        let mut file = File::create_new(&temporary)?;
        file.write_all(page.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    make().inspect_err(|_| {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    })
}

fn is_same(path: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let log = PathBuf::from(format!("{}.wal", other.display()));
    let there = identity(path);
    there.is_some() && (there == identity(other) || there == identity(&log))
}
