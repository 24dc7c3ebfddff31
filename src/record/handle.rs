//! Handles: the name of one incarnation of one host, for ever.

use std::fmt;
use std::num::NonZeroU64;

/// Names one incarnation of one host: its record's index and the record's generation at that time.
///
/// A host that comes back after it left gets a new handle, and no handle is issued twice in the life of a wheel, so a late
/// leave event can never be taken for the host's new life: compare the handles, then delete. A handle is a plain number
/// that may be stored and sent; one of another wheel, an old one or an invented one gets an error from every call, never
/// undefined behaviour. It is never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

impl Handle {
    /// Puts a handle together; `generation` 0 is never used.
    pub(crate) fn new(index: u32, generation: u32) -> Handle {
        debug_assert_ne!(generation, 0, "generation 0 is never issued");
        let raw = u64::from(generation) << 32 | u64::from(index);
        // A generation is at least 1, so the fallback is never taken.
        Handle(NonZeroU64::new(raw).unwrap_or(NonZeroU64::MIN))
    }

    /// The handle of a number that [`as_raw`](Self::as_raw) gave; `None` for one that it never gives, 0 among them.
    pub fn from_raw(raw: u64) -> Option<Handle> {
        let handle = NonZeroU64::new(raw).map(Handle)?;
        // A record that was never used has generation 0.
        (handle.generation() != 0).then_some(handle)
    }

    /// The handle as a number, for storing or sending it.
    pub fn as_raw(self) -> u64 {
        self.0.get()
    }

    /// The index of the record.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0.get() as u32
    }

    /// The generation of the record.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_keeps_index_and_generation_and_is_never_zero() {
        for (index, generation) in [(0, 1), (u32::MAX, u32::MAX), (7, 1 << 31)] {
            let handle = Handle::new(index, generation);
            assert_eq!((handle.index(), handle.generation()), (index, generation));
            assert_eq!(Handle::from_raw(handle.as_raw()), Some(handle));
        }
        assert_eq!(Handle::from_raw(0), None);
        assert_eq!(Handle::from_raw(u64::from(u32::MAX)), None, "no handle has generation 0");
    }
}
