//! An index for models of the rest of the library: ids are one byte, each has one atomic word.

use super::{Index, Names, Refusal};
use crate::record::{Handle, Identity, Key};
use crate::sync::{AtomicU64, Ordering};

pub(crate) struct ModelIndex([AtomicU64; 2]);

impl ModelIndex {
    pub(crate) fn new(_max_hosts: usize) -> std::io::Result<Self> {
        Ok(ModelIndex(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn swap(&self, id: u64, old: u64, new: u64) -> Result<(), u64> {
        self.0[id as usize].compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}

impl Index for ModelIndex {
    fn key<'a>(&self, id: &'a [u8]) -> Key<'a> {
        Key { id, identity: Identity::new(u64::from(id[0]) << 32, id.len()) }
    }

    fn get(&self, _: &impl Names, key: &Key<'_>) -> Option<Handle> {
        Handle::from_raw(self.0[usize::from(key.id[0])].load(Ordering::Acquire))
    }

    fn enter(&self, _: &impl Names, key: &Key<'_>, new: Handle, dead: Option<Handle>) -> Result<(), Refusal> {
        let mut old = dead.map_or(0, Handle::as_raw);
        loop {
            match self.swap(key.id[0].into(), old, new.as_raw()).map_err(Handle::from_raw) {
                Ok(()) => return Ok(()),
                Err(Some(other)) => return Err(Refusal::Known(other)),
                Err(None) => old = 0,
            }
        }
    }

    fn remove(&self, _: &impl Names, identity: Identity, handle: Handle) {
        let _ = self.swap(identity.hash() >> (32 - 11), handle.as_raw(), 0);
    }

    fn walk(&self, _: &impl Names, _: &mut dyn FnMut(Handle) -> bool) {
        unreachable!("no model walks")
    }
}
