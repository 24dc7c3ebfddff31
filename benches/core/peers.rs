//! What hostwheel is compared with: the floor under any wheel, and a concurrent map that does the look-up only.

use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use papaya::{Equivalent, HashMap};

use crate::fleet::{Calls, Fleet, Id, Record, Records, per_call};

/// The floor: find a random record by its number, load and CAS its word, read the coarse clock. A number of 64 bits, as wide
/// as a handle. No check of anything, no wheel.
pub struct Floor {
    order: Vec<u64>,
    records: Records,
}

impl Floor {
    pub fn new(fleet: &Fleet) -> Floor {
        let order = fleet.order.iter().map(|&host| u64::from(host)).collect();
        Floor { order, records: Records::new(fleet.hosts()) }
    }
}

impl Calls for Floor {
    fn hosts(&self) -> usize {
        self.order.len()
    }

    fn call(&self, first: usize, end: usize) {
        for &number in &self.order[first..end] {
            self.records.at(number as usize).touch();
        }
    }
}

/// The same by pointer, with nothing to find: what the number costs.
pub struct Pointer {
    order: Vec<*const Record>,
    /// Keeps what `order` points to.
    _records: Records,
}

impl Pointer {
    pub fn new(fleet: &Fleet) -> Pointer {
        let records = Records::new(fleet.hosts());
        let order = fleet.order.iter().map(|&host| std::ptr::from_ref(records.at(host as usize))).collect();
        Pointer { order, _records: records }
    }
}

impl Calls for Pointer {
    fn hosts(&self) -> usize {
        self.order.len()
    }

    fn call(&self, first: usize, end: usize) {
        for &record in &self.order[first..end] {
            // SAFETY: points into a chunk of `_records`, which lives as long as `self` and is only ever shared.
            unsafe { &*record }.touch();
        }
    }
}

/// A key laid out and hashed as hostwheel's: a shared slice, its bytes alone.
#[derive(PartialEq, Eq)]
struct Key(Arc<[u8]>);

struct Probe<'a>(&'a [u8]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Probe(&self.0).hash(state);
    }
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.0
    }
}

/// papaya with the number of a record for each id.
type Map = HashMap<Key, u64, RandomState>;

fn filled(fleet: &Fleet) -> Map {
    let map = Map::default();
    fleet.register(|host, id: &Id| {
        map.pin().insert(Key(Arc::from(&id[..])), u64::from(host));
    });
    map
}

/// An announce by id without a wheel: the look-up, and the floor's work on the record found.
pub struct LookUp {
    fleet: Arc<Fleet>,
    map: Map,
    records: Records,
}

impl LookUp {
    pub fn new(fleet: &Arc<Fleet>) -> LookUp {
        LookUp { fleet: fleet.clone(), map: filled(fleet), records: Records::new(fleet.hosts()) }
    }
}

impl Calls for LookUp {
    fn hosts(&self) -> usize {
        self.fleet.hosts()
    }

    fn call(&self, first: usize, end: usize) {
        for id in &self.fleet.ids[first..end] {
            if let Some(&record) = self.map.pin().get(&Probe(id)) {
                self.records.at(record as usize).touch();
            }
        }
    }
}

/// Fills a map and removes all hosts in the order of the calls; nanoseconds per removal.
pub fn removal(fleet: &Fleet) -> f64 {
    let map = filled(fleet);
    let start = Instant::now();
    for id in &fleet.ids {
        map.pin().remove(&Probe(id));
    }
    let spent = start.elapsed();
    assert!(map.is_empty());
    per_call(spent, fleet.hosts())
}
