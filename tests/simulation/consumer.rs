//! The scheduler's side: callbacks that accept, refuse, panic and call back in; and the consumer of a drained wheel, who
//! drains some or all, answers now, late, twice, or an attempt that was replaced.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::acts;
use super::model::Model;
use super::plan::Chances;
use super::rng::Rng;
use crate::{Event, EventKind, Events, Handle, Handler, HostWheel, Verdict};

/// What the fleet and its consumer share.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) wheel: Arc<OnceLock<Weak<HostWheel>>>,
    /// From now on every leave is accepted: the run comes to its end.
    pub(super) accept: Arc<AtomicBool>,
}

/// The handler of a wheel that calls back.
pub(super) struct Callbacks {
    pub(super) link: Link,
    pub(super) rng: Rng,
    pub(super) chances: Chances,
}

impl Handler for Callbacks {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.call(event)
    }

    fn suspect(&mut self, event: &Event) {
        self.call(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.call(event);
    }
}

fn draw_verdict(rng: &mut Rng, retry: u64) -> Verdict {
    match rng.permille(retry) {
        true => Verdict::Retry(Duration::from_millis(rng.pick(&[0, 0, 1, 700, 90_000]))),
        false => Verdict::Done,
    }
}

impl Callbacks {
    fn call(&mut self, event: &Event) -> Verdict {
        let link = self.link.clone();
        let mut model = link.model.lock().expect("nobody panics with the model");
        model.came(event);
        let accept = link.accept.load(Ordering::Relaxed);
        let meddles = !accept && event.kind() != EventKind::Recovered && self.rng.permille(self.chances.reenter);
        if meddles || model.failure.is_some() {
            let Some(wheel) = link.wheel.get().and_then(Weak::upgrade) else { return Verdict::Done };
            if model.failure.is_some() {
                // Stop, and have nothing done to a record that may not be the event's any more.
                let _ = wheel.close(Duration::ZERO);
                return Verdict::Retry(Duration::from_secs(3600));
            }
            acts::meddle(&mut model, &wheel, &mut self.rng, event);
        }
        let panics = !accept && self.rng.permille(self.chances.panic);
        let verdict = match panics {
            true => Verdict::Retry(Duration::ZERO),
            false if accept => Verdict::Done,
            false => draw_verdict(&mut self.rng, self.chances.retry),
        };
        if event.kind() == EventKind::Leave {
            model.answered(event, verdict);
        }
        if panics {
            model.counts.panics += 1;
            drop(model);
            // Without the panic hook's noise.
            resume_unwind(Box::new("a callback's panic"));
        }
        verdict
    }
}

/// The consumer of a wheel that is drained.
pub(super) struct Drain {
    events: Events,
    drained: Vec<Event>,
    /// Answers that come late: when, in microseconds, to what.
    late: BinaryHeap<Reverse<(u64, Handle, u32)>>,
    /// Events in the queue.
    pub(super) queued: usize,
}

impl Drain {
    pub(super) fn new(events: Events) -> Drain {
        Drain { events, drained: Vec::new(), late: BinaryHeap::new(), queued: 0 }
    }

    /// When the next late answer is due.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.late.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes at most `limit` events. `blocked`: at the last look due hosts had to wait.
    pub(super) fn drain(&mut self, model: &mut Model, limit: usize, blocked: bool) {
        let count = self.events.drain(&mut self.drained, limit);
        if count != limit.min(self.queued) {
            model.broken("what was made is drained", || format!("{count} of {} events, limit {limit}", self.queued));
        }
        self.queued -= count.min(self.queued);
        for event in &self.drained {
            model.came(event);
        }
        if self.queued == 0 {
            model.check_all_came(blocked);
        }
    }

    /// Answers what was drained, and what is due an answer. With `chances` some answers come late, twice or too late.
    pub(super) fn settle(
        &mut self,
        model: &mut Model,
        wheel: &HostWheel,
        now_us: u64,
        mut chances: Option<(&mut Rng, &Chances)>,
    ) {
        let answer = |handle, attempt, verdict, model: &mut Model| {
            let said = wheel.settle(handle, attempt, verdict);
            model.settled(handle, attempt, verdict, said);
        };
        for event in self.drained.drain(..).filter(|event| event.kind() == EventKind::Leave) {
            let (handle, attempt) = (event.handle(), event.attempt());
            match &mut chances {
                Some((rng, chances)) => {
                    if rng.permille(chances.answer_late) {
                        self.late.push(Reverse((now_us + rng.magnitude(1000, 300_000_000), handle, attempt)));
                        continue;
                    }
                    answer(handle, attempt, draw_verdict(rng, chances.retry), model);
                    if rng.permille(50) {
                        answer(handle, attempt, Verdict::Done, model);
                        answer(handle, attempt.wrapping_sub(1), Verdict::Done, model);
                    }
                }
                None => answer(handle, attempt, Verdict::Done, model),
            }
        }
        while let Some(&Reverse((at, handle, attempt))) = self.late.peek()
            && (at <= now_us || chances.is_none())
        {
            self.late.pop();
            answer(handle, attempt, Verdict::Done, model);
        }
    }
}
