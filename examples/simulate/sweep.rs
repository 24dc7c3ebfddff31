//! All runs of the program: the one that was asked for, the same without loss, and the sweep over the crash rate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::ProgressBar;

use crate::program::{self, Failure};
use crate::run::{self, Outcome};
use crate::scenario::{MINUTE, Options, Scenario};

/// What came of all runs.
pub struct Study {
    pub main: Outcome,
    pub lossless: Outcome,
    /// By crash rate, in order.
    pub sweep: Vec<(f64, Outcome)>,
}

/// Does all runs, several at a time. Ends early when `interrupted` gets true.
pub fn study(options: &Options, interrupted: &AtomicBool) -> Result<Study, Failure> {
    let main = options.scenario();
    let lossless = Scenario { loss: 0.0, ..main.clone() };
    let mut rates = options.sweep.clone();
    rates.sort_unstable_by(f64::total_cmp);
    rates.dedup();
    let sweep = rates.iter().map(|rate| Scenario { crash_rate: *rate, hosts: options.sweep_hosts, ..main.clone() });
    let scenarios: Vec<Scenario> = [main.clone(), lossless].into_iter().chain(sweep).collect();

    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or(processors, usize::from);
    let outcomes = run_all(&scenarios, threads, interrupted).map_err(|why| {
        // Relaxed: it says no more than what it is.
        if interrupted.load(Ordering::Relaxed) { Failure::Interrupted } else { Failure::Broken(why) }
    })?;
    let mut outcomes = outcomes.into_iter();
    let mut next = || outcomes.next().ok_or_else(|| Failure::Broken("a run has no outcome".to_owned()));
    let (main, lossless) = (next()?, next()?);
    let sweep = rates.into_iter().map(|rate| Ok((rate, next()?))).collect::<Result<_, Failure>>()?;
    Ok(Study { main, lossless, sweep })
}

/// The outcomes in the order of the scenarios. The runs share nothing, so the number of threads changes no figure.
fn run_all(scenarios: &[Scenario], threads: usize, interrupted: &AtomicBool) -> Result<Vec<Outcome>, String> {
    let work = |scenario: &Scenario| u64::from(scenario.hosts) * scenario.end() / MINUTE;
    let bar = ProgressBar::new(scenarios.iter().map(work).sum());
    bar.set_style(program::bar("{percent} %  {wide_msg}"));
    let next = AtomicUsize::new(0);
    let ended = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let outcomes: Vec<Mutex<Option<Result<Outcome, String>>>> = scenarios.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        // Relaxed, here and below: a number is handed out once, and the end of the scope orders the rest.
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(number) else { return };
            let outcome = run::run(scenario, || {
                bar.inc(u64::from(scenario.hosts));
                bar.set_message(format!("{} of {} runs done", ended.load(Ordering::Relaxed), scenarios.len()));
                match interrupted.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                    true => Err("ended early".to_owned()),
                    false => Ok(()),
                }
            });
            ended.fetch_add(1, Ordering::Relaxed);
            let broken = outcome.is_err();
            *outcomes[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            if broken {
                failed.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, scenarios.len()) {
            scope.spawn(worker);
        }
    });
    bar.finish_and_clear();
    // A run that failed says why; those that it ended early only say that.
    let outcomes = outcomes.into_iter().map(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner));
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in outcomes.flatten() {
        match outcome {
            Ok(outcome) => good.push(outcome),
            Err(why) => bad.push(why),
        }
    }
    bad.sort_by_key(|why| why == "ended early");
    bad.into_iter().next().map_or(Ok(good), Err)
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    /// A study small enough for tests.
    pub fn small() -> (Options, Study) {
        let options = Options::parse_from(
            "simulate --hosts 300 --sweep-hosts 300 --hours 2 --warm-up 1 --tasks 0.5 --sweep 0.3,0.01".split(' '),
        );
        let study = study(&options, &AtomicBool::new(false)).expect("a study comes to its end");
        (options, study)
    }

    #[test]
    fn outcomes_are_where_they_belong() {
        let (_, study) = small();
        let [(calm, few), (rough, many)] = &study.sweep[..] else { panic!("two crash rates were asked for") };
        assert_eq!((*calm, *rough), (0.01, 0.3));
        assert!(10 * few.deaths < many.deaths, "{} and {}", few.deaths, many.deaths);
        assert_eq!((study.lossless.lost, study.lossless.deaths), (0, study.main.deaths));
        assert!(study.main.lost > 0);
    }

    #[test]
    fn an_interrupted_study_has_no_result() {
        let options = Options::parse_from(["simulate", "--hosts", "10"]);
        assert!(matches!(study(&options, &AtomicBool::new(true)), Err(Failure::Interrupted)));
    }
}
