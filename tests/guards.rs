//! What an operator sees of the guards: which one holds a host and since when, and the events that they make.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostwheel::{
    Brake, Clock, Config, Event, EventKind, GuardEvent, GuardKind, Handler, Hold, HostWheel, Interval, Verdict,
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The default configuration, in which all time counts.
fn config() -> Config {
    Config { clock: Clock::Manual, watchdog: Duration::ZERO, ..Config::default() }
}

/// What a wheel told, in order.
#[derive(Clone, Debug)]
enum Told {
    Host(Event),
    Guard(GuardEvent),
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    fn put(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn guards(&self) -> Vec<GuardEvent> {
        let guard = |told| if let Told::Guard(event) = told { Some(event) } else { None };
        self.take().into_iter().filter_map(guard).collect()
    }

    fn leaves(&self) -> Vec<Event> {
        let leave = |told| match told {
            Told::Host(event) if event.kind() == EventKind::Leave => Some(event),
            _ => None,
        };
        self.take().into_iter().filter_map(leave).collect()
    }
}

impl Handler for Log {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.put(Told::Host(event.clone()));
        Verdict::Done
    }

    fn suspect(&mut self, event: &Event) {
        self.put(Told::Host(event.clone()));
    }

    fn guard(&mut self, event: &GuardEvent) {
        self.put(Told::Guard(*event));
    }
}

fn open(config: Config) -> (HostWheel, Log) {
    let log = Log::default();
    (HostWheel::manual(config, log.clone()).unwrap(), log)
}

#[test]
fn a_host_that_became_due_in_one_big_advance_is_shown_as_held_by_silence() {
    let (wheel, log) = open(config());
    let a = wheel.announce("a", secs(20)).unwrap().handle;
    let b = wheel.announce("b", Interval::NONE).unwrap().handle;
    wheel.advance(secs(20)).unwrap();
    wheel.renew(a).unwrap();
    wheel.advance(secs(35)).unwrap();
    wheel.renew(a).unwrap();
    wheel.advance(secs(5000)).unwrap();
    for host in [a, b] {
        let status = wheel.inspect(host).unwrap();
        assert_eq!((status.held_by, status.held_since), (Some(Hold::Silence), Some(secs(5000))), "{status:?}");
    }
    wheel.advance(secs(10_000)).unwrap();
    let leaves = log.leaves();
    assert_eq!(leaves.len(), 2);
    for leave in leaves {
        assert_eq!(leave.held(), secs(5000), "{leave}");
    }
}

#[test]
fn hosts_that_wait_for_the_brake_say_so_however_they_came_to_be_due() {
    let (wheel, log) = open(Config { silence_expected: 0, ..config() });
    let hosts: Vec<_> = (0..1000u32).map(|n| wheel.announce(n.to_le_bytes(), secs(30)).unwrap().handle).collect();
    wheel.advance(ms(1)).unwrap();
    wheel.advance(secs(100)).unwrap();
    let held = hosts.iter().filter_map(|host| wheel.inspect(*host).ok());
    let held: Vec<_> = held.map(|status| (status.held_by, status.held_since)).collect();
    assert_eq!(held, vec![(Some(Hold::Brake), Some(secs(100))); 800]);
    assert!(log.leaves().iter().all(|leave| leave.held().is_zero()));
    wheel.advance(secs(160)).unwrap();
    let leaves = log.leaves();
    assert_eq!(leaves.len(), 200);
    for leave in leaves {
        assert_eq!(leave.held(), secs(60), "{leave}");
        assert_eq!(leave.lateness() - leave.held(), secs(25), "the advance came so late: {leave}");
    }
    // A host that is heard is held no longer.
    let last = hosts.iter().rfind(|host| wheel.inspect(**host).is_ok()).unwrap();
    wheel.renew(*last).unwrap();
    assert_eq!(wheel.inspect(*last).unwrap().held_by, None);
}

#[test]
fn a_silence_is_told_when_it_begins_and_when_it_ends() {
    let (wheel, log) = open(config());
    let hosts: Vec<_> = (0..40u32).map(|n| wheel.announce(n.to_le_bytes(), secs(300)).unwrap().handle).collect();
    for second in 1..=615 {
        wheel.advance(secs(second)).unwrap();
    }
    let [began] = log.guards()[..] else { panic!("one event") };
    assert_eq!((began.kind(), began.now(), began.waiting()), (GuardKind::SilenceBegan, secs(615), 40));
    assert!(began.since() < ms(65) && began.lasted() > secs(614), "{began}");
    wheel.advance(secs(700)).unwrap();
    wheel.renew(hosts[3]).unwrap();
    wheel.advance(secs(701)).unwrap();
    let [ended] = log.guards()[..] else { panic!("one event") };
    assert_eq!((ended.kind(), ended.since(), ended.now()), (GuardKind::SilenceEnded, secs(615), secs(701)));
    assert!((secs(85)..ms(85_065)).contains(&ended.lasted()), "{ended}");
}

