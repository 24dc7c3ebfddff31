//! Replacing a host: the id is known all the time, and once; one thread gets the user data of the incarnation that ends.

use super::*;
use crate::error::{LeaveError, RenewError};
use crate::event::EventKind;
use crate::liveness::Outcome;
use crate::pause::with_looks;
use loom::thread;

const EVERY: Duration = Duration::from_secs(5);

/// A host with user data 1, seen by the observer.
fn with_a_host() -> (World, Engine, Handle) {
    let (world, mut engine) = World::plain();
    let old = world.shared.announce(&[0], EVERY.into(), Duration::ZERO, 1).expect("there is room").handle;
    world.advance(&mut engine, 0);
    (world, engine, old)
}

/// A host is replaced while another thread looks its id up.
fn replacement_against_look_up() {
    let (world, mut engine, old) = with_a_host();
    let shared = world.shared.clone();
    let looker = thread::spawn(move || {
        let found = shared.find(&[0]).expect("the id is known at each moment");
        (found, shared.renew(old, Duration::ZERO))
    });
    let replaced = world.shared.replace(&[0], EVERY.into(), 2).expect("there is room");
    let new = replaced.announced.handle;
    assert_eq!(replaced.ended, Some((old, 1)));
    assert_eq!((world.shared.find(&[0]), world.shared.renew(old, Duration::ZERO)), (Ok(new), Err(RenewError::Stale)));
    let (found, renewed) = looker.join().expect("the looker returns");
    assert!(found == old || found == new);
    assert!(found == old || renewed == Err(RenewError::Stale), "two incarnations are alive");
    run(&world.shared, &mut engine);
    assert_eq!(world.shared.inspect(new).map(|status| status.user_data), Ok(2));
}

#[test]
fn loom_an_id_that_is_replaced_is_known_once() {
    explore(Some(3), replacement_against_look_up);
}

#[test]
fn loom_every_look_of_an_id_that_is_replaced_may_be_interrupted() {
    with_looks(|| explore(Some(2), replacement_against_look_up));
}

#[test]
fn loom_canary_a_replacement_counts_before_the_old_host_is_over() {
    must_fail(Canary::HastyReplacement, Some(3), replacement_against_look_up);
}

#[test]
fn loom_canary_a_look_up_believes_that_a_host_is_dead() {
    must_fail(Canary::TrustedDeath, Some(3), replacement_against_look_up);
}

#[test]
fn loom_canary_a_death_does_not_bring_the_successor_along() {
    must_fail(Canary::QuietReplacement, Some(3), replacement_against_look_up);
}

/// A host is replaced while another thread announces it.
#[test]
fn loom_an_announce_meets_one_incarnation_of_a_host_that_is_replaced() {
    explore(deep(3), || {
        let (world, mut engine, old) = with_a_host();
        let shared = world.shared.clone();
        let announcer = thread::spawn(move || shared.announce(&[0], EVERY.into(), Duration::ZERO, 3));
        let replaced = world.shared.replace(&[0], EVERY.into(), 2).expect("there is room");
        let announced = announcer.join().expect("the announcer returns").expect("the host is known");
        assert_eq!(announced.outcome, Outcome::Renewed);
        assert!(announced.handle == old || announced.handle == replaced.announced.handle);
        assert_eq!(replaced.ended, Some((old, 1)));
        run(&world.shared, &mut engine);
        assert_eq!(world.shared.stats().live, 1);
        assert_eq!(world.shared.slab.record(replaced.announced.handle.index()).armed(), tick(10_000));
    });
}

/// A host is replaced while it says goodbye by its handle: one of the two gets its user data.
#[test]
fn loom_a_goodbye_against_a_replacement_gives_user_data_back_once() {
    explore(Some(3), || {
        let (world, mut engine, old) = with_a_host();
        let shared = world.shared.clone();
        let leaver = thread::spawn(move || shared.leave_handle(old));
        let replaced = world.shared.replace(&[0], EVERY.into(), 2).expect("there is room");
        match leaver.join().expect("the leaver returns") {
            Ok(user_data) => assert_eq!((user_data, replaced.ended), (1, None)),
            Err(error) => assert_eq!((error, replaced.ended), (LeaveError::Stale, Some((old, 1)))),
        }
        run(&world.shared, &mut engine);
        assert_eq!(world.shared.find(&[0]), Ok(replaced.announced.handle));
        assert_eq!(world.shared.stats().live, 1);
    });
}

/// A due host is replaced while the observer takes it: a leave, or none.
#[test]
fn loom_a_host_is_replaced_or_taken() {
    explore(Some(3), || {
        let (world, mut engine, old) = with_a_host();
        assert_eq!(world.advance(&mut engine, 10_000).len(), 1, "suspect");
        world.shared.clock.set_manual(15_000 * TICK_NS);
        let shared = world.shared.clone();
        let replacer = thread::spawn(move || shared.replace(&[0], EVERY.into(), 2).expect("there is room"));
        let mut events = run(&world.shared, &mut engine);
        let replaced = replacer.join().expect("the replacer returns");
        events.extend(run(&world.shared, &mut engine));
        let leaves: Vec<Handle> =
            events.iter().filter(|event| event.kind() == EventKind::Leave).map(|event| event.handle).collect();
        match replaced.ended {
            Some(ended) => assert_eq!((ended, leaves), ((old, 1), vec![])),
            None => assert_eq!(leaves, [old]),
        }
        assert_eq!(world.shared.find(&[0]), Ok(replaced.announced.handle));
    });
}

/// Two replace one host: each ends another incarnation.
#[test]
fn loom_two_replacements_end_two_incarnations() {
    explore(deep(3), || {
        let (world, mut engine, old) = with_a_host();
        let shared = world.shared.clone();
        let other = thread::spawn(move || shared.replace(&[0], EVERY.into(), 3).expect("there is room"));
        let ours = world.shared.replace(&[0], EVERY.into(), 2).expect("there is room");
        let theirs = other.join().expect("the replacer returns");
        let mut ended = [ours.ended, theirs.ended].map(|ended| ended.expect("a host was known").0);
        ended.sort_unstable();
        let [first, last] = if ours.ended.is_some_and(|(handle, _)| handle == old) {
            [ours.announced.handle, theirs.announced.handle]
        } else {
            [theirs.announced.handle, ours.announced.handle]
        };
        let mut expected = [old, first];
        expected.sort_unstable();
        assert_eq!((ended, world.shared.find(&[0])), (expected, Ok(last)));
        run(&world.shared, &mut engine);
        assert_eq!(world.shared.stats().live, 1);
    });
}
