//! The simulation: seeded runs of whole fleets on the manual clock, every promise of the library checked at each step.
//!
//! A seed draws a [`Plan`](plan::Plan): settings, a fleet, its misfortunes, a consumer. A [`Fleet`](fleet::Fleet) runs it
//! against the real front of the library, with a [`Model`](model::Model) that says what must come and what must not:
//!
//! - never early, exactly, in observed time, and never without its suspect event;
//! - never late, never lost: at the first look at or after the due tick, unless there is no room;
//! - exactly once per incarnation when the consumer says `Done`, again, when it should be, if it says `Retry` or nothing;
//! - no leave for a deadline that an announce replaced;
//! - a handle is issued once, a stale one is refused, no word of a record repeats;
//! - intervals, outcomes, inspections and counters tell the truth; nothing had to be rescued; memory stays at its peak.
//!
//! It lives in the crate, by a `#[path]` in `lib.rs`, because it plants bugs (`canaries.rs`): a check that cannot fail
//! shows nothing.
//!
//! `cargo test` runs a million announces. `HOSTWHEEL_SIM_FULL=1 cargo test --release --lib simulation -- --nocapture` runs
//! 10^8 in 100 years of virtual time. `HOSTWHEEL_SIM_SEED=n` replays one seed.

mod acts;
mod backstop;
mod canaries;
mod consumer;
mod crowd;
mod flapping;
mod fleet;
mod fleets;
mod guards;
mod guards_healthy;
mod guards_matrix;
mod judge;
mod model;
#[path = "../oracle/mod.rs"]
mod oracle;
mod pitfalls;
mod plan;
mod rig;
pub(crate) mod rng;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use fleet::Fleet;
use model::Counts;
use plan::{Kind, Plan};
use rng::Rng;

/// How much is simulated.
#[derive(Clone, Copy)]
struct Volume {
    seeds: u64,
    /// Per run.
    announces: u64,
}

const BRIEF: Volume = Volume { seeds: 110, announces: 7000 };
const FULL: Volume = Volume { seeds: 720, announces: 140_000 };

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value != "0")
}

fn volume() -> Volume {
    if is_set("HOSTWHEEL_SIM_FULL") { FULL } else { BRIEF }
}

fn plan_of(seed: u64, announces: u64) -> Plan {
    Plan::draw(&mut Rng::new(seed), announces)
}

fn run(seed: u64, announces: u64) -> Result<Counts, String> {
    let plan = plan_of(seed, announces);
    let said = Fleet::new(&plan, seed).run();
    said.map_err(|failure| format!("{failure}\nseed {seed}, {plan:#?}"))
}

/// What all runs did.
#[derive(Default)]
struct Totals {
    seeds: u64,
    sum: Counts,
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        let sum = &mut self.sum;
        self.seeds += 1;
        sum.announces += counts.announces;
        sum.registered += counts.registered;
        sum.left += counts.left;
        sum.leaves += counts.leaves;
        sum.suspects += counts.suspects;
        sum.recoveries += counts.recoveries;
        sum.retries += counts.retries;
        sum.panics += counts.panics;
        sum.superseded += counts.superseded;
        sum.full += counts.full;
        sum.pauses += counts.pauses;
        sum.looks += counts.looks;
        sum.refused += counts.refused;
        sum.retired += counts.retired;
        sum.years += counts.years;
    }

    fn merge(mut self, other: Totals) -> Totals {
        let seeds = self.seeds + other.seeds;
        self.add(&other.sum);
        Totals { seeds, ..self }
    }

    fn print(&self, began: Instant) {
        let Counts { announces, registered, left, leaves, suspects, recoveries, retries, .. } = self.sum;
        let Counts { panics, superseded, full, pauses, looks, refused, retired, years, .. } = self.sum;
        println!("simulation: {} seeds, {announces} announces, {years:.1} virtual years, {looks} looks", self.seeds);
        println!("  {registered} registrations, {left} goodbyes, {leaves} leaves, {suspects} suspects");
        println!("  {recoveries} recoveries, {retries} retries, {panics} panics, {superseded} superseded");
        println!("  {full} times full, {retired} records retired, {refused} stale handles refused, {pauses} pauses");
        println!("  {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// Runs the seeds that `next` hands out until there are none; panics at the first broken promise.
fn run_seeds(next: &AtomicU64, volume: Volume) -> Totals {
    let mut totals = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= volume.seeds {
            return totals;
        }
        match run(seed, volume.announces) {
            Ok(counts) => totals.add(&counts),
            Err(failure) => {
                let full = if volume.announces == FULL.announces { "HOSTWHEEL_SIM_FULL=1 " } else { "" };
                panic!("{failure}\n{full}HOSTWHEEL_SIM_SEED={seed} cargo test --lib simulation replays it");
            }
        }
    }
}

#[test]
fn every_promise_holds_in_every_run() {
    let (began, volume) = (Instant::now(), volume());
    if let Some(seed) = std::env::var("HOSTWHEEL_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let next = AtomicU64::new(seed);
        run_seeds(&next, Volume { seeds: seed + 1, ..volume }).print(began);
        return;
    }
    let next = AtomicU64::new(0);
    let halves = thread::scope(|scope| {
        let runners = [scope.spawn(|| run_seeds(&next, volume)), scope.spawn(|| run_seeds(&next, volume))];
        runners.map(|runner| runner.join().unwrap_or_else(|broken| std::panic::resume_unwind(broken)))
    });
    let [one, other] = halves;
    let totals = one.merge(other);
    totals.print(began);
    // What was promised of the volume, and that nothing of what is to be shown was missing.
    let (announces, years) = if is_set("HOSTWHEEL_SIM_FULL") { (100_000_000, 100.0) } else { (1_000_000, 1.0) };
    let sum = &totals.sum;
    assert!(sum.announces >= announces && sum.years >= years, "too little was simulated");
    for some in [sum.leaves, sum.recoveries, sum.retries, sum.panics, sum.superseded, sum.full, sum.pauses, sum.retired]
    {
        assert!(some > 0, "something that should be simulated never happened");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..6 {
        let runs = [run(seed, 2000), run(seed, 2000)].map(|run| format!("{:?}", run.expect("no promise is broken")));
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn both_deliveries_and_all_kinds_of_runs_are_drawn() {
    for kind in [Kind::Bustle, Kind::Long, Kind::Flapping] {
        for drained in [false, true] {
            assert!((0..60).map(|seed| plan_of(seed, 1)).any(|plan| plan.kind == kind && plan.drained == drained));
        }
    }
}
