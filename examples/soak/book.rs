//! The judge: keeps a book of every incarnation, and holds each answer and each leave against it.
//!
//! One thread owns a book, the one that announces its hosts. Leaves reach it as messages, with the moment at which the
//! consumer was given them. So when a leave is judged no announce of its host is under way: what each of them was answered
//! is known. An announce that was accepted counts, however near to the leave it was; one that was refused does not, and
//! then there must be a leave.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use hostwheel::Outcome;

use crate::handles::{Handles, Wrong};
use crate::promises::{Breaches, Promise};

const MS: u64 = 1_000_000;

/// How much longer the book waits for a message than a leave may be late: the consumer is a thread like others.
const PATIENCE_NS: u64 = 5_000 * MS;

/// How much sooner than asked for a leave may be handed out again: ticks are whole milliseconds.
const ROUNDING_NS: u64 = 2 * MS;

/// When an announce happened, as its caller saw it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// The system's clock before the call.
    pub before_ns: u64,
    /// How far the wheel's clock was behind that, beyond its margin: 0 unless it is the coarse one.
    pub lag_ns: u64,
    /// Wheel time before the call, and after it.
    pub wheel_ns: u64,
    pub wheel_after_ns: u64,
}

/// What a consumer answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Hand it out again after so long. Also no answer at all, and then it is the settle timeout.
    Again {
        after_ns: u64,
    },
}

/// A leave, as the consumer was given it.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    pub host: u32,
    pub handle: u64,
    pub attempt: u32,
    /// The system's clock when the consumer got it.
    pub at_ns: u64,
    /// Wheel time then.
    pub wheel_ns: u64,
    /// Time since the last announce that was not counted, and time in which a guard held the leave back.
    pub away_ns: u64,
    pub held_ns: u64,
    pub answer: Answer,
}

/// One incarnation, from its registration until its leave was answered with `Done`.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    handle: u64,
    heard: Moment,
    /// How long after an announce it leaves.
    lasts_ns: u64,
    /// Leaves given so far, and when the next one is due.
    attempts: u32,
    again_ns: u64,
    again_wheel_ns: u64,
    /// A breach was noted: one is enough.
    condemned: bool,
}

impl Life {
    /// The wheel time at which the next leave is due at the latest.
    fn due_wheel_ns(&self) -> u64 {
        if self.attempts > 0 { self.again_wheel_ns } else { self.heard.wheel_after_ns + self.lasts_ns }
    }
}

/// What a book counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were accepted: announces, renews and goodbyes.
    pub calls: u64,
    pub registered: u64,
    pub recovered: u64,
    pub goodbyes: u64,
    pub leaves: u64,
    /// Leaves handed out again.
    pub again: u64,
    /// Leaves that came earlier than the exact clock allows, by no more than the coarse clock was behind beyond the margin.
    pub within_lag: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.calls += other.calls;
        self.registered += other.registered;
        self.recovered += other.recovered;
        self.goodbyes += other.goodbyes;
        self.leaves += other.leaves;
        self.again += other.again;
        self.within_lag += other.within_lag;
    }
}

/// How late leaves were since somebody last looked, in microseconds.
pub type Lateness = Arc<Mutex<Histogram<u64>>>;

/// What the books of one wheel share.
#[derive(Clone)]
pub struct Bench {
    pub name: &'static str,
    pub handles: Arc<Handles>,
    pub breaches: Arc<Breaches>,
    pub lateness: Lateness,
    /// How late a leave may be.
    pub bound_ns: u64,
}

/// The book of the hosts of one thread.
pub struct Book {
    bench: Bench,
    /// The present incarnation of each host.
    present: Vec<Option<Life>>,
    /// Earlier incarnations whose leaves are still to come, by handle.
    parting: HashMap<u64, (u32, Life)>,
    /// The last handle with which each host said goodbye.
    goodbyes: Vec<u64>,
    /// How long guards have held leaves back so far.
    guarded_ns: u64,
    pub tally: Tally,
}

