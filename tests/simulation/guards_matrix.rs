//! A cut of all announces, in the default configuration: no host leaves, whatever the fleet looks like, in every scene in which
//! 20 announces were due before the first leave. After the return all hosts are alive.

use std::time::Duration;

use super::crowd::{Crowd, guarded};
use super::fleets::{Fleet, Intervals, Phases, fleets};
use crate::Config;
use crate::canary::{Canary, with};

/// A fleet, and the moment at which all announces are cut.
#[derive(Clone, Copy, Debug)]
struct Scene {
    fleet: Fleet,
    /// So long after the beginning of a granule the cut begins.
    offset_ms: u64,
    /// Intervals of the slowest host before the cut. Silence has learned the fleet's gaps after two.
    watched: f64,
}

/// What became of a scene.
enum Ending {
    Held,
    /// Fewer than 20 announces were due before the first leave.
    Helpless,
}

/// In the default configuration.
const GRANULE_MS: u64 = 64;
const LONGEST_CUT_MS: u64 = 50 * 60_000;

fn default_without_watchdog() -> Config {
    Config { watchdog: Duration::ZERO, ..guarded() }
}

impl Scene {
    fn play(&self) -> Result<Ending, String> {
        let mut crowd = self.fleet.crowd(default_without_watchdog());
        let hosts = crowd.hosts.len();
        let watched_ms = (self.fleet.slowest_ms() as f64 * self.watched) as u64;
        crowd.go_to(watched_ms.next_multiple_of(GRANULE_MS) + self.offset_ms);
        let before = crowd.rig.shared.stats();
        if before.silences > 0 || crowd.leaves() > 0 {
            return Err(format!("{} silences and {} leaves before the cut", before.silences, crowd.leaves()));
        }
        let helpless = crowd.due_before(crowd.first_leave_ms()) < 20;
        crowd.cut(hosts, true);
        crowd.go_on_for((6 * self.fleet.slowest_ms()).min(LONGEST_CUT_MS));
        crowd.cut(hosts, false);
        crowd.go_on_for(2 * self.fleet.slowest_ms() + 1000);
        if helpless {
            return Ok(Ending::Helpless);
        }
        let stats = crowd.rig.shared.stats();
        if crowd.leaves() > 0 || stats.silences != 1 {
            let first = crowd.told.first().map(|told| told.event.to_string());
            return Err(format!("{} leaves, {} silences, first {first:?}", crowd.leaves(), stats.silences));
        }
        if stats.live != self.fleet.hosts || stats.suspect > 0 {
            return Err(format!("{} of {} alive, {} suspect", stats.live, self.fleet.hosts, stats.suspect));
        }
        Ok(Ending::Held)
    }
}

fn scenes() -> Vec<Scene> {
    // Without optimization the large fleets take minutes.
    let most = if cfg!(debug_assertions) { 200 } else { 10_000 };
    let mut scenes = Vec::new();
    for fleet in fleets(most, if cfg!(debug_assertions) { 1 } else { 8 }) {
        scenes.extend([5, GRANULE_MS - 4].map(|offset_ms| Scene { fleet, offset_ms, watched: 3.4 }));
        if matches!(fleet.intervals_ms, Intervals::One(_)) {
            // Before silence knows the fleet.
            scenes.push(Scene { fleet, offset_ms: 5, watched: 1.3 });
        }
    }
    scenes
}

/// Plays the scenes on two threads; says which ones broke.
fn play_all(scenes: &[Scene]) -> (usize, Vec<String>) {
    let halves: Vec<Vec<Scene>> = (0..2).map(|n| scenes.iter().skip(n).step_by(2).copied().collect()).collect();
    let threads: Vec<_> = halves
        .into_iter()
        .map(|half| {
            std::thread::spawn(move || {
                let (mut helpless, mut broken) = (0, Vec::new());
                for scene in half {
                    match scene.play() {
                        Ok(Ending::Held) => {}
                        Ok(Ending::Helpless) => helpless += 1,
                        Err(what) => broken.push(format!("{scene:?}: {what}")),
                    }
                }
                (helpless, broken)
            })
        })
        .collect();
    let results = threads.into_iter().map(|thread| thread.join().expect("a scene does not panic"));
    results.fold((0, Vec::new()), |(helpless, mut all), (more, broken)| {
        all.extend(broken);
        (helpless + more, all)
    })
}

#[test]
fn guards_matrix_a_cut_of_all_announces_costs_no_host() {
    let scenes = scenes();
    let (helpless, broken) = play_all(&scenes);
    println!("{} scenes, {helpless} helpless, {} broken", scenes.len(), broken.len());
    assert!(broken.is_empty(), "{} of {} scenes broke:\n{}", broken.len(), scenes.len(), broken.join("\n"));
    assert!(helpless * 20 < scenes.len(), "{helpless} scenes of {} show nothing", scenes.len());
}

/// 1,000 hosts of 300 s, phases even, heard until t = 1000.005 s and never again.
#[test]
fn guards_matrix_silence_begins_before_the_first_leave() {
    let mut crowd = Crowd::new(default_without_watchdog());
    crowd.add_spread(1000, 300_000);
    crowd.go_to(1_000_005);
    crowd.cut(1000, true);
    crowd.go_on_for(320_000);
    let stats = crowd.rig.shared.stats();
    assert_eq!((crowd.leaves(), stats.silences), (0, 1));
    assert!(stats.silence.as_millis() >= 4_700, "it began by {:?} before now", stats.silence);
}

/// A scene of the matrix that a canary must break.
fn must_break(canary: Canary, scene: Scene) {
    let ending = with(canary, || scene.play());
    assert!(ending.is_err(), "{scene:?} does not break with {canary:?}");
}

const MIXED: Fleet =
    Fleet { intervals_ms: Intervals::Mixed(5000, 50_000), hosts: 200, phases: Phases::Random, seed: 0 };

#[test]
fn guards_matrix_mixed_fleets_need_what_was_learned() {
    must_break(Canary::LearnsNothing, Scene { fleet: MIXED, offset_ms: 5, watched: 3.4 });
}

#[test]
fn guards_matrix_a_threshold_in_intervals_comes_too_late() {
    let fleet = Fleet { intervals_ms: Intervals::One(300_000), phases: Phases::Even, ..MIXED };
    must_break(Canary::LateSilence, Scene { fleet, offset_ms: 5, watched: 1.3 });
}

/// Two cuts in a row: the second one begins while the first one's silence is still in the window that gaps are learned in.
fn two_cuts() -> Result<(), String> {
    let mut crowd = MIXED.crowd(default_without_watchdog());
    crowd.go_to(170_005);
    for _ in 0..2 {
        crowd.cut(200, true);
        crowd.go_on_for(60_000);
        crowd.cut(200, false);
        crowd.go_on_for(75_000);
    }
    let silences = crowd.rig.shared.stats().silences;
    match (crowd.leaves(), silences) {
        (0, 2) => Ok(()),
        (leaves, silences) => Err(format!("{leaves} leaves, {silences} silences")),
    }
}

#[test]
fn guards_matrix_a_silence_is_no_gap_of_the_fleet() {
    two_cuts().unwrap();
    assert!(with(Canary::LearnsSilence, two_cuts).is_err());
}
