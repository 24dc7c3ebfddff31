//! The proof that slots, lists, places and counts agree. Called by tests, at each step.

use std::collections::HashSet;

use super::level::{LEVELS, SLOTS, shift};
use super::lists::Owner;
use super::{Place, Places, Queue, Wheel};

impl Wheel {
    /// Panics, saying why, unless everything in the wheel agrees. O(hints + slots); for tests.
    pub(crate) fn check_invariants<P: Places>(&self, places: &P) {
        self.lists.check();
        let mut used = HashSet::new();
        for level in 0..LEVELS {
            self.check_level(level, &mut used);
        }
        for queue in [Queue::Room, Queue::Turn] {
            let waiting = self.waiting[queue as usize];
            for list in [waiting.incoming, waiting.outgoing].into_iter().filter(|&list| list != 0) {
                assert!(used.insert(list), "list {list} of {queue:?} is used twice");
                assert_eq!(self.lists.owner(list), Owner::Waiting(queue), "list {list} names another owner");
            }
        }
        let mut seen = HashSet::new();
        let (mut hints, mut open) = (0, 0);
        for (list, owner, entries) in self.lists.each() {
            if owner == Owner::Spare {
                continue;
            }
            open += 1;
            assert!(used.contains(&list), "list {list} of {owner:?} is lost: no slot, drain or queue names it");
            for (position, index) in entries {
                assert!(seen.insert(index), "record {index} is in two lists, or twice in list {list}");
                let here = Place { list, position };
                let told = places.place(index);
                assert_eq!(told, here, "record {index} is not where its place says");
                hints += usize::from(!matches!(owner, Owner::Waiting(_)));
            }
        }
        assert_eq!(open, used.len(), "a slot, drain or queue names a spare list");
        assert_eq!(hints, self.len, "the count of hints is wrong");
    }

    fn check_level(&self, level: usize, used: &mut HashSet<u16>) {
        let this = &self.levels[level];
        for slot in 0..SLOTS {
            let list = this.slots[slot];
            let bit = this.occupancy.is_set(slot as u8);
            assert_eq!(list != 0, bit, "level {level} slot {slot}: list {list}, occupancy {bit}");
            if list != 0 {
                assert!(used.insert(list), "list {list} of level {level} slot {slot} is used twice");
                let owner = Owner::Slot { level: level as u8, slot: slot as u8 };
                assert_eq!(self.lists.owner(list), owner, "list {list} names another owner");
            }
        }
        for &list in &this.drains {
            assert!(used.insert(list), "list {list}, a drain of level {level}, is used twice");
            assert_eq!(self.lists.owner(list), Owner::Drain { level: level as u8 }, "list {list} names another owner");
        }
        let at = usize::from((self.elapsed >> shift(level)) as u8);
        assert!(level == 0 || this.slots[at] == 0, "level {level}: the slot that has begun is not empty");
        assert!(level > 0 || this.drains.len() <= 1, "level 0 has more than one drain");
    }
}
