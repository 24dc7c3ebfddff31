//! A wheel in a schedule: the threads around it, and what they do.

use std::sync::OnceLock;
use std::time::Duration;

use super::books::Books;
use crate::config::{Brake, Clock, Config};
use crate::error::{AnnounceError, RenewError};
use crate::event::{Event, EventKind, Handler, Verdict};
use crate::expiry::{Delivery, EventFd, Events, Stage};
use crate::liveness::{Engine, Interval, Shared, Wake};
use crate::record::State;
use crate::sync::rand::{Rng, thread_rng};
use crate::sync::scheduled_thread::{self as thread, JoinHandle, Thread};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::tick::{TICK_NS, Tick, tick_floor};

/// What the thread's poll waits for: the waker, and the timer, which the clock looks at when it moves.
pub(super) struct Bell {
    rung: AtomicBool,
    /// The tick of the clock, `away` included, at which the timer fires; `Tick::MAX` when it is off.
    timer: AtomicU64,
    asleep: AtomicBool,
    observer: OnceLock<Thread>,
}

struct Rope(Arc<Bell>);

impl Wake for Rope {
    fn wake(&self) {
        self.0.rung.store(true, Ordering::SeqCst);
        self.0.rouse();
    }
}

impl Bell {
    fn rouse(&self) {
        if let Some(observer) = self.observer.get() {
            observer.unpark();
        }
    }
}

/// How the consumer answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Temper {
    /// With `Done`, always.
    Kind,
    /// To the first two attempts with whatever there is, also with a panic or, where it drains, not at all.
    Moody,
}

impl Temper {
    /// Below 2: done; 2: again; 3: see [`Moody`](Temper::Moody).
    fn answer(self, event: &Event) -> usize {
        if self == Temper::Moody && event.attempt() < 3 { below(4) } else { 0 }
    }
}

/// See the module.
pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    pub(super) books: Arc<Books>,
    bell: Arc<Bell>,
    stage: Arc<Stage>,
    signal: Option<Arc<EventFd>>,
    temper: Temper,
    /// Nobody but the observer does anything: it checks its invariants before it sleeps.
    calm: AtomicBool,
    /// Nothing but the wheel decides when a host leaves: no guard, no refusal of the consumer's.
    punctual: bool,
    user_data: AtomicU64,
    /// Where the clock is, in milliseconds since open.
    clock_ms: AtomicU64,
}

