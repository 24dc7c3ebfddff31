//! The judge: holds what each scheduler told against the driver's deeds, the network's ledger, and the rules of the oracle.
//!
//! What the wheel decides is judged in the wheel's own time, to the nanosecond (with the coarse clock, to its lag), and that
//! time is held against the machine's: it may stand still and never run ahead. A leave is false if an announce of the host was
//! in the scheduler's socket before the leave was due, less what a consumer needs to read its socket.

#[path = "../../tests/properties/rules.rs"]
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use hostwheel::{Clock, Config};

use crate::history::{Deed, DeedKind, Epoch, History};
use crate::observation::{
    BACKSTOP, DONE, Event, Heard, LEAVE, Left, NOTHING, REGISTERED, RESTORED, RETRY, SUSPECT, Sample,
};
use crate::oracle::{Rules, back_off_ms, ceil_ms};
use crate::plan::ROOM;
use crate::relay::Passage;
use crate::scheduler;
use rules::rules_of;

/// How long a datagram may be in the socket before it counts as one that the consumer had to know of.
const READING_NS: u64 = 50_000_000;

/// How long after it is in the socket the relay has noted a datagram.
const NOTED_NS: u64 = 1_000_000;

/// How far the coarse clock may be behind: as far as the library raises its margin. That clock advances with the kernel's tick,
/// and a machine that starves its kernel has no bound; so with it a stamp may be early by what exceeds every lag seen before.
const COARSE_LAG_NS: u64 = 50_000_000;

/// From then on an overdue host is lost, if nothing holds it back.
const LOST_NS: u64 = 1_000_000_000;

/// A host that was known for so many samples, each a tenth of a second in which the scheduler ran, is in a snapshot.
const SNAPSHOT_SAMPLES: usize = 30;

/// How much an epoch's memory may grow from its second quarter to its last, and the shortest epoch that tells.
const GROWTH_KIB: u64 = 1024;
const TELLING_EPOCH_NS: u64 = 20_000_000_000;

/// What the library promises, and the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    NeverEarly,
    NeverFalse,
    NeverLost,
    ExactlyOnce,
    RetriesWait,
    OneHandle,
    SuspectFirst,
    GoodbyeIsSilent,
    TimeNeverAhead,
    FullWhenFull,
    NoRescue,
    TableFollows,
    CallsAnswer,
    Flat,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::NeverEarly => "never early: no leave before last announce + TTL + grace of observed time",
            Promise::NeverFalse => "no leave of a host whose announce was in the socket before that",
            Promise::NeverLost => "never lost: a host that has gone leaves",
            Promise::ExactlyOnce => "exactly one leave that was accepted for each incarnation",
            Promise::RetriesWait => "a retried leave comes again, not before it was asked for",
            Promise::OneHandle => "a handle names one incarnation of one host",
            Promise::SuspectFirst => "no leave before the suspect event",
            Promise::GoodbyeIsSilent => "no leave after a goodbye",
            Promise::TimeNeverAhead => "wheel time never runs ahead of the clock",
            Promise::FullWhenFull => "refused as full only when full",
            Promise::NoRescue => "the back-stop rescues nobody",
            Promise::TableFollows => "at the end the wheel and the table hold the hosts that run, and no other",
            Promise::CallsAnswer => "every call answers as documented",
            Promise::Flat => "memory, descriptors and threads stay flat",
        })
    }
}

/// A broken promise.
#[derive(Debug)]
pub struct Breach {
    pub promise: Promise,
    pub what: String,
}

/// Why a host was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Killed,
    Paused,
    Goodbye,
    CrowdDied,
    Network,
    Unexplained,
}

/// A leave that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    pub cause: Cause,
    /// From the fault to the first attempt.
    pub after: Duration,
    /// Of the first attempt, in observed time, the time left out in which guards or outstanding leaves held it back.
    pub lateness: Duration,
    pub held: Duration,
}

/// The judgement.
#[derive(Debug, Default)]
pub struct Verdict {
    pub breaches: Vec<Breach>,
    pub detections: Vec<Detection>,
    /// Incarnations, restored ones included.
    pub lives: usize,
}

impl Verdict {
    fn accuse(&mut self, promise: Promise, what: String) {
        self.breaches.push(Breach { promise, what });
    }

    /// How often a promise was broken.
    pub fn count(&self, promise: Promise) -> usize {
        self.breaches.iter().filter(|breach| breach.promise == promise).count()
    }
}

