//! The structs and constants of the header. Their layout is the ABI: `layout` below holds it.

use std::ffi::c_void;
use std::mem::offset_of;

/// Clock: `CLOCK_MONOTONIC_COARSE` with a measured margin. A leave comes some milliseconds later.
pub const HOSTWHEEL_CLOCK_COARSE: u32 = 0;
/// Clock: `CLOCK_MONOTONIC`.
pub const HOSTWHEEL_CLOCK_PRECISE: u32 = 1;
/// Clock: the program's own, see hostwheel_advance. For tests and simulations.
pub const HOSTWHEEL_CLOCK_MANUAL: u32 = 2;
/// Clock: the processor's time stamp counter, set by `CLOCK_MONOTONIC`. The cheapest announce; a leave comes up to 1 ms later.
/// Where the kernel does not tell the time by that counter, this is the coarse clock: `clock` in hostwheel_stats_t says so.
pub const HOSTWHEEL_CLOCK_COUNTER: u32 = 3;

/// Delivery: the wheel calls `on_event`, on a thread of its own (with the manual clock: inside hostwheel_advance).
pub const HOSTWHEEL_DELIVERY_CALLBACK: u32 = 0;
/// Delivery: events wait for hostwheel_drain.
pub const HOSTWHEEL_DELIVERY_DRAIN: u32 = 1;

/// Event: the host's TTL has passed without an announce; it leaves after the grace unless it is heard.
pub const HOSTWHEEL_EVENT_SUSPECT: u32 = 1;
/// Event: a suspect was heard again.
pub const HOSTWHEEL_EVENT_RECOVERED: u32 = 2;
/// Event: the host is gone. Wants a verdict.
pub const HOSTWHEEL_EVENT_LEAVE: u32 = 3;

/// Event: a guard began or ended to hold hosts, the wheel was away, or its clock fell back; `reason` is HOSTWHEEL_GUARD_*. For a
/// log; it is about no host and wants no verdict: `handle` is 0, `id` is empty.
pub const HOSTWHEEL_EVENT_GUARD: u32 = 4;

/// Guard: no host at all is heard. No host leaves while that lasts.
pub const HOSTWHEEL_GUARD_SILENCE_BEGAN: u32 = 1;
/// Guard: a host is heard again, or silence has lasted for one host TTL.
pub const HOSTWHEEL_GUARD_SILENCE_ENDED: u32 = 2;
/// Guard: very many hosts leave at once. The brake begins to hold some of them.
pub const HOSTWHEEL_GUARD_BRAKE_BEGAN: u32 = 3;
/// Guard: the brake holds no host any more.
pub const HOSTWHEEL_GUARD_BRAKE_ENDED: u32 = 4;
/// Guard: the wheel did not look for longer than planned. That time counts against no host.
pub const HOSTWHEEL_GUARD_AWAY: u32 = 5;
/// Guard: the processor's counter cannot be trusted. Announces are stamped with the coarse clock for a while.
pub const HOSTWHEEL_GUARD_CLOCK_FELL_BACK: u32 = 6;
/// Guard: announces are stamped with the processor's counter again.
pub const HOSTWHEEL_GUARD_CLOCK_CAME_BACK: u32 = 7;

/// Reason: twice the host's own interval, and the grace, passed.
pub const HOSTWHEEL_REASON_TTL: u32 = 1;
/// Reason: the host announced without an interval; the host TTL, and the grace, passed.
pub const HOSTWHEEL_REASON_HOST_TTL: u32 = 2;
/// Reason: the wheel had lost the host and the back-stop found it. Please report that.
pub const HOSTWHEEL_REASON_BACKSTOP: u32 = 3;

/// Outcome: the host is new, or came back after it left: it has a new handle.
pub const HOSTWHEEL_OUTCOME_REGISTERED: u32 = 1;
/// Outcome: the host was known.
pub const HOSTWHEEL_OUTCOME_RENEWED: u32 = 2;
/// Outcome: the host was suspect and is trusted again.
pub const HOSTWHEEL_OUTCOME_RECOVERED: u32 = 3;

/// Verdict: the host's metadata is gone; nothing of it is kept.
pub const HOSTWHEEL_VERDICT_DONE: u32 = 0;
/// Verdict: not now; hand the leave out again after `retry_after_ns`, or, if that is 0, after 1 s, 2 s, 4 s ... 60 s.
pub const HOSTWHEEL_VERDICT_RETRY: u32 = 1;

