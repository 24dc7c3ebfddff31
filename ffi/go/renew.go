package hostwheel

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// announcing is what an announcer needs of a wheel's clock to make a stamp. Both backends publish the same numbers.
type announcing struct {
	// watch begins at an instant, at which the wheel's clock read baseNS, or a little more.
	watch  watch
	baseNS uint64
	// openNS is what the wheel's clock read when the wheel was opened.
	openNS uint64
	manual bool
	terms  terms
	// until is the bound of plain stamps: one before it needs nothing else, as it is within the horizon, somebody was heard in
	// its second, and the wheel is open. shift makes a stamp, in nanoseconds, of the clock's reading; it may wrap.
	until, shift *atomic.Uint64
	// raised is the clock's reading since the opening at the last look that was late, and raisedBy by how much it was.
	raised, raisedBy *atomic.Uint64
	// keeps is what has the memory that is not Go's.
	keeps any
}

// renewNow renews a host in the usual case: it is live, and the observer need not look at it sooner than it planned. False: it
// was not live, or was not renewed, or the observer has to be told. A host with another cadence than c is another case.
//
// The order is: bound, shift, watch, word, generation, swap. The bound, and the shift that makes a stamp of what the watch
// tells, are not newer than that. A stamp older than the word's changes nothing, and the word was loaded before the generation
// was compared: so a swap that succeeds proves that this was the word of this incarnation, as no word occurs in two.
func (h *host) renewNow(c cadence) bool {
	a := h.announcing
	until := a.until.Load()
	shift := a.shift.Load()
	return h.renewPlainly((a.baseNS+a.watch.since(shift)+shift)/uint64(tickNS), until, c)
}

// renewAt is renewNow for a host that was heard at t. An instant from before a look that was late is another case.
func (h *host) renewAt(t time.Time) bool {
	a := h.announcing
	until := a.until.Load()
	shift := a.shift.Load()
	reading := a.baseNS + uint64(t.Sub(a.watch.base))
	return int64(reading-a.openNS-a.raised.Load()) >= 0 && !isWallClock(t) &&
		h.renewPlainly((reading+shift)/uint64(tickNS), until, anyCadence)
}

// renewPlainly: swap and loads are sequentially consistent. So either the observer's look at the word, after it stored armed,
// sees the new one, or we see what it armed.
func (h *host) renewPlainly(stamp, until tick, c cadence) bool {
	truth, armed := &h.truth, &h.armed
	if r := h.record; r != nil {
		truth, armed = &r.truth, &r.armed
	}
	w := word(truth.Load())
	if stamp >= until || h.record != nil && h.record.generation.Load() != h.generation() || c != anyCadence && c != w.cadence() {
		return false
	}
	heard, news, ok := w.renewed(stamp)
	if !ok || news && !truth.CompareAndSwap(uint64(w), uint64(heard)) {
		return false
	}
	// Of a host that was heard later than this already, less than its TTL is asked for: too often, never too rarely.
	looksAt := armed.Load()
	runtime.KeepAlive(h)
	return stamp+heard.ttlFloor() >= looksAt || h.announcing.terms.deadline(heard) >= looksAt
}

// interval is the effective interval of a host that is known.
func (h *host) interval() time.Duration {
	if h.announcing == nil {
		// The word is the backend's own affair.
		status, err := h.core.inspect(h)
		if err != nil {
			return 0
		}
		return status.Interval
	}
	truth := &h.truth
	if r := h.record; r != nil {
		truth = &r.truth
	}
	w := word(truth.Load())
	runtime.KeepAlive(h)
	return w.cadence().interval()
}

// isWallClock says whether an instant has no monotonic reading, as one that was decoded: the wall clock may have been set
// since the wheel was opened.
func isWallClock(t time.Time) bool { return t.Round(0) == t }

// ageOf is how long ago an instant was in wheel time, when the wheel's clock reads now (since the watch began). One in the
// future is now.
func (a *announcing) ageOf(t time.Time, now time.Duration) time.Duration {
	at := t.Sub(a.watch.base)
	if !a.manual && isWallClock(t) {
		since := time.Since(t)
		if since <= 0 {
			return 0 // in the future, however far: such a length does not fit
		}
		at = now - since
	}
	if at > now {
		return 0
	}
	age := now - at
	if age < 0 {
		age = math.MaxInt64 // so long ago that it does not fit
	}
	// A late look stopped the wheel's time, for all that lay before it.
	if raised := time.Duration(a.openNS + a.raised.Load() - a.baseNS); at < raised {
		age = max(age-time.Duration(a.raisedBy.Load()), now-raised)
	}
	return age
}
