//! Threads held in the middle of a claim, a split or a removal, while the others go on.

use super::Refusal;
use super::bucket::SLOTS;
use super::world::World;
use crate::canary::{Canary, with};
use crate::holding::{Held, at_once};
use crate::pause::Point;
use crate::record::Handle;
use crate::sync::Arc;

/// An id of one bucket. The bit `moves` tells whether the next split moves it.
fn id(number: u8, moves: bool) -> [u8; 12] {
    let mut id = [number; 12];
    // The hash loses its lowest eleven bits to the length. The table begins with 2^9 buckets.
    id[..8].copy_from_slice(&(u64::from(moves) << (11 + 9)).to_le_bytes());
    id
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

/// An id of the same bucket, with a tag, and with the next bits of the hash that splits look at.
fn id_of(number: u8, tag: u8, bits: u64) -> [u8; 12] {
    let mut id = [number; 12];
    id[..8].copy_from_slice(&(bits << (11 + 9) | u64::from(tag) << 56).to_le_bytes());
    id
}

/// A look-up has read the record of an entry and is held, while the host goes.
#[test]
fn a_look_up_does_not_take_the_next_incarnation_for_the_entered_one() {
    let world = Arc::new(World::new(10_000));
    let gone = world.enter(&id(0, false), None).unwrap();
    let other = world.clone();
    let looker = Held::at(&[Point::Matched], move || other.get(&id(0, false)));
    world.free(gone);
    assert_eq!(looker.finish(), None, "that incarnation has yet to begin");
}

#[test]
fn a_registrant_does_not_meet_the_next_incarnation_of_a_host_that_has_gone() {
    let world = Arc::new(World::new(10_000));
    let gone = world.enter(&id(0, false), None).unwrap();
    let other = world.clone();
    let registrant = Held::at(&[Point::Matched], move || other.enter(&id(0, false), None));
    world.free(gone);
    let came = registrant.finish().expect("nobody else enters the id");
    assert_eq!(world.get(&id(0, false)), Some(came));
}

/// A look-up has read the level and is held. Then the table grows, a split is held before it unfreezes the old bucket,
/// and the host, which has moved, goes.
#[test]
fn a_look_up_by_an_old_level_does_not_believe_a_frozen_bucket() {
    let world = Arc::new(World::new(10_000));
    let stays = world.enter(&id(0, false), None).unwrap();
    let gone = world.enter(&id(1, true), None).unwrap();
    let other = world.clone();
    let looker = Held::at(&[Point::Levelled], move || other.get(&id(1, true)));
    world.grow(10);
    let other = world.clone();
    let splitter = Held::at(&[Point::Born], move || other.get(&id(0, false)));
    let other = world.clone();
    at_once(move || other.free(gone));
    assert_eq!(looker.finish(), None, "that incarnation has yet to begin");
    assert_eq!(splitter.finish(), Some(stays));
    world.check_invariants();
}

#[test]
fn a_registrant_by_an_old_level_enters_nothing_into_a_frozen_bucket() {
    let world = Arc::new(World::new(10_000));
    let stays = world.enter(&id(0, false), None).unwrap();
    let other = world.clone();
    let registrant = Held::at(&[Point::Levelled], move || other.enter(&id(1, true), None));
    world.grow(10);
    let other = world.clone();
    let splitter = Held::at(&[Point::Born], move || other.get(&id(0, false)));
    let came = registrant.finish().expect("there is room");
    assert_eq!(splitter.finish(), Some(stays));
    assert_eq!(world.get(&id(1, true)), Some(came));
    world.check_invariants();
}

/// A thread is about to split a bucket, which others split twice meanwhile. By the level in between somebody looks for a host.
#[test]
fn a_bucket_is_not_split_once_more_by_who_comes_late() {
    let world = Arc::new(World::new(20_000));
    let (first, moves) = (id_of(0, 0, 0), id_of(1, 0, 2));
    let [_, moved] = [first, moves].map(|id| world.enter(&id, None).unwrap());
    world.grow(10);
    let other = world.clone();
    let late = Held::at(&[Point::Settling, Point::Split], move || other.get(&first));
    assert!(world.get(&first).is_some());
    let other = world.clone();
    let registrant = Held::at(&[Point::Levelled], move || other.enter(&moves, None));
    world.grow(11);
    assert!(world.get(&first).is_some());
    assert_eq!(world.get(&moves), Some(moved));
    let again = late.step_or_end();
    assert_eq!(registrant.finish(), Err(Refusal::Known(moved)), "the id is entered");
    assert!(late.finish().is_some() && !again);
    world.check_invariants();
}

/// A helper is about to fill the new bucket. The others end the split, what has moved goes, and others come in its place, one less.
fn a_helper_comes_late_at(points: &'static [Point]) {
    let world = Arc::new(World::new(10_000));
    let moves: Vec<[u8; 12]> = (0..4).map(|number| id_of(number, 10 + number, 1)).collect();
    let gone: Vec<Handle> = moves.iter().map(|id| world.enter(id, None).unwrap()).collect();
    world.grow(10);
    let other = world.clone();
    let helper = Held::at(points, move || other.get(&id_of(99, 99, 0)));
    let (other, last) = (world.clone(), moves[0]);
    assert_eq!(at_once(move || other.get(&last)), Some(gone[0]));
    // They go to the same slots, with other tags.
    let other = world.clone();
    at_once(move || gone.into_iter().for_each(|handle| other.free(handle)));
    let came = [0, 1, 2].map(|number| id_of(100 + number, 110 + number, 1));
    let other = world.clone();
    let handles = at_once(move || came.map(|id| other.enter(&id, None).unwrap()));
    let stays = [0, 1, 2].map(|number| id_of(200 + number, 210 + number, 0));
    let other = world.clone();
    let kept = at_once(move || stays.map(|id| other.enter(&id, None).unwrap()));
    assert_eq!(helper.finish(), None);
    assert_eq!(came.map(|id| world.get(&id)), handles.map(Some));
    assert_eq!(stays.map(|id| world.get(&id)), kept.map(Some));
    assert!(moves.iter().all(|id| world.get(id).is_none()), "what has gone does not come back");
    world.check_invariants();
}

#[test]
fn a_helper_of_a_split_that_comes_late_changes_nothing() {
    a_helper_comes_late_at(&[Point::Freezing]);
    a_helper_comes_late_at(&[Point::Frozen]);
    a_helper_comes_late_at(&[Point::Asking]);
    a_helper_comes_late_at(&[Point::Copied]);
    a_helper_comes_late_at(&[Point::Splitting]);
    a_helper_comes_late_at(&[Point::Born]);
    a_helper_comes_late_at(&[Point::Vacated]);
}

/// Two split a bucket. The first has read its slots and is held, the second has declared the new bucket born and is held. What has
/// moved goes, and its record is filled for a host that would have stayed.
fn a_record_is_used_again_in_a_split(bug: Option<Canary>) -> bool {
    let world = Arc::new(World::new(10_000));
    let gone = world.enter(&id(0, true), None).unwrap();
    world.grow(10);
    let get = |points, bug: Option<Canary>| {
        let other = world.clone();
        let get = move || other.get(&id(1, false));
        Held::at(points, move || bug.map_or_else(&get, |bug| with(bug, &get)))
    };
    let helper = get(&[Point::Asking], bug);
    let splitter = get(&[Point::Born], None);
    let other = world.clone();
    at_once(move || {
        other.free(gone);
        assert_eq!(other.slab.reserve(), Ok(gone.index()), "the record is used again");
        other.slab.fill(gone.index(), &other.key(&id(2, false)), 0).expect("there is memory");
    });
    assert_eq!(helper.finish(), None);
    assert_eq!(splitter.finish(), None);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check_invariants())).is_ok()
}

