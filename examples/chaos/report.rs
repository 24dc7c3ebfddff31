//! The report at the end of a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::common::times::{Times, show};
use crate::history::{Epoch, History};
use crate::judge::{Breach, Cause, Promise, Verdict};
use crate::observation::{Heard, LEAVE, RECOVERED, REGISTERED, RESTORED, Sample};

/// How many breaches of each promise are told in full.
const BREACHES_TOLD: usize = 10;

/// Prints what went wrong, how soon it was known, and what it cost.
pub fn print(history: &History, verdict: &Verdict) {
    print_faults(history);
    print_detection(verdict);
    print_account(history, verdict);
    print_memory(history);
}

fn print_faults(history: &History) {
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    for deed in history.deeds.iter().filter(|(host, _)| **host < crate::driver::CROWDS).flat_map(|(_, deeds)| deeds) {
        *faults.entry(format!("host: {:?}", deed.kind).to_lowercase()).or_default() += 1;
    }
    for name in &history.campaign {
        *faults.entry((*name).to_owned()).or_default() += 1;
    }
    println!("What went wrong");
    for (name, count) in faults {
        println!("  {name:<38}{count:>6}");
    }
    println!("  {:<38}{:>6}", "left out: not as the plan had it", history.skipped);
    let mut dropped = 0;
    for passage in &history.passages {
        dropped += u64::from(passage.dropped);
    }
    println!("  {:<38}{:>6} of {}", "announces lost on the way", dropped, history.passages.len());
}

fn print_detection(verdict: &Verdict) {
    println!(
        "\n{:<32}{:>7}{:>30}{:>33}{:>8}",
        "Leaves, by the fault", "", "from the fault to the leave", "from due to the leave", "held"
    );
    println!(
        "{:<32}{:>7}{:>10}{:>10}{:>10}{:>13}{:>10}{:>10}{:>8}",
        "", "count", "p50", "p99", "max", "p50", "p99", "max", "back"
    );
    for cause in [Cause::Killed, Cause::Paused, Cause::Goodbye, Cause::CrowdDied, Cause::Network, Cause::Unexplained] {
        let name = match cause {
            Cause::Killed => "killed",
            Cause::Paused => "stopped",
            Cause::Goodbye => "gone, its goodbye not heard",
            Cause::CrowdDied => "crowd killed",
            Cause::Network => "loss or partition",
            Cause::Unexplained => "no fault of the driver's",
        };
        let (mut after, mut lateness, mut held) = (Times::new(), Times::new(), 0);
        let found = verdict.detections.iter().filter(|detection| detection.cause == cause);
        for detection in found {
            after.note(detection.after);
            lateness.note(detection.lateness);
            held += u64::from(!detection.held.is_zero());
        }
        if after.count() == 0 {
            continue;
        }
        let [a, b, c] = after.tell();
        let [d, e, f] = lateness.tell();
        println!("  {name:<30}{:>7}{a:>10}{b:>10}{c:>10}{d:>13}{e:>10}{f:>10}{held:>8}", after.count());
    }
    println!(
        "  (in observed time from due on, and without the time in which guards or unanswered leaves held a leave back)"
    );
}

fn print_account(history: &History, verdict: &Verdict) {
    let row = |name: &str, value: String| println!("  {name:<42}{value}");
    let last = |of: fn(&Sample) -> u64| -> u64 { history.epochs.iter().filter_map(|e| e.samples.last()).map(of).sum() };
    let count = |of: &dyn Fn(&Epoch) -> usize| -> usize { history.epochs.iter().map(of).sum() };
    let outcomes = |outcome| count(&|epoch| epoch.heard.iter().filter(|heard| heard.outcome == outcome).count());
    println!("\nThe account of {} schedulers", history.epochs.len());
    row("announces read", count(&|epoch| epoch.heard.len()).to_string());
    row("  registered, recovered", format!("{}, {}", outcomes(REGISTERED), outcomes(RECOVERED)));
    row("  refused, table full", count(&|epoch| epoch.full.len()).to_string());
    row("restored from snapshots", count(&|epoch| epoch.restored.len()).to_string());
    row("incarnations", verdict.lives.to_string());
    let leaves = count(&|epoch| epoch.events.iter().filter(|event| event.kind == LEAVE).count());
    row("leaves", format!("{leaves} handed out, {} of them again", last(|sample| sample.retries)));
    row("  accepted", verdict.detections.len().to_string());
    row("  of hosts that had come back", last(|sample| sample.superseded).to_string());
    row("goodbyes", count(&|epoch| epoch.left.len()).to_string());
    row("panics in callbacks", last(|sample| sample.panics).to_string());
    let stopped: u64 = history.epochs.iter().flat_map(|epoch| &epoch.stops).map(|stop| stop.end - stop.start).sum();
    let stopped = Duration::from_nanos(stopped);
    let away = Duration::from_millis(last(|sample| sample.away_ms));
    row("time not counted", format!("{} (stopped for {}, and stalled in callbacks)", show(away), show(stopped)));
    let (silence, brake) = (last(|sample| sample.silence_ms), last(|sample| sample.brake_ms));
    row("silences", format!("{}, {}", last(|sample| sample.silences), show(Duration::from_millis(silence))));
    row("leaves waited for the brake", show(Duration::from_millis(brake)));
    let early = |heard: &&Heard| heard.outcome != RESTORED && (1..heard.at_wheel).contains(&heard.last_seen_wheel);
    let early = history.epochs.iter().flat_map(|epoch| &epoch.heard).filter(early);
    let most = early.clone().map(|heard| heard.at_wheel - heard.last_seen_wheel).max().unwrap_or(0);
    row(
        "stamps that the coarse clock made early",
        format!("{}, by up to {}", early.count(), show(Duration::from_nanos(most))),
    );
    row("rescues by the back-stop", last(|sample| sample.rescues).to_string());
}

