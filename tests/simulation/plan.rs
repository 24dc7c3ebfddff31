//! What a seed stands for: the settings, the fleet and the misfortunes of one run. Everything is drawn here, so that what
//! a failing seed is about can be read from its plan.

use std::time::Duration;

use super::rng::Rng;
use crate::config::{Brake, Clock, Config};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How a run looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A fleet of up to 4,096 hosts with intervals of seconds to minutes, looked at every half second.
    Bustle,
    /// Months and years with intervals of minutes to weeks.
    Long,
    /// Hosts that come and go all the time, in a table that is often full, with records that wear out.
    Flapping,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) config: Config,
    pub(super) drained: bool,
    /// Generations per record, with callbacks.
    pub(super) lives: u32,
    pub(super) hosts: u32,
    /// The run ends after so many announces or so much time.
    pub(super) announces_max: u64,
    pub(super) span_ms: u64,
    /// Hosts act at multiples of so many microseconds.
    pub(super) grain_us: u64,
    /// Bounds of a host's interval.
    pub(super) interval_ms: (u64, u64),
    pub(super) chances: Chances,
}

/// In a thousand, per announce unless it says otherwise.
#[derive(Clone, Debug)]
pub(super) struct Chances {
    /// The announce is lost on its way.
    pub(super) lost: u64,
    /// The host dies without a word, and may return.
    pub(super) crash: u64,
    /// The host says goodbye, and may return.
    pub(super) goodbye: u64,
    /// The host takes another interval.
    pub(super) change: u64,
    /// The announce was heard by somebody else a while ago.
    pub(super) aged: u64,
    /// A host that changes its interval names none.
    pub(super) nameless: u64,
    /// The announce goes by handle.
    pub(super) by_handle: u64,
    /// Somebody uses a handle of an earlier incarnation.
    pub(super) stale: u64,
    /// The interval varies by up to so much.
    pub(super) jitter: u64,
    /// Per look: nobody looks for a while after it.
    pub(super) pause: u64,
    /// Per leave: the consumer wants it again.
    pub(super) retry: u64,
    /// Per callback: it panics.
    pub(super) panic: u64,
    /// Per callback: it calls back in.
    pub(super) reenter: u64,
    /// Per drain: the consumer takes all, not some.
    pub(super) drain_all: u64,
    /// Per drained leave: it is answered late, if at all.
    pub(super) answer_late: u64,
}

impl Plan {
    /// `announces_max` is the budget of a run with a small fleet.
    pub(super) fn draw(rng: &mut Rng, announces_max: u64) -> Plan {
        let kind = rng.pick(&[Kind::Bustle, Kind::Bustle, Kind::Long, Kind::Flapping]);
        let drained = rng.permille(350);
        let hosts = match kind {
            Kind::Bustle => rng.magnitude(2, 5000).min(4096),
            Kind::Long => rng.magnitude(2, 200),
            Kind::Flapping => rng.magnitude(2, 600),
        } as u32;
        let mut config = settings(rng, kind, drained, hosts);
        // A small fleet gets short intervals, or all the work would be looks at nothing.
        let least_ms = config.min_interval.as_millis() as u64;
        let most_ms = |longest_ms: u64| longest_ms.min(2500 * u64::from(hosts)).min(100 * least_ms).max(2 * least_ms);
        let interval_ms = match kind {
            Kind::Bustle => (least_ms, rng.magnitude(2 * least_ms, most_ms(5 * MINUTE_MS))),
            Kind::Long => (2 * HOUR_MS, rng.magnitude(2 * HOUR_MS, 24 * DAY_MS)),
            Kind::Flapping => (least_ms, rng.magnitude(2 * least_ms, most_ms(30_000))),
        };
        if kind == Kind::Flapping && rng.permille(500) {
            config.max_hosts = rng.between(1 + u64::from(hosts) / 3, u64::from(hosts)) as usize;
        }
        Plan {
            kind,
            drained,
            lives: if kind == Kind::Flapping && !drained && rng.permille(500) {
                rng.between(1, 9) as u32
            } else {
                u32::MAX
            },
            hosts,
            // Big fleets are cheap: more of them act at a time.
            announces_max: if hosts >= 256 { 5 * announces_max } else { announces_max },
            span_ms: match kind {
                Kind::Long => rng.between(200, 900) * DAY_MS,
                Kind::Bustle | Kind::Flapping => 30 * DAY_MS,
            },
            grain_us: rng.pick(&[1, 1000, 20_000, 100_000]),
            interval_ms,
            chances: chances(rng, kind),
            config,
        }
    }
}

fn settings(rng: &mut Rng, kind: Kind, drained: bool, hosts: u32) -> Config {
    let ms = Duration::from_millis;
    let tight = rng.permille(300);
    let outstanding = if tight { rng.magnitude(1, 50) } else { 65_536 };
    Config {
        clock: Clock::Manual,
        host_ttl: ms(rng.pick(&[HOUR_MS, 10 * MINUTE_MS, 4000, DAY_MS])),
        grace: ms(rng.pick(&[15_000, 15_000, 0, 1, 500, HOUR_MS])),
        min_interval: ms(if kind == Kind::Long { 2 * HOUR_MS } else { rng.pick(&[1000, 1000, 5000, 20]) }),
        max_hosts: if kind == Kind::Flapping { 2 * hosts as usize + 1000 } else { 1 << 16 },
        max_outstanding: if drained { outstanding.min(4096) } else { outstanding } as usize,
        batch: rng.pick(&[1, 2, 256, 256, 100_000]),
        watchdog: ms(match kind {
            Kind::Long => rng.pick(&[0, HOUR_MS]),
            Kind::Bustle | Kind::Flapping => rng.pick(&[1000, 1000, 0]),
        }),
        backstop: ms(match kind {
            Kind::Long => rng.pick(&[0, 12 * HOUR_MS]),
            Kind::Bustle | Kind::Flapping => rng.pick(&[5 * MINUTE_MS, 5 * MINUTE_MS, 0, 10_000]),
        }),
        settle_timeout: ms(rng.pick(&[MINUTE_MS, MINUTE_MS, 3000])),
        // The model knows no guards; `guards.rs` is about them.
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

fn chances(rng: &mut Rng, kind: Kind) -> Chances {
    let flapping = kind == Kind::Flapping;
    Chances {
        lost: rng.pick(&[0, 10, 100, 300]),
        crash: if flapping { 100 } else { rng.pick(&[0, 1, 10, 60]) },
        goodbye: if flapping { 200 } else { rng.pick(&[0, 1, 10, 60]) },
        change: rng.pick(&[0, 5, 50, 300]),
        aged: rng.pick(&[0, 20, 200]),
        nameless: rng.pick(&[0, 100, 500]),
        by_handle: rng.pick(&[0, 700, 1000]),
        stale: 20,
        jitter: rng.pick(&[0, 20, 300]),
        pause: rng.pick(&[0, 0, 1, 5]),
        retry: rng.pick(&[0, 50, 500]),
        panic: rng.pick(&[0, 0, 20]),
        reenter: rng.pick(&[0, 100, 500]),
        drain_all: rng.pick(&[1000, 500, 100]),
        answer_late: rng.pick(&[0, 100, 500]),
    }
}
