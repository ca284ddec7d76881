//! The failure rate: of a hundred GUIDs that were first tried one after the other, how many have failed in the end.
//!
//! What fails is tried again and comes home late. Among what came home last it would look like most of a run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::failure::Kind;

/// So many GUIDs the rate is taken from.
pub(super) const OF: usize = 100;
/// So many are kept in mind. An end that comes later than so many others have begun is not judged.
const KEPT: usize = 1 << 16;

/// How one GUID stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its first attempt is not over.
    Begun,
    /// It failed, and is tried again.
    Tried,
    Fine,
    Failed(Kind),
    /// Refused before any request: it says nothing.
    Void,
}

/// The GUIDs in the order of their first attempts.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Each with when its first request was sent.
    all: VecDeque<(Standing, Option<Instant>)>,
    /// The place of the first of `all`.
    first: u64,
    /// How many of `all` have failed.
    failed: usize,
}

/// A hundred of which too many failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) failed: usize,
    pub(super) commonest: Kind,
    /// From when on failures are not taken for good.
    pub(super) since: Option<Instant>,
}

impl Rate {
    /// A GUID is tried for the first time; gives its place.
    pub(super) fn begin(&mut self) -> u64 {
        if self.all.len() == KEPT {
            let out = self.all.pop_front();
            self.failed -= usize::from(out.is_some_and(|(standing, _)| failure(standing).is_some()));
            self.first += 1;
        }
        self.all.push_back((Standing::Begun, None));
        self.first + self.all.len() as u64 - 1
    }

    /// When a request was sent for it.
    pub(super) fn sent(&mut self, place: u64, sent: Instant) {
        if let Some((_, first)) = self.index(place).and_then(|at| self.all.get_mut(at)) {
            first.get_or_insert(sent);
        }
    }

    /// An attempt is over, and another one follows.
    pub(super) fn tried(&mut self, place: u64, most: f64) -> Option<Exceeded> {
        let at = self.index(place).filter(|at| self.all[*at].0 == Standing::Begun)?;
        self.stand(at, Standing::Tried, most)
    }

    /// A GUID's story is over; `failed` says how, if it did. Says when more than `most` percent have failed.
    pub(super) fn ended(&mut self, place: u64, failed: Option<Kind>, most: f64) -> Option<Exceeded> {
        let standing = match failed {
            None => Standing::Fine,
            Some(Kind::BadGuid | Kind::BadUrl) => Standing::Void,
            Some(kind) => Standing::Failed(kind),
        };
        self.stand(self.index(place)?, standing, most)
    }

    fn index(&self, place: u64) -> Option<usize> {
        usize::try_from(place.checked_sub(self.first)?).ok()
    }

    fn stand(&mut self, at: usize, standing: Standing, most: f64) -> Option<Exceeded> {
        self.all[at].0 = standing;
        self.failed += usize::from(failure(standing).is_some());
        if percent(self.failed) <= most {
            return None;
        }
        // Only the hundreds that it is in can have become worse.
        let begin = self.back(at, OF - 1, false);
        let mut hundred = VecDeque::with_capacity(OF + 1);
        let mut failed = 0;
        for index in begin..self.all.len() {
            let here = self.all[index].0;
            match here {
                Standing::Void => continue,
                Standing::Begun => break,
                _ => hundred.push_back(index),
            }
            failed += usize::from(failure(here).is_some());
            if hundred.len() > OF {
                let out = hundred.pop_front()?;
                failed -= usize::from(failure(self.all[out].0).is_some());
                if out >= at {
                    break;
                }
            }
            if hundred.len() == OF && percent(failed) > most {
                return Some(self.exceeded(*hundred.front()?, failed, most));
            }
        }
        None
    }

    /// The index from which up to `count` GUIDs that say something lie before `at`; what is in its first attempt ends them, or
    /// is `passed_over`.
    fn back(&self, at: usize, count: usize, passed_over: bool) -> usize {
        let (mut index, mut seen) = (at, 0);
        while index > 0 && seen < count && (passed_over || self.all[index - 1].0 != Standing::Begun) {
            index -= 1;
            seen += usize::from(says_something(self.all[index].0));
        }
        index
    }

    fn exceeded(&self, begin: usize, failed: usize, most: f64) -> Exceeded {
        let mut kinds = BTreeMap::<Kind, u32>::new();
        for kind in self.all.range(begin..).take(OF).filter_map(|(standing, _)| failure(*standing)) {
            *kinds.entry(kind).or_default() += 1;
        }
        let commonest = kinds.iter().max_by_key(|(_, count)| **count).map_or(Kind::HttpStatus, |(kind, _)| *kind);
        // It may have gone wrong for a while before it went too far.
        let mut begin = begin;
        while begin > 0 {
            let before = self.back(begin, OF / 2, true);
            let ends = || self.all.range(before..begin).filter(|(standing, _)| says_something(*standing));
            let bad = ends().filter(|(standing, _)| failure(*standing).is_some()).count();
            // At the beginning of a run there are fewer.
            if percent(bad * OF / ends().count().max(1)) <= most / 2.0 {
                break;
            }
            begin = before;
        }
        // And its beginning lies wherever the last one before it went well.
        while begin > 0 && failure(self.all[begin - 1].0).is_some() {
            begin -= 1;
        }
        // Not the first one's: workers overtake one another.
        Exceeded { failed, commonest, since: self.all.range(begin..).filter_map(|(_, sent)| *sent).min() }
    }
}

