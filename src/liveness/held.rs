//! Real threads, one of them held back at each step of each operation, while the others still finish: what "lock-free"
//! promises. Afterwards the books must balance: every incarnation ended in one goodbye or one leave.

mod looks;

use std::collections::HashSet;
use std::time::Duration;

use super::{Announced, Engine, Outcome, Shared, Wake};
use crate::config::{Brake, Clock, Config};
use crate::event::{Event, EventKind, Verdict};
use crate::holding::Held;
use crate::pause::Point;
use crate::record::Handle;
use crate::sync::Arc;
use crate::tick::TICK_NS;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// A wheel on a manual clock and its books.
struct World {
    shared: Arc<Shared>,
    began: HashSet<Handle>,
    said_goodbye: HashSet<Handle>,
    fired: Vec<Handle>,
}

impl World {
    fn new() -> (World, Engine) {
        World::watched(Duration::ZERO)
    }

    fn watched(watchdog: Duration) -> (World, Engine) {
        World::with(watchdog, false)
    }

    fn drained() -> (World, Engine) {
        World::with(Duration::ZERO, true)
    }

    fn with(watchdog: Duration, drained: bool) -> (World, Engine) {
        let config = Config {
            clock: Clock::Manual,
            watchdog,
            max_hosts: 64,
            brake: Brake::OFF,
            silence_expected: 0,
            ..Config::default()
        };
        let shared =
            Arc::new(Shared::new(&config, drained, Box::new(Nobody), 7, u32::MAX).expect("there is address space"));
        let mut engine = Engine::new(&config, &shared);
        engine.step(&shared);
        let mut world = World { shared, began: HashSet::new(), said_goodbye: HashSet::new(), fired: Vec::new() };
        for id in 0..8 {
            world.announce(id, 10);
        }
        world.advance(&mut engine, 0);
        (world, engine)
    }

    fn announce(&mut self, id: u8, seconds: u64) -> Announced {
        let announced = announce(&self.shared, id, seconds);
        self.began.insert(announced.handle);
        announced
    }

    fn leave(&mut self, id: u8) {
        let handle = self.shared.find(&[id]).expect("the host is known");
        self.shared.leave_handle(handle).expect("the host is known");
        self.said_goodbye.insert(handle);
    }

    fn advance(&mut self, engine: &mut Engine, seconds: u64) -> Vec<Event> {
        let events = advance(&self.shared, engine, seconds);
        self.fired.extend(events.iter().filter(|e| e.kind() == EventKind::Leave).map(Event::handle));
        events
    }

    /// As [`advance`](Self::advance); the events wait to be drained.
    fn advance_drained(&self, engine: &mut Engine, seconds: u64) {
        assert!(advance(&self.shared, engine, seconds).is_empty());
    }

    /// What everybody else does while one is held: registers, renews, leaves, comes back, looks, expires.
    fn others_carry_on(&mut self, id_in_question: u8) {
        assert!(self.announce(id_in_question, 9).interval == Duration::from_secs(9));
        let known = self.announce(1, 10);
        assert_eq!(known.outcome, Outcome::Renewed);
        assert_eq!(self.shared.renew(known.handle, Duration::ZERO), Ok(Outcome::Renewed));
        self.leave(2);
        assert_eq!(self.announce(2, 10).outcome, Outcome::Registered);
        for id in 20..24 {
            assert_eq!(self.announce(id, 10).outcome, Outcome::Registered);
        }
        let mut hosts = 0;
        self.shared.each(|_| {
            hosts += 1;
            std::ops::ControlFlow::Continue(())
        });
        assert!(hosts >= 9);
    }

    /// Lets all hosts expire and compares the books.
    fn balance(mut self, engine: &mut Engine) {
        for seconds in [200, 230, 260, 600] {
            self.advance(engine, seconds);
            engine.check_invariants(&self.shared);
        }
        let fired: HashSet<Handle> = self.fired.iter().copied().collect();
        assert_eq!(fired.len(), self.fired.len(), "a leave was fired twice");
        let mut expected = self.began;
        expected.retain(|handle| !self.said_goodbye.contains(handle));
        assert_eq!(fired, expected, "one leave for every host that did not say goodbye, and no other");
        let stats = self.shared.stats();
        assert_eq!((stats.live, stats.outstanding, stats.waiting, stats.rescues), (0, 0, 0, 0));
    }
}

fn announce(shared: &Shared, id: u8, seconds: u64) -> Announced {
    shared.announce(&[id], Duration::from_secs(seconds).into(), Duration::ZERO, 0).expect("there is room")
}

fn advance(shared: &Shared, engine: &mut Engine, seconds: u64) -> Vec<Event> {
    shared.clock.set_manual(seconds * 1000 * TICK_NS);
    step(shared, engine)
}

