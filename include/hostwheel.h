/*
 * hostwheel: tells a scheduler, exactly and cheaply, which of its hosts have gone.
 *
 * Licence: Apache-2.0. Made from the sources of the library; do not edit.
 *
 * Hosts announce themselves, each with its interval; a host that is not heard for twice its interval (its TTL) is suspect,
 * and after a grace it leaves: the wheel calls on_event, or has the event drained. Every host has an id of 1 to 1024 bytes,
 * of any values, and while it lives a handle, which is never given to anybody else.
 *
 * Return values. All functions that return int32_t return 0, or a negative HOSTWHEEL_ERR_*; then nothing has changed and no
 * output was written, unless the function says otherwise. hostwheel_strerror has the words.
 *
 * Threads. All functions may be called from any thread, at the same time, and inside callbacks; only hostwheel_free must be
 * the last call. Those that name a known host take no lock and wait for nobody. None is async-signal-safe. The wheel's own
 * thread blocks all signals but those of faults. After fork a wheel works in the parent only.
 *
 * Ownership. Ids are copied. user_data is a number of the caller's that comes back with a host's events, often a pointer; the
 * wheel owns it from an announce with HOSTWHEEL_OUTCOME_REGISTERED until a leave function or a leave event gives it back.
 *
 * Units. Lengths and times are nanoseconds; the wheel counts in milliseconds and rounds up.
 */

#ifndef HOSTWHEEL_H
#define HOSTWHEEL_H

#include <stddef.h>
#include <stdint.h>
#define HOSTWHEEL_VERSION_MAJOR 0
#define HOSTWHEEL_VERSION_MINOR 1
#define HOSTWHEEL_VERSION_PATCH 0
#define HOSTWHEEL_VERSION "0.1.0"


// Error: a pointer that must not be NULL is.
#define HOSTWHEEL_ERR_NULL_ARG -1

// Error: an id must have 1 to 1024 bytes.
#define HOSTWHEEL_ERR_ID_LENGTH -2

// Error: a field of the configuration is out of bounds or contradicts another.
#define HOSTWHEEL_ERR_CONFIG -3

// Error: a size that no version of the struct has, or a tail unknown to this version that is not 0.
#define HOSTWHEEL_ERR_STRUCT_SIZE -4

// Error: no host of that id is known.
#define HOSTWHEEL_ERR_NOT_FOUND -5

// Error: the handle names no host of this wheel any more, or no leave that waits for an answer.
#define HOSTWHEEL_ERR_STALE -6

// Error: the host was handed out as a leave.
#define HOSTWHEEL_ERR_TAKEN -7

// Error: max_hosts hosts are known.
#define HOSTWHEEL_ERR_FULL -8

// Error: the system refused memory.
#define HOSTWHEEL_ERR_NO_MEMORY -9

// Error: the wheel was closed.
#define HOSTWHEEL_ERR_CLOSED -10

// Error: a callback was still running when the time was over. The wheel is closing; close again to wait longer.
#define HOSTWHEEL_ERR_TIMEOUT -11

// Error: not inside a callback of the same wheel.
#define HOSTWHEEL_ERR_IN_CALLBACK -12

// Error: the wheel was opened before this process was forked; it works in the parent only.
#define HOSTWHEEL_ERR_FORKED -13

// Error: a bug of the library; the wheel refuses everything from now on.
#define HOSTWHEEL_ERR_PANIC -14

// Error: not with this clock, or not with this delivery.
#define HOSTWHEEL_ERR_MODE -15

// Error: the system refused address space, a thread or a descriptor; errno says why.
#define HOSTWHEEL_ERR_OS -16

// Error: that attempt was answered already, or replaced by a later one.
#define HOSTWHEEL_ERR_ATTEMPT -17

// Clock: `CLOCK_MONOTONIC_COARSE` with a measured margin. A leave comes some milliseconds later.
#define HOSTWHEEL_CLOCK_COARSE 0

