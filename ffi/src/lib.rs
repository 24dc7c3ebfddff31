//! The C ABI of hostwheel. The header `include/hostwheel.h` is made from this crate, and its comments are these comments.
//!
//! Every function passes `object::enter` or `object::guarded`, the one boundary that no panic passes: NULL, a forked
//! child and a wheel that is out of order are told there. Outputs are written at the very end, so that an error leaves them
//! as they were. `docs/abi.md` says what may change between versions.

// The functions' contract is the header's, and the same for all of them: pointers are NULL or valid as described there.
#![allow(clippy::missing_safety_doc)]

mod canary;
mod config;
mod errors;
mod internal;
mod object;
mod types;

use std::ffi::{c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::time::Duration;

use hostwheel::{Announced, Handle, Hold, HostState, HostStatus, HostWheel, Interval, OpenError, Outcome};

use canary::{Canary, planted};
use errors::Code;
pub use errors::*;
use object::{Callback, Ctx, Object, enter, enter_calling, guarded, nanos, verdict_in};
pub use types::*;

const NULL_ARG: Code = Code(HOSTWHEEL_ERR_NULL_ARG);
const CONFIG: Code = Code(HOSTWHEEL_ERR_CONFIG);
const STRUCT_SIZE: Code = Code(HOSTWHEEL_ERR_STRUCT_SIZE);

/// The version of the ABI: raised when a program built for an older one could break.
pub const HOSTWHEEL_ABI_VERSION: u32 = 0;

/// Fills a configuration of `size` bytes, `sizeof(hostwheel_config_t)` of the program, with every default.
///
/// Errors: NULL_ARG, STRUCT_SIZE. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_config_init(config: *mut hostwheel_config_t, size: usize) -> i32 {
    guarded(|| {
        if config.is_null() {
            return Err(NULL_ARG);
        }
        let size32 = u32::try_from(size).map_err(|_| STRUCT_SIZE)?;
        if !config::is_size(size) {
            return Err(STRUCT_SIZE);
        }
        let defaults = hostwheel_config_t { struct_size: size32, ..config::defaults() };
        // SAFETY: the program has `size` bytes there.
        unsafe { write_sized(config.cast(), size, &defaults) };
        Ok(())
    })
}

/// Opens a wheel. `*out` is to be freed with hostwheel_free.
///
/// Errors: NULL_ARG (`config`, `out`, or `on_event` with callback delivery), STRUCT_SIZE, CONFIG, OS (errno says why). Any
/// thread. Not async-signal-safe, like everything here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_open(config: *const hostwheel_config_t, out: *mut *mut hostwheel_t) -> i32 {
    guarded(|| {
        if config.is_null() || out.is_null() {
            return Err(NULL_ARG);
        }
        // SAFETY: the program's struct, as long as it says itself.
        let config = unsafe { config::read(config) }?;
        let (settings, callback) = (config::settings_of(&config)?, Callback::new(config.on_event, Ctx(config.ctx)));
        let (wheel, events) = match (config.delivery, callback) {
            (HOSTWHEEL_DELIVERY_CALLBACK, Some(callback)) => {
                (HostWheel::start(settings, callback).map_err(with_errno)?, None)
            }
            (HOSTWHEEL_DELIVERY_CALLBACK, None) => return Err(NULL_ARG),
            (HOSTWHEEL_DELIVERY_DRAIN, None) => {
                let (wheel, events) = HostWheel::drained(settings).map_err(with_errno)?;
                (wheel, Some(events))
            }
            _ => return Err(CONFIG),
        };
        let object = Box::new(Object::new(wheel, events, config.release_user_data, Ctx(config.ctx)));
        // SAFETY: not NULL, and the program's to write to.
        unsafe { out.write(Box::into_raw(object).cast()) };
        Ok(())
    })
}

/// Closes the wheel: from now on announces, renews, leaves and answers are refused, hosts that are known get no leave, and
/// no callback runs once this returned 0. Waits at most `timeout_ns` for a callback that runs. May be called again.
///
/// Errors: NULL_ARG, TIMEOUT, IN_CALLBACK (the wheel closes all the same), FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_close(wheel: *mut hostwheel_t, timeout_ns: u64) -> i32 {
    enter(wheel, |object| Ok(object.wheel.close(Duration::from_nanos(timeout_ns))?))
}

