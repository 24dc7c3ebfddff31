//! Calls allocate nothing.
//!
//! A counting allocator is the whole program's; it counts per thread, so that the wheel's own thread, which may allocate,
//! is left out.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use hostwheel::{Clock, Config, Event, Handle, HostWheel, Interval, Outcome, Verdict};

thread_local! {
    /// Needs neither an initialiser nor a destructor, so counting does not allocate.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises, passed on; also below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: see `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: see `alloc`.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: see `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `f` allocates on this thread.
fn allocations<R>(f: impl FnOnce() -> R) -> u64 {
    let before = ALLOCATIONS.get();
    let result = f();
    let during = ALLOCATIONS.get() - before;
    drop(result);
    during
}

const HOSTS: usize = 1000;
const INTERVAL: Duration = Duration::from_secs(300);

fn keep(_: &Event) -> Verdict {
    Verdict::Done
}

/// 64 bytes, different for every host.
fn ids() -> Vec<String> {
    (0..HOSTS).map(|n| format!("{n:064}")).collect()
}

/// A wheel that knows all of `ids`, on a thread that has called it before.
fn populated(clock: Clock, ids: &[String]) -> (HostWheel, Vec<Handle>) {
    let wheel = HostWheel::start(Config { clock, ..Config::default() }, keep).unwrap();
    let handles = ids.iter().map(|id| wheel.announce(id, INTERVAL).unwrap().handle).collect();
    (wheel, handles)
}

const CLOCKS: [Clock; 4] = [Clock::Counter, Clock::Coarse, Clock::Precise, Clock::Manual];

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| std::hint::black_box(Box::new(1))), 1);
}

#[test]
fn a_registration_allocates_nothing() {
    let wheel = HostWheel::manual(Config::default(), keep).unwrap();
    let ids = ids();
    let count = allocations(|| ids.iter().for_each(|id| _ = wheel.announce(id, INTERVAL).unwrap()));
    assert_eq!(count, 0, "records, ids and index grow in address space of their own");
    // What is longer than 64 bytes goes on in blocks, of which there is memory for 1024 after this.
    let long: Vec<String> = (0..HOSTS).map(|n| format!("{n:0100}")).collect();
    wheel.announce(&long[0], INTERVAL).unwrap();
    let count = allocations(|| long[1..].iter().for_each(|id| _ = wheel.announce(id, INTERVAL).unwrap()));
    assert_eq!(count, 0);
}

#[test]
fn renewing_a_known_host_allocates_nothing() {
    for clock in CLOCKS {
        let (wheel, handles) = populated(clock, &ids());
        let count = allocations(|| {
            for &handle in &handles {
                assert_eq!(wheel.renew(handle), Ok(Outcome::Renewed));
                assert_eq!(wheel.renew_seen(handle, Duration::from_millis(1)), Ok(Outcome::Renewed));
            }
        });
        assert_eq!(count, 0, "{clock:?} clock");
    }
}

#[test]
fn announcing_a_known_host_allocates_nothing_whatever_its_interval_becomes() {
    let ids = ids();
    for clock in CLOCKS {
        let (wheel, handles) = populated(clock, &ids);
        // As before; longer; shorter, which the thread must be told; clamped; none.
        let intervals = [INTERVAL, 2 * INTERVAL, INTERVAL / 10, Duration::from_nanos(1), Duration::ZERO];
        let count = allocations(|| {
            for interval in intervals {
                for (id, &handle) in ids.iter().zip(&handles) {
                    let announced = wheel.announce(id, Interval::from(interval)).unwrap();
                    assert_eq!((announced.handle, announced.outcome), (handle, Outcome::Renewed));
                }
            }
            for id in &ids {
                wheel.announce_seen(id, INTERVAL, Duration::from_millis(1)).unwrap();
            }
        });
        assert_eq!(count, 0, "{clock:?} clock");
    }
}

#[test]
fn recovering_a_suspect_allocates_nothing() {
    let config = Config { watchdog: Duration::ZERO, ..Config::default() };
    let wheel = HostWheel::manual(config, keep).unwrap();
    let handle = wheel.announce("a", Duration::from_secs(60)).unwrap().handle;
    let mut outcomes = [Outcome::Renewed; 2];
    wheel.advance(Duration::from_secs(121)).unwrap();
    let by_handle = allocations(|| outcomes[0] = wheel.renew(handle).unwrap());
    wheel.advance(Duration::from_secs(242)).unwrap();
    let by_id = allocations(|| outcomes[1] = wheel.announce("a", Duration::from_secs(60)).unwrap().outcome);
    assert_eq!(outcomes, [Outcome::Recovered; 2]);
    assert_eq!((by_handle, by_id), (0, 0));
}

#[test]
fn looking_at_a_known_host_allocates_nothing() {
    let ids = ids();
    for clock in CLOCKS {
        let (wheel, handles) = populated(clock, &ids);
        let count = allocations(|| {
            for (id, &handle) in ids.iter().zip(&handles) {
                assert_eq!(wheel.find(id), Ok(handle));
                assert_eq!(wheel.inspect(handle).unwrap().interval, Some(INTERVAL));
            }
            assert!(wheel.find("a host that nobody knows").is_err());
            std::hint::black_box((wheel.stats(), wheel.now()));
        });
        assert_eq!(count, 0, "{clock:?} clock");
    }
}

#[test]
fn the_goodbye_of_a_known_host_allocates_nothing() {
    let ids = ids();
    for clock in CLOCKS {
        let (wheel, handles) = populated(clock, &ids);
        let (by_id, by_handle) = handles.split_at(HOSTS / 2);
        let count = allocations(|| {
            for id in &ids[..by_id.len()] {
                wheel.leave(id).unwrap();
            }
            for &handle in by_handle {
                wheel.leave_handle(handle).unwrap();
            }
            assert!(wheel.renew(handles[0]).is_err());
        });
        assert_eq!(count, 0, "{clock:?} clock");
    }
}
