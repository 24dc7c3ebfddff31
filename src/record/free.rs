//! The free list: a Treiber stack of indices (R. K. Treiber, 1986) with a tagged head.
//!
//! Anyone pops. Records are pushed by the observer, and by a registrant that has popped one and does not use it; blocks of ids
//! by the thread that they belong to. The head holds a tag that
//! every pop changes, so a popper that was held back between reading a link and its CAS cannot take a head that meanwhile
//! went and came back. The tag has 32 bits: it would take exactly 2^32 pops within one such pause to fool it.

use crate::canary::{Canary, planted};
use crate::pause::{Point, point};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What can be on a free list.
pub(super) trait Links {
    /// Where the thing with this index keeps the link to the next one while it is on the list. Any index that was ever pushed.
    fn link(&self, index: u32) -> &AtomicU32;
}

/// The stack's head: tag in the upper half, index + 1 in the lower; 0 in the lower half is the empty list.
pub(super) struct FreeList(AtomicU64);

const TAG: u64 = 1 << 32;

impl FreeList {
    pub(super) fn new() -> FreeList {
        FreeList(AtomicU64::new(0))
    }

    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: a guess, for the decision to wake the thread.
        self.0.load(Ordering::Relaxed) as u32 == 0
    }

    /// Takes one off the list.
    pub(super) fn pop(&self, links: &impl Links) -> Option<u32> {
        // Acquire, here and when the CAS fails: pairs with the release in `push`, whose link (and of a record the generation
        // and the Free word) the popper is going to read. Pops in between are read-modify-writes and carry that release on.
        // When it succeeds, it read the head that was acquired before: Relaxed.
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)?;
            // Relaxed: written before the push. If it was popped and reused meanwhile this reads rubbish, and the
            // CAS fails by the tag.
            let next = links.link(index).load(Ordering::Relaxed);
            point(Point::Popping);
            let tag = if planted(Canary::UntaggedHead) { 0 } else { TAG };
            let tagged = (head & !(TAG - 1)).wrapping_add(tag) | u64::from(next);
            match self.0.compare_exchange_weak(head, tagged, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
    }

    /// Puts one on the list that belongs to the caller alone.
    pub(super) fn push(&self, links: &impl Links, index: u32) {
        // Relaxed: the head is only compared.
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // Release: pairs with the acquire fence of a reader that follows the links of an id. A reader that comes to the
            // free list by this link sees that the id's incarnation is over. (A popper needs nothing of it.)
            let link = if planted(Canary::QuietLink) { Ordering::Relaxed } else { Ordering::Release };
            links.link(index).store(head as u32, link);
            let pushed = head & !(TAG - 1) | u64::from(index + 1);
            point(Point::Pushing);
            // Release: pairs with the acquire in `pop`.
            match self.0.compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// The indices on the list, from the top; for tests without concurrency.
    #[cfg(all(test, not(loom)))]
    pub(super) fn indices(&self, links: &impl Links) -> Vec<u32> {
        let mut indices = Vec::new();
        let mut link = self.0.load(Ordering::Relaxed) as u32;
        while let Some(index) = link.checked_sub(1) {
            indices.push(index);
            link = links.link(index).load(Ordering::Relaxed);
        }
        indices
    }
}
