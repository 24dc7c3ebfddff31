//! Announcers against a thread that collects, places and sleeps.

use super::*;
use crate::clock::{set_model_counter_behind, set_model_time};
use loom::thread;

/// Two announcers shorten one record while the thread collects and falls asleep. The thread's alarm (host 1) lies between
/// their two deadlines, so that only one of them has to wake it.
fn two_announcers_shorten_one_host() {
    let (world, mut engine) = World::plain();
    let host = world.announce(0, 1000);
    world.announce(1, 8);
    world.advance(&mut engine, 0);
    let [far, near] = [10, 5].map(|seconds| {
        let shared = world.shared.clone();
        thread::spawn(move || announce(&shared, 0, seconds))
    });
    let asleep = turn(&world.shared, &mut engine);
    near.join().expect("the announcer returns");
    // The other one may still be held back anywhere; the word may hold either interval.
    world.assert_noticed(asleep, world.due(host));
    far.join().expect("the announcer returns");
    world.assert_noticed(asleep, world.due(host));
    engine.awake(&world.shared);
    run(&world.shared, &mut engine);
    assert!(world.armed(host) <= world.due(host), "the thread would look too late");
}

#[test]
fn loom_a_shortened_deadline_is_noticed_whoever_else_announces() {
    explore(Some(3), two_announcers_shorten_one_host);
}

#[test]
fn loom_canary_an_announcer_trusts_a_set_leaf_bit() {
    must_fail(Canary::TrustedLeaf, Some(3), two_announcers_shorten_one_host);
}

/// One announcer shortens; all interleavings.
fn one_announcer_shortens() {
    let (world, mut engine) = World::plain();
    let host = world.announce(0, 1000);
    world.advance(&mut engine, 0);
    let shared = world.shared.clone();
    let announcer = thread::spawn(move || announce(&shared, 0, 5));
    let asleep = engine.may_sleep(&world.shared, engine.next_look());
    announcer.join().expect("the announcer returns");
    world.assert_noticed(asleep, world.due(host));
    engine.awake(&world.shared);
    run(&world.shared, &mut engine);
    assert!(world.armed(host) <= world.due(host), "the thread would look too late");
}

#[test]
fn loom_an_announcer_and_a_thread_that_falls_asleep_do_not_miss_each_other() {
    explore(None, one_announcer_shortens);
}

#[test]
fn loom_canary_no_fence_between_mark_and_alarm() {
    must_fail(Canary::NoWakeFence, None, one_announcer_shortens);
}

#[test]
fn loom_canary_no_fence_between_alarm_and_bitmap() {
    must_fail(Canary::NoSleepFence, None, one_announcer_shortens);
}

/// The thread visits a host that is due by an old deadline, while an announcer shortens the host's interval.
fn hint_upward_while_shortened(world: &World, engine: &mut Engine, host: Handle) {
    let shared = world.shared.clone();
    let announcer = thread::spawn(move || announce(&shared, 0, 1));
    run(&world.shared, engine);
    announcer.join().expect("the announcer returns");
    run(&world.shared, engine);
    assert!(world.armed(host) <= world.due(host), "the thread would look too late");
}

/// The thread visits a renewed host and hints it upward while an announcer shortens its interval.
fn a_renewed_host_is_hinted_upward_while_it_is_shortened() {
    let (world, mut engine) = World::plain();
    let host = world.announce(0, 10);
    world.advance(&mut engine, 0);
    world.shared.clock.set_manual(15_000 * TICK_NS);
    world.announce(0, 10);
    world.shared.clock.set_manual(20_000 * TICK_NS);
    // Due by the old deadline; the new one is 35 s, or 22 s after the announce.
    hint_upward_while_shortened(&world, &mut engine, host);
}

/// The same by the processor's counter, by which an announce takes its shortest way.
fn a_renewed_host_is_hinted_upward_while_a_plain_announce_shortens_it() {
    let pass = |ms: u64| set_model_time(1 + ms * TICK_NS);
    set_model_counter_behind(0);
    pass(0);
    let (world, mut engine) = World::open(Config { clock: Clock::Counter, ..quiet() }, false);
    let host = world.announce(0, 10);
    run(&world.shared, &mut engine);
    // Counter and clock agree twice.
    for ms in [19_998, 19_999] {
        pass(ms);
        world.announce(0, 10);
    }
    pass(20_000);
    assert!(world.shared.clock.plain_stamp().is_some(), "the counter makes the stamps");
    hint_upward_while_shortened(&world, &mut engine, host);
}

#[test]
fn loom_a_hint_moved_upward_does_not_pass_a_deadline_that_a_plain_announce_moved() {
    explore(Some(3), a_renewed_host_is_hinted_upward_while_a_plain_announce_shortens_it);
}

#[test]
fn loom_a_hint_moved_upward_does_not_pass_a_deadline_moved_downward() {
    explore(None, a_renewed_host_is_hinted_upward_while_it_is_shortened);
}

/// The thread spares a due host until long after, while the host is heard and will be due before that.
fn a_spared_host_is_heard() {
    let (world, mut engine) = World::new(Config { grace: Duration::ZERO, ..quiet() }, false);
    let host = world.announce(0, 10);
    world.advance(&mut engine, 0);
    world.shared.clock.set_manual(20_000 * TICK_NS);
    let shared = world.shared.clone();
    let record = shared.slab.record(host.index());
    let word = record.word();
    let announcer = {
        let shared = world.shared.clone();
        thread::spawn(move || announce(&shared, 0, 1))
    };
    if !engine.spare(&shared, host.index(), record, word, tick(60_000)) {
        engine.visit(&shared, host.index());
    }
    announcer.join().expect("the announcer returns");
    run(&world.shared, &mut engine);
    assert!(world.armed(host) <= world.due(host), "the thread would look too late");
}

