//! Silence: when nobody at all is heard, it is not all the hosts that died.
//!
//! When a leave is due and nobody was heard for 1.25 x that host's effective interval, in which 20 (configurable) or more
//! announces were due, we are the ones cut off: nobody leaves while it lasts, at most one host TTL. It ends when somebody is
//! heard. After it ended at tick S, a host last heard before S is not taken before S + its effective interval + grace: it
//! has had no chance to be heard yet. It can start again once [`REARM`] visits have found hosts that were heard after S,
//! so a silence that ended by its cap does not start over.
//!
//! The cap bounds one silence; what bounds them all is that a host is held no longer by any number of them
//! ([`Silence::may_hold`]). Otherwise hosts that died together in a fleet that announces in bursts would each time be the
//! witnesses for another one: the living are heard between two of them, and are silent long enough.
//!
//! Which announces were due is counted by hosts of the same interval or a shorter one ([`Rates`]): each of them announces at
//! least once in that time, whatever its phase, so a healthy fleet cannot trigger it, also when all announce in the same
//! second. Fewer than 16 hosts of one interval cannot make 20 due announces: silence does not help them.

use crate::canary::{Canary, planted};
use crate::tick::Tick;

/// Visits that must find hosts heard since, before another silence can start.
const REARM: u32 = 20;

/// Intervals are counted in buckets 1/16 of an octave wide, so hosts in one bucket differ by less than 6.3 %, well inside
/// the quarter that silence waits beyond an interval.
const STEPS_LOG2: u32 = 4;
const BUCKETS: usize = 33 << STEPS_LOG2;

/// Hosts by interval.
#[derive(Debug)]
pub(crate) struct Rates {
    hosts: Box<[u64; BUCKETS]>,
}

impl Rates {
    pub(crate) fn new() -> Rates {
        Rates { hosts: Box::new([0; BUCKETS]) }
    }

    /// The bucket of an effective interval.
    pub(crate) fn bucket(interval: Tick) -> usize {
        let interval = interval.clamp(1, u64::from(u32::MAX)) << STEPS_LOG2;
        let octave = interval.ilog2() - STEPS_LOG2;
        let step = (interval >> octave) & ((1 << STEPS_LOG2) - 1);
        (octave << STEPS_LOG2) as usize + step as usize
    }

    /// The shortest interval of a bucket.
    fn shortest(bucket: usize) -> Tick {
        let (octave, step) = (bucket >> STEPS_LOG2, bucket & ((1 << STEPS_LOG2) - 1));
        let scaled = ((1u64 << STEPS_LOG2) + step as u64) << octave;
        scaled.div_ceil(1 << STEPS_LOG2)
    }

    /// Moves a host from one bucket to another; `None` is nowhere.
    pub(crate) fn count(&mut self, from: Option<usize>, to: Option<usize>) {
        if let Some(from) = from {
            self.hosts[from] -= 1;
        }
        if let Some(to) = to {
            self.hosts[to] += 1;
        }
    }

    /// All hosts that are counted.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> u64 {
        self.hosts.iter().sum()
    }

    /// Announces due within 1.25 x `interval` of hosts with that interval or a shorter one.
    fn due(&self, interval: Tick) -> u64 {
        let window = interval + interval / 4;
        let upto = if planted(Canary::SlowWitnesses) { BUCKETS - 1 } else { Self::bucket(interval) };
        let buckets = self.hosts[..=upto].iter().enumerate().filter(|(_, hosts)| **hosts > 0);
        let due = buckets.map(|(bucket, hosts)| {
            // Of the host's own bucket every interval counts as the host's own.
            let each = if bucket == upto { interval } else { Self::shortest(bucket) };
            u128::from(*hosts) * u128::from(window) / u128::from(each)
        });
        u64::try_from(due.sum::<u128>()).unwrap_or(u64::MAX)
    }
}

