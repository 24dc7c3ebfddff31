//! The figures of all rounds, their medians and spreads, and the ratios that have a goal.

use crate::spread::Spread;

/// A measured subject.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Row {
    Pointer,
    Floor,
    Renew,
    Whole,
    LookUp,
    Announce,
    Register,
    Leave,
    Expire,
    Remove,
}

const ROWS: [(Row, &str); 10] = [
    (Row::Pointer, "the floor by pointer, no record to find"),
    (Row::Floor, "floor: load + CAS on a random record, coarse clock"),
    (Row::Renew, "renew, by handle"),
    (Row::Whole, "renew and the thread's whole work, per announce"),
    (Row::LookUp, "papaya: look-up by 64-byte id + floor"),
    (Row::Announce, "announce, by 64-byte id"),
    (Row::Register, "register, index growing"),
    (Row::Leave, "leave, by 64-byte id"),
    (Row::Expire, "expire all, per host, callback and index included"),
    (Row::Remove, "papaya: remove all, per host"),
];

/// A ratio of two rows, what it should stay below, and the smallest fleet for which it should.
struct Ratio {
    name: &'static str,
    of: Row,
    to: Row,
    goal: f64,
    from_hosts: usize,
}

const RATIOS: [Ratio; 4] = [
    Ratio { name: "renew / floor", of: Row::Renew, to: Row::Floor, goal: 1.15, from_hosts: 1_000_000 },
    Ratio { name: "whole / floor", of: Row::Whole, to: Row::Floor, goal: 2.0, from_hosts: 1_000_000 },
    Ratio { name: "announce / papaya look-up", of: Row::Announce, to: Row::LookUp, goal: 1.15, from_hosts: 0 },
    Ratio { name: "expire all / papaya removal", of: Row::Expire, to: Row::Remove, goal: 2.0, from_hosts: 0 },
];

/// The figures of one fleet, in nanoseconds per call: a column for each round.
#[derive(Default)]
pub struct Table {
    rounds: Vec<[f64; ROWS.len()]>,
}

fn verdict(spread: &Spread, goal: f64) -> &'static str {
    if spread.median <= goal {
        "met"
    } else if spread.min <= goal {
        "missed, within the spread"
    } else {
        "MISSED"
    }
}

impl Table {
    /// Adds a round: the figures in the order in which they were taken.
    pub fn add(&mut self, figures: &[(Row, f64)]) {
        let mut round = [f64::NAN; ROWS.len()];
        for &(row, figure) in figures {
            round[row as usize] = figure;
        }
        self.rounds.push(round);
    }

    pub fn print(&self, hosts: usize, visits_per_announce: f64) {
        let title = format!("{hosts} hosts, {} rounds", self.rounds.len());
        println!("\n{title:<52} {:>9}  min .. max", "ns/call");
        for (row, name) in ROWS {
            let Spread { median, min, max } = Spread::of(self.rounds.iter().map(|round| round[row as usize]));
            println!("  {name:<50} {median:>9.1}  {min:.1} .. {max:.1}");
        }
        println!("  visits per announce in the whole work: {visits_per_announce:.2}");
        for Ratio { name, of, to, goal, from_hosts } in RATIOS {
            // Of two figures of the same round, so that what disturbed a round disturbs both.
            let ratios = self.rounds.iter().map(|round| round[of as usize] / round[to as usize]);
            let spread = Spread::of(ratios);
            let Spread { median, min, max } = spread;
            let verdict = if hosts < from_hosts {
                format!("(goal <= {goal} from {from_hosts} hosts on)")
            } else {
                format!("goal <= {goal}: {}", verdict(&spread, goal))
            };
            println!("  {name:<50} {median:>9.2}  {min:.2} .. {max:.2}  {verdict}");
        }
    }
}
