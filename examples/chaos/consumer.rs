//! The scheduler's consumer of events, which misbehaves as the driver wants it to: it takes its time, panics, asks for
//! retries, does not read, does not answer.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hostwheel::{EventKind, Events, Handle, Handler, HostWheel, Verdict};

use crate::common::account::Account;
use crate::common::system;
use crate::observation::{self as told, Observation};
use crate::scheduler::host_number;

/// The longest sleep of a consumer that drains, so that it learns of the end.
const NAP_NS: u64 = 50_000_000;

/// The most events that it takes at a time.
const BATCH: usize = 32;

/// What the scheduler keeps of a host.
pub struct Metadata {
    pub handle: Handle,
    pub incarnation: u32,
}

/// The scheduler's table of hosts, shared by the receive loop and the consumer.
pub type Table = Arc<Mutex<HashMap<u32, Metadata>>>;

/// Each critical section is a single update, so the table stays consistent whoever panicked.
pub fn lock(table: &Table) -> MutexGuard<'_, HashMap<u32, Metadata>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the consumer misbehaves. Set by the driver's commands, used up by the events. The counters order nothing, so all
/// accesses are relaxed.
#[derive(Default)]
pub struct Manners {
    stall_ms: AtomicU64,
    panics: AtomicU64,
    retries: AtomicU64,
    retry_after_ms: AtomicU64,
    silences: AtomicU64,
    deaf_until_ns: AtomicU64,
    end: AtomicBool,
}

impl Manners {
    /// Obeys a command of the driver: a word, a number, and for some another one.
    pub fn obey(&self, command: &str) -> Result<(), String> {
        let mut words = command.split(' ');
        let word = words.next().unwrap_or("");
        let mut next = || u64::from_str(words.next().unwrap_or("0")).map_err(|_| format!("no command: {command:?}"));
        let first = next()?;
        match word {
            "stall" => self.stall_ms.store(first, Ordering::Relaxed),
            "panic" => self.panics.store(first, Ordering::Relaxed),
            "silent" => self.silences.store(first, Ordering::Relaxed),
            "deaf" => self.deaf_until_ns.store(system::monotonic_ns() + first * 1_000_000, Ordering::Relaxed),
            "retry" => {
                self.retry_after_ms.store(next()?, Ordering::Relaxed);
                self.retries.store(first, Ordering::Relaxed);
            }
            _ => return Err(format!("no command: {command:?}")),
        }
        Ok(())
    }

    /// Ends a consumer that drains.
    pub fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    fn deaf_for_ns(&self) -> u64 {
        self.deaf_until_ns.load(Ordering::Relaxed).saturating_sub(system::monotonic_ns())
    }
}

