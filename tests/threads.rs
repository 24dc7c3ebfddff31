//! Real threads and the real clock: announcers against the expiry thread. Tests wait for conditions; the only time they
//! judge is "never early", by their own bookkeeping.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{
    AnnounceError, Brake, Clock, Config, Event, EventKind, Events, Handle, Handler, HostWheel, LeaveError, Outcome,
    RenewError, Verdict,
};

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

/// Short lives, for tests that wait for leaves.
fn config() -> Config {
    Config { min_interval: ms(20), grace: ms(20), brake: Brake::OFF, silence_expected: 0, ..Config::default() }
}

/// Xorshift: tests need variety, not quality.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Takes the time of announces. A stamp of the coarse clock may lie in the past by what that clock lags
/// beyond the margin; that happens when the processor that keeps the time is taken away, and is measured here.
#[derive(Clone, Copy)]
struct Watch {
    /// The least margin of the coarse clock's stamps; `None` for the other clocks, whose stamps are never early.
    margin: Option<Duration>,
}

impl Watch {
    /// A wheel's watch: the margin never shrinks.
    fn of(wheel: &HostWheel) -> Watch {
        let stats = wheel.stats();
        Watch { margin: (stats.clock == Clock::Coarse).then_some(stats.margin) }
    }

    /// A moment that the stamp of an announce that begins now is not before.
    fn before_an_announce(self) -> Instant {
        let read = |clock| {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: writes to `time` only.
            unsafe { libc::clock_gettime(clock, &mut time) };
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        let Some(margin) = self.margin else { return Instant::now() };
        let (stamped, now) = (read(libc::CLOCK_MONOTONIC_COARSE) + margin, Instant::now());
        now - read(libc::CLOCK_MONOTONIC).saturating_sub(stamped)
    }
}

/// What announcers and the consumer of one run noted, to be judged at its end.
#[derive(Default)]
struct Book {
    /// Per incarnation: the earliest moment at which it may leave, by the last announce that returned its handle.
    not_before: HashMap<Handle, Instant>,
    /// Calls that returned `Registered`.
    registered: Vec<Handle>,
    /// Polite leaves that returned `Ok`.
    polite: Vec<Handle>,
    /// Leaves as they were handed out: when, which attempt, whether accepted.
    left: Vec<(Handle, Instant, u32, bool)>,
}

impl Book {
    /// Adds what another thread noted.
    fn add(&mut self, other: Book) {
        for (handle, not_before) in other.not_before {
            let latest = self.not_before.entry(handle).or_insert(not_before);
            *latest = not_before.max(*latest);
        }
        self.registered.extend(other.registered);
        self.polite.extend(other.polite);
        self.left.extend(other.left);
    }

