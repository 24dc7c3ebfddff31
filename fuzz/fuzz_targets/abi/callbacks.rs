//! What the library calls: it writes down what it is told, and may call back.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_void;

use hostwheel_ffi::*;

use super::{IN_EVENT, Wheel};
use crate::input::Call;
use crate::ledger::Fate;

/// What `on_host` needs.
pub struct Walk<'a> {
    pub wheel: &'a Wheel,
    /// Hosts to go on for.
    pub left: Cell<u8>,
    pub meanwhile: Option<&'a Call>,
    pub seen: Cell<HashSet<u64>>,
}

pub unsafe extern "C" fn on_host(ctx: *mut c_void, host: *const hostwheel_host_t) -> i32 {
    // SAFETY: the context of the call that this is inside of, and a host that lives as long as this.
    let (walk, host) = unsafe { (&*ctx.cast::<Walk>(), &*host) };
    // SAFETY: the host's id, as long as it says.
    let id = unsafe { std::slice::from_raw_parts(host.id, host.id_len) };
    {
        let mut ledger = walk.wheel.ledger();
        if !walk.wheel.manual {
            // A callback on the wheel's thread may have announced it, and not have come to write that down.
            ledger.register(host.user_data, host.handle);
        }
        ledger.check(host.handle, host.user_data, Some(id));
        assert!(!walk.wheel.manual || ledger.fate(host.handle) == Some(Fate::Owned));
    }
    assert!((HOSTWHEEL_STATE_LIVE..=HOSTWHEEL_STATE_SUSPECT).contains(&host.state));
    let mut seen = walk.seen.take();
    assert!(seen.insert(host.handle) || walk.meanwhile.is_some(), "a walk showed a host twice");
    walk.seen.set(seen);
    if let Some(call) = walk.meanwhile {
        walk.wheel.perform(call);
    }
    walk.left.set(walk.left.get().saturating_sub(1));
    i32::from(walk.left.get() == 0)
}

pub unsafe extern "C" fn on_event(ctx: *mut c_void, events: *mut hostwheel_event_t, count: usize) {
    // SAFETY: the wheel that the configuration named, which lives until it is freed.
    let wheel = unsafe { &*ctx.cast::<Wheel>() };
    // SAFETY: the callback's until it returns.
    for event in unsafe { std::slice::from_raw_parts_mut(events, count) } {
        let number = {
            let mut ledger = wheel.ledger();
            // SAFETY: the library's event.
            unsafe { ledger.tell(event) };
            ledger.events
        };
        if let Some(manner) = wheel.manners.get(number % wheel.manners.len().max(1)) {
            if let Some(call) = &manner.meanwhile {
                let outer = IN_EVENT.replace(true);
                wheel.perform(call);
                IN_EVENT.set(outer);
            }
            (event.verdict, event.retry_after_ns) = (manner.verdict, manner.retry_after_ns);
        }
        if event.kind == HOSTWHEEL_EVENT_LEAVE && event.verdict == HOSTWHEEL_VERDICT_DONE {
            wheel.ledger().answer(event.handle, event.verdict);
        }
    }
}

pub unsafe extern "C" fn release(ctx: *mut c_void, user_data: u64) {
    // SAFETY: see above.
    let wheel = unsafe { &*ctx.cast::<Wheel>() };
    wheel.ledger().release(user_data);
}
