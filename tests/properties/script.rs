//! A sequence of operations on a wheel and the oracle, and how it is performed. The property tests draw it at random, and
//! fuzzing reads it from its input.

use std::time::Duration;

use hostwheel::Verdict;

use crate::duel::{Checked, Duel, name};

/// Hosts are numbered from 0 to this.
pub const IDS: u8 = 12;

/// How the clock moves.
#[derive(Clone, Debug)]
pub enum Step {
    By(Duration),
    /// To `next_due`, or so many microseconds before or after it.
    ToNextDue(i64),
}

#[derive(Clone, Debug)]
pub enum Op {
    Announce {
        id: u8,
        interval: Duration,
        age: Duration,
        data: u64,
    },
    Replace {
        id: u8,
        interval: Duration,
        data: u64,
    },
    AnnounceBadId(bool),
    Renew(usize, Duration),
    Leave(u8),
    LeaveHandle(usize),
    Find(u8),
    Inspect(usize),
    Each,
    Forged(u64),
    Advance(Step),
    Drain(usize),
    /// Which of the unsettled leaves, the attempt less this, the answer, and whether it is forgotten then.
    Settle {
        which: usize,
        older: u32,
        verdict: Verdict,
        forget: bool,
    },
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn perform(duel: &mut Duel, op: &Op) -> Checked {
    let wheel = duel.wheel.clone();
    match *op {
        Op::Announce { id, interval, age, data } => duel.world().announce(&wheel, &name(id), interval, age, data),
        Op::Replace { id, interval, data } => duel.world().replace(&wheel, &name(id), interval, data),
        Op::AnnounceBadId(long) => {
            let id = vec![7; if long { 1025 } else { 0 }];
            duel.find(&id)?;
            duel.world().leave(&wheel, &id)?;
            duel.world().announce(&wheel, &id, ms(1000), Duration::ZERO, 0)
        }
        Op::Renew(which, age) => duel.world().renew(&wheel, which, age),
        Op::Leave(id) => duel.world().leave(&wheel, &name(id)),
        Op::LeaveHandle(which) => duel.world().leave_handle(&wheel, which),
        Op::Find(id) => duel.find(&name(id)),
        Op::Inspect(which) => duel.inspect(which),
        Op::Each => duel.each(),
        Op::Forged(raw) => duel.try_forged(raw),
        Op::Advance(ref step) => {
            let to = match *step {
                Step::By(by) => duel.clock() + by,
                Step::ToNextDue(off_us) => {
                    let due = wheel.next_due().map_err(|e| e.to_string())?.unwrap_or(duel.clock() + ms(1));
                    let off = Duration::from_micros(off_us.unsigned_abs());
                    if off_us < 0 { due.saturating_sub(off) } else { due + off }
                }
            };
            duel.advance(to)
        }
        Op::Drain(limit) => duel.drain(limit),
        Op::Settle { which, older, verdict, forget } => settle(duel, which, older, verdict, forget),
    }
}

fn settle(duel: &mut Duel, which: usize, older: u32, verdict: Verdict, forget: bool) -> Checked {
    if duel.unsettled.is_empty() {
        let Some((handle, _)) = duel.world().pick(which) else { return Ok(()) };
        return duel.settle(handle, 1, verdict);
    }
    let at = which % duel.unsettled.len();
    let (handle, attempt) = duel.unsettled[at];
    if forget {
        duel.unsettled.swap_remove(at);
    }
    duel.settle(handle, attempt.wrapping_sub(older), verdict)
}

/// Performs all, then lets years pass, and looks at everything that is left; then once more when it is closed.
pub fn run(mut duel: Duel, ops: &[Op]) -> Checked {
    let year = Duration::from_secs(365 * 86_400);
    for (at, op) in ops.iter().enumerate() {
        // 17 years fit into a word.
        if duel.clock() > 8 * year {
            break;
        }
        perform(&mut duel, op)
            .map_err(|failure| format!("operation {at}, {op:?}, at {:?}: {failure}", duel.clock()))?;
    }
    let at_end = |failure| format!("at the end: {failure}");
    look_at_all(&duel).map_err(at_end)?;
    duel.advance(duel.clock() + year).map_err(at_end)?;
    duel.drain(usize::MAX).map_err(at_end)?;
    look_at_all(&duel).map_err(at_end)?;
    duel.close().map_err(at_end)?;
    perform(&mut duel, &Op::Announce { id: 1, interval: ms(1000), age: ms(0), data: 0 }).map_err(at_end)?;
    perform(&mut duel, &Op::Renew(0, ms(0))).map_err(at_end)?;
    perform(&mut duel, &Op::LeaveHandle(0)).map_err(at_end)?;
    perform(&mut duel, &Op::Leave(0)).map_err(at_end)?;
    settle(&mut duel, 0, 0, Verdict::Done, false).map_err(at_end)?;
    look_at_all(&duel).map_err(at_end)
}

fn look_at_all(duel: &Duel) -> Checked {
    duel.each()?;
    (0..IDS).try_for_each(|id| duel.find(&name(id)))?;
    let issued = duel.world().handles.len();
    (0..issued).try_for_each(|which| duel.inspect(2 * which + 1))
}
