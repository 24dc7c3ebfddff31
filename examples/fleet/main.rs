//! A fleet of real processes, a scheduler that must know which of them are alive, and a driver that makes them fail.
//!
//! `cargo run --release --example fleet` starts a small scheduler on top of hostwheel and 200 hosts, each a process of its
//! own that announces itself over UDP. A driver, which alone knows the truth, cuts all hosts off for longer than any of them
//! may be silent, kills hosts, stops and continues them, asks them to leave, restarts them, stops the scheduler itself for longer than a TTL, and kills it, so that another one has to
//! go on from its last snapshot. At the end it holds what the
//! scheduler saw against what really happened, prints a report, and draws `target/fleet.svg`. It fails when a promise of
//! the library was broken.
//!
//! - [`scheduler`]: the consumer of the library, and the example to copy from;
//! - [`common::host`]: a host; [`common::wire`]: what hosts and scheduler say to each other;
//! - [`plan`], [`driver`], [`common::process`]: what is to happen, and how it is made to happen;
//! - [`observation`], [`history`]: what the scheduler tells, and all that is known in the end;
//! - [`judge`], [`report`], [`plot`]: what it means;
//! - [`common::system`]: the system calls behind all this.

#[path = "../common/chart.rs"]
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod driver;
mod history;
mod judge;
mod observation;
mod plan;
mod plot;
mod report;
mod scheduler;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::common::host;
use crate::common::program::{self, Failure};
use crate::plan::{Fate, INTERVAL_MS, Plan, SHORTEST_RUN, SMALLEST_FLEET};

/// Runs a fleet of real processes against a scheduler on hostwheel, makes hosts fail in every way, and reports how soon
/// and how rightly the scheduler knew.
#[derive(Parser)]
#[command(name = "fleet")]
struct Options {
    /// How many hosts, each a process
    #[arg(long, default_value_t = 200, value_parser = hosts_in_range)]
    hosts: usize,
    /// How long the run takes once all hosts are registered
    #[arg(long, default_value_t = SHORTEST_RUN, value_parser = clap::value_parser!(u64).range(SHORTEST_RUN..=86_400))]
    seconds: u64,
    /// Repeats the plan of an earlier run [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How long a host past its TTL stays suspect, in seconds; at most its own interval counts. 0 is the literal TTL
    #[arg(long, default_value_t = 15.0, allow_negative_numbers = true, value_parser = grace_in_range)]
    grace: f64,
    /// Lets many hosts die at once, under a brake that is narrow enough to be seen at work
    #[arg(long)]
    brake: bool,
}

fn hosts_in_range(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(hosts) if (SMALLEST_FLEET..=10_000).contains(&hosts) => Ok(hosts),
        _ => Err(format!("must be a number from {SMALLEST_FLEET} to 10000")),
    }
}

fn grace_in_range(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(grace) if (0.0..=3600.0).contains(&grace) => Ok(grace),
        _ => Err("must be a number of seconds from 0 to 3600".to_owned()),
    }
}

fn main() -> ExitCode {
    // The children are this executable too. They are told apart before anything else is done, since there are many.
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(host::ROLE) => return host::main(&args[1..]),
        Some(scheduler::ROLE) => return scheduler::main(&args[1..]),
        _ => {}
    }
    program::exit_code("fleet", run(&Options::parse()))
}

/// The whole demonstration; whether every promise was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    let interrupted = program::interrupted()?;
    let seed = options.seed.unwrap_or_else(program::fresh_seed);
    let grace = Duration::from_millis((options.grace * 1000.0).round() as u64);
    let plan = Plan::draw(options.hosts, Duration::from_secs(options.seconds), grace, options.brake, seed);
    introduce(&plan, seed);
    let history = driver::run(&plan, &interrupted)?;
    let verdict = judge::judge(&plan, &history);
    report::print(&plan, &history, &verdict);
    let path = program::target_directory().join("fleet.svg");
    plot::draw(&path, &plan, &history, &verdict)
        .map_err(|e| Failure::Broken(format!("cannot draw {}: {e}", path.display())))?;
    println!("\nThe plot is in {}", path.display());
    report::print_judgement(&verdict, seed);
    Ok(verdict.breaches.is_empty())
}

/// Says what is going to happen.
fn introduce(plan: &Plan, seed: u64) {
    let after_ttl = match plan.grace.as_secs_f64() {
        0.0 => "leaves at once".to_owned(),
        grace => format!("is suspect for\na grace of {grace} s, at most one interval of its own, and then leaves"),
    };
    println!(
        "A scheduler on hostwheel, and {} hosts that announce themselves to it over UDP, each a process of its own,\n\
         every {:.1} to {:.1} s. A host that is not heard for twice its interval, its TTL, {after_ttl}.\n\
         For {} s a driver will make hosts fail, and then judge what the scheduler made of it:\n",
        plan.hosts.len(),
        INTERVAL_MS.start as f64 / 1000.0,
        INTERVAL_MS.end as f64 / 1000.0,
        plan.length.as_secs(),
    );
    for fate in Fate::ALL.into_iter().filter(|fate| plan.has(*fate)) {
        println!("  {:>5}  {}", plan.count(fate), fate.name());
    }
    let (from, to) = (plan.stop.start.as_secs_f64(), plan.stop.end.as_secs_f64());
    let (killed, started) = (plan.restart.start.as_secs_f64(), plan.restart.end.as_secs_f64());
    println!(
        "\nAnd the scheduler itself is stopped from second {from:.1} to second {to:.1}, killed in second {killed:.1}, and \
         started\nfrom its last snapshot in second {started:.1}."
    );
    if let Some(cut) = &plan.cut {
        let (from, to) = (cut.start.as_secs_f64(), cut.end.as_secs_f64());
        println!(
            "Before all that, from second {from:.1} to second {to:.1}, all announces are lost, as in a cut network."
        );
    }
    if plan.brake {
        println!("All that are killed are killed at once, and a narrow brake lets them leave one after the other.");
    }
    if !plan.has(Fate::StoppedShort) {
        println!("With so short a grace no host can be stopped for clearly less than it, so that fate is left out.");
    }
    if plan.grace.is_zero() {
        println!(
            "Without a grace one lost announce costs the host, and a stop of the scheduler may swallow some. A leave is\n\
             judged by what reached the socket, so such leaves are not false."
        );
    }
    println!("The plan is that of --seed {seed}.\n");
}
