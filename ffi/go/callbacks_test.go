package hostwheel_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestAPanicInLeaveIsARetryAndOneElsewhereIsIgnored(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var logged bytes.Buffer
		bad := true
		panics := func(*event) {
			if bad {
				panic("of the test")
			}
		}
		c := manual(backend)
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		c.Suspect, c.Recovered = panics, panics
		c.Leave = func(e *event) hostwheel.Verdict { panics(e); return hostwheel.Done }
		s := open(t, c)
		m := s.announce("a", 10*sec)
		s.to(20*sec, "suspect a")
		must(t, m.Renew())
		s.to(21*sec, "recovered a")
		s.to(41*sec, "suspect a")
		s.to(51*sec, "leave a")
		wants(t, "renew", m.Renew(), hostwheel.ErrTaken)
		s.to(52*sec, "leave a")
		bad = false
		e := s.to(54*sec, "leave a")[0]
		equal(t, "attempt", e.Attempt, 3)
		wants(t, "renew", m.Renew(), hostwheel.ErrStale)
		s.to(time.Hour)
		equal(t, "panics", s.wheel.Stats().Panics, 5)
		if n := strings.Count(logged.String(), "of the test"); n < 5 {
			t.Errorf("the log tells of %d panics:\n%s", n, logged.String())
		}
	})
}

func TestAGoroutineEndedInACallbackCountsAsAPanicAndStopsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		before := runtime.NumGoroutine()
		var left, tries atomic.Int64
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 2, Logger: nobody(), MinInterval: ms, Grace: ms, Watchdog: ms,
			Suspect: func(*event) { runtime.Goexit() },
			Leave: func(e *event) hostwheel.Verdict {
				if tries.Add(1); e.Attempt == 1 {
					runtime.Goexit()
				}
				left.Add(1)
				return hostwheel.Done
			},
		})
		must(t, err)
		ended := run(context.Background(), w)
		for i := range 5 {
			_, _, err := w.Announce(fmt.Sprint(i), ms, "")
			must(t, err)
		}
		until(t, "all leaves were accepted", func() bool { return left.Load() == 5 })
		equal(t, "tries", tries.Load(), 10)
		must(t, w.Close())
		must(t, <-ended)
		equal(t, "panics", w.Stats().Panics, 10)
		goroutinesAreBack(t, before)
	})
}

// run runs a wheel, and tells how that ended.
func run[V any](ctx context.Context, w *hostwheel.Wheel[V]) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return ended
}

