//! Loom models of the table, on the production code: two slots a bucket, one bucket at first, at most four. All ids have the same
//! tag, so that each search compares all of a bucket.
//!
//! Records and ids are the slab's: their orderings are part of this.

use loom::thread;

use super::hash::HashId;
use super::table::{LOAD, Table};
use super::{Index, Refusal};
use crate::canary::Canary;
use crate::exploring::{deep, deepest, explore, must_fail};
use crate::pause::with_looks;
use crate::record::{Handle, Slab};
use crate::sync::Arc;

/// The hash of an id is the id, so ids that are equal in their lower bits share a bucket until the table has grown.
struct Same;

impl HashId for Same {
    fn hash(&self, id: &[u8]) -> u64 {
        u64::from(id[0]) << 11
    }
}

/// A table and its records.
struct World {
    table: Table<Same>,
    slab: Slab,
}

impl World {
    /// A table that may have so many buckets, and so many records that are reserved.
    fn new(buckets: u64, records: usize) -> Arc<World> {
        let table = Table::with_hash((buckets * LOAD / 2) as usize, Same).expect("models have memory");
        let world = World { table, slab: Slab::new(4, 1, u32::MAX).expect("models have memory") };
        (0..records as u32).for_each(|record| assert_eq!(world.reserve(), record));
        Arc::new(world)
    }

    fn reserve(&self) -> u32 {
        self.slab.reserve().expect("there is a record")
    }

    /// Fills a record, reserved for the caller alone, and enters it.
    fn enter(&self, record: u32, id: u8, dead: Option<Handle>) -> Result<Handle, Refusal> {
        let id = [id];
        let key = self.table.key(&id);
        self.slab.fill(record, &key, 0).expect("models have memory");
        let handle = Handle::new(record, self.slab.record(record).generation());
        self.table.enter(&self.slab, &key, handle, dead).map(|()| handle)
    }

    fn get(&self, id: u8) -> Option<Handle> {
        self.table.get(&self.slab, &self.table.key(&[id]))
    }

    /// What the thread does at the end of an incarnation.
    fn free(&self, handle: Handle) {
        self.table.remove(&self.slab, self.slab.record(handle.index()).identity(), handle);
        self.slab.release(handle.index());
    }

    fn grow(&self) {
        let _ = self.table.grow(self.table.levels().0);
    }

    /// At the end: what is in the table, and that nothing else is.
    fn assert_holds(&self, entries: &[(u8, Handle)]) {
        for &(id, handle) in entries {
            assert_eq!(self.get(id), Some(handle), "the record of id {id}");
        }
        self.table.check_invariants(&self.slab);
        assert_eq!(self.table.entries(), entries.len() as u64);
    }
}

/// Two register one id.
fn two_of_one_id() {
    let world = World::new(1, 2);
    let other = world.clone();
    let registrant = thread::spawn(move || other.enter(1, 0, None));
    let results = [world.enter(0, 0, None), registrant.join().expect("the registrant returns")];
    let winner = world.get(0).expect("one of them is entered");
    let loser = results[usize::from(winner.index() == 0)];
    assert_eq!(results[winner.index() as usize], Ok(winner));
    assert_eq!(loser, Err(Refusal::Known(winner)), "the other one is told");
    world.assert_holds(&[(0, winner)]);
}

#[test]
fn loom_an_id_is_entered_once() {
    explore(None, two_of_one_id);
}

#[test]
fn loom_canary_whoever_enters_does_not_search_again() {
    must_fail(Canary::BlindEntry, Some(3), two_of_one_id);
}

/// A host has left; two register it anew, and the thread removes it.
fn two_after_a_dead_one() {
    let world = World::new(4, 3);
    let dead = world.enter(0, 0, None).expect("it is the first");
    let registrants: [_; 2] = std::array::from_fn(|n| {
        let world = world.clone();
        thread::spawn(move || world.enter(1 + n as u32, 0, Some(dead)))
    });
    world.free(dead);
    let results = registrants.map(|registrant| registrant.join().expect("the registrant returns"));
    let winner = world.get(0).expect("one of them is entered");
    for (n, result) in results.into_iter().enumerate() {
        let own = winner.index() as usize == 1 + n;
        assert_eq!(result, if own { Ok(winner) } else { Err(Refusal::Known(winner)) });
    }
    world.assert_holds(&[(0, winner)]);
}

