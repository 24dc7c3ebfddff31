//! One run: hosts that announce themselves, lose announces, crash, return, say goodbye and change their minds, on the
//! library's manual clock, with the model beside it. Discrete events: time jumps from one to the next.

#[path = "../properties/rules.rs"]
mod rules;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::acts;
use super::consumer::{Callbacks, Drain, Link};
use super::model::{Counts, Model};
use super::oracle::{Rules, ceil_ms};
use super::plan::Plan;
use super::rng::Rng;
use crate::expiry::Delivery;
use crate::{Config, HostWheel};
use rules::rules_of;

/// Looks per announce at most, so that a small fleet under a short watchdog ends.
const LOOKS_PER_ANNOUNCE: u64 = 2;

/// How a host behaves at present.
#[derive(Clone, Debug)]
struct Host {
    /// What it announces; 0 is none.
    interval_ms: u64,
    /// How often it does.
    period_ms: u64,
    absent: bool,
}

pub(super) struct Fleet {
    plan: Plan,
    rng: Rng,
    wheel: Arc<HostWheel>,
    drain: Option<Drain>,
    link: Link,
    hosts: Vec<Host>,
    /// When which host acts next, in microseconds.
    agenda: BinaryHeap<Reverse<(u64, u32)>>,
    now_us: u64,
    /// At the last look due hosts had to wait.
    blocked: bool,
}

impl Fleet {
    pub(super) fn new(plan: &Plan, seed: u64) -> Fleet {
        let mut rng = Rng::new(seed ^ 0xf1ee7);
        let link = Link {
            model: Arc::new(Mutex::new(Model::new(plan, rules_of(&plan.config, plan.drained)))),
            wheel: Arc::default(),
            accept: Arc::default(),
        };
        let generations = rng.next() as u32;
        let (wheel, drain) = if plan.drained {
            // With generations of its own choice; nothing but the handles depends on them.
            let (wheel, events) = HostWheel::drained(plan.config.clone()).expect("a good configuration");
            (wheel, Some(Drain::new(events)))
        } else {
            let rng = Rng::new(seed ^ 0xca11);
            let calls = Callbacks { link: link.clone(), rng, chances: plan.chances.clone() };
            let delivery = Delivery::Handler(Box::new(calls));
            (
                HostWheel::with_manual_clock(&plan.config, delivery, generations, plan.lives).expect("a wheel opens"),
                None,
            )
        };
        let wheel = Arc::new(wheel);
        link.wheel.set(Arc::downgrade(&wheel)).expect("set once");
        let mut fleet = Fleet {
            hosts: Vec::new(),
            agenda: BinaryHeap::new(),
            now_us: 0,
            blocked: false,
            plan: plan.clone(),
            rng,
            wheel,
            drain,
            link,
        };
        for host in 0..plan.hosts {
            let mut new = Host { interval_ms: 0, period_ms: 0, absent: true };
            fleet.draw_interval(&mut new);
            let begins_us = fleet.rng.below(new.period_ms * 1000);
            fleet.hosts.push(new);
            fleet.agenda.push(Reverse((begins_us, host)));
        }
        fleet
    }

