//! What a wheel's clock excuses.

use hostwheel::{Clock, Stats};

/// How far the coarse clock may be behind before a stamp is early: by the margin, if the wheel uses that clock. The stamps of
/// other clocks never are, however far it is behind.
pub fn covered_ns(stats: &Stats) -> u64 {
    match stats.clock {
        Clock::Coarse => stats.margin.as_nanos() as u64,
        Clock::Counter | Clock::Precise | Clock::Manual => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_coarse_clock_excuses_a_lag() {
        let excused = |clock| {
            let mut stats = Stats::default();
            (stats.clock, stats.margin) = (clock, Duration::from_nanos(8));
            9_u64.saturating_sub(covered_ns(&stats))
        };
        let clocks = [Clock::Counter, Clock::Coarse, Clock::Precise, Clock::Manual];
        assert_eq!(clocks.map(excused), [0, 1, 0, 0]);
    }
}
