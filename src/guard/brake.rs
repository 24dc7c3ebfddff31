//! The brake: leaves pass a token bucket whose size follows the fleet.
//!
//! Burst = max(minimum, share of the fleet), refilled at max(minimum, share of the fleet) a minute. The fleet is the most
//! hosts that were alive within the last host TTL, so that the bucket does not shrink with the very loss that it brakes.
//! There is no state that can stick: tokens come back with time alone, and at least the minimum, whatever the fleet.

use crate::canary::{Canary, planted};
use crate::config::Brake;
use crate::tick::Tick;

/// Milliseconds in the minute that refills are counted by: a token is this many parts, so that a refill of one token a
/// minute is one part per tick and nothing is lost to rounding.
const PARTS: u64 = 60_000;

/// Windows that the last host TTL is divided into.
const WINDOWS: usize = 8;

/// The token bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    config: Brake,
    fleet: Peak,
    parts: u64,
    refilled_at: Tick,
    /// Leaves that may pass without a token: those that waited when the queue was released.
    released: u64,
}

impl Bucket {
    /// A full bucket. `host_ttl` is how long a fleet is remembered.
    pub(crate) fn new(config: Brake, host_ttl: Tick, now: Tick) -> Bucket {
        let mut brake = Bucket { config, fleet: Peak::new(host_ttl, now), parts: 0, refilled_at: now, released: 0 };
        brake.parts = brake.burst().saturating_mul(PARTS);
        brake
    }

    fn is_off(&self) -> bool {
        self.config.burst_permille == 0 && self.config.burst_min == 0
    }

    fn share(&self, permille: u32, min: u32) -> u64 {
        (self.fleet.most() * u64::from(permille) / 1000).max(u64::from(min)).max(1)
    }

    /// Leaves that may pass at once.
    fn burst(&self) -> u64 {
        self.share(self.config.burst_permille, self.config.burst_min)
    }

    /// Leaves per minute after that.
    fn refill(&self) -> u64 {
        self.share(self.config.refill_permille, self.config.refill_min)
    }

    /// Notes the time and how many hosts are alive.
    pub(crate) fn look(&mut self, now: Tick, live: u64) {
        let before = self.burst();
        self.fleet.note(now, live);
        let passed = if planted(Canary::StuckBrake) { 0 } else { now.saturating_sub(self.refilled_at) };
        self.refilled_at = now;
        let burst = self.burst();
        // A fleet that grows has its larger burst at once.
        let grown = burst.saturating_sub(before).saturating_mul(PARTS);
        let refilled = self.parts.saturating_add(grown).saturating_add(passed.saturating_mul(self.refill()));
        self.parts = refilled.min(burst.saturating_mul(PARTS));
    }

    /// Whether a leave may pass now.
    pub(crate) fn is_open(&self) -> bool {
        self.is_off() || planted(Canary::NoBrake) || self.released > 0 || self.parts >= PARTS
    }

    /// A leave has passed.
    pub(crate) fn pass(&mut self) {
        if self.is_off() {
        } else if self.released > 0 {
            self.released -= 1;
        } else {
            self.parts = self.parts.saturating_sub(PARTS);
        }
    }

    /// When the next leave may pass, if none may now.
    pub(crate) fn opens_at(&self) -> Tick {
        let missing = PARTS.saturating_sub(self.parts);
        self.refilled_at + missing.div_ceil(self.refill())
    }

    /// Lets the `waiting` leaves that are held now pass without a token.
    pub(crate) fn release(&mut self, waiting: u64) {
        self.released = waiting;
    }

    /// Nobody waits any more: what is left of a release is void.
    pub(crate) fn queue_is_empty(&mut self) {
        self.released = 0;
    }
}

/// The most hosts alive within a sliding time, to within an eighth of it.
#[derive(Debug)]
struct Peak {
    window: Tick,
    most: [u64; WINDOWS],
    current: u64,
}

impl Peak {
    fn new(length: Tick, now: Tick) -> Peak {
        let window = (length / WINDOWS as Tick).max(1);
        Peak { window, most: [0; WINDOWS], current: now / window }
    }

    fn note(&mut self, now: Tick, live: u64) {
        let current = now / self.window;
        for passed in 0..(current - self.current).min(WINDOWS as u64) {
            self.most[((current - passed) % WINDOWS as u64) as usize] = 0;
        }
        self.current = current;
        let slot = &mut self.most[(current % WINDOWS as u64) as usize];
        *slot = live.max(*slot);
    }

    fn most(&self) -> u64 {
        self.most.into_iter().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Tick = 3_600_000;

    fn brake(live: u64) -> Bucket {
        let mut brake = Bucket::new(Brake::default(), HOUR, 0);
        brake.look(0, live);
        brake
    }

    fn passed_at(brake: &mut Bucket, now: Tick, live: u64) -> u64 {
        brake.look(now, live);
        let mut passed = 0;
        while brake.is_open() {
            brake.pass();
            passed += 1;
        }
        passed
    }

    #[test]
    fn a_fifth_of_the_fleet_passes_at_once_and_a_fifth_each_minute() {
        let mut brake = brake(10_000);
        assert_eq!(passed_at(&mut brake, 0, 10_000), 2000);
        assert_eq!(passed_at(&mut brake, 60_000, 8000), 2000);
        assert_eq!(passed_at(&mut brake, 61_000, 6000), 33);
    }

    #[test]
    fn the_bucket_does_not_shrink_with_the_loss_until_the_fleet_is_forgotten() {
        let mut brake = brake(10_000);
        passed_at(&mut brake, 0, 10_000);
        assert_eq!(passed_at(&mut brake, HOUR * 7 / 8, 10), 2000);
        assert_eq!(passed_at(&mut brake, HOUR * 3, 10), 100);
    }

    #[test]
    fn a_small_fleet_is_never_stuck() {
        for live in [0, 1, 4, 99] {
            let mut brake = brake(live);
            assert_eq!(passed_at(&mut brake, 0, live), 100);
            assert!(!brake.is_open());
            assert_eq!(brake.opens_at(), 600);
            assert_eq!(passed_at(&mut brake, 599, live), 0);
            assert_eq!(passed_at(&mut brake, 600, live), 1);
        }
    }

    #[test]
    fn a_bucket_of_a_fraction_of_a_host_still_holds_one() {
        let config = Brake { burst_permille: 1, burst_min: 0, refill_permille: 1, refill_min: 0 };
        let mut brake = Bucket::new(config, HOUR, 0);
        assert_eq!(passed_at(&mut brake, 0, 4), 1);
        assert_eq!(passed_at(&mut brake, 60_000, 4), 1);
    }

    #[test]
    fn a_release_lets_those_pass_who_wait_and_no_others() {
        let mut brake = brake(100);
        passed_at(&mut brake, 0, 100);
        brake.release(7);
        assert_eq!(passed_at(&mut brake, 0, 100), 7);
        brake.release(7);
        brake.queue_is_empty();
        assert!(!brake.is_open());
    }

    #[test]
    fn it_is_off_when_both_burst_fields_are_zero() {
        let config = Brake { burst_permille: 0, burst_min: 0, ..Brake::default() };
        let mut brake = Bucket::new(config, HOUR, 0);
        for _ in 0..1_000_000 {
            assert!(brake.is_open());
            brake.pass();
        }
    }

    #[test]
    fn years_without_a_look_fill_the_bucket_and_no_more() {
        let mut brake = brake(1000);
        passed_at(&mut brake, 0, 1000);
        assert_eq!(passed_at(&mut brake, Tick::MAX / 2, 1000), 200);
    }
}
