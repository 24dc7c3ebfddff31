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
//! **When the counter lies.** A counter may jump while `CLOCK_MONOTONIC` goes on: after a restored snapshot or a live migration of
//! a virtual machine, or where the processors' counters differ. So a stamp is plain only in a window: before the bound, and not
//! before it by more than the span and the margin. An announcer whose stamp is outside reads the clock. A sum is withdrawn, which
//! ends all plain stamps, as soon as an announcer that reads the clock finds it expired, or a calibration finds that counter and
//! clock disagree about the time since the last attempt. Otherwise a counter that jumped back would walk into the window of a
//! sum that nobody has renewed. A sum comes back once two readings, a millisecond apart or more, agree. When they disagree
//! twice in a row the observer lets announcers use the coarse clock for a while ([`Clock`](super::Clock)).
//!
//! Units of time are those of a [`Stamp`], so that a word is made of it by a mask: a quarter of a nanosecond.

use super::os::Reading;
use crate::canary::{Canary, planted};
use crate::pause::{Point, point};
use crate::record::Stamp;
use crate::sync::{AtomicBool, AtomicU64, Ordering, StatU64};
use crate::tick::{TICK_NS, Tick};

/// For how many ticks a sum is good.
const SPAN: Tick = 8;

/// By how much a stamp may be late.
pub(super) const MARGIN_NS: u64 = SPAN * TICK_NS / 8;

/// How long before the bound a stamp can be if all is well, in units.
const WINDOW: u64 = (SPAN << Stamp::FRACTION) + ((MARGIN_NS / TICK_NS) << Stamp::FRACTION);

/// A stamp of the clock so long before the bound is not covered by the sum: twice what one can be if all is well.
const COVERED: Tick = 2 * SPAN;

/// Disagreements in a row after which the counter is not to be trusted.
const SUSPECT: u64 = 2;

/// How far apart two readings are at least that prove the counter's rate.
const LEAST_NS: u64 = TICK_NS;

/// Rounding, and the time between counter and clock, in units: a microsecond.
const ROUNDING: u64 = 1 << Stamp::FRACTION >> 10;

/// The first bound, and that of a sum that was withdrawn: below what any counter makes, and not that of a closed wheel.
const NOT_YET: u64 = 1;

/// What announcers read at each announce and one of them writes every 8 ms: a line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counter {
    /// In units, as all here: the last stamp that is good and plain; 0 for ever once closed. (Not the first one after it: so the
    /// check of a stamp is one subtraction and one comparison.)
    last: AtomicU64,
    /// What is added to a scaled count; it may wrap.
    sum: AtomicU64,
    /// Units per count, times 2^64. Not an atomic: one instruction less, and they count (docs/performance.md).
    scale: u64,
    busy: AtomicBool,
    /// The last reading, 0 before the first. Its owner holds `busy`.
    count: StatU64,
    ns: StatU64,
    /// Whether they agreed at the last reading: 1.
    agreed: StatU64,
    /// How often counter and clock have disagreed in a row.
    disagreements: StatU64,
}

impl Counter {
    /// Makes no stamps yet; none at all with scale 0, that of no counter.
    pub(super) fn new(scale: u64) -> Counter {
        Counter {
            last: AtomicU64::new(NOT_YET),
            sum: AtomicU64::new(0),
            scale,
            busy: AtomicBool::new(false),
            count: StatU64::new(0),
            ns: StatU64::new(0),
            agreed: StatU64::new(0),
            disagreements: StatU64::new(0),
        }
    }

    /// The stamp of now, if it is plain.
    #[inline(always)]
    pub(super) fn stamp(&self, count: impl FnOnce() -> u64) -> Option<Stamp> {
        // Acquire: pairs with the release in `calibrate`: who sees a bound sees its sum or a later one.
        let last = self.last.load(Ordering::Acquire);
        point(Point::Bounded);
        // Acquire: pairs with the release in `calibrate`: the counter, read next, is not from before a late look that the sum
        // knows of.
        let sum = self.sum.load(Ordering::Acquire);
        point(Point::Summed);
        let stamp = scaled(count(), self.scale).wrapping_add(sum);
        is_plain(stamp, last).then_some(Stamp::from_bits(stamp))
    }

