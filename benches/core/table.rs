//! The figures of all rounds, their medians and spreads, and the ratios that have a goal.

use crate::spread::Spread;

/// A measured subject.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Row {
    Pointer,
    Floor,
    FloorPair,
    Renew,
    RenewPair,
    Whole,
    LookUp,
    LookUpPair,
    Announce,
    AnnouncePair,
    Register,
    Leave,
    Expire,
    Remove,
}

const ROWS: [(Row, &str); 14] = [
    (Row::Pointer, "the floor by pointer, no record to find"),
    (Row::Floor, "floor: load + CAS on a random record, coarse clock"),
    (Row::FloorPair, "floor, two threads"),
    (Row::Renew, "renew, by handle"),
    (Row::RenewPair, "renew, two threads"),
    (Row::Whole, "renew and the thread's whole work, per announce"),
    (Row::LookUp, "papaya: look-up by 64-byte id + floor"),
    (Row::LookUpPair, "papaya: look-up + floor, two threads"),
    (Row::Announce, "announce, by 64-byte id"),
    (Row::AnnouncePair, "announce, two threads"),
    (Row::Register, "register, index growing"),
    (Row::Leave, "leave, by 64-byte id"),
    (Row::Expire, "expire all, per host, callback and index included"),
    (Row::Remove, "papaya: remove all, per host"),
];

/// What a ratio is held against.
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}
use Goal::{AtLeast, AtMost};

impl Goal {
    /// Whether `figure` is within it.
    fn allows(&self, figure: f64) -> bool {
        match self {
            AtMost(goal) => figure <= *goal,
            AtLeast(goal) => figure >= *goal,
        }
    }

    fn verdict(&self, spread: &Spread) -> &'static str {
        if self.allows(spread.median) {
            "met"
        } else if self.allows(spread.min) || self.allows(spread.max) {
            "missed, within the spread"
        } else {
            "MISSED"
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            AtMost(goal) => write!(out, "goal <= {goal}"),
            AtLeast(goal) => write!(out, "goal >= {goal}"),
        }
    }
}

/// The figures of one round, in nanoseconds per call; not a number where nothing was measured.
struct Round([f64; ROWS.len()]);

impl Round {
    /// How much dearer `of` is than `to`. Both are of the same round, so that what disturbed a round disturbs both.
    fn ratio(&self, of: Row, to: Row) -> f64 {
        self.0[of as usize] / self.0[to as usize]
    }
}

/// A ratio, its goal, and the smallest fleet that is held to it.
struct Ratio {
    name: &'static str,
    of: fn(&Round) -> f64,
    goal: Option<Goal>,
    from_hosts: usize,
}

/// What two threads gain: how many times the calls of one they make in the same time.
fn floor_gain(round: &Round) -> f64 {
    round.ratio(Row::Floor, Row::FloorPair)
}

fn renew_gain(round: &Round) -> f64 {
    round.ratio(Row::Renew, Row::RenewPair)
}

fn look_up_gain(round: &Round) -> f64 {
    round.ratio(Row::LookUp, Row::LookUpPair)
}

fn announce_gain(round: &Round) -> f64 {
    round.ratio(Row::Announce, Row::AnnouncePair)
}

/// A gain beside that of its floor. Where not even the floor gains, two processors were not free, and the gains say nothing.
fn held(gain: f64, floor: f64) -> f64 {
    if floor < 1.0 { f64::NAN } else { gain / floor }
}

const fn ratio(name: &'static str, of: fn(&Round) -> f64, goal: Goal, from_hosts: usize) -> Ratio {
    Ratio { name, of, goal: Some(goal), from_hosts }
}

const fn gain(name: &'static str, of: fn(&Round) -> f64) -> Ratio {
    Ratio { name, of, goal: None, from_hosts: 0 }
}

const RATIOS: [Ratio; 10] = [
    ratio("renew / floor", |round| round.ratio(Row::Renew, Row::Floor), AtMost(1.1), 1_000_000),
    ratio("whole / floor", |round| round.ratio(Row::Whole, Row::Floor), AtMost(2.0), 1_000_000),
    ratio("announce / papaya look-up", |round| round.ratio(Row::Announce, Row::LookUp), AtMost(0.74), 1_000_000),
    ratio("expire all / papaya removal", |round| round.ratio(Row::Expire, Row::Remove), AtMost(2.0), 0),
    gain("two threads' gain: floor", floor_gain),
    gain("two threads' gain: renew", renew_gain),
    ratio(
        "two threads' gain: renew / floor",
        |round| held(renew_gain(round), floor_gain(round)),
        AtLeast(0.85),
        1_000_000,
    ),
    gain("two threads' gain: papaya look-up", look_up_gain),
    gain("two threads' gain: announce", announce_gain),
    ratio(
        "two threads' gain: announce / papaya look-up",
        |round| held(announce_gain(round), look_up_gain(round)),
        AtLeast(0.85),
        1_000_000,
    ),
];

/// The figures of one fleet, round by round.
#[derive(Default)]
pub struct Table {
    rounds: Vec<Round>,
}

impl Table {
    /// Adds a round: the figures in the order in which they were taken.
    pub fn add(&mut self, figures: &[(Row, f64)]) {
        let mut round = [f64::NAN; ROWS.len()];
        for &(row, figure) in figures {
            round[row as usize] = figure;
        }
        self.rounds.push(Round(round));
    }

    /// Prints a line without its end; what the rounds say, or nothing where they measured nothing.
    fn line(&self, name: &str, digits: usize, of: impl Fn(&Round) -> f64) -> Option<Spread> {
        let figures: Vec<f64> = self.rounds.iter().map(of).filter(|figure| !figure.is_nan()).collect();
        if figures.is_empty() {
            print!("  {name:<50} {:>9}", "-");
            return None;
        }
        let spread = Spread::of(figures.into_iter());
        let Spread { median, min, max } = spread;
        print!("  {name:<50} {median:>9.digits$}  {min:.digits$} .. {max:.digits$}");
        Some(spread)
    }

    pub fn print(&self, hosts: usize, visits_per_announce: f64) {
        let title = format!("{hosts} hosts, {} rounds", self.rounds.len());
        println!("\n{title:<52} {:>9}  min .. max", "ns/call");
        for (row, name) in ROWS {
            self.line(name, 1, |round| round.0[row as usize]);
            println!();
        }
        println!("  visits per announce in the whole work: {visits_per_announce:.2}");
        for Ratio { name, of, goal, from_hosts } in RATIOS {
            match (self.line(name, 2, of), goal) {
                (Some(_), Some(goal)) if hosts < from_hosts => print!("  ({goal} from {from_hosts} hosts on)"),
                (Some(spread), Some(goal)) => print!("  {goal}: {}", goal.verdict(&spread)),
                _ => {}
            }
            println!();
        }
    }
}
