//! What the guards tell an operator.

use std::fmt;
use std::time::Duration;

use crate::tick::{TICK_NS, Tick, since_open};

/// What happened to a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum GuardKind {
    /// No host at all is heard: no host leaves while that lasts.
    SilenceBegan = 1,
    /// A host is heard again, or silence has lasted for one host TTL.
    SilenceEnded = 2,
    /// Very many hosts leave at once: the brake begins to hold some of them.
    BrakeBegan = 3,
    /// The brake holds no host any more.
    BrakeEnded = 4,
    /// The observer did not look for longer than planned: that time counts against no host.
    Away = 5,
    /// The processor's counter cannot be trusted: announces are stamped with the coarse clock for a while.
    ClockFellBack = 6,
    /// Announces are stamped with the processor's counter again.
    ClockCameBack = 7,
}

impl GuardKind {
    /// The kind's name, as it stands in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            GuardKind::SilenceBegan => "silence_began",
            GuardKind::SilenceEnded => "silence_ended",
            GuardKind::BrakeBegan => "brake_began",
            GuardKind::BrakeEnded => "brake_ended",
            GuardKind::Away => "away",
            GuardKind::ClockFellBack => "clock_fell_back",
            GuardKind::ClockCameBack => "clock_came_back",
        }
    }
}

/// One event of a guard. Times are wheel time: time since the wheel was opened, less the time in which the observer was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardEvent {
    pub(crate) kind: GuardKind,
    pub(crate) since: Tick,
    pub(crate) now: Tick,
    pub(crate) lasted_ns: u64,
    pub(crate) waiting: u64,
}

impl GuardEvent {
    pub(crate) fn new(kind: GuardKind, since: Tick, now: Tick, waiting: u64) -> GuardEvent {
        GuardEvent { kind, since, now, lasted_ns: now.saturating_sub(since) * TICK_NS, waiting }
    }

    /// What happened.
    pub fn kind(&self) -> GuardKind {
        self.kind
    }

    /// Since when it has been so: since when no host is heard ([`SilenceBegan`](GuardKind::SilenceBegan)); when what ended had
    /// begun; when the observer looked last ([`Away`](GuardKind::Away)).
    pub fn since(&self) -> Duration {
        since_open(self.since)
    }

    /// When the event was made.
    pub fn now(&self) -> Duration {
        since_open(self.now)
    }

    /// How long it has lasted. For [`Away`](GuardKind::Away), the time that is not counted.
    pub fn lasted(&self) -> Duration {
        Duration::from_nanos(self.lasted_ns)
    }

    /// How many due hosts waited when the event was made.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }
}

/// One line that an operator understands.
impl fmt::Display for GuardEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lasted, since, waiting) = (self.lasted(), self.since(), self.waiting);
        match self.kind {
            GuardKind::SilenceBegan => {
                write!(
                    f,
                    "silence began: no host was heard for {lasted:?}, since {since:?}; no host leaves while it lasts"
                )?;
            }
            GuardKind::SilenceEnded => write!(f, "silence ended: it lasted {lasted:?}, since {since:?}")?,
            GuardKind::BrakeBegan => write!(f, "brake began to hold hosts: very many leave at once")?,
            GuardKind::BrakeEnded => write!(f, "brake ended: it held hosts for {lasted:?}, since {since:?}")?,
            GuardKind::Away => {
                write!(f, "away: the wheel did not look for {lasted:?} after {since:?}, which counts against no host")?;
            }
            GuardKind::ClockFellBack => write!(f, "clock fell back: the processor's counter is not to be trusted")?,
            GuardKind::ClockCameBack => write!(f, "clock came back: it had fallen back for {lasted:?}")?,
        }
        write!(f, "; now {:?}, {waiting} hosts wait", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::EPOCH;

    #[test]
    fn an_event_is_one_line_that_an_operator_understands() {
        let began = GuardEvent::new(GuardKind::SilenceBegan, EPOCH + 1000, EPOCH + 7000, 3);
        assert_eq!(
            began.to_string(),
            "silence began: no host was heard for 6s, since 1s; no host leaves while it lasts; now 7s, 3 hosts wait"
        );
        let away = GuardEvent { lasted_ns: 2_500_000_000, ..GuardEvent::new(GuardKind::Away, EPOCH, EPOCH, 0) };
        assert_eq!(
            away.to_string(),
            "away: the wheel did not look for 2.5s after 0ns, which counts against no host; now 0ns, 0 hosts wait"
        );
    }

    #[test]
    fn names_are_the_words_of_metrics() {
        assert_eq!(GuardKind::BrakeEnded.name(), "brake_ended");
    }
}
