//! The position, the beginning of slots, drains and turns.

use super::*;
use crate::wheel::level::{shift, width};

fn slot_len(wheel: &Wheel, level: usize, when: Tick) -> usize {
    wheel.lists.len(wheel.levels[level].slots[usize::from((when >> shift(level)) as u8)])
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_fleet_does_not_drain_as_a_whole_when_a_boundary_is_crossed() {
    // Placed by the highest differing bit, everything due after the boundary would share one slot and drain there.
    for (boundary, spread) in [(START + (1 << 16), 20_000), (START + (1 << 24), 600_000), (1 << 33, 600_000)] {
        let start = boundary - spread / 4;
        let due = (1..=20_000).map(|nth| start + nth * spread / 20_000).collect::<Vec<_>>();
        let hosts = due.len();
        let mut fleet = Fleet::new(start, due);
        let most = fleet.run(Tick::MAX);
        assert!(most <= hosts / 4, "{most} of {hosts} came up at one tick around {boundary:#x}");
        assert_eq!(fleet.wheel.len(), 0);
    }
}

#[test]
fn a_far_deadline_is_visited_on_the_way_and_never_endlessly() {
    // The same low bits as the position: a wheel that clamps only the level drains and refills one slot for ever.
    for ahead in [1 << 40, (1 << 40) + 1, (1 << 40) + 0x1234_5678, (1 << 32) - 1, 255 << 24, (255 << 24) - 1] {
        let mut fleet = Fleet::new(START, vec![START + ahead]);
        let most = fleet.run(Tick::MAX);
        assert!(most <= 4, "{most} visits in one look");
        let on_the_way = (ahead >> 24) as u32 / 255;
        assert!(fleet.visits[0] <= on_the_way + 5, "{} visits, {ahead:#x} ahead", fleet.visits[0]);
        assert_eq!(fleet.wheel.len(), 0);
    }
}

#[test]
fn the_end_of_all_ticks_is_no_wrap_around() {
    let start = Tick::MAX - 70_000;
    let due = vec![start, start + 100, start + 1000, Tick::MAX - 1];
    let mut fleet = Fleet::new(start, due);
    fleet.run(Tick::MAX - 1);
    assert_eq!((fleet.wheel.len(), fleet.wheel.elapsed()), (0, Tick::MAX));
    // Beyond the last tick that can be served nothing happens, and nothing hangs.
    fleet.wheel.schedule(&fleet.records, 0, Tick::MAX);
    assert_eq!(fleet.wheel.pop(&fleet.records, Tick::MAX), None);
    fleet.check();
}

#[test]
fn a_drain_emptied_by_removals_is_over() {
    let mut fleet = Fleet::new(START, vec![SLOT + 5000; 3]);
    let Fleet { records, wheel, .. } = &mut fleet;
    assert!(wheel.pop(records, SLOT).is_some() && wheel.draining());
    let removed = (0..3).filter(|&index| wheel.unlist(records, index)).count();
    assert_eq!((removed, wheel.draining(), wheel.next_look(), wheel.len()), (2, false, None, 0));
    wheel.check_invariants(records);
    assert_eq!(wheel.pop(records, SLOT), None);
}

#[test]
fn a_slot_begun_while_the_older_drain_lasts_waits_behind_it() {
    let mut due = vec![SLOT; 5];
    due.extend(vec![SLOT + width(2); 5]);
    let mut fleet = Fleet::new(START, due);
    let Fleet { records, wheel, .. } = &mut fleet;
    let first = wheel.pop(records, SLOT).expect("the first slot has begun");
    // A step ends here, and time jumps; level 0 has its turn after `step` records, which moves the position on.
    wheel.taken = usize::MAX;
    let second = wheel.pop(records, SLOT + width(2)).expect("a hint of either slot");
    assert_eq!(wheel.levels[2].drains.len(), 2);
    wheel.check_invariants(records);
    let rest = pop_all(wheel, records, SLOT + width(2));
    assert!([first, second].iter().chain(&rest[..3]).all(|&index| index < 5), "the older drain comes first");
    assert!(rest[3..].iter().all(|&index| index >= 5) && rest.len() == 8);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_big_slot_begins_a_quarter_early_and_its_last_quarter_returns_once() {
    let step = width(2) / 8192;
    let due = (0..8192).map(|nth| SLOT + nth * step + 1).collect::<Vec<_>>();
    let mut fleet = Fleet::new(START, due);
    let early = SLOT - width(2) / 4;
    assert_eq!(fleet.wheel.next_look(), Some(early));
    assert_eq!(fleet.look(early - 2), (vec![], 0));
    assert_eq!(fleet.look(early), (vec![], 8192), "each once, though a quarter goes back into the slot");
    assert_eq!(slot_len(&fleet.wheel, 2, SLOT), 2048);
    fleet.check();
    let next = fleet.wheel.next_look().expect("hints");
    assert_eq!(next, SLOT, "what fell back waits for the slot's start");
    // Still big; yet it was begun early already.
    for extra in 0..3000 {
        fleet.wheel.schedule(&fleet.records, extra, SLOT + width(2) - 1);
    }
    assert!(slot_len(&fleet.wheel, 2, SLOT) > 4096);
    assert_eq!(fleet.wheel.next_look(), Some(SLOT));
    for extra in 0..3000 {
        fleet.wheel.schedule(&fleet.records, extra, fleet.due[extra as usize]);
    }
    let (_, visits) = fleet.look(SLOT);
    assert!((2048..2048 + 64).contains(&visits), "{visits} visits at the slot's start");
    fleet.run(Tick::MAX);
    assert_eq!(fleet.wheel.len(), 0);
    let visits: u32 = fleet.visits.iter().sum();
    assert!(visits <= 8192 * 4, "{visits} visits");
}

#[test]
fn a_slot_of_4096_hints_begins_at_its_start() {
    let fleet = Fleet::new(START, vec![SLOT + 5; 4096]);
    assert_eq!(fleet.wheel.next_look(), Some(SLOT));
}

#[test]
fn a_slot_that_grows_big_in_its_last_quarter_begins_at_once() {
    let early = SLOT - width(2) / 4;
    let mut fleet = Fleet::new(START, vec![SLOT + width(2) - 1; 4097]);
    fleet.wheel.unlist(&fleet.records, 0);
    assert_eq!(fleet.look(early + 1000), (vec![], 0));
    fleet.wheel.schedule(&fleet.records, 0, SLOT + width(2) - 1);
    assert_eq!(fleet.wheel.next_look(), Some(early + 1001));
    assert_eq!(fleet.look(early + 1001), (vec![], 4097));
    assert_eq!(fleet.wheel.next_look(), Some(SLOT));
}

#[test]
fn the_lowest_level_is_drained_first() {
    // A slot of level 2 and a slot of level 1 begin at the same tick.
    let (mut wheel, records) = (new_wheel(START), Records::new(5));
    for index in 0..2 {
        wheel.schedule(&records, index, SLOT + 200);
    }
    assert_eq!(wheel.pop(&records, SLOT - 300), None);
    for index in 2..5 {
        wheel.schedule(&records, index, SLOT + 200);
    }
    assert_eq!((slot_len(&wheel, 1, SLOT), slot_len(&wheel, 2, SLOT)), (3, 2));
    let popped = pop_all(&mut wheel, &records, SLOT);
    assert!(popped[..3].iter().all(|&index| index >= 2) && popped.len() == 5, "{popped:?}");
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn upper_drains_and_level_0_take_turns() {
    // 20,000 hints come up in a slot of level 2, 5000 are due at the same tick in level 0.
    let mut fleet = Fleet::new(START, vec![SLOT + 60_000; 20_000]);
    fleet.wheel.limits.big = usize::MAX;
    assert_eq!(fleet.look(SLOT - 10), (vec![], 0));
    fleet.records.0.resize(25_000, Cell::new(Place::NOWHERE));
    for index in 20_000..25_000 {
        fleet.wheel.schedule(&fleet.records, index, SLOT + u64::from(index % 10));
    }
    let popped = pop_all(&mut fleet.wheel, &fleet.records, SLOT + 20);
    assert_eq!(popped.len(), 25_000);
    let upper: Vec<bool> = popped.iter().map(|&index| index < 20_000).collect();
    let runs: Vec<&[bool]> = upper.chunk_by(|a, b| a == b).collect();
    let last_near = runs.iter().rposition(|run| !run[0]).expect("level 0 was served");
    assert!(runs[..=last_near].iter().all(|run| run.len() <= 1024), "a turn of more than 1024");
    assert_eq!(last_near + 1, 9, "five turns of level 0, four of the drain between them");
}

#[test]
fn the_position_stops_for_an_owner_that_is_hopelessly_behind() {
    let due = (0..100).map(|nth| START + 512 + nth * 256).collect();
    let mut fleet = Fleet::new(START, due);
    fleet.wheel.limits = Limits { big: 4096, step: 1, drains: 3 };
    let now = START + 65_000;
    let mut acted = 0;
    while fleet.wheel.pop(&fleet.records, now).is_some() {
        acted += 1;
        let waiting = fleet.wheel.levels[1].drains.len();
        assert!(waiting <= 3, "{waiting} drains");
        fleet.check();
    }
    assert_eq!((acted, fleet.wheel.elapsed()), (100, now + 1));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_jump_over_months_costs_what_its_hints_cost() {
    // Tick by tick this would take days.
    let mut fleet = Fleet::new(START, (0..100).map(|nth| START + (nth << 28) + nth * 77_777).collect());
    let (acted, visits) = fleet.look(START + (1 << 42));
    assert_eq!((acted.len(), visits), (100, 100), "when popped, all are due already");
    assert_eq!(fleet.wheel.next_look(), None);
    let now = fleet.wheel.elapsed();
    fleet.wheel.schedule(&fleet.records, 0, now + 3);
    assert_eq!(fleet.wheel.pop(&fleet.records, now + 2), None);
    assert_eq!(fleet.wheel.pop(&fleet.records, now + 3), Some(0));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_hint_600_seconds_away_costs_at_most_4_visits() {
    // One host a look: three levels. Many hosts: a slot begun early may bring one more, for a quarter of them.
    for ahead in [600_000, 599_999, 655_360, 640_123] {
        let mut fleet = Fleet::new(START, vec![START + ahead]);
        fleet.run(Tick::MAX);
        assert!(fleet.visits[0] <= 3, "{} visits", fleet.visits[0]);
    }
    let mut fleet = Fleet::new(START, (0..30_000).map(|nth| START + 570_000 + nth).collect());
    fleet.run(Tick::MAX);
    assert!(fleet.visits.iter().all(|&visits| visits <= 4));
    assert_eq!(fleet.wheel.len(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_healthy_fleet_costs_one_visit_an_interval() {
    // 300 s intervals, deadlines 600 s ahead; a visit moves the hint to the deadline of the latest announce.
    const HOSTS: u64 = 3000;
    let mut fleet = Fleet::new(START, (0..HOSTS).map(|host| START + 600_000 + host * 100).collect());
    let Fleet { records, wheel, .. } = &mut fleet;
    let mut visits = 0;
    let until = START + 20 * 300_000;
    while let Some(now) = wheel.next_look().filter(|&now| now < until) {
        while let Some(host) = wheel.pop(records, now) {
            visits += 1;
            let phase = u64::from(host) * 100;
            let announced = START + (now - START).saturating_sub(phase) / 300_000 * 300_000 + phase;
            wheel.schedule(records, host, announced + 600_000);
        }
    }
    let per_interval = visits as f64 / HOSTS as f64 / 20.0;
    assert!(per_interval < 1.0, "{per_interval} visits a host and interval");
}
