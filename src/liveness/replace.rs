//! Replacing a host: its known incarnation ends, without a leave event, and another one begins, in one step for everybody else.
//!
//! ```text
//!  replacer                                        a thread that looks the id up meanwhile
//!  1 reserves a record, and notes in it which      finds the old incarnation
//!    incarnation it replaces
//!  2 swaps the index entry                         finds the new record, Reserved: while the old incarnation lives,
//!                                                  the id is that one's
//!  3 ends the old incarnation: its word says Left  finds the new record, Reserved: the old incarnation is over, so it
//!                                                  completes the new one
//!  4 makes the new record Live                     finds the new incarnation
//! ```
//!
//! Step 3 is the linearization point. Before it the old handle answers, and the id leads to it; after it the old handle is stale
//! and the id leads to the new one. If the old incarnation says goodbye or is taken before step 3, it was not replaced: what
//! happens then is a registration.
//!
//! Only the replacer ends the old incarnation for the replacement, so exactly one thread gets its user data. A second replacement of
//! the same id therefore waits between steps 2 and 3 of the first one. No other operation waits.

use super::Shared;
use super::registration::Reservation;
use super::renew::Call;
use crate::canary::{Canary, planted};
use crate::error::{AnnounceError, LONGEST_ID};
use crate::index::{Index, Refusal};
use crate::liveness::{Announced, Interval, Outcome};
use crate::pause::{Point, point};
use crate::record::{Cadence, Handle, State, Word};
use crate::sync::{Ordering, fence, give_way};

/// The answer to [`HostWheel::replace`](crate::HostWheel::replace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// The new incarnation; its outcome is [`Outcome::Registered`].
    pub announced: Announced,
    /// The handle and the user data of the incarnation that ended. `None` if the id was not known, or was handed out as a leave.
    pub ended: Option<(Handle, u64)>,
}

/// What a replacer finds under an id.
enum Found {
    /// No host, or one that has left.
    Dead,
    Alive,
    /// Another replacement is under way.
    Busy,
}

impl Shared {
    /// Ends the known incarnation of a host, and begins another one.
    pub(crate) fn replace(&self, id: &[u8], interval: Interval, user_data: u64) -> Result<Replaced, AnnounceError> {
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(AnnounceError::IdLength);
        }
        if self.clock.is_closed() {
            return Err(AnnounceError::Closed);
        }
        let agreed = self.terms.agree(interval.0);
        let key = self.index.key(id);
        let call = Call { cadence: Some(agreed.cadence), age: 0 };
        let mut known = self.index.get(&self.slab, &key);
        // The place of the incarnation that ends is given back a moment later.
        let force = known.is_some_and(|handle| matches!(self.look_at_known(handle, call), Found::Alive));
        let reservation = self.reserve(&key, call, user_data, force)?;
        point(Point::Filled);
        let old = loop {
            let old = match known.map(|handle| (handle, self.look_at_known(handle, call))) {
                Some((_, Found::Busy)) => {
                    give_way();
                    known = self.index.get(&self.slab, &key);
                    continue;
                }
                Some((handle, Found::Alive)) => Some(handle),
                Some((_, Found::Dead)) | None => None,
            };
            reservation.replaces(old, agreed.cadence);
            match self.index.enter(&self.slab, &key, reservation.handle, known) {
                Ok(()) => break old,
                Err(Refusal::Known(other)) => known = Some(other),
                Err(Refusal::NoRoom) => return Err(AnnounceError::NoMemory),
            }
        };
        point(Point::Entered);
        if !planted(Canary::QuietReplacement) {
            // Release: pairs with the acquire of the word in `is_alive`: a look-up that finds the old incarnation dead, and asks
            // the index again, sees its successor.
            fence(Ordering::Release);
        }
        let ended = old.and_then(|old| self.say_goodbye(old).ok().map(|user_data| (old, user_data)));
        point(Point::Replaced);
        let handle = reservation.complete(call);
        Ok(Replaced { announced: self.announced(handle, Outcome::Registered, &agreed), ended })
    }

    /// Whether the incarnation that the index names is alive. Completes a registration that has begun.
    fn look_at_known(&self, handle: Handle, call: Call) -> Found {
        if self.is_alive(handle) {
            return Found::Alive;
        }
        match self.predecessor(handle) {
            Some(old) if self.is_alive(old) => Found::Busy,
            _ if self.hear(handle, call).is_some() => Found::Alive,
            _ => Found::Dead,
        }
    }

    /// The incarnation that a Reserved record is about to replace.
    pub(super) fn predecessor(&self, handle: Handle) -> Option<Handle> {
        let record = self.slab.of(handle)?;
        let word = record.word();
        point(Point::Judging);
        if word.state() != State::Reserved || record.generation() != handle.generation() {
            return None;
        }
        point(Point::Preceding);
        let old = record.replaces();
        point(Point::Preceded);
        // Acquire: what was read of a later incarnation comes with that one's generation.
        fence(Ordering::Acquire);
        old.filter(|_| record.generation() == handle.generation() && record.word() == word)
    }

    /// What the id of an index entry leads to: the incarnation that the entry names or, while that is about to replace a living
    /// one, that one. Completes a replacement whose old incarnation is over.
    pub(super) fn current(&self, handle: Handle) -> Handle {
        let Some(old) = self.predecessor(handle) else { return handle };
        if self.is_alive(old) && !planted(Canary::HastyReplacement) {
            return old;
        }
        self.touch(handle, Call { cadence: None, age: 0 }, true);
        handle
    }

    /// An announce of an id whose index entry is about to replace a living incarnation is that one's.
    pub(super) fn hear_predecessor(&self, handle: Handle, call: Call) -> Option<(Handle, Outcome)> {
        let old = self.predecessor(handle).filter(|_| !planted(Canary::HastyReplacement))?;
        self.touch(old, call, false).heard().map(|outcome| (old, outcome))
    }
}

impl Reservation<'_> {
    /// Notes which living incarnation the record replaces, and its interval, for threads that complete it.
    fn replaces(&self, old: Option<Handle>, cadence: Cadence) {
        self.record.set_replaces(old);
        let word = self.record.word();
        self.record.store_word(Word::new(word.last(), cadence, State::Reserved));
    }
}
