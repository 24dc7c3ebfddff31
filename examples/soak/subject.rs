//! A wheel that is soaked, and its consumer: who answers leaves and tells the books of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use hostwheel::{Config, Event, EventKind, Events, Handler, HostWheel, OpenError, Reason, Verdict};

use crate::book::{Answer, Bench, Leave, Tally};
use crate::handles::Handles;
use crate::plan::mixed;
use crate::promises::{Breaches, Promise};
use crate::system::{monotonic_ns, wait_readable};

/// After how long a drained leave that was not answered is handed out again.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest delay that a consumer asks for.
const LONGEST_RETRY_MS: u64 = 500;

/// How many events the drainer takes at a time.
const DRAINED_AT_ONCE: usize = 256;

/// How a wheel tells of its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Callback,
    Drain,
}

/// How far a wheel's announcers are. They write it now and then, the sampler reads it.
#[derive(Default)]
pub struct Progress {
    pub calls: AtomicU64,
    /// Registrations that took long enough to have waited for records, and all their time.
    pub waits: AtomicU64,
    pub waited_ns: AtomicU64,
}

/// A registration that takes longer has waited for a record (it then sleeps for 0.2 ms at least), or got no processor.
const WAITED_NS: u64 = 200_000;

impl Progress {
    /// Notes how long a registration took.
    pub fn registered(&self, took_ns: u64) {
        if took_ns >= WAITED_NS {
            self.waits.fetch_add(1, Ordering::Relaxed);
            self.waited_ns.fetch_add(took_ns, Ordering::Relaxed);
        }
    }
}

/// A host's id, from its user data.
pub fn id(user_data: u64) -> [u8; 12] {
    let mut id = *b"host........";
    id[4..].copy_from_slice(&user_data.to_be_bytes());
    id
}

/// A host's user data: its number, and the number of the book that it is in.
pub fn user_data(book: usize, host: u32) -> u64 {
    (book as u64) << 32 | u64::from(host)
}

/// What the consumer says to a leave.
enum Reply {
    Done,
    Retry(Duration),
    /// Nothing at all, so that the settle timeout is tried as well.
    Nothing,
}

/// Answers leaves, most of them with `Done`, and tells the books.
struct Consumer {
    books: Vec<Sender<Leave>>,
    breaches: Arc<Breaches>,
    delivery: Delivery,
    seed: u64,
    given: u64,
}

impl Consumer {
    fn reply(&mut self) -> Reply {
        self.given += 1;
        let chance = mixed([self.seed, self.given, 2]);
        match chance % 64 {
            0..4 => Reply::Retry(Duration::from_millis(1 + (chance >> 8) % LONGEST_RETRY_MS)),
            4 if self.delivery == Delivery::Drain => Reply::Nothing,
            _ => Reply::Done,
        }
    }

    fn given(&mut self, event: &Event) -> Reply {
        let at_ns = monotonic_ns();
        let reply = self.reply();
        let ns = |duration: Duration| duration.as_nanos() as u64;
        let again = |after| Answer::Again { after_ns: ns(after) };
        let leave = Leave {
            host: event.user_data() as u32,
            handle: event.handle().as_raw(),
            attempt: event.attempt(),
            at_ns,
            wheel_ns: ns(event.now()),
            away_ns: ns(event.away()),
            held_ns: ns(event.held()),
            answer: match reply {
                Reply::Done => Answer::Done,
                Reply::Retry(after) => again(after),
                Reply::Nothing => again(SETTLE_TIMEOUT),
            },
        };
        if **event.id() != id(event.user_data()) {
            self.breaches.note(Promise::HandleOnce, || format!("an event of two hosts: {event}"));
        }
        if event.reason() == Reason::Backstop {
            self.breaches.note(Promise::NoRescue, || event.to_string());
        }
        match self.books.get((event.user_data() >> 32) as usize) {
            // Its book is closed only at the end of a run, and then nobody judges any more.
            Some(book) => _ = book.send(leave),
            None => self.breaches.note(Promise::HandleOnce, || format!("an event of nobody: {event}")),
        }
        reply
    }
}

impl Handler for Consumer {
    fn leave(&mut self, event: &Event) -> Verdict {
        match self.given(event) {
            Reply::Retry(after) => Verdict::Retry(after),
            Reply::Done | Reply::Nothing => Verdict::Done,
        }
    }
}

