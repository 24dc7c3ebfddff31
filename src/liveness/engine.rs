//! The observer's side: visits records, makes events, frees what is over.
//!
//! Called by one thread at a time: the expiry thread, or whoever calls `advance`. Between two [`Engine::step`]s nothing is
//! half made, so that is where callbacks run.

use super::Shared;
use super::guards::Told;
use crate::backstop::Backstop;
use crate::canary::{Canary, planted};
use crate::clock::{Observer, granule};
use crate::config::Config;
use crate::event::{Event, EventKind};
use crate::guard::{Bucket, Rates, Silence};
use crate::index::Index;
use crate::pause::{Point, point};
use crate::record::{
    BORN_LATE, Cadence, Collector, Handle, LAST_TICK, LINGERED, NONE, RESCUED, Record, SUSPECTED, Slab, State, Word,
};
use crate::sync::{Ordering, fence};
use crate::tick::{Tick, ticks_ceil};
use crate::wheel::{Place, Places, Queue, Wheel};

/// The most visits of one kind in a step: after so many the clock is read again. Models and schedules see drains interrupted.
const VISITS_PER_STEP: usize = if cfg!(any(loom, all(test, shuttle))) { 1 } else { 1024 };

/// Whether another event can be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// The batch is full: it must be delivered first.
    Pause,
    /// The consumer's queue is full, or the system refused memory: hosts wait.
    Full,
}

/// The observer's state.
pub(crate) struct Engine {
    pub(super) wheel: Wheel,
    pub(super) observer: Observer,
    collector: Collector,
    pub(super) backstop: Backstop,
    /// Events of this step, for callbacks.
    pub(super) batch: Vec<Event>,
    batch_limit: usize,
    /// Events put into the queue since the last [`take_pushed`](Self::take_pushed).
    pub(super) pushed: usize,
    pub(super) brake: Bucket,
    pub(super) silence: Silence,
    pub(super) rates: Rates,
    /// Since when the brake has held hosts.
    braking_since: Option<Tick>,
    /// Since when hosts that wait for their turn to leave have had to: a guard, or outstanding leaves, hold all of them.
    turn_since: Option<Tick>,
    /// Records with a tick armed: when there is none, nothing can be missed.
    known: usize,
    pub(super) told: Told,
    /// The system refused memory: until then events find no room.
    pub(super) short_until: Tick,
}

impl Places for Slab {
    fn place(&self, index: u32) -> Place {
        let (list, position) = self.record(index).place();
        Place { list, position }
    }

    fn set_place(&self, index: u32, place: Place) {
        self.record(index).set_place(place.list, place.position);
    }

    fn prefetch(&self, index: u32) {
        Slab::prefetch(self, index);
    }
}

impl Engine {
    /// The observer of `shared`, which has no other one. Nothing that it does later needs memory that cannot be refused.
    pub(crate) fn new(config: &Config, shared: &Shared) -> Engine {
        let observer = Observer::new(config);
        let now = observer.tick();
        Engine {
            wheel: Wheel::new(now, shared.slab.hints()),
            observer,
            collector: Collector::default(),
            backstop: Backstop::new(ticks_ceil(config.backstop), now),
            batch: Vec::new(),
            batch_limit: config.batch,
            pushed: 0,
            brake: Bucket::new(config.brake, ticks_ceil(config.host_ttl), now),
            silence: Silence::new(config.silence_expected, ticks_ceil(config.host_ttl), granule(config)),
            rates: Rates::new(),
            braking_since: None,
            turn_since: None,
            known: 0,
            told: Told::new(),
            short_until: 0,
        }
    }

