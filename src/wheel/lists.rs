//! The wheel's lists: chunked arrays of record indices, and the pool that their chunks come from.
//!
//! Promises: push, pop and swap-remove are O(1) and never copy a list; a list that empties holds no chunk; chunks go
//! back to the pool, so memory is bounded by the peak number of hints plus one part-filled chunk for each list in use.
//! Chunks are owned (by a list or by the pool, never named by a number), so no two lists can share one.
//!
//! Assumes: a record index is in at most one list, and the owner of an emptied list closes it. Called by the wheel alone;
//! a list knows nothing of slots, its owner is a note that it keeps for the wheel.

use super::{Place, Places, Queue};

/// Entries in a chunk: 1 KiB, large enough that a full slot is scanned at memory speed, small enough that a slot with
/// one hint wastes little.
const CHUNK: usize = 256;
/// Entries between the one popped and the one prefetched: what a drain of a large fleet costs falls until about here.
const PREFETCH_AHEAD: usize = 16;
/// A closed list keeps its array of chunk pointers up to this capacity, so that small lists come and go without malloc.
const KEPT_POINTERS: usize = 16;

type Chunk = Box<[u32; CHUNK]>;

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
    chunks: Vec<Chunk>,
    len: u32,
    owner: Owner,
}

/// All lists of one wheel, by id. Id 0 is no list.
pub(super) struct Lists {
    lists: Vec<List>,
    spare: Vec<u16>,
    free: Vec<Chunk>,
    /// Chunks ever allocated: those in lists and those in `free`.
    chunks: usize,
}

impl Lists {
    pub(super) fn new() -> Lists {
        // Id 0 is occupied by a list that stays empty, so that ids index the vector.
        let none = List { chunks: Vec::new(), len: 0, owner: Owner::Spare };
        Lists { lists: vec![none], spare: Vec::new(), free: Vec::new(), chunks: 0 }
    }

    /// A fresh empty list.
    pub(super) fn open(&mut self, owner: Owner) -> u16 {
        if let Some(id) = self.spare.pop() {
            self.lists[usize::from(id)].owner = owner;
            return id;
        }
        // Slots, queues and the limited number of drains stay far below 65,536.
        let id = u16::try_from(self.lists.len()).expect("the limit on drains bounds the list ids");
        self.lists.push(List { chunks: Vec::new(), len: 0, owner });
        id
    }

    /// Gives the id of an empty list back.
    pub(super) fn close(&mut self, id: u16) {
        let list = &mut self.lists[usize::from(id)];
        debug_assert!(id != 0 && list.len == 0 && list.chunks.is_empty(), "only an empty list may be closed");
        list.owner = Owner::Spare;
        if list.chunks.capacity() > KEPT_POINTERS {
            list.chunks = Vec::new();
        }
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
        let list = self.lists.get(usize::from(place.list))?;
        if place.position >= list.len {
            return None;
        }
        let position = place.position as usize;
        Some(list.chunks[position / CHUNK][position % CHUNK])
    }

    /// Appends, and says where the entry now is.
    #[inline]
    pub(super) fn push(&mut self, id: u16, index: u32) -> Place {
        let list = &mut self.lists[usize::from(id)];
        let position = list.len as usize;
        if position == list.chunks.len() * CHUNK {
            let chunk = self.free.pop().unwrap_or_else(|| {
                self.chunks += 1;
                Box::new([0; CHUNK])
            });
            list.chunks.push(chunk);
        }
        list.chunks[position / CHUNK][position % CHUNK] = index;
        list.len += 1;
        Place { list: id, position: position as u32 }
    }

    /// Takes the last entry.
    #[inline]
    pub(super) fn pop(&mut self, id: u16) -> Option<u32> {
        let list = &mut self.lists[usize::from(id)];
        list.len = list.len.checked_sub(1)?;
        let position = list.len as usize;
        let index = list.chunks[position / CHUNK][position % CHUNK];
        // A chunk is given back with its first entry: a list at a chunk's edge swaps one with the pool, a push and a pop
        // of a vector, while keeping it would cost 1 KiB for every list.
        if position.is_multiple_of(CHUNK) {
            self.free.extend(list.chunks.pop());
        }
        Some(index)
    }

    /// Takes the entry at a place that exists; the last entry moves there. Returns the entry that moved, if one did.
    pub(super) fn swap_remove(&mut self, place: Place) -> Option<u32> {
        let last = self.pop(place.list)?;
        let list = &mut self.lists[usize::from(place.list)];
        if place.position >= list.len {
            return None;
        }
        let position = place.position as usize;
        list.chunks[position / CHUNK][position % CHUNK] = last;
        Some(last)
    }