// Clock: `CLOCK_MONOTONIC`.
#define HOSTWHEEL_CLOCK_PRECISE 1

// Clock: the program's own, see hostwheel_advance. For tests and simulations.
#define HOSTWHEEL_CLOCK_MANUAL 2

// Clock: the processor's time stamp counter, set by `CLOCK_MONOTONIC`. The cheapest announce; a leave comes up to 1 ms later.
// Where the kernel does not tell the time by that counter, this is the coarse clock: `clock` in hostwheel_stats_t says so.
#define HOSTWHEEL_CLOCK_COUNTER 3

// Delivery: the wheel calls `on_event`, on a thread of its own (with the manual clock: inside hostwheel_advance).
#define HOSTWHEEL_DELIVERY_CALLBACK 0

// Delivery: events wait for hostwheel_drain.
#define HOSTWHEEL_DELIVERY_DRAIN 1

// Event: the host's TTL has passed without an announce; it leaves after the grace unless it is heard.
#define HOSTWHEEL_EVENT_SUSPECT 1

// Event: a suspect was heard again.
#define HOSTWHEEL_EVENT_RECOVERED 2

// Event: the host is gone. Wants a verdict.
#define HOSTWHEEL_EVENT_LEAVE 3

// Event: a guard began or ended to hold hosts, the wheel was away, or its clock fell back; `reason` is HOSTWHEEL_GUARD_*. For a
// log; it is about no host and wants no verdict: `handle` is 0, `id` is empty.
#define HOSTWHEEL_EVENT_GUARD 4

// Guard: no host at all is heard. No host leaves while that lasts.
#define HOSTWHEEL_GUARD_SILENCE_BEGAN 1

// Guard: a host is heard again, or silence has lasted for one host TTL.
#define HOSTWHEEL_GUARD_SILENCE_ENDED 2

// Guard: very many hosts leave at once. The brake begins to hold some of them.
#define HOSTWHEEL_GUARD_BRAKE_BEGAN 3

// Guard: the brake holds no host any more.
#define HOSTWHEEL_GUARD_BRAKE_ENDED 4

// Guard: the wheel did not look for longer than planned. That time counts against no host.
#define HOSTWHEEL_GUARD_AWAY 5

// Guard: the processor's counter cannot be trusted. Announces are stamped with the coarse clock for a while.
#define HOSTWHEEL_GUARD_CLOCK_FELL_BACK 6

// Guard: announces are stamped with the processor's counter again.
#define HOSTWHEEL_GUARD_CLOCK_CAME_BACK 7

// Reason: twice the host's own interval, and the grace, passed.
#define HOSTWHEEL_REASON_TTL 1

// Reason: the host announced without an interval; the host TTL, and the grace, passed.
#define HOSTWHEEL_REASON_HOST_TTL 2

// Reason: the wheel had lost the host and the back-stop found it. Please report that.
#define HOSTWHEEL_REASON_BACKSTOP 3

// Outcome: the host is new, or came back after it left: it has a new handle.
#define HOSTWHEEL_OUTCOME_REGISTERED 1

// Outcome: the host was known.
#define HOSTWHEEL_OUTCOME_RENEWED 2

// Outcome: the host was suspect and is trusted again.
#define HOSTWHEEL_OUTCOME_RECOVERED 3

// Verdict: the host's metadata is gone; nothing of it is kept.
#define HOSTWHEEL_VERDICT_DONE 0

// Verdict: not now; hand the leave out again after `retry_after_ns`, or, if that is 0, after 1 s, 2 s, 4 s ... 60 s.
#define HOSTWHEEL_VERDICT_RETRY 1

// Event flag: the id had come back under another handle when the event was handed out.
#define HOSTWHEEL_EVENT_SUPERSEDED 1

// Announced flag: the interval was clamped to the configured bounds.
#define HOSTWHEEL_ANNOUNCED_CLAMPED 1

