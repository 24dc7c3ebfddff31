//! Under Shuttle, threads are coroutines that one scheduler switches, and every access to shared memory is a place to switch.
//!
//! The atomics are std's with a switch before each access, not Shuttle's own: those are larger, and the slab takes its
//! records from the system as zeros, a cache line each. Outside of a schedule they are std's and nothing else. All threads
//! run on one of the system's, so every ordering is as good as SeqCst: orderings are loom's business.

use std::time::Duration;

pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use shuttle::thread_local;
pub(crate) use std::sync::atomic::{Ordering, fence};

/// What schedules are made of, for the tests alone.
pub(crate) use shuttle::{Config as SchedulerConfig, Runner, rand, scheduler, thread as scheduled_thread};

/// Lets the scheduler switch to another thread here.
#[track_caller]
pub(crate) fn interleave() {
    // A panic unwinds in one go: what it drops is of no interest, and must not fail once more.
    if !std::thread::panicking() && shuttle::current::try_get_current_task().is_some() {
        // Time does not pass under Shuttle: a sleep is a switch. `yield_now` would lower the thread's priority as well.
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Lets other threads get on, for whom the caller has to wait.
pub(crate) fn give_way() {
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::yield_now();
    }
}

/// An atomic of std's that is a place to switch.
macro_rules! atomic {
    ($($name:ident: $value:ty { $($op:ident($($arg:ident: $of:ty),*) -> $result:ty;)* })*) => {$(
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(std::sync::atomic::$name);

        // Not every type needs every operation.
        #[allow(dead_code)]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                $name(std::sync::atomic::$name::new(value))
            }

            $(pub(crate) fn $op(&self, $($arg: $of),*) -> $result {
                interleave();
                self.0.$op($($arg),*)
            })*
        }
    )*};
}

macro_rules! atomic_integers {
    ($($name:ident: $value:ty),*) => { atomic! {$(
        $name: $value {
            load(order: Ordering) -> $value;
            store(value: $value, order: Ordering) -> ();
            swap(value: $value, order: Ordering) -> $value;
            fetch_add(value: $value, order: Ordering) -> $value;
            fetch_sub(value: $value, order: Ordering) -> $value;
            fetch_or(value: $value, order: Ordering) -> $value;
            fetch_max(value: $value, order: Ordering) -> $value;
            compare_exchange(old: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value>;
            compare_exchange_weak(old: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value>;
        }
    )*} };
}

atomic_integers!(AtomicU32: u32, AtomicU64: u64);

/// The thread's own fields and flags set before anybody else knows the record: nothing to switch for.
pub(crate) use std::sync::atomic::AtomicU16;

/// Where memory for long ids is, which is made once.
pub(crate) use std::sync::atomic::AtomicPtr;

atomic! {
    AtomicBool: bool {
        load(order: Ordering) -> bool;
        store(value: bool, order: Ordering) -> ();
        swap(value: bool, order: Ordering) -> bool;
    }
}
