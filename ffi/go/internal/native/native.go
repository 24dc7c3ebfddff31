//go:build hostwheel_native && cgo && linux

package native

/*
#cgo LDFLAGS: -lhostwheel -lm
#cgo noescape hostwheel_announce
#cgo nocallback hostwheel_announce
#cgo noescape hostwheel_internal_announce_handle
#cgo nocallback hostwheel_internal_announce_handle
#cgo noescape hostwheel_renew
#cgo nocallback hostwheel_renew
#cgo noescape hostwheel_leave_handle
#cgo nocallback hostwheel_leave_handle
#cgo noescape hostwheel_inspect
#cgo nocallback hostwheel_inspect
#cgo noescape hostwheel_internal_layout
#cgo nocallback hostwheel_internal_layout
#include "internal.h"
#if defined(__has_include)
#if __has_include("archive.h")
#include "archive.h"
#endif
#endif
*/
import "C"

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"
)

// Wheel is a wheel of the library, with drain delivery. It is freed when nobody can reach it any more.
type Wheel struct {
	c *C.hostwheel_t
	// drained is where events are drained to; its elements point to memory of the library.
	drained []C.hostwheel_event_t
}

// Open opens a wheel.
func Open(config *Config) (*Wheel, error) {
	if version := C.hostwheel_abi_version(); version != C.HOSTWHEEL_ABI_VERSION {
		return nil, fmt.Errorf("the library has ABI %d, the package was built for %d", version, C.HOSTWHEEL_ABI_VERSION)
	}
	var c C.hostwheel_config_t
	if code := Code(C.hostwheel_config_init(&c, C.sizeof_hostwheel_config_t)); code != OK {
		return nil, code
	}
	c.clock = C.HOSTWHEEL_CLOCK_PRECISE
	if config.Manual {
		c.clock = C.HOSTWHEEL_CLOCK_MANUAL
	}
	c.delivery = C.HOSTWHEEL_DELIVERY_DRAIN
	c.host_ttl_ns = ns(config.HostTTL)
	c.grace_ns = ns(config.Grace)
	c.min_interval_ns = ns(config.MinInterval)
	c.max_interval_ns = ns(config.MaxInterval)
	c.watchdog_ns = ns(config.Watchdog)
	c.backstop_ns = ns(config.Backstop)
	c.settle_timeout_ns = ns(config.SettleTimeout)
	c.max_hosts = C.uint64_t(config.MaxHosts)
	c.max_outstanding = C.uint64_t(config.MaxOutstanding)
	c.brake_burst_permille = C.uint32_t(config.BurstPermille)
	c.brake_burst_min = C.uint32_t(config.BurstMin)
	c.brake_refill_permille = C.uint32_t(config.RefillPermille)
	c.brake_refill_min = C.uint32_t(config.RefillMin)
	c.silence_expected = C.uint32_t(config.SilenceExpected)
	var opened *C.hostwheel_t
	code, errno := C.hostwheel_open(&c, &opened)
	switch {
	case Code(code) == ErrOS:
		return nil, fmt.Errorf("%w: %w", Code(code), errno)
	case Code(code) != OK:
		return nil, Code(code)
	}
	// It hands events on to goroutines.
	C.hostwheel_internal_tells(opened)
	w := &Wheel{c: opened}
	runtime.AddCleanup(w, func(opened *C.hostwheel_t) { C.hostwheel_free(opened) }, opened)
	return w, nil
}

func ns(d time.Duration) C.uint64_t { return C.uint64_t(max(d, 0)) }

func bytes(id string) (*C.uint8_t, C.size_t) {
	return (*C.uint8_t)(unsafe.StringData(id)), C.size_t(len(id))
}

// Register announces a host by its id, which registers it if no other host has the id.
func (w *Wheel) Register(id string, interval, age time.Duration) (handle uint64, outcome uint32, code Code) {
	var out C.hostwheel_announced_t
	p, n := bytes(id)
	code = Code(C.hostwheel_announce(w.c, p, n, ns(interval), ns(age), 0, &out))
	runtime.KeepAlive(w)
	return uint64(out.handle), uint32(out.outcome), code
}

