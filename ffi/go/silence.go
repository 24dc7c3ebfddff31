package hostwheel

import (
	"math"
	"math/bits"
)

const (
	// rearm: so many visits must find hosts heard since a silence, before another one can start.
	rearm = 20
	// Intervals are counted in buckets 1/16 of an octave wide, so those in one bucket differ by less than 6.3 %, well
	// inside the quarter that silence waits beyond an interval.
	stepsLog2 = 4
	buckets   = 33 << stepsLog2
)

// rates are hosts by interval.
type rates struct {
	hosts [buckets]uint64
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

// due is how many announces are due within 1.25 of an interval, of hosts with that interval or a shorter one. Each of them
// announces at least once in that time, whatever its phase: a healthy fleet cannot look silent, be it as synchronised as
// it likes.
func (r *rates) due(interval tick) uint64 {
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

// silence knows whether we are cut off. When a leave is due and nobody at all was heard for 1.25 of that host's interval,
// in which enough announces were due, nobody leaves while it lasts, at most one host TTL. It ends when somebody is heard.
// After that a host last heard before its end gets one more interval and its grace, as it has had no chance yet.
type silence struct {
	expected int // 0 or less switches the guard off
	limit    tick
	lasts    bool
	since    tick
	over     bool // one has ended, at the tick ended
	ended    tick
	// heardSince counts visits that found hosts heard after the end.
	heardSince int
	lasted     tick
	starts     uint64
}

func (s *silence) init(expected int, limit tick) {
	s.expected, s.limit, s.heardSince = expected, limit, rearm
}

// look notes the time and up to when somebody was heard: ends a silence that is over.
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
}

// saw notes that a visit found a host last heard at a tick.
func (s *silence) saw(last tick) {
	if s.heardSince < rearm && s.over && last > s.ended {
		s.heardSince++
	}
}

// ask is told of a due host with this effective interval, and starts a silence if this is one.
func (s *silence) ask(now, heard, interval tick, r *rates) {
	if s.lasts {
		return
	}
	s.lasts = s.expected > 0 && s.heardSince >= rearm &&
		saturatingSub(now, heard) > interval+interval/4 && r.due(interval) >= uint64(s.expected)
	if s.lasts {
		s.since = now
		s.starts++
	}
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
