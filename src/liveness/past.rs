//! What is known of hosts from earlier runs of the scheduler: announces that they missed in a row.
//!
//! A restart excuses an announce: from a run's last snapshot to the next run's start nobody watched, or nobody remembers. One
//! excuse is fair, and one at each restart lets a dead host stay for ever. So a snapshot counts, for each host, the announces that
//! were *expected*, a whole number of intervals after the last one that was heard, while the run watched: since its start and up
//! to the snapshot. They are *misses*, and add up over the runs until the host is heard. Near both ends of that time an announce
//! is excused as well, as hosts keep their beat only so well.
//!
//! A renew costs nothing for it: whether a host was heard in this run is told by its last announce. Only hosts with misses, or
//! with an age that the restore has cut, have an entry here, until a snapshot finds that they were heard or have left.

use std::collections::HashMap;
use std::time::Duration;

use crate::canary::{Canary, planted};
use crate::record::Handle;

/// So many misses in a row bring a host back as a suspect.
pub(crate) const SUSPICIOUS: u8 = 3;

/// A host's earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// Announces missed in a row.
    pub(crate) misses: u8,
    /// By how much longer ago the host was last heard than its age in this run says, in milliseconds.
    pub(crate) older_ms: u64,
}

/// The earlier runs of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Wheel time, since the opening, at which the last restore began and ended; `None`: nothing was restored.
    restored: Option<(Duration, Duration)>,
    /// From the snapshot to the restore; `None`: not known, so nothing is expected of a host that was not heard since.
    gap_ms: Option<u64>,
    hosts: HashMap<Handle, Earlier>,
}

impl Past {
    /// A restore from a snapshot of `gap` ago began and ended.
    pub(crate) fn restored(&mut self, began: Duration, ended: Duration, gap: Option<Duration>) {
        self.restored = Some((began, ended));
        self.gap_ms = gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
    }

    /// Makes sure that there is memory for what is noted of another host; false if the system refuses it.
    pub(crate) fn reserve(&mut self) -> bool {
        self.hosts.try_reserve(1).is_ok()
    }

    /// A host was restored.
    pub(crate) fn note(&mut self, handle: Handle, earlier: Earlier) {
        // Who restores has reserved the memory, unless two do that at once.
        if earlier != Earlier::default() && self.reserve() {
            self.hosts.insert(handle, earlier);
        }
    }

    /// What a snapshot at `now` says of a host that was last heard `age_ms` ago.
    pub(crate) fn judge(&self, handle: Handle, age_ms: u64, interval_ms: u64, now: Duration) -> Earlier {
        let since = |moment: Duration| now.saturating_sub(moment).as_millis() as u64;
        let Some((began, ended)) = self.restored else {
            return Earlier { misses: missed(age_ms, interval_ms, since(Duration::ZERO)), older_ms: 0 };
        };
        if age_ms <= since(ended) {
            return Earlier { misses: missed(age_ms, interval_ms, since(began)), older_ms: 0 };
        }
        let earlier = self.hosts.get(&handle).copied().unwrap_or_default();
        let Some(gap_ms) = self.gap_ms else { return earlier };
        let older_ms = earlier.older_ms + gap_ms;
        let excused_ms = if planted(Canary::UnexcusedGap) { gap_ms } else { 0 };
        let misses = missed(age_ms + older_ms, interval_ms, since(began) + excused_ms);
        Earlier { misses: earlier.misses.saturating_add(misses), older_ms }
    }

    /// Forgets hosts that were heard in this run, or have left: `is_unheard` says whether one with an age of more than so many
    /// milliseconds is known.
    pub(crate) fn forget(&mut self, now: Duration, is_unheard: impl Fn(Handle, u64) -> bool) {
        let Some((_, ended)) = self.restored else { return };
        let since_ms = now.saturating_sub(ended).as_millis() as u64;
        self.hosts.retain(|handle, _| is_unheard(*handle, since_ms));
    }
}

/// How many announces of a host, heard last `age_ms` ago, were expected in the last `watched_ms`, less those near its ends.
fn missed(age_ms: u64, interval_ms: u64, watched_ms: u64) -> u8 {
    if interval_ms == 0 || planted(Canary::NothingIsMissed) {
        return 0;
    }
    // Hosts announce with some jitter, and a scheduler is busy when it starts.
    let edge_ms = interval_ms / 50 + 1000;
    let Some(oldest_ms) = watched_ms.checked_sub(edge_ms).filter(|oldest_ms| *oldest_ms >= edge_ms) else { return 0 };
    // Those expected at least `edge_ms` ago, less those expected before `oldest_ms` ago.
    let expected_by = |ago_ms: u64| age_ms.checked_sub(ago_ms).map_or(0, |since_ms| since_ms / interval_ms);
    let missed = expected_by(edge_ms).saturating_sub(expected_by(oldest_ms + 1));
    u8::try_from(missed).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn announces_are_missed_that_were_expected_while_the_run_watched() {
        // Heard 100 s ago, every 60 s: one was expected 40 s ago.
        assert_eq!(missed(100_000, 60_000, 50_000), 1);
        assert_eq!(missed(100_000, 60_000, 39_000), 0, "before it watched");
        assert_eq!(missed(100_000, 60_000, 42_000), 0, "just after it began");
        assert_eq!(missed(100_000, 60_000, 42_200), 1);
        assert_eq!(missed(61_000, 60_000, 300_000), 0, "just before the snapshot");
        assert_eq!(missed(62_200, 60_000, 300_000), 1);
        assert_eq!(missed(600_000, 60_000, 300_000), 4, "at the very end one is excused, and 300 s ago");
        assert_eq!((missed(59_000, 60_000, 300_000), missed(u64::MAX, 1, u64::MAX)), (0, 255));
        assert_eq!(missed(9_000_000, 0, 9_000_000), 0, "a host without interval");
    }

    #[test]
    fn misses_add_up_over_runs_until_the_host_is_heard() {
        let handle = Handle::new(1, 1);
        let mut past = Past::default();
        assert_eq!(past.judge(handle, 130_000, 60_000, secs(200)), Earlier { misses: 2, older_ms: 0 });
        past.restored(secs(1), secs(1), Some(secs(20)));
        past.note(handle, Earlier { misses: 2, older_ms: 70_000 });
        // Restored with an age of 60 s; 50 s later it was heard 200 s ago, so one was expected 20 s ago.
        assert_eq!(past.judge(handle, 110_000, 60_000, secs(51)), Earlier { misses: 3, older_ms: 90_000 });
        assert_eq!(past.judge(handle, 30_000, 60_000, secs(51)), Earlier::default(), "it was heard");
        past.restored(secs(1), secs(1), None);
        assert_eq!(past.judge(handle, 110_000, 60_000, secs(51)).misses, 2, "its beat is not known");
        past.forget(secs(51), |_, since_ms| since_ms != 50_000);
        assert_eq!(past.judge(handle, 110_000, 60_000, secs(51)), Earlier::default());
    }
}