    fn judge(self) {
        let Book { not_before, mut registered, polite, left } = self;
        let mut attempts: HashMap<Handle, u32> = HashMap::new();
        let mut ended = polite;
        for (handle, at, attempt, accepted) in left {
            let earliest = not_before[&handle];
            assert!(at >= earliest, "{handle} left {:?} early", earliest - at);
            let before = attempts.insert(handle, attempt).unwrap_or(0);
            assert_eq!(attempt, before + 1, "{handle}: attempts in order, none twice");
            ended.extend(accepted.then_some(handle));
        }
        assert!(!registered.is_empty() && !attempts.is_empty(), "the run exercised nothing");
        registered.sort();
        ended.sort();
        let ends = ended.len();
        ended.dedup();
        assert_eq!(ended.len(), ends, "an incarnation ended twice");
        assert!(registered == ended, "registered {}, ended {ends}: hosts were lost or invented", registered.len());
    }
}

/// One announcer's hosts: 24 of its own, whose intervals change, and 8 that all announce at one interval.
fn announcer(wheel: &HostWheel, watch: Watch, me: u64, stop: &AtomicBool) -> Book {
    let (mut book, mut dice) = (Book::default(), Dice(0x9e37_79b9 + 77 * me));
    let mut known: HashMap<u64, (Handle, Duration)> = HashMap::new();
    let mut quiet_until = [Instant::now(); 32];
    while !stop.load(Ordering::Relaxed) {
        let (host, action) = (dice.below(32), dice.below(1000));
        let shared = host >= 24;
        let id = if shared { format!("shared-{host}") } else { format!("{me}-{host}") };
        let begun = watch.before_an_announce();
        match (action, known.get(&host).copied()) {
            _ if Instant::now() < quiet_until[host as usize] => thread::yield_now(),
            (0..5, _) => quiet_until[host as usize] = begun + ms(dice.below(400)),
            (5..30, Some((handle, _))) if !shared => {
                known.remove(&host);
                book.polite.extend(wheel.leave(&id).ok().map(|_| handle));
            }
            (30..60, Some((handle, _))) if !shared => {
                known.remove(&host);
                book.polite.extend(wheel.leave_handle(handle).ok().map(|_| handle));
            }
            (60..800, Some((handle, interval))) => {
                if wheel.renew(handle).is_ok() {
                    book.not_before.insert(handle, begun + 2 * interval + ms(20));
                } else {
                    known.remove(&host);
                }
            }
            _ => {
                let interval = if shared { ms(40) } else { ms(20 + dice.below(60)) };
                let announced = wheel.announce(&id, interval).unwrap();
                book.not_before.insert(announced.handle, begun + 2 * interval + ms(20));
                book.registered.extend((announced.outcome == Outcome::Registered).then_some(announced.handle));
                known.insert(host, (announced.handle, interval));
            }
        }
        if dice.below(64) == 0 {
            thread::sleep(Duration::from_micros(300));
        }
    }
    book
}

/// Lets eight announcers loose for two seconds, waits until all hosts have gone, and returns what the announcers noted.
fn storm(wheel: &HostWheel) -> Book {
    let stop = AtomicBool::new(false);
    let mut book = Book::default();
    thread::scope(|scope| {
        let (stop, watch) = (&stop, Watch::of(wheel));
        let announcers = [1, 2, 3, 4, 5, 6, 7, 8].map(|me| scope.spawn(move || announcer(wheel, watch, me, stop)));
        thread::sleep(ms(2000));
        stop.store(true, Ordering::Relaxed);
        announcers.into_iter().for_each(|announcer| book.add(announcer.join().unwrap()));
    });
    until("all hosts have left", || wheel.stats().live == 0 && wheel.stats().outstanding == 0);
    let stats = wheel.stats();
    assert_eq!((stats.rescues, stats.panics, stats.suspect, stats.waiting), (0, 0, 0, 0));
    assert_eq!(stats.registered, stats.left + stats.leaves_ttl);
    book
}

/// A handler that notes leaves, asks for a retry now and then, and calls back into the wheel.
struct Clerk {
    book: Arc<Mutex<Book>>,
    wheel: Arc<OnceLock<Weak<HostWheel>>>,
    dice: Dice,
}

impl Handler for Clerk {
    fn leave(&mut self, event: &Event) -> Verdict {
        let (at, accepted) = (Instant::now(), self.dice.below(8) > 0);
        let mut book = self.book.lock().unwrap();
        book.left.push((event.handle(), at, event.attempt(), accepted));
        if let Some(wheel) = self.wheel.get().and_then(Weak::upgrade) {
            assert_eq!(wheel.renew(event.handle()), Err(RenewError::Taken));
            if !event.id().starts_with(b"inside") {
                let begun = Watch::of(&wheel).before_an_announce();
                let announced = wheel.announce(format!("inside-{}", self.dice.below(8)), ms(20)).unwrap();
                book.not_before.insert(announced.handle, begun + ms(60));
                book.registered.extend((announced.outcome == Outcome::Registered).then_some(announced.handle));
            }
        }
        if accepted { Verdict::Done } else { Verdict::Retry(ms(3)) }
    }

