//! The calls of an announcer with the clock and the thread that a scheduler has.
//!
//! Under callgrind a pass takes tens of times as long as it does plainly, so what happens once in a while (the first announce
//! of a second, whatever a clock does at each tick of the kernel) meets tens of times as many calls. Those are still only some
//! hundred of a million, and the counts are stable. The vDSO is hidden there: a reading of the system's clock is a system call,
//! which counts as one instruction.

use std::thread::sleep;
use std::time::Duration;

use hostwheel::{Config, Event, Handle, HostWheel, Verdict};

use crate::fleet::Fleet;
use crate::metered;
use crate::subject;

pub fn run(fleet: &Fleet) {
    let wheel = HostWheel::start(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens");
    let handles: Vec<Handle> = fleet.ids().filter_map(|id| metered::announce(&wheel, &id)).collect();
    let handles = fleet.in_call_order(&handles);
    // A host that nobody has looked at yet is reported.
    while wheel.stats().visits < fleet.hosts() as u64 {
        sleep(Duration::from_millis(10));
    }
    new_tick();
    subject::leave_out();
    let heard = handles.iter().filter(|&&handle| metered::renew(&wheel, handle)).count();
    subject::ends("renew, default clock", fleet.hosts() as u64);
    new_tick();
    let by_id = fleet.ids_in_call_order().filter(|id| metered::announce(&wheel, id).is_some()).count();
    subject::ends("announce by id, default clock", fleet.hosts() as u64);
    assert_eq!((heard, by_id), (fleet.hosts(), fleet.hosts()), "known hosts are heard");
}

/// Waits until every host that is heard now is heard in another tick than before.
fn new_tick() {
    sleep(Duration::from_millis(50));
}
