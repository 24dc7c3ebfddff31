package hostwheel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// scene of the matrix: a fleet whose hosts announce at their phases, cut off all at once for a while.
type cutScene struct {
	least, most time.Duration
	hosts       int
	// spread is the part of the interval in which the phases lie.
	spread float64
}

// play returns what was told of hosts that left, and the stats in the end.
func (c cutScene) play(t *testing.T, backend hostwheel.Backend) (leaves int, s hostwheel.Stats) {
	t.Helper()
	w, err := hostwheel.New(config{
		Backend: backend, Manual: true, Watchdog: hostwheel.Off,
		Leave: func(*event) hostwheel.Verdict { leaves++; return hostwheel.Done },
	})
	must(t, err)
	random := rand.New(rand.NewPCG(uint64(c.hosts), uint64(c.most)))
	periods, next := make([]time.Duration, c.hosts), make([]time.Duration, c.hosts)
	for n := range periods {
		periods[n] = c.least
		if c.most > c.least {
			periods[n] += time.Duration(random.Int64N(int64((c.most-c.least)/ms))) * ms
		}
		next[n] = time.Duration(random.Float64() * c.spread * float64(periods[n])).Truncate(ms)
	}
	step := max(c.least/40, 25*ms)
	cut := c.most * 7 / 2
	back := cut + min(6*c.most, 50*time.Minute)
	end := back + c.most*5/2
	for at := time.Duration(0); at <= end; at += step {
		for n := range next {
			for ; next[n] <= at; next[n] += periods[n] {
				if at < cut || at >= back {
					_, _, err := w.Announce(fmt.Sprint(n), periods[n], "")
					must(t, err)
				}
			}
		}
		_, err := w.Advance(at)
		must(t, err)
	}
	s = w.Stats()
	must(t, w.Close())
	return leaves, s
}

func TestGuardsMatrixACutCostsNobody(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, c := range []cutScene{
			{sec, sec, 200, 1}, {1200 * ms, 1200 * ms, 100, 1}, {10 * sec, 10 * sec, 40, 1}, {120 * sec, 120 * sec, 200, 1},
			{300 * sec, 300 * sec, 1000, 1}, {300 * sec, 300 * sec, 200, 0.05}, {1200 * sec, 1200 * sec, 200, 0.05},
			{sec, 30 * sec, 1000, 1}, {5 * sec, 50 * sec, 200, 1}, {20 * sec, 300 * sec, 1000, 1},
		} {
			if leaves, s := c.play(t, backend); leaves > 0 || s.Silences != 1 || s.Live != uint64(c.hosts) || s.Suspect > 0 {
				t.Errorf("%+v: %d leaves, %d silences, %d live, %d suspect", c, leaves, s.Silences, s.Live, s.Suspect)
			}
		}
	})
}
