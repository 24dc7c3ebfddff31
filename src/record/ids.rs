//! Hosts' ids, where any thread may read them: beside the records, in memory that stays what it is.
//!
//! A record has a line of its own for the first 64 bytes of its host's id; what is longer goes on in a chain of blocks, which
//! come from a free list and return to it. Neither is ever unmapped before the wheel itself goes, and all of it is atomic
//! words, so whoever is late reads another host's id and not what is no memory. That it was another's it must find out by
//! itself: what it read belongs to an incarnation if that was known to the index, or had its generation, before and after.
//!
//! Every store here is a release and is followed, on the reader's side, by a fence: who has read something of a later
//! incarnation sees that the earlier one is over.

use std::io;

use super::free::{FreeList, Links};
use crate::error::LONGEST_ID;
use crate::memory::{Space, Zeroed, boxed};
use crate::pause::{Point, point};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// An id's length and what is left of its hash beside that: almost always enough to tell two ids apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64);

/// Bits of an identity that hold the length.
const LENGTH_BITS: u32 = 11;
const _: () = assert!(LONGEST_ID < 1 << LENGTH_BITS);

impl Identity {
    /// The identity of an id of so many bytes.
    #[inline]
    pub(crate) fn new(hash: u64, length: usize) -> Identity {
        Identity(hash >> LENGTH_BITS << LENGTH_BITS | length as u64)
    }

    /// The bytes of the id.
    #[inline]
    pub(crate) fn length(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }

    /// The hash, of which the lower bits are the first to be used: 45 of them.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        self.0 >> LENGTH_BITS
    }

    /// Eight bits of the hash that are not among those, but for 0 there is 1.
    #[inline]
    pub(crate) fn tag(self) -> u8 {
        ((self.0 >> 56) as u8).max(1)
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Identity {
        Identity(bits)
    }
}

/// An id to look for.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) identity: Identity,
}

/// Words of a line; models have one, as their ids are short.
const LINE_WORDS: usize = if cfg!(loom) { 1 } else { 8 };
pub(super) const LINE_BYTES: usize = LINE_WORDS * 8;

/// The beginning of a host's id.
#[repr(C, align(64))]
struct Line([AtomicU64; LINE_WORDS]);

