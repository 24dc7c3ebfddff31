//! The wheel's consumer, which writes every leave down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use hostwheel::{Config, Event, HostWheel, OpenError, Verdict};

use crate::book::Leave;
use crate::system::monotonic_ns;

/// The leaves so far.
pub struct Leaves {
    all: Mutex<Vec<Leave>>,
    /// How many there are: whoever looks at that now and then must not keep the wheel's thread waiting for the lock.
    count: AtomicUsize,
}

impl Leaves {
    pub fn lock(&self) -> MutexGuard<'_, Vec<Leave>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        // Relaxed: a figure.
        self.count.load(Ordering::Relaxed)
    }

    fn add(&self, leave: Leave) {
        self.lock().push(leave);
        // Relaxed: as above.
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Opens a wheel. `grace` is what it allows the fleet; there is room for as many leaves as `expected` without new memory.
pub fn open(config: Config, grace: Duration, expected: usize) -> Result<(Arc<HostWheel>, Arc<Leaves>), OpenError> {
    let leaves = Arc::new(Leaves { all: Mutex::new(Vec::with_capacity(expected)), count: AtomicUsize::new(0) });
    let itself: Arc<OnceLock<Weak<HostWheel>>> = Arc::default();
    let handler = {
        let (leaves, itself) = (leaves.clone(), itself.clone());
        move |event: &Event| {
            let wheel = itself.get().and_then(Weak::upgrade);
            let now = wheel.map_or(event.now(), |wheel| wheel.now());
            let due = event.deadline() + grace;
            let leave = Leave {
                host: event.user_data() as u32,
                handle: event.handle().as_raw(),
                attempt: event.attempt(),
                at_ns: monotonic_ns(),
                lateness_ns: event.lateness().as_nanos() as u64,
                called_after_ns: now.saturating_sub(due).as_nanos() as u64,
            };
            leaves.add(leave);
            Verdict::Done
        }
    };
    let wheel = Arc::new(HostWheel::start(config, handler)?);
    // Nobody has registered yet, so no leave has missed it.
    let _ = itself.set(Arc::downgrade(&wheel));
    Ok((wheel, leaves))
}
