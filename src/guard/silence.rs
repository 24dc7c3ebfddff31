//! Silence: when no host at all is heard, it is not all the hosts that died.
//!
//! **A quiet time is suspicious when this fleet has not been quiet for so long before.** The observer learns the fleet's
//! longest gap between two hearings, over the last two intervals of the slowest host ([`Gaps`]). Silence begins when a leave is
//! due and the quiet time exceeds that gap by a margin: a quarter of it, at least one granule of hearing, at most half of the
//! due host's grace. And 20 announces (configurable) must have been due in that time, by the hosts' own last announces
//! ([`Witnesses`]): a rate would count a burst that is yet to come. So a fleet that announces in bursts does not trigger it. A
//! fleet of many phases triggers it within seconds, before its first host is due.
//!
//! Until the observer has seen a full window, and where the first rule comes too late for the host that is due, a second one
//! suffices: the quiet time is longer than that host's interval and a quarter of it, or half of its grace if that is less, and 20
//! announces are due in 1.25 intervals by hosts of that interval or a shorter one. Each of those announces at least once in an
//! interval, whatever its phase, so a healthy fleet does not trigger it either.
//!
//! A fleet whose hosts are answered for when they are suspected, by news of earlier, does not keep its intervals: for a window
//! after such an answer the second rule stands alone.
//!
//! While silence lasts no host leaves, at most one host TTL. It ends when a host is heard. After it ended at tick S, a host last
//! heard before S is not taken before S + its effective interval + grace: it has had no chance to be heard yet. Silence can
//! start again once [`REARM`] visits have found hosts that were heard after S, so one that ended by its cap does not start over.
//!
//! The cap bounds one silence; what bounds them all is that a host is held no longer by any number of them
//! ([`Silence::may_hold`]). Otherwise hosts that died together in a fleet that announces in bursts would each time be the
//! witnesses for another one: the living are heard between two of them, and are silent long enough.
//!
//! A wrong silence costs a dead host that leaves later; a missing one costs the fleet. Where fewer than 20 announces of all hosts
//! are due before the first host leaves, silence cannot help.

use std::collections::{BinaryHeap, VecDeque};

use crate::canary::{Canary, planted};
use crate::clock::Gap;
use crate::tick::Tick;

/// Visits that must find hosts heard since, before another silence can start.
const REARM: u32 = 20;

/// Intervals are counted in buckets 1/16 of an octave wide, so hosts in one bucket differ by less than 6.3 %.
const STEPS_LOG2: u32 = 4;
const BUCKETS: usize = 33 << STEPS_LOG2;

/// Parts of an announce that rates are counted by, as a power of two.
const RATE_LOG2: u32 = 48;

/// Hosts by interval, and how often all of them announce.
#[derive(Debug)]
pub(crate) struct Rates {
    hosts: Box<[u64; BUCKETS]>,
    /// Announces per tick, in parts.
    all: u128,
}

impl Rates {
    pub(crate) fn new() -> Rates {
        Rates { hosts: Box::new([0; BUCKETS]), all: 0 }
    }

    /// The bucket of an effective interval.
    fn bucket(interval: Tick) -> usize {
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

    fn rate(interval: Tick) -> u128 {
        (1 << RATE_LOG2) / u128::from(interval.max(1))
    }

    /// Counts a host by another effective interval than before; `None`: not at all.
    pub(crate) fn count(&mut self, from: Option<Tick>, to: Option<Tick>) {
        if let Some(from) = from {
            self.hosts[Self::bucket(from)] -= 1;
            self.all -= Self::rate(from);
        }
        if let Some(to) = to {
            self.hosts[Self::bucket(to)] += 1;
            self.all += Self::rate(to);
        }
    }

    /// All hosts that are counted.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> u64 {
        self.hosts.iter().sum()
    }

    fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The interval of the slowest host, rounded up to the next bucket's; 0 without hosts.
    fn slowest(&self) -> Tick {
        self.hosts.iter().rposition(|hosts| *hosts > 0).map_or(0, |bucket| Self::shortest(bucket + 1))
    }

    /// Announces of all hosts that are due in a time, on average.
    fn due(&self, time: Tick) -> u64 {
        u64::try_from((self.all * u128::from(time) + (1 << (RATE_LOG2 - 1))) >> RATE_LOG2).unwrap_or(u64::MAX)
    }

    /// Announces due within 1.25 x `interval` by hosts with that interval or a shorter one.
    fn due_by(&self, interval: Tick) -> u64 {
        let time = interval + interval / 4;
        let upto = if planted(Canary::SlowWitnesses) { BUCKETS - 1 } else { Self::bucket(interval) };
        let buckets = self.hosts[..=upto].iter().enumerate().filter(|(_, hosts)| **hosts > 0);
        let due = buckets.map(|(bucket, hosts)| {
            // Of the host's own bucket every interval counts as the host's own.
            let each = if bucket == upto { interval } else { Self::shortest(bucket) };
            u128::from(*hosts) * u128::from(time) / u128::from(each)
        });
        u64::try_from(due.sum::<u128>()).unwrap_or(u64::MAX)
    }
}

