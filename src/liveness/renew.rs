//! The renew path: one CAS on the record's word, and a report if the observer must look sooner than it planned.

use std::time::Duration;

use super::Shared;
use crate::canary::{Canary, planted};
use crate::error::RenewError;
use crate::liveness::{Announced, Interval, Outcome};
use crate::pause::{Point, point};
use crate::record::{Cadence, Handle, Record, State, Word};
use crate::sync::{Ordering, fence};
use crate::tick::{Tick, ticks_floor};

/// An announce as the record sees it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// `None` keeps the interval.
    pub(super) cadence: Option<Cadence>,
    pub(super) age: Tick,
}

/// What became of an announce of a handle.
pub(super) enum Touch {
    Heard(Outcome),
    /// Handed out as a leave.
    Taken,
    /// Left, freed, or of another incarnation.
    Gone,
}

impl Touch {
    /// What an announce that was accepted did.
    pub(super) fn heard(self) -> Option<Outcome> {
        match self {
            Touch::Heard(outcome) => Some(outcome),
            Touch::Taken | Touch::Gone => None,
        }
    }
}

impl Shared {
    /// Announces a host by its handle, with its interval.
    #[cfg(not(loom))]
    pub(crate) fn announce_handle(
        &self,
        handle: Handle,
        interval: Interval,
        age: Duration,
    ) -> Result<Announced, RenewError> {
        if self.clock.is_closed() {
            return Err(RenewError::Closed);
        }
        let agreed = self.terms.agree(interval.0);
        match self.touch(handle, Call { cadence: Some(agreed.cadence), age: ticks_floor(age) }, false) {
            Touch::Heard(outcome) => Ok(self.announced(handle, outcome, &agreed)),
            Touch::Taken => Err(RenewError::Taken),
            Touch::Gone => Err(RenewError::Stale),
        }
    }

    /// Announces a host by its handle; keeps its interval.
    #[inline(always)]
    pub(crate) fn renew(&self, handle: Handle, age: Duration) -> Result<Outcome, RenewError> {
        if age.is_zero() && self.touch_plainly(handle, None) {
            return Ok(Outcome::Renewed);
        }
        self.renew_other(handle, age)
    }

    #[cold]
    #[inline(never)]
    fn renew_other(&self, handle: Handle, age: Duration) -> Result<Outcome, RenewError> {
        if self.clock.is_closed() {
            return Err(RenewError::Closed);
        }
        match self.touch(handle, Call { cadence: None, age: ticks_floor(age) }, false) {
            Touch::Heard(outcome) => Ok(outcome),
            Touch::Taken => Err(RenewError::Taken),
            Touch::Gone => Err(RenewError::Stale),
        }
    }

    /// An announce of the host that the index names, if it is alive.
    pub(super) fn hear(&self, handle: Handle, call: Call) -> Option<(Handle, Outcome)> {
        self.hear_predecessor(handle, call)
            .or_else(|| self.touch(handle, call, true).heard().map(|outcome| (handle, outcome)))
    }

    /// An announce in its usual form: of a host that is Live, heard just now, for the first time in this tick, with a stamp
    /// that needs nothing else ([`Clock::plain_stamp`](crate::clock::Clock::plain_stamp)). False if it is another one;
    /// then nothing was done.
    ///
    /// It alone is inlined. With a million hosts an announce waits for the record, and announces in a row wait together as
    /// far as the processor looks ahead, so few instructions, and very few that need what is waited for, are worth more than
    /// anything else here.
    #[inline(always)]
    pub(super) fn touch_plainly(&self, handle: Handle, cadence: Option<Cadence>) -> bool {
        let Some(record) = self.slab.of(handle) else { return false };
        // The order is: word, generation, clock, CAS. A CAS that succeeds proves that the word was still the one that
        // the generation was checked for (ground rule 2 of the record room), and a clock read before the word could
        // overwrite a newer announce with an older time.
        let word = record.word_seq();
        point(Point::Judging);
        if record.generation() != handle.generation() {
            return false;
        }
        point(Point::WordRead);
        let Some(now) = self.clock.plain_stamp() else { return false };
        let Some(new) = word.renewed(now, cadence) else { return false };
        point(Point::Stamped);
        if !record.swap_word_seq(word, new) {
            return false;
        }
        point(Point::Heard);
        if new.last_of_live() + new.ttl_floor() < record.armed_seq() {
            self.report_early(handle.index(), record, new);
        }
        true
    }

