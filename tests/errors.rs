//! Every refusal of every call: the right error, no panic, and a wheel that is as it was before.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{
    AdvanceError, AnnounceError, Brake, Clock, CloseError, Config, ConfigError, Event, EventKind, Events, Handle,
    HostState, HostWheel, Interval, LONGEST, LONGEST_ID, LeaveError, LookupError, MOST_HOSTS, OpenError, Outcome,
    RenewError, SettleError, Stats, Verdict,
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// All time counts: every advance moves wheel time to where it says.
fn config() -> Config {
    Config {
        clock: Clock::Manual,
        watchdog: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

fn done(_: &Event) -> Verdict {
    Verdict::Done
}

fn quiet() -> HostWheel {
    HostWheel::manual(config(), done).expect("opens")
}

fn drained() -> (HostWheel, Events) {
    HostWheel::drained(config()).expect("opens")
}

/// One host as `each` shows it: id, handle, interval, age, suspect, user data.
type Seen = (Vec<u8>, Handle, Option<Duration>, Duration, bool, u64);

fn hosts(wheel: &HostWheel) -> Vec<Seen> {
    let mut all = Vec::new();
    wheel.each(|host| {
        all.push((host.id.to_vec(), host.handle, host.interval, host.age, host.suspect, host.user_data));
        ControlFlow::Continue(())
    });
    all.sort();
    all
}

fn state(wheel: &HostWheel) -> (Stats, Vec<Seen>, Duration) {
    (wheel.stats(), hosts(wheel), wheel.now())
}

/// Runs `f` and insists that nothing that the wheel shows has changed.
fn unchanged<R>(wheel: &HostWheel, f: impl FnOnce() -> R) -> R {
    let before = state(wheel);
    let result = f();
    assert_eq!(state(wheel), before, "a refused call changed the wheel");
    result
}

fn drain(events: &mut Events) -> Vec<Event> {
    let mut drained = Vec::new();
    while events.drain(&mut drained, 100) > 0 {}
    drained
}

/// A drained wheel with one host that was handed out as a leave and not answered.
fn with_a_taken_host() -> (HostWheel, Events, Handle) {
    let (wheel, mut events) = drained();
    let handle = wheel.announce("gone", secs(1)).unwrap().handle;
    wheel.advance(secs(3)).unwrap();
    let mut kinds: Vec<_> = drain(&mut events).iter().map(Event::kind).collect();
    wheel.advance(secs(3)).unwrap();
    kinds.extend(drain(&mut events).iter().map(Event::kind));
    assert_eq!(kinds, [EventKind::Suspect, EventKind::Leave]);
    (wheel, events, handle)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < secs(30), "waited too long: {what}");
        thread::sleep(ms(1));
    }
}

#[test]
fn ids_of_no_byte_or_of_1025_are_refused_by_every_call() {
    let wheel = quiet();
    wheel.announce("known", secs(5)).unwrap();
    for id in [Vec::new(), vec![b'x'; LONGEST_ID + 1], vec![0; 1 << 20]] {
        unchanged(&wheel, || {
            assert_eq!(wheel.announce(&id, secs(5)), Err(AnnounceError::IdLength));
            assert_eq!(wheel.announce(&id, Interval::NONE), Err(AnnounceError::IdLength));
            assert_eq!(wheel.announce_seen(&id, secs(5), secs(1)), Err(AnnounceError::IdLength));
            assert_eq!(wheel.announce_with(&id, secs(5), secs(1), 7), Err(AnnounceError::IdLength));
            assert_eq!(wheel.leave(&id), Err(LeaveError::IdLength));
            assert_eq!(wheel.find(&id), Err(LookupError::IdLength));
        });
    }
    assert_eq!(wheel.announce([0; LONGEST_ID + 1], Duration::MAX), Err(AnnounceError::IdLength));
    assert_eq!(wheel.stats().clamps, 0, "a refused announce counts no clamp");
}

