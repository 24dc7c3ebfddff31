//! hostwheel beside what a Rust program would use otherwise, through one trait in one process.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml` prints a table for each fleet: rounds in which every subject is
//! measured once, in turn, so that whatever disturbs the machine disturbs them alike. Ratios are taken within a round.
//! Nothing is asserted about time. What makes it fair, and whom it favours: docs/performance.md, "Peers".
//!
//! - `HOSTWHEEL_BENCH_HOSTS=10000000` chooses the fleets, `HOSTWHEEL_BENCH_ROUNDS=3` their rounds;
//! - `HOSTWHEEL_BENCH_SUBJECTS=hostwheel,DelayQueue` measures only subjects with one of these in their names;
//! - `HOSTWHEEL_BENCH_SECONDS=60` begins no round of a fleet that would end later than that, but for the first; with more than
//!   a million hosts it skips subjects whose one round would take longer;
//! - `-- --test` runs everything once with the smallest fleet.

mod cache;
#[path = "../core/chosen.rs"]
mod chosen;
#[path = "../core/expiring.rs"]
mod expiring;
mod expiry;
mod fit;
#[path = "../core/fleet.rs"]
mod fleet;
mod floor;
mod indexed;
#[path = "../core/machine.rs"]
mod machine;
#[path = "../core/map.rs"]
mod map;
mod round;
#[path = "../core/spread.rs"]
mod spread;
mod table;
mod timers;
mod wheel;

use std::sync::Arc;
use std::time::Instant;

use cache::{Each, Idle, Moka, Numbered};
use expiry::Expiry;
use fleet::Fleet;
use floor::Floor;
use indexed::Indexed;
use round::{Round, measure};
use table::Outcome;
use timers::{Delay, Nexus, Quad, Tree};
use wheel::Wheel;

const FLEETS: [usize; 3] = [10_000, 100_000, 1_000_000];
const ROUNDS: usize = 5;
const SECONDS: usize = 900;
/// Every subject is expected to stand this; larger fleets are tried on a tenth of their hosts first.
const TRIED_FROM: usize = 1_000_001;

struct Subject {
    name: &'static str,
    measure: fn(&Arc<Fleet>) -> Round,
}

fn subject<E: Expiry>() -> Subject {
    Subject { name: E::NAME, measure: measure::<E> }
}

fn subjects() -> Vec<Subject> {
    let all = vec![
        subject::<Floor>(),
        subject::<Wheel>(),
        subject::<Indexed<Delay>>(),
        subject::<Moka<Idle>>(),
        subject::<Moka<Each>>(),
        subject::<Moka<Numbered>>(),
        subject::<Indexed<Nexus>>(),
        subject::<Indexed<Quad>>(),
        subject::<Indexed<Tree>>(),
    ];
    let Ok(only) = std::env::var("HOSTWHEEL_BENCH_SUBJECTS") else { return all };
    all.into_iter().filter(|subject| only.split(',').any(|part| subject.name.contains(part))).collect()
}

/// Why `subject` would not fit with so many hosts, judged by a tenth of them.
fn misfit(subject: &Subject, tenth: &Arc<Fleet>, seconds: usize) -> Option<String> {
    let round = (subject.measure)(tenth);
    let needs = round.bytes * 10.0 * tenth.hosts() as f64;
    let available = fit::available() as f64;
    // Growing tables are there twice.
    if 2.0 * needs > available {
        return Some(format!("it needs about {:.1} GB, there are {:.1} GB", 2e-9 * needs, 1e-9 * available));
    }
    let takes = round.took.as_secs_f64() * 10.0;
    (takes > seconds as f64).then(|| format!("a round would take about {takes:.0} s, more than {seconds} s"))
}

fn compare(hosts: usize, rounds: usize, seconds: usize) {
    let subjects = subjects();
    let mut outcomes: Vec<(&'static str, Outcome)> =
        subjects.iter().map(|subject| (subject.name, Outcome::Measured(Vec::new()))).collect();
    if hosts >= TRIED_FROM {
        let tenth = Arc::new(Fleet::new(hosts / 10).with_ids());
        for (subject, (_, outcome)) in subjects.iter().zip(&mut outcomes) {
            if let Some(why) = misfit(subject, &tenth, seconds) {
                *outcome = Outcome::Skipped(why);
            }
        }
    }
    let fleet = Arc::new(Fleet::new(hosts).with_ids());
    let began = Instant::now();
    for done in 0..rounds {
        let spent = began.elapsed().as_secs_f64();
        if done > 0 && spent + spent / done as f64 > seconds as f64 {
            break;
        }
        for (subject, (_, outcome)) in subjects.iter().zip(&mut outcomes) {
            if let Outcome::Measured(rounds) = outcome {
                let start = Instant::now();
                rounds.push((subject.measure)(&fleet));
                eprintln!("{hosts} hosts, {}: {:.1} s", subject.name, start.elapsed().as_secs_f64());
            }
        }
    }
    table::print(hosts, &outcomes, subjects.iter().position(|subject| subject.name == Wheel::NAME));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |argument: &str| arguments.iter().any(|given| given == argument);
    if has("--list") {
        return;
    }
    // As criterion has it: `cargo test --benches` passes no `--bench`.
    let smoke = has("--test") || !has("--bench");
    let (fleets, rounds) = if smoke { (vec![FLEETS[0]], 1) } else { (chosen::fleets(&FLEETS), chosen::rounds(ROUNDS)) };
    machine::print();
    let start = Instant::now();
    for hosts in fleets {
        compare(hosts, rounds, chosen::numbers("HOSTWHEEL_BENCH_SECONDS", &[SECONDS])[0]);
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
}
