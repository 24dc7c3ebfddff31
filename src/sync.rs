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

/// A bounded queue that loom and shuttle do not look into: nothing else is ordered by it.
pub(crate) use crossbeam_queue::ArrayQueue;

/// A lock that loom and shuttle do not look into: nobody can be interrupted who holds it.
pub(crate) use std::sync::Mutex as PlainMutex;

/// As [`lock`].
pub(crate) fn lock_plain<T>(mutex: &PlainMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For statistics, which order nothing: loom need not explore them.
pub(crate) use std::sync::atomic::AtomicU64 as StatU64;
