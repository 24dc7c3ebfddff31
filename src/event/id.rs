//! A host's id in an event: bytes with a count of references in one allocation, which may fail (std's `Arc` aborts then).

use std::alloc::{Layout, alloc, dealloc};
use std::borrow::Borrow;
use std::cmp::Ordering as Comparison;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// The count of references and the length, before the bytes.
struct Header {
    references: AtomicUsize,
    length: usize,
}

/// A host's id, as it was announced. Shared, so that a clone allocates nothing.
pub struct HostId(NonNull<Header>);

// SAFETY: the bytes never change, and the references are counted by an atomic.
unsafe impl Send for HostId {}
// SAFETY: see above.
unsafe impl Sync for HostId {}

impl HostId {
    /// A copy of the id; `None` if there is no memory.
    pub(crate) fn new(id: &[u8]) -> Option<HostId> {
        // SAFETY: a header is not empty.
        let header = NonNull::new(unsafe { alloc(layout(id.len())) }.cast::<Header>())?;
        // SAFETY: allocated for a header and so many bytes after it.
        unsafe {
            header.write(Header { references: AtomicUsize::new(1), length: id.len() });
            header.add(1).cast::<u8>().copy_from_nonoverlapping(NonNull::from(id).cast(), id.len());
        }
        Some(HostId(header))
    }

    fn header(&self) -> &Header {
        // SAFETY: it lives while there is a reference.
        unsafe { self.0.as_ref() }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes, written by `new`, stand behind the header.
        unsafe { NonNull::slice_from_raw_parts(self.0.add(1).cast(), self.header().length).as_ref() }
    }
}

/// Of a header and the bytes behind it.
fn layout(length: usize) -> Layout {
    let bytes = Layout::array::<u8>(length).expect("a slice has so many bytes");
    Layout::new::<Header>().extend(bytes).expect("an id is short").0
}

impl Clone for HostId {
    fn clone(&self) -> HostId {
        // Relaxed: who has a reference may make another one. More than half of the numbers are never reached by references that
        // are dropped, and those that are leaked may not wrap.
        let before = self.header().references.fetch_add(1, Ordering::Relaxed);
        if before > usize::MAX / 2 {
            std::process::abort();
        }
        HostId(self.0)
    }
}

impl Drop for HostId {
    fn drop(&mut self) {
        // Release, and acquire for the last one: whatever others did with the bytes comes before they are freed.
        if self.header().references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            let layout = layout(self.header().length);
            // SAFETY: allocated with this layout, and this was the last reference.
            unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

impl PartialEq for HostId {
    fn eq(&self, other: &HostId) -> bool {
        **self == **other
    }
}

impl Eq for HostId {}

impl PartialOrd for HostId {
    fn partial_cmp(&self, other: &HostId) -> Option<Comparison> {
        Some(self.cmp(other))
    }
}

impl Ord for HostId {
    fn cmp(&self, other: &HostId) -> Comparison {
        (**self).cmp(&**other)
    }
}

impl Deref for HostId {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Borrow<[u8]> for HostId {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl std::hash::Hash for HostId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// As UTF-8 where it is, other bytes and control characters escaped.
impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_lives_as_long_as_a_reference_to_it() {
        for length in [0, 1, 7, 8, 64, 1024] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let id = HostId::new(&bytes).expect("there is memory");
            let clones: Vec<HostId> = (0..10).map(|_| id.clone()).collect();
            drop(id);
            std::thread::scope(|scope| {
                clones.into_iter().for_each(|clone| {
                    let bytes = &bytes;
                    scope.spawn(move || assert_eq!(*clone, **bytes));
                });
            });
        }
    }

    #[test]
    fn ids_compare_by_their_bytes() {
        let id = |bytes: &[u8]| HostId::new(bytes).expect("there is memory");
        assert_eq!(id(b"a"), id(b"a"));
        assert!(id(b"a") < id(b"aa") && id(b"aa") < id(b"b"));
    }
}
