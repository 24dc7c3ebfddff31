//! What is going to go wrong and when, drawn from the seed before the run begins.
//!
//! Faults come on five tracks that know nothing of each other: hosts, network, scheduler, consumer, crowds. So every kind
//! meets every other. On a track all kinds come in turn, in an order that is drawn anew each time. The last part of a run is
//! quiet, so that at its end everybody who is dead must have left, and everybody who lives must be known.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::relay::Weather;

/// The bounds of the hosts' intervals, in milliseconds.
pub const INTERVAL_MS: Range<u64> = 400..1600;

/// The end of the run, in which nothing goes wrong: longer than a brake full of dead hosts takes.
pub const QUIET: Duration = Duration::from_secs(24);

/// A crowd is over so long before the quiet end, as the brake lets it leave slowly.
const CROWD_BEFORE_QUIET: Duration = Duration::from_secs(8);

/// The shortest run.
pub const SHORTEST_RUN: Duration = Duration::from_secs(40);

/// How many hosts have room in the table beside the fleet.
pub const ROOM: usize = 40;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// SIGKILL, and started again after that time, before or after it has left.
    Kill { host: usize, back_after: Duration },
    /// SIGSTOP, and SIGCONT after that time.
    Pause { host: usize, length: Duration },
    /// A polite leave, and a new start after that time.
    Goodbye { host: usize, back_after: Duration },
    /// Announces come at another interval.
    Interval { host: usize, to: Duration },
    /// Datagrams are lost, late, doubled, or cut off.
    Weather { weather: Weather, length: Duration },
    /// SIGSTOP of the scheduler.
    StopScheduler { length: Duration },
    /// SIGKILL of the scheduler; another one starts from the last snapshot after that time.
    KillScheduler { down: Duration },
    /// A callback takes that long.
    Stall { length: Duration },
    /// The next callbacks panic; a consumer that drains asks for a retry.
    Panic { times: u64 },
    /// The next leaves are to be handed out again.
    Retry { times: u64, after: Duration },
    /// The consumer reads no events. One with callbacks is stalled for as long.
    Deaf { length: Duration },
    /// The next leaves are not answered at all. A consumer with callbacks asks for a retry.
    Silent { times: u64 },
    /// Many hosts come at once, more than the table has room for, and all die at once.
    Crowd { hosts: usize, length: Duration },
}

/// A fault and when it comes.
#[derive(Clone, Debug)]
pub struct Planned {
    pub at: Duration,
    pub fault: Fault,
}

/// The whole plan. Times count from the moment at which all hosts are registered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The hosts' first intervals.
    pub intervals: Vec<Duration>,
    pub faults: Vec<Planned>,
    pub length: Duration,
    pub seed: u64,
}

impl Plan {
    /// Draws a plan. The same arguments give the same plan.
    pub fn draw(hosts: usize, length: Duration, seed: u64) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let intervals = (0..hosts).map(|_| interval(&mut rng)).collect();
        let end = length - QUIET;
        let mut faults = Vec::new();
        for track in [host_track, weather_track, scheduler_track, consumer_track, crowd_track] {
            // A generator for each track, so that a change to one leaves the others as they were.
            let mut rng = StdRng::seed_from_u64(rng.random());
            track(&mut faults, hosts, end, &mut rng);
        }
        faults.sort_by_key(|planned| planned.at);
        Plan { intervals, faults, length, seed }
    }
}

fn interval(rng: &mut StdRng) -> Duration {
    millis(rng, INTERVAL_MS)
}

fn millis(rng: &mut StdRng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

/// One small fault after another, each to a host that has none at the time.
fn host_track(faults: &mut Vec<Planned>, hosts: usize, end: Duration, rng: &mut StdRng) {
    let mut free_at = vec![Duration::ZERO; hosts];
    // One fault in 20 s for each host.
    let pause_us = 20_000_000 / hosts as u64;
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_micros(rng.random_range(pause_us / 2..pause_us * 3 / 2));
        if at >= end {
            return;
        }
        let host = rng.random_range(0..hosts);
        if free_at[host] > at {
            continue;
        }
        // From a moment to well after it has left.
        let away = millis(rng, 50..9000);
        let fault = match rng.random_range(0..10) {
            0..3 => Fault::Kill { host, back_after: away },
            3..6 => Fault::Pause { host, length: away },
            6..8 => Fault::Goodbye { host, back_after: away },
            _ => Fault::Interval { host, to: interval(rng) },
        };
        free_at[host] = at + away + Duration::from_secs(1);
        faults.push(Planned { at, fault });
    }
}

