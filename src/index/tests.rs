//! Tests of the table against a plain map: by one thread exactly, by many at random.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::bucket::SLOTS;
use super::table::{LOAD, Table};
use super::world::World;
use super::{Index, Refusal};
use crate::record::{Handle, Slab};
use crate::sync::{Arc, Ordering};

/// An id that goes to a bucket, as long as there are no more than 2^16 of them.
fn id_in(bucket: u16, number: u16) -> [u8; 12] {
    let mut id = [0; 12];
    // The hash loses its lowest eleven bits to the length.
    id[..8].copy_from_slice(&(u64::from(bucket) << 11).to_le_bytes());
    id[8..10].copy_from_slice(&number.to_le_bytes());
    id
}

#[test]
fn an_id_has_one_record_until_that_is_removed() {
    let world = World::new(100);
    assert_eq!(world.get(b"a\0b"), None);
    let first = world.enter(b"a\0b", None).unwrap();
    assert_eq!(world.enter(b"a\0b", None), Err(Refusal::Known(first)));
    assert_eq!(world.get(b"a\0"), None, "a shorter id is another one");
    assert_eq!(world.get(b"a\0b\0"), None, "a longer one too");
    world.free(first);
    assert_eq!(world.get(b"a\0b"), None);
    let second = world.enter(b"a\0b", None).unwrap();
    world.table.remove(&world.slab, world.key(b"a\0b").identity, first);
    assert_eq!(world.get(b"a\0b"), None, "an entry is removed by the number of its record");
    assert_ne!(first, second);
}

#[test]
fn a_dead_one_is_replaced_and_another_one_is_not() {
    let world = World::new(100);
    let dead = world.enter(b"host", None).unwrap();
    let other = world.enter(b"other", None).unwrap();
    assert_eq!(world.enter(b"host", Some(other)), Err(Refusal::Known(dead)));
    let new = world.enter(b"host", Some(dead)).unwrap();
    assert_eq!(world.get(b"host"), Some(new));
    assert_eq!(world.enter(b"host", Some(dead)), Err(Refusal::Known(new)), "it was replaced already");
    world.free(dead);
    assert_eq!(world.get(b"host"), Some(new), "the dead one's entry was another");
    world.free(new);
    assert_eq!(world.enter(b"host", Some(new)).map(|_| ()), Ok(()), "what is gone need not be replaced");
    world.check_invariants();
}

#[test]
fn ids_with_one_hash_share_a_bucket_and_are_told_apart() {
    let world = World::new(1000);
    let handles: Vec<Handle> = (0..10).map(|number| world.enter(&id_in(3, number), None).unwrap()).collect();
    for (number, handle) in handles.iter().enumerate() {
        assert_eq!(world.get(&id_in(3, number as u16)), Some(*handle));
    }
    assert_eq!(world.get(&id_in(3, 10)), None);
    handles.iter().step_by(2).for_each(|handle| world.free(*handle));
    for (number, handle) in handles.iter().enumerate() {
        assert_eq!(world.get(&id_in(3, number as u16)), (number % 2 == 1).then_some(*handle));
    }
    world.check_invariants();
}

#[test]
fn a_bucket_that_no_growth_can_help_refuses_and_goes_on() {
    let world = World::new(10_000);
    let (_, last_level) = world.table.levels();
    let handles: Vec<Handle> = (0..SLOTS as u16).map(|number| world.enter(&id_in(3, number), None).unwrap()).collect();
    assert_eq!(world.enter(&id_in(3, 99), None), Err(Refusal::NoRoom));
    assert_eq!(world.table.levels().0, last_level, "it has tried");
    world.enter(&id_in(4, 0), None).unwrap();
    handles.iter().enumerate().for_each(|(n, handle)| assert_eq!(world.get(&id_in(3, n as u16)), Some(*handle)));
    world.free(handles[5]);
    world.enter(&id_in(3, 99), None).unwrap();
    let dead = world.get(&id_in(3, 99)).unwrap();
    assert_eq!(
        world.enter(&id_in(3, 99), Some(dead)),
        Err(Refusal::NoRoom),
        "the new entry and the dead one are there together for a moment"
    );
    world.check_invariants();
}

#[test]
fn a_table_grows_with_its_hosts_and_keeps_them() {
    let hosts = if cfg!(miri) { 3200u32 } else { 20_000 };
    let world =
        World { table: Table::new(hosts as usize).unwrap(), slab: Slab::new(hosts as usize, 7, u32::MAX).unwrap() };
    let (first_level, _) = world.table.levels();
    let handles: Vec<Handle> = (0..hosts).map(|host| world.enter(&host.to_le_bytes(), None).unwrap()).collect();
    let (level, last_level) = world.table.levels();
    assert!(first_level < level && level <= last_level);
    assert!(u64::from(hosts) <= LOAD << level, "there are enough buckets");
    for (host, handle) in handles.iter().enumerate() {
        assert_eq!(world.get(&(host as u32).to_le_bytes()), Some(*handle));
    }
    let mut seen = world.walk();
    seen.sort_unstable();
    let mut all = handles.clone();
    all.sort_unstable();
    assert_eq!(seen, all);
    world.check_invariants();
    handles.iter().for_each(|handle| world.free(*handle));
    assert_eq!((world.table.entries(), world.walk()), (0, vec![]));
}

