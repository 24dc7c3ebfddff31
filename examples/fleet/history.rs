//! What happened in a run: the driver's own deeds, and what the scheduler told of them.

use std::collections::HashMap;
use std::ops::Range;

use hostwheel::GuardKind;

use crate::observation::{
    Count, Event, Heard, LEAVE_EVENT, Left, Observation, RECOVERED_EVENT, RESTORED, Restored, SUSPECT_EVENT, Stats,
};

/// All that is known of a run. Times are nanoseconds of the machine-wide monotonic clock.
#[derive(Default)]
pub struct History {
    pub hosts: Vec<HostHistory>,
    pub counts: Vec<Count>,
    /// How many hosts really run, as far as the driver's deeds decide it, after each change.
    pub running: Vec<(u64, usize)>,
    /// When all hosts were registered: the plan's zero.
    pub started_ns: u64,
    /// From when to when all announces were lost, and how many.
    pub cut_ns: Range<u64>,
    pub lost_in_cut: u64,
    /// What guards began or ended, and when they told.
    pub guards: Vec<(u64, String)>,
    /// From when to when the scheduler was stopped.
    pub stop_ns: Range<u64>,
    /// When the scheduler was killed, and when its successor had restored what it knew.
    pub restart_ns: Range<u64>,
    pub ended_ns: u64,
    pub stats: Stats,
    /// Announces that the wheel refused, with its words.
    pub refused: Vec<(u32, String)>,
}

/// One host.
#[derive(Default)]
pub struct HostHistory {
    /// The receive loop's record, oldest first.
    pub heard: Vec<Heard>,
    /// The wheel's callbacks, oldest first.
    pub events: Vec<Event>,
    /// Polite leaves that the wheel accepted.
    pub left: Vec<Left>,
    /// Handles that a restart gave to lives that went on, with the handle that each began with.
    renamed: HashMap<u64, u64>,
    /// Handles under which it was known when the scheduler was killed, and that no snapshot brought back.
    pub forgotten: Vec<u64>,
    /// Whether the scheduler's table had it at the end.
    pub kept: bool,
    /// Whether it was really running at the end.
    pub alive: bool,
}

/// A host between a registration and what ended it, under one handle.
pub struct Life<'a> {
    pub handle: u64,
    pub heard: Vec<&'a Heard>,
    pub leaves: Vec<&'a Event>,
    pub suspects: Vec<&'a Event>,
    pub left: Option<&'a Left>,
}

impl History {
    /// Takes down an observation that concerns hosts or counters.
    pub fn note(&mut self, observation: Observation) -> Result<(), String> {
        match observation {
            Observation::Restored(restored) => self.host(restored.host)?.restore(&restored),
            Observation::Back { at_ns } => {
                self.hosts.iter_mut().for_each(HostHistory::forget);
                self.restart_ns.end = at_ns;
            }
            Observation::Heard(heard) => {
                let host = self.host(heard.host)?;
                let handle = host.first_handle(heard.handle);
                host.heard.push(Heard { handle, ..heard });
            }
            Observation::Event(event) => {
                let host = self.host(event.host)?;
                let handle = host.first_handle(event.handle);
                host.events.push(Event { handle, ..event });
            }
            Observation::Left(left) => {
                let host = self.host(left.host)?;
                let handle = host.first_handle(left.handle);
                host.left.push(Left { handle, ..left });
            }
            Observation::Guard { at_ns, what } => self.guards.push((at_ns, what)),
            Observation::Cut { at_ns } => self.cut_ns = at_ns..u64::MAX,
            Observation::Mended { at_ns, lost } => {
                self.cut_ns.end = at_ns;
                self.lost_in_cut = lost;
            }
            Observation::Kept { host } => self.host(host.into())?.kept = true,
            Observation::Refused { host, error } => self.refused.push((host, error)),
            Observation::Count(count) => {
                // A new wheel counts from 0.
                let before = if self.restart_ns.is_empty() { 0 } else { self.away_before_restart() };
                self.counts.push(Count { away_ns: before + count.away_ns, ..count });
            }
            Observation::Stats(stats) => self.stats = stats,
            Observation::End { at_ns } => self.ended_ns = at_ns,
            Observation::Port(_) => {}
        }
        Ok(())
    }

    fn host(&mut self, number: u64) -> Result<&mut HostHistory, String> {
        self.hosts.get_mut(number as usize).ok_or_else(|| format!("the scheduler speaks of an unknown host {number}"))
    }

    fn away_before_restart(&self) -> u64 {
        let before = self.counts.partition_point(|count| count.at_ns < self.restart_ns.start);
        self.counts[..before].last().map_or(0, |count| count.away_ns)
    }

