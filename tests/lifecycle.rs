//! The life of a host on a manual clock: what it fires when, and what each event says. Nothing here sleeps.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hostwheel::{
    Brake, Clock, Config, Event, EventKind, Handle, Handler, HostState, HostWheel, Interval, LONGEST, LookupError,
    Outcome, Reason, RenewError, Verdict,
};

const ZERO: Duration = Duration::ZERO;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// All time counts: every advance moves wheel time to where it says.
fn config() -> Config {
    Config { clock: Clock::Manual, watchdog: ZERO, brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

type Leave = Box<dyn FnMut(&HostWheel, &Event) -> Verdict + Send>;
type Hint = Box<dyn FnMut(&HostWheel, &Event) + Send>;

/// A handler that keeps what it is told and then does as the test says.
struct Recorder {
    wheel: Arc<OnceLock<HostWheel>>,
    log: Arc<Mutex<Vec<Event>>>,
    leave: Leave,
    hint: Hint,
}

impl Handler for Recorder {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.log.lock().unwrap().push(event.clone());
        (self.leave)(self.wheel.get().unwrap(), event)
    }

    fn suspect(&mut self, event: &Event) {
        self.log.lock().unwrap().push(event.clone());
        (self.hint)(self.wheel.get().unwrap(), event);
    }

    fn recovered(&mut self, event: &Event) {
        self.suspect(event);
    }
}

/// A wheel and what it told.
struct Scene {
    wheel: Arc<OnceLock<HostWheel>>,
    log: Arc<Mutex<Vec<Event>>>,
}

impl std::ops::Deref for Scene {
    type Target = HostWheel;
    fn deref(&self) -> &HostWheel {
        self.wheel.get().unwrap()
    }
}

impl Scene {
    fn open(
        config: Config,
        leave: impl FnMut(&HostWheel, &Event) -> Verdict + Send + 'static,
        hint: impl FnMut(&HostWheel, &Event) + Send + 'static,
    ) -> Scene {
        let (wheel, log) = (Arc::new(OnceLock::new()), Arc::default());
        let (leave, hint) = (Box::new(leave), Box::new(hint));
        let recorder = Recorder { wheel: wheel.clone(), log: Arc::clone(&log), leave, hint };
        assert!(wheel.set(HostWheel::manual(config, recorder).unwrap()).is_ok());
        Scene { wheel, log }
    }

    fn quiet(config: Config) -> Scene {
        Scene::open(config, |_, _| Verdict::Done, |_, _| ())
    }

    /// Advances and returns what was told meanwhile, which is as much as `advance` says.
    fn to(&self, now: Duration) -> Vec<Event> {
        let events = self.advance(now).unwrap();
        let told = std::mem::take(&mut *self.log.lock().unwrap());
        assert_eq!(told.len(), events);
        told
    }

    /// Advances from one `next_due` to the next until `end`, and returns what was told.
    fn by_steps_to(&self, end: Duration) -> Vec<Event> {
        let mut told = Vec::new();
        for _ in 0..100_000 {
            match self.next_due().unwrap() {
                Some(due) if due < end => told.extend(self.to(due)),
                _ => {
                    told.extend(self.to(end));
                    return told;
                }
            }
        }
        panic!("next_due does not lead on from {:?}", self.next_due());
    }
}

/// Breaks the cycle of wheel, handler and wheel, so that a checker for leaks stays content.
impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.close(ZERO);
    }
}

/// What happened to whom and when.
fn brief(events: &[Event]) -> Vec<(EventKind, String, Duration)> {
    events.iter().map(|event| (event.kind(), event.id().to_string(), event.now())).collect()
}

fn told(kind: EventKind, id: &str, at: Duration) -> (EventKind, String, Duration) {
    (kind, id.into(), at)
}

