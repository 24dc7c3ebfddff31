//! How the wheel turns: moving the position, beginning slots, handing out records in turns.
//!
//! **Position.** `elapsed` is the first tick not yet served. It jumps from one event to the next, found in the occupancy
//! bitmaps: a slot of level 0 to serve, or a slot of an upper level to begin. Between events there is nothing to do, so
//! months pass in one jump.
//!
//! **Beginning a slot** takes its list out, as a drain, and leaves the slot empty; records are popped from the drain's
//! tail. So places stay valid, and a record that goes back into the same slot does not make the drain endless. An upper
//! slot begins when the position comes to its start: the slot at the position is always empty, which keeps slot numbers
//! unambiguous. A slot of level 0 begins when it is served, and the position moves past it in the same moment.
//!
//! **Beginning early.** A big upper slot begins a quarter of its width before its start, once. Seen from there, hints in
//! its first three quarters belong to the level below; the rest return to the slot, and are drained at its start, when
//! they are still half a width from due. (A whole width early, everything would return.) So a million hosts in one slot are
//! worked off in time, and nobody who is due meanwhile waits for them.
//!
//! **Turns.** Drains of upper levels, the lowest level first, and level 0 take turns of at most [`Limits::step`] records,
//! so neither starves the other.
//!
//! Promises what `pop` and `next_look` say. Called through the wheel's owner.

use super::level::{LEVELS, shift, width};
use super::lists::Owner;
use super::{Places, Wheel};
use crate::tick::Tick;

/// The last tick that can be served: the position must be able to pass it.
const LAST: Tick = Tick::MAX - 1;

/// Sizes that decide when the wheel changes its ways. Fields rather than constants, for the tests' sake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A slot of more hints than this begins early.
    pub(super) big: usize,
    /// Records in a turn.
    pub(super) step: usize,
    /// Drains of upper levels that may wait before the position stops for them. Reached only by an owner that is behind
    /// for good; bounds the lists, and the memory that is kept ready for them.
    pub(super) drains: usize,
}

/// Drains at a time: upper ones up to the limit and, as the position is checked before it moves, one more of each level.
pub(super) const MOST_DRAINS: usize = Limits::DEFAULT.drains + LEVELS;

impl Limits {
    pub(super) const DEFAULT: Limits = Limits { big: 4096, step: 1024, drains: 256 };
}

/// Who is handing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The drains of the upper levels.
    Upper,
    /// Level 0: its drain, and the slots up to now.
    Near,
}

/// A slot of an upper level that comes up.
#[derive(Clone, Copy, Debug)]
struct Begin {
    tick: Tick,
    level: usize,
    /// The slot's number, not yet taken modulo 256.
    number: u64,
    early: bool,
}

impl Wheel {
    /// The next record to look at; its place is nowhere then. `None`: every hint for a tick up to `now` was handed out,
    /// [`elapsed`](Wheel::elapsed) is after `now`, and no drain is in progress.
    pub(crate) fn pop<P: Places>(&mut self, places: &P, now: Tick) -> Option<u32> {
        let now = now.min(LAST);
        if self.taken >= self.limits.step {
            self.pass_turn();
        }
        loop {
            let popped = match self.turn {
                Turn::Upper => self.pop_upper(places),
                Turn::Near => self.pop_near(places, now),
            };
            if popped.is_some() {
                self.taken += 1;
                return popped;
            }
            self.pass_turn();
            if self.elapsed > now && !self.draining() {
                return None;
            }
        }
    }

