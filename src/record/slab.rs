//! The slab: records that never move and are never unmapped before the wheel itself goes.
//!
//! A record is reached by its index in O(1) and without a lock; an index that was never used is told from a used one, so a
//! forged handle reads nothing but a generation that does not match. Records come from the free list or, when that is
//! empty, from the first index never used; the slab is bounded by `max_hosts`.

use std::io;
use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use super::free::FreeList;
use super::handle::Handle;
use super::space::Space;
use super::word::{State, Word};
use super::{Cadence, NONE, dirty};
use crate::canary::{Canary, planted};
use crate::event::HostId;
use crate::pause::{Point, point};
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Mutex, Ordering, UnsafeCell, lock};
use crate::tick::Tick;

/// Bits used of each word of the dirty bitmap. Models use two, so that three levels fit into few records.
#[cfg(not(loom))]
pub(super) const FAN: usize = 64;
#[cfg(loom)]
pub(super) const FAN: usize = 2;

/// Records that get memory together, a whole number of pages, and that one middle word of the dirty bitmap covers.
pub(super) const CHUNK: usize = FAN * FAN;

/// One host, in one cache line.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// [`Word`]: last announce, interval, state.
    word: AtomicU64,
    /// The tick at which the thread will look at the record, [`NONE`] until it is placed. Written by the thread alone, and
    /// by the registrant of a record that was never used.
    armed: AtomicU64,
    /// The number given at registration.
    user_data: AtomicU64,
    /// Initialised exactly in the states Reserved to Taken. Ground rule 4 says who touches it.
    id: UnsafeCell<MaybeUninit<HostId>>,
    /// The generation of the current handle; 0 if the record was never used or is retired.
    generation: AtomicU32,
    /// Position in the wheel's list `list`; while the record is on the free list, the link to the next one.
    pub(super) position: AtomicU32,
    /// The wheel's list that holds the hint; the thread's.
    list: AtomicU16,
    /// The thread's notes about the current incarnation.
    flags: AtomicU16,
    /// The interval by which the thread counts the host, as the word holds it, and 1; 0 if it is not counted.
    counted: AtomicU32,
    /// Since when a due host has been held back; 0 if it is not. The thread's.
    held_since: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Record>() == 64, "a record is one cache line");

/// The suspect event went out, the recovered event did not.
pub(crate) const SUSPECTED: u16 = 1;
/// The back-stop saw the record in a state that should not have lasted.
pub(crate) const LINGERED: u16 = 2;
/// The back-stop found the record after the wheel had lost it.
pub(crate) const RESCUED: u16 = 4;
/// The host was registered with an age that its TTL did not survive: nobody is late who could not be in time. Set by the
/// registrant while the record is its own.
pub(crate) const BORN_LATE: u16 = 8;
/// A guard holds the host back, or held it back before it was handed out.
pub(crate) const HELD: u16 = 16;
/// A callback was called with the host's leave.
pub(crate) const TOLD: u16 = 32;

impl Record {
    /// Loads the word. Acquire: pairs with every release store or CAS of the word, so what was written before the word
    /// said so (id, user data, the generation bumped before Free) is seen with it.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        point(Point::Reading);
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// As [`word`](Self::word), for announcers. SeqCst: an announce that finds the word of another one and changes nothing
    /// must not read an older `armed` than that one would ([`armed_seq`](Self::armed_seq)).
    #[inline]
    pub(crate) fn word_seq(&self) -> Word {
        point(Point::Reading);
        Word::from_bits(self.word.load(Ordering::SeqCst))
    }