#[test]
fn a_silent_host_becomes_suspect_and_leaves_each_at_its_exact_moment() {
    let scene = Scene::quiet(config());
    scene.advance(secs(100)).unwrap();
    let handle = scene.announce_with("a", secs(10), ZERO, 7).unwrap().handle;
    assert_eq!(scene.to(secs(120) - Duration::from_nanos(1)).len(), 0);
    let suspect = scene.to(secs(120));
    assert_eq!(brief(&suspect), [told(EventKind::Suspect, "a", secs(120))]);
    assert_eq!((scene.stats().suspect, scene.stats().suspects, scene.stats().live), (1, 1, 1));
    assert_eq!(scene.to(secs(130) - Duration::from_nanos(1)).len(), 0, "the grace is 15 s, at most the interval");
    let leave = scene.to(secs(130));
    assert_eq!(brief(&leave), [told(EventKind::Leave, "a", secs(130))]);
    for event in [&suspect[0], &leave[0]] {
        assert_eq!((event.reason(), event.superseded(), event.attempt()), (Reason::Ttl, false, 1));
        assert_eq!((event.handle(), &event.id()[..], event.user_data()), (handle, &b"a"[..], 7));
        assert_eq!((event.interval(), event.last_seen(), event.deadline()), (Some(secs(10)), secs(100), secs(120)));
        assert_eq!((event.lateness(), event.away()), (ZERO, ZERO));
        assert_eq!(event.silent_for(), event.now() - secs(100));
    }
    let stats = scene.stats();
    assert_eq!((stats.live, stats.suspect, stats.outstanding, stats.waiting), (0, 0, 0, 0));
    assert_eq!((stats.registered, stats.left, stats.leaves_ttl, stats.leaves_host_ttl), (1, 0, 1, 0));
    assert_eq!((stats.lateness[0], stats.lateness_max, stats.away, stats.rescues), (1, ZERO, ZERO, 0));
    assert_eq!(scene.renew(handle), Err(RenewError::Stale));
    assert_eq!(scene.find("a"), Err(LookupError::NotFound));
    assert_eq!(scene.to(secs(10_000)).len(), 0, "once");
}

#[test]
fn a_late_advance_does_all_in_order_and_says_how_late_it_is() {
    let scene = Scene::quiet(config());
    scene.announce("a", secs(10)).unwrap();
    let events = scene.to(secs(37));
    assert_eq!(brief(&events), [told(EventKind::Suspect, "a", secs(37)), told(EventKind::Leave, "a", secs(37))]);
    assert_eq!((events[0].lateness(), events[1].lateness()), (secs(17), secs(7)));
    assert_eq!((scene.stats().lateness_max, scene.stats().lateness_sum), (secs(7), secs(7)));
}

#[test]
fn a_suspect_that_is_heard_recovers_once() {
    type Hear = fn(&HostWheel, Handle) -> Outcome;
    let ways: [Hear; 4] = [
        |wheel, handle| wheel.renew(handle).unwrap(),
        |wheel, handle| wheel.renew_seen(handle, secs(2)).unwrap(),
        |wheel, _| wheel.announce("a", secs(10)).unwrap().outcome,
        |wheel, _| wheel.announce_seen("a", secs(10), secs(2)).unwrap().outcome,
    ];
    for hear in ways {
        let scene = Scene::quiet(config());
        let handle = scene.announce("a", secs(10)).unwrap().handle;
        assert_eq!(hear(&scene, handle), Outcome::Renewed, "not suspect yet");
        assert_eq!(brief(&scene.to(secs(20))), [told(EventKind::Suspect, "a", secs(20))]);
        assert_eq!(scene.inspect(handle).unwrap().state, HostState::Suspect);
        assert_eq!(hear(&scene, handle), Outcome::Recovered);
        assert_eq!(hear(&scene, handle), Outcome::Renewed);
        assert_eq!(scene.inspect(handle).unwrap().state, HostState::Live);
        let recovered = scene.to(secs(21));
        assert_eq!(brief(&recovered), [told(EventKind::Recovered, "a", secs(21))]);
        assert_eq!((recovered[0].handle(), recovered[0].attempt()), (handle, 1));
        assert_eq!(scene.to(secs(37)).len(), 0, "and once only");
        assert_eq!((scene.stats().recoveries, scene.stats().suspect, scene.stats().live), (1, 0, 1));
        let kinds: Vec<_> = scene.by_steps_to(secs(60)).iter().map(Event::kind).collect();
        assert_eq!(kinds, [EventKind::Suspect, EventKind::Leave], "then everything begins again");
    }
}