/// Frees the wheel, closing it first if nobody has. Waits up to 5 s for a callback that runs on the wheel's thread, also
/// after a close that timed out. NULL is ignored.
///
/// No other call may be under way or come after; a callback that still runs must not call the wheel any more either. Inside a
/// callback it does not wait: the call that the callback is inside of (hostwheel_advance, hostwheel_each) frees the wheel when it
/// returns. The wheel's own thread, where it is still in a callback, goes on to the end of that, begins no other, and frees what
/// it uses; `release_user_data` is called there then, so what `ctx` points to must live until then. In a forked child nothing is
/// freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_free(wheel: *mut hostwheel_t) {
    if wheel.is_null() {
        return;
    }
    guarded(|| {
        // SAFETY: hostwheel_open made it of a Box, and the program gives it up.
        unsafe { Object::free(wheel.cast()) };
        Ok(())
    });
}

/// The host `id` was heard `age_ns` ago, and will be again every `interval_ns` (0: it does not say). Registers it if it is
/// not known, and keeps `user_data` then; else renews it and takes over the interval.
///
/// An announce from before the last one changes nothing. `out` may be NULL only without `release_user_data`: who owns
/// `user_data` depends on the outcome. It is the wheel's with HOSTWHEEL_OUTCOME_REGISTERED only. A known host costs one
/// look-up and one compare-and-swap, no lock.
///
/// Errors: NULL_ARG, ID_LENGTH, FULL, NO_MEMORY, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_announce(
    wheel: *mut hostwheel_t,
    id: *const u8,
    id_len: usize,
    interval_ns: u64,
    age_ns: u64,
    user_data: u64,
    out: *mut hostwheel_announced_t,
) -> i32 {
    enter(wheel, |object| {
        if out.is_null() && object.releases() {
            return Err(NULL_ARG);
        }
        // SAFETY: the program's bytes.
        let id = unsafe { id_in(id, id_len) }?;
        let interval = Interval::from(Duration::from_nanos(interval_ns));
        let announced = object.wheel.announce_with(id, interval, Duration::from_nanos(age_ns), user_data)?;
        if !out.is_null() {
            // SAFETY: not NULL, and the program's to write to.
            unsafe { out.write(announced_out(&announced)) };
        }
        Ok(())
    })
}

/// The host `id` came back as another process: ends the incarnation that is known, without a leave event, and begins a new one
/// with a new handle, in one step for everybody else. At no moment is the id unknown, or known twice. An id that is not known
/// is registered. `user_data` is the wheel's from now on.
///
/// `*ended_handle` is the handle of the incarnation that ended, 0 if none was known (also of a host that was handed out as a
/// leave); `*ended_user_data` is its user data, which are the caller's again. With NULL they go to `release_user_data`. Any of
/// the three outputs may be NULL. The old handle is stale: say goodbye by handle, and put it, or a boot id of your own, into the
/// message, so that a late goodbye does not end the new incarnation. Waits for another hostwheel_replace of the same id.
///
/// Errors: NULL_ARG, ID_LENGTH, FULL (the id is not known, and max_hosts are), NO_MEMORY, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_replace(
    wheel: *mut hostwheel_t,
    id: *const u8,
    id_len: usize,
    interval_ns: u64,
    user_data: u64,
    out: *mut hostwheel_announced_t,
    ended_handle: *mut u64,
    ended_user_data: *mut u64,
) -> i32 {
    enter(wheel, |object| {
        // SAFETY: the program's bytes.
        let id = unsafe { id_in(id, id_len) }?;
        let replaced = object.wheel.replace(id, Interval::from(Duration::from_nanos(interval_ns)), user_data)?;
        if !out.is_null() {
            // SAFETY: not NULL, and the program's to write to.
            unsafe { out.write(announced_out(&replaced.announced)) };
        }
        if !ended_handle.is_null() {
            // SAFETY: not NULL, and the program's to write to.
            unsafe { ended_handle.write(replaced.ended.map_or(0, |(handle, _)| handle.as_raw())) };
        }
        if let Some((_, ended)) = replaced.ended {
            // SAFETY: NULL, or the program's to write to.
            unsafe { give_back(object, ended_user_data, ended) };
        }
        Ok(())
    })
}

