//! Memory that the system may refuse: whoever asks gets an error, and the process goes on.
//!
//! - [`Space`]: address space for very many things of one kind, which gets memory as they come into use.
//! - [`zeroed`] and [`boxed`]: allocations that may fail.
//! - [`ask`]: whether there is memory for what others allocate, and cannot fail politely.

mod space;

use std::io;

pub(crate) use space::{Space, Zeroed};

use crate::sync::AtomicU64;

/// Atomic words that are zero; of a large array the system provides only the parts that are used.
pub(crate) fn zeroed(words: usize) -> io::Result<Box<[AtomicU64]>> {
    #[cfg(not(loom))]
    {
        let layout = std::alloc::Layout::array::<AtomicU64>(words).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if layout.size() == 0 {
            return Ok(Box::default());
        }
        // SAFETY: the layout is not empty.
        let first = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<AtomicU64>();
        if first.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: allocated with the layout of a box of so many, for which zeros are a value.
        Ok(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, words)) })
    }
    #[cfg(loom)]
    Ok((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// A value on the heap, if there is memory.
pub(crate) fn boxed<T>(value: T) -> Option<Box<[T]>> {
    let mut values = Vec::new();
    values.try_reserve_exact(1).ok()?;
    values.push(value);
    Some(values.into_boxed_slice())
}

/// Whether the system has memory for allocations of these sizes that cannot fail politely, because others make them. They are
/// made and given back.
#[cfg(not(loom))]
pub(crate) fn ask<const N: usize>(sizes: [usize; N]) -> io::Result<()> {
    let mut parts: [Vec<u8>; N] = [const { Vec::new() }; N];
    for (part, size) in parts.iter_mut().zip(sizes) {
        part.try_reserve_exact(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    }
    // An allocation that nobody looks at may be left out.
    std::hint::black_box(&parts);
    Ok(())
}

/// Whether there is memory for what opening a wheel allocates in small pieces. They are small enough that the allocator keeps
/// what it got for them.
#[cfg(not(loom))]
pub(crate) fn ask_for_opening() -> io::Result<()> {
    ask([32 << 10; 4])
}

/// Whether there is memory for a thread with such a stack: a start that fails half-way ends the process.
#[cfg(not(loom))]
pub(crate) fn ask_for_thread(stack_size: usize) -> io::Result<()> {
    /// Beside its stack: a guard page, thread-locals, a stack for the handler of its overflow.
    const MORE: usize = 512 << 10;
    ask([stack_size.saturating_add(MORE)])?;
    ask_for_opening()
}

/// Whether a test wants memory to be refused now.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn is_refused() -> bool {
    false
}

#[cfg(test)]
pub(crate) use refusing::is_refused;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use refusing::refuse;

#[cfg(test)]
mod refusing {
    use std::cell::Cell;

    thread_local! {
        static REFUSALS: Cell<u32> = const { Cell::new(0) };
    }

    /// Has the next `times` requests of this thread refused.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) fn refuse(times: u32) {
        REFUSALS.set(times);
    }

    pub(crate) fn is_refused() -> bool {
        let left = REFUSALS.get();
        REFUSALS.set(left.saturating_sub(1));
        left > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn words_are_zero_and_too_many_are_refused() {
        for words in [0, 1, 1000] {
            let words_of = zeroed(words).expect("there is memory");
            assert_eq!(words_of.len(), words);
            assert!(words_of.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }
        for words in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            assert!(words < usize::MAX / 8 && cfg!(miri) || zeroed(words).is_err(), "{words}");
        }
    }

    #[test]
    fn a_value_is_boxed_and_dropped_once() {
        let value = std::rc::Rc::new(());
        let own = boxed(value.clone()).expect("there is memory");
        assert_eq!(std::rc::Rc::strong_count(&value), 2);
        drop(own);
        assert_eq!(std::rc::Rc::strong_count(&value), 1);
        ask([1, 1 << 20]).expect("there is memory");
        assert!(ask([usize::MAX]).is_err());
        // Miri refuses no memory: it ends.
        assert!(cfg!(miri) || ask([1, isize::MAX as usize]).is_err());
    }
}
