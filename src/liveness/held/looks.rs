//! A thread is held between a look and what it does about it, or looks again, and what it saw is so no longer.

use super::{World, advance, announce, drain};
use crate::error::{AnnounceError, LeaveError, LookupError, RenewError};
use crate::event::{EventKind, Verdict};
use crate::holding::Held;
use crate::liveness::{Engine, Interval, Outcome, Shared};
use crate::pause::Point::{self, *};
use crate::record::{Handle, State};
use crate::sync::Arc;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(10);
const NOW: Duration = Duration::ZERO;

/// Host 0 says goodbye, its record is freed, and host 50 gets it, with 50 as its user data; then a second passes.
fn use_again(shared: &Shared, engine: &mut Engine, old: Handle) -> Handle {
    if shared.find(&[0]) == Ok(old) {
        shared.leave(&[0]).expect("the host is known");
    }
    advance(shared, engine, 1);
    let new = shared.announce(&[50], EVERY.into(), NOW, 50).expect("there is room").handle;
    assert_eq!(new.index(), old.index(), "the record was used again");
    advance(shared, engine, 2);
    new
}

/// An operation on the handle of host 0 is held at some points while its record is used again. Returns what it said, and
/// whether host 50 is as it was.
fn while_it_is_used_again<R: Send + 'static>(
    points: &'static [Point],
    act: impl FnOnce(Arc<Shared>, Handle) -> R + Send + 'static,
) -> (R, bool) {
    let (world, mut engine) = World::new();
    let old = world.shared.find(&[0]).expect("the host is known");
    // An announce would change the word.
    world.shared.clock.set_manual(500_000_000);
    let shared = world.shared.clone();
    let held = Held::at(points, move || act(shared, old));
    let new = use_again(&world.shared, &mut engine, old);
    let before = world.shared.slab.record(new.index()).word();
    let result = held.finish();
    (result, world.shared.slab.record(new.index()).word() == before)
}

#[test]
fn an_old_handle_that_was_alive_a_moment_ago_reaches_no_other_host() {
    for points in [&[Reading][..], &[Judging]] {
        let renewed = while_it_is_used_again(points, |shared, old| shared.renew(old, NOW));
        assert_eq!(renewed, (Err(RenewError::Stale), true), "at {points:?}");
        let age = Duration::from_millis(1);
        let aged = while_it_is_used_again(points, move |shared, old| shared.renew(old, age));
        assert_eq!(aged, (Err(RenewError::Stale), true), "at {points:?}");
        let left = while_it_is_used_again(points, |shared, old| shared.leave_handle(old));
        assert_eq!(left, (Err(LeaveError::Stale), true), "at {points:?}");
    }
    for points in [&[WordRead][..], &[Stamped]] {
        let renewed = while_it_is_used_again(points, |shared, old| shared.renew(old, NOW));
        assert_eq!(renewed, (Err(RenewError::Stale), true), "at {points:?}");
    }
    let left = while_it_is_used_again(&[Leaving], |shared, old| shared.leave_handle(old));
    assert_eq!(left, (Err(LeaveError::Stale), true));
}

#[test]
fn an_inspection_shows_nothing_of_the_next_host() {
    for points in [&[Reading][..], &[Viewing], &[Viewed]] {
        let seen = while_it_is_used_again(points, |shared, old| shared.inspect(old).map(|status| status.user_data));
        assert_eq!(seen, (Err(LookupError::Stale), true), "at {points:?}");
    }
}

#[test]
fn a_handle_that_is_over_is_over_though_its_record_is_used_again() {
    let (world, mut engine) = World::new();
    let old = world.shared.find(&[0]).expect("the host is known");
    let new = use_again(&world.shared, &mut engine, old);
    assert!(world.shared.is_alive(new) && !world.shared.is_alive(old));
    assert_eq!(world.shared.leave_handle(old), Err(LeaveError::Stale));
    assert_eq!(world.shared.renew(old, Duration::from_millis(1)), Err(RenewError::Stale));
    assert_eq!(world.shared.leave_handle(new), Ok(50));
}

