package hostwheel_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// Scenes in which the backends, or one of them and the documentation, once differed.

// story is what comes of a scene: who left, and why then.
func story(t *testing.T, c config, play func(w *wheel)) []string {
	var seen []string
	c.Manual, c.Logger = true, nobody()
	c.Leave = func(e *event) hostwheel.Verdict {
		if e.Held > e.Lateness {
			t.Errorf("%v", e)
		}
		seen = append(seen, fmt.Sprintf("%s at %v, late %v, held %v", e.ID(), e.Now, e.Lateness, e.Held))
		return hostwheel.Done
	}
	w, err := hostwheel.New(c)
	must(t, err)
	play(w)
	slices.Sort(seen)
	stats := w.Stats()
	return append(seen, fmt.Sprint(stats.Silences, " silences, ", stats.Silence))
}

// hours moves the clock to a time in steps of a tenth of a second.
func hours(w *wheel, from, to time.Duration) time.Duration {
	for ; from < to; from += 100 * ms {
		if _, err := w.Advance(from); err != nil {
			panic(err)
		}
	}
	return from
}

// Hosts that announce in bursts are witnesses for one silence after another; all of them hold the dead for one host TTL.
func TestSilencesDoNotHoldTheDeadForEver(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := config{Backend: backend, HostTTL: 2 * time.Minute, Grace: 20 * sec, Watchdog: hostwheel.Off}
		told := story(t, c, func(w *wheel) {
			announce := func(name string, interval time.Duration) {
				for i := range 40 {
					_, _, err := w.Announce(fmt.Sprint(name, i), interval, "")
					must(t, err)
				}
			}
			announce("dead", 20*sec)
			announce("live", 12*sec)
			now := time.Duration(0)
			next := func(to time.Duration) {
				now = hours(w, now, to)
				announce("live", 12*sec)
			}
			next(14 * sec)
			next(28 * sec)
			for end := 62 * sec; end < time.Hour; end += 45 * sec {
				next(end)
				next(end + 10*sec)
			}
		})
		equal(t, "leaves", len(told)-1, 40)
		equal(t, "silences", told[40][:10], "4 silences")
	})
}

// A silence ends when somebody is heard, not when that is noticed.
func TestASilenceThatEndsUnseenSparesFromItsEndOn(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		told := story(t, config{Backend: backend, Watchdog: hostwheel.Off}, func(w *wheel) {
			for i := range 40 {
				_, _, err := w.Announce(fmt.Sprint(i), 10*sec, "")
				must(t, err)
			}
			now := hours(w, 0, 50*sec)
			_, _, err := w.Announce("new", 10*sec, "")
			must(t, err)
			// Nobody looks for half a minute.
			hours(w, now+30*sec, 110*sec)
		})
		if silence := told[len(told)-1]; silence > "1 silences, 25s" || silence < "1 silences, 15s" {
			t.Error(silence)
		}
	})
}

func TestTheTimeBeforeARenewalIsNoTimeOfBeingHeld(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := config{
			Backend: backend, Watchdog: hostwheel.Off, SilenceExpected: -1, Grace: hostwheel.Off,
			Brake: hostwheel.Brake{BurstMin: 1, RefillMin: 1},
		}
		told := story(t, c, func(w *wheel) {
			var members []*member
			for i := range 3 {
				m, _, err := w.Announce(fmt.Sprint(i), 10*sec, "")
				must(t, err)
				members = append(members, m)
			}
			now := hours(w, 0, 40*sec)
			for _, m := range members {
				if m.Renew() != nil {
					continue // it was the first to go
				}
				status, err := m.Inspect()
				must(t, err)
				equal(t, "held by", status.HeldBy, hostwheel.NotHeld)
			}
			hours(w, now, 10*time.Minute)
		})
		equal(t, "leaves", len(told)-1, 3)
	})
}

func TestTheSuspectCallbackIsTheLastChanceToAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Suspect = func(e *event) { must(t, e.Member.Renew()) }
		c.Leave = func(e *event) hostwheel.Verdict {
			t.Errorf("%v", e)
			return hostwheel.Done
		}
		w, err := hostwheel.New(c)
		must(t, err)
		_, _, err = w.Announce("a", sec, "")
		must(t, err)
		// Past TTL and grace at once.
		_, err = w.Advance(10 * sec)
		must(t, err)
		equal(t, "live", w.Stats().Live, 1)
	})
}

// The same with all workers busy for longer than the grace.
func TestASuspectWaitsForItsCallbackHoweverBusyTheWorkersAre(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		busy, free, left := make(chan bool), make(chan bool), make(chan string, 9)
		w, err := hostwheel.New(config{
			Backend: backend, Workers: 1, MinInterval: 50 * ms, SilenceExpected: -1, Logger: nobody(),
			Suspect: func(e *event) {
				if e.ID() == "first" {
					close(busy)
					<-free
				}
				must(t, e.Member.AnnounceAt(time.Now(), time.Hour))
			},
			Leave: func(e *event) hostwheel.Verdict { left <- e.ID(); return hostwheel.Done },
		})
		must(t, err)
		ended := run(context.Background(), w)
		announce := func(id string) {
			_, _, err := w.Announce(id, 50*ms, "")
			must(t, err)
		}
		announce("first")
		<-busy
		announce("b")
		announce("c")
		announce("d")
		until(t, "they are suspect", func() bool { return w.Stats().Suspect == 4 })
		time.Sleep(500 * ms)
		close(free)
		until(t, "they are answered for", func() bool { return w.Stats().Suspect == 0 })
		equal(t, "live", w.Stats().Live, 4)
		must(t, w.Close())
		must(t, <-ended)
		equal(t, "leaves", len(left), 0)
	})
}

