//! Property tests: random sequences of operations on a manual clock, the library against the oracle.
//!
//! Each test draws a configuration and a sequence, tells both, and compares every result, every event and the counters. A
//! failing case is shrunk and printed as its sequence. Cases are drawn from a fixed seed; `PROPTEST_RNG_SEED` and
//! `PROPTEST_CASES` choose others.

#[path = "properties/duel.rs"]
mod duel;
mod oracle;
#[path = "properties/script.rs"]
mod script;

use std::time::Duration;

use duel::{Answer, Checked, Duel, Manner, Meanwhile};
use hostwheel::{Config, Verdict};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use script::{IDS, Op, Step, ms, run};

fn interval() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        6 => prop::sample::select(vec![1000, 1500, 2000, 5000, 30_000, 300_000]).prop_map(ms),
        3 => (1..20_000_000_u64).prop_map(Duration::from_micros),
        // Around the end of exact milliseconds, and beyond all bounds.
        1 => (2_097_140_u64..2_097_160).prop_map(ms),
        1 => prop_oneof![Just(Duration::MAX), Just(Duration::from_nanos(1)), (0..1_000_000_u64).prop_map(Duration::from_secs)],
    ]
}

fn age() -> impl Strategy<Value = Duration> {
    prop_oneof![
        12 => Just(Duration::ZERO),
        3 => (0..5000_u64).prop_map(ms),
        2 => (0..100_000_000_u64).prop_map(Duration::from_micros),
        1 => prop_oneof![Just(Duration::MAX), (0..5_000_000_u64).prop_map(Duration::from_secs)],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3000_u64).prop_map(|us| Step::By(Duration::from_micros(us))),
        4 => (0..3000_u64).prop_map(|by| Step::By(ms(by))),
        3 => (0..100_000_u64).prop_map(|by| Step::By(ms(by))),
        1 => (0..5_000_000_u64).prop_map(|by| Step::By(Duration::from_secs(by))),
        6 => Just(Step::ToNextDue(0)),
        2 => (-2000..2000_i64).prop_map(Step::ToNextDue),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Done),
        2 => Just(Verdict::Retry(Duration::ZERO)),
        1 => (0..5000_u64).prop_map(|after| Verdict::Retry(ms(after))),
        1 => (0..5000_u64).prop_map(|after| Verdict::Retry(Duration::from_micros(after))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let which = any::<usize>();
    prop_oneof![
        8 => (0..IDS, interval(), age(), any::<u64>())
            .prop_map(|(id, interval, age, data)| Op::Announce { id, interval, age, data }),
        2 => (0..IDS, interval(), any::<u64>()).prop_map(|(id, interval, data)| Op::Replace { id, interval, data }),
        1 => any::<bool>().prop_map(Op::AnnounceBadId),
        6 => (which, age()).prop_map(|(which, age)| Op::Renew(which, age)),
        2 => (0..IDS).prop_map(Op::Leave),
        1 => which.prop_map(Op::LeaveHandle),
        1 => (0..IDS).prop_map(Op::Find),
        2 => which.prop_map(Op::Inspect),
        1 => Just(Op::Each),
        1 => prop_oneof![any::<u64>(), 0..20_u64].prop_map(Op::Forged),
        12 => step().prop_map(Op::Advance),
        2 => (0..9_usize).prop_map(Op::Drain),
        4 => (which, 0..3_u32, verdict(), any::<bool>())
            .prop_map(|(which, older, verdict, forget)| Op::Settle { which, older: older.saturating_sub(1), verdict, forget }),
    ]
}

/// Settings at which something happens within a few operations.
fn config() -> impl Strategy<Value = Config> {
    let pick = prop::sample::select::<u64>;
    (
        (pick(vec![2, 999, 4000, 3_600_000]), pick(vec![0, 1, 700, 15_000]), pick(vec![1, 10, 1000, 1001])),
        (pick(vec![5000, 3_000_000, 24 * 86_400_000]), pick(vec![0, 0, 1, 100, 1000]), pick(vec![0, 5000, 300_000])),
        (pick(vec![1, 700, 60_000]), pick(vec![3, 12, 4096]), pick(vec![1, 1, 3, 256])),
    )
        .prop_map(|((host_ttl, grace, min), (max, watchdog, backstop), (settle_timeout, max_hosts, batch))| {
            Config {
                host_ttl: ms(host_ttl),
                grace: ms(grace),
                min_interval: ms(min),
                max_interval: ms(max),
                max_hosts: max_hosts as usize,
                batch: batch as usize,
                watchdog: ms(watchdog),
                backstop: ms(backstop),
                settle_timeout: ms(settle_timeout),
                ..Config::default()
            }
        })
}

fn manner() -> impl Strategy<Value = Manner> {
    let answer = prop_oneof![
        6 => Just(Answer::Done),
        2 => Just(Answer::Retry(Duration::ZERO)),
        1 => (0..3000_u64).prop_map(|after| Answer::Retry(ms(after))),
        1 => Just(Answer::Panic),
    ];
    let meanwhile = prop_oneof![
        (0..IDS, interval()).prop_map(|(id, interval)| Meanwhile::Announce(id, interval)),
        (any::<usize>(), age()).prop_map(|(which, age)| Meanwhile::Renew(which, age)),
        any::<usize>().prop_map(Meanwhile::Leave),
    ];
    (answer, prop::option::of(meanwhile)).prop_map(|(verdict, meanwhile)| Manner { verdict, meanwhile })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..80)
}

/// `cases` unless the environment says otherwise; always the same ones.
fn cases(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(0x0057_EE15);
    }
    config
}

fn checked(result: Checked) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn callbacks_get_exactly_what_the_oracle_says(
        config in config(),
        outstanding in prop::sample::select(vec![1, 2, 65_536_usize]),
        manners in prop::collection::vec(manner(), 0..12),
        ops in ops(),
    ) {
        let config = Config { max_outstanding: outstanding, ..config };
        checked(run(Duel::new(&config, Some(manners)), &ops))?;
    }

    #[test]
    fn a_queue_with_room_gets_exactly_what_the_oracle_says(config in config(), ops in ops()) {
        let config = Config { max_outstanding: 4096, ..config };
        checked(run(Duel::new(&config, None), &ops))?;
    }

    #[test]
    fn a_full_queue_makes_hosts_wait_and_loses_none(
        config in config(),
        outstanding in 1..5_usize,
        ops in ops(),
    ) {
        let config = Config { max_outstanding: outstanding, ..config };
        checked(run(Duel::new(&config, None), &ops))?;
    }
}