#[test]
fn loom_one_takes_the_place_of_a_dead_one() {
    explore(deep(3), two_after_a_dead_one);
}

/// One looks up an id, or two, while the record of the first is freed, and filled for the other: no id may get the other's handle.
fn look_up_against_reuse(two: bool) {
    let world = World::new(1, 1);
    let first = world.enter(0, 0, None).expect("it is the first");
    let other = world.clone();
    let reader = thread::spawn(move || (other.get(0), if two { other.get(1) } else { None }));
    world.free(first);
    let second = world.enter(world.reserve(), 1, None).expect("there is room");
    assert_eq!(second.index(), first.index(), "the record is used again");
    let (of_first, of_second) = reader.join().expect("the reader returns");
    assert!(of_first.is_none_or(|handle| handle == first), "{of_first:?}");
    assert!(of_second.is_none_or(|handle| handle == second), "{of_second:?}");
    world.assert_holds(&[(1, second)]);
}

#[test]
fn loom_a_look_up_finds_what_the_id_has() {
    explore(deep(4), || look_up_against_reuse(true));
}

#[test]
fn loom_canary_a_look_up_does_not_look_at_the_entry_again() {
    must_fail(Canary::TrustedEntry, Some(3), || look_up_against_reuse(true));
}

/// One looks up a host that is there, while another one comes and one goes.
fn look_up_among_others() {
    let world = World::new(2, 3);
    let stays = world.enter(0, 0, None).expect("it is the first");
    let goes = world.enter(1, 1, None).expect("there is room");
    let [reader, registrant] = [world.clone(), world.clone()];
    let reader = thread::spawn(move || reader.get(0));
    let registrant = thread::spawn(move || registrant.enter(2, 3, None).expect("there is room, or the table grows"));
    world.free(goes);
    assert_eq!(reader.join().expect("the reader returns"), Some(stays));
    let came = registrant.join().expect("the registrant returns");
    world.assert_holds(&[(0, stays), (3, came)]);
}

#[test]
fn loom_whoever_is_there_is_found_whatever_the_others_do() {
    explore(deepest(3), look_up_among_others);
}

/// A full bucket: one enters another host, for which the table grows, while a host that will move is removed.
fn growth_against_removal() {
    let world = World::new(2, 3);
    let stays = world.enter(0, 0, None).expect("it is the first");
    let goes = world.enter(1, 1, None).expect("there is room");
    let other = world.clone();
    let registrant = thread::spawn(move || other.enter(2, 3, None).expect("the table grows"));
    world.free(goes);
    let came = registrant.join().expect("the registrant returns");
    world.assert_holds(&[(0, stays), (3, came)]);
    assert_eq!(world.get(1), None, "what is removed does not come back");
}

#[test]
fn loom_what_is_removed_while_the_table_grows_is_gone() {
    explore(deep(4), growth_against_removal);
}

#[test]
fn loom_canary_a_bucket_changes_while_it_is_split() {
    must_fail(Canary::UnfrozenSplit, Some(3), growth_against_removal);
}

#[test]
fn loom_canary_a_removal_believes_that_nothing_is_entered() {
    must_fail(Canary::TrustedAbsence, Some(3), growth_against_removal);
}

/// The table has grown: two come to the same bucket, one to look up what moves, one to enter a host in place of a dead one.
fn growth_against_replacement() {
    let world = World::new(2, 2);
    let dead = world.enter(0, 1, None).expect("it is the first");
    world.grow();
    let other = world.clone();
    let registrant = thread::spawn(move || other.enter(1, 1, Some(dead)).expect("nobody else does"));
    let seen = world.get(1).expect("one of them is there");
    let came = registrant.join().expect("the registrant returns");
    assert!(seen == dead || seen == came);
    world.assert_holds(&[(1, came)]);
}

#[test]
fn loom_a_host_is_replaced_while_the_table_grows() {
    explore(deep(4), growth_against_replacement);
}

