//! Healthy fleets: jitter, lost announces and hosts that die alone begin no silence, and the dead leave in time. What a silence
//! costs where it does begin, and how a whole fleet that died is still seen.

use super::crowd::{Crowd, guarded};
use super::fleets::{Fleet, Intervals, Phases, fleets};
use super::is_set;
use super::rng::Rng;
use crate::canary::{Canary, with};

/// A leave is in time so long after it was due.
const IN_TIME_MS: u64 = 2;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    fleets: u64,
    announces: u64,
    deaths: u64,
    in_time: u64,
    /// Later, by one more interval and grace at most.
    later: u64,
    silences: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.fleets += other.fleets;
        self.announces += other.announces;
        self.deaths += other.deaths;
        self.in_time += other.in_time;
        self.later += other.later;
        self.silences += other.silences;
    }
}

/// One host after the other dies alone and comes back, in a fleet with jitter and losses.
fn live(fleet: Fleet, jitter_permille: u64, intervals: u64) -> Result<Tally, String> {
    let mut crowd = fleet.crowd(guarded());
    (crowd.jitter_permille, crowd.lost_permille) = (jitter_permille, 10);
    let mut rng = Rng::new(fleet.hosts + jitter_permille);
    let slowest_ms = fleet.slowest_ms();
    crowd.go_to(2 * slowest_ms);
    let mut tally = Tally { fleets: 1, ..Tally::default() };
    while crowd.now_ms < intervals * slowest_ms {
        let host = rng.below(fleet.hosts) as usize;
        crowd.go_on_for(rng.below(crowd.hosts[host].period_ms));
        if crowd.rig.shared.find(&(host as u32).to_be_bytes()).is_err() {
            // Lost announces in a row: it left, and comes back with its next one.
            continue;
        }
        let left = crowd.leaves_of(host).count();
        crowd.kill(host);
        let due_ms = crowd.hosts[host].heard_ms + crowd.life_ms(host);
        let more_ms = crowd.life_ms(host) - crowd.hosts[host].period_ms;
        crowd.go_to(due_ms + more_ms + IN_TIME_MS);
        let late_ms = crowd.leaves_of(host).nth(left).map(|told| told.at_ms.saturating_sub(due_ms));
        tally.deaths += 1;
        match late_ms {
            Some(late_ms) if late_ms <= IN_TIME_MS => tally.in_time += 1,
            Some(_) => tally.later += 1,
            None => return Err(format!("host {host}, due at {due_ms}, is not found at {}", crowd.now_ms)),
        }
        crowd.hosts[host].dead = false;
    }
    let stats = crowd.rig.shared.stats();
    tally.silences = stats.silences;
    tally.announces = crowd.heard;
    Ok(tally)
}

fn intervals_of(hosts: u64) -> u64 {
    let (full, release) = (is_set("HOSTWHEEL_SIM_FULL"), !cfg!(debug_assertions));
    match hosts {
        _ if full => 1000,
        10_000 => 0,
        1000 if release => 100,
        1000 => 0,
        _ if release => 1000,
        _ => 60,
    }
}

#[test]
fn guards_healthy_fleets_begin_no_silence_and_lose_their_dead_in_time() {
    let all: Vec<(Fleet, u64)> = fleets(10_000, 1)
        .into_iter()
        .filter(|fleet| intervals_of(fleet.hosts) > 0)
        .flat_map(|fleet| [10, 50].map(|jitter_permille| (fleet, jitter_permille)))
        .collect();
    let play = |turn: usize| {
        let mut tally = Tally::default();
        for (fleet, jitter_permille) in all.iter().skip(turn).step_by(2) {
            let lived = live(*fleet, *jitter_permille, intervals_of(fleet.hosts));
            let lived = lived.unwrap_or_else(|what| panic!("{fleet:?}, jitter {jitter_permille}: {what}"));
            assert_eq!(lived.silences, 0, "{fleet:?}, jitter {jitter_permille}: {lived:?}");
            tally.add(lived);
        }
        tally
    };
    let tally = std::thread::scope(|scope| {
        let other = scope.spawn(|| play(1));
        let mut tally = play(0);
        tally.add(other.join().expect("no fleet breaks"));
        tally
    });
    println!("{tally:?}");
    assert!(tally.deaths >= if cfg!(debug_assertions) { 500 } else { 10_000 }, "{tally:?}");
    assert!(tally.in_time * 1000 >= tally.deaths * 999, "{tally:?}");
}

