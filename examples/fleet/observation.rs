//! What the scheduler tells the driver: one observation a line, words separated by spaces, times in nanoseconds of the
//! machine-wide monotonic clock.

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
    Restored(Restored),
    /// After a restart: all that the snapshot held is restored, and announces are read again.
    Back { at_ns: u64 },
    /// An announce was read from the socket and handed to the wheel.
    Heard(Heard),
    /// The wheel refused an announce.
    Refused { host: u32, error: String },
    /// The wheel called back.
    Event(Event),
    /// A guard of the wheel began or ended something.
    Guard { at_ns: u64, what: String },
    /// From now on all announces are lost.
    Cut { at_ns: u64 },
    /// They are read again; so many were lost.
    Mended { at_ns: u64, lost: u64 },
    /// A host went politely.
    Left(Left),
    /// How many hosts the wheel knows at a moment.
    Count(Count),
    /// At the end: a host of the scheduler's own table.
    Kept { host: u32 },
    /// At the end: the wheel's counters.
    Stats(Stats),
    /// Nothing follows.
    End { at_ns: u64 },
}

line! {
    /// An announce, as the receive loop noted it: taken down before the wheel was told.
    Heard {
        at_ns,
        /// When the host sent it, which on loopback is when it reached the socket.
        sent_ns,
        host,
        incarnation,
        interval_ms,
        sequence,
        /// The handle that the wheel answered.
        handle,
        /// [`REGISTERED`], [`RENEWED`], [`RECOVERED`] or [`RESTORED`].
        outcome,
    }
}

line! {
    /// A host that came out of a snapshot.
    Restored {
        at_ns,
        host,
        interval_ms,
        handle,
        /// How long ago the wheel holds it to have been heard; at least that.
        age_ns,
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
    /// A callback of the wheel.
    Event {
        /// Taken first thing in the callback.
        at_ns,
        host,
        /// [`SUSPECT_EVENT`], [`RECOVERED_EVENT`] or [`LEAVE_EVENT`].
        kind,
        handle,
        lateness_ns,
        /// Time since the last announce that the wheel did not count, because nobody watched.
        away_ns,
        /// How long it was held back by a guard.
        held_ns,
        attempt,
        superseded,
    }
}

/// Kind of event: the TTL has passed.
pub const SUSPECT_EVENT: u64 = 1;
/// Kind of event: a suspect was heard.
pub const RECOVERED_EVENT: u64 = 2;
/// Kind of event: TTL and grace have passed.
pub const LEAVE_EVENT: u64 = 3;

line! {
    /// A polite leave that the wheel accepted.
    Left {
        at_ns,
        host,
        handle,
    }
}

line! {
    /// A sample of the wheel's counters.
    Count {
        at_ns,
        /// Live hosts, suspects included.
        known,
        suspect,
        /// All time so far that counted against no host.
        away_ns,
    }
}

line! {
    /// The wheel's counters at the end, and the scheduler's own.
    Stats {
        live,
        registered,
        left,
        leaves,
        suspects,
        recoveries,
        rescues,
        superseded,
        clamps,
        away_ns,
        silences,
        brake_ns,
        /// The number of the clock that announces were stamped with.
        clock,
        margin_ns,
        visits,
        wake_ups,
        lateness_max_ns,
        /// Leaves whose handle was no longer the one in the scheduler's table, which therefore kept its entry.
        mismatches,
        /// Datagrams that no host of this run sent.
        foreign,
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::Port(port) => write!(f, "port {port}"),
            Observation::Restored(restored) => write!(f, "restored{restored}"),
            Observation::Back { at_ns } => write!(f, "back {at_ns}"),
            Observation::Heard(heard) => write!(f, "heard{heard}"),
            Observation::Refused { host, error } => write!(f, "refused {host} {error}"),
            Observation::Event(event) => write!(f, "event{event}"),
            Observation::Guard { at_ns, what } => write!(f, "guard {at_ns} {what}"),
            Observation::Cut { at_ns } => write!(f, "cut {at_ns}"),
            Observation::Mended { at_ns, lost } => write!(f, "mended {at_ns} {lost}"),
            Observation::Left(left) => write!(f, "left{left}"),
            Observation::Count(count) => write!(f, "count{count}"),
            Observation::Kept { host } => write!(f, "kept {host}"),
            Observation::Stats(stats) => write!(f, "stats{stats}"),
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
            "back" => Observation::Back { at_ns: number(Some(rest))? },
            "heard" => Observation::Heard(rest.parse()?),
            "refused" => {
                let (host, error) = rest.split_once(' ').unwrap_or((rest, ""));
                Observation::Refused { host: number(Some(host))?, error: error.to_owned() }
            }
            "event" => Observation::Event(rest.parse()?),
            "guard" => {
                let (at_ns, what) = rest.split_once(' ').unwrap_or((rest, ""));
                Observation::Guard { at_ns: number(Some(at_ns))?, what: what.to_owned() }
            }
            "cut" => Observation::Cut { at_ns: number(Some(rest))? },
            "mended" => {
                let (at_ns, lost) = rest.split_once(' ').unwrap_or((rest, ""));
                Observation::Mended { at_ns: number(Some(at_ns))?, lost: number(Some(lost))? }
            }
            "left" => Observation::Left(rest.parse()?),
            "count" => Observation::Count(rest.parse()?),
            "kept" => Observation::Kept { host: number(Some(rest))? },
            "stats" => Observation::Stats(rest.parse()?),
            "end" => Observation::End { at_ns: number(Some(rest))? },
            _ => return Err(format!("the scheduler wrote {text:?}, which is no observation")),
        })
    }
}
