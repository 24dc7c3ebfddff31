package hostwheel

import (
	"container/heap"
	"math"
	"math/bits"
)

const (
	// rearm: so many visits must find hosts heard since a silence, before another one can start.
	rearm = 20
	// Intervals are counted in buckets 1/16 of an octave wide, so those in one bucket differ by less than 6.3 %.
	stepsLog2 = 4
	buckets   = 33 << stepsLog2
	// gapsKept is how many of the fleet's longest gaps are kept.
	gapsKept = 32
)

// rates are hosts by interval, and how often all of them announce.
type rates struct {
	hosts [buckets]uint64
	// all is announces per tick.
	all   float64
	count uint64
}

// rateBucket is the bucket of an effective interval.
func rateBucket(interval tick) int {
	scaled := min(max(interval, 1), math.MaxUint32) << stepsLog2
	octave := bits.Len64(scaled) - 1 - stepsLog2
	return octave<<stepsLog2 + int(scaled>>octave&(1<<stepsLog2-1))
}

// shortestOf is the shortest interval of a bucket.
func shortestOf(bucket int) tick {
	octave, step := bucket>>stepsLog2, bucket&(1<<stepsLog2-1)
	scaled := uint64(1<<stepsLog2+step) << octave
	return (scaled + 1<<stepsLog2 - 1) >> stepsLog2
}

// add counts a host of an effective interval, drop counts it no longer.
func (r *rates) add(interval tick) {
	r.hosts[rateBucket(interval)]++
	r.all += 1 / float64(max(interval, 1))
	r.count++
}

func (r *rates) drop(interval tick) {
	r.hosts[rateBucket(interval)]--
	r.all -= 1 / float64(max(interval, 1))
	if r.count--; r.count == 0 {
		r.all = 0 // what was lost to rounding
	}
}

// slowest is the interval of the slowest host, rounded up to the next bucket's; 0 without hosts.
func (r *rates) slowest() tick {
	for bucket := buckets - 1; bucket >= 0; bucket-- {
		if r.hosts[bucket] > 0 {
			return shortestOf(bucket + 1)
		}
	}
	return 0
}

// due is how many announces of all hosts are due in a time, on average.
func (r *rates) due(time tick) uint64 { return uint64(math.Round(r.all * float64(time))) }

// dueBy is how many announces are due within 1.25 of an interval, of hosts with that interval or a shorter one.
func (r *rates) dueBy(interval tick) uint64 {
	window, upto := interval+interval/4, rateBucket(interval)
	sum := uint64(0)
	for bucket, hosts := range r.hosts[:upto+1] {
		if hosts == 0 {
			continue
		}
		each := interval // of the host's own bucket every interval counts as its own
		if bucket != upto {
			each = shortestOf(bucket)
		}
		// Hosts are below 2^28 and a window below 2^33: it fits.
		sum += hosts * window / each
	}
	return sum
}

// gaps are the longest gaps between two hearings, by when they ended: their lengths decrease. When there are too many, a new one
// counts as one of the last one's length, which errs on the long side.
type gaps []struct{ end, length tick }

func (g *gaps) push(end, length tick) {
	for n := len(*g); n > 0 && (*g)[n-1].length <= length; n-- {
		*g = (*g)[:n-1]
	}
	if n := len(*g); n == gapsKept {
		(*g)[n-1].end = end
		return
	}
	*g = append(*g, struct{ end, length tick }{end, length})
}

// forget forgets gaps that ended before a tick.
func (g *gaps) forget(since tick) {
	kept := 0
	for kept < len(*g) && (*g)[kept].end < since {
		kept++
	}
	*g = append((*g)[:0], (*g)[kept:]...)
}

// longest is the longest gap that ended at a tick or later.
func (g gaps) longest(since tick) tick {
	for _, gap := range g {
		if gap.end >= since {
			return gap.length
		}
	}
	return 0
}

// ticks are a heap whose first element is the latest.
type ticks []tick

func (t ticks) Len() int           { return len(t) }
func (t ticks) Less(i, j int) bool { return t[i] > t[j] }
func (t ticks) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *ticks) Push(x any)        { *t = append(*t, x.(tick)) }
func (t *ticks) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// witnesses are the first announces that were due in a quiet time, by the hosts' own last announces.
type witnesses struct {
	// since is when the quiet time began; they matter if they are complete at the tick by.
	since, by tick
	expected  int
	due       ticks
}

// add adds the announces that a living host owes since the quiet time began. A host that was overdue before owes none.
func (w *witnesses) add(last, interval tick) {
	interval = max(interval, 1)
	due := last + interval
	if due < w.since {
		return
	}
	for len(w.due) < w.expected || due < w.due[0] {
		heap.Push(&w.due, due)
		if len(w.due) > w.expected {
			heap.Pop(&w.due)
		}
		due += interval
	}
}

// completeAt is when the last of those that are expected is due; never if there are too few.
func (w *witnesses) completeAt() tick {
	if len(w.due) < w.expected {
		return never
	}
	return w.due[0]
}

// suffice says whether as many as are expected were due in time: more hosts change nothing then.
func (w *witnesses) suffice() bool { return w.completeAt() <= w.by }

// dueHost is a host that is due to leave: its effective interval and grace, and the tick at which it was due.
type dueHost struct{ interval, grace, at tick }

