//! The five cleaners: what a scheduler may use to learn that a host has gone.
//!
//! Each hears every announce and goodbye, and keeps its own table by id. They work through the same events, a minute of
//! simulated time after the other, and write down whom they give up, and before which event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hostwheel::{Config, Event as WheelEvent, HostWheel, Verdict};

use crate::scenario::{Ms, Scenario};
use crate::world::{Event, What};

/// How many cleaners there are, and where each is in every list of them.
pub const CLEANERS: usize = 5;
pub const SLOW_SCAN: usize = 0;
pub const FAST_SCAN: usize = 1;
pub const BARE_WHEEL: usize = 2;
pub const WHEEL: usize = 3;
pub const ALL_KNOWING: usize = 4;

/// A part of the events, the ids of all hosts in it, and the time at which it ends.
pub struct Part<'a> {
    pub events: &'a [Event],
    pub ids: &'a [String],
    pub end: Ms,
}

/// A cleaner changes its mind about a host by itself: without hearing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// After all events of the part before this one.
    pub before: usize,
    pub at: Ms,
    pub host: u32,
    /// Whether the cleaner believes in the host from now on.
    pub believes: bool,
}

/// What a cleaner did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Scans, or times that the wheel's thread would have woken up.
    pub turns: u64,
    /// Hosts looked at in them.
    pub looks: u64,
    /// Time in which a guard of the wheel (brake or silence) held somebody back.
    pub guarded: Duration,
}

/// A cleaner. An error ends the run.
pub trait Cleaner {
    /// Works through a part, and notes its changes of mind in order.
    fn work(&mut self, part: &Part<'_>, changes: &mut Vec<Change>) -> Result<(), String>;

    /// What it did so far.
    fn done(&self) -> Work;
}

/// All of them, in the order of the constants.
pub fn all(scenario: &Scenario) -> Result<[Box<dyn Cleaner>; CLEANERS], String> {
    Ok([
        Box::new(Scan::new(scenario.slow_scan, scenario.host_ttl)),
        Box::new(Scan::new(scenario.fast_scan, 2 * scenario.interval)),
        Box::new(Wheel::new(scenario.interval, 0)?),
        Box::new(Wheel::new(scenario.interval, scenario.grace)?),
        Box::new(AllKnowing),
    ])
}

/// A scan of all hosts, as Dragonfly's: every so often, for those not heard for longer than a TTL.
pub struct Scan {
    period: Ms,
    ttl: Ms,
    hosts: HashMap<String, Heard>,
    next: Ms,
    work: Work,
}

struct Heard {
    host: u32,
    last: Ms,
}

impl Scan {
    pub fn new(period: Ms, ttl: Ms) -> Scan {
        Scan { period, ttl, hosts: HashMap::new(), next: period, work: Work::default() }
    }

    /// Does the scans due by `now`.
    fn scan(&mut self, now: Ms, before: usize, changes: &mut Vec<Change>) {
        while self.next <= now {
            let at = self.next;
            self.next += self.period;
            self.work.turns += 1;
            self.work.looks += self.hosts.len() as u64;
            self.hosts.retain(|_, heard| {
                let expired = at - heard.last > self.ttl;
                if expired {
                    changes.push(Change { before, at, host: heard.host, believes: false });
                }
                !expired
            });
        }
    }
}

impl Cleaner for Scan {
    fn work(&mut self, part: &Part<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        for (before, event) in part.events.iter().enumerate() {
            self.scan(event.at, before, changes);
            let id = &part.ids[event.host as usize];
            match event.what {
                What::Announce => match self.hosts.get_mut(id) {
                    Some(heard) => heard.last = event.at,
                    None => drop(self.hosts.insert(id.clone(), Heard { host: event.host, last: event.at })),
                },
                What::Goodbye => drop(self.hosts.remove(id)),
                What::Start | What::Death | What::Task(_) => {}
            }
        }
        self.scan(part.end - 1, part.events.len(), changes);
        Ok(())
    }