fn announced_out(announced: &Announced) -> hostwheel_announced_t {
    let clamped = if announced.clamped { HOSTWHEEL_ANNOUNCED_CLAMPED } else { 0 };
    let age_cut = if announced.age_cut { HOSTWHEEL_ANNOUNCED_AGE_CUT } else { 0 };
    hostwheel_announced_t {
        handle: announced.handle.as_raw(),
        interval_ns: nanos(announced.interval),
        outcome: outcome_out(announced.outcome),
        flags: clamped | age_cut,
        reserved: [0; 2],
    }
}

/// The host was heard `age_ns` ago; its interval stays. The cheapest announce: one compare-and-swap. `outcome` may be NULL.
///
/// Errors: NULL_ARG, STALE (the host has left: announce it by its id), TAKEN (it was handed out as a leave), CLOSED, FORKED,
/// PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_renew(wheel: *mut hostwheel_t, handle: u64, age_ns: u64, outcome: *mut u32) -> i32 {
    enter(wheel, |object| {
        let handle = handle_in(handle)?;
        let renewed = match age_ns {
            0 => object.wheel.renew(handle),
            age_ns => object.wheel.renew_seen(handle, Duration::from_nanos(age_ns)),
        }?;
        // SAFETY: NULL, or the program's to write to.
        unsafe { write(outcome, outcome_out(renewed)) };
        Ok(())
    })
}

/// The host says goodbye: it is removed and fires nothing. `*user_data` is the caller's again; with NULL it goes to
/// `release_user_data`.
///
/// Errors: NULL_ARG, ID_LENGTH, NOT_FOUND (also of a host that was handed out as a leave), CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_leave(
    wheel: *mut hostwheel_t,
    id: *const u8,
    id_len: usize,
    user_data: *mut u64,
) -> i32 {
    enter(wheel, |object| {
        // SAFETY: the program's bytes.
        let left = object.wheel.leave(unsafe { id_in(id, id_len) }?)?;
        // SAFETY: NULL, or the program's to write to.
        unsafe { give_back(object, user_data, left) };
        Ok(())
    })
}

/// As hostwheel_leave, by handle.
///
/// Errors: NULL_ARG, STALE, TAKEN, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_leave_handle(wheel: *mut hostwheel_t, handle: u64, user_data: *mut u64) -> i32 {
    enter(wheel, |object| {
        let left = object.wheel.leave_handle(handle_in(handle)?)?;
        // SAFETY: NULL, or the program's to write to.
        unsafe { give_back(object, user_data, left) };
        Ok(())
    })
}

/// The handle of a host that is known and not handed out as a leave. Works after close as well.
///
/// Errors: NULL_ARG, ID_LENGTH, NOT_FOUND, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_find(
    wheel: *mut hostwheel_t,
    id: *const u8,
    id_len: usize,
    handle: *mut u64,
) -> i32 {
    enter(wheel, |object| {
        if handle.is_null() {
            return Err(NULL_ARG);
        }
        if planted(Canary::WrittenOnError) {
            // SAFETY: not NULL, and the program's to write to.
            unsafe { handle.write(0) };
        }
        // SAFETY: the program's bytes.
        let found = object.wheel.find(unsafe { id_in(id, id_len) }?)?;
        // SAFETY: not NULL, and the program's to write to.
        unsafe { handle.write(found.as_raw()) };
        Ok(())
    })
}

