//! Shuttle's schedules of the whole engine: `RUSTFLAGS="--cfg shuttle" cargo test --release --lib shuttle_`.
//!
//! Loom explores all interleavings of two or three threads and a few steps. Here four to seven threads work on the production
//! code with the real slab, wheel and index: producers on a handful of ids, a clock, an observer that steps and sleeps as the
//! thread in `expiry` does, a consumer that drains. A scheduler chooses at random who goes on at each access to shared
//! memory: uniformly, or by priorities of which a few change (PCT, depth 3 to 5). A judge keeps the books ([`books`]).
//!
//! Threads are coroutines on one thread of the system, so all is sequentially consistent: orderings are loom's business.
//! Under `cfg(shuttle)` bitmap words have eight bits, a chunk is 64 records, and steps visit one record of a kind.
//!
//! Seeds are fixed, so every run is the same; `HOSTWHEEL_SHUTTLE=100` multiplies the executions. A failure prints its
//! schedule: call `replay` with it in place of `explore` in the test that failed. What the uniform scheduler found is found
//! again without that, by the seed that it prints: `SHUTTLE_RANDOM_SEED=n` lets it begin with that execution.
//!
//! Each rule has a canary: with that rule broken some scenario must fail within the default executions.

mod books;
mod crowds;
mod held;
mod records;
mod world;

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use std::time::Instant;

use crate::canary::{self, Canary};
use crate::sync::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use crate::sync::{Runner, SchedulerConfig};

/// The seed of all schedulers.
const SEED: u64 = 0x5eed_0fa1_117e;

/// What a test runs, once per execution.
type Scenario = fn();

/// Runs a scenario under `executions` schedules, half of them uniform, half PCT; panics in the first that fails.
fn explore(executions: usize, scenario: Scenario) {
    let times = std::env::var("HOSTWHEEL_SHUTTLE").map_or(1, |times| times.parse().expect("a number"));
    let began = Instant::now();
    run(executions * times, scenario, &StdArc::default());
    println!("{} executions in {:.1?}", executions * times, began.elapsed());
}

/// Expects that a scenario fails within `executions` with the bug planted.
fn must_fail(canary: Canary, executions: usize, scenario: Scenario) {
    let counter = StdArc::new(AtomicUsize::new(0));
    let counted = counter.clone();
    // A thread of its own: a failure leaves the scheduler's thread behind in the middle of a panic.
    let failed = std::thread::spawn(move || canary::with(canary, || run(executions, scenario, &counted))).join();
    let Err(failure) = failed else { panic!("{canary:?} was not noticed") };
    let text = failure.downcast_ref::<String>().map(String::as_str).or(failure.downcast_ref().copied());
    println!("{canary:?}, execution {}: {}", counter.load(StdOrdering::Relaxed), text.unwrap_or_default());
}

fn run(executions: usize, scenario: Scenario, counter: &StdArc<AtomicUsize>) {
    // In turns, so that a canary that only one of them finds is found early.
    let rounds = executions.div_ceil(200);
    for round in 0..rounds {
        let seed = SEED + round as u64;
        let each = executions / rounds / 2;
        schedule(RandomScheduler::new_from_seed(seed, each), scenario, counter);
        schedule(PctScheduler::new_from_seed(seed, 3 + round % 3, each), scenario, counter);
    }
}

fn schedule(scheduler: impl Scheduler + 'static, scenario: Scenario, counter: &StdArc<AtomicUsize>) {
    let counter = counter.clone();
    Runner::new(scheduler, config()).run(move || {
        counter.fetch_add(1, StdOrdering::Relaxed);
        scenario();
    });
}

/// Runs one schedule, as a failure printed it.
#[expect(dead_code, reason = "for whoever looks into a failure")]
fn replay(schedule: &str, scenario: Scenario) {
    Runner::new(ReplayScheduler::new_from_encoded(schedule), config()).run(scenario);
}

fn config() -> SchedulerConfig {
    let mut config = SchedulerConfig::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    config
}

/// Without this a schedule that was printed would be of no use.
#[test]
fn shuttle_schedules_can_be_replayed() {
    for scenario in [crowds::hosts_come_and_go, crowds::a_small_queue, held::held_across_a_ttl] {
        let random = RandomScheduler::new_from_seed(SEED, 30);
        Runner::new(UncontrolledNondeterminismCheckScheduler::new(random), config()).run(scenario);
    }
}
