//! What is claimed for such a wheel, and whether it is so.

use crate::cleaners::{BARE_WHEEL, CLEANERS, FAST_SCAN, SLOW_SCAN, WHEEL};
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

/// A figure so close to what is claimed may be on the other side of it with another seed.
const CLOSE: f64 = 0.03;

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
    /// By how much the wheel with its grace does better than the claim says, against another cleaner; below 0: worse.
    fn margin(self, outcome: &Outcome, before: usize) -> f64 {
        match self {
            Claim::Success => success_gain(outcome, WHEEL, before) - SUCCESS_GAIN,
            Claim::Connections => -CONNECTIONS_SAVED - connections_change(outcome, WHEEL, before),
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
    let list = |keep: &dyn Fn(f64) -> bool| {
        let rates = sweep.iter().filter(|(_, outcome)| keep(claim.margin(outcome, before)));
        rates.map(|(rate, _)| rate.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (kept, close) = (list(&|margin| margin >= 0.0), list(&|margin| margin.abs() < CLOSE));
    // Not a number is nothing kept.
    let broken = list(&|margin| margin.is_nan() || margin < 0.0);
    let verdict = match (kept.is_empty(), broken.is_empty()) {
        (false, true) => "holds at every crash rate of the sweep".to_owned(),
        (true, _) => "does NOT hold at any crash rate of the sweep".to_owned(),
        (false, false) => format!("holds at {kept}; does NOT hold at {broken}"),
    };
    let doubt = format!("\n    (so close at {close} that another seed may tell otherwise)");
    if close.is_empty() { verdict } else { verdict + &doubt }
}

/// How long it takes by the rules, in the mean, to find a host that does not come back, with the fast scan and with the
/// wheel: a host dies at any time between two announces, and between two scans.
pub fn expected_detection(scenario: &Scenario) -> [Ms; 2] {
    let ttl = 2 * scenario.interval;
    let since_announce = scenario.interval / 2;
    [ttl - since_announce + scenario.fast_scan / 2, ttl - since_announce + scenario.grace.min(scenario.interval)]
}

/// The longest detection of a cleaner in the sweep; `None` if it found nobody.
fn longest(sweep: &[(f64, Outcome)], cleaner: usize) -> Option<Ms> {
    sweep.iter().filter_map(|(_, outcome)| outcome.cleaners[cleaner].quantile(1.0)).max()
}

/// How the claim about detection fares, a sentence for each cleaner, whose names are given.
pub fn detection(sweep: &[(f64, Outcome)], names: &[String; CLEANERS]) -> Vec<String> {
    let sentence = |cleaner: usize, claim: Option<(&str, Ms)>| {
        let name = &names[cleaner];
        let Some(longest) = longest(sweep, cleaner) else {
            return format!("the {name} found nobody: nothing is shown");
        };
        let shares = sweep.iter().filter_map(|(_, outcome)| outcome.cleaners[cleaner].found_within(FOUND_WITHIN));
        let (low, high) = shares.fold((1.0_f64, 0.0_f64), |(low, high), share| (low.min(share), high.max(share)));
        let (low, high) = (low * 100.0, high * 100.0);
        let share = format!("{low:.1} to {high:.1} % of dead hosts within {} min", FOUND_WITHIN / MINUTE);
        let verdict = match claim {
            Some((words, bound)) if longest <= bound => format!("\"{words}\" holds: "),
            Some((words, _)) => format!("\"{words}\" does NOT hold to the letter: "),
            None => String::new(),
        };
        format!("{verdict}the {name} took up to {}; {share}", show(longest))
    };
    vec![
        sentence(SLOW_SCAN, Some(("at most 6 h", FOUND_BEFORE))),
        sentence(FAST_SCAN, None),
        sentence(BARE_WHEEL, Some(("within 10 min", FOUND_WITHIN))),
        sentence(WHEEL, Some(("within 10 min", FOUND_WITHIN))),
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

    fn holds(claim: Claim, outcome: &Outcome, before: usize) -> bool {
        claim.margin(outcome, before) >= 0.0
    }

    #[test]
    fn a_claim_holds_from_its_figure_on() {
        let just = outcome([800, 900, 0, 921, 0], [1000, 100, 0, 79, 0], FOUND_WITHIN);
        assert!(holds(Claim::Success, &just, SLOW_SCAN) && !holds(Claim::Success, &just, FAST_SCAN));
        assert!(holds(Claim::Connections, &just, SLOW_SCAN) && holds(Claim::Connections, &just, FAST_SCAN));
        let not_quite = outcome([800, 900, 0, 919, 0], [1000, 100, 0, 81, 0], FOUND_WITHIN + 1);
        assert!(!holds(Claim::Success, &not_quite, SLOW_SCAN) && !holds(Claim::Connections, &not_quite, FAST_SCAN));

        let sweep = [(0.1, not_quite), (0.2, just.clone())];
        assert_eq!(
            regime(Claim::Success, &sweep, SLOW_SCAN),
            "holds at 0.2; does NOT hold at 0.1\n    (so close at 0.1, 0.2 that another seed may tell otherwise)"
        );
        assert_eq!(regime(Claim::Success, &sweep, FAST_SCAN), "does NOT hold at any crash rate of the sweep");
        assert_eq!(regime(Claim::Connections, &sweep, SLOW_SCAN), "holds at every crash rate of the sweep");
        let names = std::array::from_fn(|cleaner| cleaner.to_string());
        assert!(
            detection(&sweep, &names)[3].starts_with("\"within 10 min\" does NOT hold to the letter: the 3 took up")
        );
        assert!(detection(&[(0.2, just)], &names)[3].starts_with("\"within 10 min\" holds: the 3 took up"));
        let nobody = Outcome::default();
        assert!(detection(&[(0.2, nobody)], &names).iter().all(|sentence| sentence.contains("nothing is shown")));
    }

    #[test]
    fn a_claim_about_connections_that_nobody_tries_does_not_hold() {
        assert!(!holds(Claim::Connections, &outcome([1000; CLEANERS], [0; CLEANERS], 0), FAST_SCAN));
    }
}