/// What decides one host's fate. `size` is `sizeof(hostwheel_host_t)` of the program; so many bytes are written, what this
/// version does not know as 0. Works after close as well.
///
/// Errors: NULL_ARG, STRUCT_SIZE, STALE, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_inspect(
    wheel: *mut hostwheel_t,
    handle: u64,
    out: *mut hostwheel_host_t,
    size: usize,
) -> i32 {
    enter(wheel, |object| {
        if out.is_null() {
            return Err(NULL_ARG);
        }
        if size < LEAST_OUT {
            return Err(STRUCT_SIZE);
        }
        let status = object.wheel.inspect(handle_in(handle)?)?;
        // SAFETY: the program has `size` bytes there.
        unsafe { write_sized(out.cast(), size, &host_out(&status, &[])) };
        Ok(())
    })
}

/// Calls `each` for every host that is known and not handed out as a leave, until it returns anything but 0. Hosts that
/// come or go meanwhile may be missed, and no id is shown twice. `each` may call the wheel, and may block. Works after close as
/// well.
///
/// Errors: NULL_ARG, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_each(wheel: *mut hostwheel_t, each: hostwheel_each_fn, ctx: *mut c_void) -> i32 {
    enter_calling(wheel, |object| {
        let each = each.ok_or(NULL_ARG)?;
        object.wheel.each(|view| {
            // It may have left since.
            let status = match object.wheel.inspect(view.handle) {
                Ok(status) if status.state != HostState::Taken => status,
                _ => return ControlFlow::Continue(()),
            };
            let host = host_out(&status, view.id);
            // SAFETY: the program's function, with a host that lives through the call.
            if unsafe { each(ctx, &host) } == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok(())
    })
}

/// A snapshot of the counters. `size` is `sizeof(hostwheel_stats_t)` of the program, see hostwheel_inspect. Works after
/// close as well.
///
/// Errors: NULL_ARG, STRUCT_SIZE, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_stats(wheel: *mut hostwheel_t, out: *mut hostwheel_stats_t, size: usize) -> i32 {
    enter(wheel, |object| {
        if out.is_null() {
            return Err(NULL_ARG);
        }
        if size < LEAST_OUT {
            return Err(STRUCT_SIZE);
        }
        let stats = object.wheel.stats();
        let stats = hostwheel_stats_t {
            live: stats.live,
            suspect: stats.suspect,
            registered: stats.registered,
            left: stats.left,
            leaves_ttl: stats.leaves_ttl,
            leaves_host_ttl: stats.leaves_host_ttl,
            leaves_backstop: stats.leaves_backstop,
            suspects: stats.suspects,
            recoveries: stats.recoveries,
            retries: stats.retries,
            panics: stats.panics,
            rescues: stats.rescues,
            sweeps: stats.sweeps,
            superseded: stats.superseded,
            clamps: stats.clamps,
            outstanding: stats.outstanding,
            waiting: stats.waiting,
            silence_ns: nanos(stats.silence),
            silences: stats.silences,
            brake_ns: nanos(stats.brake),
            away_ns: nanos(stats.away),
            now_ns: nanos(stats.now),
            margin_ns: nanos(stats.margin),
            visits: stats.visits,
            wake_ups: stats.wake_ups,
            lateness: stats.lateness,
            lateness_sum_ns: nanos(stats.lateness_sum),
            lateness_max_ns: nanos(stats.lateness_max),
            records: stats.records,
            clock: config::clock_out(stats.clock),
            reserved0: 0,
            memory_refusals: stats.memory_refusals,
        };
        // SAFETY: the program has `size` bytes there.
        unsafe { write_sized(out.cast(), size, &stats) };
        Ok(())
    })
}

/// The descriptor that is readable while events wait, and for ever once the wheel is closed, for poll and epoll. It is the
/// wheel's: do not read, write or close it. Drain delivery only.
///
/// Errors: NULL_ARG, MODE, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_event_fd(wheel: *mut hostwheel_t, fd: *mut c_int) -> i32 {
    enter(wheel, |object| {
        if fd.is_null() {
            return Err(NULL_ARG);
        }
        let descriptor = object.event_fd()?;
        // SAFETY: not NULL, and the program's to write to.
        unsafe { fd.write(descriptor) };
        Ok(())
    })
}

