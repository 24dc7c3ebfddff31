//! What hosts do, to the library and to the model alike, and what must come of it. Called by the fleet and inside
//! callbacks.

use std::time::Duration;

use super::model::{Gone, Model, NEVER, Phase};
use super::rng::Rng;
use crate::liveness::SPARE;
use crate::{AnnounceError, Announced, Event, HostState, HostWheel, LeaveError, Outcome, RenewError};

const LIFE: &str = "an announce returns what it did";

fn from_ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A host announces itself by its id; 0 is no interval. Returns false if the table was full.
pub(super) fn announce(model: &mut Model, wheel: &HostWheel, host: u32, interval_ms: u64, age_ms: u64) -> bool {
    model.counts.announces += 1;
    let id = std::mem::take(&mut model.ids[host as usize]);
    let said = wheel.announce_with(&id, from_ms(interval_ms), from_ms(age_ms), u64::from(host));
    model.ids[host as usize] = id;
    let (kept_ms, clamped) = model.rules.take_interval(from_ms(interval_ms));
    match said {
        Ok(said) => {
            let effective = from_ms(model.rules.effective_interval_ms(kept_ms));
            if said.interval != effective || said.clamped != clamped {
                model.broken("intervals are clamped and told", || format!("{interval_ms} ms gave {said:?}"));
            }
            if said.outcome == Outcome::Registered {
                registered(model, wheel, host, &said, kept_ms, age_ms);
            } else if model.current[host as usize].as_ref().is_some_and(|life| life.handle == said.handle) {
                heard(model, host, Some(kept_ms), age_ms, said.outcome);
            } else {
                model.broken(LIFE, || format!("host {host} has another handle than {said:?}"));
            }
            true
        }
        Err(AnnounceError::Full) => {
            model.counts.announces -= 1;
            model.counts.full += 1;
            let (_, most) = model.in_use();
            // Full, or of its records, of which some are spare, so many were used up.
            let records = model.rules.max_hosts + SPARE;
            let full = most >= model.rules.max_hosts || most + model.counts.retired as usize >= records;
            if model.exact && model.current[host as usize].is_some() || !full {
                model
                    .broken("a host is refused only by a full table", || format!("host {host}, {most} records in use"));
            }
            hand_to_limbo(model, host);
            false
        }
        Err(error) => {
            model.broken(LIFE, || format!("host {host}: {error}"));
            false
        }
    }
}

fn registered(model: &mut Model, wheel: &HostWheel, host: u32, said: &Announced, interval_ms: u64, age_ms: u64) {
    hand_to_limbo(model, host);
    let (least, _) = model.in_use();
    if least >= model.rules.max_hosts {
        model.broken("max_hosts holds", || format!("{least} records were in use"));
    }
    let stamp = model.time.stamp() - age_ms as i64;
    match wheel.inspect(said.handle) {
        Ok(status) => {
            let last_ms = status.last_seen.as_millis() as i64;
            // Where each record was used, those that are free perhaps later than that, the host counts from the end of their use.
            let stamp = if said.age_cut && last_ms > stamp && !model.has_fresh() { last_ms } else { stamp };
            model.begins(host, said.handle, last_ms, stamp, interval_ms);
        }
        Err(error) => model.broken(LIFE, || format!("host {host} registered: {error}")),
    }
}

/// The library knows the host's life no more: then a leave of it must be in the queue.
fn hand_to_limbo(model: &mut Model, host: u32) {
    let Some(life) = model.takes(host) else { return };
    let leaves_at = model.leaves_at_ms(&life);
    if model.exact || leaves_at > model.time.tick() {
        model.broken("never lost", || format!("host {host} is known no more: {life:?}"));
    }
    model.gone.insert(life.handle, Gone { life, attempt: 0, phase: Phase::Unseen });
}

/// A host that is known was heard.
fn heard(model: &mut Model, host: u32, interval_ms: Option<u64>, age_ms: u64, outcome: Outcome) {
    let (now, tick) = (model.time.stamp(), model.time.tick());
    let stamp = now - age_ms as i64;
    let Some(mut life) = model.current[host as usize].clone() else { return };
    let was_due = model.deadline_ms(&life) <= tick;
    if age_ms == 0 || stamp >= life.last_ms {
        life.last_ms = life.last_ms.max(stamp);
        life.interval_ms = interval_ms.unwrap_or(life.interval_ms);
        life.aged_ms = if model.deadline_ms(&life) <= now { now } else { NEVER };
    }
    let ahead = model.deadline_ms(&life) > now;
    let expected = if life.suspect && ahead { Outcome::Recovered } else { Outcome::Renewed };
    let may_be_suspect = !model.exact && was_due && ahead && outcome == Outcome::Recovered;
    if outcome != expected && !may_be_suspect {
        model.broken(LIFE, || format!("host {host}: {outcome:?} instead of {expected:?}"));
    }
    if outcome == Outcome::Recovered {
        life.suspect = false;
        life.recovered = (model.counts.looks, tick);
        life.checked_ms = i64::MAX;
        model.recovers(host);
    }
    model.current[host as usize] = Some(life);
    model.plan_check(host);
}

