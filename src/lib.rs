//! Tells a scheduler, exactly and cheaply, which of its hosts have gone.
//!
//! Hosts announce themselves every so often and say how often. A host that stops must leave, so that no work is sent to
//! it. `hostwheel` schedules each host's expiry in a hierarchical timing wheel (G. Varghese and T. Lauck, "Hashed and
//! Hierarchical Timing Wheels", SOSP 1987) in O(1) and without a lock on every announce, and a dedicated thread fires
//! leave events within milliseconds of the moment they are due, never before.
//!
//! ```
//! use std::time::Duration;
//! use hostwheel::{Config, Event, HostWheel, Verdict};
//!
//! let wheel = HostWheel::start(Config::default(), |event: &Event| {
//!     println!("{event}"); // remove the host, if event.handle() is still the one you know
//!     Verdict::Done
//! })?;
//!
//! // For every announce that arrives:
//! let host = wheel.announce("10.0.0.7:8002", Duration::from_secs(30))?;
//! // or, cheaper, by the handle that the first one returned:
//! wheel.renew(host.handle)?;
//! // A host that says goodbye fires nothing:
//! wheel.leave("10.0.0.7:8002")?;
//!
//! wheel.close(Duration::from_secs(1))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - **Never early:** no leave before last announce + TTL + min(grace, interval), where TTL is twice the announced interval,
//!   in *observed time*: time in which the process was stopped or the thread starved counts against no host. Stamps
//!   carry a margin for what their [`Clock`] may be off by: 1 ms by default.
//! - **Never late:** at most 2 ms and that margin after it, while the thread gets the processor.
//! - **Exactly once** per incarnation of a host when the handler says [`Verdict::Done`], again when it asks for a retry.
//! - **A handle names one incarnation for ever.** A host that comes back gets a new one; compare before you delete.
//! - Announces, renews and leaves of known hosts take no lock, wait for nobody and allocate nothing.
//!
//! See [`HostWheel`] for the calls, [`Handler`] and [`Events`] for the two ways to get events, [`Config`] for the settings.

// Models use a part of the crate.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!(
    "hostwheel needs Linux (timerfd, eventfd, CLOCK_MONOTONIC_COARSE); on other systems use the pure Go backend"
);

// Records and words are 64 bits wide, an atomic one is aligned otherwise on 32-bit x86, and the address space is too small.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("hostwheel needs a 64-bit target; on 32-bit ones use the pure Go backend");

// The README's code is compiled and run by the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod backstop;
mod canary;
mod clock;
mod config;
mod error;
mod event;
#[cfg(not(loom))]
mod expiry;
#[cfg(all(test, loom))]
mod exploring;
mod guard;
#[cfg(all(test, not(any(loom, shuttle))))]
mod holding;
#[cfg(not(loom))]
mod host_wheel;
mod index;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod internal;
mod liveness;
mod memory;
mod pause;
mod record;
#[cfg(all(test, not(loom)))]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
#[cfg(not(loom))]
mod snapshot;
mod stats;
mod sync;
mod tick;
mod wheel;

pub use config::{Brake, Clock, Config, LONGEST, MOST_HOSTS};
pub use error::{
    AdvanceError, AnnounceError, CloseError, ConfigError, LONGEST_ID, LeaveError, LookupError, OpenError, ReleaseError,
    RenewError, RestoreError, SettleError, SnapshotError,
};
pub use event::{Event, EventKind, GuardEvent, GuardKind, Handler, HostId, Reason, Verdict};
#[cfg(not(loom))]
pub use expiry::Events;
#[cfg(not(loom))]
pub use host_wheel::HostWheel;
pub use liveness::{Announced, Interval, Outcome, Replaced};
pub use record::Handle;
#[cfg(not(loom))]
pub use snapshot::Restored;
pub use stats::{Hold, HostState, HostStatus, HostView, LATENESS_BOUNDS_MS, STEP_BOUNDS_US, Stats};
