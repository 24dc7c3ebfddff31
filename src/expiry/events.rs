//! The consumer's end of drain delivery: events, and a descriptor that says that some wait.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

use super::{Stage, mark_superseded};
use crate::event::{Event, EventKind, GuardEvent};
use crate::liveness::{EventQueue, Shared};
use crate::sync::Arc;

/// An eventfd: readable while raised.
pub(crate) struct EventFd(File);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor of our own, just made.
        Ok(EventFd(unsafe { File::from_raw_fd(fd) }))
    }

    pub(crate) fn raise(&self) {
        // It fails only when the counter is full, and then it is raised.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    fn lower(&self) {
        // It fails only when it is not raised.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

/// The consumer's end of drain delivery, for programs with an event loop of their own.
///
/// The descriptor ([`AsFd`]) is readable while events wait. A drained leave must be answered with
/// [`HostWheel::settle`](crate::HostWheel::settle); one that is not is handed out again after the settle timeout. When the
/// queue is full, due hosts wait; nothing is dropped. No host leaves before its suspect event was drained. One consumer; the
/// methods take `&mut self`.
///
/// ```
/// # use std::time::Duration;
/// # use hostwheel::{Config, Clock, EventKind, HostWheel, Verdict};
/// let config = Config { clock: Clock::Manual, watchdog: Duration::ZERO, ..Config::default() };
/// let (wheel, mut events) = HostWheel::drained(config)?;
/// wheel.announce("a", Duration::from_secs(1))?;
/// let mut drained = Vec::new();
/// wheel.advance(Duration::from_secs(2))?; // TTL: suspect
/// events.drain(&mut drained, 100);
/// wheel.advance(Duration::from_secs(3))?; // and grace: leave
/// events.drain(&mut drained, 100);
/// for event in &drained {
///     if event.kind() == EventKind::Leave {
///         wheel.settle(event.handle(), event.attempt(), Verdict::Done)?;
///     }
/// }
/// # assert_eq!(drained.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) signal: Arc<EventFd>,
}

impl Events {
    /// Moves at most `limit` waiting events to the end of `into`, fewer if there is no memory for them, and returns how many.
    /// Holds a lock while it moves them. After close it gives out what was made before; then [`is_closed`](Self::is_closed)
    /// says that no more will come, and the descriptor stays readable.
    pub fn drain(&mut self, into: &mut Vec<Event>, limit: usize) -> usize {
        let Some(queue) = &self.shared.queue else { return 0 };
        // Lowered first: an event pushed after the last pop raises it again.
        self.signal.lower();
        let before = into.len();
        queue.take(into, limit);
        for event in into[before..].iter_mut().filter(|event| event.kind == EventKind::Leave) {
            mark_superseded(&self.shared, event);
        }
        if queue.waiting() > 0 || self.shared.clock.is_closed() {
            self.signal.raise();
        }
        let drained = &into[before..];
        if !drained.is_empty() {
            self.shared.drained(drained);
        }
        drained.len()
    }

    /// How many events wait to be drained; guard events are not counted.
    pub fn waiting(&self) -> usize {
        self.shared.queue.as_ref().map_or(0, EventQueue::waiting)
    }

    /// Whether the wheel is closed, or dropped, and all its events were drained: no more will come. (Guard events may still wait.)
    pub fn is_closed(&self) -> bool {
        // In this order: events that are made before the observer's end are in the queue when it is asked.
        let over = self.shared.clock.is_closed() && self.stage.is_over();
        over && self.shared.queue.as_ref().is_none_or(|queue| queue.waiting() == 0)
    }

    /// Moves at most `limit` waiting guard events to the end of `into`, fewer if there is no memory for them, and returns how
    /// many. Never waits.
    ///
    /// The descriptor becomes readable for them too, until the next drain of either kind: a consumer that wants them drains
    /// both when it wakes up. At most 64 wait; older ones give way.
    pub fn drain_guards(&mut self, into: &mut Vec<GuardEvent>, limit: usize) -> usize {
        self.shared.drain_guards(into, limit)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.0.as_fd()
    }
}
