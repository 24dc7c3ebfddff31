//! What every subject can be asked to do, and what is measured of it.

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::{Fleet, Id};

/// A measured workload.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Workload {
    Register,
    Renew,
    Announce,
    Change,
    Leave,
    Flap,
    LifeByHandle,
    LifeById,
    Expire,
}

pub const WORKLOADS: [(Workload, &str); 9] = [
    (Workload::Register, "register, all structures growing"),
    (Workload::Renew, "renew, by what registering returned"),
    (Workload::Announce, "announce, by 64-byte id"),
    (Workload::Change, "announce with another interval, by id"),
    (Workload::Leave, "leave, by id"),
    (Workload::Flap, "flapping: register and leave, per pair"),
    (Workload::LifeByHandle, "steady state by handle, per announce, expiry's work included"),
    (Workload::LifeById, "steady state by id, per announce, expiry's work included"),
    (Workload::Expire, "expire all, per host, callback and index included"),
];

/// What a subject is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Calls on the real clock, with the thread that the subject has, if any. Nothing becomes due.
    Calls,
    /// A simulated life, in which everybody announces in time.
    Life,
    /// Everybody becomes due. To register so many hosts took so long just before.
    Expiry { filling: Duration },
}

/// How often hosts of a life announce themselves. TTL is twice that with all subjects.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// When the last host of [`Expiry::dying`] is due, and some more.
pub const ALL_DUE: Duration = Duration::from_secs(300);

/// Something that tells which hosts have gone.
pub trait Expiry {
    /// What names a host more cheaply than its id does.
    type Handle: Copy;

    const NAME: &'static str;
    /// What it has no call for.
    const LACKS: &'static [Workload];

    fn open(fleet: &Arc<Fleet>, purpose: Purpose) -> Self;

    /// A host that is not known. Subjects that can save asking whether it is save it.
    fn register(&mut self, host: u32, id: &Id, interval: Duration) -> Self::Handle;

    /// A known host was heard, its interval stays.
    fn renew(&mut self, handle: Self::Handle);

    /// A known host was heard, its interval may be another one.
    fn announce(&mut self, id: &Id, interval: Duration);

    fn leave(&mut self, id: &Id);

    /// Time has come to `now` since the opening: whatever is to be done by then is done.
    fn advance(&mut self, now: Duration);

    /// How many hosts are known.
    fn count(&self) -> usize;

    /// How many hosts were found to have gone, ever.
    fn expired(&self) -> usize;

    /// The interval of a host that is to be due by [`ALL_DUE`]: one to two minutes, so that neighbours in memory do not
    /// expire one after the other.
    fn dying(&self, host: u32) -> Duration {
        Duration::from_millis(60_000 + u64::from(host.wrapping_mul(0x9e37_79b9) >> 16) % 60_000)
    }

    /// Before everybody's expiry is timed: for those that live in real time only.
    fn wait_until_due(&self) {}

    /// Everybody is due now.
    fn expire_all(&mut self) {
        self.advance(ALL_DUE);
    }
}
