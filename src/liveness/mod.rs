//! Liveness: what announces, leaves and look-ups do to records and the index. No thread, no system call.
//!
//! [`Shared`] is the side of the callers: any thread, any time, no lock for a known host. [`Engine`] is the side of the
//! one observer, the expiry thread or `advance`: it owns the wheel and visits records. They meet in the record's word, in
//! `armed`, in the dirty bitmap and in the alarm:
//!
//! ```text
//!  announcer                                       observer
//!  1 CAS the word                                  collect: swap the bitmap's words, visit what was marked
//!  2 deadline before `armed`? (a leave, a          place:   store `armed`, fence, read the word again,
//!    recovery, a new host: in any case)                     again if its deadline is earlier now
//!  3 mark, fence                                   sleep:   store the alarm, fence,
//!  4 deadline before the alarm? wake                        stay awake if the bitmap is not empty
//! ```
//!
//! Step 1 against *place* is a Dekker handshake, step 3 against *sleep* another: of two parties that each write, fence,
//! and read what the other writes, at least one sees the other. After an announcer returned, the observer is awake, or
//! woken, or its alarm is no later than the deadline.

mod engine;
mod guards;
mod handing;
#[cfg(all(test, not(any(loom, shuttle))))]
mod held;
#[cfg(all(test, loom))]
mod models;
mod outstanding;
mod past;
mod queue;
#[cfg(all(test, not(any(loom, shuttle))))]
mod refused;
mod registration;
mod renew;
mod replace;
#[cfg(all(test, shuttle))]
mod schedules;
mod sweep;
mod views;

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::canary::{Canary, planted};
use crate::clock::Clock;
use crate::config::{Agreed, Config, MOST_HOSTS, Terms};
use crate::error::{AnnounceError, LONGEST_ID, LeaveError, ReleaseError, SettleError};
use crate::event::{Event, EventKind, GuardEvent, Verdict};
use crate::index::Index;
use crate::pause::{Point, point};
use crate::record::{Handle, Key, Slab, State, TOLD, Word};
use crate::stats::{ProducerCounters, ThreadCounters};
use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Mutex, Ordering, StatU64, fence, lock};
use crate::tick::{Tick, tick_floor, ticks_ceil, ticks_floor};

pub(crate) use engine::Engine;
use outstanding::Outstanding;
pub(crate) use past::{Earlier, Past, SUSPICIOUS};
pub(crate) use queue::EventQueue;
use registration::Registered;
pub(crate) use registration::SPARE;
use renew::Call;
pub use replace::Replaced;

#[cfg(loom)]
type HostIndex = crate::index::ModelIndex;
#[cfg(not(loom))]
type HostIndex = crate::index::Table;

/// What an announce did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host is new, or came back after it left: it has a new handle.
    Registered,
    /// The host was known.
    Renewed,
    /// The host was suspect and is trusted again.
    Recovered,
}

/// The answer to an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announced {
    /// Names this incarnation of the host.
    pub handle: Handle,
    /// What the announce did.
    pub outcome: Outcome,
    /// The effective interval: clamped, rounded up to milliseconds, or half the host TTL when none was given.
    pub interval: Duration,
    /// Whether the interval was clamped to the configured bounds.
    pub clamped: bool,
    /// Whether the host was registered with an age, and counts from a later moment than that says: no record was free that had
    /// been unused for so long. It needs a table that is full but for hosts that have just left.
    pub age_cut: bool,
}

/// An announce interval: a duration, or none.
///
/// ```
/// use std::time::Duration;
/// use hostwheel::Interval;
/// let every_minute: Interval = Duration::from_secs(60).into();
/// assert_eq!(Interval::from(Duration::ZERO), Interval::NONE);
/// # let _ = every_minute;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(Duration);

impl Interval {
    /// The host does not say how often it announces: the host TTL applies.
    pub const NONE: Interval = Interval(Duration::ZERO);
}

impl From<Duration> for Interval {
    fn from(interval: Duration) -> Self {
        Interval(interval)
    }
}

/// Wakes the observer. Must not block; may be called from any thread, also when nobody sleeps.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);

    /// Lets the observer work for a moment, if it is another thread than the caller's; false at once if it is not.
    fn pause(&self) -> bool {
        false
    }
}

/// What the consumer has not seen of a host yet.
#[derive(Default)]
struct Untold {
    /// Suspect events: a host may have become suspect again.
    events: u32,
    /// It is due, and in no list until they were seen.
    waits: bool,
}

/// Called with user data.
pub(crate) type OnForgotten = Box<dyn Fn(u64) + Send + Sync>;

