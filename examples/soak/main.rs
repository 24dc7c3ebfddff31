//! Soaks a wheel: the real clock, the real thread, for minutes or for days, under a judge that keeps a book of its own.
//!
//! `cargo run --release --example soak -- soak --minutes 60` lets a fleet of simulated hosts live in one process: most
//! announce themselves as hosts do, some come and go all the time. `cargo run --release --example soak -- flap` registers
//! and leaves as fast as it goes. Both fail when a promise of the library was broken: a leave that is false, missing or
//! double, a handle issued twice, a rescue, or memory, descriptors, threads or lateness that grow.
//!
//! - [`soak`], [`flap`]: the two campaigns;
//! - [`plan`], [`calendar`], [`fleet`]: what simulated hosts do, and when;
//! - [`announcer`]: calls the wheel for them; [`subject`]: the wheel and its consumer;
//! - [`book`], [`handles`], [`promises`]: the judge;
//! - [`samples`], [`watch`], [`report`]: what is measured, and how it is told;
//! - [`system`]: the system calls behind all this.

mod announcer;
mod book;
mod calendar;
#[path = "../common/clock.rs"]
mod clock;
mod flap;
mod fleet;
#[path = "../common/footprint.rs"]
mod footprint;
mod handles;
#[path = "../common/lag.rs"]
mod lag;
mod plan;
#[path = "../common/program.rs"]
mod program;
mod promises;
mod report;
mod samples;
mod soak;
mod subject;
mod system;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::program::Failure;
use crate::report::Outcome;

/// Soaks hostwheel on the real clock and judges it. Ctrl-C ends a run early, with what it has shown so far.
#[derive(Parser)]
#[command(name = "soak")]
struct Options {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// A fleet of simulated hosts, of which some come and go all the time
    Soak(soak::Options),
    /// Hosts that register and leave as fast as it goes
    Flap(flap::Options),
}

/// What both campaigns take.
#[derive(Args, Clone)]
struct Common {
    /// What follows from chance follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How late a leave may be, in milliseconds, time not counted and time held back left out
    #[arg(long, default_value_t = 1000)]
    bound: u64,
    /// Tells how late leaves were and does not judge it: for machines with other things to do
    #[arg(long)]
    untimed: bool,
    /// Where the samples go [default: soak.csv in cargo's target folder]
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Common {
    fn bound(&self) -> Duration {
        if self.untimed { Duration::from_secs(3600) } else { Duration::from_millis(self.bound) }
    }

    fn csv(&self) -> PathBuf {
        self.csv.clone().unwrap_or_else(|| program::target_directory().join("soak.csv"))
    }
}

fn main() -> ExitCode {
    program::exit_code("soak", run(&Options::parse()))
}

/// The whole run; whether every promise was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    let interrupted = program::interrupted()?;
    let outcome = match &options.campaign {
        Campaign::Soak(options) => soak::run(options, &interrupted),
        Campaign::Flap(options) => flap::run(options, &interrupted),
    };
    match outcome.map_err(|e| Failure::Broken(e.to_string()))? {
        Outcome::Good => Ok(true),
        Outcome::Broken => Ok(false),
        // Relaxed: it says no more than what it is.
        Outcome::NoResult if interrupted.load(Ordering::Relaxed) => Err(Failure::Interrupted),
        Outcome::NoResult => Err(Failure::Broken("no result".to_owned())),
    }
}