// Replace ends the known incarnation of a host, and begins another one. The handle of the one that ended is 0 if none was known.
func (w *Wheel) Replace(id string, interval time.Duration) (handle, ended uint64, code Code) {
	var out C.hostwheel_announced_t
	var old C.uint64_t
	p, n := bytes(id)
	code = Code(C.hostwheel_replace(w.c, p, n, ns(interval), 0, &out, &old, nil))
	runtime.KeepAlive(w)
	return uint64(out.handle), uint64(old), code
}

// AnnounceHandle announces a host by its handle.
func (w *Wheel) AnnounceHandle(handle uint64, interval, age time.Duration) (outcome uint32, code Code) {
	var out C.uint32_t
	code = Code(C.hostwheel_internal_announce_handle(w.c, C.uint64_t(handle), ns(interval), ns(age), &out))
	runtime.KeepAlive(w)
	return uint32(out), code
}

// Renew announces a host by its handle, and keeps its interval.
func (w *Wheel) Renew(handle uint64, age time.Duration) (outcome uint32, code Code) {
	var out C.uint32_t
	code = Code(C.hostwheel_renew(w.c, C.uint64_t(handle), ns(age), &out))
	runtime.KeepAlive(w)
	return uint32(out), code
}

// Leave says goodbye for a host.
func (w *Wheel) Leave(handle uint64) Code {
	var data C.uint64_t
	code := C.hostwheel_leave_handle(w.c, C.uint64_t(handle), &data)
	runtime.KeepAlive(w)
	return Code(code)
}

// Inspect is what decides a host's fate.
func (w *Wheel) Inspect(handle uint64) (Host, Code) {
	var out C.hostwheel_host_t
	code := C.hostwheel_inspect(w.c, C.uint64_t(handle), &out, C.sizeof_hostwheel_host_t)
	runtime.KeepAlive(w)
	return Host{
		State:      uint32(out.state),
		HeldBy:     uint32(out.held_by),
		IntervalNS: uint64(out.interval_ns),
		LastSeenNS: uint64(out.last_seen_ns),
		AgeNS:      uint64(out.age_ns),
		DeadlineNS: uint64(out.deadline_ns),
		LeavesAtNS: uint64(out.leaves_at_ns),
		NextLookNS: uint64(out.next_look_ns),
		HeldNS:     uint64(out.held_since_ns),
	}, Code(code)
}

// Stats are the counters.
func (w *Wheel) Stats() (Stats, Code) {
	var out C.hostwheel_stats_t
	code := C.hostwheel_stats(w.c, &out, C.sizeof_hostwheel_stats_t)
	runtime.KeepAlive(w)
	s := Stats{
		Live:           uint64(out.live),
		Suspect:        uint64(out.suspect),
		Registered:     uint64(out.registered),
		Left:           uint64(out.left),
		LeavesTTL:      uint64(out.leaves_ttl),
		LeavesHostTTL:  uint64(out.leaves_host_ttl),
		LeavesBackstop: uint64(out.leaves_backstop),
		Suspects:       uint64(out.suspects),
		Recoveries:     uint64(out.recoveries),
		Retries:        uint64(out.retries),
		Rescues:        uint64(out.rescues),
		Sweeps:         uint64(out.sweeps),
		Superseded:     uint64(out.superseded),
		Clamps:         uint64(out.clamps),
		Outstanding:    uint64(out.outstanding),
		Waiting:        uint64(out.waiting),
		SilenceNS:      uint64(out.silence_ns),
		Silences:       uint64(out.silences),
		BrakeNS:        uint64(out.brake_ns),
		AwayNS:         uint64(out.away_ns),
		NowNS:          uint64(out.now_ns),
		MarginNS:       uint64(out.margin_ns),
		Visits:         uint64(out.visits),
		WakeUps:        uint64(out.wake_ups),
		LatenessSumNS:  uint64(out.lateness_sum_ns),
		LatenessMaxNS:  uint64(out.lateness_max_ns),
		Records:        uint64(out.records),
		MemoryRefusals: uint64(out.memory_refusals),
		Clock:          uint32(out.clock),
	}
	for i := range s.Lateness {
		s.Lateness[i] = uint64(out.lateness[i])
	}
	return s, Code(code)
}

// EventFD is the descriptor that is readable while events wait. It is the wheel's.
func (w *Wheel) EventFD() (int, Code) {
	var fd C.int
	code := C.hostwheel_event_fd(w.c, &fd)
	runtime.KeepAlive(w)
	return int(fd), Code(code)
}

