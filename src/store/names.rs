//! Names in a destination that ignores case, as exFAT, NTFS, shares of a Mac and ext4 with `casefold` do.
//!
//! There `abc` and `ABC` would be one file. Who came first has it: what lies there already, then what this run takes up.
//! Which file system it is does not matter; a probe in the run's folder tells. Other ways of taking two names for
//! one (Unicode's normal forms, which a Mac's HFS+ ignores) are not looked for.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Mutex, PoisonError};

use super::own::{PROBE, RunFolder};

/// Which names have been taken, where the destination ignores case.
#[derive(Debug)]
pub(super) struct Names {
    /// Not only the letters of ASCII.
    unicode: bool,
    /// How a name is spelt, by what it is without its case; hashes of both, since a destination may hold millions.
    taken: Mutex<HashMap<u64, u64>>,
}

impl Names {
    /// Asks the file system; `None` where it heeds case, as most do.
    pub(super) fn probe(folder: &RunFolder) -> io::Result<Option<Self>> {
        let ignores = |small: &str, large: &str| {
            let (small, large) = (format!("{PROBE}{small}"), format!("{PROBE}{large}"));
            folder.create(&small)?;
            let ignores = folder.holds(&large);
            folder.discard(&small);
            Ok::<_, io::Error>(ignores)
        };
        if !ignores("a", "A")? {
            return Ok(None);
        }
        // Where such a name cannot be written there is none to be confused with.
        let unicode = ignores("ä", "Ä").unwrap_or(false);
        Ok(Some(Self { unicode, taken: Mutex::default() }))
    }

    /// Takes a name, again or for the first time. False when it is another one's.
    pub(super) fn take(&self, name: &str) -> bool {
        let folded = if self.unicode { name.to_lowercase() } else { name.to_ascii_lowercase() };
        let spelt = hash(name);
        match self.taken.lock().unwrap_or_else(PoisonError::into_inner).entry(hash(&folded)) {
            Entry::Occupied(other) => *other.get() == spelt,
            Entry::Vacant(free) => {
                free.insert(spelt);
                true
            }
        }
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
