//! What is simulated: every parameter, with its default and the reason for it.

use std::path::PathBuf;

use clap::Parser;

/// Milliseconds of simulated time, since its beginning.
pub type Ms = u64;

pub const SECOND: Ms = 1000;
pub const MINUTE: Ms = 60 * SECOND;
pub const HOUR: Ms = 60 * MINUTE;

/// How many parents a task gets, at most: what a Dragonfly scheduler hands out (candidate parents).
pub const PARENTS: usize = 4;

/// Simulates a fleet of P2P hosts under five cleaners side by side, and tells what each of them does to scheduling: a scan
/// every 6 h, a scan every 5 min, hostwheel without and with a grace, and one that knows everything.
///
/// All cleaners see the same announces, and tasks try the same hosts under all of them. The clock is simulated; the wheels
/// are the real library. The same options give the same figures, processor time aside.
#[derive(Parser, Clone, Debug)]
#[command(name = "simulate", args_override_self = true)]
pub struct Options {
    /// How many hosts run at a time, and those that are away for a while
    ///
    /// A large cluster of one scheduler. Shares do not depend on it; work does.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub hosts: u32,
    /// How long is measured, in hours of simulated time
    ///
    /// A day: several lives of a host, and four turns of the slow scan.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub hours: u64,
    /// How long the fleet lives before that, in hours of simulated time
    ///
    /// The slow scan is as wrong as it gets after its period and the host TTL, 7 h; this is two of its turns.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub warm_up: u64,
    /// How often a host announces itself, in seconds
    ///
    /// 5 min is what Dragonfly's client does, and what the claim "within 10 min" goes with: TTL is twice the interval.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub interval: u64,
    /// An announce is heard up to this long after the host's timer went off, in milliseconds, evenly
    ///
    /// Hosts announce on a fixed beat and do not repeat what got lost, so after one lost announce the next one comes close to
    /// the end of the TTL. Half of the time this delay makes it too late. A wait of the network and the processor, no more.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub delay: u64,
    /// Crashes per host and hour; the time to a crash is exponential
    ///
    /// One in 20 h: rough for a data centre, usual for edge, spot and build machines. There is no right value: see the sweep.
    #[arg(long, default_value_t = 0.05, value_parser = rate)]
    pub crash_rate: f64,
    /// Mean life of a host that does not crash, in hours, exponential: it is scaled down, updated or rebooted
    ///
    /// A day: clusters that grow by day and shrink by night, and daily updates.
    #[arg(long, default_value_t = 24.0, value_parser = positive)]
    pub life: f64,
    /// Share of those ends at which the host says goodbye, which always reaches the scheduler; the others are silent
    ///
    /// Orderly shutdowns send a signal first. One in ten is cut short by the end of its patience or of the network.
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    pub polite: f64,
    /// Share of hosts that come back under the same id; in place of the others comes a new host
    ///
    /// Half and half: machines and daemons come back as they were, containers and cloud instances do not.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    pub returns: f64,
    /// How long it takes until a host is back or replaced, in minutes, exponential
    ///
    /// Half an hour: a daemon is restarted in seconds and noticed by nobody, a machine is repaired or replaced in hours.
    #[arg(long, default_value_t = 30.0, value_parser = positive)]
    pub absence: f64,
    /// Share of announces that never reach the scheduler, each for itself
    ///
    /// More than a good network loses, so that what a cleaner makes of it can be counted. Everything is run without it too.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub loss: f64,
    /// Tasks per second in the whole fleet; times between them are exponential
    ///
    /// A task for each host every half hour. Figures are shares of tasks; more of them only makes these more exact.
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub tasks: f64,
    /// The slow scan's period, in seconds
    ///
    /// 6 h, which the claims start from.
    #[arg(long, default_value_t = 21_600, value_parser = clap::value_parser!(u64).range(1..=864_000))]
    pub slow_scan: u64,
    /// The slow scan removes hosts that were not heard for so long, in seconds
    ///
    /// Dragonfly's host TTL.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=864_000))]
    pub host_ttl: u64,
    /// The fast scan's period, in seconds; it removes hosts that were not heard for twice their interval
    ///
    /// 5 min: Dragonfly today (v2.5.1).
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=864_000))]
    pub fast_scan: u64,
    /// The second wheel's grace, in seconds, at most one interval; the first wheel has none
    ///
    /// The library's default. All else of both wheels is the library's default as well, brake and silence included.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub grace: u64,
    /// The crash rates of the sweep, with all else as above
    ///
    /// From a host that crashes every six weeks to one that crashes every hour.
    #[arg(long, value_delimiter = ',', default_values_t = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0], value_parser = rate)]
    pub sweep: Vec<f64>,
    /// How many hosts the fleet has in each run of the sweep
    ///
    /// Fewer than in the main run, as shares do not depend on it and there are many runs.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub sweep_hosts: u32,
    /// What follows from chance follows from this
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many runs at a time [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,
    /// Where the plot goes [default: simulate.svg in cargo's target folder]
    #[arg(long)]
    pub plot: Option<PathBuf>,
}

fn number(text: &str, accepts: impl Fn(f64) -> bool, what: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| accepts(*number)).ok_or_else(|| format!("must be {what}"))
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=60.0).contains(&number), "a number from 0 to 60")
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |number| (0.001..=100_000.0).contains(&number), "a number from 0.001 to 100000")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=1.0).contains(&number), "a number from 0 to 1")
}

/// What one run simulates.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub hosts: u32,
    pub warm_up: Ms,
    pub length: Ms,
    pub interval: Ms,
    pub delay: Ms,
    /// Per host and hour.
    pub crash_rate: f64,
    pub mean_life: Ms,
    pub polite: f64,
    pub returns: f64,
    pub mean_absence: Ms,
    pub loss: f64,
    pub task_every: f64,
    pub slow_scan: Ms,
    pub host_ttl: Ms,
    pub fast_scan: Ms,
    pub grace: Ms,
    pub seed: u64,
}

impl Options {
    /// The run at the crash rate and the loss that were asked for.
    pub fn scenario(&self) -> Scenario {
        Scenario {
            hosts: self.hosts,
            warm_up: self.warm_up * HOUR,
            length: self.hours * HOUR,
            interval: self.interval * SECOND,
            delay: self.delay,
            crash_rate: self.crash_rate,
            mean_life: (self.life * HOUR as f64) as Ms,
            polite: self.polite,
            returns: self.returns,
            mean_absence: (self.absence * MINUTE as f64) as Ms,
            loss: self.loss,
            task_every: SECOND as f64 / self.tasks,
            slow_scan: self.slow_scan * SECOND,
            host_ttl: self.host_ttl * SECOND,
            fast_scan: self.fast_scan * SECOND,
            grace: self.grace * SECOND,
            seed: self.seed,
        }
    }
}

impl Scenario {
    pub fn end(&self) -> Ms {
        self.warm_up + self.length
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A fleet small enough for tests; the other parameters are the defaults.
    pub fn small(arguments: &[&str]) -> Scenario {
        let size = ["simulate", "--hosts", "300", "--hours", "12", "--warm-up", "7", "--tasks", "0.5"];
        Options::parse_from(size.iter().chain(arguments)).scenario()
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for wrong in [["--loss", "1.1"], ["--crash-rate=-1", "--hours=1"], ["--hosts", "0"], ["--life", "0"]] {
            assert!(Options::try_parse_from(["simulate"].iter().chain(&wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(small(&["--grace", "7"]).grace, 7 * SECOND);
    }
}