/// A host has said goodbye; whoever looks it up finds it in the index, and then its record is used again.
#[test]
fn a_look_up_of_a_host_that_has_left_does_not_find_the_next_host_of_its_record() {
    for points in [&[Reading, Reading][..], &[Judging, Judging]] {
        let (world, mut engine) = World::new();
        let old = world.shared.find(&[0]).expect("the host is known");
        world.shared.leave_handle(old).expect("the host is known");
        let shared = world.shared.clone();
        let looker = Held::at(points, move || shared.find(&[0]));
        points[1..].iter().for_each(|_| looker.step());
        use_again(&world.shared, &mut engine, old);
        assert_eq!(looker.finish(), Err(LookupError::NotFound), "at {points:?}");
    }
}

#[test]
fn a_goodbye_gives_back_the_user_data_of_the_host_that_left() {
    let (world, mut engine) = World::new();
    let old = world.shared.announce(&[60], EVERY.into(), NOW, 60).expect("there is room").handle;
    advance(&world.shared, &mut engine, 0);
    let shared = world.shared.clone();
    let leaver = Held::at(&[Left], move || shared.leave_handle(old));
    // The observer finds it when it is due, before it is marked, and frees it.
    advance(&world.shared, &mut engine, 20);
    let new = world.shared.announce(&[50], EVERY.into(), NOW, 50).expect("there is room").handle;
    assert_eq!(new.index(), old.index(), "the record was used again");
    assert_eq!(leaver.finish(), Ok(60));
}

#[test]
fn a_goodbye_by_id_that_a_replacement_outruns_is_the_successors() {
    let (world, _engine) = World::new();
    let shared = world.shared.clone();
    let leaver = Held::at(&[Leaving], move || shared.leave(&[0]));
    let replaced = world.shared.replace(&[0], EVERY.into(), 7).expect("there is room");
    assert!(replaced.ended.is_some());
    assert_eq!(leaver.finish(), Ok(7));
    assert_eq!(world.shared.find(&[0]), Err(LookupError::NotFound));
}

#[test]
fn of_two_goodbyes_one_is_accepted_and_no_announce_after_it() {
    for acts in [1, 2, 3] {
        let (world, _engine) = World::new();
        let host = world.shared.find(&[0]).expect("the host is known");
        world.shared.clock.set_manual(500_000_000);
        let shared = world.shared.clone();
        let point: &[Point] = if acts == 1 { &[Leaving] } else { &[Stamped] };
        let late = Held::at(point, move || match acts {
            1 => shared.leave_handle(host).map_err(|_| ()).map(|_| ()),
            2 => shared.announce_handle(host, Interval::from(EVERY / 2), NOW).map_err(|_| ()).map(|_| ()),
            _ => shared.renew(host, Duration::from_millis(1)).map_err(|_| ()).map(|_| ()),
        });
        assert_eq!(world.shared.leave_handle(host), Ok(0));
        assert_eq!(late.finish(), Err(()), "act {acts}");
        assert_eq!(world.shared.slab.record(host.index()).word().state(), State::Left);
    }
}

/// A registration is completed by a helper, and its host has gone, when the registrant comes to it; its record is another
/// registrant's.
#[test]
fn a_late_registrant_does_not_complete_the_registration_of_another() {
    for points in [&[Entered][..], &[Entered, Reading], &[Entered, Judging]] {
        let (world, mut engine) = World::new();
        let shared = world.shared.clone();
        let late = Held::at(points, move || announce(&shared, 50, 5).handle);
        points[1..].iter().for_each(|_| late.step());
        let helped = announce(&world.shared, 50, 5);
        assert_eq!(helped.outcome, Outcome::Renewed);
        world.shared.leave_handle(helped.handle).expect("it is alive");
        advance(&world.shared, &mut engine, 1);
        let shared = world.shared.clone();
        let other = Held::at(&[Filled], move || announce(&shared, 51, 10).handle);
        let record = world.shared.slab.record(helped.handle.index());
        assert_eq!(record.word().state(), State::Reserved, "the record was used again");
        assert_eq!(late.finish(), helped.handle);
        assert_eq!(record.word().state(), State::Reserved, "the index does not know it yet");
        assert_eq!(world.shared.find(&[51]), Err(LookupError::NotFound));
        let new = other.finish();
        assert_eq!((new.index(), world.shared.find(&[51])), (helped.handle.index(), Ok(new)));
    }
}