fn failure(standing: Standing) -> Option<Kind> {
    if let Standing::Failed(kind) = standing { Some(kind) } else { None }
}

fn says_something(standing: Standing) -> bool {
    !matches!(standing, Standing::Void | Standing::Begun)
}

fn percent(failed: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a hundred at the most")]
    let share = failed as f64 * 100.0 / OF as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins so many, and ends them in this order.
    fn ends(count: u64, ends: impl IntoIterator<Item = (u64, Option<Kind>)>) -> Option<Exceeded> {
        let mut rate = Rate::default();
        for _ in 0..count {
            let place = rate.begin();
            assert_eq!(rate.tried(place, 50.0), None);
        }
        ends.into_iter().find_map(|(place, failed)| rate.ended(place, failed, 50.0))
    }

    #[test]
    fn what_fails_late_is_judged_beside_what_was_first_tried_with_it() {
        let fine = (0..12_000).filter(|place| place % 100 != 7).map(|place| (place, None));
        let late = (0..12_000).filter(|place| place % 100 == 7).map(|place| (place, Some(Kind::ServerError)));
        assert_eq!(ends(12_000, fine.chain(late)), None);
    }

    #[test]
    fn a_hundred_in_a_row_of_which_too_many_fail_are_too_many_in_whatever_order_they_end() {
        let failed = |place| (place, (place % 100 < 51).then_some(Kind::Forbidden));
        assert_eq!(ends(99, (0..99).map(failed)), None, "not yet a hundred");
        let found = ends(400, (0..400).rev().map(failed)).expect("51 of a hundred");
        assert_eq!((found.failed, found.commonest), (51, Kind::Forbidden));
        assert_eq!(ends(400, (0..400).map(|place| (place, (place % 2 == 0).then_some(Kind::Timeout)))), None);
    }

    #[test]
    fn what_was_refused_before_any_request_is_none_of_the_hundred() {
        let odd = |place| if place % 2 == 0 { Some(Kind::BadUrl) } else { None };
        assert_eq!(ends(1000, (0..1000).map(|place| (place, odd(place)))), None);
        let mixed = |place: u64| match place % 4 {
            0 => Some(Kind::BadUrl),
            2 => None,
            _ => Some(Kind::NotFound),
        };
        assert!(ends(1000, (0..1000).map(|place| (place, mixed(place)))).is_some());
    }

    #[test]
    fn only_what_failed_since_it_went_wrong_is_forgiven() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let at = |place: u64| start + std::time::Duration::from_secs(place);
        let mut found = None;
        for place in 0..1000 {
            let sent = at(place);
            let place = rate.begin();
            rate.sent(place, sent);
            let failed = (place % 100 == 3 || place >= 500).then_some(Kind::Forbidden);
            found = found.or_else(|| rate.ended(place, failed, 50.0));
        }
        let since = found.and_then(|found| found.since).expect("a block").duration_since(start).as_secs();
        assert!((404..=500).contains(&since), "{since}");
    }

    #[test]
    fn what_failed_right_before_it_went_too_far_is_forgiven_too() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let mut found = None;
        for place in 0..200 {
            rate.begin();
            rate.sent(place, start + std::time::Duration::from_secs(place));
        }
        // One of them takes so long that the first hundred cannot be judged.
        for place in (0..200).filter(|place| *place != 61) {
            let failed = (place >= 9).then_some(Kind::Forbidden);
            found = found.or_else(|| rate.ended(place, failed, 50.0));
        }
        let since = found.and_then(|found| found.since).expect("a block").duration_since(start).as_secs();
        assert_eq!(since, 9);
    }

    #[test]
    fn what_failed_at_the_beginning_of_a_run_is_forgiven_where_that_was_no_better() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut found = None;
        for place in 0..200 {
            rate.begin();
            rate.sent(place, start + std::time::Duration::from_secs(place));
            // Half of them, but a little less of the first hundred.
            let failed = (place % 2 == 0 && place != 2).then_some(Kind::NotFound);
            found = found.or_else(|| rate.ended(place, failed, 49.5));
        }
        assert_eq!(found.and_then(|found| found.since), Some(start));
    }

    #[test]
    fn one_that_was_sent_before_an_earlier_one_is_forgiven_too() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let mut found = None;
        for place in 0..200 {
            rate.begin();
            // Two workers overtake each other.
            rate.sent(place, start + std::time::Duration::from_secs(place ^ 1));
            found = found.or_else(|| rate.ended(place, Some(Kind::Forbidden), 50.0));
        }
        assert_eq!(found.and_then(|found| found.since), Some(start));
    }

    #[test]
    fn memory_is_bounded_and_what_ends_after_it_is_not_judged() {
        let mut rate = Rate::default();
        let first = rate.begin();
        for _ in 0..3 * KEPT {
            let place = rate.begin();
            rate.ended(place, None, 50.0);
        }
        assert_eq!((rate.all.len(), rate.ended(first, Some(Kind::Timeout), 50.0)), (KEPT, None));
    }
}
