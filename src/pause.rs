//! Pause points, for tests only: where a thread can be held back in the middle of an operation, to show that the others
//! still finish. Outside of tests [`point`] is empty and nothing of this is compiled in.

/// A moment between two steps of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Anyone: about to read a word.
    Reading,
    /// Announcer: the index was asked.
    LookedUp,
    /// Announcer: the word and the generation were read, the clock was not.
    WordRead,
    /// Announcer: the bound of stamps was read, or the horizon; what goes with it was not.
    Bounded,
    /// Announcer: the sum was read, the counter was not; or the sum is stored and its bound is not.
    Summed,
    /// Announcer: the new word is made, the CAS is next.
    Stamped,
    /// Announcer: the CAS succeeded, `armed` was not read.
    Heard,
    /// Announcer: about to mark the record.
    Reporting,
    /// Marker: the leaf bit is set, the middle bit is not.
    LeafMarked,
    /// Marker: the middle bit is set, the top bit is not.
    MiddleMarked,
    /// Announcer: the record is marked, the alarm was not read.
    Marked,
    /// Registrant: about to take a record from the slab.
    Reserving,
    /// Registrant: about to take a record off the free list, whose head and link were read.
    Popping,
    /// Registrant: the record is filled, the index does not know it.
    Filled,
    /// Anyone: a bucket's entry was read, the record's id was not.
    Comparing,
    /// Registrant: the bucket was searched, no slot is claimed.
    Claiming,
    /// Registrant: the bucket was searched, the slot is claimed, the CAS is next.
    Entering,
    /// Anyone: a bucket is frozen, what moves was not read.
    Frozen,
    /// Anyone: it is known what moves to the new bucket, which is not filled.
    Splitting,
    /// Anyone: the new bucket is born, the old one is still frozen.
    Born,
    /// Anyone: a slot of what moves is empty, the old bucket is still frozen.
    Vacated,
    /// Anyone: the old bucket has come to the next level.
    Split,
    /// Observer: about to remove an entry; the control word of its bucket was read, the slots were not.
    Searching,
    /// Observer: an entry was found, the CAS that removes it is next.
    Removing,
    /// Registrant: the index knows the record, which is still Reserved.
    Entered,
    /// Replacer: the old incarnation is over, the new one is still Reserved.
    Replaced,
    /// Leaver: the word was read, the CAS is next.
    Leaving,
    /// Leaver: the word says Left, the record is not marked.
    Left,
    /// Observer: `armed` is stored, the second look comes.
    Armed,
    /// Observer: the word says Taken, the index entry is still there.
    Claimed,
    /// Observer: the index entry is gone, the record is not free.
    Unindexed,
    /// Observer: the record is released, all but the push on the free list.
    Freed,
    /// Observer: the alarm is stored, the bitmap was not read again.
    Alarmed,
}

/// A thread that has a hook set is held here.
#[cfg(not(any(test, loom)))]
#[inline(always)]
pub(crate) fn point(_: Point) {}

/// In models every point is a place to switch threads.
#[cfg(loom)]
pub(crate) fn point(_: Point) {
    crate::sync::interleave();
}

#[cfg(all(test, not(loom)))]
pub(crate) use hooks::{at, point};

#[cfg(all(test, not(loom)))]
mod hooks {
    use super::Point;
    use std::cell::RefCell;

    // Shuttle's threads share one of the system's.
    #[cfg(shuttle)]
    use crate::sync::thread_local;

    type Hook = Box<dyn FnOnce()>;

    thread_local! {
        static HOOK: RefCell<Option<(Point, Hook)>> = const { RefCell::new(None) };
    }

    /// Has `hook` called once, when this thread comes to `point`.
    pub(crate) fn at(point: Point, hook: impl FnOnce() + 'static) {
        HOOK.with(|slot| *slot.borrow_mut() = Some((point, Box::new(hook))));
    }

    /// A thread that has a hook set is held here.
    pub(crate) fn point(point: Point) {
        #[cfg(shuttle)]
        crate::sync::interleave();
        let hook = HOOK.with(|slot| slot.borrow_mut().take_if(|(at, _)| *at == point));
        if let Some((_, hook)) = hook {
            hook();
        }
    }
}
