//! Removals against splits on real threads, held back at points of their operations: an entry that a split moves is removed all the
//! same, and no id is ever found under another's record.
//!
//! `HOSTWHEEL_REMOVALS` says how many removals (`.ci/long torture`: 10^6); some ten thousand otherwise.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::world::World;
use crate::canary::{Canary, with};
use crate::pause::{Point, at};
use crate::record::Handle;
use crate::simulation::rng::Rng;
use crate::sync::{Arc, AtomicBool, Ordering};

/// Buckets at the beginning, as a power of two.
const FIRST_LEVEL: u32 = 9;
/// Growths of a table. Each is met by a removal that is held.
const GROWTHS: u32 = 4;
/// Hosts that come to one bucket before it is split, and how many of them are removed meanwhile.
const COME: usize = 12;
const GO: usize = 8;

/// Where a removal is held.
const REMOVING: [Point; 2] = [Point::Searching, Point::Removing];
/// Where it is let go again: in the split of its bucket, or before the next host comes to it.
const SPLITTING: [Point; 7] =
    [Point::Frozen, Point::Splitting, Point::Born, Point::Vacated, Point::Split, Point::Claiming, Point::Entering];

/// Says where the held removal is.
#[derive(Default)]
struct Gate {
    held: AtomicBool,
    open: AtomicBool,
}

impl Gate {
    fn wait_for(flag: &AtomicBool) {
        while !flag.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}

/// The thread that removes: the first of each lot is held at a point until the gate is opened.
struct Remover {
    lots: Sender<(Vec<Handle>, Point, Arc<Gate>)>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Remover {
    fn start(world: Arc<World>, bug: Option<Canary>) -> Remover {
        let (lots, told) = channel::<(Vec<Handle>, Point, Arc<Gate>)>();
        let (say, done) = channel();
        let remove = move || {
            for (lot, point, gate) in told {
                at(point, move || {
                    gate.held.store(true, Ordering::Release);
                    Gate::wait_for(&gate.open);
                });
                lot.into_iter().for_each(|handle| world.free(handle));
                say.send(()).expect("the test listens");
            }
        };
        let thread = thread::spawn(move || match bug {
            Some(bug) => with(bug, remove),
            None => remove(),
        });
        Remover { lots, done, thread }
    }
}

/// A table that grows, one bucket of it at a time under removals. Whether all is as it must be.
fn table(seed: u64, bug: Option<Canary>) -> bool {
    let mut random = Rng::new(seed);
    let world = Arc::new(World::new(1 << (FIRST_LEVEL + GROWTHS + 1)));
    let remover = Remover::start(world.clone(), bug);
    let mut known: Vec<([u8; 12], Handle)> = Vec::new();
    let mut well = true;
    for (growth, level) in (FIRST_LEVEL..FIRST_LEVEL + GROWTHS).enumerate() {
        let bucket = random.below(1 << level);
        // Hosts of the bucket, about half of which the next split moves.
        let mut fresh = |number: usize| {
            let mut id = [0; 12];
            let hash = bucket | random.below(1 << 20) << level;
            // It loses its lowest eleven bits to the length.
            id[..8].copy_from_slice(&(hash << 11).to_le_bytes());
            id[8..].copy_from_slice(&((growth * 100 + number) as u32).to_le_bytes());
            id
        };
        let ids: Vec<[u8; 12]> = (0..COME).map(&mut fresh).collect();
        let late: Vec<[u8; 12]> = (COME..COME + 4).map(&mut fresh).collect();
        let enter = |id: &[u8; 12]| (*id, world.enter(id, None).expect("nobody else enters it"));
        let come: Vec<_> = ids.iter().map(enter).collect();
        let gate = Arc::new(Gate::default());
        let go: Vec<Handle> = come[..GO].iter().map(|(_, handle)| *handle).collect();
        remover.lots.send((go, random.pick(&REMOVING), gate.clone())).expect("it lives");
        Gate::wait_for(&gate.held);
        world.grow(level + 1);
        let opened = gate.clone();
        at(random.pick(&SPLITTING), move || {
            opened.open.store(true, Ordering::Release);
            thread::yield_now();
        });
        for (nth, (id, handle)) in come.iter().enumerate() {
            let found = world.get(id);
            well &= found == Some(*handle) || nth < GO && found.is_none();
        }
        // On records that were just freed, if any.
        let newcomers: Vec<_> = late.iter().map(enter).collect();
        gate.open.store(true, Ordering::Release);
        remover.done.recv().expect("it does not panic");
        well &= come[..GO].iter().all(|(id, _)| world.get(id).is_none());
        known.extend_from_slice(&come[GO..]);
        known.extend(newcomers);
    }
    let Remover { lots, thread, .. } = remover;
    drop(lots);
    thread.join().expect("it does not panic");
    let mut walked = world.walk();
    let mut expected: Vec<Handle> = known.iter().map(|(_, handle)| *handle).collect();
    walked.sort_unstable();
    expected.sort_unstable();
    well &= known.iter().all(|(id, handle)| world.get(id) == Some(*handle)) && walked == expected;
    if well {
        world.check_invariants();
    }
    well
}

#[test]
fn removals_against_splits_lose_nothing() {
    const EACH: u64 = GROWTHS as u64 * GO as u64;
    let asked: Option<u64> = std::env::var("HOSTWHEEL_REMOVALS").ok().and_then(|removals| removals.parse().ok());
    let tables = asked.unwrap_or(10_000).div_ceil(EACH);
    let wrong = (1..=tables).filter(|number| !table(*number, None)).count();
    println!("{} removals in {tables} tables, {wrong} of which are wrong", tables * EACH);
    assert_eq!(wrong, 0);
}

#[test]
fn a_removal_that_believes_what_it_does_not_find_is_noticed() {
    let noticed = (1..=20).any(|number| !table(number, Some(Canary::TrustedAbsence)));
    assert!(noticed, "the canary was not noticed");
}
