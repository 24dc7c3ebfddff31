//! The report at the end of a run.

use std::time::Duration;

use crate::common::account::clock_of;
use crate::common::times::{Times, show};
use crate::history::History;
use crate::judge::{Breach, Promise, Tally, Verdict};
use crate::observation::RESTORED;
use crate::plan::Plan;

/// How often a scheduler without a wheel scans all its hosts.
pub const SCAN_EVERY: Duration = Duration::from_secs(300);

/// At how many phases of the scan each death is tried.
const SCAN_PHASES: u32 = 1000;

/// How many breaches of each promise are told in full.
const BREACHES_TOLD: usize = 10;

/// Prints what happened and what the scheduler saw of it.
pub fn print(plan: &Plan, history: &History, verdict: &Verdict) {
    print_fates(verdict);
    print_detection(verdict);
    print_account(plan, history, verdict);
}

/// Prints the judgement: one line if all is well, otherwise each broken promise and where it was broken.
pub fn print_judgement(verdict: &Verdict, seed: u64) {
    if verdict.breaches.is_empty() {
        println!("Every promise was kept.");
        return;
    }
    eprintln!("\nBroken promises; --seed {seed} repeats the plan:");
    for promise in Promise::ALL {
        let breaches: Vec<&Breach> = verdict.breaches.iter().filter(|breach| breach.promise == promise).collect();
        if !breaches.is_empty() {
            eprintln!("  {promise}: broken {} times", breaches.len());
        }
        for Breach { host, what, .. } in breaches.iter().take(BREACHES_TOLD) {
            match host {
                Some(host) => eprintln!("      host {host}: {what}"),
                None => eprintln!("      {what}"),
            }
        }
        if breaches.len() > BREACHES_TOLD {
            eprintln!("      and {} more", breaches.len() - BREACHES_TOLD);
        }
    }
}

fn print_fates(verdict: &Verdict) {
    println!("{:<40}{:>6}{:>13}   what the scheduler must see", "Fate", "hosts", "as expected");
    let row = |name: &str, tally: &Tally, expectation: &str| {
        println!("  {name:<38}{:>6}{:>13}   {expectation}", tally.hosts, tally.as_expected);
        if tally.excused > 0 {
            println!("{:>59}   {} lost an announce or got no processor in time", "", tally.excused);
        }
    };
    for (fate, tally) in &verdict.tallies {
        row(fate.name(), tally, fate.expectation());
    }
    row("ran through the scheduler's own stop", &verdict.through_stop, "no leave, same handle");
    row("ran through the scheduler's restart", &verdict.through_restart, "no leave, restored");
}

fn print_detection(verdict: &Verdict) {
    let mut silence = Times::new();
    let mut lateness = Times::new();
    let mut lateness_in_stop = Times::new();
    let mut scan_silence = Times::new();
    let mut scan_lateness = Times::new();
    for found in &verdict.detections {
        silence.note(found.silence);
        if found.due_in_stop { &mut lateness_in_stop } else { &mut lateness }.note(found.lateness);
        // The scan finds a host at the first pass after its TTL; when that is depends on nothing but luck.
        for phase in 0..SCAN_PHASES {
            let wait = SCAN_EVERY * (2 * phase + 1) / (2 * SCAN_PHASES);
            scan_silence.note(2 * found.interval + wait);
            scan_lateness.note(wait);
        }
    }
    let leaves = format!("Finding {} dead hosts", verdict.detections.len());
    println!("\n{leaves:<40}{:>10}{:>12}{:>12}", "p50", "p99", "max");
    print_times("from the last announce to the leave", &silence);
    print_times("  a scan every 300 s would need", &scan_silence);
    print_times("from the moment it was due", &lateness);
    if lateness_in_stop.count() > 0 {
        print_times(&format!("  {} due in the stop, found after it", lateness_in_stop.count()), &lateness_in_stop);
    }
    print_times("  a scan every 300 s would need", &scan_lateness);
    let held = verdict.detections.iter().filter(|found| !found.held.is_zero());
    if let Some(longest) = held.clone().map(|found| found.held).max() {
        println!("  of them {} held back by the brake, up to {}", held.count(), show(longest));
    }
}

fn print_times(name: &str, times: &Times) {
    let [median, most, greatest] = times.tell();
    println!("  {name:<38}{median:>10}{most:>12}{greatest:>12}");
}

fn print_cut(history: &History) {
    let cut = &history.cut_ns;
    let between = |from_ns: u64, to_ns: u64| show(Duration::from_nanos(to_ns.saturating_sub(from_ns)));
    let left = history.hosts.iter().flat_map(|host| host.leaves()).filter(|leave| cut.contains(&leave.at_ns)).count();
    println!(
        "  {:<38}for {}, {} announces lost, {left} hosts left",
        "the cut of all hosts",
        between(cut.start, cut.end),
        history.lost_in_cut
    );
    if let Some(silence) = history.silence_ns() {
        let (began, ended) = (between(cut.start, silence.start), between(cut.end, silence.end));
        println!("  {:<38}began {began} after the cut did, and ended {ended} after it", "  the wheel's silence");
    }
}

fn print_account(plan: &Plan, history: &History, verdict: &Verdict) {
    let stats = &history.stats;
    let heard = history.hosts.iter().flat_map(|host| &host.heard).filter(|heard| heard.outcome != RESTORED).count();
    let stop = plan.stop.end - plan.stop.start;
    let (lost, in_restart) = history.lost();
    let row = |name: &str, value: String| println!("  {name:<38}{value}");
    let alive = history.hosts.iter().filter(|host| host.alive).count();
    let away = history.counts.iter().map(|count| count.away_ns).max().unwrap_or(0);
    let down = Duration::from_nanos(history.restart_ns.end - history.restart_ns.start);
    println!("\nThe account of the wheels, counters of the one after the restart");
    row("hosts at the end", format!("{} known, {alive} really alive", stats.live));
    row(
        "announces",
        format!(
            "{heard} read from the socket, {} lost on the way",
            lost.saturating_sub(in_restart + history.lost_in_cut)
        ),
    );
    if plan.cut.is_some() {
        print_cut(history);
    }
    row("the scheduler's restart", format!("it was gone for {}, and missed {in_restart} announces", show(down)));
    row("suspects", format!("{}, of which {} recovered", stats.suspects, stats.recoveries));
    row("leaves", format!("{}, of which {} false", stats.leaves, verdict.false_leaves()));
    row("leaves that met a newer entry", format!("{} (the table keeps it: handles differ)", stats.mismatches));
    row("polite leaves", stats.left.to_string());
    row("rescues by the back-stop", stats.rescues.to_string());
    let away = Duration::from_nanos(away);
    row("time not counted", format!("{} (the scheduler was stopped for {})", show(away), show(stop)));
    row("silences after the restart", stats.silences.to_string());
    row("time at the brake", show(Duration::from_nanos(stats.brake_ns)));
    row(&format!("margin of the clock ({:?})", clock_of(stats.clock)), show(Duration::from_nanos(stats.margin_ns)));
    row("greatest lateness by its own count", show(Duration::from_nanos(stats.lateness_max_ns)));
    row("work of its thread", format!("{} wake-ups, {} looks at a host", stats.wake_ups, stats.visits));
}
