//! The simulation's model: what each host's life must look like, cheap enough for 10^8 announces.
//!
//! It knows a host by its place in the fleet, which is also its user data. It hears of every announce and goodbye
//! (`acts.rs`), of every event and answer (`judge.rs`), and of every look. What must come by when it keeps in two heaps, whose entries
//! may be out of date: an entry is only the promise to look again. That is the wheel's own idea, over the simplest of
//! structures.
//!
//! With callbacks the model is exact. Drained events come to its knowledge when they are drained, so what a host's state
//! is before that it infers from what announces return, and what had to come by then it checks when the queue is empty.
//!
//! A broken promise is kept, not thrown, because callbacks run inside the library, which catches panics.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use super::oracle::{ObservedTime, Rules, back_off_ms};
use super::plan::Plan;
use crate::liveness::SPARE;
use crate::{Handle, Verdict};

/// One incarnation of a host.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) handle: Handle,
    pub(super) last_ms: i64,
    pub(super) interval_ms: u64,
    pub(super) suspect: bool,
    /// A suspect event came and no recovered event after it.
    pub(super) told: bool,
    /// The look after which it was heard again as a suspect, and the time then.
    pub(super) recovered: (u64, i64),
    /// The last change of when it may leave that could lie in the past: a registration or renewal with an age, a suspect event
    /// that was drained.
    pub(super) aged_ms: i64,
    /// It was overdue when it registered.
    pub(super) born_late: bool,
    /// The earliest entry in `Model::due`.
    pub(super) checked_ms: i64,
}

/// Where a leave stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// It must be in the queue: an announce by handle was refused for it, or its id registered anew.
    Unseen,
    /// In the callback, or drained and not answered; may be handed out again from this time on.
    Out(i64),
    /// Settled; acted upon at the next look.
    Answered(Verdict),
    /// To be handed out again at this time.
    Retry(i64),
}

/// An incarnation that was handed out as a leave.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) life: Life,
    pub(super) attempt: u32,
    pub(super) phase: Phase,
}

/// What happened in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) announces: u64,
    pub(super) registered: u64,
    pub(super) left: u64,
    pub(super) leaves: u64,
    pub(super) suspects: u64,
    pub(super) recoveries: u64,
    pub(super) retries: u64,
    pub(super) panics: u64,
    pub(super) superseded: u64,
    pub(super) full: u64,
    pub(super) pauses: u64,
    pub(super) looks: u64,
    pub(super) refused: u64,
    pub(super) retired: u64,
    pub(super) years: f64,
}

/// See the module's documentation.
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) time: ObservedTime,
    /// Events are known as they happen.
    pub(super) exact: bool,
    pub(super) ids: Vec<Vec<u8>>,
    pub(super) current: Vec<Option<Life>>,
    /// A handle of an earlier life, to be refused.
    pub(super) stale: Vec<Option<Handle>>,
    pub(super) gone: HashMap<Handle, Gone>,
    pub(super) alive: usize,
    /// Registrations with an age: each may take a record that was never used.
    pub(super) aged: u64,
    issued: HashSet<Handle>,
    /// Per record: the last announce of its last incarnation, and how many it had.
    ended: HashMap<u32, (i64, u32)>,
    lives: u32,
    due: BinaryHeap<Reverse<(i64, u32)>>,
    retries: BinaryHeap<Reverse<(i64, Handle)>>,
    /// Leaves settled since the last look.
    pub(super) answered: Vec<Handle>,
    /// Hosts that said goodbye and whose records may not have come back: in which look or after it, and their last announces.
    departed: Vec<(u64, i64)>,
    /// Hosts that were heard as suspects and whose recovered event did not come yet.
    recovering: Vec<u32>,
    /// Looks that handed something out: their time, and the time of the look before.
    pub(super) looks: VecDeque<(i64, i64)>,
    looked_ms: i64,
    /// The last look at which due hosts had to wait.
    blocked_ms: i64,
    peak: usize,
    pub(super) counts: Counts,
    pub(super) failure: Option<String>,
}

pub(super) const NEVER: i64 = i64::MIN;