#[test]
fn a_split_does_not_ask_a_record_that_has_moved_and_gone() {
    assert!(a_record_is_used_again_in_a_split(None));
    assert!(!a_record_is_used_again_in_a_split(Some(Canary::TrustedRecord)), "the canary was not noticed");
}

/// A registrant has searched a bucket and is held. Another host takes a slot, and a split that leaves it there is held when it has
/// frozen the bucket. Others end the split, the host goes, and the registrant claims its slot for one that moves.
fn a_late_claim_meets_a_late_helper(bug: Option<Canary>) -> bool {
    let world = Arc::new(World::new(10_000));
    let other = world.clone();
    let registrant = Held::at(&[Point::Claiming, Point::Entering], move || other.enter(&id(2, true), None));
    let goes = world.enter(&id(1, false), None).unwrap();
    world.grow(10);
    let other = world.clone();
    let get = move || other.get(&id(0, false));
    let helper = Held::at(&[Point::Frozen], move || bug.map_or_else(&get, |bug| with(bug, &get)));
    assert_eq!(world.get(&id(1, false)), Some(goes));
    world.free(goes);
    registrant.step();
    assert_eq!(helper.finish(), None);
    let came = registrant.finish().expect("there is room");
    assert_eq!(world.get(&id(2, true)), Some(came));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check_invariants())).is_ok()
}

