//! One round of one subject.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::expiry::{Expiry, INTERVAL, Purpose, WORKLOADS, Workload};
use crate::fit;
use crate::fleet::{Fleet, Id, coarse_ns, id, per_call};

/// An interval within which no measurement ends, so that nothing expires; one held to the millisecond, as those in use are.
const LONG: Duration = Duration::from_secs(1800);
const OTHER: Duration = Duration::from_secs(1500);

/// Hosts that come and go beside the fleet, and how often each does.
const FLAPPERS: u32 = 1000;
const FLAPS: usize = 20;

/// What one round says about one subject.
pub struct Round {
    /// Nanoseconds by workload; not a number where the subject lacks it.
    pub figures: [f64; WORKLOADS.len()],
    /// Resident memory per registered host.
    pub bytes: f64,
    pub took: Duration,
}

/// Measures `E` with everything that it has.
pub fn measure<E: Expiry>(fleet: &Arc<Fleet>) -> Round {
    let start = Instant::now();
    let mut round = Round { figures: [f64::NAN; WORKLOADS.len()], bytes: f64::NAN, took: Duration::ZERO };
    let filling = calls::<E>(fleet, &mut round);
    life::<E>(fleet, &mut round);
    if has::<E>(Workload::Expire) {
        round.figures[Workload::Expire as usize] = expiry::<E>(fleet, filling);
    }
    round.took = start.elapsed();
    round
}

fn has<E: Expiry>(workload: Workload) -> bool {
    !E::LACKS.contains(&workload)
}

/// Registers all hosts; what that took per host, and their handles in the order of the calls.
fn fill<E: Expiry>(subject: &mut E, fleet: &Fleet, interval: impl Fn(&E, u32) -> Duration) -> (f64, Vec<E::Handle>) {
    let mut handles = Vec::with_capacity(fleet.hosts());
    let spent = fleet.register(|host, id| {
        handles.push({
            let interval = interval(subject, host);
            subject.register(host, id, interval)
        })
    });
    assert_eq!(subject.count() + subject.expired(), fleet.hosts(), "{} knows every host", E::NAME);
    (per_call(spent, fleet.hosts()), fleet.in_call_order(&handles))
}

/// About a million calls in whole passes, so that a small fleet is measured long enough.
fn passes(hosts: usize) -> usize {
    (1_000_000 / hosts).clamp(1, 20)
}

