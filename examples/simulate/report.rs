//! The tables.

use crate::claims::{
    CONNECTIONS_SAVED, Claim, FOUND_BEFORE, FOUND_WITHIN, SUCCESS_GAIN, connections_change, detection,
    expected_detection, regime, show, success_gain,
};
use crate::cleaners::{ALL_KNOWING, CLEANERS, FAST_SCAN, SLOW_SCAN, WHEEL};
use crate::run::{Outcome, Tally};
use crate::scenario::{HOUR, MINUTE, Ms, Options, PARENTS};
use crate::sweep::Study;

/// The cleaners of the sweep's table; the wheel without a grace is in the first table.
const SWEPT: [usize; 4] = [SLOW_SCAN, FAST_SCAN, WHEEL, ALL_KNOWING];

/// The cleaners' names, short enough for columns.
pub fn names(options: &Options) -> [String; CLEANERS] {
    let period = |seconds: u64| {
        let (value, unit) = match seconds {
            3600.. => (seconds as f64 / 3600.0, "h"),
            60.. => (seconds as f64 / 60.0, "min"),
            _ => (seconds as f64, "s"),
        };
        format!("{} {unit}", (value * 10.0).round() / 10.0)
    };
    [
        format!("scan {}", period(options.slow_scan)),
        format!("scan {}", period(options.fast_scan)),
        "wheel 0 s".to_owned(),
        format!("wheel {} s", options.grace.min(options.interval)),
        "all-knowing".to_owned(),
    ]
}

/// Every parameter, so that nothing is tuned in secret.
pub fn introduce(options: &Options) {
    let Options { hosts, hours, warm_up, interval, delay, crash_rate, life, .. } = options;
    let [slow, fast, ..] = names(options);
    println!(
        "A fleet of P2P hosts under five cleaners, all on the same events; options in brackets, --help has the reasons.\n"
    );
    let row = |name: &str, value: String, option: &str| println!("  {name:<34}{value:<72}{option}");
    row("hosts", format!("{hosts}"), "--hosts");
    row("measured", format!("{hours} h, after {warm_up} h of warm-up"), "--hours --warm-up");
    row("announces", format!("every {interval} s, heard up to {delay} ms later"), "--interval --delay");
    row("lost announces", format!("{} %, and none in a second run", options.loss * 100.0), "--loss");
    row("crashes per host and hour", format!("{crash_rate}"), "--crash-rate");
    let polite = format!("{life} h, and then a goodbye in {} %, silence in the rest", options.polite * 100.0);
    row("mean life without a crash", polite, "--life --polite");
    let absence = format!("after {} min in the mean, {} % with the same id", options.absence, options.returns * 100.0);
    row("back, or replaced", absence, "--absence --returns");
    row("tasks", format!("{} per second, up to {PARENTS} parents each, drawn evenly", options.tasks), "--tasks");
    row(&slow, format!("removes hosts not heard for {} s (host TTL)", options.host_ttl), "--slow-scan --host-ttl");
    row(&fast, "removes hosts not heard for twice their interval; today's Dragonfly".to_owned(), "--fast-scan");
    row(
        "wheel",
        format!("grace 0 and {} s; all else the library's default, brake and silence on", options.grace),
        "--grace",
    );
    row("all-knowing", "removes a host when it dies, adds it when it starts".to_owned(), "");
    row("sweep over the crash rate", format!("{} hosts a run", options.sweep_hosts), "--sweep --sweep-hosts");
    row("seed", format!("{}", options.seed), "--seed");
    println!();
}

