//! What a `hostwheel_t` is, and the boundary that every call passes: NULL, fork, poison, panics.

use std::collections::HashMap;
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use hostwheel::{Event, EventKind, Events, GuardEvent, Handle, Handler, HostId, HostWheel, Verdict};

use crate::errors::{
    Code, HOSTWHEEL_ERR_CLOSED, HOSTWHEEL_ERR_FORKED, HOSTWHEEL_ERR_MODE, HOSTWHEEL_ERR_NO_MEMORY,
    HOSTWHEEL_ERR_NULL_ARG, HOSTWHEEL_ERR_PANIC,
};
use crate::types::{
    HOSTWHEEL_EVENT_GUARD, HOSTWHEEL_EVENT_SUPERSEDED, HOSTWHEEL_VERDICT_DONE, HOSTWHEEL_VERDICT_RETRY,
    hostwheel_event_fn, hostwheel_event_t, hostwheel_release_fn, hostwheel_t,
};

/// How often this process came out of a fork.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Counts forks from now on.
fn watch_forks() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        extern "C" fn in_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler is async-signal-safe, and stays: the library is never unloaded. Without memory for the entry
        // forks go unnoticed, as they would without this.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// A context pointer that the program vouches for: its callbacks may be called from any thread.
#[derive(Clone, Copy)]
pub(crate) struct Ctx(pub(crate) *mut c_void);

// SAFETY: only handed back to the program's own functions, which the header says are called from other threads.
unsafe impl Send for Ctx {}
// SAFETY: see above.
unsafe impl Sync for Ctx {}

impl Ctx {
    /// A method, so that closures capture the whole and not the pointer in it.
    fn pointer(self) -> *mut c_void {
        self.0
    }
}

/// A wheel, as the C side holds it.
pub(crate) struct Object {
    pub(crate) wheel: HostWheel,
    drain: Option<Mutex<Drain>>,
    release: Option<Release>,
    /// [`FORKS`] at the opening.
    forks: u32,
    poisoned: AtomicBool,
    /// Calls under way that run the program's callbacks, and so may free the wheel under themselves.
    calling: AtomicUsize,
    /// The program has freed the wheel inside such a call, the outermost of which does it.
    freed: AtomicBool,
}

/// The program's function for user data that nobody took.
#[derive(Clone, Copy)]
struct Release {
    call: unsafe extern "C" fn(*mut c_void, u64),
    ctx: Ctx,
}

impl Release {
    fn user_data(self, user_data: u64) {
        // SAFETY: the program's function, as the header describes it.
        unsafe { (self.call)(self.ctx.pointer(), user_data) };
    }
}

/// Drain delivery: the queue's end, and what keeps the ids of drained events alive.
struct Drain {
    events: Events,
    batch: Vec<Event>,
    guards: Vec<GuardEvent>,
    /// Ids of leaves that were drained and not settled as done.
    leaves: HashMap<Handle, HostId>,
    /// Ids of the other events of the last drain.
    others: Vec<HostId>,
}

impl Object {
    pub(crate) fn new(wheel: HostWheel, events: Option<Events>, release: hostwheel_release_fn, ctx: Ctx) -> Object {
        watch_forks();
        let release = release.map(|call| Release { call, ctx });
        if let Some(release) = release {
            wheel.on_forgotten(move |user_data| release.user_data(user_data));
        }
        let drain = events.map(|events| {
            Mutex::new(Drain {
                events,
                batch: Vec::new(),
                guards: Vec::new(),
                leaves: HashMap::new(),
                others: Vec::new(),
            })
        });
        let forks = FORKS.load(Ordering::Relaxed);
        Object {
            wheel,
            drain,
            release,
            forks,
            poisoned: AtomicBool::new(false),
            calling: AtomicUsize::new(0),
            freed: AtomicBool::new(false),
        }
    }

