package hostwheel

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// granuleLog2Of is the length of a granule, in which it suffices to be heard once, as a power of two of ticks: at most an eighth
// of the shortest grace that a host can have, between 16 ms and 1,024 ms.
func granuleLog2Of(s *settings) uint {
	shortestGrace := min(s.grace, s.minInterval)
	return uint(bits.Len64(uint64(min(max(shortestGrace/8, 16), 1024)))) - 1
}

// gap is a time in which no announcer was heard, between two hearings: it began at the end of the granule of the earlier one,
// and its length is in whole granules, rounded up.
type gap struct{ start, length tick }

// gapStartBits are the bits of the published gap that hold its start; the others hold its length in granules.
const gapStartBits = 39

// endNS: time stands still after this; a word holds no later announce.
const endNS = int64(lastTick-epoch) * tickNS

// clock is the time of one wheel, shared by its announcers and its observer.
//
// Observed time: when the observer was the one who was away, the silence of the hosts says nothing about them. So wheel
// time = min(clock - away, horizon). At each look the observer publishes a horizon, the time up to which it stands for
// having looked. A look that comes after the horizon adds the excess to away; no host is touched for it.
//
// Announcers load the horizon (or plainUntil, which was made of it), then the shift, then the clock. Held back between them they
// stamp too early a time, or too late a one that the old horizon caps.
type clock struct {
	// announcing reads what is below. Its watch begins when the wheel was opened; manual clocks count from the Unix epoch.
	announcing announcing

	_ [64]byte // what announcers read stands apart from what others write
	// plainUntil is the bound of plain stamps; 0 on the manual clock, and for ever once closed.
	plainUntil atomic.Uint64
	// shiftNS is the epoch and the rounding, less away.
	shiftNS          atomic.Uint64
	raised, raisedBy atomic.Uint64
	horizon          atomic.Uint64
	awayNS           atomic.Int64
	closed           atomic.Bool
	// heard is the last granule in which an announcer was heard; gap the longest one since the observer took the last one.
	heard, gap atomic.Uint64
	// vouched is when a suspect was last trusted again by news of earlier: its consumer answers for it.
	vouched atomic.Uint64
	// granuleLog2 is set once.
	granuleLog2 uint
	manualNS    atomic.Int64
	_           [64]byte
}

func (c *clock) init(s *settings) {
	c.announcing = announcing{
		manual: s.manual, terms: s.terms, until: &c.plainUntil, shift: &c.shiftNS, raised: &c.raised, raisedBy: &c.raisedBy,
	}
	c.announcing.watch.init(s.manual)
	c.setAway(0)
	horizon := epoch // nobody has looked yet
	if s.watchdog == 0 {
		horizon = lastTick
	}
	c.horizon.Store(horizon)
	c.granuleLog2 = granuleLog2Of(s)
	c.heard.Store(epoch >> c.granuleLog2)
	if !s.manual {
		c.plainUntil.Store(min((epoch>>c.granuleLog2+1)<<c.granuleLog2, horizon))
	}
}

// readNS is the clock's time since open, away not taken off.
func (c *clock) readNS() int64 {
	ns := c.manualNS.Load()
	if !c.announcing.manual {
		ns = int64(time.Since(c.announcing.watch.base))
	}
	return min(max(ns, 0), endNS)
}

// stamp is that of an announce that happens now.
func (c *clock) stamp() tick {
	horizon := c.horizon.Load()
	shift := c.shiftNS.Load()
	return min((uint64(c.readNS())+shift)/uint64(tickNS), horizon)
}

// stampOf is the stamp of an announce at the instant t; one in the future counts as now.
func (c *clock) stampOf(t time.Time, now tick) tick {
	return saturatingSub(now, tick(c.announcing.ageOf(t, time.Duration(c.readNS()))/time.Millisecond))
}

// setAway publishes the time that the wheel's is behind the clock.
func (c *clock) setAway(ns int64) {
	c.awayNS.Store(ns)
	c.shiftNS.Store(uint64(int64(epoch)*tickNS + tickNS - 1 - ns))
}

// hear notes that a host was heard at stamp, of which an announcer learned at now, and that stamps of the same granule are plain
// from now on.
func (c *clock) hear(stamp, now tick) {
	granule := stamp >> c.granuleLog2
	for heard := c.heard.Load(); heard < granule; heard = c.heard.Load() {
		if c.heard.CompareAndSwap(heard, granule) {
			c.noteGap((heard+1)<<c.granuleLog2, now)
			break
		}
	}
	before := c.plainUntil.Load()
	until := min((granule+1)<<c.granuleLog2, c.horizon.Load())
	if before != 0 && before < until {
		// Failed: another announcer was faster, or the wheel is closed.
		c.plainUntil.CompareAndSwap(before, until)
	}
}

