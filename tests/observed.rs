//! Observed time on a manual clock: when to look next, and what happens to hosts while nobody looked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostwheel::{Brake, Config, Event, EventKind, HostWheel, Interval, LONGEST, Outcome, Verdict};

const ZERO: Duration = Duration::ZERO;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The settings that all scenes begin with: the default watchdog.
fn config() -> Config {
    Config { brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

/// A wheel and what it told, each event with the manual clock's time at which it was told.
struct Scene {
    wheel: HostWheel,
    log: Arc<Mutex<Vec<Event>>>,
}

impl Scene {
    fn open(config: Config) -> Scene {
        let log = Arc::<Mutex<Vec<Event>>>::default();
        let told = log.clone();
        let wheel = HostWheel::manual(config, Teller(move |event: &Event| told.lock().unwrap().push(event.clone())));
        Scene { wheel: wheel.unwrap(), log }
    }

    fn to(&self, clock: Duration) -> Vec<(Duration, Event)> {
        self.wheel.advance(clock).unwrap();
        std::mem::take(&mut *self.log.lock().unwrap()).into_iter().map(|event| (clock, event)).collect()
    }

    /// Advances from one `next_due` to the next until `end`; returns what was told and the number of steps.
    fn by_steps_to(&self, end: Duration) -> (Vec<(Duration, Event)>, usize) {
        let (mut told, mut steps) = (Vec::new(), 0);
        loop {
            steps += 1;
            assert!(steps < 200_000, "next_due does not lead on from {:?}", self.wheel.next_due());
            match self.wheel.next_due().unwrap() {
                Some(due) if due < end => told.extend(self.to(due)),
                _ => {
                    told.extend(self.to(end));
                    return (told, steps);
                }
            }
        }
    }
}

/// A handler that tells everything.
struct Teller<F>(F);

impl<F: FnMut(&Event) + Send + 'static> hostwheel::Handler for Teller<F> {
    fn leave(&mut self, event: &Event) -> Verdict {
        (self.0)(event);
        Verdict::Done
    }

    fn suspect(&mut self, event: &Event) {
        (self.0)(event);
    }

    fn recovered(&mut self, event: &Event) {
        (self.0)(event);
    }
}

fn kinds(told: &[(Duration, Event)]) -> Vec<EventKind> {
    told.iter().map(|(_, event)| event.kind()).collect()
}

const LIFE: [EventKind; 2] = [EventKind::Suspect, EventKind::Leave];

#[test]
fn there_is_nothing_due_while_no_host_is_known() {
    for watchdog in [ZERO, secs(1)] {
        let scene = Scene::open(Config { watchdog, ..config() });
        assert_eq!(scene.wheel.next_due(), Ok(None));
        scene.to(secs(100));
        assert_eq!(scene.wheel.next_due(), Ok(None));
        scene.wheel.announce("a", secs(10)).unwrap();
        assert!(scene.wheel.next_due().unwrap().is_some());
        scene.wheel.leave("a").unwrap();
        scene.by_steps_to(secs(101));
        assert_eq!(scene.wheel.next_due(), Ok(None), "the record came back soon");
        scene.wheel.announce("a", secs(10)).unwrap();
        assert_eq!(scene.by_steps_to(secs(200)).0.len(), 2);
        assert_eq!(scene.wheel.next_due(), Ok(None));
    }
}

#[test]
fn the_next_look_is_never_later_than_the_watchdog_allows_while_a_host_is_known() {
    for (watchdog, min_interval, most) in [
        (secs(1), secs(1), ms(500)),
        (ms(100), secs(1), ms(100)),
        (secs(1), ms(40), ms(20)),
        (secs(3), secs(60), secs(3)),
    ] {
        let scene = Scene::open(Config { watchdog, min_interval, backstop: ZERO, ..config() });
        scene.wheel.announce("a", secs(60)).unwrap();
        let mut now = ZERO;
        let mut told = Vec::new();
        while let Some(due) = scene.wheel.next_due().unwrap() {
            assert!(due >= now && due - now <= most, "{due:?} after {now:?} with watchdog {watchdog:?}");
            now = due;
            told.extend(scene.to(now));
        }
        assert_eq!(kinds(&told), LIFE);
        assert_eq!((told[0].0, told[1].0), (secs(120), secs(135)));
        assert_eq!((scene.wheel.stats().away, told[1].1.lateness()), (ZERO, ZERO));
    }
}

#[test]
fn looks_at_next_due_miss_no_moment_of_any_interval() {
    for backstop in [ZERO, secs(300)] {
        let config = Config { watchdog: ZERO, min_interval: ms(1), backstop, ..config() };
        let scene = Scene::open(config);
        scene.to(ms(12_345));
        let intervals =
            [ms(1), ms(2), ms(127), ms(128), ms(129), ms(32_768), ms(32_769), secs(300), secs(8_389), LONGEST];
        for (n, interval) in (0u8..).zip(intervals) {
            scene.wheel.announce([n], interval).unwrap();
        }
        scene.wheel.announce("none", Interval::NONE).unwrap();
        let (told, steps) = scene.by_steps_to(3 * LONGEST);
        assert_eq!(told.len(), 2 * 11);
        for (clock, event) in &told {
            let grace =
                if event.kind() == EventKind::Leave { event.interval().unwrap_or(LONGEST).min(secs(15)) } else { ZERO };
            assert_eq!((event.lateness(), *clock), (ZERO, event.deadline() + grace), "{event}");
        }
        assert!(backstop > ZERO || steps < 200, "{steps} looks, hardly more than there are hosts");
        assert_eq!((scene.wheel.next_due(), scene.wheel.stats().rescues), (Ok(None), 0));
    }
}

#[test]
fn an_advance_beyond_the_horizon_counts_as_away_and_against_no_host() {
    // horizon = look + min(watchdog, min_interval / 2) + clamp(min_interval / 4, 2 ms, 250 ms)
    for (watchdog, min_interval, horizon) in [
        (secs(1), secs(1), ms(750)),
        (ms(100), secs(1), ms(350)),
        (secs(1), ms(4), ms(4)),
        (secs(1), secs(9), ms(1250)),
    ] {
        let scene = Scene::open(Config { watchdog, min_interval, ..config() });
        let handle = scene.wheel.announce("a", secs(10)).unwrap().handle;
        scene.to(ZERO); // the wheel has looked at it
        let hour = secs(3600);
        assert_eq!(scene.to(hour).len(), 0);
        assert_eq!((scene.wheel.now(), scene.wheel.stats().away), (horizon, hour - horizon));
        assert_eq!(scene.wheel.inspect(handle).unwrap().last_seen, ZERO);
        let (told, _) = scene.by_steps_to(hour + secs(60));
        assert_eq!(kinds(&told), LIFE);
        for ((clock, event), at) in told.iter().zip([secs(20), secs(30)]) {
            assert_eq!((event.now(), *clock), (at, hour - horizon + at), "wheel time and the clock");
            assert_eq!((event.lateness(), event.away(), event.last_seen()), (ZERO, hour - horizon, ZERO));
        }
    }
}

#[test]
fn an_advance_to_the_very_horizon_counts_in_full_and_one_beyond_loses_the_excess() {
    let scene = Scene::open(config());
    scene.wheel.announce("a", secs(1000)).unwrap();
    scene.to(ZERO);
    for n in 1..=4 {
        scene.to(n * ms(750));
        assert_eq!((scene.wheel.now(), scene.wheel.stats().away), (n * ms(750), ZERO));
    }
    scene.to(ms(3700));
    assert_eq!(scene.wheel.now(), ms(3700), "each look raises the horizon");
    scene.to(ms(3700 + 753));
    assert_eq!((scene.wheel.now(), scene.wheel.stats().away), (ms(3700 + 750), ms(3)));
    scene.to(ms(3700 + 753));
    scene.to(ms(10));
    assert_eq!(scene.wheel.now(), ms(3700 + 750), "a time before the present counts as the present");
    scene.to(ms(3700 + 763));
    assert_eq!((scene.wheel.now(), scene.wheel.stats().away), (ms(3700 + 760), ms(3)));
}

#[test]
fn an_event_tells_the_time_not_counted_since_its_hosts_last_announce() {
    let scene = Scene::open(Config { grace: ZERO, ..config() });
    scene.wheel.announce("before", secs(10)).unwrap();
    scene.to(ZERO);
    scene.to(secs(100));
    scene.to(secs(100) + ms(100));
    scene.wheel.announce("between", secs(10)).unwrap();
    scene.to(secs(200));
    scene.to(secs(200) + ms(100));
    scene.wheel.announce("after", secs(10)).unwrap();
    let away = scene.wheel.stats().away;
    let (told, _) = scene.by_steps_to(secs(300));
    assert_eq!(kinds(&told), [EventKind::Leave; 3]);
    let first = secs(100) - ms(750);
    let tells: Vec<_> = told.iter().map(|(_, event)| (event.id().to_string(), event.away())).collect();
    assert_eq!(tells, [("before".into(), away), ("between".into(), away - first), ("after".into(), ZERO)]);
    assert!(told[0].1.to_string().contains("not counted") && !told[2].1.to_string().contains("not counted"));
}

#[test]
fn announces_during_and_after_an_absence_count_in_full() {
    let scene = Scene::open(Config { grace: ZERO, ..config() });
    let handle = scene.wheel.announce("a", secs(10)).unwrap().handle;
    scene.to(secs(50));
    assert_eq!(scene.wheel.renew(handle), Ok(Outcome::Renewed));
    scene.wheel.announce("new", secs(10)).unwrap();
    let (told, _) = scene.by_steps_to(secs(500));
    assert_eq!(kinds(&told), [EventKind::Leave; 2]);
    for (clock, event) in told {
        assert_eq!((clock, event.lateness(), event.away()), (secs(70), ZERO, ZERO));
    }
    // A fleet that goes on announcing loses no host, however often its observer is away and for how long.
    for n in 1..=50 {
        for host in 0..20u8 {
            scene.wheel.announce([host], secs(1)).unwrap();
        }
        assert_eq!(scene.to(secs(1000 * n)).len(), 0, "absence {n}");
    }
    assert_eq!((scene.wheel.stats().live, scene.wheel.stats().registered), (20, 22));
}

#[test]
fn without_a_watchdog_all_time_counts() {
    let scene = Scene::open(Config { watchdog: ZERO, ..config() });
    scene.wheel.announce("a", secs(10)).unwrap();
    let told = scene.to(secs(86_400));
    assert_eq!(kinds(&told), LIFE);
    assert_eq!((scene.wheel.now(), scene.wheel.stats().away), (secs(86_400), ZERO));
    assert_eq!((told[1].1.lateness(), told[1].1.away()), (secs(86_370), ZERO));
}

#[test]
fn time_without_hosts_is_not_time_away_and_shortens_no_life() {
    let scene = Scene::open(Config { grace: ZERO, ..config() });
    let mut clock = ZERO;
    for _ in 0..5 {
        clock += secs(3600);
        let before = scene.wheel.now();
        scene.to(clock);
        assert!(scene.wheel.now() <= before + secs(1), "wheel time stands still: {:?}", scene.wheel.now());
        assert_eq!(scene.wheel.stats().away, ZERO);
        scene.wheel.announce("a", secs(10)).unwrap();
        let (told, _) = scene.by_steps_to(clock + secs(60));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, told[0].1.away(), told[0].1.lateness()), (clock + secs(20), ZERO, ZERO));
        clock += secs(60);
    }
    assert_eq!((scene.wheel.stats().live, scene.wheel.stats().leaves_ttl), (0, 5));
}

#[test]
fn records_are_bounded_by_the_most_hosts_known_at_a_time_however_they_flap() {
    let scene = Scene::open(Config { watchdog: ZERO, ..config() });
    let mut clock = ZERO;
    for round in 0..2000u32 {
        for host in 0..10u8 {
            scene.wheel.announce([host], secs(1)).unwrap();
        }
        clock += if round % 100 == 99 { secs(3) } else { ms(2) };
        if round % 2 == 0 {
            for host in 0..10u8 {
                scene.wheel.leave([host]).unwrap();
            }
        }
        scene.to(clock);
    }
    let stats = scene.wheel.stats();
    assert!(stats.records <= 20, "{} records for 10 hosts", stats.records);
    assert_eq!((stats.left, stats.rescues), (10_000, 0));
}