    /// Frees the wheel, or has the call do it inside which the program gave it up.
    ///
    /// # Safety
    /// `wheel` came from [`Box::into_raw`] of an object, and nobody uses it after this, but for calls that the caller is
    /// inside of.
    pub(crate) unsafe fn free(wheel: *mut Object) {
        // SAFETY: the caller's promise.
        let object = unsafe { &*wheel };
        if object.is_forked() {
            // Its thread, and whoever held its locks, are in the parent.
            return;
        }
        if object.calling.load(Ordering::Relaxed) > 0 {
            object.freed.store(true, Ordering::Relaxed);
            // Inside a callback of advance this is refused, and takes effect all the same.
            let _ = object.wheel.close(Duration::ZERO);
            return;
        }
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(wheel) });
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    pub(crate) fn releases(&self) -> bool {
        self.release.is_some()
    }

    /// User data that a leave function did not pass on.
    pub(crate) fn release(&self, user_data: u64) {
        if let Some(release) = self.release {
            release.user_data(user_data);
        }
    }

    fn draining(&self) -> Result<MutexGuard<'_, Drain>, Code> {
        let drain = self.drain.as_ref().ok_or(Code(HOSTWHEEL_ERR_MODE))?;
        Ok(drain.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn event_fd(&self) -> Result<i32, Code> {
        Ok(self.draining()?.events.as_fd().as_raw_fd())
    }

    /// Drains up to `capacity` events, those of guards first, and gives each to `put` with its number. CLOSED once all that a
    /// closed wheel made was drained.
    pub(crate) fn drain(&self, capacity: usize, mut put: impl FnMut(usize, hostwheel_event_t)) -> Result<usize, Code> {
        let drain = &mut *self.draining()?;
        drain.others.clear();
        drain.batch.clear();
        drain.guards.clear();
        let guards = drain.events.drain_guards(&mut drain.guards, capacity);
        let waiting = drain.events.waiting().min(capacity - guards);
        // For the ids, which live on.
        let memory = drain.leaves.try_reserve(waiting).is_ok() && drain.others.try_reserve(waiting).is_ok();
        if memory {
            drain.events.drain(&mut drain.batch, waiting);
        }
        if guards == 0 && drain.batch.is_empty() {
            if waiting > 0 {
                return Err(Code(HOSTWHEEL_ERR_NO_MEMORY));
            }
            if capacity > 0 && drain.events.is_closed() {
                return Err(Code(HOSTWHEEL_ERR_CLOSED));
            }
        }
        drain.guards.iter().enumerate().for_each(|(number, event)| put(number, guard_out(event)));
        for (number, event) in drain.batch.iter().enumerate() {
            put(guards + number, event_out(event));
            if event.kind() == EventKind::Leave {
                drain.leaves.insert(event.handle(), event.id().clone());
            } else {
                drain.others.push(event.id().clone());
            }
        }
        Ok(guards + drain.batch.len())
    }

    pub(crate) fn settle(&self, handle: Handle, attempt: u32, verdict: Verdict) -> Result<(), Code> {
        let mut drain = self.draining()?;
        self.wheel.settle(handle, attempt, verdict)?;
        if verdict == Verdict::Done {
            drain.leaves.remove(&handle);
        }
        Ok(())
    }
}

/// Passes into a wheel: every function that takes one does its work in here. A panic of ours ends here, and puts the wheel
/// out of order, as nobody knows what it left half done.
#[inline]
pub(crate) fn enter(wheel: *mut hostwheel_t, work: impl FnOnce(&Object) -> Result<(), Code>) -> i32 {
    // SAFETY: the header says that it is NULL or a wheel that hostwheel_open gave out and that was not freed.
    let Some(object) = (unsafe { wheel.cast::<Object>().as_ref() }) else { return HOSTWHEEL_ERR_NULL_ARG };
    if object.is_forked() {
        return HOSTWHEEL_ERR_FORKED;
    }
    if object.poisoned.load(Ordering::Relaxed) || object.wheel.is_poisoned() {
        return HOSTWHEEL_ERR_PANIC;
    }
    let code = guarded(|| work(object));
    if code == HOSTWHEEL_ERR_PANIC {
        object.poisoned.store(true, Ordering::Relaxed);
        // Nobody calls back any more either.
        guarded(|| object.wheel.close(Duration::ZERO).map_err(Code::from));
    }
    code
}

/// As [`enter`], for calls that run callbacks of the program on the caller's thread: one of them may free the wheel.
pub(crate) fn enter_calling(wheel: *mut hostwheel_t, work: impl FnOnce(&Object) -> Result<(), Code>) -> i32 {
    let mut entered = false;
    let code = enter(wheel, |object| {
        object.calling.fetch_add(1, Ordering::Relaxed);
        entered = true;
        work(object)
    });
    if entered {
        let object = wheel.cast::<Object>();
        // SAFETY: whoever freed it meanwhile left that to us, and so it is there.
        let outermost = unsafe { (*object).calling.fetch_sub(1, Ordering::Relaxed) } == 1;
        // SAFETY: as above.
        if outermost && unsafe { (*object).freed.load(Ordering::Relaxed) } {
            guarded(|| {
                // SAFETY: the program has given it up, and this was the last call.
                drop(unsafe { Box::from_raw(object) });
                Ok(())
            });
        }
    }
    code
}

/// The boundary that no panic passes.
#[inline]
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Code>) -> i32 {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => 0,
        Ok(Err(Code(code))) => code,
        Err(payload) => {
            // It may panic when it is dropped; what that one leaves is leaked.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
            HOSTWHEEL_ERR_PANIC
        }
    }
}

/// The program's callback as the library's handler.
pub(crate) struct Callback {
    call: unsafe extern "C" fn(*mut c_void, *mut hostwheel_event_t, usize),
    ctx: Ctx,
}

impl Callback {
    pub(crate) fn new(on_event: hostwheel_event_fn, ctx: Ctx) -> Option<Callback> {
        on_event.map(|call| Callback { call, ctx })
    }

