//! Room for very many things of one kind: address space for all that there may be, reserved once, which gets memory as they
//! come into use. Where a thing is follows from its number by one multiplication, and never changes.

use std::io;
use std::ptr::NonNull;

/// What a space may hold: something that is valid as zeros, and that all threads may use.
///
/// # Safety
/// Zeros are a valid value, which may be read where nothing may be written. Nothing needs to be dropped.
pub(crate) unsafe trait Zeroed: Sync {
    /// The value of zeros. Models build what they use: loom's atomics are no numbers.
    #[cfg(loom)]
    fn zeroed() -> Self;
}

/// Room for things in one piece. Those that were never [`back`](Self::back)ed are zero and must not be written to.
pub(crate) struct Space<T: Zeroed> {
    base: NonNull<T>,
    len: usize,
}

// SAFETY: it owns what is in it, which all threads may use.
unsafe impl<T: Zeroed> Send for Space<T> {}
// SAFETY: see above.
unsafe impl<T: Zeroed> Sync for Space<T> {}

impl<T: Zeroed> Space<T> {
    /// Where the first one is; the others follow it.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn base(&self) -> NonNull<T> {
        self.base
    }

    /// The thing with this number.
    ///
    /// # Safety
    /// The space was reserved for more than `index` things.
    #[inline]
    pub(crate) unsafe fn at(&self, index: usize) -> &T {
        debug_assert!(index < self.len);
        // SAFETY: within the space, where zeros are a value; it lives as long as the space.
        unsafe { self.base.add(index).as_ref() }
    }
}

/// Memory is given in steps of this many bytes: the largest page of the architectures that there are.
#[cfg(not(any(loom, miri)))]
const STEP: usize = 64 << 10;

/// So much at once comes in huge pages, if the system has them: it will all be used, and in no order.
#[cfg(not(any(loom, miri)))]
const LARGE: usize = 4 << 20;

#[cfg(not(any(loom, miri)))]
impl<T: Zeroed> Space<T> {
    fn bytes(len: usize) -> usize {
        (len * size_of::<T>()).next_multiple_of(STEP)
    }

    /// Reserves addresses. No memory is used or promised yet: whoever reads it sees the system's page of zeros.
    pub(crate) fn reserve(len: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::bytes(len),
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A page is aligned more strictly than what is kept here; the system maps nothing at null.
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Space { base, len })
    }

    /// Gives memory, all zero, to the things from `first` to before `end`, and to their neighbours up to whole pages. Those that have
    /// it already stay as they are. Any thread may call this at any time.
    pub(crate) fn back(&self, first: usize, end: usize) -> io::Result<()> {
        debug_assert!(first < end && end <= self.len);
        let from = first * size_of::<T>() / STEP * STEP;
        let length = Self::bytes(end) - from;
        // SAFETY: part of our own mapping; what it holds is not changed.
        unsafe {
            let first_page = self.base.byte_add(from).as_ptr().cast();
            if length >= LARGE {
                // Refused by a system that has none: then not.
                libc::madvise(first_page, length, libc::MADV_HUGEPAGE);
            }
            match libc::mprotect(first_page, length, libc::PROT_READ | libc::PROT_WRITE) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

#[cfg(not(any(loom, miri)))]
impl<T: Zeroed> Drop for Space<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and its owner has no use for it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::bytes(self.len)) };
    }
}

/// Models have few things, whose atomics must be built: all at once.
#[cfg(loom)]
impl<T: Zeroed> Space<T> {
    pub(crate) fn reserve(len: usize) -> io::Result<Self> {
        let things: Box<[T]> = (0..len).map(|_| T::zeroed()).collect();
        let base = NonNull::new(Box::into_raw(things).cast()).expect("a box is not null");
        Ok(Space { base, len })
    }

    pub(crate) fn back(&self, _first: usize, _end: usize) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(loom)]
impl<T: Zeroed> Drop for Space<T> {
    fn drop(&mut self) {
        // SAFETY: came from `Box::into_raw`, with this length.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.base.as_ptr(), self.len)) });
    }
}

/// Miri knows no memory that is only reserved: all of it is there, from the start.
#[cfg(miri)]
impl<T: Zeroed> Space<T> {
    fn layout(len: usize) -> std::alloc::Layout {
        std::alloc::Layout::array::<T>(len).expect("tests under Miri are small")
    }

    pub(crate) fn reserve(len: usize) -> io::Result<Self> {
        assert!(len > 0 && size_of::<T>() > 0);
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc_zeroed(Self::layout(len)) };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Space { base, len })
    }

    pub(crate) fn back(&self, first: usize, end: usize) -> io::Result<()> {
        assert!(first < end && end <= self.len);
        Ok(())
    }
}

#[cfg(miri)]
impl<T: Zeroed> Drop for Space<T> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and its owner has no use for it any more.
        unsafe { std::alloc::dealloc(self.base.as_ptr().cast(), Self::layout(self.len)) };
    }
}
