package hostwheel_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestRunReturnsTheCauseOfItsContextsEndAndMayRunAgain(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, isManual := range []bool{true, false} {
			w, err := hostwheel.New(config{Backend: backend, Manual: isManual})
			must(t, err)
			why := errors.New("the reason")
			for range 3 {
				ctx, cancel := context.WithCancelCause(context.Background())
				ended := run(ctx, w)
				_, _, err := w.Announce("a", time.Hour, "")
				must(t, err)
				cancel(why)
				equal(t, "cause", <-ended, why)
				// Nothing is closed by that.
				must(t, w.Leave("a"))
			}
			ctx, cancel := context.WithTimeout(context.Background(), ms)
			wants(t, "a deadline", w.Run(ctx), context.DeadlineExceeded)
			cancel()
			over, stop := context.WithCancelCause(context.Background())
			stop(why)
			equal(t, "a context that is over", w.Run(over), why)
			must(t, w.Close())
			must(t, w.Run(over))
		}
	})
}

func TestCloseDuringRunEndsItWithoutError(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, isManual := range []bool{true, false} {
			before := runtime.NumGoroutine()
			w, err := hostwheel.New(config{Backend: backend, Manual: isManual, Workers: 5})
			must(t, err)
			ended := run(context.Background(), w)
			_, _, err = w.Announce("a", time.Hour, "")
			must(t, err)
			for range 3 {
				must(t, w.Close())
			}
			must(t, <-ended)
			must(t, w.Close())
			goroutinesAreBack(t, before)
		}
	})
}

func TestCloseInsideACallbackTakesEffectAndFiresNothingMore(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, in := range []hostwheel.Kind{hostwheel.SuspectEvent, hostwheel.RecoveredEvent, hostwheel.LeaveEvent} {
			var s *scene
			closing := func(e *event) {
				if e.Kind == in {
					must(t, s.wheel.Close())
					must(t, s.wheel.Close())
					wants(t, "in the callback", e.Member.Renew(), hostwheel.ErrClosed)
				}
			}
			c := manual(backend)
			c.Suspect, c.Recovered = closing, closing
			c.Leave = func(e *event) hostwheel.Verdict { closing(e); return hostwheel.Retry(0) }
			s = open(t, c)
			members := []*member{s.announce("a", 10*sec), s.announce("b", 10*sec), s.announce("c", 10*sec)}
			n, err := s.wheel.Advance(20 * sec)
			must(t, err)
			if in != hostwheel.SuspectEvent {
				equal(t, "suspects", n, 3)
				if in == hostwheel.RecoveredEvent {
					for _, m := range members {
						must(t, m.Renew())
					}
				}
				n, err = s.wheel.Advance(30 * sec)
				must(t, err)
			}
			equal(t, in.String()+": delivered by the advance that was closed", n, 1)
			equal(t, in.String()+": told", s.events[len(s.events)-1].Kind, in)
			told := len(s.events)
			_, err = s.wheel.Advance(40 * sec)
			wants(t, "advance", err, hostwheel.ErrClosed)
			equal(t, "told after that", len(s.events), told)
		}
	})
}

func TestCloseInsideLeaveEndsRun(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var w *wheel
		var called atomic.Int64
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 1, MinInterval: ms, Grace: hostwheel.Off, Watchdog: 20 * ms, SilenceExpected: -1,
			Leave: func(*event) hostwheel.Verdict {
				called.Add(1)
				noted(t, w.Close())
				return hostwheel.Done
			},
		})
		must(t, err)
		for i := range 100 {
			_, _, err := w.Announce(fmt.Sprint(i), ms, "")
			must(t, err)
		}
		must(t, w.Run(context.Background()))
		equal(t, "callbacks with one worker", called.Load(), 1)
	})
}

func TestHostsThatAreAliveAtTheCloseGetNoLeave(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		s.announce("b", 10*sec)
		s.to(20*sec, "suspect a", "suspect b")
		must(t, s.wheel.Close())
		_, err := s.wheel.Advance(time.Hour)
		wants(t, "advance", err, hostwheel.ErrClosed)
		stats := s.wheel.Stats()
		if stats.LeavesTTL != 0 || stats.Live != 2 || !m.Suspect() {
			t.Errorf("after close: %+v", stats)
		}
	})
}

