//! The few things that the soak wants from Linux and that the standard library does not offer.

use std::os::fd::{AsFd, AsRawFd};

use crate::clock;
pub use crate::clock::monotonic_ns;

/// How far the coarse clock is behind `monotonic_ns`, read just before: no later reading of it is further behind that.
pub fn coarse_lag_ns(monotonic_ns: u64) -> u64 {
    monotonic_ns.saturating_sub(clock::read(libc::CLOCK_MONOTONIC_COARSE).unwrap_or(0))
}

/// Waits until the descriptor can be read, or a tenth of a second has passed.
pub fn wait_readable(what: &impl AsFd) {
    let mut entry = libc::pollfd { fd: what.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that lives through the call.
    unsafe { libc::poll(&mut entry, 1, 100) };
}