    /// The earliest tick at which [`pop`](Wheel::pop) could have work, never later than the earliest hint; `None`: no hint
    /// anywhere. Waiting queues do not count. While a drain is in progress ([`draining`](Wheel::draining)) there is work at once,
    /// and the answer is `elapsed`, which may be the tick after the present one.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        if self.draining() {
            return Some(self.elapsed);
        }
        let begin = self.next_begin().map(|begin| begin.tick);
        let near = self.next_near();
        begin.into_iter().chain(near).min()
    }

    /// A drain is in progress.
    pub(crate) fn draining(&self) -> bool {
        self.levels.iter().any(|level| !level.drains.is_empty())
    }

    fn pass_turn(&mut self) {
        self.taken = 0;
        self.turn = match self.turn {
            Turn::Upper => Turn::Near,
            Turn::Near => Turn::Upper,
        };
    }

    /// The lowest level first: its hints are the nearest.
    fn pop_upper<P: Places>(&mut self, places: &P) -> Option<u32> {
        let list = self.levels[1..].iter().find_map(|level| level.drains.front().copied())?;
        self.take_last(places, list)
    }

    fn pop_near<P: Places>(&mut self, places: &P, now: Tick) -> Option<u32> {
        loop {
            if let Some(&list) = self.levels[0].drains.front() {
                return self.take_last(places, list);
            }
            if !self.advance(places, now) {
                return None;
            }
        }
    }

    /// Moves on to the next slot of level 0 and begins it; true. If there is none up to `now`, moves past `now`; false.
    /// Upper slots on the way are begun. Level 0 must have no drain.
    fn advance<P: Places>(&mut self, places: &P, now: Tick) -> bool {
        while self.elapsed <= now {
            let waiting: usize = self.levels[1..].iter().map(|level| level.drains.len()).sum();
            if waiting >= self.limits.drains {
                return false;
            }
            let end = now + 1;
            let near = self.next_near().unwrap_or(end).min(end);
            match self.next_begin() {
                // Before a slot of level 0 at the same tick, which moves the position past it.
                Some(begin) if begin.tick <= near => {
                    self.move_to(places, begin.tick);
                    if begin.early {
                        self.levels[begin.level].begun_early = Some(begin.number);
                        self.begin(places, begin.level, begin.number);
                    }
                }
                _ if near <= now => {
                    self.move_to(places, near);
                    self.begin(places, 0, near);
                    self.move_to(places, near + 1);
                    return true;
                }
                _ => self.move_to(places, end),
            }
        }
        false
    }

    /// The next occupied slot of level 0, `elapsed` included.
    fn next_near(&self) -> Option<Tick> {
        let ahead = self.levels[0].occupancy.next_from(self.elapsed as u8)?;
        Some(self.elapsed + Tick::from(ahead))
    }

    /// The next upper slot that begins, of all levels.
    fn next_begin(&self) -> Option<Begin> {
        (1..LEVELS).filter_map(|level| self.next_begin_of(level)).min_by_key(|begin| begin.tick)
    }

    /// The next slot of an upper level that begins, early or at its start. Only the next occupied slot matters: the one
    /// after it begins early after this one's start.
    fn next_begin_of(&self, level: usize) -> Option<Begin> {
        let first = (self.elapsed >> shift(level)) + 1;
        let this = &self.levels[level];
        let number = first + u64::from(this.occupancy.next_from(first as u8)?);
        let start = number << shift(level);
        let list = this.slots[usize::from(number as u8)];
        let early = self.lists.len(list) > self.limits.big && this.begun_early != Some(number);
        // A slot that grows big only within that last quarter begins at once. What was in it before is then out of the
        // way of what follows, which lies at least a whole width ahead.
        let tick = if early { (start - width(level) / 4).max(self.elapsed) } else { start };
        Some(Begin { tick, level, number, early })
    }

    /// Moves the position, past no occupied slot, and begins the upper slots that start there.
    fn move_to<P: Places>(&mut self, places: &P, tick: Tick) {
        debug_assert!(tick >= self.elapsed, "the position moves forward only");
        self.elapsed = tick;
        for level in 1..LEVELS {
            if !tick.is_multiple_of(width(level)) {
                break;
            }
            self.begin(places, level, tick >> shift(level));
        }
    }

    /// Makes the slot's list a drain, behind older ones of its level, and leaves the slot empty.
    fn begin<P: Places>(&mut self, places: &P, level: usize, number: u64) {
        let slot = number as u8;
        let this = &mut self.levels[level];
        let list = std::mem::take(&mut this.slots[usize::from(slot)]);
        if list == 0 {
            return;
        }
        this.occupancy.clear(slot);
        this.drains.push_back(list);
        self.lists.set_owner(list, Owner::Drain { level: level as u8 });
        self.lists.prefetch_tail(list, places);
    }
}
