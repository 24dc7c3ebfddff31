package hostwheel

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go/internal/counter"
)

// watch tells the time since an instant, as time.Since does, without making the processor wait.
//
// The system's clock waits for all loads under way before it reads the processor's counter. With very many hosts an announce is
// little else than a load that is under way, and announces in a row wait for theirs together, unless something like that stands
// between them: with a million hosts it makes a renew four times as dear. So the watch reads the counter itself, and goes by the
// system's clock every few milliseconds. Between two such readings the rate of the counter is taken for that of the two before;
// the margin covers a rate that is off by an eighth, which no adjustment of a clock comes near. So what it tells may be late by
// the margin, and is never early.
//
// Order. The counter may be read before what precedes it in the program has ended. An observer that was away meanwhile
// publishes a shift, and a reading from before must not meet a shift from after: the time would be too early by all that was
// missed. So a reading of the clock is good for one shift only, which was loaded before it was made. Who finds another
// shift reads the clock again; who finds that one has a counter that is at least that of the reading, or else reads the
// clock again as well.
type watch struct {
	base time.Time
	// counts: the counter is used.
	counts bool

	_ [64]byte // what is read at every announce and written every few milliseconds
	// seq is odd while what follows is written.
	seq atomic.Uint64
	// The last reading: the counter, the time since base, nanoseconds per count times 2^32 (0: not known yet), for how many counts
	// it is good, and for which shift.
	count, ns, rate, span, shift atomic.Uint64
	_                            [64]byte
}

const (
	// watchSpan is for how long a reading of the clock is good.
	watchSpan = 8 * time.Millisecond
	// watchMargin is an eighth of that.
	watchMargin = watchSpan / 8
	// rateBits is how far rates are shifted.
	rateBits = 32
)

// init begins now; where a manual clock tells the time, with the Unix epoch.
func (w *watch) init(manual bool) {
	if manual {
		w.base = time.Unix(0, 0)
		return
	}
	w.base = time.Now()
	// The clock of a testing/synctest bubble stands still while the counter goes on. It begins with the year 2000.
	w.counts = counter.Usable() && w.base.Year() > 2010
}

// margin is by how much what it tells may be late.
func (w *watch) margin() time.Duration {
	if w.counts {
		return watchMargin
	}
	return 0
}

// since is the time since base in nanoseconds, for a shift that was loaded before.
func (w *watch) since(shift uint64) uint64 {
	if !w.counts {
		return uint64(time.Since(w.base))
	}
	seq := w.seq.Load()
	count, ns, rate, span := w.count.Load(), w.ns.Load(), w.rate.Load(), w.span.Load()
	same := w.shift.Load() == shift
	passed := counter.Read() - count
	if passed < span && same && seq&1 == 0 && w.seq.Load() == seq {
		return ns + passed*rate>>rateBits + uint64(watchMargin)
	}
	return w.read(shift)
}

// expire ends the use of a reading that is no longer good when the clock reads ns, as far as nobody is at it. Else a counter
// that jumped back comes up to it again, in a fleet of which nobody is heard meanwhile.
func (w *watch) expire(ns int64) {
	if !w.counts || uint64(ns) < w.ns.Load()+uint64(watchSpan) || w.span.Load() == 0 {
		return
	}
	if seq := w.seq.Load(); seq&1 == 0 && w.seq.CompareAndSwap(seq, seq+1) {
		if uint64(ns) >= w.ns.Load()+uint64(watchSpan) {
			w.span.Store(0)
		}
		w.seq.Store(seq + 2)
	}
}

// read reads the clock, for whoever comes next as well.
//
//go:noinline
func (w *watch) read(shift uint64) uint64 {
	seq := w.seq.Load()
	if seq&1 != 0 || !w.seq.CompareAndSwap(seq, seq+1) {
		// Another goroutine is at it.
		return uint64(time.Since(w.base))
	}
	before := uint64(time.Since(w.base))
	count := counter.Read()
	// The clock after the counter: who is held back between the two tells too late a time and not too early a one.
	ns := uint64(time.Since(w.base))
	w.note(count, ns, ns-before)
	w.shift.Store(shift)
	w.seq.Store(seq + 2)
	return ns
}

// note notes a reading that took a time. It is for others only if the rate since the reading before is that of the time before
// it, as after the machine was suspended, or the counter began anew, it is not.
func (w *watch) note(count, ns, took uint64) {
	before, beforeNS, rate, span := w.count.Load(), w.ns.Load(), w.rate.Load(), w.span.Load()
	w.span.Store(0)
	passed := float64(ns - beforeNS)
	told := float64(count-before) * float64(rate) / (1 << rateBits)
	steady := math.Abs(told-passed) < float64(watchSpan)/32
	switch {
	case before == 0 || count <= before || ns <= beforeNS:
		w.rate.Store(0)
	case took > uint64(watchSpan)/64:
		// Held back on the way: tell nothing by it.
		return
	case passed < float64(watchSpan)/2:
		if span == 0 {
			return
		}
		// Too short a time to tell a rate by.
		if steady {
			w.span.Store(span)
		}
	default:
		measured := passed / float64(count-before) * (1 << rateBits)
		w.rate.Store(uint64(measured))
		if math.Abs(measured-float64(rate)) < float64(rate)/16 {
			w.span.Store(uint64(float64(watchSpan) / measured * (1 << rateBits)))
		}
	}
	w.count.Store(count)
	w.ns.Store(ns)
}
