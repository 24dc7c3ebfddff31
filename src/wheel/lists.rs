//! The wheel's lists: chunks of record indices, each linked to the one before it.
//!
//! Promises: push, pop and swap-remove are O(1), never copy a list and never ask for memory; a list that empties holds no chunk;
//! chunks are used again, so memory is bounded by the peak number of hints plus one part-filled chunk for each list in use.
//! A chunk names its list, so a place is believed only if it is one of that list.
//!
//! Assumes: a record index is in at most one list, and the owner of an emptied list closes it. Called by the wheel alone;
//! a list knows nothing of slots, its owner is a note that it keeps for the wheel.

use super::chunks::{CHUNK, Chunks, HEADER, HINTS, LINK, LIST, position};
use super::{MOST_LISTS, Place, Places, Queue};

/// Entries between the one popped and the one prefetched: what a drain of a large fleet costs falls until about here.
const PREFETCH_AHEAD: usize = 16;

/// Whose list it is. Needed to find the slot, drain or queue to clear when a swap-remove empties the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's: the id waits to be opened again.
    Spare,
    /// A slot's.
    Slot { level: u8, slot: u8 },
    /// Taken out of a slot of this level, to be popped until it is empty.
    Drain { level: u8 },
    /// A waiting queue's, incoming or outgoing.
    Waiting(Queue),
}

struct List {
    len: u32,
    /// The last chunk, of a list that is not empty.
    tail: u32,
    /// Entries in the last chunk.
    fill: u16,
    owner: Owner,
}

impl List {
    fn empty(owner: Owner) -> List {
        List { len: 0, tail: 0, fill: 0, owner }
    }

    /// The last entry's position.
    fn last(&self) -> u32 {
        position(self.tail, HEADER + usize::from(self.fill) - 1)
    }
}

/// All lists of one wheel, by id. Id 0 is no list.
pub(super) struct Lists {
    lists: Vec<List>,
    spare: Vec<u16>,
    chunks: Chunks,
}

impl Lists {
    pub(super) fn new(chunks: Chunks) -> Lists {
        // All that there may be, so that none needs memory later.
        let mut lists = Vec::with_capacity(MOST_LISTS + 1);
        // Id 0 is occupied by a list that stays empty, so that ids index the vector.
        lists.push(List::empty(Owner::Spare));
        Lists { lists, spare: Vec::with_capacity(MOST_LISTS), chunks }
    }

    /// A fresh empty list.
    pub(super) fn open(&mut self, owner: Owner) -> u16 {
        if let Some(id) = self.spare.pop() {
            self.lists[usize::from(id)].owner = owner;
            return id;
        }
        debug_assert!(self.lists.len() <= MOST_LISTS);
        let id = self.lists.len() as u16;
        self.lists.push(List::empty(owner));
        id
    }

    /// Gives the id of an empty list back.
    pub(super) fn close(&mut self, id: u16) {
        let list = &mut self.lists[usize::from(id)];
        debug_assert!(id != 0 && list.len == 0, "only an empty list may be closed");
        list.owner = Owner::Spare;
        self.spare.push(id);
    }

    #[inline]
    pub(super) fn len(&self, id: u16) -> usize {
        self.lists[usize::from(id)].len as usize
    }

    #[inline]
    pub(super) fn owner(&self, id: u16) -> Owner {
        self.lists[usize::from(id)].owner
    }

    pub(super) fn set_owner(&mut self, id: u16, owner: Owner) {
        self.lists[usize::from(id)].owner = owner;
    }

