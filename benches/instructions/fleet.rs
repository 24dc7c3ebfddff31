//! The hosts: their ids, and the order in which they are heard.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

const SEED: u64 = 3350;

/// How often a host announces.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// As long as a SHA-256 in hexadecimal.
pub type Id = [u8; 64];

/// Hosts register in the order of their numbers and are heard in a random order, the same in every run.
pub struct Fleet {
    /// Host numbers in the order of the calls.
    order: Vec<u32>,
}

impl Fleet {
    pub fn new(hosts: usize) -> Fleet {
        let mut order: Vec<u32> = (0..hosts as u32).collect();
        order.shuffle(&mut StdRng::seed_from_u64(SEED));
        Fleet { order }
    }

    pub fn hosts(&self) -> usize {
        self.order.len()
    }

    /// Ids in the order of registration. Each is made just before its call, so that it is in the cache, as one that has just
    /// been received.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        (0..self.hosts() as u32).map(id)
    }

    /// Ids in the order of the calls.
    pub fn ids_in_call_order(&self) -> impl Iterator<Item = Id> {
        self.order.iter().copied().map(id)
    }

    /// Puts what belongs to the hosts, in the order of registration, into the order of the calls.
    pub fn in_call_order<T: Copy>(&self, by_host: &[T]) -> Vec<T> {
        self.order.iter().map(|&host| by_host[host as usize]).collect()
    }
}

/// Random hexadecimal digits. By SplitMix64, as a better generator would take most of the time under callgrind.
fn id(host: u32) -> Id {
    let mut state = SEED << 32 | u64::from(host);
    let mut digits = [0; 64];
    for sixteen in digits.chunks_exact_mut(16) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mut bits = mixed ^ mixed >> 31;
        for digit in sixteen {
            *digit = b"0123456789abcdef"[bits as usize & 15];
            bits >>= 4;
        }
    }
    digits
}
