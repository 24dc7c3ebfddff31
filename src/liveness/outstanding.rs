//! Leaves that were handed out and wait for an answer, or for their next attempt.
//!
//! A small table under a mutex, which callers hold for one look-up and never in a callback. In it are drained leaves from
//! their hand-out on, and leaves whose callback asked for a retry.

use std::collections::HashMap;

use crate::error::SettleError;
use crate::event::{Reason, Verdict};
use crate::record::Handle;
use crate::tick::{Tick, ticks_ceil};

/// One leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// How many times it was handed out.
    pub(super) attempt: u32,
    pub(super) reason: Reason,
    /// How long it was held back before.
    pub(super) held: Tick,
    pub(super) phase: Phase,
}

impl Entry {
    /// The number of the attempt after this one.
    pub(super) fn next_attempt(&self) -> u32 {
        self.attempt.saturating_add(1)
    }
}

/// What an outstanding leave waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A callback, which is about to be called.
    InBatch,
    /// The consumer to drain it. There is one copy of a leave in the queue, however long it stays there.
    Queued,
    /// The consumer's answer, until the tick.
    Out(Tick),
    /// The observer, who has yet to act on the answer.
    Answered(Verdict),
    /// The next attempt, at the tick.
    Retry(Tick),
}

/// What the observer has to do about a leave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// A callback has yet to answer it. Its first attempt is not in the table.
    InBatch,
    /// Nothing before the tick.
    Wait(Tick),
    /// Another attempt is due, and there is no room for it.
    NoRoom,
    /// Act on the answer.
    Answered(Entry, Verdict),
    /// Another attempt is due; the entry is that of the last one.
    Again(Entry),
}

/// The table.
#[derive(Debug)]
pub(super) struct Outstanding {
    entries: HashMap<Handle, Entry>,
    /// Memory for so many entries is kept, once there is any.
    kept: usize,
}

impl Outstanding {
    /// An empty table. Who has [reserved](Self::reserve) no more than `kept` entries finds memory for them later, too.
    pub(super) fn new(kept: usize) -> Outstanding {
        Outstanding { entries: HashMap::new(), kept }
    }

    /// Makes sure that there is memory for so many more entries; false if the system refuses it.
    pub(super) fn reserve(&mut self, more: usize) -> bool {
        self.entries.try_reserve(more).is_ok()
    }

    /// What is to be done at `now`, to look again at `later` if nothing.
    pub(super) fn next(&self, handle: Handle, now: Tick, room: bool, later: Tick) -> Next {
        let Some(entry) = self.entries.get(&handle) else { return Next::InBatch };
        match entry.phase {
            Phase::InBatch => Next::InBatch,
            Phase::Queued => Next::Wait(later),
            Phase::Answered(verdict) => Next::Answered(*entry, verdict),
            Phase::Out(due) | Phase::Retry(due) if due > now => Next::Wait(due),
            Phase::Out(_) | Phase::Retry(_) if !room => Next::NoRoom,
            Phase::Out(_) | Phase::Retry(_) => Next::Again(*entry),
        }
    }

    /// Another attempt begins, after [`next`](Self::next) said so. False if the attempt before was answered meanwhile.
    pub(super) fn begin(&mut self, handle: Handle, drained: bool) -> bool {
        let entry =
            self.entries.get_mut(&handle).filter(|entry| matches!(entry.phase, Phase::Out(_) | Phase::Retry(_)));
        let Some(entry) = entry else { return false };
        entry.attempt = entry.next_attempt();
        entry.phase = if drained { Phase::Queued } else { Phase::InBatch };
        true
    }

    /// The consumer has drained an attempt, and has until the tick to answer it.
    pub(super) fn drained(&mut self, handle: Handle, answer_by: Tick) {
        if let Some(entry) = self.entries.get_mut(&handle)
            && entry.phase == Phase::Queued
        {
            entry.phase = Phase::Out(answer_by);
        }
    }

    /// Whether no attempt was drained yet.
    pub(super) fn is_untold(&self, handle: Handle) -> bool {
        self.entries.get(&handle).is_some_and(|entry| entry.phase == Phase::Queued && entry.attempt == 1)
    }

    /// Notes what is to be done about a leave, for which there is memory.
    pub(super) fn set(&mut self, handle: Handle, entry: Entry) {
        self.entries.insert(handle, entry);
    }

    pub(super) fn remove(&mut self, handle: Handle) {
        self.entries.remove(&handle);
        // A burst of leaves must not be paid for ever.
        let keep = self.kept.max(1024);
        if self.entries.capacity() / 8 > self.entries.len().max(keep) {
            let mut smaller = HashMap::new();
            if smaller.try_reserve(self.entries.len() + keep).is_ok() {
                smaller.extend(self.entries.drain());
                self.entries = smaller;
            }
        }
    }

