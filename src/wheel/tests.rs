//! Each rule of the wheel, and each bug that it answers, as one test: places, lists and queues here, time in
//! `turning.rs`. `oracle.rs` compares whole runs with a naive map.

mod oracle;
mod turning;

use std::cell::Cell;

use super::*;

/// Records reduced to their places.
struct Records(Vec<Cell<Place>>);

impl Records {
    fn new(count: usize) -> Records {
        Records(vec![Cell::new(Place::NOWHERE); count])
    }
}

impl Places for Records {
    fn place(&self, index: u32) -> Place {
        self.0[index as usize].get()
    }
    fn set_place(&self, index: u32, place: Place) {
        self.0[index as usize].set(place);
    }
}

/// Memory for more hints than any test has.
fn supply() -> Arc<Supply> {
    const RECORDS: usize = if cfg!(miri) { 1000 } else { 100_000 };
    let supply = Supply::new(RECORDS).expect("there is address space");
    supply.back(0, RECORDS).expect("there is memory");
    supply
}

fn new_wheel(start: Tick) -> Wheel {
    Wheel::new(start, supply())
}

/// A wheel used as `liveness` uses it: who is popped early is scheduled again for its deadline.
struct Fleet {
    records: Records,
    wheel: Wheel,
    due: Vec<Tick>,
    visits: Vec<u32>,
}

impl Fleet {
    fn new(start: Tick, due: Vec<Tick>) -> Fleet {
        let mut fleet =
            Fleet { records: Records::new(due.len()), wheel: new_wheel(start), visits: vec![0; due.len()], due };
        for index in 0..fleet.due.len() {
            fleet.wheel.schedule(&fleet.records, index as u32, fleet.due[index]);
        }
        fleet
    }

    /// Pops until `None`; the records that were due, and the number of visits.
    fn look(&mut self, now: Tick) -> (Vec<u32>, usize) {
        let (mut acted, mut visits) = (Vec::new(), 0);
        while let Some(index) = self.wheel.pop(&self.records, now) {
            visits += 1;
            self.visits[index as usize] += 1;
            match self.due[index as usize] {
                due if due > now => self.wheel.schedule(&self.records, index, due),
                _ => acted.push(index),
            }
        }
        assert_eq!(self.wheel.elapsed(), now + 1);
        (acted, visits)
    }

    /// Looks whenever the wheel asks for it, until the tick or the end of all hints; each record must come up exactly
    /// at its tick. Returns the most visits of one look.
    fn run(&mut self, until: Tick) -> usize {
        let mut most = 0;
        while let Some(now) = self.wheel.next_look().filter(|&now| now <= until) {
            let earliest = self.due.iter().enumerate();
            let earliest = earliest.filter(|(index, _)| self.wheel.holds(&self.records, *index as u32));
            if self.due.len() < 100 {
                assert!(earliest.map(|(_, &due)| due).min() >= Some(now), "a look later than a hint");
            }
            let (acted, visits) = self.look(now);
            assert!(visits > 0, "a look at {now} that found nothing");
            most = most.max(visits);
            for index in acted {
                assert_eq!(self.due[index as usize], now, "record {index} came up at the wrong tick");
            }
        }
        most
    }

    fn check(&self) {
        self.wheel.check_invariants(&self.records);
    }
}

const START: Tick = 1 << 32;
/// A tick at the start of a slot of level 2, far from slots of level 3.
const SLOT: Tick = START + 16 * (1 << 16);

fn pop_all(wheel: &mut Wheel, records: &Records, now: Tick) -> Vec<u32> {
    std::iter::from_fn(|| wheel.pop(records, now)).collect()
}

#[test]
fn a_hint_comes_up_at_its_tick_and_not_before() {
    for ahead in [0, 1, 255, 256, 65_535, 65_536, 600_000, 16_777_216, 1 << 31] {
        let mut fleet = Fleet::new(START, vec![START + ahead]);
        fleet.run(Tick::MAX);
        assert_eq!(fleet.wheel.elapsed(), START + ahead + 1);
        assert_eq!((fleet.wheel.len(), fleet.wheel.next_look()), (0, None));
        fleet.check();
    }
}

