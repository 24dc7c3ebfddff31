//! A wheel and the oracle, told the same, compared at every step. Called by the property tests and by fuzzing.
//!
//! Callbacks run inside `advance` and compare each event as it comes; what disagrees there is kept as the world's failure,
//! because a panic in a callback is the library's to catch, and is reported after the advance.

#[path = "rules.rs"]
mod rules;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use hostwheel::{
    AnnounceError, Brake, Clock, Config, Event, EventKind, Events, Handle, Handler, HostState, HostWheel, LeaveError,
    LookupError, Outcome, Reason, RenewError, SettleError, Verdict,
};

use crate::oracle::{self, Oracle, Refusal, Rules, ceil_ms};
use rules::rules_of;

/// What a callback does before it answers.
#[derive(Clone, Debug)]
pub enum Meanwhile {
    Announce(u8, Duration),
    Renew(usize, Duration),
    Leave(usize),
}

/// How one callback behaves.
#[derive(Clone, Debug)]
pub struct Manner {
    pub verdict: Answer,
    /// Only done where a batch is one event, else what the batch holds already happened before it; and where the table
    /// cannot be full, because when during an advance a record comes back is open.
    pub meanwhile: Option<Meanwhile>,
}

#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Done,
    Retry(Duration),
    Panic,
}

/// What the test and the callbacks share.
pub struct World {
    pub oracle: Oracle,
    /// By incarnation, from 1.
    pub handles: Vec<Handle>,
    incarnations: HashMap<Handle, u64>,
    manners: Vec<Manner>,
    calls: usize,
    panics: u64,
    reenter: bool,
    /// Hosts that registered with an age.
    aged: u64,
    failure: Option<String>,
}

/// The two of them.
pub struct Duel {
    pub wheel: Arc<HostWheel>,
    events: Option<Events>,
    world: Arc<Mutex<World>>,
    /// The queue is so small that hosts wait; then it is drained at once after each advance.
    tight: bool,
    clock: Duration,
    /// Leaves drained and not answered with `Done`: handle and attempt.
    pub unsettled: Vec<(Handle, u32)>,
}

pub type Checked = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, library: T, oracle: T) -> Checked {
    if library == oracle { Ok(()) } else { Err(format!("{what}: the library says {library:?}, the oracle {oracle:?}")) }
}

/// The id of a host: short, long, or as long as can be.
pub fn name(id: u8) -> Vec<u8> {
    vec![id; [1, 17, hostwheel::LONGEST_ID][usize::from(id % 3)]]
}

struct Caller {
    world: Arc<Mutex<World>>,
    wheel: Arc<OnceLock<Weak<HostWheel>>>,
}

impl Handler for Caller {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.call(event)
    }

    fn suspect(&mut self, event: &Event) {
        self.call(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.call(event);
    }
}

impl Caller {
    fn call(&self, event: &Event) -> Verdict {
        let mut world = self.world.lock().unwrap();
        let Some(wheel) = self.wheel.get().and_then(Weak::upgrade) else { return Verdict::Done };
        let manner = world.next_manner();
        if let Err(failure) = world.take_event(event, &wheel, &manner) {
            world.failure.get_or_insert(failure);
        }
        let verdict = match manner.verdict {
            Answer::Done => Verdict::Done,
            Answer::Retry(after) => Verdict::Retry(after),
            Answer::Panic => {
                world.panics += 1;
                drop(world);
                // Without the panic hook's noise.
                resume_unwind(Box::new("a callback's panic"));
            }
        };
        drop(world);
        verdict
    }
}

impl World {
    fn next_manner(&mut self) -> Manner {
        self.calls += 1;
        let nothing = Manner { verdict: Answer::Done, meanwhile: None };
        if self.manners.is_empty() { nothing } else { self.manners[self.calls % self.manners.len()].clone() }
    }

    fn take_event(&mut self, event: &Event, wheel: &HostWheel, manner: &Manner) -> Checked {
        let event = self.translate(event)?;
        self.oracle.came(&event)?;
        // The oracle asks all hosts for each event, so callbacks that register and never accept get slow.
        let few = self.handles.len() < 40;
        if self.reenter && few && event.kind != oracle::Kind::Recovered {
            match manner.meanwhile {
                Some(Meanwhile::Announce(id, interval)) => {
                    self.announce(wheel, &name(id), interval, Duration::ZERO, 9)?
                }
                Some(Meanwhile::Renew(which, age)) => self.renew(wheel, which, age)?,
                Some(Meanwhile::Leave(which)) => self.leave_handle(wheel, which)?,
                None => {}
            }
        }
        self.oracle.answer(
            &event,
            match manner.verdict {
                Answer::Done => oracle::Verdict::Done,
                Answer::Retry(after) => oracle::Verdict::Retry(after),
                Answer::Panic => oracle::Verdict::Retry(Duration::ZERO),
            },
        );
        Ok(())
    }