#[test]
fn a_registration_under_way_is_replaced_and_not_passed_over() {
    let (world, _engine) = World::new();
    let shared = world.shared.clone();
    let registrant = Held::at(&[Entered], move || announce(&shared, 50, 10).handle);
    let replaced = world.shared.replace(&[50], EVERY.into(), 7).expect("there is room");
    let ended = replaced.ended.expect("it was known").0;
    assert_eq!(registrant.finish(), ended);
    assert_eq!(world.shared.renew(ended, NOW), Err(RenewError::Stale), "the id has one incarnation");
    assert_eq!(world.shared.find(&[50]), Ok(replaced.announced.handle));
}

/// Whoever looks up an id that is being replaced is held, and the record goes to another replacement, of another id.
#[test]
fn a_look_up_does_not_find_what_another_replacement_replaces() {
    for points in [&[Preceding][..], &[Preceded]] {
        let (world, mut engine) = World::new();
        let replace = |id: u8| {
            let shared = world.shared.clone();
            Held::at(&[Entered], move || shared.replace(&[id], EVERY.into(), 7).expect("there is room"))
        };
        let replacer = replace(3);
        let shared = world.shared.clone();
        let looker = Held::at(points, move || shared.find(&[3]));
        let new = replacer.finish().announced.handle;
        advance(&world.shared, &mut engine, 1);
        world.shared.leave_handle(new).expect("it is alive");
        advance(&world.shared, &mut engine, 2);
        let another = replace(4);
        assert_eq!(world.shared.slab.record(new.index()).word().state(), State::Reserved, "it was used again");
        assert_eq!(looker.finish(), Err(LookupError::NotFound), "at {points:?}");
        assert_eq!(another.finish().announced.handle.index(), new.index());
    }
}

/// What a walk shows.
fn walk(shared: &Shared) -> Vec<(u8, Handle)> {
    let mut seen = Vec::new();
    shared.each(|host| {
        seen.push((host.id[0], host.handle));
        ControlFlow::Continue(())
    });
    seen
}

/// The ids and handles of a walk, each shown once.
fn once(seen: &[(u8, Handle)]) -> HashSet<(u8, Handle)> {
    let all: HashSet<(u8, Handle)> = seen.iter().copied().collect();
    assert_eq!(all.len(), seen.len(), "a host is shown twice: {seen:?}");
    all
}

/// A walk has read an entry, or its id, and all records are used again. Ids are in an order that is random, so several times.
#[test]
fn a_walk_does_not_take_the_next_host_of_a_record_for_the_entered_one() {
    for points in [&[Naming][..], &[Named]].repeat(4) {
        let (world, mut engine) = World::new();
        let shared = world.shared.clone();
        let walker = Held::at(points, move || walk(&shared));
        (0..8).for_each(|id| _ = world.shared.leave(&[id]).expect("the host is known"));
        advance(&world.shared, &mut engine, 1);
        let new: HashSet<(u8, Handle)> = (50..58).map(|id| (id, announce(&world.shared, id, 10).handle)).collect();
        assert!(once(&walker.finish()).is_subset(&new), "at {points:?}");
    }
}

/// A walk has read an entry, and all hosts are replaced; it finds the successor, and they are replaced once more.
#[test]
fn a_walk_shows_hosts_that_are_replaced() {
    for points in [&[Naming][..], &[Naming, LookedUp]] {
        let (world, _engine) = World::new();
        let replace = |id: u8| world.shared.replace(&[id], EVERY.into(), 7).expect("there is room").announced.handle;
        let shared = world.shared.clone();
        let walker = Held::at(points, move || walk(&shared));
        let mut new: HashSet<(u8, Handle)> = (0..8).map(|id| (id, replace(id))).collect();
        for _ in &points[1..] {
            walker.step();
            new = (0..8).map(|id| (id, replace(id))).collect();
        }
        assert_eq!(once(&walker.finish()), new, "at {points:?}");
    }
}

