//! The hosts of one thread on one wheel, and the book that judges them: every call is told to the book.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::sleep;
use std::time::Duration;

use hostwheel::{Handle, HostWheel, LeaveError, RenewError};

use crate::book::{Book, Leave, Moment};
use crate::lag::covered_ns;
use crate::promises::{Breaches, Promise};
use crate::subject::{Progress, Subject, id, user_data};
use crate::system::{coarse_lag_ns, monotonic_ns};

/// How often missing leaves are looked for.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// How long the end of a run waits for the last leaves: longer than any delay that consumers ask for.
const LAST_LEAVES_NS: u64 = 20_000_000_000;

/// A host of an announcer: its number, how it announces itself by id, and how long after an announce it leaves.
#[derive(Clone, Copy)]
pub struct Whose {
    pub number: u32,
    pub interval: Duration,
    pub lasts_ns: u64,
}

/// Announces hosts.
pub struct Announcer {
    wheel: Arc<HostWheel>,
    pub book: Book,
    leaves: Receiver<Leave>,
    progress: Arc<Progress>,
    breaches: Arc<Breaches>,
    /// Which of the wheel's books this is.
    number: usize,
    /// A reading of the clocks serves for so many calls. It is never later than the call, so no breach is imagined for it,
    /// but a leave that is early by less than the calls take is not noticed.
    calls_per_reading: u32,
    calls_left: u32,
    reading: Moment,
    /// The lag that the least margin covers: a margin never shrinks.
    covered_ns: u64,
    next_look_ns: u64,
}

impl Announcer {
    /// The announcer with the book `number` of `hosts` hosts.
    pub fn new(
        subject: &Subject,
        number: usize,
        hosts: usize,
        leaves: Receiver<Leave>,
        calls_per_reading: u32,
    ) -> Announcer {
        Announcer {
            wheel: subject.wheel.clone(),
            book: Book::new(hosts, subject.bench.clone()),
            leaves,
            progress: subject.progress.clone(),
            breaches: subject.bench.breaches.clone(),
            number,
            calls_per_reading,
            calls_left: 0,
            reading: Moment::default(),
            covered_ns: covered_ns(&subject.wheel.stats()),
            next_look_ns: 0,
        }
    }

    fn wheel_ns(&self) -> u64 {
        self.wheel.now().as_nanos() as u64
    }

    /// Has the next call read the clocks.
    pub fn read_clocks(&mut self) {
        self.calls_left = 0;
    }

    /// The moment before a call.
    fn moment(&mut self) -> Moment {
        if self.calls_left == 0 {
            self.calls_left = self.calls_per_reading;
            let before_ns = monotonic_ns();
            let lag_ns = coarse_lag_ns(before_ns).saturating_sub(self.covered_ns);
            let wheel_ns = self.wheel_ns();
            self.reading = Moment { before_ns, lag_ns, wheel_ns, wheel_after_ns: wheel_ns };
        }
        self.calls_left -= 1;
        self.reading
    }

    /// The same moment, after the call. Once many calls share a reading, its error is within what the book waits anyway.
    fn after(&self, moment: Moment) -> Moment {
        if self.calls_left > 0 { moment } else { Moment { wheel_after_ns: self.wheel_ns(), ..moment } }
    }

    /// The host renews by its handle; if it has gone, it comes back.
    pub fn renew(&mut self, host: Whose, handle: u64) {
        let moment = self.moment();
        match Handle::from_raw(handle).map(|handle| self.wheel.renew(handle)) {
            Some(Ok(outcome)) => {
                let moment = self.after(moment);
                self.book.accepted(host.number, moment, host.lasts_ns, handle, outcome);
            }
            Some(Err(RenewError::Stale | RenewError::Taken)) => {
                self.book.gone(host.number);
                self.announce(host);
            }
            Some(Err(e)) => self.refused(host.number, "a renew", &e),
            None => self.refused(host.number, "a renew", &"its handle is 0"),
        }
    }

    /// The host announces itself by its id.
    pub fn announce(&mut self, host: Whose) {
        let new = self.book.present(host.number).is_none();
        if new {
            // It is going to be measured how long a registration takes, and it may take long.
            self.read_clocks();
        }
        let moment = self.moment();
        let user_data = user_data(self.number, host.number);
        match self.wheel.announce_with(id(user_data), host.interval, Duration::ZERO, user_data) {
            Ok(announced) => {
                if new {
                    self.progress.registered(monotonic_ns() - moment.before_ns);
                    self.read_clocks();
                }
                let (moment, handle) = (self.after(moment), announced.handle.as_raw());
                self.book.accepted(host.number, moment, host.lasts_ns, handle, announced.outcome);
            }
            Err(e) => self.refused(host.number, "an announce", &e),
        }
    }

    /// The host says goodbye, by its handle or by its id. One that was handed out as a leave has gone already.
    pub fn goodbye(&mut self, number: u32, handle: u64, by_id: bool) {
        let user_data = user_data(self.number, number);
        let left = match Handle::from_raw(handle).filter(|_| !by_id) {
            Some(handle) => self.wheel.leave_handle(handle),
            None => self.wheel.leave(id(user_data)),
        };
        match left {
            Ok(its) if its != user_data => self.refused(number, "a goodbye", &format!("the user data is {its}")),
            Ok(_) => self.book.said_goodbye(number),
            Err(LeaveError::Stale | LeaveError::Taken | LeaveError::NotFound) => self.book.gone(number),
            Err(e) => self.refused(number, "a goodbye", &e),
        }
    }

    fn refused(&mut self, number: u32, what: &str, why: &dyn Display) {
        self.breaches.note(Promise::AnnounceAccepted, || format!("host {number}: {what}: {why}"));
    }

    /// The next leave that was told. Says as well whether it was of the host's present incarnation.
    pub fn next_leave(&mut self) -> Option<(u32, bool)> {
        let leave = self.leaves.try_recv().ok()?;
        Some((leave.host, self.book.left(&leave)))
    }

    /// Now and then: looks for missing leaves.
    pub fn look(&mut self) {
        let now_ns = monotonic_ns();
        if now_ns >= self.next_look_ns {
            self.next_look_ns = now_ns + LOOK_EVERY_NS;
            let stats = self.wheel.stats();
            self.book.look(stats.now.as_nanos() as u64, (stats.brake + stats.silence).as_nanos() as u64);
        }
    }

    /// Tells the sampler of `calls` more calls.
    pub fn progressed(&self, calls: u64) {
        self.progress.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// All hosts say goodbye, and the last leaves come.
    pub fn end(&mut self, hosts: usize) {
        for number in 0..hosts as u32 {
            if let Some((handle, _)) = self.book.present(number) {
                self.goodbye(number, handle, false);
            }
        }
        let until_ns = monotonic_ns() + LAST_LEAVES_NS;
        // The leaves of those that were gone already are on their way, or missing.
        while self.book.is_waiting() && monotonic_ns() < until_ns {
            sleep(Duration::from_millis(10));
            while self.next_leave().is_some() {}
            self.look();
        }
    }
}