/// Event flag: the id had come back under another handle when the event was handed out.
pub const HOSTWHEEL_EVENT_SUPERSEDED: u32 = 1;
/// Announced flag: the interval was clamped to the configured bounds.
pub const HOSTWHEEL_ANNOUNCED_CLAMPED: u32 = 1;
/// Announced flag: the host was registered with an age, and counts from a later moment than that says, as no record was free that
/// had been unused for so long.
pub const HOSTWHEEL_ANNOUNCED_AGE_CUT: u32 = 2;

/// State: within its TTL, or past it by less than the wheel has noticed.
pub const HOSTWHEEL_STATE_LIVE: u32 = 1;
/// State: past its TTL, within its grace (or held by a guard).
pub const HOSTWHEEL_STATE_SUSPECT: u32 = 2;
/// State: handed out as a leave that was not answered with DONE yet.
pub const HOSTWHEEL_STATE_TAKEN: u32 = 3;

/// Held by: nothing.
pub const HOSTWHEEL_HELD_NO: u32 = 0;
/// Held by silence: nobody at all is heard.
pub const HOSTWHEEL_HELD_SILENCE: u32 = 1;
/// Held by the brake: very many hosts leave at once.
pub const HOSTWHEEL_HELD_BRAKE: u32 = 2;
/// Held because `max_outstanding` leaves wait for their answers.
pub const HOSTWHEEL_HELD_OUTSTANDING: u32 = 3;

/// A time or a length that does not exist, where a field says so.
pub const HOSTWHEEL_NEVER: u64 = u64::MAX;

/// Counts of lateness in hostwheel_stats_t: at most 1 ms, 2 ms, 4 ms ... 65,536 ms.
pub const HOSTWHEEL_LATENESS_COUNTS: usize = 17;

/// A set of hosts. All functions that take one may be called from any thread at any time, unless they say otherwise.
#[allow(non_camel_case_types)]
pub struct hostwheel_t {
    _private: [u8; 0],
}

/// Called with the events of a batch, in order; to each leave it may write `verdict` and `retry_after_ns`. The events and
/// their ids are the callback's until it returns. It may call any function of the wheel; hostwheel_close and
/// hostwheel_advance return HOSTWHEEL_ERR_IN_CALLBACK. It must return: no longjmp, no C++ exception.
#[allow(non_camel_case_types)]
pub type hostwheel_event_fn =
    Option<unsafe extern "C" fn(ctx: *mut c_void, events: *mut hostwheel_event_t, count: usize)>;

/// Called with user data that nobody took, see `release_user_data` in hostwheel_config_t.
#[allow(non_camel_case_types)]
pub type hostwheel_release_fn = Option<unsafe extern "C" fn(ctx: *mut c_void, user_data: u64)>;

/// Called for each host; anything but 0 ends the walk. The host is the callback's until it returns.
#[allow(non_camel_case_types)]
pub type hostwheel_each_fn = Option<unsafe extern "C" fn(ctx: *mut c_void, host: *const hostwheel_host_t) -> i32>;

/// How a wheel behaves. Fill it with hostwheel_config_init, then change what you want; set what is reserved to 0. All
/// lengths of time are in nanoseconds and rounded up to whole milliseconds. It is extended at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct hostwheel_config_t {
    /// sizeof(hostwheel_config_t) of the program. Set by hostwheel_config_init.
    pub struct_size: u32,
    /// HOSTWHEEL_CLOCK_*. Default: counter.
    pub clock: u32,
    /// HOSTWHEEL_DELIVERY_*. Default: callback.
    pub delivery: u32,
    /// The most events made before they are delivered to the callback. Default: 256.
    pub batch: u32,
    /// TTL of hosts that announce without an interval. Default: 1 h.
    pub host_ttl_ns: u64,
    /// How long a host past its TTL stays suspect; at most its own interval counts. Default: 15 s.
    pub grace_ns: u64,
    /// Announced intervals below this are raised to it. Default: 1 s.
    pub min_interval_ns: u64,
    /// Announced intervals above this are lowered to it. Default: 24 days.
    pub max_interval_ns: u64,
    /// The most hosts known at a time, undelivered leaves included. Default: 2^24.
    pub max_hosts: u64,
    /// The most leaves handed out and not yet answered with DONE. Default: 65,536.
    pub max_outstanding: u64,
    /// The most time between two looks at the clock while a host is known; 0 switches observed time off. Default: 1 s.
    pub watchdog_ns: u64,
    /// How often the back-stop reads all hosts; 0: never. Default: 300 s.
    pub backstop_ns: u64,
    /// A drained leave that was not settled for so long is handed out again. Default: 60 s.
    pub settle_timeout_ns: u64,
    /// The brake's burst as a share of the fleet, in thousandths. With both burst fields 0 there is no brake. Default: 200.
    pub brake_burst_permille: u32,
    /// The least burst. Default: 100.
    pub brake_burst_min: u32,
    /// The brake's refill per minute as a share of the fleet, in thousandths. Default: 200.
    pub brake_refill_permille: u32,
    /// The least refill per minute. Default: 100.
    pub brake_refill_min: u32,
    /// Silence: announces that must have been due, and none heard, before nobody leaves any more, until somebody is heard, one
    /// host TTL at the longest. It begins when nobody was heard for clearly longer than ever in the last two intervals of the
    /// slowest host, or than the interval of the host that is due. 0: never. Default: 20.
    pub silence_expected: u32,
    /// 0.
    pub reserved0: u32,
    /// Called with events; needed for callback delivery, NULL for drain delivery.
    pub on_event: hostwheel_event_fn,
    /// Handed to both callbacks.
    pub ctx: *mut c_void,
    /// Called exactly once for the user data of each host that no leave function returned and no leave event showed: when
    /// hostwheel_leave was called with NULL for it, and, once the wheel is freed, for the hosts that were left. It must not
    /// call the wheel. May be NULL.
    pub release_user_data: hostwheel_release_fn,
    /// 0.
    pub reserved: [u64; 8],
}

