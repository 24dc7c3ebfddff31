//! Two threads that make calls at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::fleet::per_call;
use crate::repeat::{Calls, passes, wait_for_a_reading};

/// Where both threads wait for each other. They spin: a thread that sleeps is woken later than half of a small fleet takes.
#[derive(Default)]
struct Gate(AtomicUsize);

impl Gate {
    fn meet(&self) {
        let meeting = self.0.fetch_add(1, Ordering::SeqCst) / 2;
        while self.0.load(Ordering::SeqCst) / 2 == meeting {
            std::hint::spin_loop();
        }
    }
}

/// Makes one thread's calls in each pass; when they began and ended.
///
/// As with one thread, a pass begins with a new reading of the coarse clock, which is waited for when both are through with the
/// pass before.
fn half(calls: &impl Calls, first: usize, end: usize, gate: &Gate) -> Vec<(Instant, Instant)> {
    let pass = |_| {
        gate.meet();
        wait_for_a_reading();
        gate.meet();
        let start = Instant::now();
        calls.call(first, end);
        (start, Instant::now())
    };
    (0..passes(calls.hosts())).map(pass).collect()
}

/// Whole passes by two threads, each with its half of the random order: nanoseconds of real time per call of either. Not a
/// number where two threads cannot run at once.
pub fn measure(calls: &(impl Calls + Sync)) -> f64 {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return f64::NAN;
    }
    let (hosts, gate) = (calls.hosts(), Gate::default());
    let (ours, theirs) = thread::scope(|scope| {
        let other = scope.spawn(|| half(calls, hosts / 2, hosts, &gate));
        (half(calls, 0, hosts / 2, &gate), other.join().expect("every call succeeds"))
    });
    let spent: Duration = ours.iter().zip(&theirs).map(|(a, b)| a.1.max(b.1) - a.0.min(b.0)).sum();
    per_call(spent, hosts * ours.len())
}
