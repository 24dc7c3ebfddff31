//! Planted bugs: each promise that the simulation checks is broken once, by a canary in the library's own code, and the
//! simulation must say which. A run that nothing is planted in is the control.

use super::fleet::Fleet;
use super::{Counts, plan_of};
use crate::canary::{Canary, with};

const ANNOUNCES: u64 = 3000;
const SEEDS: u64 = 40;

/// Runs with callbacks, as most bugs are the same in both deliveries.
fn first_failure() -> Option<String> {
    first_failure_of(false)
}

fn first_failure_of(drained: bool) -> Option<String> {
    let runs = (0..SEEDS).filter_map(|seed| {
        let mut plan = plan_of(seed, ANNOUNCES);
        if drained && !plan.drained {
            // A plan may have what only callbacks bear.
            return None;
        }
        plan.drained = drained;
        // Ages and retries are what some of the bugs need to show.
        plan.chances.aged = 200;
        plan.chances.retry = 100;
        // The back-stop would cover for the wheel.
        plan.config.backstop = std::time::Duration::ZERO;
        Fleet::new(&plan, seed).run().err()
    });
    { runs }.next()
}

#[track_caller]
fn must_break(canary: Canary, promise: &str) {
    let failure = with(canary, first_failure).unwrap_or_else(|| panic!("the simulation does not see {canary:?}"));
    assert!(failure.starts_with(promise), "{canary:?} should break \"{promise}\", the simulation says: {failure}");
}

#[test]
fn a_host_that_leaves_a_tick_early_is_seen() {
    must_break(Canary::Early, "never early");
}

#[test]
fn a_host_without_grace_is_seen() {
    must_break(Canary::NoGrace, "never early");
}

#[test]
fn a_host_that_is_dropped_is_missed() {
    must_break(Canary::Lost, "never late, never lost");
}

#[test]
fn a_leave_that_is_handed_out_twice_is_seen() {
    must_break(Canary::Double, "exactly once");
}

#[test]
fn a_retry_that_is_forgotten_is_missed() {
    must_break(Canary::ForgottenRetry, "a retry comes");
}

#[test]
fn a_leave_before_its_suspect_event_was_seen_is_noticed() {
    let failure = with(Canary::Untold, || first_failure_of(true)).expect("the simulation sees it");
    assert!(failure.starts_with("no leave without its suspect event"), "{failure}");
}

/// One thread alone cannot be harmed by a word that repeats, so this is seen by what inspection tells: the last announce of
/// a record's next incarnation must be later than that of the one before.
#[test]
fn a_word_that_repeats_is_seen() {
    must_break(Canary::WordReuse, "no word repeats");
}

#[test]
fn an_age_that_an_earlier_host_cuts_is_seen() {
    must_break(Canary::RaisedStamp, "a registration counts from when it was heard");
}

#[test]
fn with_nothing_planted_nothing_is_seen() {
    assert_eq!(first_failure(), None);
    assert_eq!(first_failure_of(true), None);
    let plan = plan_of(0, ANNOUNCES);
    let counts: Counts = Fleet::new(&plan, 0).run().expect("no promise is broken");
    assert!(counts.leaves > 0, "the control does something");
}
