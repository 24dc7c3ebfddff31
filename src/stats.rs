//! What the wheel counts, and what it tells of single hosts.

use std::time::Duration;

use crate::config::Clock;
use crate::record::Handle;
use crate::sync::{Ordering, StatU64};

/// Upper bounds of the lateness counts, in milliseconds.
pub const LATENESS_BOUNDS_MS: [u64; 17] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

/// Upper bounds of the counts of steps, in microseconds.
pub const STEP_BOUNDS_US: [u64; 14] =
    [125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000];

/// A snapshot of the wheel's counters. They are read one after another while the wheel goes on, so sums may be off by
/// what happened meanwhile. Counters never decrease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Hosts known and not handed out as a leave: live and suspect.
    pub live: u64,
    /// Of these, suspects.
    pub suspect: u64,
    /// Registrations since open.
    pub registered: u64,
    /// Polite leaves since open.
    pub left: u64,
    /// Leaves because the TTL and the grace passed; counted once, however often handed out.
    pub leaves_ttl: u64,
    /// Leaves because the host TTL and the grace passed.
    pub leaves_host_ttl: u64,
    /// Leaves of hosts that the back-stop found.
    pub leaves_backstop: u64,
    /// Suspect events.
    pub suspects: u64,
    /// Recovered events.
    pub recoveries: u64,
    /// Leaves handed out again.
    pub retries: u64,
    /// Panics in callbacks.
    pub panics: u64,
    /// Records that the wheel had lost and the back-stop found: 0 in a healthy system.
    pub rescues: u64,
    /// Passes of the back-stop over all records.
    pub sweeps: u64,
    /// Leaves handed out after the id had come back.
    pub superseded: u64,
    /// Announces whose interval was clamped.
    pub clamps: u64,
    /// Leaves handed out or about to be, and not yet answered with `Done`.
    pub outstanding: u64,
    /// Due hosts that wait: for room in the queue or among the outstanding leaves, for the brake, for silence to end.
    pub waiting: u64,
    /// Time in which nobody was heard and nobody left for that, see [`Config::silence_expected`](crate::Config).
    pub silence: Duration,
    /// How often that began.
    pub silences: u64,
    /// Time in which leaves waited for the brake.
    pub brake: Duration,
    /// Time in which nobody watched, and which counted against no host.
    pub away: Duration,
    /// Wheel time since open.
    pub now: Duration,
    /// The clock that announces are stamped with: the one that was asked for, or what stands in for it.
    pub clock: Clock,
    /// That clock's margin at present: by how much a stamp may be late.
    pub margin: Duration,
    /// Records that the thread looked at.
    pub visits: u64,
    /// Times the thread woke up (with a manual clock: was advanced).
    pub wake_ups: u64,
    /// The thread's steps that took at most as long as [`STEP_BOUNDS_US`] says (cumulative). A step is a look at the clock and
    /// all that is done and delivered before the next one, callbacks included, by the clock on the wall: time in which the
    /// thread had no processor counts. With a manual clock there is no thread, and no step is counted.
    pub steps: [u64; STEP_BOUNDS_US.len()],
    /// The longest step.
    pub longest_step: Duration,
    /// Leaves at most as late as [`LATENESS_BOUNDS_MS`] says (cumulative), counted at their first hand-out.
    pub lateness: [u64; LATENESS_BOUNDS_MS.len()],
    /// Sum of all leaves' lateness. Here and in the counts the time in which a guard held a leave back is left out; that in
    /// which a consumer that drains left the queue full, or the host's suspect event in it, is not.
    pub lateness_sum: Duration,
    /// The greatest lateness of a leave.
    pub lateness_max: Duration,
    /// Records in use or on the free list: the peak of hosts known at a time.
    pub records: u64,
    /// How often the system refused memory for an event. The host was kept as it was, and tried again 10 ms later at the earliest.
    pub memory_refusals: u64,
}

/// One counter with one writer at a time, readable from anywhere.
#[derive(Debug)]
pub(crate) struct Counter(StatU64);

impl Default for Counter {
    fn default() -> Self {
        Counter(StatU64::new(0))
    }
}

