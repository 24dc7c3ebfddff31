//! What the model says to events and answers: the promises about delivery, one function each.

use super::model::{Gone, Life, Model, NEVER, Phase};
use super::oracle::back_off_ms;
use crate::{Event, EventKind, Handle, SettleError, Verdict};

const EARLY: &str = "never early";
const ONCE: &str = "exactly once";

fn ms(time: std::time::Duration) -> i64 {
    time.as_millis() as i64
}

impl Model {
    /// An event was delivered, or drained.
    pub(super) fn came(&mut self, event: &Event) {
        let host = event.user_data() as u32;
        if event.id()[..] != self.ids[host as usize][..] {
            self.broken("events tell whose they are", || format!("{event} is not of host {host}"));
        }
        match event.kind() {
            EventKind::Suspect => self.became_suspect(host, event),
            EventKind::Recovered => self.recovered(host, event),
            EventKind::Leave => self.leaves(host, event),
        }
    }

    fn became_suspect(&mut self, host: u32, event: &Event) {
        self.counts.suspects += 1;
        let tick = if self.exact { self.time.tick() } else { ms(event.now()) };
        if ms(event.deadline()) > tick {
            self.broken(EARLY, || format!("{event}"));
        }
        let known = self.current[host as usize].clone().filter(|life| life.handle == event.handle());
        let Some(life) = known else {
            // Drained late, it may be of a host that is gone by now.
            if self.exact {
                self.broken(ONCE, || format!("{event}, but it is not alive"));
            }
            return;
        };
        let deadline = self.deadline_ms(&life);
        if self.exact {
            if life.told || deadline > tick || ms(event.last_seen()) != life.last_ms.max(0) {
                self.broken(EARLY, || format!("{event}, but the host is {life:?}, deadline {deadline}"));
            }
            self.check_lateness(event, &life, deadline);
        }
        // Drained late, it may be from before the host was heard again.
        let stands = self.exact || life.recovered.1 < tick;
        let now = self.time.tick();
        if let Some(life) = &mut self.current[host as usize]
            && stands
        {
            life.told = true;
            life.suspect = true;
            life.checked_ms = i64::MAX;
            if !self.exact {
                // It may leave from now on, and may have been due before.
                life.aged_ms = life.aged_ms.max(now);
            }
        }
        self.plan_check(host);
    }

    fn check_lateness(&mut self, event: &Event, life: &Life, due: i64) {
        let late_ns = self.time.now_ns() as i64 - due.max(0) * 1_000_000;
        let told_ns = event.lateness().as_nanos() as i64;
        // Nobody is late who could not be in time.
        if told_ns != late_ns && !(life.born_late && told_ns == 0) {
            self.broken("lateness is measured", || format!("{event}, due at {due} ms, {life:?}"));
        }
    }

    fn recovered(&mut self, host: u32, event: &Event) {
        self.counts.recoveries += 1;
        let exact = self.exact;
        match &mut self.current[host as usize] {
            Some(life) if life.handle == event.handle() && (!exact || life.told && !life.suspect) => life.told = false,
            life if exact => {
                let life = life.clone();
                self.broken("a recovery is told once", || format!("{event}, but the host is {life:?}"));
            }
            _ => {}
        }
    }

    fn leaves(&mut self, host: u32, event: &Event) {
        let handle = event.handle();
        let made = if self.exact { self.time.tick() } else { ms(event.now()) };
        self.counts.superseded += u64::from(event.superseded());
        if self.exact {
            self.check_superseded(host, event, made);
        }
        let known = self.gone.get(&handle).map(|gone| gone.phase);
        match known {
            None | Some(Phase::Unseen) => self.first_leave(host, event, made),
            Some(phase) => self.next_leave(event, made, phase),
        }
        // Only now that it is drained it waits for its answer.
        let out = if self.exact { i64::MAX } else { self.time.tick() + self.rules.settle_timeout_ms as i64 };
        if let Some(gone) = self.gone.get_mut(&handle) {
            gone.attempt = event.attempt();
            gone.phase = Phase::Out(out);
            if out < i64::MAX {
                self.plan_retry(out, handle);
            }
        }
    }

    fn check_superseded(&mut self, host: u32, event: &Event, made: i64) {
        let back = self.current[host as usize].as_ref().filter(|life| life.handle != event.handle());
        // Who comes and goes in one look may be seen before or after.
        let open = back.is_some_and(|life| self.leaves_at_ms(life) <= made);
        if event.superseded() != back.is_some() && !open {
            self.broken("superseded tells whether the host came back", || format!("{event}"));
        }
    }

