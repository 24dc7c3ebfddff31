//! The slab: records that never move and are never unmapped before the wheel itself goes.
//!
//! A record is reached by its index in O(1) and without a lock; one that was never used has a generation that no handle has,
//! so a forged handle reads nothing but a generation that does not match. Records come from the free list or, when that is
//! empty, from the first index never used; the slab is bounded by `max_hosts`.

use std::io;

use crossbeam_utils::CachePadded;

use super::free::{FreeList, Links};
use super::handle::Handle;
use super::ids::{Ids, Key, LINE_BYTES, NoMemory};
use super::line::Record;
use super::word::{State, Word};
use super::{Cadence, NONE, dirty};
use crate::canary::{Canary, planted};
use crate::error::LONGEST_ID;
use crate::event::HostId;
use crate::memory::{Space, zeroed};
use crate::pause::{Point, point};
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering};
use crate::tick::Tick;
use crate::wheel::Supply;

/// Bits used of each word of the dirty bitmap. Models use two, so that three levels fit into few records; schedules eight, so
/// that a chunk of records is one page and the slab grows early.
pub(super) const FAN: usize = if cfg!(loom) {
    2
} else if cfg!(all(test, shuttle)) {
    8
} else {
    64
};

/// Records that get memory together, a whole number of pages, and that one middle word of the dirty bitmap covers.
pub(super) const CHUNK: usize = FAN * FAN;

/// Free records among which a registration with an age looks for one that is old enough.
const OLDER_TRIES: usize = 8;

/// Why no record could be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReserveError {
    /// All records are in use.
    Full,
    /// The system refused memory.
    NoMemory,
}

/// All records.
pub(crate) struct Slab {
    space: Space<Record>,
    ids: Ids,
    /// Of the wheel that has hints for the records.
    hints: Arc<Supply>,
    max_hosts: u32,
    /// Records that have memory to write to: all indices below this.
    backed: AtomicU32,
    /// Seed of the first generations: random per wheel, so that handles of another wheel are almost surely stale.
    seed: u32,
    /// Generations that a record may have; tests shrink it.
    lives: u32,
    /// The dirty bitmap, from a bit per record up.
    pub(super) leaves: Box<[AtomicU64]>,
    pub(super) middle: Box<[AtomicU64]>,
    pub(super) top: Box<[AtomicU64]>,
    /// Padded, like `fresh`: registrations write them.
    free: CachePadded<FreeList>,
    /// The first index never used.
    fresh: CachePadded<AtomicU32>,
}

impl Slab {
    /// An empty slab. `lives` is how many generations a record may have, usually `u32::MAX`. Fails when there is no address
    /// space for so many.
    pub(crate) fn new(max_hosts: usize, seed: u32, lives: u32) -> io::Result<Slab> {
        let chunks = max_hosts.div_ceil(CHUNK);
        Ok(Slab {
            space: Space::reserve(chunks * CHUNK)?,
            ids: Ids::new(chunks * CHUNK)?,
            hints: Supply::new(chunks * CHUNK)?,
            max_hosts: max_hosts as u32,
            // In models all records exist from the start.
            backed: AtomicU32::new(if cfg!(loom) { (chunks * CHUNK) as u32 } else { 0 }),
            seed,
            lives,
            leaves: zeroed(chunks * FAN)?,
            middle: zeroed(chunks)?,
            top: zeroed(chunks.div_ceil(FAN))?,
            free: CachePadded::new(FreeList::new()),
            fresh: CachePadded::new(AtomicU32::new(0)),
        })
    }

    /// Where record 0 is; the others follow it.
    #[cfg(not(loom))]
    pub(crate) fn base(&self) -> *const Record {
        self.space.base().as_ptr()
    }

    /// What the wheel with the hints for these records needs, backed with them.
    pub(crate) fn hints(&self) -> Arc<Supply> {
        self.hints.clone()
    }

