//! The door for the Go package: `ffi/go/internal/native/internal.h` declares what is here. Not public, see `hostwheel::internal`.

use std::ffi::c_void;
use std::time::Duration;

use hostwheel::Interval;
use hostwheel::internal::LAYOUT_VERSION;

use crate::errors::{Code, HOSTWHEEL_ERR_STRUCT_SIZE};
use crate::object::enter;
use crate::types::hostwheel_t;
use crate::{NULL_ARG, handle_in, outcome_out};

/// See `hostwheel::internal::Layout`.
#[repr(C)]
pub struct hostwheel_internal_layout_t {
    version: u32,
    record_size: u32,
    word: u32,
    armed: u32,
    generation: u32,
    reserved: u32,
    reading_ns: u64,
    base_ns: u64,
    records: *const c_void,
    shift_ns: *const c_void,
    plain_until: *const c_void,
    raised_ns: *const c_void,
    raised_by_ns: *const c_void,
}

/// Fills the layout, which must be `size` bytes long.
///
/// Errors: as of the public functions; STRUCT_SIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_internal_layout(
    wheel: *mut hostwheel_t,
    out: *mut hostwheel_internal_layout_t,
    size: usize,
) -> i32 {
    enter(wheel, |object| {
        if out.is_null() {
            return Err(NULL_ARG);
        }
        if size != size_of::<hostwheel_internal_layout_t>() {
            return Err(Code(HOSTWHEEL_ERR_STRUCT_SIZE));
        }
        let layout = object.wheel.layout();
        let layout = hostwheel_internal_layout_t {
            version: LAYOUT_VERSION,
            // All below the 64 bytes of a record.
            record_size: layout.record_size as u32,
            word: layout.word as u32,
            armed: layout.armed as u32,
            generation: layout.generation as u32,
            reserved: 0,
            reading_ns: layout.reading_ns,
            base_ns: layout.base_ns,
            records: layout.records.cast(),
            shift_ns: layout.shift_ns.cast(),
            plain_until: layout.plain_until.cast(),
            raised_ns: layout.raised_ns.cast(),
            raised_by_ns: layout.raised_by_ns.cast(),
        };
        // SAFETY: not NULL, and the caller's to write to.
        unsafe { out.write(layout) };
        Ok(())
    })
}

/// From now on, which is before the first host, a drained suspect event counts as seen when hostwheel_internal_told says so.
///
/// Errors: NULL_ARG, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_internal_tells(wheel: *mut hostwheel_t) -> i32 {
    enter(wheel, |object| {
        object.wheel.tells();
        Ok(())
    })
}

/// The suspect event of a host was seen: the host may be taken from now on.
///
/// Errors: NULL_ARG, STALE (no handle at all), FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_internal_told(wheel: *mut hostwheel_t, handle: u64) -> i32 {
    enter(wheel, |object| {
        object.wheel.told(handle_in(handle)?);
        Ok(())
    })
}

/// Announces a host by its handle, with its interval.
///
/// Errors: NULL_ARG, STALE, TAKEN, CLOSED, FORKED, PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostwheel_internal_announce_handle(
    wheel: *mut hostwheel_t,
    handle: u64,
    interval_ns: u64,
    age_ns: u64,
    outcome: *mut u32,
) -> i32 {
    enter(wheel, |object| {
        if outcome.is_null() {
            return Err(NULL_ARG);
        }
        let interval = Interval::from(Duration::from_nanos(interval_ns));
        let announced = object.wheel.announce_handle(handle_in(handle)?, interval, Duration::from_nanos(age_ns))?;
        // SAFETY: not NULL, and the caller's to write to.
        unsafe { outcome.write(outcome_out(announced.outcome)) };
        Ok(())
    })
}
