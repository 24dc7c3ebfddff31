//! Clocks and observed time.
//!
//! **Observed time.** When the observer was the one who was away (its process stopped, the machine paused, the thread
//! starved), the silence of the hosts says nothing about them. So wheel time = min(clock - away, horizon). At each look the
//! thread publishes a horizon: the time up to which it stands for having looked. A look that comes after the horizon adds
//! the excess to `away`, the time that counts against no host; no record is touched for it.
//!
//! The horizon is `look + watch + slack`, with watch = min(watchdog, min_interval / 2), and slack = min_interval / 4 within
//! [2 ms, 250 ms]. It depends on nothing but the configuration and the time of the look, so that time means the same to
//! every implementation of the wheel, however its lists look inside.
//!
//! **Stamps** round up and are capped by the horizon; the thread's clock and ages round down. The announcer loads the
//! horizon, or the bound of plain stamps that was made of it, then `away`, then the clock. Held back between them it may
//! stamp too early a time, never one before its call began, or too late a time, which the old horizon caps: wheel time at
//! the late look that raised `away`.

mod counter;
mod os;

#[cfg(loom)]
pub(crate) use os::{set as set_model_time, set_behind as set_model_counter_behind};

use std::collections::VecDeque;

use crate::canary::{Canary, planted};
pub(crate) use crate::config::Clock as ClockKind;
use crate::config::Config;
use crate::pause::{Point, point};
use crate::record::{LAST_TICK, Stamp};
use crate::sync::{AtomicBool, AtomicU64, Ordering, StatU64};
use crate::tick::{EPOCH, TICK_NS, Tick, tick_floor, ticks_ceil};
use counter::Counter;

/// The greatest margin of the coarse clock. A lag beyond it means that the whole machine stood still; the horizon covers
/// that.
const MARGIN_NS_MAX: u64 = 50 * TICK_NS;

/// A granule, in which it suffices to be heard once, as a power of two of ticks: at most an eighth of the shortest grace that
/// a host can have, between 16 ms and 1,024 ms.
fn granule_log2(config: &Config) -> u32 {
    let shortest_grace = ticks_ceil(config.grace.min(config.min_interval));
    (shortest_grace / 8).clamp(16, 1024).ilog2()
}

/// The length of a granule of hearing.
pub(crate) fn granule(config: &Config) -> Tick {
    1 << granule_log2(config)
}

/// Bits of the published gap that hold its start; the others hold its length in granules.
const START_BITS: u32 = 39;
const _: () = assert!(LAST_TICK < 1 << START_BITS);

/// A time in which no announcer was heard, between two hearings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The end of the granule of the earlier hearing.
    pub(crate) start: Tick,
    /// Whole granules, rounded up.
    pub(crate) length: Tick,
}

/// How often the kernel is asked whether it tells the time by the counter, and how long announcers use the coarse clock at least
/// once they have fallen back to it.
const ASK_NS: u64 = 10_000 * TICK_NS;

/// Time stands still after this: a word holds no later announce.
const END_NS: u64 = (LAST_TICK - EPOCH) * TICK_NS;

/// What announcers read at every announce and the thread writes every few milliseconds at most: a line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Published {
    /// Nanoseconds that the wheel's time is behind the clock.
    away_ns: AtomicU64,
    /// No stamp is later than this.
    horizon: AtomicU64,
    /// What the coarse clock's reading is raised by.
    margin_ns: AtomicU64,
    /// What makes a stamp of a reading, once it is divided by the length of a tick: the three of them, the epoch and the
    /// rounding in one number, which may wrap. One load instead of four, and a sum instead of several.
    shift_ns: AtomicU64,
    /// A stamp before this one is plain: it is within the horizon, somebody has been heard in its granule, and the wheel is
    /// open. One comparison instead of three. Announcers move it forward ([`Clock::hear`]); 0 for ever once closed.
    plain_until: AtomicU64,
    closed: AtomicBool,
    /// The last granule in which an announcer was heard; written once a granule.
    heard: StatU64,
    /// The longest [`Gap`] since the observer took the last one; 0: none.
    gap: StatU64,
    /// When a suspect was last trusted again by news of earlier: its consumer answers for it.
    vouched: StatU64,
    /// The clock's reading, since open, at the last look that raised `away`, and by how much that did: what an instant before
    /// that look was in wheel time. For the Go package.
    raised_ns: AtomicU64,
    raised_by_ns: AtomicU64,
}