    /// From when to when the wheel was silent, by its own account, in the cut or just after it.
    pub fn silence_ns(&self) -> Option<Range<u64>> {
        let told = |kind: GuardKind, from_ns: u64| {
            let mut guards = self.guards.iter();
            guards.find(|(at_ns, what)| *at_ns >= from_ns && what == kind.name()).map(|(at_ns, _)| *at_ns)
        };
        let began = told(GuardKind::SilenceBegan, self.cut_ns.start).filter(|began| self.cut_ns.contains(began))?;
        Some(began..told(GuardKind::SilenceEnded, began)?)
    }

    /// How many hosts were heard at least once.
    pub fn registered(&self) -> usize {
        self.hosts.iter().filter(|host| !host.heard.is_empty()).count()
    }

    /// The most by which the wheel's uncounted time can have grown between two moments, by the samples around them.
    pub fn away_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let before = self.counts.partition_point(|count| count.at_ns <= from_ns);
        let before = before.checked_sub(1).and_then(|index| self.counts.get(index)).map_or(0, |count| count.away_ns);
        let after = self.counts.partition_point(|count| count.at_ns < to_ns);
        let after = self.counts.get(after).or(self.counts.last()).map_or(0, |count| count.away_ns);
        after.saturating_sub(before)
    }

    /// Datagrams that are missing between the first and the last that was read, per incarnation; and as many of them as
    /// were sent while there was no scheduler.
    pub fn lost(&self) -> (u64, u64) {
        let (mut lost, mut in_restart) = (0, 0);
        for host in &self.hosts {
            // By incarnation: the greatest sequence before the restart, the greatest of all, and how many were read.
            let mut incarnations: HashMap<u64, (u64, u64, u64)> = HashMap::new();
            for heard in host.heard.iter().filter(|heard| heard.outcome != RESTORED) {
                let (before, greatest, count) = incarnations.entry(heard.incarnation).or_default();
                if heard.at_ns < self.restart_ns.start {
                    *before = heard.sequence.max(*before);
                } else if *before > 0 {
                    in_restart += heard.sequence.saturating_sub(*before + 1);
                    *before = 0;
                }
                *greatest = heard.sequence.max(*greatest);
                *count += 1;
            }
            lost += incarnations.values().map(|(_, greatest, count)| greatest - count).sum::<u64>();
        }
        (lost, in_restart)
    }
}

impl HostHistory {
    /// The handle under which a life began.
    fn first_handle(&self, handle: u64) -> u64 {
        self.renamed.get(&handle).copied().unwrap_or(handle)
    }

    /// The handle of the life that has not ended, if there is one.
    fn open_life(&self) -> Option<u64> {
        let (lives, _) = self.lives();
        lives.last().filter(|life| life.leaves.is_empty() && life.left.is_none()).map(|life| life.handle)
    }

    /// A snapshot brought the host back. Its life goes on; one that ended after the snapshot has to end again, as a life
    /// of its own.
    fn restore(&mut self, restored: &Restored) {
        if let Some(open) = self.open_life() {
            self.renamed.insert(restored.handle, open);
        }
        // For the wheel it was heard then. It vouches for no more than that.
        let at_ns = restored.at_ns.saturating_sub(restored.age_ns);
        self.heard.push(Heard {
            at_ns,
            // When it was told.
            sent_ns: restored.at_ns,
            host: restored.host,
            incarnation: self.heard.last().map_or(0, |heard| heard.incarnation),
            interval_ms: restored.interval_ms,
            sequence: 0,
            handle: self.first_handle(restored.handle),
            outcome: RESTORED,
        });
    }

    /// All that is restored has been told: who is not among them is not known any more.
    fn forget(&mut self) {
        let open = self.open_life();
        if let Some(open) = open.filter(|_| self.heard.last().is_some_and(|heard| heard.outcome != RESTORED)) {
            self.forgotten.push(open);
        }
    }

    /// The host's lives in the order in which they began, and the events that belong to none of them.
    pub fn lives(&self) -> (Vec<Life<'_>>, Vec<&Event>) {
        let mut lives: Vec<Life> = Vec::new();
        let mut strays = Vec::new();
        for heard in &self.heard {
            match lives.iter_mut().find(|life| life.handle == heard.handle) {
                Some(life) => life.heard.push(heard),
                None => lives.push(Life {
                    handle: heard.handle,
                    heard: vec![heard],
                    leaves: Vec::new(),
                    suspects: Vec::new(),
                    left: self.left.iter().find(|left| left.handle == heard.handle),
                }),
            }
        }
        for event in &self.events {
            match (event.kind, lives.iter_mut().find(|life| life.handle == event.handle)) {
                (LEAVE_EVENT, Some(life)) => life.leaves.push(event),
                (SUSPECT_EVENT, Some(life)) => life.suspects.push(event),
                (RECOVERED_EVENT, Some(_)) => {}
                _ => strays.push(event),
            }
        }
        (lives, strays)
    }

    /// Leaves of all its lives.
    pub fn leaves(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.kind == LEAVE_EVENT)
    }
}
