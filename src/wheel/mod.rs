//! The timing wheel: at which tick to look at which record. Plain single-threaded code that knows ticks and record
//! indices only: no host, no clock, no thread, no atomics.
//!
//! | level | slot width | reach |
//! |---|---|---|
//! | 0 | 1 tick (1 ms) | 255 ms |
//! | 1 | 2^8 ticks (256 ms) | 65 s |
//! | 2 | 2^16 ticks (65.5 s) | 4.6 h |
//! | 3 | 2^24 ticks (4.7 h) | 49.5 days; what is farther waits in the last slot and is looked at on the way |
//!
//! A hint says "look at this record at this tick". The wheel promises:
//!
//! - once `pop(now)` returned `None`, every hint for a tick up to `now` has been handed out, each once;
//! - a hint may be handed out early, when a slot of an upper level comes up. The caller then schedules the record again,
//!   for its present deadline. That is the cascade: a host that renewed meanwhile never takes part in it;
//! - a record is in one list at most, and its [`Place`] names it, so that a hint is moved or removed in O(1), also when
//!   its list is being drained;
//! - no operation depends on how much time passes, only on the number of hints that come up;
//! - nobody waits long for others: see "Turns" in `turning.rs`.
//!
//! It may assume: a record's place is changed by the wheel alone while its list is not 0; ticks do not come near
//! `u64::MAX`; a record popped early is scheduled for a later tick than `now`, or not at all.
//!
//! Called by the thread that owns the wheel, in `liveness`, and by the back-stop, which does not trust it.
//!
//! Files: `level.rs` says where a tick belongs, `turning.rs` moves the position and hands out, `lists.rs` holds the
//! hints, `chunks.rs` has their memory, `occupancy.rs` finds the next slot, `check.rs` proves that they agree.

#[cfg(test)]
mod check;
mod chunks;
mod level;
mod lists;
mod occupancy;
mod turning;

#[cfg(test)]
mod tests;

use crate::sync::Arc;
use crate::tick::Tick;
use chunks::Chunks;
pub(crate) use chunks::Supply;
use level::{LEVELS, Level, SLOTS};
use lists::{Lists, Owner};
use turning::{Limits, MOST_DRAINS, Turn};

/// Lists that are not empty at a time: those of slots, drains and the waiting queues' two.
const MOST_LISTS: usize = LEVELS * SLOTS + MOST_DRAINS + 2 * Queue::COUNT;

/// Where a record's hint is. List 0 means in no list, so that zeroed memory means nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The list's id; 0 = in no list.
    pub list: u16,
    /// The entry's number in that list; has no meaning to the wheel while the list is 0.
    pub position: u32,
}

impl Place {
    /// In no list.
    pub(crate) const NOWHERE: Place = Place { list: 0, position: 0 };
}

/// How the wheel reaches the places, which live in the records. `&self`, because records hold them in atomics.
pub(crate) trait Places {
    /// The place last set, or one whose list is 0.
    fn place(&self, index: u32) -> Place;

    /// Stores the place. Called only for records that the caller scheduled or parked, or that it asks to unlist.
    fn set_place(&self, index: u32, place: Place);

    /// The record will be popped soon; a hint for the processor's cache.
    fn prefetch(&self, index: u32) {
        let _ = index;
    }
}

/// The two waiting queues, for due records that must wait outside of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Waits for room: in a batch, in the event queue, among the outstanding ones.
    Room,
    /// Waits for its turn: held back by a guard.
    Turn,
}

impl Queue {
    const COUNT: usize = 2;
}

/// A waiting queue as two lists: what was parked since the last exchange, and what was there before. Within a batch the
/// order is free, between batches it is first come, first served.
#[derive(Clone, Copy, Default)]
struct Waiting {
    /// List id, or 0 while empty.
    incoming: u16,
    /// List id, or 0 while empty.
    outgoing: u16,
}

/// The timing wheel. See the module's documentation.
pub(crate) struct Wheel {
    elapsed: Tick,
    levels: [Level; LEVELS],
    lists: Lists,
    waiting: [Waiting; Queue::COUNT],
    /// Hints in slots and drains.
    len: usize,
    turn: Turn,
    /// Records handed out in this turn.
    taken: usize,
    limits: Limits,
}

impl Wheel {
    /// An empty wheel whose first unserved tick is `start`, for hints for the records that `supply` was backed for. Nothing that it
    /// does later needs memory. Panics if the supply is another wheel's.
    pub(crate) fn new(start: Tick, supply: Arc<Supply>) -> Wheel {
        Wheel::with_limits(start, supply, Limits::DEFAULT)
    }

    fn with_limits(start: Tick, supply: Arc<Supply>, limits: Limits) -> Wheel {
        Wheel {
            elapsed: start,
            levels: std::array::from_fn(|_| Level::new()),
            lists: Lists::new(Chunks::new(supply)),
            waiting: [Waiting::default(); Queue::COUNT],
            len: 0,
            turn: Turn::Upper,
            taken: 0,
            limits,
        }
    }

    /// The first tick not yet served.
    #[cfg(test)]
    pub(crate) fn elapsed(&self) -> Tick {
        self.elapsed
    }

