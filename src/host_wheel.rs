//! The front of the library: a wheel with its thread, or with a manual clock.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{Clock, Config};
use crate::error::{
    AdvanceError, AnnounceError, CloseError, LeaveError, LookupError, OpenError, ReleaseError, RenewError,
    RestoreError, SettleError, SnapshotError,
};
use crate::event::{Handler, Verdict};
use crate::expiry::{self, Delivery, EventFd, Events, Observed, Stage, drop_handler, in_callback};
use crate::liveness::{Announced, Engine, Interval, Outcome, Replaced, Shared, Wake};
use crate::memory;
use crate::record::Handle;
use crate::snapshot::{self, Restored};
use crate::stats::{HostStatus, HostView, Stats};
use crate::sync::{Arc, Mutex, lock};

/// How long dropping a wheel waits for a running callback.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// A set of hosts, and what tells which of them have gone.
///
/// All methods may be called from any thread, also inside callbacks; share the wheel in an `Arc`. What takes a host's id
/// takes any 1 to [`LONGEST_ID`](crate::LONGEST_ID) bytes. Calls that name a known host take no lock, wait for nobody,
/// allocate nothing and cost O(1). A registration takes no lock either; it asks the system for memory now and then, and may
/// wait up to 50 ms while hosts register and leave faster than their records can be freed.
///
/// Dropping the wheel closes it, and waits up to 5 s for a callback that runs (not when dropped inside one).
pub struct HostWheel {
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    observer: Observer,
    /// What a consumer that drains waits for.
    signal: Option<Arc<EventFd>>,
}

/// Who steps the engine.
enum Observer {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Manual(Box<Mutex<Manual>>),
}

/// The engine of a wheel with a manual clock.
struct Manual {
    engine: Engine,
    /// `None` once the wheel was dropped.
    delivery: Option<Delivery>,
}

