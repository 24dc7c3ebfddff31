//! Announces at full speed, from one thread and from two, beside the floor under any of them.
//!
//! The floor does what no wheel can do without at an announce: it loads a word in a record of its own cache line, reads the
//! coarse clock, compares and swaps. What two threads gain over one depends on the machine, so the floor says what there is
//! to be gained.

use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hostwheel::{Handle, HostWheel};

use crate::fleet::Fleet;
use crate::system::coarse_ns;

/// How long one subject is measured at a time, and how often: in turn, so that whatever disturbs the machine disturbs all.
const BURST: Duration = Duration::from_millis(500);
const ROUNDS: usize = 3;

/// How many bursts there are in all: three subjects, each from one thread and from two.
pub const BURSTS: u64 = 6 * ROUNDS as u64;

/// Calls between two looks at the time.
const CHUNK: usize = 1024;

/// A record as large as one of the wheel's: a cache line with a word in it.
#[derive(Default)]
#[repr(align(64))]
struct Record(AtomicU64);

impl Record {
    #[inline]
    fn touch(&self) -> bool {
        let old = self.0.load(Ordering::Acquire);
        self.0.compare_exchange(old, coarse_ns(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

/// Makes the calls of these places and returns how many were refused.
type Calls<'a> = &'a (dyn Fn(Range<usize>) -> usize + Sync);

/// A subject in all rounds: nanoseconds per call over all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    pub one_ns: [f64; ROUNDS],
    pub two_ns: [f64; ROUNDS],
}

impl Speed {
    pub fn one(&self) -> f64 {
        median(self.one_ns)
    }

    /// A call in one of two threads is done each so long.
    pub fn two(&self) -> f64 {
        median(self.two_ns)
    }

    /// How many times as many calls two threads make.
    pub fn gain(&self) -> f64 {
        median(std::array::from_fn(|round| self.one_ns[round] / self.two_ns[round]))
    }

    /// That, as a share of what the floor gains, round by round.
    pub fn gain_beside(&self, floor: &Speed) -> f64 {
        let gain = |speed: &Speed, round: usize| speed.one_ns[round] / speed.two_ns[round];
        median(std::array::from_fn(|round| gain(self, round) / gain(floor, round)))
    }
}

fn median(mut figures: [f64; ROUNDS]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[ROUNDS / 2]
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub floor: Speed,
    pub renew: Speed,
    pub announce: Speed,
    /// Announces of known hosts that were refused.
    pub refused: u64,
}

/// Announces the living hosts of a fleet at full speed. Tells after each burst.
pub fn measure(wheel: &HostWheel, fleet: &Fleet, handles: &[Handle], mut progress: impl FnMut()) -> Load {
    let ids = fleet.ids();
    let records: Vec<Record> = (0..fleet.hosts()).map(|_| Record::default()).collect();
    let touch = |places: Range<usize>| {
        let refused = fleet.order[places].iter().filter(|&&host| !records[host as usize].touch());
        refused.count()
    };
    let renew = |places: Range<usize>| handles[places].iter().filter(|&&handle| wheel.renew(handle).is_err()).count();
    let announce = |places: Range<usize>| {
        let ids = ids[places.start * fleet.id_length..places.end * fleet.id_length].chunks_exact(fleet.id_length);
        ids.filter(|id| wheel.announce(id, fleet.interval).is_err()).count()
    };
    let mut load = Load::default();
    for round in 0..ROUNDS {
        let Load { floor, renew: renewing, announce: announcing, refused } = &mut load;
        let subjects: [(Calls, &mut Speed); 3] = [(&touch, floor), (&renew, renewing), (&announce, announcing)];
        for (calls, speed) in subjects {
            for (threads, figures) in [(1, &mut speed.one_ns), (2, &mut speed.two_ns)] {
                let (ns, not_taken) = burst(calls, handles.len(), threads);
                figures[round] = ns;
                *refused += not_taken;
                progress();
            }
        }
    }
    load
}

/// Has as many threads share the places for a while. Nanoseconds per call over all of them, and how many were refused.
fn burst(calls: Calls, places: usize, threads: usize) -> (f64, u64) {
    let ready = Barrier::new(threads);
    let part = |number: usize| places * number / threads..places * (number + 1) / threads;
    let done = std::thread::scope(|scope| {
        let ready = &ready;
        let running: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || round_and_round(calls, part(number), ready))).collect();
        running.into_iter().map(|thread| thread.join().expect("calls do not panic")).collect::<Vec<_>>()
    });
    let per_ns: f64 = done.iter().map(|(made, spent, _)| *made as f64 / spent.as_nanos() as f64).sum();
    (1.0 / per_ns, done.iter().map(|(.., refused)| *refused as u64).sum())
}

/// Makes the calls of a part in order, again and again; how many, what they took, and how many were refused.
///
/// Every pass begins with a new reading of the coarse clock. A wheel stores nothing when a host is heard twice in the same
/// tick; without the wait a small fleet would hardly ever have to store.
fn round_and_round(calls: Calls, part: Range<usize>, ready: &Barrier) -> (usize, Duration, usize) {
    let (mut made, mut spent, mut refused) = (0, Duration::ZERO, 0);
    ready.wait();
    let start = Instant::now();
    while start.elapsed() < BURST {
        let before_ns = coarse_ns();
        while coarse_ns() == before_ns {
            std::hint::spin_loop();
        }
        for first in part.clone().step_by(CHUNK) {
            let places = first..part.end.min(first + CHUNK);
            made += places.len();
            let began = Instant::now();
            refused += calls(places);
            spent += began.elapsed();
            if start.elapsed() >= BURST {
                break;
            }
        }
    }
    (made, spent, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_that_of_its_own_round() {
        let floor = Speed { one_ns: [10.0, 20.0, 30.0], two_ns: [5.0, 20.0, 15.0] };
        let renew = Speed { one_ns: [18.0, 20.0, 60.0], two_ns: [10.0, 25.0, 30.0] };
        assert_eq!((floor.gain(), renew.one()), (2.0, 20.0));
        assert_eq!(renew.gain_beside(&floor), 0.9);
    }

    #[test]
    fn two_threads_share_the_places_and_each_is_called() {
        let called: Vec<AtomicU64> = (0..5000).map(|_| AtomicU64::new(0)).collect();
        let calls = |places: Range<usize>| {
            called[places].iter().for_each(|times| _ = times.fetch_add(1, Ordering::Relaxed));
            1
        };
        let (ns, refused) = burst(&calls, called.len(), 2);
        assert!(ns > 0.0 && refused >= 6);
        assert!(called.iter().all(|times| times.load(Ordering::Relaxed) > 0));
    }
}
