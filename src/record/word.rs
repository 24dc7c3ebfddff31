//! The word: last announce, interval and state of a host in 64 bits, so that one CAS changes all three together.
//!
//! ```text
//!  63   61 60                          22 21            0
//! +-------+------------------------------+---------------+
//! | state | last announce, 39 bits       | interval, 22  |
//! |       | ticks: 17 years              | 21 + unit 1   |
//! +-------+------------------------------+---------------+
//! ```
//!
//! The state is on top and Live is 0, so one comparison of numbers tells whether a host is Live and was heard before a
//! certain tick.
//!
//! The interval's lowest bit is its unit: milliseconds (up to 34.9 minutes) or whole seconds, rounded up (up to 24 days).
//! Zero is "no interval": the host TTL applies. An interval never loses a millisecond to the encoding, so a host can only
//! be given more time than it asked for.

use crate::tick::Tick;

const STATE_BITS: u32 = 3;
const LAST_BITS: u32 = 39;
const INTERVAL_BITS: u32 = 22;
const LAST_SHIFT: u32 = INTERVAL_BITS;
const STATE_SHIFT: u32 = LAST_SHIFT + LAST_BITS;
const INTERVAL_MASK: u64 = (1 << INTERVAL_BITS) - 1;
const _: () = assert!(STATE_BITS + LAST_BITS + INTERVAL_BITS == 64);
const SECONDS: u32 = 1;
const VALUES: u32 = 1 << (INTERVAL_BITS - 1);

/// The last tick that the word can hold: 17 years of wheel time.
pub(crate) const LAST_TICK: Tick = (1 << LAST_BITS) - 1;

/// A moment in wheel time, as a word holds it: the tick above, below it a fraction in place of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// Bits of the fraction.
    pub(crate) const FRACTION: u32 = LAST_SHIFT;

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Stamp {
        Stamp(bits)
    }

    /// The beginning of a tick.
    #[inline]
    pub(crate) fn of(tick: Tick) -> Stamp {
        Stamp(tick << LAST_SHIFT)
    }

    #[inline]
    pub(crate) fn tick(self) -> Tick {
        self.0 >> LAST_SHIFT
    }
}

/// What a record is at the moment. See the state diagram in the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// A host within its TTL, as far as its last visit knows.
    Live = 0,
    /// Nobody's; on the free list, or never used.
    Free = 1,
    /// Being filled by the registrant that popped it.
    Reserved = 2,
    /// A host past its TTL whose `suspect` event went out.
    Suspect = 3,
    /// Said goodbye, or lost the race for its id; waits for the thread to free it.
    Left = 4,
    /// Handed to the consumer as a leave.
    Taken = 5,
}

/// An announce interval as the word holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cadence(u32);

impl Cadence {
    /// No interval: the host TTL applies.
    pub(crate) const NONE: Cadence = Cadence(0);
    /// The longest interval in milliseconds: a little over 24 days.
    #[cfg(test)]
    const LONGEST_MS: u64 = (VALUES as u64 - 1) * 1000;
    /// The longest interval held to the millisecond: 34.9 minutes.
    const FINEST_MS: u64 = VALUES as u64 - 1;
    /// The same in whole seconds.
    pub(crate) const FINEST_SECONDS: u64 = Self::FINEST_MS / 1000;

    /// An interval of at most [`FINEST_SECONDS`](Self::FINEST_SECONDS).
    #[inline]
    pub(crate) fn of_seconds(seconds: u64) -> Cadence {
        debug_assert!(seconds <= Self::FINEST_SECONDS);
        Cadence((seconds as u32 * 1000) << 1)
    }

    /// The shortest cadence that is not shorter than `ms`; 0 is no interval, beyond the range the longest.
    pub(crate) fn from_ms(ms: u64) -> Cadence {
        if ms <= Self::FINEST_MS {
            Cadence((ms as u32) << 1)
        } else {
            let seconds = ms.div_ceil(1000).min(u64::from(VALUES) - 1);
            Cadence((seconds as u32) << 1 | SECONDS)
        }
    }

    /// Its length in milliseconds; 0 when there is none.
    #[inline]
    pub(crate) fn ms(self) -> u64 {
        let value = u64::from(self.0 >> 1);
        if self.0 & SECONDS == 0 { value } else { value * 1000 }
    }

    /// As the word holds it: 22 bits.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// The opposite of [`bits`](Self::bits).
    pub(super) fn from_bits(bits: u32) -> Cadence {
        Cadence(bits)
    }

    /// Whether the host announces without an interval.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The word of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// Puts the three together. `last` beyond the range is held at its end.
    #[inline]
    pub(crate) fn new(last: Tick, cadence: Cadence, state: State) -> Word {
        let last = last.min(LAST_TICK);
        Word((state as u64) << STATE_SHIFT | last << LAST_SHIFT | u64::from(cadence.0))
    }

