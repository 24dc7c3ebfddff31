//! The table: buckets in one piece of address space, of which there are twice as many after each growth.
//!
//! At level n there are 2^n buckets, and the lower n bits of a hash tell which one. Growth raises the level and does nothing
//! else; whoever then comes to a bucket that has not got so far first *splits* it: what has the next bit of the hash set moves
//! to a bucket that was not there before. Anybody may do that, and everybody who needs it does, all at once if need be:
//!
//! ```text
//!  1 freeze the bucket: its control word says so, and no CAS of who knew it before succeeds
//!  2 fill the new bucket with what moves, slot by slot                         (all helpers do the same, the first counts)
//!  3 empty the slots of what moves                                             (likewise)
//!  4 declare the new bucket born                                               (the first counts)
//!  5 unfreeze the bucket at the next level, without what has moved             (likewise)
//! ```
//!
//! From step 4 on what has moved may go, and its record be another host's, while the bucket is still frozen. A helper that comes
//! then finds the slot empty, and asks the record nothing.
//!
//! No operation works with a bucket that has not got to the table's level, so there is one place for each id at each moment.
//!
//! **Insertion** claims a slot and makes it valid if the control word is still the one under which the whole bucket was
//! searched. **Replacement** makes one slot valid and another invalid in that same CAS. **A look-up** reads the control word, the
//! tags, the slot, the record, the id and the control word again; if that has not changed, all it has read belongs to one
//! incarnation, which was entered throughout: an entry goes before its record is freed, let alone filled again.

use std::io;

use crossbeam_utils::CachePadded;

use super::bucket::{Bits, Bucket, Claim, Content, Control, LEVELS, SLOTS};
use super::hash::{HashId, Universal};
use super::{Index, Names, Refusal};
use crate::canary::{Canary, planted};
use crate::memory::Space;
use crate::pause::{Point, point};
use crate::record::{Handle, Identity, Key};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, give_way};

/// Buckets at the beginning, as a power of two. Models and schedules begin with one.
const FIRST_LEVEL: u32 = if cfg!(any(loom, all(test, shuttle))) { 0 } else { 9 };

/// Entries for each bucket beyond which the table grows: so few that a bucket is hardly ever full. In models only a full one
/// makes it grow.
pub(super) const LOAD: u64 = if cfg!(loom) { 16 } else { SLOTS as u64 / 4 };

/// The index of a wheel.
pub(crate) struct Table<H = Universal> {
    buckets: Space<Bucket>,
    hash: H,
    level: AtomicU32,
    last_level: u32,
    /// Padded: written by those who register.
    entries: CachePadded<AtomicU64>,
}

/// What a search has found.
struct Found {
    slot: usize,
    record: u32,
    generation: u32,
}

impl Found {
    /// The handle, once it was made sure that the entry is still there.
    fn handle(&self) -> Handle {
        Handle::new(self.record, self.generation)
    }
}

/// What a split moves to the new bucket.
struct Moves {
    contents: [Content; SLOTS],
    /// The slots of what moves.
    slots: u32,
    /// The records that move, and their tags.
    entries: [(u32, u8); SLOTS],
    count: usize,
    /// The new bucket was filled: `entries` are not all.
    filled: bool,
}

impl Moves {
    /// Reads what the split of a frozen bucket to `level` moves.
    fn read(bucket: &Bucket, frozen: Control, names: &impl Names, level: u32) -> Moves {
        let contents = std::array::from_fn(|slot| bucket.content(slot));
        point(Point::Asking);
        let mut moves = Moves { contents, slots: 0, entries: [(0, 0); SLOTS], count: 0, filled: false };
        for slot in frozen.slots() {
            let Some(record) = contents[slot].record() else {
                // Emptied by another helper, which has filled the new bucket.
                moves.filled = true;
                moves.slots |= 1 << slot;
                continue;
            };
            let identity = names.identity(record);
            if identity.hash() >> (level - 1) & 1 == 1 {
                moves.slots |= 1 << slot;
                moves.entries[moves.count] = (record, identity.tag());
                moves.count += 1;
            }
        }
        moves
    }

    /// Whether the slots are as they were, after a fence.
    fn are_still(&self, bucket: &Bucket, frozen: Control) -> bool {
        frozen.slots().all(|slot| bucket.content(slot) == self.contents[slot])
    }
}

impl Table {
    /// For so many hosts. Fails when there is no address space for as many buckets as they may need.
    pub(crate) fn new(max_hosts: usize) -> io::Result<Table> {
        Table::with_hash(max_hosts, Universal::random())
    }
}

