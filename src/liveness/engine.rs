//! The observer's side: visits records, makes events, frees what is over.
//!
//! Called by one thread at a time: the expiry thread, or whoever calls `advance`. Between two [`Engine::step`]s nothing is
//! half made, so that is where callbacks run.

use super::outstanding::{Entry, Phase, backoff};
use super::{Shared, lock};
use crate::backstop::{Backstop, OVERDUE};
use crate::canary::{Canary, planted};
use crate::clock::Observer;
use crate::config::Config;
use crate::event::{Event, EventKind, Reason, Verdict};
use crate::index::Index;
use crate::record::{Collector, Handle, LINGERED, NONE, RESCUED, Record, SUSPECTED, Slab, State, Word};
use crate::sync::{Ordering, fence};
use crate::tick::{Tick, ticks_ceil};
use crate::wheel::{Place, Places, Queue, Wheel};

/// The most visits of one kind in a step: after so many the clock is read again.
const VISITS_PER_STEP: usize = 1024;

/// Whether the observer may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is due before [`Engine::next_look`].
    Rest,
    /// There is more to do: step again, after delivering the batch.
    More,
}

/// Whether another event can be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Yes,
    /// The batch is full: it must be delivered first.
    Pause,
    /// The consumer's queue is full: hosts wait.
    Full,
}

/// The observer's state.
pub(crate) struct Engine {
    wheel: Wheel,
    observer: Observer,
    collector: Collector,
    backstop: Backstop,
    /// Events of this step, for callbacks.
    batch: Vec<Event>,
    batch_limit: usize,
    /// Events put into the queue since the last [`take_pushed`](Self::take_pushed).
    pushed: usize,
    max_outstanding: usize,
    outstanding: usize,
    settle_timeout: Tick,
    /// Records with a tick armed: when there is none, nothing can be missed.
    known: usize,
    suspects: usize,
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
    pub(crate) fn new(config: &Config) -> Engine {
        let observer = Observer::new(config);
        let now = observer.tick();
        Engine {
            wheel: Wheel::new(now),
            observer,
            collector: Collector::default(),
            backstop: Backstop::new(ticks_ceil(config.backstop), now),
            batch: Vec::new(),
            batch_limit: config.batch,
            pushed: 0,
            max_outstanding: config.max_outstanding,
            outstanding: 0,
            settle_timeout: ticks_ceil(config.settle_timeout),
            known: 0,
            suspects: 0,
        }
    }

    /// A look at the clock, and then at what is marked or due, up to a limit. Events are in [`take_batch`](Self::take_batch)
    /// or in the queue afterwards.
    pub(crate) fn step(&mut self, s: &Shared) -> Progress {
        let missed = self.observer.missed_ns();
        let now = self.observer.look(&s.clock, self.known == 0);
        if self.observer.missed_ns() != missed {
            s.thread.missed_ns.set(self.observer.missed_ns());
            self.backstop.behind(now);
        }
        self.serve_waiting(s);
        self.serve_marked(s);
        self.serve_due(s, now);
        let progress = self.progress(s, now);
        if progress == Progress::More {
            self.backstop.behind(now);
        } else {
            self.sweep(s, now);
        }
        s.thread.suspect.set(self.suspects as u64);
        s.thread.outstanding.set(self.outstanding as u64);
        s.thread.waiting.set((self.wheel.queued_len(Queue::Room) + self.wheel.queued_len(Queue::Turn)) as u64);
        progress
    }

    fn progress(&self, s: &Shared, now: Tick) -> Progress {
        let turn = self.wheel.queued_len(Queue::Turn) > 0 && self.outstanding < self.max_outstanding;
        let room = self.wheel.queued_len(Queue::Room) > 0 || turn;
        let more = match self.room(s) {
            Room::Pause => true,
            Room::Yes if room => true,
            _ => {
                self.wheel.draining()
                    || self.wheel.next_look().is_some_and(|tick| tick <= now)
                    || !self.collector.is_done(&s.slab)
            }
        };
        if more { Progress::More } else { Progress::Rest }
    }

