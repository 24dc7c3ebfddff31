//! Registrations: a record is reserved, filled, entered into the index and made Live, by its registrant or by a helper.

use super::Shared;
use super::renew::Call;
use crate::canary::{Canary, planted};
use crate::error::AnnounceError;
use crate::index::{Index, Refusal};
use crate::liveness::Outcome;
use crate::pause::{Point, point};
use crate::record::{BORN_LATE, Handle, Key, NoMemory, Record, ReserveError, State};

/// Records of hosts that left and were not freed yet, beyond which registrations wait for the observer: as many as living
/// hosts, at least this many.
const FLOOD: u64 = 8192;

/// How often a registration pauses at most, so that it waits 50 ms at the longest.
const PAUSES: usize = 250;

impl Shared {
    /// Registers a host for whose id the index had no entry, or that of a `dead` one.
    #[cold]
    pub(super) fn register(
        &self,
        key: &Key<'_>,
        call: Call,
        user_data: u64,
        mut dead: Option<Handle>,
    ) -> Result<(Handle, Outcome), AnnounceError> {
        let reservation = self.reserve(key, call, user_data)?;
        point(Point::Filled);
        loop {
            match self.index.enter(&self.slab, key, reservation.handle, dead) {
                Ok(()) => {
                    point(Point::Entered);
                    return Ok((reservation.complete(call), Outcome::Registered));
                }
                // Another registrant was faster.
                Err(Refusal::Known(other)) => match self.hear(other, call) {
                    Some(heard) => return Ok(heard),
                    None => dead = Some(other),
                },
                Err(Refusal::NoRoom) => return Err(AnnounceError::NoMemory),
            }
        }
    }

    fn reserve(&self, key: &Key<'_>, call: Call, user_data: u64) -> Result<Reservation<'_>, AnnounceError> {
        self.relieve();
        let index = self.slab.reserve().map_err(|e| match e {
            ReserveError::Full => AnnounceError::Full,
            ReserveError::NoMemory => AnnounceError::NoMemory,
        })?;
        let record = self.slab.record(index);
        let handle = Handle::new(index, record.generation());
        let reservation = Reservation { shared: self, record, handle, completed: false };
        self.slab.fill(index, key, user_data).map_err(|NoMemory| AnnounceError::NoMemory)?;
        if call.cadence.is_some_and(|cadence| call.age >= self.terms.ttl(cadence)) {
            record.set(BORN_LATE, true);
        }
        Ok(reservation)
    }

    /// Before the slab grows: records of hosts that left may wait to be freed, and nobody woke the observer for them. When
    /// hosts flap faster than it frees, this is what bounds the memory, so a registration then waits for it; and while the
    /// observer gets no processor, each wait in vain pays for no more than a stretch of records.
    fn relieve(&self) {
        if self.slab.is_short() {
            self.wake_before(0);
        }
        for _ in 0..PAUSES {
            if !self.slab.is_stretching() || !self.is_flooded() {
                return;
            }
            self.wake_before(0);
            if !self.waker.pause() {
                return;
            }
        }
    }

    fn is_flooded(&self) -> bool {
        self.producers.left.get().saturating_sub(self.thread.freed_left.get()) > self.live().max(FLOOD)
    }
}

/// A record that its registrant is filling. Dropped without being completed, it goes back by way of the observer.
struct Reservation<'a> {
    shared: &'a Shared,
    record: &'a Record,
    handle: Handle,
    completed: bool,
}

impl Reservation<'_> {
    /// Makes the host Live; its entry is in the index.
    fn complete(mut self, call: Call) -> Handle {
        self.completed = true;
        let shared = self.shared;
        let word = self.record.word();
        let reserved = word.state() == State::Reserved && self.record.generation() == self.handle.generation();
        let now = shared.clock.stamp();
        let new = shared.heard(word, now, call);
        if reserved && self.record.swap_word_seq(word, new) {
            shared.clock.hear(now.saturating_sub(call.age));
            shared.report(self.handle.index(), shared.look_at(new));
        } else {
            // A helper was faster, and reports. Our announce counts as well, unless the host has left again already.
            shared.touch(self.handle, call, true);
        }
        shared.producers.registered.add_shared(1);
        self.handle
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.completed || planted(Canary::LoserKeepsRecord) {
            return;
        }
        // Nobody else knows the record: a plain store will do. No wake: a record less for a while.
        self.record.store_word(self.record.word().with_state(State::Left));
        self.shared.slab.mark(self.handle.index());
    }
}
