//! The truth: which hosts live, what they say, and when tasks arrive. It does not depend on any cleaner.
//!
//! Everything happens in the order of one queue. What concerns lives, announces and tasks is drawn from generators of their
//! own, so that runs which differ in the loss of announces have the same lives and the same tasks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::scenario::{HOUR, Ms, Scenario};

/// So far away that it is never reached.
const NEVER: Ms = Ms::MAX / 4;

/// What happens. Each host number stands for one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The host lives from now on. The scheduler learns of it by its announces.
    Start,
    /// The scheduler hears the host.
    Announce,
    /// The host dies without a word.
    Death,
    /// The host ends and says so; the scheduler hears that.
    Goodbye,
    /// A task arrives; the number is the source of its choices.
    Task(u64),
}

/// Something that happens to a host (a task's host is 0 and means nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Ms,
    pub host: u32,
    pub what: What,
}

/// What happens next to the place of a host in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Start {
        place: u32,
    },
    /// The timer went off at `beat`.
    Announce {
        place: u32,
        life: u32,
        beat: Ms,
    },
    End {
        place: u32,
        polite: bool,
    },
    Task,
}

/// A place in the fleet: a host that lives, or was there last.
#[derive(Clone, Copy)]
struct Place {
    host: Option<u32>,
    /// Counts lives and their ends: an announce of a life that has ended is not sent.
    life: u32,
}

pub struct World {
    scenario: Scenario,
    places: Vec<Place>,
    /// The ids, by host number.
    pub ids: Vec<String>,
    /// With a number that keeps the order of what happens in the same millisecond.
    queue: BinaryHeap<Reverse<(Ms, u64, Deed)>>,
    queued: u64,
    lives: StdRng,
    network: StdRng,
    tasks: StdRng,
    /// Announces that were lost so far.
    pub lost: u64,
}

impl World {
    pub fn new(scenario: &Scenario) -> World {
        let mut sources = StdRng::seed_from_u64(scenario.seed);
        let mut source = || StdRng::seed_from_u64(sources.random());
        let mut world = World {
            scenario: scenario.clone(),
            places: vec![Place { host: None, life: 0 }; scenario.hosts as usize],
            ids: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            lives: source(),
            network: source(),
            tasks: source(),
            lost: 0,
        };
        for place in 0..scenario.hosts {
            let at = world.lives.random_range(0..scenario.interval);
            world.push(at, Deed::Start { place });
        }
        world.push(0, Deed::Task);
        world
    }

    fn push(&mut self, at: Ms, deed: Deed) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, deed)));
    }

    /// Replaces `events` by what happens before `end`, in order.
    pub fn go_on(&mut self, end: Ms, events: &mut Vec<Event>) {
        events.clear();
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at < end
        {
            let Some(Reverse((at, _, deed))) = self.queue.pop() else { return };
            if let Some((host, what)) = self.execute(at, deed) {
                events.push(Event { at, host, what });
            }
        }
    }

    fn execute(&mut self, at: Ms, deed: Deed) -> Option<(u32, What)> {
        match deed {
            Deed::Start { place } => Some((self.start(at, place), What::Start)),
            Deed::Announce { place, life, beat } => self.announce(place, life, beat),
            Deed::End { place, polite } => {
                let ended = &mut self.places[place as usize];
                ended.life += 1;
                let host = ended.host?;
                let absence = after(&mut self.lives, self.scenario.mean_absence as f64);
                self.push(at + absence, Deed::Start { place });
                Some((host, if polite { What::Goodbye } else { What::Death }))
            }
            Deed::Task => {
                let choices = self.tasks.random();
                let pause = after(&mut self.tasks, self.scenario.task_every);
                self.push(at + pause, Deed::Task);
                Some((0, What::Task(choices)))
            }
        }
    }

    /// A host comes back, or a new one takes its place.
    fn start(&mut self, at: Ms, place: u32) -> u32 {
        let Scenario { crash_rate, mean_life, polite, returns, .. } = self.scenario;
        // Each life draws the same number of times, whatever comes of it.
        let same = self.lives.random_bool(returns);
        let crash = after(&mut self.lives, HOUR as f64 / crash_rate);
        let end = after(&mut self.lives, mean_life as f64);
        let polite = self.lives.random_bool(polite) && end < crash;
        let known = self.places[place as usize].host.filter(|_| same);
        let host = known.unwrap_or_else(|| {
            let number = self.ids.len() as u32;
            self.ids.push(format!("10.{}.{}.{}:4000", number >> 16, number >> 8 & 255, number & 255));
            number
        });
        let started = &mut self.places[place as usize];
        started.host = Some(host);
        started.life += 1;
        let life = started.life;
        self.push(at + crash.min(end), Deed::End { place, polite });
        self.expect_announce(place, life, at);
        host
    }

    fn expect_announce(&mut self, place: u32, life: u32, beat: Ms) {
        let delay = self.network.random_range(0..=self.scenario.delay);
        self.push(beat + delay, Deed::Announce { place, life, beat });
    }

    fn announce(&mut self, place: u32, life: u32, beat: Ms) -> Option<(u32, What)> {
        let Place { host, life: now } = self.places[place as usize];
        if life != now {
            return None;
        }
        self.expect_announce(place, life, beat + self.scenario.interval);
        if self.network.random_bool(self.scenario.loss) {
            self.lost += 1;
            return None;
        }
        host.map(|host| (host, What::Announce))
    }
}