    /// The record at `index`, if there can be one. One that was never used is zero and may be in memory that cannot be written to:
    /// its generation is 0, which no handle has.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Record> {
        if index >= self.max_hosts {
            return None;
        }
        // SAFETY: the space has at least so many.
        Some(unsafe { self.space.at(index as usize) })
    }

    /// The record at an index that the wheel itself issued.
    pub(crate) fn record(&self, index: u32) -> &Record {
        self.get(index).expect("an issued index has a record")
    }

    /// The record of a handle, whether or not the handle is current.
    #[inline]
    pub(crate) fn of(&self, handle: Handle) -> Option<&Record> {
        self.get(handle.index())
    }

    /// Starts the load of a record's line.
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(record) = self.get(index) {
            super::prefetch(record);
        }
    }

    /// Fills a record that the caller has just reserved. On failure the record is as it was.
    pub(crate) fn fill(&self, index: u32, key: &Key<'_>, user_data: u64) -> Result<(), NoMemory> {
        let record = self.record(index);
        debug_assert_eq!(record.word().state(), State::Reserved);
        let more = self.ids.write(index, key.id)?;
        record.fill(key.identity, more, user_data);
        Ok(())
    }

    /// The generation of a record, if it is that of an id. May be wrong in either way if the record was freed meanwhile: the
    /// caller has to find out, after a fence, whether the index has known it all the time.
    #[inline(always)]
    pub(crate) fn generation_of(&self, index: u32, key: &Key<'_>) -> Option<u32> {
        let record = self.get(index)?;
        let generation = record.generation();
        point(Point::Comparing);
        let same = record.identity() == key.identity
            && (planted(Canary::HashOnly) || self.ids.is(index, || record.more(), key.id));
        same.then_some(generation)
    }

    /// A copy of a record's id, for the thread while the record is not free; `None` if there is no memory.
    pub(crate) fn host_id(&self, index: u32) -> Option<HostId> {
        if self.record(index).identity().length() <= LINE_BYTES {
            HostId::new(self.id(index, &mut [0; LINE_BYTES]))
        } else {
            HostId::new(self.id(index, &mut [0; LONGEST_ID]))
        }
    }

    /// The id of a record, for those who find out, after a fence, whether the generation is still the same.
    pub(crate) fn id<'a>(&self, index: u32, buffer: &'a mut [u8]) -> &'a [u8] {
        let record = self.record(index);
        self.ids.read(index, record.identity().length(), record.more(), buffer)
    }

    /// Records in use, waiting to be freed, on the free list or retired: all indices below this.
    pub(crate) fn used(&self) -> u32 {
        // Relaxed: a bound for sweeps and statistics.
        self.fresh.load(Ordering::Relaxed)
    }

    /// Whether the next reservation would need more memory or find the slab full: the moment to let the thread give back
    /// records that wait for it.
    pub(crate) fn is_short(&self) -> bool {
        self.begins_another(CHUNK)
    }

    /// Whether the next reservation begins another stretch of records that were never used: the moment to hold it up while more
    /// records wait to be freed than should. Every [`is_short`](Self::is_short) is one.
    pub(crate) fn is_stretching(&self) -> bool {
        self.begins_another(FAN)
    }

    /// Whether no record is free, and the next one would be the first of so many that were never used, or beyond the last.
    fn begins_another(&self, records: usize) -> bool {
        let fresh = self.used();
        self.free.is_empty() && (fresh >= self.max_hosts || (fresh as usize).is_multiple_of(records))
    }

    /// Takes a record for the caller alone: its word says Reserved, its id is not initialised. Lock-free; O(1).
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reserve(&self) -> Result<u32, ReserveError> {
        self.reserve_for(Tick::MAX)
    }

    /// As `reserve`, for a host whose first announce is at `stamp`: a record whose earlier words are all from before that, if there
    /// is one among some that are free or were never used. Else the word is later than `stamp`.
    pub(crate) fn reserve_for(&self, stamp: Tick) -> Result<u32, ReserveError> {
        point(Point::Reserving);
        let index = match self.free.pop(self) {
            Some(index) if self.is_before(index, stamp) => index,
            Some(index) => self.reserve_older(index, stamp),
            None => self.reserve_fresh()?,
        };
        let record = self.record(index);
        let floor = record.word().last();
        let raised = floor + Tick::from(!planted(Canary::WordReuse));
        // Release, in `store_word`: the generation of a record never used goes before its word.
        record.store_word(Word::new(raised, Cadence::NONE, State::Reserved));
        Ok(index)
    }

    /// Whether a free record has no word from `stamp` or later.
    fn is_before(&self, index: u32, stamp: Tick) -> bool {
        let last = self.record(index).word().last();
        last < stamp || planted(Canary::RaisedStamp) || last == stamp && planted(Canary::WordReuse)
    }

    /// Looks for a record without words from `stamp` on: among the next free ones, then one that was never used. Without
    /// either it is the oldest of those. `first` is free, and the caller's.
    #[cold]
    fn reserve_older(&self, first: u32, stamp: Tick) -> u32 {
        let mut taken = [first; OLDER_TRIES];
        let mut count = 1;
        let mut found = None;
        while count < OLDER_TRIES && found.is_none() {
            let Some(index) = self.free.pop(self) else { break };
            (taken[count], count) = (index, count + 1);
            found = Some(index).filter(|index| self.is_before(*index, stamp));
        }
        let oldest = || taken[..count].iter().copied().min_by_key(|index| self.record(*index).word().last());
        let chosen = found.or_else(|| self.reserve_fresh().ok()).or_else(oldest).unwrap_or(first);
        taken[..count].iter().filter(|index| **index != chosen).for_each(|index| self.free.push(self, *index));
        chosen
    }

    fn reserve_fresh(&self) -> Result<u32, ReserveError> {
        let mut fresh = self.fresh.load(Ordering::Relaxed);
        loop {
            if fresh >= self.max_hosts {
                return Err(ReserveError::Full);
            }
            self.ensure_backed(fresh)?;
            point(Point::Extending);
            // Relaxed: the counter hands out each index once, which any read-modify-write does; that there is memory was
            // published by itself.
            match self.fresh.compare_exchange_weak(fresh, fresh + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => fresh = now,
            }
        }
        let record = self.record(fresh);
        record.set_armed(NONE);
        record.set_generation(self.first_generation(fresh));
        Ok(fresh)
    }

    /// Makes sure that there is memory for the record at `index`, and for the whole chunk with it; and for what the observer may
    /// need for them. In models there is.
    fn ensure_backed(&self, index: u32) -> Result<(), ReserveError> {
        // Acquire: pairs with the release below.
        if index < self.backed.load(Ordering::Acquire) {
            return Ok(());
        }
        let first = index as usize / CHUNK * CHUNK;
        let end = first + CHUNK;
        // Whoever else does the same at the same time does no harm.
        let backed = self.space.back(first, end).and_then(|()| self.ids.back(first, end));
        let backed = backed.and_then(|()| self.hints.back(first, end));
        backed.map_err(|_| ReserveError::NoMemory)?;
        for index in first..end.min(self.max_hosts as usize) {
            self.record(index as u32).be_free();
        }
        // Release: pairs with the acquire above: who sees the bound sees words that say Free, and may write. Chunks come one after
        // the other, as records do.
        self.backed.fetch_max(end as u32, Ordering::Release);
        Ok(())
    }

    /// The generation that the first incarnation in record `index` gets: not 0, and not guessable from the index.
    fn first_generation(&self, index: u32) -> u32 {
        // The finalizer of MurmurHash3 (public domain): a bijection, so neighbours differ in all bits.
        let mut x = self.seed ^ index.wrapping_mul(0x9e37_79b9);
        x = (x ^ x >> 16).wrapping_mul(0x85eb_ca6b);
        x = (x ^ x >> 13).wrapping_mul(0xc2b2_ae35);
        (x ^ x >> 16).max(1)
    }

    /// Gives a record back: bumps its generation, stores Free with the last announce as the floor, pushes it. A record
    /// whose generations are used up is retired instead. The thread alone calls this, after it removed the index entry, and once
    /// wheel time has passed the last announce.
    pub(crate) fn release(&self, index: u32) {
        let record = self.record(index);
        record.set_armed(NONE);
        record.set_place(0, 0);
        record.clear_notes();
        let more = record.more();
        if more != 0 {
            self.ids.free(more);
            record.forget_more();
        }
        let generation = record.generation().wrapping_add(1).max(1);
        let first = self.first_generation(index);
        // Equal: the generations went round, past the 0 that is left out.
        let retired = generation == first || generation.wrapping_sub(first) >= self.lives;
        record.set_generation(if retired { 0 } else { generation });
        record.store_word(record.word().with_state(State::Free));
        point(Point::Freed);
        if !retired {
            self.free.push(self, index);
        }
    }

    /// Marks a record for the thread: see [`dirty`].
    pub(crate) fn mark(&self, index: u32) {
        dirty::mark(self, index);
    }

    /// Whether any mark waits. Exact for marks that happened before a fence that the caller made.
    pub(crate) fn any_marked(&self) -> bool {
        dirty::any(self)
    }

    /// Checks what must hold between steps; for tests. Costs O(records).
    #[cfg(all(test, not(loom)))]
    pub(crate) fn check_invariants(&self) {
        let free: std::collections::HashSet<u32> = self.free.indices(self).into_iter().collect();
        assert_eq!(free.len(), self.free.indices(self).len(), "the free list names a record twice");
        for index in 0..self.used() {
            let record = self.record(index);
            let word = record.word();
            if free.contains(&index) {
                assert_eq!(word.state(), State::Free, "record {index} is on the free list in use");
                assert_eq!(record.armed(), NONE, "record {index} is free and armed");
                assert_ne!(record.generation(), 0, "record {index} is retired and on the free list");
            } else if word.state() == State::Free {
                assert_eq!(record.generation(), 0, "record {index} is free, not retired, and lost");
            }
        }
    }
}