/// Judges a run.
pub fn judge(history: &History, hosts: usize) -> Verdict {
    let mut ledger: HashMap<u64, Vec<&Passage>> = HashMap::new();
    for passage in &history.passages {
        ledger.entry(passage.host.into()).or_default().push(passage);
    }
    let max_hosts = hosts + ROOM;
    // All schedulers have the same rules.
    let rules = rules_of(&scheduler::config(max_hosts, 0), false);
    let mut verdict = Verdict::default();
    for (number, epoch) in history.epochs.iter().enumerate() {
        let court = Court { history, ledger: &ledger, rules: &rules, epoch, number };
        court.judge(&mut verdict);
    }
    verdict
}

/// A figure of a sample.
type Figure = fn(&Sample) -> u64;

/// A host between a registration and what ended it, under one handle.
struct Life<'a> {
    handle: u64,
    heard: Vec<&'a Heard>,
    suspects: Vec<&'a Event>,
    leaves: Vec<&'a Event>,
    left: Vec<&'a Left>,
}

/// One scheduler's case.
struct Court<'a> {
    history: &'a History,
    /// By host.
    ledger: &'a HashMap<u64, Vec<&'a Passage>>,
    rules: &'a Rules,
    epoch: &'a Epoch,
    number: usize,
}

impl Court<'_> {
    fn judge(&self, verdict: &mut Verdict) {
        self.judge_scheduler(verdict);
        let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
        for heard in self.epoch.restored.iter().chain(&self.epoch.heard) {
            let handle = heard.handle;
            let new = Life { handle, heard: Vec::new(), suspects: Vec::new(), leaves: Vec::new(), left: Vec::new() };
            lives.entry(handle).or_insert(new).heard.push(heard);
        }
        for event in &self.epoch.events {
            match (lives.get_mut(&event.handle), event.kind) {
                (None, _) => verdict.accuse(
                    Promise::OneHandle,
                    self.about(event.host, event.handle, "an event of a handle that nobody had"),
                ),
                (Some(life), LEAVE) => life.leaves.push(event),
                (Some(life), SUSPECT) => life.suspects.push(event),
                _ => {}
            }
        }
        for left in &self.epoch.left {
            match lives.get_mut(&left.handle) {
                Some(life) => life.left.push(left),
                None => verdict.accuse(
                    Promise::OneHandle,
                    self.about(left.host, left.handle, "a goodbye of a handle that nobody had"),
                ),
            }
        }
        verdict.lives += lives.len();
        for life in lives.values() {
            self.judge_announces(life, verdict);
            self.judge_leaves(life, verdict);
            self.judge_end(life, verdict);
            self.judge_restart(life, verdict);
        }
    }

    fn about(&self, host: u64, handle: u64, what: &str) -> String {
        format!("scheduler {}, host {host}, handle {handle:#x}: {what}", self.number)
    }

    /// What concerns no single host.
    fn judge_scheduler(&self, verdict: &mut Verdict) {
        let epoch = self.epoch;
        for what in &epoch.broken {
            verdict.accuse(Promise::CallsAnswer, what.clone());
        }
        for pair in epoch.samples.windows(2) {
            let (wheel, clock) = (pair[1].at_wheel - pair[0].at_wheel, pair[1].after_ns - pair[0].before_ns);
            if wheel > clock {
                let what = format!("scheduler {}: {wheel} ns of wheel time within {clock} ns", self.number);
                verdict.accuse(Promise::TimeNeverAhead, what);
            }
        }
        let most = self.rules.max_hosts as u64;
        // Records of hosts that said goodbye come back within milliseconds; in between they are in no counter.
        for full in epoch.full.iter().filter(|full| full.records < most || full.live + full.outstanding < most * 3 / 4)
        {
            verdict.accuse(Promise::FullWhenFull, format!("scheduler {}: full with {full:?}", self.number));
        }
        if let Some(rescues) = epoch.samples.iter().map(|sample| sample.rescues).max().filter(|rescues| *rescues > 0) {
            verdict.accuse(Promise::NoRescue, format!("scheduler {}: {rescues} rescues", self.number));
        }
        self.judge_flatness(verdict);
        if epoch.ended_ns.is_some() {
            let sorted = |hosts: &[u32]| {
                let mut hosts = hosts.to_vec();
                hosts.sort_unstable();
                hosts
            };
            let running = sorted(&self.history.running);
            for (name, hosts) in [("table", &epoch.kept), ("wheel", &epoch.known)] {
                let hosts = sorted(hosts);
                if hosts != running {
                    let differ =
                        |a: &[u32], b: &[u32]| a.iter().filter(|host| !b.contains(host)).copied().collect::<Vec<_>>();
                    let (more, less) = (differ(&hosts, &running), differ(&running, &hosts));
                    let what = format!("the {name} has {more:?} that do not run, and lacks {less:?} that do");
                    verdict.accuse(Promise::TableFollows, what);
                }
            }
        }
    }

    fn judge_flatness(&self, verdict: &mut Verdict) {
        let samples = &self.epoch.samples;
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
        if last.before_ns - first.before_ns < TELLING_EPOCH_NS {
            return;
        }
        let quarter = samples.len() / 4;
        let (early, late) = (&samples[..2 * quarter], &samples[3 * quarter..]);
        let mut compare = |name: &str, early: Option<u64>, late: Option<u64>, growth: u64| {
            let (early, late) = (early.unwrap_or(0), late.unwrap_or(0));
            if late > early + growth {
                let what =
                    format!("scheduler {}: {name} {early} in its first half, {late} in its last quarter", self.number);
                verdict.accuse(Promise::Flat, what);
            }
        };
        let most = |samples: &[Sample]| samples.iter().map(|sample| sample.resident_kib).max();
        compare("KiB of memory", most(early), most(late), GROWTH_KIB);
        // A snapshot that is being written has some open: what leaks is there always.
        let least = |samples: &[Sample], of: Figure| samples.iter().map(of).min();
        for (name, of) in
            [("descriptors", (|sample| sample.descriptors) as Figure), ("threads", |sample| sample.threads)]
        {
            compare(name, least(early, of), least(late, of), 0);
        }
    }

    /// When the host leaves by the oracle's rules, if this was its last announce.
    fn leaves_at(&self, heard: &Heard, last_seen_wheel: u64) -> u64 {
        let silence_ms = self.rules.ttl_ms(heard.interval_ms) + self.rules.grace_of_ms(heard.interval_ms);
        last_seen_wheel + silence_ms * 1_000_000
    }

    /// From when at the earliest an announce must count.
    fn counts_from(&self, heard: &Heard) -> u64 {
        match (heard.outcome, self.epoch.clock) {
            // Up to one interval ago.
            (RESTORED, _) => 0,
            (_, Clock::Coarse) => heard.at_wheel.saturating_sub(COARSE_LAG_NS),
            _ => heard.at_wheel,
        }
    }

    fn judge_announces(&self, life: &Life, verdict: &mut Verdict) {
        for (index, heard) in life.heard.iter().enumerate() {
            let accuse = |verdict: &mut Verdict, promise, what: String| {
                verdict.accuse(promise, self.about(heard.host, life.handle, &what));
            };
            let first = index == 0;
            if matches!(heard.outcome, REGISTERED | RESTORED) != first || heard.host != life.heard[0].host {
                accuse(verdict, Promise::OneHandle, format!("announce {index} had outcome {}", heard.outcome));
            }
            if heard.last_seen_wheel == 0 {
                continue;
            }
            if heard.last_seen_wheel < self.counts_from(heard) {
                let what = format!("heard at {}, counts from {}", heard.at_wheel, heard.last_seen_wheel);
                accuse(verdict, Promise::NeverEarly, what);
            }
            let due = self.leaves_at(heard, heard.last_seen_wheel);
            if heard.leaves_at_wheel != due {
                let what = format!("leaves at {}, by the rules at {due}", heard.leaves_at_wheel);
                accuse(verdict, Promise::NeverEarly, what);
            }
        }
        for pair in life.heard.windows(2) {
            let due = pair[0].leaves_at_wheel;
            if due > 0 && pair[1].at_wheel > due + LOST_NS && self.is_unheld(due, pair[1].at_wheel, pair[1].at_ns) {
                let late = seconds(pair[1].at_wheel - due);
                verdict.accuse(
                    Promise::NeverLost,
                    self.about(pair[0].host, life.handle, &format!("renewed {late:.3} s after it was due")),
                );
            }
        }
    }

    /// Whether between two moments of wheel time nothing held leaves back: no guard, no full queue, no consumer that was
    /// busy with something else.
    fn is_unheld(&self, from_wheel: u64, to_wheel: u64, to_ns: u64) -> bool {
        let samples = self.epoch.samples_around(from_wheel..to_wheel);
        let Some(first) = samples.first() else { return false };
        samples.iter().all(|sample| sample.waiting == 0 && sample.outstanding == 0)
            && !self.epoch.stalls.iter().any(|stall| stall.start <= to_ns && first.before_ns <= stall.end)
    }

    fn judge_leaves(&self, life: &Life, verdict: &mut Verdict) {
        let (Some(last), Some(leave)) = (life.heard.last(), life.leaves.first()) else { return };
        let mut accuse = |promise, what: String| verdict.accuse(promise, self.about(leave.host, life.handle, &what));
        if !life.left.is_empty() {
            accuse(Promise::GoodbyeIsSilent, "a leave of a handle that had been given back".to_owned());
        }
        if leave.reason == BACKSTOP {
            accuse(Promise::NoRescue, "a leave that the back-stop found".to_owned());
        }
        // An announce that was accepted after the leave counts as well: it must not have been.
        let known = life.heard.iter().map(|heard| heard.last_seen_wheel.max(self.counts_from(heard)));
        let known = known.max().unwrap_or(0);
        if leave.last_seen_wheel < known {
            accuse(Promise::NeverEarly, format!("last seen at {}, but heard at {known}", leave.last_seen_wheel));
        }
        // Of a restored host the wheel may hold that it was heard before the wheel was opened, which is told as the opening.
        let due = match last.outcome {
            RESTORED => last.leaves_at_wheel,
            _ => self.leaves_at(last, leave.last_seen_wheel),
        };
        if leave.now_wheel < due {
            accuse(Promise::NeverEarly, format!("a leave {:.6} s before it was due", seconds(due - leave.now_wheel)));
        }
        if !life.suspects.iter().any(|suspect| (known..=leave.now_wheel).contains(&suspect.now_wheel)) {
            accuse(Promise::SuspectFirst, "a leave without a suspect event before it".to_owned());
        }
        if let Some(what) = self.why_false(last, leave, due) {
            accuse(Promise::NeverFalse, what);
        }
        for (index, leave) in life.leaves.iter().enumerate() {
            if leave.attempt != index as u64 + 1 {
                accuse(Promise::ExactlyOnce, format!("attempt {} was the {}. leave", leave.attempt, index + 1));
            }
            let Some(next) = life.leaves.get(index + 1) else { break };
            let wait_ms = match leave.answer {
                DONE => {
                    accuse(Promise::ExactlyOnce, "a leave after one that was accepted".to_owned());
                    0
                }
                NOTHING => self.rules.settle_timeout_ms,
                RETRY => back_off_ms(leave.attempt as u32, Duration::from_millis(leave.retry_after_ms)),
                _ => back_off_ms(leave.attempt as u32, Duration::ZERO),
            };
            if next.now_wheel < leave.now_wheel + wait_ms * 1_000_000 {
                let early = seconds(leave.now_wheel + wait_ms * 1_000_000 - next.now_wheel);
                accuse(Promise::RetriesWait, format!("attempt {} came {early:.6} s early", next.attempt));
            }
        }
        if life.leaves.iter().any(|leave| leave.answer == DONE) {
            verdict.detections.push(self.detection(last, leave));
        }
    }

    /// Why the leave must not have been, if an announce was in the socket.
    fn why_false(&self, last: &Heard, leave: &Event, due: u64) -> Option<String> {
        // The last announce's own passage may have been noted right after it was read.
        let unread = |passage: &&&Passage| {
            !passage.dropped
                && passage.at_ns > last.at_ns.max(self.epoch.serving_ns)
                && u64::from(passage.incarnation) >= last.incarnation
                && (u64::from(passage.incarnation), u64::from(passage.sequence)) != (last.incarnation, last.sequence)
        };
        let passage = self.ledger.get(&leave.host)?.iter().find(unread)?;
        let in_socket = self.epoch.wheel_at_most(passage.at_ns);
        (in_socket + READING_NS < due).then(|| {
            let (early, waited) = (seconds(due - in_socket), seconds(leave.at_ns.saturating_sub(passage.at_ns)));
            format!(
                "a leave of a host whose announce was in the socket {early:.3} s of observed time before it was due, and \
                 {waited:.3} s before it came"
            )
        })
    }

    /// A life ends by a leave that was accepted or a goodbye, or goes on.
    fn judge_end(&self, life: &Life, verdict: &mut Verdict) {
        let (Some(last), Some(sample)) = (life.heard.last(), self.epoch.samples.last()) else { return };
        let over = life.leaves.last().is_some_and(|leave| leave.answer == DONE) || !life.left.is_empty();
        if over || last.leaves_at_wheel == 0 && life.leaves.is_empty() && self.epoch.ended_ns.is_none() {
            return;
        }
        let due = if last.leaves_at_wheel > 0 { last.leaves_at_wheel } else { self.leaves_at(last, last.at_wheel) };
        let owed = due + LOST_NS < sample.at_wheel;
        // Who was killed may have been about to tell of it. At the end of the run nothing excuses.
        if owed && (self.epoch.ended_ns.is_some() || self.is_unheld(due, sample.at_wheel, sample.after_ns)) {
            let what = format!("no leave {:.3} s after it was due", seconds(sample.at_wheel - due));
            verdict.accuse(Promise::NeverLost, self.about(last.host, life.handle, &what));
        }
    }

    /// Who was known well before the scheduler was killed is restored by the next one, with an interval and a grace to be heard.
    fn judge_restart(&self, life: &Life, verdict: &mut Verdict) {
        let (first, last) = (life.heard[0], life.heard[life.heard.len() - 1]);
        let interval_ns = first.interval_ms * 1_000_000;
        let least = first.at_wheel + self.leaves_at(first, 0) - interval_ns;
        if first.outcome == RESTORED && (1..least).contains(&first.leaves_at_wheel) {
            let what = format!("restored at {}, leaves at {}", first.at_wheel, first.leaves_at_wheel);
            verdict.accuse(Promise::NeverEarly, self.about(first.host, life.handle, &what));
        }
        let Some(next) = self.history.epochs.get(self.number + 1) else { return };
        let known =
            self.epoch.samples.iter().rev().nth(SNAPSHOT_SAMPLES).is_some_and(|then| first.at_ns < then.before_ns);
        // Who was due may have been taken, and wait in the queue of drained events: such a leave is in no snapshot.
        let due = self.epoch.samples.last().is_none_or(|sample| last.leaves_at_wheel <= sample.at_wheel);
        let alive = life.leaves.is_empty() && life.left.is_empty() && !due;
        if known && alive && !next.restored.iter().any(|restored| restored.host == last.host) {
            let what = "known long before the scheduler was killed, and not restored";
            verdict.accuse(Promise::NeverLost, self.about(last.host, life.handle, what));
        }
    }

    fn detection(&self, last: &Heard, leave: &Event) -> Detection {
        let deeds = self.history.deeds.get(&(leave.host as u32)).map_or(&[][..], Vec::as_slice);
        let deed = deeds.iter().rfind(|deed| deed.at_ns < leave.at_ns && deed.kind != DeedKind::Back);
        // What came before its last announce but one explains nothing. That announce may have waited in the socket of a scheduler
        // that was stopped, or have gone to an earlier one; and its passage may be noted right after it was read.
        let passages = self.ledger.get(&leave.host).map_or(&[][..], Vec::as_slice);
        let sent = passages.iter().rfind(|passage| !passage.dropped && passage.at_ns <= last.at_ns + NOTED_NS);
        let heard_ns = sent.map_or(last.at_ns, |passage| passage.at_ns);
        let earliest = heard_ns.saturating_sub((last.interval_ms + 1000) * 1_000_000);
        let lost = passages.iter().find(|passage| passage.dropped && (heard_ns..leave.at_ns).contains(&passage.at_ns));
        let (cause, since_ns) = match (deed.filter(|deed| deed.at_ns >= earliest), lost) {
            (Some(Deed { kind: DeedKind::Kill, at_ns }), _) => (Cause::Killed, *at_ns),
            (Some(Deed { kind: DeedKind::Pause, at_ns }), _) => (Cause::Paused, *at_ns),
            (Some(Deed { kind: DeedKind::Goodbye, at_ns }), _) => (Cause::Goodbye, *at_ns),
            (Some(Deed { kind: DeedKind::CrowdDies, at_ns }), _) => (Cause::CrowdDied, *at_ns),
            (_, Some(passage)) => (Cause::Network, passage.at_ns),
            _ => (Cause::Unexplained, heard_ns),
        };
        Detection {
            cause,
            after: Duration::from_nanos(leave.at_ns.saturating_sub(since_ns)),
            lateness: Duration::from_nanos(leave.lateness_ns.saturating_sub(leave.held_ns)),
            held: Duration::from_nanos(leave.held_ns),
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;
