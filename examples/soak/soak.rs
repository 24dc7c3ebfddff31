//! The soak: a fleet of simulated hosts on a wheel, or the same fleet on two wheels at once that deliver in both ways.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hostwheel::Config;

use crate::Common;
use crate::fleet::{Doings, Fleet};
use crate::plan::{BACKSTOP, GRACE, HOST_TTL};
use crate::promises::Breaches;
use crate::report::{self, Outcome};
use crate::samples::Sampler;
use crate::subject::{Delivery, SETTLE_TIMEOUT, Subject, Terms};
use crate::watch::watch;

/// The most samples of a run of which the period was not given.
const SAMPLES: u64 = 360;

/// The most fleets that a wheel's records suffice for: what is beyond is a leak.
const RECORDS_PER_HOST: usize = 2;

#[derive(Args)]
pub struct Options {
    /// How long the run takes
    #[arg(long, default_value_t = 60.0, value_parser = minutes_in_range)]
    minutes: f64,
    /// How many hosts each wheel has
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    hosts: u32,
    /// How leaves are delivered. With "both" there are two wheels at once, each with all hosts
    #[arg(long, value_enum, default_value_t = Deliveries::Both)]
    delivery: Deliveries,
    /// Seconds between two samples [default: 10, in runs of more than an hour a 360th of the run]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    period: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deliveries {
    Both,
    Callback,
    Drain,
}

fn minutes_in_range(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.1..=100_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("must be a number of minutes from 0.1 to 100000".to_owned()),
    }
}

/// Runs the soak.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Outcome, Box<dyn Error>> {
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let period = Duration::from_secs(options.period.unwrap_or((length.as_secs() / SAMPLES).max(10)));
    let deliveries: &[(&'static str, Delivery)] = match options.delivery {
        Deliveries::Both => &[("callback", Delivery::Callback), ("drain", Delivery::Drain)],
        Deliveries::Callback => &[("callback", Delivery::Callback)],
        Deliveries::Drain => &[("drain", Delivery::Drain)],
    };
    introduce(options, length, period);
    let breaches = Arc::new(Breaches::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (mut subjects, mut fleets) = (Vec::new(), Vec::new());
    for (name, delivery) in deliveries {
        let (subject, mut leaves) = Subject::open(terms(options, name, *delivery), &breaches)?;
        let leaves = leaves.pop().ok_or("a wheel without a book")?;
        let fleet = Fleet::new(options.hosts, options.common.seed, &subject, leaves);
        let stop = stop.clone();
        let thread = Builder::new().name(format!("fleet {name}"));
        fleets.push(thread.spawn(move || fleet.run(&stop))?);
        subjects.push(subject);
    }
    let csv = options.common.csv();
    let mut sampler = Sampler::new(&subjects, &csv).map_err(|e| format!("cannot write {}: {e}", csv.display()))?;
    let start = Instant::now();
    let position = || start.elapsed().as_secs();
    let sampled = watch(&mut sampler, &subjects, &breaches, period, (&position, length.as_secs()), interrupted);
    stop.store(true, Ordering::Relaxed);
    let names: Vec<&str> = deliveries.iter().map(|(name, _)| *name).collect();
    report::print_samples(&sampler.samples, &names);
    let mut all = Doings::default();
    for (number, (subject, fleet)) in subjects.into_iter().zip(fleets).enumerate() {
        let (tally, doings) = fleet.join().map_err(|_| "a fleet panicked")?;
        all += doings;
        report::print_wheel(&subject, &sampler, number, &tally);
        subject.end(&tally);
    }
    println!(
        "\nHosts were made to die {} times, to be silent {} times, to say goodbye {} times, to change their interval {} \
         times.\n{} leaves were of hosts whose announcer came too late.\nThe samples are in {}",
        all.deaths,
        all.silences,
        all.goodbyes,
        all.changes,
        all.unplanned,
        csv.display()
    );
    sampled?;
    Ok(report::judge(&sampler, &names, &breaches, !options.common.untimed, !interrupted.load(Ordering::Relaxed)))
}

fn terms(options: &Options, name: &'static str, delivery: Delivery) -> Terms {
    let config = Config {
        host_ttl: HOST_TTL,
        grace: GRACE,
        settle_timeout: SETTLE_TIMEOUT,
        backstop: BACKSTOP,
        ..Config::default()
    };
    let records = options.hosts as usize * RECORDS_PER_HOST + (1 << 16);
    Terms { name, delivery, config, records, books: 1, bound: options.common.bound(), seed: options.common.seed }
}

fn introduce(options: &Options, length: Duration, period: Duration) {
    println!(
        "{} hosts on each wheel for {:.1} minutes, a sample every {} s. They announce themselves every 1 to 60 s, one in ten\n\
         without an interval under a host TTL of {} s; one in twenty flaps. The plan is that of --seed {}.\n",
        options.hosts,
        length.as_secs_f64() / 60.0,
        period.as_secs(),
        HOST_TTL.as_secs(),
        options.common.seed,
    );
}