#[test]
fn the_last_place_is_given_once() {
    let (world, _engine) = World::new();
    (8..63).for_each(|id| _ = announce(&world.shared, id, 10));
    let shared = world.shared.clone();
    let late = Held::at(&[Placing], move || shared.announce(&[100], EVERY.into(), NOW, 0));
    announce(&world.shared, 101, 10);
    assert_eq!(late.finish(), Err(AnnounceError::Full));
}

/// The observer is about to change the word of a host that is due, and it is heard.
#[test]
fn a_host_that_is_heard_when_it_is_due_stays() {
    for point in [&[Visiting][..], &[Due]] {
        for (due, state) in [(20, State::Live), (25, State::Suspect)] {
            let (mut world, mut engine) = World::new();
            (1..8).for_each(|id| world.leave(id));
            world.advance(&mut engine, due - 1);
            let host = world.shared.find(&[0]).expect("the host is known");
            if state == State::Suspect {
                world.advance(&mut engine, 29);
            }
            let due = if state == State::Suspect { 30 } else { 20 };
            assert_eq!(world.shared.slab.record(host.index()).word().state(), state);
            world.shared.clock.set_manual(due * 1000 * crate::tick::TICK_NS);
            let shared = world.shared.clone();
            let observer = Held::at(point, move || (advance(&shared, &mut engine, due), engine));
            let heard = world.shared.renew(host, NOW).expect("the host is alive");
            assert_eq!(heard == Outcome::Recovered, state == State::Suspect);
            let (events, mut engine) = observer.finish();
            assert!(events.iter().all(|event| event.kind() == EventKind::Recovered), "{events:?}");
            let status = world.shared.inspect(host).expect("it was heard");
            assert_eq!(status.last_seen, Duration::from_secs(due), "at {point:?}");
            assert_eq!(world.shared.slab.record(host.index()).word().state(), State::Live);
            world.balance(&mut engine);
        }
    }
}

/// A goodbye that a sweep finds before its mark is there was not lost.
#[test]
fn a_goodbye_held_before_its_mark_is_not_taken_for_lost() {
    let (mut world, mut engine) = World::new();
    let host = world.announce(50, 1000).handle;
    world.advance(&mut engine, 1);
    let shared = world.shared.clone();
    let leaver = Held::at(&[Left], move || shared.leave_handle(host));
    world.advance(&mut engine, 330);
    assert_eq!((world.shared.stats().sweeps, world.shared.stats().rescues), (1, 0));
    leaver.finish().expect("the host was known");
    world.said_goodbye.insert(host);
    world.balance(&mut engine);
}

/// The last moment to answer has passed, and the observer is about to hand the leave out again; the answer comes.
#[test]
fn an_answer_that_was_accepted_is_not_passed_over() {
    let (world, mut engine) = World::drained();
    (1..8).for_each(|id| _ = world.shared.leave(&[id]).expect("the host is known"));
    for seconds in [20, 30] {
        world.advance_drained(&mut engine, seconds);
        drain(&world.shared);
    }
    let host = world.shared.slab.record(0);
    assert_eq!(host.word().state(), State::Taken);
    let shared = world.shared.clone();
    let observer = Held::at(&[Retrying], move || {
        advance(&shared, &mut engine, 100);
        engine
    });
    let handle = Handle::new(0, host.generation());
    world.shared.settle(handle, 1, Verdict::Done).expect("its first answer");
    let mut engine = observer.finish();
    world.advance_drained(&mut engine, 101);
    assert!(drain(&world.shared).is_empty(), "it was answered");
    let stats = world.shared.stats();
    assert_eq!((stats.outstanding, stats.retries, stats.leaves_ttl), (0, 0, 1));
}
