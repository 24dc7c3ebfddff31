//! The oracle: what the library promises on a manual clock, written as plainly as possible.
//!
//! One ordered map of hosts and one loop over all of them per question; no wheel, no hints, no atomics, nothing of the
//! library's. It is the specification that property tests, the simulation, fuzzing and conformance traces compare
//! implementations with, in whatever language; so it speaks in plain numbers of its own.
//!
//! # How to use it
//!
//! Tell it each operation; it answers what the operation must return. After each [`Oracle::advance`] it knows which events
//! [may come next](Oracle::may_come). Which of several comes first is the implementation's choice, so events are compared
//! as sets: hand each event that came to [`Oracle::came`], answer it with [`Oracle::answer`] if it was a leave in a
//! callback, and at the end ask [`Oracle::overdue`], which must be empty. Or let [`Oracle::predict`] do all that.
//!
//! # What it leaves open, and why
//!
//! - *Which of several due hosts waits* when the queue is full or `max_outstanding` is reached: any. `may_come` holds all
//!   of them while there is room, and none when there is not.
//! - *The lateness of a host that was overdue when it registered*, was heard while it waited for room, and is due again.
//! - *Whether a leave is superseded* by an incarnation that leaves in the same advance: it depends on who is looked at first.
//! - *When a host counts that was registered with an age in a record that another host had before:* at its own time or,
//!   in order that no word repeats, later, but never after now. See [`Oracle::counts_from`].
//!
//! Times are milliseconds since the wheel was opened, negative for ages that reach back before that; the clock itself and
//! lateness are in nanoseconds. Incarnations are numbered from 1 in the order in which they registered; that stands for
//! the handle.

#![allow(dead_code, missing_docs)]

mod delivery;
mod rules;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use rules::{Rules, back_off_ms, ceil_ms};
pub use time::ObservedTime;

/// What an announce did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Registered,
    Renewed,
    Recovered,
}

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    IdLength,
    Full,
    Closed,
    NotFound,
    Stale,
    Taken,
    Mode,
    Attempt,
}

/// The answer to an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub incarnation: u64,
    pub outcome: Outcome,
    pub interval_ms: u64,
    pub clamped: bool,
    /// It registered with a greater age than any host can have.
    pub age_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Suspect,
    Recovered,
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Ttl,
    HostTtl,
}

/// The consumer's answer to a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Retry(Duration),
}

/// All that an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    pub reason: Reason,
    pub attempt: u32,
    pub superseded: bool,
    pub incarnation: u64,
    pub id: Vec<u8>,
    pub user_data: u64,
    /// 0: none.
    pub interval_ms: u64,
    pub last_seen_ms: u64,
    pub deadline_ms: u64,
    pub now_ms: u64,
    pub lateness_ns: u64,
    pub away_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Suspect,
    /// Handed out as a leave.
    Taken,
}

/// What an inspection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    pub interval_ms: u64,
    pub last_seen_ms: u64,
    pub age_ms: u64,
    pub deadline_ms: u64,
    pub leaves_at_ms: u64,
    pub user_data: u64,
}

/// One host of a walk over all that are known and not handed out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    pub id: Vec<u8>,
    pub incarnation: u64,
    pub interval_ms: u64,
    pub age_ms: u64,
    pub suspect: bool,
    pub user_data: u64,
}

/// Counters since the opening, and counts at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub live: u64,
    pub suspect: u64,
    pub outstanding: u64,
    pub registered: u64,
    pub left: u64,
    pub leaves_ttl: u64,
    pub leaves_host_ttl: u64,
    pub suspects: u64,
    pub recoveries: u64,
    pub retries: u64,
    pub superseded: u64,
    pub clamps: u64,
    /// The peak of hosts known at a time, those included that left since the last advance.
    pub records: u64,
}

/// The incarnation that a replacement ended, and its user data.
pub type Ended = Option<(u64, u64)>;

/// Where the answer to a leave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the callback.
    Asked,
    /// In the queue, where it does not age.
    Queued,
    /// With the consumer; handed out again at this time.
    Out(i64),
    /// Answered; acted upon at the next advance.
    Answered(Verdict),
    /// Handed out again at this time.
    Retry(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Live,
    Suspect,
    /// Said goodbye; its record comes back at an advance.
    Left,
    Taken {
        attempt: u32,
        phase: Phase,
    },
}

/// Whether the host was overdue when it registered, because of its age: nobody is late who could not be in time, so its
/// events are not, until an advance sees it in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Born {
    InTime,
    Late,
    /// It waited for room meanwhile: when it was seen in time is open, and so is its lateness.
    Open,
}

