//! Which of a level's 256 slots hold hints: four words, searched in a circle.
//!
//! Promises: `next_from` finds the next occupied slot in at most five word look-ups, so a jump over empty time
//! costs the same however long it is. Assumes nothing. Called by `Level` and by the turning of the wheel, which keep
//! a bit set exactly while its slot has a list.

const WORDS: usize = 4;
const WORD_BITS: usize = 64;

/// One bit for each slot of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Occupancy([u64; WORDS]);

impl Occupancy {
    pub(super) fn set(&mut self, slot: u8) {
        self.0[usize::from(slot) / WORD_BITS] |= 1 << (usize::from(slot) % WORD_BITS);
    }

    pub(super) fn clear(&mut self, slot: u8) {
        self.0[usize::from(slot) / WORD_BITS] &= !(1 << (usize::from(slot) % WORD_BITS));
    }

    #[cfg(test)]
    pub(super) fn is_set(&self, slot: u8) -> bool {
        self.0[usize::from(slot) / WORD_BITS] & (1 << (usize::from(slot) % WORD_BITS)) != 0
    }

    /// How far `from` lies before the next occupied slot, going round past 255 to 0; 0 when `from` itself is occupied.
    pub(super) fn next_from(&self, from: u8) -> Option<u8> {
        let first = usize::from(from) / WORD_BITS;
        let not_before = !0_u64 << (usize::from(from) % WORD_BITS);
        // The first word is looked at twice: its upper part at the begin; after the whole circle, when that part is known
        // to be empty, its lower part.
        for step in 0..=WORDS {
            let word = (first + step) % WORDS;
            let bits = if step == 0 { self.0[word] & not_before } else { self.0[word] };
            if bits != 0 {
                let slot = word * WORD_BITS + bits.trailing_zeros() as usize;
                return Some((slot as u8).wrapping_sub(from));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_level_has_no_next_slot() {
        assert!((0..=255).all(|from| Occupancy::default().next_from(from).is_none()));
    }

    #[test]
    fn a_single_slot_is_found_from_everywhere() {
        for slot in 0..=255_u8 {
            let mut occupancy = Occupancy::default();
            occupancy.set(slot);
            for from in 0..=255_u8 {
                assert_eq!(occupancy.next_from(from), Some(slot.wrapping_sub(from)), "slot {slot} from {from}");
            }
            occupancy.clear(slot);
            assert_eq!(occupancy, Occupancy::default());
        }
    }

    proptest! {
        #[test]
        fn the_next_slot_is_the_one_a_walk_finds(
            set in proptest::collection::vec(any::<u8>(), 0..40),
            cleared in proptest::collection::vec(any::<u8>(), 0..20),
            from: u8,
        ) {
            let mut occupancy = Occupancy::default();
            let mut naive = [false; 256];
            for slot in set {
                occupancy.set(slot);
                naive[usize::from(slot)] = true;
            }
            for slot in cleared {
                occupancy.clear(slot);
                naive[usize::from(slot)] = false;
            }
            let walked = (0..=255_u8).find(|ahead| naive[usize::from(from.wrapping_add(*ahead))]);
            prop_assert_eq!(occupancy.next_from(from), walked);
            for slot in 0..=255_u8 {
                prop_assert_eq!(occupancy.is_set(slot), naive[usize::from(slot)]);
            }
        }
    }
}
