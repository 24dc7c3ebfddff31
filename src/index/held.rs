//! Threads held in the middle of a claim, a split or a removal, while the others go on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bucket::SLOTS;
use super::world::World;
use crate::canary::{Canary, with};
use crate::pause::{Point, at};
use crate::record::Handle;
use crate::sync::Arc;

/// Longer than any of these operations takes by orders of magnitude; only a failing test waits for it.
const STUCK: Duration = Duration::from_secs(20);

/// An id of one bucket. The bit `moves` tells whether the next split moves it.
fn id(number: u8, moves: bool) -> [u8; 12] {
    let mut id = [number; 12];
    // The hash loses its lowest eleven bits to the length. The table begins with 2^9 buckets.
    id[..8].copy_from_slice(&(u64::from(moves) << (11 + 9)).to_le_bytes());
    id
}

/// A thread that waits at each of some points until it is told to go on.
struct Held<R> {
    thread: JoinHandle<R>,
    arrived: Receiver<Point>,
    go_on: Sender<()>,
}

/// Has this thread wait at the next one of the points, and then at those after it.
fn wait_at(points: &'static [Point], arrive: Sender<Point>, told: Receiver<()>) {
    let Some((&point, rest)) = points.split_first() else { return };
    at(point, move || {
        arrive.send(point).expect("the test listens");
        told.recv().expect("the test goes on");
        wait_at(rest, arrive, told);
    });
}

impl<R: Send + 'static> Held<R> {
    fn at(points: &'static [Point], act: impl FnOnce() -> R + Send + 'static) -> Held<R> {
        let ((arrive, arrived), (go_on, told)) = (channel(), channel());
        let thread = thread::spawn(move || {
            wait_at(points, arrive, told);
            act()
        });
        let held = Held { thread, arrived, go_on };
        held.arrive();
        held
    }

    fn arrive(&self) {
        self.arrived.recv_timeout(STUCK).expect("the thread comes to the point");
    }

    /// Lets it run to its next point.
    fn step(&self) {
        self.go_on.send(()).expect("the thread waits");
        self.arrive();
    }

    fn finish(self) -> R {
        self.go_on.send(()).expect("the thread waits");
        self.thread.join().expect("the thread does not panic")
    }
}

/// Does something on another thread, which must not have to wait for anybody.
fn at_once<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = channel();
    thread::spawn(move || done.send(act()));
    result.recv_timeout(STUCK).expect("the operation waits for a thread that is held")
}

/// A thread that splits a full bucket is held at a point; then others fill the places of what has moved.
fn a_split_held_at(point: &'static [Point]) {
    let world = Arc::new(World::new(10_000));
    let all: Vec<[u8; 12]> = (0..SLOTS as u8).map(|number| id(number, number % 2 == 1)).collect();
    all.iter().for_each(|id| _ = world.enter(id, None).unwrap());
    world.grow(10);
    let other = world.clone();
    let first = all[0];
    let splitter = Held::at(point, move || other.get(&first));
    let other = world.clone();
    let entered = at_once(move || {
        (0..SLOTS as u8 / 2).map(|number| other.enter(&id(100 + number, false), None).unwrap()).collect::<Vec<Handle>>()
    });
    assert!(splitter.finish().is_some());
    all.iter().for_each(|id| assert!(world.get(id).is_some()));
    for (number, handle) in entered.into_iter().enumerate() {
        assert_eq!(world.get(&id(100 + number as u8, false)), Some(handle));
    }
    assert_eq!(world.table.levels().0, 10, "the bucket has room for them");
    world.check_invariants();
}

#[test]
fn a_thread_held_in_a_split_keeps_no_slot() {
    a_split_held_at(&[Point::Frozen]);
    a_split_held_at(&[Point::Splitting]);
    a_split_held_at(&[Point::Born]);
    a_split_held_at(&[Point::Vacated]);
    a_split_held_at(&[Point::Split]);
}

/// A registrant searches a bucket and is held. Another host takes the slot, and a split that empties it is held. Then the
/// registrant claims a slot by its old control word, and a helper ends the split.
fn a_late_claim_meets_a_split(bug: Option<Canary>) -> bool {
    let world = Arc::new(World::new(10_000));
    let stays = world.enter(&id(0, false), None).unwrap();
    let other = world.clone();
    let registrant = Held::at(&[Point::Claiming, Point::Entering], move || match bug {
        Some(bug) => with(bug, || other.enter(&id(2, false), None)),
        None => other.enter(&id(2, false), None),
    });
    let moves = world.enter(&id(1, true), None).unwrap();
    world.grow(10);
    let other = world.clone();
    let splitter = Held::at(&[Point::Vacated], move || other.get(&id(0, false)));
    registrant.step();
    let other = world.clone();
    assert_eq!(at_once(move || other.get(&id(0, false))), Some(stays));
    assert_eq!(splitter.finish(), Some(stays));
    let came = registrant.finish();
    let holds = || {
        let came = came.expect("the registrant's id is entered by itself alone");
        assert_eq!(world.get(&id(1, true)), Some(moves));
        assert_eq!(world.get(&id(2, false)), Some(came));
        world.check_invariants();
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(holds)).is_ok()
}

#[test]
fn a_late_claim_takes_no_slot_of_a_split() {
    assert!(a_late_claim_meets_a_split(None));
    assert!(!a_late_claim_meets_a_split(Some(Canary::EarlyClaim)), "the canary was not noticed");
}

/// A removal has read the control word and is held, while the bucket is split and its entry moves.
fn a_removal_meets_a_split(bug: Option<Canary>) -> bool {
    let world = Arc::new(World::new(10_000));
    let moves = world.enter(&id(1, true), None).unwrap();
    let other = world.clone();
    let remover = Held::at(&[Point::Searching], move || match bug {
        Some(bug) => with(bug, || other.free(moves)),
        None => other.free(moves),
    });
    world.grow(10);
    assert_eq!(world.get(&id(1, true)), Some(moves));
    remover.finish();
    world.get(&id(1, true)).is_none() && world.walk().is_empty()
}

#[test]
fn a_removal_finds_an_entry_that_a_split_moved() {
    assert!(a_removal_meets_a_split(None));
    assert!(!a_removal_meets_a_split(Some(Canary::TrustedAbsence)), "the canary was not noticed");
}
