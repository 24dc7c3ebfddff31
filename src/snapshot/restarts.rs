//! Schedulers that are restarted again and again, each time from the last snapshot: no living host is lost for it, and a dead one
//! does not hide behind it. Virtual time, files in memory.

use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::format::Header;
use super::{load, save};
use crate::canary::{Canary, with};
use crate::{Brake, Clock, Config, Event, HostWheel, Verdict};

const INTERVAL_MS: u64 = 60_000;
const SNAPSHOT_MS: u64 = 10_000;
const HOSTS: u64 = 10;

/// Small, and the same for ever: SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

/// A scheduler that is restarted every so often.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    run_ms: u64,
    down_ms: u64,
    /// Lost announces, in thousandths.
    lost_permille: u64,
}

/// What became of the hosts.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Leaves of living hosts.
    false_leaves: u64,
    /// Intervals from the death of a host until it left; `None` if it did not in the time.
    gone_after: Option<u64>,
    /// All moments at which the dead host would have announced are excused.
    resonant: bool,
}

fn open(left: &Arc<Mutex<Vec<u64>>>) -> HostWheel {
    // Without the guards, which would keep the dead for their own reasons.
    let config = Config { clock: Clock::Manual, watchdog: Duration::ZERO, brake: Brake::OFF, ..Config::default() };
    let left = left.clone();
    let config = Config { silence_expected: 0, max_hosts: 64, ..config };
    HostWheel::manual(config, move |event: &Event| {
        left.lock().unwrap().push(u64::from_le_bytes(event.id()[..].try_into().unwrap()));
        Verdict::Done
    })
    .unwrap()
}

/// The header of a file that is begun at a time of the world.
fn at(world_ms: u64) -> Header {
    Header { wall_ns: world_ms * 1_000_000, boot_ns: world_ms * 1_000_000, boot_id: [1; 16] }
}

impl Rhythm {
    /// Host 0 dies after ten intervals; the world goes on for so many.
    fn play(self, intervals: u64) -> Fate {
        let left = Arc::default();
        let mut rng = Rng(self.run_ms << 20 | self.down_ms << 1 | self.lost_permille);
        let mut nominal: Vec<u64> = (0..HOSTS).map(|_| 1 + rng.below(INTERVAL_MS)).collect();
        let mut next: Vec<u64> = nominal.clone();
        let mut file: Option<Vec<u8>> = None;
        let (mut fate, mut now, mut heard_last) = (Fate::default(), 0, 0);
        let dies_ms = 10 * INTERVAL_MS;
        while now < intervals * INTERVAL_MS {
            let wheel = open(&left);
            if let Some(file) = &file {
                load(wheel.shared(), &mut Cursor::new(file), &at(now), |_, data| data).unwrap();
                if now >= dies_ms && wheel.find(0u64.to_le_bytes()).is_err() {
                    // It left, or no snapshot has ever known it.
                    fate.gone_after.get_or_insert((now - heard_last) / INTERVAL_MS);
                }
            }
            let (began, mut snapshot_ms) = (now, now + SNAPSHOT_MS);
            let ends = began + self.run_ms;
            while now < ends {
                let host = (0..HOSTS as usize).min_by_key(|host| next[*host]).unwrap();
                let due = wheel.next_due().unwrap().map_or(u64::MAX, |due| began + due.as_millis() as u64);
                now = next[host].min(due).min(snapshot_ms).min(ends).max(now);
                wheel.advance(Duration::from_millis(now - began)).unwrap();
                if next[host] <= now {
                    let dead = host == 0 && now >= dies_ms;
                    if !dead && rng.below(1000) >= self.lost_permille {
                        wheel.announce((host as u64).to_le_bytes(), Duration::from_millis(INTERVAL_MS)).unwrap();
                        if host == 0 {
                            heard_last = now;
                        }
                    }
                    nominal[host] += INTERVAL_MS;
                    next[host] = nominal[host] + rng.below(INTERVAL_MS / 100 + 1);
                }
                if snapshot_ms <= now {
                    let mut bytes = Vec::new();
                    save(wheel.shared(), &mut bytes, &at(now)).unwrap();
                    file = Some(bytes);
                    snapshot_ms += SNAPSHOT_MS;
                }
                for host in left.lock().unwrap().drain(..) {
                    if host == 0 && now >= dies_ms {
                        fate.gone_after.get_or_insert((now - heard_last) / INTERVAL_MS);
                    } else {
                        fate.false_leaves += 1;
                    }
                }
            }
            now += self.down_ms;
            // Announces into the void.
            for host in 0..HOSTS as usize {
                while next[host] <= now {
                    nominal[host] += INTERVAL_MS;
                    next[host] = nominal[host] + rng.below(INTERVAL_MS / 100 + 1);
                }
            }
        }
        fate.resonant = self.excuses_all(heard_last, dies_ms);
        fate
    }

