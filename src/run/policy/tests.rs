//! What the policy makes of plays: who fails, when, and what follows for all.

use super::*;
use crate::facts::Facts;
use crate::guid::Guid;
use crate::outcome::{How, Saved};

struct Play {
    policy: Policy,
    now: Instant,
    place: u64,
}

impl Play {
    fn new() -> Self {
        Self { policy: Policy::new(50.0, 4, 100.0), now: Instant::now(), place: 0 }
    }

    /// Another image's first attempt, sent now.
    fn come(&mut self, result: Result<Saved, Failure>) -> (Charge, Turn) {
        self.place += 1;
        let mut job = Job::new(Guid::new(format!("{}", self.place).into()).expect("a GUID"), None);
        (job.attempts, job.place) = (1, Some(self.policy.begin()));
        self.policy.weigh(&Attempt { job, sent: Some(self.now), result }, self.now)
    }

    fn well(&mut self) -> (Charge, Turn) {
        self.come(Ok(Saved { how: How::Fetched, facts: Facts::default() }))
    }

    fn fail(&mut self, kind: Kind) -> (Charge, Turn) {
        self.come(Err(Failure::new(kind, "")))
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn five_of_a_kind_before_anything_worked_are_hopeless_and_others_are_not() {
    for kind in [Kind::Dns, Kind::Connect, Kind::Tls, Kind::Protocol, Kind::Forbidden] {
        let mut play = Play::new();
        for _ in 1..ROW {
            assert_eq!(play.fail(kind), (Charge::Later, Turn::Nothing));
        }
        assert_eq!(play.fail(kind), (Charge::Later, Turn::Hopeless), "{kind}");
        let mut play = Play::new();
        play.well();
        assert!((0..20).all(|_| play.fail(kind).1 != Turn::Hopeless), "{kind}");
    }
    for kind in [Kind::NotFound, Kind::Timeout, Kind::ServerError] {
        let mut play = Play::new();
        assert!((0..20).all(|_| play.fail(kind).0 == Charge::Own), "{kind}");
    }
}

#[test]
fn while_the_origin_is_away_pauses_double_and_after_five_minutes_it_is_over() {
    let mut play = Play::new();
    play.well();
    for _ in 1..ROW {
        assert_eq!(play.fail(Kind::Connect), (Charge::Later, Turn::Nothing));
    }
    for seconds in [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30, 30] {
        let (_, turn) = play.fail(Kind::Connect);
        assert_eq!(turn, Turn::Pause(Duration::from_secs(seconds)));
        assert_eq!(play.policy.gone(play.now), None);
        play.later(seconds);
    }
    play.later(30);
    assert_eq!(play.policy.gone(play.now), Some(Ending::Away(String::new())));
    assert_eq!(play.well(), (Charge::Own, Turn::Resume { refused: false }));
    assert_eq!(play.policy.gone(play.now), None);
}

#[test]
fn only_where_nothing_is_left_that_was_never_tried_the_last_ones_are_given_a_minute() {
    for (ahead, more) in [(1, false), (0, true), (0, false)] {
        let mut play = Play::new();
        play.well();
        play.policy.more_left(more);
        // Handed out, and behind others.
        for _ in 0..ahead {
            play.policy.begin();
        }
        let turns: Vec<Turn> = (0..ROW).map(|_| play.fail(Kind::Connect).1).collect();
        assert!(matches!(turns.last(), Some(Turn::Pause(_))), "{turns:?}");
        play.later(61);
        let goes_on = matches!(play.fail(Kind::Connect), (Charge::Own, Turn::Resume { .. }));
        assert_eq!(goes_on, ahead == 0 && !more);
    }
}

#[test]
fn what_was_sent_before_a_pause_does_not_end_it() {
    let mut play = Play::new();
    play.well();
    (0..ROW).for_each(|_| {
        let _ = play.fail(Kind::Connect);
    });
    play.now -= Duration::from_millis(1);
    assert_eq!(play.fail(Kind::Connect), (Charge::Free, Turn::Nothing));
    assert_eq!(play.well(), (Charge::Own, Turn::Nothing));
}

#[test]
fn a_failure_beside_others_that_go_well_is_its_own() {
    let mut play = Play::new();
    for _ in 0..50 {
        assert_eq!(play.well(), (Charge::Own, Turn::Clear));
        assert_eq!(play.fail(Kind::Connect), (Charge::Later, Turn::Nothing));
    }
}

#[test]
fn an_image_that_failed_before_is_no_witness() {
    let mut play = Play::new();
    play.well();
    let mut job = Job::new(Guid::new("bad".into()).expect("a GUID"), None);
    job.attempts = 2;
    for _ in 0..20 {
        let result = Err(Failure::new(Kind::Connect, ""));
        let attempt = Attempt { job: job.clone(), sent: Some(play.now), result };
        assert_eq!(play.policy.weigh(&attempt, play.now), (Charge::Own, Turn::Nothing));
    }
}

#[test]
fn who_answers_an_outage_with_a_refusal_of_access_ends_it() {
    let mut play = Play::new();
    play.come(Err(Failure::of_status(404, "", None)));
    let turns: Vec<Turn> = (0..ROW).map(|_| play.fail(Kind::Connect).1).collect();
    assert!(matches!(turns.last(), Some(Turn::Pause(_))), "{turns:?}");
    play.now += Duration::from_secs(2);
    assert!(matches!(play.fail(Kind::Forbidden), (Charge::Later, Turn::Resume { .. })));
    let turns: Vec<Turn> = (0..4).map(|_| play.fail(Kind::Forbidden).1).collect();
    assert_eq!(turns.last(), Some(&Turn::Hopeless));
}

#[test]
fn time_in_which_nobody_asks_is_no_outage() {
    let mut play = Play::new();
    play.well();
    play.fail(Kind::Connect);
    assert_eq!(play.policy.gone(play.now + AWAY * 2), None);
}

#[test]
fn an_origin_that_puts_everything_off_for_five_minutes_is_away() {
    let mut play = Play::new();
    play.well();
    let begun = play.now;
    for _ in 0..ROW {
        play.come(Err(Failure::of_status(503, "", Some(Duration::from_secs(100)))));
        play.now += Duration::from_secs(70);
    }
    assert!(play.policy.gone(begun + AWAY).is_some());
    play.well();
    assert!(play.policy.gone(begun + AWAY * 2).is_none());
}
