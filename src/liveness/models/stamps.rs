//! Observed time: stamps against a late look.

use super::*;
use crate::clock::{Clock as WheelClock, Observer, set_model_counter_behind, set_model_time};
use crate::record::Stamp;
use loom::thread;

/// An announcer's stamp; one that was not plain notes that somebody was heard.
fn stamp(clock: &WheelClock) -> Tick {
    clock.plain_stamp().map(Stamp::tick).unwrap_or_else(|| {
        let stamp = clock.stamp();
        clock.hear(stamp, stamp);
        stamp
    })
}

/// Announcers that hold an old horizon or `away`, while a late look raises them; one of them may have its bound from the other.
fn a_stamp_against_a_late_look() {
    let config = Config { clock: Clock::Manual, ..Config::default() };
    let clock = Arc::new(WheelClock::new(&config));
    let mut observer = Observer::new(&config);
    observer.look(&clock, false);
    let announcers = [clock.clone(), clock.clone()].map(|clock| thread::spawn(move || stamp(&clock)));
    clock.set_manual(1000 * TICK_NS);
    let now = observer.look(&clock, false);
    assert_eq!(now, tick(750));
    for announcer in announcers {
        let stamp = announcer.join().expect("the announcer returns");
        assert!(stamp <= now, "a stamp of {stamp} lies beyond the time of the look, {now}");
        assert!(stamp >= tick(0), "a stamp lies before its call");
    }
    assert!(stamp(&clock) >= now, "who announces after the look is not stamped before it");
}

#[test]
fn loom_a_stamp_held_back_is_capped_by_its_horizon() {
    explore(Some(3), a_stamp_against_a_late_look);
}

#[test]
fn loom_canary_stamps_are_not_capped() {
    must_fail(Canary::UncappedStamp, Some(3), a_stamp_against_a_late_look);
}

/// Sets the system's time, in milliseconds since the wheel was opened.
fn pass(ms: u64) {
    set_model_time(1 + ms * TICK_NS);
}

/// The same by the processor's counter. The last sum ends just before the horizon, so each announcer may use it, make a new one, or use
/// the other's. The look is late by less than a sum is good for: a stamp by the wrong sum is not so far off that the bound shows it.
fn a_counted_stamp_against_a_late_look() {
    pass(0);
    let config = Config { clock: Clock::Counter, ..Config::default() };
    let clock = Arc::new(WheelClock::new(&config));
    let mut observer = Observer::new(&config);
    observer.look(&clock, false);
    // Counter and clock agree for the first time.
    stamp(&clock);
    pass(1);
    stamp(&clock);
    assert!(clock.plain_stamp().is_some(), "the counter makes the stamps");
    pass(741);
    stamp(&clock);
    pass(745);
    assert!(clock.plain_stamp().is_some(), "for the next 4 ms, up to 1 ms before the horizon");
    let announcers = [clock.clone(), clock.clone()].map(|clock| thread::spawn(move || stamp(&clock)));
    pass(754);
    let now = observer.look(&clock, false);
    assert_eq!(now, tick(750));
    for announcer in announcers {
        let stamp = announcer.join().expect("the announcer returns");
        assert!(stamp >= tick(745), "a stamp of {stamp} lies before its call");
        assert!(stamp <= now + 2, "a stamp of {stamp} lies beyond the time of the look, {now}, and the margin");
    }
    // By the sum that they left, or after it.
    for later in [0, 4] {
        pass(754 + later);
        let stamp = stamp(&clock);
        assert!(
            (now + later..=now + later + 2).contains(&stamp),
            "{later} ms after the look at {now} a stamp is {stamp}"
        );
    }
}

#[test]
fn loom_a_counted_stamp_held_back_is_capped_by_its_horizon() {
    explore(deep(3), a_counted_stamp_against_a_late_look);
}

#[test]
fn loom_canary_counted_stamps_are_not_capped() {
    must_fail(Canary::UncappedStamp, deep(3), a_counted_stamp_against_a_late_look);
}

#[test]
fn loom_canary_a_sum_goes_with_a_later_bound() {
    must_fail(Canary::LateBound, deep(3), a_counted_stamp_against_a_late_look);
}

