//! The dirty bitmap: how announcers tell the thread "look at this record", in bounded memory and without waiting.
//!
//! Three levels of words: a leaf bit per record, a middle bit per leaf word, a top bit per middle word. A producer sets all three,
//! from the leaf up; the thread swaps words to zero from the top down and visits what it found. Marks are idempotent.
//!
//! Why nothing is lost: each level is a chain of read-modify-writes, so a mark either comes before the thread's swap of
//! that word, which then acquires it and all before it, or after it, and then stays for the next pass. The next level is
//! set after it, so the thread that found a bit above finds the bits below. A producer that finds its leaf bit set still
//! sets the others: the bit's first owner may not have come so far yet.

use super::slab::{FAN, Slab};
use crate::canary::{Canary, planted};
use crate::pause::{Point, point};
use crate::sync::Ordering;

/// Marks a record, see above. Three locked instructions, no loop.
pub(super) fn mark(slab: &Slab, index: u32) {
    let index = index as usize;
    let (leaf, bit) = (index / FAN, index % FAN);
    let (middle, leaf_bit) = (leaf / FAN, leaf % FAN);
    // Release, three times: pairs with the acquire of the swap at the same level in `Collector::next`. At the leaf it
    // hands over the word that the producer changed, above that the bit set one level below.
    let before = slab.leaves[leaf].fetch_or(1 << bit, Ordering::Release);
    if before & 1 << bit != 0 && planted(Canary::TrustedLeaf) {
        return;
    }
    point(Point::LeafMarked);
    slab.middle[middle].fetch_or(1 << leaf_bit, Ordering::Release);
    point(Point::MiddleMarked);
    slab.top[middle / FAN].fetch_or(1 << (middle % FAN), Ordering::Release);
}

/// Whether a top bit is set. Relaxed: the caller has fenced, see `Engine::may_sleep`.
pub(super) fn any(slab: &Slab) -> bool {
    slab.top.iter().any(|word| word.load(Ordering::Relaxed) != 0)
}

/// A pass over the bitmap that may be interrupted and continued; the thread's.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// The next top word of this pass.
    next_top: usize,
    /// Bits taken out of the bitmap and not visited yet, and where they belong.
    top: u64,
    top_word: usize,
    middle: u64,
    middle_word: usize,
    leaf: u64,
    leaf_word: usize,
}

impl Collector {
    /// Starts another pass, unless one is under way.
    pub(crate) fn begin(&mut self, slab: &Slab) {
        if self.next_top == slab.top.len() {
            self.next_top = 0;
        }
    }

    /// Whether the pass has ended: nothing is held that was taken out of the bitmap.
    pub(crate) fn is_done(&self, slab: &Slab) -> bool {
        self.next_top == slab.top.len() && self.top | self.middle | self.leaf == 0
    }

    /// The next marked record of this pass.
    pub(crate) fn next(&mut self, slab: &Slab) -> Option<u32> {
        loop {
            if let Some(bit) = take_lowest(&mut self.leaf) {
                return Some((self.leaf_word * FAN + bit) as u32);
            }
            if let Some(bit) = take_lowest(&mut self.middle) {
                self.leaf_word = self.middle_word * FAN + bit;
                // Acquire, at all three levels: pairs with the release at the same level in `mark`.
                self.leaf = slab.leaves[self.leaf_word].swap(0, Ordering::Acquire);
            } else if let Some(bit) = take_lowest(&mut self.top) {
                self.middle_word = self.top_word * FAN + bit;
                self.middle = slab.middle[self.middle_word].swap(0, Ordering::Acquire);
            } else {
                let word = slab.top.get(self.next_top)?;
                self.top_word = self.next_top;
                self.next_top += 1;
                // Relaxed: spares the swap of an empty word; a bit missed now is found by the next pass.
                if word.load(Ordering::Relaxed) != 0 {
                    self.top = word.swap(0, Ordering::Acquire);
                }
            }
        }
    }
}

fn take_lowest(bits: &mut u64) -> Option<usize> {
    if *bits == 0 {
        return None;
    }
    let bit = bits.trailing_zeros() as usize;
    *bits &= *bits - 1;
    Some(bit)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::record::slab::CHUNK;

    #[test]
    fn what_was_marked_is_collected_once() {
        let slab = Slab::new(3 * CHUNK, 1, u32::MAX).unwrap();
        for _ in 0..3 * CHUNK {
            slab.reserve().unwrap();
        }
        let marked = [0, 1, 63, 64, CHUNK - 1, CHUNK, 2 * CHUNK + 77, 3 * CHUNK - 1];
        for index in marked {
            slab.mark(index as u32);
            slab.mark(index as u32);
        }
        assert!(slab.any_marked());
        let mut collector = Collector::default();
        collector.begin(&slab);
        let mut found = Vec::new();
        while let Some(index) = collector.next(&slab) {
            found.push(index as usize);
        }
        assert_eq!(found, marked);
        assert!(collector.is_done(&slab) && !slab.any_marked());
        collector.begin(&slab);
        assert_eq!(collector.next(&slab), None);
    }

    #[test]
    fn a_mark_made_during_a_pass_is_found_by_this_pass_or_the_next() {
        let slab = Slab::new(2 * CHUNK, 1, u32::MAX).unwrap();
        for _ in 0..2 * CHUNK {
            slab.reserve().unwrap();
        }
        let mut collector = Collector::default();
        slab.mark(5);
        collector.begin(&slab);
        assert_eq!(collector.next(&slab), Some(5));
        slab.mark(5);
        slab.mark(CHUNK as u32);
        let mut found = Vec::new();
        for _ in 0..2 {
            while let Some(index) = collector.next(&slab) {
                found.push(index);
            }
            collector.begin(&slab);
        }
        found.sort_unstable();
        assert_eq!(found, [5, CHUNK as u32]);
    }
}
