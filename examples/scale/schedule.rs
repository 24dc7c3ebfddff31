//! When what happens, so that a wheel is in its steady state soon after it was opened.
//!
//! A wheel looks at a host that registers after two intervals, and then once in each interval. It keeps hosts that are due in
//! more than a minute in slots of 65.5 s, and looks at all hosts of a slot when it comes up, or a quarter of that time before
//! if they are many: so its work comes in bursts, one in 65.5 s. Nobody should have to wait ten minutes for that. Hosts
//! register with the age that their last announce would have in a fleet that has lived for long, so that they are due evenly
//! over the interval that begins with such a slot, and the window in which figures are taken begins just before the burst.
//!
//! Hosts announce themselves a little less often than they say, as timers and networks do; so none of the looks that follow
//! can be left out, and their rate is the highest that a fleet brings about.

/// By how much an interval of a host is longer than it says.
const DRIFT_NS: u64 = 50_000_000;

/// The wheel's slots for hosts that are due in more than a minute, and less than hours: 2^16 ms.
pub const SLOT_NS: u64 = 65_536_000_000;

/// How long before the start of a slot the window begins: a little before a slot of many hosts is worked off.
const LEAD_NS: u64 = SLOT_NS / 4 + 1_616_000_000;

/// The least time for everything before the window, beside the grace, and what each host adds to it.
const SETUP_NS: u64 = 4_000_000_000;
const SETUP_NS_PER_HOST: u64 = 8_000;

/// The parts of the window in which nobody dies: the leaves of the window are to be counted in it.
const EDGE: f64 = 0.02;

/// Moments of one run, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Where the window begins.
    pub start_ns: u64,
    /// The start of the slot that is worked off in it.
    slot_ns: u64,
    pub window_ns: u64,
    interval_ns: u64,
    grace_ns: u64,
    /// Hosts that live on.
    living: u64,
}

impl Schedule {
    /// The schedule of a fleet whose wheel was opened at `opened_ns`, and of which `living` hosts live on.
    pub fn new(opened_ns: u64, interval_ns: u64, grace_ns: u64, window_ns: u64, hosts: u64, living: u64) -> Schedule {
        // The doomed register within their TTL, so their grace lies before the window.
        let setup_ns = grace_ns + SETUP_NS + hosts * SETUP_NS_PER_HOST;
        let slot_ns = opened_ns + (setup_ns + LEAD_NS).next_multiple_of(SLOT_NS);
        Schedule { start_ns: slot_ns - LEAD_NS, slot_ns, window_ns, interval_ns, grace_ns, living }
    }

    /// Whether everybody can have been heard before the wheel was opened.
    pub fn is_possible(&self, opened_ns: u64) -> bool {
        self.slot_ns <= opened_ns + self.interval_ns
    }

    /// How long after its last announce a host leaves.
    pub fn lasts_ns(&self) -> u64 {
        2 * self.interval_ns + self.grace_ns
    }

    /// When the living host number `place` was heard last when it registers.
    pub fn heard_before_ns(&self, place: u64) -> u64 {
        self.slot_ns - 2 * self.interval_ns + self.offset_ns(place)
    }

    /// When one that dies was heard last. It leaves in the window, at a moment that follows from `chance`, from 0 to 1.
    pub fn last_heard_ns(&self, chance: f64) -> u64 {
        let part = EDGE + chance * (1.0 - 2.0 * EDGE);
        self.start_ns + (self.window_ns as f64 * part) as u64 - self.lasts_ns()
    }

    /// Until when one that dies must be registered: from then on it may be past its TTL.
    pub fn register_by_ns(&self) -> u64 {
        self.start_ns - self.grace_ns
    }

    /// When the announce number `number` is due, counted from an interval before the slot.
    pub fn announce_ns(&self, number: u64) -> u64 {
        let round = number / self.living;
        self.slot_ns - self.interval_ns
            + DRIFT_NS
            + round * (self.interval_ns + DRIFT_NS)
            + self.offset_ns(self.place(number))
    }

    /// Who makes the announce number `number`.
    pub fn place(&self, number: u64) -> u64 {
        number % self.living
    }

    /// Where in the interval a host announces itself.
    fn offset_ns(&self, place: u64) -> u64 {
        (u128::from(self.interval_ns) * u128::from(place) / u128::from(self.living)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn schedule() -> Schedule {
        Schedule::new(10_000 * S, 300 * S, 15 * S, 20 * S, 1000, 999)
    }

    #[test]
    fn the_living_are_due_evenly_over_the_interval_from_a_slot_on() {
        let schedule = schedule();
        let due: Vec<u64> = (0..999).map(|place| schedule.heard_before_ns(place) + 600 * S).collect();
        assert!(due.is_sorted());
        assert_eq!(due[0], 10_000 * S + SLOT_NS);
        assert!((299 * S..300 * S).contains(&(due[998] - due[0])));
        assert!(schedule.start_ns + SLOT_NS / 4 < due[0], "the slot may begin a quarter early");
    }

    #[test]
    fn the_window_is_later_for_a_fleet_that_registers_for_long() {
        let start_s = |hosts| (Schedule::new(0, 300 * S, 15 * S, 20 * S, hosts, hosts).start_ns / S, hosts);
        assert_eq!([10_000, 1_000_000, 10_000_000].map(start_s).map(|(start_s, _)| start_s), [47, 47, 113]);
        let is_possible = |interval| Schedule::new(0, interval * S, 15 * S, 20 * S, 10_000_000, 1).is_possible(0);
        assert!(is_possible(132) && !is_possible(131));
    }

    #[test]
    fn the_doomed_leave_within_the_window_and_register_within_their_ttl() {
        let schedule = schedule();
        for chance in [0.0, 0.5, 1.0] {
            let heard_ns = schedule.last_heard_ns(chance);
            let leaves_ns = heard_ns + schedule.lasts_ns();
            assert!((schedule.start_ns + S / 4..schedule.start_ns + 20 * S - S / 4).contains(&leaves_ns));
            assert!(heard_ns + 600 * S > schedule.register_by_ns());
        }
    }

    #[test]
    fn everybody_announces_once_in_each_interval_and_no_more_often() {
        let schedule = schedule();
        let due: Vec<u64> = (0..4 * 999).map(|number| schedule.announce_ns(number)).collect();
        assert!(due.is_sorted());
        for number in 0..3 * 999 {
            assert_eq!(due[number + 999] - due[number], 300 * S + DRIFT_NS);
            assert_eq!(schedule.place(number as u64), schedule.place(number as u64 + 999));
        }
    }

    #[test]
    fn whoever_is_due_was_heard_just_about_an_interval_ago() {
        let schedule = schedule();
        for place in 0..999 {
            let due_ns = schedule.heard_before_ns(place) + 600 * S;
            assert_eq!(due_ns - schedule.announce_ns(place), 300 * S - DRIFT_NS);
            assert_eq!(schedule.announce_ns(place + 999) - due_ns, 2 * DRIFT_NS);
        }
    }
}
