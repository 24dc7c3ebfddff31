//! What the fuzzer's bytes mean: calls, each with its arguments. Numbers and not pointers: the player makes those.

use arbitrary::{Arbitrary, Result, Unstructured};
use hostwheel_ffi::*;

/// Longer sequences are slow, and find what shorter ones find.
const MOST_CALLS: usize = 120;

const MS: u64 = 1_000_000;

/// Wheels have numbers below this; one that is not open stands for NULL.
pub const WHEELS: usize = 3;

#[derive(Debug)]
pub struct Scene(pub Vec<(usize, Call)>);

/// An id, as the arguments tell it.
#[derive(Clone, Debug)]
pub enum Id {
    Number(u8),
    /// So many bytes, which may be none or too many.
    Length(usize),
    Null(usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// One of all that this wheel issued, counted from the last.
    Issued(u8),
    /// One that another wheel issued.
    Foreign(u8),
    /// One that was issued, with bits changed.
    Near(u8, u64),
    Forged(u64),
}

/// A leave to answer, and how.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub which: Which,
    /// Added to the number of the last attempt.
    pub attempt: u32,
    pub verdict: u32,
    pub retry_after_ns: u64,
}

/// What one callback does.
#[derive(Clone, Debug)]
pub struct Manner {
    pub verdict: u32,
    pub retry_after_ns: u64,
    pub meanwhile: Option<Box<Call>>,
}

#[derive(Clone, Debug)]
pub struct Opening {
    /// As the struct says it; its memory is as long as that.
    pub size: u32,
    pub clock: u32,
    pub delivery: u32,
    /// Further fields, as (8-byte word, value).
    pub words: Vec<(usize, u64)>,
    pub calls_back: bool,
    pub releases: bool,
    pub null_config: bool,
    pub null_out: bool,
    pub manners: Vec<Manner>,
}

#[derive(Clone, Debug)]
pub enum Call {
    Open(Box<Opening>),
    ConfigInit {
        size: usize,
        null: bool,
    },
    Announce {
        id: Id,
        interval_ns: u64,
        age_ns: u64,
        null: bool,
    },
    Renew {
        which: Which,
        age_ns: u64,
        null: bool,
    },
    Leave {
        id: Id,
        null: bool,
    },
    LeaveHandle {
        which: Which,
        null: bool,
    },
    Find {
        id: Id,
        null: bool,
    },
    Inspect {
        which: Which,
        size: usize,
        null: bool,
    },
    Stats {
        size: usize,
        null: bool,
    },
    /// Walks over so many hosts, with a call to make at each; `None`: without a function.
    Each {
        hosts: Option<u8>,
        meanwhile: Option<Box<Call>>,
    },
    EventFd {
        null: bool,
    },
    Drain {
        capacity: usize,
        null_events: bool,
        null_count: bool,
    },
    Settle(Answer),
    /// To a time after the last advance or, with `due`, after what is due next.
    Advance {
        due: bool,
        by_ns: u64,
        null: bool,
    },
    NextDue {
        null: bool,
    },
    Now {
        null: bool,
    },
    Release,
    Text {
        code: i32,
    },
    Close {
        timeout_ns: u64,
    },
    Free,
}

impl<'a> Arbitrary<'a> for Scene {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Scene> {
        let mut calls = Vec::new();
        while !u.is_empty() && calls.len() < MOST_CALLS {
            // Wheel 0 most often, so that its hosts get old.
            let wheel = u.int_in_range(0..=WHEELS + 4)?;
            let call = if calls.is_empty() { Call::Open(Box::new(opening(u)?)) } else { call(u)? };
            calls.push((if wheel < WHEELS { wheel } else { 0 }, call));
        }
        Ok(Scene(calls))
    }
}

fn rarely(u: &mut Unstructured) -> Result<bool> {
    Ok(u.int_in_range(0..=15)? == 1)
}

fn id(u: &mut Unstructured) -> Result<Id> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Id::Length(*u.choose(&[0, 1, 1023, 1024, 1025, 4096])?),
        1 => Id::Null(*u.choose(&[0, 1, usize::MAX])?),
        _ => Id::Number(u.int_in_range(0..=9)?),
    })
}

fn which(u: &mut Unstructured) -> Result<Which> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Which::Foreign(u.arbitrary()?),
        1 => Which::Near(u.int_in_range(0..=9)?, 1 << u.int_in_range(0..=63)?),
        2 => Which::Forged(*u.choose(&[0, 1, u64::MAX, 1 << 32, u32::MAX.into()])?),
        3 => Which::Forged(u.arbitrary()?),
        _ => Which::Issued(u.int_in_range(0..=12)?),
    })
}

fn ns(u: &mut Unstructured) -> Result<u64> {
    Ok(match u.int_in_range(0..=7)? {
        0 => u.arbitrary()?,
        1 => *u.choose(&[1, u64::MAX, 1 << 63, MS - 1])?,
        2 => 0,
        3 => MS * u.int_in_range(0..=5000)?,
        _ => 1000 * MS * u.int_in_range(1..=30)?,
    })
}

fn age(u: &mut Unstructured) -> Result<u64> {
    if u.int_in_range(0..=3)? == 0 { ns(u) } else { Ok(0) }
}

fn size(u: &mut Unstructured, usual: usize) -> Result<usize> {
    Ok(match u.int_in_range(0..=3)? {
        0 => u.int_in_range(0..=2 * usual)?,
        1 => *u.choose(&[0, 7, 8, usual - 1, usual + 1, usual + 8, 4096])?,
        _ => usual,
    })
}