    /// Replaces the word if it is still `old`: a goodbye, or the observer's own changes of state.
    ///
    /// Relaxed: `old` was acquired when it was loaded, and no word recurs, so success adds nothing to that. What the caller
    /// did before is of no interest to who sees the new word; a read-modify-write carries the registrant's release on. On
    /// failure nothing is concluded; the caller loads the word again.
    pub(crate) fn swap_word(&self, old: Word, new: Word) -> bool {
        self.word.compare_exchange(old.bits(), new.bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Replaces the word if it is still `old`: an announce. Release, as part of SeqCst: the record's filling is seen by who
    /// acquires a word that says Live. And sequentially consistent: with [`armed_seq`](Self::armed_seq)
    /// this is the announcer's half of the handshake with the thread's `Engine::place`.
    #[inline]
    pub(crate) fn swap_word_seq(&self, old: Word, new: Word) -> bool {
        self.word.compare_exchange(old.bits(), new.bits(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Stores a word without a CAS: for the only owner of the record. Release: see [`word`](Self::word).
    pub(crate) fn store_word(&self, word: Word) {
        self.word.store(word.bits(), Ordering::Release);
    }

    /// Loads `armed` after a [`swap_word_seq`](Self::swap_word_seq), or after a load of the word that such a swap stored.
    /// SeqCst: either the thread's read of the word, after its store of `armed` and its fence (`Engine::place`), sees that
    /// word, or we see the tick that it armed.
    #[inline]
    pub(crate) fn armed_seq(&self) -> Tick {
        // Loom treats SeqCst accesses as weaker than they are; a fence stands in for them in the models.
        #[cfg(loom)]
        if !planted(Canary::NoAnnouncerFence) {
            crate::sync::fence(Ordering::SeqCst);
        }
        self.armed.load(Ordering::SeqCst)
    }

    /// Loads `armed` where nothing depends on its age: the thread, whose own it is, or a caller that fences later.
    pub(crate) fn armed(&self) -> Tick {
        self.armed.load(Ordering::Relaxed)
    }

    /// Stores `armed`; the thread's half of the handshake, followed by a fence and another look at the word.
    pub(crate) fn set_armed(&self, tick: Tick) {
        // Relaxed: the caller fences, or (at free) the release store of the word follows.
        self.armed.store(tick, Ordering::Relaxed);
    }

    /// Loads the generation. Relaxed: it follows an acquiring load of the word. A word of a later incarnation carries
    /// the generation bumped before it, a word of an earlier one cannot be seen by the owner of the handle.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The number given at registration. Acquire: pairs with [`fill`](Self::fill); a number of a later incarnation
    /// brings that incarnation's generation along, for callers that check the generation afterwards.
    pub(crate) fn user_data(&self) -> u64 {
        self.user_data.load(Ordering::Acquire)
    }

    /// Fills a record that the caller has just reserved.
    pub(crate) fn fill(&self, id: HostId, user_data: u64) {
        debug_assert_eq!(self.word().state(), State::Reserved);
        // Release: see `user_data`.
        self.user_data.store(user_data, Ordering::Release);
        // SAFETY: the record is Reserved by the caller and not in the index, so nobody else reads or writes the id; the
        // previous one was dropped before the record was pushed on the free list.
        self.id.with_mut(|slot| unsafe { (*slot).write(id) });
    }

    /// The host's id.
    ///
    /// # Safety
    /// The caller is the thread, and has seen the record in a state from Live to Taken (or Left) that it has not freed.
    pub(crate) unsafe fn id(&self) -> HostId {
        // SAFETY: the id was written before the word became Live, which the caller acquired; only the thread drops it.
        self.id.with(|slot| unsafe { (*slot).assume_init_ref().clone() })
    }

    /// Drops the id.
    ///
    /// # Safety
    /// As for [`id`](Self::id); and the caller is about to free the record.
    pub(crate) unsafe fn drop_id(&self) {
        // SAFETY: initialised, see `id`; dropped once, as the word becomes Free next.
        self.id.with_mut(|slot| unsafe { (*slot).assume_init_drop() });
    }

    /// The place of the hint. Relaxed, like all of these: the thread's own.
    pub(crate) fn place(&self) -> (u16, u32) {
        (self.list.load(Ordering::Relaxed), self.position.load(Ordering::Relaxed))
    }

    /// Sets the place of the hint; see [`place`](Self::place).
    pub(crate) fn set_place(&self, list: u16, position: u32) {
        self.list.store(list, Ordering::Relaxed);
        self.position.store(position, Ordering::Relaxed);
    }

    /// Since when the host has been held back, 0 if it is not. Relaxed, like the four that follow: the thread's own, and a
    /// figure for others.
    pub(crate) fn held_since(&self) -> Tick {
        self.held_since.load(Ordering::Relaxed)
    }

    /// Notes that the host is held back, if it was not already.
    pub(crate) fn hold(&self, now: Tick) {
        if !self.has(HELD) {
            self.set(HELD, true);
            self.held_since.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that nothing holds the host back.
    pub(crate) fn let_go(&self) {
        if self.has(HELD) {
            self.set(HELD, false);
            self.held_since.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the host is counted by this interval.
    #[inline]
    pub(crate) fn is_counted(&self, cadence: Cadence) -> bool {
        self.counted.load(Ordering::Relaxed) == cadence.bits() + 1
    }

    /// The interval by which the host is counted; `None` if it is not.
    pub(crate) fn counted(&self) -> Option<Cadence> {
        self.counted.load(Ordering::Relaxed).checked_sub(1).map(Cadence::from_bits)
    }

    /// See [`counted`](Self::counted).
    pub(crate) fn set_counted(&self, cadence: Option<Cadence>) {
        self.counted.store(cadence.map_or(0, |cadence| cadence.bits() + 1), Ordering::Relaxed);
    }

    /// Whether the thread noted one of `flags`. Relaxed: the thread's own.
    pub(crate) fn has(&self, flags: u16) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }

    /// Whether the thread noted anything at all.
    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        self.flags.load(Ordering::Relaxed) != 0
    }

    /// Notes or clears flags; see [`has`](Self::has).
    pub(crate) fn set(&self, flag: u16, on: bool) {
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(if on { flags | flag } else { flags & !flag }, Ordering::Relaxed);
    }

    #[cfg(loom)]
    pub(super) fn new() -> Record {
        Record {
            word: AtomicU64::new(0),
            armed: AtomicU64::new(0),
            user_data: AtomicU64::new(0),
            id: UnsafeCell::new(MaybeUninit::uninit()),
            generation: AtomicU32::new(0),
            position: AtomicU32::new(0),
            list: AtomicU16::new(0),
            flags: AtomicU16::new(0),
            counted: AtomicU32::new(0),
            held_since: AtomicU64::new(0),
        }
    }
}

/// Why no record could be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReserveError {
    /// All `max_hosts` records are in use.
    Full,
    /// The system refused memory.
    NoMemory,
}

/// All records.
pub(crate) struct Slab {
    space: Space,
    /// Records that have memory: all indices below this. With `space` in front, so that what every announce reads stands
    /// together.
    backed: AtomicU32,
    max_hosts: u32,
    /// Seed of the first generations: random per wheel, so that handles of another wheel are almost surely stale.
    seed: u32,
    /// Generations that a record may have; tests shrink it.
    lives: u32,
    /// The dirty bitmap, from a bit per record up.
    pub(super) leaves: Box<[AtomicU64]>,
    pub(super) middle: Box<[AtomicU64]>,
    pub(super) top: Box<[AtomicU64]>,
    /// Held by who gives memory to more records.
    growing: Mutex<()>,
    /// Padded, like `fresh`: registrations write them.
    free: CachePadded<FreeList>,
    /// The first index never used.
    fresh: CachePadded<AtomicU32>,
}

// SAFETY: a slab owns its space; what is in it is atomics, and ids (`Arc<[u8]>`, Send + Sync) under ground rule 4.
unsafe impl Send for Slab {}
// SAFETY: see above.
unsafe impl Sync for Slab {}

/// Atomic words that are zero; of a large array the system provides only the parts that are used.
fn zeroed(words: usize) -> Box<[AtomicU64]> {
    #[cfg(not(loom))]
    // SAFETY: an `AtomicU64` has the size, alignment and values of a u64.
    return unsafe { Box::from_raw(Box::into_raw(vec![0u64; words].into_boxed_slice()) as *mut [AtomicU64]) };
    #[cfg(loom)]
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

impl Slab {
    /// An empty slab. `lives` is how many generations a record may have, usually `u32::MAX`. Fails when there is no address
    /// space for so many.
    pub(crate) fn new(max_hosts: usize, seed: u32, lives: u32) -> io::Result<Slab> {
        let chunks = max_hosts.div_ceil(CHUNK);
        Ok(Slab {
            space: Space::reserve(chunks * CHUNK)?,
            // In models all records exist from the start.
            backed: AtomicU32::new(if cfg!(loom) { (chunks * CHUNK) as u32 } else { 0 }),
            max_hosts: max_hosts as u32,
            seed,
            lives,
            leaves: zeroed(chunks * FAN),
            middle: zeroed(chunks),
            top: zeroed(chunks.div_ceil(FAN)),
            growing: Mutex::new(()),
            free: CachePadded::new(FreeList::new()),
            fresh: CachePadded::new(AtomicU32::new(0)),
        })
    }

    /// The record at `index`, if there is memory for it.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Record> {
        // Acquire: pairs with the release in `back_chunk`.
        if index >= self.backed.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: a record that has memory, all of whose fields are atomics or cells; it lives as long as the slab.
        Some(unsafe { self.space.base().add(index as usize).as_ref() })
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
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        if let Some(record) = self.get(index) {
            // SAFETY: a prefetch of a valid address; it has no effect but on caches.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch(std::ptr::from_ref(record).cast(), _MM_HINT_T0);
            }
        }
        #[cfg(not(all(target_arch = "x86_64", not(loom))))]
        let _ = index;
    }

    /// Records in use, waiting to be freed, on the free list or retired: all indices below this.
    pub(crate) fn used(&self) -> u32 {
        // Relaxed: a bound for sweeps and statistics.
        self.fresh.load(Ordering::Relaxed)
    }

    /// Whether the next reservation would need more memory or find the slab full: the moment to let the thread give back
    /// records that wait for it.
    pub(crate) fn is_short(&self) -> bool {
        let fresh = self.used();
        self.free.is_empty() && (fresh >= self.max_hosts || (fresh as usize).is_multiple_of(CHUNK))
    }

    /// Takes a record for the caller alone: its word says Reserved, its id is not initialised. Lock-free; O(1).
    pub(crate) fn reserve(&self) -> Result<u32, ReserveError> {
        point(Point::Reserving);
        let index = match self.free.pop(self) {
            Some(index) => index,
            None => self.reserve_fresh()?,
        };
        let record = self.record(index);
        let floor = record.word().last();
        let raised = floor + Tick::from(!planted(Canary::WordReuse));
        // Release, in `store_word`: the generation of a record never used goes before its word.
        record.store_word(Word::new(raised, Cadence::NONE, State::Reserved));
        Ok(index)
    }

    fn reserve_fresh(&self) -> Result<u32, ReserveError> {
        let mut fresh = self.fresh.load(Ordering::Relaxed);
        loop {
            if fresh >= self.max_hosts {
                return Err(ReserveError::Full);
            }
            self.ensure_backed(fresh)?;
            // Relaxed: the counter hands out each index once, which any read-modify-write does; that there is memory was
            // published by itself.
            match self.fresh.compare_exchange_weak(fresh, fresh + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => fresh = now,
            }
        }
        let record = self.record(fresh);
        record.set_armed(NONE);
        record.generation.store(self.first_generation(fresh), Ordering::Relaxed);
        Ok(fresh)
    }

    /// Makes sure that there is memory for the record at `index`, and for the whole chunk with it.
    fn ensure_backed(&self, index: u32) -> Result<(), ReserveError> {
        // Acquire: as in `get`.
        if index < self.backed.load(Ordering::Acquire) {
            return Ok(());
        }
        let _growing = lock(&self.growing);
        // Relaxed: written under the lock only.
        let backed = self.backed.load(Ordering::Relaxed);
        if index >= backed {
            self.back_chunk(backed)?;
        }
        Ok(())
    }

    /// Gives memory to the records from `first`. In models they have it.
    fn back_chunk(&self, first: u32) -> Result<(), ReserveError> {
        #[cfg(not(loom))]
        {
            let end = first + CHUNK as u32;
            self.space.back(first as usize, end as usize).map_err(|_| ReserveError::NoMemory)?;
            for index in first..end {
                // SAFETY: it has memory, and zeros are a record; nobody else reaches it yet.
                let record = unsafe { self.space.base().add(index as usize).as_ref() };
                record.store_word(Word::new(0, Cadence::NONE, State::Free));
            }
            // Release: pairs with the acquire in `get`: who sees the bound sees memory, with words that say Free.
            self.backed.store(end, Ordering::Release);
        }
        #[cfg(loom)]
        let _ = first;
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
    /// whose generations are used up is retired instead. The thread alone calls this, after it removed the index entry and
    /// dropped the id, and once wheel time has passed the last announce.
    pub(crate) fn release(&self, index: u32) {
        let record = self.record(index);
        record.set_armed(NONE);
        record.set_place(0, 0);
        record.flags.store(0, Ordering::Relaxed);
        record.held_since.store(0, Ordering::Relaxed);
        let generation = record.generation().wrapping_add(1).max(1);
        let first = self.first_generation(index);
        // Equal: the generations went round, past the 0 that is left out.
        let retired = generation == first || generation.wrapping_sub(first) >= self.lives;
        // Relaxed: the release store of the word, or the push, follows.
        record.generation.store(if retired { 0 } else { generation }, Ordering::Relaxed);
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

impl Drop for Slab {
    fn drop(&mut self) {
        let used = self.used();
        for index in 0..used {
            let Some(record) = self.get(index) else { continue };
            // Not Reserved: a registrant that died in the middle may have written no id; that one is leaked.
            if matches!(record.word().state(), State::Live | State::Suspect | State::Left | State::Taken) {
                // SAFETY: `&mut self`: nobody else is there; in these states the id is initialised.
                unsafe { record.drop_id() };
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn slab(max_hosts: usize, seed: u32, lives: u32) -> Slab {
        Slab::new(max_hosts, seed, lives).expect("there is address space")
    }

    fn free(slab: &Slab, index: u32) {
        // SAFETY: the test filled it and is the only user.
        unsafe { slab.record(index).drop_id() };
        slab.release(index);
        slab.check_invariants();
    }

    fn fill(slab: &Slab, index: u32) -> u32 {
        let record = slab.record(index);
        record.fill(HostId::new(b"a"), 0);
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
        slab.record(index).generation.store(u32::MAX, Ordering::Relaxed);
        free(&slab, index);
        assert_eq!(slab.reserve(), Err(ReserveError::Full), "its generations are used up");
    }

    #[test]
    fn generations_wrap_without_ever_being_zero() {
        // A seed for which record 0 starts near the end of the range.
        let seed = (0..u32::MAX).find(|s| slab(1, *s, 1).first_generation(0) > u32::MAX - 1024).unwrap();
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
        assert!(slab.get(0).is_none());
        let index = slab.reserve().unwrap();
        fill(&slab, index);
        assert_eq!(slab.record(1).generation(), 0);
        assert!(slab.get(9_000).is_none());
        assert!(slab.get(u32::MAX).is_none());
    }
}