// Announced flag: the host was registered with an age, and counts from a later moment than that says, as no record was free that
// had been unused for so long.
#define HOSTWHEEL_ANNOUNCED_AGE_CUT 2

// State: within its TTL, or past it by less than the wheel has noticed.
#define HOSTWHEEL_STATE_LIVE 1

// State: past its TTL, within its grace (or held by a guard).
#define HOSTWHEEL_STATE_SUSPECT 2

// State: handed out as a leave that was not answered with DONE yet.
#define HOSTWHEEL_STATE_TAKEN 3

// Held by: nothing.
#define HOSTWHEEL_HELD_NO 0

// Held by silence: nobody at all is heard.
#define HOSTWHEEL_HELD_SILENCE 1

// Held by the brake: very many hosts leave at once.
#define HOSTWHEEL_HELD_BRAKE 2

// Held because `max_outstanding` leaves wait for their answers.
#define HOSTWHEEL_HELD_OUTSTANDING 3

// A time or a length that does not exist, where a field says so.
#define HOSTWHEEL_NEVER UINT64_MAX

// Counts of lateness in hostwheel_stats_t: at most 1 ms, 2 ms, 4 ms ... 65,536 ms.
#define HOSTWHEEL_LATENESS_COUNTS 17

// The version of the ABI: raised when a program built for an older one could break.
#define HOSTWHEEL_ABI_VERSION 0

// A set of hosts. All functions that take one may be called from any thread at any time, unless they say otherwise.
typedef struct hostwheel_t hostwheel_t;

// One event. Times are wheel time: nanoseconds since the wheel was opened, less the time in which nobody watched.
typedef struct hostwheel_event_t {
  // HOSTWHEEL_EVENT_*.
  uint32_t kind;
  // HOSTWHEEL_REASON_*; HOSTWHEEL_GUARD_* of a guard event.
  uint32_t reason;
  // HOSTWHEEL_EVENT_SUPERSEDED or 0. The host may come back a moment later: compare the handle with the one you keep.
  uint32_t flags;
  // How many times this leave was handed out, this time included; 1 for other events.
  uint32_t attempt;
  // The incarnation that the event is about.
  uint64_t handle;
  // The number given at registration. Of a guard event: how many due hosts wait.
  uint64_t user_data;
  // The host's id: bytes, not a string. In a callback until it returns; drained: of a leave until it is settled as done,
  // handed out again or the wheel is freed, of other events until the next drain.
  const uint8_t *id;
  // Its length, 1 to 1024. Of a guard event: 0, with an `id` that is not NULL.
  size_t id_len;
  // The effective interval; 0 if the host announced without one.
  uint64_t interval_ns;
  // When the host was last heard. Of a guard event: since when it has been so.
  uint64_t last_seen_ns;
  // When its TTL ended.
  uint64_t deadline_ns;
  // When the event was made.
  uint64_t now_ns;
  // How long after it was due the event was made.
  uint64_t lateness_ns;
  // Time since the last announce that was not counted, because nobody watched. Of a guard event: how long it has lasted; of
  // HOSTWHEEL_GUARD_AWAY the time that is not counted.
  uint64_t away_ns;
  // How long a leave was held back by the brake, silence or outstanding leaves; part of the lateness.
  uint64_t brake_ns;
  // Callback: HOSTWHEEL_VERDICT_*, written by the callback; DONE before that.
  uint32_t verdict;
  // 0.
  uint32_t reserved0;
  // Callback: written with HOSTWHEEL_VERDICT_RETRY; 0 for growing delays.
  uint64_t retry_after_ns;
  // 0.
  uint64_t reserved[4];
} hostwheel_event_t;

// Called with the events of a batch, in order; to each leave it may write `verdict` and `retry_after_ns`. The events and
// their ids are the callback's until it returns. It may call any function of the wheel; hostwheel_close and
// hostwheel_advance return HOSTWHEEL_ERR_IN_CALLBACK. It must return: no longjmp, no C++ exception.
typedef void (*hostwheel_event_fn)(void *ctx, struct hostwheel_event_t *events, size_t count);

