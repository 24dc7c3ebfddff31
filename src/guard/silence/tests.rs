use super::*;

const HOUR: Tick = 3_600_000;
const GRANULE: Tick = 64;

fn fleet(hosts: &[(u64, Tick)]) -> Rates {
    let mut rates = Rates::new();
    for (count, interval) in hosts {
        (0..*count).for_each(|_| rates.count(None, Some(*interval)));
    }
    rates
}

/// A host of this interval is due, with the default grace.
fn due(interval: Tick) -> Due {
    Due { interval, grace: interval.min(15_000), at: Tick::MAX }
}

impl Silence {
    /// As the observer asks, of a fleet each of whose hosts was heard in the interval before `heard`, evenly.
    fn holds(&mut self, now: Tick, heard: Tick, due: Due, rates: &Rates) -> bool {
        let quiet = match self.ask(now, heard, due, rates) {
            Quiet::Unusual => {
                let witnesses = self.witnesses(now, heard, due);
                for (bucket, hosts) in rates.hosts.iter().enumerate() {
                    let interval = Rates::shortest(bucket);
                    (1..=*hosts).for_each(|n| witnesses.add(heard - interval * n / hosts + interval / hosts, interval));
                }
                self.judge(now, heard, due)
            }
            quiet => quiet,
        };
        quiet == Quiet::Silent
    }
}

/// Has seen the fleet for two hours up to `now`, with gaps of `gap` in it.
fn learned(now: Tick, gap: Tick, rates: &Rates) -> Silence {
    let mut silence = Silence::new(20, HOUR, GRANULE);
    silence.learn(now - 2 * HOUR, None, rates);
    silence.learn(now, Some(Gap { start: now - gap, length: gap }), rates);
    silence
}

#[test]
fn buckets_grow_with_the_interval_and_are_narrow() {
    let mut last = 0;
    for interval in (1..100_000).chain([1 << 20, (1 << 31) - 1, 1 << 31, u64::from(u32::MAX), u64::MAX]) {
        let bucket = Rates::bucket(interval);
        assert!(bucket >= last && bucket < BUCKETS);
        let shortest = Rates::shortest(bucket);
        assert!(shortest <= interval, "{interval}");
        if (16..1 << 32).contains(&interval) {
            assert!(interval * 16 < shortest * 17, "{interval} shares a bucket with {shortest}");
        }
        last = bucket;
    }
}

#[test]
fn rates_come_and_go_with_their_hosts() {
    let mut rates = fleet(&[(100, 300_000), (3, 1000), (1, 24 * 86_400_000)]);
    assert_eq!(rates.due(60_000), 20 + 180);
    assert!((24 * 86_400_000..24 * 91_800_000).contains(&rates.slowest()));
    rates.count(Some(24 * 86_400_000), None);
    (0..3).for_each(|_| rates.count(Some(1000), Some(300_000)));
    assert_eq!((rates.due(300_000), rates.hosts()), (103, 103));
    (0..103).for_each(|_| rates.count(Some(300_000), None));
    assert!(rates.is_empty() && rates.slowest() == 0);
}

#[test]
fn the_longest_gap_is_the_longest_of_the_window() {
    let mut gaps = Gaps::new();
    for (end, length) in [(100, 50), (200, 30), (300, 40), (400, 10)] {
        gaps.push(end, length);
    }
    assert_eq!([0, 100, 101, 300, 301, 401].map(|since| gaps.longest(since)), [50, 50, 40, 40, 10, 0]);
    gaps.forget(101);
    assert_eq!(gaps.longest(0), 40);
}

#[test]
fn more_gaps_than_are_kept_err_on_the_long_side() {
    let mut gaps = Gaps::new();
    for n in 0..1000 {
        gaps.push(n, 10_000 - n);
    }
    assert_eq!(gaps.ends.len(), Gaps::KEPT);
    for since in 0..1000 {
        assert!(gaps.longest(since) >= 10_000 - since, "{since}");
    }
}

#[test]
fn a_fleet_that_is_quiet_for_longer_than_ever_is_silent_before_its_first_host_leaves() {
    // 3.3 announces a second, from hosts of 300 s. They leave 615 s after they were heard.
    let rates = fleet(&[(1000, 300_000)]);
    let now = 10 * HOUR;
    let mut silence = learned(now, 6100, &rates);
    assert!(!silence.holds(now + 7600, now, due(300_000), &rates), "that is the gap and a quarter");
    assert!(silence.holds(now + 7700, now, due(300_000), &rates));
    let mut short = learned(now, 1000, &rates);
    assert!(!short.holds(now + 5500, now, due(300_000), &rates), "fewer than 20 announces were due");
    assert!(short.holds(now + 6100, now, due(300_000), &rates));
}

#[test]
fn a_fleet_that_announces_in_bursts_has_the_gap_of_its_bursts() {
    // 2,000 hosts that all announce in the same second each minute, and one of 1 s that died.
    let rates = fleet(&[(2000, 60_000), (1, 1000)]);
    let now = 10 * HOUR;
    let mut silence = learned(now, 59_000, &rates);
    assert!(!silence.holds(now + 59_000, now, due(1000), &rates));
    assert!(!silence.holds(now + 59_500, now, due(1000), &rates), "at most half of its grace more");
    assert!(silence.holds(now + 59_501, now, due(1000), &rates));
}

