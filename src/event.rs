//! Events and the answers to them.

mod guard;
mod id;

use std::fmt;
use std::time::Duration;

use crate::record::{Cadence, Handle};
use crate::tick::{Tick, since_open};
pub use guard::{GuardEvent, GuardKind};
pub use id::HostId;

/// What happened to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum EventKind {
    /// Its TTL passed without an announce: choose it less. It leaves after the grace unless it is heard.
    Suspect = 1,
    /// A suspect was heard again.
    Recovered = 2,
    /// It is gone: remove it, if it has not come back under another handle. Wants a [`Verdict`].
    Leave = 3,
}

/// Which rule ended a host's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// Twice its own interval, and the grace, passed.
    Ttl = 1,
    /// It announced without an interval; the host TTL, and the grace, passed.
    HostTtl = 2,
    /// The wheel had lost it; the back-stop found it. Please report that.
    Backstop = 3,
}

/// The answer to a leave event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The host's metadata is gone; nothing of it is kept.
    #[default]
    Done,
    /// Not now: hand the leave out again after this long, or, if it is zero, after 1 s, 2 s, 4 s ... 60 s.
    Retry(Duration),
}

/// One event. All times are wheel time: time since the wheel was opened, less the time in which nobody watched.
#[derive(Clone)]
pub struct Event {
    pub(crate) kind: EventKind,
    pub(crate) reason: Reason,
    pub(crate) superseded: bool,
    pub(crate) attempt: u32,
    pub(crate) handle: Handle,
    pub(crate) id: HostId,
    pub(crate) user_data: u64,
    pub(crate) cadence: Cadence,
    pub(crate) last: Tick,
    pub(crate) deadline: Tick,
    pub(crate) now: Tick,
    pub(crate) lateness_ns: u64,
    pub(crate) away_ns: u64,
    pub(crate) held: Tick,
}

impl Event {
    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Which rule decided.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the id had come back as another incarnation when this event was handed out. A snapshot: the host may come
    /// back a moment later, so compare [`handle`](Self::handle) with the one you keep before you delete.
    pub fn superseded(&self) -> bool {
        self.superseded
    }

    /// How many times this leave was handed out, this time included; 1 for other events.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The incarnation that the event is about.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The host's id.
    pub fn id(&self) -> &HostId {
        &self.id
    }

    /// The number given at registration.
    pub fn user_data(&self) -> u64 {
        self.user_data
    }

    /// The effective interval that the host announced with; `None` if it announced without one.
    pub fn interval(&self) -> Option<Duration> {
        (!self.cadence.is_none()).then(|| Duration::from_millis(self.cadence.ms()))
    }

    /// When the host was last heard; the opening of the wheel if that was before it.
    pub fn last_seen(&self) -> Duration {
        since_open(self.last)
    }

    /// How long the host has not been heard.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now.saturating_sub(self.last))
    }

    /// When its TTL ended. The grace is not part of it.
    pub fn deadline(&self) -> Duration {
        since_open(self.deadline)
    }

    /// When the event was made.
    pub fn now(&self) -> Duration {
        since_open(self.now)
    }

    /// How long after it was due the event was made: a suspect after the deadline, a leave after deadline and grace.
    pub fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness_ns)
    }

    /// Time since the last announce that was not counted, because nobody watched (the process was stopped or starved). At
    /// most: an announce heard within such a time counts as heard at its beginning.
    pub fn away(&self) -> Duration {
        Duration::from_nanos(self.away_ns)
    }
}

impl Event {
    /// How long a leave was held back by silence, the brake or outstanding leaves; part of its lateness.
    pub fn held(&self) -> Duration {
        Duration::from_millis(self.held)
    }
}

/// One line that an operator understands.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            EventKind::Suspect => "suspect",
            EventKind::Recovered => "recovered",
            EventKind::Leave => "leave",
        };
        write!(f, "{word}: host {} ({})", self.id, self.handle)?;
        match (self.kind, self.reason) {
            (EventKind::Recovered, _) => write!(f, " was heard again")?,
            (_, reason) => {
                write!(f, " not heard for {:?}", self.silent_for())?;
                match self.interval() {
                    Some(interval) => write!(f, ", announced every {interval:?}")?,
                    None => write!(f, ", announced no interval (host TTL)")?,
                }
                if reason == Reason::Backstop {
                    write!(f, ", found by the back-stop")?;
                }
            }
        }
        write!(f, "; last seen at {:?}, deadline {:?}, now {:?}", self.last_seen(), self.deadline(), self.now())?;
        if self.kind != EventKind::Recovered {
            write!(f, ", late by {:?}", self.lateness())?;
        }
        if self.away_ns > 0 {
            write!(f, ", {:?} not counted", self.away())?;
        }
        if self.held > 0 {
            write!(f, ", held back for {:?}", self.held())?;
        }
        if self.attempt > 1 {
            write!(f, ", attempt {}", self.attempt)?;
        }
        if self.superseded {
            write!(f, ", came back since under another handle")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({self})")
    }
}

