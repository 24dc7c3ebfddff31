//! The free list, and the publication of what a record holds.

use super::*;
use crate::pause::with_looks;
use crate::record::{Identity, Key, ReserveError, Slab, State};
use crate::sync::{Ordering, fence};
use loom::thread;

fn key(id: &[u8]) -> Key<'_> {
    Key { id, identity: Identity::new(0, id.len()) }
}

/// One thread pops while another pops two and gives the first back.
fn free_list_pops_against_push() {
    let slab = Arc::new(Slab::new(2, 1, u32::MAX).expect("models have memory"));
    let [a, b] = [(); 2].map(|()| slab.reserve().expect("two records"));
    slab.release(b);
    slab.release(a);
    let other = slab.clone();
    let popper = thread::spawn(move || other.reserve().ok());
    let first = slab.reserve().ok();
    let second = slab.reserve().ok();
    if let Some(first) = first {
        slab.release(first);
    }
    let third = popper.join().expect("the popper returns");
    let mut owned: Vec<u32> = [second, third].into_iter().flatten().collect();
    while let Ok(index) = slab.reserve() {
        owned.push(index);
    }
    owned.sort_unstable();
    assert_eq!(owned, [0, 1], "each record has one owner");
}

#[test]
fn loom_the_free_list_gives_each_record_to_one() {
    explore(None, free_list_pops_against_push);
}

#[test]
fn loom_canary_the_free_list_has_no_tag() {
    must_fail(Canary::UntaggedHead, None, free_list_pops_against_push);
}

/// One pops while another pushes.
#[test]
fn loom_what_is_pushed_while_another_pops_is_on_the_list_once() {
    with_looks(|| {
        explore(None, || {
            let slab = Arc::new(Slab::new(2, 1, u32::MAX).expect("models have memory"));
            let [a, b] = [(); 2].map(|()| slab.reserve().expect("two records"));
            slab.release(b);
            let other = slab.clone();
            let popper = thread::spawn(move || other.reserve().ok());
            slab.release(a);
            let mut owned: Vec<u32> = popper.join().expect("the popper returns").into_iter().collect();
            owned.extend(std::iter::from_fn(|| slab.reserve().ok()));
            owned.sort_unstable();
            assert_eq!(owned, [a, b], "each record has one owner");
        });
    });
}

/// One record is left that was never used, and two want it.
#[test]
fn loom_the_last_record_goes_to_one() {
    with_looks(|| {
        explore(None, || {
            let slab = Arc::new(Slab::new(2, 1, u32::MAX).expect("models have memory"));
            assert_eq!(slab.reserve(), Ok(0));
            let other = slab.clone();
            let registrant = thread::spawn(move || other.reserve());
            let mut got = [slab.reserve(), registrant.join().expect("the registrant returns")];
            got.sort_by_key(Result::is_err);
            assert_eq!(got, [Ok(1), Err(ReserveError::Full)]);
        });
    });
}

/// Two fill records with the first long ids that there are.
#[test]
fn loom_long_ids_of_two_take_nothing_from_each_other() {
    with_looks(|| {
        explore(Some(3), || {
            let slab = Arc::new(Slab::new(2, 1, u32::MAX).expect("models have memory"));
            let indices = [(); 2].map(|()| slab.reserve().expect("two records"));
            let ids = [b"aaaaaaaabbbbbbbb", b"xxxxxxxxyyyyyyyy"];
            let other = slab.clone();
            let registrant = thread::spawn(move || {
                other.fill(indices[0], &key(ids[0]), 0).expect("models have memory");
            });
            slab.fill(indices[1], &key(ids[1]), 0).expect("models have memory");
            registrant.join().expect("the registrant returns");
            for (index, id) in indices.into_iter().zip(ids) {
                assert_eq!(&*slab.host_id(index).unwrap(), id);
            }
        });
    });
}

/// The thread frees a record, and a registrant fills it again.
#[test]
fn loom_a_record_is_handed_over_with_all_that_it_holds() {
    explore(None, || {
        let slab = Arc::new(Slab::new(1, 1, u32::MAX).expect("models have memory"));
        let index = slab.reserve().expect("one record");
        let record = slab.record(index);
        slab.fill(index, &key(b"a"), 1).expect("models have memory");
        let word = record.word();
        record.store_word(word.with_state(State::Left));
        let generation = record.generation();
        let other = slab.clone();
        let registrant = thread::spawn(move || {
            let Ok(index) = other.reserve() else { return false };
            let record = other.record(index);
            assert_ne!(record.generation(), generation, "the generation comes with the record");
            assert!(record.word().last() > word.last(), "and so does the floor");
            other.fill(index, &key(b"b"), 2).expect("models have memory");
            let reserved = record.word();
            assert!(record.swap_word_seq(reserved, reserved.with_state(State::Live)));
            other.mark(index);
            true
        });
        slab.release(index);
        let filled = registrant.join().expect("the registrant returns");
        let mut collector = crate::record::Collector::default();
        collector.begin(&slab);
        assert_eq!(collector.next(&slab), filled.then_some(index));
        if filled {
            assert_eq!(record.word().state(), State::Live);
            assert_eq!(record.user_data(), 2);
            assert_eq!(&*slab.host_id(index).unwrap(), b"b");
        }
    });
}

