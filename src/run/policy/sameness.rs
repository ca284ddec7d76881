//! Whether the origin sends one and the same picture for everything: a CDN's "not available" passes every other check.

use std::collections::VecDeque;

use crate::facts::Sha256;
use crate::guid::Guid;

/// So many bodies are looked at together, and before so many have come nothing is concluded.
const OF: usize = 100;
/// So many GUIDs are named.
const NAMED: usize = 3;

/// One body that came for too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Same {
    pub(super) digest: Sha256,
    /// Among the last hundred.
    pub(super) count: usize,
    /// Some of those that it came for, the latest first.
    pub(super) guids: Vec<Guid>,
}

/// The bodies that came last.
#[derive(Debug, Default)]
pub(super) struct Sameness {
    /// More than so many of a hundred are too many; none is where nobody looks.
    most: Option<f64>,
    last: VecDeque<(Sha256, Guid)>,
}

impl Sameness {
    /// `most` in percent; 100 is never too much.
    pub(super) fn new(most: f64) -> Self {
        Self { most: Some(most).filter(|most| *most < 100.0), last: VecDeque::new() }
    }

    /// A body came. Says when it is too often the same one.
    pub(super) fn came(&mut self, digest: Sha256, guid: &Guid) -> Option<Same> {
        let most = self.most?;
        self.last.truncate(OF - 1);
        self.last.push_front((digest, guid.clone()));
        let same = || self.last.iter().filter(|(known, _)| *known == digest);
        let count = same().count();
        #[expect(clippy::cast_precision_loss, reason = "a hundred at the most")]
        let too_many = self.last.len() == OF && count as f64 * 100.0 / OF as f64 > most;
        too_many.then(|| Same { digest, count, guids: same().take(NAMED).map(|(_, guid)| guid.clone()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid(number: usize) -> Guid {
        Guid::new(format!("g{number}").into()).expect("a GUID")
    }

    #[test]
    fn more_than_the_share_of_the_last_hundred_is_too_much_and_never_before_there_are_so_many() {
        let mut sameness = Sameness::new(50.0);
        let (one, other) = (Sha256::of(b"not available"), |number: usize| Sha256::of(&number.to_be_bytes()));
        let mut come = |number: usize, same: bool| sameness.came(if same { one } else { other(number) }, &guid(number));
        for number in 0..99 {
            assert_eq!(come(number, number < 50), None, "{number}");
        }
        assert_eq!(come(99, false), None, "half is not more than half");
        // The oldest, which was the same, leaves as each new one comes.
        assert_eq!(come(100, true), None);
        for number in 101..150 {
            assert_eq!(come(number, true), None, "{number}");
        }
        let found = come(150, true).expect("more than half");
        assert_eq!((found.digest, found.count), (one, 51));
        assert_eq!(found.guids, [guid(150), guid(149), guid(148)]);
    }

    #[test]
    fn a_hundred_percent_is_never_too_much() {
        let mut sameness = Sameness::new(100.0);
        assert!((0..300).all(|number| sameness.came(Sha256::of(b""), &guid(number)).is_none()));
    }
}
