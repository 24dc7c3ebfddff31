//! The index: host id -> record.
//!
//! A hash table of our own ([`Table`](table::Table)), as the announce by id, which every scheduler calls, waits for little else.
//! After CLHT (T. David, R. Guerraoui, V. Trigonakis, *Asynchronized Concurrency: The Secret to Scaling Concurrent Search Data
//! Structures*, ASPLOS 2015), but it knows no keys: an entry is the number of a record, and the id is beside the record
//! ([`Names`]). It grows in place, a bucket at a time. No operation takes a lock, and a look-up stores nothing. Nobody waits for
//! another thread, but for one case: who registers a host while as many threads as its bucket has empty slots, twelve at least,
//! are held back in the middle of registering hosts of that same bucket, each a few instructions before its end.
//!
//! Ids come from clients, so the hash must resist chosen ones: it is a universal hash with a key that is random per wheel and
//! leaves it in no form ([`hash`]). Hashes only say where to look: ids are compared byte by byte.
//!
//! Models of the rest of the library use one atomic word per id instead ([`model::ModelIndex`]), and leave the table to its own.

mod bucket;
mod hash;
#[cfg(all(test, not(any(loom, shuttle))))]
mod held;
#[cfg(loom)]
mod model;
#[cfg(all(test, loom))]
mod models;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(all(test, not(any(loom, shuttle, miri))))]
mod torture;
#[cfg(any(all(test, not(loom)), fuzzing))]
pub(crate) mod world;

#[cfg(loom)]
pub(crate) use model::ModelIndex;
pub(crate) use table::Table;

use crate::record::{Handle, Identity, Key, Slab};

/// What the liveness layer needs of a map. All methods may be called from any thread, but for [`remove`](Index::remove).
pub(crate) trait Index: Send + Sync + 'static {
    /// What an id is found by.
    fn key<'a>(&self, id: &'a [u8]) -> Key<'a>;
    /// The handle of the record that was entered for an id.
    fn get(&self, names: &impl Names, key: &Key<'_>) -> Option<Handle>;
    /// Enters a record, filled with the id, where the id has none, or in place of the `dead` one.
    fn enter(&self, names: &impl Names, key: &Key<'_>, new: Handle, dead: Option<Handle>) -> Result<(), Refusal>;
    /// Removes a record, if it is still entered. For the one thread that frees records, before it frees this one.
    fn remove(&self, names: &impl Names, identity: Identity, handle: Handle);
    /// Calls `each` for every record until it returns false, and never twice for one id. Those that come or go meanwhile may
    /// be missed.
    fn walk(&self, names: &impl Names, each: &mut dyn FnMut(Handle) -> bool);
}

/// Where the ids are. What is asked about a record may be answered wrongly, but not unsafely, if the record was freed
/// meanwhile: whoever asked finds that out by the entry, which goes before the record is freed.
pub(crate) trait Names {
    /// The generation of a record, if it is the id's. There may be no such record.
    fn generation_of(&self, record: u32, key: &Key<'_>) -> Option<u32>;
    /// The generation of a record.
    fn generation(&self, record: u32) -> u32;
    /// The identity of a record's id.
    fn identity(&self, record: u32) -> Identity;
}

impl Names for Slab {
    #[inline(always)]
    fn generation_of(&self, record: u32, key: &Key<'_>) -> Option<u32> {
        Slab::generation_of(self, record, key)
    }

    fn generation(&self, record: u32) -> u32 {
        self.record(record).generation()
    }

    fn identity(&self, record: u32) -> Identity {
        self.record(record).identity()
    }
}

/// Why a record was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The id has this one.
    Known(Handle),
    /// The id's bucket is full, and the system has no memory for more of them.
    NoRoom,
}
