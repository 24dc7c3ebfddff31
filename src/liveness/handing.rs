//! The observer's side of delivery: due hosts become leaves, leaves get answers, answers free or retry.

use super::engine::{Engine, Room};
use super::outstanding::{Entry, Next, Phase, backoff};
use super::queue::EventQueue;
use super::{Shared, lock};
use crate::canary::{Canary, planted};
use crate::event::{Event, EventKind, HostId, Reason, Verdict};
use crate::guard::{Due, Quiet};
use crate::index::Index;
use crate::memory::is_refused;
use crate::pause::{Point, point};
use crate::record::{BORN_LATE, HELD, Handle, RESCUED, Record, State, TOLD, Word};
use crate::tick::{TICK_NS, Tick, tick_floor};
use crate::wheel::Queue;

/// How long hosts wait when the system refused memory for an event, in ticks.
const PATIENCE: Tick = 10;

impl Engine {
    /// Has the memory for an event of a host and, if it begins to wait for an answer to it, for what is noted of it meanwhile.
    /// Returns a copy of the host's id. `None` if the system refuses it: then events find no [`room`](Self::room) for a while.
    pub(super) fn provide(&mut self, s: &Shared, index: u32, begins: Option<EventKind>) -> Option<HostId> {
        let id = s.slab.host_id(index).filter(|_| {
            let event = s.queue.as_ref().map_or_else(|| self.batch.try_reserve(1).is_ok(), EventQueue::reserve);
            let noted = match begins {
                // Of each leave in the batch a callback may say that it is to be tried again.
                Some(EventKind::Leave) => lock(&s.outstanding).reserve(self.batch.len() + 1),
                Some(EventKind::Suspect) if s.queue.is_some() => s.reserve_untold(),
                _ => true,
            };
            event && noted && !is_refused()
        });
        if id.is_none() {
            self.short_until = self.observer.tick() + PATIENCE;
            s.thread.memory_refusals.add(1);
        }
        id
    }

    /// A due host becomes a leave event, if there is room for one.
    pub(super) fn take(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        let now = self.observer.tick();
        if s.queue.is_some() && s.is_untold(Handle::new(index, record.generation()), true) && !planted(Canary::Untold) {
            // In no list until it was seen.
            self.arm(record, now);
            self.wheel.unlist(&s.slab, index);
            return true;
        }
        if let Some(until) = self.ask_silence(s, word) {
            record.hold(now);
            return self.spare(s, index, record, word, until);
        }
        if !self.may_take(s) {
            record.hold(now);
            return self.wait(s, index, record, Queue::Turn);
        }
        if self.room(s) == Room::Full {
            return self.wait(s, index, record, Queue::Room);
        }
        let Some(id) = self.provide(s, index, Some(EventKind::Leave)) else {
            return self.wait(s, index, record, Queue::Room);
        };
        let taken = word.with_state(State::Taken);
        point(Point::Due);
        if !claim(record, word, taken) {
            return false;
        }
        point(Point::Claimed);
        self.end_suspicion(s, record);
        self.recount(s, record, None);
        self.brake.pass();
        s.thread.outstanding.add(1);
        let event = self.event(s, record, taken, EventKind::Leave, (index, id));
        // Before it is delivered, so that the consumer's next announce of the id makes a new incarnation.
        s.index.remove(&s.slab, record.identity(), event.handle);
        s.thread.late(event.lateness_ns.saturating_sub(event.held * TICK_NS));
        match event.reason {
            Reason::Ttl => s.thread.leaves_ttl.add(1),
            Reason::HostTtl => s.thread.leaves_host_ttl.add(1),
            Reason::Backstop => s.thread.leaves_backstop.add(1),
        }
        if s.queue.is_some() {
            let entry = Entry { attempt: 1, reason: event.reason, held: event.held, phase: Phase::Queued };
            lock(&s.outstanding).set(event.handle, entry);
        }
        self.hand_out(s, index, record, event);
        true
    }

    /// Asks silence about a due host: the tick until which it is spared because it has had no chance to be heard since one
    /// ended. Starts one if this is the sign of it.
    fn ask_silence(&mut self, s: &Shared, word: Word) -> Option<Tick> {
        let now = self.observer.tick();
        let (interval, grace) = (s.terms.effective_interval(word.cadence()), s.terms.grace(word.cadence()));
        if !self.silence.may_hold(s.leaves_at(word), interval, grace, now) {
            return None;
        }
        let (heard, due) = (s.clock.heard_until(), Due { interval, grace, at: s.leaves_at(word) });
        if self.silence.ask(now, heard, due, &self.rates) == Quiet::Unusual {
            self.ask_witnesses(s, heard, due);
        }
        let spared = self.silence.spares_until(word.last(), interval, grace);
        (spared > now && !self.silence.lasts()).then_some(spared)
    }

    /// Asks the living hosts which announces were due since one was `heard`. O(records), once in a quiet time that is longer than
    /// any before, and less where enough were due.
    #[cold]
    fn ask_witnesses(&mut self, s: &Shared, heard: Tick, due: Due) {
        let now = self.observer.tick();
        let witnesses = self.silence.witnesses(now, heard, due);
        for index in 0..s.slab.used() {
            let word = s.slab.record(index).word();
            if word.is_alive() {
                witnesses.add(word.last(), s.terms.effective_interval(word.cadence()));
                if witnesses.suffice() {
                    break;
                }
            }
        }
        self.silence.judge(now, heard, due);
    }

