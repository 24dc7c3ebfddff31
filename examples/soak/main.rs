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
mod flap;
mod fleet;
mod handles;
mod plan;
mod promises;
mod report;
mod samples;
mod soak;
mod subject;
mod system;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::report::Outcome;

/// The exit code of a run in which a promise was broken.
const BROKEN: u8 = 1;
/// The exit code of a run that came to no result.
const NO_RESULT: u8 = 2;
/// What a shell reports of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

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
    /// Where the samples go [default: soak.csv in cargo's target folder]
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Common {
    fn bound(&self) -> Duration {
        Duration::from_millis(self.bound)
    }

    fn csv(&self) -> PathBuf {
        self.csv.clone().unwrap_or_else(|| target_directory().join("soak.csv"))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first one asks; whoever is too impatient to wait for the answer repeats it.
        let twice = flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted));
        if let Err(e) = twice.and_then(|_| flag::register(signal, Arc::clone(&interrupted))) {
            eprintln!("soak: {e}");
            return ExitCode::from(NO_RESULT);
        }
    }
    let outcome = match &options.campaign {
        Campaign::Soak(options) => soak::run(options, &interrupted),
        Campaign::Flap(options) => flap::run(options, &interrupted),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Broken) => ExitCode::from(BROKEN),
        Ok(Outcome::NoResult) => ExitCode::from(NO_RESULT),
        Err(e) => {
            eprintln!("soak: {e}");
            ExitCode::from(NO_RESULT)
        }
    }
}

/// Where cargo puts what it builds: this executable is in `<target>/<profile>/examples`.
fn target_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    match executable.ancestors().nth(3) {
        Some(target) if target.join("CACHEDIR.TAG").exists() => target.to_path_buf(),
        _ => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
    }
}
