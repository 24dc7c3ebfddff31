//! What becomes of one host: taken, heard, gone, come back.

use super::*;
use crate::error::{LeaveError, RenewError};
use crate::index::Index;
use crate::liveness::Outcome;
use crate::pause::with_looks;
use crate::record::State;
use loom::thread;

/// A due suspect is taken by the thread, heard by an announcer and sent away by a third, all at once.
fn take_against_announce_against_leave() {
    let (world, mut engine) = World::plain();
    let host = world.announce(0, 5);
    world.advance(&mut engine, 0);
    assert_eq!(world.advance(&mut engine, 10_000).len(), 1, "suspect");
    world.shared.clock.set_manual(15_000 * TICK_NS);
    let shared = world.shared.clone();
    let announcer = thread::spawn(move || shared.renew(host, Duration::ZERO));
    let shared = world.shared.clone();
    let leaver = thread::spawn(move || shared.leave_handle(host));
    let mut events = run(&world.shared, &mut engine);
    let heard = announcer.join().expect("the announcer returns");
    let left = leaver.join().expect("the leaver returns");
    events.extend(run(&world.shared, &mut engine));
    let leaves = events.iter().filter(|event| event.kind() == crate::event::EventKind::Leave).count();
    let recovered = events.len() - leaves;

    match left {
        Ok(_) => assert_eq!(leaves, 0, "a host that said goodbye fires nothing"),
        Err(LeaveError::Taken) => assert_eq!(leaves, 1, "only a leave in flight refuses a goodbye"),
        Err(other) => panic!("{other:?}"),
    }
    match heard {
        Ok(outcome) => {
            assert_eq!(outcome, Outcome::Recovered);
            assert_eq!(leaves, 0, "a host that was heard did not leave");
        }
        Err(RenewError::Taken) => assert_eq!(leaves, 1),
        Err(RenewError::Stale) => assert!(left.is_ok()),
        Err(RenewError::Closed) => unreachable!(),
    }
    assert!(leaves == 1 || left.is_ok(), "somebody must have won");
    assert!(recovered <= usize::from(heard.is_ok()), "recovered without being heard");
}

#[test]
fn loom_take_announce_and_leave_agree_on_one_winner() {
    explore(Some(3), take_against_announce_against_leave);
}

#[test]
fn loom_canary_a_host_is_taken_without_a_cas() {
    must_fail(Canary::BlindTake, Some(3), take_against_announce_against_leave);
}

/// `registrants` of one id, whose old incarnation the thread is about to free, if there is one.
fn registrants_of_one_id<const N: usize>(came_before: bool) {
    let (world, mut engine) = World::plain();
    let old = came_before.then(|| world.announce(0, 5));
    world.advance(&mut engine, 0);
    if let Some(old) = old {
        world.shared.leave_handle(old).expect("the host is known");
    }
    world.shared.clock.set_manual(TICK_NS);
    let registrants: [_; N] = std::array::from_fn(|n| {
        let shared = world.shared.clone();
        thread::spawn(move || {
            let interval = Duration::from_secs(5 + 2 * n as u64).into();
            shared.announce(&[0], interval, Duration::ZERO, 0).expect("there is room")
        })
    });
    if came_before {
        run(&world.shared, &mut engine);
    }
    let announced = registrants.map(|registrant| registrant.join().expect("the registrant returns"));
    world.advance(&mut engine, 2);
    world.advance(&mut engine, 3);

    let handle = announced[0].handle;
    assert!(announced.iter().all(|a| a.handle == handle), "one id has one living incarnation");
    assert_ne!(Some(handle), old);
    let registered = announced.iter().filter(|a| a.outcome == Outcome::Registered).count();
    assert_eq!(registered, 1, "one registers, the others renew");
    assert_eq!(world.shared.entered(&[0]), Some(handle));
    let states: Vec<State> =
        (0..world.shared.slab.used()).map(|i| world.shared.slab.record(i).word().state()).collect();
    let live = states.iter().filter(|state| **state == State::Live).count();
    let free = states.iter().filter(|state| **state == State::Free).count();
    assert_eq!((live, live + free), (1, states.len()), "the loser's record comes back: {states:?}");
}

fn two_registrants() {
    registrants_of_one_id::<2>(false);
}

fn a_registrant_and_the_thread_that_frees() {
    registrants_of_one_id::<1>(true);
}

fn two_registrants_and_the_thread_that_frees() {
    registrants_of_one_id::<2>(true);
}

#[test]
fn loom_a_host_comes_back_while_its_old_record_is_freed() {
    explore(Some(3), a_registrant_and_the_thread_that_frees);
}

#[test]
fn loom_of_two_registrants_one_registers() {
    explore(Some(2), two_registrants);
}

