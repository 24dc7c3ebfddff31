//! The dedicated thread: sleeps until something is due or someone wakes it, steps the engine, delivers.
//!
//! This is where the wheel meets the operating system: an epoll instance (mio), an eventfd to be woken by (mio's waker)
//! and a timerfd, because epoll's own timeouts are a millisecond coarse. While no host is known the timer is off and the
//! thread does not wake up at all.
//!
//! Also here: [`Stage`], which knows whether the observer is at work, so that `close` can wait for it. `events.rs` is the consumer's
//! end of drain delivery.

mod events;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};

use crate::config::Config;
use crate::event::{Event, EventKind, Handler, Verdict};
use crate::liveness::{Engine, Shared, Wake};
use crate::memory;
use crate::sync::{Arc, Condvar, Mutex, lock};

pub(crate) use events::EventFd;
pub use events::Events;

const WOKEN: Token = Token(0);
const TIMER: Token = Token(1);

impl Wake for Waker {
    fn wake(&self) {
        // It fails only if the eventfd's counter is full, and then the thread is woken already.
        let _ = Waker::wake(self);
    }

    fn pause(&self) -> bool {
        if observed().next().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
        true
    }
}

/// What the observer of a wheel does: whether it may be inside a callback, and whether it will ever be again.
#[derive(Default)]
pub(crate) struct Stage {
    state: Mutex<StageState>,
    changed: Condvar,
}

#[derive(Default)]
struct StageState {
    /// Callbacks may run, or a caller of `advance` is at work.
    busy: bool,
    /// The wheel's thread has not come to its end.
    thread: bool,
    /// It has begun.
    started: bool,
}

impl Stage {
    /// Waits until nobody is at work, and is then the one who is.
    pub(crate) fn enter(&self) -> StageGuard<'_> {
        let mut state = lock(&self.state);
        while state.busy {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.busy = true;
        StageGuard(self)
    }

    /// Enters the stage, unless the wheel is closed: after a close was asked for no callback begins.
    fn enter_open(&self, shared: &Shared) -> Option<StageGuard<'_>> {
        let guard = self.enter();
        // A closer that finds the stage empty has closed the wheel before it took the lock, and is seen here.
        (!shared.clock.is_closed()).then_some(guard)
    }

    /// Waits until no callback runs; false if that takes longer than until `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(deadline, |state| !state.busy)
    }

    /// Waits until the wheel's thread has come to its end; false if that takes longer than until `deadline`.
    pub(crate) fn wait_for_thread(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(deadline, |state| !state.thread)
    }

    /// Waits until the wheel's thread runs.
    fn wait_for_start(&self) {
        self.wait_until(None, |state| state.started);
    }

    /// Whether the observer makes no event any more, of a wheel that is closed.
    fn is_over(&self) -> bool {
        let state = lock(&self.state);
        !state.busy && !state.thread
    }

    fn wait_until(&self, deadline: Option<Instant>, holds: impl Fn(&StageState) -> bool) -> bool {
        let mut state = lock(&self.state);
        while !holds(&state) {
            let left = deadline.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left.min(Duration::from_secs(3600)));
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }
}

/// Leaves the stage when dropped, also by a panic.
pub(crate) struct StageGuard<'a>(&'a Stage);

impl Drop for StageGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).busy = false;
        self.0.changed.notify_all();
    }
}

/// Says that the wheel's thread has begun and, when dropped, that it has come to its end.
struct ThreadGuard<'a>(&'a Stage);

impl ThreadGuard<'_> {
    fn new(stage: &Stage) -> ThreadGuard<'_> {
        lock(&stage.state).started = true;
        stage.changed.notify_all();
        ThreadGuard(stage)
    }
}

impl Drop for ThreadGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).thread = false;
        self.0.changed.notify_all();
    }
}

thread_local! {
    /// The innermost wheel that this thread observes at the moment, on its stack; or null. Without a destructor, which a thread
    /// would need memory to register.
    static OBSERVED: Cell<*const Observed> = const { Cell::new(std::ptr::null()) };
}

