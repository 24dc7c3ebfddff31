//! Stamps from the processor's counter.
//!
//! `CLOCK_MONOTONIC` waits for all loads under way before it reads the counter, and with very many hosts an announce is little
//! else than a load under way. `CLOCK_MONOTONIC_COARSE` does not wait, but is a call, and behind by milliseconds. So an announcer
//! reads the counter itself and makes a stamp of it by a multiplication and a sum. Whoever is heard once the sum is
//! [`SPAN`] old makes it anew, by `CLOCK_MONOTONIC`; until then announcers read that.
//!
//! **Never early.** The margin is an eighth of the span: it covers a rate that is off by as much, which no adjustment of a
//! clock comes near, and what the processor reads ahead of the program, which ends with the loads under way. An interrupt or a stop
//! of the machine cannot come between: what was read ahead is read again after it.
//!
//! **Whose turn it is** is a flag that is taken or passed over, never waited for. Its holder stores the sum first and then the
//! bound of stamps that it is good for, which it made of a horizon that it loaded before the shift. So with a sum from before a late
//! look, and after it, no stamp is below a bound from before it; and there is no other bound until somebody makes a new sum.
//! A holder that was held back stores a bound that has passed already.
//!
//! **When the counter lies.** A sum is made only where counter and clock agree about the time since the last attempt: not
//! after the machine was suspended, nor by a counter that begins anew or has another rate than when it was measured. A stamp from
//! far before the bound is none.
//!
//! Units of time are those of a [`Stamp`], so that a word is made of it by a mask: a quarter of a nanosecond.

use super::os::Reading;
use crate::canary::{Canary, planted};
use crate::record::Stamp;
use crate::sync::{AtomicBool, AtomicU64, Ordering, StatU64};
use crate::tick::{TICK_NS, Tick};

/// For how many ticks a sum is good.
const SPAN: Tick = 8;

/// By how much a stamp may be late.
pub(super) const MARGIN_NS: u64 = SPAN * TICK_NS / 8;

/// Stamps so long before the bound are not the counter's: twice what one can be if all is well.
const WINDOW: Tick = 2 * SPAN;

/// Rounding, and the time between counter and clock, in units: a microsecond.
const ROUNDING: u64 = 1 << Stamp::FRACTION >> 10;

/// The first bound: below what any counter that runs makes, and not that of a closed wheel.
const NOT_YET: u64 = 1;

/// What announcers read at each announce and one of them writes every 8 ms: a line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counter {
    /// In units, as all here: a stamp before this one is good and plain; 0 for ever once closed.
    until: AtomicU64,
    /// What is added to a scaled count; it may wrap.
    sum: AtomicU64,
    /// Units per count, times 2^64. Not an atomic: one instruction less, and they count (docs/performance.md).
    scale: u64,
    busy: AtomicBool,
    /// The last reading, 0 before the first. Its owner holds `busy`.
    count: StatU64,
    ns: StatU64,
}

impl Counter {
    /// Makes no stamps yet; none at all with scale 0, that of no counter.
    pub(super) fn new(scale: u64) -> Counter {
        Counter {
            until: AtomicU64::new(NOT_YET),
            sum: AtomicU64::new(0),
            scale,
            busy: AtomicBool::new(false),
            count: StatU64::new(0),
            ns: StatU64::new(0),
        }
    }

    /// The stamp of now, if it is plain. If it is not news for the host it may be no stamp: see `checked`.
    #[inline(always)]
    pub(super) fn stamp(&self, count: impl FnOnce() -> u64) -> Option<Stamp> {
        // Acquire: pairs with the release in `calibrate`: who sees a bound sees its sum or a later one.
        let until = self.until.load(Ordering::Acquire);
        // Acquire: pairs with the release in `calibrate`: the counter, read next, is not from before a late look that the sum
        // knows of.
        let sum = self.sum.load(Ordering::Acquire);
        let stamp = scaled(count(), self.scale).wrapping_add(sum);
        (stamp < until || planted(Canary::UncappedStamp)).then_some(Stamp::from_bits(stamp))
    }