#[test]
fn a_host_without_interval_has_the_host_ttl_and_the_grace() {
    let scene = Scene::quiet(config());
    let announced = scene.announce("a", Interval::NONE).unwrap();
    assert_eq!((announced.interval, announced.clamped), (secs(1800), false));
    let events = scene.by_steps_to(secs(5000));
    assert_eq!(brief(&events), [told(EventKind::Suspect, "a", secs(3600)), told(EventKind::Leave, "a", secs(3615))]);
    assert!(events.iter().all(|e| e.reason() == Reason::HostTtl && e.interval().is_none() && e.lateness() == ZERO));
    assert_eq!((scene.stats().leaves_host_ttl, scene.stats().leaves_ttl), (1, 0));
}

#[test]
fn grace_0_is_the_literal_ttl_without_a_suspect_stage() {
    let scene = Scene::quiet(Config { grace: ZERO, ..config() });
    scene.announce("a", secs(10)).unwrap();
    scene.announce("old", Interval::NONE).unwrap();
    assert_eq!(
        brief(&scene.by_steps_to(secs(5000))),
        [told(EventKind::Leave, "a", secs(20)), told(EventKind::Leave, "old", secs(3600))]
    );
    assert_eq!(scene.stats().suspects, 0);
}

#[test]
fn an_interval_changes_both_ways_at_any_announce_and_renew_keeps_it() {
    let second = Interval::from(secs(2));
    for (first, then, suspect, leave) in [
        (secs(10).into(), second, secs(5), secs(7)),
        (second, secs(100).into(), secs(201), secs(216)),
        (second, Interval::NONE, secs(3601), secs(3616)),
        (Interval::NONE, second, secs(5), secs(7)),
        (LONGEST.into(), second, secs(5), secs(7)),
    ] {
        let scene = Scene::quiet(config());
        let handle = scene.announce("a", first).unwrap().handle;
        scene.advance(secs(1)).unwrap();
        let again = scene.announce("a", then).unwrap();
        assert_eq!((again.handle, again.outcome), (handle, Outcome::Renewed));
        let expected = [told(EventKind::Suspect, "a", suspect), told(EventKind::Leave, "a", leave)];
        assert_eq!(brief(&scene.by_steps_to(secs(10_000))), expected);
    }
    let scene = Scene::quiet(config());
    let handle = scene.announce("a", secs(3)).unwrap().handle;
    scene.advance(secs(5)).unwrap();
    scene.renew(handle).unwrap();
    assert_eq!(scene.inspect(handle).unwrap().interval, Some(secs(3)));
    assert_eq!(brief(&scene.by_steps_to(secs(12))), [told(EventKind::Suspect, "a", secs(11))]);
}