    fn call(&self, mut out: hostwheel_event_t) -> Verdict {
        // SAFETY: the program's function, with one event that lives through the call, as the header describes it.
        unsafe { (self.call)(self.ctx.pointer(), &mut out, 1) };
        verdict_in(out.verdict, out.retry_after_ns).unwrap_or(Verdict::Retry(Duration::ZERO))
    }
}

impl Handler for Callback {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.call(event_out(event))
    }

    fn suspect(&mut self, event: &Event) {
        self.call(event_out(event));
    }

    fn recovered(&mut self, event: &Event) {
        self.call(event_out(event));
    }

    fn guard(&mut self, event: &GuardEvent) {
        self.call(guard_out(event));
    }
}

/// A verdict from its number; `None` for a number that is none.
pub(crate) fn verdict_in(verdict: u32, retry_after_ns: u64) -> Option<Verdict> {
    match verdict {
        HOSTWHEEL_VERDICT_DONE => Some(Verdict::Done),
        HOSTWHEEL_VERDICT_RETRY => Some(Verdict::Retry(Duration::from_nanos(retry_after_ns))),
        _ => None,
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn event_out(event: &Event) -> hostwheel_event_t {
    hostwheel_event_t {
        kind: event.kind() as u32,
        reason: event.reason() as u32,
        flags: if event.superseded() { HOSTWHEEL_EVENT_SUPERSEDED } else { 0 },
        attempt: event.attempt(),
        handle: event.handle().as_raw(),
        user_data: event.user_data(),
        id: event.id().as_ptr(),
        id_len: event.id().len(),
        interval_ns: event.interval().map_or(0, nanos),
        last_seen_ns: nanos(event.last_seen()),
        deadline_ns: nanos(event.deadline()),
        now_ns: nanos(event.now()),
        lateness_ns: nanos(event.lateness()),
        away_ns: nanos(event.away()),
        brake_ns: nanos(event.held()),
        verdict: HOSTWHEEL_VERDICT_DONE,
        reserved0: 0,
        retry_after_ns: 0,
        reserved: [0; 4],
    }
}

fn guard_out(event: &GuardEvent) -> hostwheel_event_t {
    hostwheel_event_t {
        kind: HOSTWHEEL_EVENT_GUARD,
        reason: event.kind() as u32,
        flags: 0,
        attempt: 1,
        handle: 0,
        user_data: event.waiting(),
        id: c"".as_ptr().cast(),
        id_len: 0,
        interval_ns: 0,
        last_seen_ns: nanos(event.since()),
        deadline_ns: 0,
        now_ns: nanos(event.now()),
        lateness_ns: 0,
        away_ns: nanos(event.lasted()),
        brake_ns: 0,
        verdict: HOSTWHEEL_VERDICT_DONE,
        reserved0: 0,
        retry_after_ns: 0,
        reserved: [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::HOSTWHEEL_NEVER;
    use hostwheel::{Config, Event};

    fn open() -> *mut hostwheel_t {
        let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens");
        Box::into_raw(Box::new(Object::new(wheel, None, None, Ctx(std::ptr::null_mut())))).cast()
    }

    #[test]
    fn a_panic_ends_at_the_boundary_and_puts_the_wheel_out_of_order() {
        let wheel = open();
        let announce = |object: &Object| {
            object.wheel.announce("a", Duration::from_secs(1))?;
            Ok(())
        };
        assert_eq!(enter(wheel, announce), 0);
        assert_eq!(enter(wheel, |_| panic!("planted")), HOSTWHEEL_ERR_PANIC);
        let mut entered = false;
        let again = enter(wheel, |_| {
            entered = true;
            Ok(())
        });
        assert_eq!((again, entered), (HOSTWHEEL_ERR_PANIC, false));
        // SAFETY: made above, and not used after this.
        unsafe {
            assert_eq!(crate::hostwheel_now(wheel, &mut { HOSTWHEEL_NEVER }), HOSTWHEEL_ERR_PANIC);
            crate::hostwheel_free(wheel);
        }
    }

    /// A payload that panics when it is dropped gets no further either.
    #[test]
    fn a_panic_of_the_payload_ends_there_as_well() {
        struct Twice;
        impl Drop for Twice {
            fn drop(&mut self) {
                panic!("planted again");
            }
        }
        assert_eq!(guarded(|| std::panic::panic_any(Twice)), HOSTWHEEL_ERR_PANIC);
    }

    #[test]
    fn an_error_is_no_panic() {
        let wheel = open();
        assert_eq!(enter(wheel, |_| Err(Code(HOSTWHEEL_ERR_MODE))), HOSTWHEEL_ERR_MODE);
        assert_eq!(enter(wheel, |_| Ok(())), 0);
        // SAFETY: made above, and not used after this.
        unsafe { crate::hostwheel_free(wheel) };
    }
}