/// All that came of it.
pub fn print(options: &Options, study: &Study) {
    print_cleaners(options, study);
    print_sweep(options, study);
    print_claims(options, study);
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A change with its sign, small ones more exactly; a dash if there is nothing to compare with.
fn change(change: f64) -> String {
    match change * 100.0 {
        percent if !percent.is_finite() => "-".to_owned(),
        percent if percent.abs() < 1.0 => format!("{percent:+.2} %"),
        percent => format!("{percent:+.1} %"),
    }
}

fn print_cleaners(options: &Options, study: &Study) {
    let Study { main, lossless, .. } = study;
    println!(
        "In {} h: {} announces heard and {} lost, {} silent deaths, {} goodbyes; {:.0} hosts alive in the mean.\n",
        options.hours, main.announces, main.lost, main.deaths, main.goodbyes, main.alive
    );
    let line = |name: &str, cells: [String; CLEANERS]| {
        println!("{name:<46}{}", cells.map(|cell| format!("{cell:>13}")).concat());
    };
    let row = |name: &str, cell: &dyn Fn(&Tally) -> String| {
        line(&format!("  {name}"), std::array::from_fn(|cleaner| cell(&main.cleaners[cleaner])));
    };
    let quantile = |tally: &Tally, share: f64| tally.quantile(share).map_or("-".to_owned(), show);
    line("Detection, from death to removal", names(options));
    row("p50", &|tally| quantile(tally, 0.5));
    row("p99", &|tally| quantile(tally, 0.99));
    row("max", &|tally| quantile(tally, 1.0));
    row(&format!("within {}", show(FOUND_WITHIN)), &|tally| {
        tally.found_within(FOUND_WITHIN).map_or("-".to_owned(), percent)
    });
    row("dead hosts found", &|tally| tally.detections.len().to_string());
    row("back under their id before they were found", &|tally| tally.back_first.to_string());
    let believed = |cleaner: usize| format!("{:.1}", main.dead_believed(cleaner));
    line("  dead hosts believed in, in the mean", std::array::from_fn(believed));

    println!("Scheduling, {} tasks", main.cleaners[0].attempts.tasks);
    row("first parent alive", &success);
    row("all parents alive", &|Tally { attempts, .. }| percent(attempts.share(attempts.all_alive)));
    row("no parent alive: back to the source", &|Tally { attempts, .. }| {
        format!("{:.3} %", attempts.share(attempts.none_alive) * 100.0)
    });
    row("connections tried to dead hosts", &|tally| tally.attempts.dead_connections.to_string());
    row("  per 1,000 tasks", &dead_connections);
    let [slow, fast, ..] = names(options);
    for (before, name) in [(SLOW_SCAN, slow), (FAST_SCAN, fast)] {
        let cell = |cleaner: usize| change(connections_change(main, cleaner, before));
        line(&format!("    relative to the {name}"), std::array::from_fn(cell));
    }

    println!("False leaves: living hosts removed");
    row(&format!("with {} % of announces lost", options.loss * 100.0), &|tally| tally.false_leaves.to_string());
    line("  without loss", std::array::from_fn(|cleaner| lossless.cleaners[cleaner].false_leaves.to_string()));

    println!("Work of the scheduler, in {} h", options.hours);
    row("scans, or looks that the wheel's thread takes", &|tally| tally.work.turns.to_string());
    row("hosts looked at", &|tally| tally.work.looks.to_string());
    row("time in which a guard held hosts back", &|tally| show(tally.work.guarded.as_millis() as Ms));
    row("processor time, announces included", &|tally| format!("{:.2} s", tally.processor.as_secs_f64()));
    println!(
        "\n  A task tries its parents all at once, as Dragonfly's client does; \"scheduling success\" is a living first parent.\n  \
         Detection leaves out hosts that came back first, mostly those that the slow scan would have found late.\n  \
         A wheel's processor time has a call for each announce that only the manual clock needs, and is no measure of its\n  \
         thread. For a fleet of this size each cleaner's work is little, and no reason to prefer one.\n"
    );
}

fn success(Tally { attempts, .. }: &Tally) -> String {
    percent(attempts.share(attempts.first_alive))
}

fn dead_connections(Tally { attempts, .. }: &Tally) -> String {
    format!("{:.1}", attempts.share(attempts.dead_connections) * 1000.0)
}

/// What is told of each crash rate beside the cleaners' figures: its head and its cell.
type Beside<'a> = (String, &'a dyn Fn(&Outcome) -> String);

