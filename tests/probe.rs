//! The suspect event as a probe: a recipe for consumers that learn of their hosts' lives elsewhere.
//!
//! Hosts announce themselves once. After that a scheduler hears of them by their traffic, which it notes in its own table
//! and tells nobody. Only when the wheel suspects a host does the scheduler look into the table, and answer with the age of
//! what it finds: one look per TTL and host instead of one announce per message.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use hostwheel::{Clock, Config, Event, EventKind, Handler, HostWheel, Outcome, Verdict};

const HOSTS: usize = 50;
const INTERVAL: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(5);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// When each host's traffic was last seen, by the manual clock; and that clock.
#[derive(Default)]
struct Traffic {
    now: Duration,
    seen: Vec<Duration>,
}

struct Scheduler {
    traffic: Arc<Mutex<Traffic>>,
    wheel: Arc<OnceLock<Weak<HostWheel>>>,
    left: Arc<Mutex<Vec<(usize, Duration)>>>,
    probes: Arc<Mutex<usize>>,
}

impl Handler for Scheduler {
    fn suspect(&mut self, event: &Event) {
        *self.probes.lock().unwrap() += 1;
        let age = {
            let traffic = self.traffic.lock().unwrap();
            traffic.now - traffic.seen[event.user_data() as usize]
        };
        let wheel = self.wheel.get().and_then(Weak::upgrade).expect("the wheel calls");
        // Old news are harmless: what is older than TTL leaves the host suspect.
        wheel.renew_seen(event.handle(), age).expect("it has not left");
    }

    fn leave(&mut self, event: &Event) -> Verdict {
        let now = self.traffic.lock().unwrap().now;
        self.left.lock().unwrap().push((event.user_data() as usize, now));
        Verdict::Done
    }
}

/// Host `n` sends something every `n % 17 + 1` seconds.
fn sends_at(n: usize, second: u64) -> bool {
    second.is_multiple_of(n as u64 % 17 + 1)
}

#[test]
fn hosts_that_are_vouched_for_when_suspected_stay_and_the_others_leave_in_time() {
    let (traffic, probes) = <(Arc<Mutex<Traffic>>, Arc<Mutex<usize>>)>::default();
    let left = Arc::<Mutex<Vec<(usize, Duration)>>>::default();
    let cell = Arc::<OnceLock<Weak<HostWheel>>>::default();
    traffic.lock().unwrap().seen = vec![Duration::ZERO; HOSTS];
    let scheduler =
        Scheduler { traffic: traffic.clone(), wheel: cell.clone(), left: left.clone(), probes: probes.clone() };
    let config = Config { clock: Clock::Manual, grace: GRACE, watchdog: Duration::ZERO, ..Config::default() };
    let wheel = Arc::new(HostWheel::manual(config, scheduler).unwrap());
    cell.set(Arc::downgrade(&wheel)).unwrap();
    for n in 0..HOSTS {
        wheel.announce_with(format!("host-{n}"), INTERVAL, Duration::ZERO, n as u64).unwrap();
    }
    // After 1,000 s every fifth host falls silent.
    let mut silent_since = [None; HOSTS];
    for second in 1..=1100 {
        traffic.lock().unwrap().now = secs(second);
        for (n, silent_since) in silent_since.iter_mut().enumerate() {
            if sends_at(n, second) && (second <= 1000 || !n.is_multiple_of(5)) {
                traffic.lock().unwrap().seen[n] = secs(second);
                *silent_since = Some(secs(second));
            }
        }
        wheel.advance(secs(second)).unwrap();
        if second == 1000 {
            assert!(left.lock().unwrap().is_empty(), "all are vouched for");
        }
    }
    let mut left = left.lock().unwrap().clone();
    left.sort_unstable();
    let expected: Vec<usize> = (0..HOSTS).step_by(5).collect();
    assert_eq!(left.iter().map(|(n, _)| *n).collect::<Vec<_>>(), expected);
    for (n, at) in left {
        let silent_since = silent_since[n].expect("it was heard");
        assert_eq!(at - silent_since, 2 * INTERVAL + GRACE, "host {n}");
    }
    // One probe per host and TTL at the least interval between them, not one per message.
    let probes = *probes.lock().unwrap();
    assert!((HOSTS * 1100 / 25..HOSTS * 1100 / 4).contains(&probes), "{probes} probes");
}

/// With drain delivery the same answer comes from the consumer's own thread.
#[test]
fn a_drained_suspect_is_answered_like_any_other() {
    let config = Config { clock: Clock::Manual, grace: GRACE, watchdog: Duration::ZERO, ..Config::default() };
    let (wheel, mut events) = HostWheel::drained(config).unwrap();
    wheel.announce("a", INTERVAL).unwrap();
    wheel.advance(secs(20)).unwrap();
    let mut drained = Vec::new();
    events.drain(&mut drained, 10);
    assert_eq!(drained.iter().map(Event::kind).collect::<Vec<_>>(), [EventKind::Suspect]);
    // Seen 3 s ago elsewhere.
    assert_eq!(wheel.renew_seen(drained[0].handle(), secs(3)), Ok(Outcome::Recovered));
    drained.clear();
    for second in 21..=42 {
        wheel.advance(secs(second)).unwrap();
        events.drain(&mut drained, 10);
    }
    let kinds: Vec<_> = drained.iter().map(|event| (event.kind(), event.now())).collect();
    assert_eq!(
        kinds,
        [(EventKind::Recovered, secs(21)), (EventKind::Suspect, secs(37)), (EventKind::Leave, secs(42))],
        "17 s is when it was last seen"
    );
}
