//! The oracle's half that time drives: what is due, what comes of answers, what is drained.

use std::time::Duration;

use super::{Born, Event, Host, Kind, Oracle, Phase, Refusal, Stage, Verdict, back_off_ms, since_open};

/// So much room that nobody ever waits for it in a test.
const MANY: usize = 1000;

impl Oracle {
    /// Moves the clock to `clock` since opening: a look. Acts on answers, gives records back. What is due afterwards
    /// [may come](Self::may_come).
    pub fn advance(&mut self, clock: Duration) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        let idle = !self.hosts.values().any(|host| host.looked_at);
        self.time.look(u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX / 2), idle);
        self.tidy();
        Ok(())
    }

    /// What happens at each look besides events; again at its end, for what callbacks did meanwhile.
    fn tidy(&mut self) {
        let now = self.time.tick();
        for incarnation in self.hosts.keys().copied().collect::<Vec<_>>() {
            let host = self.hosts.get_mut(&incarnation).expect("just listed");
            if host.stage == Stage::Live && host.deadline_ms(&self.rules) > now {
                let waits = host.born == Born::Late && self.rules.max_outstanding < MANY;
                host.born = if waits || host.born == Born::Open { Born::Open } else { Born::InTime };
            }
            host.looked_at = true;
            match host.stage {
                // A record comes back once time has passed its last announce, so that no word of it repeats.
                Stage::Left if now > host.last_ms => self.forget(incarnation),
                Stage::Taken { attempt, phase: Phase::Answered(verdict) } => self.act_on(incarnation, attempt, verdict),
                _ => {}
            }
        }
    }

    fn act_on(&mut self, incarnation: u64, attempt: u32, verdict: Verdict) {
        match verdict {
            Verdict::Done => self.forget(incarnation),
            Verdict::Retry(after) => {
                let due = self.time.tick() + back_off_ms(attempt, after).clamp(1, i64::MAX as u64 / 4) as i64;
                let host = self.hosts.get_mut(&incarnation).expect("it is outstanding");
                host.stage = Stage::Taken { attempt, phase: Phase::Retry(due) };
            }
        }
    }

    /// All events of which each may come next. Those of one host follow one another, so this changes with each.
    pub fn may_come(&self) -> Vec<Event> {
        let leaves = self.outstanding() < self.rules.max_outstanding;
        if !self.has_room() {
            return Vec::new();
        }
        self.due().into_iter().filter(|event| leaves || event.kind != Kind::Leave || event.attempt > 1).collect()
    }

    /// What must have come before the advance ends: everything that there is room for. Empty when all is well.
    pub fn overdue(&mut self) -> Vec<Event> {
        self.tidy();
        self.may_come()
    }

    /// Hosts that have something to tell and no room for it.
    pub fn waiting(&self) -> usize {
        self.due().len() - self.may_come().len()
    }

    /// When something falls due next because of time alone, on the clock; what waits already does not count, and nor does
    /// a suspect that nobody was told of: its leave needs a drain.
    pub fn due_at_ns(&self) -> Option<u64> {
        let due = |(incarnation, host): (&u64, &Host)| match host.stage {
            Stage::Live => Some(host.deadline_ms(&self.rules)),
            Stage::Suspect => (!self.is_untold(*incarnation)).then(|| host.leaves_at_ms(&self.rules)),
            Stage::Taken { phase: Phase::Out(due) | Phase::Retry(due), .. } => Some(due),
            Stage::Left | Stage::Taken { .. } => None,
        };
        self.hosts.iter().filter_map(due).filter(|ms| *ms > self.time.tick()).min().map(|ms| self.time.clock_at_ns(ms))
    }

    /// Whether no host is known, records that wait to come back included.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// An event came: an error says why it must not have. Changes the host accordingly.
    pub fn came(&mut self, event: &Event) -> Result<(), String> {
        let expected = self.may_come();
        let open = event.kind == Kind::Leave && self.comes_and_goes(event);
        let late = self.hosts.get(&event.incarnation).is_some_and(|host| host.born == Born::Open);
        let same = |expected: &Event| {
            let mut expected = expected.clone();
            expected.superseded = if open { event.superseded } else { expected.superseded };
            expected.lateness_ns = if late && event.lateness_ns == 0 { 0 } else { expected.lateness_ns };
            expected == *event
        };
        if !expected.iter().any(same) {
            let same: Vec<&Event> = expected.iter().filter(|e| e.incarnation == event.incarnation).collect();
            return Err(format!("{event:?}\n came at {} ms, of that host only {same:?} may come", self.time.tick()));
        }
        self.commit(event);
        Ok(())
    }

    fn commit(&mut self, event: &Event) {
        let drained = self.rules.drained;
        let phase = if drained { Phase::Queued } else { Phase::Asked };
        let host = self.hosts.get_mut(&event.incarnation).expect("a host that may come is known");
        match event.kind {
            Kind::Suspect => {
                host.stage = Stage::Suspect;
                host.suspected = true;
                self.counts.suspects += 1;
            }
            Kind::Recovered => {
                host.suspected = false;
                self.counts.recoveries += 1;
            }
            Kind::Leave => {
                host.stage = Stage::Taken { attempt: event.attempt, phase };
                match (event.attempt, host.interval_ms) {
                    (1, 0) => self.counts.leaves_host_ttl += 1,
                    (1, _) => self.counts.leaves_ttl += 1,
                    _ => self.counts.retries += 1,
                }
                self.counts.superseded += u64::from(event.superseded);
            }
        }
        if drained {
            match self.queue.back_mut() {
                Some(batch) if batch.first().is_some_and(|first| first.now_ms == event.now_ms) => {
                    batch.push(event.clone());
                }
                _ => self.queue.push_back(vec![event.clone()]),
            }
        }
    }

    /// The callback's answer to a leave that just came.
    pub fn answer(&mut self, event: &Event, verdict: Verdict) {
        if event.kind == Kind::Leave {
            self.act_on(event.incarnation, event.attempt, verdict);
        }
    }

    /// Advances and lets everything come that may, in the order of incarnations, with `verdict`'s answers. The prediction
    /// for implementations that are not asked event by event; complete only while nobody waits.
    pub fn predict(
        &mut self,
        clock: Duration,
        mut verdict: impl FnMut(&Event) -> Verdict,
    ) -> Result<Vec<Event>, Refusal> {
        self.advance(clock)?;
        let mut events = Vec::new();
        while let Some(event) = self.may_come().into_iter().next() {
            self.commit(&event);
            if !self.rules.drained {
                let verdict = verdict(&event);
                self.answer(&event, verdict);
            }
            events.push(event);
        }
        self.tidy();
        Ok(events)
    }

    /// An event was drained: it must be of the oldest advance that has events left. From now on a leave waits for its
    /// answer.
    pub fn was_drained(&mut self, event: &Event) -> Result<(), String> {
        let superseded = event.kind == Kind::Leave && self.came_back(event.incarnation, &event.id);
        let batch = self.queue.front_mut().ok_or_else(|| format!("{event:?} was drained from an empty queue"))?;
        let wanted = |waiting: &Event| Event { superseded, ..waiting.clone() } == *event;
        let Some(at) = batch.iter().position(wanted) else {
            return Err(format!("{event:?}\n was drained, expected one of {batch:?}, superseded: {superseded}"));
        };
        batch.remove(at);
        if batch.is_empty() {
            self.queue.pop_front();
        }
        self.counts.superseded += u64::from(superseded);
        let answer_by = self.time.tick() + self.rules.settle_timeout_ms as i64;
        match self.hosts.get_mut(&event.incarnation) {
            Some(host) if event.kind == Kind::Leave => {
                host.stage = Stage::Taken { attempt: event.attempt, phase: Phase::Out(answer_by) };
            }
            _ => {}
        }
        Ok(())
    }

    /// Events in the queue.
    pub fn queued(&self) -> usize {
        self.queue.iter().map(Vec::len).sum()
    }

    /// The consumer answers a drained leave; acted upon at the next advance.
    pub fn settle(&mut self, incarnation: u64, attempt: u32, verdict: Verdict) -> Result<(), Refusal> {
        if !self.rules.drained {
            return Err(Refusal::Mode);
        }
        if self.closed {
            return Err(Refusal::Closed);
        }
        let host = self.hosts.get_mut(&incarnation).ok_or(Refusal::Stale)?;
        match host.stage {
            Stage::Taken { attempt: current, phase: Phase::Out(_) } if current == attempt => {
                host.stage = Stage::Taken { attempt, phase: Phase::Answered(verdict) };
                Ok(())
            }
            Stage::Taken { phase: Phase::Answered(Verdict::Done), .. } => Err(Refusal::Stale),
            Stage::Taken { .. } => Err(Refusal::Attempt),
            _ => Err(Refusal::Stale),
        }
    }

    fn has_room(&self) -> bool {
        !self.closed && (!self.rules.drained || self.queued() < self.rules.max_outstanding)
    }

    /// The next event of every host that has one to tell.
    fn due(&self) -> Vec<Event> {
        let now = self.time.tick();
        let mut events = Vec::new();
        for (incarnation, host) in &self.hosts {
            let overdue = host.deadline_ms(&self.rules) <= now;
            let literal = host.leaves_at_ms(&self.rules) == host.deadline_ms(&self.rules);
            let next = match host.stage {
                Stage::Live if host.suspected => Some((Kind::Recovered, 1)),
                Stage::Live if overdue && literal => Some((Kind::Leave, 1)),
                Stage::Live if overdue => Some((Kind::Suspect, 1)),
                Stage::Suspect if host.leaves_at_ms(&self.rules) <= now && !self.is_untold(*incarnation) => {
                    Some((Kind::Leave, 1))
                }
                Stage::Taken { attempt, phase: Phase::Out(due) | Phase::Retry(due) } if due <= now => {
                    Some((Kind::Leave, attempt + 1))
                }
                _ => None,
            };
            events.extend(next.map(|(kind, attempt)| self.event(*incarnation, host, kind, attempt)));
        }
        events
    }

    /// Whether a suspect event of the host waits to be drained: whoever drains it may answer for the host.
    fn is_untold(&self, incarnation: u64) -> bool {
        let of_it = |event: &Event| event.kind == Kind::Suspect && event.incarnation == incarnation;
        self.queue.iter().flatten().any(of_it)
    }

    fn event(&self, incarnation: u64, host: &Host, kind: Kind, attempt: u32) -> Event {
        let due_ms = match kind {
            Kind::Leave => host.leaves_at_ms(&self.rules),
            Kind::Suspect | Kind::Recovered => host.deadline_ms(&self.rules),
        };
        let late_ns = self.time.now_ns().saturating_sub(since_open(due_ms) * 1_000_000);
        Event {
            kind,
            reason: host.reason(),
            attempt,
            // A drained leave finds out when it is drained.
            superseded: kind == Kind::Leave && !self.rules.drained && self.came_back(incarnation, &host.id),
            incarnation,
            id: host.id.clone(),
            user_data: host.user_data,
            interval_ms: host.interval_ms,
            last_seen_ms: since_open(host.last_ms),
            deadline_ms: since_open(host.deadline_ms(&self.rules)),
            now_ms: since_open(self.time.tick()),
            lateness_ns: if kind == Kind::Recovered || host.born == Born::Late { 0 } else { late_ns },
            away_ns: self.time.missed_since_ns(host.last_ms),
        }
    }

    /// Whether another incarnation of the event's id is about to leave as well: who looked first is open.
    fn comes_and_goes(&self, event: &Event) -> bool {
        let other = |(incarnation, host): (&u64, &Host)| *incarnation != event.incarnation && host.id == event.id;
        let due = |host: &Host| host.is_alive() && host.leaves_at_ms(&self.rules) <= self.time.tick();
        self.hosts.iter().any(|(incarnation, host)| other((incarnation, host)) && due(host))
    }

    fn came_back(&self, incarnation: u64, id: &[u8]) -> bool {
        self.hosts.iter().any(|(other, host)| *other != incarnation && host.is_alive() && host.id == id)
    }
}
