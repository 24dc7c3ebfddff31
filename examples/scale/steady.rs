//! The life of a fleet: everybody announces once an interval, some die, and the thread does its work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hostwheel::{Handle, HostWheel, STEP_BOUNDS_US, Stats};
use indicatif::ProgressBar;

use crate::leaves::Leaves;
use crate::program::Failure;
use crate::schedule::Schedule;
use crate::system::monotonic_ns;
use crate::thread::{Share, WheelThread};

/// Hosts announce themselves in slots of at least so long.
const SLOT: Duration = Duration::from_millis(1);

/// How often the main thread looks.
const LOOK: Duration = Duration::from_millis(50);

/// How long after the window the last leave is waited for, time that was not counted left out.
const PATIENCE_NS: u64 = 10_000_000_000;

/// How late something was, in nanoseconds.
pub type Lateness = Histogram<u64>;

/// An empty one.
pub fn lateness() -> Lateness {
    // Up to an hour. The bounds are valid, and whatever lies outside is saturated.
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are constants")
}

/// What a window showed.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    pub window: Duration,
    /// Where it began and ended, by the system's clock.
    pub from_ns: u64,
    pub to_ns: u64,
    pub announces: u64,
    pub visits: u64,
    pub wake_ups: u64,
    pub share: Share,
    /// Time in which the thread was not there to look.
    pub away: Duration,
    /// Steps that took longer than each of [`STEP_BOUNDS_US`], and all of them.
    pub longer: [u64; STEP_BOUNDS_US.len()],
    pub steps: u64,
    /// The longest step of the window; `None` if one before it was longer, and `longer` says all there is.
    pub longest: Option<Duration>,
    /// By how much an announce was late at most: this program's own doing.
    pub behind: Duration,
    /// By how much its sleeps were too long: what the machine does to a thread that only sleeps.
    pub overslept: Option<Lateness>,
    /// Announces of known hosts that were refused.
    pub refused: u64,
}

impl Steady {
    /// How many steps took longer than one of the bounds of the wheel's counts.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        let bound = STEP_BOUNDS_US.partition_point(|us| Duration::from_micros(*us) < bound);
        self.longer.get(bound).copied().unwrap_or(0)
    }

    /// The longest step, or the bound below which it is.
    pub fn longest_words(&self) -> String {
        let below = STEP_BOUNDS_US.iter().zip(self.longer).find(|(_, longer)| *longer == 0).map(|(us, _)| *us);
        match (self.longest, below) {
            (Some(longest), _) => format!("{:.2} ms", longest.as_secs_f64() * 1000.0),
            (None, Some(us)) => format!("<= {} ms", us as f64 / 1000.0),
            // Longer than the last bound, and than any before.
            (None, None) => "over 1 s".to_owned(),
        }
    }
}

/// What the announcer tells while it runs.
#[derive(Default)]
struct Pace {
    stop: AtomicBool,
    announces: AtomicU64,
    behind_ns: AtomicU64,
    refused: AtomicU64,
}

/// The living hosts, in the order in which they announce themselves.
pub struct Living {
    pub handles: Vec<Handle>,
    /// When each was heard last, no later than in truth.
    pub heard_ns: Vec<u64>,
    /// The next announce to make, by its number in the schedule.
    next: u64,
}

impl Living {
    /// Hosts that have just registered.
    pub fn new(handles: Vec<Handle>, schedule: &Schedule) -> Living {
        let heard_ns = (0..handles.len() as u64).map(|place| schedule.heard_before_ns(place)).collect();
        Living { handles, heard_ns, next: 0 }
    }

    /// Makes the announces that the fleet would have made since it was last heard, with their ages. How many were refused.
    pub fn catch_up(&mut self, wheel: &HostWheel, schedule: &Schedule) -> u64 {
        let mut refused = 0;
        let now_ns = monotonic_ns();
        while schedule.announce_ns(self.next) <= now_ns {
            let place = schedule.place(self.next) as usize;
            let heard_ns = schedule.announce_ns(self.next);
            match wheel.renew_seen(self.handles[place], Duration::from_nanos(now_ns - heard_ns)) {
                Ok(_) => self.heard_ns[place] = heard_ns,
                Err(_) => refused += 1,
            }
            self.next += 1;
        }
        refused
    }
}

/// Announces each living host when it is due. Returns by how much its sleeps were too long in the window.
fn announce(wheel: &HostWheel, living: &mut Living, schedule: &Schedule, pace: &Pace) -> Lateness {
    let mut overslept = lateness();
    let window = schedule.start_ns..schedule.start_ns + schedule.window_ns;
    let Living { handles, heard_ns, next } = living;
    let mut number = *next;
    // Relaxed, here and below: figures, and a flag that says no more than what it is.
    while !pace.stop.load(Ordering::Relaxed) {
        let now_ns = monotonic_ns();
        let behind_ns = now_ns.saturating_sub(schedule.announce_ns(number));
        pace.behind_ns.fetch_max(behind_ns, Ordering::Relaxed);
        let (first, mut refused) = (number, 0);
        while schedule.announce_ns(number) <= now_ns {
            let place = schedule.place(number) as usize;
            match wheel.renew(handles[place]) {
                Ok(_) => heard_ns[place] = now_ns,
                Err(_) => refused += 1,
            }
            number += 1;
        }
        pace.announces.fetch_add(number - first, Ordering::Relaxed);
        pace.refused.fetch_add(refused, Ordering::Relaxed);
        let pause = Duration::from_nanos(schedule.announce_ns(number).saturating_sub(monotonic_ns()));
        let pause = pause.clamp(SLOT, LOOK);
        let asleep = Instant::now();
        sleep(pause);
        if window.contains(&now_ns) {
            overslept.saturating_record(asleep.elapsed().saturating_sub(pause).as_nanos() as u64);
        }
    }
    *next = number;
    overslept
}

