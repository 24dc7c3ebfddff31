//! A host costs at most 192 bytes, its index entry and its id of 64 bytes included.
//!
//! One test, because what is resident is the whole program's. `cargo test --release --test memory -- --nocapture` prints the figures.
#![cfg(not(loom))]

use std::time::Duration;

use hostwheel::{Config, Event, HostWheel, Verdict};

const HOSTS: usize = 1_000_000;
const ID_LENGTH: usize = 64;
const BYTES_PER_HOST: f64 = 192.0;

/// Bytes of the process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: asks for a constant.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize
}

/// Announces all hosts once. Intervals differ, so that the hints spread over the wheel as those of a real fleet do.
fn announce_all(wheel: &HostWheel) {
    use std::io::Write;
    let mut id = [0u8; ID_LENGTH];
    for host in 0..HOSTS {
        write!(&mut id[..], "{host:064}").unwrap();
        let interval = Duration::from_millis(60_000 + host as u64 * 7919 % 540_000);
        wheel.announce(id, interval).unwrap();
    }
}

#[test]
fn a_host_costs_at_most_192_bytes() {
    let before = resident();
    let per_host = || (resident() - before) as f64 / HOSTS as f64;
    let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done).unwrap();
    announce_all(&wheel);
    let registered = per_host();
    // Places all of them in the wheel.
    wheel.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(wheel.stats().live, HOSTS as u64);
    let placed = per_host();
    // Whoever was registered before the index grew last is in a bucket that was not split yet.
    announce_all(&wheel);
    let announced = per_host();
    println!("{HOSTS} hosts with ids of {ID_LENGTH} bytes, resident bytes per host, at most {BYTES_PER_HOST}:");
    println!("  {registered:6.1} once they are registered: a record, an id, an index entry");
    println!("  {placed:6.1} once the wheel has taken them over");
    println!("  {announced:6.1} once all have announced themselves again");
    assert!(placed > 128.0, "records and ids alone take more than {placed:.1} bytes");
    assert!(announced <= BYTES_PER_HOST, "a host costs {announced:.1} bytes");
}
