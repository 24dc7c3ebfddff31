//! Planted bugs, for tests only: a check that cannot fail shows nothing, so each model and each promise of the simulation
//! has a canary that must make it fail. Outside of tests and fuzzing [`planted`] is a constant and nothing of this is
//! compiled in.

/// A bug that a test can plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    /// A host with an age takes any record, whose earlier words raise its stamp.
    RaisedStamp,
    /// The free list's head keeps its tag (ABA).
    UntaggedHead,
    /// A link of the free list is stored without a release.
    QuietLink,
    /// A registration does not raise the floor: words of two incarnations can be equal.
    WordReuse,
    /// A marker that finds its leaf bit set trusts it to be visible above.
    TrustedLeaf,
    /// The announcer does not fence between its word and `armed`.
    #[cfg(loom)]
    NoAnnouncerFence,
    /// The announcer does not fence between its mark and the alarm.
    NoWakeFence,
    /// The thread does not read the word again after it armed a record.
    NoSecondLook,
    /// The thread arms without a fence before its second look.
    NoArmFence,
    /// The thread does not fence between its alarm and the last look at the bitmap.
    NoSleepFence,
    /// A registration completed by a helper is not reported by it.
    SilentHelper,
    /// A replacement counts as soon as the index knows it, while the old incarnation lives.
    HastyReplacement,
    /// A look-up that finds a dead incarnation does not ask the index again.
    TrustedDeath,
    /// The end of a replaced incarnation does not say that the index knows its successor.
    QuietReplacement,
    /// The loser of a race for an id keeps its record.
    LoserKeepsRecord,
    /// The thread takes a due host without a CAS.
    BlindTake,
    /// The thread frees a record and leaves its hint in the list.
    FreeKeepsHint,
    /// A host leaves a tick early.
    Early,
    /// A due host is dropped.
    Lost,
    /// A leave is handed out twice.
    Double,
    /// A leave to be retried is forgotten.
    ForgottenRetry,
    /// Announcers do not cap their stamps by the horizon.
    UncappedStamp,
    /// The bound that goes with a sum is made of a horizon that is newer than the sum.
    LateBound,
    /// A stamp of the counter is compared with the end of its window only.
    OneEnd,
    /// A sum that has expired, or that counter and clock disagree about, is not withdrawn.
    KeptSum,
    /// A sum comes back after one reading.
    OneReading,
    /// Readings that are close to each other agree.
    CloseReadings,
    /// A host leaves without the grace after its TTL.
    NoGrace,
    /// Time in which nobody looked counts against the hosts.
    CountedAbsence,
    /// Silence never starts.
    DeafToSilence,
    /// Silence ends only when somebody is heard.
    EndlessSilence,
    /// One silence after another may hold a host.
    ForgetfulSilence,
    /// Who was not heard before a silence ended may leave at once.
    SparesNobody,
    /// Silence expects announces of hosts that announce less often than the one that is due.
    SlowWitnesses,
    /// The fleet's longest gap is taken for nothing.
    ForgottenGaps,
    /// Silence knows the second rule only.
    LearnsNothing,
    /// The first rule is applied before a full window was seen.
    HastyLearner,
    /// A silence, or the observer's absence, is learned as a gap of the fleet.
    LearnsSilence,
    /// The second rule asks for a quarter of the interval, whatever the grace.
    LateSilence,
    /// All leaves pass.
    NoBrake,
    /// The brake's bucket is not refilled.
    StuckBrake,
    /// Close does not wake the thread.
    SilentClose,
    /// A host is taken though nobody has drained its suspect event.
    Untold,
    /// A drain does not tell the thread that the queue has room.
    SilentDrain,
    /// A record is entered though its bucket was not searched as it is now.
    BlindEntry,
    /// Whoever looks up an id does not look whether the entry is still there.
    TrustedEntry,
    /// A removal that finds no entry does not look whether the bucket has changed.
    TrustedAbsence,
    /// A bucket is split while it changes.
    UnfrozenSplit,
    /// Whoever helps to split a bucket does not look whether that was done meanwhile.
    LateHelper,
    /// A helper of a split does not look whether a record that it asked had moved and gone meanwhile.
    TrustedRecord,
    /// A slot that a split has emptied is claimed under a control word from before the split.
    EarlyClaim,
    /// An empty slot of a bucket looks as if it had never been used.
    VirginAgain,
    /// Ids with equal hashes are taken for equal.
    HashOnly,
    /// The slot of an entry that was replaced is not given back.
    KeptSlot,
    /// A snapshot's record may have a longer id than a host.
    LongId,
    /// A snapshot's frame may be as long as it says.
    LongFrame,
    /// The first pass over a snapshot ends with its first frame.
    HalfChecked,
    /// A snapshot finds that no host missed an announce.
    NothingIsMissed,
    /// Announces that were expected between a run's last snapshot and the next start count as missed.
    UnexcusedGap,
    /// A restored host may be older than its interval.
    UncappedAge,
}

/// Whether the bug is planted.
#[cfg(not(any(test, fuzzing)))]
pub(crate) const fn planted(_: Canary) -> bool {
    false
}

/// Whether `HOSTWHEEL_CANARY` names the bug.
#[cfg(all(fuzzing, not(test)))]
pub(crate) fn planted(canary: Canary) -> bool {
    named().is_some_and(|name| name == format!("{canary:?}"))
}

/// The bug that the environment names. Read once: fuzzing asks it millions of times.
#[cfg(all(fuzzing, not(test)))]
pub(crate) fn named() -> Option<&'static str> {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("HOSTWHEEL_CANARY").ok()).as_deref()
}

#[cfg(test)]
pub(crate) use planting::{planted, with};

#[cfg(test)]
mod planting {
    use super::Canary;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Whether the bug is planted on this thread.
    pub(crate) fn planted(canary: Canary) -> bool {
        PLANTED.with(|planted| planted.get() == Some(canary))
    }

    /// Runs `f` with the bug planted.
    pub(crate) fn with<R>(canary: Canary, f: impl FnOnce() -> R) -> R {
        struct Unplant;
        impl Drop for Unplant {
            fn drop(&mut self) {
                PLANTED.with(|planted| planted.set(None));
            }
        }
        PLANTED.with(|planted| planted.set(Some(canary)));
        let _unplant = Unplant;
        f()
    }
}