/// The longest gaps between two hearings, by when they ended: a queue whose lengths decrease. When it is full, a new gap counts
/// as one of the last one's length, which errs on the long side.
#[derive(Debug)]
struct Gaps {
    ends: VecDeque<(Tick, Tick)>,
}

impl Gaps {
    const KEPT: usize = 32;

    fn new() -> Gaps {
        Gaps { ends: VecDeque::with_capacity(Self::KEPT) }
    }

    fn push(&mut self, end: Tick, length: Tick) {
        while self.ends.back().is_some_and(|(_, shorter)| *shorter <= length) {
            self.ends.pop_back();
        }
        if self.ends.len() < Self::KEPT {
            self.ends.push_back((end, length));
        } else if let Some(last) = self.ends.back_mut() {
            last.0 = end;
        }
    }

    /// Forgets gaps that ended before `since`.
    fn forget(&mut self, since: Tick) {
        while self.ends.front().is_some_and(|(end, _)| *end < since) {
            self.ends.pop_front();
        }
    }

    /// The longest gap that ended at `since` or later.
    fn longest(&self, since: Tick) -> Tick {
        self.ends.iter().find(|(end, _)| *end >= since).map_or(0, |(_, length)| *length)
    }
}

/// The first announces that were due in a quiet time, by the hosts' own last announces.
#[derive(Debug)]
pub(crate) struct Witnesses {
    /// When the quiet time began.
    since: Tick,
    /// They matter if they are complete by then.
    by: Tick,
    expected: usize,
    /// The earliest ones, as many as are expected.
    due: BinaryHeap<Tick>,
}

impl Witnesses {
    fn new(expected: u32) -> Witnesses {
        let expected = expected as usize;
        Witnesses { since: 0, by: 0, expected, due: BinaryHeap::with_capacity(expected.min(1024) + 1) }
    }

    /// Adds the announces that a living host owes since the quiet time began. A host that was overdue before that owes none.
    pub(crate) fn add(&mut self, last: Tick, interval: Tick) {
        let mut due = last + interval.max(1);
        if due < self.since {
            return;
        }
        while self.due.len() < self.expected || self.due.peek().is_some_and(|latest| due < *latest) {
            if self.due.try_reserve(1).is_err() {
                // More are expected than there is memory for: silence begins later.
                return;
            }
            self.due.push(due);
            if self.due.len() > self.expected {
                self.due.pop();
            }
            due += interval.max(1);
        }
    }

    /// Whether as many as are expected were due in time. More hosts change nothing then.
    pub(crate) fn suffice(&self) -> bool {
        self.complete_at().is_some_and(|at| at <= self.by)
    }

    /// When the last of those that are expected is due; `None` if there are too few.
    fn complete_at(&self) -> Option<Tick> {
        self.due.peek().copied().filter(|_| self.due.len() == self.expected)
    }
}

/// What the quiet time says before a host is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Silence lasts.
    Silent,
    /// It is no longer than usual.
    Usual,
    /// It is longer than usual: ask the hosts ([`Silence::witnesses`]).
    Unusual,
}

/// A host that is due to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Its effective interval.
    pub(crate) interval: Tick,
    /// Its effective grace.
    pub(crate) grace: Tick,
    /// The tick at which it was due.
    pub(crate) at: Tick,
}

