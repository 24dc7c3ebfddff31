//! Configuration, its defaults and its checks.

use std::time::Duration;

use crate::error::ConfigError;
use crate::record::Cadence;
use crate::tick::{Tick, ticks_ceil};

/// The longest duration that any setting takes: 24 days.
pub const LONGEST: Duration = Duration::from_secs(24 * 86_400);

/// The greatest `max_hosts`: 2^28.
pub const MOST_HOSTS: usize = 1 << 28;

/// Which clock an announce is stamped with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The processor's time stamp counter, set by `CLOCK_MONOTONIC` every 8 ms: the cheapest. Leaves come later by up to 1 ms.
    /// The first wheel of a process measures its rate, for a millisecond. On x86-64 and aarch64 whose kernel tells the time by
    /// that counter itself; everywhere else, and while the counter does not agree with `CLOCK_MONOTONIC`, this is
    /// [`Clock::Coarse`], and [`Stats::clock`](crate::Stats::clock) says so.
    #[default]
    Counter,
    /// `CLOCK_MONOTONIC_COARSE`, plus a margin that the thread measures and keeps above the clock's lag. Leaves come later by up
    /// to that margin (8 ms at first, with a 4 ms kernel tick).
    Coarse,
    /// `CLOCK_MONOTONIC`: exact to the tick. Under load an announce costs 4 times as much.
    Precise,
    /// The caller's: time passes only in [`HostWheel::advance`](crate::HostWheel::advance), and so do events. No thread.
    Manual,
}

/// The brake: leaves pass a token bucket that follows the fleet, the most hosts alive within the last host TTL. The bucket
/// holds `max(burst_min, burst_permille of the fleet)` leaves and gets `max(refill_min, refill_permille of the fleet)` back
/// each minute. What does not pass waits, and an announce still saves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// The burst as a share of the fleet, in thousandths. Default: 200.
    pub burst_permille: u32,
    /// The least burst. Default: 100.
    pub burst_min: u32,
    /// The refill per minute as a share of the fleet, in thousandths. Default: 200.
    pub refill_permille: u32,
    /// The least refill per minute. Default: 100.
    pub refill_min: u32,
}

impl Brake {
    /// No brake: every leave passes when it is due.
    pub const OFF: Brake = Brake { burst_permille: 0, burst_min: 0, refill_permille: 0, refill_min: 0 };

    fn is_off(&self) -> bool {
        self.burst_permille == 0 && self.burst_min == 0
    }
}

impl Default for Brake {
    fn default() -> Brake {
        Brake { burst_permille: 200, burst_min: 100, refill_permille: 200, refill_min: 100 }
    }
}

/// How a wheel behaves. `Config::default()` suits a scheduler whose hosts announce every few seconds to hours.
///
/// ```
/// use std::time::Duration;
/// let config = hostwheel::Config { grace: Duration::from_secs(5), ..hostwheel::Config::default() };
/// # assert_eq!(config.batch, 256);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The clock. Default: [`Clock::Counter`].
    pub clock: Clock,
    /// TTL of a host that announces without an interval. Its effective interval is half of it. Default: 1 h.
    pub host_ttl: Duration,
    /// How long a host past its TTL stays suspect before it leaves, at most its own interval. It covers a lost announce:
    /// announcers do not retry, so after one lost packet the next announce arrives just after the TTL. 0 is the literal
    /// TTL, without a suspect stage. Default: 15 s.
    pub grace: Duration,
    /// Announced intervals below this are raised to it. At least 1 ms. Default: 1 s.
    pub min_interval: Duration,
    /// Announced intervals above this are lowered to it. At most [`LONGEST`]. Default: 24 days.
    pub max_interval: Duration,
    /// The most hosts known at a time, undelivered leaves included, 1 to [`MOST_HOSTS`]. Beyond it a registration is
    /// refused. Reserves some 200 bytes of address space for each, which get memory as they come into use. Default: 2^24
    /// (16 M, 3 GiB of addresses).
    pub max_hosts: usize,
    /// The most leaves handed out and not yet answered with `Done`; further due hosts wait. With drain delivery also the
    /// capacity of the event queue, about 120 bytes each. 1 to 2^24. Default: 65,536.
    pub max_outstanding: usize,
    /// The most events between two looks at the clock, and so handed to callbacks in a row. At least 1. Default: 256.
    pub batch: usize,
    /// The thread looks at the clock at least this often while it knows a host. Time between looks that were further
    /// apart than planned counts against no host. 0 switches that off. Default: 1 s.
    pub watchdog: Duration,
    /// How often the back-stop sweeps all records. 0 switches it off. Default: 5 min.
    pub backstop: Duration,
    /// A drained leave that was not settled for so long is handed out again. At least 1 ms. Default: 60 s.
    pub settle_timeout: Duration,
    /// The brake on mass leaves; [`Brake::OFF`] for none.
    pub brake: Brake,
    /// Silence: how many announces must have been due, and none heard, before the wheel holds that it is cut off itself. Then
    /// nobody leaves until somebody is heard, one host TTL at the longest; and after that each host gets one more interval
    /// and its grace. It begins when a host is due to leave and nobody was heard for clearly longer than ever in the last two
    /// intervals of the slowest host, or than the due host's interval. It cannot help where fewer announces are due before
    /// the first host leaves (fewer than 16 hosts of one interval); with `grace` 0 the first hosts may be due before it can
    /// start. 0 switches it off. Default: 20.
    pub silence_expected: u32,
    /// Stack size in bytes of the wheel's thread, on which callbacks run. At least 64 KiB. Default: 1 MiB.
    pub stack_size: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            clock: Clock::Counter,
            host_ttl: Duration::from_secs(3600),
            grace: Duration::from_secs(15),
            min_interval: Duration::from_secs(1),
            max_interval: LONGEST,
            max_hosts: 1 << 24,
            max_outstanding: 65_536,
            batch: 256,
            watchdog: Duration::from_secs(1),
            backstop: Duration::from_secs(300),
            settle_timeout: Duration::from_secs(60),
            brake: Brake::default(),
            silence_expected: 20,
            stack_size: 1 << 20,
        }
    }
}

