//! The main thread of a run: takes samples and shows how far it is.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::promises::Breaches;
use crate::samples::Sampler;
use crate::subject::Subject;

/// How often the progress bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(50);

/// Takes a sample every `period` until the run has come from 0 to `end`, or is interrupted.
pub fn watch(
    sampler: &mut Sampler,
    subjects: &[Subject],
    breaches: &Breaches,
    period: Duration,
    (position, end): (&dyn Fn() -> u64, u64),
    interrupted: &AtomicBool,
) -> Result<(), Box<dyn Error>> {
    let bar = ProgressBar::new(end);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent} %, {eta_precise} left; {msg}")?);
    let start = Instant::now();
    let mut next = period;
    while position() < end && !interrupted.load(Ordering::Relaxed) {
        sleep(DRAW_EVERY);
        if start.elapsed() >= next {
            next += period;
            let sample = sampler.take(subjects)?;
            let live: u64 = sample.wheels.iter().map(|wheel| wheel.live).sum();
            let rss_mib = sample.process.rss_kib / 1024;
            bar.set_message(format!("{live} live, {rss_mib} MiB, {} breaches", breaches.total()));
        }
        bar.set_position(position());
    }
    bar.finish_and_clear();
    Ok(())
}
