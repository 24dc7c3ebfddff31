//! What is told: a table for each fleet, and one for all.

use std::fs::read_to_string;
use std::time::Duration;

use crate::Options;
use crate::bounds::{LATE_AT_MOST, Verdict, checks};
use crate::fleet::ONE_DIES_OF;
use crate::load::Speed;
use crate::run::Figures;
use crate::schedule::SLOT_NS;
use crate::steady::{Lateness, Steady};

/// Says what is going to happen, and on what machine.
pub fn introduce(options: &Options) {
    let Options { seconds, interval, id_length, seed, .. } = options;
    println!(
        "Each fleet registers with ids of {id_length} bytes, announces itself at full speed, and then every {interval} s, while one\n\
         host of {ONE_DIES_OF} dies; that is watched for {seconds} s. Hosts register with an age, so that the thread works as it does\n\
         after hours: it looks at each host once in an interval, in bursts, one in {:.1} s; a shorter watch has one of these, and so\n\
         more than its share of the work. The plan is that of --seed {seed}.",
        SLOT_NS as f64 / 1e9
    );
    let word = |path| read_to_string(path).unwrap_or_default().trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let (kernel, load) = (word("/proc/sys/kernel/osrelease"), word("/proc/loadavg"));
    println!("Linux {kernel}, {processors} processors, load {load}. Other work on the machine shows in every figure.");
}