/// Drains a wheel until it is told to stop: waits for the descriptor, takes the events, answers the leaves.
fn drain(wheel: &HostWheel, mut events: Events, mut consumer: Consumer, stop: &AtomicBool) {
    let mut drained = Vec::with_capacity(DRAINED_AT_ONCE);
    while !stop.load(Ordering::Relaxed) {
        wait_readable(&events);
        events.drain(&mut drained, DRAINED_AT_ONCE);
        for event in drained.drain(..).filter(|event| event.kind() == EventKind::Leave) {
            let verdict = match consumer.given(&event) {
                Reply::Done => Verdict::Done,
                Reply::Retry(after) => Verdict::Retry(after),
                Reply::Nothing => continue,
            };
            if let Err(e) = wheel.settle(event.handle(), event.attempt(), verdict) {
                let refused = || format!("the answer to \"{event}\" was refused: {e}");
                consumer.breaches.note(Promise::AnnounceAccepted, refused);
            }
        }
    }
}

/// A wheel that is soaked.
pub struct Subject {
    pub wheel: Arc<HostWheel>,
    pub bench: Bench,
    pub progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    drainer: Option<JoinHandle<()>>,
}

/// What a wheel is opened for.
pub struct Terms {
    pub name: &'static str,
    pub delivery: Delivery,
    pub config: Config,
    /// How many records the judge watches: more than the wheel may come to use.
    pub records: usize,
    pub books: usize,
    pub bound: Duration,
    pub seed: u64,
}

impl Subject {
    /// Opens a wheel; its leaves come out of the receivers, one for each book.
    pub fn open(terms: Terms, breaches: &Arc<Breaches>) -> Result<(Subject, Vec<Receiver<Leave>>), OpenError> {
        let Terms { name, delivery, config, records, books, bound, seed } = terms;
        let (senders, receivers) = (0..books).map(|_| channel()).unzip();
        let consumer = Consumer { books: senders, breaches: breaches.clone(), delivery, seed, given: 0 };
        let stop = Arc::new(AtomicBool::new(false));
        let (wheel, drainer) = match delivery {
            Delivery::Callback => (Arc::new(HostWheel::start(config, consumer)?), None),
            Delivery::Drain => {
                let (wheel, events) = HostWheel::drained(config)?;
                let (wheel, stop) = (Arc::new(wheel), stop.clone());
                let drained = wheel.clone();
                let drainer = std::thread::Builder::new().name("drainer".into());
                let drainer = drainer.spawn(move || drain(&drained, events, consumer, &stop)).map_err(OpenError::Os)?;
                (wheel, Some(drainer))
            }
        };
        let lateness = Histogram::new_with_bounds(1, 600_000_000, 2).expect("600 s in microseconds are good bounds");
        let bench = Bench {
            name,
            handles: Arc::new(Handles::new(records)),
            breaches: breaches.clone(),
            lateness: Arc::new(Mutex::new(lateness)),
            bound_ns: bound.as_nanos() as u64,
        };
        Ok((Subject { wheel, bench, progress: Arc::default(), stop, drainer }, receivers))
    }

    /// Ends the wheel, whose hosts have all gone, and holds what it counted against the books.
    pub fn end(self, tally: &Tally) {
        let (breaches, name) = (&self.bench.breaches, self.bench.name);
        self.stop.store(true, Ordering::Relaxed);
        if self.drainer.is_some_and(|drainer| drainer.join().is_err()) {
            breaches.note(Promise::AnnounceAccepted, || format!("{name}: the drainer panicked"));
        }
        if let Err(e) = self.wheel.close(Duration::from_secs(5)) {
            breaches.note(Promise::StatsAgree, || format!("{name}: it did not close: {e}"));
        }
        let stats = self.wheel.stats();
        let counted = [
            ("registrations", stats.registered, tally.registered),
            ("goodbyes", stats.left, tally.goodbyes),
            ("leaves", stats.leaves_ttl + stats.leaves_host_ttl + stats.leaves_backstop, tally.leaves),
            ("leaves handed out again", stats.retries, tally.again),
            ("hosts in the end", stats.live, 0),
            ("leaves not answered in the end", stats.outstanding, 0),
            ("hosts waiting in the end", stats.waiting, 0),
            ("panics", stats.panics, 0),
        ];
        for (what, wheel, book) in counted.into_iter().filter(|(_, wheel, book)| wheel != book) {
            breaches.note(Promise::StatsAgree, || format!("{name}: {what}: it says {wheel}, and it was {book}"));
        }
        if stats.rescues > 0 {
            breaches.note(Promise::NoRescue, || format!("{name}: {} rescues", stats.rescues));
        }
    }
}
