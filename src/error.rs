//! Errors: one type per family of operations. Whatever fails leaves the wheel as it was.

use std::fmt;
use std::io;

/// The longest host id in bytes.
pub const LONGEST_ID: usize = 1024;

/// A contradictory or out-of-range configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`Config`](crate::Config) to change.
    pub field: &'static str,
    /// What it must be.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config: {} {}", self.field, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// Why a wheel could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is contradictory.
    Config(ConfigError),
    /// The system refused a thread, a timer or a descriptor.
    Os(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Config(e) => e.fmt(f),
            OpenError::Os(e) => write!(
                f,
                "the system refused what the wheel needs (address space, a thread, a timer, an eventfd): {e}; \
                 check the limits on threads, open files and virtual memory, or lower max_hosts"
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Config(e) => Some(e),
            OpenError::Os(e) => Some(e),
        }
    }
}

impl From<ConfigError> for OpenError {
    fn from(e: ConfigError) -> Self {
        OpenError::Config(e)
    }
}

impl From<io::Error> for OpenError {
    fn from(e: io::Error) -> Self {
        OpenError::Os(e)
    }
}

/// Declares an error enum whose cases carry their message.
macro_rules! errors {
    ($(#[$meta:meta])* $name:ident { $($(#[$case_meta:meta])* $case:ident => $message:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$case_meta])* $case,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$case => $message,)* })
            }
        }

        impl std::error::Error for $name {}
    };
}

errors! {
    /// Why an announce was refused.
    AnnounceError {
        /// The id is empty or longer than [`LONGEST_ID`].
        IdLength => "the host id must have 1 to 1024 bytes: use another id",
        /// `max_hosts` hosts are known.
        Full => "max_hosts hosts are known, undelivered leaves included: raise max_hosts, or let hosts leave and try again",
        /// The allocator refused a chunk of records.
        NoMemory => "no memory for another chunk of records: free some and announce again",
        /// The wheel was closed.
        Closed => "the wheel is closed: open another",
    }
}

errors! {
    /// Why a renew was refused.
    RenewError {
        /// The handle's host has left, or the handle is not of this wheel.
        Stale => "the handle names no host of this wheel any more: announce the host by its id and use the new handle",
        /// The host was handed out as a leave.
        Taken => "the host was handed out as a leave: announce it by its id, it comes back under a new handle",
        /// The wheel was closed.
        Closed => "the wheel is closed: open another",
    }
}

errors! {
    /// Why a leave was refused.
    LeaveError {
        /// The id is empty or longer than [`LONGEST_ID`].
        IdLength => "the host id must have 1 to 1024 bytes: use another id",
        /// No host of that id is known.
        NotFound => "no host of that id is known: it has left already or never announced",
        /// The handle's host has left, or the handle is not of this wheel.
        Stale => "the handle names no host of this wheel any more: it has left already",
        /// The host was handed out as a leave.
        Taken => "the host was handed out as a leave: answer that event instead",
        /// The wheel was closed.
        Closed => "the wheel is closed: open another",
    }
}

errors! {
    /// Why a look-up or an inspection found nothing.
    LookupError {
        /// The id is empty or longer than [`LONGEST_ID`].
        IdLength => "the host id must have 1 to 1024 bytes: use another id",
        /// No host of that id is known.
        NotFound => "no host of that id is known: it has left or never announced",
        /// The handle's host has left, or the handle is not of this wheel.
        Stale => "the handle names no host of this wheel any more: find the host by its id",
    }
}

errors! {
    /// Why the answer to a drained leave was refused.
    SettleError {
        /// The wheel calls back; only drained leaves are settled.
        Mode => "this wheel calls back: return the verdict from the handler instead",
        /// The leave was settled as done, or the handle is not of this wheel.
        Stale => "no leave of that handle waits for an answer: it was settled already, or is not of this wheel",
        /// Another attempt is the current one, or this one was answered already.
        Attempt => "that attempt was answered already or replaced by a later one: answer the attempt last drained",
        /// The wheel was closed.
        Closed => "the wheel is closed: nothing is handed out again, no answer is needed",
    }
}

errors! {
    /// Why manual time did not advance.
    AdvanceError {
        /// The wheel has a clock of its own.
        Mode => "this wheel has a clock of its own: open it with Clock::Manual to advance it yourself",
        /// Called inside one of the wheel's callbacks.
        InCallback => "advance was called inside a callback of the same wheel: let the callback return first",
        /// The wheel was closed.
        Closed => "the wheel is closed: open another",
    }
}

errors! {
    /// Why a release was refused.
    ReleaseError {
        /// The wheel was closed.
        Closed => "the wheel is closed: nobody leaves any more",
    }
}

errors! {
    /// Why a close did not finish.
    CloseError {
        /// A callback was still running when the time was over. The wheel is closing; close again to wait longer.
        Timeout => "a callback is still running: the wheel is closing, close it again to wait longer",
        /// Called inside one of the wheel's callbacks. The wheel is closing and stops when the callback has returned.
        InCallback => "close was called inside a callback: the wheel stops when the callback has returned; \
                       close it from another thread to wait for that",
    }
}

/// Why a snapshot was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A step failed. The file that was there, if any, is untouched.
    Io {
        /// What could not be done.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The new snapshot is in its place, whole, but the folder could not be synced: after a power failure the one before
    /// may be back.
    NotDurable(io::Error),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io { step, error } => write!(
                f,
                "could not {step} ({error}): the snapshot before, if any, is untouched; check the path, its room and \
                 permissions, and write it again"
            ),
            SnapshotError::NotDurable(error) => write!(
                f,
                "the snapshot is in its place, but its folder could not be synced ({error}): a power failure may bring the \
                 one before back; write it again"
            ),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Io { error, .. } | SnapshotError::NotDurable(error) => Some(error),
        }
    }
}

