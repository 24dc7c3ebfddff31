//! The few things that the soak wants from Linux and that the standard library does not offer.

use std::os::fd::{AsFd, AsRawFd};

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// How far the coarse clock is behind `monotonic_ns`, read just before: no later reading of it is further behind that.
pub fn coarse_lag_ns(monotonic_ns: u64) -> u64 {
    monotonic_ns.saturating_sub(read(libc::CLOCK_MONOTONIC_COARSE))
}

/// Waits until the descriptor can be read, or a tenth of a second has passed.
pub fn wait_readable(what: &impl AsFd) {
    let mut entry = libc::pollfd { fd: what.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that lives through the call.
    unsafe { libc::poll(&mut entry, 1, 100) };
}
