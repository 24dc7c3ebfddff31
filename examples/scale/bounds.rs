//! What figures are held to.

use std::time::Duration;

use crate::report::share;
use crate::run::Figures;

/// How late the latest but one of a thousand leaves may be, after the record's own deadline and grace; and how long a step
/// may take.
pub const LATE_AT_MOST: Duration = Duration::from_millis(2);

/// Bytes of memory for a host.
const BYTES_AT_MOST: f64 = 256.0;
const BYTES_GOAL: f64 = 192.0;

/// The share of one processor that the thread of a healthy fleet of a million hosts may take.
const PROCESSOR_BELOW: f64 = 0.01;

/// What two threads gain over one, as a share of what the floor gains.
const GAIN_AT_LEAST: f64 = 0.85;

/// What is asked of large fleets, from so many hosts on: in small ones the process itself counts, and few hosts die.
const LARGE: u32 = 1_000_000;

/// How a figure compares with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// It is not asked of a fleet of this size.
    Unasked,
}

impl Verdict {
    fn of(asked: bool, met: bool) -> Verdict {
        match (asked, met) {
            (false, _) => Verdict::Unasked,
            (true, true) => Verdict::Met,
            (true, false) => Verdict::Missed,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Unasked => "not asked of this size",
        }
    }
}

/// A figure beside its bound.
#[derive(Clone, Debug)]
pub struct Check {
    pub what: &'static str,
    pub figure: String,
    pub bound: String,
    pub verdict: Verdict,
}

/// All figures that have a bound.
pub fn checks(figures: &Figures) -> Vec<Check> {
    let Figures { hosts, steady, load, called, .. } = figures;
    let large = *hosts >= LARGE;
    let late = Duration::from_nanos(called.value_at_quantile(0.999));
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let bytes = figures.bytes_per_host;
    let gain = |gain: f64, what| Check {
        what,
        figure: format!("{gain:.2}"),
        bound: format!("at least {GAIN_AT_LEAST}"),
        verdict: Verdict::of(large, gain >= GAIN_AT_LEAST),
    };
    vec![
        Check {
            what: "lateness p99.9, callback after the record's own deadline",
            figure: ms(late),
            bound: format!("at most {}", ms(LATE_AT_MOST)),
            verdict: Verdict::of(large, late <= LATE_AT_MOST),
        },
        Check {
            what: "longest step of the thread",
            figure: steady.longest_words(),
            bound: format!("at most {}", ms(LATE_AT_MOST)),
            verdict: Verdict::of(large, steady.longer_than(LATE_AT_MOST) == 0),
        },
        Check {
            what: "memory for a host, index included",
            figure: format!("{bytes:.0} bytes"),
            bound: format!(
                "at most {BYTES_AT_MOST} (goal {BYTES_GOAL}{})",
                if bytes > BYTES_GOAL { ", missed" } else { "" }
            ),
            verdict: Verdict::of(large, bytes <= BYTES_AT_MOST),
        },
        Check {
            what: "the thread's share of one processor",
            figure: format!("{:.2} %", share(steady) * 100.0),
            bound: format!("below {:.0} % at {LARGE}", PROCESSOR_BELOW * 100.0),
            verdict: Verdict::of(*hosts <= LARGE, share(steady) < PROCESSOR_BELOW),
        },
        gain(load.renew.gain_beside(&load.floor), "gain of two threads, renew / floor"),
        gain(load.announce.gain_beside(&load.floor), "gain of two threads, announce by id / floor"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_to_its_bound_where_it_is_asked_for() {
        assert_eq!(Verdict::of(true, true), Verdict::Met);
        assert_eq!(Verdict::of(true, false), Verdict::Missed);
        assert_eq!(Verdict::of(false, false), Verdict::Unasked);
    }
}