#[test]
fn the_past_comes_up_at_the_first_unserved_tick() {
    let (mut wheel, records) = (new_wheel(START), Records::new(1));
    assert_eq!(wheel.pop(&records, START), None);
    wheel.schedule(&records, 0, START - 5);
    assert_eq!(wheel.next_look(), Some(START + 1));
    assert_eq!(wheel.pop(&records, START), None);
    assert_eq!(wheel.pop(&records, START + 1), Some(0));
    assert!(!wheel.holds(&records, 0));
}

#[test]
fn an_empty_wheel_has_no_next_look_and_is_small() {
    let (mut wheel, records) = (new_wheel(START), Records::new(0));
    assert_eq!((wheel.next_look(), wheel.len(), wheel.draining()), (None, 0, false));
    // Most of it is kept ready for lists.
    assert!(wheel.memory_bytes() < 32 * 1024, "{} bytes", wheel.memory_bytes());
    assert_eq!(wheel.pop(&records, START + (1 << 40)), None);
    assert_eq!(wheel.elapsed(), START + (1 << 40) + 1);
}

#[test]
fn a_hint_in_a_list_being_drained_can_be_moved_and_removed() {
    let due = vec![SLOT + 40_000; 10];
    let mut fleet = Fleet::new(START, due);
    let Fleet { records, wheel, .. } = &mut fleet;
    let first = wheel.pop(records, SLOT).expect("the slot has begun");
    assert!(wheel.draining());
    assert_eq!((wheel.next_look(), wheel.len()), (Some(wheel.elapsed()), 9));
    let [removed, shortened, parked] = [1, 3, 5];
    assert!(![removed, shortened, parked].contains(&first));
    assert!(wheel.unlist(records, removed));
    wheel.check_invariants(records);
    wheel.schedule(records, shortened, SLOT + 2);
    wheel.check_invariants(records);
    wheel.park(records, parked, Queue::Turn);
    wheel.check_invariants(records);
    // Who goes back into the slot's range does not come up again in this drain.
    wheel.schedule(records, first, SLOT + 40_000);
    let mut drained = pop_all(wheel, records, SLOT);
    drained.sort_unstable();
    assert_eq!(drained, [0, 2, 4, 6, 7, 8]);
    assert_eq!(pop_all(wheel, records, SLOT + 2), [shortened]);
    assert!(wheel.queued(records, parked) && wheel.holds(records, first) && !wheel.holds(records, removed));
    wheel.check_invariants(records);
}

#[test]
fn the_place_of_a_moved_record_is_right() {
    let mut fleet = Fleet::new(START, vec![SLOT; 1000]);
    for removed in [0, 500, 999, 255, 256, 998, 257] {
        assert!(fleet.wheel.unlist(&fleet.records, removed));
        fleet.check();
        assert!(!fleet.wheel.unlist(&fleet.records, removed), "twice");
    }
    assert_eq!(fleet.wheel.len(), 993);
}

#[test]
fn what_is_parked_now_comes_after_what_waited() {
    let (mut wheel, records) = (new_wheel(START), Records::new(20));
    for index in 0..5 {
        wheel.park(&records, index, Queue::Turn);
    }
    let first = wheel.pop_queued(&records, Queue::Turn).expect("five wait");
    // Parked again at once: it must wait for the other four.
    wheel.park(&records, first, Queue::Turn);
    wheel.park(&records, 9, Queue::Turn);
    assert_eq!((wheel.queued_len(Queue::Turn), wheel.queued_len(Queue::Room), wheel.len()), (6, 0, 0));
    wheel.check_invariants(&records);
    let batch: Vec<u32> = (0..4).filter_map(|_| wheel.pop_queued(&records, Queue::Turn)).collect();
    assert!(!batch.contains(&first) && !batch.contains(&9), "{batch:?}");
    let mut rest: Vec<u32> = std::iter::from_fn(|| wheel.pop_queued(&records, Queue::Turn)).collect();
    rest.sort_unstable();
    assert_eq!(rest, [first.min(9), first.max(9)]);
    assert_eq!((wheel.next_look(), wheel.queued_len(Queue::Turn)), (None, 0));
    wheel.check_invariants(&records);
}

