//! Bugs that plausible implementations had, each shown not to be here as far as one thread and a manual clock can show
//! it. (Those that need threads are for the models; those that need a random fleet are for the runs.)

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use crate::{
    Brake, Clock, Config, Event, EventKind, Events, Handle, Handler, HostWheel, Interval, Outcome, RenewError,
    SettleError, Verdict,
};

type Seen = Arc<Mutex<Vec<(EventKind, Handle)>>>;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config() -> Config {
    Config {
        clock: Clock::Manual,
        watchdog: Duration::ZERO,
        backstop: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

/// Notes every event, and may call the wheel.
struct Notes<F> {
    seen: Seen,
    wheel: Arc<OnceLock<Weak<HostWheel>>>,
    act: F,
}

impl<F: FnMut(&HostWheel, &Event) -> Verdict + Send + 'static> Notes<F> {
    fn call(&mut self, event: &Event) -> Verdict {
        self.seen.lock().unwrap().push((event.kind(), event.handle()));
        let wheel = self.wheel.get().and_then(Weak::upgrade).expect("the wheel calls back");
        (self.act)(&wheel, event)
    }
}

impl<F: FnMut(&HostWheel, &Event) -> Verdict + Send + 'static> Handler for Notes<F> {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.call(event)
    }

    fn suspect(&mut self, event: &Event) {
        self.call(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.call(event);
    }
}

fn noting(config: Config, act: impl FnMut(&HostWheel, &Event) -> Verdict + Send + 'static) -> (Arc<HostWheel>, Seen) {
    let seen = Seen::default();
    let cell = Arc::new(OnceLock::new());
    let handler = Notes { seen: seen.clone(), wheel: cell.clone(), act };
    let wheel = Arc::new(HostWheel::manual(config, handler).expect("a good configuration"));
    cell.set(Arc::downgrade(&wheel)).expect("set once");
    (wheel, seen)
}

fn draining(config: Config) -> (HostWheel, Events) {
    HostWheel::drained(config).expect("a good configuration")
}

fn drain(events: &mut Events) -> Vec<Event> {
    let mut drained = Vec::new();
    events.drain(&mut drained, usize::MAX);
    drained
}

fn take(seen: &Seen) -> Vec<EventKind> {
    seen.lock().unwrap().drain(..).map(|(kind, _)| kind).collect()
}

/// Pitfall 4: a cancelled expiry is in no slot.
#[test]
fn a_host_vouched_for_in_its_suspect_event_stays_and_leaves_when_it_falls_silent_again() {
    let mut saves = 3;
    let (wheel, seen) = noting(config(), move |wheel, event| {
        if event.kind() == EventKind::Suspect && saves > 0 {
            saves -= 1;
            assert_eq!(wheel.renew(event.handle()), Ok(Outcome::Recovered));
        }
        Verdict::Done
    });
    wheel.announce("a", ms(1000)).unwrap();
    for look in 0..20_000 {
        wheel.advance(ms(look)).unwrap();
    }
    use EventKind::{Leave, Recovered, Suspect};
    assert_eq!(take(&seen), [Suspect, Recovered, Suspect, Recovered, Suspect, Recovered, Suspect, Leave]);
}

/// Pitfall 5: the whole fleet is looked at in one tick whenever time crosses a boundary of the wheel's levels.
#[test]
fn no_boundary_makes_the_wheel_look_at_the_whole_fleet() {
    let fleet = 600_u64;
    let (wheel, _) = noting(config(), |_, _| Verdict::Done);
    let every = 300_000;
    let handles: Vec<Handle> =
        (0..fleet).map(|id| wheel.announce(id.to_be_bytes(), ms(every)).unwrap().handle).collect();
    // 2^16 and 2^24 ms after the epoch are crossed on the way. All registered at once, so the first visits come at once.
    let (mut visits, mut most) = (wheel.stats().visits, 0);
    let step = 500;
    for now in (0..(1_u64 << 24) + 600_000).step_by(step as usize) {
        wheel.advance(ms(now)).unwrap();
        if now > 3 * every {
            most = most.max(wheel.stats().visits - visits);
        }
        visits = wheel.stats().visits;
        for id in (0..fleet).filter(|id| id * every / fleet / step == now % every / step) {
            wheel.renew(handles[id as usize]).unwrap();
        }
    }
    assert!(most < fleet / 2, "{most} visits in one look");
}

/// Pitfall 6: a deadline beyond the wheel is drained and refilled for ever.
#[test]
fn a_deadline_beyond_the_wheel_costs_a_few_looks() {
    let day = Duration::from_secs(86_400);
    let (wheel, seen) = noting(config(), |_, _| Verdict::Done);
    wheel.announce("a", 24 * day).unwrap();
    let mut looks = 0;
    while let Some(due) = wheel.next_due().unwrap() {
        wheel.advance(due).unwrap();
        looks += 1;
        assert!(looks < 100, "the wheel turns without getting anywhere");
    }
    assert_eq!(take(&seen), [EventKind::Suspect, EventKind::Leave]);
    assert_eq!(wheel.now(), 48 * day + Duration::from_secs(15));
    assert!(wheel.stats().visits < 20, "{} visits", wheel.stats().visits);
}