    /// The stamp of now, if it is plain, and not so long ago that the counter must have begun anew.
    pub(super) fn checked(&self, count: impl FnOnce() -> u64) -> Option<Tick> {
        // Relaxed: a bound that moved on meanwhile is at most a span further.
        let until = self.until.load(Ordering::Relaxed);
        self.stamp(count).map(Stamp::tick).filter(|&stamp| is_covered(stamp, until >> Stamp::FRACTION))
    }

    /// Whether a new sum should be made when somebody was heard at `stamp`.
    pub(super) fn is_due(&self, stamp: Tick, bound: Tick) -> bool {
        // Relaxed: `calibrate` looks again.
        let until = self.until.load(Ordering::Relaxed);
        let (closed, until) = (until == 0, until >> Stamp::FRACTION);
        // A stamp of the clock is without the margin.
        !closed && !is_covered(stamp + SPAN / 4, until) && until < bound
    }

    /// Makes a sum, if nobody else is at it. `terms` are the bound beyond which stamps are not plain, and what makes wheel time, in
    /// nanoseconds and rounded up, of the clock's reading.
    pub(super) fn calibrate(&self, terms: impl FnOnce() -> (Tick, u64), read: impl FnOnce() -> Option<Reading>) {
        // Acquire: pairs with the release below; what belongs to the holder is the last one's.
        if self.busy.swap(true, Ordering::Acquire) {
            return;
        }
        let (bound, shift_ns) = terms();
        if let Some(reading) = read()
            && self.agrees(&reading)
        {
            let now_ns = reading.ns.wrapping_add(shift_ns);
            let sum = units(now_ns.wrapping_add(MARGIN_NS)).wrapping_sub(scaled(reading.count, self.scale));
            // Release: pairs with the acquire in `stamp`.
            self.sum.store(sum, Ordering::Release);
            // Relaxed: only `close` may come between, and the exchange sees it.
            let before = self.until.load(Ordering::Relaxed);
            let until = (now_ns / TICK_NS + SPAN).min(bound) << Stamp::FRACTION;
            if before != 0 && before < until {
                // Release: pairs with the acquire in `stamp`.
                let _ = self.until.compare_exchange(before, until, Ordering::Release, Ordering::Relaxed);
            }
        }
        // Release: pairs with the acquire above.
        self.busy.store(false, Ordering::Release);
    }

    /// Whether counter and clock agree about the time since the last reading. The holder's.
    fn agrees(&self, reading: &Reading) -> bool {
        // Relaxed: handed from holder to holder by `busy`.
        let (last_count, last_ns) = (self.count.load(Ordering::Relaxed), self.ns.load(Ordering::Relaxed));
        self.count.store(reading.count, Ordering::Relaxed);
        self.ns.store(reading.ns, Ordering::Relaxed);
        let counted = scaled(reading.count.wrapping_sub(last_count), self.scale);
        let passed = units(reading.ns.wrapping_sub(last_ns));
        last_count != 0 && counted.abs_diff(passed) <= passed / 32 + ROUNDING
    }

    /// No stamp is plain any more.
    pub(super) fn close(&self) {
        // Relaxed: as `plain_until` of a wheel that is closed. It stays 0: a holder exchanges it only for another value than 0.
        self.until.store(0, Ordering::Relaxed);
    }
}

#[inline(always)]
fn is_covered(stamp: Tick, until: Tick) -> bool {
    until.wrapping_sub(stamp).wrapping_sub(1) < WINDOW
}

/// A count in units.
#[inline(always)]
fn scaled(count: u64, scale: u64) -> u64 {
    ((u128::from(count) * u128::from(scale)) >> 64) as u64
}

/// Nanoseconds in units.
fn units(ns: u64) -> u64 {
    ((ns / TICK_NS) << Stamp::FRACTION) + ((ns % TICK_NS) << Stamp::FRACTION) / TICK_NS
}

/// The scale of a counter that `counted` while so many nanoseconds `passed`; `None` if it is too slow, or stood still.
pub(super) fn scale(counted: u64, passed: u64) -> Option<u64> {
    u64::try_from((u128::from(units(passed)) << 64).checked_div(counted.into())?).ok()
}