#[test]
fn hosts_that_flap_do_not_make_it_grow() {
    let world = World { table: Table::new(1000).unwrap(), slab: Slab::new(1000, 7, u32::MAX).unwrap() };
    let before = world.table.levels();
    for round in 0..if cfg!(miri) { 100u32 } else { 20_000 } {
        // The same id, and one that never comes again.
        for id in [b"same".as_slice(), &round.to_le_bytes()] {
            let handle = world.enter(id, None).unwrap();
            world.free(handle);
        }
    }
    assert_eq!(world.table.levels(), before);
    world.check_invariants();
}

#[test]
fn a_walk_stops_when_told() {
    let world = World::new(1000);
    (0..100).for_each(|number| _ = world.enter(&id_in(number, 0), None).unwrap());
    let mut seen = 0;
    world.table.walk(&world.slab, &mut |_| {
        seen += 1;
        seen < 10
    });
    assert_eq!(seen, 10);
}

/// What the property test does with one of a few ids, most of which share buckets.
#[derive(Clone, Copy, Debug)]
enum Act {
    Enter,
    Replace,
    Free,
    Get,
    Grow,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Enter),
        2 => Just(Act::Replace),
        3 => Just(Act::Free),
        2 => Just(Act::Get),
        1 => Just(Act::Grow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map(acts in prop::collection::vec((act(), 0u16..4, 0u16..9), 0..400)) {
        // The ids of one bucket, and of the three into which that is split by two growths.
        let world = World::new(10_000);
        let mut model: HashMap<[u8; 12], Handle> = HashMap::new();
        for (act, bucket, number) in acts {
            let id = id_in(bucket << 9 | 5, number);
            let known = model.get(&id).copied();
            match act {
                Act::Enter => match world.enter(&id, None) {
                    Ok(handle) => prop_assert_eq!(model.insert(id, handle), None),
                    Err(refusal) => prop_assert_eq!(Some(refusal), known.map(Refusal::Known)),
                },
                Act::Replace => if let Some(dead) = known {
                    let new = world.enter(&id, Some(dead)).expect("there is room");
                    world.free(dead);
                    model.insert(id, new);
                },
                Act::Free => if let Some(handle) = model.remove(&id) {
                    world.free(handle);
                },
                Act::Get => prop_assert_eq!(world.get(&id), known),
                Act::Grow => world.grow(12),
            }
        }
        let mut seen = world.walk();
        seen.sort_unstable();
        let mut all: Vec<Handle> = model.values().copied().collect();
        all.sort_unstable();
        prop_assert_eq!(seen, all);
        for (id, handle) in &model {
            prop_assert_eq!(world.get(id), Some(*handle));
        }
        prop_assert_eq!(world.table.entries(), model.len() as u64);
    }
}

/// Threads that look up, enter and flap, one that frees, a table that grows under them: ids that stay are found all the time, and
/// none is found under another's record.
#[test]
fn many_threads_find_what_is_there_while_it_grows() {
    const STAY: u32 = if cfg!(miri) { 20 } else { 2000 };
    const ROUNDS: u32 = if cfg!(miri) { 100 } else { 12_000 };
    let world = Arc::new(World { table: Table::new(60_000).unwrap(), slab: Slab::new(60_000, 7, u32::MAX).unwrap() });
    let handles: Arc<Vec<Handle>> =
        Arc::new((0..STAY).map(|host| world.enter(&host.to_le_bytes(), None).unwrap()).collect());
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (world, handles, over) = (world.clone(), handles.clone(), over.clone());
            thread::spawn(move || {
                let mut rounds = 0;
                while !over.load(Ordering::Relaxed) || rounds == 0 {
                    for (host, handle) in handles.iter().enumerate() {
                        assert_eq!(world.get(&(host as u32).to_le_bytes()), Some(*handle));
                    }
                    rounds += 1;
                }
            })
        })
        .collect();
    let (sender, gone) = std::sync::mpsc::channel::<Handle>();
    let registrants: Vec<_> = (1..=3u32)
        .map(|thread| {
            let (world, sender) = (world.clone(), sender.clone());
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    // Some that all threads fight for, some of the thread's own.
                    let id = if round % 3 == 0 {
                        u64::from(round % 97) << 32
                    } else {
                        u64::from(thread) << 60 | u64::from(round)
                    };
                    if let Ok(handle) = world.enter(&id.to_le_bytes(), None)
                        && round % 4 != 1
                    {
                        sender.send(handle).expect("somebody frees");
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let freed = gone.into_iter().map(|handle| world.free(handle)).count();
    over.store(true, Ordering::Relaxed);
    registrants.into_iter().chain(readers).for_each(|thread| thread.join().expect("no thread panics"));
    assert!(freed > ROUNDS as usize * 5 / 6, "{freed}");
    world.check_invariants();
    assert!(cfg!(miri) || world.table.levels().0 > 9, "it has grown");
}