/// The clock of one wheel, shared by its announcers and its thread.
#[derive(Debug)]
pub(crate) struct Clock {
    published: Published,
    kind: ClockKind,
    /// See [`granule_log2`].
    granule_log2: u32,
    /// What announcers read; `None` for the manual clock. With the counter, where that does not tell.
    source: Option<os::Source>,
    /// Stamps are made of the processor's counter, unless they have `fallen` back to the coarse clock.
    counts: bool,
    counter: Counter,
    fallen: AtomicBool,
    /// When the observer last changed its mind about the counter, or asked the kernel about it, by `CLOCK_MONOTONIC`.
    asked_ns: StatU64,
    /// The reading of the clock at which the wheel was opened; 0 for a manual one.
    base_ns: u64,
    /// The manual clock's time since open.
    manual_ns: AtomicU64,
}

/// See [`Published::plain_until`]; `granule` is one in which an announcer was heard.
fn plain_until(granule_log2: u32, horizon: Tick, granule: u64) -> Tick {
    ((granule + 1) << granule_log2).min(horizon)
}

impl Clock {
    pub(crate) fn new(config: &Config) -> Clock {
        let scale = if config.clock == ClockKind::Counter { os::scale() } else { None };
        let kind = match config.clock {
            ClockKind::Counter if scale.is_none() => ClockKind::Coarse,
            kind => kind,
        };
        let (base_ns, margin_ns) = match kind {
            ClockKind::Manual => (0, 0),
            ClockKind::Precise | ClockKind::Counter => (os::precise_ns(), 0),
            ClockKind::Coarse => (os::precise_ns(), 2 * os::coarse_resolution_ns()),
        };
        // Nobody has looked yet; without watchdog that does not matter.
        let horizon = if config.watchdog.is_zero() { LAST_TICK } else { EPOCH };
        let granule_log2 = granule_log2(config);
        let granule = EPOCH >> granule_log2;
        Clock {
            published: Published {
                away_ns: AtomicU64::new(0),
                horizon: AtomicU64::new(horizon),
                margin_ns: AtomicU64::new(margin_ns),
                shift_ns: AtomicU64::new(shift_ns(margin_ns, base_ns, 0)),
                plain_until: AtomicU64::new(plain_until(granule_log2, horizon, granule)),
                closed: AtomicBool::new(false),
                heard: StatU64::new(granule),
                gap: StatU64::new(0),
                vouched: StatU64::new(0),
                raised_ns: AtomicU64::new(0),
                raised_by_ns: AtomicU64::new(0),
            },
            kind,
            granule_log2,
            source: match kind {
                ClockKind::Manual => None,
                ClockKind::Precise | ClockKind::Counter => Some(os::PRECISE),
                ClockKind::Coarse => Some(os::COARSE),
            },
            counts: scale.is_some(),
            counter: Counter::new(scale.unwrap_or(0)),
            fallen: AtomicBool::new(false),
            asked_ns: StatU64::new(base_ns),
            base_ns,
            manual_ns: AtomicU64::new(0),
        }
    }

    /// The stamp of an announce that happens now.
    #[inline]
    pub(crate) fn stamp(&self) -> Tick {
        // Acquire: pairs with the release in `Observer::look`; who sees a horizon sees the shift published before it.
        let horizon = self.published.horizon.load(Ordering::Acquire);
        let counted = if self.counts { self.counter.stamp(os::count) } else { None };
        let stamp = match counted {
            Some(stamp) => stamp.tick(),
            None if self.counts => self.reading_beside_the_counter(),
            None => self.reading(self.source),
        };
        if planted(Canary::UncappedStamp) { stamp } else { stamp.min(horizon) }
    }

    /// As [`stamp`](Self::stamp), if that needs no more than the clock: else `None`, and who takes a stamp in the other way
    /// calls [`hear`](Self::hear).
    #[inline(always)]
    pub(crate) fn plain_stamp(&self) -> Option<Stamp> {
        if self.counts { self.counter.stamp(os::count) } else { self.plain_reading() }
    }