/// Two register one id, in a table that grows under them twice.
fn growth_against_two_of_one_id() {
    let world = World::new(4, 2);
    let other = world.clone();
    let registrant = thread::spawn(move || other.enter(1, 3, None));
    world.grow();
    let ours = world.enter(0, 3, None);
    world.grow();
    let theirs = registrant.join().expect("the registrant returns");
    let winner = world.get(3).expect("one of them is entered");
    assert_eq!(if winner.index() == 0 { ours } else { theirs }, Ok(winner));
    assert_eq!(if winner.index() == 0 { theirs } else { ours }, Err(Refusal::Known(winner)));
    world.assert_holds(&[(3, winner)]);
}

#[test]
fn loom_an_id_is_entered_once_while_the_table_grows() {
    explore(deep(4), growth_against_two_of_one_id);
}

/// A helper of a split comes late: the bucket was split without it, what moved has gone, and something else came in its place.
fn late_helper() {
    let world = World::new(2, 3);
    let goes = world.enter(0, 1, None).expect("it is the first");
    let stays = world.enter(1, 0, None).expect("there is room");
    world.grow();
    let other = world.clone();
    let helper = thread::spawn(move || other.get(1));
    world.free(goes);
    let came = world.enter(2, 3, None).expect("there is room");
    let seen = helper.join().expect("the helper returns");
    assert!(seen.is_none_or(|seen| seen == goes));
    world.assert_holds(&[(0, stays), (3, came)]);
    assert_eq!(world.get(1), None, "what is removed does not come back");
}

#[test]
fn loom_a_late_helper_changes_nothing() {
    explore(deepest(4), late_helper);
}

/// As above, and the helper finds a record in the old bucket that is another host's meanwhile, one that would move.
fn late_helper_of_another_host() {
    let world = World::new(2, 1);
    let goes = world.enter(0, 0, None).expect("it is the first");
    world.grow();
    let other = world.clone();
    let helper = thread::spawn(move || other.get(1));
    world.free(goes);
    let came = world.enter(world.reserve(), 3, None).expect("there is room");
    assert_eq!(helper.join().expect("the helper returns"), None);
    world.assert_holds(&[(3, came)]);
}

#[test]
fn loom_a_late_helper_moves_no_other_host() {
    explore(deepest(4), late_helper_of_another_host);
}

/// A host that moves goes while its bucket is split, and its record is entered for one that stays, into the slot that was emptied.
#[test]
fn loom_a_late_helper_does_not_move_what_took_the_place_of_another() {
    explore(deep(3), || {
        let world = World::new(2, 1);
        let goes = world.enter(0, 1, None).expect("it is the first");
        world.grow();
        let other = world.clone();
        let splitter = thread::spawn(move || other.get(0));
        world.free(goes);
        let came = world.enter(world.reserve(), 2, None).expect("there is room");
        assert_eq!(splitter.join().expect("the splitter returns"), None);
        world.assert_holds(&[(2, came)]);
    });
}

#[test]
fn loom_canary_an_empty_slot_looks_new() {
    must_fail(Canary::VirginAgain, Some(3), late_helper);
}

/// A walk shows whoever is there throughout, once, while the table grows and others come.
#[test]
fn loom_a_walk_shows_each_host_once() {
    explore(deep(3), || {
        let world = World::new(2, 3);
        let stays = [world.enter(0, 0, None), world.enter(1, 1, None)].map(|entered| entered.expect("there is room"));
        let other = world.clone();
        let registrant = thread::spawn(move || other.enter(2, 3, None).expect("the table grows"));
        let mut seen = Vec::new();
        world.table.walk(&world.slab, &mut |handle| {
            seen.push(handle);
            true
        });
        let came = registrant.join().expect("the registrant returns");
        for handle in stays {
            assert_eq!(seen.iter().filter(|seen| **seen == handle).count(), 1, "{seen:?}");
        }
        assert!(seen.len() == 2 || seen.len() == 3 && seen.contains(&came));
    });
}

/// A look-up is interrupted between each look and what it does about it.
#[test]
fn loom_every_look_of_an_entry_may_be_interrupted() {
    with_looks(|| explore(deep(3), two_of_one_id));
}

#[test]
fn loom_every_look_up_may_be_interrupted() {
    with_looks(|| explore(deep(3), || look_up_against_reuse(false)));
}

#[test]
fn loom_every_look_of_a_split_may_be_interrupted() {
    with_looks(|| explore(deep(3), growth_against_removal));
}

#[test]
fn loom_every_look_of_a_replacement_may_be_interrupted() {
    with_looks(|| explore(deep(3), growth_against_replacement));
}