impl<H> Table<H> {
    pub(super) fn with_hash(max_hosts: usize, hash: H) -> io::Result<Table<H>> {
        // Half as many entries in each as make it grow: if one is full nevertheless, it may grow once more.
        let buckets = (max_hosts as u64 * 2).div_ceil(LOAD);
        let last_level = (u64::BITS - (buckets - 1).leading_zeros()).clamp(FIRST_LEVEL, LEVELS - 1);
        let table = Table {
            buckets: Space::reserve(1 << last_level)?,
            hash,
            level: AtomicU32::new(FIRST_LEVEL),
            last_level,
            entries: CachePadded::new(AtomicU64::new(0)),
        };
        table.buckets.back(0, 1 << FIRST_LEVEL)?;
        Ok(table)
    }

    /// Acquire: pairs with the release in `grow`: who sees the level may write to its buckets. (Who has met a bucket of a higher
    /// level sees that level next, as whoever brought the bucket there had seen it; for that no ordering is needed here.)
    #[inline]
    fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    #[inline]
    fn bucket(&self, number: usize) -> &Bucket {
        debug_assert!(number < 1 << self.last_level);
        // SAFETY: all numbers come from hashes cut to a level, of which none is higher than the last one.
        unsafe { self.buckets.at(number) }
    }

    /// The bucket of a hash, as it is at the table's level.
    #[inline]
    fn settled(&self, names: &impl Names, hash: u64) -> (&Bucket, Control, u32) {
        loop {
            let level = self.level();
            point(Point::Levelled);
            let number = number(hash, level);
            let bucket = self.bucket(number);
            let control = bucket.control();
            if control.is_settled_at(level) {
                return (bucket, control, level);
            }
            self.settle(names, number, level);
        }
    }

    /// Brings a bucket to a level, if that is still the table's.
    #[cold]
    fn settle(&self, names: &impl Names, number: usize, level: u32) {
        let bucket = self.bucket(number);
        // One that has come so far may be frozen: then the table has grown since.
        if bucket.control().has_come_to(level) {
            return;
        }
        if level == FIRST_LEVEL {
            bucket.bear(level, 0);
            return;
        }
        let parent = number & ((1 << (level - 1)) - 1);
        self.settle(names, parent, level - 1);
        self.split(names, parent, level);
    }

    /// Splits a bucket so that it comes to `level`, from the one below it; or helps with that.
    fn split(&self, names: &impl Names, number: usize, level: u32) {
        let bucket = self.bucket(number);
        point(Point::Settling);
        let frozen = loop {
            let control = bucket.control();
            if control.has_come_to(level) {
                return;
            }
            if control.is_frozen() || planted(Canary::UnfrozenSplit) {
                break control;
            }
            point(Point::Freezing);
            if bucket.swap(control, control.frozen()) {
                break control.frozen();
            }
        };
        point(Point::Frozen);
        let moves = loop {
            let moves = Moves::read(bucket, frozen, names, level);
            point(Point::Copied);
            // While the bucket is frozen nothing goes that stays in it, and what moves goes no sooner than its slot is empty here. So
            // what was read of a record counts if its slot is still as it was. If the bucket is not frozen any more, others have
            // done all this. Acquire: who has read what came later, or a slot that was given back, sees both. A helper that has
            // read a slot emptied by another one sees the new bucket filled.
            fence(Ordering::Acquire);
            if !bucket.is_still(frozen) && !planted(Canary::LateHelper) {
                return;
            }
            if moves.are_still(bucket, frozen) || planted(Canary::TrustedRecord) {
                break moves;
            }
        };
        point(Point::Splitting);
        let new = self.bucket(number | 1 << (level - 1));
        if !moves.filled {
            new.fill(level, &moves.entries[..moves.count]);
        }
        for slot in Bits::of(moves.slots) {
            bucket.vacate(slot, moves.contents[slot], level);
            point(Point::Vacated);
        }
        new.bear(level, moves.slots.count_ones());
        point(Point::Born);
        bucket.swap(frozen, frozen.split(level, moves.slots));
        point(Point::Split);
    }

    /// Makes the table grow, if nobody else did.
    #[cold]
    pub(super) fn grow(&self, level: u32) -> Result<(), Refusal> {
        if level == self.last_level {
            return Err(Refusal::NoRoom);
        }
        // Whoever else does the same at the same time does no harm.
        self.buckets.back(1 << level, 2 << level).map_err(|_| Refusal::NoRoom)?;
        point(Point::Growing);
        // Release: see `level`.
        let _ = self.level.compare_exchange(level, level + 1, Ordering::Release, Ordering::Relaxed);
        Ok(())
    }