#[derive(Clone, Debug)]
struct Host {
    id: Vec<u8>,
    user_data: u64,
    last_ms: i64,
    interval_ms: u64,
    stage: Stage,
    /// Its suspect event came and was not followed by a recovered event.
    suspected: bool,
    /// An advance happened since it registered.
    looked_at: bool,
    born: Born,
}

/// The earliest time that a last announce can have: ages beyond are cut.
const DAWN_MS: i64 = -(1 << 32);

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Oracle {
    rules: Rules,
    time: ObservedTime,
    hosts: BTreeMap<u64, Host>,
    /// The drained events, oldest first, a batch per advance: within a batch the order is free.
    queue: VecDeque<Vec<Event>>,
    counts: Counts,
    closed: bool,
}

impl Oracle {
    pub fn new(rules: Rules) -> Oracle {
        Oracle {
            time: ObservedTime::new(rules.watchdog_ms, rules.min_interval_ms),
            rules,
            hosts: BTreeMap::new(),
            queue: VecDeque::new(),
            counts: Counts::default(),
            closed: false,
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn time(&self) -> &ObservedTime {
        &self.time
    }

    /// Announces by id.
    pub fn announce(
        &mut self,
        id: &[u8],
        interval: Duration,
        age: Duration,
        user_data: u64,
    ) -> Result<Announced, Refusal> {
        if id.is_empty() || id.len() > 1024 {
            return Err(Refusal::IdLength);
        }
        if self.closed {
            return Err(Refusal::Closed);
        }
        let (interval_ms, clamped) = self.rules.take_interval(interval);
        let (incarnation, outcome) = match self.incarnation_of(id) {
            Some(incarnation) => (incarnation, self.hear(incarnation, Some(interval_ms), age)),
            None => (self.register(id, interval_ms, age, user_data)?, Outcome::Registered),
        };
        self.counts.clamps += u64::from(clamped);
        let oldest_ms = (self.time.stamp() - DAWN_MS - 1) as u128;
        let age_cut = outcome == Outcome::Registered && age.as_millis() > oldest_ms;
        let interval_ms = self.rules.effective_interval_ms(interval_ms);
        Ok(Announced { incarnation, outcome, interval_ms, clamped, age_cut })
    }

    fn register(&mut self, id: &[u8], interval_ms: u64, age: Duration, user_data: u64) -> Result<u64, Refusal> {
        if self.hosts.values().filter(|host| host.stage != Stage::Left).count() >= self.rules.max_hosts {
            return Err(Refusal::Full);
        }
        let overdue = age.as_millis() >= u128::from(self.rules.ttl_ms(interval_ms));
        self.counts.registered += 1;
        let incarnation = self.counts.registered;
        let last_ms = self.heard_at(age).max(DAWN_MS + 1);
        let host = Host {
            id: id.to_vec(),
            user_data,
            last_ms,
            interval_ms,
            stage: Stage::Live,
            suspected: false,
            looked_at: false,
            born: if overdue { Born::Late } else { Born::InTime },
        };
        self.hosts.insert(incarnation, host);
        self.counts.records = self.counts.records.max(self.hosts.len() as u64);
        Ok(incarnation)
    }

    /// Ends the known incarnation of a host, and begins another one. Returns that one, and the one that ended with its user data.
    pub fn replace(&mut self, id: &[u8], interval: Duration, user_data: u64) -> Result<(Announced, Ended), Refusal> {
        if self.closed && (1..=1024).contains(&id.len()) {
            return Err(Refusal::Closed);
        }
        let ended = match self.find(id) {
            Ok(incarnation) => Some((incarnation, self.leave_incarnation(incarnation)?)),
            Err(Refusal::NotFound) => None,
            Err(refusal) => return Err(refusal),
        };
        Ok((self.announce(id, interval, Duration::ZERO, user_data)?, ended))
    }

    /// Announces by incarnation; the interval stays.
    pub fn renew(&mut self, incarnation: u64, age: Duration) -> Result<Outcome, Refusal> {
        self.living(incarnation)?;
        Ok(self.hear(incarnation, None, age))
    }

    /// What an announce does to a host that is known.
    fn hear(&mut self, incarnation: u64, interval_ms: Option<u64>, age: Duration) -> Outcome {
        let (stamp, now) = (self.heard_at(age), self.time.stamp());
        let rules = self.rules.clone();
        let host = self.hosts.get_mut(&incarnation).expect("the caller found it");
        // News from before the last announce changes nothing: what came later knew better. An age below a millisecond is
        // none.
        if age.as_millis() == 0 || stamp >= host.last_ms {
            host.last_ms = host.last_ms.max(stamp);
            host.interval_ms = interval_ms.unwrap_or(host.interval_ms);
        }
        if host.stage == Stage::Suspect && host.deadline_ms(&rules) > now {
            host.stage = Stage::Live;
            return Outcome::Recovered;
        }
        Outcome::Renewed
    }

    /// A host says goodbye.
    pub fn leave(&mut self, id: &[u8]) -> Result<u64, Refusal> {
        if id.is_empty() || id.len() > 1024 {
            return Err(Refusal::IdLength);
        }
        if self.closed {
            return Err(Refusal::Closed);
        }
        let incarnation = self.incarnation_of(id).ok_or(Refusal::NotFound)?;
        self.leave_incarnation(incarnation)
    }

    pub fn leave_incarnation(&mut self, incarnation: u64) -> Result<u64, Refusal> {
        self.living(incarnation)?;
        self.counts.left += 1;
        let host = self.hosts.get_mut(&incarnation).expect("it lives");
        host.stage = Stage::Left;
        Ok(host.user_data)
    }

    pub fn find(&self, id: &[u8]) -> Result<u64, Refusal> {
        if id.is_empty() || id.len() > 1024 {
            return Err(Refusal::IdLength);
        }
        self.incarnation_of(id).ok_or(Refusal::NotFound)
    }

    pub fn inspect(&self, incarnation: u64) -> Result<Status, Refusal> {
        let host = self.hosts.get(&incarnation).ok_or(Refusal::Stale)?;
        let state = match host.stage {
            Stage::Live => State::Live,
            Stage::Suspect => State::Suspect,
            Stage::Taken { .. } => State::Taken,
            Stage::Left => return Err(Refusal::Stale),
        };
        Ok(Status {
            state,
            interval_ms: host.interval_ms,
            last_seen_ms: since_open(host.last_ms),
            age_ms: since_open(self.time.tick() - host.last_ms),
            deadline_ms: since_open(host.deadline_ms(&self.rules)),
            leaves_at_ms: since_open(host.leaves_at_ms(&self.rules)),
            user_data: host.user_data,
        })
    }

    /// All hosts that are known and not handed out, in no particular order.
    pub fn each(&self) -> Vec<View> {
        let living = self.hosts.iter().filter(|(_, host)| host.is_alive());
        let view = |(incarnation, host): (&u64, &Host)| View {
            id: host.id.clone(),
            incarnation: *incarnation,
            interval_ms: host.interval_ms,
            age_ms: since_open(self.time.tick() - host.last_ms),
            suspect: host.stage == Stage::Suspect,
            user_data: host.user_data,
        };
        living.map(view).collect()
    }

    /// The counters as they are right after an advance.
    pub fn counts(&self) -> Counts {
        let count = |test: fn(&Host) -> bool| self.hosts.values().filter(|host| test(host)).count() as u64;
        Counts {
            live: count(Host::is_alive),
            suspect: count(|host| host.stage == Stage::Suspect),
            outstanding: self.outstanding() as u64,
            ..self.counts.clone()
        }
    }

    /// Everything is refused from now on, and nothing is handed out; look-ups still work.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The time of an announce heard `age` ago.
    fn heard_at(&self, age: Duration) -> i64 {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.time.stamp().saturating_sub(age_ms).max(DAWN_MS)
    }

    fn incarnation_of(&self, id: &[u8]) -> Option<u64> {
        self.hosts.iter().find(|(_, host)| host.is_alive() && host.id == id).map(|(incarnation, _)| *incarnation)
    }

    fn living(&self, incarnation: u64) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        match self.hosts.get(&incarnation) {
            Some(host) if host.is_alive() => Ok(()),
            Some(host) if matches!(host.stage, Stage::Taken { .. }) => Err(Refusal::Taken),
            _ => Err(Refusal::Stale),
        }
    }

    fn outstanding(&self) -> usize {
        self.hosts.values().filter(|host| matches!(host.stage, Stage::Taken { .. })).count()
    }

    /// The host's record comes back.
    fn forget(&mut self, incarnation: u64) {
        self.hosts.remove(&incarnation);
    }
}

impl Host {
    fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Suspect)
    }

    fn deadline_ms(&self, rules: &Rules) -> i64 {
        self.last_ms + rules.ttl_ms(self.interval_ms) as i64
    }

    fn leaves_at_ms(&self, rules: &Rules) -> i64 {
        self.deadline_ms(rules) + rules.grace_of_ms(self.interval_ms) as i64
    }

    fn reason(&self) -> Reason {
        if self.interval_ms == 0 { Reason::HostTtl } else { Reason::Ttl }
    }
}

fn since_open(ms: i64) -> u64 {
    ms.max(0) as u64
}