/// Pitfall 9: removing a hint from a list that is being drained takes another host's out.
#[test]
fn hosts_that_are_heard_or_leave_while_their_slot_is_drained_take_nobody_with_them() {
    let hosts = 200_u32;
    let handles = Arc::new(Mutex::new(Vec::<Handle>::new()));
    let known = handles.clone();
    let mut calls = 0;
    // One event in a batch, so that the drain is interrupted at each; two others leave, one is heard.
    let (wheel, seen) = noting(Config { batch: 1, grace: Duration::ZERO, ..config() }, move |wheel, _| {
        calls += 1;
        let known = known.lock().unwrap();
        for (at, handle) in known.iter().enumerate().skip(calls * 7).step_by(31).take(3) {
            let _ =
                if at.is_multiple_of(3) { wheel.renew(*handle).is_ok() } else { wheel.leave_handle(*handle).is_ok() };
        }
        Verdict::Done
    });
    handles.lock().unwrap().extend((0..hosts).map(|id| wheel.announce(id.to_be_bytes(), ms(1000)).unwrap().handle));
    for look in 0..60 {
        wheel.advance(ms(look * 1000)).unwrap();
    }
    let stats = wheel.stats();
    assert_eq!((stats.live, stats.left + stats.leaves_ttl), (0, u64::from(hosts)));
    assert_eq!(seen.lock().unwrap().len() as u64, stats.leaves_ttl);
    assert!(stats.left > 20 && stats.leaves_ttl > 20, "both happened: {stats:?}");
}

/// Pitfall 10: a due host that waits outside the wheel is freed and its record reused, and the newcomer pays for it.
#[test]
fn a_record_reused_while_its_last_host_waited_does_not_inherit_the_wait() {
    let (wheel, mut events) = draining(Config { max_outstanding: 1, grace: Duration::ZERO, ..config() });
    for id in 0..10_u8 {
        wheel.announce([id], ms(1000)).unwrap();
    }
    wheel.advance(ms(2000)).unwrap();
    let [first] = &drain(&mut events)[..] else { panic!("one leave is outstanding, nine hosts wait") };
    for id in 0..10_u8 {
        // The one that is handed out is not known any more.
        let _ = wheel.leave([id]);
    }
    wheel.advance(ms(2000)).unwrap();
    let newcomers: Vec<Handle> = (20..29_u8).map(|id| wheel.announce([id], ms(60_000)).unwrap().handle).collect();
    assert_eq!(wheel.stats().records, 10, "the records are used again");
    wheel.settle(first.handle(), 1, Verdict::Done).unwrap();
    wheel.advance(ms(121_000)).unwrap();
    assert_eq!(drain(&mut events).len(), 0);
    assert!(newcomers.iter().all(|handle| wheel.renew(*handle) == Ok(Outcome::Renewed)));
    assert_eq!(wheel.stats().waiting, 0);
}

/// Pitfall 11: a hint is dropped because its host is dead, and the retry with it.
#[test]
fn a_leave_nobody_answers_is_handed_out_again_and_again() {
    let (wheel, mut events) = draining(Config { grace: Duration::ZERO, settle_timeout: ms(500), ..config() });
    let handle = wheel.announce("a", ms(1000)).unwrap().handle;
    for attempt in 1..50 {
        let due = wheel.next_due().unwrap().expect("it is outstanding");
        wheel.advance(due).unwrap();
        for event in drain(&mut events) {
            assert_eq!((event.handle(), event.kind()), (handle, EventKind::Leave));
            assert!(event.attempt() <= attempt);
        }
    }
    assert!(wheel.stats().retries > 20);
}

/// Pitfall 12: a correction of time makes it run backwards, and stamps from before it lie in the future.
#[test]
fn time_never_runs_backwards_and_no_stamp_lies_in_the_future() {
    let (wheel, _) = noting(Config { watchdog: ms(1000), ..config() }, |_, _| Verdict::Done);
    let host = wheel.announce("a", ms(600_000)).unwrap().handle;
    let (mut clock, mut last) = (Duration::ZERO, Duration::ZERO);
    for step in 1..400_u64 {
        // Now and then nobody looks for a while, and a clock goes back.
        clock += ms(if step.is_multiple_of(7) { 100_000 } else { 300 });
        wheel.advance(clock.saturating_sub(ms(if step.is_multiple_of(5) { 1000 } else { 0 }))).unwrap();
        wheel.renew(host).unwrap();
        let (now, seen) = (wheel.now(), wheel.inspect(host).unwrap().last_seen);
        assert!(now >= last, "{now:?} after {last:?}");
        assert!(seen <= now + ms(1), "stamped {seen:?} at {now:?}");
        last = now;
    }
    assert!(wheel.stats().away > ms(5_000_000));
}

