//! What is claimed for such a wheel, and whether it is so.

use crate::cleaners::{FAST_SCAN, SLOW_SCAN, WHEEL};
use crate::run::Outcome;
use crate::scenario::{HOUR, MINUTE, Ms, Scenario};

/// Dead hosts are found within this time ...
pub const FOUND_WITHIN: Ms = 10 * MINUTE;
/// ... where it took at most this before.
pub const FOUND_BEFORE: Ms = 6 * HOUR;
/// Scheduling succeeds more often, by this share.
pub const SUCCESS_GAIN: f64 = 0.15;
/// Connections to dead hosts get fewer, by this share.
pub const CONNECTIONS_SAVED: f64 = 0.20;

/// A claim that depends on what the wheel is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Success,
    Connections,
}

/// By how much a cleaner gets more tasks a living first parent than another does: 0.15 is 15 % more.
pub fn success_gain(outcome: &Outcome, cleaner: usize, before: usize) -> f64 {
    let share = |cleaner: usize| {
        let attempts = &outcome.cleaners[cleaner].attempts;
        attempts.share(attempts.first_alive)
    };
    share(cleaner) / share(before) - 1.0
}

/// The change of the connections tried to dead hosts: -0.2 is a fifth less. Not a number if there were none before.
pub fn connections_change(outcome: &Outcome, cleaner: usize, before: usize) -> f64 {
    let dead = |cleaner: usize| outcome.cleaners[cleaner].attempts.dead_connections as f64;
    dead(cleaner) / dead(before) - 1.0
}

impl Claim {
    /// Whether the wheel with its grace keeps the claim against another cleaner.
    pub fn holds(self, outcome: &Outcome, before: usize) -> bool {
        match self {
            Claim::Success => success_gain(outcome, WHEEL, before) >= SUCCESS_GAIN,
            Claim::Connections => connections_change(outcome, WHEEL, before) <= -CONNECTIONS_SAVED,
        }
    }

    pub fn name(self) -> String {
        match self {
            Claim::Success => format!("scheduling success +{:.0} %", SUCCESS_GAIN * 100.0),
            Claim::Connections => format!("connections to dead hosts -{:.0} %", CONNECTIONS_SAVED * 100.0),
        }
    }
}

/// Where a claim holds against a cleaner, in words.
pub fn regime(claim: Claim, sweep: &[(f64, Outcome)], before: usize) -> String {
    let list = |held: bool| {
        let rates = sweep.iter().filter(|(_, outcome)| claim.holds(outcome, before) == held);
        rates.map(|(rate, _)| rate.to_string()).collect::<Vec<_>>().join(", ")
    };
    match (list(true), list(false)) {
        (kept, broken) if broken.is_empty() && !kept.is_empty() => "holds at every crash rate of the sweep".to_owned(),
        (kept, _) if kept.is_empty() => "does NOT hold at any crash rate of the sweep".to_owned(),
        (kept, broken) => format!("holds at {kept}; does NOT hold at {broken}"),
    }
}

/// How long it takes by the rules, in the mean, to find a host that does not come back, with the fast scan and with the
/// wheel: a host dies at any time between two announces, and between two scans.
pub fn expected_detection(scenario: &Scenario) -> [Ms; 2] {
    let ttl = 2 * scenario.interval;
    let since_announce = scenario.interval / 2;
    [ttl - since_announce + scenario.fast_scan / 2, ttl - since_announce + scenario.grace.min(scenario.interval)]
}

/// How the claim about detection fares, a sentence for each part of it.
pub fn detection(sweep: &[(f64, Outcome)]) -> [String; 3] {
    let longest =
        |cleaner: usize| sweep.iter().filter_map(|(_, o)| o.cleaners[cleaner].quantile(1.0)).max().unwrap_or(0);
    let within = |cleaner: usize| {
        let shares = sweep.iter().map(|(_, outcome)| outcome.cleaners[cleaner].found_within(FOUND_WITHIN) * 100.0);
        shares.fold((f64::MAX, 0.0), |(low, high): (f64, f64), share| (low.min(share), high.max(share)))
    };
    let against = |time: Ms, bound: Ms| if time <= bound { "holds" } else { "does NOT hold" };
    let (slow, wheel) = (longest(SLOW_SCAN), longest(WHEEL));
    let ((low, high), (fast_low, fast_high)) = (within(WHEEL), within(FAST_SCAN));
    [
        format!("\"at most 6 h\" before {}: the slow scan took up to {}", against(slow, FOUND_BEFORE), show(slow)),
        format!(
            "\"within 10 min\" {} to the letter: the wheel took up to {}; {low:.1} to {high:.1} % of hosts in time",
            against(wheel, FOUND_WITHIN),
            show(wheel)
        ),
        format!(
            "the fast scan took up to {}; {fast_low:.1} to {fast_high:.1} % of hosts in time",
            show(longest(FAST_SCAN))
        ),
    ]
}

/// A time in a unit that suits it.
pub fn show(time: Ms) -> String {
    match time {
        HOUR.. => format!("{:.2} h", time as f64 / HOUR as f64),
        MINUTE.. => format!("{:.2} min", time as f64 / MINUTE as f64),
        _ => format!("{} s", time as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleaners::CLEANERS;
    use crate::run::Tally;
    use crate::tasks::Attempts;

    /// An outcome of so many successes in 1,000 tasks and so many connections to dead hosts, by cleaner.
    fn outcome(first_alive: [u64; CLEANERS], dead_connections: [u64; CLEANERS], detection: Ms) -> Outcome {
        let cleaners = std::array::from_fn(|cleaner| Tally {
            attempts: Attempts {
                tasks: 1000,
                first_alive: first_alive[cleaner],
                dead_connections: dead_connections[cleaner],
                ..Attempts::default()
            },
            detections: vec![MINUTE, detection],
            ..Tally::default()
        });
        Outcome { cleaners, ..Outcome::default() }
    }

    #[test]
    fn a_claim_holds_from_its_figure_on() {
        let just = outcome([800, 900, 0, 920, 0], [1000, 100, 0, 80, 0], FOUND_WITHIN);
        assert!(Claim::Success.holds(&just, SLOW_SCAN) && !Claim::Success.holds(&just, FAST_SCAN));
        assert!(Claim::Connections.holds(&just, SLOW_SCAN) && Claim::Connections.holds(&just, FAST_SCAN));
        let not_quite = outcome([800, 900, 0, 919, 0], [1000, 100, 0, 81, 0], FOUND_WITHIN + 1);
        assert!(!Claim::Success.holds(&not_quite, SLOW_SCAN) && !Claim::Connections.holds(&not_quite, FAST_SCAN));

        let sweep = [(0.1, not_quite), (0.2, just.clone())];
        assert_eq!(regime(Claim::Success, &sweep, SLOW_SCAN), "holds at 0.2; does NOT hold at 0.1");
        assert_eq!(regime(Claim::Success, &sweep, FAST_SCAN), "does NOT hold at any crash rate of the sweep");
        assert_eq!(regime(Claim::Connections, &sweep, SLOW_SCAN), "holds at every crash rate of the sweep");
        assert!(detection(&sweep)[1].contains("does NOT hold to the letter"));
        assert!(detection(&[(0.2, just)])[1].contains("holds to the letter"));
    }

    #[test]
    fn a_claim_about_connections_that_nobody_tries_does_not_hold() {
        assert!(!Claim::Connections.holds(&outcome([1000; CLEANERS], [0; CLEANERS], 0), FAST_SCAN));
    }
}