// Called with user data that nobody took, see `release_user_data` in hostwheel_config_t.
typedef void (*hostwheel_release_fn)(void *ctx, uint64_t user_data);

// How a wheel behaves. Fill it with hostwheel_config_init, then change what you want; set what is reserved to 0. All
// lengths of time are in nanoseconds and rounded up to whole milliseconds. It is extended at its end only.
typedef struct hostwheel_config_t {
  // sizeof(hostwheel_config_t) of the program. Set by hostwheel_config_init.
  uint32_t struct_size;
  // HOSTWHEEL_CLOCK_*. Default: counter.
  uint32_t clock;
  // HOSTWHEEL_DELIVERY_*. Default: callback.
  uint32_t delivery;
  // The most events made before they are delivered to the callback. Default: 256.
  uint32_t batch;
  // TTL of hosts that announce without an interval. Default: 1 h.
  uint64_t host_ttl_ns;
  // How long a host past its TTL stays suspect; at most its own interval counts. Default: 15 s.
  uint64_t grace_ns;
  // Announced intervals below this are raised to it. Default: 1 s.
  uint64_t min_interval_ns;
  // Announced intervals above this are lowered to it. Default: 24 days.
  uint64_t max_interval_ns;
  // The most hosts known at a time, undelivered leaves included. Default: 2^24.
  uint64_t max_hosts;
  // The most leaves handed out and not yet answered with DONE. Default: 65,536.
  uint64_t max_outstanding;
  // The most time between two looks at the clock while a host is known; 0 switches observed time off. Default: 1 s.
  uint64_t watchdog_ns;
  // How often the back-stop reads all hosts; 0: never. Default: 300 s.
  uint64_t backstop_ns;
  // A drained leave that was not settled for so long is handed out again. Default: 60 s.
  uint64_t settle_timeout_ns;
  // The brake's burst as a share of the fleet, in thousandths. With both burst fields 0 there is no brake. Default: 200.
  uint32_t brake_burst_permille;
  // The least burst. Default: 100.
  uint32_t brake_burst_min;
  // The brake's refill per minute as a share of the fleet, in thousandths. Default: 200.
  uint32_t brake_refill_permille;
  // The least refill per minute. Default: 100.
  uint32_t brake_refill_min;
  // Silence: announces that must have been due, and none heard, before nobody leaves any more, until somebody is heard, one
  // host TTL at the longest. It begins when nobody was heard for clearly longer than ever in the last two intervals of the
  // slowest host, or than the interval of the host that is due. 0: never. Default: 20.
  uint32_t silence_expected;
  // 0.
  uint32_t reserved0;
  // Called with events; needed for callback delivery, NULL for drain delivery.
  hostwheel_event_fn on_event;
  // Handed to both callbacks.
  void *ctx;
  // Called exactly once for the user data of each host that no leave function returned and no leave event showed: when
  // hostwheel_leave was called with NULL for it, and, once the wheel is freed, for the hosts that were left. It must not
  // call the wheel. May be NULL.
  hostwheel_release_fn release_user_data;
  // 0.
  uint64_t reserved[8];
} hostwheel_config_t;

// The answer to an announce.
typedef struct hostwheel_announced_t {
  // Names this incarnation of the host; never 0.
  uint64_t handle;
  // The effective interval.
  uint64_t interval_ns;
  // HOSTWHEEL_OUTCOME_*.
  uint32_t outcome;
  // HOSTWHEEL_ANNOUNCED_*.
  uint32_t flags;
  // 0.
  uint64_t reserved[2];
} hostwheel_announced_t;