    /// Asks for the record that is popped a few pops from now.
    #[inline]
    pub(super) fn prefetch_ahead<P: Places>(&self, id: u16, places: &P) {
        if let Some(position) = self.len(id).checked_sub(PREFETCH_AHEAD) {
            self.prefetch_at(id, position, places);
        }
    }

    /// Asks for the records that are popped first, when a list's drain begins.
    pub(super) fn prefetch_tail<P: Places>(&self, id: u16, places: &P) {
        let len = self.len(id);
        for position in len.saturating_sub(PREFETCH_AHEAD)..len {
            self.prefetch_at(id, position, places);
        }
    }

    #[inline]
    fn prefetch_at<P: Places>(&self, id: u16, position: usize, places: &P) {
        if let Some(index) = self.get(Place { list: id, position: position as u32 }) {
            places.prefetch(index);
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let pointers: usize = self.lists.iter().map(|list| list.chunks.capacity()).sum();
        self.lists.capacity() * size_of::<List>()
            + self.spare.capacity() * size_of::<u16>()
            + (pointers + self.free.capacity()) * size_of::<Chunk>()
            + self.chunks * size_of::<[u32; CHUNK]>()
    }

    /// Every list but the one of id 0: id, owner, entries in order.
    #[cfg(test)]
    pub(super) fn each(&self) -> impl Iterator<Item = (u16, Owner, impl Iterator<Item = u32>)> {
        self.lists.iter().enumerate().skip(1).map(|(id, list)| {
            let entries = list.chunks.iter().flat_map(|chunk| chunk.iter().copied());
            (id as u16, list.owner, entries.take(list.len as usize))
        })
    }

    /// Panics unless chunks and spare ids add up.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut in_lists = 0;
        for (id, list) in self.lists.iter().enumerate() {
            let needed = (list.len as usize).div_ceil(CHUNK);
            assert_eq!(list.chunks.len(), needed, "list {id} of {} entries holds too many or too few chunks", list.len);
            in_lists += list.chunks.len();
        }
        assert_eq!(in_lists + self.free.len(), self.chunks, "chunks were lost or doubled");
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
    use super::*;
    use std::cell::RefCell;

    const OWNER: Owner = Owner::Drain { level: 1 };

    fn entries(lists: &Lists, id: u16) -> Vec<u32> {
        lists.each().find(|(other, ..)| *other == id).map(|(.., entries)| entries.collect()).unwrap_or_default()
    }

    #[test]
    fn swap_remove_moves_the_last_entry_into_the_gap() {
        let mut lists = Lists::new();
        let id = lists.open(OWNER);
        for index in 0..600 {
            assert_eq!(lists.push(id, index), Place { list: id, position: index });
        }
        assert_eq!(lists.swap_remove(Place { list: id, position: 3 }), Some(599));
        assert_eq!(lists.get(Place { list: id, position: 3 }), Some(599));
        assert_eq!(lists.swap_remove(Place { list: id, position: 598 }), None, "the last entry leaves no gap");
        assert_eq!(lists.len(id), 598);
        assert_eq!(lists.get(Place { list: id, position: 598 }), None);
        let mut expected: Vec<u32> = (0..598).collect();
        expected[3] = 599;
        assert_eq!(entries(&lists, id), expected);
        lists.check();
    }

    #[test]
    fn chunks_and_ids_are_used_again() {
        let mut lists = Lists::new();
        for _ in 0..50 {
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
        assert_eq!(lists.chunks, 8, "two lists of 1000 entries need four chunks each");
        assert_eq!(lists.free.len(), 8);
        assert_eq!(lists.lists.len(), 3);
    }

    #[test]
    fn a_closed_list_gives_back_a_large_pointer_array() {
        let mut lists = Lists::new();
        let id = lists.open(OWNER);
        for index in 0..100_000 {
            lists.push(id, index);
        }
        while lists.pop(id).is_some() {}
        lists.close(id);
        assert_eq!(lists.lists[usize::from(id)].chunks.capacity(), 0);
    }

    #[test]
    fn nonsense_places_hold_nothing() {
        let mut lists = Lists::new();
        let id = lists.open(OWNER);
        lists.push(id, 7);
        assert_eq!(lists.get(Place { list: id, position: 0 }), Some(7));
        for place in [Place::NOWHERE, Place { list: id, position: 1 }, Place { list: u16::MAX, position: u32::MAX }] {
            assert_eq!(lists.get(place), None, "{place:?}");
        }
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
        let mut lists = Lists::new();
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
