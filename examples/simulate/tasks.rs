//! Tasks: whom they get as parents under each cleaner, and what becomes of that.
//!
//! All cleaners get the same chances: a task draws hosts one after the other from all that anybody believes in, and under
//! each cleaner its parents are the first of them that this cleaner believes in. So cleaners which believe in the same hosts
//! hand out the same parents, and what differs is due to the cleaners alone.

use crate::cleaners::CLEANERS;
use crate::scenario::PARENTS;

/// The hosts that at least one cleaner believes in, and who believes in them.
#[derive(Default)]
pub struct Beliefs {
    /// By host number: a bit for each cleaner.
    believers: Vec<u8>,
    /// The hosts that anybody believes in, in no particular order; and by host number the place in that list.
    anybody: Vec<u32>,
    places: Vec<u32>,
    /// How many hosts each cleaner believes in.
    pub count: [usize; CLEANERS],
}

impl Beliefs {
    pub fn believes(&self, cleaner: usize, host: u32) -> bool {
        self.believers.get(host as usize).is_some_and(|bits| bits & 1 << cleaner != 0)
    }

    /// Sets what a cleaner believes; whether it believed something else before.
    pub fn set(&mut self, cleaner: usize, host: u32, believes: bool) -> bool {
        let index = host as usize;
        if index >= self.believers.len() {
            self.believers.resize(index + 1, 0);
            self.places.resize(index + 1, 0);
        }
        let before = self.believers[index];
        let now = if believes { before | 1 << cleaner } else { before & !(1 << cleaner) };
        self.believers[index] = now;
        if before == 0 && now != 0 {
            self.places[index] = self.anybody.len() as u32;
            self.anybody.push(host);
        } else if before != 0 && now == 0 {
            let place = self.places[index] as usize;
            self.anybody.swap_remove(place);
            if let Some(moved) = self.anybody.get(place) {
                self.places[*moved as usize] = place as u32;
            }
        }
        if believes && before != now {
            self.count[cleaner] += 1;
        } else if before != now {
            self.count[cleaner] -= 1;
        }
        before != now
    }

    /// The parents that a task gets under each cleaner, as the answers to `alive`: the first one first.
    pub fn parents(&self, choices: u64, alive: impl Fn(u32) -> bool) -> [Parents; CLEANERS] {
        let mut parents = [Parents::default(); CLEANERS];
        let mut drawn: Vec<u32> = Vec::new();
        let mut source = choices;
        let wants = |parents: &[Parents; CLEANERS], cleaner: usize| {
            usize::from(parents[cleaner].tried) < PARENTS.min(self.count[cleaner])
        };
        while (0..CLEANERS).any(|cleaner| wants(&parents, cleaner)) {
            let place = (u128::from(next(&mut source)) * self.anybody.len() as u128) >> 64;
            let host = self.anybody[place as usize];
            if drawn.contains(&host) {
                continue;
            }
            drawn.push(host);
            let alive = alive(host);
            for cleaner in 0..CLEANERS {
                if self.believes(cleaner, host) && wants(&parents, cleaner) {
                    parents[cleaner].add(alive);
                }
            }
        }
        parents
    }
}

/// The parents of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub tried: u8,
    pub dead: u8,
    pub first_alive: bool,
}

impl Parents {
    fn add(&mut self, alive: bool) {
        self.first_alive |= self.tried == 0 && alive;
        self.tried += 1;
        self.dead += u8::from(!alive);
    }
}

/// What became of the tasks under one cleaner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    pub tasks: u64,
    pub first_alive: u64,
    pub all_alive: u64,
    /// Tasks without a living parent: they go back to the source.
    pub none_alive: u64,
    pub connections: u64,
    pub dead_connections: u64,
}

impl Attempts {
    pub fn note(&mut self, parents: Parents) {
        self.tasks += 1;
        self.first_alive += u64::from(parents.first_alive);
        self.all_alive += u64::from(parents.tried > 0 && parents.dead == 0);
        self.none_alive += u64::from(parents.dead == parents.tried);
        self.connections += u64::from(parents.tried);
        self.dead_connections += u64::from(parents.dead);
    }

    /// A count as a share of the tasks.
    pub fn share(&self, count: u64) -> f64 {
        count as f64 / self.tasks.max(1) as f64
    }
}

/// The next number of the source (S. Vigna's SplitMix64): cheap to open for each of very many tasks.
fn next(source: &mut u64) -> u64 {
    *source = source.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*source ^ *source >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleaners::{ALL_KNOWING, WHEEL};

    #[test]
    fn a_list_of_hosts_stays_whole() {
        let mut beliefs = Beliefs::default();
        let mut truth = std::collections::BTreeSet::new();
        let mut source = 7;
        for _ in 0..20_000 {
            let (cleaner, host, on) = (next(&mut source) % 5, next(&mut source) % 50, next(&mut source) > u64::MAX / 2);
            let changed = beliefs.set(cleaner as usize, host as u32, on);
            let known = (cleaner as usize, host as u32);
            assert_eq!(changed, if on { truth.insert(known) } else { truth.remove(&known) });
        }
        let hosts: std::collections::BTreeSet<u32> = truth.iter().map(|(_, host)| *host).collect();
        let mut listed = beliefs.anybody.clone();
        listed.sort_unstable();
        assert_eq!(listed, hosts.into_iter().collect::<Vec<_>>());
        for cleaner in 0..CLEANERS {
            assert_eq!(beliefs.count[cleaner], truth.iter().filter(|(of, _)| *of == cleaner).count());
        }
    }

    #[test]
    fn parents_are_distinct_and_fair_and_the_same_where_beliefs_are() {
        let mut beliefs = Beliefs::default();
        for host in 0..40 {
            beliefs.set(0, host, true);
            beliefs.set(ALL_KNOWING, host, host < 20);
            beliefs.set(WHEEL, host, host < 20);
        }
        beliefs.set(1, 0, true);
        let mut attempts = [Attempts::default(); CLEANERS];
        for choices in 0..20_000 {
            let parents = beliefs.parents(choices, |host| host < 20);
            assert_eq!(parents[WHEEL], parents[ALL_KNOWING]);
            assert_eq!(parents.map(|parents| parents.tried), [4, 1, 0, 4, 4]);
            for (attempts, parents) in attempts.iter_mut().zip(parents) {
                attempts.note(parents);
            }
        }
        let [half, one, none, wheel, _] = attempts;
        assert!((half.share(half.first_alive) - 0.5).abs() < 0.02, "{half:?}");
        // Four of forty without putting back: 20 * 19 * 18 * 17 / (40 * 39 * 38 * 37).
        assert!((half.share(half.all_alive) - 0.053).abs() < 0.006, "{half:?}");
        assert!((half.share(half.none_alive) - 0.053).abs() < 0.006, "{half:?}");
        assert!((half.share(half.dead_connections) - 2.0).abs() < 0.03, "{half:?}");
        assert_eq!((one.first_alive, one.dead_connections), (20_000, 0));
        // A scheduler that believes in nobody sends everybody to the source.
        assert_eq!((none.first_alive, none.all_alive, none.none_alive), (0, 0, 20_000));
        assert_eq!((wheel.all_alive, wheel.dead_connections), (20_000, 0));
    }
}