/// The answer to an announce.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct hostwheel_announced_t {
    /// Names this incarnation of the host; never 0.
    pub handle: u64,
    /// The effective interval.
    pub interval_ns: u64,
    /// HOSTWHEEL_OUTCOME_*.
    pub outcome: u32,
    /// HOSTWHEEL_ANNOUNCED_*.
    pub flags: u32,
    /// 0.
    pub reserved: [u64; 2],
}

/// One event. Times are wheel time: nanoseconds since the wheel was opened, less the time in which nobody watched.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct hostwheel_event_t {
    /// HOSTWHEEL_EVENT_*.
    pub kind: u32,
    /// HOSTWHEEL_REASON_*; HOSTWHEEL_GUARD_* of a guard event.
    pub reason: u32,
    /// HOSTWHEEL_EVENT_SUPERSEDED or 0. The host may come back a moment later: compare the handle with the one you keep.
    pub flags: u32,
    /// How many times this leave was handed out, this time included; 1 for other events.
    pub attempt: u32,
    /// The incarnation that the event is about.
    pub handle: u64,
    /// The number given at registration. Of a guard event: how many due hosts wait.
    pub user_data: u64,
    /// The host's id: bytes, not a string. In a callback until it returns; drained: of a leave until it is settled as done,
    /// handed out again or the wheel is freed, of other events until the next drain.
    pub id: *const u8,
    /// Its length, 1 to 1024. Of a guard event: 0, with an `id` that is not NULL.
    pub id_len: usize,
    /// The effective interval; 0 if the host announced without one.
    pub interval_ns: u64,
    /// When the host was last heard. Of a guard event: since when it has been so.
    pub last_seen_ns: u64,
    /// When its TTL ended.
    pub deadline_ns: u64,
    /// When the event was made.
    pub now_ns: u64,
    /// How long after it was due the event was made.
    pub lateness_ns: u64,
    /// Time since the last announce that was not counted, because nobody watched. Of a guard event: how long it has lasted; of
    /// HOSTWHEEL_GUARD_AWAY the time that is not counted.
    pub away_ns: u64,
    /// How long a leave was held back by the brake, silence or outstanding leaves; part of the lateness.
    pub brake_ns: u64,
    /// Callback: HOSTWHEEL_VERDICT_*, written by the callback; DONE before that.
    pub verdict: u32,
    /// 0.
    pub reserved0: u32,
    /// Callback: written with HOSTWHEEL_VERDICT_RETRY; 0 for growing delays.
    pub retry_after_ns: u64,
    /// 0.
    pub reserved: [u64; 4],
}