    /// Hints to look at the record at tick `when`; a tick before [`elapsed`](Self::elapsed) counts as that. A record that
    /// is in a list already, whichever, is moved. O(1).
    #[inline]
    pub(crate) fn schedule<P: Places>(&mut self, places: &P, index: u32, when: Tick) {
        self.unlist(places, index);
        let (level, slot) = level::locate(self.elapsed, when);
        let Level { slots, occupancy, .. } = &mut self.levels[level];
        let list = &mut slots[usize::from(slot)];
        if *list == 0 {
            *list = self.lists.open(Owner::Slot { level: level as u8, slot });
            occupancy.set(slot);
        }
        places.set_place(index, self.lists.push(*list, index));
        self.len += 1;
    }

    /// Puts the record into a waiting queue; if it is in a list already, whichever, it is moved. O(1).
    pub(crate) fn park<P: Places>(&mut self, places: &P, index: u32, queue: Queue) {
        self.unlist(places, index);
        let incoming = &mut self.waiting[queue as usize].incoming;
        if *incoming == 0 {
            *incoming = self.lists.open(Owner::Waiting(queue));
        }
        places.set_place(index, self.lists.push(*incoming, index));
    }

    /// Takes the record out of the list it is in; says whether it was in one. Its place is nowhere afterwards, also when
    /// it named a list that does not hold it. O(1).
    #[inline]
    pub(crate) fn unlist<P: Places>(&mut self, places: &P, index: u32) -> bool {
        let place = places.place(index);
        if place.list == 0 {
            // Not written: the position of a record in no list may serve its owner as something else.
            return false;
        }
        let held = self.lists.get(place) == Some(index);
        if held {
            self.remove(places, place);
        }
        places.set_place(index, Place::NOWHERE);
        held
    }

    /// Whether the list that the record's place names really holds it there.
    pub(crate) fn holds<P: Places>(&self, places: &P, index: u32) -> bool {
        let place = places.place(index);
        place.list != 0 && self.lists.get(place) == Some(index)
    }

    /// Whether the record really is in a waiting queue.
    pub(crate) fn queued<P: Places>(&self, places: &P, index: u32) -> bool {
        self.holds(places, index) && matches!(self.lists.owner(places.place(index).list), Owner::Waiting(_))
    }

    /// Takes a record out of a waiting queue; its place is nowhere then. A record parked now comes after all that were
    /// there when the queue's batches last changed; so who parks again what it popped must count, not wait for `None`.
    pub(crate) fn pop_queued<P: Places>(&mut self, places: &P, queue: Queue) -> Option<u32> {
        let waiting = &mut self.waiting[queue as usize];
        if waiting.outgoing == 0 {
            waiting.outgoing = std::mem::take(&mut waiting.incoming);
            self.lists.prefetch_tail(waiting.outgoing, places);
        }
        let list = waiting.outgoing;
        self.take_last(places, list)
    }

    /// Hints in slots and drains; those in waiting queues are not counted.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Records in a waiting queue.
    pub(crate) fn queued_len(&self, queue: Queue) -> usize {
        let Waiting { incoming, outgoing } = self.waiting[queue as usize];
        self.lists.len(incoming) + self.lists.len(outgoing)
    }

    /// Bytes held, the wheel itself included. Costs a walk over the lists (not over the hints).
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let drains: usize = self.levels.iter().map(|level| level.drains.capacity()).sum();
        size_of::<Wheel>() + drains * size_of::<u16>() + self.lists.memory_bytes()
    }

    /// A planted bug for the back-stop's tests: drops the record's hint, yet leaves its place as it was.
    #[cfg(test)]
    pub(crate) fn forget<P: Places>(&mut self, places: &P, index: u32) {
        if self.holds(places, index) {
            self.remove(places, places.place(index));
        }
    }

    /// Takes the entry out of its list, which has it; the record that fills the gap learns its new place.
    fn remove<P: Places>(&mut self, places: &P, place: Place) {
        if let Some(moved) = self.lists.swap_remove(place) {
            places.set_place(moved, place);
        }
        self.left(place.list);
    }

    /// Pops from a list and sends the record nowhere. `None` for list 0.
    #[inline]
    fn take_last<P: Places>(&mut self, places: &P, list: u16) -> Option<u32> {
        let index = self.lists.pop(list)?;
        self.lists.prefetch_ahead(list, places);
        places.set_place(index, Place::NOWHERE);
        self.left(list);
        Some(index)
    }

    /// Books that one entry left the list. An empty list has no owner: slots, drains and queues name lists in use only.
    #[inline]
    fn left(&mut self, list: u16) {
        let owner = self.lists.owner(list);
        if !matches!(owner, Owner::Waiting(_)) {
            self.len -= 1;
        }
        if self.lists.len(list) > 0 {
            return;
        }
        match owner {
            Owner::Slot { level, slot } => {
                let level = &mut self.levels[usize::from(level)];
                level.slots[usize::from(slot)] = 0;
                level.occupancy.clear(slot);
            }
            Owner::Drain { level } => {
                // Found at the front by whoever drains it; there is more than one only while the owner is behind.
                let drains = &mut self.levels[usize::from(level)].drains;
                if let Some(at) = drains.iter().position(|&id| id == list) {
                    drains.remove(at);
                }
            }
            Owner::Waiting(queue) => {
                let waiting = &mut self.waiting[queue as usize];
                let end = if waiting.incoming == list { &mut waiting.incoming } else { &mut waiting.outgoing };
                *end = 0;
            }
            Owner::Spare => debug_assert!(false, "an entry left a list that nobody owns"),
        }
        self.lists.close(list);
    }
}
