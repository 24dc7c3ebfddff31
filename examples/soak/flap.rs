//! The flapping campaign: a thousand ids that register, renew, change their interval and leave, as fast as it goes.
//!
//! What flapping can break is what is left of each life: records, index entries, hints in the wheel, pending expiries. So
//! memory must not grow, and neither must lateness: now and then one of the ids falls silent, and its leave is timed.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::Builder;
use std::time::{Duration, Instant};

use clap::Args;
use hostwheel::{Brake, Config};

use crate::Common;
use crate::announcer::{Announcer, Whose};
use crate::book::{Leave, Tally};
use crate::plan::{BACKSTOP, Draw};
use crate::promises::Breaches;
use crate::report::{self, Outcome};
use crate::samples::Sampler;
use crate::subject::{Delivery, Subject, Terms};
use crate::watch::watch;

/// Of so many operations one is that an id falls silent.
const SILENT_ONE_IN: u64 = 131_072;

/// Calls between two looks at the clocks, at the messages and at the flag that stops.
const CALLS_PER_READING: u32 = 64;

/// Records that the judge watches: a multiple of what the wheel needs for any number of ids that suits this campaign.
const RECORDS: usize = 1 << 18;

/// The two intervals that ids announce, and how long after an announce they leave: after TTL and grace.
const SHORT: (Duration, u64) = (Duration::from_secs(1), 3_000_000_000);
const LONG: (Duration, u64) = (Duration::from_secs(60), 135_000_000_000);

#[derive(Args)]
pub struct Options {
    /// How many operations
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    operations: u64,
    /// How many ids
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    ids: u32,
    /// How many threads, each with its part of the ids
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    threads: u32,
    /// Seconds between two samples. A run of fewer than eight of them says nothing of what is flat
    #[arg(long, default_value_t = 1.0, value_parser = period_in_range)]
    period: f64,
    #[command(flatten)]
    common: Common,
}

fn period_in_range(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds from 0.1 to 3600".to_owned()),
    }
}

/// Runs the campaign.
pub fn run(options: &Options, interrupted: &Arc<AtomicBool>) -> Result<Outcome, Box<dyn Error>> {
    let Options { operations, ids, threads, period, common } = options;
    println!(
        "{operations} operations on {ids} ids by {threads} threads, a sample every {period} s; of {SILENT_ONE_IN} operations \
         one is that\nan id falls silent and must leave. Guards are off. The plan is that of --seed {}.\n",
        common.seed
    );
    let breaches = Arc::new(Breaches::default());
    // As many leave as flap: no guard is to hold them.
    let config = Config { brake: Brake::OFF, silence_expected: 0, backstop: BACKSTOP, ..Config::default() };
    let (delivery, books, bound, seed) = (Delivery::Callback, *threads as usize, common.bound(), common.seed);
    let terms = Terms { name: "flap", delivery, config, records: RECORDS, books, bound, seed };
    let (subject, leaves) = Subject::open(terms, &breaches)?;
    let mut flapping = Vec::new();
    for (number, leaves) in leaves.into_iter().enumerate() {
        let flapper = Flapper::new(options, number, &subject, leaves);
        let (share, interrupted) = (operations.div_ceil((*threads).into()), interrupted.clone());
        let thread = Builder::new().name(format!("flapper {number}"));
        flapping.push(thread.spawn(move || flapper.run(share, &interrupted))?);
    }
    let csv = common.csv();
    let subjects = [subject];
    let mut sampler = Sampler::new(&subjects, &csv).map_err(|e| format!("cannot write {}: {e}", csv.display()))?;
    let start = Instant::now();
    let position = || subjects[0].progress.calls.load(Ordering::Relaxed);
    let sampled = watch(
        &mut sampler,
        &subjects,
        &breaches,
        Duration::from_secs_f64(*period),
        (&position, *operations),
        interrupted,
    );
    let (done, seconds) = (position(), start.elapsed().as_secs_f64());
    let mut tally = Tally::default();
    for flapper in flapping {
        tally += flapper.join().map_err(|_| "a flapper panicked")?;
    }
    report::print_samples(&sampler.samples, &["flap"]);
    println!("\n{done} operations in {seconds:.1} s: {:.0} a second", done as f64 / seconds);
    let [subject] = subjects;
    report::print_wheel(&subject, &sampler, 0, &tally);
    subject.end(&tally);
    println!("\nThe samples are in {}", csv.display());
    sampled?;
    Ok(report::judge(&sampler, &["flap"], &breaches, !common.untimed, !interrupted.load(Ordering::Relaxed)))
}

/// One thread's ids.
struct Flapper {
    announcer: Announcer,
    draw: Draw,
    ids: Vec<Flapping>,
}

/// One id.
#[derive(Clone, Copy)]
struct Flapping {
    /// As it was announced last, so that a renew is known to keep it.
    rhythm: (Duration, u64),
    /// It is silent, until it has left.
    silent: bool,
}

impl Flapper {
    fn new(options: &Options, number: usize, subject: &Subject, leaves: Receiver<Leave>) -> Flapper {
        let ids = options.ids.div_ceil(options.threads) as usize;
        Flapper {
            announcer: Announcer::new(subject, number, ids, leaves, CALLS_PER_READING),
            draw: Draw::new([options.common.seed, number as u64, 3]),
            ids: vec![Flapping { rhythm: SHORT, silent: false }; ids],
        }
    }

    fn run(mut self, operations: u64, interrupted: &AtomicBool) -> Tally {
        let mut left = operations;
        while left > 0 && !interrupted.load(Ordering::Relaxed) {
            let calls = left.min(CALLS_PER_READING.into());
            left -= calls;
            (0..calls).for_each(|_| self.operation());
            while let Some((number, present)) = self.announcer.next_leave() {
                self.ids[number as usize].silent &= !present;
            }
            self.announcer.look();
            self.announcer.progressed(calls);
        }
        self.announcer.end(self.ids.len());
        self.announcer.book.tally
    }

    fn operation(&mut self) {
        let number = self.draw.below(self.ids.len() as u64) as usize;
        let chance = self.draw.below(100 * SILENT_ONE_IN);
        // Silent ids take no part; at most a few in a hundred are.
        let ids = (number..self.ids.len()).chain(0..number);
        let Some(number) = ids.into_iter().find(|number| !self.ids[*number].silent) else { return };
        let silent = chance / 100 == 0;
        if silent {
            self.ids[number].silent = true;
            // Its leave is timed from here.
            self.announcer.read_clocks();
        }
        let known = self.announcer.book.present(number as u32).map(|(handle, _)| handle);
        match (known, chance % 100) {
            (Some(handle), 0..40) if !silent => self.announcer.goodbye(number as u32, handle, chance.is_multiple_of(2)),
            (Some(handle), 40..70) if !silent => self.announcer.renew(self.whose(number), handle),
            // A host registers, or another interval is announced.
            (_, chance) => {
                self.ids[number].rhythm = if silent || chance.is_multiple_of(2) { SHORT } else { LONG };
                self.announcer.announce(self.whose(number));
            }
        }
    }

    fn whose(&self, number: usize) -> Whose {
        let (interval, lasts_ns) = self.ids[number].rhythm;
        Whose { number: number as u32, interval, lasts_ns }
    }
}