func TestCallbacksMayAnnounceRenewAndRemoveTheirOwnHost(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var s *scene
		act := map[string]func(e *event){}
		in := func(e *event) {
			if f := act[said(e)]; f != nil {
				f(e)
			}
		}
		c := manual(backend)
		c.Suspect, c.Recovered = in, in
		c.Leave = func(e *event) hostwheel.Verdict { in(e); return hostwheel.Done }
		s = open(t, c)
		// again tells whether an announce of the id meets the incarnation of the event, and how.
		again := func(e *event) hostwheel.Outcome {
			m, outcome, err := s.wheel.Announce(e.ID(), 10*sec, "again")
			must(t, err)
			equal(t, e.ID()+": the same member", m == e.Member, outcome != hostwheel.Registered)
			return outcome
		}
		act["suspect renews"] = func(e *event) { must(t, e.Member.Renew()) }
		act["suspect announces"] = func(e *event) { equal(t, "in Suspect", again(e), hostwheel.Recovered) }
		act["suspect leaves"] = func(e *event) { must(t, e.Member.Leave()) }
		act["suspect is removed"] = func(e *event) { must(t, s.wheel.Leave(e.ID())) }
		act["suspect leaves and returns"] = func(e *event) {
			must(t, e.Member.Leave())
			equal(t, "after a goodbye in Suspect", again(e), hostwheel.Registered)
		}
		act["recovered leaves late"] = func(e *event) { must(t, e.Member.Leave()) }
		act["recovered announces"] = func(e *event) { equal(t, "in Recovered", again(e), hostwheel.Renewed) }
		act["leave stays away"] = func(e *event) {
			wants(t, "in Leave: renew", e.Member.Renew(), hostwheel.ErrTaken)
			wants(t, "in Leave: leave", e.Member.Leave(), hostwheel.ErrTaken)
			wants(t, "in Leave: leave by id", s.wheel.Leave(e.ID()), hostwheel.ErrNotFound)
			equal(t, "in Leave", e.Superseded, false)
		}
		act["leave returns"] = func(e *event) {
			equal(t, "in Leave", again(e), hostwheel.Registered)
			// Also from within, the old incarnation is the one that leaves.
			wants(t, "the old one", e.Member.Renew(), hostwheel.ErrTaken)
			must(t, s.wheel.Leave(e.ID()))
			equal(t, "in Leave, once more", again(e), hostwheel.Registered)
			act["leave returns"] = nil
		}
		for _, id := range []string{"renews", "announces", "leaves", "is removed", "leaves and returns", "leaves late", "stays away", "returns"} {
			s.announce(id, 10*sec)
		}
		advance := func(at time.Duration) map[string]int {
			s.events = nil
			_, err := s.wheel.Advance(at)
			must(t, err)
			got := map[string]int{}
			for i := range s.events {
				got[said(&s.events[i])]++
			}
			return got
		}
		first := advance(20 * sec)
		late, _ := s.wheel.Lookup("leaves late")
		must(t, late.Renew())
		// What callbacks did is looked at by this advance at the latest.
		for what, n := range advance(20 * sec) {
			first[what] += n
		}
		equal(t, "at 20 s", first, map[string]int{
			"suspect renews": 1, "suspect announces": 1, "suspect leaves": 1, "suspect is removed": 1, "suspect leaves and returns": 1,
			"suspect leaves late": 1, "suspect stays away": 1, "suspect returns": 1,
			"recovered renews": 1, "recovered announces": 1, "recovered leaves late": 1,
		})
		equal(t, "at 30 s", advance(30*sec), map[string]int{"leave stays away": 1, "leave returns": 1})
		delete(act, "suspect renews")
		delete(act, "suspect announces")
		delete(act, "suspect leaves and returns")
		equal(t, "at 40 s", advance(40*sec), map[string]int{"suspect renews": 1, "suspect announces": 1, "suspect leaves and returns": 1})
		equal(t, "at 50 s", advance(50*sec), map[string]int{
			"leave renews": 1, "leave announces": 1, "leave leaves and returns": 1, "suspect returns": 1,
		})
		equal(t, "at 60 s", advance(60*sec), map[string]int{"leave returns": 1})
		equal(t, "afterwards", len(advance(time.Hour)), 0)
		stats := s.wheel.Stats()
		if stats.Live != 0 || stats.Outstanding != 0 || stats.Registered != stats.Left+stats.LeavesTTL {
			t.Errorf("counters: %+v", stats)
		}
	})
}

func TestACallbackMayAskTheWheelAnything(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := t.TempDir() + "/hosts.snap"
		var s *scene
		asked := 0
		ask := func(e *event) {
			asked++
			stats := s.wheel.Stats()
			equal(t, "registered", stats.Registered, 2)
			seen := 0
			for range s.wheel.All() {
				seen++
			}
			if _, ok := s.wheel.Lookup("witness"); !ok {
				t.Error("the witness is not found")
			}
			status, err := e.Member.Inspect()
			must(t, err)
			equal(t, "handle", status.Handle, e.Handle())
			must(t, s.wheel.Release())
			must(t, s.wheel.Snapshot(path))
			must(t, s.wheel.Restore(path, nil))
			wants(t, "a bad announce", e.Member.AnnounceAt(time.Now(), -1), hostwheel.ErrInvalid)
		}
		c := manual(backend)
		c.Suspect, c.Recovered = ask, ask
		c.Leave = func(e *event) hostwheel.Verdict { ask(e); return hostwheel.Done }
		s = open(t, c)
		m := s.announce("a", 10*sec)
		s.announce("witness", 24*time.Hour)
		s.to(20*sec, "suspect a")
		must(t, m.Renew())
		s.to(20*sec, "recovered a")
		s.to(50*sec, "suspect a", "leave a")
		equal(t, "asked", asked, 4)
	})
}

