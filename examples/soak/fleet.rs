//! A fleet of simulated hosts on one wheel: one thread that announces all of them, and judges.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::sleep;
use std::time::Duration;

use crate::announcer::{Announcer, Whose};
use crate::book::{Leave, Tally};
use crate::calendar::{Calendar, SLOT_MS};
use crate::plan::{Act, Habit, Rhythm};
use crate::subject::Subject;
use crate::system::monotonic_ns;

struct Host {
    rhythm: Rhythm,
    turn: u32,
    /// It is dead: after its leave it comes back so much later.
    returns: Option<u32>,
    /// It was silent on purpose, and announces itself in its next turn.
    silent: bool,
    flapping: bool,
    by_id: bool,
}

/// What hosts were made to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doings {
    pub deaths: u64,
    pub silences: u64,
    pub goodbyes: u64,
    pub changes: u64,
    /// Leaves of hosts that were never to leave: their announcer got no processor for so long.
    pub unplanned: u64,
}

impl AddAssign for Doings {
    fn add_assign(&mut self, other: Doings) {
        self.deaths += other.deaths;
        self.silences += other.silences;
        self.goodbyes += other.goodbyes;
        self.changes += other.changes;
        self.unplanned += other.unplanned;
    }
}

/// A fleet and its book.
pub struct Fleet {
    announcer: Announcer,
    hosts: Vec<Host>,
    calendar: Calendar,
    seed: u64,
    start_ns: u64,
    doings: Doings,
}

impl Fleet {
    pub fn new(hosts: u32, seed: u64, subject: &Subject, leaves: Receiver<Leave>) -> Fleet {
        let mut calendar = Calendar::new(hosts as usize);
        let hosts = (0..hosts).map(|number| {
            let Habit { first_rhythm, flapping, by_id, starts_at_ms } = Habit::of(seed, number);
            calendar.enter(number, starts_at_ms);
            Host { rhythm: first_rhythm, turn: 0, returns: None, silent: false, flapping, by_id }
        });
        let hosts: Vec<Host> = hosts.collect();
        Fleet {
            announcer: Announcer::new(subject, 0, hosts.len(), leaves, 1),
            hosts,
            calendar,
            seed,
            start_ns: monotonic_ns(),
            doings: Doings::default(),
        }
    }

    /// Lets the hosts live until `stop`, and then lets all of them say goodbye.
    pub fn run(mut self, stop: &AtomicBool) -> (Tally, Doings) {
        while !stop.load(Ordering::Relaxed) {
            let calls = self.announcer.book.tally.calls;
            self.hear_of_leaves();
            // The calendar's present is that of the beginning, so that it is told of leaves in between, however busy it is.
            let now_ms = self.now_ms();
            while let Some(host) = self.calendar.take(now_ms) {
                self.turn(host);
            }
            self.announcer.look();
            self.announcer.progressed(self.announcer.book.tally.calls - calls);
            sleep(Duration::from_millis(SLOT_MS));
        }
        self.announcer.end(self.hosts.len());
        (self.announcer.book.tally, self.doings)
    }

    fn now_ms(&self) -> u64 {
        (monotonic_ns() - self.start_ns) / 1_000_000
    }

    fn hear_of_leaves(&mut self) {
        while let Some((number, present)) = self.announcer.next_leave() {
            if !present {
                continue;
            }
            let host = &mut self.hosts[number as usize];
            match host.returns.take() {
                Some(pause_ms) => {
                    let at_ms = self.now_ms() + u64::from(pause_ms);
                    self.calendar.enter(number, at_ms);
                }
                // It is in the calendar; one that is silent comes back about now, as planned.
                None => self.doings.unplanned += u64::from(!host.flapping),
            }
        }
    }

    /// A host's turn: it acts, and enters its next turn.
    fn turn(&mut self, number: u32) {
        let host = &mut self.hosts[number as usize];
        host.turn += 1;
        let silent = std::mem::take(&mut host.silent);
        let known = self.announcer.book.present(number);
        let Some((handle, heard_ns)) = known.filter(|_| host.flapping && !silent) else {
            // A host that is not known comes back, whatever the plan says.
            self.hear(number, known.map(|(handle, _)| handle));
            return self.enter_next(number);
        };
        match Act::of(self.seed, number, host.turn, host.rhythm) {
            Act::Announce => {
                self.hear(number, Some(handle));
                self.enter_next(number);
            }
            Act::Die { pause_ms } => {
                self.doings.deaths += 1;
                host.returns = Some(pause_ms as u32);
            }
            Act::Silence { until_ms } => {
                self.doings.silences += 1;
                host.silent = true;
                self.calendar.enter(number, (heard_ns - self.start_ns) / 1_000_000 + until_ms);
            }
            Act::Goodbye { pause_ms } => {
                self.doings.goodbyes += 1;
                let by_id = host.by_id;
                self.announcer.goodbye(number, handle, by_id);
                self.calendar.enter(number, self.now_ms() + pause_ms);
            }
            Act::Change(rhythm) => {
                self.doings.changes += 1;
                host.rhythm = rhythm;
                self.hear(number, None);
                self.enter_next(number);
            }
        }
    }

    fn enter_next(&mut self, number: u32) {
        let every_ms = self.hosts[number as usize].rhythm.every_ms;
        self.calendar.enter(number, self.now_ms() + u64::from(every_ms));
    }

    /// The host is heard: by its handle if it has one and uses it.
    fn hear(&mut self, number: u32, known: Option<u64>) {
        let Host { rhythm, by_id, .. } = self.hosts[number as usize];
        let whose = Whose { number, interval: rhythm.interval(), lasts_ns: rhythm.lasts_ms() * 1_000_000 };
        match known.filter(|_| !by_id) {
            Some(handle) => self.announcer.renew(whose, handle),
            None => self.announcer.announce(whose),
        }
    }
}