// What decides one host's fate. Times are wheel time; HOSTWHEEL_NEVER where there is none.
typedef struct hostwheel_host_t {
  // The incarnation.
  uint64_t handle;
  // The number given at registration.
  uint64_t user_data;
  // In hostwheel_each the host's id, until the callback returns; NULL from hostwheel_inspect.
  const uint8_t *id;
  // Its length; 0 from hostwheel_inspect.
  size_t id_len;
  // HOSTWHEEL_STATE_*.
  uint32_t state;
  // HOSTWHEEL_HELD_*.
  uint32_t held_by;
  // The effective interval; 0 if the host announced without one.
  uint64_t interval_ns;
  // When the host was last heard.
  uint64_t last_seen_ns;
  // How long ago that was.
  uint64_t age_ns;
  // When its TTL ends.
  uint64_t deadline_ns;
  // When it leaves, if it is not heard.
  uint64_t leaves_at_ns;
  // Since when it is suspect.
  uint64_t suspect_since_ns;
  // When the wheel plans to look at it next.
  uint64_t next_look_ns;
  // Since when it has been held back though it is due.
  uint64_t held_since_ns;
} hostwheel_host_t;

// Called for each host; anything but 0 ends the walk. The host is the callback's until it returns.
typedef int32_t (*hostwheel_each_fn)(void *ctx, const struct hostwheel_host_t *host);

// Counters since the wheel was opened, and what is at present.
typedef struct hostwheel_stats_t {
  // Hosts that are known and not handed out, suspects included.
  uint64_t live;
  // Of them those that are suspect.
  uint64_t suspect;
  // Registrations.
  uint64_t registered;
  // Hosts that said goodbye.
  uint64_t left;
  // Leaves by HOSTWHEEL_REASON_TTL.
  uint64_t leaves_ttl;
  // Leaves by HOSTWHEEL_REASON_HOST_TTL.
  uint64_t leaves_host_ttl;
  // Leaves by HOSTWHEEL_REASON_BACKSTOP.
  uint64_t leaves_backstop;
  // Suspect events.
  uint64_t suspects;
  // Recovered events.
  uint64_t recoveries;
  // Leaves handed out again.
  uint64_t retries;
  // Panics of callbacks; always 0 for callbacks in C.
  uint64_t panics;
  // Hosts that the back-stop had to find; 0 unless something is wrong.
  uint64_t rescues;
  // Sweeps of the back-stop.
  uint64_t sweeps;
  // Leaves whose id had come back when they were handed out.
  uint64_t superseded;
  // Announces whose interval was clamped.
  uint64_t clamps;
  // Leaves handed out or about to be, and not yet answered with DONE.
  uint64_t outstanding;
  // Due hosts that wait: for room in the queue, for the brake, for silence to end, for answers.
  uint64_t waiting;
  // Time of silence.
  uint64_t silence_ns;
  // How often silence began.
  uint64_t silences;
  // Time in which leaves waited for the brake.
  uint64_t brake_ns;
  // Time in which nobody watched, and which counted against no host.
  uint64_t away_ns;
  // Wheel time.
  uint64_t now_ns;
  // The clock's margin at present: by how much a stamp may be late.
  uint64_t margin_ns;
  // Records that the wheel looked at.
  uint64_t visits;
  // Times the wheel's thread woke up (manual clock: was advanced).
  uint64_t wake_ups;
  // Leaves at most 1 ms, 2 ms, 4 ms ... 65,536 ms late: cumulative, the time in which a guard held them left out.
  uint64_t lateness[HOSTWHEEL_LATENESS_COUNTS];
  // Sum of all leaves' lateness.
  uint64_t lateness_sum_ns;
  // The greatest lateness of a leave.
  uint64_t lateness_max_ns;
  // Records in use or used before: what memory follows.
  uint64_t records;
  // HOSTWHEEL_CLOCK_*: the clock that announces are stamped with, the one that was asked for or what stands in for it.
  uint32_t clock;
  // 0.
  uint32_t reserved0;
  // How often the system refused memory for an event; the host was kept as it was, and tried again 10 ms later at the earliest.
  uint64_t memory_refusals;
} hostwheel_stats_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Fills a configuration of `size` bytes, `sizeof(hostwheel_config_t)` of the program, with every default.
//
// Errors: NULL_ARG, STRUCT_SIZE. Any thread.
int32_t hostwheel_config_init(struct hostwheel_config_t *config,
                              size_t size);

