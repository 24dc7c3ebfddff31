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
mod handing;
#[cfg(all(test, not(loom)))]
mod held;
#[cfg(all(test, loom))]
mod models;
mod outstanding;
mod registration;
mod sweep;

use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::canary::{Canary, planted};
use crate::clock::Clock;
use crate::config::{Config, Terms};
use crate::error::{AnnounceError, LONGEST_ID, LeaveError, LookupError, RenewError, SettleError};
use crate::event::{Event, EventKind, Verdict};
use crate::index::Index;
use crate::pause::{Point, point};
use crate::record::{Cadence, Handle, NONE, Record, Slab, State, Word};
use crate::stats::{self, HostState, HostStatus, HostView, ProducerCounters, Stats, ThreadCounters};
use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Mutex, Ordering, fence, lock};
use crate::tick::{Tick, since_open, tick_floor, ticks_ceil, ticks_floor};

pub(crate) use engine::Engine;
use outstanding::Outstanding;

#[cfg(loom)]
type HostIndex = crate::index::ModelIndex;
#[cfg(not(loom))]
type HostIndex = crate::index::PapayaIndex;

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

/// What callers and the observer share.
pub(crate) struct Shared {
    pub(crate) slab: Slab,
    pub(crate) index: HostIndex,
    pub(crate) clock: Clock,
    terms: Terms,
    waker: Box<dyn Wake>,
    /// Leaves handed out and not answered; the lock is never held in a callback.
    outstanding: Mutex<Outstanding>,
    /// Where drained events wait; `None` when the wheel calls back.
    pub(crate) queue: Option<ArrayQueue<Event>>,
    /// How long the consumer may take to answer a drained leave.
    settle_timeout: Tick,
    /// The tick until which the observer sleeps; 0 while it is awake.
    alarm: CachePadded<AtomicU64>,
    /// The observer has hosts waiting for room in the queue.
    starved: CachePadded<AtomicBool>,
    producers: CachePadded<ProducerCounters>,
    pub(crate) thread: CachePadded<ThreadCounters>,
}

/// An announce as the record sees it.
#[derive(Clone, Copy)]
struct Call {
    /// `None` keeps the interval.
    cadence: Option<Cadence>,
    age: Tick,
}

/// What became of an announce of a handle.
enum Touch {
    Heard(Outcome),
    /// Handed out as a leave.
    Taken,
    /// Left, freed, or of another incarnation.
    Gone,
}

impl Shared {
    /// `config` was checked. `seed` is random per wheel, `lives` the generations of a record.
    pub(crate) fn new(config: &Config, drained: bool, waker: Box<dyn Wake>, seed: u32, lives: u32) -> Shared {
        Shared {
            slab: Slab::new(config.max_hosts, seed, lives),
            index: HostIndex::new(),
            clock: Clock::new(config),
            terms: Terms::new(config),
            waker,
            outstanding: Mutex::new(Outstanding::default()),
            queue: drained.then(|| ArrayQueue::new(config.max_outstanding)),
            settle_timeout: ticks_ceil(config.settle_timeout),
            alarm: CachePadded::new(AtomicU64::new(0)),
            starved: CachePadded::new(AtomicBool::new(false)),
            producers: CachePadded::default(),
            thread: CachePadded::default(),
        }
    }

