//! hostwheel's calls, and its whole cost with the thread's work.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hostwheel::{Config, Event, Handle, HostWheel, Verdict};

use crate::expiring;
use crate::fleet::{Fleet, announcers_reading, per_call};
use crate::repeat::Calls;

/// An interval within which no measurement ends, so that nothing expires; one held to the millisecond, as those in use are.
const LONG: Duration = Duration::from_secs(1800);

/// A wheel with the clock and the thread that a scheduler has.
fn with_thread() -> HostWheel {
    HostWheel::start(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens")
}

/// Registers all hosts; their handles, by host.
fn register(wheel: &HostWheel, fleet: &Fleet, interval: impl Fn(u32) -> Duration) -> (Vec<Handle>, Duration) {
    let mut handles = Vec::with_capacity(fleet.hosts());
    let spent = fleet.register(|host, id| {
        handles.push(wheel.announce(id, interval(host)).expect("a host registers").handle);
    });
    (handles, spent)
}

/// A wheel that knows the fleet.
pub struct Known {
    fleet: Arc<Fleet>,
    wheel: HostWheel,
    handles: Vec<Handle>,
}

impl Known {
    pub fn new(fleet: &Arc<Fleet>) -> Arc<Known> {
        let wheel = with_thread();
        let (handles, _) = register(&wheel, fleet, |_| LONG);
        Arc::new(Known { fleet: fleet.clone(), wheel, handles: fleet.in_call_order(&handles) })
    }
}

/// Renewals by handle.
pub struct Renew(pub Arc<Known>);

impl Calls for Renew {
    fn hosts(&self) -> usize {
        self.0.handles.len()
    }

    fn call(&self, first: usize, end: usize) {
        let Known { wheel, handles, .. } = &*self.0;
        let mut lost = 0;
        for &handle in &handles[first..end] {
            lost += usize::from(wheel.renew(handle).is_err());
        }
        assert_eq!(lost, 0, "known hosts are heard");
    }
}

/// Announces by id.
pub struct Announce(pub Arc<Known>);

impl Calls for Announce {
    fn hosts(&self) -> usize {
        self.0.handles.len()
    }

    fn call(&self, first: usize, end: usize) {
        let Known { wheel, fleet, .. } = &*self.0;
        let mut lost = 0;
        for id in &fleet.ids[first..end] {
            lost += usize::from(wheel.announce(id, LONG).is_err());
        }
        assert_eq!(lost, 0, "known hosts are heard");
    }
}

/// Registers all hosts with an empty wheel, which grows, then says goodbye for all, by id in the order of the calls.
/// Nanoseconds per call of each kind, as the caller sees them: the wheel's thread works beside it.
pub fn churn(fleet: &Fleet) -> (f64, f64) {
    let wheel = with_thread();
    let (_, registering) = register(&wheel, fleet, |_| LONG);
    let start = Instant::now();
    for id in &fleet.ids {
        wheel.leave(id).expect("a known host leaves");
    }
    let leaving = start.elapsed();
    (per_call(registering, fleet.hosts()), per_call(leaving, fleet.hosts()))
}

/// A fleet that lives: every host announces once per interval, always in the same random order, while time passes in small
/// steps and the wheel does all its work.
pub struct Whole {
    wheel: HostWheel,
    handles: Vec<Handle>,
    now: Duration,
    step: Duration,
    announces_per_step: usize,
}

impl Whole {
    const INTERVAL: Duration = Duration::from_secs(300);
    /// Until each host announced at its own time twice.
    const WARM_UP: usize = 3;

    pub fn new(fleet: &Fleet) -> Whole {
        let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens");
        let (handles, _) = register(&wheel, fleet, |_| Self::INTERVAL);
        let handles = fleet.in_call_order(&handles);
        // At most 100 announces, at most 100 ms.
        let announces_per_step = (handles.len() / 3000).clamp(1, 100);
        let steps = handles.len().div_ceil(announces_per_step) as u32;
        let step = Self::INTERVAL / steps;
        let mut whole = Whole { wheel, handles, now: Duration::ZERO, step, announces_per_step };
        for _ in 0..Self::WARM_UP {
            whole.interval();
        }
        whole
    }

    /// One interval of everybody's life. A manual wheel reads no clock, so the loop reads what an announce reads by default.
    fn interval(&mut self) {
        for handles in self.handles.chunks(self.announces_per_step) {
            for &handle in handles {
                black_box(announcers_reading());
                self.wheel.renew(handle).expect("a known host is heard");
            }
            self.now += self.step;
            self.wheel.advance(self.now).expect("a manual clock advances");
        }
    }

    /// Nanoseconds per announce, over whole intervals.
    pub fn measure(&mut self) -> f64 {
        let intervals = (4_000_000 / self.handles.len()).clamp(2, 50);
        let start = Instant::now();
        for _ in 0..intervals {
            self.interval();
        }
        let spent = start.elapsed();
        assert_eq!(self.wheel.stats().suspects, 0, "a host that announces in time is no suspect");
        per_call(spent, intervals * self.handles.len())
    }

    /// Visits per announce since the wheel was opened.
    pub fn visits_per_announce(&self) -> f64 {
        let intervals = self.now.as_secs_f64() / Self::INTERVAL.as_secs_f64();
        self.wheel.stats().visits as f64 / (intervals * self.handles.len() as f64)
    }
}

/// Fills a wheel, lets everybody expire at different times and returns nanoseconds per host: from finding that it is due to
/// freeing its record, its callback and the removal of its index entry included.
pub fn expiry(fleet: &Fleet) -> f64 {
    let (handler, expired) = expiring::counting();
    let wheel = HostWheel::manual(expiring::config(), handler).expect("a wheel opens");
    // One to two minutes, so that neighbours in memory do not expire one after the other.
    register(&wheel, fleet, |host| {
        Duration::from_millis(60_000 + u64::from(host.wrapping_mul(0x9e37_79b9) >> 16) % 60_000)
    });
    // The wheel takes the hosts over.
    wheel.advance(Duration::from_millis(1)).expect("a manual clock advances");
    let start = Instant::now();
    wheel.advance(Duration::from_secs(300)).expect("a manual clock advances");
    let spent = start.elapsed();
    assert_eq!(expired.load(Ordering::Relaxed), fleet.hosts(), "everybody expires once");
    per_call(spent, fleet.hosts())
}