// Opens a wheel. `*out` is to be freed with hostwheel_free.
//
// Errors: NULL_ARG (`config`, `out`, or `on_event` with callback delivery), STRUCT_SIZE, CONFIG, OS (errno says why). Any
// thread. Not async-signal-safe, like everything here.
int32_t hostwheel_open(const struct hostwheel_config_t *config,
                       struct hostwheel_t **out);

// Closes the wheel: from now on announces, renews, leaves and answers are refused, hosts that are known get no leave, and
// no callback runs once this returned 0. Waits at most `timeout_ns` for a callback that runs. May be called again.
//
// Errors: NULL_ARG, TIMEOUT, IN_CALLBACK (the wheel closes all the same), FORKED, PANIC.
int32_t hostwheel_close(struct hostwheel_t *wheel,
                        uint64_t timeout_ns);

// Frees the wheel, closing it first if nobody has. Waits up to 5 s for a callback that runs on the wheel's thread, also
// after a close that timed out. NULL is ignored.
//
// No other call may be under way or come after; a callback that still runs must not call the wheel any more either. Inside a
// callback it does not wait: the call that the callback is inside of (hostwheel_advance, hostwheel_each) frees the wheel when it
// returns. The wheel's own thread, where it is still in a callback, goes on to the end of that, begins no other, and frees what
// it uses; `release_user_data` is called there then, so what `ctx` points to must live until then. In a forked child nothing is
// freed.
void hostwheel_free(struct hostwheel_t *wheel);

// The host `id` was heard `age_ns` ago, and will be again every `interval_ns` (0: it does not say). Registers it if it is
// not known, and keeps `user_data` then; else renews it and takes over the interval.
//
// An announce from before the last one changes nothing. `out` may be NULL only without `release_user_data`: who owns
// `user_data` depends on the outcome. It is the wheel's with HOSTWHEEL_OUTCOME_REGISTERED only. A known host costs one
// look-up and one compare-and-swap, no lock.
//
// Errors: NULL_ARG, ID_LENGTH, FULL, NO_MEMORY, CLOSED, FORKED, PANIC.
int32_t hostwheel_announce(struct hostwheel_t *wheel,
                           const uint8_t *id,
                           size_t id_len,
                           uint64_t interval_ns,
                           uint64_t age_ns,
                           uint64_t user_data,
                           struct hostwheel_announced_t *out);

// The host `id` came back as another process: ends the incarnation that is known, without a leave event, and begins a new one
// with a new handle, in one step for everybody else. At no moment is the id unknown, or known twice. An id that is not known
// is registered. `user_data` is the wheel's from now on.
//
// `*ended_handle` is the handle of the incarnation that ended, 0 if none was known (also of a host that was handed out as a
// leave); `*ended_user_data` is its user data, which are the caller's again. With NULL they go to `release_user_data`. Any of
// the three outputs may be NULL. The old handle is stale: say goodbye by handle, and put it, or a boot id of your own, into the
// message, so that a late goodbye does not end the new incarnation. Waits for another hostwheel_replace of the same id.
//
// Errors: NULL_ARG, ID_LENGTH, FULL (the id is not known, and max_hosts are), NO_MEMORY, CLOSED, FORKED, PANIC.
int32_t hostwheel_replace(struct hostwheel_t *wheel,
                          const uint8_t *id,
                          size_t id_len,
                          uint64_t interval_ns,
                          uint64_t user_data,
                          struct hostwheel_announced_t *out,
                          uint64_t *ended_handle,
                          uint64_t *ended_user_data);