    /// A look at the clock, and then at what is marked or due, up to a limit. Events are in [`take_batch`](Self::take_batch)
    /// or in the queue afterwards.
    pub(crate) fn step(&mut self, s: &Shared) {
        let missed = self.observer.missed_ns();
        let now = self.observer.look(&s.clock, self.known == 0);
        if self.observer.missed_ns() != missed {
            self.tell_of_absence(s, now, self.observer.missed_ns() - missed);
            s.thread.missed_ns.set(self.observer.missed_ns());
            self.backstop.behind(now);
            self.silence.was_away(now);
        }
        self.ask_guards(s, now);
        self.serve_waiting(s);
        self.serve_marked(s);
        self.serve_due(s, now);
        let more = self.has_more(s);
        self.backstop.stepped(now, more);
        if !more {
            self.sweep(s, now);
        }
        self.tell_of_guards(s, now);
        s.thread.waiting.set((self.wheel.queued_len(Queue::Room) + self.wheel.queued_len(Queue::Turn)) as u64);
    }

    /// Brings the guards up to date.
    fn ask_guards(&mut self, s: &Shared, now: Tick) {
        self.silence.look(now, s.clock.heard_until());
        self.silence.vouched(s.clock.vouched_at());
        self.silence.learn(now, s.clock.take_gap(), &self.rates);
        self.brake.look(now, s.live());
        let waiting = self.wheel.queued_len(Queue::Turn) as u64;
        // Relaxed: `Shared::release` wakes the observer after it.
        if s.released.load(Ordering::Relaxed) && s.released.swap(false, Ordering::Relaxed) {
            self.brake.release(waiting);
        }
        if waiting == 0 {
            self.brake.queue_is_empty();
        }
    }

    /// Publishes what the guards do.
    fn tell_of_guards(&mut self, s: &Shared, now: Tick) {
        s.thread.silent.set(u64::from(self.silence.lasts()));
        s.thread.silence_ms.set(self.silence.lasted(now));
        s.thread.silences.set(self.silence.starts());
        let braking = self.wheel.queued_len(Queue::Turn) > 0 && !self.brake.is_open() && !self.silence.lasts();
        if let Some(since) = self.braking_since {
            s.thread.brake_ms.add(now - since);
        }
        self.braking_since = braking.then_some(now);
        self.tell_of_changes(s, now, braking);
        if self.wheel.queued_len(Queue::Turn) == 0 {
            self.turn_since = None;
        } else if !self.may_take(s) {
            self.turn_since.get_or_insert(now);
        }
        s.thread.turn_since.set(self.turn_since.unwrap_or(0));
    }

    /// Counts a living host by its interval.
    fn count(&mut self, s: &Shared, record: &Record, word: Word) {
        if !record.is_counted(word.cadence()) {
            self.recount(s, record, Some(word.cadence()));
        }
    }

    /// Counts a host by another interval than before; `None`: not any more.
    #[cold]
    pub(super) fn recount(&mut self, s: &Shared, record: &Record, cadence: Option<Cadence>) {
        let interval = |cadence| s.terms.effective_interval(cadence);
        self.rates.count(record.counted().map(interval), cadence.map(interval));
        record.set_counted(cadence);
    }

    /// Whether there is more to do at once: step again, after delivering the batch. Asked after the delivery, because the
    /// answers of callbacks make room for other leaves.
    pub(crate) fn has_more(&self, s: &Shared) -> bool {
        match self.room(s) {
            Room::Pause => true,
            Room::Yes if self.wants_room(s) => true,
            Room::Yes | Room::Full => {
                self.wheel.draining()
                    || self.wheel.next_look().is_some_and(|tick| tick <= self.observer.tick())
                    || !self.collector.is_done(&s.slab)
            }
        }
    }

    /// Whether hosts wait that could go if there were room for their events.
    fn wants_room(&self, s: &Shared) -> bool {
        self.wheel.queued_len(Queue::Room) > 0 || self.wheel.queued_len(Queue::Turn) > 0 && self.may_take(s)
    }

