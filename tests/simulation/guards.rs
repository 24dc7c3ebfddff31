//! What the guards promise: no false leave while the trouble is ours, and no dead host that hides behind them.

use super::crowd::{Crowd, guarded};
use super::is_set;
use super::rig::seconds;
use super::rng::Rng;
use crate::canary::{Canary, with};
use crate::config::Brake;
use crate::{Config, Hold};

type Outcome = Result<(), String>;

fn expect(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

fn nobody_left_alive(crowd: &Crowd) -> Outcome {
    expect(crowd.false_leaves() == 0, || format!("{} living hosts left", crowd.false_leaves()))
}

/// Three times the TTL of hosts that announce every ten seconds.
const LONG_MS: u64 = 60_000;
const SLACK_MS: u64 = 2000;

/// A fleet of 50 hosts of 1 s to 10 s; long enough on the way that all have been heard.
fn fleet(config: Config) -> Crowd {
    let mut crowd = Crowd::new(config);
    for n in 0..50 {
        let period_ms = 1000 + n * 9000 / 49;
        crowd.add(period_ms, n * 131 % period_ms);
    }
    crowd.go_to(30_000);
    crowd
}

/// The observer is stopped twenty times for three times the longest TTL, at moments drawn by lot; each time one more host
/// is dead.
fn stopped_twenty_times(in_callback: bool) -> Outcome {
    let mut rng = Rng::new(20);
    // Without silence, which would hide what is to be seen.
    let mut crowd = fleet(Config { silence_expected: 0, ..guarded() });
    for round in 0..20 {
        let away_ms = crowd.away_ms();
        // Heard for the last time before the stop.
        crowd.kill(round);
        crowd.go_on_for(rng.below(1000));
        if in_callback {
            crowd.stall_ms.store(LONG_MS, std::sync::atomic::Ordering::Relaxed);
            // The callback comes, and is over, in this time.
            crowd.go_on_for(35_000);
        } else {
            crowd.stop_for(LONG_MS);
        }
        crowd.go_on_for(35_000);
        nobody_left_alive(&crowd)?;
        // Of a stop, half of the shortest interval at most counts; in a callback it begins when the host is found.
        crowd.found_in_time(round, away_ms, SLACK_MS)?;
        let counted_ms = crowd.away_ms() - away_ms;
        expect(counted_ms + 1000 >= LONG_MS, || format!("only {counted_ms} ms of {LONG_MS} were not counted"))?;
    }
    expect(crowd.leaves() == 20, || format!("{} leaves", crowd.leaves()))
}

#[test]
fn a_scheduler_stopped_twenty_times_loses_nobody_and_finds_the_dead() {
    stopped_twenty_times(false).unwrap();
}

#[test]
fn a_callback_that_lasts_three_ttls_twenty_times_loses_nobody() {
    stopped_twenty_times(true).unwrap();
}

#[test]
fn a_stop_across_an_alarm_counts_for_nobody() {
    // Stopped a millisecond before the observer would look, for each of many looks.
    let mut crowd = fleet(guarded());
    for _ in 0..200 {
        let alarm = crowd.rig.engine.next_look().expect("there are hosts");
        let look_ms = crowd.rig.shared.clock.reading_at(alarm) / 1_000_000;
        crowd.go_to(look_ms.saturating_sub(1));
        crowd.stop_for(LONG_MS);
        // Whoever was about to announce gets the chance.
        crowd.go_on_for(12_000);
        assert_eq!(crowd.leaves(), 0);
    }
}

#[test]
fn many_short_stops_count_for_nobody_and_the_dead_are_found() {
    let mut rng = Rng::new(7);
    let mut crowd = fleet(guarded());
    let away_ms = crowd.away_ms();
    crowd.kill(49);
    for _ in 0..60 {
        crowd.pause_for(1 + rng.below(1500));
        crowd.go_on_for(rng.below(2000));
    }
    crowd.go_on_for(40_000);
    nobody_left_alive(&crowd).unwrap();
    crowd.found_in_time(49, away_ms, SLACK_MS).unwrap();
}

#[test]
fn a_stop_while_no_host_lives_shortens_no_life() {
    let mut crowd = Crowd::new(guarded());
    crowd.go_to(1000);
    crowd.stop_for(3_600_000);
    crowd.add_spread(30, 10_000);
    crowd.go_on_for(60_000);
    assert_eq!((crowd.leaves(), crowd.away_ms()), (0, 0));
    let away_ms = crowd.away_ms();
    crowd.kill(3);
    crowd.go_on_for(60_000);
    crowd.found_in_time(3, away_ms, SLACK_MS).unwrap();
}

#[test]
fn an_observer_that_is_late_at_every_look_loses_nobody() {
    let mut crowd = fleet(guarded());
    crowd.late_ms = 3000;
    let away_ms = crowd.away_ms();
    crowd.go_on_for(600_000);
    assert_eq!(crowd.leaves(), 0);
    crowd.kill(49);
    crowd.go_on_for(300_000);
    nobody_left_alive(&crowd).unwrap();
    crowd.found_in_time(49, away_ms, crowd.late_ms + SLACK_MS).unwrap();
}

/// Runs a healthy fleet, among which faster strangers come and die, one after the other, so that somebody is always due:
/// silence must not take their ends for the fleet's, and they must leave in time.
fn stays_awake(mut crowd: Crowd, until_ms: u64) -> Outcome {
    let mut rng = Rng::new(crowd.hosts.len() as u64);
    let longest_ms = crowd.hosts.iter().map(|host| host.period_ms).max().expect("there are hosts");
    crowd.go_to(2 * longest_ms);
    while crowd.now_ms < until_ms {
        let away_ms = crowd.away_ms();
        let period_ms = rng.magnitude(1000, longest_ms);
        let stranger = crowd.add(period_ms, rng.below(period_ms));
        crowd.go_on_for(period_ms);
        crowd.kill(stranger);
        crowd.go_on_for(4 * period_ms);
        nobody_left_alive(&crowd)?;
        crowd.found_in_time(stranger, away_ms, SLACK_MS)?;
    }
    let stats = crowd.rig.shared.stats();
    expect(stats.silences == 0, || format!("{} silences", stats.silences))
}

/// 1,000 intervals; the fleets with the most work get fewer unless everything is asked for.
fn intervals() -> u64 {
    if is_set("HOSTWHEEL_SIM_FULL") { 1000 } else { 60 }
}

fn synchronised_fleet() -> Outcome {
    let mut crowd = Crowd::new(guarded());
    for _ in 0..200 {
        crowd.add(30_000, 500);
    }
    stays_awake(crowd, 1000 * 30_000)
}

#[test]
fn silence_never_starts_in_a_synchronised_fleet() {
    synchronised_fleet().unwrap();
}

#[test]
fn silence_never_starts_in_fleets_of_1_and_10() {
    for hosts in [1, 10] {
        let mut crowd = Crowd::new(guarded());
        crowd.add_spread(hosts, 10_000);
        stays_awake(crowd, 1000 * 10_000).unwrap();
    }
}

#[test]
fn silence_never_starts_in_a_mixed_fleet() {
    let mut rng = Rng::new(1);
    let mut crowd = Crowd::new(guarded());
    for _ in 0..200 {
        let period_ms = rng.magnitude(1000, 3_600_000);
        let phase_ms = rng.below(period_ms);
        crowd.add(period_ms, phase_ms);
    }
    // Intervals of the slowest hosts.
    stays_awake(crowd, intervals() * 3_600_000).unwrap();
}

#[test]
fn silence_never_starts_in_a_fleet_on_the_host_ttl() {
    let config = Config { host_ttl: seconds(600), ..guarded() };
    let mut crowd = Crowd::new(config);
    for n in 0..200 {
        let host = crowd.add(300_000, n * 7);
        crowd.hosts[host].nameless = true;
    }
    stays_awake(crowd, 1000 * 300_000).unwrap();
}

/// 500 hosts that announce every ten seconds, all of them heard.
fn steady(config: Config, hosts: u64) -> Crowd {
    let mut crowd = Crowd::new(config);
    crowd.add_spread(hosts, 10_000);
    crowd.go_to(30_000);
    crowd
}

/// All announces are cut for three times the TTL and return.
fn cut_off() -> Outcome {
    let mut crowd = steady(guarded(), 500);
    let hosts = crowd.hosts.len();
    crowd.cut(hosts, true);
    crowd.go_on_for(LONG_MS);
    expect(crowd.leaves() == 0, || format!("{} leaves during the cut", crowd.leaves()))?;
    let stats = crowd.rig.shared.stats();
    expect(stats.silences == 1 && stats.silence > seconds(25), || format!("silence does not show: {stats:?}"))?;
    expect(stats.waiting == 500 && stats.suspect == 500, || format!("500 should wait as suspects: {stats:?}"))?;
    let handle = crowd.rig.shared.find(&0_u32.to_be_bytes()).map_err(|e| e.to_string())?;
    let status = crowd.rig.shared.inspect(handle).map_err(|e| e.to_string())?;
    expect(status.held_by == Some(Hold::Silence) && status.held_since.is_some(), || format!("{status:?}"))?;
    crowd.cut(hosts, false);
    crowd.go_on_for(LONG_MS);
    expect(crowd.leaves() == 0, || format!("{} leaves after the cut", crowd.leaves()))?;
    expect(crowd.recovered == 500, || format!("{} recovered", crowd.recovered))?;
    let stats = crowd.rig.shared.stats();
    expect(stats.waiting == 0 && stats.suspect == 0, || format!("nobody should wait: {stats:?}"))?;
    expect(stats.silence < seconds(45), || format!("silence goes on: {stats:?}"))?;
    // And then all is as it was: a host that dies leaves in time.
    let away_ms = crowd.away_ms();
    crowd.kill(7);
    crowd.go_on_for(40_000);
    crowd.found_in_time(7, away_ms, SLACK_MS)
}

#[test]
fn a_cut_of_three_ttls_costs_nobody() {
    cut_off().unwrap();
}

/// The most leaves beyond what a bucket of `burst` with `refill` a minute lets pass, at any time.
fn excess(crowd: &Crowd, burst: u64, refill: u64) -> u64 {
    let (mut level, mut at_ms, mut worst) = (0, 0, 0);
    for told in &crowd.told {
        // In 1/60,000 of a leave: refill per minute is refill parts per millisecond.
        level = u64::saturating_sub(level, (told.at_ms - at_ms) * refill) + 60_000;
        at_ms = told.at_ms;
        worst = worst.max(level.saturating_sub(burst * 60_000).div_ceil(60_000));
    }
    worst
}

/// All announces are cut for longer than silence lasts; some hosts return in the end.
fn cut_beyond_the_cap() -> Outcome {
    let config = Config { host_ttl: seconds(300), ..guarded() };
    let mut crowd = steady(config, 2000);
    let hosts = crowd.hosts.len();
    let cut_at_ms = crowd.now_ms;
    crowd.cut(hosts, true);
    // TTL and grace are 30 s, so silence starts about then and lasts 300 s; an interval and grace later they may leave.
    crowd.go_on_for(320_000);
    expect(crowd.leaves() == 0, || format!("{} leaves while the cap lasts", crowd.leaves()))?;
    crowd.go_on_for(60_000);
    expect(crowd.leaves() >= 400, || format!("{} leaves after silence ended by its cap", crowd.leaves()))?;
    let stats = crowd.rig.shared.stats();
    expect(stats.silences == 1, || format!("{} silences", stats.silences))?;
    expect(stats.silence <= seconds(301), || format!("silence lasted {:?}", stats.silence))?;
    crowd.go_on_for(90_000);
    let gone = crowd.leaves();
    expect((400..1900).contains(&gone), || format!("{gone} leaves after two minutes and a half"))?;
    expect(excess(&crowd, 400, 400) <= 1, || format!("{} leaves too many", excess(&crowd, 400, 400)))?;
    let waiting = crowd.rig.shared.stats().waiting;
    expect(waiting > 0, || "nobody waits for the brake".into())?;
    let held = crowd.told.last().map(|told| told.event.held());
    expect(held > Some(seconds(300)), || format!("the last leave was held for {held:?}"))?;
    // Announces return: those that wait recover, the others come back.
    crowd.cut(hosts, false);
    crowd.go_on_for(60_000);
    expect(crowd.leaves() <= gone + 70, || format!("{} leaves after the cut ended", crowd.leaves() - gone))?;
    let stats = crowd.rig.shared.stats();
    expect(stats.live == 2000 && stats.suspect == 0 && stats.waiting == 0, || format!("not all are back: {stats:?}"))?;
    expect(stats.brake > seconds(30), || format!("the brake does not show: {stats:?}"))?;
    let cut_ms = crowd.now_ms - cut_at_ms;
    expect(stats.brake < seconds(cut_ms / 1000), || format!("the brake goes on: {stats:?}"))
}

#[test]
fn a_cut_beyond_the_cap_is_braked_and_all_recover() {
    cut_beyond_the_cap().unwrap();
}

/// Half of 2,000 hosts are cut off.
fn partition() -> Outcome {
    let mut crowd = steady(guarded(), 2000);
    for n in 0..1000 {
        crowd.kill(n * 2);
    }
    crowd.go_on_for(35_000);
    nobody_left_alive(&crowd)?;
    expect(crowd.leaves() >= 400, || format!("{} leaves at once", crowd.leaves()))?;
    crowd.go_on_for(200_000);
    expect(excess(&crowd, 400, 400) <= 1, || format!("{} leaves too many", excess(&crowd, 400, 400)))?;
    expect(crowd.leaves() == 1000, || format!("{} leaves in the end", crowd.leaves()))?;
    let stats = crowd.rig.shared.stats();
    expect(stats.waiting == 0 && stats.silences == 0, || format!("{stats:?}"))?;
    expect((seconds(60)..seconds(120)).contains(&stats.brake), || format!("the brake took {:?}", stats.brake))?;
    // It has ended: the next one leaves in time.
    let away_ms = crowd.away_ms();
    crowd.kill(1);
    crowd.go_on_for(40_000);
    crowd.found_in_time(1, away_ms, SLACK_MS)?;
    let last = &crowd.told.last().expect("it left").event;
    expect(last.held().is_zero(), || format!("it was held: {last}"))
}

#[test]
fn a_partition_of_half_the_fleet_is_bounded_by_the_brake_which_ends_by_itself() {
    partition().unwrap();
}

/// Small fleets under small brakes: everybody who dies leaves.
fn small_fleets() -> Outcome {
    let least = Brake { burst_permille: 1, burst_min: 0, refill_permille: 1, refill_min: 0 };
    for (brake, minutes) in [(Brake::default(), 0), (least, 4), (Brake { burst_min: 1, ..least }, 4)] {
        for dead in 1..=4 {
            let mut crowd = steady(Config { brake, ..guarded() }, 4);
            (0..dead).for_each(|host| crowd.kill(host));
            crowd.go_on_for(40_000 + minutes * 60_000);
            nobody_left_alive(&crowd)?;
            expect(crowd.leaves() == dead, || format!("{} of {dead} left under {brake:?}", crowd.leaves()))?;
        }
    }
    Ok(())
}

#[test]
fn a_fleet_of_four_is_never_stuck() {
    small_fleets().unwrap();
}

#[test]
fn a_release_lets_those_go_that_wait_and_no_others() {
    let mut crowd = steady(guarded(), 2000);
    for n in 0..1000 {
        crowd.kill(n * 2);
    }
    crowd.go_on_for(33_000);
    let (gone, waiting) = (crowd.leaves(), crowd.rig.shared.stats().waiting as usize);
    assert!(gone < 600 && waiting > 200, "{gone} gone, {waiting} waiting");
    let handle = (0..1000).find_map(|n| crowd.rig.shared.find(&(n * 2_u32).to_be_bytes()).ok()).expect("one waits");
    let status = crowd.rig.shared.inspect(handle).unwrap();
    assert_eq!(status.held_by, Some(Hold::Brake), "{status:?}");
    crowd.rig.shared.release().unwrap();
    crowd.go_on_for(100);
    assert!((gone + waiting..gone + waiting + 5).contains(&crowd.leaves()), "{} leaves", crowd.leaves());
    crowd.go_on_for(600_000);
    assert_eq!((crowd.leaves(), crowd.false_leaves()), (1000, 0));
}

#[test]
fn suspect_events_flow_while_silence_lasts() {
    let mut crowd = steady(guarded(), 100);
    crowd.cut(100, true);
    crowd.go_on_for(LONG_MS);
    let stats = crowd.rig.shared.stats();
    assert_eq!((stats.suspects, stats.suspect, crowd.leaves()), (100, 100, 0));
}

/// Hosts without grace are Live while they wait. Those that were last heard more than three quarters of an interval before
/// the cut are due before silence can start, a quarter of an interval and a second after the others' next announces.
#[test]
fn the_guards_hold_hosts_without_grace_as_well() {
    let mut crowd = steady(Config { grace: seconds(0), ..guarded() }, 100);
    crowd.cut(100, true);
    crowd.go_on_for(LONG_MS);
    let gone = crowd.leaves();
    assert!(gone <= 36, "{gone} leaves");
    assert_eq!(crowd.rig.shared.stats().waiting as usize, 100 - gone);
    crowd.cut(100, false);
    crowd.go_on_for(LONG_MS);
    assert_eq!((crowd.leaves(), crowd.rig.shared.stats().waiting), (gone, 0));
    crowd.kill(5);
    crowd.go_on_for(25_000);
    assert_eq!(crowd.leaves(), gone + 1);
}

/// Thirty hosts of 10 s die together in a fleet that announces itself every 30 s, all within a second: whenever the dead are
/// due, there has just been nobody for 12.5 s, and soon somebody is heard again.
fn the_dead_among_bursts() -> Outcome {
    let mut crowd = Crowd::new(Config { host_ttl: seconds(600), ..guarded() });
    crowd.jitter_ms = 1000;
    for n in 0..200 {
        // The wheel visits each once in two intervals, half of them in each burst.
        crowd.add(30_000, n * 5 + n % 2 * 30_000);
    }
    crowd.add_spread(30, 10_000);
    crowd.go_to(120_000);
    for host in 200..230 {
        crowd.kill(host);
    }
    // One host TTL, what a last silence spares them, and a burst.
    crowd.go_on_for(600_000 + 30_000 + 60_000);
    nobody_left_alive(&crowd)?;
    expect(crowd.leaves() == 30, || format!("{} of 30 left after {:?}", crowd.leaves(), crowd.rig.shared.stats()))
}

#[test]
fn the_dead_of_a_fleet_that_announces_in_bursts_are_held_once() {
    the_dead_among_bursts().unwrap();
}

#[test]
fn silences_without_memory_hold_the_dead_of_a_bursting_fleet_for_ever() {
    must_break(Canary::ForgetfulSilence, the_dead_among_bursts);
}

/// Nobody looks for a long time after the silence, as nobody waits and the watchdog is off.
#[test]
fn a_silence_that_ended_unseen_spares_from_its_end_on() {
    let mut crowd = Crowd::new(Config { watchdog: seconds(0), backstop: seconds(0), ..guarded() });
    crowd.add_spread(30, 10_000);
    let slow = crowd.add(600_000, 0);
    crowd.go_to(30_000);
    crowd.cut(30, true);
    crowd.go_on_for(40_000);
    assert_eq!(crowd.rig.shared.stats().silences, 1);
    for host in 0..30 {
        crowd.rig.shared.leave(&(host as u32).to_be_bytes()).unwrap();
        crowd.kill(host);
    }
    // Heard at 600 s, long after the silence; then it dies.
    crowd.go_to(601_000);
    crowd.kill(slow);
    crowd.go_to(2_400_000);
    crowd.found_in_time(slow, 0, SLACK_MS).unwrap();
    let held = crowd.told.last().map(|told| told.event.held());
    assert_eq!(held, Some(seconds(0)));
}

#[track_caller]
fn must_break(canary: Canary, scene: impl FnOnce() -> Outcome) {
    let said = with(canary, scene);
    assert!(said.is_err(), "nothing breaks with {canary:?}");
}

#[test]
fn with_absence_counted_a_stop_costs_hosts() {
    must_break(Canary::CountedAbsence, || stopped_twenty_times(false));
    must_break(Canary::CountedAbsence, || stopped_twenty_times(true));
}

#[test]
fn without_silence_a_cut_costs_hosts() {
    must_break(Canary::DeafToSilence, cut_off);
}

#[test]
fn a_silence_without_end_hides_the_dead() {
    must_break(Canary::EndlessSilence, cut_beyond_the_cap);
}

#[test]
fn a_silence_that_spares_nobody_costs_hosts() {
    must_break(Canary::SparesNobody, cut_off);
}

#[test]
fn a_silence_that_takes_slower_hosts_for_witnesses_starts_in_a_healthy_fleet() {
    must_break(Canary::SlowWitnesses, synchronised_fleet);
}

#[test]
fn without_a_brake_a_partition_is_a_rush() {
    must_break(Canary::NoBrake, partition);
}

#[test]
fn a_brake_that_is_not_refilled_holds_the_dead_for_ever() {
    must_break(Canary::StuckBrake, partition);
    must_break(Canary::StuckBrake, small_fleets);
}
