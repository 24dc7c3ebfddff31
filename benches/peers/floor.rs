//! The floor: no wheel at all. By handle a load and a compare-and-swap on a record that is found by its number; by id a
//! look-up in papaya before that.

use std::sync::Arc;
use std::time::Duration;

use crate::expiry::{Expiry, Purpose, Workload};
use crate::fleet::{Fleet, Id, Records};
use crate::map::{Key, Map, Probe};

pub struct Floor {
    fleet: Arc<Fleet>,
    map: Map,
    records: Records,
    expired: usize,
}

impl Expiry for Floor {
    type Handle = u64;

    const NAME: &'static str = "floor: record alone, papaya by id";
    const LACKS: &'static [Workload] = &[Workload::Change];

    fn open(fleet: &Arc<Fleet>, _purpose: Purpose) -> Floor {
        let records = Records::new(fleet.hosts());
        Floor { fleet: fleet.clone(), map: Map::default(), records, expired: 0 }
    }

    fn register(&mut self, host: u32, id: &Id, _interval: Duration) -> u64 {
        self.map.pin().insert(Key(Arc::from(&id[..])), u64::from(host));
        u64::from(host)
    }

    #[inline]
    fn renew(&mut self, handle: u64) {
        self.records.at(handle as usize).touch();
    }

    #[inline]
    fn announce(&mut self, id: &Id, _interval: Duration) {
        if let Some(&record) = self.map.pin().get(&Probe(id)) {
            self.records.at(record as usize).touch();
        }
    }

    fn leave(&mut self, id: &Id) {
        self.map.pin().remove(&Probe(id));
    }

    fn advance(&mut self, _now: Duration) {}

    fn count(&self) -> usize {
        self.map.len()
    }

    fn expired(&self) -> usize {
        self.expired
    }

    /// Nothing finds who is due here; what is left is to remove everybody, in a random order.
    fn expire_all(&mut self) {
        for id in &self.fleet.ids {
            self.expired += usize::from(self.map.pin().remove(&Probe(id)).is_some());
        }
    }
}
