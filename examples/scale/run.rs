//! One fleet from its registration to its judgement.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hostwheel::{Clock, Config, HostWheel};
use indicatif::{ProgressBar, ProgressStyle};

use crate::book::{Book, Judgement, Life};
use crate::fleet::{Fleet, Registered};
use crate::footprint::Footprint;
use crate::leaves;
use crate::load::{self, Load};
use crate::program::Failure;
use crate::schedule::{SLOT_NS, Schedule};
use crate::steady::{self, Lateness, Living, Steady};
use crate::system::{monotonic_ns, return_memory};

/// How long the thread may take to look at all hosts that have registered.
const TAKING_OVER: Duration = Duration::from_secs(60);

/// What a fleet is.
pub struct Terms {
    pub hosts: u32,
    pub seed: u64,
    pub interval: Duration,
    pub window: Duration,
    pub id_length: usize,
}

/// What was measured of one fleet.
pub struct Figures {
    pub hosts: u32,
    pub registering: Duration,
    pub slowest_batch: Duration,
    /// Resident, index included.
    pub bytes_per_host: f64,
    /// The longest step until all had registered, and until the window began: there the thread shares the machine.
    pub longest_registering: Duration,
    pub longest_before: Duration,
    pub load: Load,
    pub steady: Steady,
    /// How late events were made, by their own account.
    pub made: Lateness,
    /// When the consumer was called, after the record's own deadline and grace.
    pub called: Lateness,
    /// The same after the host's true last announce, TTL and grace: with the margin of the clock.
    pub truly: Lateness,
    pub clock: Clock,
    pub margin: Duration,
    /// Leaves of the doomed outside of the window, which are judged and not measured.
    pub outside: usize,
    pub judgement: Judgement,
}

/// Runs a fleet.
pub fn fleet(terms: &Terms, interrupted: &AtomicBool) -> Result<Figures, Failure> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{elapsed_precise} {prefix} hosts: {wide_bar} {msg}");
    bar.set_style(style.map_err(|e| e.to_string())?);
    bar.set_prefix(terms.hosts.to_string());
    let figures = measured(terms, &bar, interrupted);
    bar.finish_and_clear();
    // What the wheel and the fleet had.
    return_memory();
    figures
}

fn measured(terms: &Terms, bar: &ProgressBar, interrupted: &AtomicBool) -> Result<Figures, Failure> {
    let fleet = Fleet::new(terms.hosts, terms.seed, terms.interval, terms.id_length);
    let (hosts, grace) = (fleet.hosts() as u64, Config::default().grace.min(terms.interval));
    let ns = |time: Duration| time.as_nanos() as u64;
    // It begins before the window, and comes more often than with the default of 5 minutes, of which a short window would
    // see nothing.
    let backstop = Duration::from_nanos(SLOT_NS / 2);
    let config = Config { backstop, max_hosts: fleet.hosts() + (1 << 16), ..Config::default() };
    let room = vec![u64::MAX; fleet.order.len()];
    let resident = Footprint::now()?.rss_kib;
    let (wheel, leaves) = leaves::open(config, grace, 2 * fleet.doomed.len()).map_err(|e| e.to_string())?;
    let opened_ns = monotonic_ns();
    let (interval_ns, window_ns, living) = (ns(terms.interval), ns(terms.window), fleet.order.len() as u64);
    let schedule = Schedule::new(opened_ns, interval_ns, ns(grace), window_ns, hosts, living);
    if !schedule.is_possible(opened_ns) {
        return Err(format!("an interval of {} s is too short for {hosts} hosts", terms.interval.as_secs()).into());
    }
    bar.set_length(hosts);
    bar.set_message("register");
    let registered = fleet.register(&wheel, &schedule, room, |done| bar.set_position(done as u64));
    let registered = registered.map_err(|e| e.to_string())?;
    take_over(&wheel, hosts)?;
    if monotonic_ns() > schedule.register_by_ns() {
        return Err(format!("{hosts} hosts did not register in the time planned for that: is the machine busy?").into());
    }
    let longest_registering = wheel.stats().longest_step;
    let more_kib = Footprint::now()?.rss_kib.saturating_sub(resident);
    let Registered { doomed, spent: registering, slowest: slowest_batch, .. } = &registered;
    let mut living = Living::new(registered.handles(), &schedule);
    let late = living.catch_up(&wheel, &schedule);
    if interrupted.load(Ordering::Relaxed) {
        return Err(Failure::Interrupted);
    }
    bar.set_length(load::BURSTS);
    bar.set_position(0);
    bar.set_message("announce at full speed");
    let load = load::measure(&wheel, &fleet, &living.handles, || bar.inc(1));
    let longest_before = wheel.stats().longest_step;
    bar.set_length((schedule.window_ns + schedule.start_ns - monotonic_ns().min(schedule.start_ns)) / 1_000_000);
    bar.set_position(0);
    let steady = steady::live(&wheel, &mut living, &schedule, (&leaves, doomed.len()), bar, interrupted)?;
    let stats = wheel.stats();
    wheel.close(Duration::from_secs(5)).map_err(|e| e.to_string())?;
    let judgement = Book {
        lasts_ns: schedule.lasts_ns(),
        doomed: fleet.doomed.iter().copied().zip(doomed.iter().copied()).collect::<HashMap<_, _>>(),
        living: &|host| match fleet.place(host) {
            Ok(place) => {
                Life { handle: living.handles[place].as_raw(), heard_ns: living.heard_ns[place], ..Life::default() }
            }
            Err(number) => doomed[number],
        },
        hosts,
        refused: late + load.refused + steady.refused,
        leaves: &leaves.lock(),
        stats: &stats,
    }
    .judge();
    let in_window = |at_ns: u64| (steady.from_ns..=steady.to_ns).contains(&at_ns);
    let measured: Vec<_> = judgement.right.iter().filter(|leave| in_window(leave.at_ns)).collect();
    let due_ns = |host| fleet.place(host).map_or_else(|number| doomed[number].heard_ns, |_| 0) + schedule.lasts_ns();
    Ok(Figures {
        hosts: terms.hosts,
        registering: *registering,
        slowest_batch: *slowest_batch,
        bytes_per_host: more_kib as f64 * 1024.0 / hosts as f64,
        longest_registering,
        longest_before,
        load,
        made: noted(measured.iter().map(|leave| leave.lateness_ns)),
        called: noted(measured.iter().map(|leave| leave.called_after_ns)),
        truly: noted(measured.iter().map(|leave| leave.at_ns.saturating_sub(due_ns(leave.host)))),
        clock: stats.clock,
        margin: stats.margin,
        outside: judgement.right.len() - measured.len(),
        steady,
        judgement,
    })
}

/// Waits until the thread has looked at every host that registered.
fn take_over(wheel: &Arc<HostWheel>, hosts: u64) -> Result<(), Failure> {
    let start = Instant::now();
    while wheel.stats().visits < hosts {
        if start.elapsed() > TAKING_OVER {
            return Err("the wheel's thread does not look at the hosts that registered".to_owned().into());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn noted(late_ns: impl Iterator<Item = u64>) -> Lateness {
    let mut lateness = steady::lateness();
    late_ns.for_each(|late_ns| lateness.saturating_record(late_ns));
    lateness
}
