//! Planted bugs of the boundary, which fuzzing must find; see the library's `canary`. Without `cfg(fuzzing)` nothing of this
//! is compiled in.

/// A bug that fuzzing can plant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Canary {
    /// The handle of an id that is not known is written all the same.
    WrittenOnError,
    /// User data that the caller of a leave function did not ask for goes to nobody.
    KeptUserData,
    /// An out struct is written whole, however short the program's is.
    WholeStruct,
    /// A configuration's unknown tail may be anything.
    TrustedTail,
}

/// Whether the bug is planted.
#[cfg(not(fuzzing))]
pub(crate) const fn planted(_: Canary) -> bool {
    false
}

/// Whether `HOSTWHEEL_CANARY` names the bug.
#[cfg(fuzzing)]
pub(crate) fn planted(canary: Canary) -> bool {
    hostwheel::internal::canary().is_some_and(|name| name == format!("{canary:?}"))
}
