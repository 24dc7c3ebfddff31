//! Several producers on a handful of ids.

use std::time::Duration;

use super::world::{Temper, World, below, quiet};
use super::*;
use crate::config::{Brake, Config};
use crate::sync::scheduled_thread::{self as thread, JoinHandle};
use crate::sync::{Arc, AtomicBool, Ordering};

/// Intervals that are announced, in milliseconds; 0 is none.
const INTERVALS: [u64; 5] = [1000, 2000, 4000, 10_000, 0];

/// One thing that a producer may do.
pub(super) fn act(world: &World, ids: u8) {
    let id = below(usize::from(ids)) as u8;
    let interval = INTERVALS[below(INTERVALS.len())];
    match below(16) {
        0..7 => world.announce(id, interval, 0),
        7 | 8 => world.announce(id, interval, 500 * below(6) as u64),
        9..13 => world.renew(),
        13 => world.leave(id),
        _ => world.leave_handle(),
    }
}

pub(super) fn producers(world: &Arc<World>, threads: usize, acts: usize, ids: u8) -> Vec<JoinHandle<()>> {
    let spawn = |_| {
        let world = world.clone();
        thread::spawn(move || (0..acts).for_each(|_| act(&world, ids)))
    };
    (0..threads).map(spawn).collect()
}

/// Moves the clock in steps of up to `longest` ms, each twice as likely to be half as long.
pub(super) fn clock(world: &Arc<World>, steps: usize, longest: u64) -> JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || {
        for _ in 0..steps {
            world.pass(longest >> below(4));
        }
    })
}

pub(super) fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("it returns"));
}

/// Hosts come, announce with changing intervals, and go; time passes.
pub(super) fn hosts_come_and_go() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    let producers = producers(&world, 4, 5, 3);
    let clock = clock(&world, 6, 4000);
    join(producers.into_iter().chain([clock]));
    world.finish(observer);
}

#[test]
fn shuttle_hosts_come_and_go() {
    explore(10_000, hosts_come_and_go);
}

/// One host, and all its announcers change their minds about its interval. Another host's deadline lies in between.
fn intervals_change() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    world.announce(0, 100_000, 0);
    world.announce(1, 4000, 0);
    world.settle_down();
    let spawn = |_| {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..1 + below(2) {
                world.announce(0, INTERVALS[below(4)], 0);
            }
        })
    };
    let announcers: Vec<_> = (0..3).map(spawn).collect();
    let clock = clock(&world, below(3), 2000);
    join(announcers.into_iter().chain([clock]));
    world.finish(observer);
}

#[test]
fn shuttle_intervals_change() {
    explore(10_000, intervals_change);
}

/// Two announcers shorten one interval at once, and the other host's deadline lies between their two.
fn one_shortens_less_than_another() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    world.announce(0, 100_000, 0);
    world.announce(1, 4000, 0);
    world.settle_down();
    let spawn = |interval| {
        let world = world.clone();
        thread::spawn(move || world.announce(0, interval, 0))
    };
    join([10_000, 1000].map(spawn));
    world.finish(observer);
}

#[test]
fn shuttle_one_shortens_less_than_another() {
    explore(10_000, one_shortens_less_than_another);
}

/// Suspects are heard, or say goodbye, at the moment at which they are due.
fn heard_at_the_last_moment() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    (0..2).for_each(|id| world.announce(id, 1000, 0));
    world.carry_on(2000);
    let spawn = |_| {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                if below(4) == 0 { world.leave_handle() } else { world.renew() }
            }
        })
    };
    let producers: Vec<_> = (0..3).map(spawn).collect();
    world.pass(1000);
    join(producers);
    world.finish(observer);
}

#[test]
fn shuttle_heard_at_the_last_moment() {
    explore(10_000, heard_at_the_last_moment);
}

/// Few records, many registrations: some are refused. The observer's looks may be late, so time may stand still.
fn a_full_house() {
    let config = Config {
        max_hosts: 3,
        max_outstanding: 2,
        batch: 2,
        watchdog: Duration::from_secs(1),
        backstop: Duration::from_secs(3),
        ..quiet()
    };
    let (world, observer) = World::new(config, false, Temper::Moody);
    let producers = producers(&world, 4, 5, 5);
    let clock = clock(&world, 6, 3000);
    join(producers.into_iter().chain([clock]));
    world.finish(observer);
}

#[test]
fn shuttle_a_full_house() {
    explore(6000, a_full_house);
}