    /// The consumer's answer to one attempt; only the first to the current attempt counts.
    pub(super) fn settle(&mut self, handle: Handle, attempt: u32, verdict: Verdict) -> Result<(), SettleError> {
        let entry = self.entries.get_mut(&handle).ok_or(SettleError::Stale)?;
        match entry.phase {
            Phase::Out(_) if entry.attempt == attempt => {
                entry.phase = Phase::Answered(verdict);
                Ok(())
            }
            Phase::Answered(Verdict::Done) => Err(SettleError::Stale),
            _ => Err(SettleError::Attempt),
        }
    }
}

/// How long after attempt number `attempt` the next one comes: what was asked for, or 1 s doubling to 60 s.
pub(crate) fn backoff(attempt: u32, asked: std::time::Duration) -> Tick {
    if asked.is_zero() { 1000 << attempt.saturating_sub(1).min(6) } else { ticks_ceil(asked) }
        .clamp(1, if asked.is_zero() { 60_000 } else { Tick::MAX >> 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn back_off_doubles_to_a_minute_unless_told() {
        let waits: Vec<Tick> = (1..=9).map(|attempt| backoff(attempt, Duration::ZERO)).collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(backoff(u32::MAX, Duration::ZERO), 60_000);
        assert_eq!(backoff(3, Duration::from_secs(120)), 120_000);
        assert_eq!(backoff(3, Duration::from_nanos(1)), 1);
    }

    #[test]
    fn an_attempt_begins_when_it_is_due_and_there_is_room() {
        let handle = Handle::new(1, 1);
        let mut table = Outstanding::new(0);
        assert!(matches!(table.next(handle, 9, true, 70), Next::InBatch));
        table.set(handle, Entry { attempt: 1, reason: Reason::Ttl, held: 0, phase: Phase::Retry(10) });
        assert!(matches!(table.next(handle, 9, true, 70), Next::Wait(10)));
        assert!(matches!(table.next(handle, 10, false, 70), Next::NoRoom));
        assert!(matches!(table.next(handle, 10, true, 70), Next::Again(Entry { attempt: 1, .. })));
        assert!(table.begin(handle, true));
        assert!(matches!(table.next(handle, 900, true, 960), Next::Wait(960)), "in the queue it does not age");
        assert_eq!(table.settle(handle, 2, Verdict::Done), Err(SettleError::Attempt), "nobody has drained it yet");
        assert!(!table.begin(handle, true), "it has begun");
        table.drained(handle, 1000);
        assert!(matches!(table.next(handle, 999, true, 1060), Next::Wait(1000)));
        assert_eq!(table.settle(handle, 2, Verdict::Done), Ok(()));
        // Late, and answered all the same: it is not handed out again.
        assert!(!table.begin(handle, true));
        assert!(matches!(table.next(handle, 1001, true, 1060), Next::Answered(_, Verdict::Done)));
        table.set(handle, Entry { attempt: 1, reason: Reason::Ttl, held: 0, phase: Phase::Retry(10) });
        assert!(matches!(table.next(handle, 10, true, 70), Next::Again(Entry { attempt: 1, .. })));
        assert!(table.begin(handle, false));
        assert!(matches!(table.next(handle, 10, true, 70), Next::InBatch));
    }

    #[test]
    fn one_answer_to_one_attempt() {
        let handle = Handle::new(1, 1);
        let mut table = Outstanding::new(0);
        assert_eq!(table.settle(handle, 1, Verdict::Done), Err(SettleError::Stale));
        let out = Entry { attempt: 2, reason: Reason::Ttl, held: 0, phase: Phase::Out(5) };
        table.set(handle, out);
        assert_eq!(table.settle(handle, 1, Verdict::Done), Err(SettleError::Attempt));
        assert_eq!(table.settle(handle, 3, Verdict::Done), Err(SettleError::Attempt));
        assert_eq!(table.settle(handle, 2, Verdict::Retry(Duration::ZERO)), Ok(()));
        assert_eq!(table.settle(handle, 2, Verdict::Done), Err(SettleError::Attempt), "answered already");
        table.set(handle, out);
        assert_eq!(table.settle(handle, 2, Verdict::Done), Ok(()));
        assert_eq!(table.settle(handle, 2, Verdict::Done), Err(SettleError::Stale));
        table.set(handle, Entry { phase: Phase::Retry(9), ..out });
        assert_eq!(table.settle(handle, 2, Verdict::Done), Err(SettleError::Attempt), "answered already");
    }
}
