//! What a careful user builds around a timer that knows neither ids nor intervals: a map from id to a slot, and slots with
//! the id, the interval and the timer's own key, used again when a host has gone.
//!
//! It is for one thread, without a lock, and its handles are bare slot numbers that nothing checks. Both favour it.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use crate::expiry::{Expiry, Purpose, Workload};
use crate::fleet::{Fleet, Id, coarse_ns};

/// A timer for numbered slots. Times are nanoseconds since the opening.
pub trait Timers {
    /// What it wants back to find a slot's timer.
    type Key;

    const NAME: &'static str;

    fn open() -> Self;
    fn start(&mut self, slot: u32, deadline: u64) -> Self::Key;
    fn reset(&mut self, key: &mut Self::Key, slot: u32, deadline: u64);
    fn stop(&mut self, key: Self::Key, slot: u32);
    /// Appends the slots that are due.
    fn advance(&mut self, now: u64, due: &mut Vec<u32>);
    /// A slot that was due is given up.
    fn fired(&mut self, _key: Self::Key) {}
}

struct Slot<K> {
    key: K,
    ttl: u64,
    id: Arc<[u8]>,
}

pub struct Indexed<T: Timers> {
    timers: T,
    ids: HashMap<Arc<[u8]>, u32>,
    slots: Vec<Option<Slot<T::Key>>>,
    free: Vec<u32>,
    due: Vec<u32>,
    expired: usize,
    clock: Clock,
}

enum Clock {
    /// The coarse one, since then.
    Real(u64),
    Simulated(u64),
}

impl Clock {
    /// Costs the same in both cases.
    #[inline]
    fn now(&self) -> u64 {
        match *self {
            Clock::Real(start) => coarse_ns() - start,
            Clock::Simulated(now) => {
                black_box(coarse_ns());
                now
            }
        }
    }
}

fn ttl(interval: Duration) -> u64 {
    2 * interval.as_nanos() as u64
}

impl<T: Timers> Indexed<T> {
    #[inline]
    fn heard(&mut self, number: u32, ttl: Option<u64>) {
        let slot = self.slots[number as usize].as_mut().expect("a known host is heard");
        if let Some(ttl) = ttl {
            slot.ttl = ttl;
        }
        self.timers.reset(&mut slot.key, number, self.clock.now() + slot.ttl);
    }
}

impl<T: Timers> Expiry for Indexed<T> {
    type Handle = u32;

    const NAME: &'static str = T::NAME;
    const LACKS: &'static [Workload] = &[];

    fn open(_fleet: &Arc<Fleet>, purpose: Purpose) -> Self {
        Indexed {
            timers: T::open(),
            ids: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            due: Vec::new(),
            expired: 0,
            clock: if purpose == Purpose::Calls { Clock::Real(coarse_ns()) } else { Clock::Simulated(0) },
        }
    }

    fn register(&mut self, _host: u32, id: &Id, interval: Duration) -> u32 {
        let id: Arc<[u8]> = Arc::from(&id[..]);
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let key = self.timers.start(number, self.clock.now() + ttl(interval));
        self.slots[number as usize] = Some(Slot { key, ttl: ttl(interval), id: id.clone() });
        self.ids.insert(id, number);
        number
    }

    #[inline]
    fn renew(&mut self, handle: u32) {
        self.heard(handle, None);
    }

    #[inline]
    fn announce(&mut self, id: &Id, interval: Duration) {
        let number = *self.ids.get(&id[..]).expect("a known host is heard");
        self.heard(number, Some(ttl(interval)));
    }

    fn leave(&mut self, id: &Id) {
        let number = self.ids.remove(&id[..]).expect("a known host leaves");
        let slot = self.slots[number as usize].take().expect("a known host has a slot");
        self.timers.stop(slot.key, number);
        self.free.push(number);
    }

    fn advance(&mut self, now: Duration) {
        let now = now.as_nanos() as u64;
        self.clock = Clock::Simulated(now);
        self.timers.advance(now, &mut self.due);
        for number in self.due.drain(..) {
            let slot = self.slots[number as usize].take().expect("a host that is due has a slot");
            self.timers.fired(slot.key);
            self.ids.remove(&slot.id);
            self.free.push(number);
            // The callback.
            self.expired += usize::from(!black_box(&slot.id).is_empty());
        }
    }

    fn count(&self) -> usize {
        self.ids.len()
    }

    fn expired(&self) -> usize {
        self.expired
    }
}
