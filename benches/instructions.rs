//! How many instructions a call takes, and how many cache lines it waits for.
//!
//! `.ci/instructions` runs this under callgrind, prints the table and compares it with what is written down for the compiler.
//! callgrind counts while one of the functions in `metered` runs, and writes out what it has counted, and begins anew, whenever
//! `subject::ends` returns. So this program only makes the calls, and prints for each subject how many there were.
//!
//! Plainly run it makes all calls with a small fleet, and times nothing. With arguments: `manual` or `default` (the clock) and
//! the number of hosts.

#[path = "core/expiring.rs"]
mod expiring;
#[path = "instructions/fleet.rs"]
mod fleet;
#[path = "instructions/manual.rs"]
mod manual;
#[path = "instructions/metered.rs"]
mod metered;
#[path = "instructions/real.rs"]
mod real;
#[path = "instructions/subject.rs"]
mod subject;

use fleet::Fleet;

/// Enough to pass every line.
const FEW: usize = 1000;

fn main() {
    // cargo adds `--bench`, or people `--test`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match &*arguments {
        [] => {
            manual::run(&Fleet::new(FEW));
            real::run(&Fleet::new(FEW));
        }
        [clock, hosts] => {
            let run = match &**clock {
                "manual" => manual::run,
                "default" => real::run,
                _ => panic!("the clock is manual or default, not {clock}"),
            };
            run(&Fleet::new(hosts.parse().expect("hosts are a number")));
        }
        _ => panic!("arguments: manual or default, and the number of hosts"),
    }
}
