//! What is going to happen to whom and when, drawn from the seed before the run begins.
//!
//! Times count from the moment at which all hosts are registered. A fate that turns on how long a host is silent is
//! planned with a distance to the moment at which it would turn into another fate, and not across the scheduler's own
//! stop and restart, during which silence does not count. First of all, before any fate, all hosts are cut off at once.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// The bounds of the hosts' intervals, in milliseconds.
pub const INTERVAL_MS: Range<u64> = 500..2000;

/// How far planned silences stay away from the moment of the leave.
pub const EDGE: Duration = Duration::from_millis(200);

/// A restarted host needs some time to get up, which adds to its silence.
const START_UP: Duration = Duration::from_millis(200);

/// The longest time by which a silence outlasts the moment of the leave.
const OVERSHOOT: Duration = Duration::from_millis(1500);

/// What is left of the run after the last fate is decided.
const TAIL: Duration = Duration::from_secs(2);

/// The shortest run into which every fate fits.
pub const SHORTEST_RUN: u64 = 55;

/// When all hosts are cut off: not before the wheel has learned how often this fleet is heard.
const CUT_AT: Duration = Duration::from_secs(9);

/// How much longer the cut lasts than any host may be silent.
const CUT_BEYOND: Duration = Duration::from_secs(1);

/// With a shorter grace the first hosts may leave before the wheel can tell that it is cut off.
const CUT_GRACE: Duration = Duration::from_millis(500);

/// How long after the cut all hosts are heard again for certain, and fates may begin.
pub const CALM_AFTER: Duration = Duration::from_millis(2500);

/// How long after its stop the scheduler is killed, and how long after that it is started again.
const RESTART_AFTER: Duration = Duration::from_millis(700);
const DOWN_FOR: Duration = Duration::from_millis(800);

/// When, after the scheduler's restart, many hosts die at once in a run that shows the brake.
const WAVE_AFTER: Duration = Duration::from_secs(1);

/// The smallest fleet in which every fate happens to somebody.
pub const SMALLEST_FLEET: usize = 20;

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Untouched,
    Killed,
    StoppedShort,
    StoppedLong,
    Left,
    RestartedBefore,
    RestartedAfter,
    IntervalChanged,
}

impl Fate {
    pub const ALL: [Fate; 8] = [
        Fate::Killed,
        Fate::StoppedShort,
        Fate::StoppedLong,
        Fate::RestartedBefore,
        Fate::RestartedAfter,
        Fate::Left,
        Fate::IntervalChanged,
        Fate::Untouched,
    ];

    /// The fate in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Untouched => "left alone",
            Fate::Killed => "killed (SIGKILL)",
            Fate::StoppedShort => "stopped, back within the grace",
            Fate::StoppedLong => "stopped, back after the grace",
            Fate::Left => "asked to leave politely",
            Fate::RestartedBefore => "restarted before expiry",
            Fate::RestartedAfter => "restarted after expiry",
            Fate::IntervalChanged => "interval changed",
        }
    }

    /// What the scheduler must see of it.
    pub fn expectation(self) -> &'static str {
        match self {
            Fate::Untouched => "no leave",
            Fate::Killed => "one leave",
            Fate::StoppedShort => "no leave, same handle",
            Fate::StoppedLong => "one leave, then a new handle",
            Fate::Left => "gone at once, no leave event",
            Fate::RestartedBefore => "no leave, same handle",
            Fate::RestartedAfter => "one leave, then a new handle",
            Fate::IntervalChanged => "no leave, same handle",
        }
    }

    /// Its share of the fleet in percent; the rest is left alone. A run that shows the brake has no host that returns: one
    /// that the brake holds back would be saved by that.
    fn share(self, brake: bool) -> usize {
        match self {
            Fate::Killed if brake => 30,
            Fate::StoppedShort | Fate::StoppedLong | Fate::RestartedBefore | Fate::RestartedAfter if brake => 0,
            Fate::Untouched => 0,
            Fate::Killed => 15,
            Fate::StoppedShort | Fate::IntervalChanged => 10,
            Fate::StoppedLong | Fate::Left | Fate::RestartedBefore | Fate::RestartedAfter => 8,
        }
    }
}

/// One host's part in the plan.
#[derive(Clone, Debug)]
pub struct HostPlan {
    pub fate: Fate,
    pub interval: Duration,
    /// When the fate strikes.
    pub at: Duration,
    /// For a host that comes back: how long after its last announce.
    pub silence: Duration,
    /// For a host whose interval changes.
    pub new_interval: Duration,
}

/// The whole plan.
#[derive(Clone, Debug)]
pub struct Plan {
    pub hosts: Vec<HostPlan>,
    pub grace: Duration,
    /// From when to when all hosts are cut off: their announces are lost. `None` with too short a grace.
    pub cut: Option<Range<Duration>>,
    /// From when to when the scheduler itself is stopped.
    pub stop: Range<Duration>,
    /// When the scheduler is killed, and when it is started again.
    pub restart: Range<Duration>,
    /// Many hosts die at once, under a narrow brake.
    pub brake: bool,
    pub length: Duration,
}