fn step(shared: &Shared, engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        engine.step(shared);
        let batch = engine.take_batch();
        for event in batch.iter().filter(|event| event.kind() == EventKind::Leave) {
            engine.answer(shared, event, Verdict::Done);
        }
        events.extend(batch);
        if !engine.has_more(shared) {
            return events;
        }
    }
}

#[test]
fn an_announcer_of_a_known_host_may_be_held_at_any_step() {
    use Point::*;
    for point in [Comparing, LookedUp, WordRead, Stamped, Heard, Reporting, LeafMarked, MiddleMarked, Marked] {
        for resume_at in [1, 40] {
            let (mut world, mut engine) = World::new();
            let shared = world.shared.clone();
            // A shorter interval, so that there is something to report.
            let held = Held::at([point], move || announce(&shared, 0, 5));
            world.others_carry_on(0);
            world.advance(&mut engine, 1);
            // Held past its TTL and grace: the host may leave under its announcer, and the others do in time.
            world.advance(&mut engine, resume_at);
            world.began.insert(held.finish().handle);
            world.balance(&mut engine);
        }
    }
}

/// The time that was not counted, and that the announcer may or may not know of, is neither taken from the host nor given
/// to it twice.
#[test]
fn an_announcer_may_be_held_across_a_stop_of_the_observer() {
    use Point::*;
    for point in [LookedUp, WordRead, Stamped, Heard] {
        let (mut world, mut engine) = World::watched(Duration::from_secs(1));
        let shared = world.shared.clone();
        let held = Held::at([point], move || announce(&shared, 0, 10));
        // A minute in which nobody looks, and then a look.
        assert!(world.advance(&mut engine, 60).is_empty(), "{point:?}");
        assert_eq!(world.shared.stats().away, Duration::from_millis(59_250));
        let handle = held.finish().handle;
        let status = world.shared.inspect(handle).expect("it is alive");
        assert!(status.last_seen <= Duration::from_millis(750), "{point:?}: {status:?}");
        // From then on half a second at a time: it lives for its TTL and grace, to the half second.
        let mut left_at = None;
        for half in 121..220 {
            world.shared.clock.set_manual(half * 500 * TICK_NS);
            let events = step(&world.shared, &mut engine);
            if events.iter().any(|e| e.kind() == EventKind::Leave && e.handle() == handle) {
                left_at = Some(half * 500 - 59_250);
            }
        }
        let due = status.leaves_at.as_millis() as u64;
        let left_at = left_at.expect("it leaves");
        assert!((due..=due + 500).contains(&left_at), "{point:?}: due at {due}, left at {left_at}");
    }
}

#[test]
fn a_registrant_may_be_held_at_any_step() {
    use Point::*;
    for point in [LookedUp, Filled, Entering, Entered, Reporting, LeafMarked, MiddleMarked, Marked] {
        for resume_at in [1, 40] {
            let (mut world, mut engine) = World::new();
            let shared = world.shared.clone();
            let held = Held::at([point], move || announce(&shared, 50, 5));
            world.others_carry_on(50);
            world.advance(&mut engine, 1);
            world.advance(&mut engine, resume_at);
            world.began.insert(held.finish().handle);
            world.balance(&mut engine);
        }
    }
}

#[test]
fn a_replacer_may_be_held_at_any_step() {
    use Point::*;
    for point in [Filled, Entering, Entered, Leaving, Left, Replaced, Reporting, LeafMarked, MiddleMarked, Marked] {
        for resume_at in [1, 40] {
            let (mut world, mut engine) = World::new();
            let shared = world.shared.clone();
            let before = shared.find(&[3]).expect("the host is known");
            let held = Held::at([point], move || {
                shared.replace(&[3], Duration::from_secs(10).into(), 7).expect("there is room")
            });
            let found = world.shared.find(&[3]).expect("the id is known at each moment");
            assert_eq!(found == before, world.shared.renew(before, Duration::ZERO).is_ok(), "at {point:?}");
            world.others_carry_on(3);
            world.advance(&mut engine, 1);
            world.advance(&mut engine, resume_at);
            let replaced = held.finish();
            world.began.insert(replaced.announced.handle);
            world.said_goodbye.extend(replaced.ended.map(|(handle, _)| handle));
            world.balance(&mut engine);
        }
    }
}

#[test]
fn a_registrant_may_be_held_while_it_takes_a_record() {
    let (mut world, mut engine) = World::new();
    world.leave(7);
    world.leave(6);
    world.advance(&mut engine, 1);
    let shared = world.shared.clone();
    let held = Held::at([Point::Popping], move || announce(&shared, 50, 5));
    world.others_carry_on(0);
    world.advance(&mut engine, 2);
    world.began.insert(held.finish().handle);
    world.balance(&mut engine);
}

