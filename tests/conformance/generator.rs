//! Writes traces: random operations, with the oracle's answers.
//!
//! Each family of traces draws from the operations and settings at which its matter shows within a few lines. Where the
//! rules leave the outcome open (which of several hosts waits), the oracle is asked in both orders, and a time at which
//! they differ is not used.

use std::time::Duration;

use super::runner::{Answer, Names, Subject};
use super::specification::{Order, Specification};
use super::trace::{Expected, Op, Settings, Step, Trace};
use crate::oracle::ceil_ms;

/// Traces of each family.
const EACH: u64 = 27;

/// The most lines of a trace, before its end.
const LINES: usize = 50;

/// What a family of traces is about, and how often it does what: weights of the operations.
struct Family {
    name: &'static str,
    about: &'static str,
    /// Of these, one value is drawn for each trace.
    settings: &'static [(&'static str, &'static [u64])],
    hosts: u64,
    intervals: &'static [u64],
    ages: &'static [u64],
    announce: u64,
    renew: u64,
    leave: u64,
    settle: u64,
    advance: u64,
}

const USUAL: Family = Family {
    name: "",
    about: "",
    settings: &[("grace_ms", &[0, 700, 2000, 15_000])],
    hosts: 5,
    intervals: &[1000, 2500, 10_000, 30_000],
    ages: &[0],
    announce: 4,
    renew: 4,
    leave: 1,
    settle: 5,
    advance: 7,
};

const FAMILIES: [Family; 10] = [
    Family {
        name: "renewals",
        about: "hosts renewed by handle, with and without an age",
        ages: &[0, 0, 0, 1, 400, 3000, 20_000],
        renew: 9,
        ..USUAL
    },
    Family {
        name: "intervals",
        about: "intervals that grow and shrink, and the bounds that they are clamped to",
        settings: &[
            ("grace_ms", &[0, 2000]),
            ("min_interval_ms", &[500, 1000]),
            ("max_interval_ms", &[20_000, 3_000_000]),
        ],
        intervals: &[1, 499, 1000, 1999, 8000, 20_001, 2_097_152, 5_000_000],
        hosts: 3,
        announce: 8,
        ..USUAL
    },
    Family {
        name: "host-ttl",
        about: "hosts that announce without an interval",
        settings: &[("host_ttl_ms", &[2, 9001, 60_000]), ("grace_ms", &[0, 2000, 15_000])],
        intervals: &[0, 0, 0, 5000],
        ..USUAL
    },
    Family {
        name: "ages",
        about: "announces that come late, of hosts in fresh records",
        settings: &[("grace_ms", &[0, 2000, 15_000])],
        intervals: &[1000, 5000, 30_000],
        ages: &[0, 1, 900, 1000, 2000, 3500, 12_000, 61_000, 400_000],
        hosts: 8,
        leave: 0,
        settle: 0,
        announce: 8,
        ..USUAL
    },
    Family {
        name: "pauses",
        about: "an observer that looks late: time in which nobody watched counts against nobody",
        settings: &[
            ("grace_ms", &[0, 700, 2000]),
            ("watchdog_ms", &[300, 1000, 5000]),
            ("min_interval_ms", &[600, 1000]),
        ],
        intervals: &[600, 1000, 1500],
        hosts: 4,
        advance: 12,
        ..USUAL
    },
    Family {
        name: "flapping",
        about: "hosts that come and go: each incarnation has a handle of its own",
        intervals: &[1000, 10_000],
        hosts: 3,
        announce: 7,
        leave: 6,
        ..USUAL
    },
    Family {
        name: "full",
        about: "a table of few records",
        settings: &[("max_hosts", &[1, 2, 3]), ("grace_ms", &[0, 700])],
        intervals: &[1000, 4000],
        announce: 9,
        leave: 2,
        ..USUAL
    },
    Family {
        name: "retries",
        about: "leaves that are answered late, twice, for an old attempt, or not at all",
        settings: &[("grace_ms", &[0, 700]), ("settle_timeout_ms", &[1, 1500, 60_000])],
        intervals: &[1000, 1000, 2000],
        hosts: 3,
        announce: 3,
        renew: 1,
        settle: 9,
        ..USUAL
    },
    Family {
        name: "tight",
        about: "few leaves may be outstanding at a time",
        settings: &[("max_outstanding", &[1, 2, 3]), ("grace_ms", &[0, 700]), ("settle_timeout_ms", &[4000, 60_000])],
        intervals: &[1000, 1700, 2900],
        settle: 7,
        ..USUAL
    },
    Family {
        name: "mixed",
        about: "a bit of everything",
        settings: &[
            ("grace_ms", &[0, 700, 15_000]),
            ("host_ttl_ms", &[4001, 60_000]),
            ("watchdog_ms", &[0, 1000]),
            ("settle_timeout_ms", &[700, 60_000]),
            ("max_hosts", &[4, 4096]),
        ],
        intervals: &[0, 1, 1000, 1001, 5000, 30_000],
        ages: &[0, 0, 0, 0, 1500],
        ..USUAL
    },
];

