//! The hosts of one size, and their registration.

use std::time::{Duration, Instant};

use hostwheel::{AnnounceError, Handle, HostWheel};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::book::Life;
use crate::lag::covered_ns;
use crate::schedule::Schedule;
use crate::system::{coarse_ns, monotonic_ns};

/// One in so many hosts dies.
pub const ONE_DIES_OF: u32 = 1000;

/// Hosts that register between two readings of the clock, and whose ids are made in one go, outside of what is timed.
const BATCH: usize = 1024;

/// The hosts.
pub struct Fleet {
    seed: u64,
    pub interval: Duration,
    pub id_length: usize,
    /// The living, in the order in which they announce themselves.
    pub order: Vec<u32>,
    /// The other ones.
    pub doomed: Vec<u32>,
    /// Where in one of the two a host is; the doomed come after the living.
    places: Vec<u32>,
}

/// What a registration found.
pub struct Registered {
    /// Handles of the living, in their order, as numbers.
    pub handles: Vec<u64>,
    pub doomed: Vec<Life>,
    pub spent: Duration,
    /// The batch that took longest, while the index grew.
    pub slowest: Duration,
}

impl Fleet {
    pub fn new(hosts: u32, seed: u64, interval: Duration, id_length: usize) -> Fleet {
        let mut order: Vec<u32> = (0..hosts).collect();
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let mut places = vec![0; order.len()];
        for (place, &host) in order.iter().enumerate() {
            places[host as usize] = place as u32;
        }
        let doomed = order.split_off((hosts - (hosts / ONE_DIES_OF).max(1)) as usize);
        Fleet { seed, interval, id_length, order, doomed, places }
    }

    pub fn hosts(&self) -> usize {
        self.places.len()
    }

    /// Where in the order a host is that lives on; `Err` for one that dies, with its place among those.
    pub fn place(&self, host: u32) -> Result<usize, usize> {
        let place = self.places[host as usize] as usize;
        if place < self.order.len() { Ok(place) } else { Err(place - self.order.len()) }
    }

    /// Appends a host's id: hexadecimal digits, of which the first sixteen are its own.
    pub fn append_id(&self, host: u32, ids: &mut Vec<u8>) {
        let end = ids.len() + self.id_length;
        let mut state = mixed(self.seed).wrapping_add(u64::from(host));
        while ids.len() < end {
            state = mixed(state);
            let digits = (end - ids.len()).min(16);
            ids.extend((0..digits).map(|at| b"0123456789abcdef"[(state >> (at * 4)) as usize & 15]));
        }
    }

    /// The ids of the living, one after another in their order.
    pub fn ids(&self) -> Vec<u8> {
        let mut ids = Vec::with_capacity(self.order.len() * self.id_length);
        self.order.iter().for_each(|&host| self.append_id(host, &mut ids));
        ids
    }

    /// Registers all hosts in the order of their numbers, each with its age. `handles` has room for the living, and memory,
    /// so that what becomes resident meanwhile is the wheel's. Tells after each batch how many hosts are registered.
    pub fn register(
        &self,
        wheel: &HostWheel,
        schedule: &Schedule,
        mut handles: Vec<u64>,
        mut progress: impl FnMut(usize),
    ) -> Result<Registered, AnnounceError> {
        let mut random = StdRng::seed_from_u64(self.seed + 1);
        let heard: Vec<u64> = self.doomed.iter().map(|_| schedule.last_heard_ns(random.random())).collect();
        let covered_ns = covered_ns(&wheel.stats());
        let mut doomed = vec![Life::default(); self.doomed.len()];
        let (mut spent, mut slowest) = (Duration::ZERO, Duration::ZERO);
        let (mut ids, mut made) = (Vec::with_capacity(BATCH * self.id_length), Vec::with_capacity(BATCH));
        let hosts: Vec<u32> = (0..self.hosts() as u32).collect();
        for batch in hosts.chunks(BATCH) {
            ids.clear();
            made.clear();
            batch.iter().for_each(|&host| self.append_id(host, &mut ids));
            let start = Instant::now();
            let now_ns = monotonic_ns();
            for (&host, id) in batch.iter().zip(ids.chunks_exact(self.id_length)) {
                let age_ns = match self.place(host) {
                    Ok(place) => now_ns - schedule.heard_before_ns(place as u64),
                    // The book wants to know exactly when it was heard.
                    Err(number) => {
                        let before_ns = monotonic_ns();
                        let lag_ns = before_ns.saturating_sub(coarse_ns()).saturating_sub(covered_ns);
                        doomed[number] = Life { handle: 0, heard_ns: heard[number], lag_ns };
                        before_ns - heard[number]
                    }
                };
                let age = Duration::from_nanos(age_ns);
                made.push(wheel.announce_with(id, self.interval, age, host.into())?.handle);
            }
            let took = start.elapsed();
            spent += took;
            slowest = slowest.max(took);
            for (&host, handle) in batch.iter().zip(&made) {
                match self.place(host) {
                    Ok(place) => handles[place] = handle.as_raw(),
                    Err(number) => doomed[number].handle = handle.as_raw(),
                }
            }
            progress(batch[0] as usize + batch.len());
        }
        Ok(Registered { handles, doomed, spent, slowest })
    }
}

impl Registered {
    /// The handles of the living, to call with.
    pub fn handles(&self) -> Vec<Handle> {
        // A wheel issues no other number.
        self.handles.iter().filter_map(|&handle| Handle::from_raw(handle)).collect()
    }
}

/// SplitMix64 (public domain), which maps no two numbers to one.
fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_host_lives_or_dies_and_has_an_id_of_its_own() {
        let fleet = Fleet::new(5000, 1, Duration::from_secs(300), 21);
        assert_eq!((fleet.order.len(), fleet.doomed.len()), (4995, 5));
        for host in 0..5000 {
            match fleet.place(host) {
                Ok(place) => assert_eq!(fleet.order[place], host),
                Err(number) => assert_eq!(fleet.doomed[number], host),
            }
        }
        let ids = fleet.ids();
        assert_eq!(ids.len(), 4995 * 21);
        assert_eq!(ids.chunks(21).collect::<HashSet<_>>().len(), 4995);
    }

    #[test]
    fn a_seed_gives_one_fleet_and_another_seed_another_one() {
        let order = |seed| Fleet::new(1000, seed, Duration::from_secs(300), 64).order;
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
