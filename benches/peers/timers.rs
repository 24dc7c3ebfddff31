//! The timers that [`Indexed`](crate::indexed::Indexed) is built around.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::{CancellableTimerEntry, QuadWheelWithOverflow};
use nexus_timer::TimerHandle;
use tokio::runtime::{EnterGuard, Runtime};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::indexed::Timers;

const MS: u64 = 1_000_000;

/// tokio-util's queue, polled by hand on a current-thread runtime whose time is paused and moved.
pub struct Delay {
    queue: DelayQueue<u32>,
    opened: tokio::time::Instant,
    now: u64,
    _entered: EnterGuard<'static>,
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime is built")
    })
}

impl Delay {
    fn at(&self, time: u64) -> tokio::time::Instant {
        self.opened + Duration::from_nanos(time)
    }
}

impl Timers for Delay {
    type Key = Key;

    const NAME: &'static str = "tokio-util DelayQueue";

    fn open() -> Delay {
        let entered = runtime().enter();
        let opened = tokio::time::Instant::now();
        Delay { queue: DelayQueue::new(), opened, now: 0, _entered: entered }
    }

    fn start(&mut self, slot: u32, deadline: u64) -> Key {
        self.queue.insert_at(slot, self.at(deadline))
    }

    #[inline]
    fn reset(&mut self, key: &mut Key, _slot: u32, deadline: u64) {
        self.queue.reset_at(key, self.at(deadline));
    }

    fn stop(&mut self, key: Key, _slot: u32) {
        self.queue.remove(&key);
    }

    fn advance(&mut self, now: u64, due: &mut Vec<u32>) {
        // The runtime's own timer, which wakes the queue, does its work here.
        runtime().block_on(tokio::time::advance(Duration::from_nanos(now - self.now)));
        self.now = now;
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(expired)) = self.queue.poll_expired(&mut context) {
            due.push(expired.into_inner());
        }
    }
}

/// nexus-timer's wheel, in its usual configuration.
pub struct Nexus {
    wheel: nexus_timer::Wheel<u32>,
    opened: std::time::Instant,
}

/// A handle that must not be dropped while its wheel goes on; with the wheel all ends.
pub struct Held(Option<ManuallyDrop<TimerHandle<u32>>>);

impl Held {
    fn new(handle: TimerHandle<u32>) -> Held {
        Held(Some(ManuallyDrop::new(handle)))
    }

    fn take(&mut self) -> TimerHandle<u32> {
        ManuallyDrop::into_inner(self.0.take().expect("a known host has a timer"))
    }
}

impl Timers for Nexus {
    type Key = Held;

    const NAME: &'static str = "nexus-timer Wheel";

    fn open() -> Nexus {
        let opened = std::time::Instant::now();
        Nexus { wheel: nexus_timer::Wheel::unbounded(4096, opened), opened }
    }

    fn start(&mut self, slot: u32, deadline: u64) -> Held {
        Held::new(self.wheel.schedule(self.opened + Duration::from_nanos(deadline), slot))
    }

    #[inline]
    fn reset(&mut self, key: &mut Held, _slot: u32, deadline: u64) {
        *key = Held::new(self.wheel.reschedule(key.take(), self.opened + Duration::from_nanos(deadline)));
    }

    fn stop(&mut self, mut key: Held, _slot: u32) {
        self.wheel.cancel(key.take());
    }

    fn advance(&mut self, now: u64, due: &mut Vec<u32>) {
        // As its documentation advises for a wheel that is polled all the time.
        self.wheel.poll_and_rebalance(self.opened + Duration::from_nanos(now), due);
    }

    fn fired(&mut self, mut key: Held) {
        self.wheel.free(key.take());
    }
}

/// hierarchical_hash_wheel_timer's wheel with cancellation. It has no reset: another entry replaces the first, which stays in
/// the wheel as garbage until its time comes.
pub struct Quad {
    wheel: QuadWheelWithOverflow<Entry>,
    now_ms: u64,
}

#[derive(Debug)]
struct Entry(u32);

impl CancellableTimerEntry for Entry {
    type Id = u32;

    fn id(&self) -> &u32 {
        &self.0
    }
}

impl Timers for Quad {
    type Key = ();

    const NAME: &'static str = "hierarchical_hash_wheel_timer";

    fn open() -> Quad {
        Quad { wheel: QuadWheelWithOverflow::new(), now_ms: 0 }
    }

    #[inline]
    fn start(&mut self, slot: u32, deadline: u64) {
        let delay = Duration::from_millis(deadline.div_ceil(MS) - self.now_ms);
        self.wheel.insert_ref_with_delay(Rc::new(Entry(slot)), delay).expect("no deadline has passed");
    }

    #[inline]
    fn reset(&mut self, _key: &mut (), slot: u32, deadline: u64) {
        self.start(slot, deadline);
    }

    fn stop(&mut self, _key: (), slot: u32) {
        self.wheel.cancel(&slot).expect("a known host has a timer");
    }

    fn advance(&mut self, now: u64, due: &mut Vec<u32>) {
        let end = now / MS;
        while self.now_ms < end {
            let left = end - self.now_ms;
            let idle = match self.wheel.can_skip() {
                Skip::None => 0,
                Skip::Millis(ms) => left.min(u64::from(ms)),
                Skip::Empty => left,
            };
            if idle > 0 {
                self.wheel.skip(idle as u32);
                self.now_ms += idle;
            } else {
                due.extend(self.wheel.tick().into_iter().map(|entry| entry.0));
                self.now_ms += 1;
            }
        }
    }
}

/// What one writes without a timer at hand: a sorted set of deadlines.
pub struct Tree(BTreeSet<(u64, u32)>);

impl Timers for Tree {
    /// The deadline.
    type Key = u64;

    const NAME: &'static str = "BTreeSet of (deadline, host)";

    fn open() -> Tree {
        Tree(BTreeSet::new())
    }

    fn start(&mut self, slot: u32, deadline: u64) -> u64 {
        self.0.insert((deadline, slot));
        deadline
    }

    fn reset(&mut self, key: &mut u64, slot: u32, deadline: u64) {
        self.0.remove(&(*key, slot));
        *key = self.start(slot, deadline);
    }

    fn stop(&mut self, key: u64, slot: u32) {
        self.0.remove(&(key, slot));
    }

    fn advance(&mut self, now: u64, due: &mut Vec<u32>) {
        while let Some(&(deadline, slot)) = self.0.first()
            && deadline <= now
        {
            self.0.pop_first();
            due.push(slot);
        }
    }
}