impl Model {
    pub(super) fn new(plan: &Plan, rules: Rules) -> Model {
        // Ids of all lengths; the first four bytes tell the host.
        let id = |host: u32| [host.to_be_bytes().to_vec(), vec![b'x'; host as usize % 70]].concat();
        Model {
            time: ObservedTime::new(rules.watchdog_ms, rules.min_interval_ms),
            exact: !rules.drained,
            rules,
            ids: (0..plan.hosts).map(id).collect(),
            current: vec![None; plan.hosts as usize],
            stale: vec![None; plan.hosts as usize],
            gone: HashMap::new(),
            alive: 0,
            aged: 0,
            issued: HashSet::new(),
            ended: HashMap::new(),
            lives: plan.lives,
            due: BinaryHeap::new(),
            retries: BinaryHeap::new(),
            answered: Vec::new(),
            departed: Vec::new(),
            recovering: Vec::new(),
            looks: VecDeque::new(),
            looked_ms: 0,
            blocked_ms: NEVER,
            peak: 0,
            counts: Counts::default(),
            failure: None,
        }
    }

    /// A promise was broken. Only the first counts.
    pub(super) fn broken(&mut self, promise: &str, how: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = Some(format!("{promise}: at {} ms of wheel time, {}", self.time.tick(), how()));
        }
    }

    pub(super) fn deadline_ms(&self, life: &Life) -> i64 {
        life.last_ms + self.rules.ttl_ms(life.interval_ms) as i64
    }

    pub(super) fn leaves_at_ms(&self, life: &Life) -> i64 {
        self.deadline_ms(life) + self.rules.grace_of_ms(life.interval_ms) as i64
    }

    fn due_ms(&self, life: &Life) -> i64 {
        if life.suspect { self.leaves_at_ms(life) } else { self.deadline_ms(life) }
    }

    /// Notes when the host must be looked at next, if that is sooner than planned.
    pub(super) fn plan_check(&mut self, host: u32) {
        let Some(life) = &self.current[host as usize] else { return };
        let due = self.due_ms(life);
        if due < life.checked_ms {
            self.due.push(Reverse((due, host)));
            if let Some(life) = &mut self.current[host as usize] {
                life.checked_ms = due;
            }
        }
    }

    pub(super) fn plan_retry(&mut self, due_ms: i64, handle: Handle) {
        self.retries.push(Reverse((due_ms, handle)));
    }

    /// A host registered. `last_ms` is what the library says; what it asked for lies between `stamp` and now.
    pub(super) fn begins(&mut self, host: u32, handle: Handle, last_ms: i64, stamp: i64, interval_ms: u64) {
        if !self.issued.insert(handle) {
            self.broken("a handle names one incarnation", || format!("{handle} was issued twice"));
        }
        let record = handle.as_raw() as u32;
        let (floor, uses) = self.ended.get(&record).copied().unwrap_or((NEVER, 0));
        if floor >= 0 && last_ms <= floor {
            self.broken("no word repeats", || {
                format!("record {record} counts from {last_ms} ms again, after {floor} ms")
            });
        }
        if uses >= self.lives {
            self.broken("a handle names one incarnation", || format!("record {record} had {uses} lives"));
        }
        if last_ms != stamp.max(0) {
            self.broken("a registration counts from when it was heard", || format!("{last_ms} ms for {stamp} ms"));
        }
        // What lies before the opening shows as the opening.
        let last_ms = if last_ms == 0 { stamp.min(0) } else { last_ms };
        let aged_ms = if stamp < self.time.stamp() { self.time.stamp() } else { NEVER };
        let life = Life {
            handle,
            last_ms,
            interval_ms,
            suspect: false,
            told: false,
            recovered: (0, NEVER),
            aged_ms,
            born_late: self.time.stamp() - stamp >= self.rules.ttl_ms(interval_ms) as i64,
            checked_ms: i64::MAX,
        };
        self.aged += u64::from(stamp < self.time.stamp());
        self.ended.insert(record, (floor, uses + 1));
        self.current[host as usize] = Some(life);
        self.alive += 1;
        self.counts.registered += 1;
        self.plan_check(host);
        self.peak = self.peak.max(self.in_use().1);
    }

    /// The host's life is over: said goodbye, or handed out.
    pub(super) fn takes(&mut self, host: u32) -> Option<Life> {
        let life = self.current[host as usize].take()?;
        self.alive -= 1;
        self.stale[host as usize] = Some(life.handle);
        Some(life)
    }

    /// The record of an incarnation will be another's.
    pub(super) fn ends(&mut self, life: &Life) {
        let record = life.handle.as_raw() as u32;
        let (_, uses) = self.ended.get(&record).copied().unwrap_or((NEVER, 0));
        self.ended.insert(record, (life.last_ms, uses));
        if uses >= self.lives {
            self.counts.retired += 1;
        }
    }

    pub(super) fn departs(&mut self, last_ms: i64) {
        self.departed.push((self.counts.looks, last_ms));
    }

    /// Whether a record was never used.
    pub(super) fn has_fresh(&self) -> bool {
        self.ended.len() < self.rules.max_hosts + SPARE
    }

    /// Records in use: at least, and at most, because those of hosts that left come back during a look.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let certain = self.alive + self.gone.len();
        (certain, certain + self.departed.len())
    }

    /// Somebody is about to look at the clock, which reads so many nanoseconds.
    pub(super) fn looks_at(&mut self, clock_ns: u64, idle: bool) {
        self.looked_ms = self.time.tick();
        self.time.look(clock_ns, idle);
        self.counts.looks += 1;
        let now = self.time.tick();
        for handle in std::mem::take(&mut self.answered) {
            let Some(gone) = self.gone.get_mut(&handle) else { continue };
            if let Phase::Answered(Verdict::Retry(after)) = gone.phase {
                let due = now + back_off_ms(gone.attempt, after).max(1) as i64;
                gone.phase = Phase::Retry(due);
                self.plan_retry(due, handle);
            }
        }
    }

    /// The look is over and handed out `made` events; `blocked` says that due hosts had to wait, `known` that all those
    /// events are known.
    pub(super) fn looked(&mut self, made: usize, blocked: bool, known: bool) {
        let now = self.time.tick();
        if made > 0 && !self.exact {
            self.looks.push_back((now, self.looked_ms));
        }
        if blocked {
            self.blocked_ms = now;
        }
        // One who left in a callback may have to wait for the next look.
        let look = self.counts.looks;
        self.departed.retain(|(left, last)| *left == look || *last >= now);
        if known {
            self.check_all_came(blocked);
        }
    }

    /// Whether due hosts had to wait at some look from `ms` on.
    pub(super) fn was_blocked_since(&self, ms: i64) -> bool {
        self.blocked_ms >= ms
    }

    /// Everything that was due by the last look has come, but what had to wait.
    pub(super) fn check_all_came(&mut self, blocked: bool) {
        if blocked {
            return;
        }
        let now = self.time.tick();
        let mut changed = Vec::new();
        while let Some(&Reverse((at, host))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            let Some(life) = &self.current[host as usize] else { continue };
            if life.checked_ms != at {
                continue;
            }
            if !self.exact && life.aged_ms >= now {
                // Overdue by news that came after the last look.
                changed.push(Reverse((at, host)));
                continue;
            }
            let due = self.due_ms(life);
            if due <= now {
                let life = life.clone();
                self.broken("never late, never lost", || format!("host {host} was due at {due} ms: {life:?}"));
                return;
            }
            if let Some(life) = &mut self.current[host as usize] {
                life.checked_ms = i64::MAX;
            }
            self.plan_check(host);
        }
        self.due.extend(changed);
        self.check_retries(now);
        self.check_recoveries();
    }

    fn check_retries(&mut self, now: i64) {
        while let Some(&Reverse((at, handle))) = self.retries.peek()
            && at <= now
        {
            self.retries.pop();
            let phase = self.gone.get(&handle).map(|gone| gone.phase);
            if let Some(Phase::Retry(due) | Phase::Out(due)) = phase {
                if due <= now {
                    self.broken("a retry comes", || format!("that of {handle} was due at {due} ms"));
                } else {
                    self.plan_retry(due, handle);
                }
            }
        }
    }

    fn check_recoveries(&mut self) {
        let look = self.counts.looks;
        for host in std::mem::take(&mut self.recovering) {
            let Some(life) = &self.current[host as usize] else { continue };
            if life.suspect || !life.told {
                continue;
            }
            if life.recovered.0 < look {
                let life = life.clone();
                self.broken("a recovery is told", || format!("that of host {host} was not: {life:?}"));
            }
            self.recovering.push(host);
        }
    }

    pub(super) fn recovers(&mut self, host: u32) {
        if self.exact {
            self.recovering.push(host);
        }
    }

    /// The most records in use at a time, retired ones included.
    pub(super) fn peak(&self) -> usize {
        self.peak + self.counts.retired as usize
    }
}
