//! papaya, the index that hostwheel began with.

use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use papaya::{Equivalent, HashMap};

/// A key: a shared slice, hashed as its bytes alone, with the standard library's SipHash.
#[derive(PartialEq, Eq)]
pub struct Key(pub Arc<[u8]>);

/// What a key is found by.
pub struct Probe<'a>(pub &'a [u8]);

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
pub type Map = HashMap<Key, u64, RandomState>;
