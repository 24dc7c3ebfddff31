//! A producer that is held back at some step for longer than any host lives, while everybody else goes on.

use std::time::Duration;

use super::crowds::{act, clock, join, producers};
use super::world::{Temper, World, below, quiet};
use super::*;
use crate::config::Config;
use crate::pause::{self, Point};
use crate::sync::scheduled_thread::{self as thread, JoinHandle};
use crate::sync::{Arc, AtomicBool, Ordering};

/// All steps of all that producers do.
const STEPS: [Point; 34] = [
    Point::Reading,
    Point::Judging,
    Point::LookedUp,
    Point::WordRead,
    Point::Stamped,
    Point::Heard,
    Point::Reporting,
    Point::LeafMarked,
    Point::MiddleMarked,
    Point::Marked,
    Point::Placing,
    Point::Reserving,
    Point::Extending,
    Point::Popping,
    Point::Filled,
    Point::Levelled,
    Point::Matched,
    Point::Comparing,
    Point::Searched,
    Point::Claiming,
    Point::Vacant,
    Point::Tagging,
    Point::Entering,
    Point::Growing,
    Point::Settling,
    Point::Freezing,
    Point::Frozen,
    Point::Asking,
    Point::Copied,
    Point::Splitting,
    Point::Born,
    Point::Entered,
    Point::Leaving,
    Point::Left,
];

/// Between these two steps the word says what the observer was not told.
const UNTOLD: [Point; 4] = [Point::Heard, Point::Reporting, Point::LeafMarked, Point::MiddleMarked];

/// Holds a thread back.
#[derive(Clone)]
struct Gate {
    reached: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
}

impl Gate {
    /// A thread that does `acts` and is held when it comes to `point` for the first time.
    fn hold(point: Point, acts: impl FnOnce() + Send + 'static) -> (Gate, JoinHandle<()>) {
        let gate = Gate { reached: Arc::new(AtomicBool::new(false)), open: Arc::new(AtomicBool::new(false)) };
        let held = gate.clone();
        let thread = thread::spawn(move || {
            let at = held.clone();
            pause::at(point, move || {
                at.reached.store(true, Ordering::SeqCst);
                while !at.open.load(Ordering::SeqCst) {
                    thread::park();
                }
            });
            acts();
            // It may not have come there.
            held.reached.store(true, Ordering::SeqCst);
        });
        (gate, thread)
    }

    /// Waits until the thread is held, or has ended.
    fn wait(&self) {
        while !self.reached.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    fn open(&self, thread: JoinHandle<()>) {
        self.open.store(true, Ordering::SeqCst);
        thread.thread().unpark();
        join([thread]);
    }
}

pub(super) fn held_across_a_ttl() {
    // Without back-stop: that would find the host of a registrant who was held back before its report.
    let (world, observer) = World::new(Config { backstop: Duration::ZERO, ..quiet() }, false, Temper::Kind);
    (0..2).for_each(|id| world.announce(id, 2000, 0));
    let point = STEPS[below(STEPS.len())];
    let (gate, held) = {
        let world = world.clone();
        Gate::hold(point, move || (0..6).for_each(|_| act(&world, 3)))
    };
    let producers = producers(&world, 2, 4, 3);
    let clock = clock(&world, 3, 4000);
    join(producers.into_iter().chain([clock]));
    gate.wait();
    // The longest TTL and grace are 21 s.
    world.carry_on(30_000);
    let overdue = world.overdue();
    assert!(
        overdue <= usize::from(UNTOLD.contains(&point)),
        "{overdue} hosts are overdue, one thread is held at {point:?}"
    );
    gate.open(held);
    world.finish(observer);
}

#[test]
fn shuttle_held_across_a_ttl() {
    explore(10_000, held_across_a_ttl);
}

/// A renew by an old handle is held back while its record goes to a host that was last heard when the old one was.
fn held_while_its_record_is_used_again() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    world.announce(0, 1000, 0);
    world.settle_down();
    let (gate, held) = {
        let world = world.clone();
        Gate::hold([Point::Reading, Point::WordRead, Point::Stamped][below(3)], move || world.renew())
    };
    for _ in 0..below(8) {
        thread::yield_now();
    }
    world.leave(0);
    world.pass(10);
    world.look();
    world.announce(1, 1000, 10);
    let last = world.shared.slab.record(0).word().last();
    gate.open(held);
    assert_eq!(world.shared.slab.record(0).word().last(), last, "an old handle reached a new host");
    world.finish(observer);
}

#[test]
fn shuttle_held_while_its_record_is_used_again() {
    explore(10_000, held_while_its_record_is_used_again);
}

#[test]
fn shuttle_canaries_of_the_held() {
    must_fail(Canary::SilentHelper, 10_000, held_across_a_ttl);
    must_fail(Canary::WordReuse, 10_000, held_while_its_record_is_used_again);
}