/// A wheel that a thread observes, for as long as an [`ObservingGuard`] lives.
pub(crate) struct Observed {
    wheel: *const Shared,
    outer: Cell<*const Observed>,
}

/// The wheels that this thread observes at the moment, the innermost first.
fn observed() -> impl Iterator<Item = *const Shared> {
    // SAFETY: what the thread-local leads to are the referents of guards that this thread has not dropped yet.
    let observed = |at: *const Observed| unsafe { at.as_ref() };
    let all = std::iter::successors(observed(OBSERVED.get()), move |inner| observed(inner.outer.get()));
    all.map(|observed| observed.wheel)
}

/// Whether the caller is inside a callback of this wheel, or otherwise on its observer's stack (a handler that is dropped
/// there may hold the last reference to its own wheel).
pub(crate) fn in_callback(shared: &Shared) -> bool {
    observed().any(|wheel| std::ptr::eq(wheel, shared))
}

impl Observed {
    pub(crate) fn new(shared: &Shared) -> Observed {
        Observed { wheel: shared, outer: Cell::new(std::ptr::null()) }
    }

    /// This thread observes the wheel until the guard is dropped. Guards are dropped in the opposite order.
    pub(crate) fn enter(&self) -> ObservingGuard<'_> {
        self.outer.set(OBSERVED.replace(self));
        ObservingGuard(self)
    }
}

/// Ends what [`Observed::enter`] began.
pub(crate) struct ObservingGuard<'a>(&'a Observed);

impl Drop for ObservingGuard<'_> {
    fn drop(&mut self) {
        OBSERVED.set(self.0.outer.get());
    }
}

/// Hands the engine's batch to the handler. Returns the number of calls.
pub(crate) fn deliver(shared: &Shared, engine: &mut Engine, handler: &mut dyn Handler) -> usize {
    deliver_guards(shared, engine, handler);
    let mut batch = engine.take_batch();
    if batch.is_empty() {
        return 0;
    }
    let mut delivered = 0;
    for event in &mut batch {
        // No callback begins after a close was asked for, so that close need only wait for the one that runs.
        if shared.clock.is_closed() {
            break;
        }
        delivered += 1;
        engine.tells(shared, event);
        let verdict = call(shared, event, handler);
        if event.kind == EventKind::Leave {
            engine.answer(shared, event, verdict);
        }
    }
    engine.return_batch(batch);
    delivered
}

/// Hands the engine's guard events to the handler.
fn deliver_guards(shared: &Shared, engine: &mut Engine, handler: &mut dyn Handler) {
    let events = engine.take_guards();
    for event in &events {
        if shared.clock.is_closed() {
            break;
        }
        guarded(shared, || handler.guard(event));
    }
    engine.return_guards(events);
}