#[test]
fn loom_of_two_registrants_of_a_host_that_left_one_registers() {
    explore(deep(2), two_registrants_and_the_thread_that_frees);
}

#[test]
fn loom_canary_the_loser_of_a_race_keeps_its_record() {
    must_fail(Canary::LoserKeepsRecord, Some(2), two_registrants);
}

/// An old handle is renewed while its record is freed and used again, for a host heard at the same moment as the first.
fn an_old_handle_against_reuse() {
    // There is one record, so the next host gets it whatever its age.
    let (world, mut engine) = World::new(Config { max_hosts: 1, ..quiet() }, false);
    let old = world.announce(0, 5);
    world.advance(&mut engine, 0);
    let shared = world.shared.clone();
    let late = thread::spawn(move || shared.renew(old, Duration::ZERO));
    world.shared.leave_handle(old).expect("the host is known");
    world.advance(&mut engine, 100);
    // Unless the late renew moved the old host's last announce to now: then it is freed at the next tick.
    world.advance(&mut engine, 101);
    let age = Duration::from_millis(101);
    let new = world.shared.announce(&[1], Duration::from_secs(5).into(), age, 0).expect("there is room").handle;
    assert_eq!(new.index(), old.index(), "the record was used again");
    let heard = world.shared.slab.record(new.index()).word().last();
    let renewed = late.join().expect("the renew returns");
    assert!(matches!(renewed, Ok(Outcome::Renewed) | Err(RenewError::Stale)), "{renewed:?}");
    assert_eq!(world.shared.slab.record(new.index()).word().last(), heard, "an old handle reached a new host");
}

#[test]
fn loom_an_old_handle_never_reaches_the_next_host_of_its_record() {
    explore(Some(3), an_old_handle_against_reuse);
}

#[test]
fn loom_every_look_of_an_old_handle_may_be_interrupted() {
    with_looks(|| explore(Some(2), an_old_handle_against_reuse));
}

#[test]
fn loom_every_look_of_an_inspection_may_be_interrupted() {
    with_looks(|| explore(Some(2), an_inspection_against_reuse));
}

#[test]
fn loom_canary_words_of_two_incarnations_are_equal() {
    must_fail(Canary::WordReuse, Some(3), an_old_handle_against_reuse);
}

/// A host is inspected while it leaves and its record is filled for another.
fn an_inspection_against_reuse() {
    let (world, mut engine) = World::plain();
    let interval = Duration::from_secs(5);
    let old = world.shared.announce(&[0], interval.into(), Duration::ZERO, 1).expect("there is room").handle;
    world.advance(&mut engine, 0);
    let shared = world.shared.clone();
    let reader = thread::spawn(move || shared.inspect(old).map(|status| status.user_data));
    world.shared.leave_handle(old).expect("the host is known");
    world.advance(&mut engine, 1);
    let new = world.shared.announce(&[1], interval.into(), Duration::ZERO, 2).expect("there is room").handle;
    assert_eq!(new.index(), old.index(), "the record was used again");
    let seen = reader.join().expect("the inspection returns");
    assert!(matches!(seen, Ok(1) | Err(_)), "another host's user data: {seen:?}");
}

#[test]
fn loom_an_inspection_never_shows_what_belongs_to_the_next_host() {
    explore(Some(3), an_inspection_against_reuse);
}

/// Hosts in a list that is being drained are shortened and sent away between its steps.
fn a_drain_against_shorten_and_leave() {
    let (world, mut engine) = World::plain();
    let hosts = [world.announce(0, 5), world.announce(1, 5)];
    world.advance(&mut engine, 0);
    world.shared.clock.set_manual(1000 * TICK_NS);
    world.announce(0, 5);
    world.announce(1, 5);
    // Both hints come up at 10 s, in one list; both hosts were heard since.
    world.shared.clock.set_manual(10_000 * TICK_NS);
    let shared = world.shared.clone();
    let changer = thread::spawn(move || {
        announce(&shared, 0, 2);
        shared.leave_handle(hosts[1]).expect("the host is known");
    });
    run(&world.shared, &mut engine);
    changer.join().expect("the announcer returns");
    engine.check_invariants(&world.shared);
    let events = world.advance(&mut engine, 10_001);
    assert!(events.is_empty());
    engine.check_invariants(&world.shared);
    assert!(world.armed(hosts[0]) <= world.due(hosts[0]), "the shortened host is looked at too late");
    assert_eq!(world.shared.slab.record(hosts[1].index()).word().state(), State::Free);
}

#[test]
fn loom_a_host_in_a_drained_list_can_be_shortened_and_leave() {
    explore(Some(3), a_drain_against_shorten_and_leave);
}

#[test]
fn loom_canary_a_freed_record_keeps_its_hint() {
    must_fail(Canary::FreeKeepsHint, Some(3), a_drain_against_shorten_and_leave);
}