impl Book {
    pub fn new(hosts: usize, bench: Bench) -> Book {
        // As many as ever part at a time, and in them once, so that all of its memory is there before the first sample.
        let many = 0..hosts as u64 / 8 + 1024;
        let mut parting: HashMap<u64, (u32, Life)> = many.map(|handle| (handle, (0, Life::default()))).collect();
        parting.clear();
        Book {
            bench,
            present: vec![None; hosts],
            parting,
            // Not 0: an array of zeros would get its memory only when it is used.
            goodbyes: vec![1; hosts],
            guarded_ns: 0,
            tally: Tally::default(),
        }
    }

    /// The handle of the host's present incarnation, as far as is known, and when it was heard.
    pub fn present(&self, host: u32) -> Option<(u64, u64)> {
        self.present[host as usize].map(|life| (life.handle, life.heard.before_ns))
    }

    fn breach(&self, promise: Promise, host: u32, what: impl FnOnce() -> String) {
        let name = self.bench.name;
        self.bench.breaches.note(promise, || format!("{name}, host {host}: {}", what()));
    }

    /// An announce was accepted, by id or by handle; the host leaves `lasts_ns` after it.
    pub fn accepted(&mut self, host: u32, moment: Moment, lasts_ns: u64, handle: u64, outcome: Outcome) {
        self.tally.calls += 1;
        if outcome == Outcome::Registered {
            self.registered(host, handle);
        } else {
            self.tally.recovered += u64::from(outcome == Outcome::Recovered);
            self.renewed(host, &moment, handle, outcome);
        }
        self.present[host as usize] = Some(Life { handle, heard: moment, lasts_ns, ..Life::default() });
    }

    fn registered(&mut self, host: u32, handle: u64) {
        self.tally.registered += 1;
        match self.bench.handles.issue(handle) {
            Ok(()) => {}
            Err(Wrong::Twice) => self.breach(Promise::HandleOnce, host, || format!("{handle:#x} was issued before")),
            Err(Wrong::Beyond) => {
                self.breach(Promise::Flat, host, || format!("{handle:#x} is of a record beyond all bounds"))
            }
        }
        self.gone(host);
    }

    fn renewed(&mut self, host: u32, moment: &Moment, handle: u64, outcome: Outcome) {
        match self.present[host as usize] {
            Some(life) if life.handle == handle => {
                let due_ns = life.due_wheel_ns() + self.bench.bound_ns + self.guarded_ns;
                if moment.wheel_ns > due_ns && !life.condemned {
                    let late_ms = (moment.wheel_ns - life.due_wheel_ns()) / MS;
                    self.breach(Promise::NeverMissing, host, || format!("{handle:#x} still there {late_ms} ms late"));
                }
            }
            Some(Life { handle: old, .. }) => {
                self.breach(Promise::HandleOnce, host, || format!("{outcome:?} made {handle:#x} of {old:#x}"));
            }
            None => self.breach(Promise::NeverDouble, host, || format!("{outcome:?} of {handle:#x}, which has gone")),
        }
    }

    /// The host's present incarnation turned out to be gone: an announce was refused, or it got another one. Its leave is
    /// on its way.
    pub fn gone(&mut self, host: u32) {
        if let Some(life) = self.present[host as usize].take() {
            self.parting.insert(life.handle, (host, life));
        }
    }

    /// The host said goodbye, and that was accepted.
    pub fn said_goodbye(&mut self, host: u32) {
        self.tally.calls += 1;
        self.tally.goodbyes += 1;
        match self.present[host as usize].take() {
            Some(life) => self.goodbyes[host as usize] = life.handle,
            None => self.breach(Promise::NeverDouble, host, || "said goodbye after it had gone".into()),
        }
    }