    /// A word as it was loaded from a record.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Word {
        Word(bits)
    }

    /// The word of a Live host that is heard now, with its interval or a new one; `None` if it is not Live or was heard later
    /// already. Of one that was heard in the same tick it depends on the fraction. `now` is in range.
    ///
    /// Little of it needs the old word, which the processor is still waiting for: see `Shared::touch`.
    #[inline]
    pub(crate) fn renewed(self, now: Stamp, cadence: Option<Cadence>) -> Option<Word> {
        debug_assert!(now.tick() <= LAST_TICK, "stamps end at the horizon, which is in range");
        let heard = now.0 & !INTERVAL_MASK;
        let interval = cadence.map_or(self.0 & INTERVAL_MASK, |cadence| u64::from(cadence.0));
        // The word of any other state is a greater number than that of a Live host, whenever that was heard.
        (self.0 < now.0).then_some(Word(heard + interval))
    }

    /// What the host's TTL is at least: exact for an interval in milliseconds, else less.
    #[inline]
    pub(crate) fn ttl_floor(self) -> Tick {
        // Two intervals: the interval is held one bit further up, above its unit.
        self.0 & INTERVAL_MASK
    }

    /// The word as it is stored in a record.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The tick of the last announce.
    #[inline]
    pub(crate) fn last(self) -> Tick {
        self.0 >> LAST_SHIFT & LAST_TICK
    }

    /// As [`last`](Self::last), of a word that says Live.
    #[inline]
    pub(crate) fn last_of_live(self) -> Tick {
        debug_assert_eq!(self.state(), State::Live);
        self.0 >> LAST_SHIFT
    }

    /// The interval.
    #[inline]
    pub(crate) fn cadence(self) -> Cadence {
        Cadence((self.0 & INTERVAL_MASK) as u32)
    }

    /// The state.
    #[inline]
    pub(crate) fn state(self) -> State {
        match self.0 >> STATE_SHIFT {
            0 => State::Live,
            1 => State::Free,
            2 => State::Reserved,
            3 => State::Suspect,
            4 => State::Left,
            // 6 and 7 are never stored.
            _ => State::Taken,
        }
    }

    /// The same host in another state.
    pub(crate) fn with_state(self, state: State) -> Word {
        Word::new(self.last(), self.cadence(), state)
    }

    /// Whether the word is that of a host that can be announced.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self.state(), State::Live | State::Suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] = [State::Free, State::Reserved, State::Live, State::Suspect, State::Left, State::Taken];

    #[test]
    fn the_three_parts_do_not_touch_each_other() {
        for last in [0, 1, crate::tick::EPOCH, LAST_TICK - 1, LAST_TICK] {
            for ms in [0, 1, Cadence::FINEST_MS, Cadence::FINEST_MS + 1, Cadence::LONGEST_MS] {
                for state in STATES {
                    let word = Word::new(last, Cadence::from_ms(ms), state);
                    assert_eq!(word.last(), last);
                    assert_eq!(word.cadence(), Cadence::from_ms(ms));
                    assert_eq!(word.state(), state);
                    let left = word.with_state(State::Left);
                    assert_eq!((left.last(), left.cadence()), (word.last(), word.cadence()));
                }
            }
        }
    }

    #[test]
    fn an_interval_is_exact_to_34_9_minutes_and_then_rounds_up_to_seconds() {
        assert_eq!(Cadence::from_ms(0), Cadence::NONE);
        assert_eq!(Cadence::from_ms(1).ms(), 1);
        assert_eq!(Cadence::from_ms(300_000).ms(), 300_000);
        assert_eq!(Cadence::FINEST_MS, 2_097_151);
        assert_eq!(Cadence::from_ms(2_097_151).ms(), 2_097_151);
        assert_eq!(Cadence::from_ms(2_097_152).ms(), 2_098_000);
        assert_eq!(Cadence::from_ms(2_098_000).ms(), 2_098_000);
        assert_eq!(Cadence::from_ms(2_098_001).ms(), 2_099_000);
        let day = 86_400_000;
        assert_eq!(Cadence::from_ms(24 * day).ms(), 24 * day);
        assert_eq!(Cadence::from_ms(Cadence::LONGEST_MS).ms(), Cadence::LONGEST_MS);
        assert_eq!(Cadence::from_ms(u64::MAX).ms(), Cadence::LONGEST_MS);
    }

    #[test]
    fn seventeen_years_fit_and_later_ticks_are_held_at_the_end() {
        let year = 365 * 86_400_000;
        let seventeen = crate::tick::EPOCH + 17 * year;
        assert!(seventeen < LAST_TICK);
        assert_eq!(Word::new(seventeen, Cadence::NONE, State::Live).last(), seventeen);
        assert_eq!(Word::new(u64::MAX, Cadence::NONE, State::Live).last(), LAST_TICK);
    }

    #[test]
    fn a_renewed_word_is_the_one_put_together_and_only_news_makes_one() {
        let (ms, seconds) = (Cadence::from_ms(30_000), Cadence::from_ms(4_000_000));
        for cadence in [Cadence::NONE, ms, seconds] {
            let word = Word::new(1000, cadence, State::Live);
            let [earlier, same, later] = [999, 1000, 1001].map(Stamp::of);
            for later in [later, Stamp(later.0 | INTERVAL_MASK)] {
                assert_eq!(word.renewed(later, None), Some(Word::new(1001, cadence, State::Live)));
                assert_eq!(word.renewed(later, Some(ms)), Some(Word::new(1001, ms, State::Live)));
            }
            assert_eq!((word.renewed(same, None), word.renewed(earlier, Some(seconds))), (None, None));
            // In the same tick it changes the interval, or nothing.
            assert_eq!(word.renewed(Stamp(same.0 | INTERVAL_MASK), None), Some(word));
            for state in STATES.into_iter().filter(|state| *state != State::Live) {
                assert_eq!(word.with_state(state).renewed(Stamp(later.0 | INTERVAL_MASK), None), None);
            }
        }
    }

    #[test]
    fn the_ttl_floor_is_exact_to_34_9_minutes_and_never_above_the_ttl() {
        for ms in [1, 1000, 300_000, Cadence::FINEST_MS, Cadence::FINEST_MS + 1, Cadence::LONGEST_MS] {
            let word = Word::new(LAST_TICK, Cadence::from_ms(ms), State::Live);
            let ttl = 2 * word.cadence().ms();
            assert!(word.ttl_floor() <= ttl);
            assert!(ms > Cadence::FINEST_MS || word.ttl_floor() == ttl);
        }
        assert_eq!(Word::new(5, Cadence::NONE, State::Live).ttl_floor(), 0);
    }
}
