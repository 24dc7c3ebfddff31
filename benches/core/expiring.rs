//! A fleet that leaves as soon as it is due, and how many have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hostwheel::{Brake, Config, Event, Verdict};

/// Nothing keeps a whole fleet from leaving at once.
pub fn config() -> Config {
    Config {
        grace: Duration::ZERO,
        watchdog: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    }
}

/// A handler that accepts every leave, and their number.
pub fn counting() -> (impl Fn(&Event) -> Verdict + Send + 'static, Arc<AtomicUsize>) {
    let expired = Arc::new(AtomicUsize::new(0));
    let count = expired.clone();
    let handler = move |_: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
        Verdict::Done
    };
    (handler, expired)
}