    /// Searches a bucket. What it says is so if the control word has not changed afterwards, after a fence.
    #[inline]
    fn search(bucket: &Bucket, control: Control, names: &impl Names, key: &Key<'_>) -> Option<Found> {
        let (valid, tag) = (control.valid(), key.identity.tag());
        let found = Self::among(bucket, bucket.candidates(0, valid, tag), names, key);
        if found.is_some() {
            return found;
        }
        Bucket::further(valid).find_map(|first| Self::among(bucket, bucket.candidates(first, valid, tag), names, key))
    }

    // Inlined twice it makes a registration 160 instructions longer.
    #[inline(never)]
    fn among(bucket: &Bucket, candidates: u32, names: &impl Names, key: &Key<'_>) -> Option<Found> {
        for slot in Bits::of(candidates) {
            let record = bucket.record(slot);
            point(Point::Matched);
            if let Some(generation) = names.generation_of(record, key) {
                return Some(Found { slot, record, generation });
            }
        }
        None
    }

    /// What a search says, if it is so.
    #[inline]
    fn look(&self, names: &impl Names, key: &Key<'_>) -> (&Bucket, Control, u32, Option<Found>) {
        loop {
            let (bucket, control, level) = self.settled(names, key.identity.hash());
            let found = Self::search(bucket, control, names, key);
            point(Point::Searched);
            // Acquire: who has read something of a record's next incarnation sees that its entry has gone.
            fence(Ordering::Acquire);
            if bucket.is_still(control) || planted(Canary::TrustedEntry) {
                return (bucket, control, level, found);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn get_anyhow(&self, names: &impl Names, key: &Key<'_>) -> Option<Handle> {
        self.look(names, key).3.map(|found| found.handle())
    }

    /// What is entered in the bucket of a hash at one moment, and the table's level then.
    fn entries_of(&self, names: &impl Names, hash: u32) -> ([Option<Handle>; SLOTS], u32) {
        loop {
            let (bucket, control, level) = self.settled(names, hash.into());
            let mut entries = [None; SLOTS];
            for slot in control.slots() {
                let record = bucket.content(slot).record();
                point(Point::Comparing);
                // Nothing is there, or it has none any more, if the entry has gone meanwhile.
                entries[slot] = record.and_then(|record| {
                    let generation = names.generation(record);
                    (generation != 0).then(|| Handle::new(record, generation))
                });
            }
            point(Point::Searched);
            // Acquire: see `look`.
            fence(Ordering::Acquire);
            if bucket.is_still(control) {
                return (entries, level);
            }
        }
    }

    /// After another entry: the table may have to grow.
    fn count_entry(&self, level: u32) {
        // Relaxed: a count. For a moment it may be less than 0, when the entry is removed before it was counted.
        if self.entries.fetch_add(1, Ordering::Relaxed) as i64 >= (LOAD << level) as i64 {
            // Without memory the buckets just fill up.
            let _ = self.grow(level);
        }
    }

    /// Has a claim in this bucket, the one that there was or another.
    fn claim<'a>(
        claim: &mut Option<Claim<'a>>,
        bucket: &'a Bucket,
        control: Control,
        record: u32,
        tag: u8,
    ) -> Option<usize> {
        if claim.as_ref().is_none_or(|claim| !std::ptr::eq(claim.bucket, bucket)) {
            *claim = bucket.claim(control, record, tag);
        }
        claim.as_ref().map(|claim| claim.slot)
    }

    /// The entries, for statistics and tests.
    #[cfg(any(test, fuzzing))]
    pub(super) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// How many buckets there are, as a power of two, and its greatest value.
    #[cfg(any(test, fuzzing))]
    pub(super) fn levels(&self) -> (u32, u32) {
        (self.level(), self.last_level)
    }

    /// Checks what must hold while nobody uses the table: no slot is lost, and each entry is in its place, once. Costs O(buckets).
    #[cfg(any(test, fuzzing))]
    pub(super) fn check_invariants(&self, names: &impl Names) {
        let mut records = std::collections::HashSet::new();
        for number in 0..1 << self.level() {
            let bucket = self.bucket(number);
            assert!(bucket.claims_nothing(), "a slot of bucket {number} was not given back");
            assert!(!bucket.control().is_frozen(), "the split of bucket {number} was not finished");
            for slot in bucket.control().slots() {
                let record = bucket.content(slot).record().expect("a valid slot has a record");
                assert!(records.insert(record), "record {record} is entered twice");
                let hash = names.identity(record).hash();
                assert!((0..=self.level()).any(|level| super::table::number(hash, level) == number));
            }
        }
        assert_eq!(records.len() as u64, self.entries());
    }
}

/// The bucket of a hash.
#[inline]
fn number(hash: u64, level: u32) -> usize {
    hash as usize & ((1 << level) - 1)
}

impl<H: HashId> Index for Table<H> {
    #[inline(always)]
    fn key<'a>(&self, id: &'a [u8]) -> Key<'a> {
        Key { id, identity: Identity::new(self.hash.hash(id), id.len()) }
    }