/// Runs a callback; `None` if it panicked, which is counted.
fn guarded<R>(shared: &Shared, callback: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(callback))
        .map_err(|payload| {
            shared.thread.panics.add(1);
            // A payload may panic when it is dropped; what that one leaves is leaked.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        })
        .ok()
}

fn call(shared: &Shared, event: &mut Event, handler: &mut dyn Handler) -> Verdict {
    if event.kind == EventKind::Leave {
        mark_superseded(shared, event);
    }
    let event = &*event;
    let called = guarded(shared, || match event.kind {
        EventKind::Leave => handler.leave(event),
        EventKind::Suspect => {
            handler.suspect(event);
            Verdict::Done
        }
        EventKind::Recovered => {
            handler.recovered(event);
            Verdict::Done
        }
    });
    called.unwrap_or(Verdict::Retry(Duration::ZERO))
}

/// Notes, just before the hand-out, whether the id has come back.
fn mark_superseded(shared: &Shared, event: &mut Event) {
    event.superseded = shared.is_superseded(event);
    if event.superseded {
        shared.thread.superseded.add_shared(1);
    }
}

/// What the thread and the wheel's front share.
pub(crate) struct Threaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the thread. `delivery` gets each step's events.
pub(crate) fn start(config: &Config, seed: u32, delivery: Delivery) -> io::Result<Threaded> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WOKEN)?;
    let timer = Timer::new()?;
    poll.registry().register(&mut SourceFd(&timer.0.as_raw_fd()), TIMER, Interest::READABLE)?;
    let drained = matches!(delivery, Delivery::Queue(_));
    let shared = Arc::new(Shared::new(config, drained, Box::new(waker), seed, u32::MAX)?);
    let stage = Arc::new(Stage::default());
    let observer = Observing {
        engine: Engine::new(config, &shared),
        shared: shared.clone(),
        stage: stage.clone(),
        delivery,
        poll,
        woken_by: mio::Events::with_capacity(4),
        timer,
    };
    lock(&stage.state).thread = true;
    memory::ask_for_thread(config.stack_size)?;
    let spawned = without_signals(|| {
        Builder::new().name("hostwheel".into()).stack_size(config.stack_size).spawn(|| observe(observer))
    });
    let threaded = Threaded { shared, stage, thread: spawned? };
    // The thread has allocated all that its start needs by then.
    threaded.stage.wait_for_start();
    Ok(threaded)
}

/// The thread, from its beginning to its end.
fn observe(mut observer: Observing) {
    let (shared, stage) = (observer.shared.clone(), observer.stage.clone());
    let _thread = ThreadGuard::new(&stage);
    let observed = Observed::new(&shared);
    let _observing = observed.enter();
    // A panic of our own: the panic hook has told of it. Nobody watches any more, so nothing is accepted any more.
    if catch_unwind(AssertUnwindSafe(|| observer.run())).is_err() {
        shared.poison();
    }
    // A consumer that waits for events learns by its next call that none will come.
    observer.delivery.signal().iter().for_each(|signal| signal.raise());
    drop_handler(observer);
}

/// Drops what holds a handler. Its panic is the handler's own.
pub(crate) fn drop_handler<T>(holder: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(holder))).map_err(std::mem::forget);
}

/// Where a step's events go.
pub(crate) enum Delivery {
    Handler(Box<dyn Handler>),
    /// The queue, and the eventfd that tells the consumer.
    Queue(Arc<EventFd>),
}

impl Delivery {
    /// What a consumer that drains waits for.
    pub(crate) fn signal(&self) -> Option<Arc<EventFd>> {
        match self {
            Delivery::Handler(_) => None,
            Delivery::Queue(signal) => Some(signal.clone()),
        }
    }

    /// Delivers what the last step made; returns how many events.
    pub(crate) fn deliver(&mut self, shared: &Shared, engine: &mut Engine) -> usize {
        match self {
            Delivery::Handler(handler) => deliver(shared, engine, &mut **handler),
            Delivery::Queue(signal) => {
                let pushed = engine.take_pushed();
                if engine.take_put() || pushed > 0 {
                    signal.raise();
                }
                pushed
            }
        }
    }
}

/// The thread's own.
struct Observing {
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    engine: Engine,
    delivery: Delivery,
    poll: Poll,
    woken_by: mio::Events,
    timer: Timer,
}

impl Observing {
    fn run(&mut self) {
        let mut began_ns = self.shared.clock.observe_ns();
        while !self.shared.clock.is_closed() {
            self.engine.step(&self.shared);
            if self.engine.has_events()
                && let Some(_stage) = self.stage.enter_open(&self.shared)
            {
                self.delivery.deliver(&self.shared, &mut self.engine);
            }
            // The end of this step, and the beginning of the next one unless the thread sleeps between them.
            let ended_ns = self.shared.clock.observe_ns();
            self.shared.thread.stepped(ended_ns.saturating_sub(began_ns));
            began_ns = ended_ns;
            if self.engine.has_more(&self.shared) {
                continue;
            }
            let alarm = self.engine.next_look();
            self.timer.set(alarm.map_or(0, |tick| self.shared.clock.reading_at(tick)));
            if !self.engine.may_sleep(&self.shared, alarm) {
                continue;
            }
            // An interrupted wait is a wake-up like any other: the engine looks at the clock and finds nothing due. Any
            // other error means that somebody closed our descriptors; then the clock is looked at now and then.
            if self.poll.poll(&mut self.woken_by, None).is_err_and(|e| e.kind() != io::ErrorKind::Interrupted) {
                std::thread::sleep(Duration::from_millis(10));
            }
            self.engine.awake(&self.shared);
            self.shared.thread.wake_ups.add(1);
            self.shared.clock.watch_counter();
            self.shared.clock.measure_lag();
            began_ns = self.shared.clock.observe_ns();
        }
    }
}

