//! The end of a wheel: closing it while callbacks run, inside them, under fire, and by dropping it. Tests wait for
//! conditions and judge no timing.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{AdvanceError, AnnounceError, Brake, CloseError, Config, Event, HostWheel, RenewError, Verdict};

const ZERO: Duration = Duration::ZERO;
/// For what must happen, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited too long: {what}");
        thread::sleep(ms(1));
    }
}

/// Short lives, and no suspect stage.
fn config() -> Config {
    Config { min_interval: ms(20), grace: ZERO, brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

/// A callback that tells when it was entered and stays until it is released.
struct Gate {
    entered: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Gate {
    fn new() -> (Gate, Receiver<()>, Sender<()>) {
        let ((entered, inside), (release, released)) = (mpsc::channel(), mpsc::channel());
        (Gate { entered, release: Mutex::new(released) }, inside, release)
    }

    fn pass(&self) -> Verdict {
        let _ = self.entered.send(());
        let _ = self.release.lock().unwrap().recv_timeout(PATIENCE);
        Verdict::Done
    }
}

#[test]
fn no_callback_runs_once_close_returned_and_living_hosts_get_none() {
    for by_drop in [false, true] {
        let (running, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (busy, count) = (running.clone(), calls.clone());
        let wheel = HostWheel::start(config(), move |_: &Event| {
            busy.store(true, Ordering::SeqCst);
            count.fetch_add(1, Ordering::SeqCst);
            thread::sleep(ms(3));
            busy.store(false, Ordering::SeqCst);
            Verdict::Done
        })
        .unwrap();
        for n in 0..500u16 {
            wheel.announce(n.to_le_bytes(), ms(20)).unwrap();
        }
        until("some callbacks", || calls.load(Ordering::SeqCst) >= 3);
        if by_drop {
            drop(wheel);
        } else {
            assert_eq!(wheel.close(PATIENCE), Ok(()));
            let stats = wheel.stats();
            assert_eq!(stats.registered, stats.live + stats.leaves_ttl);
        }
        let (still, before) = (running.load(Ordering::SeqCst), calls.load(Ordering::SeqCst));
        assert!(!still && before < 500, "{before} calls, one running: {still}");
        assert_eq!(Arc::strong_count(&calls), 1, "the handler was dropped as well");
        thread::sleep(ms(100));
        assert_eq!(calls.load(Ordering::SeqCst), before);
    }
}

#[test]
fn close_inside_a_callback_is_an_error_and_takes_effect() {
    let (cell, answers) = (Arc::new(OnceLock::<HostWheel>::new()), Arc::new(Mutex::new(Vec::new())));
    let (inside, log) = (cell.clone(), answers.clone());
    let handler = move |event: &Event| {
        let wheel = inside.wait();
        let again = [wheel.close(PATIENCE), wheel.close(ZERO)];
        assert_eq!(wheel.announce("new", ms(20)), Err(AnnounceError::Closed));
        assert_eq!(wheel.renew(event.handle()), Err(RenewError::Closed));
        log.lock().unwrap().push(again);
        Verdict::Retry(ms(1))
    };
    let wheel = cell.get_or_init(|| HostWheel::start(config(), handler).unwrap());
    for n in 0..100u8 {
        // The first callback may come before the last of these.
        let _ = wheel.announce([n], ms(20));
    }
    until("a callback", || wheel.announce("a", ms(20)) == Err(AnnounceError::Closed));
    assert_eq!(wheel.close(PATIENCE), Ok(()));
    assert_eq!(*answers.lock().unwrap(), [[Err(CloseError::InCallback); 2]], "one callback, and none after it");
    assert_eq!((wheel.stats().panics, wheel.close(ZERO)), (0, Ok(())));
}

#[test]
fn close_under_fire_refuses_everything_from_then_on() {
    for _ in 0..20 {
        let calls = Arc::new(AtomicU64::new(0));
        let count = calls.clone();
        let wheel = HostWheel::start(config(), move |_: &Event| {
            count.fetch_add(1, Ordering::SeqCst);
            Verdict::Done
        })
        .unwrap();
        thread::scope(|scope| {
            for me in 0..4u32 {
                let wheel = &wheel;
                scope.spawn(move || {
                    let mut n = 0u32;
                    // Registrations and renewals in turn.
                    while wheel.announce([me, n / 2].map(u32::to_le_bytes).concat(), ms(20)).is_ok() {
                        n += 1;
                    }
                    for _ in 0..100 {
                        assert_eq!(wheel.announce("known?", ms(20)), Err(AnnounceError::Closed));
                    }
                });
            }
            let closers = [ms(50), ms(50)].map(|after| {
                let wheel = &wheel;
                scope.spawn(move || {
                    thread::sleep(after);
                    wheel.close(PATIENCE)
                })
            });
            for closer in closers {
                assert_eq!(closer.join().unwrap(), Ok(()));
            }
            let before = calls.load(Ordering::SeqCst);
            assert_eq!(wheel.close(ZERO), Ok(()));
            thread::sleep(ms(10));
            assert_eq!(calls.load(Ordering::SeqCst), before);
        });
        let stats = wheel.stats();
        assert_eq!((stats.registered, stats.rescues), (stats.live + stats.leaves_ttl, 0));
    }
}

#[test]
fn a_close_whose_timeout_expires_may_be_repeated() {
    let (gate, inside, release) = Gate::new();
    let wheel = HostWheel::start(config(), move |_: &Event| gate.pass()).unwrap();
    wheel.announce("a", ms(20)).unwrap();
    wheel.announce("b", ms(20)).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    for timeout in [ZERO, ms(30), ms(1)] {
        let begun = Instant::now();
        assert_eq!(wheel.close(timeout), Err(CloseError::Timeout));
        assert!(begun.elapsed() >= timeout, "it waited as long as it was told to");
    }
    assert_eq!(wheel.announce("a", ms(20)), Err(AnnounceError::Closed), "it is closing all the same");
    release.send(()).unwrap();
    assert_eq!(wheel.close(Duration::MAX), Ok(()));
    assert_eq!(wheel.close(ZERO), Ok(()));
    assert!(inside.try_recv().is_err(), "the other host got no callback");
}

#[test]
fn a_close_during_an_advance_on_another_thread_waits_for_its_callback() {
    let (gate, inside, release) = Gate::new();
    let wheel = HostWheel::manual(Config { watchdog: ZERO, ..config() }, move |_: &Event| gate.pass()).unwrap();
    wheel.announce("a", ms(20)).unwrap();
    wheel.announce("b", ms(20)).unwrap();
    thread::scope(|scope| {
        let advance = scope.spawn(|| wheel.advance(ms(1000)));
        inside.recv_timeout(PATIENCE).unwrap();
        assert_eq!(wheel.close(ms(20)), Err(CloseError::Timeout));
        release.send(()).unwrap();
        assert_eq!(wheel.close(PATIENCE), Ok(()));
        assert_eq!(advance.join().unwrap(), Ok(1), "the second callback did not begin");
        assert_eq!(wheel.advance(ms(2000)), Err(AdvanceError::Closed));
    });
}

#[test]
fn a_wheel_dropped_inside_its_callback_does_not_wait_for_itself() {
    let (cell, dropped) = (Arc::new(OnceLock::<std::sync::Weak<HostWheel>>::new()), mpsc::channel());
    let (inside, (entered, is_inside)) = (cell.clone(), mpsc::channel());
    let handler = move |_: &Event| {
        let wheel = inside.wait().upgrade().expect("main still holds it");
        entered.send(()).unwrap();
        until("this is the last reference", || Arc::strong_count(&wheel) == 1);
        drop(wheel);
        // Reached at once, or this would have waited for the callback that it is in.
        dropped.0.send(()).unwrap();
        Verdict::Done
    };
    let wheel = Arc::new(HostWheel::start(config(), handler).unwrap());
    cell.set(Arc::downgrade(&wheel)).unwrap();
    wheel.announce("a", ms(20)).unwrap();
    wheel.announce("b", ms(20)).unwrap();
    is_inside.recv_timeout(PATIENCE).unwrap();
    drop(wheel);
    dropped.1.recv_timeout(PATIENCE).unwrap();
    // The thread ends, and with it the handler, whose end of the channel hangs up: no second callback came.
    assert_eq!(dropped.1.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_handler_that_holds_the_last_reference_to_its_wheel_does_not_hold_up_its_thread() {
    // Such a handler must close the wheel itself. Then it is dropped on the wheel's thread, and the wheel with it.
    let (cell, (told, tid)) = (Arc::new(OnceLock::<Arc<HostWheel>>::new()), mpsc::channel());
    let inside = cell.clone();
    let handler = move |_: &Event| {
        assert_eq!(inside.wait().close(ZERO), Err(CloseError::InCallback));
        // SAFETY: it takes and touches nothing.
        told.send(unsafe { libc::gettid() }).unwrap();
        until("the handler's is the last reference", || {
            Arc::strong_count(&inside) == 1 && Arc::strong_count(inside.wait()) == 1
        });
        Verdict::Done
    };
    let wheel = Arc::new(HostWheel::start(config(), handler).unwrap());
    wheel.announce("a", ms(20)).unwrap();
    assert!(cell.set(wheel).is_ok());
    drop(cell);
    let task = format!("/proc/self/task/{}", tid.recv_timeout(PATIENCE).unwrap());
    let begun = Instant::now();
    until("the thread has ended", || !Path::new(&task).exists());
    // Dropping a wheel waits up to 5 s for a running callback. None runs here.
    assert!(begun.elapsed() < Duration::from_secs(4), "the thread waited {:?} for itself", begun.elapsed());
}

#[test]
fn a_callback_may_close_and_drop_another_wheel() {
    let other = HostWheel::start(config(), |_: &Event| Verdict::Done).unwrap();
    other.announce("b", ms(20)).unwrap();
    let (mut other, (told, closed)) = (Some(other), mpsc::channel());
    let wheel = HostWheel::start(config(), move |_: &Event| {
        if let Some(other) = other.take() {
            told.send(other.close(PATIENCE)).unwrap();
        }
        Verdict::Done
    })
    .unwrap();
    wheel.announce("a", ms(20)).unwrap();
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(Ok(())));
    assert_eq!(wheel.close(PATIENCE), Ok(()));
}

#[test]
fn an_idle_wheel_closes_in_no_time() {
    for _ in 0..50 {
        let wheel = HostWheel::start(config(), |_: &Event| Verdict::Done).unwrap();
        wheel.announce("a", ms(60_000)).unwrap();
        assert_eq!(wheel.close(ZERO), Ok(()));
        let (wheel, _events) = HostWheel::drained(config()).unwrap();
        wheel.announce("a", ms(60_000)).unwrap();
        assert_eq!(wheel.close(ZERO), Ok(()));
    }
}

#[test]
fn a_consumer_that_waits_for_events_learns_of_the_end() {
    for by_drop in [false, true] {
        let (wheel, mut events) = HostWheel::drained(config()).unwrap();
        wheel.announce("a", ms(60_000)).unwrap();
        let consumer = thread::spawn(move || {
            let mut drained = Vec::new();
            while !events.is_closed() {
                let mut fd = libc::pollfd { fd: events.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one valid element.
                let ready = unsafe { libc::poll(&mut fd, 1, PATIENCE.as_millis() as i32) };
                assert_eq!(ready, 1, "the descriptor becomes readable");
                events.drain(&mut drained, 16);
            }
            drained.len()
        });
        if by_drop {
            drop(wheel);
        } else {
            wheel.close(ZERO).unwrap();
        }
        assert_eq!(consumer.join().unwrap(), 0);
    }
}
