//! What the Go package needs beyond the public calls. Not public API: it may change with any version, which is why the layout
//! bears a number of its own.
//!
//! A renew by way of cgo would cost more than the renew. So Go swaps the record's word itself, with the steps of
//! `Shared::touch_plainly`, and calls for everything that those steps leave to others.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::error::RenewError;
use crate::host_wheel::HostWheel;
use crate::liveness::{Announced, Interval};
use crate::record::{Handle, Record};

/// The planted bug that fuzzing looks for: those of the C ABI are in its crate.
#[cfg(all(fuzzing, not(test)))]
pub fn canary() -> Option<&'static str> {
    crate::canary::named()
}

/// The index by itself, for fuzzing.
#[cfg(fuzzing)]
pub use crate::index::world::World as IndexWorld;

/// Raised when what a [`Layout`] says, or what its reader may conclude from it, changes: the word's parts, the meaning of
/// `armed`, the steps of a renew.
pub const LAYOUT_VERSION: u32 = 1;

/// Where a wheel keeps what a renew touches. The addresses are good for as long as the wheel lives.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The record with index 0. Those below the index of any handle given out can be read.
    pub records: *const u8,
    /// From one record to the next, in bytes.
    pub record_size: usize,
    /// Where in a record its word is, an atomic u64.
    pub word: usize,
    /// The tick at which the thread looks at the record, an atomic u64.
    pub armed: usize,
    /// The generation of the current handle, an atomic u32.
    pub generation: usize,
    /// What makes a stamp, in nanoseconds, of a reading of the wheel's clock; it may wrap.
    pub shift_ns: *const AtomicU64,
    /// The bound of plain stamps.
    pub plain_until: *const AtomicU64,
    /// The clock's reading, since open, at the last look that was late, and by how much.
    pub raised_ns: *const AtomicU64,
    /// See `raised_ns`.
    pub raised_by_ns: *const AtomicU64,
    /// The clock read just now, as announcers read it; 0 for a manual one.
    pub reading_ns: u64,
    /// Its reading at the opening.
    pub base_ns: u64,
}

impl HostWheel {
    /// See [`Layout`].
    #[doc(hidden)]
    pub fn layout(&self) -> Layout {
        let shared = self.shared();
        // By layout these are std's, whatever stands around them in tests (`sync`).
        let [shift_ns, plain_until, raised_ns, raised_by_ns] =
            shared.clock.for_stamps().map(|number| std::ptr::from_ref(number).cast());
        let (word, armed, generation) = Record::OFFSETS;
        Layout {
            records: shared.slab.base().cast(),
            record_size: size_of::<Record>(),
            word,
            armed,
            generation,
            shift_ns,
            plain_until,
            raised_ns,
            raised_by_ns,
            reading_ns: shared.clock.announcers_ns().unwrap_or(0),
            base_ns: shared.clock.base_ns(),
        }
    }

    /// From now on, which is before the first host, a drained suspect event counts as seen when `told` says so: for a consumer
    /// that hands events on to others.
    #[doc(hidden)]
    pub fn tells(&self) {
        self.shared().tells();
    }

    /// The consumer has seen the suspect event of a host: that may be taken from now on.
    #[doc(hidden)]
    pub fn told(&self, handle: Handle) {
        self.shared().told(handle);
    }

    /// An announce of a host by its handle, with its interval.
    ///
    /// # Errors
    /// The host has left, or was handed out as a leave; or the wheel is closed.
    #[doc(hidden)]
    pub fn announce_handle(&self, handle: Handle, interval: Interval, age: Duration) -> Result<Announced, RenewError> {
        self.shared().announce_handle(handle, interval, age)
    }
}
