//! When which host acts next: slots of 10 ms with lists through the hosts, so that its memory never changes.
//!
//! It is the simplest thing that will do, and shares nothing with the wheel that it helps to judge.

/// The width of a slot.
pub const SLOT_MS: u64 = 10;

/// Slots: more than five minutes of them, and no host waits for so long.
const SLOTS: usize = 1 << 15;

const NOBODY: u32 = u32::MAX;

/// A calendar of hosts, each in it at most once.
pub struct Calendar {
    first: Box<[u32]>,
    next: Box<[u32]>,
    /// Slots that are over.
    passed: u64,
}

impl Calendar {
    pub fn new(hosts: usize) -> Calendar {
        Calendar { first: vec![NOBODY; SLOTS].into(), next: vec![NOBODY; hosts].into(), passed: 0 }
    }

    /// Enters a host that is in no slot, to act at `at_ms` after the start, or in the next slot if that is over.
    pub fn enter(&mut self, host: u32, at_ms: u64) {
        let slot = (at_ms / SLOT_MS).clamp(self.passed, self.passed + SLOTS as u64 - 1) as usize % SLOTS;
        self.next[host as usize] = self.first[slot];
        self.first[slot] = host;
    }

    /// Takes out a host whose time has come by `now_ms`.
    pub fn take(&mut self, now_ms: u64) -> Option<u32> {
        while self.passed <= now_ms / SLOT_MS {
            let slot = self.passed as usize % SLOTS;
            let host = self.first[slot];
            if host != NOBODY {
                self.first[slot] = self.next[host as usize];
                return Some(host);
            }
            // The present slot stays open: what is entered for now is taken now.
            if self.passed == now_ms / SLOT_MS {
                return None;
            }
            self.passed += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_out_when_their_time_has_come_and_not_before() {
        let mut calendar = Calendar::new(4);
        for (host, at_ms) in [(0, 500), (1, 5), (2, 30), (3, 500)] {
            calendar.enter(host, at_ms);
        }
        assert_eq!((calendar.take(9), calendar.take(29)), (Some(1), None));
        calendar.enter(1, 0);
        assert_eq!((calendar.take(29), calendar.take(30), calendar.take(499)), (Some(1), Some(2), None));
        let mut last = [calendar.take(10_000), calendar.take(10_000)];
        last.sort();
        assert_eq!((last, calendar.take(10_000)), ([Some(0), Some(3)], None));
    }
}
