//! The index by itself: two threads work on one table, each with ids of its own, so whatever the other one does, each knows
//! exactly what it must find. Both sorts of ids share buckets, which fill, are split, and are left.
#![no_main]

use std::collections::HashMap;
use std::thread;

use hostwheel::Handle;
use hostwheel::internal::IndexWorld;
use libfuzzer_sys::fuzz_target;

/// What is done with an id.
#[derive(Clone, Copy, Debug)]
enum Act {
    Register,
    Replace,
    Free,
    Get,
    Grow,
}

const ACTS: [Act; 8] =
    [Act::Register, Act::Register, Act::Register, Act::Replace, Act::Free, Act::Free, Act::Get, Act::Grow];

/// One act, with one of not many ids, most of which have the hash of another one.
#[derive(Clone, Copy, Debug)]
struct Step {
    act: Act,
    thread: u8,
    bucket: u8,
    number: u8,
    long: bool,
}

/// Two bytes a step.
fn steps(data: &[u8]) -> Vec<Step> {
    let (pairs, _) = data.as_chunks::<2>();
    let step = |&[how, which]: &[u8; 2]| Step {
        act: ACTS[usize::from(how % 8)],
        thread: how >> 7,
        long: how >> 6 & 1 == 1,
        bucket: which >> 6,
        number: which % 16,
    };
    pairs.iter().map(step).collect()
}

/// At most so many records are in use.
const RECORDS: usize = 4096;
/// Buckets, as a power of two, up to which the target makes the table grow.
const LEVEL: u32 = 11;

fn id(step: Step) -> Vec<u8> {
    // The hash is the first eight bytes without the lowest eleven bits. Four buckets that one bucket is split into.
    let hash = u64::from(step.bucket) << (11 + 9) | 7 << 11;
    let mut id = hash.to_le_bytes().to_vec();
    id.extend([step.number, step.thread]);
    if step.long {
        id.resize(70 + usize::from(step.number), 0);
    }
    id
}

/// Does all steps of a thread; returns what is left.
fn run(world: &IndexWorld, steps: &[Step], thread: u8) -> HashMap<Vec<u8>, Handle> {
    let mut known: HashMap<Vec<u8>, Handle> = HashMap::new();
    for &step in steps.iter().filter(|step| step.thread == thread) {
        let id = id(step);
        let handle = known.get(&id).copied();
        match step.act {
            Act::Register => match world.register(&id, None) {
                Ok(new) => assert_eq!(known.insert(id, new), None, "it had a record"),
                Err(Some(other)) => assert_eq!(Some(other), handle, "it has another record"),
                Err(None) => assert_eq!(handle, None, "there is room for what is there"),
            },
            Act::Replace => {
                if let Some(dead) = handle
                    && let Ok(new) = world.register(&id, Some(dead))
                {
                    world.free(dead);
                    known.insert(id, new);
                }
            }
            Act::Free => {
                if let Some(handle) = known.remove(&id) {
                    world.free(handle);
                }
            }
            Act::Get => assert_eq!(world.get(&id), handle),
            Act::Grow => world.grow(LEVEL),
        }
    }
    known
}

fuzz_target!(|data: &[u8]| {
    let steps = steps(data);
    let world = IndexWorld::new(RECORDS);
    let (mine, other) = thread::scope(|scope| {
        let other = scope.spawn(|| run(&world, &steps, 1));
        (run(&world, &steps, 0), other.join().expect("no thread panics"))
    });
    let mut all: Vec<Handle> = Vec::new();
    for (id, handle) in mine.iter().chain(&other) {
        assert_eq!(world.get(id), Some(*handle));
        all.push(*handle);
    }
    let mut seen = world.walk();
    seen.sort_unstable();
    all.sort_unstable();
    assert_eq!(seen, all);
    world.check_invariants();
});
