//! The few things that this program wants from Linux and that the standard library does not offer.

use std::io;

use crate::clock;

/// What this program adds to readings of a clock, so that it can name moments before the machine was started.
const BEFORE_NS: u64 = 1 << 56;

/// Nanoseconds of `CLOCK_MONOTONIC`, from [`BEFORE_NS`] on.
pub fn monotonic_ns() -> u64 {
    BEFORE_NS + clock::monotonic_ns()
}

/// As [`monotonic_ns`], of `CLOCK_MONOTONIC_COARSE`.
#[inline]
pub fn coarse_ns() -> u64 {
    BEFORE_NS + clock::read(libc::CLOCK_MONOTONIC_COARSE).unwrap_or(0)
}

/// The processor time that a thread of this process has had.
pub fn thread_cpu_ns(thread: i32) -> io::Result<u64> {
    // The kernel's way to name the clock of a thread: its number, inverted, and in the lowest bits that it is a thread's
    // and which of its clocks (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED).
    clock::read(!thread << 3 | 4 | 2)
}

/// Gives freed memory back, so that the next fleet does not find it resident already.
pub fn return_memory() {
    // SAFETY: takes a number; it locks the allocator by itself.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