    /// Looks again at the hosts that were waiting before this step.
    fn serve_waiting(&mut self, s: &Shared) {
        let mut room = self.wheel.queued_len(Queue::Room).min(VISITS_PER_STEP);
        while room > 0 && self.room(s) == Room::Yes {
            let Some(index) = self.wheel.pop_queued(&s.slab, Queue::Room) else { break };
            self.visit(s, index);
            room -= 1;
        }
        let mut turn = self.wheel.queued_len(Queue::Turn).min(VISITS_PER_STEP);
        while turn > 0 && self.room(s) == Room::Yes && self.may_take(s) {
            let Some(index) = self.wheel.pop_queued(&s.slab, Queue::Turn) else { break };
            if let Some(since) = self.turn_since {
                // It was armed for the tick at which it began to wait.
                let record = s.slab.record(index);
                record.hold(since.max(record.armed()));
            }
            self.visit(s, index);
            turn -= 1;
        }
    }

    fn serve_marked(&mut self, s: &Shared) {
        self.collector.begin(&s.slab);
        for _ in 0..VISITS_PER_STEP {
            if self.room(s) == Room::Pause {
                return;
            }
            let Some(index) = self.collector.next(&s.slab) else { return };
            self.visit(s, index);
        }
    }

    fn serve_due(&mut self, s: &Shared, now: Tick) {
        for _ in 0..VISITS_PER_STEP {
            if self.room(s) == Room::Pause {
                return;
            }
            let Some(index) = self.wheel.pop(&s.slab, now) else { return };
            if planted(Canary::Lost) && self.is_due(s, index, now) {
                continue;
            }
            self.visit(s, index);
        }
    }

    pub(super) fn room(&self, s: &Shared) -> Room {
        match &s.queue {
            _ if self.observer.tick() < self.short_until => Room::Full,
            Some(queue) if queue.is_full() => Room::Full,
            None if self.batch.len() >= self.batch_limit => Room::Pause,
            _ => Room::Yes,
        }
    }

    /// Looks at a record and does what its word asks for. Early visits are harmless, so anyone may cause one.
    pub(super) fn visit(&mut self, s: &Shared, index: u32) {
        s.thread.visits.add(1);
        let record = s.slab.record(index);
        loop {
            let word = record.word();
            point(Point::Visiting);
            let settled = match word.state() {
                // A mark of an earlier incarnation, seen late.
                State::Free | State::Reserved => true,
                State::Live => self.visit_live(s, index, record, word),
                State::Suspect => self.visit_suspect(s, index, record, word),
                State::Left => self.visit_left(s, index, record, word),
                State::Taken => self.visit_taken(s, index, record, word),
            };
            if settled {
                return;
            }
        }
    }

    /// All visits of one state return whether they are done; if not, the word changed under them.
    #[inline]
    fn visit_live(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        self.silence.saw(word.last());
        let deadline = s.deadline(word);
        // The usual visit by far, and what an announce costs the thread: heard in time, and nothing noted about it.
        if deadline > self.observer.tick() && record.is_counted(word.cadence()) && !record.has_notes() {
            return self.place(s, index, record, deadline);
        }
        self.visit_other(s, index, record, word)
    }

    fn visit_other(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        if record.has(SUSPECTED) {
            if self.room(s) == Room::Full {
                return self.wait(s, index, record, Queue::Room);
            }
            let Some(id) = self.provide(s, index, None) else {
                return self.wait(s, index, record, Queue::Room);
            };
            self.end_suspicion(s, record);
            s.thread.recoveries.add(1);
            let event = self.event(s, record, word, EventKind::Recovered, (index, id));
            self.emit(s, event);
        }
        self.count(s, record, word);
        let now = self.observer.tick();
        let deadline = s.deadline(word);
        if deadline > now {
            record.let_go();
            record.set(RESCUED | BORN_LATE | LINGERED, false);
            return self.place(s, index, record, deadline);
        }
        if s.terms.grace(word.cadence()) == 0 {
            return self.take(s, index, record, word);
        }
        if self.room(s) == Room::Full {
            return self.wait(s, index, record, Queue::Room);
        }
        let Some(id) = self.provide(s, index, Some(EventKind::Suspect)) else {
            return self.wait(s, index, record, Queue::Room);
        };
        let suspect = word.with_state(State::Suspect);
        point(Point::Due);
        if !record.swap_word(word, suspect) {
            return false;
        }
        record.set(SUSPECTED, true);
        s.thread.suspect.add(1);
        s.thread.suspects.add(1);
        let event = self.event(s, record, suspect, EventKind::Suspect, (index, id));
        self.emit(s, event);
        let leaves_at = s.leaves_at(suspect);
        if leaves_at > now {
            self.place(s, index, record, leaves_at)
        } else {
            // The suspect event is delivered first: who answers it saves the host.
            self.wait(s, index, record, Queue::Turn)
        }
    }

