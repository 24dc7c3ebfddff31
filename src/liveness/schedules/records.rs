//! Records that are freed and used again.

use super::crowds::{clock, join};
use super::world::{Temper, World, below, quiet};
use super::*;
use crate::config::Config;
use crate::sync::scheduled_thread as thread;

/// Two records that are freed and used again all the time, for hosts that say how old they are.
fn records_are_used_again() {
    let config = Config { max_hosts: 2, ..quiet() };
    let (world, observer) = World::new(config, false, Temper::Kind);
    world.announce(0, 1000, 0);
    let spawn = |n: u8| {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..4 {
                world.announce(n, 1000, below(4) as u64);
                world.renew();
                world.leave_handle();
            }
        })
    };
    let flapping: Vec<_> = (0..3).map(spawn).collect();
    let clock = clock(&world, 12, 2);
    join(flapping.into_iter().chain([clock]));
    world.finish(observer);
}

#[test]
fn shuttle_records_are_used_again() {
    explore(10_000, records_are_used_again);
}

/// The slab grows while several register.
fn the_slab_grows() {
    let config = Config { max_hosts: 128, ..quiet() };
    let (world, observer) = World::new(config, false, Temper::Kind);
    for id in 0..62 {
        world.announce(id, 1000, 0);
    }
    let spawn = |n: u8| {
        let world = world.clone();
        thread::spawn(move || {
            for id in 0..2 {
                world.announce(100 + 10 * n + id, 1000, 0);
                world.renew();
            }
        })
    };
    let registrants: Vec<_> = (0..4).map(spawn).collect();
    join(registrants);
    world.finish(observer);
}

#[test]
fn shuttle_the_slab_grows() {
    explore(600, the_slab_grows);
}

/// Two pop a record each while the one that was popped first comes back.
fn a_record_comes_back_while_it_is_popped() {
    let (world, observer) = World::new(quiet(), false, Temper::Kind);
    (0..3).for_each(|id| world.announce(id, 1000, 0));
    (0..3).for_each(|id| world.leave(id));
    world.pass(1);
    world.look();
    let one = {
        let world = world.clone();
        thread::spawn(move || world.announce(3, 1000, 0))
    };
    let two = {
        let world = world.clone();
        thread::spawn(move || {
            world.announce(4, 1000, 0);
            world.announce(5, 1000, 0);
            world.leave(4);
        })
    };
    let clock = clock(&world, 2, 8);
    join([one, two, clock]);
    (6..9).for_each(|id| world.announce(id, 1000, 0));
    world.finish(observer);
}

#[test]
fn shuttle_a_record_comes_back_while_it_is_popped() {
    explore(10_000, a_record_comes_back_while_it_is_popped);
}

#[test]
fn shuttle_canaries_of_records() {
    must_fail(Canary::FreeKeepsHint, 10_000, records_are_used_again);
    must_fail(Canary::UntaggedHead, 10_000, a_record_comes_back_while_it_is_popped);
}