    /// Looks again at the hosts that were waiting before this step.
    fn serve_waiting(&mut self, s: &Shared) {
        let mut room = self.wheel.queued_len(Queue::Room);
        while room > 0 && self.room(s) == Room::Yes {
            let Some(index) = self.wheel.pop_queued(&s.slab, Queue::Room) else { break };
            self.visit(s, index);
            room -= 1;
        }
        let mut turn = self.wheel.queued_len(Queue::Turn);
        while turn > 0 && self.room(s) == Room::Yes && self.outstanding < self.max_outstanding {
            let Some(index) = self.wheel.pop_queued(&s.slab, Queue::Turn) else { break };
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

    fn room(&self, s: &Shared) -> Room {
        match &s.queue {
            Some(queue) if queue.is_full() => Room::Full,
            None if self.batch.len() >= self.batch_limit => Room::Pause,
            _ => Room::Yes,
        }
    }

    /// Looks at a record and does what its word asks for. Early visits are harmless, so anyone may cause one.
    fn visit(&mut self, s: &Shared, index: u32) {
        s.thread.visits.add(1);
        let record = s.slab.record(index);
        loop {
            let word = record.word();
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
    fn visit_live(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        if record.has(SUSPECTED) {
            if self.room(s) == Room::Full {
                return self.wait(s, index, record, Queue::Room);
            }
            record.set(SUSPECTED, false);
            self.suspects -= 1;
            s.thread.recoveries.add(1);
            let event = self.event(s, index, record, word, EventKind::Recovered);
            self.emit(s, event);
        }
        let now = self.observer.tick();
        let deadline = s.deadline(word);
        if deadline > now {
            record.set(RESCUED, false);
            return self.place(s, index, record, deadline);
        }
        if s.terms.grace(word.cadence()) == 0 {
            return self.take(s, index, record, word);
        }
        if self.room(s) == Room::Full {
            return self.wait(s, index, record, Queue::Room);
        }
        let suspect = word.with_state(State::Suspect);
        if !record.swap_word(word, suspect) {
            return false;
        }
        record.set(SUSPECTED, true);
        self.suspects += 1;
        s.thread.suspects.add(1);
        let event = self.event(s, index, record, suspect, EventKind::Suspect);
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
        let leaves_at = s.leaves_at(word);
        let leaves_at = leaves_at - Tick::from(planted(Canary::Early));
        if leaves_at > self.observer.tick() {
            return self.place(s, index, record, leaves_at);
        }
        self.take(s, index, record, word)
    }

    /// A due host becomes a leave event, if there is room for one.
    fn take(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        if self.outstanding >= self.max_outstanding {
            return self.wait(s, index, record, Queue::Turn);
        }
        if self.room(s) == Room::Full {
            return self.wait(s, index, record, Queue::Room);
        }
        let taken = word.with_state(State::Taken);
        if !claim(record, word, taken) {
            return false;
        }
        let now = self.observer.tick();
        self.arm(record, now);
        self.outstanding += 1;
        let event = self.event(s, index, record, taken, EventKind::Leave);
        // Before it is delivered, so that the consumer's next announce of the id makes a new incarnation.
        s.index.remove(&event.id, event.handle);
        s.thread.late(event.lateness_ns);
        match event.reason {
            Reason::Ttl => s.thread.leaves_ttl.add(1),
            Reason::HostTtl => s.thread.leaves_host_ttl.add(1),
            Reason::Backstop => s.thread.leaves_backstop.add(1),
        }
        self.hand_out(s, index, record, event);
        true
    }

    /// Gives a leave to the consumer; a drained one is outstanding until it is settled.
    fn hand_out(&mut self, s: &Shared, index: u32, record: &Record, event: Event) {
        if planted(Canary::Double) {
            self.emit(s, event.clone());
        }
        if s.queue.is_some() {
            let due = self.observer.tick() + self.settle_timeout;
            let entry = Entry { attempt: event.attempt, reason: event.reason, phase: Phase::Out(due) };
            lock(&s.outstanding).set(event.handle, entry);
            self.schedule(s, index, record, due);
        } else {
            self.wheel.unlist(&s.slab, index);
        }
        self.emit(s, event);
    }

    fn visit_left(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        if self.observer.tick() <= word.last() {
            // Stamped with the clock's margin: freed once wheel time has passed it, so that the floor never runs ahead.
            self.schedule(s, index, record, word.last() + 1);
            return true;
        }
        let handle = Handle::new(index, record.generation());
        // SAFETY: this is the observer, and the record is Left.
        let id = unsafe { record.id() };
        if planted(Canary::FreeBeforeUnindex) {
            self.free(s, index, record);
        }
        s.index.remove(&id, handle);
        if !planted(Canary::FreeBeforeUnindex) {
            self.free(s, index, record);
        }
        true
    }

    fn visit_taken(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        let handle = Handle::new(index, record.generation());
        // None: in the batch that is about to be delivered, and not answered yet.
        let Some(entry) = lock(&s.outstanding).get(handle) else { return true };
        let now = self.observer.tick();
        match entry.phase {
            Phase::Answered(verdict) => self.act_on(s, index, record, entry, verdict),
            Phase::Out(due) | Phase::Retry(due) if due > now => self.schedule(s, index, record, due),
            Phase::Out(_) | Phase::Retry(_) => {
                if self.room(s) == Room::Full {
                    return self.wait(s, index, record, Queue::Room);
                }
                lock(&s.outstanding).remove(handle);
                s.thread.retries.add(1);
                let event = Event {
                    attempt: entry.attempt + 1,
                    reason: entry.reason,
                    ..self.event(s, index, record, word, EventKind::Leave)
                };
                self.hand_out(s, index, record, event);
            }
        }
        true
    }

    /// The verdict of a callback on a leave of the last batch.
    pub(crate) fn answer(&mut self, s: &Shared, event: &Event, verdict: Verdict) {
        let index = event.handle.index();
        let entry = Entry { attempt: event.attempt, reason: event.reason, phase: Phase::Answered(verdict) };
        self.act_on(s, index, s.slab.record(index), entry, verdict);
    }

    fn act_on(&mut self, s: &Shared, index: u32, record: &Record, entry: Entry, verdict: Verdict) {
        let handle = Handle::new(index, record.generation());
        match verdict {
            Verdict::Done => {
                if s.queue.is_some() {
                    lock(&s.outstanding).remove(handle);
                }
                self.outstanding -= 1;
                self.free(s, index, record);
            }
            Verdict::Retry(after) => {
                let due = self.observer.tick() + backoff(entry.attempt, after);
                lock(&s.outstanding).set(handle, Entry { phase: Phase::Retry(due), ..entry });
                if !planted(Canary::ForgottenRetry) {
                    self.schedule(s, index, record, due);
                }
            }
        }
    }

    /// The last rite: the index entry is gone, wheel time has passed the last announce.
    fn free(&mut self, s: &Shared, index: u32, record: &Record) {
        self.wheel.unlist(&s.slab, index);
        if record.has(SUSPECTED) {
            self.suspects -= 1;
        }
        if record.armed() != NONE {
            self.known -= 1;
        }
        // SAFETY: this is the observer; the record is Left or Taken and freed next.
        unsafe { record.drop_id() };
        s.slab.release(index);
    }

    /// Arms a living host for `due` and puts its hint there, or earlier if its deadline moved while we did. See the
    /// handshake in the module above.
    fn place(&mut self, s: &Shared, index: u32, record: &Record, mut due: Tick) -> bool {
        loop {
            self.arm(record, due);
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

    /// As [`place`](Self::place), for a record that no announce can change any more.
    fn schedule(&mut self, s: &Shared, index: u32, record: &Record, due: Tick) {
        self.arm(record, due);
        self.wheel.schedule(&s.slab, index, due);
    }

    /// Puts a record into a waiting queue; an announce or a leave still finds it there.
    fn wait(&mut self, s: &Shared, index: u32, record: &Record, queue: Queue) -> bool {
        self.arm(record, self.observer.tick());
        self.wheel.park(&s.slab, index, queue);
        true
    }

    fn arm(&mut self, record: &Record, due: Tick) {
        if record.armed() == NONE {
            self.known += 1;
        }
        record.set_armed(due);
    }

    fn event(&self, s: &Shared, index: u32, record: &Record, word: Word, kind: EventKind) -> Event {
        let deadline = s.deadline(word);
        let due = if kind == EventKind::Leave { s.leaves_at(word) } else { deadline };
        Event {
            kind,
            reason: if record.has(RESCUED) {
                Reason::Backstop
            } else if word.cadence().is_none() {
                Reason::HostTtl
            } else {
                Reason::Ttl
            },
            superseded: false,
            attempt: 1,
            handle: Handle::new(index, record.generation()),
            // SAFETY: this is the observer, and the record is not free.
            id: unsafe { record.id() },
            user_data: record.user_data(),
            cadence: word.cadence(),
            last: word.last(),
            deadline,
            now: self.observer.tick(),
            lateness_ns: if kind == EventKind::Recovered { 0 } else { self.observer.late_ns(due) },
            away_ns: self.observer.missed_since_ns(word.last()),
        }
    }

    fn emit(&mut self, s: &Shared, event: Event) {
        match &s.queue {
            None => self.batch.push(event),
            Some(queue) => {
                // The observer is the only one who pushes, and there was room.
                let pushed = queue.push(event).is_ok();
                debug_assert!(pushed, "an event was made without room for it");
                self.pushed += 1;
            }
        }
    }

    /// The events of the last step, in the order in which they happened. Each leave wants an [`answer`](Self::answer).
    pub(crate) fn take_batch(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.batch)
    }

    /// Gives the emptied batch back, for its memory.
    pub(crate) fn return_batch(&mut self, mut batch: Vec<Event>) {
        batch.clear();
        if self.batch.is_empty() {
            self.batch = batch;
        }
    }

    /// How many events went into the queue since the last call.
    pub(crate) fn take_pushed(&mut self) -> usize {
        std::mem::take(&mut self.pushed)
    }

    /// When to step again if nobody wakes the observer; `None`: never.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        if self.known == 0 {
            return None;
        }
        [self.wheel.next_look(), self.observer.next_look(), self.backstop.next_slice()].into_iter().flatten().min()
    }

    /// Declares that the observer sleeps until `alarm` (`None`: until it is woken); false if it must not.
    pub(crate) fn may_sleep(&self, s: &Shared, alarm: Option<Tick>) -> bool {
        let starved = self.wheel.queued_len(Queue::Room) > 0;
        // Relaxed, both: the fence orders them before what is read next.
        s.starved.store(starved, Ordering::Relaxed);
        s.alarm.store(alarm.unwrap_or(Tick::MAX), Ordering::Relaxed);
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

    /// Looks at the next slice of all records, if one is due: see [`Backstop`].
    fn sweep(&mut self, s: &Shared, now: Tick) {
        let Some(slice) = self.backstop.take_slice(now, s.slab.used()) else { return };
        for index in slice {
            if self.room(s) != Room::Yes {
                // The consumer is slow: the rest of the slice comes with the next look.
                self.backstop.resume(index, now + 1);
                return;
            }
            let record = s.slab.record(index);
            if self.is_lost(s, index, record, now) {
                s.thread.rescues.add(1);
                record.set(RESCUED, true);
                if !self.wheel.unlist(&s.slab, index) {
                    record.set_place(0, 0);
                }
                self.visit(s, index);
            }
        }
    }

    fn is_lost(&self, s: &Shared, index: u32, record: &Record, now: Tick) -> bool {
        let word = record.word();
        let due = match word.state() {
            State::Free | State::Reserved => return false,
            State::Left => {
                // Its mark may be on the way: only one that was Left at the last sweep already is lost.
                let lingered = record.has(LINGERED);
                record.set(LINGERED, true);
                return lingered && now > word.last();
            }
            State::Live | State::Suspect if record.armed() == NONE => s.look_at(word),
            State::Live | State::Suspect | State::Taken => record.armed(),
        };
        due + OVERDUE < now && !self.wheel.queued(&s.slab, index)
    }

    /// The observer's time.
    pub(crate) fn now(&self) -> Tick {
        self.observer.tick()
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
    #[cfg(all(test, not(loom)))]
    pub(crate) fn check_invariants(&self, s: &Shared) {
        self.wheel.check_invariants(&s.slab);
        s.slab.check_invariants();
        let mut known = 0;
        for index in 0..s.slab.used() {
            let record = s.slab.record(index);
            known += usize::from(record.armed() != NONE);
        }
        assert_eq!(known, self.known, "the count of known records is off");
    }
}

/// Takes a due host, unless its word has changed.
fn claim(record: &Record, word: Word, taken: Word) -> bool {
    if planted(Canary::BlindTake) {
        record.store_word(taken);
        return true;
    }
    record.swap_word(word, taken)
}