/// Moves at most `capacity` waiting events to `events` and says how many in `*count`, guard events first. Never waits. After close
/// it gives out what was made before, and then returns CLOSED: no more will come. Each leave is to be answered with
/// hostwheel_settle. No host leaves before its suspect event was drained.
/// Calls from several threads take turns; the next one ends the life of the ids of suspect and recovered events, whoever makes
/// it.
///
/// Errors: NULL_ARG, MODE, CLOSED (and all was drained), NO_MEMORY (the events still wait), FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_drain(
    wheel: *mut hostwheel_t,
    events: *mut hostwheel_event_t,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    enter(wheel, |object| {
        if count.is_null() || events.is_null() && capacity > 0 {
            return Err(NULL_ARG);
        }
        // SAFETY: the program has room for `capacity` events there, and as many are drained at most.
        let drained = object.drain(capacity, |number, event| unsafe { events.add(number).write(event) })?;
        // SAFETY: not NULL, and the program's to write to.
        unsafe { count.write(drained) };
        Ok(())
    })
}

/// Answers the attempt number `attempt` of a drained leave with HOSTWHEEL_VERDICT_*; a retry comes after `retry_after_ns`, or
/// after growing delays if that is 0. Drain delivery only.
///
/// Errors: NULL_ARG, MODE, CONFIG (no such verdict), STALE (settled already), ATTEMPT, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_settle(
    wheel: *mut hostwheel_t,
    handle: u64,
    attempt: u32,
    verdict: u32,
    retry_after_ns: u64,
) -> i32 {
    enter(wheel, |object| {
        let verdict = verdict_in(verdict, retry_after_ns).ok_or(CONFIG)?;
        object.settle(handle_in(handle)?, attempt, verdict)
    })
}

/// Moves the manual clock to `now_ns` since the opening and does all that is due by then. `events`, which may be NULL, gets
/// the number of events delivered, or made if they are drained. An advance by more than the watchdog allows is a late look:
/// the excess counts against no host.
///
/// Errors: NULL_ARG, MODE (another clock), IN_CALLBACK, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_advance(wheel: *mut hostwheel_t, now_ns: u64, events: *mut usize) -> i32 {
    enter_calling(wheel, |object| {
        let made = object.wheel.advance(Duration::from_nanos(now_ns))?;
        // SAFETY: NULL, or the program's to write to.
        unsafe { write(events, made) };
        Ok(())
    })
}

/// When to advance the manual clock next at the latest; HOSTWHEEL_NEVER while no host is known.
///
/// Errors: NULL_ARG, MODE, IN_CALLBACK, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_next_due(wheel: *mut hostwheel_t, at_ns: *mut u64) -> i32 {
    enter(wheel, |object| {
        if at_ns.is_null() {
            return Err(NULL_ARG);
        }
        let due = object.wheel.next_due()?.map_or(HOSTWHEEL_NEVER, nanos);
        // SAFETY: not NULL, and the program's to write to.
        unsafe { at_ns.write(due) };
        Ok(())
    })
}

/// Wheel time: nanoseconds since the opening, less the time in which nobody watched. Works after close as well.
///
/// Errors: NULL_ARG, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_now(wheel: *mut hostwheel_t, ns: *mut u64) -> i32 {
    enter(wheel, |object| {
        if ns.is_null() {
            return Err(NULL_ARG);
        }
        // SAFETY: not NULL, and the program's to write to.
        unsafe { ns.write(nanos(object.wheel.now())) };
        Ok(())
    })
}

/// Has the brake let as many hosts go at once as wait for it now: for an operator who knows that they are gone.
///
/// Errors: NULL_ARG, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_release(wheel: *mut hostwheel_t) -> i32 {
    enter(wheel, |object| Ok(object.wheel.release()?))
}

/// What a return value means and what to do about it. A constant string, for any number.
#[unsafe(no_mangle)]
pub extern "C" fn hostwheel_strerror(code: i32) -> *const c_char {
    errors::text(code).as_ptr()
}

/// The version of the library, such as "0.1.0". A constant string.
#[unsafe(no_mangle)]
pub extern "C" fn hostwheel_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// HOSTWHEEL_ABI_VERSION of the library; that of the header is what the program was built for.
#[unsafe(no_mangle)]
pub extern "C" fn hostwheel_abi_version() -> u32 {
    HOSTWHEEL_ABI_VERSION
}

