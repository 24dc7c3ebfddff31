//! A crowd of hosts that announce themselves on time, and whatever keeps the observer from hearing them or from looking:
//! what the guards are for. In a crowd it is known who is dead, so every other leave is a false one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rig::{Rig, seconds};
use super::rng::Rng;
use crate::{Clock, Config, Event, EventKind, Outcome, Verdict};

#[derive(Clone, Debug)]
pub(super) struct Host {
    /// How often it announces.
    pub(super) period_ms: u64,
    /// The interval that it announces: usually the same.
    pub(super) announced_ms: u64,
    /// It announces no interval, and has the host TTL.
    pub(super) nameless: bool,
    pub(super) dead: bool,
    /// Nobody hears it.
    pub(super) cut: bool,
    /// When it was heard last.
    pub(super) heard_ms: u64,
    /// When it is to announce next; it does so up to `jitter_ms` later.
    next_ms: u64,
}

/// Something that the observer told, and when by the clock.
pub(super) struct Told {
    pub(super) at_ms: u64,
    pub(super) host: usize,
    pub(super) event: Event,
}

pub(super) struct Crowd {
    pub(super) rig: Rig,
    pub(super) config: Config,
    pub(super) hosts: Vec<Host>,
    /// When which host announces next.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    pub(super) now_ms: u64,
    /// When the observer looks next.
    look_ms: Option<u64>,
    /// The observer is late at each look by up to so much.
    pub(super) late_ms: u64,
    pub(super) jitter_ms: u64,
    /// Each announce is up to so many thousandths of its interval late, besides.
    pub(super) jitter_permille: u64,
    /// So many thousandths of the announces are lost.
    pub(super) lost_permille: u64,
    rng: Rng,
    /// Taken by the next leave callback, which lasts so long.
    pub(super) stall_ms: Arc<AtomicU64>,
    pub(super) told: Vec<Told>,
    pub(super) recovered: u64,
    /// Announces that were heard.
    pub(super) heard: u64,
}

/// The settings that crowds begin with: all guards as they are by default.
pub(super) fn guarded() -> Config {
    Config { clock: Clock::Manual, ..Config::default() }
}

impl Crowd {
    pub(super) fn new(config: Config) -> Crowd {
        let stall_ms = Arc::new(AtomicU64::new(0));
        let stall = stall_ms.clone();
        let mut rig = Rig::with_callback(&config, |shared| {
            move |_: &Event| {
                let stalled_ms = stall.swap(0, Ordering::Relaxed);
                shared.clock.set_manual(shared.clock.observe_ns() + stalled_ms * 1_000_000);
                Verdict::Done
            }
        });
        rig.checked = false;
        Crowd {
            rig,
            config,
            hosts: Vec::new(),
            agenda: BinaryHeap::new(),
            now_ms: 0,
            look_ms: Some(0),
            late_ms: 0,
            jitter_ms: 0,
            jitter_permille: 0,
            lost_permille: 0,
            rng: Rng::new(4711),
            stall_ms,
            told: Vec::new(),
            recovered: 0,
            heard: 0,
        }
    }

    /// A host that announces first after `phase_ms`; returns its number.
    pub(super) fn add(&mut self, period_ms: u64, phase_ms: u64) -> usize {
        let number = self.hosts.len();
        let (heard_ms, next_ms) = (self.now_ms, self.now_ms + phase_ms);
        self.hosts.push(Host {
            period_ms,
            announced_ms: period_ms,
            nameless: false,
            dead: false,
            cut: false,
            heard_ms,
            next_ms,
        });
        self.agenda.push(Reverse((next_ms, number)));
        number
    }

    /// So many hosts of one interval, one announce after the other.
    pub(super) fn add_spread(&mut self, hosts: u64, period_ms: u64) {
        for n in 0..hosts {
            self.add(period_ms, n * period_ms / hosts);
        }
    }

    /// How long a host may be unheard of.
    pub(super) fn life_ms(&self, host: usize) -> u64 {
        let Host { period_ms, nameless, .. } = self.hosts[host];
        let (ttl, interval) = if nameless {
            (self.config.host_ttl, self.config.host_ttl / 2)
        } else {
            (2 * Duration::from_millis(period_ms), Duration::from_millis(period_ms))
        };
        (ttl + self.config.grace.min(interval)).as_millis() as u64
    }

    /// When the first host leaves if no host is heard from now on and no guard helps.
    pub(super) fn first_leave_ms(&self) -> u64 {
        (0..self.hosts.len()).map(|host| self.hosts[host].heard_ms + self.life_ms(host)).min().unwrap_or(u64::MAX)
    }

    /// The announces that are due from now on and before `end_ms`.
    pub(super) fn due_before(&self, end_ms: u64) -> u64 {
        let of = |host: &Host| end_ms.saturating_sub(host.next_ms).div_ceil(host.period_ms);
        self.hosts.iter().filter(|host| !host.dead).map(of).sum()
    }

    pub(super) fn kill(&mut self, host: usize) {
        self.hosts[host].dead = true;
    }

