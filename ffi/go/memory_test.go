package hostwheel_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// heavy is a value whose end can be waited for.
type heavy struct{ bytes [4096]byte }

// collected makes a value that counts when the garbage collector has taken it.
func collected(n *atomic.Int64) *heavy {
	v := new(heavy)
	runtime.AddCleanup(v, func(n *atomic.Int64) { n.Add(1) }, n)
	return v
}

func untilCollected(t *testing.T, what string, n *atomic.Int64, want int64, poke func()) {
	t.Helper()
	until(t, what, func() bool {
		poke()
		runtime.GC()
		return n.Load() >= want
	})
}

func TestAValueIsCollectedOnceItsHostIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		verdict := hostwheel.Retry(sec)
		w, err := hostwheel.New(hostwheel.Config[*heavy]{
			Backend: backend, Manual: true, Watchdog: hostwheel.Off, SilenceExpected: -1, Brake: hostwheel.Brake{Off: true},
			Leave: func(*hostwheel.Event[*heavy]) hostwheel.Verdict { return verdict },
		})
		must(t, err)
		now := time.Duration(0)
		pass := func(by time.Duration) {
			now += by
			_, err := w.Advance(now)
			must(t, err)
		}
		var kept, gone, bye atomic.Int64
		const hosts = 20
		for i := range hosts {
			for name, n := range map[string]*atomic.Int64{"kept": &kept, "gone": &gone, "bye": &bye} {
				_, _, err := w.Announce(fmt.Sprint(name, i), 10*sec, collected(n))
				must(t, err)
			}
			// The second value of a known host is nobody's.
			_, _, err := w.Announce(fmt.Sprint("kept", i), 24*time.Hour, new(heavy))
			must(t, err)
		}
		pass(20 * sec) // suspects
		for i := range hosts {
			must(t, w.Leave(fmt.Sprint("bye", i)))
		}
		untilCollected(t, "values of hosts that said goodbye", &bye, hosts, func() { pass(ms) })
		pass(20 * sec)
		runtime.GC()
		// A leave that was not accepted keeps its value: it is handed out again with it.
		equal(t, "collected before their leaves were accepted", gone.Load(), 0)
		verdict = hostwheel.Done
		pass(20 * sec)
		untilCollected(t, "values of hosts whose leave was accepted", &gone, hosts, func() { pass(ms) })
		equal(t, "collected of hosts that are alive", kept.Load(), 0)
		equal(t, "alive", w.Stats().Live, hosts)
		must(t, w.Close())
		runtime.KeepAlive(w)
	})
}

// dropped opens wheels in various states and forgets them.
func dropped(t *testing.T, backend hostwheel.Backend, values *atomic.Int64) int64 {
	made := int64(0)
	fill := func(w *hostwheel.Wheel[*heavy]) {
		for i := range 50 {
			_, _, err := w.Announce(fmt.Sprint(i), time.Hour, collected(values))
			must(t, err)
			made++
		}
	}
	for range 10 {
		w, err := hostwheel.New(hostwheel.Config[*heavy]{Backend: backend})
		must(t, err)
		fill(w)
		w, err = hostwheel.New(hostwheel.Config[*heavy]{Backend: backend, Manual: true, Watchdog: hostwheel.Off,
			Leave: func(*hostwheel.Event[*heavy]) hostwheel.Verdict { return hostwheel.Retry(0) }})
		must(t, err)
		fill(w)
		_, err = w.Advance(3 * time.Hour)
		must(t, err)
		w, err = hostwheel.New(hostwheel.Config[*heavy]{Backend: backend})
		must(t, err)
		fill(w)
		ctx, cancel := context.WithTimeout(context.Background(), ms)
		wants(t, "Run", w.Run(ctx), context.DeadlineExceeded)
		cancel()
		w, err = hostwheel.New(hostwheel.Config[*heavy]{Backend: backend})
		must(t, err)
		fill(w)
		must(t, w.Close())
	}
	return made
}

func TestAWheelThatIsDroppedLeavesNoGoroutineAndNoMemory(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		before := runtime.NumGoroutine()
		var values atomic.Int64
		made := dropped(t, backend, &values)
		untilCollected(t, "the wheels are collected with all their values", &values, made, func() {})
		goroutinesAreBack(t, before)
	})
}

func TestAMemberThatIsKeptWorksThoughItsWheelWasDropped(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		m := func() *member {
			w, err := hostwheel.New(config{Backend: backend})
			must(t, err)
			m, _, err := w.Announce("a", time.Hour, "value")
			must(t, err)
			return m
		}()
		for range 5 {
			runtime.GC()
			must(t, m.Renew())
			must(t, m.RenewAt(time.Now()))
			if _, err := m.Inspect(); err != nil || m.Value() != "value" || m.ID() != "a" {
				t.Fatalf("the member of a dropped wheel: %v %q %q", err, m.Value(), m.ID())
			}
		}
		must(t, m.Leave())
		wants(t, "renew", m.Renew(), hostwheel.ErrStale)
	})
}

func TestRenewingAllocatesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, isManual := range []bool{true, false} {
			w, err := hostwheel.New(config{Backend: backend, Manual: isManual})
			must(t, err)
			m, _, err := w.Announce("a", time.Hour, "")
			must(t, err)
			now := time.Now()
			if n := testing.AllocsPerRun(1000, func() { _, _ = m.Renew(), m.RenewAt(now) }); n != 0 {
				t.Errorf("%v allocations for two renewals", n)
			}
			must(t, w.Close())
		}
	})
}

func TestMemoryDoesNotGrowWithHostsThatFlap(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		w, err := hostwheel.New(config{Backend: backend, Manual: true, Watchdog: hostwheel.Off, SilenceExpected: -1,
			Brake: hostwheel.Brake{Off: true}})
		must(t, err)
		now := time.Duration(0)
		flap := func(rounds int) {
			for range rounds {
				for i := range 100 {
					m, _, err := w.Announce(fmt.Sprint("host-", i), hostwheel.Longest, "")
					must(t, err)
					must(t, m.Renew())
					if i%2 == 0 {
						must(t, m.Leave())
					}
				}
				now += ms
				_, err := w.Advance(now)
				must(t, err)
				for i := 1; i < 100; i += 2 {
					must(t, w.Leave(fmt.Sprint("host-", i)))
				}
				now += ms
				_, err = w.Advance(now)
				must(t, err)
			}
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		flap(20)
		before := heap()
		flap(300)
		// 30,000 incarnations later: half a megabyte is 17 bytes for each.
		if after := heap(); after > before+512<<10 {
			t.Errorf("the heap grew from %d to %d bytes", before, after)
		}
		if records := w.Stats().Records; records > 100 {
			t.Errorf("%d records for 100 hosts", records)
		}
		must(t, w.Close())
	})
}
