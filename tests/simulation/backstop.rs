//! The back-stop, on an engine whose wheel can be made to forget: what the wheel lost is rescued once and counted, and
//! nothing else is taken for lost, neither after a pause, nor after a long callback, nor while hosts wait.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{Bell, Rig, seconds};
use super::rng::Rng;
use crate::expiry::{Delivery, EventFd};
use crate::liveness::{Engine, Shared};
use crate::{Config, Event, EventKind, Events, Handle, Interval, Reason, Verdict};

#[test]
fn a_host_that_the_wheel_forgot_is_rescued_once_and_leaves_with_that_reason() {
    let mut rig = Rig::new(&Rig::config());
    let lost = rig.announce("lost", seconds(5));
    let kept = rig.announce("kept", seconds(5));
    rig.advance_ms(10);
    rig.forget(lost);
    let events = rig.walk(20, 30_000, 10);
    assert!(events.iter().all(|event| event.handle() == kept), "the wheel lost it: {events:?}");
    let events = rig.walk(30_010, 400_000, 10);
    let kinds: Vec<_> = events.iter().map(|event| (event.handle(), event.kind(), event.reason())).collect();
    assert_eq!(kinds, [(lost, EventKind::Suspect, Reason::Backstop), (lost, EventKind::Leave, Reason::Backstop)]);
    let stats = rig.shared.stats();
    assert_eq!((stats.rescues, stats.leaves_backstop, stats.leaves_ttl, stats.live), (1, 1, 1, 0));
}

#[test]
fn a_forgotten_host_that_is_heard_again_is_back_in_the_wheel() {
    let mut rig = Rig::new(&Rig::config());
    let host = rig.announce("a", seconds(5));
    rig.advance_ms(10);
    rig.forget(host);
    // Overdue, and nobody noticed; then it is heard, which the wheel, who trusts its hint, is not told.
    rig.advance_ms(12_000);
    rig.shared.renew(host, Duration::ZERO).expect("it is known");
    let events = rig.walk(12_010, 200_000, 10);
    assert_eq!(rig.rescues(), 1);
    let leaves: Vec<_> = events.iter().filter(|event| event.kind() == EventKind::Leave).collect();
    assert_eq!(leaves.len(), 1, "{events:?}");
}

#[test]
fn every_forgotten_host_of_a_fleet_is_found() {
    let mut rig = Rig::new(&Rig::config());
    let handles: Vec<Handle> = (0..300_u32).map(|id| rig.announce(id.to_be_bytes(), seconds(5))).collect();
    rig.advance_ms(1);
    handles.iter().step_by(3).for_each(|handle| rig.forget(*handle));
    let leaves = rig.walk(100, 300_000, 100).iter().filter(|event| event.kind() == EventKind::Leave).count();
    assert_eq!((leaves, rig.rescues()), (300, 100));
}

#[test]
fn a_long_pause_of_the_observer_makes_nobody_lost() {
    for watchdog in [Duration::ZERO, seconds(1)] {
        let mut rig = Rig::new(&Config { watchdog, ..Rig::config() });
        for id in 0..500_u32 {
            rig.announce(id.to_be_bytes(), seconds(5 + u64::from(id % 60)));
        }
        rig.advance_ms(100);
        let mut leaves = 0;
        // Hours at a time; with the watchdog they count for 750 ms each.
        for pause in 1..900 {
            let events = rig.advance_ms(100 + pause * 7_200_000);
            leaves += events.iter().filter(|event| event.kind() == EventKind::Leave).count();
        }
        assert_eq!((leaves, rig.rescues()), (500, 0), "watchdog {watchdog:?}");
    }
}

#[test]
fn a_long_callback_makes_nobody_lost() {
    for watchdog in [Duration::ZERO, seconds(1)] {
        // Each leave takes a quarter of a minute, and every second one is refused.
        let config = Config { watchdog, batch: 1, backstop: seconds(20), ..Rig::config() };
        let mut rig = Rig::with_callback(&config, |shared| {
            move |event: &Event| {
                let now_ns = shared.clock.observe_ns();
                shared.clock.set_manual(now_ns + 15_000_000_000);
                if event.attempt() == 1 { Verdict::Retry(seconds(3)) } else { Verdict::Done }
            }
        });
        for id in 0..40_u32 {
            rig.announce(id.to_be_bytes(), seconds(5 + u64::from(id % 10)));
        }
        let mut leaves = 0;
        let mut clock_ms = 0;
        while rig.shared.stats().live + rig.shared.stats().outstanding > 0 {
            clock_ms = (rig.shared.clock.observe_ns() / 1_000_000).max(clock_ms) + 100;
            let events = rig.advance_ms(clock_ms);
            leaves += events.iter().filter(|event| event.kind() == EventKind::Leave).count();
        }
        assert_eq!((leaves, rig.rescues()), (80, 0), "watchdog {watchdog:?}");
    }
}