/// The back-stop finds a host by its word alone, before its registrant came to mark it.
#[test]
fn loom_who_finds_a_live_word_finds_the_host() {
    explore(None, || {
        let slab = Arc::new(Slab::new(1, 1, u32::MAX).expect("models have memory"));
        let index = slab.reserve().expect("one record");
        let other = slab.clone();
        let registrant = thread::spawn(move || {
            let record = other.record(index);
            other.fill(index, &key(b"a"), 7).expect("models have memory");
            let reserved = record.word();
            assert!(record.swap_word_seq(reserved, reserved.with_state(State::Live)));
        });
        let record = slab.record(index);
        if record.word().state() == State::Live {
            assert_eq!(record.user_data(), 7);
            assert_eq!(&*slab.host_id(index).unwrap(), b"a");
        }
        registrant.join().expect("the registrant returns");
    });
}

/// The thread visits a record as soon as it finds it marked, without joining the registrant first.
#[test]
fn loom_who_finds_a_mark_finds_the_host() {
    explore(None, || {
        let (world, mut engine) = World::plain();
        let shared = world.shared.clone();
        let registrant = thread::spawn(move || {
            shared.announce(&[0], Duration::from_secs(5).into(), Duration::ZERO, 7).expect("there is room").handle
        });
        let host = loop {
            run(&world.shared, &mut engine);
            if engine.next_look().is_some() {
                break world.shared.find(&[0]).expect("the index came with the mark");
            }
            thread::yield_now();
        };
        let status = world.shared.inspect(host).expect("the host is known");
        assert_eq!(status.user_data, 7);
        assert_eq!(&*world.shared.slab.host_id(host.index()).unwrap(), [0]);
        assert_eq!(registrant.join().expect("the registrant returns"), host);
    });
}

/// A host with a long id is freed while a walk reads the id. The first free block holds part of another id.
fn long_id_against_free() {
    const ID: &[u8] = b"aaaaaaaabbbbbbbbcccccccc";
    let slab = Arc::new(Slab::new(2, 1, u32::MAX).expect("models have memory"));
    let [index, other] = [(); 2].map(|()| slab.reserve().expect("two records"));
    slab.fill(other, &key(b"xxxxxxxxyyyyyyyy"), 0).expect("models have memory");
    slab.fill(index, &key(ID), 0).expect("models have memory");
    slab.release(other);
    let record = slab.record(index);
    record.store_word(record.word().with_state(State::Live));
    let generation = record.generation();
    let reader = slab.clone();
    let walk = thread::spawn(move || {
        let mut buffer = [0; crate::error::LONGEST_ID];
        let id = reader.id(index, &mut buffer).to_vec();
        // Acquire: as in `Shared::each`.
        fence(Ordering::Acquire);
        let record = reader.record(index);
        let alive = record.word().is_alive() && record.generation() == generation;
        assert!(!alive || id == ID, "a host that is alive is shown with the id {id:?}");
    });
    record.store_word(record.word().with_state(State::Left));
    slab.release(index);
    walk.join().expect("the walk returns");
}

#[test]
fn loom_a_walk_reads_a_long_id_whole_or_finds_its_host_gone() {
    explore(None, long_id_against_free);
}

#[test]
fn loom_canary_a_free_block_is_linked_without_a_release() {
    must_fail(Canary::QuietLink, None, long_id_against_free);
}

/// A record that is about to replace a host is asked which, and is used again for another replacement meanwhile: no answer is made of
/// both.
#[test]
fn loom_what_a_record_replaces_is_one_host_or_none() {
    explore(None, || {
        let (world, _engine) = World::plain();
        let [first, second] = [Handle::new(2, 7), Handle::new(3, 8)];
        let slab = &world.shared.slab;
        let index = slab.reserve().expect("there are records");
        let record = slab.record(index);
        record.set_replaces(Some(first));
        let (shared, handle) = (world.shared.clone(), Handle::new(index, record.generation()));
        let reader = thread::spawn(move || shared.predecessor(handle));
        record.store_word(record.word().with_state(State::Left));
        slab.release(index);
        assert_eq!(slab.reserve(), Ok(index), "the record is used again");
        record.set_replaces(Some(second));
        let seen = reader.join().expect("the reader returns");
        assert!(seen.is_none_or(|seen| seen == first), "{seen:?}");
    });
}