/// Faults one after another, all kinds in turn: `draw` makes one of kind `kind`, which lasts as long as it says.
fn in_turn(
    faults: &mut Vec<Planned>,
    end: Duration,
    rng: &mut StdRng,
    kinds: usize,
    pause_ms: Range<u64>,
    mut draw: impl FnMut(usize, &mut StdRng) -> (Fault, Duration),
) {
    let mut order: Vec<usize> = Vec::new();
    let mut at = millis(rng, pause_ms.clone());
    loop {
        let kind = order.pop().unwrap_or_else(|| {
            order = (0..kinds).collect();
            order.shuffle(rng);
            order.pop().expect("there are kinds")
        });
        let (fault, length) = draw(kind, rng);
        if at + length >= end {
            return;
        }
        faults.push(Planned { at, fault });
        at += length + millis(rng, pause_ms.clone());
    }
}

fn weather_track(faults: &mut Vec<Planned>, _: usize, end: Duration, rng: &mut StdRng) {
    in_turn(faults, end, rng, 6, 500..2500, |kind, rng| {
        let length = millis(rng, 2000..6000);
        let mut weather = Weather { salt: rng.random(), ..Weather::default() };
        let percent = match kind {
            // All at once.
            5 => 10..30,
            _ => 10..60,
        };
        if matches!(kind, 0 | 5) {
            weather.loss_percent = rng.random_range(percent.clone());
        }
        if matches!(kind, 1 | 5) {
            weather.delay_ms = rng.random_range(50..900);
        }
        if matches!(kind, 2 | 5) {
            weather.twice_percent = rng.random_range(percent);
        }
        weather.cut_percent = match kind {
            3 => 50,
            4 => 100,
            _ => 0,
        };
        (Fault::Weather { weather, length }, length)
    });
}

fn scheduler_track(faults: &mut Vec<Planned>, _: usize, end: Duration, rng: &mut StdRng) {
    in_turn(faults, end, rng, 5, 2000..6000, |kind, rng| match kind {
        0..3 => {
            let length = millis(rng, [50..500, 1000..3000, 4000..8000][kind].clone());
            (Fault::StopScheduler { length }, length)
        }
        _ => {
            let down = millis(rng, 100..3000);
            (Fault::KillScheduler { down }, down)
        }
    });
}

fn consumer_track(faults: &mut Vec<Planned>, _: usize, end: Duration, rng: &mut StdRng) {
    in_turn(faults, end, rng, 5, 500..3000, |kind, rng| {
        let times = rng.random_range(1..8);
        let length = millis(rng, 50..3000);
        match kind {
            0 => (Fault::Stall { length }, length),
            1 => (Fault::Panic { times }, Duration::ZERO),
            2 => (Fault::Retry { times, after: millis(rng, 0..1500) }, Duration::ZERO),
            3 => (Fault::Silent { times }, Duration::ZERO),
            _ => {
                let length = length * 2;
                (Fault::Deaf { length }, length)
            }
        }
    });
}

fn crowd_track(faults: &mut Vec<Planned>, _: usize, end: Duration, rng: &mut StdRng) {
    in_turn(faults, end.saturating_sub(CROWD_BEFORE_QUIET), rng, 1, 6000..14_000, |_, rng| {
        let length = millis(rng, 2000..5000);
        (Fault::Crowd { hosts: rng.random_range(ROOM / 2..2 * ROOM), length }, length)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_two_minutes_have_every_kind_of_fault() {
        for seed in 1..=20 {
            let draw = || Plan::draw(100, Duration::from_secs(120), seed);
            let plan = draw();
            assert_eq!(format!("{plan:?}"), format!("{:?}", draw()));
            assert!(plan.faults.iter().all(|planned| planned.at + QUIET < plan.length));
            let kinds: std::collections::HashSet<_> =
                plan.faults.iter().map(|planned| std::mem::discriminant(&planned.fault)).collect();
            assert_eq!(kinds.len(), 13, "seed {seed}");
        }
    }
}
