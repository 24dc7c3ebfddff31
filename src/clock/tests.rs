use super::*;
use std::time::Duration;

fn observed(watchdog_ms: u64) -> (Clock, Observer) {
    let config = Config { clock: ClockKind::Manual, watchdog: Duration::from_millis(watchdog_ms), ..Config::default() };
    (Clock::new(&config), Observer::new(&config))
}

fn look(clock: &Clock, observer: &mut Observer, ms: u64) -> Tick {
    clock.set_manual(ms * TICK_NS);
    observer.look(clock, false) - EPOCH
}

#[test]
fn looks_in_time_leave_time_alone() {
    let (clock, mut observer) = observed(1000);
    look(&clock, &mut observer, 0);
    for ms in (0..10_000).step_by(750) {
        assert_eq!(look(&clock, &mut observer, ms), ms);
    }
    assert_eq!(observer.missed_ns(), 0);
}

#[test]
fn a_late_look_stops_time_at_the_horizon() {
    let (clock, mut observer) = observed(1000);
    look(&clock, &mut observer, 0);
    assert_eq!(look(&clock, &mut observer, 10_000), 750);
    assert_eq!(observer.missed_ns(), 9250 * TICK_NS);
    assert_eq!(clock.stamp(), EPOCH + 750);
    assert_eq!(look(&clock, &mut observer, 10_100), 850);
}

#[test]
fn a_stamp_is_never_beyond_the_horizon_published_before_it() {
    let (clock, mut observer) = observed(1000);
    look(&clock, &mut observer, 0);
    clock.set_manual(60_000 * TICK_NS);
    assert_eq!(clock.stamp(), EPOCH + 750);
    assert_eq!(clock.now_ns(), 750 * TICK_NS);
}

#[test]
fn a_stamp_rounds_up() {
    let (clock, mut observer) = observed(0);
    look(&clock, &mut observer, 0);
    assert_eq!(clock.stamp(), EPOCH);
    for (ns, ms) in [(1, 1), (TICK_NS, 1), (TICK_NS + 1, 2)] {
        clock.set_manual(ns);
        assert_eq!(clock.stamp(), EPOCH + ms);
    }
}

#[test]
fn without_watchdog_time_is_the_clock() {
    let (clock, mut observer) = observed(0);
    look(&clock, &mut observer, 0);
    assert_eq!(look(&clock, &mut observer, 86_400_000), 86_400_000);
    assert_eq!(clock.stamp(), EPOCH + 86_400_000);
    assert_eq!(observer.next_look(), None);
}

#[test]
fn after_seventeen_years_time_stands_still() {
    let (clock, mut observer) = observed(0);
    clock.set_manual(u64::MAX / 2);
    assert_eq!(observer.look(&clock, false), LAST_TICK);
}

#[test]
fn a_clock_that_goes_back_is_held() {
    let (clock, mut observer) = observed(1000);
    look(&clock, &mut observer, 0);
    look(&clock, &mut observer, 500);
    assert_eq!(look(&clock, &mut observer, 400), 500);
}

#[test]
fn an_event_tells_the_time_not_counted_since_a_tick() {
    let (clock, mut observer) = observed(1000);
    look(&clock, &mut observer, 0);
    look(&clock, &mut observer, 10_750); // 10 s missed at 750
    look(&clock, &mut observer, 10_800);
    look(&clock, &mut observer, 32_550 - 1000); // 20 s missed at 1550
    assert_eq!(observer.missed_since_ns(EPOCH) / TICK_NS, 30_000);
    assert_eq!(observer.missed_since_ns(EPOCH + 750) / TICK_NS, 30_000);
    assert_eq!(observer.missed_since_ns(EPOCH + 751) / TICK_NS, 20_000);
    assert_eq!(observer.missed_since_ns(EPOCH + 1551) / TICK_NS, 0);
}

#[test]
fn the_margin_covers_the_coarse_clock() {
    let clock = Clock::new(&Config { clock: ClockKind::Coarse, watchdog: Duration::ZERO, ..Config::default() });
    for _ in 0..10_000 {
        clock.measure_lag();
        let before = tick_floor(clock.observe_ns());
        assert!(clock.stamp() + 1 >= before, "a stamp lies in the past by more than the margin covers");
    }
    assert!(clock.margin_ns() <= MARGIN_NS_MAX);
}
