//! What all subjects share: the hosts, the order of the calls, memory for records, the coarse clock.
//!
//! Hosts are registered in the order of their numbers and called in a random order that is fixed by a seed. What a call is
//! made with (an id, a handle, a pointer) is laid out in the order of the calls, so that reading it costs the same next to
//! nothing everywhere, and only what a subject looks up misses the cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

const SEED: u64 = 3350;

/// A host's id: as long as a SHA-256 in hexadecimal.
pub type Id = [u8; 64];

/// Ids made in one go, outside of what is timed.
const BATCH: u32 = 1024;

/// The hosts of one size.
pub struct Fleet {
    /// Host numbers in the order of the calls.
    pub order: Vec<u32>,
    /// Their ids, in the same order; none without [`Fleet::with_ids`].
    pub ids: Vec<Id>,
}

impl Fleet {
    pub fn new(hosts: usize) -> Fleet {
        let mut order: Vec<u32> = (0..hosts as u32).collect();
        order.shuffle(&mut StdRng::seed_from_u64(SEED));
        Fleet { order, ids: Vec::new() }
    }

    /// For calls by id. They are much of the memory of a large fleet, whose hosts can be registered without.
    pub fn with_ids(mut self) -> Fleet {
        self.ids = self.order.iter().map(|&host| id(host)).collect();
        self
    }

    pub fn hosts(&self) -> usize {
        self.order.len()
    }

    /// Puts what belongs to the hosts, in the order of their numbers, into the order of the calls.
    pub fn in_call_order<T: Copy>(&self, by_host: &[T]) -> Vec<T> {
        self.order.iter().map(|&host| by_host[host as usize]).collect()
    }

    /// Calls `register` for every host in the order of their numbers; returns what that took, the making of ids left out.
    pub fn register(&self, mut register: impl FnMut(u32, &Id)) -> Duration {
        let mut spent = Duration::ZERO;
        let mut ids = Vec::with_capacity(BATCH as usize);
        for first in (0..self.hosts() as u32).step_by(BATCH as usize) {
            ids.clear();
            ids.extend((first..self.hosts() as u32).take(BATCH as usize).map(id));
            let start = Instant::now();
            for (host, id) in (first..).zip(&ids) {
                register(host, id);
            }
            spent += start.elapsed();
        }
        spent
    }
}

/// Random hexadecimal digits, the same for the same host in every run.
pub fn id(host: u32) -> Id {
    let mut random = StdRng::seed_from_u64(SEED << 32 | u64::from(host));
    let bits: [u64; 4] = random.random();
    let digit = |at: usize| b"0123456789abcdef"[(bits[at / 16] >> (at % 16 * 4)) as usize & 15];
    std::array::from_fn(digit)
}

/// A record as large as one of hostwheel's: a cache line with a word in it.
#[derive(Default)]
#[repr(align(64))]
pub struct Record(AtomicU64);

impl Record {
    /// What no wheel can do without at an announce: load the word, read the coarse clock, compare and swap.
    #[inline]
    pub fn touch(&self) {
        let old = self.0.load(Ordering::Acquire);
        let swapped = self.0.compare_exchange(old, coarse_ns(), Ordering::SeqCst, Ordering::Relaxed);
        debug_assert!(swapped.is_ok());
    }
}

/// Records in one piece, as hostwheel's are.
pub struct Records(Box<[Record]>);

impl Records {
    pub fn new(records: usize) -> Records {
        Records((0..records).map(|_| Record::default()).collect())
    }

    #[inline]
    pub fn at(&self, index: usize) -> &Record {
        &self.0[index]
    }
}

/// `CLOCK_MONOTONIC_COARSE`.
#[inline]
pub fn coarse_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time` only, which outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What an announce reads by default, for wheels on the manual clock: the processor's counter, or the coarse clock where that
/// is not read.
#[inline]
pub fn announcers_reading() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register, which the kernel forbids to those alone who ask for it.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    coarse_ns()
}

/// What one call costs in nanoseconds.
pub fn per_call(spent: Duration, calls: usize) -> f64 {
    spent.as_nanos() as f64 / calls as f64
}
