//! What the wheel tells about its hosts and itself: look-ups, walks, figures.

use std::time::Duration;

use super::Shared;
use crate::error::{LONGEST_ID, LookupError};
use crate::event::Event;
use crate::index::Index;
use crate::pause::{Point, point};
use crate::record::{Cadence, Handle, IdBuffer, NONE, State, Word};
use crate::stats::{self, Hold, HostState, HostStatus, HostView, Stats};
use crate::sync::{Ordering, fence};
use crate::tick::{Tick, since_open, tick_floor};

impl Shared {
    /// The handle of a host that is known and not handed out.
    pub(crate) fn find(&self, id: &[u8]) -> Result<Handle, LookupError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(LookupError::IdLength);
        }
        self.living(id).ok_or(LookupError::NotFound)
    }

    pub(super) fn is_alive(&self, handle: Handle) -> bool {
        self.slab.of(handle).is_some_and(|record| {
            let word = record.word();
            point(Point::Judging);
            word.is_alive() && record.generation() == handle.generation()
        })
    }

    /// Whether the id of an event has come back as another incarnation.
    pub(crate) fn is_superseded(&self, event: &Event) -> bool {
        self.living(&event.id).is_some_and(|handle| handle != event.handle)
    }

    /// What decides a host's fate.
    pub(crate) fn inspect(&self, handle: Handle) -> Result<HostStatus, LookupError> {
        let (word, user_data, armed, held) = self.read(handle).ok_or(LookupError::Stale)?;
        let state = match word.state() {
            State::Live => HostState::Live,
            State::Suspect => HostState::Suspect,
            State::Taken => HostState::Taken,
            State::Free | State::Reserved | State::Left => return Err(LookupError::Stale),
        };
        // A host that was heard while it waited is held no longer, though the observer has yet to see that.
        let due = self.leaves_at(word) <= tick_floor(self.clock.now_ns());
        let held = if due && word.is_alive() { held.or_else(|| self.waits_since(armed)) } else { None };
        Ok(HostStatus {
            handle,
            state,
            interval: interval_of(word.cadence()),
            last_seen: since_open(word.last()),
            age: self.age(word),
            deadline: since_open(self.deadline(word)),
            suspect_since: (state == HostState::Suspect).then(|| since_open(self.deadline(word))),
            leaves_at: since_open(self.leaves_at(word)),
            next_look: (armed != NONE).then(|| since_open(armed)),
            held_since: held.map(since_open),
            held_by: held.map(|_| self.holder(armed)),
            user_data,
        })
    }

    /// Since when a due host has waited that is armed for the tick `armed` and was not visited since; `None` if no host waits.
    fn waits_since(&self, armed: Tick) -> Option<Tick> {
        let since = self.thread.turn_since.get();
        (since != 0 && armed != NONE).then(|| since.max(armed))
    }

    /// What holds back a due host that the observer will look at by itself at `armed`.
    fn holder(&self, armed: Tick) -> Hold {
        let spared = armed > tick_floor(self.clock.now_ns());
        if spared || self.thread.silent.get() != 0 {
            Hold::Silence
        } else if self.thread.outstanding.get() >= self.max_outstanding {
            Hold::Outstanding
        } else {
            Hold::Brake
        }
    }

    /// Reads a record of one incarnation, everything between two checks of the generation: word, user data, next look, and
    /// since when it is held back.
    fn read(&self, handle: Handle) -> Option<(Word, u64, Tick, Option<Tick>)> {
        let record = self.slab.of(handle)?;
        let word = record.word();
        point(Point::Viewing);
        let (user_data, armed, held) = (record.user_data(), record.armed(), record.held_since());
        // The generation of a later incarnation comes with that incarnation's user data (acquire), so if it is still
        // ours after reading these, so were they.
        let held = (held != 0 && word.is_alive()).then_some(held);
        point(Point::Viewed);
        (record.generation() == handle.generation()).then_some((word, user_data, armed, held))
    }

    fn age(&self, word: Word) -> Duration {
        Duration::from_millis(tick_floor(self.clock.now_ns()).saturating_sub(word.last()))
    }

    /// Wheel time since the opening.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }

    /// Whether a host is known that was last heard more than so many milliseconds ago.
    pub(crate) fn is_older(&self, handle: Handle, age_ms: u64) -> bool {
        self.read(handle).is_some_and(|(word, ..)| word.is_alive() && self.age(word).as_millis() > age_ms.into())
    }

    /// Calls `f` for every host that is known and not handed out, until it breaks.
    pub(crate) fn each(&self, mut f: impl FnMut(HostView<'_>) -> std::ops::ControlFlow<()>) {
        let mut buffer: IdBuffer = [0; LONGEST_ID];
        self.index.walk(&self.slab, &mut |handle| {
            point(Point::Naming);
            let id = self.slab.id(handle.index(), &mut buffer);
            point(Point::Named);
            // Acquire: if the id, or part of it, is a later incarnation's, so is the generation that is read now.
            fence(Ordering::Acquire);
            let Some((handle, word, user_data)) = self.shown(handle, id) else { return true };
            let (interval, age) = (interval_of(word.cadence()), self.age(word));
            let suspect = word.state() == State::Suspect;
            f(HostView { id, handle, interval, age, suspect, user_data }).is_continue()
        });
    }

    /// What a walk shows for an index entry, whose id it has read: the living incarnation of that id.
    fn shown(&self, entered: Handle, id: &[u8]) -> Option<(Handle, Word, u64)> {
        let living =
            |handle| self.read(handle).filter(|(word, ..)| word.is_alive()).map(|read| (handle, read.0, read.1));
        living(self.current(entered)).or_else(|| {
            // It may have been replaced since; if its generation is still the same, so was the id that was read.
            self.slab.of(entered).filter(|record| record.generation() == entered.generation())?;
            std::iter::from_fn(|| self.find(id).ok()).inspect(|_| point(Point::LookedUp)).find_map(living)
        })
    }

    /// Hosts that are known and not handed out.
    pub(super) fn live(&self) -> u64 {
        stats::live(&self.producers, &self.thread)
    }

    /// A snapshot of the counters.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            now: Duration::from_nanos(self.clock.now_ns()),
            clock: self.clock.kind(),
            margin: Duration::from_nanos(self.clock.margin_ns()),
            records: u64::from(self.slab.used()),
            ..stats::snapshot(&self.producers, &self.thread)
        }
    }
}

fn interval_of(cadence: Cadence) -> Option<Duration> {
    (!cadence.is_none()).then(|| Duration::from_millis(cadence.ms()))
}
