//! A table and records without hosts, used as the liveness layer uses them: for tests and fuzzing.

use super::hash::HashId;
use super::table::Table;
use super::{Index, Refusal};
use crate::record::{Handle, Key, Slab, State};

/// A hash of which its users know what it is: the first eight bytes of an id.
pub struct Chosen;

impl HashId for Chosen {
    fn hash(&self, id: &[u8]) -> u64 {
        let mut first = [0; 8];
        let length = id.len().min(8);
        first[..length].copy_from_slice(&id[..length]);
        u64::from_le_bytes(first)
    }
}

/// A table and records. Whoever entered a record frees it, once.
pub struct World<H = Chosen> {
    pub(super) table: Table<H>,
    pub(super) slab: Slab,
}

impl World<Chosen> {
    /// With a hash that is known.
    pub fn new(max_hosts: usize) -> World<Chosen> {
        let table = Table::with_hash(max_hosts, Chosen).expect("there is address space");
        World { table, slab: Slab::new(max_hosts, 7, u32::MAX).expect("there is address space") }
    }
}

#[allow(private_bounds)]
impl<H: HashId> World<H> {
    pub(super) fn key<'a>(&self, id: &'a [u8]) -> Key<'a> {
        self.table.key(id)
    }

    /// The record of an id.
    pub fn get(&self, id: &[u8]) -> Option<Handle> {
        self.table.get(&self.slab, &self.key(id))
    }

    pub(super) fn enter(&self, id: &[u8], dead: Option<Handle>) -> Result<Handle, Refusal> {
        let index = self.slab.reserve().expect("there is a record");
        let record = self.slab.record(index);
        let key = self.key(id);
        self.slab.fill(index, &key, 0).expect("there is memory");
        let handle = Handle::new(index, record.generation());
        let entered = self.table.enter(&self.slab, &key, handle, dead);
        record.store_word(record.word().with_state(State::Left));
        if entered.is_err() {
            self.slab.release(index);
        }
        entered.map(|()| handle)
    }

    /// Enters a record for an id, in place of a dead one if there is one. The error is the one that the id has, or none if there is
    /// no room.
    #[cfg(fuzzing)]
    pub fn register(&self, id: &[u8], dead: Option<Handle>) -> Result<Handle, Option<Handle>> {
        self.enter(id, dead).map_err(|refusal| match refusal {
            Refusal::Known(handle) => Some(handle),
            Refusal::NoRoom => None,
        })
    }

    /// Removes and frees a record, as the thread does.
    pub fn free(&self, handle: Handle) {
        let identity = self.slab.record(handle.index()).identity();
        self.table.remove(&self.slab, identity, handle);
        self.slab.release(handle.index());
    }

    /// All that is entered.
    pub fn walk(&self) -> Vec<Handle> {
        let mut seen = Vec::new();
        self.table.walk(&self.slab, &mut |handle| {
            seen.push(handle);
            true
        });
        seen
    }

    /// Doubles the buckets, up to so many (as a power of two).
    pub fn grow(&self, up_to: u32) {
        let (level, last_level) = self.table.levels();
        if level < last_level.min(up_to) {
            self.table.grow(level).expect("there is memory");
        }
    }

    /// Checks what must hold while nobody uses it.
    pub fn check_invariants(&self) {
        self.table.check_invariants(&self.slab);
    }
}
