//! Where files go and what they are called.

use std::path::{Path, PathBuf};

use crate::guid::Guid;

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