    /// A leave came. Says whether it was of the host's present incarnation.
    pub fn left(&mut self, leave: &Leave) -> bool {
        let Leave { host, handle, attempt, .. } = *leave;
        let present = self.present.get(host as usize).copied().flatten().filter(|life| life.handle == handle);
        let parting = self.parting.remove(&handle).map(|(_, life)| life);
        let Some(mut life) = present.or(parting) else {
            let said_goodbye = self.goodbyes.get(host as usize) == Some(&handle);
            let promise = if said_goodbye { Promise::GoodbyeSilent } else { Promise::NeverDouble };
            self.breach(promise, host, || format!("a leave of {handle:#x}, attempt {attempt}, which has gone"));
            return false;
        };
        if attempt != life.attempts + 1 {
            self.breach(Promise::NeverDouble, host, || {
                format!("{handle:#x}: attempt {attempt} after {} attempts", life.attempts)
            });
        }
        if life.attempts == 0 {
            self.tally.leaves += 1;
            self.judge_first(leave, &life);
        } else {
            self.tally.again += 1;
            if leave.at_ns + ROUNDING_NS < life.again_ns {
                self.breach(Promise::NeverDouble, host, || format!("{handle:#x} came again before it was asked to"));
            }
        }
        if present.is_some() {
            self.present[host as usize] = None;
        }
        if let Answer::Again { after_ns } = leave.answer {
            life.attempts = attempt;
            life.again_ns = leave.at_ns + after_ns;
            life.again_wheel_ns = leave.wheel_ns + after_ns;
            self.parting.insert(handle, (host, life));
        }
        present.is_some()
    }

    fn judge_first(&mut self, leave: &Leave, life: &Life) {
        let Leave { host, handle, at_ns, away_ns, held_ns, .. } = *leave;
        let due_ns = life.heard.before_ns + life.lasts_ns;
        let early_ns = due_ns.saturating_sub(at_ns);
        // A stamp of the coarse clock may lie in the past by what that clock is behind beyond the wheel's margin.
        if early_ns > life.heard.lag_ns {
            self.breach(Promise::NeverEarly, host, || format!("{handle:#x} left {} us early", early_ns.div_ceil(1000)));
        } else if early_ns > 0 {
            self.tally.within_lag += 1;
        }
        let late_ns = at_ns.saturating_sub(due_ns).saturating_sub(away_ns).saturating_sub(held_ns);
        if late_ns > self.bench.bound_ns && !life.condemned {
            self.breach(Promise::NeverMissing, host, || format!("{handle:#x} left {} ms late", late_ns / MS));
        }
        let mut lateness = self.bench.lateness.lock().unwrap_or_else(PoisonError::into_inner);
        lateness.saturating_record(late_ns / 1000);
    }

    /// Looks for leaves that should have come by now, in wheel time. Guards have held leaves back for `guarded_ns` so far.
    pub fn look(&mut self, wheel_ns: u64, guarded_ns: u64) {
        self.guarded_ns = guarded_ns;
        let allowed_ns = self.bench.bound_ns + PATIENCE_NS + guarded_ns;
        let Book { bench, present, parting, .. } = self;
        let judge = |host: u32, life: &mut Life| {
            let late_ns = wheel_ns.saturating_sub(life.due_wheel_ns());
            if late_ns > allowed_ns && !life.condemned {
                life.condemned = true;
                bench.breaches.note(Promise::NeverMissing, || {
                    let (name, handle, attempts) = (bench.name, life.handle, life.attempts);
                    format!("{name}, host {host}: no leave of {handle:#x} for {} ms ({attempts} before)", late_ns / MS)
                });
            }
        };
        for (host, life) in present.iter_mut().enumerate() {
            life.iter_mut().for_each(|life| judge(host as u32, life));
        }
        parting.values_mut().for_each(|(host, life)| judge(*host, life));
    }

    /// Whether leaves are still to come of hosts that are known to have gone.
    pub fn is_waiting(&self) -> bool {
        !self.parting.is_empty()
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
