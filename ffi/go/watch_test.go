package hostwheel

import (
	"sync"
	"testing"
	"time"
)

// The watch is never early, whoever reads it, and tells the time within the margin, so far as the test is not held back itself.
func TestTheWatchIsNeverEarly(t *testing.T) {
	var w watch
	w.init(false)
	var readers sync.WaitGroup
	for reader := range uint64(4) {
		readers.Go(func() {
			for at := time.Duration(0); at < 300*time.Millisecond; {
				before := time.Since(w.base)
				told := time.Duration(w.since(reader / 2))
				at = time.Since(w.base)
				if told < before {
					t.Errorf("at %v the watch tells %v", before, told)
					return
				}
				if told > at+watchMargin+watchSpan {
					t.Errorf("at %v the watch tells %v", at, told)
					return
				}
			}
		})
	}
	readers.Wait()
}

// noted is a watch that was read at these counts and times, in turn.
func noted(readings ...[2]uint64) *watch {
	w := &watch{counts: true}
	for _, r := range readings {
		w.note(r[0], r[1], 100)
	}
	return w
}

const ms = uint64(time.Millisecond)

func TestAReadingIsGoodOnceTheRateIsConfirmed(t *testing.T) {
	for _, c := range []struct {
		what     string
		readings [][2]uint64
		good     bool
	}{
		{"nothing is known", [][2]uint64{{1, 1}}, false},
		{"one rate", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}}, false},
		{"the same rate again", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}, {60 * ms, 20 * ms}}, true},
		{"another rate", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}, {90 * ms, 20 * ms}}, false},
		{"suspended: the counter went on", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}, {60 * ms, 20 * ms}, {9000 * ms, 21 * ms}}, false},
		{"too soon for a rate", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}, {60 * ms, 20 * ms}, {63 * ms, 21 * ms}}, true},
		{"the counter began anew", [][2]uint64{{1, 1}, {30 * ms, 10 * ms}, {60 * ms, 20 * ms}, {5, 30 * ms}}, false},
		{"and was learnt again", [][2]uint64{{60 * ms, 20 * ms}, {5, 30 * ms}, {30 * ms, 40 * ms}, {60 * ms, 50 * ms}}, true},
	} {
		w := noted(c.readings...)
		if good := w.span.Load() != 0; good != c.good {
			t.Errorf("%s: good: %v", c.what, good)
		}
	}
}

func TestAReadingThatTookLongIsForNobody(t *testing.T) {
	w := noted([2]uint64{1, 1}, [2]uint64{30 * ms, 10 * ms}, [2]uint64{60 * ms, 20 * ms})
	w.note(90*ms, 31*ms, ms)
	if w.span.Load() != 0 {
		t.Error("it is")
	}
	w.note(120*ms, 40*ms, 100)
	if w.span.Load() == 0 || w.ns.Load() != 40*ms {
		t.Error("the rate was forgotten for it")
	}
}

func TestAReadingIsForOneShift(t *testing.T) {
	var w watch
	w.init(false)
	if !w.counts {
		t.Skip("there is no counter to read")
	}
	for w.span.Load() == 0 {
		w.since(7)
	}
	reading := w.ns.Load()
	w.since(8)
	if w.ns.Load() == reading || w.shift.Load() != 8 {
		t.Error("a reading for another shift was used")
	}
}

// A counter that jumped back comes up to its last reading again, while nobody was heard.
func TestAReadingThatExpiredIsGoodForNobody(t *testing.T) {
	w := noted([2]uint64{1, 1}, [2]uint64{30 * ms, 10 * ms}, [2]uint64{60 * ms, 20 * ms})
	w.expire(int64(20*ms + uint64(watchSpan) - 1))
	if w.span.Load() == 0 {
		t.Error("a good reading was taken back")
	}
	w.expire(int64(20*ms + uint64(watchSpan)))
	if w.span.Load() != 0 {
		t.Error("a reading that expired is still good")
	}
	w.note(90*ms, 40*ms, 100)
	if w.span.Load() != 0 {
		t.Error("a reading is good at a rate that differs")
	}
	w.note(120*ms, 50*ms, 100)
	w.note(150*ms, 60*ms, 100)
	if w.span.Load() == 0 {
		t.Error("the rate was confirmed, and no reading is good")
	}
}