/// What callers and the observer share.
pub(crate) struct Shared {
    pub(crate) slab: Slab,
    pub(crate) index: HostIndex,
    pub(crate) clock: Clock,
    terms: Terms,
    waker: Box<dyn Wake>,
    /// Leaves handed out and not answered; the lock is never held in a callback.
    outstanding: Mutex<Outstanding>,
    /// Hosts with suspect events that the consumer who drains has not seen yet: none of them is taken before. The lock is never
    /// held in a callback.
    untold: Mutex<HashMap<Handle, Untold>>,
    /// An event counts as seen when the consumer says so, not when it is drained.
    tells: AtomicBool,
    /// Where drained events wait; `None` when the wheel calls back.
    pub(crate) queue: Option<EventQueue>,
    /// Earlier runs. The lock is held for a look-up, or by a snapshot at its end.
    pub(crate) past: Mutex<Past>,
    /// Guard events that wait to be drained; the oldest ones give way.
    guards: ArrayQueue<GuardEvent>,
    /// How long the consumer may take to answer a drained leave.
    settle_timeout: Tick,
    /// The tick until which the observer sleeps; 0 while it is awake.
    alarm: CachePadded<AtomicU64>,
    /// The observer has hosts waiting for room in the queue.
    starved: CachePadded<AtomicBool>,
    /// Somebody asked the brake to let its queue go.
    released: AtomicBool,
    /// The observer panicked.
    poisoned: AtomicBool,
    /// Called, when all this is dropped, with the user data of hosts that nobody was told of.
    on_forgotten: OnceLock<OnForgotten>,
    max_outstanding: u64,
    max_hosts: u64,
    /// Hosts that are known, leaves that were not answered with `Done` included.
    places: CachePadded<StatU64>,
    producers: CachePadded<ProducerCounters>,
    pub(crate) thread: CachePadded<ThreadCounters>,
}

impl Shared {
    /// `config` was checked. `seed` is random per wheel, `lives` the generations of a record. Fails when the system has no
    /// address space for the records.
    pub(crate) fn new(
        config: &Config,
        drained: bool,
        waker: Box<dyn Wake>,
        seed: u32,
        lives: u32,
    ) -> io::Result<Shared> {
        let records = (config.max_hosts + SPARE).min(MOST_HOSTS);
        Ok(Shared {
            slab: Slab::new(records, seed, lives)?,
            index: HostIndex::new(records)?,
            max_hosts: config.max_hosts as u64,
            places: CachePadded::default(),
            clock: Clock::new(config),
            terms: Terms::new(config),
            waker,
            outstanding: Mutex::new(Outstanding::new(if drained { 0 } else { config.batch })),
            untold: Mutex::default(),
            tells: AtomicBool::new(false),
            queue: drained.then(|| EventQueue::new(config.max_outstanding)),
            past: Mutex::default(),
            guards: ArrayQueue::new(if drained { guards::KEPT } else { 1 }),
            settle_timeout: ticks_ceil(config.settle_timeout),
            alarm: CachePadded::new(AtomicU64::new(0)),
            starved: CachePadded::new(AtomicBool::new(false)),
            released: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            on_forgotten: OnceLock::new(),
            max_outstanding: config.max_outstanding as u64,
            producers: CachePadded::default(),
            thread: CachePadded::default(),
        })
    }

