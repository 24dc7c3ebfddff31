//! Whether a handle was issued before: exact, and bounded by the records of the wheel.
//!
//! A set of all handles would grow for as long as the run lasts. But a handle is a record's index and its generation, and
//! generations of one record go up: so the newest one of each record and the 64 before it are enough, as in the replay
//! windows of network protocols. The window is there because two threads may note their handles in another order than
//! they got them.

use std::sync::{Mutex, PoisonError};

/// Bits of a handle that are its record's index.
const INDEX_BITS: u32 = 32;

/// What was issued of one record.
#[derive(Clone, Copy, Default)]
struct Issued {
    newest: u32,
    /// Bit `n` says that the generation `n` before the newest was issued; 0 while none was.
    window: u64,
}

/// The handles that a wheel has issued.
pub struct Handles(Box<[Mutex<Issued>]>);

/// What is wrong with a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It was issued before.
    Twice,
    /// It is of a record beyond those that the wheel may come to use.
    Beyond,
}

impl Handles {
    /// For at most `records` records.
    pub fn new(records: usize) -> Handles {
        // Each is written, so that the judge's own memory is all there before the first sample.
        let cells: Box<[Mutex<Issued>]> = (0..records).map(|_| Mutex::new(Issued { newest: 1, window: 0 })).collect();
        Handles(cells)
    }

    /// Notes a handle that was issued.
    pub fn issue(&self, handle: u64) -> Result<(), Wrong> {
        let cell = self.0.get(handle as u32 as usize).ok_or(Wrong::Beyond)?;
        let generation = (handle >> INDEX_BITS) as u32;
        let mut issued = cell.lock().unwrap_or_else(PoisonError::into_inner);
        // Generations may wrap; no run issues 2^31 of one record.
        let ahead = generation.wrapping_sub(issued.newest) as i32;
        if issued.window == 0 || ahead > 0 {
            issued.window = issued.window.checked_shl(ahead.unsigned_abs()).unwrap_or(0) | 1;
            issued.newest = generation;
            return Ok(());
        }
        let bit = 1u64.checked_shl(ahead.unsigned_abs()).ok_or(Wrong::Twice)?;
        if issued.window & bit != 0 {
            return Err(Wrong::Twice);
        }
        issued.window |= bit;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(index: u32, generation: u32) -> u64 {
        u64::from(generation) << INDEX_BITS | u64::from(index)
    }

    #[test]
    fn each_handle_is_taken_once_in_whatever_order_near_ones_come() {
        let handles = Handles::new(2);
        for generation in [u32::MAX - 1, 2, u32::MAX, 1, 7, 5, 6, 300, 290] {
            assert_eq!(handles.issue(handle(1, generation)), Ok(()), "{generation}");
        }
        assert_eq!(handles.issue(handle(0, 7)), Ok(()), "of another record");
    }

    #[test]
    fn a_handle_that_was_issued_before_is_noticed() {
        let handles = Handles::new(2);
        for generation in [5, 6, 8, 100] {
            assert_eq!(handles.issue(handle(1, generation)), Ok(()));
            assert_eq!(handles.issue(handle(1, generation)), Err(Wrong::Twice));
        }
        assert_eq!(handles.issue(handle(1, 5)), Err(Wrong::Twice), "long ago");
        assert_eq!(handles.issue(handle(2, 5)), Err(Wrong::Beyond));
    }
}