#[test]
fn the_brake_is_told_when_it_begins_to_hold_hosts_and_when_it_holds_none() {
    let (wheel, log) = open(Config { silence_expected: 0, ..config() });
    (0..300u32).for_each(|n| _ = wheel.announce(n.to_le_bytes(), secs(30)).unwrap());
    for second in 1..=300 {
        wheel.advance(secs(second)).unwrap();
    }
    let [began, ended] = log.guards()[..] else { panic!("two events") };
    assert_eq!((began.kind(), began.now(), began.waiting()), (GuardKind::BrakeBegan, secs(75), 200));
    assert_eq!((ended.kind(), ended.since(), ended.waiting()), (GuardKind::BrakeEnded, secs(75), 0));
    assert_eq!((ended.now(), ended.lasted()), (secs(195), secs(120)), "100 at once, 100 a minute");
}

#[test]
fn an_absence_is_told_with_what_is_not_counted() {
    let (wheel, log) = open(Config { watchdog: secs(1), ..config() });
    wheel.announce("a", secs(60)).unwrap();
    wheel.advance(ms(100)).unwrap();
    wheel.advance(secs(30)).unwrap();
    let [away] = log.guards()[..] else { panic!("one event") };
    let horizon = ms(100 + 500 + 250);
    assert_eq!((away.kind(), away.since(), away.lasted()), (GuardKind::Away, horizon, secs(30) - horizon));
    assert_eq!(wheel.stats().away, away.lasted());
}

#[test]
fn guard_events_come_before_the_host_events_of_their_step_and_a_panic_is_counted() {
    struct Panics(Log);
    impl Handler for Panics {
        fn leave(&mut self, event: &Event) -> Verdict {
            self.0.leave(event)
        }
        fn guard(&mut self, event: &GuardEvent) {
            self.0.guard(event);
            panic!("planted");
        }
    }
    let log = Log::default();
    let wheel = HostWheel::manual(Config { silence_expected: 0, ..config() }, Panics(log.clone())).unwrap();
    (0..300u32).for_each(|n| _ = wheel.announce(n.to_le_bytes(), secs(30)).unwrap());
    for at in [ms(1), secs(60), secs(75)] {
        wheel.advance(at).unwrap();
    }
    let told = log.take();
    assert!(matches!(told[0], Told::Guard(_)), "{:?}", told[0]);
    assert_eq!((told.len(), wheel.stats().panics), (101, 1));
}

#[test]
fn a_consumer_that_drains_gets_the_last_guard_events() {
    let (wheel, mut events) = HostWheel::drained(Config { watchdog: secs(1), ..config() }).unwrap();
    wheel.announce("a", Interval::NONE).unwrap();
    wheel.advance(Duration::ZERO).unwrap();
    for minute in 1..=100 {
        wheel.advance(secs(60 * minute)).unwrap();
    }
    let mut guards = Vec::new();
    assert_eq!(events.drain_guards(&mut guards, 100), 64, "the oldest ones give way");
    assert!(guards.iter().all(|event| event.kind() == GuardKind::Away), "{guards:?}");
    assert!(guards.is_sorted_by_key(GuardEvent::now));
    assert_eq!(events.drain_guards(&mut guards, 100), 0);
    let mut drained = Vec::new();
    assert_eq!(events.drain(&mut drained, 10), 0, "host events are elsewhere");
}

#[test]
fn a_handler_that_panics_when_it_is_dropped_poisons_nothing() {
    struct Heavy;
    impl Handler for Heavy {
        fn leave(&mut self, _: &Event) -> Verdict {
            Verdict::Done
        }
    }
    impl Drop for Heavy {
        fn drop(&mut self) {
            panic!("planted");
        }
    }
    let wheel = HostWheel::start(Config { brake: Brake::OFF, ..Config::default() }, Heavy).unwrap();
    wheel.announce("a", secs(1)).unwrap();
    wheel.close(secs(60)).unwrap();
    assert!(!wheel.is_poisoned());
    drop(wheel);
    let manual = HostWheel::manual(config(), Heavy).unwrap();
    manual.announce("a", secs(1)).unwrap();
    manual.close(secs(60)).unwrap();
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(manual)));
    assert!(dropped.is_ok(), "the handler's panic stays its own");
}
