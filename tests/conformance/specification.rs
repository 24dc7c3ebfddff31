//! The oracle as a subject of traces. It writes the generated ones, and checks those by hand.

use std::collections::VecDeque;
use std::time::Duration;

use super::runner::{Answer, Names, Subject};
use super::trace::{Op, Settings, hex};
use crate::oracle::{Event, Kind, Oracle, Outcome, Reason, Refusal, Rules, State, Status, Verdict};

/// Which of several events comes first where that is free. A trace must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// The oracle, and what it has queued and not drained.
#[derive(Clone)]
pub struct Specification {
    pub oracle: Oracle,
    order: Order,
    queued: VecDeque<Event>,
}

/// The oracle that lets the newest host come first.
pub struct Reversed(Specification);

const FEATURES: &[&str] = &["queue", "callback", "replace"];

fn rules_of(settings: &Settings) -> Rules {
    let count = |name| usize::try_from(settings.get(name)).expect("64 bits");
    Rules {
        host_ttl_ms: settings.get("host_ttl_ms"),
        grace_ms: settings.get("grace_ms"),
        min_interval_ms: settings.get("min_interval_ms"),
        max_interval_ms: settings.get("max_interval_ms"),
        watchdog_ms: settings.get("watchdog_ms"),
        settle_timeout_ms: settings.get("settle_timeout_ms"),
        max_hosts: count("max_hosts"),
        max_outstanding: count("max_outstanding"),
        drained: settings.get("callback") == 0,
    }
}

impl Specification {
    pub fn new(settings: &Settings, order: Order) -> Specification {
        Specification { oracle: Oracle::new(rules_of(settings)), order, queued: VecDeque::new() }
    }

    /// The same, with another order of events from now on.
    pub fn in_order(&self, order: Order) -> Specification {
        Specification { order, ..self.clone() }
    }

    /// Lets come what may, while there is room, and returns it.
    fn make(&mut self, to_ms: u64) -> Result<Vec<Event>, Refusal> {
        self.oracle.advance(ms(to_ms))?;
        let mut made = Vec::new();
        loop {
            let may_come = self.oracle.may_come();
            let next = match self.order {
                Order::OldestFirst => may_come.first(),
                Order::NewestFirst => may_come.last(),
            };
            let Some(event) = next.cloned() else { break };
            self.oracle.came(&event).expect("it may come");
            if !self.oracle.rules().drained {
                self.oracle.answer(&event, Verdict::Done);
            }
            made.push(event);
        }
        assert_eq!(self.oracle.overdue(), []);
        Ok(made)
    }

    fn drain(&mut self) -> Vec<Event> {
        let mut drained = Vec::new();
        while let Some(event) = self.queued.pop_front() {
            // Only now it is decided whether the id has come back.
            let told = [false, true].map(|superseded| Event { superseded, ..event.clone() });
            drained.push(told.into_iter().find(|event| self.oracle.was_drained(event).is_ok()).expect("it was queued"));
        }
        drained
    }

    fn advance(&mut self, to_ms: u64) -> Answer {
        let mut all = Vec::new();
        loop {
            match self.make(to_ms) {
                Err(refusal) => return Answer::refused(refusal),
                Ok(made) if made.is_empty() => return told(all),
                Ok(made) if self.oracle.rules().drained => {
                    self.queued.extend(made);
                    all.extend(self.drain());
                }
                Ok(made) => all.extend(made),
            }
        }
    }
}

