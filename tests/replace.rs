//! A host that comes back as another process: one incarnation ends and another begins, in one step.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hostwheel::{
    AnnounceError, Brake, Clock, Config, Event, EventKind, Handle, Handler, HostWheel, LeaveError, Outcome, RenewError,
    Verdict,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn config() -> Config {
    let watchdog = Duration::ZERO;
    Config { clock: Clock::Manual, watchdog, brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(EventKind, Handle, u64)>>>);

impl Log {
    fn put(&self, event: &Event) {
        self.0.lock().unwrap().push((event.kind(), event.handle(), event.user_data()));
    }

    fn take(&self) -> Vec<(EventKind, Handle, u64)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Handler for Log {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.put(event);
        Verdict::Done
    }

    fn suspect(&mut self, event: &Event) {
        self.put(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.put(event);
    }
}

fn open(config: Config) -> (HostWheel, Log) {
    let log = Log::default();
    (HostWheel::start(config, log.clone()).unwrap(), log)
}

#[test]
fn a_known_host_is_replaced_without_an_event() {
    let (wheel, log) = open(config());
    let old = wheel.announce_with("a", secs(10), Duration::ZERO, 7).unwrap().handle;
    wheel.advance(secs(5)).unwrap();
    let replaced = wheel.replace("a", secs(30), 8).unwrap();
    let new = replaced.announced.handle;
    assert_eq!((replaced.ended, replaced.announced.outcome), (Some((old, 7)), Outcome::Registered));
    assert_eq!((replaced.announced.interval, wheel.find("a")), (secs(30), Ok(new)));
    assert_ne!(new, old);
    assert_eq!(wheel.renew(old), Err(RenewError::Stale));
    assert_eq!(wheel.leave_handle(old), Err(LeaveError::Stale), "a late goodbye reaches nobody");
    let mut shown = Vec::new();
    wheel.each(|host| {
        shown.push((host.id.to_vec(), host.handle, host.user_data));
        ControlFlow::Continue(())
    });
    assert_eq!(shown, [(b"a".to_vec(), new, 8)]);
    wheel.advance(secs(64)).unwrap();
    assert_eq!(log.take(), []);
    let stats = wheel.stats();
    assert_eq!((stats.live, stats.registered, stats.left), (1, 2, 1));
    wheel.advance(secs(80)).unwrap();
    assert_eq!(log.take(), [(EventKind::Suspect, new, 8), (EventKind::Leave, new, 8)]);
}

#[test]
fn an_unknown_host_is_registered_and_a_suspect_is_replaced_as_it_is() {
    let (wheel, log) = open(config());
    let first = wheel.replace("a", secs(10), 1).unwrap();
    assert_eq!(first.ended, None);
    wheel.advance(secs(20)).unwrap();
    let old = first.announced.handle;
    assert_eq!(log.take(), [(EventKind::Suspect, old, 1)]);
    let second = wheel.replace("a", secs(10), 2).unwrap();
    assert_eq!(second.ended, Some((old, 1)));
    wheel.advance(secs(21)).unwrap();
    assert_eq!((log.take(), wheel.stats().suspect), (vec![], 0), "it is gone, and did not recover");
}

#[test]
fn a_host_that_was_handed_out_is_not_ended_again() {
    let (wheel, mut events) = HostWheel::drained(Config { grace: Duration::ZERO, ..config() }).unwrap();
    let old = wheel.announce("a", secs(10)).unwrap().handle;
    wheel.advance(secs(20)).unwrap();
    let replaced = wheel.replace("a", secs(10), 2).unwrap();
    assert_eq!(replaced.ended, None);
    let mut drained = Vec::new();
    events.drain(&mut drained, 9);
    assert_eq!((drained.len(), drained[0].handle(), drained[0].superseded()), (1, old, true));
}

#[test]
fn errors_leave_everything_as_it_was() {
    let (wheel, _) = open(Config { max_hosts: 2, ..config() });
    let a = wheel.announce("a", secs(10)).unwrap().handle;
    wheel.announce("b", secs(10)).unwrap();
    assert_eq!(wheel.replace("", secs(10), 1), Err(AnnounceError::IdLength));
    assert_eq!(wheel.replace([0; 1025], secs(10), 1), Err(AnnounceError::IdLength));
    assert_eq!(wheel.replace("c", secs(10), 1), Err(AnnounceError::Full));
    let stats = wheel.stats();
    assert_eq!((stats.live, stats.registered, stats.left, wheel.find("a")), (2, 2, 0, Ok(a)));
    for round in 0..1000 {
        let replaced = wheel.replace("a", secs(10), round).unwrap();
        assert!(replaced.ended.is_some(), "a full table takes the place of the one that ends");
    }
    assert_eq!((wheel.stats().live, wheel.replace("c", secs(10), 1)), (2, Err(AnnounceError::Full)));
    wheel.close(secs(1)).unwrap();
    assert_eq!(wheel.replace("a", secs(10), 1), Err(AnnounceError::Closed));
}

/// Threads that replace one id, announce it, say goodbye by handle, and look: it is known all the time, once, and each user data
/// comes back once.
#[test]
fn an_id_that_is_replaced_all_the_time_is_known_all_the_time() {
    const ROUNDS: u64 = 3000;
    let config = Config { brake: Brake::OFF, silence_expected: 0, ..Config::default() };
    let (wheel, log) = open(config);
    wheel.announce_with("a", secs(60), Duration::ZERO, u64::MAX).unwrap();
    let over = AtomicBool::new(false);
    let mut ended: Vec<u64> = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let (mut walks, mut shown) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                let found = wheel.find("a").expect("the id is known at each moment");
                let announced = wheel.announce("a", secs(60)).unwrap();
                assert_eq!(announced.outcome, Outcome::Renewed);
                assert!(announced.handle == found || wheel.renew(found).is_err() || wheel.find("a") != Ok(found));
                let before = shown;
                wheel.each(|host| {
                    shown += usize::from(host.id == b"a");
                    ControlFlow::Continue(())
                });
                assert!(shown - before <= 1, "a walk shows it twice");
                walks += 1;
            }
            // A walk may miss a host that is replaced meanwhile and whose record is freed before the walk comes to it.
            assert!(shown * 2 > walks, "{shown} of {walks} walks show it");
        });
        let replacers: Vec<_> = (0..2)
            .map(|thread| {
                let wheel = &wheel;
                scope.spawn(move || {
                    let replace = |n| wheel.replace("a", secs(60), thread * ROUNDS + n).unwrap().ended.unwrap().1;
                    (0..ROUNDS).map(replace).collect::<Vec<u64>>()
                })
            })
            .collect();
        let ended = replacers.into_iter().flat_map(|replacer| replacer.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        looker.join().unwrap();
        ended
    });
    ended.push(wheel.leave("a").unwrap());
    ended.sort_unstable();
    let all: Vec<u64> = (0..2 * ROUNDS).chain([u64::MAX]).collect();
    assert_eq!(ended, all);
    assert_eq!((log.take(), wheel.stats().live), (vec![], 0));
}