#[test]
fn an_age_counts_from_then_and_older_news_changes_nothing() {
    let scene = Scene::quiet(config());
    scene.advance(secs(100)).unwrap();
    let handle = scene.announce_seen("a", secs(10), secs(5)).unwrap().handle;
    let seen = |last: u64, interval: u64| {
        let status = scene.inspect(handle).unwrap();
        assert_eq!((status.last_seen, status.interval), (secs(last), Some(secs(interval))));
        assert_eq!((status.age, status.deadline), (secs(100 - last), secs(last + 2 * interval)));
    };
    seen(95, 10);
    for age in [secs(6), secs(50), secs(100), secs(1 << 40), Duration::MAX] {
        assert_eq!(scene.announce_seen("a", secs(77), age).map(|a| a.outcome), Ok(Outcome::Renewed));
        assert_eq!(scene.renew_seen(handle, age), Ok(Outcome::Renewed));
        seen(95, 10);
    }
    scene.announce_seen("a", secs(8), secs(5)).unwrap();
    seen(95, 8);
    scene.announce_seen("a", secs(9), secs(2)).unwrap();
    seen(98, 9);
    scene.renew_seen(handle, secs(1)).unwrap();
    seen(99, 9);
    scene.announce("a", secs(10)).unwrap();
    assert_eq!(brief(&scene.to(secs(120))), [told(EventKind::Suspect, "a", secs(120))]);
    assert_eq!(scene.renew_seen(handle, secs(20)), Ok(Outcome::Renewed), "news that is too old does not save it");
    assert_eq!(scene.renew_seen(handle, secs(21)), Ok(Outcome::Renewed));
    assert_eq!(brief(&scene.to(secs(130))), [told(EventKind::Leave, "a", secs(130))]);
    let scene = Scene::quiet(config());
    scene.announce_seen("older than the wheel", secs(10), Duration::MAX).unwrap();
    let events = scene.to(secs(1));
    assert_eq!(events.iter().map(Event::kind).collect::<Vec<_>>(), [EventKind::Suspect, EventKind::Leave]);
    assert_eq!(events[0].last_seen(), ZERO, "as early as can be said");
}

#[test]
fn intervals_are_clamped_rounded_up_and_reported_as_they_count() {
    let scene = Scene::quiet(Config { min_interval: secs(2), max_interval: secs(4000), ..config() });
    for (n, (asked, given, clamped)) in [
        (Duration::from_nanos(1), secs(2), true),
        (ms(1999), secs(2), true),
        (secs(2), secs(2), false),
        (Duration::from_micros(2_000_001), ms(2001), false),
        (Duration::from_micros(2_100_500_000), secs(2101), false), // beyond 34.9 min in whole seconds
        (secs(4000), secs(4000), false),
        (secs(4001), secs(4000), true),
        (Duration::MAX, secs(4000), true),
    ]
    .into_iter()
    .enumerate()
    {
        let announced = scene.announce([n as u8], asked).unwrap();
        assert_eq!((announced.interval, announced.clamped), (given, clamped), "{asked:?}");
        let status = scene.inspect(announced.handle).unwrap();
        assert_eq!((status.interval, status.deadline), (Some(given), 2 * given));
        assert_eq!(status.leaves_at, 2 * given + given.min(secs(15)));
    }
    assert_eq!(scene.stats().clamps, 4);
    let events = scene.by_steps_to(secs(9000));
    assert_eq!(events.len(), 16);
    assert!(events.iter().all(|event| event.lateness() == ZERO), "{events:?}");
}

#[test]
fn user_data_is_kept_when_registered_and_given_back_once() {
    let scene = Scene::quiet(config());
    let tag = |n| scene.announce_with("a", secs(10), ZERO, n).unwrap();
    let first = tag(7);
    assert_eq!(tag(8).outcome, Outcome::Renewed);
    assert_eq!(scene.inspect(first.handle).unwrap().user_data, 7, "the second stays the caller's");
    assert_eq!(scene.leave("a"), Ok(7));
    let second = tag(9);
    assert_eq!((second.outcome, second.handle == first.handle), (Outcome::Registered, false));
    assert_eq!(scene.leave_handle(second.handle), Ok(9));
    tag(u64::MAX);
    let events = scene.to(secs(30));
    assert_eq!(events.iter().map(Event::user_data).collect::<Vec<_>>(), [u64::MAX; 2]);
    assert_eq!(scene.announce("a", secs(10)).map(|a| a.outcome), Ok(Outcome::Registered));
    assert_eq!(scene.leave("a"), Ok(0));
}

