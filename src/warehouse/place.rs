//! What may be a warehouse, by its name and its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

use super::must_exist;

/// Refuses what DuckDB would take for something else than a file of its own, or make one of: asked before the first
/// window, and before anything is made. A name that is not UTF-8 would come to DuckDB as another one.
///
/// # Errors
/// It is not there, is no DuckDB file, or has a name that cannot be opened.
pub fn must_be_warehouse(file: &Path) -> Result<()> {
    may_be_warehouse(file)?;
    must_exist(file)?;
    let fault = |cause: &str| Error::new("open warehouse", file.display(), cause);
    if !std::fs::metadata(file).is_ok_and(|found| found.is_file()) {
        return Err(fault("it is no regular file"));
    }
    let mut begins = Vec::new();
    let read = File::open(file).and_then(|file| file.take(12).read_to_end(&mut begins));
    read.map_err(|cause| fault(&cause.to_string()))?;
    match begins.get(8..) {
        Some(b"DUCK") => Ok(()),
        _ if begins.is_empty() => Err(fault("it is empty").with_way_out("remove it, and toller load makes it anew")),
        _ => Err(fault("it is no DuckDB file")
            .with_way_out("a list of GUIDs goes behind it: toller load --warehouse NEW GUIDS")),
    }
}

/// Whether a file of that name can be a warehouse, there or not.
///
/// # Errors
/// DuckDB would open another one, or none.
pub fn may_be_warehouse(file: &Path) -> Result<()> {
    let fault = |cause: &str| Error::new("open warehouse", file.display(), cause);
    match file.to_str() {
        None => Err(fault("its path is not UTF-8, and DuckDB would open another").with_way_out("give it another name")),
        Some("") => Err(fault("its name is empty")),
        Some("-") => Err(fault("a stream is no warehouse").with_way_out("name a file")),
        Some(name) if name.contains(['\\', '?']) => Err(fault(
            "DuckDB takes a backslash for a slash, and puts its log elsewhere where there is a question mark",
        )
        .with_way_out("give it another name")),
        Some(name) if name.starts_with(":memory:") => {
            Err(fault("a warehouse in memory is gone when the command ends").with_way_out("name a file"))
        }
        Some(_) => Ok(()),
    }
}

/// The DuckDB that made a file whose left-over log it has to play itself, if there is such a log: DuckDB 2.0 plays the
/// making of a table with a key so that 0.10 and 1.0 cannot read the result.
pub(super) fn must_be_closed_by(file: &Path) -> Option<String> {
    let mut log = file.as_os_str().to_owned();
    log.push(".wal");
    if std::fs::metadata(log).ok()?.len() == 0 {
        return None;
    }
    // The main header holds the version that made the file, behind checksum, magic, format and flags.
    let mut header = [0; 84];
    File::open(file).ok()?.read_exact(&mut header).ok()?;
    let version = String::from_utf8_lossy(&header[52..]).trim_end_matches('\0').to_owned();
    (version.starts_with("v0.10.") || version.starts_with("v1.0.")).then_some(version)
}
