//! What the fuzzer's bytes mean: a configuration, callbacks, and operations. Small numbers are likely, and so are those at
//! which something changes; all others are possible.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use hostwheel::{Clock, Config, LONGEST, Verdict};

use crate::duel::{Answer, Manner, Meanwhile};
use crate::script::{IDS, Op, Step, ms};

/// Longer sequences are slow, and find what shorter ones find.
const MOST_OPS: usize = 120;

#[derive(Debug)]
pub struct Scene {
    pub config: Config,
    /// `None`: the events are drained.
    pub manners: Option<Vec<Manner>>,
    pub ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Scene {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Scene> {
        let config = config(u)?;
        let manners = match u.int_in_range(0..=8)? {
            0..=3 => None,
            more => Some((4..more).map(|_| manner(u)).collect::<Result<_>>()?),
        };
        let mut ops = Vec::new();
        while !u.is_empty() && ops.len() < MOST_OPS {
            ops.push(op(u)?);
        }
        Ok(Scene { config, manners, ops })
    }
}

/// One of these, or any up to the longest that a configuration may have, and a little beyond.
fn length(u: &mut Unstructured, usual_ms: &[u64]) -> Result<Duration> {
    let longest_us = LONGEST.as_micros() as u64;
    match usize::from(u8::arbitrary(u)?) {
        250.. => Ok(Duration::from_micros(u.int_in_range(0..=longest_us + 1000)?)),
        which => Ok(ms(usual_ms[which % usual_ms.len()])),
    }
}

fn config(u: &mut Unstructured) -> Result<Config> {
    Ok(Config {
        clock: Clock::Manual,
        host_ttl: length(u, &[2, 999, 4000, 3_600_000])?,
        grace: length(u, &[0, 1, 700, 15_000])?,
        min_interval: length(u, &[1, 10, 1000, 1001])?,
        max_interval: length(u, &[5000, 3_000_000, 24 * 86_400_000])?,
        watchdog: length(u, &[0, 0, 1, 100, 1000])?,
        backstop: length(u, &[0, 5000, 300_000])?,
        settle_timeout: length(u, &[1, 700, 60_000])?,
        max_hosts: *u.choose(&[1, 3, 12, 1001, 4096, 1 << 16])?,
        max_outstanding: *u.choose(&[1, 2, 4, 17, 4096])?,
        batch: *u.choose(&[1, 1, 3, 256, usize::MAX])?,
        ..Config::default()
    })
}

fn interval(u: &mut Unstructured) -> Result<Duration> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Duration::ZERO,
        1 => Duration::from_nanos(u.int_in_range(1..=2_000_000)?),
        2 => Duration::MAX,
        // Around the end of exact milliseconds.
        3 => ms(u.int_in_range(2_097_140..=2_097_160)?),
        4 => Duration::from_secs(u.int_in_range(0..=3_000_000)?),
        5..=7 => Duration::from_micros(u.int_in_range(1..=20_000_000)?),
        _ => ms(*u.choose(&[1000, 1500, 2000, 5000, 30_000, 300_000])?),
    })
}

fn age(u: &mut Unstructured) -> Result<Duration> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Duration::MAX,
        1 => Duration::from_secs(u.int_in_range(0..=5_000_000)?),
        2 | 3 => Duration::from_micros(u.int_in_range(0..=100_000_000)?),
        4 | 5 => ms(u.int_in_range(0..=5000)?),
        _ => Duration::ZERO,
    })
}

fn id(u: &mut Unstructured) -> Result<u8> {
    u.int_in_range(0..=IDS - 1)
}

fn which(u: &mut Unstructured) -> Result<usize> {
    Ok(usize::from(u8::arbitrary(u)?))
}

fn step(u: &mut Unstructured) -> Result<Step> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Step::By(Duration::from_micros(u.int_in_range(0..=3000)?)),
        1 | 2 => Step::By(ms(u.int_in_range(0..=3000)?)),
        3 => Step::By(ms(u.int_in_range(0..=100_000)?)),
        4 => Step::By(Duration::from_secs(u.int_in_range(0..=5_000_000)?)),
        5 => Step::ToNextDue(u.int_in_range(-2000..=2000)?),
        _ => Step::ToNextDue(0),
    })
}

fn retry(u: &mut Unstructured) -> Result<Duration> {
    Ok(match u.int_in_range(0..=3)? {
        0 => ms(u.int_in_range(0..=5000)?),
        1 => Duration::from_micros(u.int_in_range(0..=5000)?),
        2 => *u.choose(&[Duration::MAX, LONGEST, Duration::from_nanos(1)])?,
        _ => Duration::ZERO,
    })
}

fn verdict(u: &mut Unstructured) -> Result<Verdict> {
    Ok(if u.ratio(1, 2)? { Verdict::Retry(retry(u)?) } else { Verdict::Done })
}

fn op(u: &mut Unstructured) -> Result<Op> {
    Ok(match u.int_in_range(0..=39)? {
        0..=9 => Op::Announce { id: id(u)?, interval: interval(u)?, age: age(u)?, data: u8::arbitrary(u)?.into() },
        10..=14 => Op::Renew(which(u)?, age(u)?),
        15 | 16 => Op::Leave(id(u)?),
        17 => Op::LeaveHandle(which(u)?),
        18 => Op::Replace { id: id(u)?, interval: interval(u)?, data: u8::arbitrary(u)?.into() },
        19 => {
            if u.ratio(1, 2)? {
                Op::Find(id(u)?)
            } else {
                Op::Inspect(which(u)?)
            }
        }
        20 => Op::Each,
        21 => Op::Forged(if u.ratio(1, 2)? { u.arbitrary()? } else { u.int_in_range(0..=20)? }),
        22 => Op::AnnounceBadId(u.arbitrary()?),
        23..=25 => Op::Drain(u.int_in_range(0..=9)?),
        26..=29 => Op::Settle {
            which: which(u)?,
            older: u.int_in_range(0_u32..=3)?.saturating_sub(2),
            verdict: verdict(u)?,
            forget: u.arbitrary()?,
        },
        _ => Op::Advance(step(u)?),
    })
}

fn manner(u: &mut Unstructured) -> Result<Manner> {
    let verdict = match u.int_in_range(0..=7)? {
        0 => Answer::Panic,
        1 | 2 => Answer::Retry(retry(u)?),
        _ => Answer::Done,
    };
    let meanwhile = match u.int_in_range(0..=5)? {
        0 => Some(Meanwhile::Announce(id(u)?, interval(u)?)),
        1 => Some(Meanwhile::Renew(which(u)?, age(u)?)),
        2 => Some(Meanwhile::Leave(which(u)?)),
        _ => None,
    };
    Ok(Manner { verdict, meanwhile })
}
