//! The calls. Nothing else is counted, so what makes them (loops, ids) is in no figure: `.ci/instructions` tells callgrind to
//! count in functions of this module's name, which nothing else may have. Each is a function of its own, as for a caller that
//! inlines nothing: saving the registers, restoring them and returning is in the figure, 15 instructions of a renew's.

use std::time::Duration;

use hostwheel::{Handle, HostWheel};

use crate::fleet::{INTERVAL, Id};

/// Renews by handle.
#[inline(never)]
pub fn renew(wheel: &HostWheel, handle: Handle) -> bool {
    wheel.renew(handle).is_ok()
}

/// Announces by id: a host that is known, or a new one.
#[inline(never)]
pub fn announce(wheel: &HostWheel, id: &Id) -> Option<Handle> {
    Some(wheel.announce(id, INTERVAL).ok()?.handle)
}

/// Says goodbye by id.
#[inline(never)]
pub fn leave(wheel: &HostWheel, id: &Id) -> bool {
    wheel.leave(id).is_ok()
}

/// The thread's work up to `now`.
#[inline(never)]
pub fn advance(wheel: &HostWheel, now: Duration) -> bool {
    wheel.advance(now).is_ok()
}
