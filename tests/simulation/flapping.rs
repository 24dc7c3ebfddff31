//! An hour of flapping: a thousand ids that register and leave all the time must cost no more memory and no more
//! lateness in the end than in the beginning.

use std::time::Duration;

use super::is_set;
use super::rng::Rng;
use crate::{Brake, Clock, Config, Event, HostWheel, Verdict};

const IDS: u64 = 1000;
const HOUR_MS: u64 = 3_600_000;

#[test]
fn an_hour_of_flapping_leaves_memory_and_lateness_flat() {
    let step_ms = if is_set("HOSTWHEEL_SIM_FULL") { 20 } else { 250 };
    // As many leave as flap: no guard is to hold them.
    let (brake, silence_expected) = (Brake::OFF, 0);
    let config = Config { clock: Clock::Manual, brake, silence_expected, ..Config::default() };
    let wheel = HostWheel::manual(config, |_: &Event| Verdict::Done).expect("a good configuration");
    let mut rng = Rng::new(1);
    let mut first_minute = None;
    let mut flips = 0_u64;
    for now_ms in (0..HOUR_MS).step_by(step_ms) {
        wheel.advance(Duration::from_millis(now_ms)).expect("it is open");
        for _ in 0..rng.below(40) {
            let id = rng.below(IDS).to_be_bytes();
            // Those that are known say goodbye, but for one in ten, who falls silent until it is drawn again.
            match wheel.find(id) {
                Ok(_) if rng.permille(900) => _ = wheel.leave(id).expect("it is known"),
                Ok(_) => {}
                Err(_) => _ = wheel.announce(id, Duration::from_secs(1 + rng.below(3))).expect("there is room"),
            }
            flips += 1;
        }
        if now_ms == 60_000 {
            first_minute = Some(wheel.stats());
        }
    }
    let (first, last) = (first_minute.expect("an hour has a first minute"), wheel.stats());
    assert!(flips > 200_000 && last.left > 40_000 && last.leaves_ttl > 10_000, "{flips} flips, {last:?}");
    // Records of those that left come back with the next look, so at most a step's worth is in use beyond the ids.
    assert!(last.records <= IDS + 40, "{} records for {IDS} ids", last.records);
    assert!(last.records <= first.records + first.records / 4, "{} records, {}", first.records, last.records);
    // Each look but those at a due tick comes after it: up to a step late, in the end as in the beginning.
    let step = Duration::from_millis(step_ms as u64);
    assert!(first.lateness_max <= step && last.lateness_max <= step, "{:?}", last.lateness_max);
    let mean = |stats: &crate::Stats| stats.lateness_sum.as_micros() / u128::from(stats.leaves_ttl.max(1));
    assert!(mean(&last) <= mean(&first) * 5 / 4 + 1000, "{} us, {} us", mean(&first), mean(&last));
    assert_eq!((last.rescues, last.leaves_backstop), (0, 0));
}