    fn visit_suspect(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        self.count(s, record, word);
        record.set(LINGERED, false);
        let leaves_at = s.leaves_at(word);
        let leaves_at = leaves_at - Tick::from(planted(Canary::Early));
        if leaves_at > self.observer.tick() {
            record.let_go();
            return self.place(s, index, record, leaves_at);
        }
        self.take(s, index, record, word)
    }

    fn visit_left(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        self.end_suspicion(s, record);
        self.recount(s, record, None);
        if self.observer.tick() <= word.last() {
            // Stamped with the clock's margin: freed once wheel time has passed it, so that the floor never runs ahead.
            self.schedule(s, index, record, word.last() + 1);
            return true;
        }
        let handle = Handle::new(index, record.generation());
        s.index.remove(&s.slab, record.identity(), handle);
        self.free(s, index, record);
        s.thread.freed_left.add(1);
        true
    }

    /// A suspect that is counted as one no longer: handed out, or gone.
    pub(super) fn end_suspicion(&self, s: &Shared, record: &Record) {
        if record.has(SUSPECTED) {
            record.set(SUSPECTED, false);
            s.thread.suspect.sub(1);
        }
    }

    /// Whether another leave may go: nothing holds it, and another may be outstanding.
    pub(super) fn may_take(&self, s: &Shared) -> bool {
        s.thread.outstanding.get() < s.max_outstanding && self.brake.is_open() && !self.silence.lasts()
    }

    /// The last rite: the index entry is gone, wheel time has passed the last announce.
    pub(super) fn free(&mut self, s: &Shared, index: u32, record: &Record) {
        if !planted(Canary::FreeKeepsHint) {
            self.wheel.unlist(&s.slab, index);
        }
        if record.armed() != NONE {
            self.known -= 1;
        }
        point(Point::Unindexed);
        s.slab.release(index);
    }

    /// Arms a living host for `due` and puts its hint there, or earlier if its deadline moved while we did. See the
    /// handshake in the module above.
    fn place(&mut self, s: &Shared, index: u32, record: &Record, mut due: Tick) -> bool {
        loop {
            self.arm(record, due);
            point(Point::Armed);
            if !planted(Canary::NoArmFence) {
                // SeqCst: pairs with the announcer's CAS of the word and its load of `armed` (`Record::armed_seq`): we see
                // its word now, or it sees the tick that we armed.
                fence(Ordering::SeqCst);
            }
            let word = record.word();
            // Any other change of state is marked by whoever made it.
            if !word.is_alive() || s.look_at(word) >= due || planted(Canary::NoSecondLook) {
                break;
            }
            due = s.look_at(word);
        }
        self.wheel.schedule(&s.slab, index, due);
        true
    }

    /// As [`place`](Self::place), for a due host that is spared until `until`; false if its word is not `word` any more.
    pub(super) fn spare(&mut self, s: &Shared, index: u32, record: &Record, word: Word, until: Tick) -> bool {
        self.arm(record, until);
        point(Point::Armed);
        if !planted(Canary::NoArmFence) {
            // SeqCst: as in `place`. An announce after this sees the new tick; one before it is seen here, and judged anew.
            fence(Ordering::SeqCst);
        }
        if record.word() != word {
            return false;
        }
        self.wheel.schedule(&s.slab, index, until);
        true
    }

    /// As [`place`](Self::place), for a record that no announce can change any more.
    pub(super) fn schedule(&mut self, s: &Shared, index: u32, record: &Record, due: Tick) {
        self.arm(record, due);
        self.wheel.schedule(&s.slab, index, due);
    }

