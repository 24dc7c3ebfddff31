//! A scheduler and its hosts as real processes, and everything that can go wrong, at random.
//!
//! `cargo run --release --example chaos -- --minutes 2 --seed 1` kills, stops and restarts hosts; loses, delays, doubles and
//! cuts off their datagrams; stops the scheduler, kills it and lets another one go on from its last snapshot, in turn with
//! callbacks and with drained events, and with each clock in turn; lets its consumer stall, panic, ask for retries, not
//! answer and not read; and sends crowds that fill its table. What goes wrong when is drawn from the seed. At the end it
//! judges all that the schedulers told, reports how soon which fault was known and what memory it took, and fails if a
//! promise was broken.
//!
//! - [`plan`]: what is to go wrong; [`driver`], [`relay`], [`crowd`]: how it does;
//! - [`scheduler`], [`consumer`]: the wheel's user; [`observation`]: what it tells;
//! - [`history`], [`judge`], [`report`]: what happened, and what it means;
//! - [`common`]: hosts and processes; [`oracle`]: the rules that leaves are judged by.

#[path = "../common/mod.rs"]
mod common;
mod consumer;
mod crowd;
mod driver;
#[path = "../common/footprint.rs"]
mod footprint;
mod history;
mod judge;
mod observation;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
mod plan;
mod relay;
mod report;
mod scheduler;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::common::host;
use crate::common::program::{self, Failure};
use crate::plan::{Plan, QUIET, SHORTEST_RUN};

/// Runs a scheduler and hosts as real processes, makes everything go wrong that can, and judges what the scheduler knew.
#[derive(Parser)]
#[command(name = "chaos")]
struct Options {
    /// How long the run takes once all hosts are registered; the last 24 s are quiet
    #[arg(long, default_value_t = 2.0, value_parser = minutes_in_range)]
    minutes: f64,
    /// Repeats the plan of an earlier run [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How many hosts, each a process
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=2000))]
    hosts: u64,
}

fn minutes_in_range(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (SHORTEST_RUN.as_secs_f64() / 60.0..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!("must be a number of minutes from {:.2} to 1440", SHORTEST_RUN.as_secs_f64() / 60.0)),
    }
}

fn main() -> ExitCode {
    // The children are this executable too. They are told apart before anything else is done, since there are many.
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(host::ROLE) => return host::main(&args[1..]),
        Some(crowd::ROLE) => return crowd::main(&args[1..]),
        Some(scheduler::ROLE) => return scheduler::main(&args[1..]),
        _ => {}
    }
    program::exit_code("chaos", run(&Options::parse()))
}

/// The whole run; whether every promise was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    let interrupted = program::interrupted()?;
    let seed = options.seed.unwrap_or_else(program::fresh_seed);
    let plan = Plan::draw(options.hosts as usize, Duration::from_secs_f64(options.minutes * 60.0), seed);
    println!(
        "{} hosts and a scheduler, {} faults within {:.0} s, then {} s of quiet. The plan is that of --seed {seed}.\n",
        plan.intervals.len(),
        plan.faults.len(),
        (plan.length - QUIET).as_secs_f64(),
        QUIET.as_secs(),
    );
    let history = driver::run(&plan, &interrupted)?;
    let verdict = judge::judge(&history, plan.intervals.len());
    report::print(&history, &verdict);
    let path = program::target_directory().join("chaos.csv");
    report::write_samples(&path, &history)
        .map_err(|e| Failure::Broken(format!("cannot write {}: {e}", path.display())))?;
    println!("\nThe samples are in {}", path.display());
    report::print_judgement(&verdict, seed);
    Ok(verdict.breaches.is_empty())
}