impl Links for Slab {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.record(index).position
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::record::Identity;

    fn slab(max_hosts: usize, seed: u32, lives: u32) -> Slab {
        Slab::new(max_hosts, seed, lives).expect("there is address space")
    }

    #[test]
    fn a_host_with_an_age_gets_a_record_without_words_from_after_it() {
        let slab = slab(20, 7, u32::MAX);
        let used: Vec<u32> = (0..10).map(|_| slab.reserve().unwrap()).collect();
        for &index in &used {
            let word = Word::new(1000 + Tick::from(index), Cadence::NONE, State::Left);
            slab.record(index).store_word(word);
            free(&slab, index);
        }
        let floor = |index: u32| slab.record(index).word().last();
        let young = slab.reserve_for(2000).unwrap();
        assert_eq!((young, floor(young)), (9, 1010), "any record that was freed before");
        let older = slab.reserve_for(1006).unwrap();
        assert!(floor(older) <= 1006 && used.contains(&older), "one of the free ones is old enough");
        let fresh: Vec<u32> = (10..20).map(|_| slab.reserve_for(500).unwrap()).collect();
        assert!(fresh.iter().all(|index| !used.contains(index) && floor(*index) <= 500));
        let oldest = slab.reserve_for(500).unwrap();
        assert!(floor(oldest) > 500 && used.contains(&oldest), "no record is old enough");
        slab.check_invariants_of_free();
    }