    fn suspect(&mut self, event: &Event) {
        let Some(wheel) = self.wheel.get().and_then(Weak::upgrade) else { return };
        let begun = Watch::of(&wheel).before_an_announce();
        if self.dice.below(8) == 0 && wheel.renew(event.handle()).is_ok() {
            // At least: its interval may have changed meanwhile.
            let not_before = [(event.handle(), begun + ms(60))].into();
            self.book.lock().unwrap().add(Book { not_before, ..Book::default() });
        }
    }
}

fn a_storm_with_callbacks(clock: Clock) {
    let (book, cell) = (Arc::<Mutex<Book>>::default(), Arc::<OnceLock<_>>::default());
    let clerk = Clerk { book: book.clone(), wheel: cell.clone(), dice: Dice(4711) };
    let wheel = Arc::new(HostWheel::start(Config { clock, ..config() }, clerk).unwrap());
    cell.set(Arc::downgrade(&wheel)).unwrap();
    let noted = storm(&wheel);
    wheel.close(PATIENCE).unwrap();
    let mut book = std::mem::take(&mut *book.lock().unwrap());
    book.add(noted);
    book.judge();
}

#[test]
fn no_host_leaves_early_twice_or_never_with_the_processors_counter() {
    a_storm_with_callbacks(Clock::Counter);
}

#[test]
fn no_host_leaves_early_twice_or_never_with_the_coarse_clock() {
    a_storm_with_callbacks(Clock::Coarse);
}

#[test]
fn no_host_leaves_early_twice_or_never_with_the_precise_clock() {
    a_storm_with_callbacks(Clock::Precise);
}

/// Waits for events with poll(2), for 20 ms at most, and drains at most `limit`.
fn poll_and_drain(events: &mut Events, into: &mut Vec<Event>, limit: usize) -> usize {
    let mut fd = libc::pollfd { fd: events.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid element.
    unsafe { libc::poll(&mut fd, 1, 20) };
    if fd.revents == 0 { 0 } else { events.drain(into, limit) }
}

/// Drains and settles until it is told to stop.
fn consumer(wheel: &HostWheel, mut events: Events, stop: &AtomicBool) -> Book {
    let (mut book, mut dice, mut drained) = (Book::default(), Dice(99), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        poll_and_drain(&mut events, &mut drained, 16);
        for event in drained.drain(..).filter(|event: &Event| event.kind() == EventKind::Leave) {
            let accepted = dice.below(8) > 0;
            book.left.push((event.handle(), Instant::now(), event.attempt(), accepted));
            let verdict = if accepted { Verdict::Done } else { Verdict::Retry(ms(3)) };
            wheel.settle(event.handle(), event.attempt(), verdict).unwrap();
        }
    }
    assert_eq!(events.drain(&mut drained, 1000), 0, "nothing is left to be told");
    book
}

#[test]
fn no_host_leaves_early_twice_or_never_when_events_are_drained_from_a_small_queue() {
    let (wheel, events) = HostWheel::drained(Config { max_outstanding: 20, ..config() }).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| consumer(&wheel, events, &stop));
        let mut book = storm(&wheel);
        stop.store(true, Ordering::Relaxed);
        book.add(consumer.join().unwrap());
        book.judge();
    });
}

#[test]
fn a_drain_alone_lets_the_hosts_go_on_that_wait_for_room() {
    // Nothing else wakes the thread: no watchdog, no back-stop, no answer, no announce.
    let config = Config { max_outstanding: 2, watchdog: ZERO, backstop: ZERO, ..config() };
    let (wheel, mut events) = HostWheel::drained(config).unwrap();
    for n in 0..50u8 {
        wheel.announce([n], ms(20)).unwrap();
    }
    let mut drained = Vec::new();
    until("all have been told", || {
        // Let the thread fill the queue and fall asleep.
        thread::sleep(ms(3));
        poll_and_drain(&mut events, &mut drained, 1);
        drained.len() == 52
    });
    let suspects = drained.iter().filter(|event| event.kind() == EventKind::Suspect).count();
    assert_eq!(suspects, 50, "and as many leaves as may be outstanding");
}

#[test]
fn registrations_that_race_for_an_id_make_one_host_and_keep_one_record() {
    const HOSTS: u32 = 50_000;
    // The records of those that lost the race come back. If they did not, the table would be full for ever.
    let config = Config { max_hosts: HOSTS as usize + 6, ..config() };
    let wheel = HostWheel::start(config, |_: &Event| Verdict::Done).unwrap();
    let announce_all = |me: u64| {
        // All in the same order: whoever finds hosts registered is faster, and meets the one who registers.
        let announce = |n: u32| {
            let mut announced = Err(AnnounceError::Full);
            until("the table has room", || {
                announced = wheel.announce_with(n.to_le_bytes(), Duration::from_secs(60), ZERO, me);
                announced != Err(AnnounceError::Full)
            });
            announced.unwrap()
        };
        (0..HOSTS).map(announce).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let announce_all = &announce_all;
        let results = [0, 1, 2, 3].map(|me| scope.spawn(move || announce_all(me))).map(|thread| thread.join().unwrap());
        for n in 0..HOSTS as usize {
            let winners: Vec<_> = (0..4).filter(|me| results[*me][n].outcome == Outcome::Registered).collect();
            assert_eq!(winners.len(), 1, "host {n}");
            assert!(results.iter().all(|result| result[n].handle == results[0][n].handle), "host {n}");
            assert_eq!(wheel.leave((n as u32).to_le_bytes()), Ok(winners[0] as u64), "the winner's user data");
        }
    });
    assert_eq!((wheel.stats().registered, wheel.stats().live), (u64::from(HOSTS), 0));
}

