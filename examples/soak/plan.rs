//! What hosts do. All of it follows from the seed, the host's number and the number of its turn.

use std::time::Duration;

/// Of a thousand hosts, how many come and go all the time.
const FLAPPING_PERMILLE: u64 = 50;

/// The host TTL of the wheels, which holds for hosts that announce without an interval.
pub const HOST_TTL: Duration = Duration::from_secs(30);

/// How long a silent host stays suspect, at most its own interval.
pub const GRACE: Duration = Duration::from_secs(15);

/// How often the back-stop sweeps: often, since it is to find nothing, and that says little if it hardly looks.
pub const BACKSTOP: Duration = Duration::from_secs(10);

/// How near to its leave a host comes back that comes back just before or after it.
const EDGE_MS: u64 = 20;

/// The longest that a host stays away once it has gone.
const LONGEST_PAUSE_MS: u64 = 5000;

/// A mixed number that depends on all of `parts`: SplitMix64 (public domain) chained.
pub fn mixed(parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(0, |mixed, part| {
        let mut x = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    })
}

/// A stream of numbers that is the same for the same beginning.
pub struct Draw(u64);

impl Draw {
    pub fn new(parts: [u64; 3]) -> Draw {
        Draw(mixed(parts))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = mixed([self.0, bound, 1]);
        self.0 % bound
    }
}

/// How a host announces itself: every so many milliseconds, and whether it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    pub every_ms: u32,
    /// Its announces carry the interval; if not, the host TTL holds for it.
    pub told: bool,
}

impl Rhythm {
    /// The interval that it announces; zero for none.
    pub fn interval(self) -> Duration {
        if self.told { Duration::from_millis(self.every_ms.into()) } else { Duration::ZERO }
    }

    /// How long after an announce the host is suspect if it stays silent.
    pub fn ttl_ms(self) -> u64 {
        if self.told { 2 * u64::from(self.every_ms) } else { HOST_TTL.as_millis() as u64 }
    }

    /// How long after that it leaves.
    pub fn grace_ms(self) -> u64 {
        let effective = if self.told { u64::from(self.every_ms) } else { HOST_TTL.as_millis() as u64 / 2 };
        effective.min(GRACE.as_millis() as u64)
    }

    /// How long after an announce it leaves if it stays silent.
    pub fn lasts_ms(self) -> u64 {
        self.ttl_ms() + self.grace_ms()
    }

    fn draw(draw: &mut Draw, flapping: bool) -> Rhythm {
        let (from, to) = match draw.below(100) {
            // Short lives, so that much happens in them.
            _ if flapping => (1000, 8000),
            0..2 => (1000, 2000),
            2..25 => (5000, 15_000),
            25..80 => (15_000, 30_000),
            _ => (30_000, 60_000),
        };
        let told = draw.below(10) > 0;
        let every_ms = (from + draw.below(to - from)) as u32;
        // One without interval announces three times within the host TTL.
        Rhythm { every_ms: if told { every_ms } else { HOST_TTL.as_millis() as u32 / 3 }, told }
    }
}

/// What does not change of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habit {
    pub first_rhythm: Rhythm,
    pub flapping: bool,
    /// It announces by id all the time; the others renew by handle.
    pub by_id: bool,
    pub starts_at_ms: u64,
}

impl Habit {
    /// All hosts have registered after so long.
    const START_MS: u64 = 10_000;

    pub fn of(seed: u64, host: u32) -> Habit {
        let mut draw = Draw::new([seed, host.into(), 0]);
        let flapping = draw.below(1000) < FLAPPING_PERMILLE;
        Habit {
            first_rhythm: Rhythm::draw(&mut draw, flapping),
            flapping,
            by_id: draw.below(8) == 0,
            starts_at_ms: draw.below(Self::START_MS),
        }
    }
}

/// What a host does when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Announces itself as always.
    Announce,
    /// Is silent until it has left, and so long afterwards.
    Die { pause_ms: u64 },
    /// Is silent for so long, counted from its last announce.
    Silence { until_ms: u64 },
    /// Leaves politely, and comes back so long afterwards.
    Goodbye { pause_ms: u64 },
    /// Announces itself by id with another interval.
    Change(Rhythm),
}

impl Act {
    /// What a flapping host that announces itself in this rhythm does in its turn `turn`.
    pub fn of(seed: u64, host: u32, turn: u32, rhythm: Rhythm) -> Act {
        let mut draw = Draw::new([seed, host.into(), 1 + u64::from(turn)]);
        match draw.below(100) {
            0..8 => Act::Die { pause_ms: draw.below(LONGEST_PAUSE_MS) },
            // Within its suspect stage: it recovers.
            8..16 => Act::Silence { until_ms: rhythm.ttl_ms() + rhythm.grace_ms() * (1 + draw.below(9)) / 10 },
            // Just before its leave, and just after it.
            16..22 => Act::Silence { until_ms: rhythm.lasts_ms() - draw.below(EDGE_MS) },
            22..30 => Act::Silence { until_ms: rhythm.lasts_ms() + draw.below(EDGE_MS) },
            30..35 => Act::Goodbye { pause_ms: draw.below(LONGEST_PAUSE_MS) },
            35..40 => Act::Change(Rhythm::draw(&mut draw, true)),
            _ => Act::Announce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another_one() {
        let habits = |seed| (0..500).map(|host| Habit::of(seed, host)).collect::<Vec<_>>();
        assert_eq!(habits(1), habits(1));
        assert_ne!(habits(1), habits(2));
        let rhythm = habits(1)[0].first_rhythm;
        let acts = |seed| (0..500).map(|turn| Act::of(seed, 3, turn, rhythm)).collect::<Vec<_>>();
        assert_eq!(acts(1), acts(1));
        assert_ne!(acts(1), acts(2));
    }

    #[test]
    fn a_fleet_has_hosts_of_all_kinds() {
        let habits: Vec<Habit> = (0..10_000).map(|host| Habit::of(1, host)).collect();
        let share = |is: fn(&Habit) -> bool| habits.iter().filter(|habit| is(habit)).count();
        assert!((400..600).contains(&share(|habit| habit.flapping)));
        assert!((800..1200).contains(&share(|habit| !habit.first_rhythm.told)));
        assert!((1000..1500).contains(&share(|habit| habit.by_id)));
        let told: Vec<u32> = habits.iter().map(|habit| habit.first_rhythm.every_ms).collect();
        assert!(told.iter().all(|every_ms| (1000..60_000).contains(every_ms)));
    }
}