/// What decides one host's fate. Times are wheel time; HOSTWHEEL_NEVER where there is none.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct hostwheel_host_t {
    /// The incarnation.
    pub handle: u64,
    /// The number given at registration.
    pub user_data: u64,
    /// In hostwheel_each the host's id, until the callback returns; NULL from hostwheel_inspect.
    pub id: *const u8,
    /// Its length; 0 from hostwheel_inspect.
    pub id_len: usize,
    /// HOSTWHEEL_STATE_*.
    pub state: u32,
    /// HOSTWHEEL_HELD_*.
    pub held_by: u32,
    /// The effective interval; 0 if the host announced without one.
    pub interval_ns: u64,
    /// When the host was last heard.
    pub last_seen_ns: u64,
    /// How long ago that was.
    pub age_ns: u64,
    /// When its TTL ends.
    pub deadline_ns: u64,
    /// When it leaves, if it is not heard.
    pub leaves_at_ns: u64,
    /// Since when it is suspect.
    pub suspect_since_ns: u64,
    /// When the wheel plans to look at it next.
    pub next_look_ns: u64,
    /// Since when it has been held back though it is due.
    pub held_since_ns: u64,
}

/// Counters since the wheel was opened, and what is at present.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct hostwheel_stats_t {
    /// Hosts that are known and not handed out, suspects included.
    pub live: u64,
    /// Of them those that are suspect.
    pub suspect: u64,
    /// Registrations.
    pub registered: u64,
    /// Hosts that said goodbye.
    pub left: u64,
    /// Leaves by HOSTWHEEL_REASON_TTL.
    pub leaves_ttl: u64,
    /// Leaves by HOSTWHEEL_REASON_HOST_TTL.
    pub leaves_host_ttl: u64,
    /// Leaves by HOSTWHEEL_REASON_BACKSTOP.
    pub leaves_backstop: u64,
    /// Suspect events.
    pub suspects: u64,
    /// Recovered events.
    pub recoveries: u64,
    /// Leaves handed out again.
    pub retries: u64,
    /// Panics of callbacks; always 0 for callbacks in C.
    pub panics: u64,
    /// Hosts that the back-stop had to find; 0 unless something is wrong.
    pub rescues: u64,
    /// Sweeps of the back-stop.
    pub sweeps: u64,
    /// Leaves whose id had come back when they were handed out.
    pub superseded: u64,
    /// Announces whose interval was clamped.
    pub clamps: u64,
    /// Leaves handed out or about to be, and not yet answered with DONE.
    pub outstanding: u64,
    /// Due hosts that wait: for room in the queue, for the brake, for silence to end, for answers.
    pub waiting: u64,
    /// Time of silence.
    pub silence_ns: u64,
    /// How often silence began.
    pub silences: u64,
    /// Time in which leaves waited for the brake.
    pub brake_ns: u64,
    /// Time in which nobody watched, and which counted against no host.
    pub away_ns: u64,
    /// Wheel time.
    pub now_ns: u64,
    /// The clock's margin at present: by how much a stamp may be late.
    pub margin_ns: u64,
    /// Records that the wheel looked at.
    pub visits: u64,
    /// Times the wheel's thread woke up (manual clock: was advanced).
    pub wake_ups: u64,
    /// Leaves at most 1 ms, 2 ms, 4 ms ... 65,536 ms late: cumulative, the time in which a guard held them left out.
    pub lateness: [u64; HOSTWHEEL_LATENESS_COUNTS],
    /// Sum of all leaves' lateness.
    pub lateness_sum_ns: u64,
    /// The greatest lateness of a leave.
    pub lateness_max_ns: u64,
    /// Records in use or used before: what memory follows.
    pub records: u64,
    /// HOSTWHEEL_CLOCK_*: the clock that announces are stamped with, the one that was asked for or what stands in for it.
    pub clock: u32,
    /// 0.
    pub reserved0: u32,
    /// How often the system refused memory for an event; the host was kept as it was, and tried again 10 ms later at the earliest.
    pub memory_refusals: u64,
}

/// The ABI of 64-bit systems, field by field at its ends and where padding could hide.
const _: () = {
    assert!(size_of::<hostwheel_config_t>() == 16 + 9 * 8 + 6 * 4 + 3 * 8 + 8 * 8);
    assert!(offset_of!(hostwheel_config_t, brake_burst_permille) == 88);
    assert!(offset_of!(hostwheel_config_t, on_event) == 112);
    assert!(size_of::<hostwheel_announced_t>() == 40);
    assert!(size_of::<hostwheel_event_t>() == 16 + 11 * 8 + 8 + 5 * 8);
    assert!(offset_of!(hostwheel_event_t, verdict) == 104);
    assert!(size_of::<hostwheel_host_t>() == 4 * 8 + 8 + 8 * 8);
    assert!(size_of::<hostwheel_stats_t>() == (25 + HOSTWHEEL_LATENESS_COUNTS + 3) * 8 + 2 * 8);
    assert!(offset_of!(hostwheel_stats_t, clock) == (25 + HOSTWHEEL_LATENESS_COUNTS + 3) * 8);
};