    /// Announces a host by its id.
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
        if self.clock.is_closed() {
            return Err(AnnounceError::Closed);
        }
        let (cadence, clamped) = self.terms.clamp(interval.0);
        let call = Call { cadence: Some(cadence), age: ticks_floor(age) };
        let entry = self.index.get(id);
        point(Point::LookedUp);
        let (handle, outcome) = match entry.and_then(|handle| self.hear(handle, call)) {
            Some(heard) => heard,
            None => self.register(id, call, user_data, entry)?,
        };
        if clamped {
            self.producers.clamps.add_shared(1);
        }
        let interval = Duration::from_millis(self.terms.effective_interval(cadence));
        Ok(Announced { handle, outcome, interval, clamped })
    }

    /// Announces a host by its handle; keeps its interval.
    #[inline(always)]
    pub(crate) fn renew(&self, handle: Handle, age: Duration) -> Result<Outcome, RenewError> {
        if self.clock.is_closed() {
            return Err(RenewError::Closed);
        }
        let age = if age.is_zero() { 0 } else { ticks_floor(age) };
        match self.touch(handle, Call { cadence: None, age }, false) {
            Touch::Heard(outcome) => Ok(outcome),
            Touch::Taken => Err(RenewError::Taken),
            Touch::Gone => Err(RenewError::Stale),
        }
    }

    /// The renew path: one CAS on the record's word, and a report if the observer must look sooner than it planned.
    ///
    /// `help` completes a registration that another thread has begun: only who found the handle in the index may.
    ///
    /// Inlined in its usual form only: a host that is Live, heard just now, for the first time in this tick. With a million
    /// hosts an announce waits for the record, and announces in a row wait together as far as the processor looks ahead, so
    /// few instructions, and very few that need what is waited for, are worth more than anything else here.
    #[inline(always)]
    fn touch(&self, handle: Handle, call: Call, help: bool) -> Touch {
        let Some(record) = self.slab.of(handle) else { return Touch::Gone };
        // The order is: word, generation, clock, CAS. A CAS that succeeds proves that the word was still the one that
        // the generation was checked for (ground rule 2 of the record room), and a clock read before the word could
        // overwrite a newer announce with an older time.
        let word = record.word_seq();
        if call.age == 0 && record.generation() == handle.generation() {
            point(Point::WordRead);
            let now = self.clock.stamp();
            if let Some(new) = word.renewed(now, call.cadence) {
                point(Point::Stamped);
                if record.swap_word_seq(word, new) {
                    point(Point::Heard);
                    if now + new.ttl_floor() < record.armed_seq() {
                        self.report_early(handle.index(), record, new);
                    }
                    return Touch::Heard(Outcome::Renewed);
                }
            }
        }
        self.touch_other(handle, record, call.cadence, call.age, help)
    }

    /// As [`touch`](Self::touch), for all other cases.
    #[cold]
    #[inline(never)]
    fn touch_other(&self, handle: Handle, record: &Record, cadence: Option<Cadence>, age: Tick, help: bool) -> Touch {
        let call = Call { cadence, age };
        loop {
            let word = record.word_seq();
            if record.generation() != handle.generation() {
                return Touch::Gone;
            }
            let state = word.state();
            match state {
                State::Live | State::Suspect => {}
                State::Reserved if help => {}
                State::Taken => return Touch::Taken,
                State::Free | State::Reserved | State::Left => return Touch::Gone,
            }
            point(Point::WordRead);
            let now = self.clock.stamp();
            let new = self.heard(word, now, call);
            point(Point::Stamped);
            let changed = new != word;
            if changed && !record.swap_word_seq(word, new) {
                continue;
            }
            point(Point::Heard);
            if state == State::Suspect && new.state() == State::Live {
                self.report(handle.index(), 0);
                return Touch::Heard(Outcome::Recovered);
            }
            if !(state == State::Reserved && planted(Canary::SilentHelper)) {
                self.report_early(handle.index(), record, new);
            }
            return Touch::Heard(Outcome::Renewed);
        }
    }

    /// Reports a host that the observer must look at sooner than it planned.
    ///
    /// A host that nobody has placed has `armed` = NONE, so whoever announces it, the helper of its registration and one that
    /// changed nothing included, reports it: the one who made it Live may be held back.
    #[cold]
    #[inline(never)]
    fn report_early(&self, index: u32, record: &Record, word: Word) {
        let due = self.look_at(word);
        if due < record.armed_seq() {
            self.report(index, due);
        }
    }

    /// The word after an announce at `now`.
    fn heard(&self, word: Word, now: Tick, call: Call) -> Word {
        let (stamp, last) = (now.saturating_sub(call.age), word.last());
        let news = Word::new(last.max(stamp), call.cadence.unwrap_or(word.cadence()), word.state());
        if word.state() == State::Reserved {
            return news.with_state(State::Live);
        }
        // News from before the last announce changes nothing: what came later knew better.
        let new = if call.age > 0 && stamp < last { word } else { news };
        if new.state() == State::Suspect && self.deadline(new) > now { new.with_state(State::Live) } else { new }
    }

    /// What an announced interval counts as in this wheel, in ticks.
    pub(crate) fn effective_interval(&self, interval: Duration) -> Tick {
        self.terms.effective_interval(self.terms.clamp(interval).0)
    }

    /// When the host's TTL ends.
    #[inline]
    fn deadline(&self, word: Word) -> Tick {
        word.last() + self.terms.ttl(word.cadence())
    }

    /// When the host leaves if it is not heard.
    fn leaves_at(&self, word: Word) -> Tick {
        self.deadline(word) + self.terms.grace(word.cadence())
    }

    /// When the observer must look at the host next.
    fn look_at(&self, word: Word) -> Tick {
        if word.state() == State::Suspect { self.leaves_at(word) } else { self.deadline(word) }
    }

    /// Tells the observer that a record is due a look at `due`, sooner than it planned.
    #[cold]
    #[inline(never)]
    fn report(&self, index: u32, due: Tick) {
        point(Point::Reporting);
        self.slab.mark(index);
        point(Point::Marked);
        if !planted(Canary::NoWakeFence) {
            // SeqCst: pairs with the fence in `Engine::may_sleep`: the observer sees the mark before it sleeps, or we see
            // its alarm.
            fence(Ordering::SeqCst);
        }
        self.wake_before(due);
    }

    fn wake_before(&self, due: Tick) {
        // Relaxed: the fence before it does the ordering. Everybody who sees the alarm wakes: one who trusted another to
        // do it could return before that one did.
        if due < self.alarm.load(Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    /// An announce of the host that the index names, if it is alive.
    fn hear(&self, handle: Handle, call: Call) -> Option<(Handle, Outcome)> {
        match self.touch(handle, call, true) {
            Touch::Heard(outcome) => Some((handle, outcome)),
            Touch::Taken | Touch::Gone => None,
        }
    }

    /// A host says goodbye. Returns its user data.
    pub(crate) fn leave(&self, id: &[u8]) -> Result<u64, LeaveError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(LeaveError::IdLength);
        }
        if self.clock.is_closed() {
            return Err(LeaveError::Closed);
        }
        let handle = self.index.get(id).ok_or(LeaveError::NotFound)?;
        self.say_goodbye(handle).map_err(|_| LeaveError::NotFound)
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
                return Ok(user_data);
            }
        }
    }

    /// The handle of a host that is known and not handed out.
    pub(crate) fn find(&self, id: &[u8]) -> Result<Handle, LookupError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(LookupError::IdLength);
        }
        self.index.get(id).filter(|handle| self.is_alive(*handle)).ok_or(LookupError::NotFound)
    }

    fn is_alive(&self, handle: Handle) -> bool {
        self.slab.of(handle).is_some_and(|record| {
            let word = record.word();
            word.is_alive() && record.generation() == handle.generation()
        })
    }

    /// Whether the id of an event has come back as another incarnation.
    pub(crate) fn is_superseded(&self, event: &Event) -> bool {
        self.index.get(&event.id).is_some_and(|handle| handle != event.handle && self.is_alive(handle))
    }

    /// What decides a host's fate.
    pub(crate) fn inspect(&self, handle: Handle) -> Result<HostStatus, LookupError> {
        let (word, user_data, armed) = self.read(handle).ok_or(LookupError::Stale)?;
        let state = match word.state() {
            State::Live => HostState::Live,
            State::Suspect => HostState::Suspect,
            State::Taken => HostState::Taken,
            State::Free | State::Reserved | State::Left => return Err(LookupError::Stale),
        };
        Ok(HostStatus {
            handle,
            state,
            interval: interval_of(word.cadence()),
            last_seen: since_open(word.last()),
            age: self.age(word),
            deadline: since_open(self.deadline(word)),
            leaves_at: since_open(self.leaves_at(word)),
            next_look: (armed != NONE).then(|| since_open(armed)),
            user_data,
        })
    }

    /// Reads a record of one incarnation: everything between two checks of the generation.
    fn read(&self, handle: Handle) -> Option<(Word, u64, Tick)> {
        let record = self.slab.of(handle)?;
        let word = record.word();
        let (user_data, armed) = (record.user_data(), record.armed());
        // The generation of a later incarnation comes with that incarnation's user data (acquire), so if it is still
        // ours after reading these, so were they.
        (record.generation() == handle.generation()).then_some((word, user_data, armed))
    }

    fn age(&self, word: Word) -> Duration {
        Duration::from_millis(tick_floor(self.clock.now_ns()).saturating_sub(word.last()))
    }

    /// Calls `f` for every host that is known and not handed out, until it breaks.
    pub(crate) fn each(&self, mut f: impl FnMut(HostView<'_>) -> std::ops::ControlFlow<()>) {
        self.index.walk(&mut |id, handle| match self.read(handle) {
            Some((word, user_data, _)) if word.is_alive() => f(HostView {
                id,
                handle,
                interval: interval_of(word.cadence()),
                age: self.age(word),
                suspect: word.state() == State::Suspect,
                user_data,
            })
            .is_continue(),
            _ => true,
        });
    }

    /// A snapshot of the counters.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            now: Duration::from_nanos(self.clock.now_ns()),
            margin: Duration::from_nanos(self.clock.margin_ns()),
            records: u64::from(self.slab.used()),
            ..stats::snapshot(&self.producers, &self.thread)
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
        self.made_room();
    }

    /// The queue has room: hosts may have waited for it.
    fn made_room(&self) {
        // SeqCst: pairs with the fence in `Engine::may_sleep`: the observer sees the room before it sleeps, or we see that
        // it starves.
        fence(Ordering::SeqCst);
        if self.starved.load(Ordering::Relaxed) && !planted(Canary::SilentDrain) {
            self.waker.wake();
        }
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

fn interval_of(cadence: Cadence) -> Option<Duration> {
    (!cadence.is_none()).then(|| Duration::from_millis(cadence.ms()))
}
