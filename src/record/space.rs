//! Where the records are: address space for all that there may be, reserved once, which gets memory as records come into
//! use. A record's address follows from its index by one multiplication, and never changes.

use std::io;
use std::ptr::NonNull;

use super::line::Record;

/// Room for records in one piece. Those that were never [`back`](Self::back)ed are zero and must not be written to.
pub(super) struct Space {
    base: NonNull<Record>,
    records: usize,
}

impl Space {
    /// Where record 0 is.
    #[inline]
    pub(super) fn base(&self) -> NonNull<Record> {
        self.base
    }
}

#[cfg(not(loom))]
impl Space {
    /// Reserves addresses. No memory is used or promised yet: whoever reads it sees the system's page of zeros.
    pub(super) fn reserve(records: usize) -> io::Result<Space> {
        // SAFETY: a new anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                records * size_of::<Record>(),
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A page is aligned more strictly than a record; the system maps nothing at null.
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Space { base, records })
    }

    /// Gives memory, all zero, to the records from `first` to before `end`, which together fill whole pages.
    pub(super) fn back(&self, first: usize, end: usize) -> io::Result<()> {
        debug_assert!(first < end && end <= self.records);
        // SAFETY: part of our own mapping, of which nothing is in use yet.
        let refused = unsafe {
            let first_record = self.base.add(first);
            let bytes = (end - first) * size_of::<Record>();
            libc::mprotect(first_record.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE)
        };
        if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(not(loom))]
impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and its owner has no use for it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.records * size_of::<Record>()) };
    }
}

/// Models have few records, whose atomics must be built: all at once.
#[cfg(loom)]
impl Space {
    pub(super) fn reserve(records: usize) -> io::Result<Space> {
        let records: Box<[Record]> = (0..records).map(|_| Record::new()).collect();
        let len = records.len();
        let base = NonNull::new(Box::into_raw(records).cast()).expect("a box is not null");
        Ok(Space { base, records: len })
    }
}

#[cfg(loom)]
impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: came from `Box::into_raw`, with this length.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.base.as_ptr(), self.records)) });
    }
}
