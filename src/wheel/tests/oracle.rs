//! Random runs against a naive ordered map.

use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

const RECORDS: u32 = 40;

#[derive(Clone, Debug)]
enum Op {
    Schedule(u32, Ahead),
    Unlist(u32),
    Park(u32, Queue),
    PopQueued(Queue),
    /// Time passes, and the owner pops until `None`.
    Look(Ahead),
    /// Time passes, and the owner pops only so many.
    Step(Ahead, usize),
}

/// A length of time: `bits` chooses its scale, so that each level is met as often as the others.
#[derive(Clone, Copy, Debug)]
struct Ahead(u64);

fn ahead(max_bits: u32) -> impl Strategy<Value = Ahead> {
    prop_oneof![
        (0..=max_bits, any::<u64>()).prop_map(|(bits, random)| Ahead(random & ((1 << bits) - 1))),
        (0..=max_bits, 0..3_u64).prop_map(|(bits, near)| Ahead(((1_u64 << bits) + near).saturating_sub(1))),
    ]
}

fn queue() -> impl Strategy<Value = Queue> {
    prop_oneof![Just(Queue::Room), Just(Queue::Turn)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..RECORDS, ahead(34)).prop_map(|(index, ahead)| Op::Schedule(index, ahead)),
        // Many in the same few slots, so that drains last and slots are big.
        8 => (0..RECORDS, 0..64_u64).prop_map(|(index, fine)| Op::Schedule(index, Ahead(70_000 + fine * 1000))),
        2 => (0..RECORDS).prop_map(Op::Unlist),
        2 => (0..RECORDS, queue()).prop_map(|(index, queue)| Op::Park(index, queue)),
        1 => queue().prop_map(Op::PopQueued),
        3 => ahead(18).prop_map(Op::Look),
        1 => ahead(36).prop_map(Op::Look),
        4 => (ahead(18), 0..12_usize).prop_map(|(ahead, limit)| Op::Step(ahead, limit)),
    ]
}

/// Just before or after a multiple of the widths of the levels.
fn start() -> impl Strategy<Value = Tick> {
    (prop_oneof![Just(8), Just(16), Just(24), Just(32), Just(40)], 1..4_u64, 0..600_u64)
        .prop_map(|(bits, times, before)| ((times << bits) + 300).saturating_sub(before))
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        Just(Limits::DEFAULT),
        (1..6_usize, 1..5_usize, 1..4_usize).prop_map(|(big, step, drains)| Limits { big, step, drains }),
    ]
}

struct Compared {
    wheel: Wheel,
    records: Records,
    now: Tick,
    /// The naive map: hints in order, and for each record its tick or its queue.
    hints: BTreeSet<(Tick, u32)>,
    tick_of: Vec<Option<Tick>>,
    queue_of: Vec<Option<Queue>>,
}

impl Compared {
    fn new(start: Tick, limits: Limits) -> Compared {
        Compared {
            wheel: Wheel::with_limits(start, supply(), limits),
            records: Records::new(RECORDS as usize),
            now: start,
            hints: BTreeSet::new(),
            tick_of: vec![None; RECORDS as usize],
            queue_of: vec![None; RECORDS as usize],
        }
    }

    /// Removes the record from the naive map; whether it was there.
    fn drop_naive(&mut self, index: u32) -> bool {
        let queued = self.queue_of[index as usize].take().is_some();
        let Some(tick) = self.tick_of[index as usize].take() else {
            return queued;
        };
        self.hints.remove(&(tick, index))
    }

    fn schedule(&mut self, index: u32, when: Tick) {
        self.drop_naive(index);
        let when = when.max(self.wheel.elapsed());
        self.wheel.schedule(&self.records, index, when);
        self.hints.insert((when, index));
        self.tick_of[index as usize] = Some(when);
    }

    /// Pops at most `limit`; whether the wheel said that it is done.
    fn pop(&mut self, limit: usize) -> bool {
        for _ in 0..limit {
            let Some(index) = self.wheel.pop(&self.records, self.now) else {
                return true;
            };
            let when = self.tick_of[index as usize].expect("popped, yet it has no hint: doubled or never scheduled");
            assert_eq!(self.records.place(index), Place::NOWHERE);
            self.drop_naive(index);
            if when > self.now {
                self.schedule(index, when);
            }
            self.check();
        }
        false
    }

