//! What happened in a run: the driver's own deeds, what passed the network, and what each scheduler told.

use std::collections::BTreeMap;
use std::ops::Range;

use hostwheel::Clock;

use crate::common::account::clock_of;
use crate::observation::{Event, Full, Heard, Left, Observation, Sample};
use crate::relay::Passage;

/// All that is known of a run. Times are nanoseconds of the machine-wide monotonic clock.
#[derive(Default)]
pub struct History {
    /// When all hosts were registered: the plan's zero.
    pub started_ns: u64,
    /// One scheduler after another.
    pub epochs: Vec<Epoch>,
    /// What was done to hosts, by number.
    pub deeds: BTreeMap<u32, Vec<Deed>>,
    /// What came to the relay.
    pub passages: Vec<Passage>,
    /// The faults that concerned everybody, by name.
    pub campaign: Vec<&'static str>,
    /// Faults of hosts that were not as the plan had it, and were left out.
    pub skipped: u64,
    /// The hosts that run at the end.
    pub running: Vec<u32>,
}

/// One scheduler, from its start to its end or its death.
#[derive(Default)]
pub struct Epoch {
    pub drained: bool,
    pub clock: Clock,
    pub restored: Vec<Heard>,
    pub heard: Vec<Heard>,
    pub events: Vec<Event>,
    pub left: Vec<Left>,
    pub full: Vec<Full>,
    pub broken: Vec<String>,
    pub samples: Vec<Sample>,
    /// While it was stopped.
    pub stops: Vec<Range<u64>>,
    /// While its consumer took its time.
    pub stalls: Vec<Range<u64>>,
    pub serving_ns: u64,
    /// At its own end, and not at its death.
    pub ended_ns: Option<u64>,
    pub kept: Vec<u32>,
    pub known: Vec<u32>,
}

/// Something that ended or interrupted a host's announces.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    pub at_ns: u64,
    pub kind: DeedKind,
}

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeedKind {
    Kill,
    Pause,
    Goodbye,
    CrowdDies,
    /// It announces itself again.
    Back,
}

impl History {
    /// The scheduler of the moment.
    pub fn epoch(&mut self) -> &mut Epoch {
        if self.epochs.is_empty() {
            self.epochs.push(Epoch::default());
        }
        self.epochs.last_mut().expect("there is one")
    }

    /// Takes down what was done to a host.
    pub fn deed(&mut self, host: u32, at_ns: u64, kind: DeedKind) {
        self.deeds.entry(host).or_default().push(Deed { at_ns, kind });
    }
}

impl Epoch {
    /// Takes down an observation.
    pub fn note(&mut self, observation: Observation) {
        match observation {
            Observation::Port(_) => {}
            Observation::Restored(restored) => self.restored.push(restored),
            Observation::Serving(serving) => {
                self.serving_ns = serving.at_ns;
                self.drained = serving.drained == 1;
                self.clock = clock_of(serving.clock);
            }
            Observation::Heard(heard) => self.heard.push(heard),
            Observation::Full(full) => self.full.push(full),
            Observation::Broken(what) => self.broken.push(what),
            Observation::Event(event) => self.events.push(event),
            Observation::Left(left) => self.left.push(left),
            Observation::Sample(sample) => self.samples.push(sample),
            Observation::Kept { host } => self.kept.push(host),
            Observation::Known { host } => self.known.push(host),
            Observation::End { at_ns } => self.ended_ns = Some(at_ns),
        }
    }

    /// The latest that wheel time can have been at a moment. It never runs faster than the clock, so what was read before
    /// bounds it, and so does what was read after.
    pub fn wheel_at_most(&self, at_ns: u64) -> u64 {
        let after = self.samples.partition_point(|sample| sample.before_ns < at_ns);
        let by_later = self.samples.get(after).map_or(u64::MAX, |sample| sample.at_wheel);
        let before = after.checked_sub(1).map(|index| &self.samples[index]);
        let by_earlier = before.map_or(u64::MAX, |sample| sample.at_wheel + at_ns.saturating_sub(sample.before_ns));
        by_later.min(by_earlier)
    }

    /// The samples between two moments of wheel time, and one on either side.
    pub fn samples_around(&self, wheel: Range<u64>) -> &[Sample] {
        let from = self.samples.partition_point(|sample| sample.at_wheel <= wheel.start).saturating_sub(1);
        let to = self.samples.partition_point(|sample| sample.at_wheel < wheel.end) + 1;
        &self.samples[from..to.min(self.samples.len()).max(from)]
    }
}
