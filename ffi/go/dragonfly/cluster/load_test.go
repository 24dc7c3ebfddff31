package cluster

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// TestLoad counts what ten schedulers ask of Redis, with Dragonfly's load of all hosts and with a watch. HOSTWHEEL_CLUSTER_LOAD is
// the number of hosts; a million takes some minutes and 8 GB.
func TestLoad(t *testing.T) {
	n := 3000
	if text := os.Getenv("HOSTWHEEL_CLUSTER_LOAD"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, hearers := range []int{10, 1} {
		t.Run(fmt.Sprintf("each host is heard by %d", hearers), func(t *testing.T) { testLoad(t, n, hearers) })
	}
}

func testLoad(t *testing.T, n, hearers int) {
	const (
		members  = 10
		interval = 5 * time.Minute
		stride   = 500 * time.Millisecond
	)
	o := options()
	o.Discover, o.Page, o.Backend = DefaultDiscover, DefaultPage, hostwheel.Pure
	w := newWorld(t, 1)
	for range members {
		w.start(o, nil)
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%064x", i)
	}
	dead := 0 // of the first hosts
	text := strconv.FormatInt(int64(interval), 10)
	// pass has time pass. Hosts announce themselves one after the other, in the course of an interval.
	next := 0
	pass := func(length time.Duration) {
		for end := w.now + length; w.now < end; {
			w.now += stride
			for until := int(int64(n) * int64(w.now) / int64(interval)); next < until; next++ {
				i := next % n
				if i < dead {
					continue
				}
				for k := range hearers {
					w.schedulers[(i+k)%members].heard(ids[i], interval, true)
				}
				is := record{epoch.Add(w.now).Format(time.RFC3339), text}
				for r := range resources {
					w.store.put(r, ids[i], is)
				}
			}
			for _, s := range w.schedulers {
				s.turn()
			}
		}
	}
	// sent is what all schedulers have sent since the last time, by purpose and in a second.
	sent := func(length time.Duration) (by map[string]float64, sum float64) {
		by = map[string]float64{}
		for _, s := range w.schedulers {
			for purpose, n := range s.count {
				by[purpose] += float64(n) / length.Seconds()
				sum += float64(n) / length.Seconds()
			}
			clear(s.count)
		}
		return by, sum
	}

	pass(interval)
	learning, _ := sent(interval)
	today := float64(loadAll(w)) * members / DefaultDiscover.Seconds()
	// Until nobody is new to anybody, and from suspicion to suspicion.
	pass(4 * interval)
	sent(interval)
	pass(4 * interval)
	steady, sum := sent(4 * interval)
	t.Logf("%d hosts, %d schedulers: today %.1f commands a second; with a watch %.2f, %.0f x fewer: %v", n, members, today, sum, today/sum, steady)
	t.Logf("while the hosts were new: %v", learning)
	if hearers == members && n >= 100_000 && today < 50*sum {
		t.Error("not 50 x fewer")
	}

	dead = n / 100
	pass(4 * interval)
	by, _ := sent(time.Second)
	t.Logf("%d of them die: %v", dead, by)
	if most := float64(2 * dead * members * int(resources)); hearers == members && by["ask"]+by["remove"] > most {
		t.Errorf("%v, more than two for each death, scheduler and resource", by)
	}
	if left := len(w.store.ids[0]) + len(w.store.ids[1]); left != 2*(n-dead) {
		t.Errorf("%d records are left, of %d", left, 2*(n-dead))
	}
	w.check(0)
}

// loadAll is how many commands a load of all hosts is, counted as Dragonfly does it: ten ids at a time, and each host.
func loadAll(w *world) int {
	commands := 0
	for r := range resources {
		for cursor, last := uint64(0), false; !last; {
			ids := w.store.ids[r][cursor:min(int(cursor)+10, len(w.store.ids[r]))]
			commands += 1 + len(ids)
			cursor += uint64(len(ids))
			last = int(cursor) == len(w.store.ids[r])
		}
	}
	return commands
}