/// Pitfall 18: the grace of a host without interval is the lesser of the grace and 0.
#[test]
fn a_host_without_interval_gets_its_grace() {
    let (wheel, seen) = noting(Config { host_ttl: ms(10_000), grace: ms(3000), ..config() }, |_, _| Verdict::Done);
    wheel.announce("old client", Interval::NONE).unwrap();
    wheel.advance(ms(10_000)).unwrap();
    assert_eq!(take(&seen), [EventKind::Suspect]);
    wheel.advance(ms(12_999)).unwrap();
    assert_eq!(take(&seen), []);
    wheel.advance(ms(13_000)).unwrap();
    assert_eq!(take(&seen), [EventKind::Leave]);
}

/// Pitfall 20: a full queue, and nobody who says that there is room again.
#[test]
fn a_drain_makes_the_waiting_hosts_due_at_once() {
    let (wheel, mut events) = draining(Config { max_outstanding: 3, ..config() });
    for id in 0..20_u8 {
        wheel.announce([id], ms(1000)).unwrap();
    }
    let mut now = ms(3000);
    let mut leaves = 0;
    for _ in 0..200 {
        wheel.advance(now).unwrap();
        for event in drain(&mut events).iter().filter(|event| event.kind() == EventKind::Leave) {
            wheel.settle(event.handle(), event.attempt(), Verdict::Done).unwrap();
            leaves += 1;
        }
        let Some(due) = wheel.next_due().unwrap() else { break };
        assert_eq!(due, now, "hosts wait and the queue is empty");
        now = due;
    }
    assert_eq!((leaves, wheel.stats().live), (20, 0));
}

/// Pitfall 21: two answers to one leave, one to an older attempt, one that reaches the record's next host.
#[test]
fn an_answer_counts_once_for_the_attempt_and_the_incarnation_that_it_names() {
    let (wheel, mut events) = draining(Config { grace: Duration::ZERO, settle_timeout: ms(500), ..config() });
    let first = wheel.announce("a", ms(1000)).unwrap().handle;
    wheel.advance(ms(2000)).unwrap();
    assert_eq!(drain(&mut events).len(), 1);
    wheel.advance(ms(2500)).unwrap();
    assert_eq!(drain(&mut events)[0].attempt(), 2);
    assert_eq!(wheel.settle(first, 1, Verdict::Done), Err(SettleError::Attempt), "an older attempt");
    assert_eq!(wheel.settle(first, 2, Verdict::Retry(ms(100))), Ok(()));
    assert_eq!(wheel.settle(first, 2, Verdict::Done), Err(SettleError::Attempt), "a second answer");
    wheel.advance(ms(2500)).unwrap();
    wheel.advance(ms(2600)).unwrap();
    assert_eq!(drain(&mut events)[0].attempt(), 3);
    assert_eq!(wheel.settle(first, 3, Verdict::Done), Ok(()));
    assert_eq!(wheel.settle(first, 3, Verdict::Done), Err(SettleError::Stale), "it was done");
    wheel.advance(ms(2601)).unwrap();
    // The next host of the record, handed out as well.
    let second = wheel.announce("b", ms(1000)).unwrap().handle;
    assert_eq!(second.as_raw() as u32, first.as_raw() as u32, "the record is used again");
    wheel.advance(ms(4601)).unwrap();
    assert_eq!(drain(&mut events)[0].handle(), second);
    assert_eq!(wheel.settle(first, 1, Verdict::Done), Err(SettleError::Stale), "an answer to the last host");
    assert_eq!(wheel.renew(second), Err(RenewError::Taken));
    assert_eq!(wheel.settle(second, 1, Verdict::Done), Ok(()));
}

/// Pitfall 23: one host is left, its callback asks for a retry, and time stands still because no host lives.
#[test]
fn the_retry_of_the_last_host_comes() {
    for watchdog in [0, 1000] {
        let config = Config { watchdog: ms(watchdog), grace: Duration::ZERO, ..config() };
        let (wheel, seen) = noting(config, |_, event| match event.attempt() {
            1 | 2 => Verdict::Retry(Duration::ZERO),
            _ => Verdict::Done,
        });
        wheel.announce("a", ms(1000)).unwrap();
        let mut clock = Duration::ZERO;
        while let Some(due) = wheel.next_due().unwrap() {
            clock = due;
            wheel.advance(due).unwrap();
        }
        assert_eq!((take(&seen).len(), clock, wheel.now()), (3, ms(5000), ms(5000)), "after 2, 1 and 2 seconds");
    }
}

/// Pitfall 24: a renewal that read the old, longer interval undoes a shorter one.
#[test]
fn a_renewal_keeps_the_interval_that_was_announced_last() {
    let (wheel, seen) = noting(Config { grace: Duration::ZERO, ..config() }, |_, _| Verdict::Done);
    let host = wheel.announce("a", ms(3_600_000)).unwrap().handle;
    wheel.advance(ms(10)).unwrap();
    wheel.announce("a", ms(1000)).unwrap();
    wheel.renew(host).unwrap();
    assert_eq!(wheel.next_due().unwrap(), Some(ms(10)), "the wheel must look sooner than it planned");
    wheel.advance(ms(2009)).unwrap();
    assert_eq!(take(&seen), []);
    wheel.advance(ms(2010)).unwrap();
    assert_eq!(take(&seen), [EventKind::Leave]);
}