#[test]
fn a_host_that_says_goodbye_fires_nothing_in_any_state() {
    let scene = Scene::quiet(config());
    for (n, at) in [0, 10, 20, 25].into_iter().enumerate() {
        let start = secs(100 * n as u64);
        scene.advance(start).unwrap();
        let handle = scene.announce("a", secs(10)).unwrap().handle;
        scene.to(start + secs(at));
        if at == 25 {
            scene.renew(handle).unwrap();
        }
        assert_eq!(scene.leave("a"), Ok(0));
        let (stats, handles) = (scene.stats(), scene.find("a"));
        assert_eq!((stats.live, stats.left, handles), (0, n as u64 + 1, Err(LookupError::NotFound)));
        assert_eq!(scene.by_steps_to(start + secs(90)).len(), 0);
        assert_eq!((scene.stats().suspect, scene.next_due()), (0, Ok(None)));
    }
    assert_eq!(scene.stats().leaves_ttl, 0);
}

#[test]
fn a_retried_leave_comes_again_after_its_own_delay_or_the_back_off() {
    for (delay, gaps) in [(secs(5), vec![5; 8]), (ZERO, vec![1, 2, 4, 8, 16, 32, 60, 60])] {
        let retry = move |_: &HostWheel, event: &Event| match event.attempt() {
            9 => Verdict::Done,
            _ => Verdict::Retry(delay),
        };
        let scene = Scene::open(Config { grace: ZERO, ..config() }, retry, |_, _| ());
        let handle = scene.announce_with("a", secs(10), ZERO, 7).unwrap().handle;
        scene.to(secs(20) - ms(1));
        let mut at = secs(20);
        let events = scene.by_steps_to(secs(1000));
        assert_eq!(events.len(), 9);
        for (n, event) in events.iter().enumerate() {
            assert_eq!((event.kind(), event.attempt(), event.handle()), (EventKind::Leave, n as u32 + 1, handle));
            assert_eq!((event.now(), event.deadline(), event.user_data()), (at, secs(20), 7));
            at += secs(gaps.get(n).copied().unwrap_or(0));
        }
        let stats = scene.stats();
        assert_eq!((stats.leaves_ttl, stats.retries, stats.outstanding, stats.lateness[0]), (1, 8, 0, 1));
        assert_eq!(scene.next_due(), Ok(None));
    }
}

#[test]
fn a_panic_in_leave_counts_as_retry_and_one_in_the_others_is_ignored() {
    let leave = |_: &HostWheel, event: &Event| match event.attempt() {
        1 => panic!("on purpose"),
        _ => Verdict::Done,
    };
    let scene = Scene::open(config(), leave, |_, _| panic!("on purpose"));
    scene.announce("a", secs(10)).unwrap();
    scene.announce("b", secs(50)).unwrap();
    scene.to(secs(20));
    scene.announce("b", secs(50)).unwrap();
    let leaves = brief(&scene.by_steps_to(secs(100)));
    assert_eq!(leaves, [told(EventKind::Leave, "a", secs(30)), told(EventKind::Leave, "a", secs(31))]);
    assert_eq!((scene.stats().panics, scene.stats().retries, scene.stats().outstanding), (2, 1, 0));
    assert_eq!(scene.announce("b", secs(10)).map(|a| a.outcome), Ok(Outcome::Renewed));
}

