//! The queue in which events wait to be drained. It grows as events come, up to a limit, and may be refused memory.
//!
//! One thread pushes, after it [reserved](EventQueue::reserve) the room; one takes. Both hold a lock while they move events and never
//! longer; whether it is full is known without it.

use std::collections::VecDeque;

use crate::event::Event;
use crate::sync::{AtomicU64, Ordering, PlainMutex, lock_plain};

/// Memory for so many events is kept though none waits.
const KEPT: usize = 1024;

pub(crate) struct EventQueue {
    events: PlainMutex<VecDeque<Event>>,
    /// Events in it; for a moment more, before one is pushed and after some were taken.
    count: AtomicU64,
    limit: u64,
}

impl EventQueue {
    pub(super) fn new(limit: usize) -> EventQueue {
        EventQueue { events: PlainMutex::default(), count: AtomicU64::new(0), limit: limit as u64 }
    }

    // Relaxed, here and below: a count; what has to be seen with it is ordered by fences (`Shared::made_room`).
    pub(crate) fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.limit
    }

    /// How many events can be taken.
    pub(crate) fn waiting(&self) -> usize {
        lock_plain(&self.events).len()
    }

    /// Makes sure that there is memory for another event; false if the system refuses it. For the thread that pushes.
    pub(super) fn reserve(&self) -> bool {
        let mut events = lock_plain(&self.events);
        if events.is_empty() && events.capacity() > KEPT {
            // A burst must not be paid for ever.
            *events = VecDeque::new();
        }
        events.try_reserve(1).is_ok()
    }

    /// Appends an event, for which there is room and memory.
    pub(super) fn push(&self, event: Event) {
        self.count.fetch_add(1, Ordering::Relaxed);
        lock_plain(&self.events).push_back(event);
    }

    /// Moves the oldest events to the end of `into`, at most `limit`, and fewer if there is no memory for them. Returns how many.
    pub(crate) fn take(&self, into: &mut Vec<Event>, limit: usize) -> usize {
        let mut taken = limit.min(self.waiting());
        if into.try_reserve(taken).is_err() {
            taken = taken.min(into.capacity() - into.len());
        }
        let mut events = lock_plain(&self.events);
        taken = taken.min(events.len());
        into.extend(events.drain(..taken));
        drop(events);
        self.count.fetch_sub(taken as u64, Ordering::Relaxed);
        taken
    }
}
