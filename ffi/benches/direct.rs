//! The direct call that the C benchmark compares itself with, as a library that it links.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hostwheel::{Config, Event, Handle, HostWheel, Verdict};

/// A wheel, and the handles of its hosts in the order of the calls.
struct Fleet {
    wheel: HostWheel,
    handles: Vec<Handle>,
}

impl Fleet {
    fn new(hosts: u64) -> Fleet {
        let wheel = HostWheel::start(Config::default(), |_: &Event| Verdict::Done).expect("a wheel opens");
        let half_an_hour = Duration::from_secs(1800);
        let announce = |n: u64| wheel.announce(format!("{n:064x}"), half_an_hour).expect("there is room").handle;
        let mut handles: Vec<Handle> = (0..hosts).map(announce).collect();
        let mut random = 3350_u64;
        for n in (1..handles.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            handles.swap(n, random as usize % (n + 1));
        }
        Fleet { wheel, handles }
    }

    /// Nanoseconds per call.
    fn renew(&self, calls: u64) -> f64 {
        let began = Instant::now();
        for handle in self.handles.iter().cycle().take(calls as usize) {
            self.wheel.renew(*handle).expect("it is known");
        }
        began.elapsed().as_nanos() as f64 / calls as f64
    }
}

/// Renews `calls` times in a fleet of `hosts`, which is kept for the next call; returns nanoseconds per call.
#[unsafe(no_mangle)]
pub extern "C" fn direct_renews(hosts: u64, calls: u64) -> f64 {
    static FLEET: Mutex<Option<Fleet>> = Mutex::new(None);
    let mut fleet = FLEET.lock().unwrap_or_else(PoisonError::into_inner);
    if fleet.as_ref().is_none_or(|fleet| fleet.handles.len() as u64 != hosts) {
        *fleet = Some(Fleet::new(hosts));
    }
    fleet.as_ref().map_or(0.0, |fleet| fleet.renew(calls))
}