    fn done(&self) -> Work {
        self.work
    }
}

/// The library, with its defaults but for the grace.
pub struct Wheel {
    wheel: HostWheel,
    interval: Duration,
    /// Whom it has given up since this was last looked at, by the user data.
    gone: Arc<Mutex<Vec<u32>>>,
    /// When it wants to look next.
    due: Option<Ms>,
    turns: u64,
}

impl Wheel {
    pub fn new(interval: Ms, grace: Ms) -> Result<Wheel, String> {
        let config = Config { grace: Duration::from_millis(grace), ..Config::default() };
        let gone = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&gone);
        let wheel = HostWheel::manual(config, move |event: &WheelEvent| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(event.user_data() as u32);
            Verdict::Done
        });
        let wheel = wheel.map_err(in_words)?;
        Ok(Wheel { wheel, interval: Duration::from_millis(interval), gone, due: None, turns: 0 })
    }

    /// Moves the wheel's clock, and lets it do what is due.
    fn advance(&mut self, now: Ms, before: usize, changes: &mut Vec<Change>) -> Result<(), String> {
        if self.wheel.advance(Duration::from_millis(now)).map_err(in_words)? > 0 {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            changes.extend(gone.drain(..).map(|host| Change { before, at: now, host, believes: false }));
        }
        Ok(())
    }

    /// A look that the wheel's thread would have taken too; asks when the next one is due.
    fn look(&mut self, now: Ms, before: usize, changes: &mut Vec<Change>) -> Result<(), String> {
        self.turns += 1;
        self.advance(now, before, changes)?;
        // Never before it is due: fractions of a millisecond are rounded up.
        let due = self.wheel.next_due().map_err(in_words)?;
        self.due = due.map(|due| due.as_nanos().div_ceil(1_000_000) as Ms);
        Ok(())
    }

    /// Lets the wheel look whenever it wants to until `now`, as its thread would.
    fn look_until(&mut self, now: Ms, before: usize, changes: &mut Vec<Change>) -> Result<(), String> {
        while let Some(due) = self.due.filter(|due| *due <= now) {
            self.look(due, before, changes)?;
        }
        Ok(())
    }
}

impl Cleaner for Wheel {
    fn work(&mut self, part: &Part<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        for (before, event) in part.events.iter().enumerate() {
            self.look_until(event.at, before, changes)?;
            let id = &part.ids[event.host as usize];
            match event.what {
                What::Announce => {
                    // An announce is stamped with the manual clock, which a clock of its own would have moved by itself.
                    self.advance(event.at, before, changes)?;
                    let host = u64::from(event.host);
                    let announced = self.wheel.announce_with(id, self.interval, Duration::ZERO, host);
                    if announced.map_err(in_words)?.outcome != hostwheel::Outcome::Renewed {
                        // Its thread would be woken up for this.
                        self.look(event.at, before, changes)?;
                    }
                }
                What::Goodbye => {
                    self.advance(event.at, before, changes)?;
                    // An error is no trouble: the wheel had given up the host, or never heard of it.
                    let _ = self.wheel.leave(id);
                }
                What::Start | What::Death | What::Task(_) => {}
            }
        }
        self.look_until(part.end - 1, part.events.len(), changes)?;
        match self.wheel.stats().away {
            Duration::ZERO => Ok(()),
            away => Err(format!("a wheel was advanced too late: {away:?} counted against nobody")),
        }
    }

    fn done(&self) -> Work {
        let stats = self.wheel.stats();
        Work { turns: self.turns, looks: stats.visits, guarded: stats.brake + stats.silence }
    }
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Knows each death and each start in the moment in which it happens: what no cleaner can beat.
pub struct AllKnowing;

impl Cleaner for AllKnowing {
    fn work(&mut self, part: &Part<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        for (index, event) in part.events.iter().enumerate() {
            let believes = match event.what {
                What::Start => true,
                What::Death => false,
                What::Announce | What::Goodbye | What::Task(_) => continue,
            };
            changes.push(Change { before: index + 1, at: event.at, host: event.host, believes });
        }
        Ok(())
    }

