//! Fleets of all kinds: hosts of one interval or of many, few or many, that announce evenly, at random or in bursts.

use super::crowd::Crowd;
use super::rng::Rng;
use crate::Config;

/// Where in their interval the hosts announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phases {
    Even,
    Random,
    /// All within a twentieth of the interval.
    Twentieth,
}

/// The hosts' intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intervals {
    One(u64),
    /// Random between the two.
    Mixed(u64, u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet {
    pub(super) intervals_ms: Intervals,
    pub(super) hosts: u64,
    pub(super) phases: Phases,
    pub(super) seed: u64,
}

const ONE_MS: [u64; 12] =
    [1000, 1200, 2500, 5000, 10_000, 30_000, 60_000, 90_000, 120_000, 300_000, 600_000, 1_200_000];
const MIXED_MS: [(u64, u64); 4] = [(1000, 30_000), (5000, 50_000), (20_000, 300_000), (1000, 300_000)];
const PHASES: [Phases; 3] = [Phases::Even, Phases::Random, Phases::Twentieth];

/// All kinds of at most so many hosts; of the mixed ones as many as there are `seeds`, with 200 hosts at least.
pub(super) fn fleets(most: u64, seeds: u64) -> Vec<Fleet> {
    let one = ONE_MS.map(Intervals::One);
    let mixed = MIXED_MS.map(|(least, most)| Intervals::Mixed(least, most));
    let mut fleets = Vec::new();
    for intervals_ms in one.into_iter().chain(mixed) {
        let (least, seeds) = if matches!(intervals_ms, Intervals::Mixed(..)) { (200, seeds) } else { (0, 1) };
        for hosts in [40, 200, 1000, 10_000].into_iter().filter(|hosts| (least..=most).contains(hosts)) {
            let all = PHASES.into_iter().flat_map(|phases| (0..seeds).map(move |seed| (phases, seed)));
            fleets.extend(all.map(|(phases, seed)| Fleet { intervals_ms, hosts, phases, seed }));
        }
    }
    fleets
}

impl Fleet {
    pub(super) fn crowd(&self, config: Config) -> Crowd {
        let mut crowd = Crowd::new(config);
        let mut rng = Rng::new(self.hosts << 8 | self.seed);
        for n in 0..self.hosts {
            let period_ms = match self.intervals_ms {
                Intervals::One(period_ms) => period_ms,
                Intervals::Mixed(least, most) => rng.between(least, most),
            };
            let phase_ms = match self.phases {
                Phases::Even => n * period_ms / self.hosts,
                Phases::Random => rng.below(period_ms),
                Phases::Twentieth => rng.below(period_ms / 20),
            };
            crowd.add(period_ms, phase_ms);
        }
        crowd
    }

    pub(super) fn slowest_ms(&self) -> u64 {
        match self.intervals_ms {
            Intervals::One(period_ms) | Intervals::Mixed(_, period_ms) => period_ms,
        }
    }
}
