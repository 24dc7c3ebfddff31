//! A bucket: two cache lines, of which a look-up usually reads the first, and one control word that says what in them is valid.
//!
//! ```text
//!  control word                                                 bucket, 128 bytes
//!  63     59 58     57              24 23          0            +---------+-------------+--------------+
//! +---------+--------+----------------+-------------+           | control | 24 tags     | 24 slots     |
//! | level+1 | frozen | version        | valid slots |           | 8 bytes | a byte each | 4 bytes each |
//! +---------+--------+----------------+-------------+           +---------+-------------+--------------+
//! ```
//!
//! # Ground rules
//!
//! 1. **What is valid changes by a CAS of the control word only**, and each CAS that makes a slot valid raises the version. So
//!    whoever finds the word as it was knows that no entry has gone, come or been replaced since. (The version has 34 bits: it
//!    would take exactly 2^34 entries into one bucket within one such pause to fool it, two hours of nothing else.)
//! 2. **A slot that is not valid belongs to the thread that claimed it**, by a CAS from an empty value to the number of its
//!    record. That thread makes it valid, by rule 1, or gives it back. A thread that removes or replaces an entry owns the
//!    entry's slot, and gives it back. So a thread that is held back costs the others one slot.
//! 3. **The empty value *virgin* is never stored.** Helpers fill a new bucket all with the same values in the same slots, by
//!    CASes from *virgin*: a late helper changes nothing. Tags are never 0, for the same reason.
//! 4. **A split empties the slots of what it moves before it ends**, while the bucket is frozen: by CASes to *moved*, with the
//!    level that the split brings the bucket to. A slot that is *moved* can be claimed under a control word of that level or a
//!    higher one only, so no claim meets a split. Nobody owns these slots, and a held helper keeps none.
//! 5. **An occupied slot names the level of its claim**, modulo 15. The value that a late helper saw before a split does not
//!    recur after it, so its CAS to *moved* fails. (It would take 15 growths, and the same record in the same slot, within one
//!    such pause to fool it.)

use crate::canary::{Canary, planted};
use crate::config::MOST_HOSTS;
use crate::memory::Zeroed;
use crate::pause::{Point, point};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Entries of a bucket. Models and schedules have few, so that buckets fill.
pub(super) const SLOTS: usize = if cfg!(loom) {
    2
} else if cfg!(all(test, shuttle)) {
    4
} else {
    24
};
/// Tags in a word.
const TAGS: usize = 8;
const TAG_WORDS: usize = SLOTS.div_ceil(TAGS);

const VALID: u64 = (1 << 24) - 1;
const _: () = assert!(SLOTS <= 24);
const ONE_VERSION: u64 = 1 << 24;
const FROZEN_BIT: u32 = 58;
const VERSION: u64 = (1 << FROZEN_BIT) - 1 - VALID;
/// Levels are smaller than this.
pub(super) const LEVELS: u32 = 31;

/// The control word of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control(u64);

impl Control {
    /// Of a bucket that nobody has filled yet.
    const UNBORN: Control = Control(0);

    /// A new bucket whose first slots are valid.
    fn born(level: u32, slots: u32) -> Control {
        Control(u64::from(level + 1) << (FROZEN_BIT + 1) | ((1 << slots) - 1))
    }

    /// How many bits of the hash tell what is in the bucket, and 1; 0 if nobody has filled it yet.
    fn level_and_1(self) -> u32 {
        (self.0 >> (FROZEN_BIT + 1)) as u32
    }

    /// Whether the bucket is that of so many bits, and not about to be split.
    #[inline]
    pub(super) fn is_settled_at(self, level: u32) -> bool {
        self.0 >> FROZEN_BIT == u64::from(level + 1) << 1
    }

    /// How many bits of the hash tell what is in the bucket; of one that somebody has filled.
    fn level(self) -> u32 {
        self.level_and_1() - 1
    }

    /// Whether the bucket has got so far, or further.
    pub(super) fn has_come_to(self, level: u32) -> bool {
        self.level_and_1() > level
    }

    pub(super) fn is_frozen(self) -> bool {
        self.0 >> FROZEN_BIT & 1 != 0
    }

    /// About to be split: what is valid does not change until it was.
    pub(super) fn frozen(self) -> Control {
        Control(self.0 | 1 << FROZEN_BIT)
    }

    /// With another valid slot.
    pub(super) fn with(self, slot: usize) -> Control {
        let version = self.0.wrapping_add(ONE_VERSION) & VERSION;
        Control(self.0 & !VERSION | version | 1 << slot)
    }

    /// With a valid slot less.
    pub(super) fn without(self, slot: usize) -> Control {
        Control(self.0 & !(1 << slot))
    }

