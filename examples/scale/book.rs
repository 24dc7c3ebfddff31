//! The judge: what was told to the wheel of each host, and every leave that came, held against it.
//!
//! It is asked once, when all is over. An announce that was accepted after a leave, or in spite of one, makes that leave a
//! false one; so nothing is lost by judging late.

use std::collections::HashMap;
use std::fmt;

use hostwheel::Stats;

/// One host, which registers once in its life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    pub handle: u64,
    /// When it was heard last, by the system's clock; no later than in truth.
    pub heard_ns: u64,
    /// How far the wheel's clock was behind then, beyond its margin: 0 unless it is the coarse one.
    pub lag_ns: u64,
}

/// A leave, as the consumer was given it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    pub host: u32,
    pub handle: u64,
    pub attempt: u32,
    /// The system's clock when the consumer was called.
    pub at_ns: u64,
    /// How late the event was made by its own account, after the deadline and grace of the record.
    pub lateness_ns: u64,
    /// How long after deadline and grace of the record the consumer was called.
    pub called_after_ns: u64,
}

/// The promises that this program can see broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    NeverFalse,
    NeverMissing,
    NeverDouble,
    Accepted,
    Counted,
}

impl Promise {
    const ALL: [Promise; 5] =
        [Promise::NeverFalse, Promise::NeverMissing, Promise::NeverDouble, Promise::Accepted, Promise::Counted];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::NeverFalse => "false leaves: before last announce, TTL and grace",
            Promise::NeverMissing => "missing leaves: hosts that died and never left",
            Promise::NeverDouble => "double leaves",
            Promise::Accepted => "announces of known hosts that were refused",
            Promise::Counted => "counts of the wheel that are not what happened",
        })
    }
}

/// What the book found.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    breaches: Vec<(Promise, String)>,
    /// Leaves of the doomed, each judged to be right.
    pub right: Vec<Leave>,
    /// Living hosts that left because this program got too little of the machine to announce them in time.
    pub unheard: u64,
}

impl Judgement {
    pub fn kept(&self) -> bool {
        self.breaches.is_empty()
    }

    /// How often each promise was broken, and the first breach in words.
    pub fn breaches(&self) -> impl Iterator<Item = (Promise, usize, Option<&str>)> {
        Promise::ALL.into_iter().map(|promise| {
            let mut of = self.breaches.iter().filter(move |(broken, _)| *broken == promise);
            let first = of.next().map(|(_, words)| words.as_str());
            (promise, of.count() + usize::from(first.is_some()), first)
        })
    }

    fn breach(&mut self, promise: Promise, words: String) {
        self.breaches.push((promise, words));
    }
}

/// Everything that happened to a fleet.
pub struct Book<'a> {
    /// How long after its last announce a host leaves.
    pub lasts_ns: u64,
    /// The doomed, by number.
    pub doomed: HashMap<u32, Life>,
    /// The last that was told of a host that lives on.
    pub living: &'a dyn Fn(u32) -> Life,
    pub hosts: u64,
    /// Announces of the living that were refused.
    pub refused: u64,
    /// Every leave, in the order in which they came.
    pub leaves: &'a [Leave],
    /// The wheel's own account.
    pub stats: &'a Stats,
}

