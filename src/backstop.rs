//! Layer 3: a slow sweep over all records that does not trust the wheel.
//!
//! The wheel finds a host by the hint it keeps. The sweep reads the records themselves, in slices, one pass per period. A
//! record that is still there [`OVERDUE`] after its own due tick, held by no waiting queue, was lost by the wheel: the
//! sweep has it visited, whatever list it claims to be in, and counts a rescue. In a healthy system there is none. A record
//! in no list may have a mark on the way, by a thread that is held back just before it: the next sweep decides.
//!
//! The sweep must not take for lost what the observer just had no time for, so it runs on the observer, when no drain is
//! in progress, the marked records were collected and wheel time was caught up for a while ([`Backstop::next_slice`]).
//! This file knows when to sweep which records; `Engine::sweep` judges them.

use std::ops::Range;

use crate::tick::Tick;

/// How long past its due tick a record counts as lost, and for how long the observer must have kept up.
pub(crate) const OVERDUE: Tick = 2000;

/// How long the observer may be busy without a pause before it counts as behind.
const BUSY: Tick = 500;

/// Records looked at in one go: below 200 µs.
const SLICE: u32 = 16_384;

/// The sweep's schedule.
#[derive(Debug)]
pub(crate) struct Backstop {
    /// Ticks per pass; `None` when switched off.
    period: Option<Tick>,
    /// When the next slice is due.
    next: Tick,
    cursor: u32,
    /// Since when every step of the observer has left something to do.
    busy_since: Option<Tick>,
    /// The last tick at which the observer was behind its work.
    behind: Tick,
}

impl Backstop {
    /// `period` 0 switches the sweep off.
    pub(crate) fn new(period: Tick, now: Tick) -> Backstop {
        Backstop {
            period: (period > 0).then_some(period),
            next: now + period,
            cursor: 0,
            busy_since: None,
            behind: now,
        }
    }

    /// Notes whether a step left something to do. Once everything was done, all hints up to then were served; a busy
    /// observer gets there many times a second, so only one that does not for a while is behind.
    pub(crate) fn stepped(&mut self, now: Tick, more: bool) {
        if !more {
            self.busy_since = None;
        } else if now - *self.busy_since.get_or_insert(now) > BUSY {
            self.behind(now);
        }
    }

    /// Notes that the observer is behind its work at `now`, or that time stood still before it.
    pub(crate) fn behind(&mut self, now: Tick) {
        self.behind = now;
    }

    /// When the next slice may be swept, as far as is known now.
    pub(crate) fn next_slice(&self) -> Option<Tick> {
        self.period.map(|_| self.next.max(self.behind + OVERDUE))
    }

    /// Whether the last slice taken was the last of its pass.
    pub(crate) fn pass_ended(&self, used: u32) -> bool {
        self.cursor >= used
    }

    /// Takes the slice that is due at `now`, of `used` records, and schedules the next.
    pub(crate) fn take_slice(&mut self, now: Tick, used: u32) -> Option<Range<u32>> {
        let period = self.period?;
        if self.next_slice()? > now {
            return None;
        }
        let start = if self.cursor < used { self.cursor } else { 0 };
        let end = used.min(start.saturating_add(SLICE));
        self.cursor = end;
        let slices = Tick::from(used.div_ceil(SLICE).max(1));
        self.next = now + (period / slices).max(1);
        Some(start..end)
    }

    /// Goes on with `index` at tick `at`: the rest of a slice that was cut short.
    pub(crate) fn resume(&mut self, index: u32, at: Tick) {
        self.cursor = index;
        self.next = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_swept_once_per_period() {
        let used = 5 * SLICE + 7;
        let mut sweep = Backstop::new(300_000, 0);
        let mut seen = 0;
        let mut now = 0;
        while seen < used {
            now = sweep.next_slice().unwrap();
            let slice = sweep.take_slice(now, used).unwrap();
            assert_eq!(slice.start, seen);
            seen = slice.end;
        }
        assert!((500_000..=600_000).contains(&now), "{now}");
        assert_eq!(sweep.take_slice(now + 50_000, used).unwrap().start, 0, "and then again from the start");
    }

    #[test]
    fn an_observer_that_is_behind_is_not_disturbed() {
        let mut sweep = Backstop::new(1000, 0);
        sweep.behind(5000);
        assert_eq!(sweep.take_slice(6999, 10), None);
        assert_eq!(sweep.take_slice(7000, 10), Some(0..10));
    }

    #[test]
    fn an_observer_that_is_busy_and_keeps_up_is_not_behind() {
        let mut sweep = Backstop::new(1000, 0);
        for now in (0..10_000).step_by(100) {
            sweep.stepped(now, true);
            sweep.stepped(now + 50, false);
        }
        assert_eq!(sweep.next_slice(), Some(2000));
        for now in (10_000..11_000).step_by(100) {
            sweep.stepped(now, true);
        }
        assert_eq!(sweep.next_slice(), Some(10_900 + OVERDUE));
    }

    #[test]
    fn it_can_be_switched_off() {
        let mut sweep = Backstop::new(0, 0);
        assert_eq!(sweep.next_slice(), None);
        assert_eq!(sweep.take_slice(Tick::MAX, 10), None);
    }
}