    pub fn announce(&mut self, wheel: &HostWheel, id: &[u8], interval: Duration, age: Duration, data: u64) -> Checked {
        let library = wheel.announce_with(id, interval, age, data);
        let (library, oracle) = match (library, self.oracle.announce(id, interval, age, data)) {
            (Ok(library), Ok(oracle)) => (library, oracle),
            (library, oracle) => {
                let refusals = (library.map_err(announce_refusal).err(), oracle.err());
                return same("announce", refusals.0, refusals.1);
            }
        };
        same("announce's outcome", outcome(library.outcome), oracle.outcome)?;
        same("announce's interval", library.interval, Duration::from_millis(oracle.interval_ms))?;
        same("announce's clamp", library.clamped, oracle.clamped)?;
        if library.outcome != Outcome::Registered {
            return same("announce's handle", Some(&library.handle), self.handle_of(oracle.incarnation));
        }
        if self.incarnations.insert(library.handle, oracle.incarnation).is_some() {
            return Err(format!("{} was issued twice", library.handle));
        }
        self.handles.push(library.handle);
        self.aged += u64::from(!age.is_zero());
        same("announce's age", library.age_cut, oracle.age_cut)
    }

    pub fn replace(&mut self, wheel: &HostWheel, id: &[u8], interval: Duration, data: u64) -> Checked {
        let (library, (oracle, ended)) =
            match (wheel.replace(id, interval, data), self.oracle.replace(id, interval, data)) {
                (Ok(library), Ok(oracle)) => (library, oracle),
                (library, oracle) => {
                    let refusals = (library.map_err(announce_refusal).err(), oracle.err());
                    return same("replace", refusals.0, refusals.1);
                }
            };
        let library_ended = library.ended.map(|(handle, data)| (self.incarnations.get(&handle).copied(), data));
        same("what ended", library_ended, ended.map(|(incarnation, data)| (Some(incarnation), data)))?;
        let announced = library.announced;
        same("replace's outcome", outcome(announced.outcome), oracle.outcome)?;
        same("replace's interval", announced.interval, Duration::from_millis(oracle.interval_ms))?;
        if self.incarnations.insert(announced.handle, oracle.incarnation).is_some() {
            return Err(format!("{} was issued twice", announced.handle));
        }
        self.handles.push(announced.handle);
        same("replace's clamp", announced.clamped, oracle.clamped)
    }

    pub fn renew(&mut self, wheel: &HostWheel, which: usize, age: Duration) -> Checked {
        let Some((handle, incarnation)) = self.pick(which) else { return Ok(()) };
        let library = wheel.renew_seen(handle, age).map(outcome).map_err(|e| match e {
            RenewError::Stale => Refusal::Stale,
            RenewError::Taken => Refusal::Taken,
            _ => Refusal::Closed,
        });
        same("renew", library, self.oracle.renew(incarnation, age))
    }

    pub fn leave(&mut self, wheel: &HostWheel, id: &[u8]) -> Checked {
        same("leave", wheel.leave(id).map_err(leave_refusal), self.oracle.leave(id))
    }

    pub fn leave_handle(&mut self, wheel: &HostWheel, which: usize) -> Checked {
        let Some((handle, incarnation)) = self.pick(which) else { return Ok(()) };
        same("leave", wheel.leave_handle(handle).map_err(leave_refusal), self.oracle.leave_incarnation(incarnation))
    }

    /// One of all handles ever issued, the latest more often.
    pub fn pick(&self, which: usize) -> Option<(Handle, u64)> {
        let count = self.handles.len();
        let at = if which.is_multiple_of(2) {
            count.checked_sub(1 + which / 2 % count.clamp(1, 6))?
        } else {
            which % count.max(1)
        };
        self.handles.get(at).map(|handle| (*handle, at as u64 + 1))
    }

    fn handle_of(&self, incarnation: u64) -> Option<&Handle> {
        self.handles.get(incarnation as usize - 1)
    }