/// The clock of announcers whose counter makes the stamps, a millisecond after they agreed for the first time. There is no horizon: the
/// last bound is that of the granule in which somebody was heard.
fn counted() -> Arc<WheelClock> {
    pass(0);
    set_model_counter_behind(0);
    let config = Config { clock: Clock::Counter, watchdog: Duration::ZERO, ..Config::default() };
    let clock = Arc::new(WheelClock::new(&config));
    stamp(&clock);
    pass(1);
    stamp(&clock);
    assert!(clock.plain_stamp().is_some(), "the counter makes the stamps");
    clock
}

/// Two announcers whose counter has fallen behind by 20 ms, after the sum has expired; they withdraw it, and one of them
/// finds the disagreement. Later the counter is where it was, in the window of that sum.
fn a_counter_that_fell_behind() {
    let clock = counted();
    pass(12);
    set_model_counter_behind(20 * TICK_NS);
    let announcers = [clock.clone(), clock.clone()].map(|clock| thread::spawn(move || stamp(&clock)));
    for announcer in announcers {
        let stamp = announcer.join().expect("the announcer returns");
        assert!(stamp >= tick(12), "a stamp of {stamp} lies before its call");
    }
    // The counter says 5 ms, which is in the window of the sum from the beginning.
    for later in [25, 26] {
        pass(later);
        let stamp = stamp(&clock);
        assert!(stamp >= tick(later), "a stamp of {stamp} lies before its call, at {later} ms");
    }
}

#[test]
fn loom_a_sum_that_expired_is_withdrawn() {
    explore(Some(3), a_counter_that_fell_behind);
}

#[test]
fn loom_canary_a_sum_that_expired_is_kept() {
    must_fail(Canary::KeptSum, Some(3), a_counter_that_fell_behind);
}

#[test]
fn loom_canary_a_stamp_before_the_window_is_plain() {
    must_fail(Canary::OneEnd, Some(3), a_counter_that_fell_behind);
}

/// A counter that runs at half of its rate from some moment on. Two announcers read it; the sum of one reading would be
/// early.
fn a_counter_that_lost_its_rate() {
    let clock = counted();
    pass(12);
    set_model_counter_behind(2 * TICK_NS);
    let announcers = [clock.clone(), clock.clone()].map(|clock| thread::spawn(move || stamp(&clock)));
    for announcer in announcers {
        announcer.join().expect("the announcer returns");
    }
    pass(18);
    set_model_counter_behind(5 * TICK_NS);
    let stamp = stamp(&clock);
    assert!(stamp >= tick(18), "a stamp of {stamp} lies before its call");
}

#[test]
fn loom_a_sum_is_made_where_two_readings_agree() {
    explore(Some(3), a_counter_that_lost_its_rate);
}

#[test]
fn loom_canary_a_sum_is_made_of_one_reading() {
    must_fail(Canary::OneReading, Some(3), a_counter_that_lost_its_rate);
}

#[test]
fn loom_canary_a_sum_is_made_of_close_readings() {
    must_fail(Canary::CloseReadings, Some(3), a_counter_that_lost_its_rate);
}

/// The same while no host is heard: the observer withdraws the sum.
fn a_counter_that_fell_behind_in_a_quiet_fleet() {
    let clock = counted();
    pass(12);
    set_model_counter_behind(20 * TICK_NS);
    Observer::new(&Config { watchdog: Duration::ZERO, ..Config::default() }).look(&clock, false);
    pass(25);
    let announcers = [clock.clone(), clock.clone()].map(|clock| thread::spawn(move || stamp(&clock)));
    for announcer in announcers {
        let stamp = announcer.join().expect("the announcer returns");
        assert!(stamp >= tick(25), "a stamp of {stamp} lies before its call");
    }
}

#[test]
fn loom_a_sum_that_expired_is_withdrawn_by_the_observer() {
    explore(Some(3), a_counter_that_fell_behind_in_a_quiet_fleet);
}

#[test]
fn loom_canary_a_sum_that_expired_in_a_quiet_fleet_is_kept() {
    must_fail(Canary::KeptSum, Some(3), a_counter_that_fell_behind_in_a_quiet_fleet);
}