/// Whether we are cut off.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Announces that must have been due; 0 switches the guard off.
    expected: u64,
    /// The longest silence: one host TTL.
    cap: Tick,
    /// Since when it lasts.
    since: Option<Tick>,
    /// When the last one ended.
    ended: Option<Tick>,
    /// Visits that found hosts heard after that.
    heard_since: u32,
    /// Ticks that ended silences lasted.
    lasted: Tick,
    starts: u64,
}

impl Silence {
    pub(crate) fn new(expected: u32, cap: Tick) -> Silence {
        let expected = u64::from(expected);
        Silence { expected, cap, since: None, ended: None, heard_since: REARM, lasted: 0, starts: 0 }
    }

    /// Notes the time and up to when somebody was heard: ends a silence that is over.
    pub(crate) fn look(&mut self, now: Tick, heard: Tick) {
        let Some(since) = self.since else { return };
        let by_cap = since + self.cap;
        // The look may come long after either.
        let ended = if heard > since {
            heard.min(by_cap).min(now)
        } else if now >= by_cap && !planted(Canary::EndlessSilence) {
            by_cap
        } else {
            return;
        };
        self.since = None;
        self.ended = Some(ended);
        self.heard_since = 0;
        self.lasted += ended - since;
    }

    /// A visit found a host last heard at `last`.
    pub(crate) fn saw(&mut self, last: Tick) {
        if self.heard_since < REARM && self.ended.is_some_and(|ended| last > ended) {
            self.heard_since += 1;
        }
    }

    /// Asks for a due host with this effective interval: starts a silence if this is one. Returns whether one lasts.
    pub(crate) fn holds(&mut self, now: Tick, heard: Tick, interval: Tick, rates: &Rates) -> bool {
        if self.since.is_some() {
            return true;
        }
        let quiet = now.saturating_sub(heard);
        let starts = self.expected > 0
            && !planted(Canary::DeafToSilence)
            && self.heard_since >= REARM
            && quiet > interval + interval / 4
            && rates.due(interval) >= self.expected;
        if starts {
            self.since = Some(now);
            self.starts += 1;
        }
        starts
    }

    /// The earliest tick at which a host last heard at `last` may be taken after a silence.
    pub(crate) fn spares_until(&self, last: Tick, interval: Tick, grace: Tick) -> Tick {
        match self.ended {
            Some(ended) if last < ended && !planted(Canary::SparesNobody) => ended + interval + grace,
            _ => 0,
        }
    }

    /// Whether a host may still be held that was due at `due`: for one silence and what it is spared after that.
    pub(crate) fn may_hold(&self, due: Tick, interval: Tick, grace: Tick, now: Tick) -> bool {
        now < due + self.cap + interval + grace || planted(Canary::ForgetfulSilence)
    }

    /// Whether a silence lasts.
    pub(crate) fn lasts(&self) -> bool {
        self.since.is_some()
    }

    /// When a silence that lasts ends at the latest.
    pub(crate) fn ends_by(&self) -> Option<Tick> {
        self.since.filter(|_| !planted(Canary::EndlessSilence)).map(|since| since + self.cap)
    }

    /// How long silences have lasted up to now, in ticks.
    pub(crate) fn lasted(&self, now: Tick) -> Tick {
        self.lasted + self.since.map_or(0, |since| now.saturating_sub(since))
    }

