//! Calls that can be repeated for ever, and their timing.

use std::time::{Duration, Instant};

use crate::fleet::{coarse_ns, per_call};

/// A subject whose calls can be repeated for ever.
pub trait Calls {
    fn hosts(&self) -> usize;
    /// Makes these calls, by their numbers in the order of the calls.
    fn call(&self, first: usize, end: usize);
}

/// Waits until the coarse clock moves.
///
/// A wheel stores nothing when a host is heard twice in the same tick; a small fleet whose passes did not wait for this would
/// hardly ever have to store.
pub fn wait_for_a_reading() {
    let before = coarse_ns();
    while coarse_ns() == before {
        std::hint::spin_loop();
    }
}

/// Makes calls in order, round and round, and times them.
pub struct Repeat<C> {
    pub calls: C,
    next: usize,
}

impl<C: Calls> Repeat<C> {
    pub fn new(calls: C) -> Self {
        Repeat { next: calls.hosts(), calls }
    }

    /// Makes `count` calls. Every pass over the hosts begins with a new reading of the coarse clock.
    pub fn timed(&mut self, count: usize) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            if self.next == self.calls.hosts() {
                self.next = 0;
                wait_for_a_reading();
            }
            let end = self.calls.hosts().min(self.next + left);
            let start = Instant::now();
            self.calls.call(self.next, end);
            spent += start.elapsed();
            left -= end - self.next;
            self.next = end;
        }
        spent
    }

    /// Whole passes, in nanoseconds per call: about 4 million calls, so that a small fleet is measured long enough.
    pub fn measure(&mut self) -> f64 {
        let hosts = self.calls.hosts();
        let count = hosts * passes(hosts);
        per_call(self.timed(count), count)
    }
}

/// In how many passes a fleet is measured.
pub fn passes(hosts: usize) -> usize {
    (4_000_000 / hosts).clamp(1, 50)
}