/// No guards, no watchdog, short times: TTLs of 2 to 20 s, a grace of 1 s.
pub(super) fn quiet() -> Config {
    Config {
        watchdog: Duration::ZERO,
        // At most one sweep while producers are at work: one who is held back from one to the next is taken for lost.
        backstop: Duration::from_secs(13),
        max_hosts: 64,
        max_outstanding: 64,
        host_ttl: Duration::from_secs(6),
        grace: Duration::from_secs(1),
        settle_timeout: Duration::from_secs(3),
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

/// A random number below `n`; the schedule knows it.
pub(super) fn below(n: usize) -> usize {
    thread_rng().gen_range(0..n)
}

impl World {
    /// A wheel, and its observer, which works already.
    pub(super) fn new(config: Config, drained: bool, temper: Temper) -> (Arc<World>, JoinHandle<()>) {
        let punctual = config.brake == Brake::OFF && config.silence_expected == 0 && config.max_outstanding > 2;
        let config = Config { clock: Clock::Manual, ..config };
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(false),
            timer: AtomicU64::new(Tick::MAX),
            asleep: AtomicBool::new(false),
            observer: OnceLock::new(),
        });
        let waker = Box::new(Rope(bell.clone()));
        let shared = Arc::new(Shared::new(&config, drained, waker, 7, u32::MAX).expect("there is address space"));
        let world = Arc::new(World {
            shared,
            books: Arc::new(Books::new(&config)),
            bell,
            stage: Arc::default(),
            signal: drained.then(|| Arc::new(EventFd::new().expect("there are descriptors"))),
            temper,
            calm: AtomicBool::new(false),
            punctual,
            user_data: AtomicU64::new(1),
            clock_ms: AtomicU64::new(0),
        });
        let books = world.books.clone();
        world.shared.on_forgotten(Box::new(move |user_data| books.forgotten(user_data)));
        let observed = world.clone();
        let observer = thread::spawn(move || observed.observe(Engine::new(&config, &observed.shared)));
        (world, observer)
    }

    /// The loop of the thread in `expiry`.
    fn observe(&self, mut engine: Engine) {
        let _stage = self.stage.enter();
        let (s, bell) = (&*self.shared, &*self.bell);
        let _ = bell.observer.set(thread::current());
        let mut delivery = match &self.signal {
            Some(signal) => Delivery::Queue(signal.clone()),
            None => Delivery::Handler(Box::new(Consumer { books: self.books.clone(), temper: self.temper })),
        };
        while !s.clock.is_closed() {
            engine.step(s);
            delivery.deliver(s, &mut engine);
            self.books.raise();
            if engine.has_more(s) {
                continue;
            }
            let alarm = engine.next_look();
            let timer = alarm.map_or(Tick::MAX, |tick| s.clock.reading_at(tick) / TICK_NS);
            bell.timer.store(timer, Ordering::SeqCst);
            if !engine.may_sleep(s, alarm) {
                continue;
            }
            if self.calm.load(Ordering::SeqCst) {
                engine.check_invariants(s);
            }
            bell.asleep.store(true, Ordering::SeqCst);
            while !bell.rung.load(Ordering::SeqCst) && self.clock_ms.load(Ordering::SeqCst) < timer {
                thread::park();
            }
            bell.asleep.store(false, Ordering::SeqCst);
            // After it: who finds the bell silent finds the observer awake, or asleep once more (`settle_down`).
            bell.rung.store(false, Ordering::SeqCst);
            engine.awake(s);
        }
    }

    /// Nobody is in the middle of a call: the observer, who sleeps or is about to, has its alarm no later than any living host
    /// is due a look, unless that host waits for the consumer.
    fn assert_noticed(&self) {
        let s = &*self.shared;
        let alarm = s.alarm.load(Ordering::SeqCst);
        for (index, due) in self.living() {
            let waits = s.slab.record(index).armed() <= self.now();
            assert!(alarm <= due || waits, "the observer sleeps past {due}, until {alarm}");
        }
    }

    /// The records of living hosts, and when each is due a look.
    fn living(&self) -> Vec<(u32, Tick)> {
        let s = &*self.shared;
        let words = (0..s.slab.used()).map(|index| (index, s.slab.record(index).word()));
        words.filter(|(_, word)| word.is_alive()).map(|(index, word)| (index, s.look_at(word))).collect()
    }

    /// How many living hosts the observer should have looked at.
    pub(super) fn overdue(&self) -> usize {
        self.living().iter().filter(|(_, due)| *due <= self.now()).count()
    }

    /// Wheel time.
    pub(super) fn now(&self) -> Tick {
        tick_floor(self.shared.clock.now_ns())
    }

    /// Moves the clock. One thread at a time does.
    pub(super) fn pass(&self, ms: u64) {
        let now = self.clock_ms.load(Ordering::SeqCst) + ms;
        self.shared.clock.set_manual(now * TICK_NS);
        self.clock_ms.store(now, Ordering::SeqCst);
        if self.bell.timer.load(Ordering::SeqCst) <= now {
            self.bell.rouse();
        }
    }

    pub(super) fn announce(&self, id: u8, interval_ms: u64, age_ms: u64) {
        let user_data = self.user_data.fetch_add(1, Ordering::SeqCst);
        let (interval, age) = (Duration::from_millis(interval_ms), Duration::from_millis(age_ms));
        let began = self.books.begin();
        let from = self.now() - age_ms;
        match self.shared.announce(&[id], Interval::from(interval), age, user_data) {
            Ok(announced) => {
                let until = self.now();
                self.books.announced(began, (from, until), age_ms > 0, announced, user_data);
            }
            Err(AnnounceError::Full | AnnounceError::Closed) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Renews by a handle seen before, old or new.
    pub(super) fn renew(&self) {
        let Some(handle) = self.books.handle(below(1 << 16)) else { return };
        let began = self.books.begin();
        let from = self.now();
        match self.shared.renew(handle, Duration::ZERO) {
            Ok(_) => self.books.renewed(began, (from, self.now()), handle),
            Err(RenewError::Stale | RenewError::Taken | RenewError::Closed) => {}
        }
    }

    pub(super) fn leave(&self, id: u8) {
        if let Ok(user_data) = self.shared.leave(&[id]) {
            self.books.left(None, user_data);
        }
    }

    pub(super) fn leave_handle(&self) {
        let Some(handle) = self.books.handle(below(1 << 16)) else { return };
        if let Ok(user_data) = self.shared.leave_handle(handle) {
            self.books.left(Some(handle), user_data);
        }
    }

    /// Drains all there is and answers; returns whether there was anything.
    pub(super) fn drain(&self) -> bool {
        let signal = self.signal.clone().expect("this world drains");
        let mut events = Events { shared: self.shared.clone(), stage: self.stage.clone(), signal };
        let mut drained = Vec::new();
        events.drain(&mut drained, usize::MAX);
        for (n, event) in drained.iter().enumerate() {
            self.books.told(event);
            let leave = event.kind() == EventKind::Leave;
            if leave && drained[..n].iter().any(|e| e.kind() == EventKind::Suspect && e.handle() == event.handle()) {
                self.books.complain(format!("left before its suspect event was drained: {event}"));
            }
        }
        for event in drained.iter().filter(|event| event.kind() == EventKind::Leave) {
            self.settle(event);
        }
        !drained.is_empty()
    }

    fn settle(&self, event: &Event) {
        let verdict = match self.temper.answer(event) {
            0 | 1 => Verdict::Done,
            2 => Verdict::Retry(Duration::from_millis(500)),
            _ => return,
        };
        let settled = self.shared.settle(event.handle(), event.attempt(), verdict);
        if settled.is_ok() && verdict == Verdict::Done {
            self.books.done(event.handle());
        }
        let again = self.shared.settle(event.handle(), event.attempt(), Verdict::Done);
        if settled.is_ok() && again.is_ok() {
            self.books.complain(format!("two answers to one attempt: {event}"));
        }
    }

    /// Closes the wheel and waits until its thread has left the stage, as `HostWheel::close` does.
    pub(super) fn close(&self) {
        self.books.closed(false);
        self.shared.close();
        assert!(self.stage.wait(None));
        // What was made before may still be drained.
        self.books.closed(self.signal.is_none());
    }

    /// Waits until the observer sleeps, has not been woken, and nothing waits to be drained.
    pub(super) fn settle_down(&self) {
        loop {
            if self.signal.is_some() && self.drain() {
                continue;
            }
            let bell = &*self.bell;
            let asleep = !bell.rung.load(Ordering::SeqCst) && bell.asleep.load(Ordering::SeqCst);
            if asleep && bell.timer.load(Ordering::SeqCst) > self.clock_ms.load(Ordering::SeqCst) {
                // Whatever was pushed was pushed before it slept.
                if self.signal.is_none() {
                    return;
                }
                if !self.drain() {
                    assert!(!self.shared.starved.load(Ordering::SeqCst), "hosts wait for room, and there is room");
                    return;
                }
            }
            thread::yield_now();
        }
    }

    /// Has the observer look, and waits until it sleeps again.
    pub(super) fn look(&self) {
        self.shared.waker.wake();
        self.settle_down();
    }

    /// Moves the clock from alarm to alarm, `ms` on at most; returns whether there is no alarm any more.
    pub(super) fn carry_on(&self, ms: u64) -> bool {
        let end = self.clock_ms.load(Ordering::SeqCst).saturating_add(ms);
        loop {
            self.settle_down();
            let (now, timer) = (self.clock_ms.load(Ordering::SeqCst), self.bell.timer.load(Ordering::SeqCst));
            if timer == Tick::MAX {
                return true;
            }
            if timer > end {
                self.pass(end - now);
                self.settle_down();
                return false;
            }
            self.pass(timer - now);
        }
    }

    /// Nobody is in the middle of a call. Lets all hosts expire, closes, drops everything and judges.
    pub(super) fn finish(self: Arc<World>, observer: JoinHandle<()>) {
        self.settle_down();
        self.calm.store(true, Ordering::SeqCst);
        if self.punctual {
            self.assert_noticed();
            self.books.punctual_from(Some(self.now()));
        }
        assert!(self.carry_on(1_000_000), "the wheel does not come to rest");
        // Records of hosts that said goodbye, and of who lost a race for an id, wait for the next look.
        self.look();
        assert!(self.carry_on(1_000_000), "the wheel does not come to rest again");
        let s = &*self.shared;
        for index in 0..s.slab.used() {
            assert_eq!(s.slab.record(index).word().state(), State::Free, "record {index} does not come back");
        }
        let stats = s.stats();
        assert_eq!((stats.live, stats.outstanding, stats.waiting, stats.rescues), (0, 0, 0, 0), "{stats:?}");
        s.close();
        self.end(observer);
    }

    /// Drops everything and judges. The wheel was closed.
    pub(super) fn end(self: Arc<World>, observer: JoinHandle<()>) {
        observer.join().expect("the observer returns");
        let books = self.books.clone();
        let world = Arc::into_inner(self).expect("all threads have returned");
        drop(world);
        books.balance();
    }
}

/// The consumer that is called back.
struct Consumer {
    books: Arc<Books>,
    temper: Temper,
}

impl Handler for Consumer {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.books.told(event);
        match self.temper.answer(event) {
            2 => Verdict::Retry(Duration::from_millis(500)),
            // Past the panic hook: this is what a panic of the handler's is to the wheel.
            3 => std::panic::resume_unwind(Box::new("the handler panics")),
            _ => {
                self.books.done(event.handle());
                Verdict::Done
            }
        }
    }

    fn suspect(&mut self, event: &Event) {
        self.books.told(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.books.told(event);
    }
}