func TestEventsOfOneHostComeOneAtATimeAndInOrderWhileOthersGoOn(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const workers, hosts = 4, 60
		var mu sync.Mutex
		inside, most, over := map[uint64]bool{}, 0, 0
		last := map[uint64]hostwheel.Event[string]{}
		var left, suspects atomic.Int64
		slow := func(e *event, meanwhile func()) {
			mu.Lock()
			if inside[e.Handle()] {
				t.Errorf("two events of %s at a time", e.ID())
			}
			inside[e.Handle()] = true
			most = max(most, len(inside))
			before, any := last[e.Handle()]
			switch {
			case !any && e.Kind != hostwheel.SuspectEvent, any && before.Kind == e.Kind && e.Kind != hostwheel.LeaveEvent,
				any && before.Kind == hostwheel.LeaveEvent && e.Attempt != before.Attempt+1,
				any && before.Kind == hostwheel.RecoveredEvent && e.Kind == hostwheel.LeaveEvent, before.Now > e.Now:
				t.Errorf("%s: %v came after %v", e.ID(), e, &before)
			}
			last[e.Handle()] = *e
			mu.Unlock()
			meanwhile()
			time.Sleep(2 * ms)
			mu.Lock()
			delete(inside, e.Handle())
			over++
			mu.Unlock()
		}
		w, err := hostwheel.New(config{
			Backend: backend, Workers: workers, MinInterval: ms, Grace: 10 * ms, Watchdog: 50 * ms,
			SilenceExpected: -1, Brake: hostwheel.Brake{Off: true},
			Suspect: func(e *event) {
				slow(e, func() {
					// One half is vouched for a few times: that they recovered is known long before this callback ends.
					if n := suspects.Add(1); n < 3*hosts && n%2 == 0 {
						_ = e.Member.Renew()
					}
				})
			},
			Recovered: func(e *event) { slow(e, func() {}) },
			Leave: func(e *event) hostwheel.Verdict {
				slow(e, func() {})
				if e.Attempt < 3 {
					return hostwheel.Retry(ms)
				}
				left.Add(1)
				return hostwheel.Done
			},
		})
		must(t, err)
		ended := run(context.Background(), w)
		for i := range hosts {
			_, _, err := w.Announce(fmt.Sprint(i), 10*ms, "")
			must(t, err)
		}
		until(t, "all hosts have left", func() bool { return left.Load() == hosts })
		must(t, w.Close())
		must(t, <-ended)
		if most < 2 || most > workers {
			t.Errorf("%d callbacks at a time, with %d workers", most, workers)
		}
		stats := w.Stats()
		equal(t, "events", uint64(over), stats.Suspects+stats.Recoveries+stats.LeavesTTL+stats.Retries)
		if stats.Recoveries == 0 {
			t.Error("nobody recovered, which the test is about")
		}
	})
}

func TestAHangingCallbackHoldsUpOnlyItsOwnHost(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		goOn := make(chan bool)
		var left atomic.Int64
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 2, MinInterval: ms, Grace: hostwheel.Off, Watchdog: 20 * ms, SilenceExpected: -1,
			Leave: func(e *event) hostwheel.Verdict {
				if e.ID() == "hangs" {
					<-goOn
				}
				left.Add(1)
				return hostwheel.Done
			},
		})
		must(t, err)
		ended := run(context.Background(), w)
		for i := range 50 {
			_, _, err := w.Announce(fmt.Sprint(i), 2*ms, "")
			must(t, err)
			if i == 0 {
				_, _, err := w.Announce("hangs", 2*ms, "")
				must(t, err)
			}
		}
		until(t, "the others have left", func() bool { return left.Load() == 50 })
		// Close does not wait for it, Run does.
		must(t, w.Close())
		select {
		case err := <-ended:
			close(goOn)
			t.Fatalf("Run returned with a callback at work: %v", err)
		case <-time.After(20 * ms):
		}
		close(goOn)
		must(t, <-ended)
		equal(t, "left", left.Load(), 51)
	})
}

func TestMoreEventsThanAnyQueueHoldsAllComeWithNoWatchdogToHelp(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const hosts = 5000
		var left atomic.Int64
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 2, MinInterval: 50 * ms, Grace: hostwheel.Off, Watchdog: hostwheel.Off,
			SilenceExpected: -1, Brake: hostwheel.Brake{Off: true},
			Leave: func(*event) hostwheel.Verdict { left.Add(1); return hostwheel.Done },
		})
		must(t, err)
		for i := range hosts {
			_, _, err := w.Announce(fmt.Sprint(i), 50*ms, "")
			must(t, err)
		}
		time.Sleep(100 * ms) // all are due when it begins
		ended := run(context.Background(), w)
		until(t, "all have left", func() bool { return left.Load() == hosts })
		must(t, w.Close())
		must(t, <-ended)
	})
}