impl Counter {
    /// Adds, as the only writer: no locked instruction.
    pub(crate) fn add(&self, n: u64) {
        // Relaxed: a statistic; it orders nothing and nothing is concluded from it.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes off, as the only writer.
    pub(crate) fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Adds, from any thread.
    pub(crate) fn add_shared(&self, n: u64) {
        // Relaxed: see `add`.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the value, as the only writer.
    pub(crate) fn set(&self, n: u64) {
        // Relaxed: see `add`.
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub(crate) fn get(&self) -> u64 {
        // Relaxed: see `add`.
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters that announcers write; on a line of their own.
#[derive(Debug, Default)]
pub(crate) struct ProducerCounters {
    pub(crate) registered: Counter,
    pub(crate) left: Counter,
    /// Records that registrants reserved and gave back.
    pub(crate) given_back: Counter,
    pub(crate) clamps: Counter,
}

/// Counters that the thread alone writes.
#[derive(Debug, Default)]
pub(crate) struct ThreadCounters {
    pub(crate) suspect: Counter,
    pub(crate) leaves_ttl: Counter,
    pub(crate) leaves_host_ttl: Counter,
    pub(crate) leaves_backstop: Counter,
    pub(crate) suspects: Counter,
    pub(crate) recoveries: Counter,
    pub(crate) retries: Counter,
    pub(crate) panics: Counter,
    pub(crate) rescues: Counter,
    pub(crate) sweeps: Counter,
    pub(crate) superseded: Counter,
    /// Records freed of hosts that left, and of lost races.
    pub(crate) freed_left: Counter,
    pub(crate) outstanding: Counter,
    pub(crate) waiting: Counter,
    /// The tick since when hosts have waited for their turn to leave; 0 if none does.
    pub(crate) turn_since: Counter,
    /// 1 while a silence lasts.
    pub(crate) silent: Counter,
    pub(crate) silence_ms: Counter,
    pub(crate) silences: Counter,
    pub(crate) brake_ms: Counter,
    pub(crate) missed_ns: Counter,
    pub(crate) visits: Counter,
    pub(crate) wake_ups: Counter,
    pub(crate) memory_refusals: Counter,
    steps: [Counter; STEP_BOUNDS_US.len()],
    longest_step_ns: Counter,
    pub(crate) lateness: [Counter; LATENESS_BOUNDS_MS.len()],
    pub(crate) lateness_sum_ns: Counter,
    pub(crate) lateness_max_ns: Counter,
}

impl ThreadCounters {
    /// Notes how late a leave is.
    pub(crate) fn late(&self, lateness_ns: u64) {
        let bucket = LATENESS_BOUNDS_MS.partition_point(|bound_ms| bound_ms * 1_000_000 < lateness_ns);
        if let Some(counter) = self.lateness.get(bucket) {
            counter.add(1);
        }
        self.lateness_sum_ns.add(lateness_ns);
        self.lateness_max_ns.set(self.lateness_max_ns.get().max(lateness_ns));
    }

    /// Notes how long a step took.
    pub(crate) fn stepped(&self, took_ns: u64) {
        let bucket = STEP_BOUNDS_US.partition_point(|bound_us| bound_us * 1000 < took_ns);
        if let Some(counter) = self.steps.get(bucket) {
            counter.add(1);
        }
        self.longest_step_ns.set(self.longest_step_ns.get().max(took_ns));
    }
}

/// Hosts that are known and not handed out.
pub(crate) fn live(producers: &ProducerCounters, thread: &ThreadCounters) -> u64 {
    let gone = [&producers.left, &thread.leaves_ttl, &thread.leaves_host_ttl, &thread.leaves_backstop];
    producers.registered.get().saturating_sub(gone.map(Counter::get).iter().sum())
}

/// What counters by bound say of all up to each bound.
fn cumulative<const N: usize>(counters: &[Counter; N]) -> [u64; N] {
    let mut sum = 0;
    std::array::from_fn(|bucket| {
        sum += counters[bucket].get();
        sum
    })
}

/// Puts a snapshot together; the fields that no counter holds are the caller's.
pub(crate) fn snapshot(producers: &ProducerCounters, thread: &ThreadCounters) -> Stats {
    Stats {
        live: live(producers, thread),
        suspect: thread.suspect.get(),
        registered: producers.registered.get(),
        left: producers.left.get(),
        leaves_ttl: thread.leaves_ttl.get(),
        leaves_host_ttl: thread.leaves_host_ttl.get(),
        leaves_backstop: thread.leaves_backstop.get(),
        suspects: thread.suspects.get(),
        recoveries: thread.recoveries.get(),
        retries: thread.retries.get(),
        panics: thread.panics.get(),
        rescues: thread.rescues.get(),
        sweeps: thread.sweeps.get(),
        superseded: thread.superseded.get(),
        clamps: producers.clamps.get(),
        outstanding: thread.outstanding.get(),
        waiting: thread.waiting.get(),
        silence: Duration::from_millis(thread.silence_ms.get()),
        silences: thread.silences.get(),
        brake: Duration::from_millis(thread.brake_ms.get()),
        away: Duration::from_nanos(thread.missed_ns.get()),
        visits: thread.visits.get(),
        wake_ups: thread.wake_ups.get(),
        memory_refusals: thread.memory_refusals.get(),
        steps: cumulative(&thread.steps),
        longest_step: Duration::from_nanos(thread.longest_step_ns.get()),
        lateness: cumulative(&thread.lateness),
        lateness_sum: Duration::from_nanos(thread.lateness_sum_ns.get()),
        lateness_max: Duration::from_nanos(thread.lateness_max_ns.get()),
        ..Stats::default()
    }
}

/// What a host is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostState {
    /// Within its TTL, or past it by less than the thread has noticed.
    Live,
    /// Past its TTL, within its grace.
    Suspect,
    /// Handed out as a leave that was not answered with `Done` yet.
    Taken,
}

/// What decides one host's fate. Times are wheel time since open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostStatus {
    /// The incarnation.
    pub handle: Handle,
    /// What it is.
    pub state: HostState,
    /// The effective interval; `None` if it announced without one.
    pub interval: Option<Duration>,
    /// When it was last heard.
    pub last_seen: Duration,
    /// How long ago that was.
    pub age: Duration,
    /// When its TTL ends.
    pub deadline: Duration,
    /// Since when it is suspect: the end of its TTL. `None` if it is not.
    pub suspect_since: Option<Duration>,
    /// When it leaves, if it is not heard: the deadline and the grace.
    pub leaves_at: Duration,
    /// When the thread plans to look at it next; `None` before its first look.
    pub next_look: Option<Duration>,
    /// Since when it has been held back though it is due.
    pub held_since: Option<Duration>,
    /// What holds back hosts that are due, at this moment.
    pub held_by: Option<Hold>,
    /// The number given at registration.
    pub user_data: u64,
}

/// What holds due hosts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// Nobody at all is heard.
    Silence,
    /// Very many hosts leave at once.
    Brake,
    /// `max_outstanding` leaves wait for their answers.
    Outstanding,
}

/// One host of a walk over all, see [`HostWheel::each`](crate::HostWheel::each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostView<'a> {
    /// The host's id.
    pub id: &'a [u8],
    /// The incarnation.
    pub handle: Handle,
    /// The effective interval; `None` if it announced without one.
    pub interval: Option<Duration>,
    /// How long ago it was last heard.
    pub age: Duration,
    /// Whether it is a suspect.
    pub suspect: bool,
    /// The number given at registration.
    pub user_data: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_counts_are_cumulative_and_include_their_bound() {
        let thread = ThreadCounters::default();
        for ms in [0, 1, 2, 3, 65_536, 65_537] {
            thread.late(ms * 1_000_000);
        }
        let stats = snapshot(&ProducerCounters::default(), &thread);
        assert_eq!(stats.lateness[..3], [2, 3, 4]);
        assert_eq!(stats.lateness[16], 5, "what is later than the last bound is in the sum only");
        assert_eq!(stats.lateness_max, Duration::from_millis(65_537));
    }

    #[test]
    fn step_counts_are_cumulative_and_include_their_bound() {
        let thread = ThreadCounters::default();
        for us in [0, 125, 126, 2000, 1_024_000, 1_024_001] {
            thread.stepped(us * 1000);
        }
        let stats = snapshot(&ProducerCounters::default(), &thread);
        assert_eq!(stats.steps[..5], [2, 3, 3, 3, 4]);
        assert_eq!(stats.steps[13], 5, "what is longer than the last bound is in the longest step only");
        assert_eq!(stats.longest_step, Duration::from_micros(1_024_001));
    }
}
