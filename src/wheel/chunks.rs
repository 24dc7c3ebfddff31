//! The memory of the wheel's lists: chunks of hints, numbered from 0, in one piece of address space.
//!
//! Promises: once memory was provided for so many records ([`Supply::back`]), lists of hints for them never need more. So a lack
//! of memory is found when a record gets its memory, by the thread that registers a host, and not by the observer.
//!
//! Assumes: a record has one hint at most. Then all lists together have at most [`chunks_for`] chunks: each is full but for one in each
//! list. [`Supply`] is shared with whoever backs it; [`Chunks`] is the wheel's own.

use std::cell::UnsafeCell;
use std::io;

use crate::memory::{Space, Zeroed};
use crate::sync::{Arc, AtomicBool, Ordering};

/// Numbers in a chunk: 1 KiB, large enough that a full slot is scanned at memory speed, small enough that a slot with one hint
/// wastes little.
pub(super) const CHUNK: usize = if cfg!(loom) { 4 } else { 256 };
/// Of these, before the hints.
pub(super) const HEADER: usize = 2;
/// Hints in a chunk.
pub(super) const HINTS: usize = CHUNK - HEADER;

/// The first number of a chunk in a list: the number of the chunk before it. In a free one: of the next free one, and 1; or 0.
pub(super) const LINK: usize = 0;
/// The second one: the list's id; 0 in a free one.
pub(super) const LIST: usize = 1;

/// One chunk.
#[repr(C, align(64))]
struct Chunk(UnsafeCell<[u32; CHUNK]>);

// SAFETY: used through the only `Chunks` of its supply, which is used by one thread at a time.
unsafe impl Sync for Chunk {}

// SAFETY: numbers.
unsafe impl Zeroed for Chunk {
    #[cfg(loom)]
    fn zeroed() -> Chunk {
        Chunk(UnsafeCell::new([0; CHUNK]))
    }
}

/// Chunks for hints for so many records.
fn chunks_for(records: usize) -> usize {
    records / HINTS + records.min(super::MOST_LISTS)
}

/// Where the chunks are.
pub(crate) struct Supply {
    chunks: Space<Chunk>,
    /// They belong to a wheel.
    taken: AtomicBool,
}

impl Supply {
    /// For so many records. Fails when there is no address space.
    pub(crate) fn new(records: usize) -> io::Result<Arc<Supply>> {
        let chunks = Space::reserve(chunks_for(records).max(1))?;
        Ok(Arc::new(Supply { chunks, taken: AtomicBool::new(false) }))
    }

    /// Makes sure that there is memory for the hints of the first `end` records, of which the first `first` have it. Any thread
    /// may call this at any time.
    pub(crate) fn back(&self, first: usize, end: usize) -> io::Result<()> {
        let (first, end) = (chunks_for(first), chunks_for(end));
        if first == end { Ok(()) } else { self.chunks.back(first, end) }
    }
}

/// The chunks of a wheel.
pub(super) struct Chunks {
    supply: Arc<Supply>,
    /// Chunks that were ever in use: all numbers below this.
    used: u32,
    /// The first free one of these, and 1; or 0.
    free: u32,
}

impl Chunks {
    /// Panics if they belong to another wheel.
    pub(super) fn new(supply: Arc<Supply>) -> Chunks {
        // Relaxed: nothing is published by it.
        assert!(!supply.taken.swap(true, Ordering::Relaxed), "a supply is for one wheel");
        Chunks { supply, used: 0, free: 0 }
    }

    /// Chunks that were ever in use.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// The number at a position: that of its chunk, times [`CHUNK`], and its place in the chunk.
    #[inline]
    pub(super) fn get(&self, position: u32) -> u32 {
        let (chunk, at) = (position as usize / CHUNK, position as usize % CHUNK);
        debug_assert!(chunk < self.used as usize);
        // SAFETY: within the space, as all of its chunks are that were ever in use; nobody else uses them (see `Chunk`).
        unsafe { (*self.supply.chunks.at(chunk).0.get())[at] }
    }

    #[inline]
    pub(super) fn set(&mut self, position: u32, number: u32) {
        let (chunk, at) = (position as usize / CHUNK, position as usize % CHUNK);
        debug_assert!(chunk < self.used as usize);
        // SAFETY: see `get`; what was ever in use has memory to write to.
        unsafe { (*self.supply.chunks.at(chunk).0.get())[at] = number }
    }

    /// Takes a chunk for a list, behind its last one.
    pub(super) fn take(&mut self, list: u16, before: u32) -> u32 {
        let chunk = match self.free.checked_sub(1) {
            Some(chunk) => {
                self.free = self.get(position(chunk, LINK));
                chunk
            }
            None => {
                let chunk = self.used;
                self.used += 1;
                chunk
            }
        };
        self.set(position(chunk, LINK), before);
        self.set(position(chunk, LIST), u32::from(list));
        chunk
    }

    /// Gives back the last chunk of a list; returns the one before it.
    pub(super) fn give_back(&mut self, chunk: u32) -> u32 {
        let before = self.get(position(chunk, LINK));
        self.set(position(chunk, LINK), self.free);
        self.set(position(chunk, LIST), 0);
        self.free = chunk + 1;
        before
    }

    /// The free chunks, for tests.
    #[cfg(test)]
    pub(super) fn free(&self) -> impl Iterator<Item = u32> {
        std::iter::successors(self.free.checked_sub(1), |chunk| self.get(position(*chunk, LINK)).checked_sub(1))
    }
}

/// A place in a chunk.
#[inline]
pub(super) fn position(chunk: u32, at: usize) -> u32 {
    chunk * CHUNK as u32 + at as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a supply is for one wheel")]
    fn two_wheels_share_no_supply() {
        let supply = Supply::new(1).expect("there is address space");
        let _first = Chunks::new(supply.clone());
        let _second = Chunks::new(supply);
    }

    #[test]
    fn positions_of_the_largest_wheel_fit() {
        let chunks = chunks_for(crate::config::MOST_HOSTS);
        assert!(u32::try_from(chunks * CHUNK).is_ok());
    }
}
