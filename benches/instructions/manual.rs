//! All calls and the thread's work, on the manual clock: the same in every run but for the index, whose hash has a random key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hostwheel::{Config, Event, Handle, HostWheel, Verdict};

use crate::expiring;
use crate::fleet::{Fleet, INTERVAL};
use crate::metered;
use crate::subject;

const TICK: Duration = Duration::from_millis(1);

pub fn run(fleet: &Fleet) {
    life(fleet);
    expiry(fleet);
}

/// Registers all hosts; their handles in the order of the calls.
fn register(wheel: &HostWheel, fleet: &Fleet) -> Vec<Handle> {
    let handles: Vec<Handle> = fleet.ids().filter_map(|id| metered::announce(wheel, &id)).collect();
    fleet.in_call_order(&handles)
}

/// Hosts register, are heard in each way, live for some intervals and say goodbye.
fn life(fleet: &Fleet) {
    let hosts = fleet.hosts() as u64;
    let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens");
    let mut now = Duration::ZERO;
    let mut advance = |by: Duration| {
        now += by;
        let before = wheel.stats().visits;
        assert!(metered::advance(&wheel, now), "a manual clock advances");
        wheel.stats().visits - before
    };

    let handles = register(&wheel, fleet);
    subject::ends("register", hosts);
    subject::ends("visit of a new host", advance(TICK));

    // In a new tick: a wheel stores nothing when a host is heard twice in the same one.
    let heard = handles.iter().filter(|&&handle| metered::renew(&wheel, handle)).count();
    subject::ends("renew", hosts);
    let again = handles.iter().filter(|&&handle| metered::renew(&wheel, handle)).count();
    subject::ends("renew again in the same tick", hosts);
    advance(TICK);
    subject::leave_out();
    let by_id = fleet.ids_in_call_order().filter(|id| metered::announce(&wheel, id).is_some()).count();
    subject::ends("announce by id", hosts);
    assert_eq!((heard, again, by_id), (fleet.hosts(), fleet.hosts(), fleet.hosts()), "known hosts are heard");

    // Everybody announces once per interval, always in the same order, at most 100 between two looks. The looks are at their
    // places after three intervals, and come back to them after two.
    let together = (fleet.hosts() / 3000).clamp(1, 100);
    let step = INTERVAL / fleet.hosts().div_ceil(together) as u32;
    let mut interval = || -> u64 {
        let steps = handles.chunks(together).map(|some| {
            assert!(some.iter().all(|&handle| wheel.renew(handle).is_ok()), "known hosts are heard");
            advance(step)
        });
        steps.sum()
    };
    for _ in 0..3 {
        interval();
    }
    subject::leave_out();
    let visits = interval() + interval();
    subject::ends("visit, and its share of the looks", visits);
    assert_eq!(wheel.stats().suspects, 0, "a host that announces in time is no suspect");

    let gone = fleet.ids_in_call_order().filter(|id| metered::leave(&wheel, id)).count();
    subject::ends("leave by id", hosts);
    assert_eq!(gone, fleet.hosts(), "known hosts leave");
    subject::ends("visit of a host that left", advance(TICK));
}

/// Everybody is silent and leaves.
fn expiry(fleet: &Fleet) {
    let (handler, expired) = expiring::counting();
    let wheel = HostWheel::manual(expiring::config(), handler).expect("a wheel opens");
    let handles = register(&wheel, fleet);
    // So that neighbours in memory do not expire one after the other.
    let together = (fleet.hosts() / 3000).clamp(1, 100);
    let mut now = Duration::ZERO;
    for some in handles.chunks(together) {
        now += TICK;
        assert!(wheel.advance(now).is_ok() && some.iter().all(|&handle| wheel.renew(handle).is_ok()));
    }
    subject::leave_out();
    assert!(metered::advance(&wheel, now + 3 * INTERVAL), "a manual clock advances");
    let expired = expired.load(Ordering::Relaxed);
    subject::ends("expiry, callback included", expired as u64);
    assert_eq!(expired, fleet.hosts(), "everybody expires once");
}
