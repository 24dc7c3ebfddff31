//! What the way in which a scheduler finds its dead hosts does to scheduling, simulated.
//!
//! `cargo run --release --example simulate` lets a fleet of P2P hosts live for a day of simulated time, and five cleaners
//! work side by side on the same announces: a scan every 6 h, a scan every 5 min, the library without and with a grace, and
//! one that knows everything. Tasks get parents among the hosts that the scheduler believes in. It prints what became of
//! that, then the same over a sweep of crash rates, says which claims hold where, and draws `target/simulate.svg`.
//!
//! - [`scenario`]: every parameter, and the reason for its default;
//! - [`world`]: the truth; [`cleaners`]: what is compared; [`tasks`]: parents, and what becomes of tasks;
//! - [`run`]: one run and its judge; [`sweep`]: all runs; [`processor`]: what they cost;
//! - [`claims`], [`report`], [`plot`]: what it means.

#[path = "../common/chart.rs"]
mod chart;
mod claims;
mod cleaners;
mod plot;
mod processor;
#[path = "../common/program.rs"]
mod program;
mod report;
mod run;
mod scenario;
mod sweep;
mod tasks;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::program::Failure;
use crate::scenario::Options;

fn main() -> ExitCode {
    program::exit_code("simulate", run(&Options::parse()))
}

/// The whole program. It has results and promises nothing, so no promise can be broken.
fn run(options: &Options) -> Result<bool, Failure> {
    let interrupted = program::interrupted()?;
    let started = Instant::now();
    report::introduce(options);
    let study = sweep::study(options, &interrupted)?;
    report::print(options, &study);
    let path = options.plot.clone().unwrap_or_else(|| program::target_directory().join("simulate.svg"));
    plot::draw(&path, options, &study).map_err(|e| Failure::Broken(format!("cannot draw {}: {e}", path.display())))?;
    println!("The plot is in {}. All of this took {:.0} s.", path.display(), started.elapsed().as_secs_f64());
    Ok(true)
}