#[test]
fn a_host_that_waits_its_turn_is_not_lost() {
    let config = Config { max_outstanding: 1, backstop: seconds(10), ..Rig::config() };
    // The one outstanding leave is refused for an hour, and all the others wait.
    let mut rig = Rig::with_callback(&config, |shared| {
        let until = 3600 * 1_000_000_000;
        move |_: &Event| if shared.clock.observe_ns() < until { Verdict::Retry(seconds(60)) } else { Verdict::Done }
    });
    for id in 0..50_u32 {
        rig.announce(id.to_be_bytes(), seconds(5));
    }
    rig.walk(0, 3_500_000, 500);
    assert_eq!((rig.shared.stats().waiting, rig.rescues()), (49, 0));
    rig.walk(3_500_500, 3_800_000, 500);
    assert_eq!((rig.shared.stats().live, rig.shared.stats().outstanding, rig.rescues()), (0, 0, 0));
}

#[test]
fn a_host_that_waits_for_room_in_the_queue_is_not_lost() {
    let config = Config { max_outstanding: 4, backstop: seconds(10), ..Rig::config() };
    let signal = Arc::new(EventFd::new().expect("a descriptor"));
    let shared =
        Arc::new(Shared::new(&config, true, Box::new(Bell::default()), 7, u32::MAX).expect("there is address space"));
    let mut events = Events { shared: shared.clone(), stage: Arc::default(), signal: signal.clone() };
    let mut delivery = Delivery::Queue(signal);
    let mut engine = Engine::new(&config, &shared);
    for id in 0..50_u32 {
        let announced = shared.announce(&id.to_be_bytes(), Interval::from(seconds(5)), Duration::ZERO, 0);
        announced.expect("there is room");
    }
    let mut leaves = 0;
    for ms in (0..4_000_000_u64).step_by(500) {
        shared.clock.set_manual(ms * 1_000_000);
        loop {
            engine.step(&shared);
            engine.check_invariants(&shared);
            delivery.deliver(&shared, &mut engine);
            if !engine.has_more(&shared) {
                break;
            }
        }
        let mut drained = Vec::new();
        // Nobody drains for an hour.
        events.drain(&mut drained, if ms < 3_600_000 { 0 } else { 4 });
        for event in drained.iter().filter(|event| event.kind() == EventKind::Leave) {
            shared.settle(event.handle(), event.attempt(), Verdict::Done).expect("its first answer");
            leaves += 1;
        }
        assert!(shared.stats().waiting >= 40 || !(10_000..3_600_000).contains(&ms));
    }
    assert_eq!((leaves, shared.stats().rescues), (50, 0));
}

#[test]
fn wheel_and_slab_agree_after_every_step_of_a_random_run() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let config = Config {
            max_hosts: 60,
            batch: rng.pick(&[1, 3, 256]) as usize,
            max_outstanding: rng.pick(&[1, 5, 1000]) as usize,
            ..Rig::config()
        };
        let mut answers = Rng::new(seed);
        let mut rig = Rig::with_callback(&config, |_| {
            move |_: &Event| if answers.permille(300) { Verdict::Retry(Duration::ZERO) } else { Verdict::Done }
        });
        let mut now_ms = 0;
        for _ in 0..1500 {
            let id = (rng.below(80) as u32).to_be_bytes();
            let age = Duration::from_millis(rng.pick(&[0, 0, 0, 500, 10_000]));
            let every = Interval::from(Duration::from_millis(rng.magnitude(1000, 3_000_000)));
            // Refusals are part of it: the table is full at times, and not all ids are known.
            match rng.below(4) {
                0 => _ = rig.shared.leave(&id),
                _ => _ = rig.shared.announce(&id, every, age, 0),
            }
            if rng.permille(400) {
                now_ms += rng.magnitude(1, 2_000_000);
                rig.advance_ms(now_ms);
            }
        }
        assert_eq!(rig.rescues(), 0, "seed {seed}");
    }
}