/// Calls `call` for all hosts, once to warm up and then as often as it takes; nanoseconds per call.
///
/// Every pass begins with a new reading of the coarse clock: a wheel stores nothing when a host is heard twice in one tick.
fn repeat(hosts: usize, mut call: impl FnMut(usize, usize)) -> f64 {
    let mut spent = Duration::ZERO;
    for pass in 0..=passes(hosts) {
        let before = coarse_ns();
        while coarse_ns() == before {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        for at in 0..hosts {
            call(pass, at);
        }
        if pass > 0 {
            spent += start.elapsed();
        }
    }
    per_call(spent, hosts * passes(hosts))
}

/// Returns how long it took to register everybody, the making of ids included.
fn calls<E: Expiry>(fleet: &Arc<Fleet>, round: &mut Round) -> Duration {
    let hosts = fleet.hosts();
    let before = fit::resident();
    let mut subject = E::open(fleet, Purpose::Calls);
    let start = Instant::now();
    let (register, handles) = fill(&mut subject, fleet, |_, _| LONG);
    let filling = start.elapsed();
    let own = size_of_val(handles.as_slice());
    round.bytes = fit::resident().saturating_sub(before).saturating_sub(own) as f64 / hosts as f64;
    let mut keep = |workload: Workload, figure: f64| {
        if has::<E>(workload) {
            round.figures[workload as usize] = figure;
        }
    };
    keep(Workload::Register, register);
    if has::<E>(Workload::Renew) {
        keep(Workload::Renew, repeat(hosts, |_, at| subject.renew(handles[at])));
    }
    if has::<E>(Workload::Announce) {
        keep(Workload::Announce, repeat(hosts, |_, at| subject.announce(&fleet.ids[at], LONG)));
    }
    if has::<E>(Workload::Change) {
        let of = |pass: usize| if pass.is_multiple_of(2) { OTHER } else { LONG };
        keep(Workload::Change, repeat(hosts, |pass, at| subject.announce(&fleet.ids[at], of(pass))));
    }
    if has::<E>(Workload::Flap) {
        keep(Workload::Flap, flap(&mut subject, hosts as u32));
    }
    if has::<E>(Workload::Leave) {
        let start = Instant::now();
        for id in &fleet.ids {
            subject.leave(id);
        }
        keep(Workload::Leave, per_call(start.elapsed(), hosts));
        assert_eq!(subject.count(), 0, "{} lets everybody leave", E::NAME);
    }
    assert_eq!(subject.expired(), 0, "{}: nobody was due", E::NAME);
    filling
}

/// Hosts from the number `first` on come and go.
fn flap<E: Expiry>(subject: &mut E, first: u32) -> f64 {
    let ids: Vec<(u32, Id)> = (first..first + FLAPPERS).map(|host| (host, id(host))).collect();
    let start = Instant::now();
    for _ in 0..FLAPS {
        for (host, id) in &ids {
            subject.register(*host, id, LONG);
        }
        for (_, id) in &ids {
            subject.leave(id);
        }
    }
    per_call(start.elapsed(), FLAPS * ids.len())
}

/// Makes the calls from one number to another.
type Span<'a, E> = &'a dyn Fn(&mut E, usize, usize);

/// A fleet that lives: every host announces once per interval, always in the same random order, while time passes in small
/// steps and the subject does all its work.
fn life<E: Expiry>(fleet: &Arc<Fleet>, round: &mut Round) {
    let hosts = fleet.hosts();
    let mut subject = E::open(fleet, Purpose::Life);
    let (_, handles) = fill(&mut subject, fleet, |_, _| INTERVAL);
    // At most 100 announces, at most 100 ms.
    let per_step = (hosts / 3000).clamp(1, 100);
    let step = INTERVAL / hosts.div_ceil(per_step) as u32;
    let mut now = Duration::ZERO;
    let mut interval = |subject: &mut E, call: Span<E>| {
        for first in (0..hosts).step_by(per_step) {
            call(subject, first, hosts.min(first + per_step));
            now += step;
            subject.advance(now);
        }
    };
    let by_handle = |subject: &mut E, first: usize, end: usize| {
        for &handle in &handles[first..end] {
            subject.renew(handle);
        }
    };
    let by_id = |subject: &mut E, first: usize, end: usize| {
        for id in &fleet.ids[first..end] {
            subject.announce(id, INTERVAL);
        }
    };
    let ways: [(Workload, Span<E>); 2] = [(Workload::LifeByHandle, &by_handle), (Workload::LifeById, &by_id)];
    // Until each host announced at its own time twice.
    let mut warm_up = 2;
    for (workload, way) in ways {
        if !has::<E>(workload) {
            continue;
        }
        for _ in 0..warm_up {
            interval(&mut subject, way);
        }
        warm_up = 0;
        let start = Instant::now();
        for _ in 0..passes(hosts) {
            interval(&mut subject, way);
        }
        round.figures[workload as usize] = per_call(start.elapsed(), hosts * passes(hosts));
    }
    assert_eq!(subject.expired(), 0, "{}: everybody announces in time", E::NAME);
}

/// Nanoseconds per host from finding that it is due to having forgotten it.
fn expiry<E: Expiry>(fleet: &Arc<Fleet>, filling: Duration) -> f64 {
    let hosts = fleet.hosts();
    let mut subject = E::open(fleet, Purpose::Expiry { filling });
    fill(&mut subject, fleet, E::dying);
    // A wheel takes its hosts over.
    subject.advance(Duration::from_millis(1));
    subject.wait_until_due();
    let before = subject.expired();
    let start = Instant::now();
    subject.expire_all();
    let spent = start.elapsed();
    assert_eq!(subject.expired(), hosts, "{}: everybody expires once", E::NAME);
    assert_eq!(subject.count(), 0, "{} forgets everybody", E::NAME);
    // In real time, on a machine that is busy, some were due before it began.
    if before > hosts / 2 { f64::NAN } else { per_call(spent, hosts - before) }
}