    /// Gives a leave to the consumer; a drained one is outstanding until it is settled.
    fn hand_out(&mut self, s: &Shared, index: u32, record: &Record, event: Event) {
        if planted(Canary::Double) {
            self.emit(s, event.clone());
        }
        if s.queue.is_some() {
            self.schedule(s, index, record, self.observer.tick() + s.settle_timeout);
        } else {
            // In the batch, and so in no list; it is not overdue there.
            self.arm(record, self.observer.tick());
            self.wheel.unlist(&s.slab, index);
        }
        self.emit(s, event);
    }

    pub(super) fn visit_taken(&mut self, s: &Shared, index: u32, record: &Record, word: Word) -> bool {
        let handle = Handle::new(index, record.generation());
        let now = self.observer.tick();
        let may_go = self.room(s) != Room::Full;
        // An answer that was accepted is never passed over: `begin` looks again.
        let next = lock(&s.outstanding).next(handle, now, may_go, now + s.settle_timeout);
        match next {
            // In the batch that is about to be delivered, and not answered yet.
            Next::InBatch => {}
            Next::Wait(due) => self.schedule(s, index, record, due),
            Next::NoRoom => return self.wait(s, index, record, Queue::Room),
            Next::Answered(entry, verdict) => self.act_on(s, index, record, entry, verdict),
            Next::Again(entry) => {
                let Some(id) = self.provide(s, index, None) else {
                    return self.wait(s, index, record, Queue::Room);
                };
                point(Point::Retrying);
                if !lock(&s.outstanding).begin(handle, s.queue.is_some()) {
                    return false;
                }
                s.thread.retries.add(1);
                let event = self.event(s, record, word, EventKind::Leave, (index, id));
                let event = Event { attempt: entry.next_attempt(), reason: entry.reason, held: entry.held, ..event };
                self.hand_out(s, index, record, event);
            }
        }
        true
    }

    /// A callback is about to be called with an event of the last batch.
    pub(crate) fn tells(&self, s: &Shared, event: &Event) {
        if event.kind == EventKind::Leave {
            s.slab.record(event.handle.index()).set(TOLD, true);
        }
    }

    /// The verdict of a callback on a leave of the last batch.
    pub(crate) fn answer(&mut self, s: &Shared, event: &Event, verdict: Verdict) {
        let index = event.handle.index();
        let phase = Phase::Answered(verdict);
        let entry = Entry { attempt: event.attempt, reason: event.reason, held: event.held, phase };
        self.act_on(s, index, s.slab.record(index), entry, verdict);
    }

    fn act_on(&mut self, s: &Shared, index: u32, record: &Record, entry: Entry, verdict: Verdict) {
        let handle = Handle::new(index, record.generation());
        match verdict {
            Verdict::Done => {
                if s.queue.is_some() || entry.attempt > 1 {
                    lock(&s.outstanding).remove(handle);
                }
                s.thread.outstanding.sub(1);
                s.give_place_back();
                self.free(s, index, record);
            }
            Verdict::Retry(after) => {
                // From now on, not from the last look: callbacks may have taken their time since.
                let now = tick_floor(s.clock.now_ns()).max(self.observer.tick());
                let due = now + backoff(entry.attempt, after);
                lock(&s.outstanding).set(handle, Entry { phase: Phase::Retry(due), ..entry });
                if !planted(Canary::ForgottenRetry) {
                    self.schedule(s, index, record, due);
                }
            }
        }
    }

    pub(super) fn event(
        &self,
        s: &Shared,
        record: &Record,
        word: Word,
        kind: EventKind,
        (index, id): (u32, HostId),
    ) -> Event {
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
            id,
            user_data: record.user_data(),
            cadence: word.cadence(),
            last: word.last(),
            deadline,
            now: self.observer.tick(),
            lateness_ns: if kind == EventKind::Recovered || record.has(BORN_LATE) {
                0
            } else {
                self.observer.late_ns(due)
            },
            away_ns: self.observer.missed_since_ns(word.last()),
            held: if kind == EventKind::Leave && record.has(HELD) {
                // It may have been heard while it waited, and be due again.
                self.observer.tick().saturating_sub(record.held_since().max(due))
            } else {
                0
            },
        }
    }

    pub(super) fn emit(&mut self, s: &Shared, event: Event) {
        match &s.queue {
            None => self.batch.push(event),
            Some(queue) => {
                if event.kind == EventKind::Suspect {
                    // Before it can be drained.
                    s.tell(event.handle);
                }
                // The observer is the only one who pushes, and there was room.
                queue.push(event);
                self.pushed += 1;
            }
        }
    }

    /// Whether the last step made events, of hosts or of guards.
    pub(crate) fn has_events(&self) -> bool {
        !self.batch.is_empty() || self.pushed > 0 || !self.told.events.is_empty() || self.told.put
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
}

/// Takes a due host, unless its word has changed.
fn claim(record: &Record, word: Word, taken: Word) -> bool {
    if planted(Canary::BlindTake) {
        record.store_word(taken);
        return true;
    }
    record.swap_word(word, taken)
}