#[test]
fn gaps_of_fewer_than_twenty_announces_and_of_silences_are_not_learned() {
    let rates = fleet(&[(100, 10_000)]);
    let now = 10 * HOUR;
    assert!(learned(now, 1900, &rates).holds(now + 2100, now, due(10_000), &rates));
    let mut silence = learned(now, 2000, &rates);
    assert!(silence.holds(now + 3000, now, due(10_000), &rates));
    silence.look(now + 100_000, now + 100_000);
    silence.learn(now + 100_000, Some(Gap { start: now, length: 99_936 }), &rates);
    assert_eq!(silence.gaps.longest(0), 2000);
    silence.was_away(now + 200_000);
    silence.learn(now + 210_000, Some(Gap { start: now + 199_000, length: 5000 }), &rates);
    assert_eq!(silence.gaps.longest(0), 2000);
}

#[test]
fn until_a_window_was_seen_an_interval_and_a_quarter_is_quiet() {
    let rates = fleet(&[(16, 10_000)]);
    let mut silence = Silence::new(20, HOUR, GRANULE);
    silence.learn(99_000, None, &rates);
    assert!(!silence.holds(112_500, 100_000, due(10_000), &rates), "not yet 1.25 intervals");
    assert!(silence.holds(112_501, 100_000, due(10_000), &rates));
    let few = fleet(&[(15, 10_000)]);
    assert!(!Silence::new(20, HOUR, GRANULE).holds(112_900, 100_000, due(10_000), &few), "too few to tell");
}

#[test]
fn an_interval_and_half_of_the_grace_is_quiet_where_that_is_less() {
    let rates = fleet(&[(100, 300_000)]);
    let mut silence = Silence::new(20, HOUR, GRANULE);
    assert!(!silence.holds(307_500, 0, due(300_000), &rates));
    assert!(silence.holds(307_501, 0, due(300_000), &rates), "the first leave is due after 315 s");
}

#[test]
fn slower_hosts_are_no_witnesses_until_a_window_was_seen() {
    let rates = fleet(&[(2000, 60_000), (1, 1000)]);
    let mut silence = Silence::new(20, HOUR, GRANULE);
    assert!(!silence.holds(50_000, 2000, due(1000), &rates));
    assert!(silence.holds(50_000 + 75_001, 50_000, due(60_000), &rates));
}

/// A silence of 100 hosts of 10 s, which began at 50 s.
fn silent() -> (Silence, Rates) {
    let rates = fleet(&[(100, 10_000)]);
    let mut silence = Silence::new(20, HOUR, GRANULE);
    assert!(silence.holds(50_000, 20_000, due(10_000), &rates));
    (silence, rates)
}

#[test]
fn it_ends_when_a_host_is_heard_and_spares_those_that_could_not_be() {
    let (mut silence, _) = silent();
    silence.look(60_000, 20_000);
    assert!(silence.lasts());
    silence.look(70_000, 70_500);
    assert!(!silence.lasts());
    assert_eq!(silence.spares_until(20_000, 10_000, 5000), 85_000);
    assert_eq!(silence.spares_until(70_000, 10_000, 5000), 0);
    assert_eq!(silence.lasted(99_000), 20_000);
}

#[test]
fn its_end_is_when_a_host_was_heard_and_not_when_the_observer_looked() {
    let (mut heard, _) = silent();
    heard.look(1_000_000, 70_000);
    assert_eq!((heard.spares_until(20_000, 10_000, 5000), heard.lasted(1_000_000)), (85_000, 20_000));
    let (mut capped, _) = silent();
    capped.look(10 * HOUR, 20_000);
    assert_eq!((capped.spares_until(20_000, 10_000, 5000), capped.lasted(10 * HOUR)), (65_000 + HOUR, HOUR));
}

#[test]
fn it_ends_by_its_cap_and_starts_again_only_after_twenty_were_heard() {
    let (mut silence, rates) = silent();
    silence.look(50_000 + HOUR - 1, 20_000);
    assert!(silence.lasts());
    silence.look(50_000 + HOUR, 20_000);
    assert!(!silence.lasts());
    let later = 50_000 + HOUR;
    assert!(!silence.holds(later + 100_000, 20_000, due(10_000), &rates));
    for _ in 0..REARM {
        silence.saw(later);
    }
    assert!(!silence.holds(later + 100_000, 20_000, due(10_000), &rates), "they were heard before it ended");
    for _ in 0..REARM {
        silence.saw(later + 1);
    }
    assert!(silence.holds(later + 100_000, later + 2, due(10_000), &rates));
    assert_eq!(silence.starts(), 2);
}

#[test]
fn it_can_be_switched_off() {
    let rates = fleet(&[(1000, 1000)]);
    let mut silence = Silence::new(0, HOUR, GRANULE);
    silence.learn(0, None, &rates);
    assert!(!silence.holds(3 * HOUR, 0, due(1000), &rates));
}