#[test]
fn ids_of_1_to_1024_bytes_of_any_value_are_hosts_of_their_own() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let told = log.clone();
    let wheel = HostWheel::manual(config(), move |event: &Event| {
        told.lock().unwrap().push(event.id().to_vec());
        Verdict::Done
    })
    .unwrap();
    let mut ids: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    ids.extend([b"a\0".to_vec(), b"a\0\0".to_vec(), b"\0a".to_vec(), b"\xff\xfe\xfd".to_vec(), b"a\nb".to_vec()]);
    ids.extend([vec![0; LONGEST_ID], vec![0xff; LONGEST_ID], vec![0; LONGEST_ID - 1], vec![b'z'; LONGEST_ID]]);
    for id in &ids {
        assert_eq!(wheel.announce(id, secs(1)).unwrap().outcome, Outcome::Registered, "{id:?}");
    }
    for id in &ids {
        let again = wheel.announce(id, secs(1)).unwrap();
        assert_eq!(again.outcome, Outcome::Renewed, "{id:?}");
        assert_eq!(wheel.find(id), Ok(again.handle), "{id:?}");
    }
    ids.sort();
    assert_eq!(hosts(&wheel).into_iter().map(|host| host.0).collect::<Vec<_>>(), ids);
    wheel.advance(secs(3)).unwrap();
    let mut left = log.lock().unwrap().clone();
    left.sort();
    assert_eq!(left, ids, "events carry the ids as announced");
}

#[test]
fn no_interval_is_an_error() {
    let wheel = quiet();
    let none = wheel.announce("none", Duration::ZERO).unwrap();
    assert_eq!((none.interval, none.clamped), (secs(1800), false), "half the host TTL");
    for (id, asked, given) in [("tiny", Duration::from_nanos(1), secs(1)), ("huge", Duration::MAX, LONGEST)] {
        let announced = wheel.announce(id, asked).unwrap();
        assert_eq!((announced.interval, announced.clamped), (given, true), "{id}");
        assert_eq!(wheel.inspect(announced.handle).unwrap().interval, Some(given), "{id}");
    }
    assert_eq!(wheel.stats().clamps, 2);
    wheel.announce_seen("old", Duration::MAX, Duration::MAX).unwrap();
    let handle = wheel.announce("known", secs(5)).unwrap().handle;
    assert_eq!(wheel.renew_seen(handle, Duration::MAX), Ok(Outcome::Renewed));
    assert_eq!(wheel.advance(Duration::MAX).map(|_| ()), Ok(()), "no moment is an error either");
}