    /// How many silences there were.
    pub(crate) fn starts(&self) -> u64 {
        self.starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Tick = 3_600_000;

    fn fleet(hosts: &[(u64, Tick)]) -> Rates {
        let mut rates = Rates::new();
        for (count, interval) in hosts {
            for _ in 0..*count {
                rates.count(None, Some(Rates::bucket(*interval)));
            }
        }
        rates
    }

    #[test]
    fn buckets_grow_with_the_interval_and_are_narrow() {
        let mut last = 0;
        for interval in (1..100_000).chain([1 << 20, (1 << 31) - 1, 1 << 31, u64::from(u32::MAX), u64::MAX]) {
            let bucket = Rates::bucket(interval);
            assert!(bucket >= last && bucket < BUCKETS);
            let shortest = Rates::shortest(bucket);
            assert!(shortest <= interval, "{interval}");
            if (16..1 << 32).contains(&interval) {
                assert!(interval * 16 < shortest * 17, "{interval} shares a bucket with {shortest}");
            }
            last = bucket;
        }
    }

    #[test]
    fn it_starts_when_twenty_announces_were_due_and_nobody_was_heard() {
        let rates = fleet(&[(16, 10_000)]);
        let mut silence = Silence::new(20, HOUR);
        assert!(!silence.holds(112_500, 100_000, 10_000, &rates), "not yet 1.25 intervals");
        assert!(silence.holds(112_501, 100_000, 10_000, &rates));
        let mut few = Silence::new(20, HOUR);
        assert!(!few.holds(200_000, 100_000, 10_000, &fleet(&[(15, 10_000)])), "15 hosts are too few to tell");
    }

    #[test]
    fn slower_hosts_are_no_witnesses() {
        // 2,000 hosts that all announce in the same second each minute, and one with 1 s that died.
        let rates = fleet(&[(2000, 60_000), (1, 1000)]);
        let mut silence = Silence::new(20, HOUR);
        assert!(!silence.holds(50_000, 2000, 1000, &rates));
        assert!(silence.holds(50_000 + 75_001, 50_000, 60_000, &rates));
    }

    #[test]
    fn it_ends_when_somebody_is_heard_and_spares_who_could_not_be() {
        let rates = fleet(&[(100, 10_000)]);
        let mut silence = Silence::new(20, HOUR);
        assert!(silence.holds(50_000, 20_000, 10_000, &rates));
        silence.look(60_000, 20_000);
        assert!(silence.lasts());
        silence.look(70_000, 70_500);
        assert!(!silence.lasts());
        assert_eq!(silence.spares_until(20_000, 10_000, 5000), 85_000);
        assert_eq!(silence.spares_until(70_000, 10_000, 5000), 0);
        assert_eq!(silence.lasted(99_000), 20_000);
    }

    #[test]
    fn its_end_is_when_somebody_was_heard_and_not_when_somebody_looked() {
        let rates = fleet(&[(100, 10_000)]);
        let mut heard = Silence::new(20, HOUR);
        assert!(heard.holds(50_000, 20_000, 10_000, &rates));
        heard.look(1_000_000, 70_000);
        assert_eq!((heard.spares_until(20_000, 10_000, 5000), heard.lasted(1_000_000)), (85_000, 20_000));
        let mut capped = Silence::new(20, HOUR);
        assert!(capped.holds(50_000, 20_000, 10_000, &rates));
        capped.look(10 * HOUR, 20_000);
        assert_eq!((capped.spares_until(20_000, 10_000, 5000), capped.lasted(10 * HOUR)), (65_000 + HOUR, HOUR));
    }

    #[test]
    fn it_ends_by_its_cap_and_starts_again_only_after_twenty_were_heard() {
        let rates = fleet(&[(100, 10_000)]);
        let mut silence = Silence::new(20, HOUR);
        assert!(silence.holds(50_000, 20_000, 10_000, &rates));
        silence.look(50_000 + HOUR - 1, 20_000);
        assert!(silence.lasts());
        silence.look(50_000 + HOUR, 20_000);
        assert!(!silence.lasts());
        let later = 50_000 + HOUR;
        assert!(!silence.holds(later + 100_000, 20_000, 10_000, &rates));
        for _ in 0..REARM {
            silence.saw(later);
        }
        assert!(!silence.holds(later + 100_000, 20_000, 10_000, &rates), "they were heard before it ended");
        for _ in 0..REARM {
            silence.saw(later + 1);
        }
        assert!(silence.holds(later + 100_000, later + 2, 10_000, &rates));
        assert_eq!(silence.starts(), 2);
    }

    #[test]
    fn it_can_be_switched_off() {
        let mut silence = Silence::new(0, HOUR);
        assert!(!silence.holds(HOUR, 0, 1000, &fleet(&[(1000, 1000)])));
    }
}
