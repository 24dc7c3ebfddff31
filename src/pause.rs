//! Pause points, for tests only: where a thread can be held back in the middle of an operation, to show that the others
//! still finish. Outside of tests [`point`] is empty and nothing of this is compiled in.

/// A moment between two steps of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Anyone: about to read a word.
    Reading,
    /// Anyone: a word was read, the generation that says whose it is was not.
    Judging,
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
    /// Registrant: the places that are taken were read, the CAS that takes another is next.
    Placing,
    /// Registrant: about to take a record from the slab.
    Reserving,
    /// Registrant: about to take a record off the free list, whose head and link were read.
    Popping,
    /// Anyone: about to put something on a free list, whose head was read.
    Pushing,
    /// Registrant: about to take what was never used, the first of which was read.
    Extending,
    /// Registrant: about to publish a piece of memory for long ids, of which there was none.
    Piecing,
    /// Registrant: the record is filled, the index does not know it.
    Filled,
    /// Anyone: the table's level was read, the bucket of an id was not.
    Levelled,
    /// Anyone: a bucket's entry was read, the record's id was not.
    Comparing,
    /// Anyone: the record of an entry was read, its generation was not.
    Matched,
    /// Anyone: a bucket was searched, its control word was not read again.
    Searched,
    /// Registrant: the bucket was searched, no slot is claimed.
    Claiming,
    /// Registrant: an empty slot was found, the CAS that claims it is next.
    Vacant,
    /// Registrant: a word of tags was read, the CAS that changes one of them is next.
    Tagging,
    /// Registrant: the bucket was searched, the slot is claimed, the CAS is next.
    Entering,
    /// Anyone: the table's level was found too low, it was not raised.
    Growing,
    /// Anyone: a bucket has not come to the table's level, whether it has by now was not read.
    Settling,
    /// Anyone: a bucket has to be split, the CAS that freezes it is next.
    Freezing,
    /// Anyone: a bucket is frozen, what moves was not read.
    Frozen,
    /// Anyone: the slots of a frozen bucket were read, their records were not asked whether they move.
    Asking,
    /// Anyone: what moves was read, the control word of its bucket was not read again.
    Copied,
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
    /// Anyone: a record is Reserved, the incarnation that it replaces was not read.
    Preceding,
    /// Anyone: the incarnation that a record replaces was read, its own word and generation were not read again.
    Preceded,
    /// Replacer: the old incarnation is over, the new one is still Reserved.
    Replaced,
    /// Anyone: a word was read, what goes with it was not.
    Viewing,
    /// Anyone: a record was read, its generation was not read again.
    Viewed,
    /// Walker: an index entry was read, its id was not.
    Naming,
    /// Walker: an id was read, whose it is was not.
    Named,
    /// Leaver: the word was read, the CAS is next.
    Leaving,
    /// Leaver: the word says Left, the record is not marked.
    Left,
    /// Observer: the word was read, nothing was done about it.
    Visiting,
    /// Observer: a host is due, the CAS that makes it suspect or takes it is next.
    Due,
    /// Observer: another attempt of a leave is due, and has not begun.
    Retrying,
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
    /// Observer: a record looks lost, it was not visited.
    Lost,
    /// Consumer: there is room in the queue, whether anybody waits for it was not read.
    Drained,
}

/// A thread that has a hook set is held here.
#[cfg(not(any(test, loom)))]
#[inline(always)]
pub(crate) fn point(_: Point) {}

/// In models a point is a place to switch threads: those of the looks where a model asks for them.
#[cfg(loom)]
pub(crate) fn point(point: Point) {
    if !point.is_at_a_look() || looks::are_asked_for() {
        crate::sync::interleave();
    }
}

#[cfg(loom)]
impl Point {
    /// Whether something was read at this point that a second look, or a CAS, finds out to be so no longer. There are many of
    /// them, and each multiplies what a model explores.
    fn is_at_a_look(self) -> bool {
        use Point::*;
        matches!(
            self,
            Judging
                | Placing
                | Pushing
                | Extending
                | Piecing
                | Levelled
                | Matched
                | Searched
                | Vacant
                | Tagging
                | Growing
                | Settling
                | Freezing
                | Asking
                | Copied
                | Preceding
                | Preceded
                | Viewing
                | Viewed
                | Naming
                | Named
                | Visiting
                | Due
                | Retrying
                | Lost
                | Drained
        )
    }
}

#[cfg(all(test, loom))]
pub(crate) use looks::with_looks;

#[cfg(loom)]
mod looks {
    use std::cell::Cell;

    // Loom's threads share one of the system's.
    thread_local! {
        static ASKED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn are_asked_for() -> bool {
        ASKED.with(Cell::get)
    }

    /// Runs `f` with a switch at the points of the looks as well.
    #[cfg(test)]
    pub(crate) fn with_looks<R>(f: impl FnOnce() -> R) -> R {
        ASKED.with(|asked| asked.set(true));
        let result = f();
        ASKED.with(|asked| asked.set(false));
        result
    }
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