fn row(what: &str, words: String) {
    println!("  {what:<26}{words}");
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// What the thread takes of one processor.
pub fn share(steady: &Steady) -> f64 {
    steady.share.cpu.as_secs_f64() / steady.window.as_secs_f64()
}

fn per_second(count: u64, steady: &Steady) -> f64 {
    count as f64 / steady.window.as_secs_f64()
}

/// Median, 99th, 99.9th percentile and maximum, in milliseconds.
fn quantiles(lateness: &Lateness) -> [String; 4] {
    [0.5, 0.99, 0.999, 1.0].map(|at| format!("{:.2}", lateness.value_at_quantile(at) as f64 / 1e6))
}

/// Prints all of one fleet.
pub fn print(figures: &Figures) {
    let Figures { hosts, load, steady, judgement, .. } = figures;
    println!("\n{hosts} hosts");
    let each_ns = figures.registering.as_nanos() as f64 / f64::from(*hosts);
    row(
        "register",
        format!(
            "{each_ns:.0} ns each, {:.2} s in all, while the index grows; the slowest 1024 in a row {}",
            figures.registering.as_secs_f64(),
            ms(figures.slowest_batch)
        ),
    );
    row("memory", format!("{:.0} bytes a host, resident, index included", figures.bytes_per_host));
    row("at full speed, ns a call", "one thread  two threads    gain  beside the floor's".to_owned());
    let speed = |what: &str, speed: &Speed, beside: &str| {
        let (one, two, gain) = (speed.one(), speed.two(), speed.gain());
        row(what, format!("{one:>10.1}{two:>13.1}{gain:>8.2}{beside:>20}"));
    };
    let beside = |speed: &Speed| format!("{:.2}", speed.gain_beside(&load.floor));
    speed("  the floor", &load.floor, "");
    speed("  renew by handle", &load.renew, &beside(&load.renew));
    speed("  announce by id", &load.announce, &beside(&load.announce));
    row(
        "steady, each second",
        format!(
            "{:.0} announces, {:.0} visits, {:.0} wake-ups, over {:.1} s; an announce was at most {} late",
            per_second(steady.announces, steady),
            per_second(steady.visits, steady),
            per_second(steady.wake_ups, steady),
            steady.window.as_secs_f64(),
            ms(steady.behind)
        ),
    );
    row(
        "the wheel's thread",
        format!(
            "{:.2} % of one processor; taken off it {} times; {} not counted as nobody looked",
            share(steady) * 100.0,
            steady.share.preempted,
            ms(steady.away)
        ),
    );
    row(
        "its steps",
        format!(
            "{}, of which {} over {}, the longest {} (while all register {}, until the window {})",
            steady.steps,
            steady.longer_than(LATE_AT_MOST),
            ms(LATE_AT_MOST),
            steady.longest_words(),
            ms(figures.longest_registering),
            ms(figures.longest_before)
        ),
    );
    row("leaves, late by ms", format!("{:>8}{:>9}{:>9}{:>9}", "p50", "p99", "p99.9", "max"));
    let late = |what: &str, lateness: &Lateness| {
        let [p50, p99, p999, max] = quantiles(lateness);
        row(what, format!("{p50:>8}{p99:>9}{p999:>9}{max:>9}"));
    };
    late("  event.lateness()", &figures.made);
    late("  callback", &figures.called);
    late("  after the last announce", &figures.truly);
    if let Some(overslept) = &steady.overslept {
        late("  sleeps of the announcer", overslept);
    }
    println!(
        "    Of {} leaves, and {} more outside of the window. The first two rows count from the record's own deadline and\n    \
         grace, which contain the margin of the clock ({:?}), {}; the third from the true last announce, TTL and grace.\n    \
         The last row is what the machine does to a thread that only sleeps.",
        figures.called.len(),
        figures.outside,
        figures.clock,
        ms(figures.margin)
    );
    for check in checks(figures) {
        println!("  {:<58}{:>11}   {:<34}{}", check.what, check.figure, check.bound, check.verdict.words());
    }
    if judgement.unheard > 0 {
        println!(
            "  {} living hosts left, as this program got too little of the machine to announce them.",
            judgement.unheard
        );
    }
    if judgement.kept() {
        println!("  Every promise was kept: {} leaves, none false, missing or double.", judgement.right.len());
    }
    for (promise, times, first) in judgement.breaches().filter(|(_, times, _)| *times > 0) {
        println!("  PROMISE BROKEN: {times} {promise}. The first: {}", first.unwrap_or_default());
    }
}

/// Prints one table for all fleets, and what was met and missed.
pub fn summarise(fleets: &[Figures]) {
    type Cell = fn(&Figures) -> String;
    let rows: [(&str, Cell); 15] = [
        ("register, ns", |f| format!("{:.0}", f.registering.as_nanos() as f64 / f64::from(f.hosts))),
        ("bytes a host", |f| format!("{:.0}", f.bytes_per_host)),
        ("renew, ns", |f| format!("{:.1}", f.load.renew.one())),
        ("announce by id, ns", |f| format!("{:.1}", f.load.announce.one())),
        ("two threads gain, renew", |f| format!("{:.2}", f.load.renew.gain())),
        ("two threads gain, by id", |f| format!("{:.2}", f.load.announce.gain())),
        ("two threads gain, the floor", |f| format!("{:.2}", f.load.floor.gain())),
        ("announces a second", |f| format!("{:.0}", per_second(f.steady.announces, &f.steady))),
        ("visits a second", |f| format!("{:.0}", per_second(f.steady.visits, &f.steady))),
        ("wake-ups a second", |f| format!("{:.0}", per_second(f.steady.wake_ups, &f.steady))),
        ("thread, % of one processor", |f| format!("{:.2}", share(&f.steady) * 100.0)),
        ("longest step", |f| f.steady.longest_words()),
        ("a sleep late, p99.9/max, ms", |f| {
            let [.., p999, max] = f.steady.overslept.as_ref().map(quantiles).unwrap_or_default();
            format!("{p999}/{max}")
        }),
        ("callback late, p50/p99, ms", |f| {
            let [p50, p99, ..] = quantiles(&f.called);
            format!("{p50}/{p99}")
        }),
        ("callback late, p99.9/max, ms", |f| {
            let [.., p999, max] = quantiles(&f.called);
            format!("{p999}/{max}")
        }),
    ];
    print!("\n{:<32}", "hosts");
    fleets.iter().for_each(|figures| print!("{:>14}", figures.hosts));
    println!();
    for (what, cell) in rows {
        print!("{what:<32}");
        fleets.iter().for_each(|figures| print!("{:>14}", cell(figures)));
        println!();
    }
    let all: Vec<_> =
        fleets.iter().flat_map(|figures| checks(figures).into_iter().map(|c| (figures.hosts, c))).collect();
    println!();
    for (hosts, check) in all.iter().filter(|(_, check)| check.verdict == Verdict::Missed) {
        println!("Missed at {hosts} hosts: {}, {} ({}).", check.what, check.figure, check.bound);
    }
    let met = all.iter().filter(|(_, check)| check.verdict == Verdict::Met).count();
    let asked = all.iter().filter(|(_, check)| check.verdict != Verdict::Unasked).count();
    println!("{met} of {asked} bounds were met.");
    let broken = fleets.iter().filter(|figures| !figures.judgement.kept()).count();
    println!("{}", if broken == 0 { "Every promise was kept." } else { "A PROMISE WAS BROKEN." });
}
