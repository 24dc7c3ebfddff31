//! Ticks: the unit of wheel time.
//!
//! One tick is a millisecond. Wheel time starts at [`EPOCH`] rather than at 0, so that `now - age` does not underflow
//! for a host whose last announce lies before the wheel was opened (up to 49 days).

use std::time::Duration;

/// A point in wheel time, or a length of it, in milliseconds.
pub(crate) type Tick = u64;

/// The tick at which a wheel is opened.
pub(crate) const EPOCH: Tick = 1 << 32;

/// Nanoseconds in a tick.
pub(crate) const TICK_NS: u64 = 1_000_000;

/// The tick of a moment `ns` nanoseconds after opening, rounded down: for the observer, who must not run ahead.
pub(crate) fn tick_floor(ns: u64) -> Tick {
    EPOCH + ns / TICK_NS
}

/// A length of time in ticks, rounded up.
#[inline]
pub(crate) fn ticks_ceil(length: Duration) -> Tick {
    length.as_secs().saturating_mul(1000).saturating_add(u64::from(length.subsec_nanos()).div_ceil(TICK_NS))
}

/// A length of time in ticks, rounded down: for ages, which must not make a host look older than it is.
#[inline]
pub(crate) fn ticks_floor(length: Duration) -> Tick {
    length.as_secs().saturating_mul(1000).saturating_add(length.subsec_millis().into())
}

/// The moment of a tick as time since opening; a tick before that counts as the opening itself.
pub(crate) fn since_open(tick: Tick) -> Duration {
    Duration::from_millis(tick.saturating_sub(EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_observer_rounds_down() {
        assert_eq!(tick_floor(0), EPOCH);
        assert_eq!(tick_floor(999_999), EPOCH);
        assert_eq!(tick_floor(1_000_000), EPOCH + 1);
    }

    #[test]
    fn lengths_beyond_the_range_saturate() {
        assert_eq!(ticks_ceil(Duration::MAX), Tick::MAX);
        assert_eq!(ticks_floor(Duration::MAX), Tick::MAX);
        assert_eq!(ticks_ceil(Duration::from_nanos(1)), 1);
        assert_eq!(ticks_floor(Duration::from_nanos(1)), 0);
        let almost_two_seconds = Duration::from_nanos(1_999_000_001);
        assert_eq!((ticks_floor(almost_two_seconds), ticks_ceil(almost_two_seconds)), (1999, 2000));
    }

    #[test]
    fn a_tick_before_the_opening_shows_as_the_opening() {
        assert_eq!(since_open(EPOCH - 5), Duration::ZERO);
        assert_eq!(since_open(EPOCH + 5), Duration::from_millis(5));
    }
}