#[test]
fn a_queued_record_can_be_removed_and_moved() {
    let (mut wheel, records) = (new_wheel(START), Records::new(6));
    for index in 0..6 {
        wheel.park(&records, index, Queue::Room);
    }
    assert_eq!(wheel.pop_queued(&records, Queue::Room), Some(5));
    assert!(wheel.unlist(&records, 0), "from the outgoing batch");
    wheel.park(&records, 1, Queue::Turn);
    wheel.schedule(&records, 2, START + 3);
    assert!(wheel.queued(&records, 1) && !wheel.queued(&records, 2) && !wheel.queued(&records, 0));
    assert_eq!((wheel.queued_len(Queue::Room), wheel.queued_len(Queue::Turn), wheel.len()), (2, 1, 1));
    wheel.check_invariants(&records);
    assert_eq!(wheel.next_look(), Some(START + 3), "queues have no tick");
    assert!(wheel.unlist(&records, 1) && wheel.unlist(&records, 3) && wheel.unlist(&records, 4));
    assert_eq!(wheel.queued_len(Queue::Room) + wheel.queued_len(Queue::Turn), 0);
    wheel.check_invariants(&records);
}

#[test]
fn a_forgotten_record_is_noticed_and_can_be_scheduled_again() {
    let mut fleet = Fleet::new(START, vec![START + 10, START + 10, START + 1000]);
    for forgotten in [0, 2] {
        let place = fleet.records.place(forgotten);
        fleet.wheel.forget(&fleet.records, forgotten);
        assert_eq!(fleet.records.place(forgotten), place, "its place still lies");
        assert!(!fleet.wheel.holds(&fleet.records, forgotten));
    }
    assert_eq!(fleet.wheel.len(), 1);
    fleet.check();
    fleet.wheel.schedule(&fleet.records, 2, START + 10);
    assert!(!fleet.wheel.unlist(&fleet.records, 0));
    assert_eq!(fleet.records.place(0), Place::NOWHERE);
    let (mut acted, _) = fleet.look(START + 1000);
    acted.sort_unstable();
    assert_eq!(acted, [1, 2]);
}

#[test]
fn a_record_in_no_list_keeps_its_position_field() {
    let (mut wheel, records) = (new_wheel(START), Records::new(1));
    let link = Place { list: 0, position: 77 };
    records.set_place(0, link);
    assert!(!wheel.unlist(&records, 0) && !wheel.holds(&records, 0) && !wheel.queued(&records, 0));
    assert_eq!(records.place(0), link, "the free list's link lives there");
    wheel.schedule(&records, 0, START);
    assert_eq!(wheel.pop(&records, START), Some(0));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn memory_is_bounded_by_the_peak_however_often_hints_move() {
    let (mut wheel, records) = (new_wheel(START), Records::new(2000));
    let mut peak = 0;
    for round in 0..400_u64 {
        for index in 0..2000 {
            let spread = u64::from(index).wrapping_mul(0x9e37_79b9) % 700_000;
            wheel.schedule(&records, index, wheel.elapsed() + (spread + round * 31) % 700_000);
        }
        pop_all(&mut wheel, &records, START + round * 5000);
        if round == 100 {
            peak = wheel.memory_bytes();
        }
    }
    assert!(wheel.memory_bytes() <= peak + peak / 4, "{} bytes, {peak} after a quarter", wheel.memory_bytes());
}

#[test]
#[should_panic(expected = "not where its place says")]
fn a_wrong_place_does_not_pass_the_check() {
    let fleet = Fleet::new(START, vec![START + 10, START + 20]);
    fleet.records.set_place(1, Place { list: 1, position: 1 });
    fleet.check();
}
