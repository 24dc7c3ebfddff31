//! The configuration as it crosses the boundary.

use std::mem::{MaybeUninit, offset_of};
use std::time::Duration;

use hostwheel::{Brake, Clock, Config};

use crate::canary::{Canary, planted};
use crate::errors::{Code, HOSTWHEEL_ERR_CONFIG, HOSTWHEEL_ERR_STRUCT_SIZE};
use crate::object::nanos;
use crate::types::{
    HOSTWHEEL_CLOCK_COARSE, HOSTWHEEL_CLOCK_COUNTER, HOSTWHEEL_CLOCK_MANUAL, HOSTWHEEL_CLOCK_PRECISE,
    HOSTWHEEL_DELIVERY_CALLBACK, hostwheel_config_t,
};

const CONFIG: Code = Code(HOSTWHEEL_ERR_CONFIG);
const STRUCT_SIZE: Code = Code(HOSTWHEEL_ERR_STRUCT_SIZE);

/// The shortest configuration that ever was: up to its first field that is not a size or a kind.
const LEAST_CONFIG: usize = offset_of!(hostwheel_config_t, host_ttl_ns);
/// Whether a version of the struct may have this size: none ends in the middle of a field, as its size is a multiple of its
/// alignment in every program.
pub(crate) fn is_size(size: usize) -> bool {
    size >= LEAST_CONFIG && size.is_multiple_of(align_of::<hostwheel_config_t>())
}

/// Reads a configuration of the size that it says: fields that are missing have their default, a tail that this version
/// does not know must be 0.
///
/// # Safety
/// `config` is valid for as many bytes as its `struct_size` says.
pub(crate) unsafe fn read(config: *const hostwheel_config_t) -> Result<hostwheel_config_t, Code> {
    // SAFETY: the first field is always there.
    let size = unsafe { (&raw const (*config).struct_size).read() } as usize;
    if !is_size(size) {
        return Err(STRUCT_SIZE);
    }
    let known = size.min(size_of::<hostwheel_config_t>());
    let mut read = MaybeUninit::new(defaults());
    // SAFETY: `known` bytes may be read and written. All bytes are values of the fields: numbers and pointers that may be
    // NULL.
    let read = unsafe {
        std::ptr::copy_nonoverlapping(config.cast::<u8>(), read.as_mut_ptr().cast(), known);
        read.assume_init()
    };
    for tail in known..size {
        // SAFETY: within the struct's own size.
        if unsafe { config.cast::<u8>().add(tail).read() } != 0 && !planted(Canary::TrustedTail) {
            return Err(STRUCT_SIZE);
        }
    }
    if read.reserved0 != 0 || read.reserved != [0; 8] {
        return Err(CONFIG);
    }
    Ok(read)
}

pub(crate) fn defaults() -> hostwheel_config_t {
    let config = Config::default();
    hostwheel_config_t {
        struct_size: size_of::<hostwheel_config_t>() as u32,
        clock: clock_out(config.clock),
        delivery: HOSTWHEEL_DELIVERY_CALLBACK,
        batch: config.batch as u32,
        host_ttl_ns: nanos(config.host_ttl),
        grace_ns: nanos(config.grace),
        min_interval_ns: nanos(config.min_interval),
        max_interval_ns: nanos(config.max_interval),
        max_hosts: config.max_hosts as u64,
        max_outstanding: config.max_outstanding as u64,
        watchdog_ns: nanos(config.watchdog),
        backstop_ns: nanos(config.backstop),
        settle_timeout_ns: nanos(config.settle_timeout),
        brake_burst_permille: config.brake.burst_permille,
        brake_burst_min: config.brake.burst_min,
        brake_refill_permille: config.brake.refill_permille,
        brake_refill_min: config.brake.refill_min,
        silence_expected: config.silence_expected,
        reserved0: 0,
        on_event: None,
        ctx: std::ptr::null_mut(),
        release_user_data: None,
        reserved: [0; 8],
    }
}

pub(crate) fn clock_out(clock: Clock) -> u32 {
    match clock {
        Clock::Coarse => HOSTWHEEL_CLOCK_COARSE,
        Clock::Precise => HOSTWHEEL_CLOCK_PRECISE,
        Clock::Manual => HOSTWHEEL_CLOCK_MANUAL,
        Clock::Counter => HOSTWHEEL_CLOCK_COUNTER,
    }
}

pub(crate) fn settings_of(config: &hostwheel_config_t) -> Result<Config, Code> {
    let count = |number: u64| usize::try_from(number).map_err(|_| CONFIG);
    Ok(Config {
        clock: match config.clock {
            HOSTWHEEL_CLOCK_COARSE => Clock::Coarse,
            HOSTWHEEL_CLOCK_PRECISE => Clock::Precise,
            HOSTWHEEL_CLOCK_MANUAL => Clock::Manual,
            HOSTWHEEL_CLOCK_COUNTER => Clock::Counter,
            _ => return Err(CONFIG),
        },
        host_ttl: Duration::from_nanos(config.host_ttl_ns),
        grace: Duration::from_nanos(config.grace_ns),
        min_interval: Duration::from_nanos(config.min_interval_ns),
        max_interval: Duration::from_nanos(config.max_interval_ns),
        max_hosts: count(config.max_hosts)?,
        max_outstanding: count(config.max_outstanding)?,
        batch: config.batch as usize,
        watchdog: Duration::from_nanos(config.watchdog_ns),
        backstop: Duration::from_nanos(config.backstop_ns),
        settle_timeout: Duration::from_nanos(config.settle_timeout_ns),
        brake: Brake {
            burst_permille: config.brake_burst_permille,
            burst_min: config.brake_burst_min,
            refill_permille: config.brake_refill_permille,
            refill_min: config.brake_refill_min,
        },
        silence_expected: config.silence_expected,
        ..Config::default()
    })
}