/// Why a snapshot was not, or not wholly, restored. Where no number of hosts is given, nothing was (or, into a closed
/// wheel, nothing that matters).
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file could not be opened or read.
    Io(io::Error),
    /// The file does not begin like a snapshot.
    NotASnapshot,
    /// A later version of this library wrote the file.
    NewerVersion {
        /// The version of the file's format.
        found: u32,
        /// The latest that this library reads.
        known: u32,
    },
    /// The file ends early.
    Torn,
    /// What the file says contradicts its checksums or itself.
    Corrupt {
        /// Where in the file, in bytes: the beginning of the part that is wrong.
        offset: u64,
    },
    /// `max_hosts` hosts are known.
    Full {
        /// Hosts restored before that.
        restored: u64,
    },
    /// The allocator refused a chunk of records.
    NoMemory {
        /// Hosts restored before that.
        restored: u64,
    },
    /// The wheel was closed, before the restore or meanwhile.
    Closed,
    /// The file was whole when it was checked, and was written to, or could not be read, while it was restored.
    Changed {
        /// Hosts restored before that. They may not be what was checked.
        restored: u64,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Io(error) => {
                write!(
                    f,
                    "the snapshot could not be read ({error}): nothing was restored; check the path and try again"
                )
            }
            RestoreError::NotASnapshot => {
                f.write_str("the file is no snapshot of a host wheel: nothing was restored; check the path")
            }
            RestoreError::NewerVersion { found, known } => write!(
                f,
                "the snapshot has format version {found}, this library reads up to {known}: nothing was restored; use the \
                 library that wrote it, or a later one"
            ),
            RestoreError::Torn => f.write_str(
                "the snapshot ends early, it was cut off or copied in part: nothing was restored; use another copy, or \
                 start without",
            ),
            RestoreError::Corrupt { offset } => write!(
                f,
                "the snapshot is damaged at byte {offset}: nothing was restored; use another copy, or start without"
            ),
            RestoreError::Full { restored } => write!(
                f,
                "max_hosts hosts are known after {restored} were restored: raise max_hosts and restore again, hosts that \
                 are known are skipped"
            ),
            RestoreError::NoMemory { restored } => write!(
                f,
                "no memory for another chunk of records after {restored} hosts were restored: free some and restore again, \
                 hosts that are known are skipped"
            ),
            RestoreError::Closed => f.write_str("the wheel is closed: open another"),
            RestoreError::Changed { restored } => write!(
                f,
                "the snapshot was changed, or could not be read again, after {restored} hosts were restored: let nobody \
                 write to it in place, and start again with a new wheel"
            ),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RestoreError::Io(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_says_what_to_do() {
        // "what is wrong: what to do about it"
        for message in [
            AnnounceError::IdLength.to_string(),
            AnnounceError::Full.to_string(),
            AnnounceError::NoMemory.to_string(),
            RenewError::Stale.to_string(),
            RenewError::Taken.to_string(),
            LeaveError::Taken.to_string(),
            LookupError::Stale.to_string(),
            SettleError::Attempt.to_string(),
            AdvanceError::Mode.to_string(),
            CloseError::Timeout.to_string(),
            SnapshotError::Io { step: "write the temporary file", error: io::Error::from_raw_os_error(28) }.to_string(),
            SnapshotError::NotDurable(io::Error::from_raw_os_error(5)).to_string(),
            RestoreError::Io(io::Error::from_raw_os_error(2)).to_string(),
            RestoreError::NotASnapshot.to_string(),
            RestoreError::NewerVersion { found: 2, known: 1 }.to_string(),
            RestoreError::Torn.to_string(),
            RestoreError::Corrupt { offset: 64 }.to_string(),
            RestoreError::Full { restored: 3 }.to_string(),
            RestoreError::NoMemory { restored: 3 }.to_string(),
            RestoreError::Closed.to_string(),
            RestoreError::Changed { restored: 3 }.to_string(),
        ] {
            let (wrong, advice) = message.split_once(": ").expect("a message has two parts");
            assert!(wrong.len() > 10 && advice.len() > 10, "{message}");
        }
        let config = ConfigError { field: "grace", problem: "must be at most 24 days" };
        assert_eq!(OpenError::from(config).to_string(), "config: grace must be at most 24 days");
    }

    #[test]
    fn an_error_of_the_system_is_the_source_of_ours() {
        use std::error::Error;
        let os = || io::Error::from_raw_os_error(28);
        let said = os().to_string();
        let ours: [Box<dyn Error>; 4] = [
            Box::new(OpenError::Os(os())),
            Box::new(SnapshotError::Io { step: "sync the temporary file", error: os() }),
            Box::new(SnapshotError::NotDurable(os())),
            Box::new(RestoreError::Io(os())),
        ];
        for error in ours {
            assert_eq!(error.source().map(ToString::to_string), Some(said.clone()), "{error}");
        }
        let config = ConfigError { field: "grace", problem: "must be at most 24 days" };
        assert_eq!(OpenError::Config(config.clone()).source().map(ToString::to_string), Some(config.to_string()));
        assert!(RestoreError::Torn.source().is_none());
    }
}
