//! Observed time: the clock, less the time in which nobody watched.
//!
//! Every look says until when the looker stands for having watched: the horizon. A look that comes after the horizon finds
//! that time stood still there, and the excess is `away`. Called by the oracle at each advance.

/// How many of the last pauses an event can tell of.
const PAUSES_TOLD: usize = 64;

/// A clock that stands still while nobody looks.
#[derive(Clone, Debug)]
pub struct ObservedTime {
    /// Between looks that are in time, in milliseconds; `None` when all time counts.
    watch_ms: Option<u64>,
    slack_ms: u64,
    clock_ns: u64,
    away_ns: u64,
    now_ns: u64,
    horizon_ms: u64,
    /// Where time stood still while a host was known, and for how many nanoseconds.
    pauses: Vec<(i64, u64)>,
}

impl ObservedTime {
    pub fn new(watchdog_ms: u64, min_interval_ms: u64) -> ObservedTime {
        let mut time = ObservedTime {
            watch_ms: (watchdog_ms > 0).then(|| watchdog_ms.min(min_interval_ms / 2).max(1)),
            slack_ms: (min_interval_ms / 4).clamp(2, 250),
            clock_ns: 0,
            away_ns: 0,
            now_ns: 0,
            horizon_ms: 0,
            pauses: Vec::new(),
        };
        time.look(0, true);
        time
    }

    /// Somebody looks when the clock reads `clock_ns`; a clock that goes back stands still. `idle`: no host is known, so
    /// nothing was missed.
    pub fn look(&mut self, clock_ns: u64, idle: bool) {
        self.clock_ns = self.clock_ns.max(clock_ns);
        let counted_ns = self.clock_ns - self.away_ns;
        let Some(watch_ms) = self.watch_ms else {
            self.now_ns = counted_ns;
            return;
        };
        let horizon_ns = self.horizon_ms * 1_000_000;
        self.now_ns = counted_ns.min(horizon_ns);
        if counted_ns > horizon_ns {
            self.away_ns += counted_ns - horizon_ns;
            if !idle {
                self.pauses.push((self.horizon_ms as i64, counted_ns - horizon_ns));
            }
        }
        self.horizon_ms = self.now_ns / 1_000_000 + watch_ms + self.slack_ms;
    }

    /// Wheel time in nanoseconds since opening.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The millisecond that the looker is in.
    pub fn tick(&self) -> i64 {
        (self.now_ns / 1_000_000) as i64
    }

    /// The millisecond that an announce is stamped with: rounded up, so that it is never before the announce.
    pub fn stamp(&self) -> i64 {
        self.now_ns.div_ceil(1_000_000) as i64
    }

    /// What the clock reads at wheel time `ms`; its last moment if that is beyond it, as a retry may be.
    pub fn clock_at_ns(&self, ms: i64) -> u64 {
        (ms.max(0) as u64).saturating_mul(1_000_000).saturating_add(self.away_ns)
    }

    /// What the clock read at the last look.
    pub fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    /// When somebody must look again, on the clock.
    pub fn next_look_ns(&self) -> Option<u64> {
        self.watch_ms.map(|watch_ms| self.clock_at_ns(self.tick() + watch_ms as i64))
    }

    /// All time not counted while a host was known.
    pub fn missed_ns(&self) -> u64 {
        self.pauses.iter().map(|(_, ns)| ns).sum()
    }

    /// Time not counted since `ms`, as far as the last pauses tell: what the 64th-last one lasted is forgotten.
    pub fn missed_since_ns(&self, ms: i64) -> u64 {
        let told = (self.pauses.len() + 1).saturating_sub(PAUSES_TOLD);
        self.pauses[told..].iter().filter(|(at, _)| *at >= ms).map(|(_, ns)| ns).sum()
    }
}