/// What the wheel calls, on its own thread (with a manual clock, inside `advance`).
///
/// Calls come one at a time, in the order in which things happened to one host. They may call any method of the wheel:
/// announce, renew and leave work; `close` and `advance` return an error. While a call runs, no other event is delivered,
/// and one that outlasts the watchdog stops wheel time for everybody, so long work belongs on workers (or use drain
/// delivery). A panic in [`leave`](Self::leave) counts as `Retry`; one in the others is ignored.
pub trait Handler: Send + 'static {
    /// The host is gone. Remove it if the handle is still the one you know, and answer.
    fn leave(&mut self, event: &Event) -> Verdict;

    /// The host's TTL has passed; it leaves after the grace. A consumer that learns of the host's life elsewhere answers
    /// with `renew_seen(handle, age)`.
    fn suspect(&mut self, event: &Event) {
        let _ = event;
    }

    /// A suspect was heard again.
    fn recovered(&mut self, event: &Event) {
        let _ = event;
    }

    /// A guard began or ended to hold hosts, the observer was away, or the clock fell back: for an operator's log. The events
    /// of a step come before the host events of that step.
    fn guard(&mut self, event: &GuardEvent) {
        let _ = event;
    }
}

impl<F: FnMut(&Event) -> Verdict + Send + 'static> Handler for F {
    fn leave(&mut self, event: &Event) -> Verdict {
        self(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::EPOCH;

    fn leave() -> Event {
        Event {
            kind: EventKind::Leave,
            reason: Reason::Ttl,
            superseded: false,
            attempt: 1,
            handle: Handle::new(3, 1),
            id: HostId::new(b"node-7").unwrap(),
            user_data: 0,
            cadence: Cadence::from_ms(1000),
            last: EPOCH + 5000,
            deadline: EPOCH + 7000,
            now: EPOCH + 8001,
            lateness_ns: 1_000_000,
            away_ns: 0,
            held: 0,
        }
    }

    #[test]
    fn an_event_is_one_line_that_explains_itself() {
        assert_eq!(
            leave().to_string(),
            "leave: host node-7 (0x100000003) not heard for 3.001s, announced every 1s; \
             last seen at 5s, deadline 7s, now 8.001s, late by 1ms"
        );
        let again = Event { attempt: 2, superseded: true, away_ns: 2_000_000_000, ..leave() };
        assert!(
            again.to_string().ends_with("late by 1ms, 2s not counted, attempt 2, came back since under another handle")
        );
    }

    #[test]
    fn each_kind_and_reason_has_words_of_its_own() {
        let suspect = Event { kind: EventKind::Suspect, now: EPOCH + 7000, lateness_ns: 0, ..leave() };
        assert_eq!(
            suspect.to_string(),
            "suspect: host node-7 (0x100000003) not heard for 2s, announced every 1s; \
             last seen at 5s, deadline 7s, now 7s, late by 0ns"
        );
        let recovered = Event { kind: EventKind::Recovered, ..leave() };
        assert_eq!(
            format!("{recovered:?}"),
            "Event(recovered: host node-7 (0x100000003) was heard again; last seen at 5s, deadline 7s, now 8.001s)"
        );
        let lost = Event { reason: Reason::Backstop, cadence: Cadence::NONE, held: 500, ..leave() };
        let lost = lost.to_string();
        assert!(lost.contains("announced no interval (host TTL), found by the back-stop;"), "{lost}");
        assert!(lost.ends_with("late by 1ms, held back for 500ms"), "{lost}");
    }

    #[test]
    fn an_id_is_its_bytes_to_a_map() {
        let hosts = std::collections::HashMap::from([(HostId::new(b"node-7").unwrap(), 7)]);
        assert_eq!(hosts.get(&b"node-7"[..]), Some(&7));
        assert_eq!(format!("{hosts:?}"), "{\"node-7\": 7}");
    }

    #[test]
    fn ids_of_any_bytes_are_shown_on_one_line() {
        assert_eq!(HostId::new(b"a\nb\xff\0").unwrap().to_string(), "a\\nb\\xff\\u{0}");
    }
}