    /// After the split of a frozen bucket, by which slots were moved to another one.
    pub(super) fn split(self, level: u32, moved: u32) -> Control {
        let rest = self.0 & (VERSION | VALID) & !u64::from(moved);
        Control(Control::born(level, 0).0 | rest)
    }

    /// Whether so many slots are valid that the others are no matter.
    pub(super) fn is_crowded(self) -> bool {
        self.valid().count_ones() as usize > SLOTS / 2
    }

    /// The valid slots, as bits.
    #[inline]
    pub(super) fn valid(self) -> u32 {
        (self.0 & VALID) as u32
    }

    /// The valid slots.
    pub(super) fn slots(self) -> Bits {
        Bits(self.valid())
    }
}

/// The bits that are set, from the lowest.
#[derive(Clone, Copy)]
pub(super) struct Bits(u32);

impl Bits {
    pub(super) fn of(bits: u32) -> Bits {
        Bits(bits)
    }
}

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// Never used.
const VIRGIN: u32 = 0;
/// Used once, and empty.
const VACANT: u32 = 1;
/// Empty since a split moved the entry: with the level that the split brings the bucket to added.
const MOVED: u32 = 2;

/// Bits of an occupied slot that hold the record. The others hold the level of the claim, modulo [`CYCLE`], and 1.
const RECORD_BITS: u32 = 28;
const RECORD: u32 = (1 << RECORD_BITS) - 1;
const _: () = assert!(MOST_HOSTS <= 1 << RECORD_BITS);
const CYCLE: u32 = (1 << (u32::BITS - RECORD_BITS)) - 1;
const _: () = assert!(MOVED + LEVELS <= 1 << RECORD_BITS);

