//! Wheels that come and go leave no thread and no descriptor behind. One test, in a binary of its own: it counts what the
//! whole process has.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{Brake, Clock, Config, Event, HostWheel, OpenError, Verdict};

const PATIENCE: Duration = Duration::from_secs(60);

fn done(_: &Event) -> Verdict {
    Verdict::Done
}

fn config() -> Config {
    Config {
        min_interval: Duration::from_millis(1),
        grace: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

fn count(what: &str) -> usize {
    fs::read_dir(what).expect("procfs").count()
}

/// Threads and descriptors of this process.
fn counts() -> (usize, usize) {
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Waits until the process has as many threads and descriptors as it had: a thread that was joined stays listed for a
/// moment.
fn settles_at(expected: (usize, usize)) {
    let start = Instant::now();
    while counts() != expected {
        assert!(start.elapsed() < PATIENCE, "threads and descriptors: {:?}, once {expected:?}", counts());
        thread::sleep(Duration::from_millis(1));
    }
}

/// One short life, in one of many ways.
fn open_and_end(n: u64) {
    let interval = Duration::from_millis(1 + n % 3);
    let clock = [Clock::Counter, Clock::Coarse, Clock::Precise][n as usize % 3];
    match n % 5 {
        0 => {
            let wheel = HostWheel::start(Config { clock, ..config() }, done).unwrap();
            wheel.announce("a", interval).unwrap();
            wheel.close(PATIENCE).unwrap();
        }
        1 => {
            let wheel = HostWheel::start(Config { clock, ..config() }, done).unwrap();
            wheel.announce("a", interval).unwrap();
            thread::sleep(Duration::from_micros(n % 7 * 500));
            drop(wheel);
        }
        2 => drop(HostWheel::start(Config { clock, ..config() }, done).unwrap()),
        3 => {
            let (wheel, events) = HostWheel::drained(Config { clock, ..config() }).unwrap();
            wheel.announce("a", interval).unwrap();
            if n.is_multiple_of(2) {
                drop(events);
                drop(wheel);
            } else {
                drop(wheel);
                drop(events);
            }
        }
        _ => {
            let wheel = HostWheel::manual(config(), done).unwrap();
            wheel.announce("a", interval).unwrap();
            wheel.advance(Duration::from_secs(1)).unwrap();
        }
    }
}

/// Lets `f` run while the process may open `spare` more descriptors.
fn with_spare_descriptors<R>(spare: usize, f: impl FnOnce() -> R) -> R {
    // The kernel hands out the lowest free number, and numbers above it may be in use.
    // SAFETY: it takes plain numbers and changes nothing.
    let free = (0..).filter(|n| unsafe { libc::fcntl(*n, libc::F_GETFD) } < 0);
    let limit = free.take(spare + 1).last().expect("there is no end of numbers") as libc::rlim_t;
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes plain data of this function.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut before), 0);
        let tight = libc::rlimit { rlim_cur: limit, ..before };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &tight), 0);
        let result = f();
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &before), 0);
        result
    }
}

#[test]
fn wheels_that_come_and_go_or_fail_to_open_leave_no_thread_and_no_descriptor_behind() {
    (0..10).for_each(open_and_end);
    let before = counts();
    (0..500).for_each(open_and_end);
    settles_at(before);

    // Open at once, they have what they need, and give all of it back.
    let wheels: Vec<_> = (0..50).map(|_| HostWheel::start(config(), done).unwrap()).collect();
    assert_eq!(counts().0, before.0 + 50, "a thread each");
    drop(wheels);
    settles_at(before);

    // A system that refuses a descriptor or a thread is an error that leaves nothing behind either.
    let mut refused = 0;
    for spare in 0..10 {
        match with_spare_descriptors(spare, || HostWheel::drained(config())) {
            Ok((wheel, _events)) => {
                wheel.announce("a", Duration::from_secs(1)).unwrap();
                wheel.close(PATIENCE).unwrap();
            }
            Err(OpenError::Os(e)) => {
                assert_eq!(e.raw_os_error(), Some(libc::EMFILE), "with {spare} to spare: {e}");
                assert_eq!(refused, spare, "fewer are never better");
                refused += 1;
            }
            Err(other) => panic!("with {spare} to spare: {other}"),
        }
        settles_at(before);
    }
    assert!((1..10).contains(&refused), "refused with up to {refused} to spare");
    for stack_size in [1 << 50, usize::MAX >> 1, usize::MAX] {
        match HostWheel::start(Config { stack_size, ..config() }, done) {
            Err(OpenError::Os(_)) => {}
            other => panic!("a stack of {stack_size} bytes: {other:?}"),
        }
        settles_at(before);
    }
}