impl Config {
    /// Says what is wrong with the configuration, if anything. The constructors of the wheel call it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem| Err(ConfigError { field, problem });
        let ms = Duration::from_millis(1);
        for (field, value) in [
            ("host_ttl", self.host_ttl),
            ("grace", self.grace),
            ("min_interval", self.min_interval),
            ("max_interval", self.max_interval),
            ("watchdog", self.watchdog),
            ("backstop", self.backstop),
            ("settle_timeout", self.settle_timeout),
        ] {
            if value > LONGEST {
                return wrong(field, "must be at most 24 days");
            }
        }
        if self.host_ttl < 2 * ms {
            return wrong("host_ttl", "must be at least 2 ms");
        }
        if self.min_interval < ms {
            return wrong("min_interval", "must be at least 1 ms");
        }
        if self.min_interval > self.max_interval {
            return wrong("min_interval", "must not be above max_interval");
        }
        if self.settle_timeout < ms {
            return wrong("settle_timeout", "must be at least 1 ms");
        }
        if self.max_hosts == 0 || self.max_hosts > MOST_HOSTS {
            return wrong("max_hosts", "must be between 1 and 2^28");
        }
        if self.max_outstanding == 0 || self.max_outstanding > 1 << 24 {
            return wrong("max_outstanding", "must be between 1 and 2^24");
        }
        if self.batch == 0 {
            return wrong("batch", "must be at least 1");
        }
        if !self.brake.is_off() && self.brake.refill_permille == 0 && self.brake.refill_min == 0 {
            return wrong("brake", "has a burst and no refill: give it one, or switch it off with Brake::OFF");
        }
        if self.stack_size < 64 << 10 {
            return wrong("stack_size", "must be at least 64 KiB");
        }
        Ok(())
    }
}

/// The durations of a configuration in ticks: what the hot paths need, in one cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// TTL of a host without interval.
    pub(crate) host_ttl: Tick,
    /// The longest suspect stage.
    pub(crate) grace: Tick,
    /// Bounds of an interval, in milliseconds.
    pub(crate) min_interval: Tick,
    /// See `min_interval`.
    pub(crate) max_interval: Tick,
}

/// What an announced interval counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) cadence: Cadence,
    /// The effective interval.
    pub(crate) interval: Duration,
    /// Whether the interval was clamped to the configured bounds.
    pub(crate) clamped: bool,
}

impl Terms {
    /// The terms of a checked configuration.
    pub(crate) fn new(config: &Config) -> Terms {
        Terms {
            host_ttl: ticks_ceil(config.host_ttl),
            grace: ticks_ceil(config.grace),
            min_interval: ticks_ceil(config.min_interval),
            max_interval: ticks_ceil(config.max_interval),
        }
    }

    /// What an announced interval counts as. 0 is no interval.
    #[inline]
    pub(crate) fn agree(&self, interval: Duration) -> Agreed {
        // The usual one, of whole seconds and within the bounds, stays what it is, for some instructions less.
        let seconds = interval.as_secs();
        if interval.subsec_nanos() == 0
            && seconds <= Cadence::FINEST_SECONDS
            && (self.min_interval..=self.max_interval).contains(&(seconds * 1000))
        {
            return Agreed { cadence: Cadence::of_seconds(seconds), interval, clamped: false };
        }
        self.agree_anyhow(interval)
    }