// The zero time is an instant that was never set: it is refused, and nothing has changed.
func TestTheZeroTimeIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		s.to(8 * sec)
		s.unchanged("the zero time", func() {
			wants(t, "RenewAt", m.RenewAt(time.Time{}), hostwheel.ErrInvalid)
			wants(t, "AnnounceAt", m.AnnounceAt(time.Time{}, sec), hostwheel.ErrInvalid)
			_, _, err := s.wheel.Announce("a", sec, "", hostwheel.SeenAt(time.Time{}))
			wants(t, "SeenAt", err, hostwheel.ErrInvalid)
			_, _, err = s.wheel.Announce("b", sec, "", hostwheel.SeenAt(time.Time{}))
			wants(t, "SeenAt", err, hostwheel.ErrInvalid)
		})
		equal(t, "last seen", s.status(m).LastSeen, 0)
	})
}

// Seconds taken for milliseconds are an instant so far in the future that the time until it is no time.Duration.
func TestAnInstantInTheFutureIsNowHoweverFar(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		w, err := hostwheel.New(config{Backend: backend})
		must(t, err)
		defer func() { noted(t, w.Close()) }()
		for _, far := range []time.Time{
			time.Now().Add(time.Hour), time.Now().Add(200 * 365 * 24 * time.Hour),
			time.Unix(time.Now().UnixMilli(), 0), time.Unix(1<<40, 0),
		} {
			m, _, err := w.Announce("seen", 60*sec, "", hostwheel.SeenAt(far))
			must(t, err)
			status, err := m.Inspect()
			must(t, err)
			equal(t, "seen just now", status.Age < 10*sec, true)
			must(t, m.AnnounceAt(time.Now().Add(-30*sec), 60*sec))
			time.Sleep(20 * ms)
			must(t, m.RenewAt(far))
			status, err = m.Inspect()
			must(t, err)
			equal(t, "renewed just now", status.Age < 10*sec, true)
			must(t, m.Leave())
		}
	})
}

// An instant from before a stop of the process is what it was then.
func TestAnInstantFromBeforeAStopCountsAsItDidThen(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Watchdog = 0
		w, err := hostwheel.New(c)
		must(t, err)
		m, _, err := w.Announce("a", 10*sec, "")
		must(t, err)
		now := hours(w, 0, 9*sec)
		_, err = w.Advance(now + 10*time.Minute)
		must(t, err)
		must(t, m.RenewAt(heard(9*sec)))
		status, err := m.Inspect()
		must(t, err)
		equal(t, "last seen", status.LastSeen, 9*sec)
	})
}

func TestACallbackThatEndsTheGoroutineOfAnAdvanceLosesNoOtherEvent(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		ends := true
		c := manual(backend)
		c.Leave = func(*event) hostwheel.Verdict {
			if ends {
				ends = false
				runtime.Goexit()
			}
			return hostwheel.Done
		}
		s := open(t, c)
		for i := range 5 {
			s.announce(fmt.Sprint(i), sec)
		}
		s.to(2*sec, "suspect 0", "suspect 1", "suspect 2", "suspect 3", "suspect 4")
		var group sync.WaitGroup
		group.Go(func() { _, _ = s.wheel.Advance(3 * sec) })
		group.Wait()
		for at := 10 * sec; at <= 20*sec; at += 5 * sec { // the ended one is retried
			_, err := s.wheel.Advance(at)
			must(t, err)
		}
		stats := s.wheel.Stats()
		equal(t, "outstanding", stats.Outstanding, 0)
		equal(t, "leaves", stats.LeavesTTL, 5)
	})
}

func TestAHostThatSaidGoodbyeMakesRoomAtOnce(t *testing.T) {
	w, err := hostwheel.New(config{MaxHosts: 1, Backend: hostwheel.Pure})
	must(t, err)
	ended := run(context.Background(), w)
	for range 20_000 {
		_, _, err := w.Announce("a", time.Hour, "")
		must(t, err)
		must(t, w.Leave("a"))
	}
	must(t, w.Close())
	must(t, <-ended)
}

func TestSnapshotsToOnePathDoNotDisturbEachOther(t *testing.T) {
	s := open(t, manual(hostwheel.Pure))
	s.announce("a", sec)
	path := t.TempDir() + "/hosts.snapshot"
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 100 {
				noted(t, s.wheel.Snapshot(path))
			}
		})
	}
	writers.Wait()
}

// Events of hosts that a callback says goodbye for are passed over; those behind them come all the same.
func TestGoodbyesInACallbackDelayNoOtherEvent(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var told []string
		c := manual(backend)
		var w *wheel
		c.Suspect = func(e *event) {
			told = append(told, e.ID())
			if len(told) > 1 {
				return
			}
			// For all others but i and j, whoever is told of first.
			for id := 'a'; id <= 'h'; id++ {
				if string(id) != e.ID() {
					must(t, w.Leave(string(id)))
				}
			}
		}
		var err error
		w, err = hostwheel.New(c)
		must(t, err)
		for id := 'a'; id <= 'j'; id++ {
			_, _, err := w.Announce(string(id), sec, "")
			must(t, err)
		}
		_, err = w.Advance(2 * sec)
		must(t, err)
		for _, id := range []string{"i", "j"} {
			if !slices.Contains(told, id) {
				t.Errorf("nobody was told of %s, but of %q", id, told)
			}
		}
	})
}