#[test]
fn an_announcer_that_is_held_back_across_a_whole_ttl_comes_back_under_a_new_handle() {
    let (book, cell) = (Arc::<Mutex<Book>>::default(), Arc::default());
    let clerk = Clerk { book: book.clone(), wheel: cell, dice: Dice(5) };
    let wheel = HostWheel::start(Config { clock: Clock::Precise, ..config() }, clerk).unwrap();
    let held_back = |me: u64| {
        let mut book = Book::default();
        let mut last: Option<Handle> = None;
        for round in 0..12 {
            let begun = Instant::now();
            let announced = wheel.announce(format!("{me}"), ms(20)).unwrap();
            book.not_before.insert(announced.handle, begun + ms(60));
            let same = last == Some(announced.handle);
            assert_eq!(announced.outcome == Outcome::Registered, !same);
            book.registered.extend((!same).then_some(announced.handle));
            last = Some(announced.handle);
            // Around its suspect stage, around its leave, long after it.
            thread::sleep(ms(35 + 15 * ((round + me) % 4)));
            let begun = Instant::now();
            if wheel.renew(announced.handle).is_ok() {
                book.not_before.insert(announced.handle, begun + ms(60));
            }
        }
        book
    };
    let mut noted = Book::default();
    thread::scope(|scope| {
        let held_back = &held_back;
        let announcers = [0, 1, 2, 3].map(|me| scope.spawn(move || held_back(me)));
        announcers.into_iter().for_each(|announcer| noted.add(announcer.join().unwrap()));
    });
    until("all hosts have left", || wheel.stats().live == 0 && wheel.stats().outstanding == 0);
    wheel.close(PATIENCE).unwrap();
    noted.add(std::mem::take(&mut *book.lock().unwrap()));
    noted.judge();
}

#[test]
fn a_host_may_come_back_while_its_leave_is_being_delivered() {
    let (entered, inside) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let wheel = HostWheel::start(Config { grace: ZERO, ..config() }, move |event: &Event| {
        entered.send(event.handle()).unwrap();
        let _ = released.recv_timeout(PATIENCE);
        Verdict::Done
    })
    .unwrap();
    let old = wheel.announce("a", ms(20)).unwrap().handle;
    assert_eq!(inside.recv_timeout(PATIENCE), Ok(old));
    // None of these waits for the callback.
    let new = wheel.announce("a", Duration::from_secs(3600)).unwrap();
    assert_eq!((new.outcome, new.handle == old), (Outcome::Registered, false));
    assert_eq!((wheel.renew(old), wheel.leave_handle(old)), (Err(RenewError::Taken), Err(LeaveError::Taken)));
    assert_eq!((wheel.renew(new.handle), wheel.find("a")), (Ok(Outcome::Renewed), Ok(new.handle)));
    release.send(()).unwrap();
    until("the leave was answered", || wheel.renew(old) == Err(RenewError::Stale));
    assert_eq!((wheel.renew(new.handle), wheel.find("a")), (Ok(Outcome::Renewed), Ok(new.handle)));
    drop(release);
    wheel.close(PATIENCE).unwrap();
    assert!(inside.try_recv().is_err());
}

#[test]
fn a_retry_counts_from_the_answer_however_long_the_callback_took() {
    const AFTER: Duration = ms(300);
    let (answers, answered) = mpsc::channel();
    let handler = move |event: &Event| {
        let given = Instant::now();
        let verdict = if event.attempt() == 1 { Verdict::Retry(AFTER) } else { Verdict::Done };
        // As a consumer does that gives up on something else. Shorter than what the wheel counts of an absence.
        thread::sleep(ms(400));
        answers.send((given, Instant::now())).unwrap();
        verdict
    };
    let wheel = HostWheel::start(Config { brake: Brake::OFF, grace: ZERO, ..Config::default() }, handler).unwrap();
    wheel.announce("a", ms(1000)).unwrap();
    let (_, first) = answered.recv_timeout(PATIENCE).unwrap();
    let (again, _) = answered.recv_timeout(PATIENCE).unwrap();
    // Ticks are whole milliseconds.
    assert!(again - first >= AFTER - ms(1), "handed out again after {:?}", again - first);
}