    impl Slab {
        /// The free list names free records, each once.
        fn check_invariants_of_free(&self) {
            let free = self.free.indices(self);
            assert_eq!(free.len(), 7);
            assert!(free.iter().all(|index| self.record(*index).word().state() == State::Free));
        }
    }

    fn free(slab: &Slab, index: u32) {
        slab.release(index);
        slab.check_invariants();
    }

    fn fill(slab: &Slab, index: u32) -> u32 {
        slab.fill(index, &Key { id: b"a", identity: Identity::new(0, 1) }, 0).unwrap();
        let record = slab.record(index);
        let word = record.word();
        assert!(record.swap_word(word, word.with_state(State::Live)));
        record.generation()
    }

    #[test]
    fn a_record_comes_back_under_another_generation_and_with_a_higher_word() {
        let slab = slab(2, 7, u32::MAX);
        let index = slab.reserve().unwrap();
        let generation = fill(&slab, index);
        let last = slab.record(index).word().last();
        free(&slab, index);
        assert_eq!(slab.reserve(), Ok(index));
        assert_ne!(slab.record(index).generation(), generation);
        assert!(slab.record(index).word().last() > last);
        fill(&slab, index);
    }

    #[test]
    fn a_full_slab_says_so_and_stays_as_it_was() {
        let slab = slab(3, 7, u32::MAX);
        let indices: Vec<u32> = (0..3).map(|_| slab.reserve().unwrap()).collect();
        indices.iter().for_each(|i| _ = fill(&slab, *i));
        assert!(slab.is_short());
        assert_eq!(slab.reserve(), Err(ReserveError::Full));
        assert_eq!(slab.reserve(), Err(ReserveError::Full));
        assert_eq!(slab.used(), 3);
        free(&slab, indices[1]);
        assert_eq!(slab.reserve(), Ok(indices[1]));
        fill(&slab, indices[1]);
    }

