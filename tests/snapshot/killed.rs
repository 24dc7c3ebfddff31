//! A process that is killed while it writes a snapshot, again and again: each next one starts with all hosts of the last
//! whole file, and none of them leaves. The test starts its own binary again, as the writer.

use std::io::{BufRead, BufReader, ErrorKind};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{Event, HostWheel, RestoreError};
use rand::RngExt;

use super::{Folder, ROLE, child, config, quiet, secs};

/// Hosts of the killed writer, but for the one that tells the generation.
const FLEET: u64 = 10_000;

/// The process that is killed: restores, insists on all hosts and no leave, and then writes generation after generation.
fn restore_and_write_until_killed(path: &Path) {
    let wheel = HostWheel::manual(config(), |event: &Event| panic!("a false leave: {event}")).unwrap();
    let mut generation = 0;
    match wheel.restore(path) {
        Ok(restored) => {
            assert_eq!((restored.hosts, restored.skipped), (FLEET + 1, 0));
            let mut seen = vec![false; FLEET as usize];
            wheel.each(|host| {
                match std::str::from_utf8(host.id).unwrap().split_once('-').unwrap() {
                    ("host", n) => seen[n.parse::<usize>().unwrap()] = host.user_data.to_string() == n,
                    (_, n) => generation = n.parse().unwrap(),
                }
                ControlFlow::Continue(())
            });
            assert!(seen.iter().all(|seen| *seen) && generation > 0);
        }
        Err(RestoreError::Io(e)) if e.kind() == ErrorKind::NotFound => {
            for n in 0..FLEET {
                wheel.announce_with(format!("host-{n}"), secs(60), Duration::ZERO, n).unwrap();
            }
        }
        Err(e) => panic!("{e}"),
    }
    // From one life to the next the ages add up to more than the TTL, if they are not capped. No announce is expected in so
    // short a life, so none is missed.
    wheel.advance(secs(4)).unwrap();
    assert_eq!((wheel.stats().suspects, wheel.stats().leaves_ttl), (0, 0));
    println!("child: restored {generation}");
    loop {
        let _ = wheel.leave(format!("generation-{generation}"));
        generation += 1;
        wheel.announce(format!("generation-{generation}"), secs(60)).unwrap();
        wheel.snapshot(path).unwrap();
        println!("child: wrote {generation}");
    }
}

/// Starts a writer, kills it some time after it began to write, and returns the generations that it said it restored and,
/// last, wrote. Without a delay it may write one, and how long that takes becomes the measure.
fn start_and_kill(path: &Path, delay: Option<Duration>, measure: &mut Duration) -> (u64, Option<u64>) {
    let mut child = child("killed::two_hundred_writers_killed_in_the_middle_leave_the_last_whole_file", path);
    let output = BufReader::new(child.stdout.take().unwrap());
    // The runner's own words may stand before the child's on a line.
    let mut lines = output.lines().filter_map(|line| line.unwrap().split_once("child: ").map(|(_, it)| it.to_string()));
    let number = |line: &str| line.split_once(' ').unwrap().1.parse::<u64>().unwrap();
    let restored = lines.next().map(|line| number(&line));
    let begun = Instant::now();
    let mut wrote = None;
    match delay {
        Some(delay) => thread::sleep(delay),
        None => {
            wrote = lines.next().map(|line| number(&line));
            *measure = begun.elapsed();
        }
    }
    child.kill().unwrap();
    wrote = lines.last().map(|line| number(&line)).or(wrote);
    child.wait().unwrap();
    (restored.expect("the writer restores"), wrote)
}

#[test]
fn two_hundred_writers_killed_in_the_middle_leave_the_last_whole_file() {
    if let Some(path) = std::env::var_os(ROLE) {
        return restore_and_write_until_killed(Path::new(&path));
    }
    let interrupted = AtomicU64::new(0);
    let lane = || {
        let folder = Folder::new();
        let (mut known, mut measure) = (0, Duration::ZERO);
        for round in 0..50 {
            let delay = (round > 0).then(|| measure.mul_f64(rand::rng().random_range(0.0..1.4)));
            let (restored, wrote) = start_and_kill(&folder.file(), delay, &mut measure);
            // A file may be in its place before its writer could say so.
            assert!(restored == known || restored == known + 1, "restored {restored}, last written {known}");
            known = wrote.unwrap_or(restored);
            interrupted.fetch_add(u64::from(folder.names().iter().any(|n| n != "hosts.snap")), Ordering::Relaxed);
            assert!(folder.names().len() <= 2, "{:?}", folder.names());
        }
        let wheel = quiet();
        assert_eq!(wheel.restore(folder.file()).unwrap().hosts, FLEET + 1);
        wheel.snapshot(folder.file()).unwrap();
        assert_eq!(folder.names(), ["hosts.snap"]);
    };
    thread::scope(|scope| {
        // Most of the time is the disk's.
        for _ in 0..4 {
            scope.spawn(lane);
        }
    });
    let interrupted = interrupted.into_inner();
    eprintln!("{interrupted} of 200 were killed while they wrote a temporary");
    assert!(interrupted >= 50, "only {interrupted} of 200 were killed while they wrote");
}
