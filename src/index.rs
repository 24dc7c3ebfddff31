//! The index: host id -> handle.
//!
//! A trait of our own over a concurrent map. The shipped one is papaya, with SipHash keyed at random per wheel, so that
//! nobody can choose ids that collide. Look-ups take no lock; an insertion may wait while the table grows. Models use one
//! atomic word per id instead (`ModelIndex`): a lock in a model would order more than the protocol does.

#[cfg(not(loom))]
use std::hash::{BuildHasher, Hash, RandomState};

use crate::event::HostId;
use crate::record::Handle;

/// What the liveness layer needs of a map. All methods may be called from any thread.
pub(crate) trait Index: Send + Sync + 'static {
    /// The handle of `id`.
    fn get(&self, id: &[u8]) -> Option<Handle>;
    /// Inserts `handle` where the id has no entry; else returns the entry.
    fn insert(&self, id: &HostId, handle: Handle) -> Result<(), Handle>;
    /// Replaces the entry `old` by `new`; false if it is not `old` any more.
    fn replace(&self, id: &HostId, old: Handle, new: Handle) -> bool;
    /// Removes the entry if it is `handle`.
    fn remove(&self, id: &HostId, handle: Handle);
    /// Calls `each` for every entry until it returns false. Entries that come or go meanwhile may be missed.
    fn walk(&self, each: &mut dyn FnMut(&[u8], Handle) -> bool);
}

/// A key: an id, hashed as its bytes alone.
#[cfg(not(loom))]
#[derive(PartialEq, Eq)]
struct Key(HostId);

/// A key to look up, without a copy of the id.
#[cfg(not(loom))]
struct Probe<'a>(&'a [u8]);

#[cfg(not(loom))]
impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Probe(&self.0).hash(state);
    }
}

#[cfg(not(loom))]
impl Hash for Probe<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // The id is all there is to the key: no length prefix is needed to tell it from what follows.
        state.write(self.0);
    }
}

#[cfg(not(loom))]
impl papaya::Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.0
    }
}

/// The shipped index.
#[cfg(not(loom))]
pub(crate) struct PapayaIndex<S = RandomState>(papaya::HashMap<Key, Handle, S>);

#[cfg(not(loom))]
impl PapayaIndex {
    pub(crate) fn new() -> Self {
        PapayaIndex(papaya::HashMap::with_hasher(RandomState::new()))
    }
}

#[cfg(not(loom))]
impl<S> PapayaIndex<S> {
    /// The map, about to be used. It is not instrumented: in schedules each use is one step, and there is a switch before it.
    #[inline(always)]
    fn map(&self) -> &papaya::HashMap<Key, Handle, S> {
        #[cfg(all(test, shuttle))]
        crate::sync::interleave();
        &self.0
    }
}

#[cfg(not(loom))]
impl<S: BuildHasher + Send + Sync + 'static> Index for PapayaIndex<S> {
    fn get(&self, id: &[u8]) -> Option<Handle> {
        self.map().pin().get(&Probe(id)).copied()
    }

    fn insert(&self, id: &HostId, handle: Handle) -> Result<(), Handle> {
        match self.map().pin().try_insert(Key(id.clone()), handle) {
            Ok(_) => Ok(()),
            Err(occupied) => Err(*occupied.current),
        }
    }

    fn replace(&self, id: &HostId, old: Handle, new: Handle) -> bool {
        let map = self.map().pin();
        let replaced = map.compute(Key(id.clone()), |entry| match entry {
            Some((_, handle)) if *handle == old => papaya::Operation::Insert(new),
            _ => papaya::Operation::Abort(()),
        });
        matches!(replaced, papaya::Compute::Updated { .. })
    }

    fn remove(&self, id: &HostId, handle: Handle) {
        // An entry of another incarnation stays, and is none of ours.
        let _ = self.map().pin().remove_if(&Probe(id), |_, entry| *entry == handle);
    }

    fn walk(&self, each: &mut dyn FnMut(&[u8], Handle) -> bool) {
        for (key, handle) in &self.map().pin() {
            if !each(&key.0, *handle) {
                return;
            }
        }
    }
}

/// An index for models: ids are one byte, each has one atomic word.
#[cfg(loom)]
pub(crate) struct ModelIndex([crate::sync::AtomicU64; 2]);

#[cfg(loom)]
impl ModelIndex {
    pub(crate) fn new() -> Self {
        ModelIndex(std::array::from_fn(|_| crate::sync::AtomicU64::new(0)))
    }

    fn swap(&self, id: &[u8], old: u64, new: u64) -> Result<(), u64> {
        use crate::sync::Ordering::{AcqRel, Acquire};
        self.0[usize::from(id[0])].compare_exchange(old, new, AcqRel, Acquire).map(|_| ())
    }
}

#[cfg(loom)]
impl Index for ModelIndex {
    fn get(&self, id: &[u8]) -> Option<Handle> {
        Handle::from_raw(self.0[usize::from(id[0])].load(crate::sync::Ordering::Acquire))
    }

    fn insert(&self, id: &HostId, handle: Handle) -> Result<(), Handle> {
        self.swap(id, 0, handle.as_raw()).map_err(|raw| Handle::from_raw(raw).expect("0 would have matched"))
    }

    fn replace(&self, id: &HostId, old: Handle, new: Handle) -> bool {
        self.swap(id, old.as_raw(), new.as_raw()).is_ok()
    }

    fn remove(&self, id: &HostId, handle: Handle) {
        let _ = self.swap(id, handle.as_raw(), 0);
    }

    fn walk(&self, _each: &mut dyn FnMut(&[u8], Handle) -> bool) {
        unreachable!("no model walks")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn handle(n: u32) -> Handle {
        Handle::new(n, 1)
    }

    #[test]
    fn entries_are_exact() {
        let index = PapayaIndex::new();
        let id = HostId::new(b"a\0b");
        assert_eq!(index.get(b"a\0b"), None);
        assert_eq!(index.insert(&id, handle(1)), Ok(()));
        assert_eq!(index.insert(&id, handle(2)), Err(handle(1)));
        assert!(!index.replace(&id, handle(2), handle(3)));
        assert!(index.replace(&id, handle(1), handle(3)));
        index.remove(&id, handle(1));
        assert_eq!(index.get(b"a\0b"), Some(handle(3)), "another incarnation's entry stays");
        index.remove(&id, handle(3));
        assert_eq!(index.get(b"a\0b"), None);
        assert!(!index.replace(&id, handle(3), handle(4)), "what is gone is not replaced");
    }

    #[test]
    fn a_walk_sees_all_and_stops_when_told() {
        let index = PapayaIndex::new();
        for n in 0..100u8 {
            index.insert(&HostId::new(&[n]), handle(u32::from(n))).unwrap();
        }
        let mut seen = 0;
        index.walk(&mut |_, _| {
            seen += 1;
            true
        });
        assert_eq!(seen, 100);
        seen = 0;
        index.walk(&mut |_, _| {
            seen += 1;
            seen < 10
        });
        assert_eq!(seen, 10);
    }
}