    /// Announces a host by its id.
    ///
    /// With a million hosts an announce waits for three lines of memory, and the next one's first load goes out meanwhile if the
    /// processor looks that far ahead, so here too few instructions are worth most: what is not usual is out of line.
    pub(crate) fn announce(
        &self,
        id: &[u8],
        interval: Interval,
        age: Duration,
        user_data: u64,
    ) -> Result<Announced, AnnounceError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(AnnounceError::IdLength);
        }
        let agreed = self.terms.agree(interval.0);
        let key = self.index.key(id);
        let entry = self.index.get(&self.slab, &key);
        point(Point::LookedUp);
        // A closed wheel has no plain stamps.
        if let Some(handle) = entry
            && age.is_zero()
            && self.touch_plainly(handle, Some(agreed.cadence))
        {
            return Ok(self.announced(handle, Outcome::Renewed, &agreed));
        }
        let call = Call { cadence: Some(agreed.cadence), age: ticks_floor(age) };
        let Registered { handle, outcome, age_cut } = self.announce_otherwise(&key, call, user_data, entry)?;
        Ok(Announced { age_cut, ..self.announced(handle, outcome, &agreed) })
    }

    #[cold]
    #[inline(never)]
    fn announce_otherwise(
        &self,
        key: &Key<'_>,
        call: Call,
        user_data: u64,
        entry: Option<Handle>,
    ) -> Result<Registered, AnnounceError> {
        if self.clock.is_closed() {
            return Err(AnnounceError::Closed);
        }
        match entry.and_then(|handle| self.hear(handle, call)) {
            Some((handle, outcome)) => Ok(Registered { handle, outcome, age_cut: false }),
            None => self.register(key, call, user_data, entry),
        }
    }

    /// The answer to an announce that was accepted.
    #[inline]
    fn announced(&self, handle: Handle, outcome: Outcome, agreed: &Agreed) -> Announced {
        if agreed.clamped {
            self.producers.clamps.add_shared(1);
        }
        Announced { handle, outcome, interval: agreed.interval, clamped: agreed.clamped, age_cut: false }
    }

    /// What an announced interval counts as in this wheel, in ticks.
    pub(crate) fn effective_interval(&self, interval: Duration) -> Tick {
        self.terms.effective_interval(self.terms.agree(interval).cadence)
    }

    /// When a host with this interval leaves after its last announce, and how much of that is its grace, in milliseconds.
    pub(crate) fn life_ms(&self, interval: Duration) -> (u64, u64) {
        let cadence = self.terms.agree(interval).cadence;
        let grace = self.terms.grace(cadence);
        (self.terms.ttl(cadence) + grace, grace)
    }

    /// What an id leads to.
    fn entered(&self, id: &[u8]) -> Option<Handle> {
        self.index.get(&self.slab, &self.index.key(id)).map(|handle| self.current(handle))
    }

    /// The living incarnation of an id.
    fn living(&self, id: &[u8]) -> Option<Handle> {
        let mut handle = self.entered(id)?;
        loop {
            if self.is_alive(handle) {
                return Some(handle);
            }
            point(Point::LookedUp);
            // It may have been replaced after the index was asked.
            let again = self.entered(id)?;
            if again == handle || planted(Canary::TrustedDeath) {
                return None;
            }
            handle = again;
        }
    }

    /// When the host's TTL ends.
    #[inline]
    fn deadline(&self, word: Word) -> Tick {
        word.last() + self.terms.ttl(word.cadence())
    }

    /// When the host leaves if it is not heard.
    fn leaves_at(&self, word: Word) -> Tick {
        let grace = if planted(Canary::NoGrace) { 0 } else { self.terms.grace(word.cadence()) };
        self.deadline(word) + grace
    }

    /// When the observer must look at the host next.
    fn look_at(&self, word: Word) -> Tick {
        if word.state() == State::Suspect { self.leaves_at(word) } else { self.deadline(word) }
    }

    /// A host says goodbye. Returns its user data.
    pub(crate) fn leave(&self, id: &[u8]) -> Result<u64, LeaveError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(LeaveError::IdLength);
        }
        if self.clock.is_closed() {
            return Err(LeaveError::Closed);
        }
        loop {
            let handle = self.living(id).ok_or(LeaveError::NotFound)?;
            // It may have been replaced meanwhile: then the goodbye is its successor's.
            if let Ok(user_data) = self.say_goodbye(handle) {
                return Ok(user_data);
            }
        }
    }

    /// As [`leave`](Self::leave), by handle.
    pub(crate) fn leave_handle(&self, handle: Handle) -> Result<u64, LeaveError> {
        if self.clock.is_closed() {
            return Err(LeaveError::Closed);
        }
        self.say_goodbye(handle).map_err(|state| match state {
            State::Taken => LeaveError::Taken,
            _ => LeaveError::Stale,
        })
    }

    /// Only CASes and marks: the observer removes the index entry and frees the record.
    fn say_goodbye(&self, handle: Handle) -> Result<u64, State> {
        let record = self.slab.of(handle).ok_or(State::Free)?;
        loop {
            let word = record.word();
            point(Point::Judging);
            if record.generation() != handle.generation() {
                return Err(State::Free);
            }
            if !word.is_alive() {
                return Err(word.state());
            }
            // Read before the CAS, which proves that it is this incarnation's.
            let user_data = record.user_data();
            point(Point::Leaving);
            if record.swap_word(word, word.with_state(State::Left)) {
                point(Point::Left);
                self.slab.mark(handle.index());
                self.producers.left.add_shared(1);
                self.give_place_back();
                return Ok(user_data);
            }
        }
    }

    /// Answers a drained leave.
    pub(crate) fn settle(&self, handle: Handle, attempt: u32, verdict: Verdict) -> Result<(), SettleError> {
        if self.queue.is_none() {
            return Err(SettleError::Mode);
        }
        if self.clock.is_closed() {
            return Err(SettleError::Closed);
        }
        lock(&self.outstanding).settle(handle, attempt, verdict)?;
        self.report(handle.index(), 0);
        Ok(())
    }

    /// After a consumer drained these events: from now on its leaves wait for their answers.
    pub(crate) fn drained(&self, events: &[Event]) {
        let answer_by = tick_floor(self.clock.now_ns()) + self.settle_timeout;
        let mut table = lock(&self.outstanding);
        for event in events.iter().filter(|event| event.kind == EventKind::Leave) {
            table.drained(event.handle, answer_by);
        }
        drop(table);
        // Relaxed: said before the first event was made.
        if !self.tells.load(Ordering::Relaxed) {
            events.iter().filter(|event| event.kind == EventKind::Suspect).for_each(|event| self.told(event.handle));
        }
        self.made_room();
    }

    /// Moves the guard events that wait to the end of `into`, at most `limit` of them.
    pub(crate) fn drain_guards(&self, into: &mut Vec<GuardEvent>, limit: usize) -> usize {
        let before = into.len();
        let waiting = limit.min(self.guards.len());
        if into.try_reserve(waiting).is_ok() {
            into.extend(std::iter::from_fn(|| self.guards.pop()).take(waiting));
        }
        into.len() - before
    }

    /// From now on a suspect event counts as seen when [`told`](Self::told) says so, for a consumer that hands on what it drains.
    pub(crate) fn tells(&self) {
        // Relaxed: see `drained`.
        self.tells.store(true, Ordering::Relaxed);
    }

    /// The consumer has seen the suspect event of a host, which may be taken now.
    pub(crate) fn told(&self, handle: Handle) {
        let mut untold = lock(&self.untold);
        let Some(host) = untold.get_mut(&handle) else { return };
        host.events -= 1;
        if host.events > 0 {
            return;
        }
        let waits = host.waits;
        untold.remove(&handle);
        drop(untold);
        if waits {
            self.report(handle.index(), 0);
        }
    }

    /// Makes sure that there is memory for what is known of the suspect event of another host; false if the system refuses it.
    fn reserve_untold(&self) -> bool {
        lock(&self.untold).try_reserve(1).is_ok()
    }

    /// A suspect event of a host goes into the queue.
    fn tell(&self, handle: Handle) {
        lock(&self.untold).entry(handle).or_default().events += 1;
    }

    /// Whether the host has suspect events that were not seen; if it `waits` for that, [`told`](Self::told) reports it.
    fn is_untold(&self, handle: Handle, waits: bool) -> bool {
        lock(&self.untold).get_mut(&handle).map(|host| host.waits |= waits).is_some()
    }

    /// The queue has room: hosts may have waited for it.
    fn made_room(&self) {
        point(Point::Drained);
        // SeqCst: pairs with the fence in `Engine::may_sleep`: the observer sees the room before it sleeps, or we see that
        // it starves.
        fence(Ordering::SeqCst);
        if self.starved.load(Ordering::Relaxed) && !planted(Canary::SilentDrain) {
            self.waker.wake();
        }
    }

    /// Has the brake let those go that wait for it now.
    pub(crate) fn release(&self) -> Result<(), ReleaseError> {
        if self.clock.is_closed() {
            return Err(ReleaseError::Closed);
        }
        // Relaxed: the wake-up that follows brings it along.
        self.released.store(true, Ordering::Relaxed);
        self.waker.wake();
        Ok(())
    }

    /// The observer has panicked: nobody watches any more, so nothing is accepted any more.
    pub(crate) fn poison(&self) {
        // Relaxed: whoever finds the wheel closed without it has asked a moment too early.
        self.poisoned.store(true, Ordering::Relaxed);
        self.clock.close();
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// See [`HostWheel::on_forgotten`](crate::HostWheel::on_forgotten).
    pub(crate) fn on_forgotten(&self, f: OnForgotten) {
        // Whoever came first was promised to be called.
        let _ = self.on_forgotten.set(f);
    }

    /// Refuses everything from now on, and makes the observer stop.
    pub(crate) fn close(&self) {
        self.clock.close();
        // The waker keeps a wake that comes before the sleep, so no handshake is needed here.
        if !planted(Canary::SilentClose) {
            self.waker.wake();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(forgotten) = self.on_forgotten.take() else { return };
        let outstanding = lock(&self.outstanding);
        for index in 0..self.slab.used() {
            let Some(record) = self.slab.get(index) else { continue };
            let untold = match record.word().state() {
                State::Live | State::Suspect => true,
                // In a batch that was not delivered any more, or in the queue.
                State::Taken if self.queue.is_none() => !record.has(TOLD),
                State::Taken => outstanding.is_untold(Handle::new(index, record.generation())),
                // Whoever said goodbye was given it; whoever died while registering kept it.
                State::Left | State::Reserved | State::Free => false,
            };
            if untold {
                forgotten(record.user_data());
            }
        }
    }
}
