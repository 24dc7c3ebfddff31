//! Samples of a run, taken every period and kept; and whether what they show is flat.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::footprint::Footprint;
use crate::subject::Subject;

/// The fewest samples that show whether anything is flat.
pub const FEWEST: usize = 8;

/// One wheel in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WheelSample {
    pub live: u64,
    pub records: u64,
    /// Calls, leaves and registrations that waited, in the period.
    pub calls: u64,
    pub leaves: u64,
    pub waits: u64,
    /// Lateness of the leaves of the period, in microseconds. Without leaves there is none.
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    /// Time that was not counted since the start.
    pub away_ms: u64,
    /// By how much a stamp may be late at present: part of a leave's lateness. It never shrinks.
    pub margin_us: u64,
}

/// A period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub at: Duration,
    pub process: Footprint,
    pub wheels: Vec<WheelSample>,
}

/// Takes samples.
pub struct Sampler {
    start: Instant,
    csv: BufWriter<File>,
    pub samples: Vec<Sample>,
    /// Calls and waits of each wheel up to the last sample.
    before: Vec<(u64, u64)>,
    /// Lateness of all leaves of each wheel.
    pub lateness: Vec<Histogram<u64>>,
}

impl Sampler {
    /// Writes its samples to the file `csv` as well.
    pub fn new(subjects: &[Subject], csv: &Path) -> io::Result<Sampler> {
        let mut csv = BufWriter::new(File::create(csv)?);
        write!(csv, "seconds,rss_kib,descriptors,threads")?;
        for name in subjects.iter().map(|subject| subject.bench.name) {
            for column in
                ["live", "records", "calls", "leaves", "waits", "p50_us", "p99_us", "max_us", "away_ms", "margin_us"]
            {
                write!(csv, ",{name}_{column}")?;
            }
        }
        writeln!(csv)?;
        csv.flush()?;
        let empty = |subject: &Subject| {
            let like = subject.bench.lateness.lock().unwrap_or_else(PoisonError::into_inner);
            Histogram::new_from(&*like)
        };
        Ok(Sampler {
            start: Instant::now(),
            csv,
            // Room for a long run, so that samples cost no memory later.
            samples: Vec::with_capacity(4096),
            before: vec![(0, 0); subjects.len()],
            lateness: subjects.iter().map(empty).collect(),
        })
    }

    /// Takes the sample of the period that ends now.
    pub fn take(&mut self, subjects: &[Subject]) -> io::Result<&Sample> {
        let mut wheels = Vec::with_capacity(subjects.len());
        for ((subject, before), all) in subjects.iter().zip(&mut self.before).zip(&mut self.lateness) {
            let (calls, waits) =
                (subject.progress.calls.load(Ordering::Relaxed), subject.progress.waits.load(Ordering::Relaxed));
            let stats = subject.wheel.stats();
            let mut lateness = subject.bench.lateness.lock().unwrap_or_else(PoisonError::into_inner);
            wheels.push(WheelSample {
                live: stats.live,
                records: stats.records,
                calls: calls - before.0,
                leaves: lateness.len(),
                waits: waits - before.1,
                p50_us: lateness.value_at_quantile(0.5),
                p99_us: lateness.value_at_quantile(0.99),
                max_us: lateness.max(),
                away_ms: stats.away.as_millis() as u64,
                margin_us: stats.margin.as_micros() as u64,
            });
            all.add(&*lateness).map_err(io::Error::other)?;
            lateness.reset();
            *before = (calls, waits);
        }
        let sample = Sample { at: self.start.elapsed(), process: Footprint::now()?, wheels };
        self.write(&sample)?;
        self.samples.push(sample);
        Ok(&self.samples[self.samples.len() - 1])
    }

    fn write(&mut self, sample: &Sample) -> io::Result<()> {
        let Footprint { rss_kib, descriptors, threads } = sample.process;
        write!(self.csv, "{:.1},{rss_kib},{descriptors},{threads}", sample.at.as_secs_f64())?;
        for wheel in &sample.wheels {
            let WheelSample { live, records, calls, leaves, waits, p50_us, p99_us, max_us, away_ms, margin_us } = wheel;
            write!(
                self.csv,
                ",{live},{records},{calls},{leaves},{waits},{p50_us},{p99_us},{max_us},{away_ms},{margin_us}"
            )?;
        }
        writeln!(self.csv)?;
        // Whoever looks at the file during a long run wants to see it all.
        self.csv.flush()
    }
}

/// Something that should stay as it was: its figure in the second quarter of the run, when all have warmed up, its figure
/// in the last quarter, and the most that this may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Flatness {
    pub what: String,
    pub unit: &'static str,
    pub warm: f64,
    pub last: f64,
    pub allowed: f64,
}

impl Flatness {
    pub fn is_flat(&self) -> bool {
        self.last <= self.allowed
    }

