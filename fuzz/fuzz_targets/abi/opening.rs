//! Opening a wheel with any configuration.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr;

use hostwheel_ffi::*;

use crate::input::Opening;
use crate::memory::Output;
use crate::wheel::{Wheel, on_event, release};

const WHOLE: usize = size_of::<hostwheel_config_t>();
/// Where the pointers begin and end, in words.
const POINTERS: std::ops::Range<usize> =
    offset_of!(hostwheel_config_t, on_event) / 8..offset_of!(hostwheel_config_t, reserved) / 8;
/// More room than that is all touched at the opening, and slow.
const MOST_OUTSTANDING: u64 = 5000;

/// The struct in memory of just its size, though never less than the field that says it.
fn config_of(opening: &Opening, wheel: &Wheel) -> Vec<u64> {
    let mut defaults = Output::of::<hostwheel_config_t>(false);
    // SAFETY: as many bytes are there.
    let code = unsafe { hostwheel_config_init(defaults.pointer(), WHOLE) };
    let mut config: hostwheel_config_t = defaults.value(code).expect("defaults");
    config.struct_size = opening.size;
    // The defaults are for large fleets, and the system takes its time for their memory.
    (config.max_hosts, config.max_outstanding) = (4096, 64);
    config.clock = opening.clock;
    config.delivery = opening.delivery;
    config.on_event = wheel.calls_back.then_some(on_event as _);
    config.ctx = ptr::from_ref(wheel).cast_mut().cast::<c_void>();
    config.release_user_data = wheel.releases.then_some(release as _);
    let size = opening.size as usize;
    let mut words = vec![0; size.max(WHOLE).div_ceil(8)];
    // SAFETY: as long as the struct at least, which is plain.
    unsafe { words.as_mut_ptr().cast::<hostwheel_config_t>().write(config) };
    for (at, value) in &opening.words {
        match *at {
            1 => words[1] = words[1] & u64::from(u32::MAX) | value << 32,
            at if at == offset_of!(hostwheel_config_t, max_outstanding) / 8 && *value <= 1 << 24 => {
                words[at] = value % MOST_OUTSTANDING;
            }
            at if at < size / 8 && !POINTERS.contains(&at) => words[at] = *value,
            _ => {}
        }
    }
    words.truncate(size.div_ceil(8).max(1));
    words.shrink_to_fit();
    words
}

/// The only answer that there can be; `None` if the fields decide.
fn answer(opening: &Opening, words: &[u64]) -> Option<i32> {
    let size = opening.size as usize;
    let field = |at: usize| words.get(at).copied().unwrap_or(0);
    if opening.null_config || opening.null_out {
        return Some(HOSTWHEEL_ERR_NULL_ARG);
    }
    if size < 16 || !size.is_multiple_of(8) || words.iter().skip(WHOLE / 8).any(|word| *word != 0) {
        return Some(HOSTWHEEL_ERR_STRUCT_SIZE);
    }
    let reserved = offset_of!(hostwheel_config_t, reserved) / 8..WHOLE / 8;
    let reserved0 = field(offset_of!(hostwheel_config_t, silence_expected) / 8) >> 32;
    if reserved0 != 0 || reserved.into_iter().any(|at| field(at) != 0) || opening.clock > HOSTWHEEL_CLOCK_COUNTER {
        return Some(HOSTWHEEL_ERR_CONFIG);
    }
    match (opening.delivery, field(POINTERS.start) != 0) {
        (HOSTWHEEL_DELIVERY_CALLBACK, false) => Some(HOSTWHEEL_ERR_NULL_ARG),
        (HOSTWHEEL_DELIVERY_CALLBACK, true) | (HOSTWHEEL_DELIVERY_DRAIN, false) => None,
        _ => Some(HOSTWHEEL_ERR_CONFIG),
    }
}

pub fn open(opening: &Opening) -> Option<Box<Wheel>> {
    let has = |end: usize| opening.size as usize >= end;
    let mut wheel = Box::new(Wheel::null());
    wheel.manual = opening.clock == HOSTWHEEL_CLOCK_MANUAL;
    wheel.drains = opening.delivery == HOSTWHEEL_DELIVERY_DRAIN;
    // A callback without its context could not tell its wheel.
    wheel.calls_back = opening.calls_back && has(offset_of!(hostwheel_config_t, release_user_data));
    wheel.releases = opening.releases && has(offset_of!(hostwheel_config_t, reserved));
    wheel.manners = opening.manners.clone();
    let words = config_of(opening, &wheel);
    let config = if opening.null_config { ptr::null() } else { words.as_ptr() };
    let mut out = Output::of::<*mut hostwheel_t>(opening.null_out);
    // SAFETY: as long as it says, its functions as the header wants them, and the context lives until the wheel is freed.
    let code = unsafe { hostwheel_open(config.cast(), out.pointer()) };
    let pointer = out.value::<*mut hostwheel_t>(code);
    match answer(opening, &words) {
        Some(only) => assert_eq!(code, only),
        None => assert!([0, HOSTWHEEL_ERR_CONFIG, HOSTWHEEL_ERR_OS].contains(&code), "open: {code}"),
    }
    wheel.pointer = pointer?;
    assert!(!wheel.pointer.is_null());
    Some(wheel)
}