    /// Puts a record into a waiting queue; an announce or a leave still finds it there.
    pub(super) fn wait(&mut self, s: &Shared, index: u32, record: &Record, queue: Queue) -> bool {
        self.arm(record, self.observer.tick());
        self.wheel.park(&s.slab, index, queue);
        true
    }

    pub(super) fn arm(&mut self, record: &Record, due: Tick) {
        if record.armed() == NONE {
            self.known += 1;
        }
        record.set_armed(due);
    }

    /// When to step again if nobody wakes the observer; `None`: never.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        if self.known == 0 || self.observer.tick() == LAST_TICK {
            return None;
        }
        let waiting = self.wheel.queued_len(Queue::Room) + self.wheel.queued_len(Queue::Turn) > 0;
        let again = (waiting && self.observer.tick() < self.short_until).then_some(self.short_until);
        let (wheel, turn) = (self.wheel.next_look(), self.turn_comes());
        let looks = [wheel, self.observer.next_look(), self.backstop.next_slice(), turn, again];
        looks.into_iter().flatten().min()
    }

    /// When the guards may let those go that wait for them.
    fn turn_comes(&self) -> Option<Tick> {
        if self.wheel.queued_len(Queue::Turn) == 0 {
            None
        } else if let Some(end) = self.silence.ends_by() {
            // Who ends it earlier by announcing need not wake us.
            Some(end.min(self.observer.tick() + 1000))
        } else {
            (!self.brake.is_open()).then(|| self.brake.opens_at())
        }
    }

    /// Declares that the observer sleeps until `alarm` (`None`: until it is woken); false if it must not.
    pub(crate) fn may_sleep(&self, s: &Shared, alarm: Option<Tick>) -> bool {
        let starved = self.wants_room(s);
        // Relaxed, both: the fence orders them before what is read next.
        s.starved.store(starved, Ordering::Relaxed);
        s.alarm.store(alarm.unwrap_or(Tick::MAX), Ordering::Relaxed);
        point(Point::Alarmed);
        if !planted(Canary::NoSleepFence) {
            // SeqCst: pairs with the fences in `Shared::report` and `Shared::made_room`: we see the mark or the room now,
            // or they see our alarm.
            fence(Ordering::SeqCst);
        }
        let asleep = !(s.slab.any_marked() || s.clock.is_closed() || starved && self.room(s) == Room::Yes);
        if !asleep {
            self.awake(s);
        }
        asleep
    }

    /// Declares that the observer is awake.
    pub(crate) fn awake(&self, s: &Shared) {
        // Relaxed: who reads an old alarm wakes us once too often.
        s.alarm.store(0, Ordering::Relaxed);
    }

    /// The planted bug that the back-stop exists for: the wheel forgets its hint for a record.
    #[cfg(test)]
    pub(crate) fn forget(&mut self, s: &Shared, index: u32) {
        self.wheel.forget(&s.slab, index);
    }

    /// Of use to a canary only.
    fn is_due(&self, s: &Shared, index: u32, now: Tick) -> bool {
        let word = s.slab.record(index).word();
        word.state() == State::Suspect && s.leaves_at(word) <= now
    }

    /// Checks what must hold between steps; for tests. Costs O(records).
    #[cfg(test)]
    pub(crate) fn check_invariants(&self, s: &Shared) {
        self.wheel.check_invariants(&s.slab);
        #[cfg(not(loom))]
        s.slab.check_invariants();
        let (mut known, mut counted) = (0, 0);
        for index in 0..s.slab.used() {
            let record = s.slab.record(index);
            known += usize::from(record.armed() != NONE);
            counted += u64::from(record.counted().is_some());
            assert!(record.counted().is_none() || record.word().state() != State::Free, "a free record is counted");
        }
        assert_eq!(counted, self.rates.hosts(), "the count of hosts by interval is off");
        assert_eq!(known, self.known, "the count of known records is off");
    }
}
