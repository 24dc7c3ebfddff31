//! The record: one host, one cache line, and who may load and store what of it in which order.

#[cfg(not(loom))]
use std::mem::offset_of;

use super::Cadence;
use super::handle::Handle;
use super::ids::Identity;
use super::word::{State, Word};
#[cfg(loom)]
use crate::canary::{Canary, planted};
use crate::memory::Zeroed;
use crate::pause::{Point, point};
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::tick::Tick;

/// One host, in one cache line.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// [`Word`]: last announce, interval, state.
    word: AtomicU64,
    /// The tick at which the thread will look at the record, [`NONE`](super::NONE) until it is placed. Written by the thread alone, and
    /// by the registrant of a record that was never used.
    armed: AtomicU64,
    /// The number given at registration.
    user_data: AtomicU64,
    /// [`Identity`] of the host's id, which is beside the records. Ground rule 4 says who may read both.
    identity: AtomicU64,
    /// Since when a due host has been held back; 0 if it is not. The thread's.
    held_since: AtomicU64,
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
    /// Where an id that is longer than its line goes on.
    more: AtomicU32,
    /// Of a Reserved record: the generation of the incarnation that it replaces, whose index is in `position`; 0 if it replaces
    /// none.
    replaces: AtomicU32,
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
    /// Where in a record its word, `armed` and the generation are, in bytes.
    #[cfg(not(loom))]
    pub(crate) const OFFSETS: (usize, usize, usize) =
        (offset_of!(Record, word), offset_of!(Record, armed), offset_of!(Record, generation));

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

    /// Has a record that was never used say that it is free. Any number of threads may, and only the first of them changes it: the
    /// word of a record in use is not 0, as wheel time does not begin at 0.
    pub(super) fn be_free(&self) {
        // Relaxed: published by the slab's bound.
        let free = Word::new(0, Cadence::NONE, State::Free);
        let _ = self.word.compare_exchange(0, free.bits(), Ordering::Relaxed, Ordering::Relaxed);
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

    /// Stores the generation. Release: who sees it sees that the incarnation before is over, and its index entry is gone.
    pub(super) fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Forgets what the thread noted about an incarnation.
    pub(super) fn clear_notes(&self) {
        self.flags.store(0, Ordering::Relaxed);
        self.held_since.store(0, Ordering::Relaxed);
    }

    /// The incarnation that a Reserved record replaces. Relaxed: came with the index entry, or the caller finds out that it is
    /// another incarnation's.
    pub(crate) fn replaces(&self) -> Option<Handle> {
        let generation = self.replaces.load(Ordering::Relaxed);
        (generation != 0).then(|| Handle::new(self.position.load(Ordering::Relaxed), generation))
    }

    /// Notes which incarnation a record replaces that belongs to the caller alone. Release: a thread that reads it for the
    /// record's last incarnation sees, after a fence, that this one is over.
    pub(crate) fn set_replaces(&self, old: Option<Handle>) {
        if let Some(old) = old {
            self.position.store(old.index(), Ordering::Release);
        }
        self.replaces.store(old.map_or(0, Handle::generation), Ordering::Release);
    }

    /// The number given at registration. Acquire: pairs with [`fill`](Self::fill); a number of a later incarnation
    /// brings that incarnation's generation along, for callers that check the generation afterwards.
    pub(crate) fn user_data(&self) -> u64 {
        self.user_data.load(Ordering::Acquire)
    }

    /// Fills a record that the caller has just reserved, but for the id itself.
    pub(super) fn fill(&self, identity: Identity, more: u32, user_data: u64) {
        // Release: see `user_data`; who reads any of the others fences.
        self.user_data.store(user_data, Ordering::Release);
        self.more.store(more, Ordering::Release);
        self.identity.store(identity.bits(), Ordering::Release);
    }

    /// The identity of the host's id. Relaxed, like [`more`](Self::more): the thread's and the registrant's own; others fence and
    /// check.
    #[inline]
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_bits(self.identity.load(Ordering::Relaxed))
    }

    /// Where the id goes on.
    pub(super) fn more(&self) -> u32 {
        self.more.load(Ordering::Relaxed)
    }

    /// The id goes on nowhere any more.
    pub(super) fn forget_more(&self) {
        // Release: see `fill`.
        self.more.store(0, Ordering::Release);
    }

    /// The place of the hint. Relaxed, like all of these: the thread's own.
    pub(crate) fn place(&self) -> (u16, u32) {
        (self.list.load(Ordering::Relaxed), self.position.load(Ordering::Relaxed))
    }

    /// Sets the place of the hint; see [`place`](Self::place). Release: a thread that takes the position for that of the host which
    /// the record [`replaces`](Self::replaces) sees, after a fence, that the record is not Reserved any more.
    pub(crate) fn set_place(&self, list: u16, position: u32) {
        self.list.store(list, Ordering::Relaxed);
        self.position.store(position, Ordering::Release);
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
}

// SAFETY: atomics of numbers.
unsafe impl Zeroed for Record {
    #[cfg(loom)]
    fn zeroed() -> Record {
        Record {
            word: AtomicU64::new(0),
            armed: AtomicU64::new(0),
            user_data: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            held_since: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            position: AtomicU32::new(0),
            list: AtomicU16::new(0),
            flags: AtomicU16::new(0),
            counted: AtomicU32::new(0),
            more: AtomicU32::new(0),
            replaces: AtomicU32::new(0),
        }
    }
}