    fn first_leave(&mut self, host: u32, event: &Event, made: i64) {
        self.counts.leaves += 1;
        let handle = event.handle();
        let gone = match self.gone.remove(&handle) {
            Some(gone) => gone,
            None => {
                let alive = self.current[host as usize].as_ref().is_some_and(|life| life.handle == handle);
                let Some(life) = alive.then(|| self.takes(host)).flatten() else {
                    self.broken(ONCE, || format!("{event}, but that life is over"));
                    return;
                };
                Gone { life, attempt: 0, phase: Phase::Unseen }
            }
        };
        let leaves_at = self.leaves_at_ms(&gone.life);
        if event.attempt() != 1 {
            self.broken(ONCE, || format!("{event} is the first"));
        }
        if ms(event.last_seen()) != gone.life.last_ms.max(0) {
            let life = gone.life.clone();
            self.broken("no leave for a deadline that an announce replaced", || format!("{event}, but {life:?}"));
        }
        if leaves_at > made {
            self.broken(EARLY, || format!("{event}, but the host stays until {leaves_at} ms"));
        }
        if !gone.life.told && self.rules.grace_ms > 0 {
            let life = gone.life.clone();
            self.broken("no leave without its suspect event", || format!("{event}, {life:?}"));
        }
        if !self.exact {
            self.check_drained_in_time(event, made, leaves_at, gone.life.aged_ms);
        } else {
            self.check_lateness(event, &gone.life, leaves_at);
        }
        self.gone.insert(handle, gone);
    }

    /// A drained leave was made by the first look at or after it was due, unless it had to wait, or became due by news of
    /// `aged` that came after that look.
    fn check_drained_in_time(&mut self, event: &Event, made: i64, due: i64, aged: i64) {
        while self.looks.front().is_some_and(|(at, _)| *at < made) {
            self.looks.pop_front();
        }
        let before = self.looks.front().map(|(_, before)| *before);
        if before.is_some_and(|before| due <= before && aged < before) && !self.was_blocked_since(due) {
            self.broken("never late, never lost", || format!("{event}, but {before:?} was a look as well"));
        }
    }

    fn next_leave(&mut self, event: &Event, made: i64, phase: Phase) {
        self.counts.retries += 1;
        let attempt = self.gone.get(&event.handle()).map_or(0, |gone| gone.attempt);
        let due = match phase {
            Phase::Retry(due) | Phase::Out(due) => due,
            Phase::Unseen | Phase::Answered(_) => i64::MAX,
        };
        if due > made || event.attempt() != attempt + 1 {
            self.broken(ONCE, || format!("{event} after attempt {attempt}, {phase:?}"));
        }
    }

    /// The callback answered a leave.
    pub(super) fn answered(&mut self, event: &Event, verdict: Verdict) {
        let handle = event.handle();
        let due = match verdict {
            Verdict::Done => {
                if let Some(gone) = self.gone.remove(&handle) {
                    self.ends(&gone.life);
                }
                return;
            }
            Verdict::Retry(after) => self.time.tick() + back_off_ms(event.attempt(), after).max(1) as i64,
        };
        if let Some(gone) = self.gone.get_mut(&handle) {
            gone.phase = Phase::Retry(due);
            self.plan_retry(due, handle);
        }
    }

    /// The consumer settled a drained leave, and the library said this.
    pub(super) fn settled(&mut self, handle: Handle, attempt: u32, verdict: Verdict, said: Result<(), SettleError>) {
        let Some(gone) = self.gone.get_mut(&handle) else {
            if said != Err(SettleError::Stale) {
                self.broken("one answer to one leave", || format!("settle of {handle}, which is over: {said:?}"));
            }
            return;
        };
        let current = gone.attempt == attempt && matches!(gone.phase, Phase::Out(_));
        // It may have been handed out again, and that is in the queue still.
        let replaced = matches!(gone.phase, Phase::Out(due) if due <= self.time.tick());
        match said {
            Ok(()) if current => {
                gone.phase = Phase::Answered(verdict);
                self.answered.push(handle);
                if verdict == Verdict::Done
                    && let Some(gone) = self.gone.remove(&handle)
                {
                    self.ends(&gone.life);
                    // Its record comes back at the next look.
                    self.departs(NEVER);
                }
            }
            Err(SettleError::Attempt) if !current || replaced => {}
            said => {
                let gone = gone.clone();
                self.broken("one answer to one leave", || format!("settle of attempt {attempt}: {said:?}, {gone:?}"));
            }
        }
    }
}