fn print_memory(history: &History) {
    println!(
        "\n{:<24}{:>10}{:>28}{:>14}{:>10}{:>14}",
        "Scheduler", "", "memory in KiB", "descriptors", "threads", "latest leave"
    );
    println!(
        "{:<24}{:>10}{:>10}{:>8}{:>10}{:>14}{:>10}{:>14}",
        "", "lived", "after 2 s", "most", "at end", "most", "most", ""
    );
    for epoch in &history.epochs {
        let (Some(first), Some(last)) = (epoch.samples.first(), epoch.samples.last()) else { continue };
        let early =
            epoch.samples.iter().find(|sample| sample.before_ns >= first.before_ns + 2_000_000_000).unwrap_or(last);
        let most = |of: fn(&Sample) -> u64| epoch.samples.iter().map(of).max().unwrap_or(0);
        println!(
            "  {:<22}{:>10}{:>10}{:>8}{:>10}{:>14}{:>10}{:>14}",
            format!("{}, {:?}", if epoch.drained { "drains" } else { "called back" }, epoch.clock),
            show(Duration::from_nanos(last.before_ns - first.before_ns)),
            early.resident_kib,
            most(|sample| sample.resident_kib),
            last.resident_kib,
            most(|sample| sample.descriptors),
            most(|sample| sample.threads),
            show(Duration::from_micros(last.lateness_max_us)),
        );
    }
}

/// Writes what the schedulers took of the machine over time, a line for each sample.
pub fn write_samples(path: &Path, history: &History) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(
        file,
        "seconds,scheduler,rss_kib,descriptors,threads,live,suspect,outstanding,waiting,away_ms,lateness_max_us"
    )?;
    for (number, epoch) in history.epochs.iter().enumerate() {
        for sample in &epoch.samples {
            let seconds = sample.before_ns.saturating_sub(history.started_ns) as f64 / 1e9;
            let Sample { resident_kib, descriptors, threads, live, suspect, outstanding, waiting, .. } = sample;
            write!(
                file,
                "{seconds:.1},{number},{resident_kib},{descriptors},{threads},{live},{suspect},{outstanding},{waiting}"
            )?;
            writeln!(file, ",{},{}", sample.away_ms, sample.lateness_max_us)?;
        }
    }
    file.flush()
}

/// Prints the judgement: one line if all is well, otherwise each broken promise and where it was broken.
pub fn print_judgement(verdict: &Verdict, seed: u64) {
    let missing = verdict.count(Promise::NeverLost);
    let double = verdict.count(Promise::ExactlyOnce);
    let wrong = verdict.count(Promise::NeverFalse) + verdict.count(Promise::NeverEarly);
    println!("\n{missing} missing, {double} double, {wrong} false leaves.");
    if verdict.breaches.is_empty() {
        println!("Every promise was kept.");
        return;
    }
    eprintln!("\nBroken promises; --seed {seed} repeats the plan:");
    let mut by_promise: BTreeMap<Promise, Vec<&Breach>> = BTreeMap::new();
    for breach in &verdict.breaches {
        by_promise.entry(breach.promise).or_default().push(breach);
    }
    for (promise, breaches) in by_promise {
        eprintln!("  {promise}: broken {} times", breaches.len());
        for Breach { what, .. } in breaches.iter().take(BREACHES_TOLD) {
            eprintln!("      {what}");
        }
        if breaches.len() > BREACHES_TOLD {
            eprintln!("      and {} more", breaches.len() - BREACHES_TOLD);
        }
    }
}