    /// Whether it is a time, which depends on what else the machine does.
    pub fn is_time(&self) -> bool {
        self.unit == "us"
    }
}

/// What is flat and what is not; `None` if there are too few samples to say.
///
/// Memory may grow by 5 % and a MiB, descriptors and threads not at all. Records in use may grow by a half and four chunks:
/// registrations outrun a thread that gets no processor, so the longest such moment of a run decides, which a leak soon
/// exceeds. The median lateness of the best period may grow by a half and 10 ms beyond what the clock's margin grew by: that
/// of the coarse clock grows when the machine keeps its processor busy, and is part of what the library says of lateness.
pub fn flatness(samples: &[Sample], names: &[&str]) -> Option<Vec<Flatness>> {
    if samples.len() < FEWEST {
        return None;
    }
    let quarter = samples.len() / 4;
    let (warm, last) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let highest = |part: &[Sample], of: &dyn Fn(&Sample) -> u64| part.iter().map(of).max().unwrap_or(0) as f64;
    let mut found = Vec::new();
    let mut judge = |what: String, unit, of: &dyn Fn(&Sample) -> u64, factor: f64, more: f64| {
        let (warm, last) = (highest(warm, of), highest(last, of));
        found.push(Flatness { what, unit, warm, last, allowed: warm * factor + more });
    };
    judge("memory".into(), "KiB", &|sample| sample.process.rss_kib, 1.05, 1024.0);
    judge("descriptors".into(), "", &|sample| sample.process.descriptors, 1.0, 0.0);
    judge("threads".into(), "", &|sample| sample.process.threads, 1.0, 0.0);
    for (number, name) in names.iter().enumerate() {
        judge(format!("records, {name}"), "", &|sample| sample.wheels[number].records, 1.5, 16_384.0);
    }
    for (number, name) in names.iter().enumerate() {
        let margin_us = |part: &[Sample]| highest(part, &|sample| sample.wheels[number].margin_us);
        let margin_us = margin_us(last) - margin_us(warm);
        let (warm, last) = (median_us(warm, number), median_us(last, number));
        let (what, allowed) = (format!("best median lateness, {name}"), warm * 1.5 + 10_000.0 + margin_us);
        found.push(Flatness { what, unit: "us", warm, last, allowed });
    }
    Some(found)
}

/// The lowest of the periods' medians, of those in which anybody left: what else the machine does makes some periods worse,
/// and what grows in the wheel makes all of them worse.
fn median_us(part: &[Sample], wheel: usize) -> f64 {
    let wheels = part.iter().map(|sample| &sample.wheels[wheel]).filter(|wheel| wheel.leaves > 0);
    wheels.map(|wheel| wheel.p50_us).min().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 40 samples that the change makes less even, given the number of each sample.
    fn run(change: impl Fn(u64, &mut Sample)) -> Vec<String> {
        let samples: Vec<Sample> = (0..40)
            .map(|number| {
                let wheel = WheelSample { records: 10_000, leaves: 9, p50_us: 8000, ..WheelSample::default() };
                let process = Footprint { rss_kib: 100_000, descriptors: 9, threads: 4 };
                let mut sample = Sample { at: Duration::from_secs(number), process, wheels: vec![wheel] };
                change(number, &mut sample);
                sample
            })
            .collect();
        let found = flatness(&samples, &["test"]).expect("there are enough");
        found.into_iter().filter(|flatness| !flatness.is_flat()).map(|flatness| flatness.what).collect()
    }

    #[test]
    fn an_even_run_is_flat_also_if_it_warms_up() {
        assert!(run(|_, _| {}).is_empty());
        let warming = |number, sample: &mut Sample| sample.process.rss_kib -= 50_000 / (number + 1);
        assert!(run(warming).is_empty());
    }

    #[test]
    fn whatever_grows_is_noticed() {
        assert_eq!(run(|number, sample| sample.process.rss_kib += number * 500), ["memory"]);
        assert_eq!(run(|number, sample| sample.process.descriptors += number / 30), ["descriptors"]);
        assert_eq!(run(|number, sample| sample.process.threads += number / 39), ["threads"]);
        assert_eq!(run(|number, sample| sample.wheels[0].records += number * 4000), ["records, test"]);
        assert_eq!(run(|number, sample| sample.wheels[0].p50_us += number * 2000), ["best median lateness, test"]);
    }

    #[test]
    fn a_leave_may_be_later_by_what_the_margin_grew_by() {
        let later = |margin_us: u64| {
            run(move |number, sample| {
                let late = u64::from(number >= 25);
                sample.wheels[0].p50_us += late * 20_000;
                sample.wheels[0].margin_us += late * margin_us;
            })
        };
        assert_eq!((later(5000).len(), later(15_000).len()), (1, 0));
    }

    #[test]
    fn a_short_run_says_nothing() {
        assert_eq!(flatness(&vec![Sample::default(); FEWEST - 1], &[]), None);
    }
}
