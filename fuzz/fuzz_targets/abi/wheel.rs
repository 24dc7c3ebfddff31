//! One wheel as a program holds it: makes calls, and checks their answers.

#[path = "callbacks.rs"]
mod callbacks;

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

use hostwheel_ffi::*;

use callbacks::{Walk, on_host};
pub use callbacks::{on_event, release};

use crate::input::{Answer, Call, Id, Manner, Which};
use crate::ledger::{Fate, Ledger};
use crate::memory::Output;

/// The handles that all wheels issued.
static ISSUED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

thread_local! {
    /// This thread is inside `on_event`.
    static IN_EVENT: Cell<bool> = const { Cell::new(false) };
}

pub fn forget_handles() {
    ISSUED.lock().unwrap().clear();
}

pub struct Wheel {
    /// NULL: there is none, and all calls must say so.
    pub pointer: *mut hostwheel_t,
    pub manual: bool,
    pub drains: bool,
    pub calls_back: bool,
    pub releases: bool,
    /// Used in turn, one per event.
    pub manners: Vec<Manner>,
    ledger: Mutex<Ledger>,
    clock: AtomicU64,
    closed: AtomicBool,
    freed: AtomicBool,
    /// Calls under way that call back, on the program's thread.
    depth: AtomicUsize,
}

