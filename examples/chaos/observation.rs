//! What the scheduler tells the driver: one observation a line. `..._ns` are nanoseconds of the machine-wide monotonic clock,
//! `..._wheel` nanoseconds of wheel time since that wheel was opened.

use std::fmt;
use std::str::FromStr;

use crate::common::account::line;
use crate::common::number;

/// One line of the scheduler's account.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The scheduler listens.
    Port(u16),
    /// After a restart: the wheel knows a host again.
    Restored(Heard),
    /// Announces are read from now on.
    Serving(Serving),
    /// An announce was read from the socket and handed to the wheel.
    Heard(Heard),
    /// The wheel was full.
    Full(Full),
    /// The wheel or a call to it did what it must not do, in words.
    Broken(String),
    /// The wheel told of an event.
    Event(Event),
    /// A host went politely.
    Left(Left),
    /// The wheel's counters and the process's figures at a moment.
    Sample(Sample),
    /// At the end: a host of the scheduler's own table.
    Kept { host: u32 },
    /// At the end: a host that the wheel knows.
    Known { host: u32 },
    /// Nothing follows.
    End { at_ns: u64 },
}

line! {
    /// The start of the work.
    Serving {
        at_ns,
        /// 1: events are drained, 0: called back.
        drained,
        /// The number of the clock that announces are stamped with.
        clock,
    }
}

line! {
    /// An announce, and what became of it.
    Heard {
        /// Before the wheel was told.
        at_ns,
        /// Before the wheel was told.
        at_wheel,
        host,
        incarnation,
        /// Counts the datagrams of an incarnation.
        sequence,
        /// The effective one.
        interval_ms,
        handle,
        /// [`REGISTERED`], [`RENEWED`], [`RECOVERED`] or [`RESTORED`].
        outcome,
        /// What the wheel holds of the host after it; 0 where it had gone again by then.
        last_seen_wheel,
        leaves_at_wheel,
    }
}

/// Outcome: the wheel did not know the host.
pub const REGISTERED: u64 = 1;
/// Outcome: the wheel knew it.
pub const RENEWED: u64 = 2;
/// Outcome: it was a suspect.
pub const RECOVERED: u64 = 3;
/// Outcome: no announce of the host's at all, the wheel knows it from a snapshot.
pub const RESTORED: u64 = 4;

line! {
    /// A registration that was refused because the wheel was full, and the counters right after it.
    Full {
        at_ns,
        live,
        outstanding,
        records,
    }
}

line! {
    /// An event.
    Event {
        /// First thing in the callback, or when it was drained.
        at_ns,
        host,
        /// As the library numbers them: 1 suspect, 2 recovered, 3 leave.
        kind,
        reason,
        handle,
        attempt,
        last_seen_wheel,
        deadline_wheel,
        now_wheel,
        lateness_ns,
        /// How long it was held back by a guard.
        held_ns,
        /// How the consumer answers: [`DONE`], [`RETRY`], [`PANIC`] or [`NOTHING`].
        answer,
        retry_after_ms,
    }
}

/// Kind of event: the TTL has passed.
pub const SUSPECT: u64 = 1;
/// Kind of event: TTL and grace have passed.
pub const LEAVE: u64 = 3;

/// Reason of a leave: the wheel had lost the host.
pub const BACKSTOP: u64 = 3;

/// Answer: the host is removed.
pub const DONE: u64 = 0;
/// Answer: hand it out again.
pub const RETRY: u64 = 1;
/// Answer: a panic in the callback.
pub const PANIC: u64 = 2;
/// Answer: none; it is handed out again after the settle timeout.
pub const NOTHING: u64 = 3;

line! {
    /// A polite leave that the wheel accepted.
    Left {
        at_ns,
        host,
        handle,
    }
}

line! {
    /// A sample of the wheel's counters and of the process.
    Sample {
        /// Before and after the reading of wheel time.
        before_ns,
        after_ns,
        at_wheel,
        live,
        suspect,
        outstanding,
        waiting,
        registered,
        leaves,
        retries,
        panics,
        rescues,
        superseded,
        silences,
        silence_ms,
        brake_ms,
        away_ms,
        /// Greatest lateness of a leave, guards left out.
        lateness_max_us,
        resident_kib,
        descriptors,
        threads,
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::Port(port) => write!(f, "port {port}"),
            Observation::Restored(restored) => write!(f, "restored{restored}"),
            Observation::Serving(serving) => write!(f, "serving{serving}"),
            Observation::Heard(heard) => write!(f, "heard{heard}"),
            Observation::Full(full) => write!(f, "full{full}"),
            Observation::Broken(what) => write!(f, "broken {what}"),
            Observation::Event(event) => write!(f, "event{event}"),
            Observation::Left(left) => write!(f, "left{left}"),
            Observation::Sample(sample) => write!(f, "sample{sample}"),
            Observation::Kept { host } => write!(f, "kept {host}"),
            Observation::Known { host } => write!(f, "known {host}"),
            Observation::End { at_ns } => write!(f, "end {at_ns}"),
        }
    }
}

impl FromStr for Observation {
    type Err = String;

    fn from_str(text: &str) -> Result<Observation, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match word {
            "port" => Observation::Port(number(Some(rest))?),
            "restored" => Observation::Restored(rest.parse()?),
            "serving" => Observation::Serving(rest.parse()?),
            "heard" => Observation::Heard(rest.parse()?),
            "full" => Observation::Full(rest.parse()?),
            "broken" => Observation::Broken(rest.to_owned()),
            "event" => Observation::Event(rest.parse()?),
            "left" => Observation::Left(rest.parse()?),
            "sample" => Observation::Sample(rest.parse()?),
            "kept" => Observation::Kept { host: number(Some(rest))? },
            "known" => Observation::Known { host: number(Some(rest))? },
            "end" => Observation::End { at_ns: number(Some(rest))? },
            _ => return Err(format!("the scheduler wrote {text:?}, which is no observation")),
        })
    }
}