/// A consumer that drains a small queue, answers what it likes, and not always.
pub(super) fn a_small_queue() {
    let config = Config { max_outstanding: 2, max_hosts: 4, ..quiet() };
    let (world, observer) = World::new(config, true, Temper::Moody);
    let producers = producers(&world, 3, 5, 4);
    let over = Arc::new(AtomicBool::new(false));
    let consumer = {
        let (world, over) = (world.clone(), over.clone());
        thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                world.drain();
                thread::yield_now();
            }
        })
    };
    let clock = clock(&world, 6, 4000);
    join(producers.into_iter().chain([clock]));
    over.store(true, Ordering::SeqCst);
    join([consumer]);
    world.finish(observer);
}

#[test]
fn shuttle_a_small_queue() {
    explore(6000, a_small_queue);
}

/// A consumer that is slow to drain, and is held back anywhere, while the back-stop looks for hosts that were lost.
fn a_slow_consumer() {
    let config = Config { backstop: Duration::from_secs(6), ..quiet() };
    let (world, observer) = World::new(config, true, Temper::Kind);
    (0..3).for_each(|id| world.announce(id, 1000, 0));
    let consumer = {
        let world = world.clone();
        thread::spawn(move || (0..4).for_each(|_| _ = world.drain()))
    };
    let clock = {
        let world = world.clone();
        // One sweep, at the end. Whoever is held back from one to the next is taken for lost.
        thread::spawn(move || [2000, 1000, 4000].into_iter().for_each(|ms| world.pass(ms)))
    };
    join([consumer, clock]);
    world.finish(observer);
}

#[test]
fn shuttle_a_slow_consumer() {
    explore(10_000, a_slow_consumer);
}

/// All guards are on, and tight: leaves wait for the brake and for silences to end.
fn guarded() {
    let config = Config {
        brake: Brake { burst_permille: 0, burst_min: 1, refill_permille: 0, refill_min: 30 },
        silence_expected: 2,
        watchdog: Duration::from_secs(1),
        ..quiet()
    };
    let (world, observer) = World::new(config, false, Temper::Kind);
    let producers = producers(&world, 4, 5, 4);
    let clock = clock(&world, 8, 2000);
    join(producers.into_iter().chain([clock]));
    let _ = world.shared.release();
    world.finish(observer);
}

#[test]
fn shuttle_guarded() {
    explore(3000, guarded);
}

/// The wheel is closed in the middle of it all.
fn closed_in_the_middle(drained: bool) {
    let (world, observer) = World::new(quiet(), drained, Temper::Moody);
    let producers = producers(&world, 3, 4, 3);
    let clock = clock(&world, 5, 4000);
    let closer = {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..below(20) {
                thread::yield_now();
            }
            world.close();
        })
    };
    join(producers.into_iter().chain([clock, closer]));
    if drained {
        world.drain();
    }
    world.end(observer);
}

fn closed_while_it_calls_back() {
    closed_in_the_middle(false);
}

fn closed_while_it_is_drained() {
    closed_in_the_middle(true);
}

#[test]
fn shuttle_closed_while_it_calls_back() {
    explore(10_000, closed_while_it_calls_back);
}

#[test]
fn shuttle_closed_while_it_is_drained() {
    explore(6000, closed_while_it_is_drained);
}

#[test]
fn shuttle_canaries_of_announcers() {
    must_fail(Canary::TrustedLeaf, 10_000, one_shortens_less_than_another);
    must_fail(Canary::NoSecondLook, 10_000, intervals_change);
    must_fail(Canary::LoserKeepsRecord, 10_000, hosts_come_and_go);
    must_fail(Canary::UncappedStamp, 10_000, a_full_house);
}

#[test]
fn shuttle_canaries_of_leaves() {
    must_fail(Canary::BlindTake, 10_000, heard_at_the_last_moment);
    must_fail(Canary::Early, 10_000, hosts_come_and_go);
    must_fail(Canary::NoGrace, 10_000, hosts_come_and_go);
    must_fail(Canary::Lost, 10_000, hosts_come_and_go);
    must_fail(Canary::Double, 10_000, hosts_come_and_go);
    must_fail(Canary::ForgottenRetry, 10_000, a_full_house);
}

#[test]
fn shuttle_canaries_of_the_queue_and_the_close() {
    must_fail(Canary::SilentDrain, 10_000, a_small_queue);
    must_fail(Canary::Untold, 10_000, a_small_queue);
    must_fail(Canary::SilentClose, 10_000, closed_while_it_calls_back);
}