// noteGap publishes the time from start to a hearing that an announcer learned of at now, if it is the longest since the observer
// looked.
func (c *clock) noteGap(start, now tick) {
	granules := (saturatingSub(now, start) + 1<<c.granuleLog2 - 1) >> c.granuleLog2
	if granules <= 1 {
		return
	}
	noted := min(granules, 1<<(64-gapStartBits)-1)<<gapStartBits | start
	for longest := c.gap.Load(); longest < noted; longest = c.gap.Load() {
		if c.gap.CompareAndSwap(longest, noted) {
			return
		}
	}
}

// takeGap takes the longest gap since the last call; its length is 0 if there was none.
func (c *clock) takeGap() gap {
	noted := c.gap.Swap(0)
	return gap{noted & (1<<gapStartBits - 1), noted >> gapStartBits << c.granuleLog2}
}

// heardUntil is the end of the last granule in which an announcer was heard.
func (c *clock) heardUntil() tick { return (c.heard.Load() + 1) << c.granuleLog2 }

// nowNS is wheel time now in nanoseconds since open: a figure.
func (c *clock) nowNS() int64 {
	horizon := c.horizon.Load()
	away := c.awayNS.Load()
	return max(min(c.readNS()-away, int64(saturatingSub(horizon, epoch))*tickNS), 0)
}

// tickNow is wheel time now, rounded down.
func (c *clock) tickNow() tick { return epoch + tick(c.nowNS()/tickNS) }

// setManual moves the manual clock forward, never back. The caller holds the wheel's lock.
func (c *clock) setManual(ns int64) { c.manualNS.Store(max(ns, c.manualNS.Load())) }

// until is how long the clock has to run until wheel time t.
func (c *clock) until(t tick) time.Duration {
	return time.Duration(int64(saturatingSub(t, epoch))*tickNS + c.awayNS.Load() - c.readNS())
}

// close makes all stamps other than plain, so that all announcers see that the wheel is closed.
func (c *clock) close() {
	c.closed.Store(true)
	c.plainUntil.Store(0)
}

// raisesKept is how many of the last pauses an event can tell of.
const raisesKept = 64

// raise is one of away: the tick at which time stood still, and all that was missed up to and with it.
type raise struct {
	at     tick
	missed int64
}

// looker is the observer's side of observed time. Its owner holds the wheel's lock.
type looker struct {
	// watch is the ticks between looks; 0 when the watchdog is off.
	watch, slack tick
	// worth: a horizon is published if it lies at least so much after the last one. It eats of the slack.
	worth    tick
	horizon  tick
	awayNS   int64
	missedNS int64
	now      int64
	raises   []raise
}

func (l *looker) init(s *settings) {
	if s.watchdog > 0 {
		l.watch = max(min(s.watchdog, s.minInterval/2), 1)
	}
	l.slack = min(max(s.minInterval/4, 2), 250)
	if !s.manual {
		l.worth = min(l.slack/2, 4)
	}
	l.horizon = epoch
}

// look reads the clock. idle: no host is known, so nothing was missed.
func (l *looker) look(c *clock, idle bool) tick {
	ns := c.readNS()
	c.announcing.watch.expire(ns)
	l.now = max(ns-l.awayNS, l.now)
	if l.watch == 0 {
		l.horizon = lastTick
		c.horizon.Store(lastTick)
		return l.tick()
	}
	publish := false
	if horizon := int64(l.horizon-epoch) * tickNS; l.now > horizon {
		l.raise(c, l.now-horizon, idle)
		l.now = horizon
		publish = true
	}
	next := min(l.tick()+l.watch+l.slack, lastTick)
	if publish || next >= l.horizon+l.worth {
		l.horizon = next
		c.horizon.Store(next)
	}
	return l.tick()
}

func (l *looker) raise(c *clock, excess int64, idle bool) {
	c.raisedBy.Store(uint64(excess))
	c.raised.Store(uint64(l.now + l.awayNS))
	l.awayNS += excess
	c.setAway(l.awayNS)
	if idle {
		return
	}
	l.missedNS += excess
	if len(l.raises) == raisesKept {
		l.raises = append(l.raises[:0], l.raises[1:]...)
	}
	l.raises = append(l.raises, raise{l.horizon, l.missedNS})
}

// tick is wheel time at the last look, rounded down: the observer must not run ahead.
func (l *looker) tick() tick { return epoch + tick(l.now/tickNS) }

// late is how late something is that was due at a tick.
func (l *looker) late(due tick) time.Duration {
	return time.Duration(max(l.now-int64(saturatingSub(due, epoch))*tickNS, 0))
}

// nextLook is until when the observer may sleep at most.
func (l *looker) nextLook() tick {
	if l.watch == 0 {
		return never
	}
	return l.tick() + l.watch
}

// missedSince is the time not counted since a tick, as far back as the last raises tell.
func (l *looker) missedSince(t tick) time.Duration {
	if len(l.raises) == 0 {
		return 0
	}
	for i := len(l.raises) - 1; i >= 0; i-- {
		if l.raises[i].at < t {
			return time.Duration(l.missedNS - l.raises[i].missed)
		}
	}
	if len(l.raises) < raisesKept {
		return time.Duration(l.missedNS)
	}
	// Older ones were forgotten: count from the oldest known.
	return time.Duration(l.missedNS - l.raises[0].missed)
}