// SAFETY: atomics of numbers.
unsafe impl Zeroed for Line {
    #[cfg(loom)]
    fn zeroed() -> Self {
        Line(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Words of a block; models have one.
const BLOCK_WORDS: usize = if cfg!(loom) { 1 } else { 7 };
const BLOCK_BYTES: usize = BLOCK_WORDS * 8;

/// More of an id that is longer than a line.
#[repr(C, align(64))]
struct Block {
    words: [AtomicU64; BLOCK_WORDS],
    /// The index of the next block of this id, or on the free list, and 1; 0 at the end.
    next: AtomicU32,
}

// SAFETY: atomics of numbers.
unsafe impl Zeroed for Block {
    #[cfg(loom)]
    fn zeroed() -> Self {
        Block { words: std::array::from_fn(|_| AtomicU64::new(0)), next: AtomicU32::new(0) }
    }
}

/// Blocks of the first piece of memory for them; each piece has twice as many as the one before. Models have few.
const FIRST_PIECE: u32 = if cfg!(loom) { 4 } else { 1024 };
const PIECES: usize = (u32::BITS - FIRST_PIECE.ilog2() + 1) as usize;

/// The ids of all records.
pub(super) struct Ids {
    lines: Space<Line>,
    /// Each is made when its first block is needed, and then stays: boxes of which we are the owner.
    pieces: [AtomicPtr<Space<Block>>; PIECES],
    free: FreeList,
    /// The first block never used.
    fresh: AtomicU32,
}

/// The system has no memory for a long id.
#[derive(Debug)]
pub(crate) struct NoMemory;

impl Ids {
    pub(super) fn new(records: usize) -> io::Result<Ids> {
        Ok(Ids {
            lines: Space::reserve(records)?,
            pieces: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            free: FreeList::new(),
            fresh: AtomicU32::new(0),
        })
    }

    /// See [`Space::back`].
    pub(super) fn back(&self, first: usize, end: usize) -> io::Result<()> {
        self.lines.back(first, end)
    }

    #[inline]
    fn line(&self, record: u32) -> &Line {
        // SAFETY: each record that there can be has a line.
        unsafe { self.lines.at(record as usize) }
    }

    /// Writes the id of a record that belongs to the caller alone. Returns where it goes on, an index and 1 or 0, for the record
    /// to keep.
    pub(super) fn write(&self, record: u32, id: &[u8]) -> Result<u32, NoMemory> {
        let (beginning, rest) = id.split_at(id.len().min(LINE_BYTES));
        let mut more = 0;
        // From the end, as each block names the next one.
        for part in rest.chunks(BLOCK_BYTES).rev() {
            let Some(index) = self.take() else {
                self.free(more);
                return Err(NoMemory);
            };
            let block = self.block(index).expect("a block that was taken exists");
            store(&block.words, part);
            // Release: see above.
            block.next.store(more, Ordering::Release);
            more = index + 1;
        }
        store(&self.line(record).0, beginning);
        Ok(more)
    }

    /// Whether this is the id of a record, which goes on at `more`. May be wrong if the record was given another one meanwhile: see
    /// above.
    #[inline(always)]
    pub(super) fn is(&self, record: u32, more: impl FnOnce() -> u32, id: &[u8]) -> bool {
        let line = &self.line(record).0;
        match id.as_chunks::<8>() {
            // A length known to the compiler: that of a SHA-256 in hexadecimal.
            (words, []) if words.len() == LINE_WORDS => {
                line.iter().zip(words).all(|(word, bytes)| word.load(Ordering::Relaxed) == u64::from_le_bytes(*bytes))
            }
            _ => self.is_other(line, more, id),
        }
    }

    /// Whether it is, in any form.
    #[inline(never)]
    fn is_other(&self, line: &[AtomicU64], more: impl FnOnce() -> u32, id: &[u8]) -> bool {
        let (beginning, rest) = id.split_at(id.len().min(LINE_BYTES));
        equal(line, beginning) && (rest.is_empty() || self.goes_on(more(), rest))
    }

    #[cold]
    fn goes_on(&self, mut more: u32, rest: &[u8]) -> bool {
        rest.chunks(BLOCK_BYTES).all(|part| {
            let Some(block) = self.block_after(more) else { return false };
            more = block.next.load(Ordering::Relaxed);
            equal(&block.words, part)
        })
    }

    /// Copies the id of a record to the beginning of `buffer`. May be wrong like [`is`](Self::is).
    pub(super) fn read<'a>(&self, record: u32, length: usize, mut more: u32, buffer: &'a mut [u8]) -> &'a [u8] {
        let length = length.min(buffer.len());
        let id = &mut buffer[..length];
        let (beginning, rest) = id.split_at_mut(length.min(LINE_BYTES));
        load(&self.line(record).0, beginning);
        for part in rest.chunks_mut(BLOCK_BYTES) {
            let Some(block) = self.block_after(more) else { break };
            more = block.next.load(Ordering::Relaxed);
            load(&block.words, part);
        }
        id
    }

    /// Gives the blocks from `more` on back, which belong to the caller alone.
    pub(super) fn free(&self, mut more: u32) {
        while let Some(block) = self.block_after(more) {
            // Relaxed: our own.
            let next = block.next.load(Ordering::Relaxed);
            self.free.push(self, more - 1);
            more = next;
        }
    }

    /// Takes a block for the caller alone.
    fn take(&self) -> Option<u32> {
        if let Some(index) = self.free.pop(self) {
            return Some(index);
        }
        let mut fresh = self.fresh.load(Ordering::Relaxed);
        loop {
            // A link has no number for a block beyond these.
            let next = fresh.checked_add(1)?;
            self.make_piece(piece_of(fresh).0)?;
            point(Point::Extending);
            // Relaxed: the counter hands out each index once, which any read-modify-write does.
            match self.fresh.compare_exchange_weak(fresh, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(fresh),
                Err(now) => fresh = now,
            }
        }
    }

    /// Makes sure that there is a piece.
    fn make_piece(&self, piece: usize) -> Option<()> {
        let slot = self.pieces.get(piece)?;
        // Acquire: pairs with the release below, here and in `block`: who has the address sees the piece.
        if !slot.load(Ordering::Acquire).is_null() {
            return Some(());
        }
        let blocks = (FIRST_PIECE as usize) << piece;
        let space: Space<Block> = Space::reserve(blocks).ok()?;
        space.back(0, blocks).ok()?;
        let made = Box::into_raw(boxed(space)?).cast();
        point(Point::Piecing);
        if slot.compare_exchange(std::ptr::null_mut(), made, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: made above, and nobody has seen it: another thread was faster.
            unsafe { drop_piece(made) };
        }
        Some(())
    }

    /// The block that a link names.
    fn block_after(&self, link: u32) -> Option<&Block> {
        self.block(link.checked_sub(1)?)
    }

    fn block(&self, index: u32) -> Option<&Block> {
        let (piece, offset) = piece_of(index);
        // Acquire: see `make_piece`.
        let space = self.pieces[piece].load(Ordering::Acquire);
        // SAFETY: null or a piece, which lives as long as we do; the offset is one of its.
        unsafe { space.as_ref().map(|space| space.at(offset)) }
    }
}

impl Links for Ids {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.block(index).expect("a block that was freed exists").next
    }
}

