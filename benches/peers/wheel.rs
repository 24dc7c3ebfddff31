//! hostwheel.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hostwheel::{Config, Handle, HostWheel};

use crate::expiring;
use crate::expiry::{Expiry, Purpose, Workload};
use crate::fleet::{Fleet, Id, announcers_reading};

pub struct Wheel {
    wheel: HostWheel,
    manual: bool,
    expired: Arc<AtomicUsize>,
}

impl Wheel {
    /// A manual wheel reads no clock, so this reads what an announce reads by default.
    #[inline]
    fn clock(&self) {
        if self.manual {
            black_box(announcers_reading());
        }
    }
}

impl Expiry for Wheel {
    type Handle = Handle;

    const NAME: &'static str = "hostwheel";
    const LACKS: &'static [Workload] = &[];

    fn open(_fleet: &Arc<Fleet>, purpose: Purpose) -> Wheel {
        let (handler, expired) = expiring::counting();
        let config = match purpose {
            Purpose::Calls | Purpose::Life => Config::default(),
            Purpose::Expiry { .. } => expiring::config(),
        };
        let manual = purpose != Purpose::Calls;
        let opened = if manual { HostWheel::manual(config, handler) } else { HostWheel::start(config, handler) };
        Wheel { wheel: opened.expect("a wheel opens"), manual, expired }
    }

    fn register(&mut self, _host: u32, id: &Id, interval: Duration) -> Handle {
        self.wheel.announce(id, interval).expect("a host registers").handle
    }

    #[inline]
    fn renew(&mut self, handle: Handle) {
        self.clock();
        self.wheel.renew(handle).expect("a known host is heard");
    }

    #[inline]
    fn announce(&mut self, id: &Id, interval: Duration) {
        self.clock();
        self.wheel.announce(id, interval).expect("a known host is heard");
    }

    fn leave(&mut self, id: &Id) {
        self.wheel.leave(id).expect("a known host leaves");
    }

    fn advance(&mut self, now: Duration) {
        self.wheel.advance(now).expect("a manual clock advances");
    }

    fn count(&self) -> usize {
        self.wheel.stats().live as usize
    }

    fn expired(&self) -> usize {
        self.expired.load(Ordering::Relaxed)
    }
}
