//! moka, which reads the real clock only and does its work in its callers' calls.
//!
//! So its intervals are real, here as elsewhere five minutes, and a simulated life of it just goes faster; nothing is due
//! while it lasts. Only where everybody is to expire there are short intervals, and a wait until they have passed.

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::sync::{Cache, CacheBuilder};

use crate::expiry::{Expiry, INTERVAL, Purpose, Workload};
use crate::fleet::{Fleet, Id};

/// How a cache is used.
pub trait Use {
    type Key: Hash + Eq + Copy + Send + Sync + 'static;

    const NAME: &'static str;
    const LACKS: &'static [Workload];

    fn key(host: u32, id: &Id) -> Self::Key;
    fn expiring(builder: Builder<Self::Key>, ttl: Duration) -> Builder<Self::Key>;
}

type Builder<K> = CacheBuilder<K, Duration, Cache<K, Duration>>;

/// By id, with one TTL for all hosts.
pub struct Idle;

impl Use for Idle {
    type Key = Id;

    const NAME: &'static str = "moka, time_to_idle";
    const LACKS: &'static [Workload] = &[Workload::Renew, Workload::Change, Workload::LifeByHandle];

    fn key(_host: u32, id: &Id) -> Id {
        *id
    }

    fn expiring(builder: Builder<Id>, ttl: Duration) -> Builder<Id> {
        builder.time_to_idle(ttl)
    }
}

/// By id, with a TTL for each host.
pub struct Each;

impl Use for Each {
    type Key = Id;

    const NAME: &'static str = "moka, expire_after: an interval a host";
    const LACKS: &'static [Workload] = &[Workload::Renew, Workload::LifeByHandle];

    fn key(_host: u32, id: &Id) -> Id {
        *id
    }

    fn expiring(builder: Builder<Id>, _ttl: Duration) -> Builder<Id> {
        builder.expire_after(PerHost)
    }
}

/// An entry's value is its TTL.
struct PerHost;

impl<K> moka::Expiry<K, Duration> for PerHost {
    fn expire_after_create(&self, _key: &K, ttl: &Duration, _now: Instant) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_read(
        &self,
        _key: &K,
        ttl: &Duration,
        _now: Instant,
        _left: Option<Duration>,
        _modified: Instant,
    ) -> Option<Duration> {
        Some(*ttl)
    }

    fn expire_after_update(
        &self,
        _key: &K,
        ttl: &Duration,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(*ttl)
    }
}

/// By a number of 8 bytes: what comes nearest to a handle.
pub struct Numbered;

impl Use for Numbered {
    type Key = u64;

    const NAME: &'static str = "moka, time_to_idle, keys of 8 bytes";
    const LACKS: &'static [Workload] = &[
        Workload::Register,
        Workload::Announce,
        Workload::Change,
        Workload::Leave,
        Workload::Flap,
        Workload::LifeById,
        Workload::Expire,
    ];

    fn key(host: u32, _id: &Id) -> u64 {
        u64::from(host)
    }

    fn expiring(builder: Builder<u64>, ttl: Duration) -> Builder<u64> {
        builder.time_to_idle(ttl)
    }
}

pub struct Moka<U: Use> {
    cache: Cache<U::Key, Duration>,
    ttl: Duration,
    expired: Arc<AtomicUsize>,
    worked: Duration,
    _use: PhantomData<U>,
}

impl<U: Use> Moka<U> {
    /// How often somebody sees to the work that nobody's call has done: a tick of its own wheel.
    const WORK: Duration = Duration::from_secs(1);
    /// No whole fleet takes longer to expire.
    const PATIENCE: Duration = Duration::from_secs(300);
}

impl<U: Use> Expiry for Moka<U> {
    type Handle = U::Key;

    const NAME: &'static str = U::NAME;
    const LACKS: &'static [Workload] = U::LACKS;

    fn open(_fleet: &Arc<Fleet>, purpose: Purpose) -> Self {
        let expired = Arc::new(AtomicUsize::new(0));
        let count = expired.clone();
        let ttl = match purpose {
            Purpose::Calls | Purpose::Life => 2 * INTERVAL,
            // So long that nobody is due before everybody has registered.
            Purpose::Expiry { filling } => Self::WORK + 2 * filling,
        };
        let builder = Cache::builder().eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Expired {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Moka { cache: U::expiring(builder, ttl).build(), ttl, expired, worked: Duration::ZERO, _use: PhantomData }
    }

    fn register(&mut self, host: u32, id: &Id, interval: Duration) -> U::Key {
        let key = U::key(host, id);
        self.cache.insert(key, 2 * interval);
        key
    }

    #[inline]
    fn renew(&mut self, handle: U::Key) {
        self.cache.get(&handle).expect("a known host is heard");
    }

    #[inline]
    fn announce(&mut self, id: &Id, interval: Duration) {
        let key = U::key(0, id);
        let ttl = self.cache.get(&key).expect("a known host is heard");
        if ttl != 2 * interval {
            self.cache.insert(key, 2 * interval);
        }
    }

    fn leave(&mut self, id: &Id) {
        self.cache.invalidate(&U::key(0, id));
    }

    fn advance(&mut self, now: Duration) {
        if now >= self.worked + Self::WORK {
            self.worked = now;
            self.cache.run_pending_tasks();
        }
    }

    fn count(&self) -> usize {
        self.cache.run_pending_tasks();
        self.cache.entry_count() as usize
    }

    fn expired(&self) -> usize {
        self.expired.load(Ordering::Relaxed)
    }

    fn dying(&self, _host: u32) -> Duration {
        self.ttl / 2
    }

    fn wait_until_due(&self) {
        // Two ticks of its wheel more.
        std::thread::sleep(self.ttl + 2 * Self::WORK + Duration::from_millis(200));
    }

    fn expire_all(&mut self) {
        let start = Instant::now();
        while self.cache.entry_count() > 0 && start.elapsed() < Self::PATIENCE {
            self.cache.run_pending_tasks();
        }
    }
}