    fn draw_interval(&mut self, host: &mut Host) {
        let (low, high) = self.plan.interval_ms;
        host.period_ms = self.rng.magnitude(low, high);
        host.interval_ms = host.period_ms;
        if self.rng.permille(self.plan.chances.nameless) {
            host.interval_ms = 0;
            host.period_ms = (ceil_ms(self.plan.config.host_ttl) / 2).max(low);
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.link.model.lock().expect("nobody panics with the model")
    }

    /// Runs to the end. An error names the promise that was broken.
    pub(super) fn run(mut self) -> Result<Counts, String> {
        while self.goes_on() {
            self.step();
        }
        if self.model().failure.is_none() {
            self.end();
        }
        let mut model = self.model();
        match model.failure.take() {
            Some(failure) => Err(failure),
            None => {
                model.counts.years = model.time.now_ns() as f64 / (365.25 * 86_400e9);
                Ok(model.counts.clone())
            }
        }
    }

    fn goes_on(&self) -> bool {
        let model = self.model();
        let (plan, counts) = (&self.plan, &model.counts);
        model.failure.is_none()
            && counts.announces < plan.announces_max
            && counts.looks < LOOKS_PER_ANNOUNCE * plan.announces_max
            && self.now_us < plan.span_ms * 1000
    }

    /// Time jumps to what comes next, somebody looks, and the hosts whose time has come act.
    fn step(&mut self) {
        let acts = self.agenda.peek().map(|Reverse((at, _))| *at);
        let answers = self.drain.as_ref().and_then(Drain::next_us);
        let due = self.wheel.next_due().unwrap_or(None).map(|due| due.as_micros() as u64);
        let next = [acts, answers, due].into_iter().flatten().min().unwrap_or(self.now_us);
        self.now_us = self.now_us.max(next);
        if self.rng.permille(self.plan.chances.pause) {
            self.model().counts.pauses += 1;
            self.now_us += self.rng.magnitude(1000, 200_000_000);
        }
        self.look();
        self.consume();
        while let Some(&Reverse((at, host))) = self.agenda.peek()
            && at <= self.now_us
        {
            self.agenda.pop();
            self.act(host);
        }
    }

    /// An advance, and what must have come of it.
    fn look(&mut self) {
        let clock = Duration::from_micros(self.now_us);
        self.model().looks_at(self.now_us * 1000, false);
        let made = match self.wheel.advance(clock) {
            Ok(made) => made,
            Err(error) => return self.model().broken("the wheel works", || error.to_string()),
        };
        let mut known = true;
        let outstanding = match &mut self.drain {
            None => self.model().gone.len(),
            Some(drain) => {
                drain.queued += made;
                known = drain.queued == 0;
                self.wheel.stats().outstanding as usize
            }
        };
        let full = self.drain.as_ref().is_some_and(|drain| drain.queued >= self.plan.config.max_outstanding);
        self.blocked = full || outstanding >= self.plan.config.max_outstanding;
        let mut model = self.model();
        model.looked(made, self.blocked, known);
        if model.counts.looks.is_multiple_of(4096) && known {
            check_stats(&mut model, &self.wheel, self.drain.is_none());
        }
    }

    fn consume(&mut self) {
        let Some(mut drain) = self.drain.take() else { return };
        let chances = self.plan.chances.clone();
        let link = self.link.clone();
        let mut model = link.model.lock().expect("nobody panics with the model");
        let full = drain.queued >= self.plan.config.max_outstanding;
        if drain.queued > 0 && (full || self.rng.permille(300)) {
            let all = full || self.rng.permille(chances.drain_all);
            let limit = if all { usize::MAX } else { self.rng.between(1, 8) as usize };
            drain.drain(&mut model, limit, self.blocked);
        }
        drain.settle(&mut model, &self.wheel, self.now_us, Some((&mut self.rng, &chances)));
        self.drain = Some(drain);
    }

    /// A host's turn.
    fn act(&mut self, number: u32) {
        let chances = self.plan.chances.clone();
        let mut host = self.hosts[number as usize].clone();
        let link = self.link.clone();
        let mut model = link.model.lock().expect("nobody panics with the model");
        let ttl_ms = 2 * host.period_ms + model.rules.grace_ms.min(host.period_ms);
        let mut wait_ms = host.period_ms;
        if self.rng.permille(chances.change) {
            self.draw_interval(&mut host);
        }
        if self.rng.permille(chances.stale) {
            acts::use_stale_handle(&mut model, &self.wheel, number);
            let other = self.rng.below(self.hosts.len() as u64) as u32;
            acts::inspect(&mut model, &self.wheel, other);
        }
        if !host.absent && self.rng.permille(chances.goodbye) {
            acts::goodbye(&mut model, &self.wheel, number, self.rng.permille(chances.by_handle));
            host.absent = true;
            wait_ms = self.rng.magnitude(1, 2 * ttl_ms);
        } else if !host.absent && self.rng.permille(chances.crash) {
            host.absent = true;
            // Back before anybody noticed, as a suspect, or after it was handed out.
            wait_ms = self.rng.magnitude(ttl_ms / 4 + 1, 3 * ttl_ms);
        } else if !self.rng.permille(chances.lost) {
            let age_ms = match self.rng.permille(chances.aged) {
                true => self.rng.magnitude(1, 2 * host.period_ms).min(model.time.tick() as u64),
                false => 0,
            };
            let by_handle = !host.absent && self.rng.permille(chances.by_handle);
            if !by_handle || !acts::renew(&mut model, &self.wheel, number, age_ms) {
                acts::announce(&mut model, &self.wheel, number, host.interval_ms, age_ms);
            }
            host.absent = false;
        }
        let jitter_us = host.period_ms * chances.jitter;
        let wait_us = (wait_ms * 1000 + self.rng.below(jitter_us + 1)).saturating_sub(jitter_us / 2);
        let at_us = (self.now_us + wait_us.max(1)).next_multiple_of(self.plan.grain_us);
        self.agenda.push(Reverse((at_us, number)));
        self.hosts[number as usize] = host;
    }

    /// All hosts fall silent, and the consumer accepts everything: nothing may be left.
    fn end(&mut self) {
        self.link.accept.store(true, Ordering::Relaxed);
        let enough = self.model().counts.looks + self.plan.announces_max / 2;
        let mut quiet = 0;
        while quiet < 3 && self.model().failure.is_none() {
            quiet += 1;
            if let Ok(Some(due)) = self.wheel.next_due() {
                self.now_us = self.now_us.max(due.as_micros() as u64);
                quiet = 0;
            }
            self.look();
            let link = self.link.clone();
            let mut model = link.model.lock().expect("nobody panics with the model");
            if let Some(drain) = &mut self.drain {
                drain.drain(&mut model, usize::MAX, self.blocked);
                drain.settle(&mut model, &self.wheel, self.now_us, None);
            }
            if model.counts.looks == enough {
                // Weeks of silence in looks of milliseconds: those left say goodbye.
                for host in 0..self.plan.hosts {
                    if model.current[host as usize].is_some() {
                        acts::goodbye(&mut model, &self.wheel, host, host.is_multiple_of(2));
                    }
                }
            }
        }
        let mut model = self.model();
        let (alive, gone) = (model.alive, model.gone.len());
        if alive + gone > 0 {
            model.broken("never late, never lost", || format!("{alive} hosts and {gone} leaves are left in the end"));
        }
        check_stats(&mut model, &self.wheel, true);
    }
}

/// The library's counters against the model's; `present` compares what is at present, too.
pub(super) fn check_stats(model: &mut Model, wheel: &HostWheel, present: bool) {
    let stats = wheel.stats();
    let counts = model.counts.clone();
    let mut pairs = vec![
        ("registered", stats.registered, counts.registered),
        ("left", stats.left, counts.left),
        ("rescues", stats.rescues, 0),
        ("panics", stats.panics, counts.panics),
        ("now", stats.now.as_nanos() as u64, model.time.now_ns()),
    ];
    if present {
        let suspects = model.current.iter().flatten().filter(|life| life.suspect).count();
        pairs.extend([
            ("live", stats.live, model.alive as u64),
            ("outstanding", stats.outstanding, model.gone.len() as u64),
            ("leaves", stats.leaves_ttl + stats.leaves_host_ttl, counts.leaves),
            ("suspects", stats.suspects, counts.suspects),
            ("recoveries", stats.recoveries, counts.recoveries),
            ("retries", stats.retries, counts.retries),
            ("superseded", stats.superseded, counts.superseded),
        ]);
        if suspects > stats.suspect as usize {
            model.broken("stats are consistent", || format!("{suspects} suspects, stats say {}", stats.suspect));
        }
    }
    for (what, library, known) in pairs {
        if library != known {
            model.broken("stats are consistent", || format!("{what}: {library}, and it is {known}"));
        }
    }
    // A host with an age may take a record that was never used.
    if stats.records > model.peak() as u64 + model.aged {
        let peak = model.peak();
        model.broken("memory is bounded", || format!("{} records, {peak} at the peak", stats.records));
    }
}