func TestNoCallbackRunsAfterRunReturned(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for round := range 40 {
			var running, late atomic.Int64
			var over atomic.Bool
			note := func(*event) {
				running.Add(1)
				if over.Load() {
					late.Add(1)
				}
				runtime.Gosched()
				running.Add(-1)
			}
			c := config{Backend: backend, Workers: 4, MinInterval: ms, Grace: ms, Watchdog: 5 * ms,
				SilenceExpected: -1, Brake: hostwheel.Brake{Off: true}, Suspect: note, Recovered: note}
			c.Leave = func(e *event) hostwheel.Verdict { note(e); return hostwheel.Retry(ms) }
			w, err := hostwheel.New(c)
			must(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			ended := run(ctx, w)
			for i := range 200 {
				_, _, err := w.Announce(fmt.Sprint(i), ms, "")
				must(t, err)
			}
			until(t, "there are callbacks", func() bool { return w.Stats().Suspects > uint64(round*5) })
			if round%2 == 0 {
				must(t, w.Close())
				must(t, <-ended)
			} else {
				cancel()
				wants(t, "Run", <-ended, context.Canceled)
			}
			over.Store(true)
			if running.Load() != 0 {
				t.Fatal("a callback is at work though Run has returned")
			}
			time.Sleep(ms)
			must(t, w.Close())
			cancel()
			if late.Load() != 0 {
				t.Fatal("a callback began after Run had returned")
			}
		}
	})
}

func TestARunThatFollowsAnotherLosesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const hosts = 400
		accepted := map[uint64]int{}
		var mu sync.Mutex
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 3, MinInterval: ms, Grace: 2 * ms, Watchdog: 5 * ms,
			SilenceExpected: -1, Brake: hostwheel.Brake{Off: true},
			Leave: func(e *event) hostwheel.Verdict {
				time.Sleep(ms) // so that events wait for their callbacks whenever a Run ends
				if e.Attempt == 1 {
					return hostwheel.Retry(ms)
				}
				mu.Lock()
				defer mu.Unlock()
				accepted[e.Handle()]++
				return hostwheel.Done
			},
		})
		must(t, err)
		var handles []uint64
		for i := range hosts {
			m, _, err := w.Announce(fmt.Sprint(i), time.Duration(1+i%20)*ms, "")
			must(t, err)
			handles = append(handles, m.Handle())
		}
		end := time.Now().Add(patience)
		for count := 0; count < hosts; {
			if time.Now().After(end) {
				t.Fatalf("only %d of %d have left", count, hosts)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*ms)
			wants(t, "Run", w.Run(ctx), context.DeadlineExceeded)
			cancel()
			mu.Lock()
			count = len(accepted)
			mu.Unlock()
		}
		for handle, n := range accepted {
			if n != 1 || !slices.Contains(handles, handle) {
				t.Errorf("%d has left %d times", handle, n)
			}
		}
		must(t, w.Close())
	})
}

func TestCloseUnderFireRefusesEverythingFromThenOn(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for range 30 {
			w, err := hostwheel.New(config{Backend: backend, MinInterval: ms, Grace: hostwheel.Off, Watchdog: 5 * ms})
			must(t, err)
			ended := run(context.Background(), w)
			var closed atomic.Bool
			var group sync.WaitGroup
			for g := range 6 {
				group.Add(1)
				go func() {
					defer group.Done()
					for i := 0; ; i++ {
						id := fmt.Sprint(g%3, i%7)
						over := closed.Load()
						m, _, err := w.Announce(id, time.Hour, "")
						if err == nil {
							switch i % 3 {
							case 0:
								err = m.Renew()
							case 1:
								err = m.RenewAt(time.Now())
							case 2:
								err = m.Leave()
							}
						}
						switch {
						case errors.Is(err, hostwheel.ErrClosed):
							return
						case over:
							t.Errorf("after Close had returned: %v", err)
							return
						case err != nil && !errors.Is(err, hostwheel.ErrStale):
							t.Errorf("got %v", err)
							return
						}
					}
				}()
			}
			until(t, "some announced", func() bool { return w.Stats().Registered > 50 })
			must(t, w.Close())
			closed.Store(true)
			must(t, <-ended)
			group.Wait()
			known := 0
			for m := range w.All() {
				wants(t, "renew", m.Renew(), hostwheel.ErrClosed)
				known++
			}
			stats := w.Stats()
			if stats.LeavesTTL != 0 || int(stats.Live) != known || stats.Registered != stats.Left+stats.Live {
				t.Fatalf("%d known after close: %+v", known, stats)
			}
		}
	})
}
