//! Registrations: a record is reserved, filled, entered into the index and made Live, by its registrant or by a helper.

use super::Shared;
use super::renew::Call;
use crate::canary::{Canary, planted};
use crate::error::AnnounceError;
use crate::index::{Index, Refusal};
use crate::liveness::Outcome;
use crate::pause::{Point, point};
use crate::record::{BORN_LATE, Handle, Key, NoMemory, Record, ReserveError, State};
use crate::sync::Ordering;
use crate::tick::Tick;

/// Records of hosts that left and were not freed yet, beyond which registrations wait for the observer: as many as living
/// hosts, at least this many.
const FLOOD: u64 = 8192;

/// How often a registration pauses at most, so that it waits 50 ms at the longest.
const PAUSES: usize = 250;

/// Records beyond `max_hosts`: for hosts that said goodbye and were not freed yet. In models such a host keeps its place.
pub(crate) const SPARE: usize = if cfg!(loom) { 0 } else { FLOOD as usize };

/// What became of an announce that took the long way.
pub(super) struct Registered {
    pub(super) handle: Handle,
    pub(super) outcome: Outcome,
    /// The host counts from a later moment than its age says.
    pub(super) age_cut: bool,
}

impl Shared {
    /// Registers a host for whose id the index had no entry, or that of a `dead` one.
    #[cold]
    pub(super) fn register(
        &self,
        key: &Key<'_>,
        call: Call,
        user_data: u64,
        mut dead: Option<Handle>,
    ) -> Result<Registered, AnnounceError> {
        let reservation = self.reserve(key, call, user_data, false)?;
        point(Point::Filled);
        loop {
            match self.index.enter(&self.slab, key, reservation.handle, dead) {
                Ok(()) => {
                    point(Point::Entered);
                    let age_cut = reservation.age_cut;
                    return Ok(Registered {
                        handle: reservation.complete(call),
                        outcome: Outcome::Registered,
                        age_cut,
                    });
                }
                // Another registrant was faster.
                Err(Refusal::Known(other)) => match self.hear(other, call) {
                    Some((handle, outcome)) => return Ok(Registered { handle, outcome, age_cut: false }),
                    None => dead = Some(other),
                },
                Err(Refusal::NoRoom) => return Err(AnnounceError::NoMemory),
            }
        }
    }

    /// Reserves and fills a record. With `force` it is beyond `max_hosts` for a moment.
    pub(super) fn reserve(
        &self,
        key: &Key<'_>,
        call: Call,
        user_data: u64,
        force: bool,
    ) -> Result<Reservation<'_>, AnnounceError> {
        let place = self.take_place(force)?;
        let stamp = if call.age == 0 { Tick::MAX } else { self.clock.stamp().saturating_sub(call.age) };
        let index = self.reserve_record(stamp)?;
        std::mem::forget(place);
        let record = self.slab.record(index);
        let handle = Handle::new(index, record.generation());
        let age_cut = record.word().last() > stamp;
        let reservation = Reservation { shared: self, record, handle, age_cut, completed: false };
        self.slab.fill(index, key, user_data).map_err(|NoMemory| AnnounceError::NoMemory)?;
        if call.cadence.is_some_and(|cadence| call.age >= self.terms.ttl(cadence)) {
            record.set(BORN_LATE, true);
        }
        Ok(reservation)
    }

    /// Takes one of the `max_hosts` places; with `force` also when none is left.
    fn take_place(&self, force: bool) -> Result<Place<'_>, AnnounceError> {
        // Relaxed, both: a count, which a compare-and-swap keeps within its bound.
        let mut taken = self.places.load(Ordering::Relaxed);
        loop {
            if taken >= self.max_hosts && !force {
                return Err(AnnounceError::Full);
            }
            point(Point::Placing);
            match self.places.compare_exchange_weak(taken, taken + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(Place(self)),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives the place of a host back that is known no more.
    pub(super) fn give_place_back(&self) {
        // Relaxed: see `take_place`.
        self.places.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a record. When all of them wait to be freed, the observer gets its chance to do that.
    fn reserve_record(&self, stamp: Tick) -> Result<u32, AnnounceError> {
        self.relieve();
        for _ in 0..PAUSES {
            match self.slab.reserve_for(stamp) {
                Ok(index) => return Ok(index),
                Err(ReserveError::NoMemory) => return Err(AnnounceError::NoMemory),
                Err(ReserveError::Full) => self.wake_before(0),
            }
            if !self.waker.pause() {
                break;
            }
        }
        Err(AnnounceError::Full)
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
        let ended = self.producers.left.get() + self.producers.given_back.get();
        ended.saturating_sub(self.thread.freed_left.get()) > self.live().max(FLOOD)
    }
}

/// A place among the known hosts, given back when dropped.
struct Place<'a>(&'a Shared);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_place_back();
    }
}

/// A record that its registrant is filling. Dropped without being completed, it goes back by way of the observer.
pub(super) struct Reservation<'a> {
    shared: &'a Shared,
    pub(super) record: &'a Record,
    pub(super) handle: Handle,
    /// No record was old enough for the host's age.
    age_cut: bool,
    completed: bool,
}

impl Reservation<'_> {
    /// Makes the host Live; its entry is in the index.
    pub(super) fn complete(mut self, call: Call) -> Handle {
        self.completed = true;
        let shared = self.shared;
        let word = self.record.word();
        point(Point::Judging);
        let reserved = word.state() == State::Reserved && self.record.generation() == self.handle.generation();
        let now = shared.clock.stamp();
        let new = shared.heard(word, now, call);
        if reserved && self.record.swap_word_seq(word, new) {
            shared.clock.hear(now.saturating_sub(call.age), now);
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
        self.shared.producers.given_back.add_shared(1);
        self.shared.give_place_back();
    }
}
