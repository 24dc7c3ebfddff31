//! Clocks of the system.

use std::io;

/// Reads a clock, in nanoseconds.
#[inline]
pub fn read(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill.
    match unsafe { libc::clock_gettime(clock, &mut now) } {
        0 => Ok(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`: one clock for all processes of a machine, so their times can be compared.
pub fn monotonic_ns() -> u64 {
    // Every supported kernel has it.
    read(libc::CLOCK_MONOTONIC).unwrap_or(0)
}