/// How long after its last announce a host leaves.
pub fn leaves_after(interval: Duration, grace: Duration) -> Duration {
    2 * interval + grace.min(interval)
}

impl Plan {
    /// Draws a plan. The same arguments give the same plan.
    pub fn draw(hosts: usize, length: Duration, grace: Duration, brake: bool, seed: u64) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let longest_ttl = Duration::from_millis(2 * INTERVAL_MS.end);
        let longest_silence = leaves_after(Duration::from_millis(INTERVAL_MS.end), grace);
        let cut = (grace >= CUT_GRACE).then_some(CUT_AT..CUT_AT + longest_silence + CUT_BEYOND);
        let calm = cut.as_ref().map_or(Duration::ZERO, |cut| cut.end + CALM_AFTER);
        let rest = length - calm;
        let stopped_at = calm + between(&mut rng, rest * 33 / 100..rest * 36 / 100);
        let stopped_for = longest_ttl + between(&mut rng, Duration::from_millis(500)..OVERSHOOT);
        let stop = stopped_at..stopped_at + stopped_for;
        let restart = stop.end + RESTART_AFTER..stop.end + RESTART_AFTER + DOWN_FOR;
        let mut plan = Plan { hosts: Vec::new(), grace, cut, stop, restart, brake, length };

        let mut fates = Vec::with_capacity(hosts);
        for fate in Fate::ALL.into_iter().filter(|fate| plan.has(*fate)) {
            fates.extend(std::iter::repeat_n(fate, hosts * fate.share(brake) / 100));
        }
        fates.resize(hosts, Fate::Untouched);
        fates.shuffle(&mut rng);
        plan.hosts = fates.into_iter().map(|fate| plan.host(fate, &mut rng)).collect();
        plan
    }

    /// Whether the fate exists at all: a grace too short to stay away from both of its ends has no "within".
    pub fn has(&self, fate: Fate) -> bool {
        (fate != Fate::StoppedShort || self.grace > 2 * EDGE)
            && (!self.brake || fate.share(true) > 0 || fate == Fate::Untouched)
    }

    /// How many hosts have a fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.hosts.iter().filter(|host| host.fate == fate).count()
    }

    fn host(&self, fate: Fate, rng: &mut StdRng) -> HostPlan {
        let interval = Duration::from_millis(rng.random_range(INTERVAL_MS));
        let new_interval = Duration::from_millis(rng.random_range(INTERVAL_MS));
        let leave = leaves_after(interval, self.grace);
        let silence = match fate {
            Fate::StoppedShort => between(rng, 2 * interval + EDGE..leave - EDGE),
            Fate::RestartedBefore => between(rng, interval..leave - EDGE - START_UP),
            Fate::StoppedLong | Fate::RestartedAfter => between(rng, leave + EDGE..leave + OVERSHOOT),
            Fate::Killed => leave,
            Fate::Untouched | Fate::Left | Fate::IntervalChanged => Duration::ZERO,
        };
        let returns = !matches!(fate, Fate::Killed) && !silence.is_zero();
        let at = if self.brake && fate == Fate::Killed {
            self.restart.end + WAVE_AFTER
        } else {
            self.moment(silence, returns, rng)
        };
        HostPlan { fate, interval, at, silence, new_interval }
    }

    /// A moment for a fate that is decided `silence` later: clear of the scheduler's stop and restart for a host that
    /// returns.
    fn moment(&self, silence: Duration, returns: bool, rng: &mut StdRng) -> Duration {
        let pause = Duration::from_millis(500);
        let begin = self.cut.as_ref().map_or(Duration::ZERO, |cut| cut.end + CALM_AFTER) + pause;
        let end = self.length - TAIL - silence;
        if !returns {
            return between(rng, begin..end);
        }
        let before = begin..self.stop.start - silence - pause;
        let after = self.restart.end + pause..end;
        let first = before.end - before.start;
        let offset = between(rng, Duration::ZERO..first + (after.end - after.start));
        if offset < first { before.start + offset } else { after.start + (offset - first) }
    }
}

fn between(rng: &mut StdRng, range: Range<Duration>) -> Duration {
    Duration::from_millis(rng.random_range(range.start.as_millis() as u64..range.end.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_in_which_every_fate_is_decided_in_time() {
        for (grace_ms, brake, seed) in
            [(15_000, false, 1), (0, false, 2), (300, false, 3), (700, false, 4), (15_000, true, 5)]
        {
            let draw = || {
                let grace = Duration::from_millis(grace_ms);
                Plan::draw(2000, Duration::from_secs(SHORTEST_RUN), grace, brake, seed)
            };
            let plan = draw();
            assert_eq!(format!("{plan:?}"), format!("{:?}", draw()));
            for host in &plan.hosts {
                assert!(host.at + host.silence + TAIL <= plan.length, "{host:?}");
                let calm = plan.cut.as_ref().map_or(Duration::ZERO, |cut| cut.end + CALM_AFTER);
                assert!(host.fate == Fate::Untouched || host.at > calm, "{host:?}");
            }
        }
    }
}
