//! What the observer tells of its guards: each change once, in the order in which it saw them.

use super::Shared;
use super::engine::Engine;
use crate::clock::ClockKind;
use crate::event::{GuardEvent, GuardKind};
use crate::tick::Tick;
use crate::wheel::Queue;

/// The most guard events that wait to be drained; the oldest ones give way.
pub(super) const KEPT: usize = 64;

/// The most guard events of a step.
const PER_STEP: usize = 8;

/// What was told of the guards last, and what is to be told.
pub(super) struct Told {
    /// The beginning of the silence that was told.
    silence: Option<Tick>,
    silences: u64,
    /// Since when the brake has held hosts, if that was told.
    brake: Option<Tick>,
    /// What announces were stamped with; `None` before the first step.
    clock: Option<ClockKind>,
    /// Since when.
    clock_since: Tick,
    /// Of the last step, for callbacks.
    pub(super) events: Vec<GuardEvent>,
    /// Events were put among those that wait to be drained.
    pub(super) put: bool,
}

impl Told {
    pub(super) fn new() -> Told {
        let events = Vec::with_capacity(PER_STEP);
        Told { silence: None, silences: 0, brake: None, clock: None, clock_since: 0, events, put: false }
    }
}

impl Engine {
    /// The observer was away: time stood still at `now`.
    pub(super) fn tell_of_absence(&mut self, s: &Shared, now: Tick, lasted_ns: u64) {
        self.tell_guard(s, GuardEvent { lasted_ns, ..GuardEvent::new(GuardKind::Away, now, now, self.waiting()) });
    }

    /// Tells what has changed in this step.
    pub(super) fn tell_of_changes(&mut self, s: &Shared, now: Tick, braking: bool) {
        let waiting = self.waiting();
        if let Some(since) = self.told.silence
            && self.silence.since() != Some(since)
        {
            self.told.silence = None;
            let ended = self.silence.ended().unwrap_or(now);
            let event = GuardEvent { now, ..GuardEvent::new(GuardKind::SilenceEnded, since, ended, waiting) };
            self.tell_guard(s, event);
        }
        if self.silence.starts() != self.told.silences {
            self.told.silences = self.silence.starts();
            self.told.silence = self.silence.since();
            let heard = s.clock.heard_until();
            self.tell_guard(s, GuardEvent::new(GuardKind::SilenceBegan, heard.min(now), now, waiting));
        }
        match self.told.brake {
            None if braking => {
                self.told.brake = Some(now);
                self.tell_guard(s, GuardEvent::new(GuardKind::BrakeBegan, now, now, waiting));
            }
            Some(since) if self.wheel.queued_len(Queue::Turn) == 0 => {
                self.told.brake = None;
                self.tell_guard(s, GuardEvent::new(GuardKind::BrakeEnded, since, now, waiting));
            }
            _ => {}
        }
        let clock = s.clock.kind();
        let before = self.told.clock.replace(clock);
        if before.is_some_and(|before| before != clock) {
            let (kind, since) = match clock {
                ClockKind::Counter => (GuardKind::ClockCameBack, self.told.clock_since),
                _ => (GuardKind::ClockFellBack, now),
            };
            self.told.clock_since = now;
            self.tell_guard(s, GuardEvent::new(kind, since, now, waiting));
        }
    }

    fn waiting(&self) -> u64 {
        self.wheel.queued_len(Queue::Turn) as u64
    }

    fn tell_guard(&mut self, s: &Shared, event: GuardEvent) {
        if s.queue.is_none() {
            self.told.events.push(event);
            return;
        }
        s.guards.force_push(event);
        self.told.put = true;
    }

    /// Whether guard events were put among those that wait to be drained since the last call.
    pub(crate) fn take_put(&mut self) -> bool {
        std::mem::take(&mut self.told.put)
    }

    /// Takes the guard events of the last step, for callbacks.
    pub(crate) fn take_guards(&mut self) -> Vec<GuardEvent> {
        std::mem::take(&mut self.told.events)
    }

    /// Gives the emptied list back, for its memory.
    pub(crate) fn return_guards(&mut self, mut events: Vec<GuardEvent>) {
        events.clear();
        if self.told.events.is_empty() {
            self.told.events = events;
        }
    }
}