    #[inline(never)]
    fn agree_anyhow(&self, interval: Duration) -> Agreed {
        let asked = ticks_ceil(interval);
        let given = if asked == 0 { 0 } else { asked.clamp(self.min_interval, self.max_interval) };
        let cadence = Cadence::from_ms(given);
        let interval = Duration::from_millis(self.effective_interval(cadence));
        Agreed { cadence, interval, clamped: given != asked }
    }

    /// What the host's intervals count as: half the host TTL when it named none.
    #[inline]
    pub(crate) fn effective_interval(&self, cadence: Cadence) -> Tick {
        if cadence.is_none() { self.host_ttl / 2 } else { cadence.ms() }
    }

    /// How long after its last announce the host is overdue.
    #[inline]
    pub(crate) fn ttl(&self, cadence: Cadence) -> Tick {
        if cadence.is_none() { self.host_ttl } else { 2 * cadence.ms() }
    }

    /// How long the host stays suspect.
    pub(crate) fn grace(&self, cadence: Cadence) -> Tick {
        self.grace.min(self.effective_interval(cadence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(change: impl FnOnce(&mut Config)) -> &'static str {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("this configuration is contradictory").field
    }

    #[test]
    fn the_defaults_are_consistent() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn each_contradiction_names_its_field() {
        let long = LONGEST + Duration::from_millis(1);
        assert_eq!(broken(|c| c.host_ttl = Duration::from_millis(1)), "host_ttl");
        assert_eq!(broken(|c| c.host_ttl = long), "host_ttl");
        assert_eq!(broken(|c| c.grace = long), "grace");
        assert_eq!(broken(|c| c.min_interval = Duration::ZERO), "min_interval");
        assert_eq!(broken(|c| c.max_interval = Duration::from_millis(999)), "min_interval");
        assert_eq!(broken(|c| c.max_interval = long), "max_interval");
        assert_eq!(broken(|c| c.max_hosts = 0), "max_hosts");
        assert_eq!(broken(|c| c.max_hosts = MOST_HOSTS + 1), "max_hosts");
        assert_eq!(broken(|c| c.max_outstanding = 0), "max_outstanding");
        assert_eq!(broken(|c| c.batch = 0), "batch");
        assert_eq!(broken(|c| c.watchdog = long), "watchdog");
        assert_eq!(broken(|c| c.backstop = long), "backstop");
        assert_eq!(broken(|c| c.settle_timeout = Duration::ZERO), "settle_timeout");
        assert_eq!(broken(|c| c.stack_size = 1), "stack_size");
        assert_eq!(broken(|c| c.brake = Brake { refill_min: 0, refill_permille: 0, ..Brake::default() }), "brake");
        assert_eq!(Config { brake: Brake::OFF, ..Config::default() }.check(), Ok(()));
    }

    #[test]
    fn intervals_are_clamped_and_zero_means_none() {
        let terms = Terms::new(&Config::default());
        let agreed = |asked| {
            let Agreed { cadence, interval, clamped } = terms.agree(asked);
            (cadence, interval.as_millis(), clamped)
        };
        assert_eq!(agreed(Duration::ZERO), (Cadence::NONE, 1_800_000, false));
        assert_eq!(agreed(Duration::from_nanos(1)), (Cadence::from_ms(1000), 1000, true));
        assert_eq!(agreed(Duration::MAX), (Cadence::from_ms(24 * 86_400_000), 24 * 86_400_000, true));
        assert_eq!(agreed(Duration::from_micros(1_000_001)), (Cadence::from_ms(1001), 1001, false));
        for seconds in [1, 300, 2097, 2098, 3600] {
            let ms = seconds * 1000;
            assert_eq!(agreed(Duration::from_secs(seconds)), (Cadence::from_ms(ms), ms.into(), false));
        }
    }

    #[test]
    fn a_host_without_interval_has_the_host_ttl_and_still_gets_its_grace() {
        let terms = Terms::new(&Config::default());
        assert_eq!(terms.ttl(Cadence::NONE), 3_600_000);
        assert_eq!(terms.effective_interval(Cadence::NONE), 1_800_000);
        assert_eq!(terms.grace(Cadence::NONE), 15_000);
        assert_eq!(terms.ttl(Cadence::from_ms(1000)), 2000);
        assert_eq!(terms.grace(Cadence::from_ms(1000)), 1000);
    }
}
