//! The few things that this program wants from Linux and that the standard library does not offer.

use std::io;

/// What this program adds to readings of a clock, so that it can name moments before the machine was started.
const BEFORE_NS: u64 = 1 << 56;

/// Reads a clock.
#[inline]
fn read(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill.
    match unsafe { libc::clock_gettime(clock, &mut now) } {
        0 => Ok(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, from [`BEFORE_NS`] on.
pub fn monotonic_ns() -> u64 {
    // Every supported kernel has it.
    BEFORE_NS + read(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// As [`monotonic_ns`], of `CLOCK_MONOTONIC_COARSE`.
#[inline]
pub fn coarse_ns() -> u64 {
    BEFORE_NS + read(libc::CLOCK_MONOTONIC_COARSE).unwrap_or(0)
}

/// The processor time that a thread of this process has had.
pub fn thread_cpu_ns(thread: i32) -> io::Result<u64> {
    // The kernel's way to name the clock of a thread: its number, inverted, and in the lowest bits that it is a thread's
    // and which of its clocks (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED).
    read(!thread << 3 | 4 | 2)
}

/// Gives freed memory back, so that the next fleet does not find it resident already.
pub fn return_memory() {
    // SAFETY: takes a number; it locks the allocator by itself.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