// The host was heard `age_ns` ago; its interval stays. The cheapest announce: one compare-and-swap. `outcome` may be NULL.
//
// Errors: NULL_ARG, STALE (the host has left: announce it by its id), TAKEN (it was handed out as a leave), CLOSED, FORKED,
// PANIC.
int32_t hostwheel_renew(struct hostwheel_t *wheel,
                        uint64_t handle,
                        uint64_t age_ns,
                        uint32_t *outcome);

// The host says goodbye: it is removed and fires nothing. `*user_data` is the caller's again; with NULL it goes to
// `release_user_data`.
//
// Errors: NULL_ARG, ID_LENGTH, NOT_FOUND (also of a host that was handed out as a leave), CLOSED, FORKED, PANIC.
int32_t hostwheel_leave(struct hostwheel_t *wheel,
                        const uint8_t *id,
                        size_t id_len,
                        uint64_t *user_data);

// As hostwheel_leave, by handle.
//
// Errors: NULL_ARG, STALE, TAKEN, CLOSED, FORKED, PANIC.
int32_t hostwheel_leave_handle(struct hostwheel_t *wheel, uint64_t handle, uint64_t *user_data);

// The handle of a host that is known and not handed out as a leave. Works after close as well.
//
// Errors: NULL_ARG, ID_LENGTH, NOT_FOUND, FORKED, PANIC.
int32_t hostwheel_find(struct hostwheel_t *wheel,
                       const uint8_t *id,
                       size_t id_len,
                       uint64_t *handle);

// What decides one host's fate. `size` is `sizeof(hostwheel_host_t)` of the program; so many bytes are written, what this
// version does not know as 0. Works after close as well.
//
// Errors: NULL_ARG, STRUCT_SIZE, STALE, FORKED, PANIC.
int32_t hostwheel_inspect(struct hostwheel_t *wheel,
                          uint64_t handle,
                          struct hostwheel_host_t *out,
                          size_t size);

// Calls `each` for every host that is known and not handed out as a leave, until it returns anything but 0. Hosts that
// come or go meanwhile may be missed, and no id is shown twice. `each` may call the wheel, and may block. Works after close as
// well.
//
// Errors: NULL_ARG, FORKED, PANIC.
int32_t hostwheel_each(struct hostwheel_t *wheel,
                       hostwheel_each_fn each,
                       void *ctx);

// A snapshot of the counters. `size` is `sizeof(hostwheel_stats_t)` of the program, see hostwheel_inspect. Works after
// close as well.
//
// Errors: NULL_ARG, STRUCT_SIZE, FORKED, PANIC.
int32_t hostwheel_stats(struct hostwheel_t *wheel,
                        struct hostwheel_stats_t *out,
                        size_t size);

// The descriptor that is readable while events wait, and for ever once the wheel is closed, for poll and epoll. It is the
// wheel's: do not read, write or close it. Drain delivery only.
//
// Errors: NULL_ARG, MODE, FORKED, PANIC.
int32_t hostwheel_event_fd(struct hostwheel_t *wheel,
                           int *fd);

// Moves at most `capacity` waiting events to `events` and says how many in `*count`, guard events first. Never waits. After close
// it gives out what was made before, and then returns CLOSED: no more will come. Each leave is to be answered with
// hostwheel_settle. No host leaves before its suspect event was drained.
// Calls from several threads take turns; the next one ends the life of the ids of suspect and recovered events, whoever makes
// it.
//
// Errors: NULL_ARG, MODE, CLOSED (and all was drained), NO_MEMORY (the events still wait), FORKED, PANIC.
int32_t hostwheel_drain(struct hostwheel_t *wheel,
                        struct hostwheel_event_t *events,
                        size_t capacity,
                        size_t *count);