#[test]
fn a_late_helper_does_not_move_a_late_claim() {
    assert!(a_late_claim_meets_a_late_helper(None));
    assert!(!a_late_claim_meets_a_late_helper(Some(Canary::LateHelper)), "the canary was not noticed");
}

/// A walk has read one entry of a bucket and is held, while a split moves the others.
#[test]
fn a_walk_misses_nobody_whom_a_split_moves() {
    let world = Arc::new(World::new(10_000));
    let mut all: Vec<Handle> = (0..6).map(|number| world.enter(&id(number, number % 2 == 1), None).unwrap()).collect();
    let other = world.clone();
    let walker = Held::at(&[Point::Comparing], move || other.walk());
    world.grow(10);
    assert_eq!(world.get(&id(0, false)), Some(all[0]));
    let mut seen = walker.finish();
    seen.sort_unstable();
    all.sort_unstable();
    assert_eq!(seen, all);
}

/// A registrant has searched a bucket for an id, which another one enters.
#[test]
fn an_id_that_was_not_there_a_moment_ago_is_entered_once() {
    for points in [&[Point::Searched][..], &[Point::Claiming], &[Point::Vacant], &[Point::Entering]] {
        let world = Arc::new(World::new(10_000));
        world.enter(&id(0, false), None).unwrap();
        let other = world.clone();
        let registrant = Held::at(points, move || other.enter(&id(1, false), None));
        let first = world.enter(&id(1, false), None).unwrap();
        assert_eq!(registrant.finish(), Err(Refusal::Known(first)), "at {points:?}");
        world.check_invariants();
    }
}

/// Two register in one bucket at once: the first of them is held at a point.
fn two_register_at(points: &'static [Point]) {
    let world = Arc::new(World::new(10_000));
    let ids = [id_of(0, 3, 0), id_of(1, 4, 0)];
    let other = world.clone();
    let registrant = Held::at(points, move || other.enter(&ids[0], None));
    let second = world.enter(&ids[1], None).unwrap();
    let first = registrant.finish().unwrap();
    assert_eq!(ids.map(|id| world.get(&id)), [Some(first), Some(second)]);
    world.check_invariants();
}

#[test]
fn registrants_of_a_bucket_take_nothing_from_each_other() {
    two_register_at(&[Point::Searched]);
    two_register_at(&[Point::Claiming]);
    two_register_at(&[Point::Vacant]);
    two_register_at(&[Point::Tagging]);
    two_register_at(&[Point::Entering]);
}

#[test]
fn a_table_does_not_shrink_under_who_grows_it_late() {
    let world = Arc::new(World::new(20_000));
    let other = world.clone();
    let late = Held::at(&[Point::Growing], move || other.grow(10));
    world.grow(10);
    world.grow(11);
    late.finish();
    assert_eq!(world.table.levels().0, 11);
}