/// What changes over a window.
struct Reading {
    at_ns: u64,
    stats: Stats,
    share: Share,
    announces: u64,
}

impl Reading {
    fn take(wheel: &HostWheel, thread: &WheelThread, pace: &Pace) -> Result<Reading, Failure> {
        let announces = pace.announces.load(Ordering::Relaxed);
        Ok(Reading { at_ns: monotonic_ns(), stats: wheel.stats(), share: thread.share()?, announces })
    }

    /// The window from `before` until now.
    fn since(&self, before: &Reading, pace: &Pace) -> Steady {
        let (now, then) = (&self.stats, &before.stats);
        // Every step is counted in the last bound, or longer than it; those are told by the longest alone.
        let last = STEP_BOUNDS_US.len() - 1;
        let steps = now.steps[last] - then.steps[last];
        Steady {
            window: Duration::from_nanos(self.at_ns - before.at_ns),
            from_ns: before.at_ns,
            to_ns: self.at_ns,
            announces: self.announces - before.announces,
            visits: now.visits - then.visits,
            wake_ups: now.wake_ups - then.wake_ups,
            share: self.share - before.share,
            away: now.away - then.away,
            longer: std::array::from_fn(|bound| steps - (now.steps[bound] - then.steps[bound])),
            steps,
            longest: (now.longest_step > then.longest_step).then_some(now.longest_step),
            behind: Duration::from_nanos(pace.behind_ns.load(Ordering::Relaxed)),
            overslept: None,
            refused: 0,
        }
    }
}

/// Lets the fleet live until the window is over and `expected` hosts have left.
pub fn live(
    wheel: &HostWheel,
    living: &mut Living,
    schedule: &Schedule,
    (leaves, expected): (&Leaves, usize),
    bar: &ProgressBar,
    interrupted: &AtomicBool,
) -> Result<Steady, Failure> {
    let thread = WheelThread::find()?;
    let pace = Pace::default();
    scope(|scope| {
        let announcer = Builder::new().name("announcer".to_owned());
        let announcer = announcer.spawn_scoped(scope, || announce(wheel, living, schedule, &pace))?;
        let watched = watch(wheel, &thread, schedule, (leaves, expected), &pace, bar, interrupted);
        pace.stop.store(true, Ordering::Relaxed);
        let overslept = announcer.join().map_err(|_| "the announcer panicked".to_owned())?;
        let refused = pace.refused.load(Ordering::Relaxed);
        watched.map(|steady| Steady { overslept: Some(overslept), refused, ..steady })
    })
}

/// Takes the readings of the window, and waits for the last leave.
fn watch(
    wheel: &HostWheel,
    thread: &WheelThread,
    schedule: &Schedule,
    (leaves, expected): (&Leaves, usize),
    pace: &Pace,
    bar: &ProgressBar,
    interrupted: &AtomicBool,
) -> Result<Steady, Failure> {
    let until = |moment_ns: u64, done: &dyn Fn() -> bool| {
        while monotonic_ns() < moment_ns && !done() {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            sleep(LOOK.min(Duration::from_nanos(moment_ns.saturating_sub(monotonic_ns()))));
            bar.set_message(format!("{} announces, {} leaves", pace.announces.load(Ordering::Relaxed), leaves.count()));
            bar.inc(LOOK.as_millis() as u64);
        }
        Ok(())
    };
    until(schedule.start_ns, &|| false)?;
    // Late announces of before are not the window's.
    pace.behind_ns.store(0, Ordering::Relaxed);
    let before = Reading::take(wheel, thread, pace)?;
    until(schedule.start_ns + schedule.window_ns, &|| false)?;
    let steady = Reading::take(wheel, thread, pace)?.since(&before, pace);
    let away_ns = wheel.stats().away.as_nanos() as u64;
    until(monotonic_ns() + PATIENCE_NS + away_ns, &|| leaves.count() >= expected)?;
    Ok(steady)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_step_of_a_window_is_told_as_exactly_as_it_is_known() {
        let mut steady = Steady::default();
        (steady.longer[0], steady.longer[1]) = (7, 2);
        assert_eq!((steady.longer_than(Duration::from_millis(2)), steady.longest_words()), (0, "<= 0.5 ms".to_owned()));
        steady.longer[4] = 1;
        assert_eq!(steady.longer_than(Duration::from_millis(2)), 1);
        steady.longest = Some(Duration::from_micros(3210));
        assert_eq!(steady.longest_words(), "3.21 ms");
    }

    #[test]
    fn a_window_is_what_changed_in_it() {
        let reading = |at_ns, steps: u64, over_2_ms: u64, longest_ms| {
            let mut stats = Stats::default();
            stats.steps =
                std::array::from_fn(|bound| if STEP_BOUNDS_US[bound] > 2000 { steps } else { steps - over_2_ms });
            (stats.visits, stats.longest_step) = (10 * steps, Duration::from_millis(longest_ms));
            Reading { at_ns, stats, share: Share::default(), announces: steps }
        };
        let pace = Pace::default();
        let steady = reading(5_000_000_000, 30, 5, 9).since(&reading(1_000_000_000, 10, 4, 9), &pace);
        assert_eq!((steady.window, steady.announces, steady.visits), (Duration::from_secs(4), 20, 200));
        assert_eq!((steady.longer_than(Duration::from_millis(2)), steady.longest), (1, None));
        let steady = reading(5_000_000_000, 30, 5, 10).since(&reading(1_000_000_000, 10, 4, 9), &pace);
        assert_eq!(steady.longest, Some(Duration::from_millis(10)));
    }
}