/// A timerfd on `CLOCK_MONOTONIC`.
struct Timer(OwnedFd);

impl Timer {
    fn new() -> io::Result<Timer> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor of our own, just made.
        Ok(Timer(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Fires when the clock reads `ns`; 0 switches it off. Setting it also takes back an expiration that nobody read.
    fn set(&self, ns: u64) {
        let value = libc::timespec {
            tv_sec: (ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        };
        let spec = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: reads `spec`. With a valid descriptor and time it does not fail.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut()) };
    }
}

/// Runs `f` with all signals blocked but those that a fault raises, so that a thread that it starts never runs the
/// program's handlers of other signals.
fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: plain data, written by the calls before it is read; they change this thread's mask and nothing else.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT] {
            libc::sigdelset(&mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::{Duration, Instant};

    use crate::pause::{Point, at};
    use crate::{AnnounceError, Config, Event, HostWheel, RenewError, Verdict};

    #[test]
    fn a_step_lasts_as_long_as_its_callbacks() {
        let ms = Duration::from_millis;
        let config = Config { min_interval: ms(20), grace: Duration::ZERO, ..Config::default() };
        let wheel = HostWheel::start(config, move |_: &Event| {
            std::thread::sleep(ms(70));
            Verdict::Done
        })
        .unwrap();
        wheel.announce("leaves", ms(20)).unwrap();
        let start = Instant::now();
        while wheel.stats().longest_step < ms(70) {
            assert!(start.elapsed() < Duration::from_secs(60), "the step was not counted");
            std::thread::sleep(ms(1));
        }
        wheel.close(Duration::from_secs(60)).unwrap();
        let stats = wheel.stats();
        assert!(stats.steps.is_sorted(), "{:?}", stats.steps);
        assert!(stats.steps.last() > Some(&0), "no step without a callback was short: {:?}", stats.steps);
    }

    /// A panic in the wheel's own code, on its thread: nobody watches any more, so nothing may be accepted any more.
    #[test]
    fn a_panic_of_our_own_closes_the_wheel_and_can_be_told() {
        let ms = Duration::from_millis;
        let config = Config { min_interval: ms(20), grace: Duration::ZERO, ..Config::default() };
        let wheel = HostWheel::start(config, |_: &Event| {
            // When the host that leaves is freed, which is not in the callback any more.
            at(Point::Freed, || panic!("planted"));
            Verdict::Done
        })
        .unwrap();
        let other = wheel.announce("lives on", ms(60_000)).unwrap().handle;
        wheel.announce("leaves", ms(20)).unwrap();
        let start = Instant::now();
        while !wheel.is_poisoned() {
            assert!(start.elapsed() < Duration::from_secs(60), "the panic did not happen");
            std::thread::sleep(ms(1));
        }
        assert_eq!(wheel.announce("new", ms(1000)).map(|announced| announced.outcome), Err(AnnounceError::Closed));
        assert_eq!(wheel.renew(other), Err(RenewError::Closed));
        assert_eq!(wheel.find("lives on"), Ok(other), "what is known can still be read");
        wheel.close(Duration::from_secs(60)).unwrap();
        assert!(wheel.is_poisoned());
        assert!(format!("{wheel:?}").starts_with("HostWheel { live: 1, now: "), "{wheel:?}");
    }
}
