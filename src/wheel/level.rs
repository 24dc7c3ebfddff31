//! One level of the wheel, and the rule that says to which level and slot a tick belongs.
//!
//! Promises: `locate` never chooses a slot that the wheel's position has already begun, and never one whose number is
//! ambiguous. Assumes: the wheel begins a slot of an upper level when its position comes to the slot's start. Called by
//! the wheel alone.

use std::collections::VecDeque;

use super::occupancy::Occupancy;
use super::turning::MOST_DRAINS;
use crate::tick::Tick;

/// Levels of the wheel.
pub(super) const LEVELS: usize = 4;
/// Slots of a level.
pub(super) const SLOTS: usize = 256;
/// How far ahead, in slots of its level, a hint may lie.
const REACH: u64 = SLOTS as u64 - 1;
const SLOT_BITS: usize = 8;

/// By how many bits a tick is shifted to become a slot number of this level.
pub(super) const fn shift(level: usize) -> usize {
    level * SLOT_BITS
}

/// Ticks in a slot of this level.
pub(super) const fn width(level: usize) -> Tick {
    1 << shift(level)
}

/// 256 slots, and the lists that were taken out of them and are not empty yet.
pub(super) struct Level {
    /// List ids; 0 = the slot is empty.
    pub(super) slots: [u16; SLOTS],
    /// One bit for each slot that is not empty.
    pub(super) occupancy: Occupancy,
    /// Lists of slots that have begun, the oldest first; none is empty.
    pub(super) drains: VecDeque<u16>,
    /// Number (not yet taken modulo 256) of the slot last begun early, so that what falls back into it waits for its start.
    pub(super) begun_early: Option<u64>,
}

impl Level {
    pub(super) fn new() -> Level {
        // All that there may be, so that none needs memory later.
        let drains = VecDeque::with_capacity(MOST_DRAINS);
        Level { slots: [0; SLOTS], occupancy: Occupancy::default(), drains, begun_early: None }
    }
}

/// The level and slot of a hint for `when`, which counts as `elapsed` if it is before that.
///
/// The level is the lowest one on which the slot numbers of `when` and `elapsed` differ by at most 255. (By difference.
/// The usual choice by the highest differing bit puts everything beyond the next multiple of 2^16 on level 2 and above,
/// so that a whole fleet drains at that one tick.) The slot numbers of an upper level are then 1 to 255 ahead: had they
/// been equal, the level below would have been near enough.
pub(super) fn locate(elapsed: Tick, when: Tick) -> (usize, u8) {
    const TOP: usize = LEVELS - 1;
    // What is too far for the top level goes into its last slot. The tick is clamped before a slot is chosen: to clamp
    // the level only would choose a slot by the bits of the far tick, perhaps the one being drained, for ever.
    let last = (elapsed >> shift(TOP)) + REACH;
    let when = if when >> shift(TOP) > last { last << shift(TOP) } else { when.max(elapsed) };
    let fits = |level: &usize| (when >> shift(*level)) - (elapsed >> shift(*level)) <= REACH;
    let level = (0..TOP).find(fits).unwrap_or(TOP);
    (level, (when >> shift(level)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_distance() {
        for elapsed in [0, 1 << 32, (1 << 32) - 1, (1 << 24) + 77] {
            assert_eq!(locate(elapsed, elapsed), (0, elapsed as u8));
            assert_eq!(locate(elapsed, elapsed + 255), (0, (elapsed + 255) as u8));
            assert_eq!(locate(elapsed, elapsed + 256).0, 1);
            assert_eq!(locate(elapsed, (elapsed & !0xff) + 0xffff).0, 1);
            assert_eq!(locate(elapsed, (elapsed & !0xff) + 0x1_0000).0, 2);
            assert_eq!(locate(elapsed, (elapsed & !0xffff) + 0xff_ffff).0, 2);
            assert_eq!(locate(elapsed, (elapsed & !0xffff) + 0x100_0000).0, 3);
        }
    }

    #[test]
    fn the_past_counts_as_the_first_unserved_tick() {
        assert_eq!(locate(1 << 32, 0), locate(1 << 32, 1 << 32));
        assert_eq!(locate(1000, 999), (0, 1000_u64 as u8));
    }

    #[test]
    fn crossing_a_boundary_changes_no_level() {
        // 10 ticks ahead is level 0 and 600 s ahead is level 2, wherever the position is.
        for boundary in [1_u64 << 8, 1 << 16, 1 << 24, 1 << 32, 1 << 40] {
            for elapsed in boundary - 9..boundary + 9 {
                assert_eq!(locate(elapsed, elapsed + 10).0, 0);
                assert_eq!(locate(elapsed, elapsed + 600_000).0, 2);
            }
        }
    }

    #[test]
    fn far_ticks_are_clamped_to_the_last_slot_of_the_top_level() {
        let elapsed = (1_u64 << 32) + 12_345;
        let last = ((elapsed >> 24) + 255) as u8;
        for when in [elapsed + (1 << 32), elapsed + (1 << 40), u64::MAX] {
            assert_eq!(locate(elapsed, when), (3, last));
        }
        // Its lower bits are those of `elapsed`, so a rule that clamps only the level would choose the slot at hand.
        let same_bits = elapsed + (1 << 40);
        assert_eq!((same_bits >> 24) as u8, (elapsed >> 24) as u8);
        assert_eq!(locate(u64::MAX, u64::MAX), (0, 255));
        assert_eq!(locate(u64::MAX - 300, u64::MAX).0, 1);
    }

    #[test]
    fn upper_slots_are_one_to_255_ahead() {
        for elapsed in [0, 255, 256, 65_535, 1 << 32, (1 << 32) - 1, (1 << 40) + 123_456] {
            for bit in 0..50 {
                for when in [elapsed + (1 << bit), elapsed + (1 << bit) - 1, (elapsed | ((1 << bit) - 1)) + 1] {
                    let (level, slot) = locate(elapsed, when);
                    let ahead = slot.wrapping_sub((elapsed >> shift(level)) as u8);
                    assert!(level == 0 || ahead > 0, "tick {when} at {elapsed} went into the slot that has begun");
                }
            }
        }
    }
}
