//! The table and the verdict at the end of a run.

use std::sync::atomic::Ordering;

use crate::book::Tally;
use crate::promises::{Breaches, Promise};
use crate::samples::{Flatness, Sample, Sampler, flatness};
use crate::subject::Subject;

/// How many lines the table has at most.
const LINES: usize = 20;

/// If more than so much of the time was not counted, the run says little: the machine did not let it run.
const AWAY_AT_MOST: f64 = 0.1;

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Broken,
    NoResult,
}

/// Prints the samples, several to a line if there are many.
pub fn print_samples(samples: &[Sample], names: &[&str]) {
    print!("{:>8}{:>10}{:>6}{:>9}", "seconds", "RSS KiB", "fds", "threads");
    for name in names {
        print!(" |{:>9}{:>9}{:>10}{:>8}{:>21}", "live", "records", "calls/s", "leaves", format!("{name} late ms"));
    }
    println!("\n{:>33}{}", "", names.iter().map(|_| format!(" |{:>57}", "p50    p99    max")).collect::<String>());
    let at_once = samples.len().div_ceil(LINES).max(1);
    let mut from_s = 0.0;
    for part in samples.chunks(at_once) {
        let last = &part[part.len() - 1];
        let highest = |of: &dyn Fn(&Sample) -> u64| part.iter().map(of).max().unwrap_or(0);
        print!(
            "{:>8.0}{:>10}{:>6}{:>9}",
            last.at.as_secs_f64(),
            highest(&|sample| sample.process.rss_kib),
            highest(&|sample| sample.process.descriptors),
            highest(&|sample| sample.process.threads),
        );
        let seconds = (last.at.as_secs_f64() - from_s).max(1e-3);
        from_s = last.at.as_secs_f64();
        for (number, wheel) in last.wheels.iter().enumerate() {
            let sum = |of: &dyn Fn(&Sample) -> u64| part.iter().map(of).sum::<u64>();
            let ms = |us: u64| format!("{:.1}", us as f64 / 1000.0);
            print!(
                " |{:>9}{:>9}{:>10.0}{:>8}{:>7}{:>7}{:>7}",
                wheel.live,
                wheel.records,
                sum(&|sample| sample.wheels[number].calls) as f64 / seconds,
                sum(&|sample| sample.wheels[number].leaves),
                ms(highest(&|sample| sample.wheels[number].p50_us)),
                ms(highest(&|sample| sample.wheels[number].p99_us)),
                ms(highest(&|sample| sample.wheels[number].max_us)),
            );
        }
        println!();
    }
}

/// Prints what one wheel went through.
pub fn print_wheel(subject: &Subject, sampler: &Sampler, number: usize, tally: &Tally) {
    let (stats, lateness) = (subject.wheel.stats(), &sampler.lateness[number]);
    let Tally { calls, registered, recovered, goodbyes, leaves, again, within_lag } = tally;
    println!(
        "\n{}: {calls} calls accepted, among them {registered} registrations, {recovered} recoveries, {goodbyes} goodbyes",
        subject.bench.name
    );
    println!("  {leaves} leaves, handed out again {again} times; {} suspect events", stats.suspects);
    let ms = |us: u64| us as f64 / 1000.0;
    println!(
        "  lateness at delivery, time not counted left out: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
        ms(lateness.value_at_quantile(0.5)),
        ms(lateness.value_at_quantile(0.99)),
        ms(lateness.value_at_quantile(0.999)),
        ms(lateness.max()),
    );
    println!(
        "  by the wheel's own count max {:.1} ms; margin of the clock ({:?}) {:.1} ms; not counted {:.1} s; \
         held by the brake {:.1} s, by silence {:.1} s",
        stats.lateness_max.as_secs_f64() * 1000.0,
        stats.clock,
        stats.margin.as_secs_f64() * 1000.0,
        stats.away.as_secs_f64(),
        stats.brake.as_secs_f64(),
        stats.silence.as_secs_f64(),
    );
    let waits = subject.progress.waits.load(Ordering::Relaxed);
    let waited_s = subject.progress.waited_ns.load(Ordering::Relaxed) as f64 / 1e9;
    println!(
        "  {} records, {} rescues in {} sweeps; {waits} registrations took longer than 0.2 ms, {waited_s:.1} s in all",
        stats.records, stats.rescues, stats.sweeps,
    );
    if *within_lag > 0 {
        println!(
            "  {within_lag} leaves came before their time, by no more than the coarse clock was behind beyond its margin"
        );
    }
}

/// Judges whether the run was flat, its lateness only if it is `timed`, prints the verdict, and says how the run came out.
/// `complete` says that it was not interrupted.
pub fn judge(sampler: &Sampler, names: &[&str], breaches: &Breaches, timed: bool, complete: bool) -> Outcome {
    let flat = flatness(&sampler.samples, names);
    println!();
    for flatness in flat.iter().flatten() {
        let Flatness { what, unit, warm, last, allowed } = flatness;
        let verdict = if flatness.is_flat() { "flat" } else { "NOT FLAT" };
        let figures = format!("{warm:.0} {unit} in the second quarter, {last:.0} in the last, at most {allowed:.0}");
        println!("  {:<32}{figures:<80}{verdict}", what);
        if !flatness.is_flat() && (timed || !flatness.is_time()) {
            breaches.note(Promise::Flat, || format!("{what}: {figures}"));
        }
    }
    println!();
    for promise in Promise::ALL {
        println!("  {:>9}  {promise}", breaches.times(promise));
        breaches.words(promise).iter().for_each(|words| println!("{:>13}{words}", ""));
    }
    let starved = sampler.samples.last().is_some_and(|sample| {
        let most_ms = sample.wheels.iter().map(|wheel| wheel.away_ms).max().unwrap_or(0);
        most_ms as f64 / 1000.0 > sample.at.as_secs_f64() * AWAY_AT_MOST
    });
    let outcome = match (breaches.total(), flat.is_some() && complete && !starved) {
        (0, true) => Outcome::Good,
        (0, false) => Outcome::NoResult,
        _ => Outcome::Broken,
    };
    println!(
        "{}",
        match outcome {
            Outcome::Good => "\nEvery promise was kept.",
            Outcome::Broken => "\nA promise was broken.",
            Outcome::NoResult =>
                "\nNo promise was broken, but the run was too short, or had too little of the machine.",
        }
    );
    outcome
}
