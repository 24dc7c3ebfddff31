//! The observer's side of the back-stop: judges the records of a slice. See [`Backstop`](crate::backstop::Backstop).

use super::Shared;
use super::engine::{Engine, Room};
use crate::backstop::OVERDUE;
use crate::pause::{Point, point};
use crate::record::{Handle, LINGERED, NONE, RESCUED, Record, State};
use crate::tick::Tick;

impl Engine {
    /// Looks at the next slice of all records, if one is due: see [`Backstop`].
    pub(super) fn sweep(&mut self, s: &Shared, now: Tick) {
        let used = s.slab.used();
        let Some(slice) = self.backstop.take_slice(now, used) else { return };
        if self.backstop.pass_ended(used) {
            s.thread.sweeps.add(1);
        }
        for index in slice {
            if self.room(s) != Room::Yes {
                // The consumer is slow, and what is lost is late already: the rest of the slice has time.
                self.backstop.resume(index, now + OVERDUE);
                return;
            }
            let record = s.slab.record(index);
            if self.is_lost(s, index, record, now) {
                s.thread.rescues.add(1);
                record.set(RESCUED, true);
                if !self.wheel.unlist(&s.slab, index) {
                    record.set_place(0, 0);
                }
                point(Point::Lost);
                self.visit(s, index);
            }
        }
    }

    fn is_lost(&self, s: &Shared, index: u32, record: &Record, now: Tick) -> bool {
        let word = record.word();
        let due = match word.state() {
            State::Free | State::Reserved => return false,
            // Their marks may be on the way, however long their announcers are held back: only one that was found like this
            // by the last sweep already is lost.
            State::Left => return lingers(record) && now > word.last(),
            State::Live | State::Suspect if record.armed() == NONE => {
                return s.look_at(word) + OVERDUE < now && lingers(record);
            }
            State::Live | State::Suspect | State::Taken => record.armed(),
        };
        let overdue = due + OVERDUE < now && !self.wheel.queued(&s.slab, index);
        if !overdue || s.queue.is_none() {
            return overdue;
        }
        // In no list until its suspect event is seen; and if that was just now, its mark is on the way, see above.
        let nowhere = record.place().0 == 0;
        !s.is_untold(Handle::new(index, record.generation()), false) && (!nowhere || lingers(record))
    }
}

/// Whether the last sweep already found the record in a state that should not last.
fn lingers(record: &Record) -> bool {
    let lingered = record.has(LINGERED);
    record.set(LINGERED, true);
    lingered
}