    /// Wheel time where the counter does not tell.
    fn reading_beside_the_counter(&self) -> Tick {
        // The announcer asks for the fallback first, and so sees the shift that was published before it.
        let stamp = self.reading(if self.has_fallen() { Some(os::COARSE) } else { self.source });
        self.counter.expire(stamp);
        stamp
    }

    /// Whether announces are stamped with the coarse clock in place of the counter.
    fn has_fallen(&self) -> bool {
        // Acquire: pairs with the release in `fall_back`: a reading of the coarse clock gets its margin.
        self.fallen.load(Ordering::Acquire)
    }

    #[inline]
    fn plain_reading(&self) -> Option<Stamp> {
        // Acquire: pairs with the release in `hear`, which had acquired a horizon no earlier than this; so who sees it sees
        // the shift published before that horizon.
        let until = self.published.plain_until.load(Ordering::Acquire);
        let stamp = self.reading(self.source);
        (stamp < until || planted(Canary::UncappedStamp)).then_some(Stamp::of(stamp))
    }

    /// Wheel time by the announcer's clock, horizon or not; its caller has loaded that.
    #[inline(always)]
    fn reading(&self, source: Option<os::Source>) -> Tick {
        // Acquire: keeps the clock's reading behind it. With a reading from before a raise and a shift from after it the
        // stamp would lie in the past.
        let shift_ns = self.published.shift_ns.load(Ordering::Acquire);
        let ns = match source {
            Some(source) => os::read(source),
            // Relaxed: who was told of the new time sees it; the observer publishes what follows from it.
            None => self.manual_ns.load(Ordering::Relaxed),
        };
        ns.wrapping_add(shift_ns) / TICK_NS
    }

    /// Where the numbers are that make a stamp of a reading of the clock, or of an instant: the shift, the bound of plain
    /// stamps, the last raise of `away` and its size.
    #[cfg(not(loom))]
    pub(crate) fn for_stamps(&self) -> [&AtomicU64; 4] {
        let published = &self.published;
        [&published.shift_ns, &published.plain_until, &published.raised_ns, &published.raised_by_ns]
    }

    /// The clock that announcers read, as they read it where the counter does not tell; `None` for a manual one.
    #[cfg(not(loom))]
    pub(crate) fn announcers_ns(&self) -> Option<u64> {
        self.source.map(os::read)
    }

    /// The reading of the clock at which the wheel was opened.
    #[cfg(not(loom))]
    pub(crate) fn base_ns(&self) -> u64 {
        self.base_ns
    }