/// The shortest out struct that is of any use.
const LEAST_OUT: usize = 8;

/// Writes `value` to a struct of `size` bytes: its beginning, or all of it and zeros behind.
///
/// # Safety
/// `size` bytes at `to` may be written.
unsafe fn write_sized<T: Copy>(to: *mut u8, size: usize, value: &T) {
    let size = if planted(Canary::WholeStruct) { size.max(size_of::<T>()) } else { size };
    let known = size.min(size_of::<T>());
    // SAFETY: both lie within what may be written; the types are plain and without padding (see `types`).
    unsafe {
        std::ptr::copy_nonoverlapping(std::ptr::from_ref(value).cast(), to, known);
        to.add(known).write_bytes(0, size - known);
    }
}

/// Tells in errno what the system said.
fn with_errno(error: OpenError) -> Code {
    if let OpenError::Os(refused) = &error {
        // SAFETY: the address of the thread's own errno.
        unsafe { *libc::__errno_location() = refused.raw_os_error().unwrap_or(libc::ENOMEM) };
    }
    Code::from(error)
}

/// # Safety
/// `id` is NULL or valid for `len` bytes.
unsafe fn id_in<'a>(id: *const u8, len: usize) -> Result<&'a [u8], Code> {
    if id.is_null() {
        return Err(NULL_ARG);
    }
    if !(1..=hostwheel::LONGEST_ID).contains(&len) {
        return Err(Code(HOSTWHEEL_ERR_ID_LENGTH));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(id, len) })
}

/// A number that can be no handle is a stale one.
fn handle_in(handle: u64) -> Result<Handle, Code> {
    Handle::from_raw(handle).ok_or(Code(HOSTWHEEL_ERR_STALE))
}

fn outcome_out(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Registered => HOSTWHEEL_OUTCOME_REGISTERED,
        Outcome::Renewed => HOSTWHEEL_OUTCOME_RENEWED,
        Outcome::Recovered => HOSTWHEEL_OUTCOME_RECOVERED,
    }
}

/// # Safety
/// `to` is NULL or may be written.
unsafe fn write<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
}

/// Hands user data to the caller, or to the program's function for those that nobody takes.
///
/// # Safety
/// `to` is NULL or may be written.
unsafe fn give_back(object: &Object, to: *mut u64, user_data: u64) {
    if to.is_null() {
        if !planted(Canary::KeptUserData) {
            object.release(user_data);
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe { to.write(user_data) };
    }
}

fn host_out(status: &HostStatus, id: &[u8]) -> hostwheel_host_t {
    hostwheel_host_t {
        handle: status.handle.as_raw(),
        user_data: status.user_data,
        id: if id.is_empty() { std::ptr::null() } else { id.as_ptr() },
        id_len: id.len(),
        state: match status.state {
            HostState::Live => HOSTWHEEL_STATE_LIVE,
            HostState::Suspect => HOSTWHEEL_STATE_SUSPECT,
            _ => HOSTWHEEL_STATE_TAKEN,
        },
        held_by: match status.held_by {
            None => HOSTWHEEL_HELD_NO,
            Some(Hold::Silence) => HOSTWHEEL_HELD_SILENCE,
            Some(Hold::Brake) => HOSTWHEEL_HELD_BRAKE,
            Some(_) => HOSTWHEEL_HELD_OUTSTANDING,
        },
        interval_ns: status.interval.map_or(0, nanos),
        last_seen_ns: nanos(status.last_seen),
        age_ns: nanos(status.age),
        deadline_ns: nanos(status.deadline),
        leaves_at_ns: nanos(status.leaves_at),
        suspect_since_ns: status.suspect_since.map_or(HOSTWHEEL_NEVER, nanos),
        next_look_ns: status.next_look.map_or(HOSTWHEEL_NEVER, nanos),
        held_since_ns: status.held_since.map_or(HOSTWHEEL_NEVER, nanos),
    }
}