#[test]
fn a_callback_may_announce_renew_and_remove_the_same_host_and_others() {
    let leave = |wheel: &HostWheel, event: &Event| {
        if &event.id()[..] == b"a" {
            assert_eq!(wheel.renew(event.handle()), Err(RenewError::Taken));
            assert_eq!(wheel.inspect(event.handle()).unwrap().state, HostState::Taken);
            let back = wheel.announce_with("a", secs(100), ZERO, 99).unwrap();
            assert_eq!((back.outcome, back.handle == event.handle()), (Outcome::Registered, false));
            assert_eq!(wheel.renew(back.handle), Ok(Outcome::Renewed));
            assert_eq!(wheel.announce("b", secs(100)).unwrap().outcome, Outcome::Renewed);
            assert_eq!(wheel.leave("c"), Ok(3));
            assert_eq!(wheel.announce("d", secs(100)).unwrap().outcome, Outcome::Registered);
        }
        Verdict::Done
    };
    let hint = |wheel: &HostWheel, event: &Event| match &event.id()[..] {
        b"probed" if event.kind() == EventKind::Suspect => {
            assert_eq!(wheel.renew_seen(event.handle(), secs(1)), Ok(Outcome::Recovered))
        }
        b"sent away" => assert_eq!(wheel.leave_handle(event.handle()), Ok(0)),
        _ => {}
    };
    let scene = Scene::open(config(), leave, hint);
    for (id, interval, tag) in [("a", 10, 1), ("b", 90, 2), ("c", 90, 3), ("probed", 12, 0), ("sent away", 12, 0)] {
        scene.announce_with(id, secs(interval), ZERO, tag).unwrap();
    }
    // One jump over the suspect stage of all: whoever answers the suspect event saves its host all the same.
    let leaves: Vec<_> = scene.to(secs(40)).into_iter().filter(|e| e.kind() == EventKind::Leave).collect();
    assert_eq!(brief(&leaves), [told(EventKind::Leave, "a", secs(40))]);
    assert_eq!(scene.stats().panics, 0);
    let mut known = Vec::new();
    scene.each(|host| {
        known.push((String::from_utf8_lossy(host.id).into_owned(), host.user_data));
        ControlFlow::Continue(())
    });
    known.sort();
    assert_eq!(known, [("a".into(), 99), ("b".into(), 2), ("d".into(), 0), ("probed".into(), 0)]);
}

#[test]
fn a_late_leave_of_an_old_incarnation_is_flagged_and_does_not_touch_the_new_one() {
    let leave = |_: &HostWheel, event: &Event| match event.attempt() {
        4 => Verdict::Done,
        _ => Verdict::Retry(secs(1)),
    };
    let scene = Scene::open(Config { grace: ZERO, ..config() }, leave, |_, _| ());
    let old = scene.announce("a", secs(10)).unwrap().handle;
    let flags = |at| scene.to(secs(at)).iter().map(|e| (e.handle(), e.attempt(), e.superseded())).collect::<Vec<_>>();
    assert_eq!(flags(20), [(old, 1, false)]);
    let new = scene.announce("a", secs(100)).unwrap();
    assert_eq!((new.outcome, new.handle == old), (Outcome::Registered, false));
    assert_eq!(flags(21), [(old, 2, true)]);
    assert_eq!((scene.renew(new.handle), scene.find("a")), (Ok(Outcome::Renewed), Ok(new.handle)));
    scene.leave("a").unwrap();
    assert_eq!(flags(22), [(old, 3, false)], "the new one is gone as well");
    let third = scene.announce("a", secs(100)).unwrap().handle;
    assert_eq!(flags(23), [(old, 4, true)]);
    assert_eq!((scene.find("a"), scene.stats().superseded, scene.stats().live), (Ok(third), 2, 1));
}