/// Takes one off, if there is one.
fn take(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

/// How one leave is answered.
#[derive(Clone, Copy)]
enum Answer {
    Done,
    Retry(Duration),
    Panic,
    Nothing,
}

/// What both kinds of consumer do with an event.
pub struct Consumer {
    pub table: Table,
    pub out: Account<Observation>,
    pub manners: Arc<Manners>,
    /// Only who drains can leave a leave unanswered: a callback answers by returning.
    pub drained: bool,
}

impl Consumer {
    /// Takes down the event, and says how it is to be answered.
    fn take(&self, event: &hostwheel::Event) -> Answer {
        let at_ns = system::monotonic_ns();
        let stall = self.manners.stall_ms.swap(0, Ordering::Relaxed);
        let answer = match event.kind() {
            EventKind::Leave if take(&self.manners.panics) => Answer::Panic,
            EventKind::Leave if take(&self.manners.retries) => {
                Answer::Retry(Duration::from_millis(self.manners.retry_after_ms.load(Ordering::Relaxed)))
            }
            EventKind::Leave if take(&self.manners.silences) => match self.drained {
                true => Answer::Nothing,
                false => Answer::Retry(Duration::ZERO),
            },
            _ => Answer::Done,
        };
        let Some(host) = host_number(event.id()) else {
            self.out.tell(Observation::Broken(format!("an event of an unknown id: {event}")));
            return Answer::Done;
        };
        self.out.tell(Observation::Event(told::Event {
            at_ns,
            host: host.into(),
            kind: event.kind() as u64,
            reason: event.reason() as u64,
            handle: event.handle().as_raw(),
            attempt: event.attempt().into(),
            last_seen_wheel: event.last_seen().as_nanos() as u64,
            deadline_wheel: event.deadline().as_nanos() as u64,
            now_wheel: event.now().as_nanos() as u64,
            lateness_ns: event.lateness().as_nanos() as u64,
            held_ns: event.held().as_nanos() as u64,
            answer: match answer {
                Answer::Done => told::DONE,
                Answer::Retry(_) => told::RETRY,
                Answer::Panic => told::PANIC,
                Answer::Nothing => told::NOTHING,
            },
            retry_after_ms: match answer {
                Answer::Retry(after) => after.as_millis() as u64,
                _ => 0,
            },
        }));
        if stall > 0 {
            thread::sleep(Duration::from_millis(stall));
        }
        if event.kind() == EventKind::Leave && matches!(answer, Answer::Done) {
            // The host may have come back under another handle in the meantime; then the entry is its new life's.
            let mut table = lock(&self.table);
            if table.get(&host).is_some_and(|known| known.handle == event.handle()) {
                table.remove(&host);
            }
        }
        answer
    }
}

/// The panics that the driver asked for; others are told on standard error.
struct Asked;

/// Keeps the panics that the driver asked for off standard error.
pub fn silence_asked_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Asked>() {
            usual(info);
        }
    }));
}

/// With callbacks, on the wheel's thread.
impl Handler for Consumer {
    fn leave(&mut self, event: &hostwheel::Event) -> Verdict {
        thread::sleep(Duration::from_nanos(self.manners.deaf_for_ns()));
        match self.take(event) {
            Answer::Done => Verdict::Done,
            Answer::Retry(after) => Verdict::Retry(after),
            Answer::Panic | Answer::Nothing => std::panic::panic_any(Asked),
        }
    }

    fn suspect(&mut self, event: &hostwheel::Event) {
        self.take(event);
    }

    fn recovered(&mut self, event: &hostwheel::Event) {
        self.take(event);
    }
}

/// With drain delivery, on a thread of its own.
pub fn drain(consumer: Consumer, wheel: Arc<HostWheel>, mut events: Events) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("consumer".into()).spawn(move || {
        let mut drained = Vec::new();
        // Leaves that were not answered, by handle: their attempt.
        let mut unanswered: HashMap<Handle, u32> = HashMap::new();
        while !consumer.manners.end.load(Ordering::Relaxed) {
            let deaf = consumer.manners.deaf_for_ns();
            if deaf > 0 {
                thread::sleep(Duration::from_nanos(deaf.min(NAP_NS)));
                continue;
            }
            system::wait_readable([events.as_fd().as_raw_fd()], NAP_NS);
            events.drain(&mut drained, BATCH);
            for event in drained.drain(..) {
                let answer = consumer.take(&event);
                if event.kind() != EventKind::Leave {
                    continue;
                }
                let handle = event.handle();
                // The answer to an attempt that was given up must be refused, and must not spoil the next one.
                if let Some(attempt) = unanswered.remove(&handle)
                    && wheel.settle(handle, attempt, Verdict::Done).is_ok()
                {
                    let what = format!("attempt {attempt} was settled after it had been handed out again: {event}");
                    consumer.out.tell(Observation::Broken(what));
                }
                let settled = match answer {
                    Answer::Done => wheel.settle(handle, event.attempt(), Verdict::Done),
                    Answer::Retry(after) => wheel.settle(handle, event.attempt(), Verdict::Retry(after)),
                    Answer::Panic => wheel.settle(handle, event.attempt(), Verdict::Retry(Duration::ZERO)),
                    Answer::Nothing => {
                        unanswered.insert(handle, event.attempt());
                        Ok(())
                    }
                };
                if let Err(error) = settled {
                    consumer.out.tell(Observation::Broken(format!("settle: {error}: {event}")));
                }
            }
        }
    })
}