    /// Whether fewer than three of the next 25 moments at which a host announces, heard last at `heard`, are watched.
    fn excuses_all(self, heard_ms: u64, dies_ms: u64) -> bool {
        let cycle = self.run_ms + self.down_ms;
        let edge = INTERVAL_MS / 50 + 1000 + INTERVAL_MS / 100;
        let watched = |at: u64| {
            let into = at % cycle;
            into >= edge && into + edge <= self.run_ms / SNAPSHOT_MS * SNAPSHOT_MS
        };
        let moments = (1..=22).map(|k| heard_ms + k * INTERVAL_MS).filter(|at| *at >= dies_ms);
        self.run_ms < 2 * SNAPSHOT_MS || moments.filter(|at| watched(*at)).count() < 3
    }
}

fn rhythms(lost_permille: u64) -> Vec<Rhythm> {
    let all = std::env::var_os("HOSTWHEEL_SIM_FULL").is_some();
    let step = if all {
        1
    } else if cfg!(debug_assertions) {
        29
    } else {
        7
    };
    let runs = (15..=200).step_by(step).map(|seconds| seconds * 1000);
    runs.flat_map(|run_ms| [500, 5000, 20_000].map(|down_ms| Rhythm { run_ms, down_ms, lost_permille })).collect()
}

/// Intervals of all hosts of a rhythm together.
const INTERVALS: u64 = if cfg!(debug_assertions) { 1000 } else { 10_000 };

#[test]
fn restarts_lose_no_living_host_and_hide_no_dead_one() {
    let (mut resonant, mut longest) = (0, 0);
    let all = rhythms(0);
    for rhythm in &all {
        let fate = rhythm.play(INTERVALS / HOSTS);
        assert_eq!(fate.false_leaves, 0, "{rhythm:?}: {fate:?}");
        if fate.resonant {
            resonant += 1;
            continue;
        }
        let gone_after = fate.gone_after.unwrap_or(u64::MAX);
        assert!(gone_after <= 25, "{rhythm:?}: {fate:?}");
        longest = longest.max(gone_after);
    }
    println!("{} rhythms, {resonant} resonant; else a dead host is gone after {longest} intervals", all.len());
    assert!(resonant * 3 < all.len(), "{resonant} resonant rhythms show nothing");
}

/// The rhythms at which a dead host never left: the present rule's.
#[test]
fn restarts_every_40_60_and_74_seconds_find_the_dead() {
    for run_ms in [40_000, 60_000, 74_000] {
        let rhythm = Rhythm { run_ms, down_ms: 5000, lost_permille: 0 };
        assert!(rhythm.play(100).gone_after.is_some_and(|after| after <= 25), "{rhythm:?}");
        let before = with(Canary::NothingIsMissed, || rhythm.play(100));
        assert_eq!(before.gone_after, None, "{rhythm:?}: what a restart excuses is excused at each");
    }
}

#[test]
fn restarts_with_lost_announces_lose_no_more_hosts_than_before() {
    let (mut now, mut before) = (0, 0);
    for rhythm in rhythms(10).into_iter().step_by(3) {
        now += rhythm.play(INTERVALS / HOSTS).false_leaves;
        before += with(Canary::NothingIsMissed, || rhythm.play(INTERVALS / HOSTS)).false_leaves;
    }
    println!("{now} living hosts lost by lost announces; {before} without the count of misses");
    assert!(now <= before + before / 10 + 2, "{now} lost, {before} before");
}

/// Without the cap of the age a restart evicts living hosts; counting what a restart excuses does too.
#[test]
fn restarts_need_each_rule() {
    let runs = (15..=200).step_by(3);
    let rhythms: Vec<Rhythm> =
        runs.map(|seconds| Rhythm { run_ms: seconds * 1000, down_ms: 20_000, lost_permille: 0 }).collect();
    for canary in [Canary::UncappedAge, Canary::UnexcusedGap] {
        let lost: u64 = with(canary, || rhythms.iter().map(|rhythm| rhythm.play(100).false_leaves).sum());
        assert!(lost > 0, "nothing is lost with {canary:?}");
    }
}
