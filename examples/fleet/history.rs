//! What happened in a run: the driver's own deeds, and what the scheduler told of them.

use std::collections::HashMap;
use std::ops::Range;

use crate::observation::{Count, Event, Heard, LEAVE_EVENT, Left, Observation, RECOVERED_EVENT, SUSPECT_EVENT, Stats};

/// All that is known of a run. Times are nanoseconds of the machine-wide monotonic clock.
#[derive(Default)]
pub struct History {
    pub hosts: Vec<HostHistory>,
    pub counts: Vec<Count>,
    /// How many hosts really run, as far as the driver's deeds decide it, after each change.
    pub running: Vec<(u64, usize)>,
    /// When all hosts were registered: the plan's zero.
    pub started_ns: u64,
    /// From when to when the scheduler was stopped.
    pub stop_ns: Range<u64>,
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
            Observation::Heard(heard) => self.host(heard.host)?.heard.push(heard),
            Observation::Event(event) => self.host(event.host)?.events.push(event),
            Observation::Left(left) => self.host(left.host)?.left.push(left),
            Observation::Kept { host } => self.host(host.into())?.kept = true,
            Observation::Refused { host, error } => self.refused.push((host, error)),
            Observation::Count(count) => self.counts.push(count),
            Observation::Stats(stats) => self.stats = stats,
            Observation::End { at_ns } => self.ended_ns = at_ns,
            Observation::Port(_) => {}
        }
        Ok(())
    }

    fn host(&mut self, number: u64) -> Result<&mut HostHistory, String> {
        self.hosts.get_mut(number as usize).ok_or_else(|| format!("the scheduler speaks of an unknown host {number}"))
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

    /// Datagrams that are missing between the first and the last that was read, per incarnation.
    pub fn lost(&self) -> u64 {
        let mut lost = 0;
        for host in &self.hosts {
            let mut incarnations: HashMap<u64, (u64, u64)> = HashMap::new();
            for heard in &host.heard {
                let (greatest, count) = incarnations.entry(heard.incarnation).or_default();
                *greatest = heard.sequence.max(*greatest);
                *count += 1;
            }
            lost += incarnations.values().map(|(greatest, count)| greatest - count).sum::<u64>();
        }
        lost
    }
}

impl HostHistory {
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