    /// As [`look`](Table::look) finds it nearly always: the first slot with the tag, among the first ones, is it. With few
    /// instructions, as the processor looks only so many ahead for what the next announces wait for.
    #[inline(always)]
    fn get(&self, names: &impl Names, key: &Key<'_>) -> Option<Handle> {
        let level = self.level();
        point(Point::Levelled);
        let bucket = self.bucket(number(key.identity.hash(), level));
        let control = bucket.control();
        if control.is_settled_at(level)
            && let Some(slot) = bucket.first_candidate(control, key.identity.tag())
        {
            let record = bucket.record(slot);
            point(Point::Matched);
            if let Some(generation) = names.generation_of(record, key) {
                point(Point::Searched);
                // Acquire: see `look`.
                fence(Ordering::Acquire);
                if bucket.is_still(control) || planted(Canary::TrustedEntry) {
                    return Some(Handle::new(record, generation));
                }
            }
        }
        self.get_anyhow(names, key)
    }

    fn enter(&self, names: &impl Names, key: &Key<'_>, new: Handle, dead: Option<Handle>) -> Result<(), Refusal> {
        let mut claim = None;
        loop {
            let (bucket, control, level, found) = self.look(names, key);
            if let Some(found) = &found
                && dead != Some(found.handle())
            {
                return Err(Refusal::Known(found.handle()));
            }
            point(Point::Claiming);
            let Some(slot) = Self::claim(&mut claim, bucket, control, new.index(), key.identity.tag()) else {
                if control.is_crowded() {
                    self.grow(level)?;
                } else {
                    // As many as there are empty slots are between their claim and their CAS. If they enter this id, we
                    // shall find it; a table that grew for them would be none too small.
                    give_way();
                }
                continue;
            };
            point(Point::Entering);
            let control = if planted(Canary::BlindEntry) { bucket.control() } else { control };
            let entered = control.with(slot);
            let entered = found.as_ref().map_or(entered, |found| entered.without(found.slot));
            if !bucket.swap(control, entered) {
                continue;
            }
            claim.take().expect("it is what was entered").keep();
            match found {
                Some(_) if planted(Canary::KeptSlot) => {}
                Some(found) => bucket.give_back(found.slot),
                None => self.count_entry(level),
            }
            return Ok(());
        }
    }

    fn remove(&self, names: &impl Names, identity: Identity, handle: Handle) {
        loop {
            let (bucket, control, _) = self.settled(names, identity.hash());
            point(Point::Searching);
            // The record is not free yet. An entry that names it belongs to this incarnation.
            let Some(slot) = control.slots().find(|&slot| bucket.record(slot) == handle.index()) else {
                point(Point::Searched);
                // A split may have moved the entry and given its slot back after the control word was read.
                // Acquire: pairs with the release in `give_back`. A search that read a slot given back sees a newer word.
                fence(Ordering::Acquire);
                if bucket.is_still(control) || planted(Canary::TrustedAbsence) {
                    return;
                }
                continue;
            };
            point(Point::Removing);
            if bucket.swap(control, control.without(slot)) {
                bucket.give_back(slot);
                // Relaxed: a count.
                self.entries.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }

    fn walk(&self, names: &impl Names, each: &mut dyn FnMut(Handle) -> bool) {
        // Buckets in the order of their numbers read backwards, the highest bit first: those into which one is split follow it
        // at once, so whatever grows meanwhile, none is missed and none is seen twice. (As Redis' SCAN does it, P. Noordhuis.)
        let mut cursor = 0u32;
        loop {
            let (entries, level) = self.entries_of(names, cursor);
            if !entries.into_iter().flatten().all(&mut *each) {
                return;
            }
            let beyond = !0 << level;
            cursor = (cursor | beyond).reverse_bits().wrapping_add(1).reverse_bits();
            if cursor == 0 {
                return;
            }
        }
    }
}
