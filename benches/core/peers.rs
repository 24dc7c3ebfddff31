//! What hostwheel is compared with: the floor under any wheel, and a concurrent map that does the look-up only.

use std::sync::Arc;
use std::time::Instant;

use crate::fleet::{Fleet, Id, Record, Records, per_call};
use crate::map::{Key, Map, Probe};
use crate::repeat::Calls;

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