// silence knows whether the scheduler is cut off, by the same rule as the Rust core (src/guard/silence.rs, docs/design.md): a
// quiet time is suspicious when this fleet has not been quiet for so long before. When it exceeds the fleet's longest gap by a
// margin, and enough announces were due in it by the hosts' own last announces, no host leaves while it lasts, at most one host
// TTL. Before a full window of gaps was seen, and where that comes too late for the host that is due, its own interval and some
// of its grace suffices. Silence ends when a host is heard. After that a host last heard before its end gets one more interval
// and its grace, as it has had no chance yet.
type silence struct {
	expected int // 0 or less switches the guard off
	limit    tick
	granule  tick
	gaps     gaps
	// learns: gaps are learned since a tick; one that began before learnsFrom is not the fleet's.
	learns                  bool
	learnsSince, learnsFrom tick
	// vouchedAt is when a suspect was last trusted again by news of earlier: hosts that are answered for do not keep their
	// intervals, so what was learned means little for a window.
	vouchedAt tick
	witnesses witnesses
	// asked: the quiet time that began at askedHeard has witnesses that are complete at completeAt.
	asked                  bool
	askedHeard, completeAt tick

	lasts bool
	since tick
	over  bool // one has ended, at the tick ended
	ended tick
	// heardSince counts visits that found hosts heard after the end.
	heardSince int
	lasted     tick
	starts     uint64
}

func (s *silence) init(expected int, limit, granule tick) {
	s.expected, s.limit, s.granule, s.heardSince = expected, limit, granule, rearm
}

// look notes the time and up to when a host was heard: ends a silence that is over.
func (s *silence) look(now, heard tick) {
	byLimit := s.since + s.limit
	if !s.lasts || heard <= s.since && now < byLimit {
		return
	}
	ended := byLimit
	if heard > s.since {
		ended = min(heard, byLimit, now)
	}
	s.lasts, s.over, s.ended = false, true, ended
	s.heardSince = 0
	s.lasted += ended - s.since
	s.learnsFrom = max(s.learnsFrom, ended)
}

// wasAway: the observer was away until a tick. The gap of that time is its own.
func (s *silence) wasAway(now tick) { s.learnsFrom = max(s.learnsFrom, now) }

// learn learns the longest gap since the look before.
func (s *silence) learn(now tick, g gap, r *rates) {
	if r.count == 0 {
		s.learns = false
		return
	}
	if !s.learns {
		s.learns, s.learnsSince = true, now
	}
	if g.length > 0 && g.start >= max(s.learnsFrom, s.learnsSince) && r.due(g.length) >= uint64(max(s.expected, 0)) {
		s.gaps.forget(saturatingSub(now, s.limit))
		s.gaps.push(g.start+g.length, g.length)
	}
}

// saw notes that a visit found a host last heard at a tick.
func (s *silence) saw(last tick) {
	if s.heardSince < rearm && s.over && last > s.ended {
		s.heardSince++
	}
}

// ask judges the quiet time for a due host, and starts a silence if this is one. each calls its argument for every living host
// until that says false.
func (s *silence) ask(now, heard tick, due dueHost, r *rates, each func(func(last, interval tick) bool)) {
	if s.lasts || s.expected <= 0 || s.heardSince < rearm {
		return
	}
	quiet := saturatingSub(now, heard)
	if s.isLate(quiet, due, r) {
		s.start(now)
		return
	}
	if !s.isNew(now, quiet, due, r) {
		return
	}
	by := min(now-1, due.at)
	if !s.asked || s.askedHeard != heard {
		// What the witnesses say holds until a host is heard.
		w := &s.witnesses
		w.since, w.by, w.expected, w.due = saturatingSub(heard, s.granule), by, s.expected, w.due[:0]
		each(func(last, interval tick) bool {
			w.add(last, interval)
			return !w.suffice()
		})
		s.asked, s.askedHeard, s.completeAt = true, heard, w.completeAt()
	}
	if s.completeAt <= by {
		s.start(now)
	}
}

func (s *silence) start(now tick) {
	s.lasts, s.since = true, now
	s.starts++
}

// isNew says whether the fleet has not been quiet for so long before.
func (s *silence) isNew(now, quiet tick, due dueHost, r *rates) bool {
	window := min(2*r.slowest(), s.limit)
	if !s.learns || s.learnsSince+window > now || s.vouchedAt != 0 && s.vouchedAt+window > now {
		return false
	}
	longest := s.gaps.longest(saturatingSub(now, window))
	margin := min(max(longest/4, s.granule), max(due.grace/2, s.granule))
	// A rate is an average: half of what is expected will do.
	return quiet > longest+margin && r.due(quiet) >= uint64(s.expected)/2
}

// isLate says whether hosts like the one that is due have had to announce, and none has.
func (s *silence) isLate(quiet tick, due dueHost, r *rates) bool {
	margin := min(due.interval/4, max(due.grace/2, s.granule))
	return quiet > due.interval+margin && r.dueBy(due.interval) >= uint64(s.expected)
}

// sparesUntil is the earliest tick at which a host last heard at a tick may be taken after a silence.
func (s *silence) sparesUntil(last, interval, grace tick) tick {
	if s.over && last < s.ended {
		return s.ended + interval + grace
	}
	return 0
}

// length is how long silences have lasted up to now.
func (s *silence) length(now tick) tick {
	if s.lasts {
		return s.lasted + saturatingSub(now, s.since)
	}
	return s.lasted
}