#[test]
fn due_hosts_that_wait_for_their_turn_are_saved_by_an_announce_and_removed_by_a_leave() {
    let leave = |_: &HostWheel, event: &Event| match event.attempt() {
        1..=9 => Verdict::Retry(secs(1)),
        _ => Verdict::Done,
    };
    let scene = Scene::open(Config { max_outstanding: 1, ..config() }, leave, |_, _| ());
    scene.announce("first", secs(1)).unwrap();
    scene.advance(secs(1)).unwrap();
    let handles = ["b", "c", "d"].map(|id| scene.announce(id, secs(1)).unwrap().handle);
    let leaves = |end| {
        let events = scene.by_steps_to(end).into_iter().filter(|event| event.kind() == EventKind::Leave);
        events.map(|event| (event.id().to_string(), event.now())).collect::<Vec<_>>()
    };
    assert_eq!(leaves(secs(5)).len(), 3, "the first one's attempts");
    assert_eq!((scene.stats().outstanding, scene.stats().waiting, scene.stats().live), (1, 3, 3));
    assert!(handles.iter().all(|handle| scene.inspect(*handle).unwrap().state == HostState::Suspect));
    assert_eq!(scene.renew(handles[0]), Ok(Outcome::Recovered));
    assert_eq!(scene.leave("c"), Ok(0));
    scene.announce("b", secs(20)).unwrap();
    let rest = leaves(secs(100));
    let (mine, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(id, _)| id == "first");
    assert_eq!(mine.last(), Some(&("first".into(), secs(12))), "attempt 10");
    assert_eq!(others.len(), 20, "ten attempts each of d and b, none of c: {others:?}");
    assert_eq!(others[0], ("d".into(), secs(12)), "as soon as there is room");
    assert_eq!(others[10].0, "b");
    assert_eq!((scene.stats().waiting, scene.stats().outstanding, scene.next_due()), (0, 0, Ok(None)));
}

#[test]
fn inspect_and_each_show_what_decides_a_hosts_fate() {
    let scene = Scene::quiet(Config { batch: 1, ..config() });
    let handle = scene.announce_with("a", secs(30), ZERO, 7).unwrap().handle;
    scene.announce("b", Interval::NONE).unwrap();
    assert_eq!(scene.inspect(handle).unwrap().next_look, None, "nobody looked yet");
    scene.to(secs(60));
    let status = scene.inspect(handle).unwrap();
    assert_eq!((status.handle, status.state, status.interval), (handle, HostState::Suspect, Some(secs(30))));
    assert_eq!((status.last_seen, status.age, status.deadline), (ZERO, secs(60), secs(60)));
    assert_eq!((status.leaves_at, status.user_data), (secs(75), 7));
    assert!(status.next_look.is_some_and(|look| look <= secs(75)));
    let mut seen = Vec::new();
    scene.each(|host| {
        assert_eq!(scene.find(host.id), Ok(host.handle), "it may call the wheel");
        seen.push((host.id.to_vec(), host.interval, host.age, host.suspect, host.user_data));
        ControlFlow::Continue(())
    });
    seen.sort();
    let (a, b) = ((b"a".to_vec(), Some(secs(30)), secs(60), true, 7), (b"b".to_vec(), None, secs(60), false, 0));
    assert_eq!(seen, [a, b]);
    let mut calls = 0;
    scene.each(|_| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert_eq!(calls, 1);
    assert_eq!(scene.to(secs(5000)).len(), 3, "batches of one, and yet all that is due");
}

/// What a callback makes due again is served by the next advance: an advance ends, whatever callbacks do.
#[test]
fn an_advance_ends_though_a_callback_brings_its_host_back_overdue() {
    let wheel = Arc::new(std::sync::OnceLock::<HostWheel>::new());
    let inside = wheel.clone();
    let callback = move |event: &Event| {
        let wheel = inside.get().unwrap();
        wheel.announce_seen(&event.id()[..], secs(1), secs(3600)).unwrap();
        Verdict::Done
    };
    let config = Config { grace: Duration::ZERO, brake: Brake::OFF, silence_expected: 0, ..config() };
    let opened = HostWheel::manual(Config { watchdog: Duration::ZERO, ..config }, callback).unwrap();
    let wheel = wheel.get_or_init(|| opened);
    wheel.announce("a", secs(1)).unwrap();
    for round in 1..=3 {
        assert_eq!(wheel.advance(secs(10 * round)), Ok(1), "one leave an advance");
        assert_eq!(wheel.stats().leaves_ttl, round);
    }
}
