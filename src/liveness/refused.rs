//! What becomes of hosts when the system refuses memory for their events.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::memory::refuse;
use crate::{Brake, Clock, Config, Event, EventKind, HostWheel, Verdict};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config() -> Config {
    Config {
        clock: Clock::Manual,
        watchdog: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

/// What was delivered: the kind, the attempt, and the wheel time.
type Told = (EventKind, u32, Duration);

/// A wheel that asks for one retry of each leave.
fn called() -> (HostWheel, Receiver<Told>) {
    let (tell, told) = channel();
    let handler = move |event: &Event| {
        tell.send((event.kind(), event.attempt(), event.now())).expect("the test listens");
        if event.attempt() == 1 { Verdict::Retry(ms(100)) } else { Verdict::Done }
    };
    struct All<F>(F);
    impl<F: FnMut(&Event) -> Verdict + Send + 'static> crate::Handler for All<F> {
        fn leave(&mut self, event: &Event) -> Verdict {
            (self.0)(event)
        }
        fn suspect(&mut self, event: &Event) {
            (self.0)(event);
        }
        fn recovered(&mut self, event: &Event) {
            (self.0)(event);
        }
    }
    (HostWheel::start(config(), All(handler)).expect("it opens"), told)
}

fn due(wheel: &HostWheel) -> Duration {
    wheel.next_due().expect("the clock is manual").expect("a host is known")
}

#[test]
fn an_event_without_memory_comes_later_and_once() {
    let (wheel, told) = called();
    let expect = |kind, attempt, at| assert_eq!(told.try_recv(), Ok((kind, attempt, at)));
    wheel.advance(ms(0)).unwrap();
    let host = wheel.announce("a", ms(1000)).unwrap().handle;
    wheel.advance(ms(0)).unwrap();
    let suspect_at = wheel.inspect(host).unwrap().deadline;
    refuse(2);
    assert_eq!(wheel.advance(suspect_at), Ok(0));
    assert_eq!((due(&wheel), wheel.stats().waiting), (suspect_at + ms(10), 1));
    assert_eq!(wheel.advance(suspect_at + ms(9)), Ok(0), "it is not tried again at once");
    assert_eq!(wheel.stats().memory_refusals, 1);
    assert_eq!(wheel.advance(suspect_at + ms(10)), Ok(0));
    assert_eq!(wheel.advance(suspect_at + ms(20)), Ok(1));
    expect(EventKind::Suspect, 1, suspect_at + ms(20));
    assert_eq!((wheel.stats().memory_refusals, wheel.stats().waiting), (2, 0));

    refuse(1);
    wheel.renew(host).unwrap();
    assert_eq!(wheel.advance(suspect_at + ms(21)), Ok(0));
    assert_eq!(wheel.advance(suspect_at + ms(31)), Ok(1));
    expect(EventKind::Recovered, 1, suspect_at + ms(31));

    let leaves_at = wheel.inspect(host).unwrap().leaves_at;
    assert_eq!(wheel.advance(leaves_at - ms(1)), Ok(1));
    assert_eq!(told.try_recv().unwrap().0, EventKind::Suspect);
    refuse(1);
    assert_eq!(wheel.advance(leaves_at), Ok(0));
    assert_eq!(wheel.find("a"), Ok(host), "it is known while it could not be handed out");
    assert_eq!(wheel.advance(leaves_at + ms(10)), Ok(1));
    expect(EventKind::Leave, 1, leaves_at + ms(10));
    refuse(1);
    assert_eq!(wheel.advance(leaves_at + ms(110)), Ok(0));
    assert_eq!(wheel.stats().retries, 0, "an attempt that did not begin is none");
    assert_eq!(wheel.advance(leaves_at + ms(120)), Ok(1));
    expect(EventKind::Leave, 2, leaves_at + ms(120));
    let stats = wheel.stats();
    assert_eq!((stats.live, stats.outstanding, stats.retries, stats.memory_refusals), (0, 0, 1, 5));
    assert!(told.try_recv().is_err());
}

#[test]
fn a_host_that_is_heard_while_memory_is_refused_stays() {
    let (wheel, told) = called();
    wheel.advance(ms(0)).unwrap();
    let host = wheel.announce("a", ms(1000)).unwrap().handle;
    let leaves_at = wheel.inspect(host).unwrap().leaves_at;
    wheel.advance(leaves_at - ms(1)).unwrap();
    assert_eq!(told.try_recv().unwrap().0, EventKind::Suspect);
    refuse(1);
    assert_eq!(wheel.advance(leaves_at), Ok(0));
    wheel.renew(host).unwrap();
    assert_eq!(wheel.advance(leaves_at + ms(10)), Ok(1));
    assert_eq!(told.try_recv().unwrap().0, EventKind::Recovered);
    assert_eq!(wheel.stats().live, 1);
}

#[test]
fn a_drained_event_without_memory_comes_later_and_once() {
    let (wheel, mut events) = HostWheel::drained(config()).expect("it opens");
    wheel.advance(ms(0)).unwrap();
    let host = wheel.announce("a", ms(1000)).unwrap().handle;
    let status = wheel.inspect(host).unwrap();
    let (suspect_at, leaves_at) = (status.deadline, status.leaves_at);
    let mut drained = Vec::new();
    refuse(1);
    assert_eq!(wheel.advance(suspect_at), Ok(0));
    assert_eq!(wheel.advance(suspect_at + ms(10)), Ok(1));
    assert_eq!(events.drain(&mut drained, 10), 1);
    refuse(1);
    assert_eq!(wheel.advance(leaves_at), Ok(0));
    assert_eq!(wheel.advance(leaves_at + ms(10)), Ok(1));
    assert_eq!(events.drain(&mut drained, 10), 1);
    // Not answered: the second attempt comes after the settle timeout, and the refusal.
    let again_at = leaves_at + ms(10) + config().settle_timeout;
    assert_eq!(wheel.advance(again_at - ms(1)), Ok(0));
    refuse(1);
    assert_eq!(wheel.advance(again_at), Ok(0));
    assert_eq!(wheel.advance(again_at + ms(10)), Ok(1));
    assert_eq!(events.drain(&mut drained, 10), 1);
    let kinds: Vec<_> = drained.iter().map(|event| (event.kind(), event.attempt())).collect();
    assert_eq!(kinds, [(EventKind::Suspect, 1), (EventKind::Leave, 1), (EventKind::Leave, 2)]);
    wheel.settle(host, 2, Verdict::Done).unwrap();
    wheel.advance(again_at + ms(20)).unwrap();
    assert_eq!((wheel.stats().live, wheel.stats().outstanding, wheel.stats().memory_refusals), (0, 0, 3));
}
