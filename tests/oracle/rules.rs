//! The settings in milliseconds, and what follows from them for one host. Plain arithmetic, called by the rest of the
//! oracle.

use std::time::Duration;

/// The settings that decide what happens when. Durations are rounded up to milliseconds by whoever fills this in.
#[derive(Clone, Debug)]
pub struct Rules {
    pub host_ttl_ms: u64,
    pub grace_ms: u64,
    pub min_interval_ms: u64,
    pub max_interval_ms: u64,
    /// 0: no observed time, the clock is believed.
    pub watchdog_ms: u64,
    pub settle_timeout_ms: u64,
    pub max_hosts: usize,
    pub max_outstanding: usize,
    /// Events wait in a queue of `max_outstanding` until they are drained; else callbacks answer at once.
    pub drained: bool,
}

/// The longest interval that is kept to the millisecond; longer ones are rounded up to seconds.
pub const FINEST_INTERVAL_MS: u64 = 2_097_151;

impl Rules {
    /// What becomes of an announced interval: the effective one in milliseconds, 0 for none, and whether it was clamped.
    pub fn take_interval(&self, announced: Duration) -> (u64, bool) {
        let asked_ms = ceil_ms(announced);
        if asked_ms == 0 {
            return (0, false);
        }
        let given_ms = asked_ms.clamp(self.min_interval_ms, self.max_interval_ms);
        let kept_ms = if given_ms <= FINEST_INTERVAL_MS { given_ms } else { given_ms.div_ceil(1000) * 1000 };
        (kept_ms, given_ms != asked_ms)
    }

    /// A host without an interval counts as one that announces twice per host TTL.
    pub fn effective_interval_ms(&self, interval_ms: u64) -> u64 {
        if interval_ms == 0 { self.host_ttl_ms / 2 } else { interval_ms }
    }

    pub fn ttl_ms(&self, interval_ms: u64) -> u64 {
        if interval_ms == 0 { self.host_ttl_ms } else { 2 * interval_ms }
    }

    pub fn grace_of_ms(&self, interval_ms: u64) -> u64 {
        self.grace_ms.min(self.effective_interval_ms(interval_ms))
    }
}

/// How long after attempt number `attempt` the next one comes: what was asked for, or 1 s doubling to 60 s.
pub fn back_off_ms(attempt: u32, asked: Duration) -> u64 {
    if !asked.is_zero() {
        return ceil_ms(asked);
    }
    let mut wait_ms: u64 = 1000;
    for _ in 1..attempt.min(10) {
        wait_ms *= 2;
    }
    wait_ms.min(60_000)
}

/// Rounded up to milliseconds.
pub fn ceil_ms(length: Duration) -> u64 {
    u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
