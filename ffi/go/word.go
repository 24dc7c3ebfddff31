package hostwheel

import (
	"math"
	"time"
)

// tick is a point in wheel time, or a length of it, in milliseconds. Wheel time starts at epoch rather than at 0, so that
// the age of a host heard before the wheel was opened (up to 49 days) does not underflow.
type tick = uint64

const (
	epoch  tick = 1 << 32
	tickNS      = int64(time.Millisecond)

	lastBits     = 39
	intervalBits = 22
	stateShift   = lastBits + intervalBits
	intervalMask = 1<<intervalBits - 1

	// lastTick is the last tick that a word can hold: 17 years of wheel time.
	lastTick tick = 1<<lastBits - 1
	// finestMS is the longest interval that is held to the millisecond: 34.9 minutes.
	finestMS = 1<<(intervalBits-1) - 1
	// never is later than all ticks.
	never tick = 1<<64 - 1
)

// ceilTicks is a length of time in ticks, rounded up; nothing for a negative one.
func ceilTicks(d time.Duration) tick {
	if d <= 0 {
		return 0
	}
	return (tick(d) + tick(tickNS) - 1) / tick(tickNS)
}

// lengthOf is a number of ticks as a length of time.
func lengthOf(t tick) time.Duration { return time.Duration(t) * time.Millisecond }

// sinceOpen is the moment of a tick as time since the wheel was opened; a tick before that counts as the opening.
func sinceOpen(t tick) time.Duration {
	if t < epoch {
		return 0
	}
	return lengthOf(t - epoch)
}

func saturatingSub(a, b tick) tick {
	if a < b {
		return 0
	}
	return a - b
}

// phase says what a host is at the moment. Live is 0 and stands on top of the word, so that one comparison of words tells
// whether a host is live and was heard before a certain tick.
type phase uint8

const (
	live    phase = 0
	freed   phase = 1 // over: left or handed out, and given back
	suspect phase = 3
	left    phase = 4 // said goodbye; the observer has yet to free it
	taken   phase = 5 // handed out as a leave
)

func (p phase) alive() bool { return p == live || p == suspect }

// known says whether the host is alive, or was handed out.
func (p phase) known() bool { return p.alive() || p == taken }

// cadence is an announce interval as the word holds it: 21 bits, and below them the unit, milliseconds or whole seconds.
// 0 is no interval: the host TTL applies.
type cadence uint32

// anyCadence is none that a word holds.
const anyCadence cadence = math.MaxUint32

// cadenceOf is the shortest cadence that is not shorter than ms milliseconds.
func cadenceOf(ms tick) cadence {
	if ms <= finestMS {
		return cadence(ms << 1)
	}
	return cadence(min((ms+999)/1000, finestMS)<<1 | 1)
}

func (c cadence) ms() tick {
	if c&1 == 0 {
		return tick(c >> 1)
	}
	return tick(c>>1) * 1000
}

func (c cadence) interval() time.Duration {
	return lengthOf(c.ms())
}

// word is the truth about a host in 64 bits, so that one compare-and-swap changes all of it together: 3 bits of phase,
// 39 bits of the last announce, 22 bits of interval. It is laid out like that of the Rust core.
type word uint64

func newWord(last tick, c cadence, p phase) word {
	return word(p)<<stateShift | word(min(last, lastTick))<<intervalBits | word(c)
}

func (w word) phase() phase     { return phase(w >> stateShift) }
func (w word) last() tick       { return tick(w>>intervalBits) & lastTick }
func (w word) cadence() cadence { return cadence(w & intervalMask) }
func (w word) alive() bool      { return w.phase().alive() }
func (w word) in(p phase) word  { return newWord(w.last(), w.cadence(), p) }

// renewed is the word of a live host that is heard at a stamp, and whether that is news; false if it is not live.
func (w word) renewed(stamp tick) (heard word, news, ok bool) {
	heard = word(stamp) << intervalBits
	// The word of any host that is not live is a greater number, whenever that was heard.
	if w < heard {
		return heard | w&intervalMask, true, true
	}
	return w, false, w.phase() == live
}

// ttlFloor is what the host's TTL is at least: exact for an interval in milliseconds, as the interval is held one bit
// further up, and less otherwise.
func (w word) ttlFloor() tick { return tick(w & intervalMask) }

// terms are the durations of a configuration in ticks, and what follows from them for one host.
type terms struct {
	hostTTL, grace, minInterval, maxInterval tick
}

// clamp is the cadence that an announced interval gets, and whether it was clamped.
func (t *terms) clamp(interval time.Duration) (cadence, bool) {
	asked := ceilTicks(interval)
	if asked == 0 {
		return 0, false
	}
	given := min(max(asked, t.minInterval), t.maxInterval)
	return cadenceOf(given), given != asked
}

// effectiveInterval is what an announced interval counts as.
func (t *terms) effectiveInterval(interval time.Duration) tick {
	cadence, _ := t.clamp(interval)
	return t.effective(cadence)
}

// life is the TTL and the grace of a host that announces with this interval.
func (t *terms) life(interval time.Duration) (tick, tick) {
	cadence, _ := t.clamp(interval)
	return t.ttl(cadence), t.graceOf(cadence)
}

// effective is what the host's intervals count as: half the host TTL when it named none.
func (t *terms) effective(c cadence) tick {
	if c == 0 {
		return t.hostTTL / 2
	}
	return c.ms()
}

func (t *terms) ttl(c cadence) tick {
	if c == 0 {
		return t.hostTTL
	}
	return 2 * c.ms()
}

// graceOf is how long the host stays suspect.
func (t *terms) graceOf(c cadence) tick { return min(t.grace, t.effective(c)) }

func (t *terms) deadline(w word) tick { return w.last() + t.ttl(w.cadence()) }

func (t *terms) leavesAt(w word) tick {
	if canaryEarly {
		return t.deadline(w) + t.graceOf(w.cadence()) - 1
	}
	return t.deadline(w) + t.graceOf(w.cadence())
}

// lookAt is when the observer must look at the host next.
func (t *terms) lookAt(w word) tick {
	if w.phase() == suspect {
		return t.leavesAt(w)
	}
	return t.deadline(w)
}