/// With a manual clock there is nobody to wake.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl HostWheel {
    /// Opens a wheel that calls `handler`, on a thread of its own, or with [`Clock::Manual`] inside
    /// [`advance`](Self::advance).
    ///
    /// # Errors
    /// The configuration is contradictory, or the system refuses memory, a thread or a descriptor.
    pub fn start(config: Config, handler: impl Handler) -> Result<HostWheel, OpenError> {
        memory::ask_for_opening()?;
        Self::open(&config, Delivery::Handler(Box::new(handler)))
    }

    /// Opens a wheel whose events wait in a queue until they are drained: for programs with an event loop of their own.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn drained(config: Config) -> Result<(HostWheel, Events), OpenError> {
        memory::ask_for_opening()?;
        let signal = Arc::new(EventFd::new()?);
        let wheel = Self::open(&config, Delivery::Queue(signal.clone()))?;
        let events = Events { shared: wheel.shared.clone(), stage: wheel.stage.clone(), signal };
        Ok((wheel, events))
    }

    /// As [`start`](Self::start) with [`Clock::Manual`], whatever `config` says: the caller owns time, for tests and
    /// simulations.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn manual(config: Config, handler: impl Handler) -> Result<HostWheel, OpenError> {
        Self::start(Config { clock: Clock::Manual, ..config }, handler)
    }

    fn open(config: &Config, delivery: Delivery) -> Result<HostWheel, OpenError> {
        config.check()?;
        // Random per wheel, by the only source of randomness in std.
        let seed = RandomState::new().hash_one(0u8) as u32;
        if config.clock == Clock::Manual {
            return Ok(Self::with_manual_clock(config, delivery, seed, u32::MAX)?);
        }
        let signal = delivery.signal();
        let threaded = expiry::start(config, seed, delivery)?;
        Ok(HostWheel {
            shared: threaded.shared,
            stage: threaded.stage,
            observer: Observer::Thread(Mutex::new(Some(threaded.thread))),
            signal,
        })
    }

    pub(crate) fn with_manual_clock(
        config: &Config,
        delivery: Delivery,
        seed: u32,
        lives: u32,
    ) -> io::Result<HostWheel> {
        let signal = delivery.signal();
        let shared = Arc::new(Shared::new(config, signal.is_some(), Box::new(Nobody), seed, lives)?);
        let mut engine = Engine::new(config, &shared);
        // The first look, so that time may pass from now on.
        engine.step(&shared);
        Ok(HostWheel {
            shared,
            stage: Arc::default(),
            observer: Observer::Manual(Box::new(Mutex::new(Manual { engine, delivery: Some(delivery) }))),
            signal,
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The host `id` was heard, and will be again within `interval`, or says nothing about that ([`Interval::NONE`]).
    ///
    /// Registers the host if it is not known; renews it and takes over the interval, which may change at any announce, if
    /// it is. The interval is clamped to the configured bounds.
    ///
    /// # Errors
    /// The id's length, a full table, no memory, a closed wheel. Nothing has changed then.
    pub fn announce(&self, id: impl AsRef<[u8]>, interval: impl Into<Interval>) -> Result<Announced, AnnounceError> {
        self.announce_with(id, interval, Duration::ZERO, 0)
    }

    /// As [`announce`](Self::announce), for an announce heard `age` ago. One from before the last announce changes nothing.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn announce_seen(
        &self,
        id: impl AsRef<[u8]>,
        interval: impl Into<Interval>,
        age: Duration,
    ) -> Result<Announced, AnnounceError> {
        self.announce_with(id, interval, age, 0)
    }

    /// As [`announce_seen`](Self::announce_seen), with a number of the caller's that comes back with the host's events. It
    /// is kept only if the outcome is [`Outcome::Registered`].
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn announce_with(
        &self,
        id: impl AsRef<[u8]>,
        interval: impl Into<Interval>,
        age: Duration,
        user_data: u64,
    ) -> Result<Announced, AnnounceError> {
        self.shared.announce(id.as_ref(), interval.into(), age, user_data)
    }

    /// The host `id` came back as another process: ends the incarnation that is known, without a leave event, and begins a new
    /// one with a new handle, in one step for everybody else. At no moment is the id unknown, or known twice. An id that is not
    /// known is registered.
    ///
    /// The old handle is stale from then on, so a late goodbye by it does not end the new incarnation: say goodbye by
    /// [`leave_handle`](Self::leave_handle), and put the handle, or a boot id of one's own, into the message. User data of the
    /// incarnation that ended are the caller's again. Waits for another `replace` of the same id; else as
    /// [`announce`](Self::announce).
    ///
    /// # Errors
    /// As for [`announce`](Self::announce); a full table refuses only an id that is not known.
    pub fn replace(
        &self,
        id: impl AsRef<[u8]>,
        interval: impl Into<Interval>,
        user_data: u64,
    ) -> Result<Replaced, AnnounceError> {
        self.shared.replace(id.as_ref(), interval.into(), user_data)
    }

    /// The host was heard; its interval stays. The cheapest announce: one compare-and-swap.
    ///
    /// # Errors
    /// The host has left, or was handed out as a leave: announce it by its id. Or the wheel is closed.
    #[inline]
    pub fn renew(&self, handle: Handle) -> Result<Outcome, RenewError> {
        self.shared.renew(handle, Duration::ZERO)
    }

    /// As [`renew`](Self::renew), for a host heard `age` ago. News from before the last announce changes nothing.
    ///
    /// # Errors
    /// As for [`renew`](Self::renew).
    #[inline]
    pub fn renew_seen(&self, handle: Handle, age: Duration) -> Result<Outcome, RenewError> {
        self.shared.renew(handle, age)
    }

    /// The host says goodbye: it is removed at once and fires nothing. Returns its user data.
    ///
    /// # Errors
    /// The id's length, an unknown host (also one that was handed out as a leave), a closed wheel.
    pub fn leave(&self, id: impl AsRef<[u8]>) -> Result<u64, LeaveError> {
        self.shared.leave(id.as_ref())
    }

    /// As [`leave`](Self::leave), by handle.
    ///
    /// # Errors
    /// The host has left, or was handed out as a leave; or the wheel is closed.
    pub fn leave_handle(&self, handle: Handle) -> Result<u64, LeaveError> {
        self.shared.leave_handle(handle)
    }

    /// The handle of a host that is known and not handed out as a leave. Works after close as well.
    ///
    /// # Errors
    /// The id's length, or an unknown host.
    pub fn find(&self, id: impl AsRef<[u8]>) -> Result<Handle, LookupError> {
        self.shared.find(id.as_ref())
    }

    /// What decides a host's fate. Works after close as well.
    ///
    /// # Errors
    /// The host has left.
    pub fn inspect(&self, handle: Handle) -> Result<HostStatus, LookupError> {
        self.shared.inspect(handle)
    }

    /// Calls `f` for every host that is known and not handed out as a leave, until it breaks. Hosts that come, go or are
    /// replaced meanwhile may be missed, and no id is shown twice; `f` may call the wheel, and may block. O(hosts). Works after close as
    /// well.
    pub fn each(&self, f: impl FnMut(HostView<'_>) -> ControlFlow<()>) {
        self.shared.each(f);
    }

    /// Writes all hosts that [`each`](Self::each) shows to the file `path`, for [`restore`](Self::restore) after a restart.
    /// Returns their number.
    ///
    /// The file is replaced whole or not at all, whatever happens to the process or the machine meanwhile, and is durable
    /// when this returns. It is readable by its owner only. Announces go on; a host that is known throughout is in the file,
    /// one that comes or goes meanwhile may be. A leave that was handed out and not answered with `Done` is not. The memory
    /// needed does not depend on the number of hosts. Two snapshots to one path do not disturb each other; the one that ends
    /// last stays. Works after close as well. Not for callbacks: it takes long (see [`Handler`]).
    ///
    /// # Errors
    /// The system refused a step; the file that was there is untouched then, except in one case that the error names.
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<u64, SnapshotError> {
        snapshot::write(&self.shared, path.as_ref())
    }

    /// Announces all hosts of the file `path`, which [`snapshot`](Self::snapshot) wrote, each with the interval, the user
    /// data and the age that it had, but at most one (effective) interval of age.
    ///
    /// Time between the snapshot and the restore counts against no host, as nobody watched. So each restored host has the
    /// rest of its TTL, at least one interval, and its grace from now on to be heard. Suspects come back live. A host
    /// that this wheel knows already is skipped: it is best to restore before announces are let in, but not necessary.
    ///
    /// The whole file is checked before the first host is announced: one that is torn, damaged, foreign or newer restores
    /// nothing. Reads the file twice; the memory needed does not depend on its length. Not for callbacks: it takes long.
    ///
    /// ```
    /// # use hostwheel::{Config, Event, HostWheel, RestoreError, Verdict};
    /// # let path = std::env::temp_dir().join(format!("hostwheel-doc-{}", std::process::id()));
    /// # let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done)?;
    /// match wheel.restore(&path) {
    ///     Ok(restored) => println!("{} hosts are known again", restored.hosts),
    ///     Err(RestoreError::Io(e)) if e.kind() == std::io::ErrorKind::NotFound => println!("first start"),
    ///     Err(e) => return Err(e.into()),
    /// }
    /// // ... and now and then:
    /// wheel.snapshot(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, or is not a whole and valid snapshot: nothing was restored. Or the wheel is full, closed,
    /// or without memory, or the file changed while it was read: the error says how many hosts were restored before that.
    pub fn restore(&self, path: impl AsRef<Path>) -> Result<Restored, RestoreError> {
        self.restore_with(path, |_, user_data| user_data)
    }

    /// As [`restore`](Self::restore), with the user data that `map` returns for a host's id and the user data in the file:
    /// where those were addresses or indices of the process before.
    ///
    /// `map` is not called for hosts that are skipped, with one exception: what it returned for a host that another thread
    /// announced in the same moment is not kept. So restore before announces are let in if its results own something.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    pub fn restore_with(
        &self,
        path: impl AsRef<Path>,
        map: impl FnMut(&[u8], u64) -> u64,
    ) -> Result<Restored, RestoreError> {
        snapshot::read(&self.shared, path.as_ref(), map)
    }

    /// A snapshot of the counters. Works after close as well.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Answers the attempt number `attempt` of a drained leave. Takes a lock that is held for a look-up only.
    ///
    /// # Errors
    /// The wheel calls back instead; the leave was settled already, or another attempt is the current one; or the wheel is
    /// closed.
    pub fn settle(&self, handle: Handle, attempt: u32, verdict: Verdict) -> Result<(), SettleError> {
        self.shared.settle(handle, attempt, verdict)
    }

    /// Has the brake let as many hosts go at once as wait for it now: for an operator who knows that they are gone. It takes
    /// effect at the thread's next look (for a manual clock: the next `advance`). A silence is not ended by it; that ends by
    /// itself, after one host TTL at the longest.
    ///
    /// # Errors
    /// The wheel is closed.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.shared.release()
    }

    /// Moves a manual clock to `now`, counted from the opening, and does all that is due by then. Returns the number of
    /// events delivered, or made if they are drained. A time before the present one counts as the present.
    ///
    /// What callbacks announce or leave is looked at by the next advance at the latest; [`next_due`](Self::next_due) says so.
    ///
    /// An advance by more than the watchdog allows is a late look: the excess counts as time in which nobody watched. Set
    /// the watchdog to 0, or advance to [`next_due`](Self::next_due) at most, to make all time count. (Time in which no host
    /// was known to the observer is in no figure: so after the first registration, advance to the present first.)
    ///
    /// # Errors
    /// The wheel has a clock of its own; the caller is inside a callback; or the wheel is closed.
    pub fn advance(&self, now: Duration) -> Result<usize, AdvanceError> {
        let manual = self.manual_mode()?;
        if self.shared.clock.is_closed() {
            return Err(AdvanceError::Closed);
        }
        let _stage = self.stage.enter();
        let observed = Observed::new(&self.shared);
        let _observing = observed.enter();
        let Manual { engine, delivery } = &mut *lock(manual);
        self.shared.clock.set_manual(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2));
        self.shared.thread.wake_ups.add(1);
        let mut events = 0;
        while !self.shared.clock.is_closed() {
            engine.step(&self.shared);
            events += delivery.as_mut().map_or(0, |delivery| delivery.deliver(&self.shared, engine));
            if !engine.has_more(&self.shared) {
                break;
            }
        }
        Ok(events)
    }

    /// When to [`advance`](Self::advance) next at the latest, on the manual clock; `None` while no host is known. It is
    /// never later than the watchdog allows.
    ///
    /// # Errors
    /// As for [`advance`](Self::advance).
    pub fn next_due(&self) -> Result<Option<Duration>, AdvanceError> {
        let manual = self.manual_mode()?;
        if self.shared.clock.is_closed() {
            return Err(AdvanceError::Closed);
        }
        let _stage = self.stage.enter();
        let Manual { engine, .. } = &*lock(manual);
        let now_ns = self.shared.clock.observe_ns();
        if self.shared.slab.any_marked() || engine.has_more(&self.shared) {
            return Ok(Some(Duration::from_nanos(now_ns)));
        }
        let next = engine.next_look().map(|tick| self.shared.clock.reading_at(tick).max(now_ns));
        Ok(next.map(Duration::from_nanos))
    }

    fn manual_mode(&self) -> Result<&Mutex<Manual>, AdvanceError> {
        match &self.observer {
            Observer::Thread(_) => Err(AdvanceError::Mode),
            Observer::Manual(_) if in_callback(&self.shared) => Err(AdvanceError::InCallback),
            Observer::Manual(manual) => Ok(manual),
        }
    }

    /// Wheel time: time since the wheel was opened, less the time in which nobody watched. It stands still soon after the
    /// last host has left. Works after close as well.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.clock.now_ns())
    }

    /// Has `f` called with the user data of each host that is neither said goodbye to nor shown to anybody as a leave (by a
    /// callback or a drain) in the wheel's life: for numbers that own something. It is called when nobody uses the wheel any
    /// more: by whoever drops the wheel or its [`Events`] last, or by its thread at its end if a callback outlasts that. Not
    /// inside callbacks, and it must not panic. Only the first call of this method counts.
    pub fn on_forgotten(&self, f: impl Fn(u64) + Send + Sync + 'static) {
        self.shared.on_forgotten(Box::new(f));
    }

    /// Whether the wheel's thread ended by a panic of the library's own, which would be a bug. Then all calls that change
    /// something are refused as after a close.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// Closes the wheel: from now on announces, renews, leaves and answers are refused, hosts still known get no leave, and
    /// no callback runs once this returned `Ok`. Waits at most `timeout` for a callback that runs, and in what is left of that
    /// time for the end of the wheel's thread, which has nothing more to do. May be called again.
    ///
    /// # Errors
    /// A callback is still running, or the caller is inside one. The wheel closes all the same.
    pub fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        let deadline = Instant::now().checked_add(timeout);
        self.shared.close();
        // A consumer that waits for events must not wait for ever.
        self.signal.iter().for_each(|signal| signal.raise());
        if in_callback(&self.shared) {
            return Err(CloseError::InCallback);
        }
        if !self.stage.wait(deadline) {
            return Err(CloseError::Timeout);
        }
        if let Observer::Thread(thread) = &self.observer
            && self.stage.wait_for_thread(deadline)
            && let Some(thread) = lock(thread).take()
        {
            // Saying so was its last act. A panic of it was reported by the panic hook.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Drop for HostWheel {
    fn drop(&mut self) {
        // Nobody is left to tell about a callback that outlasts the wait.
        let _ = self.close(DROP_WAIT);
        if let Observer::Manual(manual) = &mut self.observer {
            let manual = manual.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            drop_handler(manual.delivery.take());
        }
    }
}

impl std::fmt::Debug for HostWheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { live, now, .. } = self.stats();
        f.debug_struct("HostWheel").field("live", &live).field("now", &now).finish_non_exhaustive()
    }
}