/// A host is announced by its handle, if it has one. Returns whether it was.
pub(super) fn renew(model: &mut Model, wheel: &HostWheel, host: u32, age_ms: u64) -> bool {
    let Some(handle) = model.current[host as usize].as_ref().map(|life| life.handle) else { return false };
    model.counts.announces += 1;
    match wheel.renew_seen(handle, from_ms(age_ms)) {
        Ok(outcome) => {
            heard(model, host, None, age_ms, outcome);
            true
        }
        Err(RenewError::Taken) if !model.exact => {
            hand_to_limbo(model, host);
            false
        }
        Err(error) => {
            model.broken(LIFE, || format!("host {host}: {error}"));
            false
        }
    }
}

/// A host says goodbye, by id or by handle.
pub(super) fn goodbye(model: &mut Model, wheel: &HostWheel, host: u32, by_handle: bool) {
    let handle = model.current[host as usize].as_ref().map(|life| life.handle);
    let said = match handle {
        Some(handle) if by_handle => wheel.leave_handle(handle),
        _ => wheel.leave(&model.ids[host as usize]),
    };
    match (said, handle) {
        (Ok(data), Some(_)) if data == u64::from(host) => {
            model.counts.left += 1;
            if let Some(life) = model.takes(host) {
                model.ends(&life);
                model.departs(life.last_ms);
            }
        }
        (Err(LeaveError::NotFound), None) => {}
        (Err(LeaveError::NotFound | LeaveError::Taken), Some(_)) if !model.exact => hand_to_limbo(model, host),
        (said, _) => model.broken("a goodbye is heard", || format!("host {host}: {said:?}")),
    }
}

/// Somebody uses a handle of an earlier life: refused, and nothing happens to the present one.
pub(super) fn use_stale_handle(model: &mut Model, wheel: &HostWheel, host: u32) {
    let Some(handle) = model.stale[host as usize] else { return };
    model.counts.refused += 1;
    let taken = model.gone.contains_key(&handle);
    let renewed = wheel.renew(handle);
    let left = wheel.leave_handle(handle);
    let refused = match taken {
        true => renewed == Err(RenewError::Taken) && left == Err(LeaveError::Taken),
        false => renewed == Err(RenewError::Stale) && left == Err(LeaveError::Stale),
    };
    // A drained leave that was settled is Taken until the next look.
    let settling = !model.exact && renewed == Err(RenewError::Taken) && left == Err(LeaveError::Taken);
    if !refused && !settling {
        model.broken("a stale handle is refused", || format!("{handle}, taken: {taken}: {renewed:?}, {left:?}"));
    }
}

/// Compares what the library tells of a host with what the model knows.
pub(super) fn inspect(model: &mut Model, wheel: &HostWheel, host: u32) {
    let found = wheel.find(&model.ids[host as usize]).ok();
    let life = model.current[host as usize].clone();
    if !model.exact {
        return;
    }
    let told = life.as_ref().and_then(|life| wheel.inspect(life.handle).ok());
    let agrees = match (&life, &told) {
        (None, _) => found.is_none(),
        (Some(_), None) => false,
        (Some(life), Some(told)) => {
            let state = if life.suspect { HostState::Suspect } else { HostState::Live };
            let at = |ms: i64| from_ms(ms.max(0) as u64);
            found == Some(life.handle)
                && told.state == state
                && told.last_seen == at(life.last_ms)
                && told.interval.map_or(0, |interval| interval.as_millis() as u64) == life.interval_ms
                && told.leaves_at == at(model.leaves_at_ms(life))
        }
    };
    if !agrees {
        model.broken("inspection tells the truth", || {
            format!("host {host} is {life:?}, told {told:?}, found {found:?}")
        });
    }
}

/// What a callback does before it answers: the host itself comes back or is vouched for, or another one is heard or goes.
pub(super) fn meddle(model: &mut Model, wheel: &HostWheel, rng: &mut Rng, event: &Event) {
    let host = event.user_data() as u32;
    let other = rng.below(model.current.len() as u64) as u32;
    // A life that is due may have an event in this very batch; what it is then, only the library knows.
    let calm = |model: &Model, host: u32| {
        let life = model.current[host as usize].as_ref();
        life.is_none_or(|life| {
            life.handle == event.handle() || model.deadline_ms(life) > model.time.tick() && !life.told
        })
    };
    match rng.below(4) {
        0 if calm(model, host) => _ = announce(model, wheel, host, 1000 + rng.below(100_000), 0),
        1 if calm(model, host) => _ = renew(model, wheel, host, rng.pick(&[0, 0, 500])),
        2 if calm(model, other) => _ = announce(model, wheel, other, 1000 + rng.below(100_000), 0),
        3 if calm(model, other) => goodbye(model, wheel, other, true),
        _ => {}
    }
}