#[test]
fn loom_a_spared_host_that_is_heard_is_looked_at_in_time() {
    explore(None, a_spared_host_is_heard);
}

#[test]
fn loom_canary_no_fence_after_sparing() {
    must_fail(Canary::NoArmFence, None, a_spared_host_is_heard);
}

#[test]
fn loom_canary_no_second_look_after_arming() {
    must_fail(Canary::NoSecondLook, None, a_renewed_host_is_hinted_upward_while_it_is_shortened);
}

#[test]
fn loom_canary_no_fence_after_arming() {
    must_fail(Canary::NoArmFence, None, a_renewed_host_is_hinted_upward_while_it_is_shortened);
}

#[test]
fn loom_canary_no_fence_between_word_and_armed() {
    must_fail(Canary::NoAnnouncerFence, None, a_renewed_host_is_hinted_upward_while_it_is_shortened);
}

/// A goodbye is marked beside another host's report, in the same leaf word: the thread may find its bit by way of the other
/// one's top bit, before the leaver has set its own.
fn a_goodbye_marked_beside_a_report() {
    let (world, mut engine) = World::plain();
    let hosts = [world.announce(0, 1000), world.announce(1, 1000)];
    world.advance(&mut engine, 0);
    let shared = world.shared.clone();
    let leaver = thread::spawn(move || shared.leave_handle(hosts[0]));
    let shared = world.shared.clone();
    let announcer = thread::spawn(move || announce(&shared, 1, 5));
    run(&world.shared, &mut engine);
    leaver.join().expect("the leaver returns").expect("the host was known");
    announcer.join().expect("the announcer returns");
    world.advance(&mut engine, 1);
    let state = world.shared.slab.record(hosts[0].index()).word().state();
    assert_eq!(state, crate::record::State::Free, "nobody was told of the goodbye");
    assert!(world.armed(hosts[1]) <= world.due(hosts[1]), "the thread would look too late");
}

#[test]
fn loom_a_goodbye_marked_beside_a_report_is_found() {
    explore(Some(2), a_goodbye_marked_beside_a_report);
}

/// A helper completes the registration of one who is held back, while the thread falls asleep.
fn a_helper_completes_a_registration() {
    let (world, mut engine) = World::plain();
    let shared = world.shared.clone();
    let registrant = thread::spawn(move || announce(&shared, 0, 5));
    let shared = world.shared.clone();
    let helper = thread::spawn(move || announce(&shared, 0, 5));
    let asleep = turn(&world.shared, &mut engine);
    let host = helper.join().expect("the helper returns");
    // Whoever it was that registered the host: it has been reported, or the helper did it.
    world.assert_noticed(asleep, world.due(host));
    registrant.join().expect("the registrant returns");
    engine.awake(&world.shared);
    run(&world.shared, &mut engine);
    assert!(world.armed(host) <= world.due(host), "nobody placed the host");
}

#[test]
fn loom_a_helped_registration_is_reported() {
    explore(Some(2), a_helper_completes_a_registration);
}

#[test]
fn loom_canary_a_helper_leaves_the_report_to_the_registrant() {
    must_fail(Canary::SilentHelper, Some(2), a_helper_completes_a_registration);
}

/// Close against a thread that falls asleep, and a leave that wakes nobody.
fn close_while_the_thread_falls_asleep() {
    let (world, mut engine) = World::plain();
    let host = world.announce(0, 5);
    world.advance(&mut engine, 0);
    let shared = world.shared.clone();
    let closer = thread::spawn(move || {
        let left = shared.leave_handle(host);
        shared.close();
        left
    });
    let asleep = turn(&world.shared, &mut engine);
    closer.join().expect("close returns").expect("the host was known");
    assert!(!asleep || world.bell.0.load(Ordering::Acquire), "the thread sleeps through close");
    assert!(world.shared.clock.is_closed());
}

#[test]
fn loom_close_reaches_a_thread_that_falls_asleep() {
    explore(None, close_while_the_thread_falls_asleep);
}

#[test]
fn loom_canary_close_does_not_wake() {
    must_fail(Canary::SilentClose, None, close_while_the_thread_falls_asleep);
}

/// A host waits for room in the drain queue; the consumer makes room while the thread falls asleep.
fn room_in_a_full_queue() {
    let (world, mut engine) = World::new(Config { max_outstanding: 1, ..quiet() }, true);
    world.announce(0, 5);
    world.announce(1, 5);
    world.advance(&mut engine, 0);
    // Both turn suspect; the queue has room for one event.
    world.advance(&mut engine, 10_000);
    let shared = world.shared.clone();
    let consumer = thread::spawn(move || {
        let mut events = Vec::new();
        shared.queue.as_ref().expect("it drains").take(&mut events, 1);
        shared.drained(&events);
        events
    });
    let asleep = turn(&world.shared, &mut engine);
    let events = consumer.join().expect("the drain returns");
    assert_eq!(events.len(), 1);
    let waiting = engine.wheel.queued_len(crate::wheel::Queue::Room);
    assert!(!asleep || waiting == 0 || world.bell.0.load(Ordering::Acquire), "the queue has room and nobody knows");
}

#[test]
fn loom_room_in_a_full_queue_is_noticed() {
    explore(None, room_in_a_full_queue);
}

#[test]
fn loom_canary_no_fence_between_alarm_and_queue() {
    must_fail(Canary::NoSleepFence, None, room_in_a_full_queue);
}

#[test]
fn loom_canary_a_drain_tells_nobody() {
    must_fail(Canary::SilentDrain, None, room_in_a_full_queue);
}