    /// Ends plain stamps if the clock reads `now` and the sum has expired by then.
    pub(super) fn expire(&self, now: Tick) {
        // Relaxed: the exchange below checks it.
        let last = self.last.load(Ordering::Relaxed);
        if end(last) <= now {
            self.withdraw(last);
        }
    }

    /// Ends plain stamps, if `last` is the last one.
    fn withdraw(&self, last: u64) {
        if last <= NOT_YET || planted(Canary::KeptSum) {
            return;
        }
        // Relaxed: a stamp that an announcer makes meanwhile is as good as one made a moment ago. Failed: another thread has
        // withdrawn the sum or made a new one, or the wheel is closed.
        let _ = self.last.compare_exchange(last, NOT_YET, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether counter and clock have disagreed too often.
    pub(super) fn is_suspect(&self) -> bool {
        // Relaxed: the observer asks again.
        self.disagreements.load(Ordering::Relaxed) >= SUSPECT
    }

    /// Whether counter and clock agree about the time since the last reading, while no announcer uses the counter.
    pub(super) fn is_sound(&self, read: impl FnOnce() -> Option<Reading>) -> bool {
        // Acquire: as in `calibrate`.
        if self.busy.swap(true, Ordering::Acquire) {
            return false;
        }
        let sound = read().is_some_and(|reading| self.agrees(&reading));
        // Release: pairs with the acquire above.
        self.busy.store(false, Ordering::Release);
        sound
    }

    /// Whether a new sum should be made when somebody was heard at `stamp`.
    pub(super) fn is_due(&self, stamp: Tick, bound: Tick) -> bool {
        // Relaxed: `calibrate` looks again.
        let last = self.last.load(Ordering::Relaxed);
        let (closed, until) = (last == 0, end(last));
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
        let Some(reading) = read() else {
            // Release: pairs with the acquire above.
            self.busy.store(false, Ordering::Release);
            return;
        };
        if !self.agrees(&reading) && !planted(Canary::OneReading) {
            // Relaxed: as in `expire`.
            self.withdraw(self.last.load(Ordering::Relaxed));
        } else {
            let now_ns = reading.ns.wrapping_add(shift_ns);
            let sum = units(now_ns.wrapping_add(MARGIN_NS)).wrapping_sub(scaled(reading.count, self.scale));
            // Release: pairs with the acquire in `stamp`.
            self.sum.store(sum, Ordering::Release);
            point(Point::Summed);
            // Relaxed: only `close` may come between, and the exchange sees it.
            let before = self.last.load(Ordering::Relaxed);
            let last = ((now_ns / TICK_NS + SPAN).min(bound) << Stamp::FRACTION) - 1;
            if before != 0 && before < last {
                // Release: pairs with the acquire in `stamp`.
                let _ = self.last.compare_exchange(before, last, Ordering::Release, Ordering::Relaxed);
            }
        }
        // Release: pairs with the acquire above.
        self.busy.store(false, Ordering::Release);
    }

    /// Whether counter and clock agree about the time since the last reading. The holder's.
    fn agrees(&self, reading: &Reading) -> bool {
        // Relaxed: handed from holder to holder by `busy`.
        let (last_count, last_ns) = (self.count.load(Ordering::Relaxed), self.ns.load(Ordering::Relaxed));
        let ns = reading.ns.wrapping_sub(last_ns);
        // Two readings that are so close prove no rate: until they agreed the earlier one is kept.
        if last_count != 0 && ns < LEAST_NS && self.agreed.load(Ordering::Relaxed) == 0 {
            return planted(Canary::CloseReadings);
        }
        self.count.store(reading.count, Ordering::Relaxed);
        self.ns.store(reading.ns, Ordering::Relaxed);
        let counted = scaled(reading.count.wrapping_sub(last_count), self.scale);
        let passed = units(ns);
        let agrees = counted.abs_diff(passed) <= passed / 32 + ROUNDING;
        if last_count != 0 {
            let disagreements = if agrees { 0 } else { self.disagreements.load(Ordering::Relaxed) + 1 };
            self.disagreements.store(disagreements, Ordering::Relaxed);
            self.agreed.store(agrees.into(), Ordering::Relaxed);
        }
        last_count != 0 && agrees
    }

    /// No stamp is plain any more.
    pub(super) fn close(&self) {
        // Relaxed: as `plain_until` of a wheel that is closed. It stays 0: a holder exchanges it only for another value than 0.
        self.last.store(0, Ordering::Relaxed);
    }
}

/// Whether a stamp lies in the window that ends with the last plain one.
#[inline(always)]
fn is_plain(stamp: u64, last: u64) -> bool {
    last.wrapping_sub(stamp) < WINDOW
        || planted(Canary::UncappedStamp) && last > NOT_YET
        || planted(Canary::OneEnd) && stamp <= last
}

/// The tick before which stamps are plain; 0 if none is.
fn end(last: u64) -> Tick {
    (last + 1) >> Stamp::FRACTION
}

/// Whether a stamp of the clock lies before the bound of a sum that is good for it.
fn is_covered(stamp: Tick, until: Tick) -> bool {
    until.wrapping_sub(stamp).wrapping_sub(1) < COVERED
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::canary::with;
    use crate::clock::os;
    use crate::tick::EPOCH;
    use std::cell::Cell;

    /// Counts five times in two nanoseconds, eightfold, as long as it is not told otherwise.
    struct World {
        counter: Counter,
        ns: Cell<u64>,
        count: Cell<u64>,
    }

    /// A bound beyond all others.
    const LATE: Tick = Tick::MAX >> Stamp::FRACTION;

    /// What makes wheel time of the clock's nanoseconds, rounded up.
    const SHIFT_NS: u64 = EPOCH * TICK_NS + TICK_NS - 1;

    impl World {
        fn new() -> World {
            let scale = scale(20_000_000, 1_000_000).expect("half a gigahertz and more");
            World { counter: Counter::new(scale), ns: Cell::new(5), count: Cell::new(1 << 40) }
        }

        /// A world in which counter and clock agree.
        fn agreed() -> World {
            let world = World::new();
            world.calibrate(LATE);
            world.pass(1_000_000, 20_000_000);
            world.calibrate(LATE);
            world
        }

        fn pass(&self, ns: u64, counts: u64) {
            self.ns.set(self.ns.get() + ns);
            self.count.set(self.count.get() + counts);
        }

        fn calibrate(&self, bound: Tick) {
            let reading = Reading { count: self.count.get(), ns: self.ns.get() };
            self.counter.calibrate(|| (bound, SHIFT_NS), || Some(reading));
        }

        fn stamp(&self) -> Option<Tick> {
            self.counter.stamp(|| self.count.get()).map(Stamp::tick)
        }

        /// An announce: by the counter or, where that does not tell, by the clock, which has an announcer make a new sum.
        fn announce(&self) -> Tick {
            self.stamp().unwrap_or_else(|| {
                let now = self.now();
                self.counter.expire(now);
                if self.counter.is_due(now, LATE) {
                    self.calibrate(LATE);
                }
                now
            })
        }

        /// Announces every 50 us for so long; panics if one is stamped early. Returns how many stamps were the counter's.
        fn announce_for(&self, ms: u64) -> usize {
            (0..ms * 20)
                .filter(|_| {
                    self.pass(50_000, 1_000_000);
                    let plain = self.stamp().is_some();
                    let stamp = self.announce();
                    assert!(stamp >= self.now(), "a stamp of {stamp} at {}", self.now());
                    plain
                })
                .count()
        }

        /// The tick of now, rounded up: no stamp may be earlier.
        fn now(&self) -> Tick {
            (self.ns.get() + SHIFT_NS) / TICK_NS
        }
    }

    #[test]
    fn nothing_is_plain_until_counter_and_clock_have_agreed() {
        let world = World::new();
        assert_eq!(world.stamp(), None);
        world.calibrate(LATE);
        assert_eq!(world.stamp(), None, "one reading tells no rate");
        world.pass(1_000_000, 20_000_000);
        world.calibrate(LATE);
        assert_eq!(world.stamp(), Some(world.now() + 1), "by the margin");
    }

    #[test]
    fn a_stamp_is_never_early_by_a_counter_that_is_off_by_an_eighth() {
        for counts in [17_500_000, 19_000_000, 20_000_000, 22_000_000] {
            let world = World::agreed();
            let mut plain = 0;
            for _ in 0..200 {
                world.pass(50_000, counts / 20);
                if let Some(stamp) = world.stamp() {
                    assert!((world.now()..=world.now() + 2).contains(&stamp), "{counts}: {stamp}, now {}", world.now());
                    plain += 1;
                }
            }
            assert!((100..200).contains(&plain), "for about 8 of 10 ms, but for {plain} steps");
        }
    }

    #[test]
    fn no_stamp_is_beyond_its_bound() {
        let world = World::agreed();
        let bound = world.now() + 12;
        world.pass(9_000_000, 180_000_000);
        assert_eq!(world.stamp(), None, "the sum is too old");
        world.calibrate(bound);
        while let Some(stamp) = world.stamp() {
            assert!(stamp < bound);
            world.pass(100_000, 2_000_000);
        }
        assert!(world.now() + 2 >= bound, "and stamps are plain up to it");
    }

    #[test]
    fn a_counter_that_begins_anew_or_changed_its_rate_is_not_believed() {
        let world = World::agreed();
        world.count.set(7);
        assert_eq!(world.stamp(), None, "a stamp from before the wheel was opened");
        world.pass(9_000_000, 180_000_000);
        world.calibrate(LATE);
        assert_eq!(world.stamp(), None);
        world.pass(9_000_000, 180_000_000);
        world.calibrate(LATE);
        assert_eq!(world.stamp(), Some(world.now() + 1), "they agree again");
        for _ in 0..10 {
            world.pass(9_000_000, 150_000_000);
            world.calibrate(LATE);
            assert_eq!(world.stamp(), None, "it goes at another rate than was measured");
        }
    }

    /// The counter jumps by so many milliseconds while the clock goes on.
    fn jump(by_ms: i64, idle: bool) -> World {
        let world = World::agreed();
        world.announce_for(20);
        world.count.set(world.count.get().wrapping_add_signed(by_ms * 20_000_000));
        if idle {
            // No host announces until the counter has walked back to the last sum. The observer looks in between.
            (0..2).for_each(|_| {
                world.pass(by_ms.unsigned_abs() * 495_000, by_ms.unsigned_abs() * 9_900_000);
                world.counter.expire(world.now());
            });
        }
        assert!(world.announce_for(3000) > 50_000, "the counter makes the stamps again");
        world
    }

    #[test]
    fn a_counter_that_jumps_makes_no_early_stamp() {
        for by_ms in [-2000, -500, -20, -10, 10, 20, 500, 2000] {
            for idle in [false, true] {
                let world = jump(by_ms, idle);
                assert!(!world.counter.is_suspect(), "one jump is one disagreement");
            }
        }
    }

    #[test]
    fn each_rule_of_the_window_is_needed() {
        for (canary, idle) in [(Canary::OneEnd, false), (Canary::KeptSum, true)] {
            let broken = std::panic::catch_unwind(|| with(canary, || jump(-500, idle)));
            assert!(broken.is_err(), "nothing breaks with {canary:?}");
        }
    }

    #[test]
    fn counters_of_two_processors_that_differ_make_no_early_stamp() {
        let world = World::agreed();
        let (mut plain, behind) = (0, 20 * 20_000_000);
        for turn in 0..4000 {
            world.pass(50_000, 1_000_000);
            // Every third announce is made on the processor whose counter is behind.
            let there = turn % 3 == 0;
            world.count.set(world.count.get() - u64::from(there) * behind);
            plain += usize::from(world.stamp().is_some());
            let stamp = world.announce();
            assert!(stamp >= world.now(), "a stamp of {stamp} at {}", world.now());
            world.count.set(world.count.get() + u64::from(there) * behind);
        }
        assert!(plain < 4000);
    }

    #[test]
    fn a_counter_that_disagrees_twice_in_a_row_is_suspect_until_it_agrees() {
        let world = World::agreed();
        for _ in 0..2 {
            assert!(!world.counter.is_suspect());
            world.pass(9_000_000, 150_000_000);
            world.calibrate(LATE);
            assert_eq!(world.stamp(), None);
        }
        assert!(world.counter.is_suspect());
        let reading = || Some(Reading { count: world.count.get(), ns: world.ns.get() });
        world.pass(9_000_000, 150_000_000);
        assert!(!world.counter.is_sound(reading));
        world.pass(9_000_000, 180_000_000);
        assert!(world.counter.is_sound(reading));
        assert!(!world.counter.is_suspect());
    }

    #[test]
    fn two_readings_must_agree_before_a_sum_comes_back() {
        let back_after_one = || {
            let world = World::agreed();
            world.count.set(7);
            world.pass(9_000_000, 180_000_000);
            world.calibrate(LATE);
            world.stamp().is_some()
        };
        assert!(!back_after_one());
        assert!(with(Canary::OneReading, back_after_one));
    }

    #[test]
    fn a_reading_that_failed_and_a_holder_elsewhere_change_nothing() {
        let world = World::agreed();
        world.pass(9_000_000, 180_000_000);
        world.counter.calibrate(|| (LATE, SHIFT_NS), || None);
        assert_eq!(world.stamp(), None);
        world.counter.calibrate(
            || {
                world.calibrate(LATE);
                (LATE, SHIFT_NS)
            },
            || None,
        );
        assert_eq!(world.stamp(), None, "the flag was taken");
        world.calibrate(LATE);
        assert!(world.stamp().is_some(), "and is free again");
    }

    #[test]
    fn a_closed_wheel_stays_closed() {
        let world = World::agreed();
        assert!(world.counter.is_due(world.now() + SPAN, LATE));
        world.counter.close();
        assert_eq!(world.stamp(), None);
        assert!(!world.counter.is_due(world.now() + SPAN, LATE));
        world.pass(9_000_000, 180_000_000);
        world.calibrate(LATE);
        assert_eq!(world.stamp(), None);
    }

    #[test]
    fn a_scale_needs_a_counter_that_runs_and_is_fast_enough() {
        assert_eq!(scale(0, 1_000_000), None);
        assert_eq!(scale(8 * 500_000, 1_000_000), None, "half a gigahertz");
        assert!(scale(8 * 600_000, 1_000_000).is_some());
    }

    #[test]
    fn the_processors_counter_makes_stamps_that_are_never_early() {
        let Some(scale) = os::scale() else {
            println!("left out: this system's clock is not the processor's counter");
            return;
        };
        let counter = Counter::new(scale);
        let (mut plain, mut began) = (0, os::precise_ns());
        let end = began + 300_000_000;
        while began < end {
            let stamp = counter.stamp(os::count).map(Stamp::tick);
            let ended = os::precise_ns();
            if let Some(stamp) = stamp {
                plain += 1;
                let [earliest, latest] = [began, ended + MARGIN_NS].map(|ns| (ns + SHIFT_NS) / TICK_NS);
                assert!((earliest..=latest + 1).contains(&stamp), "{stamp} is not in {earliest}..={latest}");
            } else {
                counter.calibrate(|| (LATE, SHIFT_NS), os::reading);
            }
            began = os::precise_ns();
        }
        assert!(plain > 1000, "{plain} stamps were made of the counter");
    }
}
