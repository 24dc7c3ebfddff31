//! The only place that names `std::sync`, loom or shuttle: everything shared between threads comes from here.

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
    sync::{Arc, Mutex},
};
#[cfg(not(any(loom, all(test, shuttle))))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};

use std::sync::PoisonError;

#[cfg(all(test, shuttle))]
#[path = "sync/scheduled.rs"]
mod scheduled;
#[cfg(all(test, shuttle))]
pub(crate) use scheduled::*;

/// Locks a mutex whose data stay consistent whoever panicked with it held: all critical sections are single updates.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(loom)]
pub(crate) use loom::sync::MutexGuard;
#[cfg(not(any(loom, all(test, shuttle))))]
pub(crate) use std::sync::MutexGuard;

/// Lets other threads get on, for whom the caller has to wait.
#[cfg(not(any(loom, all(test, shuttle))))]
pub(crate) fn give_way() {
    std::thread::yield_now();
}

#[cfg(loom)]
pub(crate) use loom::thread::yield_now as give_way;

/// Makes loom consider a switch to another thread here.
///
/// Loom explores a switch only before an access that conflicts with the last one to the same atomic. A thread that loads an
/// atomic and then changes it hides, by its own load, that another thread's load before that conflicts with the change
/// (loom 0.7.3 remembers one access per atomic), and "load, then CAS" is what announcers do. Accesses to this word conflict
/// always, and being relaxed they order nothing.
#[cfg(loom)]
pub(crate) fn interleave() {
    loom::lazy_static! {
        static ref TURNSTILE: AtomicU64 = AtomicU64::new(0);
    }
    TURNSTILE.fetch_add(1, Ordering::Relaxed);
}

#[cfg(not(any(loom, all(test, shuttle))))]
pub(crate) use crossbeam_queue::ArrayQueue;

/// The drain queue for models: loom does not look into crossbeam's, so its length is an atomic of loom's, with the weakest
/// orderings that a bounded queue can have.
#[cfg(loom)]
pub(crate) struct ArrayQueue<T>(crossbeam_queue::ArrayQueue<T>, AtomicU64);

#[cfg(loom)]
impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        ArrayQueue(crossbeam_queue::ArrayQueue::new(capacity), AtomicU64::new(0))
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        self.0.push(value)?;
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let value = self.0.pop()?;
        self.1.fetch_sub(1, Ordering::Relaxed);
        Some(value)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.1.load(Ordering::Relaxed) == self.0.capacity() as u64
    }
}

/// For statistics, which order nothing: loom need not explore them.
pub(crate) use std::sync::atomic::AtomicU64 as StatU64;