    /// An announce in any form.
    ///
    /// `help` completes a registration that another thread has begun: only who found the handle in the index may.
    #[cold]
    #[inline(never)]
    pub(super) fn touch(&self, handle: Handle, call: Call, help: bool) -> Touch {
        let Some(record) = self.slab.of(handle) else { return Touch::Gone };
        loop {
            let word = record.word_seq();
            point(Point::Judging);
            if record.generation() != handle.generation() {
                return Touch::Gone;
            }
            let state = word.state();
            match state {
                State::Live | State::Suspect => {}
                State::Reserved if help => {}
                State::Taken => return Touch::Taken,
                State::Free | State::Reserved | State::Left => return Touch::Gone,
            }
            point(Point::WordRead);
            let now = self.clock.stamp();
            let new = self.heard(word, now, call);
            point(Point::Stamped);
            let changed = new != word;
            if changed && !record.swap_word_seq(word, new) {
                continue;
            }
            point(Point::Heard);
            self.clock.hear(now.saturating_sub(call.age), now);
            if state == State::Suspect && new.state() == State::Live {
                if call.age > 0 {
                    self.clock.vouch(now);
                }
                self.report(handle.index(), 0);
                return Touch::Heard(Outcome::Recovered);
            }
            if !(state == State::Reserved && planted(Canary::SilentHelper)) {
                self.report_early(handle.index(), record, new);
            }
            return Touch::Heard(Outcome::Renewed);
        }
    }

    /// Reports a host that the observer must look at sooner than it planned.
    ///
    /// A host that nobody has placed has `armed` = NONE, so whoever announces it, the helper of its registration and one that
    /// changed nothing included, reports it: the one who made it Live may be held back.
    #[cold]
    #[inline(never)]
    fn report_early(&self, index: u32, record: &Record, word: Word) {
        let due = self.look_at(word);
        if due < record.armed_seq() {
            self.report(index, due);
        }
    }

    /// The word after an announce at `now`.
    pub(super) fn heard(&self, word: Word, now: Tick, call: Call) -> Word {
        let (stamp, last) = (now.saturating_sub(call.age), word.last());
        let news = Word::new(last.max(stamp), call.cadence.unwrap_or(word.cadence()), word.state());
        if word.state() == State::Reserved {
            return news.with_state(State::Live);
        }
        // News from before the last announce changes nothing: what came later knew better.
        let new = if call.age > 0 && stamp < last { word } else { news };
        if new.state() == State::Suspect && self.deadline(new) > now { new.with_state(State::Live) } else { new }
    }

    /// Tells the observer that a record is due a look at `due`, sooner than it planned.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, index: u32, due: Tick) {
        point(Point::Reporting);
        self.slab.mark(index);
        point(Point::Marked);
        if !planted(Canary::NoWakeFence) {
            // SeqCst: pairs with the fence in `Engine::may_sleep`: the observer sees the mark before it sleeps, or we see
            // its alarm.
            fence(Ordering::SeqCst);
        }
        self.wake_before(due);
    }

    pub(super) fn wake_before(&self, due: Tick) {
        // Relaxed: the fence before it does the ordering. Everybody who sees the alarm wakes: one who trusted another to
        // do it could return before that one did.
        if due < self.alarm.load(Ordering::Relaxed) {
            self.waker.wake();
        }
    }
}