    fn look(&mut self, ahead: Ahead) {
        self.now += ahead.0;
        // Each hint is visited a few times on its way, the far ones once in every 255 slots of the top level.
        let limit = (self.hints.len() + 1) * (10 + (ahead.0 >> 31) as usize);
        assert!(self.pop(limit), "endless: {limit} visits at {} for {} hints", self.now, self.hints.len());
        assert_eq!(self.wheel.elapsed(), self.now + 1);
        assert!(!self.wheel.draining());
        assert!(self.hints.first().is_none_or(|&(when, _)| when > self.now), "lost: {:?}", self.hints);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Schedule(index, ahead) => self.schedule(index, self.now + ahead.0),
            Op::Unlist(index) => {
                let was = self.drop_naive(index);
                assert_eq!(self.wheel.unlist(&self.records, index), was);
            }
            Op::Park(index, queue) => {
                self.drop_naive(index);
                self.wheel.park(&self.records, index, queue);
                self.queue_of[index as usize] = Some(queue);
            }
            Op::PopQueued(queue) => {
                let naive = self.queue_of.iter().filter(|&&of| of == Some(queue)).count();
                let popped = self.wheel.pop_queued(&self.records, queue);
                assert_eq!(popped.is_some(), naive > 0);
                if let Some(index) = popped {
                    assert_eq!(self.queue_of[index as usize].take(), Some(queue));
                }
            }
            Op::Look(ahead) => self.look(ahead),
            Op::Step(ahead, limit) => {
                self.now += ahead.0;
                self.pop(limit);
            }
        }
    }

    fn check(&self) {
        self.wheel.check_invariants(&self.records);
        assert_eq!(self.wheel.len(), self.hints.len());
        for index in 0..RECORDS {
            let (tick, queue) = (self.tick_of[index as usize], self.queue_of[index as usize]);
            assert_eq!(self.wheel.holds(&self.records, index), tick.is_some() || queue.is_some());
            assert_eq!(self.wheel.queued(&self.records, index), queue.is_some());
        }
        for queue in [Queue::Room, Queue::Turn] {
            let naive = self.queue_of.iter().filter(|&&of| of == Some(queue)).count();
            assert_eq!(self.wheel.queued_len(queue), naive);
        }
        let earliest = self.hints.first().map(|&(when, _)| when);
        match (self.wheel.next_look(), earliest) {
            // In a drain that is behind, a hint may lie before the position; there is work at once then.
            (Some(look), Some(when)) => assert!(look <= when.max(self.wheel.elapsed())),
            (look, when) => assert_eq!(look, when),
        }
        if let (Some(look), Some(when), false) = (self.wheel.next_look(), earliest, self.wheel.draining()) {
            assert!(self.wheel.elapsed() <= look && look <= when, "look at {look}, hint at {when}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 1000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_does_what_an_ordered_map_does(
        start in start(),
        limits in limits(),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut compared = Compared::new(start, limits);
        for op in ops {
            compared.apply(op);
            compared.check();
        }
        compared.look(Ahead(1 << 37));
        prop_assert_eq!(compared.wheel.len(), 0);
    }

    #[test]
    fn who_looks_only_when_told_is_exact_and_never_looks_in_vain(
        start in start(),
        limits in limits(),
        aheads in proptest::collection::vec(ahead(35), 1..40),
    ) {
        let mut compared = Compared::new(start, limits);
        for (index, ahead) in aheads.iter().enumerate() {
            compared.schedule(index as u32, start + ahead.0);
        }
        let mut looks = 0;
        while let Some(look) = compared.wheel.next_look() {
            compared.now = look;
            looks += 1;
            let earliest = compared.hints.first().map(|&(when, _)| when);
            prop_assert!(Some(look) <= earliest, "a look at {look}, a hint at {earliest:?}");
            let Some(first) = compared.wheel.pop(&compared.records, look) else {
                return Err(TestCaseError::fail(format!("nothing to do at {look}")));
            };
            let when = compared.tick_of[first as usize].expect("a hint");
            prop_assert!(when >= look, "late: {when} at {look}");
            compared.drop_naive(first);
            if when > look {
                compared.schedule(first, when);
            }
            compared.look(Ahead(0));
        }
        prop_assert!(compared.hints.is_empty());
        prop_assert!(looks <= aheads.len() * 20, "{looks} looks for {} hints", aheads.len());
    }
}