    fn translate(&self, event: &Event) -> Result<oracle::Event, String> {
        let incarnation = self.incarnations.get(&event.handle()).copied();
        Ok(oracle::Event {
            kind: match event.kind() {
                EventKind::Suspect => oracle::Kind::Suspect,
                EventKind::Recovered => oracle::Kind::Recovered,
                _ => oracle::Kind::Leave,
            },
            reason: match event.reason() {
                Reason::Ttl => oracle::Reason::Ttl,
                Reason::HostTtl => oracle::Reason::HostTtl,
                other => return Err(format!("{event} has reason {other:?}")),
            },
            attempt: event.attempt(),
            superseded: event.superseded(),
            incarnation: incarnation.ok_or_else(|| format!("{event} has a handle never issued"))?,
            id: event.id().to_vec(),
            user_data: event.user_data(),
            interval_ms: event.interval().map_or(0, ceil_ms),
            last_seen_ms: ceil_ms(event.last_seen()),
            deadline_ms: ceil_ms(event.deadline()),
            now_ms: ceil_ms(event.now()),
            lateness_ns: event.lateness().as_nanos() as u64,
            away_ns: event.away().as_nanos() as u64,
        })
    }
}

impl Duel {
    /// `manners` are used in turn, one per callback; `None` stands for drain delivery.
    pub fn new(config: &Config, manners: Option<Vec<Manner>>) -> Duel {
        // The oracle knows no guards.
        let config = Config { clock: Clock::Manual, brake: Brake::OFF, silence_expected: 0, ..config.clone() };
        let drained = manners.is_none();
        let world = Arc::new(Mutex::new(World {
            oracle: Oracle::new(rules_of(&config, drained)),
            handles: Vec::new(),
            incarnations: HashMap::new(),
            manners: manners.unwrap_or_default(),
            calls: 0,
            panics: 0,
            aged: 0,
            reenter: config.batch == 1 && config.max_hosts > 1000,
            failure: None,
        }));
        let way_back = Arc::new(OnceLock::new());
        let tight = config.max_outstanding < 1000;
        let (wheel, events) = if drained {
            let (wheel, events) = HostWheel::drained(config).expect("a good configuration");
            (wheel, Some(events))
        } else {
            let caller = Caller { world: world.clone(), wheel: way_back.clone() };
            (HostWheel::manual(config, caller).expect("a good configuration"), None)
        };
        let wheel = Arc::new(wheel);
        way_back.set(Arc::downgrade(&wheel)).expect("set once");
        Duel { wheel, events, world, tight, clock: Duration::ZERO, unsettled: Vec::new() }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn clock(&self) -> Duration {
        self.clock
    }

    /// Moves both clocks to `clock` and compares what comes of it.
    pub fn advance(&mut self, clock: Duration) -> Checked {
        self.clock = self.clock.max(clock);
        match (self.events.is_some(), self.tight) {
            (false, _) => self.advance_calling()?,
            (true, false) => self.advance_predicted()?,
            (true, true) => self.advance_tight()?,
        }
        self.check_next_due()?;
        self.check_stats()
    }

    fn advance_calling(&mut self) -> Checked {
        let calls = {
            let mut world = self.world();
            world.oracle.advance(self.clock).map_err(|e| format!("{e:?}"))?;
            world.calls
        };
        let mut made = self.wheel.advance(self.clock).map_err(|e| e.to_string())?;
        // What callbacks did may be looked at by the next advance only, which is due at once then.
        while self.world().reenter && self.wheel.next_due().map_err(|e| e.to_string())? == Some(self.clock) {
            made += self.wheel.advance(self.clock).map_err(|e| e.to_string())?;
        }
        let mut world = self.world();
        if let Some(failure) = world.failure.take() {
            return Err(failure);
        }
        same("the number of events", made, world.calls - calls)?;
        let overdue = world.oracle.overdue();
        if overdue.is_empty() { Ok(()) } else { Err(format!("these events did not come: {overdue:?}")) }
    }

    /// The queue has room for all, so who comes is determined; they are compared when they are drained.
    fn advance_predicted(&mut self) -> Checked {
        let queued = self.world().oracle.queued();
        if queued > 2000 {
            self.drain(usize::MAX)?;
        }
        let predicted = self.world().oracle.predict(self.clock, |_| oracle::Verdict::Done);
        let made = self.wheel.advance(self.clock).map_err(|e| e.to_string())?;
        same("the number of events", made, predicted.map_err(|e| format!("{e:?}"))?.len())
    }

    fn advance_tight(&mut self) -> Checked {
        self.world().oracle.advance(self.clock).map_err(|e| format!("{e:?}"))?;
        loop {
            let made = self.wheel.advance(self.clock).map_err(|e| e.to_string())?;
            let mut drained = Vec::new();
            self.events.as_mut().expect("drained").drain(&mut drained, usize::MAX);
            same("the number of events", made, drained.len())?;
            let mut world = self.world();
            let mut came = Vec::new();
            for event in &drained {
                let superseded = world.translate(event)?;
                let event = oracle::Event { superseded: false, ..superseded.clone() };
                world.oracle.came(&event)?;
                came.push(superseded);
            }
            let overdue = world.oracle.overdue();
            if !overdue.is_empty() {
                return Err(format!("these events did not come: {overdue:?}"));
            }
            for event in &came {
                world.oracle.was_drained(event)?;
            }
            drop(world);
            self.keep_unsettled(&drained);
            if made == 0 {
                return Ok(());
            }
            // There is room again for those that waited.
            self.world().oracle.advance(self.clock).map_err(|e| format!("{e:?}"))?;
        }
    }

    fn keep_unsettled(&mut self, drained: &[Event]) {
        for event in drained.iter().filter(|event| event.kind() == EventKind::Leave) {
            self.unsettled.push((event.handle(), event.attempt()));
        }
    }

    pub fn drain(&mut self, limit: usize) -> Checked {
        let mut drained = Vec::new();
        let Some(events) = &mut self.events else { return Ok(()) };
        let count = events.drain(&mut drained, limit);
        same("drained", count, drained.len())?;
        let mut world = self.world();
        same("drained", count, limit.min(world.oracle.queued()))?;
        for event in &drained {
            let event = world.translate(event)?;
            world.oracle.was_drained(&event)?;
        }
        drop(world);
        self.keep_unsettled(&drained);
        Ok(())
    }

    pub fn settle(&mut self, handle: Handle, attempt: u32, verdict: Verdict) -> Checked {
        let library = self.wheel.settle(handle, attempt, verdict).map_err(|e| match e {
            SettleError::Mode => Refusal::Mode,
            SettleError::Stale => Refusal::Stale,
            SettleError::Attempt => Refusal::Attempt,
            _ => Refusal::Closed,
        });
        let told = match verdict {
            Verdict::Done => oracle::Verdict::Done,
            Verdict::Retry(after) => oracle::Verdict::Retry(after),
        };
        let mut world = self.world();
        let incarnation = world.incarnations.get(&handle).copied().unwrap_or(u64::MAX);
        same("settle", library, world.oracle.settle(incarnation, attempt, told))
    }

    pub fn find(&self, id: &[u8]) -> Checked {
        let world = self.world();
        let library = self.wheel.find(id).map_err(lookup_refusal);
        same("find", library, world.oracle.find(id).map(|incarnation| world.handles[incarnation as usize - 1]))
    }

    pub fn inspect(&self, which: usize) -> Checked {
        let world = self.world();
        let Some((handle, incarnation)) = world.pick(which) else { return Ok(()) };
        let library = self.wheel.inspect(handle).map_err(lookup_refusal).map(|status| oracle::Status {
            state: match status.state {
                HostState::Live => oracle::State::Live,
                HostState::Suspect => oracle::State::Suspect,
                _ => oracle::State::Taken,
            },
            interval_ms: status.interval.map_or(0, ceil_ms),
            last_seen_ms: ceil_ms(status.last_seen),
            // Rounded down, and with the part of it that lies before the opening.
            age_ms: (status.age.as_millis() as u64).min(self.wheel.now().as_millis() as u64),
            deadline_ms: ceil_ms(status.deadline),
            leaves_at_ms: ceil_ms(status.leaves_at),
            user_data: status.user_data,
        });
        let now_ms = world.oracle.time().now_ns() / 1_000_000;
        let oracle = world.oracle.inspect(incarnation).map(|s| oracle::Status { age_ms: s.age_ms.min(now_ms), ..s });
        same("inspect", library, oracle)
    }

    pub fn each(&self) -> Checked {
        let world = self.world();
        let now_ms = world.oracle.time().now_ns() / 1_000_000;
        let mut library = Vec::new();
        self.wheel.each(|host| {
            library.push(oracle::View {
                id: host.id.to_vec(),
                incarnation: world.incarnations.get(&host.handle).copied().unwrap_or(0),
                interval_ms: host.interval.map_or(0, ceil_ms),
                age_ms: (host.age.as_millis() as u64).min(now_ms),
                suspect: host.suspect,
                user_data: host.user_data,
            });
            ControlFlow::Continue(())
        });
        library.sort();
        let mut oracle = world.oracle.each();
        oracle.iter_mut().for_each(|view| view.age_ms = view.age_ms.min(now_ms));
        oracle.sort();
        same("each", library, oracle)
    }

    /// A handle that was never issued gets an error from every call.
    pub fn try_forged(&self, raw: u64) -> Checked {
        let Some(handle) = Handle::from_raw(raw) else { return Ok(()) };
        if self.world().incarnations.contains_key(&handle) {
            return Ok(());
        }
        let refused = self.wheel.renew(handle).is_err()
            && self.wheel.leave_handle(handle).is_err()
            && self.wheel.inspect(handle).is_err()
            && self.wheel.settle(handle, 1, Verdict::Done).is_err();
        same("a forged handle is refused", refused, true)
    }

    /// Closes both; from then on all but look-ups is refused.
    pub fn close(&mut self) -> Checked {
        same("close", self.wheel.close(Duration::ZERO).is_ok(), true)?;
        self.world().oracle.close();
        same("advance after close", self.wheel.advance(self.clock + Duration::from_secs(9999)).is_err(), true)
    }

    fn check_next_due(&self) -> Checked {
        let next = self.wheel.next_due().map_err(|e| e.to_string())?.map(|at| at.as_nanos() as u64);
        let world = self.world();
        if world.oracle.is_empty() {
            return same("next_due of nothing", next, None);
        }
        let time = world.oracle.time();
        // A host that waits and is renewed stays in its queue until there is room again.
        let due = if self.wheel.stats().waiting > 0 { None } else { world.oracle.due_at_ns() };
        let latest = [due, time.next_look_ns()].into_iter().flatten().min();
        match (next, latest) {
            (_, None) => Ok(()),
            (Some(next), Some(latest)) if (time.clock_ns()..=latest.max(time.clock_ns())).contains(&next) => Ok(()),
            _ => Err(format!("next_due is {next:?} ns, expected {}..={latest:?}", time.clock_ns())),
        }
    }

    fn check_stats(&self) -> Checked {
        let stats = self.wheel.stats();
        let world = self.world();
        let library = oracle::Counts {
            live: stats.live,
            suspect: stats.suspect,
            outstanding: stats.outstanding,
            registered: stats.registered,
            left: stats.left,
            leaves_ttl: stats.leaves_ttl,
            leaves_host_ttl: stats.leaves_host_ttl,
            suspects: stats.suspects,
            recoveries: stats.recoveries,
            retries: stats.retries,
            superseded: stats.superseded,
            clamps: stats.clamps,
            records: stats.records,
        };
        let mut counts = world.oracle.counts();
        let waiting = world.oracle.waiting();
        if waiting > 0 {
            // A suspect that was heard and waits for room to tell counts as one until then.
            counts.suspect = library.suspect;
        }
        // A host with an age takes a record that was never used where those that were are too young.
        if (counts.records..=counts.records + world.aged).contains(&library.records) {
            counts.records = library.records;
        }
        if world.reenter {
            // When exactly during an advance the record of a host that left comes back, before or after a callback that
            // registers another, is open.
            counts.records = library.records;
        }
        same("stats", library, counts)?;
        same("stats.waiting holds all that wait", stats.waiting >= waiting as u64, true)?;
        same("rescues", stats.rescues, 0)?;
        same("leaves of the back-stop", stats.leaves_backstop, 0)?;
        same("panics", stats.panics, world.panics)?;
        same("away", stats.away.as_nanos() as u64, world.oracle.time().missed_ns())?;
        same("now", stats.now.as_nanos() as u64, world.oracle.time().now_ns())
    }
}

fn outcome(outcome: Outcome) -> oracle::Outcome {
    match outcome {
        Outcome::Registered => oracle::Outcome::Registered,
        Outcome::Renewed => oracle::Outcome::Renewed,
        Outcome::Recovered => oracle::Outcome::Recovered,
    }
}

fn announce_refusal(error: AnnounceError) -> Refusal {
    match error {
        AnnounceError::IdLength => Refusal::IdLength,
        AnnounceError::Full => Refusal::Full,
        _ => Refusal::Closed,
    }
}

fn leave_refusal(error: LeaveError) -> Refusal {
    match error {
        LeaveError::IdLength => Refusal::IdLength,
        LeaveError::NotFound => Refusal::NotFound,
        LeaveError::Stale => Refusal::Stale,
        LeaveError::Taken => Refusal::Taken,
        _ => Refusal::Closed,
    }
}

fn lookup_refusal(error: LookupError) -> Refusal {
    match error {
        LookupError::IdLength => Refusal::IdLength,
        LookupError::NotFound => Refusal::NotFound,
        _ => Refusal::Stale,
    }
}