fn verdict(u: &mut Unstructured) -> Result<(u32, u64)> {
    Ok(match u.int_in_range(0..=7)? {
        0 => (u.arbitrary()?, ns(u)?),
        1..=3 => (HOSTWHEEL_VERDICT_RETRY, ns(u)?),
        _ => (HOSTWHEEL_VERDICT_DONE, 0),
    })
}

fn opening(u: &mut Unstructured) -> Result<Opening> {
    let whole = size_of::<hostwheel_config_t>();
    let size = match u.int_in_range(0..=7)? {
        0 => u.int_in_range(0..=2 * whole)?,
        1 => 8 * u.int_in_range(0..=whole / 4)?,
        _ => whole,
    };
    let drains = bool::arbitrary(u)?;
    let mut words = Vec::new();
    for _ in 0..u.int_in_range(0..=6)? {
        words.push(word(u)?);
    }
    let odd = rarely(u)?;
    Ok(Opening {
        size: size as u32,
        // A thread of its own makes it slow, and nothing repeatable: rarely.
        clock: if odd { *u.choose(&[0, 1, 2, 3, 4, u32::MAX])? } else { HOSTWHEEL_CLOCK_MANUAL },
        delivery: if odd { u.int_in_range(0..=3)? } else { u32::from(drains) },
        words,
        calls_back: !drains ^ rarely(u)?,
        releases: u.arbitrary()?,
        null_config: rarely(u)?,
        null_out: rarely(u)?,
        manners: (0..u.int_in_range(0..=3)?).map(|_| manner(u)).collect::<Result<_>>()?,
    })
}

/// A field, by where it is in the struct, with a value that is likely to be in bounds; or any with any.
fn word(u: &mut Unstructured) -> Result<(usize, u64)> {
    let small = u.int_in_range(0..=20)?;
    Ok(match u.int_in_range(0..=15)? {
        0 => (u.int_in_range(2..=60)?, u.arbitrary()?),
        1 => (2, MS * small),            // host_ttl_ns
        2 => (3, 500 * MS * small),      // grace_ns
        3 => (4, MS * (small + 1)),      // min_interval_ns
        4 | 5 => (6, small),             // max_hosts
        6 | 7 => (7, small),             // max_outstanding
        8 => (8, 100 * MS * small),      // watchdog_ns
        9 => (9, 1000 * MS * small),     // backstop_ns
        10 => (10, 1000 * MS * small),   // settle_timeout_ns
        11 => (11, small << 32 | small), // brake_burst_*
        12 => (12, small << 32 | 1000),  // brake_refill_*
        13 => (13, small),               // silence_expected
        14 => (13, 0),
        _ => (8, 0),
    })
}

fn manner(u: &mut Unstructured) -> Result<Manner> {
    let (verdict, retry_after_ns) = verdict(u)?;
    let meanwhile = if u.arbitrary()? { Some(Box::new(inner(u)?)) } else { None };
    Ok(Manner { verdict, retry_after_ns, meanwhile })
}

/// A call inside a callback. No walk or opening inside of it: that ends.
fn inner(u: &mut Unstructured) -> Result<Call> {
    Ok(match call(u)? {
        Call::Each { .. } => Call::Each { hosts: Some(u.int_in_range(0..=3)?), meanwhile: None },
        Call::Open(_) => Call::Release,
        call => call,
    })
}

fn call(u: &mut Unstructured) -> Result<Call> {
    Ok(match u.int_in_range(0..=63)? {
        0..=13 => Call::Announce { id: id(u)?, interval_ns: ns(u)?, age_ns: age(u)?, null: rarely(u)? },
        14..=18 => Call::Renew { which: which(u)?, age_ns: age(u)?, null: rarely(u)? },
        19..=21 => Call::Leave { id: id(u)?, null: u.arbitrary()? },
        22..=24 => Call::LeaveHandle { which: which(u)?, null: u.arbitrary()? },
        25 | 26 => Call::Find { id: id(u)?, null: rarely(u)? },
        27 | 28 => Call::Inspect { which: which(u)?, size: size(u, size_of::<hostwheel_host_t>())?, null: rarely(u)? },
        29 | 30 => Call::Stats { size: size(u, size_of::<hostwheel_stats_t>())?, null: rarely(u)? },
        31 => Call::Each {
            hosts: if rarely(u)? { None } else { Some(u.int_in_range(0..=12)?) },
            meanwhile: if u.arbitrary()? { Some(Box::new(inner(u)?)) } else { None },
        },
        32 => Call::EventFd { null: rarely(u)? },
        33..=37 => Call::Drain {
            capacity: *u.choose(&[16, 16, 1, 2, 0, 300])?,
            null_events: rarely(u)?,
            null_count: rarely(u)?,
        },
        38..=42 => {
            let (verdict, retry_after_ns) = verdict(u)?;
            let attempt = if rarely(u)? { *u.choose(&[1, 2, u32::MAX])? } else { 0 };
            Call::Settle(Answer { which: which(u)?, attempt, verdict, retry_after_ns })
        }
        43..=54 => Call::Advance { due: u.arbitrary()?, by_ns: ns(u)?, null: rarely(u)? },
        55 => Call::NextDue { null: rarely(u)? },
        56 => Call::Now { null: rarely(u)? },
        57 => Call::Release,
        58 => Call::Text { code: if rarely(u)? { u.arbitrary()? } else { -u.int_in_range(0..=20)? } },
        59 => Call::ConfigInit { size: size(u, size_of::<hostwheel_config_t>())?, null: rarely(u)? },
        60 if rarely(u)? => Call::ConfigInit { size: usize::MAX - 7, null: false },
        60 => Call::Close { timeout_ns: *u.choose(&[0, MS, u64::MAX])? },
        61 => Call::Free,
        _ => Call::Open(Box::new(opening(u)?)),
    })
}