// Answers the attempt number `attempt` of a drained leave with HOSTWHEEL_VERDICT_*; a retry comes after `retry_after_ns`, or
// after growing delays if that is 0. Drain delivery only.
//
// Errors: NULL_ARG, MODE, CONFIG (no such verdict), STALE (settled already), ATTEMPT, CLOSED, FORKED, PANIC.
int32_t hostwheel_settle(struct hostwheel_t *wheel,
                         uint64_t handle,
                         uint32_t attempt,
                         uint32_t verdict,
                         uint64_t retry_after_ns);

// Moves the manual clock to `now_ns` since the opening and does all that is due by then. `events`, which may be NULL, gets
// the number of events delivered, or made if they are drained. An advance by more than the watchdog allows is a late look:
// the excess counts against no host.
//
// Errors: NULL_ARG, MODE (another clock), IN_CALLBACK, CLOSED, FORKED, PANIC.
int32_t hostwheel_advance(struct hostwheel_t *wheel,
                          uint64_t now_ns,
                          size_t *events);

// When to advance the manual clock next at the latest; HOSTWHEEL_NEVER while no host is known.
//
// Errors: NULL_ARG, MODE, IN_CALLBACK, CLOSED, FORKED, PANIC.
int32_t hostwheel_next_due(struct hostwheel_t *wheel, uint64_t *at_ns);

// Wheel time: nanoseconds since the opening, less the time in which nobody watched. Works after close as well.
//
// Errors: NULL_ARG, FORKED, PANIC.
int32_t hostwheel_now(struct hostwheel_t *wheel,
                      uint64_t *ns);

// Has the brake let as many hosts go at once as wait for it now: for an operator who knows that they are gone.
//
// Errors: NULL_ARG, CLOSED, FORKED, PANIC.
int32_t hostwheel_release(struct hostwheel_t *wheel);

// What a return value means and what to do about it. A constant string, for any number.
const char *hostwheel_strerror(int32_t code);

// The version of the library, such as "0.1.0". A constant string.
const char *hostwheel_version(void);

// HOSTWHEEL_ABI_VERSION of the library; that of the header is what the program was built for.
uint32_t hostwheel_abi_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HOSTWHEEL_H */

#ifndef HOSTWHEEL_LAYOUT_CHECKED
#define HOSTWHEEL_LAYOUT_CHECKED
/* The layout that the library was built with; a compiler that lays the structs out otherwise must not go on. */
#if defined(__cplusplus) && __cplusplus >= 201103L
#define HOSTWHEEL_ASSERT_LAYOUT(holds, name) static_assert(holds, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define HOSTWHEEL_ASSERT_LAYOUT(holds, name) _Static_assert(holds, #name)
#else
#define HOSTWHEEL_ASSERT_LAYOUT(holds, name) typedef char name[(holds) ? 1 : -1]
#endif
HOSTWHEEL_ASSERT_LAYOUT(sizeof(hostwheel_config_t) == 200, hostwheel_layout_config);
HOSTWHEEL_ASSERT_LAYOUT(offsetof(hostwheel_config_t, on_event) == 112, hostwheel_layout_config_on_event);
HOSTWHEEL_ASSERT_LAYOUT(sizeof(hostwheel_announced_t) == 40, hostwheel_layout_announced);
HOSTWHEEL_ASSERT_LAYOUT(sizeof(hostwheel_event_t) == 152, hostwheel_layout_event);
HOSTWHEEL_ASSERT_LAYOUT(offsetof(hostwheel_event_t, verdict) == 104, hostwheel_layout_event_verdict);
HOSTWHEEL_ASSERT_LAYOUT(sizeof(hostwheel_host_t) == 104, hostwheel_layout_host);
HOSTWHEEL_ASSERT_LAYOUT(sizeof(hostwheel_stats_t) == 376, hostwheel_layout_stats);
#undef HOSTWHEEL_ASSERT_LAYOUT
#endif  /* HOSTWHEEL_LAYOUT_CHECKED */