/// The value of a slot that was claimed for a record, or filled with it, at a level.
fn occupied(level: u32, record: u32) -> u32 {
    debug_assert!(record <= RECORD);
    (1 + level % CYCLE) << RECORD_BITS | record
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Content(u32);

impl Content {
    /// The record, of an entry or a claim; `None` of an empty slot.
    pub(super) fn record(self) -> Option<u32> {
        (self.0 > RECORD).then_some(self.0 & RECORD)
    }
}

/// Some entries, all those whose hashes end alike.
#[repr(C, align(128))]
pub(super) struct Bucket {
    control: AtomicU64,
    tags: [AtomicU64; TAG_WORDS],
    slots: [AtomicU32; SLOTS],
}

#[cfg(not(any(loom, all(test, shuttle))))]
const _: () = assert!(size_of::<Bucket>() == 128, "a bucket is two cache lines");

// SAFETY: atomics of numbers.
unsafe impl Zeroed for Bucket {
    #[cfg(loom)]
    fn zeroed() -> Bucket {
        Bucket {
            control: AtomicU64::new(0),
            tags: std::array::from_fn(|_| AtomicU64::new(0)),
            slots: std::array::from_fn(|_| AtomicU32::new(VIRGIN)),
        }
    }
}

impl Bucket {
    /// Acquire: pairs with the release of every CAS of the word: what was entered before it said so, and the record filled
    /// before that, is seen with it.
    #[inline]
    pub(super) fn control(&self) -> Control {
        Control(self.control.load(Ordering::Acquire))
    }

    /// Whether nothing has changed since, after a fence. Relaxed: if anything read before the fence was written after an entry
    /// had gone, the fence makes that visible, and the word is another one.
    #[inline]
    pub(super) fn is_still(&self, control: Control) -> bool {
        self.control.load(Ordering::Relaxed) == control.0
    }

    /// Replaces the control word. Release: what the caller entered is seen with it, and that an entry has gone is seen by who
    /// sees what came after. Nothing to acquire: `old` was acquired when it was loaded, and no word recurs.
    pub(super) fn swap(&self, old: Control, new: Control) -> bool {
        self.control.compare_exchange(old.0, new.0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Marks the bytes with this tag in the word of tags that begins with slot `first`, at their highest bit; now and then one
    /// above such a byte.
    #[inline(always)]
    fn tagged(&self, first: usize, tag: u8) -> u64 {
        const EACH: u64 = 0x0101_0101_0101_0101;
        // Relaxed: came with the control word; if a slot was given away since, the word has changed.
        let other = self.tags[first / TAGS].load(Ordering::Relaxed) ^ (u64::from(tag) * EACH);
        other.wrapping_sub(EACH) & !other & (EACH << 7)
    }

    /// The first slot with this tag in the first word of tags, if it is valid: nearly always the only one.
    #[inline(always)]
    pub(super) fn first_candidate(&self, control: Control, tag: u8) -> Option<usize> {
        let tagged = self.tagged(0, tag);
        let slot = tagged.trailing_zeros() as usize / 8;
        // There are no 64 zeros if one is tagged.
        (tagged != 0 && control.0 >> slot & 1 == 1).then_some(slot)
    }

    /// Bits of the slots among the `valid` ones that have this tag, in the word of tags that begins with slot `first`; now and then
    /// one that has not.
    pub(super) fn candidates(&self, first: usize, valid: u32, tag: u8) -> u32 {
        // Gathers the highest bit of each byte in the highest byte.
        let bits = (self.tagged(first, tag) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        (bits as u32) << first & valid
    }

    /// Where the words of tags begin that have valid slots, beyond the first.
    #[inline]
    pub(super) fn further(valid: u32) -> impl Iterator<Item = usize> {
        (1..TAG_WORDS).map(|word| word * TAGS).take_while(move |first| valid >> first != 0)
    }

    /// The record in a valid slot. Relaxed: see [`tagged`](Self::tagged). If the slot is not valid any more it may be another one, or
    /// a small number that is none.
    #[inline(always)]
    pub(super) fn record(&self, slot: usize) -> u32 {
        self.slots[slot].load(Ordering::Relaxed) & RECORD
    }

    /// What is in a slot. Relaxed: as [`record`](Self::record).
    pub(super) fn content(&self, slot: usize) -> Content {
        Content(self.slots[slot].load(Ordering::Relaxed))
    }

    /// Claims a slot that is not valid.
    pub(super) fn claim(&self, control: Control, record: u32, tag: u8) -> Option<Claim<'_>> {
        let (last, claimed) = (MOVED + control.level(), occupied(control.level(), record));
        let slot = Bits(!control.valid() & (((1u64 << SLOTS) - 1) as u32)).find(|&slot| {
            let empty = self.slots[slot].load(Ordering::Relaxed);
            point(Point::Vacant);
            // Acquire: pairs with the release in `give_back`: our tag comes after the one of the slot's last owner. (Of a slot
            // that was moved, that tag came with the control word.) Release: pairs with the acquire fences in `Table::split`: a
            // helper that sees a claim from after the split sees that the split has ended.
            (empty <= last || planted(Canary::EarlyClaim) && empty <= RECORD)
                && self.slots[slot].compare_exchange(empty, claimed, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        self.set_tag(slot, tag);
        Some(Claim { bucket: self, slot })
    }

    fn set_tag(&self, slot: usize, tag: u8) {
        let word = &self.tags[slot / TAGS];
        let shift = slot % TAGS * 8;
        let mut tags = word.load(Ordering::Relaxed);
        loop {
            let with = tags & !(0xff << shift) | u64::from(tag) << shift;
            point(Point::Tagging);
            // Relaxed: published by the control word.
            match word.compare_exchange_weak(tags, with, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => tags = now,
            }
        }
    }

    /// Gives a slot back that is the caller's alone.
    pub(super) fn give_back(&self, slot: usize) {
        let empty = if planted(Canary::VirginAgain) { VIRGIN } else { VACANT };
        // Release: see `claim`.
        self.slots[slot].store(empty, Ordering::Release);
    }

    /// Empties a slot of a frozen bucket, whose content the split to `level` moves; or helps with it. The new bucket is filled.
    pub(super) fn vacate(&self, slot: usize, content: Content, level: u32) {
        // Release: pairs with the acquire fence in `Table::split`: a helper that sees the slot moved sees the new bucket filled.
        // Failed: another helper was faster.
        let _ = self.slots[slot].compare_exchange(content.0, MOVED + level, Ordering::Release, Ordering::Relaxed);
    }

    /// Fills a bucket that is not born, with records and their tags; or helps with it. All who do that must do it alike.
    pub(super) fn fill(&self, level: u32, entries: &[(u32, u8)]) {
        for (slot, &(record, _)) in entries.iter().enumerate() {
            // Relaxed, like the tags: whoever loses has seen the value, and publishes it with the control word.
            let _ = self.slots[slot].compare_exchange(
                VIRGIN,
                occupied(level, record),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        for (word, entries) in self.tags.iter().zip(entries.chunks(TAGS)) {
            let tags = entries.iter().rev().fold(0, |tags, &(_, tag)| tags << 8 | u64::from(tag));
            let _ = word.compare_exchange(0, tags, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Declares a bucket born in which so many slots were filled; or helps with it.
    pub(super) fn bear(&self, level: u32, filled: u32) {
        self.swap(Control::UNBORN, Control::born(level, filled));
    }

    /// Whether each slot of a bucket that nobody uses is either valid or empty; for tests.
    #[cfg(any(test, fuzzing))]
    pub(super) fn claims_nothing(&self) -> bool {
        let valid = self.control().valid();
        (0..SLOTS).all(|slot| (valid >> slot & 1 == 1) == self.content(slot).record().is_some())
    }
}

/// A slot that nobody else uses, until it is made valid or dropped.
pub(super) struct Claim<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) slot: usize,
}

impl Claim<'_> {
    /// It was made valid.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.bucket.give_back(self.slot);
    }
}
