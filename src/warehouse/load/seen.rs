//! Which ids have come before, by eight bytes of hash each.
//!
//! They are kept in order, into which those of a block are merged: a table of hashes would be asked all over the
//! memory, which takes three times as long. Two ids may have the same hash, so that one that has not come may be
//! taken for one that has; never the other way.

use std::hash::{DefaultHasher, Hasher};

/// Between two hashes of a block there are mostly many others, which are stepped over by so many.
const STRIDE: usize = 8;

/// The ids so far, up to so many.
pub(super) struct Seen {
    hashes: Vec<u64>,
    most: usize,
    whole: bool,
}

impl Seen {
    /// Of none yet. It takes up to this memory, in bytes.
    pub(super) fn new(memory: u64) -> Self {
        // While it grows there may be two of it.
        let most = usize::try_from(memory / 2 / size_of::<u64>() as u64).unwrap_or(usize::MAX);
        Self { hashes: Vec::new(), most, whole: true }
    }

    /// Whether every id that came is among them.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Adds a block of ids, by their hashes, and gives the places of those that have come before, in order.
    pub(super) fn add(&mut self, block: &[u64]) -> Vec<usize> {
        let mut fresh: Vec<(u64, usize)> = block.iter().copied().zip(0..).collect();
        fresh.sort_unstable();
        let mut again = Vec::new();
        fresh.dedup_by(|(hash, place), (before, _)| {
            let same = hash == before;
            again.extend(same.then_some(*place));
            same
        });
        let mut known = 0;
        fresh.retain(|(hash, place)| {
            while self.hashes.get(known + STRIDE).is_some_and(|known| known < hash) {
                known += STRIDE;
            }
            while self.hashes.get(known).is_some_and(|known| known < hash) {
                known += 1;
            }
            let new = self.hashes.get(known) != Some(hash);
            again.extend((!new).then_some(*place));
            new
        });
        again.sort_unstable();
        if self.hashes.len() + fresh.len() > self.most {
            self.whole = false;
        } else {
            self.merge(&fresh);
        }
        again
    }

    /// Merges from the end, so that it needs no second place.
    fn merge(&mut self, fresh: &[(u64, usize)]) {
        let mut left = self.hashes.len();
        self.hashes.resize(left + fresh.len(), 0);
        for (below, (hash, _)) in fresh.iter().enumerate().rev() {
            let end = left;
            while left >= STRIDE && self.hashes[left - STRIDE] > *hash {
                left -= STRIDE;
            }
            while left > 0 && self.hashes[left - 1] > *hash {
                left -= 1;
            }
            self.hashes.copy_within(left..end, left + below + 1);
            self.hashes[left + below] = *hash;
        }
    }
}

/// What is remembered of an id.
pub(super) fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_this_block_or_in_one_before_has_come_before() {
        let mut seen = Seen::new(16 * 6);
        assert_eq!(seen.add(&[5, 3, 5, 9, 3]), [2, 4]);
        assert_eq!(seen.add(&[1, 9, 4, 3, 1]), [1, 3, 4]);
        assert_eq!(seen.hashes, [1, 3, 4, 5, 9]);
        assert!(seen.is_whole());
        // There is no room for both.
        assert_eq!(seen.add(&[6, 5, 7]), [1]);
        assert!(!seen.is_whole());
        assert!(seen.add(&[]).is_empty());
    }

    #[test]
    fn blocks_of_any_ids_are_told_apart_as_a_set_would() {
        let mut random = fastrand::Rng::with_seed(17);
        let (mut seen, mut set) = (Seen::new(1 << 20), std::collections::HashSet::new());
        for _ in 0..200 {
            let block: Vec<u64> = (0..random.usize(..200)).map(|_| random.u64(..5_000)).collect();
            let known = block.iter().enumerate().filter(|(_, hash)| !set.insert(**hash));
            assert_eq!(seen.add(&block), known.map(|(place, _)| place).collect::<Vec<_>>());
        }
    }
}
