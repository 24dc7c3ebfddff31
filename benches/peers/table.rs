//! The figures of all rounds of one fleet.

use crate::expiry::{WORKLOADS, Workload};
use crate::round::Round;
use crate::spread::Spread;

/// What became of a subject.
pub enum Outcome {
    Measured(Vec<Round>),
    Skipped(String),
}

fn line(name: &str, figure: &Spread, digits: usize, ratio: Option<&Spread>) {
    let Spread { median, min, max } = figure;
    let range = format!("{min:.digits$} .. {max:.digits$}");
    print!("  {name:<40} {median:>9.digits$}  {range:<20}");
    if let Some(Spread { median, min, max }) = ratio {
        print!(" {median:>7.2}  {min:.2} .. {max:.2}");
    }
    println!();
}

/// Prints a part for each workload. Ratios are to the subject number `base`, of two figures of the same round, so that what
/// disturbed a round disturbs both.
pub fn print(hosts: usize, subjects: &[(&'static str, Outcome)], base: Option<usize>) {
    let measured = |number: usize| match &subjects[number].1 {
        Outcome::Measured(rounds) => rounds.as_slice(),
        Outcome::Skipped(_) => &[],
    };
    let base = base.map(measured).filter(|rounds| !rounds.is_empty());
    let rounds = (0..subjects.len()).map(|number| measured(number).len()).max().unwrap_or(0);
    println!("\n{:<42} {:>9}  {:<20} {:>7}", format!("{hosts} hosts, {rounds} rounds"), "ns", "min .. max", "ratio");
    let each = |heading: &str, digits: usize, of: &dyn Fn(&Round) -> f64| {
        println!("{heading}");
        for (number, (name, _)) in subjects.iter().enumerate() {
            let figures: Vec<f64> = measured(number).iter().map(of).collect();
            let known = || figures.iter().enumerate().filter(|(_, figure)| !figure.is_nan());
            if known().count() == 0 {
                println!("  {name:<40} {:>9}", "-");
                continue;
            }
            let ratios = base.map(|base| Spread::of(known().map(|(round, figure)| figure / of(&base[round]))));
            line(name, &Spread::of(known().map(|(_, figure)| *figure)), digits, ratios.as_ref());
        }
    };
    for (workload, heading) in WORKLOADS {
        let digits = usize::from(workload == Workload::Renew);
        each(heading, digits, &|round| round.figures[workload as usize]);
    }
    each("bytes of resident memory per host, ids and index included", 0, &|round| round.bytes);
    for (name, outcome) in subjects {
        if let Outcome::Skipped(why) = outcome {
            println!("  {name} was skipped: {why}");
        }
    }
}
