//! The error numbers, and what the library's errors are in them.

use std::ffi::CStr;

use hostwheel::{
    AdvanceError, AnnounceError, CloseError, LeaveError, LookupError, OpenError, ReleaseError, RenewError, SettleError,
};

/// Gives the numbers the texts of hostwheel_strerror.
macro_rules! errors {
    ($($name:ident => $text:literal;)*) => {
        /// The text of a number.
        pub(crate) fn text(code: i32) -> &'static CStr {
            match code {
                0 => c"success",
                $($name => $text,)*
                _ => c"no error number of hostwheel",
            }
        }
    };
}

/// Error: a pointer that must not be NULL is.
pub const HOSTWHEEL_ERR_NULL_ARG: i32 = -1;
/// Error: an id must have 1 to 1024 bytes.
pub const HOSTWHEEL_ERR_ID_LENGTH: i32 = -2;
/// Error: a field of the configuration is out of bounds or contradicts another.
pub const HOSTWHEEL_ERR_CONFIG: i32 = -3;
/// Error: a size that no version of the struct has, or a tail unknown to this version that is not 0.
pub const HOSTWHEEL_ERR_STRUCT_SIZE: i32 = -4;
/// Error: no host of that id is known.
pub const HOSTWHEEL_ERR_NOT_FOUND: i32 = -5;
/// Error: the handle names no host of this wheel any more, or no leave that waits for an answer.
pub const HOSTWHEEL_ERR_STALE: i32 = -6;
/// Error: the host was handed out as a leave.
pub const HOSTWHEEL_ERR_TAKEN: i32 = -7;
/// Error: max_hosts hosts are known.
pub const HOSTWHEEL_ERR_FULL: i32 = -8;
/// Error: the system refused memory.
pub const HOSTWHEEL_ERR_NO_MEMORY: i32 = -9;
/// Error: the wheel was closed.
pub const HOSTWHEEL_ERR_CLOSED: i32 = -10;
/// Error: a callback was still running when the time was over. The wheel is closing; close again to wait longer.
pub const HOSTWHEEL_ERR_TIMEOUT: i32 = -11;
/// Error: not inside a callback of the same wheel.
pub const HOSTWHEEL_ERR_IN_CALLBACK: i32 = -12;
/// Error: the wheel was opened before this process was forked; it works in the parent only.
pub const HOSTWHEEL_ERR_FORKED: i32 = -13;
/// Error: a bug of the library; the wheel refuses everything from now on.
pub const HOSTWHEEL_ERR_PANIC: i32 = -14;
/// Error: not with this clock, or not with this delivery.
pub const HOSTWHEEL_ERR_MODE: i32 = -15;
/// Error: the system refused address space, a thread or a descriptor; errno says why.
pub const HOSTWHEEL_ERR_OS: i32 = -16;
/// Error: that attempt was answered already, or replaced by a later one.
pub const HOSTWHEEL_ERR_ATTEMPT: i32 = -17;

errors! {
    HOSTWHEEL_ERR_NULL_ARG => c"a pointer is NULL that must not be: see the function's description";
    HOSTWHEEL_ERR_ID_LENGTH => c"the host id must have 1 to 1024 bytes: use another id";
    HOSTWHEEL_ERR_CONFIG => c"a field of the configuration is out of bounds: start from hostwheel_config_init";
    HOSTWHEEL_ERR_STRUCT_SIZE => c"the struct is of no known size: start from hostwheel_config_init, pass sizeof";
    HOSTWHEEL_ERR_NOT_FOUND => c"no host of that id is known: it has left already or never announced";
    HOSTWHEEL_ERR_STALE => c"the handle is not in use any more: announce or find the host by its id";
    HOSTWHEEL_ERR_TAKEN => c"the host was handed out as a leave: answer that event, or announce it by its id";
    HOSTWHEEL_ERR_FULL => c"max_hosts hosts are known: raise max_hosts, or let hosts leave and try again";
    HOSTWHEEL_ERR_NO_MEMORY => c"the system refused memory: free some and try again";
    HOSTWHEEL_ERR_CLOSED => c"the wheel is closed: open another";
    HOSTWHEEL_ERR_TIMEOUT => c"a callback is still running: the wheel is closing, close it again to wait longer";
    HOSTWHEEL_ERR_IN_CALLBACK => c"called inside a callback of the same wheel: let the callback return first";
    HOSTWHEEL_ERR_FORKED => c"the wheel belongs to the parent process: open another after the fork";
    HOSTWHEEL_ERR_PANIC => c"a bug of hostwheel, the wheel is out of order: please report it, open another";
    HOSTWHEEL_ERR_MODE => c"not with this clock or delivery: see the function's description";
    HOSTWHEEL_ERR_OS => c"the system refused a resource: see errno, and the limits on memory, threads, files";
    HOSTWHEEL_ERR_ATTEMPT => c"that attempt was answered or replaced: answer the attempt last drained";
}

/// An error number on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

/// Maps the cases of the library's errors, which may get more, to numbers.
macro_rules! codes {
    ($($error:ident { $($case:ident => $code:ident,)* })*) => {
        $(impl From<$error> for Code {
            fn from(error: $error) -> Code {
                Code(match error {
                    $($error::$case => $code,)*
                    _ => HOSTWHEEL_ERR_PANIC,
                })
            }
        })*
    };
}

codes! {
    AnnounceError {
        IdLength => HOSTWHEEL_ERR_ID_LENGTH,
        Full => HOSTWHEEL_ERR_FULL,
        NoMemory => HOSTWHEEL_ERR_NO_MEMORY,
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    RenewError {
        Stale => HOSTWHEEL_ERR_STALE,
        Taken => HOSTWHEEL_ERR_TAKEN,
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    LeaveError {
        IdLength => HOSTWHEEL_ERR_ID_LENGTH,
        NotFound => HOSTWHEEL_ERR_NOT_FOUND,
        Stale => HOSTWHEEL_ERR_STALE,
        Taken => HOSTWHEEL_ERR_TAKEN,
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    LookupError {
        IdLength => HOSTWHEEL_ERR_ID_LENGTH,
        NotFound => HOSTWHEEL_ERR_NOT_FOUND,
        Stale => HOSTWHEEL_ERR_STALE,
    }
    SettleError {
        Mode => HOSTWHEEL_ERR_MODE,
        Stale => HOSTWHEEL_ERR_STALE,
        Attempt => HOSTWHEEL_ERR_ATTEMPT,
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    AdvanceError {
        Mode => HOSTWHEEL_ERR_MODE,
        InCallback => HOSTWHEEL_ERR_IN_CALLBACK,
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    ReleaseError {
        Closed => HOSTWHEEL_ERR_CLOSED,
    }
    CloseError {
        Timeout => HOSTWHEEL_ERR_TIMEOUT,
        InCallback => HOSTWHEEL_ERR_IN_CALLBACK,
    }
}

impl From<OpenError> for Code {
    fn from(error: OpenError) -> Code {
        Code(match error {
            OpenError::Config(_) => HOSTWHEEL_ERR_CONFIG,
            _ => HOSTWHEEL_ERR_OS,
        })
    }
}