    #[test]
    fn a_record_whose_generations_are_used_up_is_retired() {
        let slab = slab(2, u32::MAX, 3);
        let mut seen = std::collections::HashSet::new();
        while let Ok(index) = slab.reserve() {
            assert!(seen.insert((index, fill(&slab, index))), "a handle was issued twice");
            free(&slab, index);
        }
        assert_eq!(seen.len(), 6, "two records with three lives each");
        assert_eq!(slab.record(0).generation(), 0);
    }

    #[test]
    fn generations_that_went_round_retire_the_record() {
        // A record whose first generation is 1: its last is u32::MAX.
        let slab = slab(1, 0, u32::MAX);
        let index = slab.reserve().unwrap();
        assert_eq!(slab.first_generation(index), 1);
        fill(&slab, index);
        slab.record(index).set_generation(u32::MAX);
        free(&slab, index);
        assert_eq!(slab.reserve(), Err(ReserveError::Full), "its generations are used up");
    }

    #[test]
    fn generations_wrap_without_ever_being_zero() {
        // A seed for which record 0 starts near the end of the range.
        let mut any = slab(1, 0, 1);
        let mut starts_late = |seed: &u32| {
            any.seed = *seed;
            any.first_generation(0) > u32::MAX - 1024
        };
        let seed = (0..u32::MAX).find(&mut starts_late).unwrap();
        let slab = slab(1, seed, u32::MAX);
        for _ in 0..2048 {
            let index = slab.reserve().unwrap();
            assert_ne!(fill(&slab, index), 0);
            free(&slab, index);
        }
        assert!(slab.record(0).generation() < 4096, "it did wrap");
    }

    #[test]
    fn an_index_never_used_has_no_generation() {
        let slab = slab(10_000, 7, u32::MAX);
        assert_eq!(slab.record(0).generation(), 0, "it can be read though nothing was ever written there");
        let index = slab.reserve().unwrap();
        fill(&slab, index);
        assert_eq!(slab.record(1).generation(), 0);
        assert_eq!(slab.record(9_999).generation(), 0);
        assert!(slab.get(10_000).is_none());
        assert!(slab.get(u32::MAX).is_none());
    }
}