    /// The entry at a place; `None` for a place that no list has, whatever its numbers are.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<u32> {
        let list = self.lists.get(usize::from(place.list)).filter(|list| list.len > 0)?;
        let (chunk, at) = (place.position / CHUNK as u32, place.position as usize % CHUNK);
        let known = at >= HEADER
            && chunk < self.chunks.used()
            && self.chunks.get(position(chunk, LIST)) == u32::from(place.list)
            && (chunk != list.tail || at < HEADER + usize::from(list.fill));
        known.then(|| self.chunks.get(place.position))
    }

    /// Appends, and says where the entry now is.
    #[inline]
    pub(super) fn push(&mut self, id: u16, index: u32) -> Place {
        let list = &mut self.lists[usize::from(id)];
        if list.len == 0 || usize::from(list.fill) == HINTS {
            list.tail = self.chunks.take(id, list.tail);
            list.fill = 0;
        }
        list.len += 1;
        list.fill += 1;
        let position = list.last();
        self.chunks.set(position, index);
        Place { list: id, position }
    }

    /// Takes the last entry.
    #[inline]
    pub(super) fn pop(&mut self, id: u16) -> Option<u32> {
        let list = &mut self.lists[usize::from(id)];
        let len = list.len.checked_sub(1)?;
        let index = self.chunks.get(list.last());
        list.len = len;
        list.fill -= 1;
        // A chunk is given back with its first entry: a list at a chunk's edge swaps one with the free ones, which costs
        // little, while keeping it would cost 1 KiB for every list.
        if list.fill == 0 {
            list.tail = self.chunks.give_back(list.tail);
            list.fill = HINTS as u16;
        }
        Some(index)
    }

    /// Takes the entry at a place that exists; the last entry moves there. Returns the entry that moved, if one did.
    pub(super) fn swap_remove(&mut self, place: Place) -> Option<u32> {
        let gap = self.lists[usize::from(place.list)].last() != place.position;
        let last = self.pop(place.list)?;
        if gap {
            self.chunks.set(place.position, last);
        }
        gap.then_some(last)
    }

    /// Asks for the record that is popped a few pops from now.
    #[inline]
    pub(super) fn prefetch_ahead<P: Places>(&self, id: u16, places: &P) {
        self.prefetch(id, PREFETCH_AHEAD, places);
    }

    /// Asks for the records that are popped first, when a list's drain begins.
    pub(super) fn prefetch_tail<P: Places>(&self, id: u16, places: &P) {
        (1..=PREFETCH_AHEAD.min(self.len(id))).for_each(|nth| self.prefetch(id, nth, places));
    }

    /// Asks for the `nth` entry from the end, if there is one.
    #[inline]
    fn prefetch<P: Places>(&self, id: u16, nth: usize, places: &P) {
        let list = &self.lists[usize::from(id)];
        if nth > list.len as usize {
            return;
        }
        let (mut chunk, mut end) = (list.tail, usize::from(list.fill));
        while nth > end {
            chunk = self.chunks.get(position(chunk, LINK));
            end += HINTS;
        }
        places.prefetch(self.chunks.get(position(chunk, HEADER + end - nth)));
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.lists.capacity() * size_of::<List>()
            + self.spare.capacity() * size_of::<u16>()
            + self.chunks.used() as usize * CHUNK * size_of::<u32>()
    }

    /// Every list but the one of id 0: id, owner, entries with their positions, the last one first.
    #[cfg(test)]
    pub(super) fn each(&self) -> impl Iterator<Item = (u16, Owner, impl Iterator<Item = (u32, u32)>)> {
        let ids = (1..).zip(self.lists.iter().skip(1));
        ids.map(|(id, list)| (id, list.owner, self.entries(list)))
    }

    /// The chunks of a list, the last one first.
    #[cfg(test)]
    fn chunks_of(&self, list: &List) -> impl Iterator<Item = u32> {
        let number = (list.len as usize).div_ceil(HINTS);
        let before = |chunk: &u32| Some(self.chunks.get(position(*chunk, LINK)));
        std::iter::successors((number > 0).then_some(list.tail), before).take(number)
    }

    #[cfg(test)]
    fn entries(&self, list: &List) -> impl Iterator<Item = (u32, u32)> {
        let tail = (list.tail, usize::from(list.fill));
        let filled = move |chunk| if chunk == tail.0 { tail.1 } else { HINTS };
        let positions = |(chunk, fill)| (0..fill).rev().map(move |at| position(chunk, HEADER + at));
        let chunks = self.chunks_of(list).map(move |chunk| (chunk, filled(chunk)));
        chunks.flat_map(positions).map(|position| (position, self.chunks.get(position)))
    }

    /// Panics unless chunks and spare ids add up.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut known = vec![false; self.chunks.used() as usize];
        let mut note = |chunk: u32, list: usize| {
            assert!(!std::mem::replace(&mut known[chunk as usize], true), "chunk {chunk} is in two places");
            let named = self.chunks.get(position(chunk, LIST)) as usize;
            assert_eq!(named, list, "chunk {chunk} names another list");
        };
        for (id, list) in self.lists.iter().enumerate() {
            self.chunks_of(list).for_each(|chunk| note(chunk, id));
            assert_eq!(self.entries(list).count(), list.len as usize, "list {id} has more or less than it says");
        }
        self.chunks.free().for_each(|chunk| note(chunk, 0));
        assert!(known.into_iter().all(|known| known), "chunks were lost");
        let mut spare = vec![false; self.lists.len()];
        for &id in &self.spare {
            assert!(id != 0 && !spare[usize::from(id)], "list id {id} is spare twice, or is none");
            spare[usize::from(id)] = true;
        }
        for (id, list) in self.lists.iter().enumerate().skip(1) {
            assert_eq!(list.owner == Owner::Spare, spare[id], "list {id} says {:?}, the spare ids differ", list.owner);
            assert_eq!(list.owner == Owner::Spare, list.len == 0, "list {id} of {:?} has {}", list.owner, list.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::Supply;
    use super::*;
    use std::cell::RefCell;

    const OWNER: Owner = Owner::Drain { level: 1 };

    fn lists() -> Lists {
        const RECORDS: usize = 100_000;
        let supply = Supply::new(RECORDS).expect("there is address space");
        supply.back(0, RECORDS).expect("there is memory");
        Lists::new(Chunks::new(supply))
    }

    /// Where the nth entry of the first list is, in a wheel that had no list before.
    fn place(id: u16, nth: usize) -> Place {
        Place { list: id, position: position((nth / HINTS) as u32, HEADER + nth % HINTS) }
    }

    fn entries(lists: &Lists, id: u16) -> Vec<u32> {
        let list = lists.each().find(|(other, ..)| *other == id);
        let mut entries: Vec<_> = list.map(|(.., entries)| entries.collect()).unwrap_or_default();
        entries.reverse();
        entries.into_iter().map(|(_, index)| index).collect()
    }

    #[test]
    fn swap_remove_moves_the_last_entry_into_the_gap() {
        let mut lists = lists();
        let id = lists.open(OWNER);
        for index in 0..600 {
            assert_eq!(lists.push(id, index), place(id, index as usize));
        }
        assert_eq!(lists.swap_remove(place(id, 3)), Some(599));
        assert_eq!(lists.get(place(id, 3)), Some(599));
        assert_eq!(lists.swap_remove(place(id, 598)), None, "the last entry leaves no gap");
        assert_eq!(lists.len(id), 598);
        assert_eq!(lists.get(place(id, 598)), None);
        let mut expected: Vec<u32> = (0..598).collect();
        expected[3] = 599;
        assert_eq!(entries(&lists, id), expected);
        lists.check();
    }

    #[test]
    fn chunks_and_ids_are_used_again() {
        let mut lists = lists();
        for _ in 0..if cfg!(miri) { 2 } else { 50 } {
            let first = lists.open(OWNER);
            let second = lists.open(OWNER);
            for index in 0..1000 {
                lists.push(first, index);
                lists.push(second, index);
            }
            lists.check();
            for id in [first, second] {
                while lists.pop(id).is_some() {}
                lists.close(id);
            }
            lists.check();
        }
        assert_eq!(lists.chunks.used(), 8, "two lists of 1000 entries need four chunks each");
        assert_eq!(lists.chunks.free().count(), 8);
        assert_eq!(lists.lists.len(), 3);
    }

    #[test]
    fn nonsense_places_hold_nothing() {
        let mut lists = lists();
        let id = lists.open(OWNER);
        let other = lists.open(OWNER);
        lists.push(id, 7);
        lists.push(other, 8);
        assert_eq!(lists.get(place(id, 0)), Some(7));
        let others = Place { list: id, position: position(1, HEADER) };
        assert_eq!(lists.get(Place { list: other, ..others }), Some(8));
        let header = Place { list: id, position: position(0, LIST) };
        let far = Place { list: u16::MAX, position: u32::MAX };
        for place in [Place::NOWHERE, place(id, 1), others, header, far, Place { list: id, ..far }] {
            assert_eq!(lists.get(place), None, "{place:?}");
        }
        assert!(lists.pop(id).is_some());
        assert_eq!(lists.get(place(id, 0)), None, "the list is empty");
    }

    struct Prefetched(RefCell<Vec<u32>>);
    impl Places for Prefetched {
        fn place(&self, _: u32) -> Place {
            Place::NOWHERE
        }
        fn set_place(&self, _: u32, _: Place) {}
        fn prefetch(&self, index: u32) {
            self.0.borrow_mut().push(index);
        }
    }

    #[test]
    fn every_record_of_a_drain_is_prefetched_once() {
        let mut lists = lists();
        let id = lists.open(OWNER);
        for index in 0..300 {
            lists.push(id, index);
        }
        let prefetched = Prefetched(RefCell::default());
        lists.prefetch_tail(id, &prefetched);
        while lists.pop(id).is_some() {
            lists.prefetch_ahead(id, &prefetched);
        }
        let mut seen = prefetched.0.into_inner();
        seen.sort_unstable();
        assert_eq!(seen, (0..300).collect::<Vec<_>>());
    }
}
