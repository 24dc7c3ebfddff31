//! Loom models of the handshakes, on the production code: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.
//!
//! Under `cfg(loom)` bitmap words have two bits, all records have memory from the start, steps visit one record of a kind, the
//! clock is manual, and the index is one atomic word per id: a lock in it would order more than the protocol does. The drain
//! queue shows loom its length only. Growth of the slab and of the index is not modelled.
//!
//! Each model has a canary for each rule that it is there to show: with that rule broken it must fail.

mod handshake;
mod life;
mod memory;
mod replace;
mod stamps;

use std::time::Duration;

use super::{Engine, Shared, Wake};
use crate::canary::Canary;
use crate::config::{Brake, Clock, Config};
use crate::event::Event;
use crate::exploring::{deep, explore, must_fail};
use crate::record::Handle;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::tick::{EPOCH, TICK_NS, Tick};

/// The wake-up that the thread's poll would see.
#[derive(Clone)]
struct Bell(Arc<AtomicBool>);

impl Wake for Bell {
    fn wake(&self) {
        // Release: the write to the eventfd orders as much.
        self.0.store(true, Ordering::Release);
    }
}

/// A wheel in a model. The engine stays on the model's main thread.
struct World {
    shared: Arc<Shared>,
    bell: Bell,
}

impl World {
    /// A wheel on the manual clock, after its first look.
    fn new(config: Config, drained: bool) -> (World, Engine) {
        World::open(Config { clock: Clock::Manual, ..config }, drained)
    }

    fn open(config: Config, drained: bool) -> (World, Engine) {
        let bell = Bell(Arc::new(AtomicBool::new(false)));
        let shared =
            Arc::new(Shared::new(&config, drained, Box::new(bell.clone()), 1, u32::MAX).expect("models have memory"));
        let mut engine = Engine::new(&config, &shared);
        engine.step(&shared);
        (World { shared, bell }, engine)
    }

    /// The usual one: no watchdog, no back-stop, four records.
    fn plain() -> (World, Engine) {
        World::new(quiet(), false)
    }

    fn announce(&self, id: u8, seconds: u64) -> Handle {
        announce(&self.shared, id, seconds)
    }

    /// Sets the clock and works off all that is due or marked; returns the events, leaves unanswered.
    fn advance(&self, engine: &mut Engine, ms: u64) -> Vec<Event> {
        self.shared.clock.set_manual(ms * TICK_NS);
        run(&self.shared, engine)
    }

    fn armed(&self, handle: Handle) -> Tick {
        self.shared.slab.record(handle.index()).armed()
    }

    fn due(&self, handle: Handle) -> Tick {
        self.shared.look_at(self.shared.slab.record(handle.index()).word())
    }

    /// What must hold for an announce that has returned, `asleep` being what the thread believes: it is awake, or woken, or
    /// wakes up in time by itself.
    fn assert_noticed(&self, asleep: bool, due: Tick) {
        let alarm = self.shared.alarm.load(Ordering::Relaxed);
        let woken = self.bell.0.load(Ordering::Acquire);
        assert!(!asleep || woken || alarm <= due, "the thread sleeps until {alarm}, past {due}");
    }
}

fn quiet() -> Config {
    Config {
        watchdog: Duration::ZERO,
        backstop: Duration::ZERO,
        max_hosts: 4,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

fn announce(shared: &Shared, id: u8, seconds: u64) -> Handle {
    let interval = Duration::from_secs(seconds).into();
    shared.announce(&[id], interval, Duration::ZERO, 0).expect("there is room").handle
}

fn run(shared: &Shared, engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        engine.step(shared);
        events.append(&mut engine.take_batch());
        if !engine.has_more(shared) {
            return events;
        }
    }
}

/// One turn of the thread's loop: work, then try to sleep.
fn turn(shared: &Shared, engine: &mut Engine) -> bool {
    run(shared, engine);
    engine.may_sleep(shared, engine.next_look())
}

fn tick(ms: u64) -> Tick {
    EPOCH + ms
}