/// A table of the sweep: the figure of each cleaner at each crash rate, and something about each rate beside it.
fn print_swept(
    options: &Options,
    study: &Study,
    title: &str,
    figure: impl Fn(&Tally) -> String,
    beside: &[Beside<'_>],
) {
    let names = names(options);
    let heads = SWEPT.map(|cleaner| format!("{:>12}", names[cleaner])).concat();
    let more: String = beside.iter().map(|(head, _)| format!("{head:>22}")).collect();
    println!("{title}\n  {:<12}{heads}  |{more}", "crash rate");
    for (rate, outcome) in &study.sweep {
        let cells = SWEPT.map(|cleaner| format!("{:>12}", figure(&outcome.cleaners[cleaner]))).concat();
        let more: String = beside.iter().map(|(_, cell)| format!("{:>22}", cell(outcome))).collect();
        println!("  {rate:<12}{cells}  |{more}");
    }
}

fn print_sweep(options: &Options, study: &Study) {
    println!("The sweep: {} hosts, crashes per host and hour as given, all else as above", options.sweep_hosts);
    let names = names(options);
    let within = |cleaner: usize| {
        move |outcome: &Outcome| {
            let share = outcome.cleaners[cleaner].found_within(FOUND_WITHIN);
            share.map_or("-".to_owned(), percent)
        }
    };
    let found = |cleaner: usize| format!("<= {} min: {}", FOUND_WITHIN / MINUTE, names[cleaner].replace("scan ", ""));
    let (fast, wheel) = (within(FAST_SCAN), within(WHEEL));
    print_swept(
        options,
        study,
        "Longest detection",
        |tally| tally.quantile(1.0).map_or("-".to_owned(), show),
        &[
            ("silent deaths".to_owned(), &|outcome| outcome.deaths.to_string()),
            (found(FAST_SCAN), &fast),
            (found(WHEEL), &wheel),
        ],
    );
    let against = |with: usize, before: usize| {
        format!("{} / {}", names[with].replace("scan ", ""), names[before].replace("scan ", ""))
    };
    let pairs = [(WHEEL, SLOW_SCAN), (WHEEL, FAST_SCAN), (FAST_SCAN, SLOW_SCAN)];
    let compared = |figure: fn(&Outcome, usize, usize) -> f64| {
        pairs.map(|(with, before)| move |outcome: &Outcome| change(figure(outcome, with, before)))
    };
    let heads = pairs.map(|(with, before)| against(with, before));
    for (title, figure, compared) in [
        ("First parent alive", success as fn(&Tally) -> String, compared(success_gain)),
        ("Connections to dead hosts per 1,000 tasks", dead_connections, compared(connections_change)),
    ] {
        let [first, second, third] = &compared;
        let [one, two, three] = heads.clone();
        print_swept(options, study, title, figure, &[(one, first), (two, second), (three, third)]);
    }
    println!();
}

/// The article's claims, and where they hold.
fn print_claims(options: &Options, study: &Study) {
    let names = names(options);
    let [slow, fast, _, wheel, _] = &names;
    println!(
        "The claims: detection from at most {} h to within {} min, scheduling success +{:.0} %, useless connections -{:.0} %.\n\
         What the {wheel} keeps of them at the crash rates of the sweep (shares are relative, not percentage points):",
        FOUND_BEFORE / HOUR,
        FOUND_WITHIN / MINUTE,
        SUCCESS_GAIN * 100.0,
        CONNECTIONS_SAVED * 100.0
    );
    for sentence in detection(&study.sweep, &names) {
        println!("  detection: {sentence}");
    }
    for claim in [Claim::Success, Claim::Connections] {
        for (before, name) in [(SLOW_SCAN, slow), (FAST_SCAN, fast)] {
            println!("  {}, against the {name}: {}", claim.name(), regime(claim, &study.sweep, before));
        }
    }
    let [by_scan, by_wheel] = expected_detection(&options.scenario());
    println!(
        "By the rules a host that stays away is found after {} in the mean by the {fast}, after {} by the {wheel}:\n\
         {} of the connections to dead hosts, whatever the crash rate. Hosts that come back first make it less of a change.\n",
        show(by_scan),
        show(by_wheel),
        change(by_wheel as f64 / by_scan as f64 - 1.0)
    );
}