/// All generated traces, in the order of their names, each with the name of its file.
pub fn all() -> Vec<Trace> {
    let mut families: Vec<&Family> = FAMILIES.iter().collect();
    families.sort_by_key(|family| family.name);
    families.into_iter().flat_map(|family| (1..=EACH).map(move |seed| Author::new(family, seed).write())).collect()
}

/// The text of a generated trace's file.
pub fn file(trace: &Trace) -> String {
    let family = FAMILIES.iter().find(|family| trace.name.starts_with(family.name)).expect("it was generated");
    format!("# Generated by the oracle: {}.\n{trace}", family.about)
}

/// Writes one trace.
struct Author<'a> {
    family: &'a Family,
    random: Random,
    trace: Trace,
    oracle: Specification,
    names: Names,
    bound: Vec<String>,
    /// Leaves that were handed out: handle, attempt.
    told: Vec<(String, u32)>,
    lines: usize,
    now_ms: u64,
}

impl Author<'_> {
    fn new(family: &Family, seed: u64) -> Author<'_> {
        let name = format!("{}-{seed:02}.trace", family.name);
        let mut random = Random::new(&name);
        let mut settings = Settings::default();
        for (setting, values) in family.settings {
            settings.set(setting, random.pick(values)).expect("families name settings of the table");
        }
        let oracle = Specification::new(&settings, Order::OldestFirst);
        let trace = Trace { settings, ..Trace::new(&name) };
        let lines = trace.to_string().lines().count() + 1;
        Author {
            family,
            random,
            trace,
            oracle,
            names: Names::default(),
            bound: Vec::new(),
            told: Vec::new(),
            lines,
            now_ms: 0,
        }
    }

    fn write(mut self) -> Trace {
        let Family { announce, renew, leave, settle, advance, .. } = *self.family;
        while self.lines < LINES {
            match self.random.weighted(&[announce, renew, leave, settle, advance, 1, 1]) {
                0 => self.announce(),
                1 => self.renew(),
                2 => self.leave(),
                3 => self.settle(),
                4 => self.advance(),
                5 => self.look(),
                _ => self.find(),
            }
        }
        self.end()
    }

    /// What is left to be seen at the end.
    fn end(mut self) -> Trace {
        if let Some(handle) = self.some_handle() {
            self.perform(Op::Inspect { handle });
        }
        let look = Op::Advance { to_ms: self.now_ms };
        if self.determined(&look).is_some() {
            self.perform(look);
            self.perform(Op::Stats);
        }
        self.trace
    }

    fn some_id(&mut self) -> Vec<u8> {
        vec![b'a' + self.random.below(self.family.hosts) as u8]
    }

    /// One of the last few handles, most of the time.
    fn some_handle(&mut self) -> Option<String> {
        let count = self.bound.len() as u64;
        let back = if self.random.below(5) == 0 {
            self.random.below(count.max(1))
        } else {
            self.random.below(count.clamp(1, 4))
        };
        self.bound.iter().nth_back(back as usize).cloned()
    }

    fn announce(&mut self) {
        let id = self.some_id();
        let interval_ms = self.random.pick(self.family.intervals);
        let age_ms = self.random.pick(self.family.ages);
        let data = self.random.below(1000);
        self.perform(Op::Announce { id, interval_ms, age_ms, data });
    }

    fn renew(&mut self) {
        let Some(handle) = self.some_handle() else { return };
        let age_ms = self.random.pick(self.family.ages);
        self.perform(Op::Renew { handle, age_ms });
    }

    fn leave(&mut self) {
        match self.some_handle() {
            Some(handle) if self.random.below(2) == 0 => self.perform(Op::LeaveHandle { handle }),
            _ => {
                let id = self.some_id();
                self.perform(Op::Leave { id });
            }
        }
    }

    fn find(&mut self) {
        let id = self.some_id();
        self.perform(Op::Find { id });
    }

    fn look(&mut self) {
        if let Some(handle) = self.some_handle() {
            self.perform(Op::Inspect { handle });
        }
    }

    /// Mostly the last attempt of a leave; now and then an older one, or one that was answered.
    fn settle(&mut self) {
        let count = self.told.len() as u64;
        if count == 0 {
            return;
        }
        let at = (count - 1 - self.random.below(count.min(3))) as usize;
        let (handle, attempt) = self.told[at].clone();
        let attempt = if self.random.below(8) == 0 { attempt + 1 } else { attempt };
        let retry_ms = match self.random.below(6) {
            0 | 1 => Some(0),
            2 => Some(1 + self.random.below(4000)),
            _ => None,
        };
        self.perform(Op::Settle { handle, attempt, retry_ms });
        // A second answer is refused, which is shown often enough.
        if self.random.below(4) > 0 {
            self.told.remove(at);
        }
    }

    /// To the moment when something is due, to just before or after it, or anywhere; where looks can be late, often to when
    /// the next look is planned, or some time after that.
    fn advance(&mut self) {
        let in_ms = |ns| ceil_ms(Duration::from_nanos(ns));
        let due_ms = self.oracle.oracle.due_at_ns().map(in_ms);
        let planned_ms = self.oracle.oracle.time().next_look_ns().map(in_ms).filter(|_| self.random.below(3) > 0);
        let to_ms = if let Some(planned_ms) = planned_ms {
            planned_ms + self.random.below(2) * self.random.below(600)
        } else {
            match (self.random.below(6), due_ms) {
                (0..=2, Some(due_ms)) => due_ms,
                (3, Some(due_ms)) => due_ms.saturating_sub(1),
                (4, Some(due_ms)) => due_ms + 1 + self.random.below(2000),
                (0..=2, None) => self.now_ms + 1,
                _ => self.now_ms + 1 + self.random.below(12_000),
            }
        };
        let op = Op::Advance { to_ms: to_ms.max(self.now_ms) };
        let Some(lines) = self.determined(&op) else { return };
        if self.lines + lines > LINES {
            return self.lines = LINES;
        }
        self.now_ms = to_ms.max(self.now_ms);
        self.perform(op);
        if self.random.below(8) == 0 {
            self.perform(Op::Stats);
        }
    }

    /// How many lines the advance takes, if its events do not depend on who comes first.
    fn determined(&self, op: &Op) -> Option<usize> {
        let in_order = |order| {
            let mut events = self.oracle.in_order(order).perform(op, &self.names).events;
            events.sort_by(|a, b| (&a.word, a.handle).cmp(&(&b.word, b.handle)));
            events
        };
        let (one, other) = (in_order(Order::OldestFirst), in_order(Order::NewestFirst));
        (one == other).then_some(1 + one.len())
    }

    /// Has the oracle answer, and writes down operation and answer.
    fn perform(&mut self, op: Op) {
        let answer = self.oracle.perform(&op, &self.names);
        if answer.word == "registered" {
            let name = format!("h{}", self.bound.len() + 1);
            self.names.bind(&name, answer.handle.expect("of a host")).expect("incarnations are numbered");
            self.bound.push(name);
        }
        for event in answer.events.iter().filter(|event| event.word == "leave") {
            let attempt = event.fields.iter().find(|(key, _)| *key == "attempt").expect("every event has one");
            let name = self.names.name(event.handle.expect("of a host")).expect("it registered").to_owned();
            self.told.push((name, attempt.1.parse().expect("a number")));
        }
        let events = answer.events.iter().map(|event| self.expected(event)).collect();
        let step = Step { op, answer: self.expected(&answer), events };
        self.lines += 1 + step.events.len();
        self.trace.steps.push(step);
    }

    fn expected(&self, answer: &Answer) -> Expected {
        let name = answer.handle.map(|handle| self.names.name(handle).expect("it registered").to_owned());
        let fields = answer.fields.iter().filter(|(key, _)| *key != "waiting");
        let fields = fields.map(|(key, value)| ((*key).to_owned(), value.clone()));
        let fields = name.map(|name| ("handle".to_owned(), name)).into_iter().chain(fields).collect();
        Expected { line: 0, word: answer.word.clone(), fields }
    }
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): the same numbers for the same name, for ever.
struct Random(u64);

impl Random {
    fn new(name: &str) -> Random {
        Random(name.bytes().fold(0, |seed, byte| seed.rotate_left(7) ^ u64::from(byte)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn pick(&mut self, of: &[u64]) -> u64 {
        of[self.below(of.len() as u64) as usize]
    }

    /// The place of one of the weights, drawn by them.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut drawn = self.below(weights.iter().sum());
        weights
            .iter()
            .position(|weight| drawn.checked_sub(*weight).map(|rest| drawn = rest).is_none())
            .expect("below the sum")
    }
}