impl Book<'_> {
    pub fn judge(&self) -> Judgement {
        let mut found = Judgement::default();
        let mut gone: HashMap<u32, u32> = HashMap::new();
        for leave in self.leaves {
            let times = gone.entry(leave.host).or_default();
            *times += 1;
            let doomed = self.doomed.get(&leave.host);
            let life = doomed.copied().unwrap_or_else(|| (self.living)(leave.host));
            if *times > 1 || leave.attempt != 1 || leave.handle != life.handle {
                let words = format!("host {}: {:#x}, attempt {}", leave.host, leave.handle, leave.attempt);
                found.breach(Promise::NeverDouble, words);
                continue;
            }
            let early_ns = (life.heard_ns + self.lasts_ns).saturating_sub(leave.at_ns);
            if early_ns > life.lag_ns {
                found.breach(Promise::NeverFalse, format!("host {}: {} us early", leave.host, early_ns.div_ceil(1000)));
            } else if doomed.is_some() {
                found.right.push(*leave);
            } else {
                found.unheard += 1;
            }
        }
        for host in self.doomed.keys().filter(|host| !gone.contains_key(host)) {
            found.breach(Promise::NeverMissing, format!("host {host}"));
        }
        if self.refused > 0 && found.unheard == 0 {
            found.breach(Promise::Accepted, format!("{} of them", self.refused));
        }
        let Stats { registered, left, leaves_ttl, live, rescues, .. } = *self.stats;
        let (told, still) = (self.leaves.len() as u64, self.hosts.saturating_sub(gone.len() as u64));
        if (registered, left, leaves_ttl, live, rescues) != (self.hosts, 0, told, still, 0) {
            let words = format!(
                "{registered} registered of {}, {left} said goodbye of 0, {leaves_ttl} left of {told}, {live} live of {still}, \
                 {rescues} rescued",
                self.hosts
            );
            found.breach(Promise::Counted, words);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS_NS: u64 = 615_000_000_000;
    const HEARD_NS: u64 = 1_000_000_000;

    /// Hosts 0 and 1 are doomed, of 10; their leaves are these. What host `broken` did to them, and the wheel's count of them.
    fn judge(leaves: &[Leave], refused: u64) -> (Vec<Promise>, Judgement) {
        let life = |host: u32| Life { handle: u64::from(host) + 1, heard_ns: HEARD_NS, lag_ns: 0 };
        let mut stats = Stats::default();
        (stats.registered, stats.leaves_ttl) = (10, leaves.len() as u64);
        let mut gone: Vec<u32> = leaves.iter().map(|leave| leave.host).collect();
        gone.sort_unstable();
        gone.dedup();
        stats.live = 10 - gone.len() as u64;
        let doomed = HashMap::from([(0, life(0)), (1, life(1))]);
        let book = Book { lasts_ns: LASTS_NS, doomed, living: &life, hosts: 10, refused, leaves, stats: &stats };
        let found = book.judge();
        let broken = found.breaches().filter(|(_, times, _)| *times > 0).map(|(promise, ..)| promise);
        (broken.collect(), found)
    }

    fn leave(host: u32, after_due_ns: i64) -> Leave {
        let at_ns = (HEARD_NS + LASTS_NS).saturating_add_signed(after_due_ns);
        Leave { host, handle: u64::from(host) + 1, attempt: 1, at_ns, ..Leave::default() }
    }

    #[test]
    fn leaves_of_all_doomed_at_their_time_are_right() {
        let (broken, found) = judge(&[leave(1, 0), leave(0, 9_000_000)], 0);
        assert!(broken.is_empty() && found.kept(), "{found:?}");
        assert_eq!((found.right.len(), found.unheard), (2, 0));
    }

    #[test]
    fn an_early_leave_is_false_whoever_it_is_of() {
        assert_eq!(judge(&[leave(0, 0), leave(1, -1)], 0).0, [Promise::NeverFalse]);
        assert_eq!(judge(&[leave(0, 0), leave(1, 0), leave(5, -1)], 1).0, [Promise::NeverFalse, Promise::Accepted]);
    }

    #[test]
    fn a_leave_may_be_early_by_what_the_coarse_clock_lagged() {
        let leaves = [leave(0, -5)];
        let stats = Stats::default();
        let early = |lag_ns| {
            let doomed = HashMap::from([(0, Life { handle: 1, heard_ns: HEARD_NS, lag_ns })]);
            let living = |_| Life::default();
            let book = Book {
                lasts_ns: LASTS_NS,
                doomed,
                living: &living,
                hosts: 1,
                refused: 0,
                leaves: &leaves,
                stats: &stats,
            };
            book.judge().right.len()
        };
        assert_eq!((early(4), early(5)), (0, 1));
    }

    #[test]
    fn a_host_that_never_leaves_is_missing() {
        assert_eq!(judge(&[leave(0, 0)], 0).0, [Promise::NeverMissing]);
    }

    #[test]
    fn a_second_leave_is_double_and_so_is_one_of_another_incarnation() {
        assert_eq!(judge(&[leave(0, 0), leave(1, 0), leave(1, 7)], 0).0, [Promise::NeverDouble]);
        let other = Leave { handle: 99, ..leave(1, 0) };
        assert_eq!(judge(&[leave(0, 0), other], 0).0, [Promise::NeverDouble]);
        let again = Leave { attempt: 2, ..leave(1, 0) };
        assert_eq!(judge(&[leave(0, 0), again], 0).0, [Promise::NeverDouble]);
    }

    #[test]
    fn a_living_host_that_this_program_did_not_announce_in_time_may_leave() {
        let (broken, found) = judge(&[leave(0, 0), leave(1, 0), leave(7, 1)], 3);
        assert!(broken.is_empty(), "{found:?}");
        assert_eq!(found.unheard, 1);
    }

    #[test]
    fn a_refused_announce_and_a_wrong_count_are_breaches() {
        assert_eq!(judge(&[leave(0, 0), leave(1, 0)], 1).0, [Promise::Accepted]);
        let stats = Stats::default();
        let (doomed, living) = (HashMap::new(), |_| Life::default());
        let book =
            Book { lasts_ns: LASTS_NS, doomed, living: &living, hosts: 1, refused: 0, leaves: &[], stats: &stats };
        let found = book.judge();
        assert_eq!(
            found.breaches().find(|(_, times, _)| *times > 0).map(|(promise, ..)| promise),
            Some(Promise::Counted)
        );
    }
}