// drainedAtOnce is the most events that one call drains.
const drainedAtOnce = 256

// Drain gives at most limit events that wait to each, and says how many. One call at a time.
func (w *Wheel) Drain(limit int, each func(*Event)) (int, Code) {
	if w.drained == nil {
		w.drained = make([]C.hostwheel_event_t, drainedAtOnce)
	}
	total := 0
	for total < limit {
		room := min(limit-total, len(w.drained))
		var count C.size_t
		code := Code(C.hostwheel_drain(w.c, &w.drained[0], C.size_t(room), &count))
		runtime.KeepAlive(w)
		if code != OK {
			return total, code
		}
		for i := range w.drained[:count] {
			e := &w.drained[i]
			each(&Event{
				Kind:       uint32(e.kind),
				Reason:     uint32(e.reason),
				Superseded: e.flags&C.HOSTWHEEL_EVENT_SUPERSEDED != 0,
				Attempt:    uint32(e.attempt),
				Handle:     uint64(e.handle),
				Waiting:    uint64(e.user_data),
				IntervalNS: uint64(e.interval_ns),
				LastSeenNS: uint64(e.last_seen_ns),
				DeadlineNS: uint64(e.deadline_ns),
				NowNS:      uint64(e.now_ns),
				LatenessNS: uint64(e.lateness_ns),
				AwayNS:     uint64(e.away_ns),
				HeldNS:     uint64(e.brake_ns),
			})
		}
		// Pointers into memory that is not Go's, and may be one day.
		clear(w.drained[:count])
		total += int(count)
		if int(count) < room {
			break
		}
	}
	return total, OK
}

// Settle answers an attempt of a leave: done, or to be handed out again after a time.
func (w *Wheel) Settle(handle uint64, attempt int, retry bool, after time.Duration) Code {
	verdict := C.uint32_t(C.HOSTWHEEL_VERDICT_DONE)
	if retry {
		verdict = C.HOSTWHEEL_VERDICT_RETRY
	}
	code := C.hostwheel_settle(w.c, C.uint64_t(handle), C.uint32_t(attempt), verdict, ns(after))
	runtime.KeepAlive(w)
	return Code(code)
}

// Told says that the suspect event of a host was seen.
func (w *Wheel) Told(handle uint64) Code {
	code := C.hostwheel_internal_told(w.c, C.uint64_t(handle))
	runtime.KeepAlive(w)
	return Code(code)
}

// Advance moves the manual clock, and says how many events were made.
func (w *Wheel) Advance(now time.Duration) (int, Code) {
	var made C.size_t
	code := C.hostwheel_advance(w.c, ns(now), &made)
	runtime.KeepAlive(w)
	return int(made), Code(code)
}

// Release has the brake let those go who wait.
func (w *Wheel) Release() Code {
	code := C.hostwheel_release(w.c)
	runtime.KeepAlive(w)
	return Code(code)
}

// Close asks the wheel to end, and does not wait for its thread.
func (w *Wheel) Close() Code {
	code := C.hostwheel_close(w.c, 0)
	runtime.KeepAlive(w)
	return Code(code)
}

// Layout is where the wheel keeps what a renew touches; false if the library lays it out in another way than this package
// knows.
func (w *Wheel) Layout() (Layout, bool) {
	var out C.hostwheel_internal_layout_t
	code := C.hostwheel_internal_layout(w.c, &out, C.sizeof_hostwheel_internal_layout_t)
	runtime.KeepAlive(w)
	if Code(code) != OK || out.version != C.HOSTWHEEL_INTERNAL_LAYOUT_VERSION {
		return Layout{}, false
	}
	return Layout{
		RecordSize: uintptr(out.record_size),
		Word:       uintptr(out.word),
		Armed:      uintptr(out.armed),
		Generation: uintptr(out.generation),
		ReadingNS:  uint64(out.reading_ns),
		BaseNS:     uint64(out.base_ns),
		Records:    unsafe.Pointer(out.records),
		ShiftNS:    unsafe.Pointer(out.shift_ns),
		PlainUntil: unsafe.Pointer(out.plain_until),
		RaisedNS:   unsafe.Pointer(out.raised_ns),
		RaisedByNS: unsafe.Pointer(out.raised_by_ns),
	}, true
}
