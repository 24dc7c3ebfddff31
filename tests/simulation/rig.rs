//! The front's `advance` in small, on an engine that tests can reach: a clock that moves while nobody looks, a wheel that
//! can be made to forget, and the invariants of wheel and slab checked after each step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::expiry::deliver;
use crate::liveness::{Engine, Shared, Wake};
use crate::{Brake, Clock, Config, Event, Handle, Handler, Interval, Verdict};

/// Remembers that it was rung.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<AtomicBool>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bell {
    /// Whether it was rung since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Notes what comes and accepts it; `on_leave` runs first.
struct Notes<F> {
    events: Arc<Mutex<Vec<Event>>>,
    on_leave: F,
}

impl<F: FnMut(&Event) -> Verdict + Send + 'static> Handler for Notes<F> {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.events.lock().unwrap().push(event.clone());
        (self.on_leave)(event)
    }

    fn suspect(&mut self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }

    fn recovered(&mut self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }
}

pub(super) struct Rig {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) bell: Bell,
    handler: Box<dyn Handler>,
    events: Arc<Mutex<Vec<Event>>>,
    /// Check the invariants at every step: costs O(records).
    pub(super) checked: bool,
}

impl Rig {
    /// No guards, all time counts, a brisk back-stop.
    pub(super) fn config() -> Config {
        Config {
            clock: Clock::Manual,
            watchdog: Duration::ZERO,
            backstop: seconds(60),
            brake: Brake::OFF,
            silence_expected: 0,
            ..Config::default()
        }
    }

    pub(super) fn new(config: &Config) -> Rig {
        Rig::with_callback(config, |_| |_: &Event| Verdict::Done)
    }

    /// `callback` gets the shared side, to do in it what it likes.
    pub(super) fn with_callback<F, G>(config: &Config, callback: G) -> Rig
    where
        F: FnMut(&Event) -> Verdict + Send + 'static,
        G: FnOnce(Arc<Shared>) -> F,
    {
        let bell = Bell::default();
        let shared =
            Arc::new(Shared::new(config, false, Box::new(bell.clone()), 7, u32::MAX).expect("there is address space"));
        let events = Arc::new(Mutex::new(Vec::new()));
        let handler = Box::new(Notes { events: events.clone(), on_leave: callback(shared.clone()) });
        let mut engine = Engine::new(config, &shared);
        engine.step(&shared);
        Rig { shared, engine, bell, handler, events, checked: true }
    }

    pub(super) fn announce(&self, id: impl AsRef<[u8]>, every: Duration) -> Handle {
        let announced = self.shared.announce(id.as_ref(), Interval::from(every), Duration::ZERO, 0);
        announced.expect("there is room").handle
    }

    /// As `HostWheel::advance`, by so many milliseconds after the opening.
    pub(super) fn advance_ms(&mut self, ms: u64) -> Vec<Event> {
        self.set_clock_ms(ms);
        self.look()
    }

    /// The time that announces are stamped with; nobody looks at it.
    pub(super) fn set_clock_ms(&self, ms: u64) {
        self.shared.clock.set_manual(ms * 1_000_000);
    }

    /// Does all that is due.
    pub(super) fn look(&mut self) -> Vec<Event> {
        loop {
            self.engine.step(&self.shared);
            self.check();
            deliver(&self.shared, &mut self.engine, &mut *self.handler);
            self.check();
            if !self.engine.has_more(&self.shared) {
                return std::mem::take(&mut self.events.lock().unwrap());
            }
        }
    }

    fn check(&self) {
        if self.checked {
            self.engine.check_invariants(&self.shared);
        }
    }

    /// Advances in steps of so many milliseconds.
    pub(super) fn walk(&mut self, from_ms: u64, to_ms: u64, step_ms: usize) -> Vec<Event> {
        (from_ms..=to_ms).step_by(step_ms).flat_map(|ms| self.advance_ms(ms)).collect()
    }

    pub(super) fn forget(&mut self, handle: Handle) {
        self.engine.forget(&self.shared, handle.as_raw() as u32);
    }

    pub(super) fn rescues(&self) -> u64 {
        self.shared.stats().rescues
    }
}