/// An exponential time with the given mean, which may be infinite.
fn after(source: &mut StdRng, mean: f64) -> Ms {
    let uniform: f64 = source.random();
    if mean.is_infinite() {
        return NEVER;
    }
    // 1 - uniform is never 0.
    ((-(1.0 - uniform).ln() * mean) as Ms).min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::small;

    fn all(scenario: &Scenario) -> Vec<Event> {
        let mut events = Vec::new();
        World::new(scenario).go_on(scenario.end(), &mut events);
        events
    }

    #[test]
    fn the_same_seed_gives_the_same_world_and_another_one_does_not() {
        assert_eq!(all(&small(&[])), all(&small(&[])));
        assert_ne!(all(&small(&[])), all(&small(&["--seed", "2"])));
    }

    #[test]
    fn loss_changes_announces_and_nothing_else() {
        let without_announces = |loss| {
            let mut events = all(&small(&["--loss", loss]));
            events.retain(|event| event.what != What::Announce);
            events
        };
        assert_eq!(without_announces("0"), without_announces("0.3"));
        assert!(all(&small(&["--loss", "0.3"])).len() < all(&small(&["--loss", "0"])).len());
    }

    #[test]
    fn hosts_live_announce_and_die_as_often_as_they_should() {
        // One life in ten ends politely; nobody comes back under an old id.
        let scenario =
            small(&["--crash-rate", "0.9", "--life", "10", "--polite", "1", "--returns", "0", "--loss", "0"]);
        let events = all(&scenario);
        let count = |what: What| events.iter().filter(|event| event.what == what).count() as f64;
        let (starts, deaths, goodbyes) = (count(What::Start), count(What::Death), count(What::Goodbye));
        let hours = scenario.end() as f64 / HOUR as f64;
        // A life of 1 h, then half an hour of absence.
        let expected = f64::from(scenario.hosts) * hours / 1.5;
        assert!((deaths + goodbyes - expected).abs() < 0.05 * expected, "{deaths} + {goodbyes}, {expected}");
        assert!((goodbyes / (deaths + goodbyes) - 0.1).abs() < 0.02, "{goodbyes} of {deaths}");
        assert!((0.0..=f64::from(scenario.hosts)).contains(&(starts - deaths - goodbyes)));
        // 12 beats an hour, and one at the start.
        let announces = expected * 12.5;
        assert!((count(What::Announce) - announces).abs() < 0.06 * announces, "{announces}");
    }

    #[test]
    fn nobody_speaks_while_dead() {
        let mut alive = std::collections::HashSet::new();
        for event in all(&small(&["--crash-rate", "2", "--absence", "1"])) {
            match event.what {
                What::Start => assert!(alive.insert(event.host)),
                What::Announce => assert!(alive.contains(&event.host)),
                What::Death | What::Goodbye => assert!(alive.remove(&event.host)),
                What::Task(_) => {}
            }
        }
    }
}