/// A field of this thread's status file.
fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there").trim().to_string()
}

#[test]
fn the_thread_is_named_and_never_runs_the_programs_signal_handlers() {
    let (found, mine) = (Arc::<OnceLock<_>>::default(), status("SigBlk:"));
    let told = found.clone();
    let wheel = HostWheel::start(Config { grace: ZERO, ..config() }, move |_: &Event| {
        told.set((thread::current().name().map(str::to_string), status("Name:"), status("SigBlk:"))).unwrap();
        Verdict::Done
    })
    .unwrap();
    assert_eq!(status("SigBlk:"), mine, "the opener's mask is as it was");
    wheel.announce("a", ms(20)).unwrap();
    until("the leave", || found.get().is_some());
    let (name, comm, blocked) = found.get().unwrap();
    assert_eq!((name.as_deref(), &comm[..]), (Some("hostwheel"), "hostwheel"));
    let blocked = u64::from_str_radix(blocked, 16).unwrap();
    // A fault is the thread's own, whoever handles it. 32 and 33 belong to the C library.
    let faults = [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];
    let unblockable = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
    for signal in (1..=64).filter(|signal| !faults.contains(signal) && !unblockable.contains(signal)) {
        assert!(blocked & 1 << (signal - 1) != 0, "signal {signal} is not blocked: {blocked:#x}");
    }
}

#[test]
fn the_thread_does_not_wake_up_while_no_host_is_known() {
    let fresh = HostWheel::start(config(), |_: &Event| Verdict::Done).unwrap();
    let abandoned = HostWheel::start(config(), |_: &Event| Verdict::Done).unwrap();
    let polite = HostWheel::drained(config()).unwrap();
    for n in 0..100u8 {
        abandoned.announce([n], ms(20)).unwrap();
        polite.0.announce([n], ms(20)).unwrap();
        polite.0.leave([n]).unwrap();
    }
    until("the hosts have left", || abandoned.stats().live == 0);
    let wheels = [&fresh, &abandoned, &polite.0];
    let wake_ups = || wheels.map(|wheel| wheel.stats().wake_ups);
    let mut last = wake_ups();
    until("all is quiet", || {
        thread::sleep(ms(500));
        std::mem::replace(&mut last, wake_ups()) == last
    });
    thread::sleep(ms(3000));
    assert_eq!(wake_ups(), last);
    assert_eq!(abandoned.announce("a", ms(20)).map(|a| a.outcome), Ok(Outcome::Registered));
    until("the thread still works", || abandoned.stats().leaves_ttl == 101);
}

/// Goodbyes that cannot be freed, because the thread is in a callback, must not make the wheel take ever more memory.
#[test]
fn hosts_that_flap_while_the_thread_is_busy_take_few_records() {
    // What may always wait to be freed; how many records a registration gets that waited in vain, and how long it waits.
    let (flood, stretch, wait) = (8192, 64, ms(50));
    let (release, released) = mpsc::channel::<()>();
    let (enter, entered) = mpsc::channel();
    let mut blocks = Some((enter, released));
    let wheel = HostWheel::start(config(), move |_: &Event| {
        if let Some((enter, released)) = blocks.take() {
            enter.send(()).expect("the test waits for it");
            // An error means that the test has failed already.
            let _ = released.recv();
        }
        Verdict::Done
    })
    .unwrap();
    wheel.announce("victim", ms(20)).unwrap();
    entered.recv_timeout(PATIENCE).expect("the victim leaves");
    let start = Instant::now();
    for _ in 0..flood + 20 * stretch {
        wheel.announce("flaps", ms(1000)).unwrap();
        wheel.leave("flaps").unwrap();
    }
    let in_vain = start.elapsed().as_millis() as u64 / wait.as_millis() as u64;
    let (records, most) = (wheel.stats().records, flood + (in_vain + 3) * stretch);
    release.send(()).expect("the callback waits for it");
    assert!(records <= most, "{records} records after {in_vain} waits in vain");
    wheel.close(PATIENCE).unwrap();
}
