//! Planted bugs: each promise that the simulation checks is broken once, by a canary in the library's own code, and the
//! simulation must say which. A run that nothing is planted in is the control.

use super::fleet::Fleet;
use super::{Counts, plan_of};
use crate::canary::{Canary, with};

const ANNOUNCES: u64 = 3000;
const SEEDS: u64 = 40;

/// Runs with callbacks, as the bugs are the same in both deliveries.
fn first_failure() -> Option<String> {
    let runs = (0..SEEDS).filter_map(|seed| {
        let mut plan = plan_of(seed, ANNOUNCES);
        plan.drained = false;
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

/// One thread alone cannot be harmed by a word that repeats, so this is seen by what inspection tells: the last announce of
/// a record's next incarnation must be later than that of the one before.
#[test]
fn a_word_that_repeats_is_seen() {
    must_break(Canary::WordReuse, "no word repeats");
}

#[test]
fn with_nothing_planted_nothing_is_seen() {
    assert_eq!(first_failure(), None);
    let plan = plan_of(0, ANNOUNCES);
    let counts: Counts = Fleet::new(&plan, 0).run().expect("no promise is broken");
    assert!(counts.leaves > 0, "the control does something");
}