    /// Cuts off, or joins again, all hosts whose number is below `below`.
    pub(super) fn cut(&mut self, below: usize, cut: bool) {
        self.hosts[..below].iter_mut().for_each(|host| host.cut = cut);
    }

    /// The world goes on until `end_ms` by the clock.
    pub(super) fn go_to(&mut self, end_ms: u64) {
        while self.now_ms < end_ms {
            let announce = self.agenda.peek().map(|Reverse((at, _))| *at);
            let next = [announce, self.look_ms].into_iter().flatten().min().unwrap_or(end_ms);
            self.now_ms = next.clamp(self.now_ms, end_ms);
            self.rig.set_clock_ms(self.now_ms);
            if self.look_ms.is_some_and(|look| look <= self.now_ms) {
                self.look();
            }
            self.announces(true);
            if self.rig.bell.take() {
                let delay = self.rng.below(self.late_ms + 1);
                self.look_ms = Some(self.look_ms.unwrap_or(u64::MAX).min(self.now_ms + delay));
            }
        }
    }

    pub(super) fn go_on_for(&mut self, length_ms: u64) {
        self.go_to(self.now_ms + length_ms);
    }

    /// The process is stopped: what would have been announced meanwhile is lost, and the observer looks first.
    pub(super) fn stop_for(&mut self, length_ms: u64) {
        self.now_ms += length_ms;
        self.announces(false);
        self.rig.set_clock_ms(self.now_ms);
        self.look();
    }

    /// As [`stop_for`](Self::stop_for), and what was announced meanwhile arrives right after that look.
    pub(super) fn pause_for(&mut self, length_ms: u64) {
        self.now_ms += length_ms;
        self.rig.set_clock_ms(self.now_ms);
        self.look();
        self.announces(true);
    }

    fn announces(&mut self, heard: bool) {
        while let Some(&Reverse((at, number))) = self.agenda.peek()
            && at <= self.now_ms
        {
            self.agenda.pop();
            let host = &mut self.hosts[number];
            host.next_ms += host.period_ms;
            let jitter_ms = self.jitter_ms + host.period_ms * self.jitter_permille / 1000;
            self.agenda.push(Reverse((host.next_ms + self.rng.below(jitter_ms + 1), number)));
            let lost = self.lost_permille > 0 && self.rng.permille(self.lost_permille);
            if host.dead || host.cut || lost || !heard {
                continue;
            }
            host.heard_ms = self.now_ms;
            self.heard += 1;
            let interval = if host.nameless { seconds(0) } else { Duration::from_millis(host.announced_ms) };
            let id = (number as u32).to_be_bytes();
            let announced = self.rig.shared.announce(&id, interval.into(), seconds(0), 0).expect("there is room");
            self.recovered += u64::from(announced.outcome == Outcome::Recovered);
        }
    }

    fn look(&mut self) {
        self.rig.engine.awake(&self.rig.shared);
        loop {
            let at_ms = self.now_ms;
            let events = self.rig.look();
            // A callback may have lasted.
            let clock_ms = self.rig.shared.clock.observe_ns() / 1_000_000;
            if clock_ms > self.now_ms {
                self.now_ms = clock_ms;
                self.announces(false);
            }
            for event in events.into_iter().filter(|event| event.kind() == EventKind::Leave) {
                let id = event.id()[..].try_into().expect("four bytes");
                self.told.push(Told { at_ms, host: u32::from_be_bytes(id) as usize, event });
            }
            let alarm = self.rig.engine.next_look();
            if self.rig.engine.may_sleep(&self.rig.shared, alarm) {
                let late_ms = self.rng.below(self.late_ms + 1);
                let clock = &self.rig.shared.clock;
                self.look_ms = alarm.map(|tick| clock.reading_at(tick).div_ceil(1_000_000) + late_ms);
                return;
            }
        }
    }

    pub(super) fn leaves_of(&self, host: usize) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.host == host)
    }

    pub(super) fn leaves(&self) -> usize {
        self.told.len()
    }

    /// Leaves of hosts that were not dead.
    pub(super) fn false_leaves(&self) -> usize {
        self.told.iter().filter(|told| !self.hosts[told.host].dead).count()
    }

    pub(super) fn away_ms(&self) -> u64 {
        self.rig.shared.stats().away.as_millis() as u64
    }

    /// Checks that a dead host was found at most so much later than its life allows, the time not counted since then
    /// apart.
    pub(super) fn found_in_time(&self, host: usize, away_before_ms: u64, slack_ms: u64) -> Result<(), String> {
        let due_ms = self.hosts[host].heard_ms + self.life_ms(host) + self.away_ms() - away_before_ms;
        match self.leaves_of(host).last() {
            Some(told) if told.at_ms <= due_ms + slack_ms => Ok(()),
            Some(told) => Err(format!("host {host}, due at {due_ms}, left at {}: {}", told.at_ms, told.event)),
            None => Err(format!("host {host}, due at {due_ms}, is not found at {}", self.now_ms)),
        }
    }
}
