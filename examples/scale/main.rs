//! What fleets of ten thousand to ten million hosts cost, on the real clock and the real thread.
//!
//! `cargo run --release --example scale` registers each fleet, announces it at full speed from one thread and from two, and
//! then lets it live: everybody announces once an interval, one in a thousand hosts dies, and the leaves are measured and
//! judged. It prints a table for each fleet and one for all, with each figure beside its bound. It fails when a promise was
//! broken, not when a figure is missed: figures depend on the machine.
//!
//! - [`schedule`]: how a wheel is in its steady state at once;
//! - [`fleet`]: the hosts and their registration; [`load`]: full speed; [`steady`]: the life of the fleet;
//! - [`leaves`], [`book`]: the consumer and the judge;
//! - [`thread`], [`system`]: what the machine says; [`bounds`], [`report`]: what is told of all that.

mod book;
mod bounds;
#[path = "../common/clock.rs"]
mod clock;
mod fleet;
#[path = "../common/footprint.rs"]
#[allow(dead_code, reason = "memory is all that is asked for here")]
mod footprint;
#[path = "../common/lag.rs"]
mod lag;
mod leaves;
mod load;
#[path = "../common/program.rs"]
#[allow(dead_code, reason = "not every example writes files")]
mod program;
mod report;
mod run;
mod schedule;
mod steady;
mod system;
mod thread;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::program::Failure;

/// Measures hostwheel with fleets of all sizes on the real clock. Ctrl-C ends it.
#[derive(Parser)]
#[command(name = "scale")]
struct Options {
    /// How many hosts each fleet has
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000],
          value_parser = clap::value_parser!(u32).range(1000..=100_000_000))]
    hosts: Vec<u32>,
    /// How long each fleet is watched in its steady state, at most an interval. In 66 s there is exactly one burst of looks
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds between two announces of a host
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(66..=86_400))]
    interval: u64,
    /// Bytes of a host's id
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=1024))]
    id_length: u16,
    /// What follows from chance follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    program::exit_code("scale", run(&Options::parse()))
}

/// The whole run; whether every promise was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    if options.seconds > options.interval {
        return Err(format!("--seconds must be at most --interval, which is {} s", options.interval).into());
    }
    let interrupted = program::interrupted()?;
    report::introduce(options);
    let mut fleets = Vec::new();
    for &hosts in &options.hosts {
        let terms = run::Terms {
            hosts,
            seed: options.seed,
            interval: Duration::from_secs(options.interval),
            window: Duration::from_secs(options.seconds),
            id_length: options.id_length.into(),
        };
        let figures = run::fleet(&terms, &interrupted)?;
        report::print(&figures);
        fleets.push(figures);
    }
    report::summarise(&fleets);
    Ok(fleets.iter().all(|figures| figures.judgement.kept()))
}