#[test]
fn each_contradictory_setting_is_named_by_every_constructor() {
    let long = LONGEST + Duration::from_nanos(1);
    type Break = fn(&mut Config, Duration);
    let too_long: [(&str, Break); 7] = [
        ("host_ttl", |c, d| c.host_ttl = d),
        ("grace", |c, d| c.grace = d),
        ("min_interval", |c, d| c.min_interval = d),
        ("max_interval", |c, d| c.max_interval = d),
        ("watchdog", |c, d| c.watchdog = d),
        ("backstop", |c, d| c.backstop = d),
        ("settle_timeout", |c, d| c.settle_timeout = d),
    ];
    let mut broken = Vec::new();
    for (field, set) in too_long {
        for length in [long, Duration::MAX] {
            let mut config = config();
            set(&mut config, length);
            broken.push((field, config));
        }
        let mut config = Config { max_interval: LONGEST, ..config() };
        set(&mut config, LONGEST);
        assert_eq!(config.check(), Ok(()), "{field} may be {LONGEST:?}");
    }
    let short = Duration::from_micros(999);
    broken.extend([Duration::ZERO, ms(1) + short].map(|host_ttl| ("host_ttl", Config { host_ttl, ..config() })));
    broken.extend([Duration::ZERO, short].map(|min_interval| ("min_interval", Config { min_interval, ..config() })));
    broken.extend([Duration::ZERO, short].map(|max_interval| ("min_interval", Config { max_interval, ..config() })));
    broken.push(("min_interval", Config { min_interval: secs(9), max_interval: secs(8), ..config() }));
    broken.extend(
        [Duration::ZERO, short].map(|length| ("settle_timeout", Config { settle_timeout: length, ..config() })),
    );
    broken.extend([0, MOST_HOSTS + 1, usize::MAX].map(|max_hosts| ("max_hosts", Config { max_hosts, ..config() })));
    broken.extend([0, 1 << 25, usize::MAX].map(|n| ("max_outstanding", Config { max_outstanding: n, ..config() })));
    broken.extend([0, 1, (64 << 10) - 1].map(|stack_size| ("stack_size", Config { stack_size, ..config() })));
    broken.push(("batch", Config { batch: 0, ..config() }));
    for (field, config) in broken {
        let wrong: ConfigError = config.check().expect_err(field);
        assert_eq!(wrong.field, field);
        assert!(wrong.to_string().contains(field) && wrong.to_string().contains(wrong.problem));
        let threaded = Config { clock: Clock::Coarse, ..config.clone() };
        for opened in [
            HostWheel::start(config.clone(), done).err(),
            HostWheel::manual(threaded.clone(), done).err(),
            HostWheel::start(threaded.clone(), done).err(),
            HostWheel::drained(config.clone()).err(),
            HostWheel::drained(threaded).err(),
        ] {
            match opened {
                Some(OpenError::Config(e)) => assert_eq!(e, wrong),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_outermost_settings_are_allowed() {
    let least = |c| Config { host_ttl: ms(2), min_interval: ms(1), max_interval: ms(1), settle_timeout: ms(1), ..c };
    let one = Config { grace: Duration::ZERO, max_hosts: 1, max_outstanding: 1, batch: 1, ..least(config()) };
    let wheel = HostWheel::start(Config { backstop: Duration::ZERO, stack_size: 64 << 10, ..one }, done).unwrap();
    assert_eq!(wheel.announce("a", secs(7)).unwrap().interval, ms(1));
    assert_eq!(wheel.advance(ms(2)), Ok(1));
    let largest = Config { max_hosts: MOST_HOSTS, max_outstanding: 1 << 24, batch: usize::MAX, ..config() };
    let wheel = HostWheel::start(largest, done).unwrap();
    wheel.announce("a", secs(1)).unwrap();
    assert_eq!(wheel.advance(secs(3)), Ok(2));
}

/// Insists that every call that takes a handle refuses this one as stale.
fn refuses_as_stale(wheel: &HostWheel, handle: Handle) {
    unchanged(wheel, || {
        assert_eq!(wheel.renew(handle), Err(RenewError::Stale));
        assert_eq!(wheel.renew_seen(handle, secs(1)), Err(RenewError::Stale));
        assert_eq!(wheel.leave_handle(handle), Err(LeaveError::Stale));
        assert_eq!(wheel.inspect(handle), Err(LookupError::Stale));
    });
}

#[test]
fn a_handle_is_stale_once_its_host_left_and_for_ever() {
    let wheel = quiet();
    let polite = wheel.announce("polite", secs(5)).unwrap().handle;
    wheel.leave("polite").unwrap();
    refuses_as_stale(&wheel, polite);
    assert_eq!(wheel.leave("polite"), Err(LeaveError::NotFound));
    assert_eq!(wheel.find("polite"), Err(LookupError::NotFound));
    let back = wheel.announce("polite", secs(5)).unwrap();
    assert_eq!(back.outcome, Outcome::Registered);
    assert_ne!(back.handle, polite);
    refuses_as_stale(&wheel, polite);

    wheel.advance(secs(20)).unwrap();
    refuses_as_stale(&wheel, back.handle);
    for _ in 0..1000 {
        let again = wheel.announce("polite", secs(5)).unwrap().handle;
        wheel.leave_handle(again).unwrap();
        wheel.advance(wheel.now() + ms(2)).unwrap();
        assert!(![polite, back.handle].contains(&again), "a handle was issued twice");
    }
    refuses_as_stale(&wheel, polite);
    assert_eq!(wheel.leave("never"), Err(LeaveError::NotFound));
    assert_eq!(wheel.find("never"), Err(LookupError::NotFound));
}

#[test]
fn a_host_that_was_handed_out_is_taken_until_it_is_settled() {
    let (wheel, mut events, handle) = with_a_taken_host();
    unchanged(&wheel, || {
        assert_eq!(wheel.renew(handle), Err(RenewError::Taken));
        assert_eq!(wheel.renew_seen(handle, secs(1)), Err(RenewError::Taken));
        assert_eq!(wheel.leave_handle(handle), Err(LeaveError::Taken));
        assert_eq!(wheel.leave("gone"), Err(LeaveError::NotFound));
        assert_eq!(wheel.find("gone"), Err(LookupError::NotFound));
        assert_eq!(wheel.inspect(handle).unwrap().state, HostState::Taken);
    });
    wheel.settle(handle, 1, Verdict::Done).unwrap();
    wheel.advance(secs(4)).unwrap();
    refuses_as_stale(&wheel, handle);
    assert_eq!(drain(&mut events).len(), 0);
}

#[test]
fn handles_of_another_wheel_are_stale() {
    let (one, other) = (quiet(), quiet());
    for n in 0..100 {
        let id = format!("host-{n}");
        let handle = one.announce(&id, secs(5)).unwrap().handle;
        other.announce(&id, secs(5)).unwrap();
        refuses_as_stale(&other, handle);
    }
}

#[test]
fn forged_handles_never_panic_and_change_nothing() {
    assert_eq!(Handle::from_raw(0), None);
    let (wheel, mut events) = drained();
    let issued: Vec<u64> =
        (0..50).map(|n: u64| wheel.announce(n.to_le_bytes(), secs(5)).unwrap().handle.as_raw()).collect();
    let before = state(&wheel);
    let mut forged = vec![1, 49, 50, 4095, 4096, u64::from(u32::MAX), 1 << 32, 1 << 63, u64::MAX, u64::MAX << 32];
    for raw in &issued {
        // Neighbours in every half, and one flipped bit.
        forged.extend([raw ^ 1 << 31, raw & 0xffff_ffff, raw.wrapping_add(1 << 32), raw.wrapping_sub(1 << 32)]);
        forged.extend((32..64).map(|bit| raw ^ 1 << bit));
        forged.extend((0..24).map(|bit| raw & u64::MAX << 32 | 1 << bit));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..100_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        forged.extend([random, random & !0 << 32 | random & 63]);
    }
    for handle in forged.into_iter().filter(|raw| !issued.contains(raw)).filter_map(Handle::from_raw) {
        assert_eq!(wheel.renew(handle), Err(RenewError::Stale), "{handle}");
        assert_eq!(wheel.leave_handle(handle), Err(LeaveError::Stale), "{handle}");
        assert_eq!(wheel.inspect(handle), Err(LookupError::Stale), "{handle}");
        assert_eq!(wheel.settle(handle, 1, Verdict::Done), Err(SettleError::Stale), "{handle}");
    }
    assert_eq!(state(&wheel), before);
    wheel.advance(secs(10)).unwrap();
    assert_eq!(drain(&mut events).len(), 50, "all become suspects, as if nothing had been");
}

/// Every method of a closed wheel that knows the host `known`, answered as promised.
fn refuses_everything(wheel: &HostWheel, handle: Handle) {
    unchanged(wheel, || {
        for id in ["known", "new"] {
            assert_eq!(wheel.announce(id, secs(5)), Err(AnnounceError::Closed));
            assert_eq!(wheel.announce(id, Duration::MAX), Err(AnnounceError::Closed));
            assert_eq!(wheel.announce_seen(id, Interval::NONE, secs(1)), Err(AnnounceError::Closed));
            assert_eq!(wheel.announce_with(id, secs(5), secs(1), 7), Err(AnnounceError::Closed));
            assert_eq!(wheel.leave(id), Err(LeaveError::Closed));
        }
        assert_eq!(wheel.renew(handle), Err(RenewError::Closed));
        assert_eq!(wheel.renew_seen(handle, secs(1)), Err(RenewError::Closed));
        assert_eq!(wheel.leave_handle(handle), Err(LeaveError::Closed));
        assert_eq!(wheel.find("known"), Ok(handle));
        assert_eq!(wheel.find("new"), Err(LookupError::NotFound));
        assert_eq!(wheel.inspect(handle).unwrap().user_data, 9);
        assert_eq!(hosts(wheel).len(), 1);
        assert_eq!(wheel.stats().live, 1);
        assert_eq!(wheel.close(Duration::ZERO), Ok(()), "again");
    });
}

#[test]
fn after_close_every_call_is_refused_and_every_question_answered() {
    let wheel = quiet();
    let handle = wheel.announce_with("known", secs(5), Duration::ZERO, 9).unwrap().handle;
    assert_eq!(wheel.close(Duration::ZERO), Ok(()));
    refuses_everything(&wheel, handle);
    assert_eq!(wheel.advance(secs(100)), Err(AdvanceError::Closed));
    assert_eq!(wheel.next_due(), Err(AdvanceError::Closed));
    assert_eq!(wheel.settle(handle, 1, Verdict::Done), Err(SettleError::Mode));
    refuses_everything(&wheel, handle);

    let (wheel, mut events) = drained();
    let handle = wheel.announce_with("known", secs(50), Duration::ZERO, 9).unwrap().handle;
    let gone = wheel.announce("gone", secs(1)).unwrap().handle;
    wheel.advance(secs(3)).unwrap();
    assert_eq!(drain(&mut events).len(), 1);
    wheel.advance(secs(3)).unwrap();
    wheel.close(Duration::ZERO).unwrap();
    assert_eq!(wheel.settle(gone, 1, Verdict::Done), Err(SettleError::Closed));
    refuses_everything(&wheel, handle);
    assert_eq!(drain(&mut events).len(), 1, "what was made before is still given out");

    let wheel = HostWheel::start(Config { watchdog: Duration::ZERO, ..Config::default() }, done).unwrap();
    let handle = wheel.announce_with("known", secs(5000), Duration::ZERO, 9).unwrap().handle;
    wheel.close(secs(30)).unwrap();
    assert_eq!(wheel.advance(secs(100)), Err(AdvanceError::Mode));
    assert_eq!(wheel.renew(handle), Err(RenewError::Closed));
    assert_eq!(wheel.announce("known", secs(5)), Err(AnnounceError::Closed));
    assert_eq!(wheel.leave("known"), Err(LeaveError::Closed));
    assert_eq!((wheel.find("known"), wheel.stats().live), (Ok(handle), 1));
    assert_eq!(wheel.inspect(handle).unwrap().user_data, 9);
}

#[test]
fn a_full_table_refuses_new_hosts_only_and_recovers_after_a_leave() {
    for most in [1, 3, 100] {
        let wheel = HostWheel::manual(Config { max_hosts: most, ..config() }, done).unwrap();
        let handles: Vec<_> = (0..most).map(|n| wheel.announce(format!("{n}"), secs(5)).unwrap().handle).collect();
        unchanged(&wheel, || {
            for _ in 0..3 {
                assert_eq!(wheel.announce("more", secs(5)), Err(AnnounceError::Full));
                assert_eq!(wheel.announce_with("more", Duration::MAX, secs(1), 7), Err(AnnounceError::Full));
            }
            assert_eq!(wheel.find("more"), Err(LookupError::NotFound));
        });
        assert_eq!(wheel.announce("0", secs(5)).unwrap().outcome, Outcome::Renewed);
        assert_eq!(wheel.renew(handles[most - 1]), Ok(Outcome::Renewed));
        wheel.leave("0").unwrap();
        wheel.advance(ms(2)).unwrap();
        assert_eq!(wheel.announce("more", secs(5)).unwrap().outcome, Outcome::Registered);
        assert_eq!(wheel.announce("0", secs(5)), Err(AnnounceError::Full));
        assert_eq!(wheel.stats().live, most as u64);
        wheel.advance(secs(60)).unwrap();
        for n in 0..most {
            assert_eq!(wheel.announce(format!("again-{n}"), secs(5)).unwrap().outcome, Outcome::Registered);
        }
        assert_eq!(wheel.stats().records, most as u64);
    }
}

#[test]
fn leaves_that_were_not_settled_fill_the_table_until_they_are() {
    let (wheel, mut events) = HostWheel::drained(Config { max_hosts: 2, ..config() }).unwrap();
    let handles = [wheel.announce("a", secs(1)).unwrap().handle, wheel.announce("b", secs(1)).unwrap().handle];
    for _ in 0..2 {
        wheel.advance(secs(3)).unwrap();
        assert_eq!(drain(&mut events).len(), 2);
    }
    assert_eq!(unchanged(&wheel, || wheel.announce("a", secs(5))), Err(AnnounceError::Full));
    wheel.settle(handles[0], 1, Verdict::Done).unwrap();
    wheel.advance(secs(3) + ms(2)).unwrap();
    assert_eq!(wheel.announce("a", secs(5)).unwrap().outcome, Outcome::Registered);
    assert_eq!(wheel.announce("b", secs(5)), Err(AnnounceError::Full));
}

#[test]
fn a_full_table_of_a_wheel_with_a_thread_recovers_by_itself() {
    let config = Config { max_hosts: 2, ..Config::default() };
    let wheel = HostWheel::start(config, done).unwrap();
    wheel.announce("a", secs(60)).unwrap();
    for n in 0..100 {
        wheel.announce(format!("{n}"), secs(60)).unwrap();
        assert_eq!(wheel.announce("more", secs(60)), Err(AnnounceError::Full));
        wheel.leave(format!("{n}")).unwrap();
        until("a record that a leave gave back", || wheel.announce(format!("{}", n + 1), secs(60)).is_ok());
        assert_eq!(wheel.stats().live, 2);
    }
}

#[test]
fn settle_is_for_drained_wheels_and_for_the_first_answer_to_the_current_attempt() {
    let wheel = quiet();
    let handle = wheel.announce("a", secs(5)).unwrap().handle;
    assert_eq!(unchanged(&wheel, || wheel.settle(handle, 1, Verdict::Done)), Err(SettleError::Mode));

    let (wheel, mut events, handle) = with_a_taken_host();
    let alive = wheel.announce("alive", secs(100)).unwrap().handle;
    let refused = |attempt, verdict| unchanged(&wheel, || wheel.settle(handle, attempt, verdict).unwrap_err());
    assert_eq!(unchanged(&wheel, || wheel.settle(alive, 1, Verdict::Done)), Err(SettleError::Stale));
    for attempt in [0, 2, u32::MAX] {
        assert_eq!(refused(attempt, Verdict::Done), SettleError::Attempt);
    }
    wheel.settle(handle, 1, Verdict::Retry(secs(2))).unwrap();
    assert_eq!(refused(1, Verdict::Done), SettleError::Attempt, "answered already");
    wheel.advance(secs(4)).unwrap();
    assert_eq!(refused(1, Verdict::Done), SettleError::Attempt, "the next one was not handed out yet");
    assert_eq!(refused(2, Verdict::Done), SettleError::Attempt, "nor can it be answered");
    wheel.advance(secs(6)).unwrap();
    let again = drain(&mut events);
    assert_eq!((again.len(), again[0].handle(), again[0].attempt()), (1, handle, 2));
    assert_eq!(refused(1, Verdict::Done), SettleError::Attempt, "replaced");
    wheel.settle(handle, 2, Verdict::Done).unwrap();
    assert_eq!(refused(2, Verdict::Done), SettleError::Stale, "answered already");
    wheel.advance(secs(7)).unwrap();
    assert_eq!(refused(2, Verdict::Done), SettleError::Stale);
    assert_eq!(refused(2, Verdict::Retry(secs(1))), SettleError::Stale);
    wheel.announce("gone", secs(50)).unwrap();
    assert_eq!(refused(2, Verdict::Done), SettleError::Stale, "nor does it reach the next incarnation");
    wheel.advance(secs(90)).unwrap();
    assert_eq!(drain(&mut events).len(), 0);
}

#[test]
fn a_wheel_with_a_thread_is_not_advanced() {
    for clock in [Clock::Counter, Clock::Coarse, Clock::Precise] {
        let config = Config { clock, ..Config::default() };
        for wheel in [HostWheel::start(config.clone(), done).unwrap(), HostWheel::drained(config).unwrap().0] {
            assert_eq!(wheel.advance(secs(1)), Err(AdvanceError::Mode));
            assert_eq!(wheel.next_due(), Err(AdvanceError::Mode));
        }
    }
}

#[test]
fn advance_and_close_inside_a_callback_are_refused_and_the_close_takes_effect() {
    for close in [false, true] {
        let (wheel, answers) = (Arc::new(OnceLock::<HostWheel>::new()), Arc::new(Mutex::new(Vec::new())));
        let (inside, log) = (wheel.clone(), answers.clone());
        let config = Config { grace: Duration::ZERO, ..config() };
        let handler = move |_: &Event| {
            let wheel = inside.get().expect("set before the first advance");
            let refused = unchanged(wheel, || {
                assert_eq!(wheel.next_due(), Err(AdvanceError::InCallback));
                wheel.advance(secs(1000))
            });
            log.lock().unwrap().push((refused, close.then(|| wheel.close(secs(1000)))));
            Verdict::Done
        };
        let wheel = wheel.get_or_init(|| HostWheel::manual(config, handler).unwrap());
        wheel.announce("a", secs(5)).unwrap();
        wheel.announce("b", secs(5)).unwrap();
        let advanced = wheel.advance(secs(10));
        assert_eq!(wheel.stats().panics, 0);
        let answers = answers.lock().unwrap();
        if close {
            assert_eq!(*answers, [(Err(AdvanceError::InCallback), Some(Err(CloseError::InCallback)))], "the last one");
            assert_eq!(advanced, Ok(1), "no callback begins after a close");
            assert_eq!(wheel.announce("a", secs(5)), Err(AnnounceError::Closed));
            assert_eq!(wheel.advance(secs(16)), Err(AdvanceError::Closed));
            assert_eq!(wheel.close(Duration::ZERO), Ok(()));
        } else {
            assert_eq!((advanced, answers.len()), (Ok(2), 2));
            assert_eq!(wheel.advance(secs(16)), Ok(0), "outside of callbacks it works");
        }
    }
}

/// A host that says goodbye gives its place to the next registration, at once and always.
#[test]
fn a_place_that_a_goodbye_gave_back_is_there_at_once() {
    for clock in [Clock::Manual, Clock::Counter, Clock::Coarse] {
        for most in [1, 100] {
            let wheel = HostWheel::start(Config { clock, max_hosts: most, ..Config::default() }, done).unwrap();
            (0..most).for_each(|n| _ = wheel.announce(format!("{n}"), secs(60)).unwrap());
            for round in 0..1000 {
                let id = format!("{}", round % most);
                wheel.leave(&id).unwrap();
                let outcome = wheel.announce(&id, secs(60)).map(|announced| announced.outcome);
                assert_eq!(outcome, Ok(Outcome::Registered), "{clock:?}, {most} hosts, round {round}");
                assert_eq!(wheel.announce("more", secs(60)), Err(AnnounceError::Full));
            }
            assert_eq!(wheel.stats().live, most as u64);
        }
    }
}

/// Also inside a callback, where the observer has no chance to free a record.
#[test]
fn a_place_is_given_back_inside_a_callback_too() {
    let wheel = Arc::new(OnceLock::<HostWheel>::new());
    let inside = wheel.clone();
    let callback = move |_: &Event| {
        let wheel = inside.get().unwrap();
        for _ in 0..100 {
            wheel.leave("other").unwrap();
            wheel.announce("other", secs(60)).unwrap();
        }
        Verdict::Done
    };
    let opened = HostWheel::manual(Config { max_hosts: 2, ..config() }, callback).unwrap();
    let wheel = wheel.get_or_init(|| opened);
    wheel.announce("first", secs(1)).unwrap();
    wheel.announce("other", secs(60)).unwrap();
    wheel.advance(secs(3)).unwrap();
    assert_eq!((wheel.stats().leaves_ttl, wheel.stats().left), (1, 100));
}