/// What a call may answer.
enum Answers {
    Only(i32),
    /// Success or one of these.
    Or(&'static [i32]),
    /// One of these, and no success.
    Error(&'static [i32]),
}

use Answers::{Error, Only, Or};

impl Wheel {
    pub fn null() -> Wheel {
        Wheel {
            pointer: ptr::null_mut(),
            manual: true,
            drains: false,
            calls_back: false,
            releases: false,
            manners: Vec::new(),
            ledger: Mutex::default(),
            clock: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            freed: AtomicBool::new(false),
            depth: AtomicUsize::new(0),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub fn is_freed(&self) -> bool {
        self.freed.load(SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    pub fn close_accounts(&self) {
        self.ledger().close_accounts(self.releases);
    }

    #[track_caller]
    fn check(&self, code: i32, answers: Answers) {
        let right = match answers {
            _ if self.pointer.is_null() => code == HOSTWHEEL_ERR_NULL_ARG,
            Only(only) => code == only,
            Or(errors) => code == 0 || errors.contains(&code),
            Error(errors) => errors.contains(&code),
        };
        // Another thread may close it, or a host leave, while a call is under way.
        let meanwhile = [HOSTWHEEL_ERR_CLOSED, HOSTWHEEL_ERR_TAKEN, HOSTWHEEL_ERR_STALE, HOSTWHEEL_ERR_NOT_FOUND];
        assert!(right || !self.manual && meanwhile.contains(&code), "answered {code}");
    }

    fn handle(&self, which: Which) -> u64 {
        match which {
            Which::Issued(ago) => self.ledger().issued(ago).unwrap_or(0),
            Which::Near(ago, bits) => self.ledger().issued(ago).unwrap_or(0) ^ bits,
            Which::Foreign(number) => {
                let all = ISSUED.lock().unwrap();
                all.get(usize::from(number) % all.len().max(1)).copied().unwrap_or(1)
            }
            Which::Forged(handle) => handle,
        }
    }

    /// Makes a call, unless the wheel is gone.
    pub fn perform(&self, call: &Call) {
        if self.is_freed() {
            return;
        }
        match call {
            Call::Open(_) => {}
            Call::ConfigInit { size, null } => config_init(*size, *null),
            Call::Announce { id, interval_ns, age_ns, null } => self.announce(id, *interval_ns, *age_ns, *null),
            Call::Renew { which, age_ns, null } => self.renew(self.handle(*which), *age_ns, *null),
            Call::Leave { id, null } => self.leave(id, *null),
            Call::LeaveHandle { which, null } => self.leave_handle(self.handle(*which), *null),
            Call::Find { id, null } => self.find(id, *null),
            Call::Inspect { which, size, null } => self.inspect(self.handle(*which), *size, *null),
            Call::Stats { size, null } => self.stats(*size, *null),
            Call::Each { hosts, meanwhile } => self.each(*hosts, meanwhile.as_deref()),
            Call::EventFd { null } => self.event_fd(*null),
            Call::Drain { capacity, null_events, null_count } => self.drain(*capacity, *null_events, *null_count),
            Call::Settle(answer) => self.settle(answer),
            Call::Advance { due, by_ns, null } => self.advance(*due, *by_ns, *null),
            Call::NextDue { null } => drop(self.next_due(*null)),
            Call::Now { null } => self.now(*null),
            Call::Release => self.release(),
            // SAFETY: takes a number and gives a constant string.
            Call::Text { code } => assert!(unsafe { CStr::from_ptr(hostwheel_strerror(*code)) }.count_bytes() > 0),
            Call::Close { timeout_ns } => self.close(*timeout_ns),
            Call::Free => self.free(),
        }
        if !self.is_freed() {
            // SAFETY: just asked.
            unsafe { self.ledger().read_lent() };
        }
    }

    fn announce(&self, id: &Id, interval_ns: u64, age_ns: u64, null: bool) {
        let (bytes, length) = bytes_of(id);
        let closed = self.is_closed();
        let user_data = self.ledger().offer(bytes.as_deref().unwrap_or_default());
        let mut out = Output::of::<hostwheel_announced_t>(null);
        let (pointer, announced) = (pointer_to(&bytes), out.pointer());
        // SAFETY: the id is as long as told, or NULL.
        let code =
            unsafe { hostwheel_announce(self.pointer, pointer, length, interval_ns, age_ns, user_data, announced) };
        let answers = match &bytes {
            _ if null && self.releases => Only(HOSTWHEEL_ERR_NULL_ARG),
            _ => self.id_answers(&bytes, closed, &[HOSTWHEEL_ERR_FULL, HOSTWHEEL_ERR_NO_MEMORY]),
        };
        self.check(code, answers);
        let answer = out.value::<hostwheel_announced_t>(code);
        if code == 0 && null {
            return self.look_who_registered(bytes.as_deref().unwrap_or_default(), user_data);
        }
        let Some(answer) = answer else { return };
        assert_eq!(answer.reserved, [0; 2]);
        assert!(answer.flags <= HOSTWHEEL_ANNOUNCED_CLAMPED | HOSTWHEEL_ANNOUNCED_AGE_CUT);
        if answer.outcome == HOSTWHEEL_OUTCOME_REGISTERED {
            self.register(user_data, answer.handle);
        } else {
            assert!((HOSTWHEEL_OUTCOME_RENEWED..=HOSTWHEEL_OUTCOME_RECOVERED).contains(&answer.outcome));
            let ledger = self.ledger();
            let host = ledger.host(answer.handle).expect("a known host has a handle that was issued");
            assert_eq!(Some(&host.id), bytes.as_ref());
            assert!(!self.manual || host.fate == Fate::Owned, "renewed a host that is {:?}", host.fate);
        }
    }

    /// After an announce that did not say: the host has these user data if it is new.
    fn look_who_registered(&self, id: &[u8], user_data: u64) {
        let (mut handle, mut host) = (Output::of::<u64>(false), Output::of::<hostwheel_host_t>(false));
        // SAFETY: the id is as long as told, and so are the outputs.
        let code = unsafe { hostwheel_find(self.pointer, id.as_ptr(), id.len(), handle.pointer()) };
        let Some(handle) = handle.value::<u64>(code) else { return };
        // SAFETY: see above.
        let code = unsafe { hostwheel_inspect(self.pointer, handle, host.pointer(), size_of::<hostwheel_host_t>()) };
        if host.value::<hostwheel_host_t>(code).is_some_and(|host| host.user_data == user_data) {
            self.register(user_data, handle);
        }
    }

    fn register(&self, user_data: u64, handle: u64) {
        self.ledger().register(user_data, handle);
        ISSUED.lock().unwrap().push(handle);
    }

    /// What a call with an id may answer; `other` is what it may say of a good one.
    fn id_answers(&self, id: &Option<Vec<u8>>, closed: bool, other: &'static [i32]) -> Answers {
        match id {
            None => Only(HOSTWHEEL_ERR_NULL_ARG),
            Some(id) if !(1..=1024).contains(&id.len()) => Only(HOSTWHEEL_ERR_ID_LENGTH),
            Some(_) if closed => Only(HOSTWHEEL_ERR_CLOSED),
            Some(_) => Or(other),
        }
    }

    /// What a call that changes a host may answer.
    fn handle_answers(&self, handle: u64) -> Answers {
        match self.ledger().fate(handle) {
            _ if self.is_closed() => Error(&[HOSTWHEEL_ERR_CLOSED, HOSTWHEEL_ERR_STALE, HOSTWHEEL_ERR_TAKEN]),
            // Taken, if its leave waits in the queue.
            Some(Fate::Owned) => Or(&[HOSTWHEEL_ERR_TAKEN]),
            Some(Fate::Shown) => Only(HOSTWHEEL_ERR_TAKEN),
            // Until the next advance the record is there.
            Some(Fate::Done) => Error(&[HOSTWHEEL_ERR_TAKEN, HOSTWHEEL_ERR_STALE]),
            _ => Only(HOSTWHEEL_ERR_STALE),
        }
    }

    fn renew(&self, handle: u64, age_ns: u64, null: bool) {
        let answers = self.handle_answers(handle);
        let mut out = Output::of::<u32>(null);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_renew(self.pointer, handle, age_ns, out.pointer()) };
        self.check(code, answers);
        if code != 0 {
            assert!(out.is_untouched_from(0));
        } else if !null {
            assert!(out.is_untouched_from(4));
            let outcome = out.values::<u32>(1)[0];
            assert!((HOSTWHEEL_OUTCOME_RENEWED..=HOSTWHEEL_OUTCOME_RECOVERED).contains(&outcome));
        }
        assert!(code != 0 || self.ledger().host(handle).is_some(), "renewed a handle that was never issued");
    }

    fn leave(&self, id: &Id, null: bool) {
        let (bytes, length) = bytes_of(id);
        let closed = self.is_closed();
        let mut found = Output::of::<u64>(false);
        // SAFETY: the id is as long as told, or NULL.
        let code = unsafe { hostwheel_find(self.pointer, pointer_to(&bytes), length, found.pointer()) };
        let found = found.value::<u64>(code);
        let mut out = Output::of::<u64>(null);
        // SAFETY: see above.
        let code = unsafe { hostwheel_leave(self.pointer, pointer_to(&bytes), length, out.pointer()) };
        self.check(code, self.id_answers(&bytes, closed, &[HOSTWHEEL_ERR_NOT_FOUND]));
        let returned = out.value::<u64>(code);
        if self.manual && !closed && !self.pointer.is_null() {
            assert_eq!(found.is_some(), code == 0, "found or not, and left or not");
        }
        // On a thread of its own, the host may be another one by now.
        if let (0, Some(handle), true) = (code, found, self.manual) {
            self.ledger().leave(handle, returned, self.releases);
        } else if let (0, Some(handle)) = (code, found) {
            let fate = self.ledger().fate(handle);
            if fate == Some(Fate::Owned) || fate == Some(Fate::Released) {
                self.ledger().leave(handle, returned, self.releases);
            }
        }
    }

    fn leave_handle(&self, handle: u64, null: bool) {
        let answers = self.handle_answers(handle);
        let mut out = Output::of::<u64>(null);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_leave_handle(self.pointer, handle, out.pointer()) };
        self.check(code, answers);
        let returned = out.value::<u64>(code);
        if code == 0 {
            self.ledger().leave(handle, returned, self.releases);
        }
    }

    fn find(&self, id: &Id, null: bool) {
        let (bytes, length) = bytes_of(id);
        let mut out = Output::of::<u64>(null);
        // SAFETY: the id is as long as told, or NULL.
        let code = unsafe { hostwheel_find(self.pointer, pointer_to(&bytes), length, out.pointer()) };
        let answers = if null {
            Only(HOSTWHEEL_ERR_NULL_ARG)
        } else {
            self.id_answers(&bytes, false, &[HOSTWHEEL_ERR_NOT_FOUND])
        };
        self.check(code, answers);
        let Some(handle) = out.value::<u64>(code) else { return };
        let ledger = self.ledger();
        let host = ledger.host(handle).expect("a handle that was issued");
        assert_eq!(Some(&host.id), bytes.as_ref());
        assert!(!self.manual || host.fate == Fate::Owned, "found a host that is {:?}", host.fate);
    }

    fn inspect(&self, handle: u64, size: usize, null: bool) {
        let mut out = Output::new(size, null);
        // SAFETY: NULL, or as long as told.
        let code = unsafe { hostwheel_inspect(self.pointer, handle, out.pointer(), size) };
        let answers = match self.ledger().fate(handle) {
            _ if null => Only(HOSTWHEEL_ERR_NULL_ARG),
            _ if size < 8 => Only(HOSTWHEEL_ERR_STRUCT_SIZE),
            Some(Fate::Owned | Fate::Shown) => Only(0),
            Some(Fate::Done) => Or(&[HOSTWHEEL_ERR_STALE]),
            _ => Only(HOSTWHEEL_ERR_STALE),
        };
        self.check(code, answers);
        if let Some(host) = out.sized::<hostwheel_host_t>(code) {
            assert_eq!((host.handle, host.id, host.id_len), (handle, ptr::null(), 0));
            assert!((HOSTWHEEL_STATE_LIVE..=HOSTWHEEL_STATE_TAKEN).contains(&host.state));
            assert!(host.held_by <= HOSTWHEEL_HELD_OUTSTANDING);
            self.ledger().check(handle, host.user_data, None);
        }
    }

    fn stats(&self, size: usize, null: bool) {
        let mut out = Output::new(size, null);
        // SAFETY: NULL, or as long as told.
        let code = unsafe { hostwheel_stats(self.pointer, out.pointer(), size) };
        self.check(
            code,
            match size {
                _ if null => Only(HOSTWHEEL_ERR_NULL_ARG),
                0..8 => Only(HOSTWHEEL_ERR_STRUCT_SIZE),
                _ => Only(0),
            },
        );
        if let Some(stats) = out.sized::<hostwheel_stats_t>(code) {
            let ledger = self.ledger();
            assert_eq!((stats.panics, stats.rescues, stats.leaves_backstop), (0, 0, 0));
            if self.manual {
                assert_eq!((stats.registered, stats.left), (ledger.registered, ledger.left));
                assert!(stats.live <= ledger.owned().count() as u64);
            }
        }
    }

    fn each(&self, hosts: Option<u8>, meanwhile: Option<&Call>) {
        let walk = Walk { wheel: self, left: Cell::new(hosts.unwrap_or(0)), meanwhile, seen: Cell::default() };
        let each: hostwheel_each_fn = if hosts.is_some() { Some(on_host) } else { None };
        self.depth.fetch_add(1, SeqCst);
        // SAFETY: the context lives through the call.
        let code = unsafe { hostwheel_each(self.pointer, each, ptr::from_ref(&walk).cast_mut().cast()) };
        self.depth.fetch_sub(1, SeqCst);
        self.check(code, Only(if hosts.is_none() { HOSTWHEEL_ERR_NULL_ARG } else { 0 }));
        let seen = walk.seen.take();
        if code == 0 && meanwhile.is_none() && self.manual && walk.left.get() > 0 {
            let owned: Vec<_> = self.ledger().owned().map(|host| host.handle).collect();
            let missed = owned.into_iter().filter(|handle| !seen.contains(handle));
            assert!(missed.into_iter().all(|handle| self.is_taken(handle)), "a walk missed a host");
        }
    }

    fn is_taken(&self, handle: u64) -> bool {
        let mut out = Output::of::<hostwheel_host_t>(false);
        // SAFETY: as long as told.
        let code = unsafe { hostwheel_inspect(self.pointer, handle, out.pointer(), size_of::<hostwheel_host_t>()) };
        out.value::<hostwheel_host_t>(code).is_some_and(|host| host.state == HOSTWHEEL_STATE_TAKEN)
    }

    fn event_fd(&self, null: bool) {
        let mut out = Output::of::<c_int>(null);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_event_fd(self.pointer, out.pointer()) };
        self.check(
            code,
            match (null, self.drains) {
                (true, _) => Only(HOSTWHEEL_ERR_NULL_ARG),
                (_, drains) => Only(if drains { 0 } else { HOSTWHEEL_ERR_MODE }),
            },
        );
        assert!(code == 0 || out.is_untouched_from(0));
    }

    fn drain(&self, capacity: usize, null_events: bool, null_count: bool) {
        let mut events = Output::new(capacity * size_of::<hostwheel_event_t>(), null_events);
        let mut count = Output::of::<usize>(null_count);
        self.ledger().drain();
        // SAFETY: each is NULL, or as long as told.
        let code = unsafe { hostwheel_drain(self.pointer, events.pointer(), capacity, count.pointer()) };
        self.check(
            code,
            match self.drains {
                _ if null_count || null_events && capacity > 0 => Only(HOSTWHEEL_ERR_NULL_ARG),
                // Once all was drained.
                true if self.is_closed() => Or(&[HOSTWHEEL_ERR_CLOSED]),
                true => Only(0),
                false => Only(HOSTWHEEL_ERR_MODE),
            },
        );
        let count = count.value::<usize>(code).unwrap_or(0);
        assert!(count <= capacity);
        let mut ledger = self.ledger();
        for event in events.values::<hostwheel_event_t>(count) {
            // SAFETY: just drained.
            unsafe { ledger.tell(&event) };
            ledger.lend(&event);
        }
    }

    fn settle(&self, answer: &Answer) {
        let handle = self.handle(answer.which);
        let (attempt, open) = match self.ledger().host(handle) {
            Some(host) => (host.attempt, host.fate == Fate::Shown && !host.answered),
            None => (1, false),
        };
        let attempt = attempt.wrapping_add(answer.attempt);
        // SAFETY: takes numbers.
        let code = unsafe { hostwheel_settle(self.pointer, handle, attempt, answer.verdict, answer.retry_after_ns) };
        let refused = &[HOSTWHEEL_ERR_STALE, HOSTWHEEL_ERR_ATTEMPT, HOSTWHEEL_ERR_CLOSED];
        self.check(
            code,
            match answer.verdict {
                // No handle has such a number.
                HOSTWHEEL_VERDICT_DONE | HOSTWHEEL_VERDICT_RETRY if handle >> 32 == 0 => Only(HOSTWHEEL_ERR_STALE),
                HOSTWHEEL_VERDICT_DONE | HOSTWHEEL_VERDICT_RETRY if !self.drains => Only(HOSTWHEEL_ERR_MODE),
                // The next attempt may wait in the queue.
                HOSTWHEEL_VERDICT_DONE | HOSTWHEEL_VERDICT_RETRY
                    if open && answer.attempt == 0 && !self.is_closed() =>
                {
                    Or(&[HOSTWHEEL_ERR_ATTEMPT])
                }
                HOSTWHEEL_VERDICT_DONE | HOSTWHEEL_VERDICT_RETRY => Error(refused),
                _ => Only(HOSTWHEEL_ERR_CONFIG),
            },
        );
        if code == 0 {
            self.ledger().answer(handle, answer.verdict);
        }
    }

    /// What a call of the manual clock answers.
    fn clock_answer(&self) -> i32 {
        match self.manual {
            false => HOSTWHEEL_ERR_MODE,
            true if IN_EVENT.get() => HOSTWHEEL_ERR_IN_CALLBACK,
            true if self.is_closed() => HOSTWHEEL_ERR_CLOSED,
            true => 0,
        }
    }

    fn advance(&self, due: bool, by_ns: u64, null: bool) {
        let from = if due { self.next_due(false).filter(|due| *due != HOSTWHEEL_NEVER) } else { None };
        let to = from.unwrap_or(self.clock.load(SeqCst)).saturating_add(by_ns);
        let (answer, before) = (self.clock_answer(), self.ledger().events);
        let mut out = Output::of::<usize>(null);
        self.depth.fetch_add(1, SeqCst);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_advance(self.pointer, to, out.pointer()) };
        self.depth.fetch_sub(1, SeqCst);
        self.check(code, Only(answer));
        if code == 0 {
            self.clock.fetch_max(to, SeqCst);
        }
        if let (Some(made), false) = (out.value::<usize>(code), self.drains) {
            assert_eq!(made, self.ledger().events - before, "events delivered");
        }
    }

    fn next_due(&self, null: bool) -> Option<u64> {
        let mut out = Output::of::<u64>(null);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_next_due(self.pointer, out.pointer()) };
        self.check(code, Only(if null { HOSTWHEEL_ERR_NULL_ARG } else { self.clock_answer() }));
        out.value(code)
    }

    fn now(&self, null: bool) {
        let mut out = Output::of::<u64>(null);
        // SAFETY: NULL, or as long as the type.
        let code = unsafe { hostwheel_now(self.pointer, out.pointer()) };
        self.check(code, Only(if null { HOSTWHEEL_ERR_NULL_ARG } else { 0 }));
        out.value::<u64>(code);
    }

    fn release(&self) {
        let closed = self.is_closed();
        // SAFETY: NULL, or a wheel that was not freed.
        let code = unsafe { hostwheel_release(self.pointer) };
        self.check(code, Only(if closed { HOSTWHEEL_ERR_CLOSED } else { 0 }));
    }

    fn close(&self, timeout_ns: u64) {
        // Told first: other threads' calls are refused from some moment in the call on.
        self.closed.store(true, SeqCst);
        // SAFETY: NULL, or a wheel that was not freed.
        let code = unsafe { hostwheel_close(self.pointer, timeout_ns) };
        self.check(
            code,
            match self.manual {
                _ if IN_EVENT.get() => Only(HOSTWHEEL_ERR_IN_CALLBACK),
                true => Only(0),
                false => Or(&[HOSTWHEEL_ERR_TIMEOUT]),
            },
        );
    }

    fn free(&self) {
        if !self.manual {
            if IN_EVENT.get() {
                // The program's thread may be in a call.
                return;
            }
            // A callback that still runs must not call the wheel any more; ours do.
            self.close(HOSTWHEEL_NEVER);
        }
        if self.depth.load(SeqCst) == 0 {
            // SAFETY: no call is under way, and this one is the last.
            unsafe { self.ledger().read_lent() };
        }
        // No more calls from here on, also where it is freed later. (NULL stays what it is.)
        self.freed.store(!self.pointer.is_null(), SeqCst);
        // SAFETY: NULL, or a wheel that was not freed.
        unsafe { hostwheel_free(self.pointer) };
    }
}

fn config_init(size: usize, null: bool) {
    let mut out = Output::new(size.min(4096), null);
    // SAFETY: NULL, or as long as told; a size that no struct has is refused.
    let code = unsafe { hostwheel_config_init(out.pointer(), size) };
    let right = match size {
        _ if null => HOSTWHEEL_ERR_NULL_ARG,
        16..=4096 if size.is_multiple_of(8) => 0,
        _ => HOSTWHEEL_ERR_STRUCT_SIZE,
    };
    assert_eq!(code, right);
    if let Some(config) = out.sized::<hostwheel_config_t>(code) {
        assert_eq!(config.struct_size as usize, size);
    }
}

fn bytes_of(id: &Id) -> (Option<Vec<u8>>, usize) {
    match id {
        Id::Number(number) => (Some(vec![*number; 1 + usize::from(*number) % 3]), 1 + usize::from(*number) % 3),
        Id::Length(length) => (Some(vec![b'l'; *length]), *length),
        Id::Null(length) => (None, *length),
    }
}

fn pointer_to(id: &Option<Vec<u8>>) -> *const u8 {
    id.as_ref().map_or(ptr::null(), |id| id.as_ptr())
}