/// Hosts that announce a tenth later than they say, all at once: between two bursts each of them is overdue. One dies.
fn slow_clocks(first_ms: u64) -> u64 {
    let mut crowd = Crowd::new(guarded());
    for n in 0..200 {
        let host = crowd.add(60_000, n * 5);
        crowd.hosts[host].announced_ms = 54_000;
    }
    // Now and then a fast host is heard once, between two bursts. It is due when the others are overdue.
    for n in 0..20 {
        let host = crowd.add(240_000 * 20, 240_000 * n + first_ms);
        crowd.hosts[host].announced_ms = 2000;
    }
    crowd.go_to(20 * 240_000);
    crowd.rig.shared.stats().silences
}

#[test]
fn guards_healthy_hosts_that_are_later_than_they_say_are_no_silence() {
    assert_eq!([50_000, 170_000].map(slow_clocks), [0, 0]);
}

#[test]
fn guards_healthy_without_the_learned_gaps_they_would_be() {
    assert!(with(Canary::ForgottenGaps, || slow_clocks(170_000)) > 0);
}

/// The same fleet in its first minute. A fast host fills the time between the first two bursts, and dies in it.
fn slow_clocks_at_first() -> u64 {
    let mut crowd = Crowd::new(guarded());
    for n in 0..200 {
        let host = crowd.add(60_000, n * 5);
        crowd.hosts[host].announced_ms = 54_000;
    }
    let fast = crowd.add(2000, 0);
    crowd.go_to(50_500);
    crowd.kill(fast);
    crowd.go_to(90_000);
    crowd.rig.shared.stats().silences
}

#[test]
fn guards_healthy_what_was_not_seen_yet_is_not_held_against_a_fleet() {
    assert_eq!(slow_clocks_at_first(), 0);
    assert!(with(Canary::HastyLearner, slow_clocks_at_first) > 0);
}

/// A fleet of 1,000 hosts of 60 s, of which so many die at once. When they have left, in ms after that.
fn die_together(dead: usize) -> (Vec<u64>, Crowd) {
    let fleet = Fleet { intervals_ms: Intervals::One(60_000), hosts: 1000, phases: Phases::Random, seed: 1 };
    let mut crowd = fleet.crowd(guarded());
    crowd.go_to(600_000);
    (0..dead).for_each(|host| crowd.kill(host));
    crowd.go_on_for(3 * 3_600_000);
    let at = crowd.told.iter().map(|told| told.at_ms - 600_000).collect();
    (at, crowd)
}

#[test]
fn guards_healthy_a_whole_fleet_that_died_is_gone_after_one_host_ttl_and_what_the_brake_takes() {
    let (left_ms, crowd) = die_together(1000);
    assert_eq!((left_ms.len(), crowd.rig.shared.stats().live), (1000, 0));
    // Host TTL, what silence spares at its end, and four minutes of the brake.
    let last_ms = *left_ms.last().expect("all have left");
    println!("the first after {} ms, the last after {last_ms} ms", left_ms[0]);
    assert!(last_ms <= 3_600_000 + 135_000 + 75_000 + 240_000, "the last left after {last_ms} ms");
}

#[test]
fn guards_healthy_half_of_a_fleet_leaves_as_fast_as_the_brake_lets_it() {
    let (left_ms, crowd) = die_together(500);
    assert_eq!((left_ms.len(), crowd.false_leaves()), (500, 0));
    let last_ms = *left_ms.last().expect("half of them have left");
    println!("the first after {} ms, the last after {last_ms} ms", left_ms[0]);
    // All are due within 135 s; the brake lets 200 go at once and 200 a minute.
    assert!(last_ms <= 135_000 + 90_000, "the last left after {last_ms} ms");
    assert_eq!(crowd.rig.shared.stats().silences, 0);
}