#[test]
fn a_leaver_may_be_held_at_any_step() {
    for point in [Point::Leaving, Point::Left, Point::LeafMarked, Point::MiddleMarked] {
        let (mut world, mut engine) = World::new();
        let handle = world.shared.find(&[0]).expect("the host is known");
        let shared = world.shared.clone();
        let held = Held::at([point], move || shared.leave_handle(handle));
        world.others_carry_on(0);
        world.advance(&mut engine, 1);
        if held.finish().is_ok() {
            world.said_goodbye.insert(handle);
        }
        world.balance(&mut engine);
    }
}

#[test]
fn the_observer_may_be_held_at_any_step() {
    use Point::*;
    for point in [Armed, Claimed, Unindexed, Freed, Alarmed] {
        let (mut world, mut engine) = World::new();
        // Host 3 dies; the others are heard, so that they are armed again when their hints come up.
        world.leave(4);
        world.advance(&mut engine, 20);
        for id in [0, 1, 2, 5, 6, 7] {
            assert_eq!(world.announce(id, 10).outcome, Outcome::Recovered);
        }
        let shared = world.shared.clone();
        let held = Held::at([point], move || {
            let events = advance(&shared, &mut engine, 30);
            engine.may_sleep(&shared, engine.next_look());
            engine.awake(&shared);
            (events, engine)
        });
        world.others_carry_on(0);
        let (events, mut engine) = held.finish();
        world.fired.extend(events.iter().filter(|e| e.kind() == EventKind::Leave).map(Event::handle));
        world.balance(&mut engine);
    }
}

#[test]
fn a_registration_held_before_its_report_is_saved_by_any_later_announce() {
    let (mut world, mut engine) = World::new();
    let shared = world.shared.clone();
    let held = Held::at([Point::Reporting], move || announce(&shared, 50, 5));
    world.advance(&mut engine, 1);
    let handle = world.shared.find(&[50]).expect("the registration took effect");
    world.began.insert(handle);
    assert_eq!(world.shared.inspect(handle).map(|status| status.next_look), Ok(None), "nobody has placed it yet");
    // It changes nothing (no time has passed since), and reports all the same.
    world.shared.renew(handle, Duration::ZERO).expect("the host is alive");
    world.advance(&mut engine, 1);
    assert!(world.shared.inspect(handle).is_ok_and(|status| status.next_look.is_some()));
    held.finish();
    world.balance(&mut engine);
}

/// Sweeps are every five minutes. What they find before somebody's mark is there is not lost.
#[test]
fn a_registration_held_before_its_report_is_not_taken_for_lost() {
    let (mut world, mut engine) = World::new();
    let shared = world.shared.clone();
    let held = Held::at([Point::Reporting], move || announce(&shared, 50, 5));
    world.advance(&mut engine, 330);
    let handle = world.shared.find(&[50]).expect("overdue, and nobody has placed it yet");
    assert_eq!(world.shared.inspect(handle).map(|status| status.next_look), Ok(None));
    assert_eq!((world.shared.stats().sweeps, world.shared.stats().rescues), (1, 0));
    world.began.insert(held.finish().handle);
    world.balance(&mut engine);
}

#[test]
fn a_host_whose_suspect_event_is_just_being_drained_is_not_taken_for_lost() {
    let (world, mut engine) = World::drained();
    world.advance_drained(&mut engine, 20);
    // All are due, and wait for their suspect events to be drained.
    world.advance_drained(&mut engine, 299);
    let shared = world.shared.clone();
    let held = Held::at([Point::Reporting], move || drain(&shared));
    world.advance_drained(&mut engine, 330);
    assert_eq!(world.shared.stats().sweeps, 1);
    held.finish();
    for seconds in [331, 332] {
        world.advance_drained(&mut engine, seconds);
        for event in drain(&world.shared).iter().filter(|event| event.kind() == EventKind::Leave) {
            world.shared.settle(event.handle(), event.attempt(), Verdict::Done).expect("its first answer");
        }
    }
    world.advance_drained(&mut engine, 333);
    let stats = world.shared.stats();
    assert_eq!((stats.live, stats.leaves_ttl, stats.outstanding, stats.rescues), (0, 8, 0, 0));
}

/// What `Events::drain` does, but for the descriptor.
fn drain(shared: &Shared) -> Vec<Event> {
    let queue = shared.queue.as_ref().expect("it drains");
    let mut events = Vec::new();
    queue.take(&mut events, usize::MAX);
    shared.drained(&events);
    events
}