    /// Notes that a host was heard at `stamp`, of which an announcer learned at `now`, and that stamps of the same granule are plain
    /// from now on.
    pub(crate) fn hear(&self, stamp: Tick, now: Tick) {
        let granule = stamp >> self.granule_log2;
        // Relaxed, all of them: they order nothing. A hearing or a gap that the observer sees late is one that it sees at its
        // next look, and a gap says when it began.
        if self.published.heard.load(Ordering::Relaxed) < granule {
            let before = self.published.heard.fetch_max(granule, Ordering::Relaxed);
            self.note_gap((before + 1) << self.granule_log2, now);
        }
        // Relaxed: the exchange below checks it.
        let before = self.published.plain_until.load(Ordering::Relaxed);
        // Acquire: as in `stamp`.
        let until = plain_until(self.granule_log2, self.published.horizon.load(Ordering::Acquire), granule);
        if self.counts && self.counter.is_due(stamp, until) && !self.has_fallen() {
            self.calibrate(granule);
        }
        if before != 0 && before < until {
            // Release: pairs with the acquire in `plain_stamp`. Failed: another announcer was faster, or the wheel is closed.
            let _ = self.published.plain_until.compare_exchange(before, until, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Publishes the time from `start` to a hearing that an announcer learned of at `now`, if it is the longest since the observer
    /// looked. (A fleet that is vouched for some seconds late is quiet for so long all the time.)
    fn note_gap(&self, start: Tick, now: Tick) {
        let granules = now.saturating_sub(start).div_ceil(1 << self.granule_log2);
        if granules > 1 {
            let most = (1 << (u64::BITS - START_BITS)) - 1;
            self.published.gap.fetch_max(granules.min(most) << START_BITS | start, Ordering::Relaxed);
        }
    }

    /// Notes that a suspect is trusted again at `now`, by news of earlier.
    pub(crate) fn vouch(&self, now: Tick) {
        // Relaxed: see `hear`.
        self.published.vouched.fetch_max(now, Ordering::Relaxed);
    }

    /// See [`vouch`](Self::vouch); 0: never.
    pub(crate) fn vouched_at(&self) -> Tick {
        // Relaxed: see `hear`.
        self.published.vouched.load(Ordering::Relaxed)
    }

    /// Takes the longest gap since the last call. The observer's.
    pub(crate) fn take_gap(&self) -> Option<Gap> {
        // Relaxed: see `hear`.
        if self.published.gap.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let gap = self.published.gap.swap(0, Ordering::Relaxed);
        let start = gap & ((1 << START_BITS) - 1);
        Some(Gap { start, length: gap >> START_BITS << self.granule_log2 })
    }

    /// Lets stamps of this granule be made of the counter for the next while.
    #[cold]
    #[inline(never)]
    fn calibrate(&self, granule: u64) {
        let terms = || {
            // Acquire: as in `reading`.
            let shift_ns = || self.published.shift_ns.load(Ordering::Acquire);
            let early_ns = planted(Canary::LateBound).then(shift_ns);
            point(Point::Bounded);
            // Acquire: as in `stamp`, and before the shift, so that a bound never goes with a shift from before its horizon.
            let until = plain_until(self.granule_log2, self.published.horizon.load(Ordering::Acquire), granule);
            point(Point::Bounded);
            (until, early_ns.unwrap_or_else(shift_ns))
        };
        self.counter.calibrate(terms, os::reading);
    }

    /// Up to when an announcer may have been heard: the end of the last granule in which one was.
    pub(crate) fn heard_until(&self) -> Tick {
        // Relaxed: see `hear`.
        (self.published.heard.load(Ordering::Relaxed) + 1) << self.granule_log2
    }

    /// Publishes what `away` and the margin are now. The thread's; it alone changes them.
    fn publish_shift(&self) {
        let away_ns = self.published.away_ns.load(Ordering::Relaxed);
        let shift_ns = shift_ns(self.lag_ns(), self.base_ns, away_ns);
        // Release: pairs with the acquire in `reading`; a clock reading that follows it is not from before this.
        self.published.shift_ns.store(shift_ns, Ordering::Release);
    }

    /// The clock's time since open as the thread reads it, `away` not taken off.
    pub(crate) fn observe_ns(&self) -> u64 {
        let ns = match self.kind {
            // Relaxed: as in `stamp`.
            ClockKind::Manual => self.manual_ns.load(Ordering::Relaxed),
            ClockKind::Counter | ClockKind::Coarse | ClockKind::Precise => {
                os::precise_ns().saturating_sub(self.base_ns)
            }
        };
        ns.min(END_NS)
    }

    /// Wheel time now, in nanoseconds since open: a figure. Around a late look it may be off by what that look changes.
    pub(crate) fn now_ns(&self) -> u64 {
        // Relaxed: see above.
        let horizon = self.published.horizon.load(Ordering::Relaxed);
        let away_ns = self.published.away_ns.load(Ordering::Relaxed);
        self.observe_ns().saturating_sub(away_ns).min((horizon.saturating_sub(EPOCH)).saturating_mul(TICK_NS))
    }

    /// The reading of `CLOCK_MONOTONIC` at wheel time `tick`, for the thread's timer.
    pub(crate) fn reading_at(&self, tick: Tick) -> u64 {
        // Relaxed: the thread's own.
        let away_ns = self.published.away_ns.load(Ordering::Relaxed);
        (tick.saturating_sub(EPOCH)).saturating_mul(TICK_NS).saturating_add(self.base_ns + away_ns)
    }

    /// Moves the manual clock forward; never back.
    pub(crate) fn set_manual(&self, ns: u64) {
        // Relaxed: see `stamp`. The setter holds the engine's lock, so there is one at a time.
        let now = self.manual_ns.load(Ordering::Relaxed);
        self.manual_ns.store(now.max(ns), Ordering::Relaxed);
    }

    /// By how much a stamp may be late.
    pub(crate) fn margin_ns(&self) -> u64 {
        if self.counts && !self.has_fallen() { counter::MARGIN_NS + self.lag_ns() } else { self.lag_ns() }
    }

    /// What readings are raised by.
    fn lag_ns(&self) -> u64 {
        self.published.margin_ns.load(Ordering::Relaxed)
    }

    /// What announces are stamped with at present.
    pub(crate) fn kind(&self) -> ClockKind {
        if self.counts && self.has_fallen() { ClockKind::Coarse } else { self.kind }
    }

    /// Looks after the counter. The observer's, now and then: falls back to the coarse clock when counter and clock have
    /// disagreed twice in a row, or the kernel tells the time by something else now; and tries the counter again after a while.
    pub(crate) fn watch_counter(&self) {
        if !self.counts {
            return;
        }
        let now_ns = os::precise_ns();
        // Relaxed: the observer's own.
        let is_time = now_ns.saturating_sub(self.asked_ns.load(Ordering::Relaxed)) >= ASK_NS;
        if is_time {
            self.asked_ns.store(now_ns, Ordering::Relaxed);
        }
        if self.has_fallen() {
            if is_time && self.counter.is_sound(os::reading) && os::counts() {
                // Relaxed: an announcer that reads the coarse clock once more has its margin, which stays.
                self.fallen.store(false, Ordering::Relaxed);
            }
        } else if self.counter.is_suspect() || is_time && !os::counts() {
            self.asked_ns.store(now_ns, Ordering::Relaxed);
            self.fall_back();
        }
    }

    fn fall_back(&self) {
        self.raise_margin((2 * os::coarse_resolution_ns()).max(lag_now_ns() + TICK_NS));
        // Release: pairs with the acquire in `has_fallen`; after the shift with the margin.
        self.fallen.store(true, Ordering::Release);
    }

    /// Raises the margin, at most to its greatest value.
    fn raise_margin(&self, margin_ns: u64) {
        let margin_ns = margin_ns.min(MARGIN_NS_MAX);
        if margin_ns > self.lag_ns() {
            // Relaxed: announcers see it as part of the shift.
            self.published.margin_ns.store(margin_ns, Ordering::Relaxed);
            self.publish_shift();
        }
    }

    /// Raises the margin to the coarse clock's present lag and a millisecond.
    pub(crate) fn measure_lag(&self) {
        if self.kind() == ClockKind::Coarse {
            self.raise_margin(lag_now_ns() + TICK_NS);
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: callers that must see a close learned of it by other means; the thread fences before it sleeps.
        self.published.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        // Relaxed: the closer fences before it looks whether the thread sleeps, see `Shared::close`.
        self.published.closed.store(true, Ordering::Relaxed);
        // Relaxed: as above. It stays 0: announcers exchange it only for another value than 0.
        self.published.plain_until.store(0, Ordering::Relaxed);
        self.counter.close();
    }
}

/// By how much the coarse clock lags at present.
fn lag_now_ns() -> u64 {
    // Precise first: a pause between the two makes the lag look smaller, never greater.
    let precise = os::precise_ns();
    precise.saturating_sub(os::coarse_ns())
}

/// See [`Published::shift_ns`]. A reading lies before the opening by less than the epoch is long.
fn shift_ns(margin_ns: u64, base_ns: u64, away_ns: u64) -> u64 {
    (EPOCH * TICK_NS + TICK_NS - 1 + margin_ns).wrapping_sub(base_ns).wrapping_sub(away_ns)
}

/// The thread's side of observed time.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Ticks between looks, `None` when the watchdog is off.
    watch: Option<Tick>,
    slack: Tick,
    /// Publish a horizon that lies at least this much after the last one: at most half of the slack, which it eats.
    worth: Tick,
    horizon: Tick,
    away_ns: u64,
    missed_ns: u64,
    now_ns: u64,
    /// The last raises of `away` while a host was known: the tick at which time stood still, and `missed_ns` after it.
    raises: VecDeque<(Tick, u64)>,
}

impl Observer {
    const RAISES_KEPT: usize = 64;

    pub(crate) fn new(config: &Config) -> Observer {
        let min_interval = ticks_ceil(config.min_interval);
        let watch = (!config.watchdog.is_zero()).then(|| ticks_ceil(config.watchdog).min(min_interval / 2).max(1));
        let slack = (min_interval / 4).clamp(2, 250);
        Observer {
            watch,
            slack,
            worth: if config.clock == ClockKind::Manual { 0 } else { (slack / 2).min(4) },
            horizon: EPOCH,
            away_ns: 0,
            missed_ns: 0,
            now_ns: 0,
            raises: VecDeque::with_capacity(Self::RAISES_KEPT),
        }
    }

    /// A look at the clock; `idle` says that no record is known, so nothing was missed. Returns the observer's tick.
    pub(crate) fn look(&mut self, clock: &Clock, idle: bool) -> Tick {
        // Never backwards, whatever the clock does.
        let ns = clock.observe_ns().saturating_sub(self.away_ns).max(self.now_ns);
        self.now_ns = ns;
        let mut publish = false;
        match self.watch {
            None => {
                publish = self.horizon != LAST_TICK;
                self.horizon = LAST_TICK;
            }
            Some(watch) => {
                let horizon_ns = (self.horizon - EPOCH) * TICK_NS;
                if ns > horizon_ns && !planted(Canary::CountedAbsence) {
                    self.raise(clock, ns - horizon_ns, idle);
                    self.now_ns = horizon_ns;
                    publish = true;
                }
                let next = (tick_floor(self.now_ns) + watch + self.slack).min(LAST_TICK);
                if publish || next >= self.horizon + self.worth {
                    publish = true;
                    self.horizon = next;
                }
            }
        }
        if publish {
            // Release: pairs with the acquire in `Clock::stamp`; after the shift.
            clock.published.horizon.store(self.horizon, Ordering::Release);
        }
        if clock.counts {
            clock.counter.expire(self.tick());
        }
        self.tick()
    }

    fn raise(&mut self, clock: &Clock, excess_ns: u64, idle: bool) {
        self.away_ns += excess_ns;
        // Relaxed: who takes an instant from before this raise for one after it errs by the raise, as it did a moment ago.
        clock.published.raised_by_ns.store(excess_ns, Ordering::Relaxed);
        clock.published.raised_ns.store(self.now_ns + self.away_ns - excess_ns, Ordering::Relaxed);
        // Relaxed: for figures, and for the thread itself. Announcers read the shift.
        clock.published.away_ns.store(self.away_ns, Ordering::Relaxed);
        clock.publish_shift();
        if !idle {
            self.missed_ns += excess_ns;
            if self.raises.len() == Self::RAISES_KEPT {
                self.raises.pop_front();
            }
            self.raises.push_back((self.horizon, self.missed_ns));
        }
    }

    /// Wheel time at the last look, rounded down.
    pub(crate) fn tick(&self) -> Tick {
        tick_floor(self.now_ns)
    }

    /// How late something is that was due at `tick`.
    pub(crate) fn late_ns(&self, due: Tick) -> u64 {
        self.now_ns.saturating_sub(due.saturating_sub(EPOCH).saturating_mul(TICK_NS))
    }

    /// Until when the thread may sleep at most.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        self.watch.map(|watch| self.tick() + watch)
    }

    /// All time not counted while a host was known.
    pub(crate) fn missed_ns(&self) -> u64 {
        self.missed_ns
    }

    /// The time not counted since `tick`, as far back as the last raises tell.
    pub(crate) fn missed_since_ns(&self, tick: Tick) -> u64 {
        let before = self.raises.iter().rev().find(|(at, _)| *at < tick);
        match (before, self.raises.front()) {
            (Some((_, missed)), _) => self.missed_ns - missed,
            (None, Some(_)) if self.raises.len() < Self::RAISES_KEPT => self.missed_ns,
            // Older raises were forgotten: count from the oldest known.
            (None, Some((_, oldest))) => self.missed_ns - oldest,
            (None, None) => 0,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
