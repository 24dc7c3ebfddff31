//go:build hostwheel_native && cgo && linux

package native

// #include "hostwheel.h"
import "C"

import (
	"time"
	"unsafe"
)

// Code is what a function of the library returned: OK, or why it refused. It is an error with the library's words.
type Code int32

// The codes that the package tells apart.
const (
	OK         Code = 0
	ErrStale   Code = C.HOSTWHEEL_ERR_STALE
	ErrTaken   Code = C.HOSTWHEEL_ERR_TAKEN
	ErrFull    Code = C.HOSTWHEEL_ERR_FULL
	ErrClosed  Code = C.HOSTWHEEL_ERR_CLOSED
	ErrPanic   Code = C.HOSTWHEEL_ERR_PANIC
	ErrOS      Code = C.HOSTWHEEL_ERR_OS
	ErrAttempt Code = C.HOSTWHEEL_ERR_ATTEMPT
)

// Error is what the library says about the code.
func (c Code) Error() string {
	return C.GoString(C.hostwheel_strerror(C.int32_t(c)))
}

// Config is a checked configuration. 0 is off wherever that means something.
type Config struct {
	HostTTL, Grace, MinInterval, MaxInterval, Watchdog, Backstop, SettleTimeout time.Duration
	MaxHosts, MaxOutstanding                                                    int
	BurstPermille, BurstMin, RefillPermille, RefillMin, SilenceExpected         int
	Manual                                                                      bool
}

// The outcomes of an announce.
const (
	Registered = C.HOSTWHEEL_OUTCOME_REGISTERED
	Renewed    = C.HOSTWHEEL_OUTCOME_RENEWED
	Recovered  = C.HOSTWHEEL_OUTCOME_RECOVERED
)

// ClockCoarse is the library's clock whose margin is part of the shift.
const ClockCoarse = C.HOSTWHEEL_CLOCK_COARSE

// Never is a time that does not come.
const Never = uint64(C.HOSTWHEEL_NEVER)

// Host is what decides a host's fate; State and HeldBy are HOSTWHEEL_STATE_* and HOSTWHEEL_HELD_*.
type Host struct {
	State, HeldBy                                                             uint32
	IntervalNS, LastSeenNS, AgeNS, DeadlineNS, LeavesAtNS, NextLookNS, HeldNS uint64
}

// Event is an event; Kind and Reason are HOSTWHEEL_EVENT_* and HOSTWHEEL_REASON_*.
type Event struct {
	Kind, Reason, Attempt uint32
	Superseded            bool
	Handle                uint64
	// Waiting is how many due hosts wait: of a guard event.
	Waiting uint64

	IntervalNS, LastSeenNS, DeadlineNS, NowNS, LatenessNS, AwayNS, HeldNS uint64
}

// Stats are the counters, as the header describes them; Clock is HOSTWHEEL_CLOCK_*.
type Stats struct {
	Live, Suspect, Registered, Left, LeavesTTL, LeavesHostTTL, LeavesBackstop, Suspects, Recoveries, Retries uint64
	Rescues, Sweeps, Superseded, Clamps, Outstanding, Waiting, SilenceNS, Silences, BrakeNS, AwayNS, NowNS   uint64
	MarginNS, Visits, WakeUps, LatenessSumNS, LatenessMaxNS, Records, MemoryRefusals                         uint64

	Lateness [C.HOSTWHEEL_LATENESS_COUNTS]uint64
	Clock    uint32
}

// Layout is where a wheel keeps what a renew touches: see ffi/src/internal.rs and src/internal.rs of the repository. The
// addresses are good for as long as the Wheel can be reached.
type Layout struct {
	RecordSize, Word, Armed, Generation                uintptr
	ReadingNS, BaseNS                                  uint64
	Records, ShiftNS, PlainUntil, RaisedNS, RaisedByNS unsafe.Pointer
}
