//! The hard room: records, the word that holds the truth about a host, and what keeps them safe without locks.
//!
//! # Ground rules
//!
//! 1. **One word holds the truth.** Last announce, interval and state change together, in one CAS ([`Word`]). What else a
//!    record holds is either written before the word says so (`id`, `user_data`) or only a hint (`armed`, place, flags).
//! 2. **No word of one incarnation occurs in a later one.** A Free word keeps its last announce as the floor; Reserved is
//!    stored with floor + 1, Live with at least that; the thread frees a record only once wheel time has passed its last
//!    announce. So a CAS that succeeds proves that everything read of the record after that word was loaded, its
//!    generation among it, belonged to that incarnation.
//! 3. **The generation changes at free**, before the word becomes Free. Handle = index and generation; a record whose
//!    generations are used up is retired, so no handle is ever issued twice.
//! 4. **The id is written by its registrant only**, while the word is Reserved and the index does not know the record. Anybody
//!    may read it, of a record that the index named or that was seen alive, and must find out afterwards whether the index
//!    entry, or the generation, is still the same: else it may have been another host's.
//! 5. **The thread alone frees**: it alone stores Free, pushes the free list, writes `armed`, place and flags.
//! 6. **Who must be noticed, marks.** [Dirty bits](dirty) are set with read-modify-writes at all three levels,
//!    always, because a bit that is set already does not prove that its owner came to the next level yet.
//!
//! # States
//!
//! ```text
//!            registrant               registrant or helper
//!   Free ----------------> Reserved ------------------------> Live <---------------> Suspect
//!    ^                        |                                |  \    thread: TTL     |   \
//!    |                        | lost the race for its id       |   \   announcer:      |    \
//!    |                        v                                |    \  heard again     |     \
//!    |                       Left <----------------------------+-----\-----------------+      |
//!    |                        |            goodbye (anyone)           \                       |
//!    |        thread          |                                        \ thread: due          | thread: due
//!    +------------------------+                                         v                     v
//!    +------------------------------------------------------------------------- Taken <-------+
//!             thread, when the consumer said Done
//! ```
//!
//! # Who orders what
//!
//! Each atomic ordering names its partner where it stands. Models of this room and of its users run under loom
//! (`src/liveness/models`, `src/index/models.rs`), on this very code with narrower bitmap words.

mod dirty;
mod free;
mod handle;
mod ids;
mod line;
mod slab;
mod word;

pub(crate) use dirty::Collector;
pub use handle::Handle;
pub(crate) use ids::{IdBuffer, Identity, Key, NoMemory};
pub(crate) use line::{BORN_LATE, HELD, LINGERED, RESCUED, Record, SUSPECTED, TOLD};
pub(crate) use slab::{ReserveError, Slab};
pub(crate) use word::{Cadence, LAST_TICK, Stamp, State, Word};

/// `armed` of a record that nobody has placed since it was reserved.
pub(crate) const NONE: crate::tick::Tick = crate::tick::Tick::MAX;

/// Starts the load of a line.
#[inline]
pub(crate) fn prefetch<T>(line: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch of a valid address; it has no effect but on caches.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(std::ptr::from_ref(line).cast(), _MM_HINT_T0);
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = line;
}