/// Whether the scheduler is cut off.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Announces that must have been due; 0 switches the guard off.
    expected: u64,
    /// The longest silence: one host TTL.
    cap: Tick,
    /// The granule of hearing.
    granule: Tick,
    gaps: Gaps,
    /// Since when gaps are learned; `None` while no host is counted.
    learns_since: Option<Tick>,
    /// A gap that began before this is not the fleet's: the observer was away, or silence lasted.
    learns_from: Tick,
    /// When a suspect was last trusted again by news of earlier; 0: never.
    vouched_at: Tick,
    witnesses: Witnesses,
    /// The quiet time that the witnesses were asked about, by its beginning, and when they are complete.
    asked: Option<(Tick, Tick)>,
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
    pub(crate) fn new(expected: u32, cap: Tick, granule: Tick) -> Silence {
        Silence {
            expected: u64::from(expected),
            cap,
            granule,
            gaps: Gaps::new(),
            learns_since: None,
            learns_from: 0,
            vouched_at: 0,
            witnesses: Witnesses::new(expected),
            asked: None,
            since: None,
            ended: None,
            heard_since: REARM,
            lasted: 0,
            starts: 0,
        }
    }

    /// Notes the time and up to when a host was heard: ends a silence that is over.
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
        self.learns_from = self.learns_from.max(ended);
    }

    /// The observer was away until `now`: the gap of that time is its own.
    pub(crate) fn was_away(&mut self, now: Tick) {
        self.learns_from = self.learns_from.max(now);
    }

    /// Notes when a suspect was last trusted again by news of earlier.
    pub(crate) fn vouched(&mut self, at: Tick) {
        self.vouched_at = at;
    }

    /// Learns the longest gap between two hearings since the look before. Call after [`look`](Self::look).
    pub(crate) fn learn(&mut self, now: Tick, gap: Option<Gap>, rates: &Rates) {
        if rates.is_empty() {
            self.learns_since = None;
            return;
        }
        let since = *self.learns_since.get_or_insert(now);
        let Some(Gap { start, length }) = gap else { return };
        let own = start < self.learns_from.max(since) && !planted(Canary::LearnsSilence);
        if !own && rates.due(length) >= self.expected {
            self.gaps.forget(now.saturating_sub(self.cap));
            self.gaps.push(start + length, length);
        }
    }

    /// A visit found a host last heard at `last`.
    pub(crate) fn saw(&mut self, last: Tick) {
        if self.heard_since < REARM && self.ended.is_some_and(|ended| last > ended) {
            self.heard_since += 1;
        }
    }

    /// Judges the quiet time for a due host: starts a silence if this is one.
    pub(crate) fn ask(&mut self, now: Tick, heard: Tick, due: Due, rates: &Rates) -> Quiet {
        if self.since.is_some() {
            return Quiet::Silent;
        }
        if self.expected == 0 || self.heard_since < REARM || planted(Canary::DeafToSilence) {
            return Quiet::Usual;
        }
        let quiet = now.saturating_sub(heard);
        if self.is_late(quiet, due, rates) {
            return self.start(now);
        }
        if !self.is_new(now, quiet, due, rates) {
            return Quiet::Usual;
        }
        match self.asked {
            Some((asked, complete_at)) if asked == heard => self.weigh(now, due, complete_at),
            _ => Quiet::Unusual,
        }
    }

    /// When the witnesses must be complete: now, and before the host was due. (A small fleet whose dead wait for the brake owes
    /// more and more announces.)
    fn complete_by(now: Tick, due: Due) -> Tick {
        (now - 1).min(due.at)
    }

    fn weigh(&mut self, now: Tick, due: Due, complete_at: Tick) -> Quiet {
        if complete_at <= Self::complete_by(now, due) { self.start(now) } else { Quiet::Usual }
    }

    fn start(&mut self, now: Tick) -> Quiet {
        self.since = Some(now);
        self.starts += 1;
        Quiet::Silent
    }

    /// The empty list of witnesses, to which the caller adds all living hosts, or enough of them. For [`Quiet::Unusual`].
    pub(crate) fn witnesses(&mut self, now: Tick, heard: Tick, due: Due) -> &mut Witnesses {
        self.witnesses.due.clear();
        self.witnesses.since = heard.saturating_sub(self.granule);
        self.witnesses.by = Self::complete_by(now, due);
        &mut self.witnesses
    }

    /// All witnesses were added: starts a silence if they say so. What they say holds until a host is heard.
    pub(crate) fn judge(&mut self, now: Tick, heard: Tick, due: Due) -> Quiet {
        let complete_at = self.witnesses.complete_at().unwrap_or(Tick::MAX);
        self.asked = Some((heard, complete_at));
        self.weigh(now, due, complete_at)
    }

    /// Whether the fleet has not been quiet for so long before.
    fn is_new(&self, now: Tick, quiet: Tick, due: Due, rates: &Rates) -> bool {
        let window = (2 * rates.slowest()).min(self.cap);
        let seen = self.learns_since.is_some_and(|since| since + window <= now) || planted(Canary::HastyLearner);
        let vouched = self.vouched_at != 0 && self.vouched_at + window > now;
        if !seen || vouched || planted(Canary::LearnsNothing) {
            return false;
        }
        let longest = if planted(Canary::ForgottenGaps) { 0 } else { self.gaps.longest(now.saturating_sub(window)) };
        let margin = (longest / 4).clamp(self.granule, (due.grace / 2).max(self.granule));
        // A rate is an average: half of what is expected will do.
        quiet > longest + margin && rates.due(quiet) >= self.expected / 2
    }

    /// Whether hosts like the one that is due have had to announce, and none has.
    fn is_late(&self, quiet: Tick, due: Due, rates: &Rates) -> bool {
        let grace = if planted(Canary::LateSilence) { Tick::MAX } else { due.grace / 2 };
        let margin = (due.interval / 4).min(grace.max(self.granule));
        quiet > due.interval + margin && rates.due_by(due.interval) >= self.expected
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

    /// Since when a silence lasts.
    pub(crate) fn since(&self) -> Option<Tick> {
        self.since
    }

    /// When the last silence ended.
    pub(crate) fn ended(&self) -> Option<Tick> {
        self.ended
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
mod tests;