    fn done(&self) -> Work {
        Work::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SECOND;
    use crate::scenario::tests::small;
    use crate::world::World;

    /// The changes of a cleaner with the time at which their host was last heard and, if it is dead, died.
    fn watch(scenario: &Scenario, cleaner: usize) -> Vec<(Change, Ms, Option<Ms>)> {
        let mut cleaners = all(scenario).expect("the scenario is valid");
        let mut world = World::new(scenario);
        let (mut events, mut changes, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut hosts: HashMap<u32, (Ms, Option<Ms>)> = HashMap::new();
        let minutes = scenario.end() / 60_000;
        for end in (1..=minutes).map(|minute| minute * 60_000) {
            world.go_on(end, &mut events);
            changes.clear();
            let part = Part { events: &events, ids: &world.ids, end };
            cleaners[cleaner].work(&part, &mut changes).expect("a cleaner works");
            let mut next = changes.iter().peekable();
            for index in 0..=events.len() {
                while let Some(change) = next.next_if(|change| change.before <= index) {
                    let (last, died) = hosts[&change.host];
                    seen.push((*change, last, died));
                }
                let Some(event) = events.get(index) else { continue };
                let host = hosts.entry(event.host).or_default();
                match event.what {
                    What::Start => host.1 = None,
                    What::Announce => host.0 = event.at,
                    What::Death => host.1 = Some(event.at),
                    What::Goodbye | What::Task(_) => {}
                }
            }
            assert_eq!(next.next(), None, "a change out of order");
        }
        seen
    }

    #[test]
    fn the_all_knowing_one_knows_at_once() {
        let mut deaths = 0;
        for (change, _, died) in watch(&small(&["--crash-rate", "0.3"]), ALL_KNOWING) {
            if !change.believes {
                assert_eq!(died, Some(change.at));
                deaths += 1;
            }
        }
        assert!(deaths > 500, "{deaths}");
    }

    #[test]
    fn a_wheel_gives_up_a_host_exactly_after_its_ttl_and_grace() {
        for (grace, cleaner) in [("0", BARE_WHEEL), ("15", WHEEL), ("4000", WHEEL)] {
            let scenario = small(&["--crash-rate", "0.3", "--grace", grace]);
            let grace = if cleaner == BARE_WHEEL { 0 } else { scenario.grace.min(scenario.interval) };
            let seen = watch(&scenario, cleaner);
            assert!(seen.len() > 500, "{}", seen.len());
            for (change, last, _) in seen {
                assert_eq!(change.at - last, 2 * scenario.interval + grace, "{change:?}");
            }
        }
    }

    #[test]
    fn a_scan_finds_a_host_at_its_first_turn_after_the_ttl_which_is_any_time() {
        // A host that comes back first is not found, which would make long waits rare.
        let scenario = small(&["--crash-rate", "1", "--returns", "0"]);
        for (cleaner, period, ttl) in
            [(SLOW_SCAN, scenario.slow_scan, scenario.host_ttl), (FAST_SCAN, scenario.fast_scan, 2 * scenario.interval)]
        {
            let mut quarters = [0; 4];
            for (change, last, _) in watch(&scenario, cleaner) {
                assert_eq!(change.at % period, 0);
                // The first turn cannot find what died before the beginning.
                if change.at == period {
                    continue;
                }
                // Dragonfly's comparison: a host that is heard just as its TTL ends stays.
                let wait = change.at - last - ttl;
                assert!((1..=period).contains(&wait), "{wait}");
                quarters[((wait - 1) * 4 / period) as usize] += 1;
            }
            let sum: i32 = quarters.iter().sum();
            assert!(sum > 500, "{sum}");
            assert!(quarters.iter().all(|count| (count * 4 - sum).abs() < sum / 4), "{cleaner}: {quarters:?}");
        }
    }

    #[test]
    fn a_lost_announce_costs_a_wheel_without_grace_a_living_host_and_one_with_grace_none() {
        // Whoever is heard at all is heard again two intervals later.
        let scenario = Scenario { interval: 300 * SECOND, delay: 100, ..small(&[]) };
        let events = [0, 600_050].map(|at| Event { at, host: 0, what: What::Announce });
        let part = Part { events: &events, ids: &["a".to_owned()], end: 700_000 };
        let mut given_up = |cleaner: usize| {
            let mut changes = Vec::new();
            let mut cleaners = all(&scenario).expect("the scenario is valid");
            cleaners[cleaner].work(&part, &mut changes).expect("a cleaner works");
            changes.len()
        };
        assert_eq!([SLOW_SCAN, FAST_SCAN, BARE_WHEEL, WHEEL].map(&mut given_up), [0, 0, 1, 0]);
    }
}