impl Drop for Ids {
    fn drop(&mut self) {
        for piece in &self.pieces {
            let space = piece.load(Ordering::Relaxed);
            if !space.is_null() {
                // SAFETY: from `make_piece`, and nobody else is there.
                unsafe { drop_piece(space) };
            }
        }
    }
}

/// # Safety
/// The piece came from [`boxed`], and nobody uses it any more.
unsafe fn drop_piece(piece: *mut Space<Block>) {
    // SAFETY: a box of one.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(piece, 1)) });
}

/// The piece with this block, and the block's number in it.
fn piece_of(index: u32) -> (usize, usize) {
    let piece = (index / FIRST_PIECE + 1).ilog2();
    (piece as usize, (index - FIRST_PIECE * ((1 << piece) - 1)) as usize)
}

/// Room for any id.
pub(crate) type IdBuffer = [u8; LONGEST_ID];

/// The bytes as numbers, the last one filled up with zeros.
#[inline]
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let last = (!rest.is_empty()).then(|| {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    whole.iter().copied().chain(last).map(u64::from_le_bytes)
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    // Release: see above.
    words.iter().zip(numbers(bytes)).for_each(|(word, number)| word.store(number, Ordering::Release));
}

/// Whether the words begin with the bytes; what comes after them says their length. Relaxed: the caller fences.
fn equal(words: &[AtomicU64], bytes: &[u8]) -> bool {
    words.iter().zip(numbers(bytes)).all(|(word, number)| word.load(Ordering::Relaxed) == number)
}

/// Relaxed: the caller fences.
fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    for (word, part) in words.iter().zip(bytes.chunks_mut(8)) {
        part.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..part.len()]);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn id(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + seed) as u8).collect()
    }

    #[test]
    fn ids_of_every_length_are_kept_and_told_apart() {
        let ids = Ids::new(2).expect("there is address space");
        ids.back(0, 2).expect("there is memory");
        for length in (1..=LONGEST_ID).step_by(if cfg!(miri) { 41 } else { 1 }) {
            let own = id(length, length);
            let more = ids.write(0, &own).expect("there is memory");
            assert!(ids.is(0, || more, &own));
            let mut buffer: IdBuffer = [0; LONGEST_ID];
            assert_eq!(ids.read(0, length, more, &mut buffer), own);
            for at in [0, length / 2, length - 1] {
                let mut other = own.clone();
                other[at] ^= 1;
                assert!(!ids.is(0, || more, &other), "{length} bytes, {at}");
            }
            ids.free(more);
        }
    }

    #[test]
    fn blocks_come_back() {
        let ids = Ids::new(8).expect("there is address space");
        ids.back(0, 8).expect("there is memory");
        for round in 0..if cfg!(miri) { 3 } else { 1000 } {
            let more: Vec<u32> = (0..8).map(|record| ids.write(record, &id(LONGEST_ID, round)).unwrap()).collect();
            more.into_iter().for_each(|more| ids.free(more));
        }
        let blocks = (LONGEST_ID - LINE_BYTES).div_ceil(BLOCK_BYTES) as u32;
        assert_eq!(ids.fresh.load(Ordering::Relaxed), 8 * blocks);
    }

    #[test]
    fn a_block_that_no_link_can_name_is_not_given_out() {
        let ids = Ids::new(1).expect("there is address space");
        ids.back(0, 1).expect("there is memory");
        ids.fresh.store(u32::MAX, Ordering::Relaxed);
        assert!(ids.write(0, &id(LINE_BYTES + 1, 0)).is_err());
        assert_eq!(ids.fresh.load(Ordering::Relaxed), u32::MAX);
    }

    #[test]
    fn pieces_follow_each_other() {
        assert_eq!(piece_of(0), (0, 0));
        assert_eq!(piece_of(FIRST_PIECE - 1), (0, FIRST_PIECE as usize - 1));
        assert_eq!(piece_of(FIRST_PIECE), (1, 0));
        assert_eq!(piece_of(3 * FIRST_PIECE), (2, 0));
        assert_eq!(piece_of(u32::MAX).0, PIECES - 1);
    }
}
