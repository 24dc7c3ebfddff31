//! What is promised, and where it was broken.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What the library promises and the soak holds it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    NeverEarly,
    NeverMissing,
    NeverDouble,
    HandleOnce,
    GoodbyeSilent,
    AnnounceAccepted,
    NoRescue,
    StatsAgree,
    Flat,
}

impl Promise {
    pub const ALL: [Promise; 9] = [
        Promise::NeverEarly,
        Promise::NeverMissing,
        Promise::NeverDouble,
        Promise::HandleOnce,
        Promise::GoodbyeSilent,
        Promise::AnnounceAccepted,
        Promise::NoRescue,
        Promise::StatsAgree,
        Promise::Flat,
    ];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::NeverEarly => "no false leave: none before TTL and grace",
            Promise::NeverMissing => "no missing leave: every silent host leaves in time",
            Promise::NeverDouble => "no double leave: one for each incarnation",
            Promise::HandleOnce => "no handle is issued twice",
            Promise::GoodbyeSilent => "no leave of a host that said goodbye",
            Promise::AnnounceAccepted => "every call is accepted that has to be",
            Promise::NoRescue => "the back-stop finds nothing to rescue",
            Promise::StatsAgree => "the wheel counts what happened",
            Promise::Flat => "memory, descriptors, threads and lateness stay flat",
        })
    }
}

/// How many breaches of each promise are kept in words.
const KEPT: usize = 5;

#[derive(Default)]
struct Broken {
    times: u64,
    words: Vec<String>,
}

/// The breaches of a run; all threads add to them.
#[derive(Default)]
pub struct Breaches([Mutex<Broken>; Promise::ALL.len()]);

impl Breaches {
    pub fn note(&self, promise: Promise, what: impl FnOnce() -> String) {
        let mut broken = self.0[promise as usize].lock().unwrap_or_else(PoisonError::into_inner);
        broken.times += 1;
        if broken.words.len() < KEPT {
            broken.words.push(what());
        }
    }

    /// How often a promise was broken.
    pub fn times(&self, promise: Promise) -> u64 {
        self.0[promise as usize].lock().unwrap_or_else(PoisonError::into_inner).times
    }

    pub fn total(&self) -> u64 {
        Promise::ALL.into_iter().map(|promise| self.times(promise)).sum()
    }

    /// The first breaches of a promise, in words.
    pub fn words(&self, promise: Promise) -> Vec<String> {
        self.0[promise as usize].lock().unwrap_or_else(PoisonError::into_inner).words.clone()
    }
}
