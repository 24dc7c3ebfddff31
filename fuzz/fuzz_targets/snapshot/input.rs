//! What the fuzzer's bytes mean: four for the wheel and the manner, then either a file as it is or the parts of one.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::rules::Rules;
use crate::spec::{Record, Repair, frame, header};

pub struct Input {
    pub rules: Rules,
    /// How many hosts the wheel knows before, of those that files have most often.
    pub known: u8,
    pub file: Vec<u8>,
}

impl Input {
    /// `None`: too short to mean anything.
    pub fn read(data: &[u8]) -> Option<Input> {
        let ([manner, settings, known, room], rest) = data.split_first_chunk::<4>()?;
        let bit = |at: u8| manner >> at & 1 == 1;
        let mut file = if bit(0) { build(&mut Unstructured::new(rest)).ok()? } else { rest.to_vec() };
        Repair { header: bit(1), frames: bit(2), trailer: bit(3) }.apply(&mut file);
        let pick = |from: [u64; 4], at: u8| from[usize::from(settings >> at & 3)];
        let rules = Rules {
            host_ttl_ms: pick([2, 999, 3_600_000, 2_073_600_000], 0),
            grace_ms: pick([0, 1, 15_000, 2_073_600_000], 2),
            min_interval_ms: pick([1, 1000, 30_000, 2_000_000], 4),
            max_interval_ms: pick([2_000_000, 5_000_001, 86_400_000, 2_073_600_000], 6),
            watchdog_ms: 0,
            settle_timeout_ms: 60_000,
            max_hosts: if *room < 32 { usize::from(*room) + 1 } else { 4096 },
            max_outstanding: 4096,
            drained: false,
        };
        Some(Input { rules, known: known % 8, file })
    }
}

/// The id that a number stands for, so that files repeat ids and name hosts that are known.
pub fn id(number: u8) -> Vec<u8> {
    vec![number; usize::from(number % 3) + 1]
}

fn build(u: &mut Unstructured) -> Result<Vec<u8>> {
    let version = if u.ratio(1, 16)? { u.arbitrary()? } else { u.int_in_range(1..=2)? };
    let length = if u.ratio(1, 8)? { u.int_in_range(60..=4100)? } else { 64 };
    let mut file = header(version, length, [u.arbitrary()?, u.arbitrary()?]);
    for _ in 0..u.int_in_range(0..=3)? {
        let mut payload = Vec::new();
        for _ in 0..u.int_in_range(0..=6)? {
            record(u)?.write(version, &mut payload);
        }
        file.extend(frame(&payload));
    }
    file.extend([0; 28]);
    // Repaired once, so that what is changed after it is damage unless it is repaired again.
    Repair { header: true, frames: true, trailer: true }.apply(&mut file);
    for _ in 0..u.int_in_range(0..=3)? {
        damage(u, &mut file)?;
    }
    Ok(file)
}

fn record(u: &mut Unstructured) -> Result<Record> {
    Ok(Record {
        id: match u.int_in_range(0..=15)? {
            0 => vec![b'x'; u.int_in_range(0..=1100)?],
            1 => vec![b'y'; *u.choose(&[0, 1, 1023, 1024, 1025])?],
            _ => id(u.int_in_range(0..=20)?),
        },
        flags: u.arbitrary()?,
        interval_ms: match u.int_in_range(0..=3)? {
            0 => u.arbitrary()?,
            1 => *u.choose(&[0, 1, 2_097_151, 2_097_152, 2_073_600_001, u32::MAX])?,
            _ => u.int_in_range(0..=100_000)?,
        },
        age_ms: match u.int_in_range(0..=3)? {
            0 => u.arbitrary()?,
            1 => *u.choose(&[0, 1, u64::MAX, u64::MAX / 1_000_000, 1 << 63])?,
            _ => u.int_in_range(0..=100_000)?,
        },
        user_data: u8::arbitrary(u)?.into(),
        older_ms: u.arbitrary()?,
        misses: if u.ratio(1, 8)? { u.arbitrary()? } else { u.int_in_range(0..=3)? },
    })
}

fn damage(u: &mut Unstructured, file: &mut Vec<u8>) -> Result<()> {
    if file.is_empty() {
        return Ok(());
    }
    let at = u.int_in_range(0..=file.len() - 1)?;
    match u.int_in_range(0..=4)? {
        0 => file.truncate(at),
        1 => file.push(u.arbitrary()?),
        2 => drop(file.remove(at)),
        3 => file.insert(at, u.arbitrary()?),
        _ => file[at] ^= u.int_in_range(1_u8..=255)?,
    }
    Ok(())
}
