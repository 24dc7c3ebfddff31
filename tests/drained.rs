//! Drain delivery on a manual clock: order, answers, a full queue, the descriptor.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use hostwheel::{
    AnnounceError, Brake, Clock, Config, Event, EventKind, Events, Handle, HostState, HostWheel, LookupError, Outcome,
    Reason, SettleError, Verdict,
};

const ZERO: Duration = Duration::ZERO;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn config() -> Config {
    Config { clock: Clock::Manual, watchdog: ZERO, brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

fn drain(events: &mut Events) -> Vec<Event> {
    let mut drained = Vec::new();
    while events.drain(&mut drained, 7) > 0 {}
    drained
}

/// Whether poll(2) says that the descriptor is readable.
fn readable(events: &Events) -> bool {
    let mut fd = libc::pollfd { fd: events.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid element.
    let ready = unsafe { libc::poll(&mut fd, 1, 0) };
    assert!(ready >= 0 && fd.revents & !libc::POLLIN == 0, "{ready} {:#x}", fd.revents);
    ready == 1
}

fn brief(events: &[Event]) -> Vec<(EventKind, String, u32)> {
    events.iter().map(|event| (event.kind(), event.id().to_string(), event.attempt())).collect()
}

fn told(kind: EventKind, id: &str, attempt: u32) -> (EventKind, String, u32) {
    (kind, id.into(), attempt)
}

/// Advances from one `next_due` to the next until `end`, so that everything is made at its moment.
fn step(wheel: &HostWheel, end: Duration) {
    for _ in 0..100_000 {
        match wheel.next_due().unwrap() {
            Some(due) if due < end => wheel.advance(due).unwrap(),
            _ => return assert!(wheel.advance(end).is_ok()),
        };
    }
    panic!("next_due does not lead on from {:?}", wheel.next_due());
}

#[test]
fn events_come_in_order_with_all_that_they_say() {
    let (wheel, mut events) = HostWheel::drained(config()).unwrap();
    let a = wheel.announce_with("a", secs(10), ZERO, 7).unwrap().handle;
    let b = wheel.announce_with("b", secs(11), ZERO, 8).unwrap().handle;
    step(&wheel, secs(23));
    assert_eq!(wheel.renew(b), Ok(Outcome::Recovered));
    let mut drained = drain(&mut events);
    step(&wheel, secs(31));
    drained.append(&mut drain(&mut events));
    let expected = [(EventKind::Suspect, "a"), (EventKind::Suspect, "b"), (EventKind::Recovered, "b")];
    let mut expected = expected.map(|(kind, id)| told(kind, id, 1)).to_vec();
    expected.push(told(EventKind::Leave, "a", 1));
    assert_eq!(brief(&drained), expected);
    let times: Vec<_> = drained.iter().map(|event| event.now().as_secs()).collect();
    assert_eq!(times, [20, 22, 23, 30]);
    for event in &drained {
        let (handle, data) = if &event.id()[..] == b"a" { (a, 7) } else { (b, 8) };
        assert_eq!((event.handle(), event.user_data()), (handle, data));
        assert_eq!((event.reason(), event.away(), event.superseded()), (Reason::Ttl, ZERO, false));
        assert!(event.kind() == EventKind::Recovered || event.lateness() == ZERO);
    }
    assert_eq!(drain(&mut events).len(), 0);
}

#[test]
fn drain_takes_at_most_what_it_is_asked_for_and_appends() {
    let (wheel, mut events) = HostWheel::drained(config()).unwrap();
    for n in 0..10u8 {
        wheel.announce([n], secs(10)).unwrap();
    }
    assert_eq!(wheel.advance(secs(20)), Ok(10), "events made");
    let mut drained = Vec::new();
    assert_eq!((events.drain(&mut drained, 0), readable(&events)), (0, true));
    assert_eq!((events.drain(&mut drained, 4), drained.len(), readable(&events)), (4, 4, true));
    assert_eq!((events.drain(&mut drained, 100), drained.len(), readable(&events)), (6, 10, false));
    assert_eq!((events.drain(&mut drained, 100), drained.len()), (0, 10));
    let mut ids: Vec<_> = drained.iter().map(|event| event.id()[0]).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
}

#[test]
fn the_descriptor_is_readable_exactly_while_events_wait_and_after_close() {
    let (wheel, mut events) = HostWheel::drained(config()).unwrap();
    assert!(!readable(&events));
    let handle = wheel.announce("a", secs(10)).unwrap().handle;
    wheel.advance(secs(20) - ms(1)).unwrap();
    assert!(!readable(&events));
    for (at, kind) in [(20, EventKind::Suspect), (30, EventKind::Leave)] {
        wheel.advance(secs(at)).unwrap();
        assert!(readable(&events) && readable(&events));
        wheel.advance(secs(at) + ms(1)).unwrap();
        assert!(readable(&events), "it stays so");
        assert_eq!(brief(&drain(&mut events)), [told(kind, "a", 1)]);
        assert!(!readable(&events));
    }
    wheel.settle(handle, 1, Verdict::Retry(secs(1))).unwrap();
    wheel.advance(secs(31)).unwrap();
    assert!(!readable(&events), "the delay counts from when the answer is seen");
    wheel.advance(secs(40)).unwrap();
    assert!(readable(&events));
    wheel.close(ZERO).unwrap();
    assert!(readable(&events), "also after close");
    assert!(!events.is_closed(), "an event waits");
    assert_eq!(drain(&mut events).len(), 1);
    assert!(events.is_closed() && readable(&events), "a consumer that waits learns that no more will come");
}

#[test]
fn a_leave_is_outstanding_until_it_is_settled_as_done() {
    let (wheel, mut events) = HostWheel::drained(Config { grace: ZERO, ..config() }).unwrap();
    let handle = wheel.announce_with("a", secs(10), ZERO, 7).unwrap().handle;
    step(&wheel, secs(20));
    assert_eq!(brief(&drain(&mut events)), [told(EventKind::Leave, "a", 1)]);
    let status = wheel.inspect(handle).unwrap();
    assert_eq!((status.state, status.user_data, wheel.find("a")), (HostState::Taken, 7, Err(LookupError::NotFound)));
    assert_eq!((wheel.stats().outstanding, wheel.stats().live, wheel.stats().leaves_ttl), (1, 0, 1));
    wheel.settle(handle, 1, Verdict::Done).unwrap();
    step(&wheel, secs(21));
    assert_eq!((wheel.inspect(handle), wheel.stats().outstanding), (Err(LookupError::Stale), 0));
    assert_eq!(wheel.next_due(), Ok(None));
    step(&wheel, secs(1000));
    assert_eq!(drain(&mut events).len(), 0);
    assert_eq!((wheel.stats().leaves_ttl, wheel.stats().retries, wheel.stats().records), (1, 0, 1));
}

#[test]
fn a_retry_comes_after_its_delay_and_an_unanswered_leave_after_the_settle_timeout() {
    for (answer, gaps) in [
        (Some(Verdict::Retry(secs(5))), [5, 5, 5, 5, 5, 5, 5, 5]),
        (Some(Verdict::Retry(ZERO)), [1, 2, 4, 8, 16, 32, 60, 60]),
        (None, [9; 8]),
    ] {
        let config = Config { grace: ZERO, settle_timeout: secs(9), ..config() };
        let (wheel, mut events) = HostWheel::drained(config).unwrap();
        let handle = wheel.announce("a", secs(10)).unwrap().handle;
        let mut at = secs(20);
        for (n, gap) in (1..).zip(gaps) {
            step(&wheel, at - ms(1));
            assert_eq!(drain(&mut events).len(), 0, "attempt {n} comes no sooner than {at:?}");
            step(&wheel, at);
            let drained = drain(&mut events);
            assert_eq!(brief(&drained), [told(EventKind::Leave, "a", n)]);
            assert_eq!((drained[0].handle(), drained[0].now(), drained[0].deadline()), (handle, at, secs(20)));
            if let Some(verdict) = answer {
                assert_eq!(wheel.settle(handle, n - 1, Verdict::Done), Err(SettleError::Attempt), "an old attempt");
                wheel.settle(handle, n, verdict).unwrap();
                // At this same moment the wheel sees the answer.
                wheel.advance(at).unwrap();
            }
            at += secs(gap);
        }
        let stats = wheel.stats();
        assert_eq!((stats.outstanding, stats.leaves_ttl, stats.retries), (1, 1, 7));
    }
}

#[test]
fn a_late_done_still_ends_a_leave_whose_next_attempt_waits_in_the_queue() {
    let (wheel, mut events) = HostWheel::drained(Config { grace: ZERO, settle_timeout: secs(9), ..config() }).unwrap();
    let handle = wheel.announce("a", secs(10)).unwrap().handle;
    step(&wheel, secs(20));
    assert_eq!(drain(&mut events).len(), 1);
    step(&wheel, secs(29));
    assert_eq!(wheel.settle(handle, 1, Verdict::Done), Err(SettleError::Attempt), "it timed out");
    assert_eq!(brief(&drain(&mut events)), [told(EventKind::Leave, "a", 2)]);
    wheel.settle(handle, 2, Verdict::Done).unwrap();
    step(&wheel, secs(100));
    assert_eq!((drain(&mut events).len(), wheel.stats().outstanding), (0, 0));
}

#[test]
fn a_leave_that_nobody_drains_is_in_the_queue_once_however_long() {
    let (wheel, mut events) = HostWheel::drained(Config { grace: ZERO, settle_timeout: secs(9), ..config() }).unwrap();
    let handle = wheel.announce("a", secs(10)).unwrap().handle;
    step(&wheel, secs(500));
    assert_eq!(brief(&drain(&mut events)), [told(EventKind::Leave, "a", 1)]);
    step(&wheel, secs(509) - ms(1));
    assert_eq!(drain(&mut events).len(), 0, "its time to be answered runs from the drain");
    assert_eq!(wheel.settle(handle, 1, Verdict::Done), Ok(()));
    step(&wheel, secs(1000));
    assert_eq!((drain(&mut events).len(), wheel.stats().outstanding, wheel.stats().retries), (0, 0, 0));
}

#[test]
fn a_full_queue_makes_hosts_wait_and_loses_nothing() {
    const HOSTS: usize = 100;
    for (capacity, grace) in [(1, ZERO), (1, secs(15)), (3, ZERO), (7, secs(15))] {
        let config = Config { max_outstanding: capacity, grace, settle_timeout: secs(3600), ..config() };
        let (wheel, mut events) = HostWheel::drained(config).unwrap();
        let handles: Vec<Handle> = (0..HOSTS).map(|n| wheel.announce([n as u8], secs(10)).unwrap().handle).collect();
        // One says goodbye and one is heard while they wait.
        assert_eq!(wheel.advance(secs(40)), Ok(capacity));
        assert!(wheel.stats().waiting as usize + capacity >= HOSTS, "all but those in the queue wait");
        let first: Vec<_> = drain(&mut events);
        let alive = |n: &usize| first.iter().all(|event| event.handle() != handles[*n]);
        let mut untold = (0..HOSTS).filter(alive);
        let (heard, gone) = (untold.next().unwrap(), untold.next().unwrap());
        assert!(wheel.announce([heard as u8], secs(100_000)).unwrap().outcome != Outcome::Registered);
        wheel.leave([gone as u8]).unwrap();
        let mut left: Vec<u8> = Vec::new();
        let mut now = secs(40);
        let mut batch = first;
        for _ in 0..2000 {
            assert!(batch.len() <= capacity);
            for event in batch.iter().filter(|event| event.kind() == EventKind::Leave) {
                assert_eq!((event.attempt(), event.handle()), (1, handles[event.id()[0] as usize]));
                left.push(event.id()[0]);
                wheel.settle(event.handle(), 1, Verdict::Done).unwrap();
            }
            now += ms(2);
            wheel.advance(now).unwrap();
            batch = drain(&mut events);
        }
        left.sort_unstable();
        let expected: Vec<u8> = (0..HOSTS).filter(|n| ![heard, gone].contains(n)).map(|n| n as u8).collect();
        assert_eq!(left, expected, "capacity {capacity}, grace {grace:?}");
        let stats = wheel.stats();
        assert_eq!((stats.live, stats.outstanding, stats.waiting, stats.rescues), (1, 0, 0, 0));
        assert_eq!(
            stats.suspects,
            stats.recoveries + if grace.is_zero() { 0 } else { stats.leaves_ttl + stats.suspect }
        );
    }
}

#[test]
fn a_host_that_returns_before_its_leave_is_drained_makes_it_superseded() {
    let (wheel, mut events) = HostWheel::drained(Config { grace: ZERO, ..config() }).unwrap();
    let old = wheel.announce("a", secs(10)).unwrap().handle;
    wheel.advance(secs(20)).unwrap();
    let new = wheel.announce("a", secs(10)).unwrap();
    assert_eq!((new.outcome, new.handle == old), (Outcome::Registered, false));
    let drained = drain(&mut events);
    assert_eq!((drained[0].handle(), drained[0].superseded(), drained[0].attempt()), (old, true, 1));
    wheel.settle(old, 1, Verdict::Done).unwrap();
    wheel.advance(secs(21)).unwrap();
    assert_eq!((wheel.find("a"), wheel.renew(new.handle)), (Ok(new.handle), Ok(Outcome::Renewed)));
    assert_eq!((wheel.stats().superseded, wheel.stats().live, wheel.stats().outstanding), (1, 1, 0));
}

#[test]
fn a_host_that_says_goodbye_makes_no_event_after_it() {
    let (wheel, mut events) = HostWheel::drained(config()).unwrap();
    wheel.announce("a", secs(10)).unwrap();
    wheel.advance(secs(20)).unwrap();
    assert_eq!(wheel.leave("a"), Ok(0));
    step(&wheel, secs(100));
    assert_eq!(brief(&drain(&mut events)), [told(EventKind::Suspect, "a", 1)], "made before");
    assert_eq!((wheel.stats().leaves_ttl, wheel.stats().suspect), (0, 0));
}

#[test]
fn close_keeps_what_was_made_and_makes_nothing_more() {
    let (wheel, mut events) = HostWheel::drained(config()).unwrap();
    wheel.announce("a", secs(10)).unwrap();
    wheel.announce("b", secs(50)).unwrap();
    wheel.advance(secs(30)).unwrap();
    assert_eq!(brief(&drain(&mut events)), [told(EventKind::Suspect, "a", 1)]);
    wheel.advance(secs(30)).unwrap();
    wheel.close(ZERO).unwrap();
    assert_eq!(wheel.announce("a", secs(10)), Err(AnnounceError::Closed));
    let kept = drain(&mut events);
    assert_eq!(brief(&kept), [told(EventKind::Leave, "a", 1)]);
    assert_eq!(wheel.settle(kept[0].handle(), 1, Verdict::Done), Err(SettleError::Closed));
    drop(wheel);
    assert_eq!((drain(&mut events).len(), readable(&events)), (0, true), "the consumer's end outlives the wheel");
    assert!(events.is_closed());
}

/// Who answers a suspect event when it is drained saves the host, however long that took.
#[test]
fn no_host_is_taken_before_its_suspect_event_is_drained() {
    let config = Config { grace: secs(5), backstop: secs(60), ..config() };
    let (wheel, mut events) = HostWheel::drained(config).unwrap();
    let saved = wheel.announce("saved", secs(10)).unwrap().handle;
    wheel.announce("lost", secs(10)).unwrap();
    // Past TTL and grace, and past several sweeps of the back-stop.
    step(&wheel, secs(600));
    assert_eq!((wheel.stats().suspect, wheel.stats().outstanding, wheel.stats().rescues), (2, 0, 0));
    let drained = drain(&mut events);
    assert_eq!(drained.len(), 2);
    assert!(drained.iter().all(|event| event.kind() == EventKind::Suspect));
    assert_eq!(wheel.renew(saved), Ok(Outcome::Recovered));
    wheel.advance(secs(600)).unwrap();
    let drained = drain(&mut events);
    assert_eq!(brief(&drained), [told(EventKind::Recovered, "saved", 1), told(EventKind::Leave, "lost", 1)]);
    assert_eq!(drained[1].lateness(), secs(575));
}