impl Subject for Specification {
    const FEATURES: &'static [&'static str] = FEATURES;

    fn open(settings: &Settings) -> Result<Specification, Answer> {
        let contradictory = settings.get("min_interval_ms") > settings.get("max_interval_ms");
        if contradictory { Err(Answer::new("error:config")) } else { Ok(Self::new(settings, Order::OldestFirst)) }
    }

    fn perform(&mut self, op: &Op, names: &Names) -> Answer {
        let oracle = &mut self.oracle;
        match op {
            Op::Announce { id, interval_ms, age_ms, data } => {
                answer(oracle.announce(id, ms(*interval_ms), ms(*age_ms), *data), |announced| {
                    Answer::new(outcome(announced.outcome))
                        .of(announced.incarnation)
                        .with("interval", announced.interval_ms)
                        .with("clamped", u8::from(announced.clamped))
                })
            }
            Op::Renew { handle, age_ms } => {
                answer(oracle.renew(names.handle(handle), ms(*age_ms)), |renewed| Answer::new(outcome(renewed)))
            }
            Op::Replace { id, interval_ms, data } => {
                answer(oracle.replace(id, ms(*interval_ms), *data), |(announced, ended)| {
                    Answer::new(outcome(announced.outcome))
                        .of(announced.incarnation)
                        .with("interval", announced.interval_ms)
                        .with("clamped", u8::from(announced.clamped))
                        .with("ended", u8::from(ended.is_some()))
                        .with("ended_data", ended.map_or(0, |(_, data)| data))
                })
            }
            Op::Leave { id } => answer(oracle.leave(id), |data| Answer::ok().with("data", data)),
            Op::LeaveHandle { handle } => {
                answer(oracle.leave_incarnation(names.handle(handle)), |data| Answer::ok().with("data", data))
            }
            Op::Find { id } => answer(oracle.find(id), |found| Answer::ok().of(found)),
            Op::Inspect { handle } => {
                let incarnation = names.handle(handle);
                answer(oracle.inspect(incarnation), |status| inspected(&status).of(incarnation))
            }
            Op::Advance { to_ms } => self.advance(*to_ms),
            Op::AdvanceUndrained { to_ms } => answer(self.make(*to_ms), |made| {
                let answer = Answer::ok().with("made", made.len());
                self.queued.extend(made);
                answer
            }),
            Op::Drain => told(self.drain()),
            Op::Settle { handle, attempt, retry_ms } => {
                let verdict = retry_ms.map_or(Verdict::Done, |after| Verdict::Retry(ms(after)));
                answer(oracle.settle(names.handle(handle), *attempt, verdict), |()| Answer::ok())
            }
            Op::Stats => counted(oracle),
            Op::Close => {
                oracle.close();
                Answer::ok()
            }
            Op::Open | Op::Release | Op::Restart => unreachable!("the oracle has neither guards nor snapshots"),
        }
    }
}

impl Subject for Reversed {
    const FEATURES: &'static [&'static str] = FEATURES;

    fn open(settings: &Settings) -> Result<Reversed, Answer> {
        Specification::open(settings).map(|oldest| Reversed(Specification { order: Order::NewestFirst, ..oldest }))
    }

    fn perform(&mut self, op: &Op, names: &Names) -> Answer {
        self.0.perform(op, names)
    }
}

fn answer<T>(result: Result<T, Refusal>, says: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(Answer::refused, says)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Registered => "registered",
        Outcome::Renewed => "renewed",
        Outcome::Recovered => "recovered",
    }
}

fn inspected(status: &Status) -> Answer {
    let (word, since) = match status.state {
        State::Live => ("live", "none".into()),
        State::Suspect => ("suspect", status.deadline_ms.to_string()),
        State::Taken => ("taken", "none".into()),
    };
    Answer::new(word)
        .with("data", status.user_data)
        .with("interval", status.interval_ms)
        .with("last_seen", status.last_seen_ms)
        .with("age", status.age_ms)
        .with("deadline", status.deadline_ms)
        .with("leaves_at", status.leaves_at_ms)
        .with("suspect_since", since)
}

fn told(events: Vec<Event>) -> Answer {
    Answer::ok().with("events", events.len()).telling(events.iter().map(event).collect())
}

fn event(event: &Event) -> Answer {
    let word = match event.kind {
        Kind::Suspect => "suspect",
        Kind::Recovered => "recovered",
        Kind::Leave => "leave",
    };
    let reason = match event.reason {
        Reason::Ttl => "ttl",
        Reason::HostTtl => "host_ttl",
    };
    Answer::new(word)
        .of(event.incarnation)
        .with("id", hex(&event.id))
        .with("reason", reason)
        .with("attempt", event.attempt)
        .with("superseded", u8::from(event.superseded))
        .with("data", event.user_data)
        .with("interval", event.interval_ms)
        .with("last_seen", event.last_seen_ms)
        .with("deadline", event.deadline_ms)
        .with("now", event.now_ms)
        .with("lateness", in_ms(event.lateness_ns))
        .with("away", in_ms(event.away_ns))
}

fn counted(oracle: &Oracle) -> Answer {
    let counts = oracle.counts();
    Answer::ok()
        .with("live", counts.live)
        .with("suspect", counts.suspect)
        .with("registered", counts.registered)
        .with("left", counts.left)
        .with("leaves_ttl", counts.leaves_ttl)
        .with("leaves_host_ttl", counts.leaves_host_ttl)
        .with("suspects", counts.suspects)
        .with("recoveries", counts.recoveries)
        .with("retries", counts.retries)
        .with("superseded", counts.superseded)
        .with("clamps", counts.clamps)
        .with("rescues", 0)
        .with("outstanding", counts.outstanding)
        .with("waiting", oracle.waiting())
        .with("away", in_ms(oracle.time().missed_ns()))
        .with("now", in_ms(oracle.time().now_ns()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// All times of a trace are whole milliseconds, so all that follows from them are.
fn in_ms(ns: u64) -> u64 {
    assert!(ns.is_multiple_of(1_000_000), "{ns} ns");
    ns / 1_000_000
}
