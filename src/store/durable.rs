//! What makes files durable, and how far a file system can be believed.
//!
//! Linux reports a write-back error once to each open file, and marks the pages clean although they never reached the
//! disk: the second call succeeds, and whoever reads the file sees it whole as long as it is in memory. So a sync that
//! failed is never asked again, and what it covered is not left for the next run to believe.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Advice;

/// Kinds of file systems (`statfs(2)`, `f_type`) of which one `syncfs` makes every file durable and tells when it could
/// not: ext2 to ext4, xfs, btrfs, f2fs, tmpfs. FUSE does not hand the call on at all, overlayfs has kept errors to
/// itself, and of the others we do not know; there each file is synced by itself.
const KEEP_SYNCFS: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];
/// Older kernels do not tell by `syncfs` what went wrong before the call.
const SYNCFS_TELLS: (u32, u32) = (5, 8);

/// Whether one `syncfs` does for all files of this file system.
pub(super) fn keeps_syncfs(folder: impl AsFd) -> bool {
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "its type differs between machines")]
    let known =
        rustix::fs::fstatfs(folder).is_ok_and(|about| KEEP_SYNCFS.contains(&(about.f_type as u64 & 0xffff_ffff)));
    known && release(&rustix::system::uname().release().to_string_lossy()) >= SYNCFS_TELLS
}

fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Flushes everything on a file system.
pub(super) fn flush(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Makes a file's content durable; a file that somebody took away again is nothing to keep.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    match open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whoever puts a named pipe in a file's place must not keep us.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?.into())
}

/// Makes the names in these folders durable.
pub(super) fn sync_folders(folders: &BTreeSet<PathBuf>) -> io::Result<()> {
    folders.iter().try_for_each(|path| match File::open(path)?.sync_all() {
        // The file system has no such call for folders.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    })
}

/// Makes a destination's folder where it is missing, and its own name durable: files are no more durable than the
/// folders above them, of which any may be new, and the last one may have been made by the user a moment ago.
pub(super) fn make_destination(dest: &Path, sync: bool) -> io::Result<()> {
    let dest = std::path::absolute(dest)?;
    let there = dest.ancestors().take_while(|folder| !folder.exists()).count();
    fs::create_dir_all(&dest)?;
    if !sync {
        return Ok(());
    }
    let device = fs::metadata(&dest)?.dev();
    // Its real place: a link to it may lie elsewhere.
    let real = fs::canonicalize(&dest)?;
    // A folder above that we may not read, or of another file system, is not ours to sync.
    let above = real.ancestors().skip(1).take(there.max(1)).map(Path::to_owned);
    let ours =
        |folder: &PathBuf| File::open(folder).and_then(|f| f.metadata()).is_ok_and(|about| about.dev() == device);
    sync_folders(&above.filter(ours).collect())
}

/// Asks the system to forget what it holds of a file in memory, so that whoever reads it next sees what the disk has.
pub(super) fn forget_cached(path: &Path) {
    // Best effort: it is a request, and the file may be gone.
    let _ = open(path).map(|file| rustix::fs::fadvise(&file, 0, None, Advice::DontNeed));
}

/// Closes a file, and tells what the close says: NFS, quotas and many FUSE file systems say it only then.
pub(super) fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_the_kernel_is_two_numbers() {
        for (text, wanted) in
            [("6.18.44-fc-v669", (6, 18)), ("5.8.0", (5, 8)), ("4.18.0-553.el8", (4, 18)), ("x", (0, 0))]
        {
            assert_eq!(release(text), wanted, "{text}");
        }
    }
}
