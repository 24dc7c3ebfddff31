package hostwheel_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// fleet announces n hosts of one interval: "0", "1" and so on.
func (s *scene) fleet(n int, interval time.Duration) []*member {
	s.Helper()
	var members []*member
	for i := range n {
		members = append(members, s.announce(fmt.Sprint(i), interval))
	}
	return members
}

// one is the first event of the last advance.
func (s *scene) one() event {
	s.Helper()
	if len(s.events) == 0 {
		s.Fatal("nothing was told")
	}
	return s.events[0]
}

// count advances and counts the events by kind.
func (s *scene) count(at time.Duration) map[hostwheel.Kind]int {
	s.Helper()
	s.events = nil
	_, err := s.wheel.Advance(at)
	must(s, err)
	n := map[hostwheel.Kind]int{}
	for i := range s.events {
		n[s.events[i].Kind]++
	}
	return n
}

func TestTheBrakeLetsABurstGoAndThenItsRefill(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace, c.Brake = hostwheel.Off, hostwheel.Brake{BurstMin: 10, RefillMin: 6}
		s := open(t, c)
		members := s.fleet(30, 10*sec)
		equal(t, "at once", s.count(20 * sec)[hostwheel.LeaveEvent], 10)
		stats := s.wheel.Stats()
		if stats.Waiting != 20 || stats.Live != 20 || stats.LeavesTTL != 10 {
			t.Errorf("behind the brake: %+v", stats)
		}
		held := 0
		for _, m := range members {
			if status, err := m.Inspect(); err == nil && status.State == hostwheel.Live {
				held++
				if status.HeldBy != hostwheel.HeldByBrake || status.HeldSince != 20*sec {
					t.Errorf("held by %v since %v", status.HeldBy, status.HeldSince)
				}
			}
		}
		equal(t, "held", held, 20)
		// Six a minute: one each ten seconds, and it does not stick.
		for i := range 20 {
			at := 30*sec + time.Duration(i)*10*sec
			equal(t, "before a token comes", s.count(at - 1*ms)[hostwheel.LeaveEvent], 0)
			equal(t, "when it comes", s.count(at)[hostwheel.LeaveEvent], 1)
			e := s.one()
			if e.Held != at-20*sec || e.Lateness != at-20*sec {
				t.Errorf("at %v: held %v, late %v", at, e.Held, e.Lateness)
			}
		}
		stats = s.wheel.Stats()
		if stats.Brake != 200*sec || stats.Waiting != 0 || stats.LatenessMax != 0 || stats.LeavesTTL != 30 {
			t.Errorf("in the end: %+v", stats)
		}
	})
}

func TestWhoWaitsForTheBrakeIsSavedByAnAnnounceOrSaysGoodbye(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Brake = hostwheel.Brake{BurstMin: 1, RefillMin: 1}
		s := open(t, c)
		members := s.fleet(5, 10*sec)
		equal(t, "suspects", s.count(20 * sec)[hostwheel.SuspectEvent], 5)
		equal(t, "leaves", s.count(30 * sec)[hostwheel.LeaveEvent], 1)
		renewed := map[string]bool{}
		for i, m := range members {
			switch err := m.Renew(); {
			case err != nil:
				wants(t, "the one that left", err, hostwheel.ErrStale)
			case i%2 == 0:
				must(t, m.Leave())
			default:
				renewed[m.ID()] = true
			}
		}
		got := s.count(31 * sec)
		equal(t, "recovered", got[hostwheel.RecoveredEvent], len(renewed))
		equal(t, "leaves", got[hostwheel.LeaveEvent], 0)
		equal(t, "waiting", s.wheel.Stats().Waiting, 0)
		// They leave in their own time.
		equal(t, "suspects", s.count(50 * sec)[hostwheel.SuspectEvent], len(renewed))
		// A bucket of one holds no more than one, however long nobody looked.
		for minute := range 4 {
			s.count(60*sec + time.Duration(minute)*60*sec)
		}
		equal(t, "live", s.wheel.Stats().Live, 0)
	})
}

func TestReleaseLetsThoseGoThatWaitAndNobodyElse(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace, c.Brake = hostwheel.Off, hostwheel.Brake{BurstMin: 1, RefillMin: 1}
		s := open(t, c)
		// With nobody waiting it is void.
		must(t, s.wheel.Release())
		s.count(ms)
		s.fleet(20, 10*sec)
		s.announce("later", 11*sec)
		equal(t, "at once", s.count(20*sec + ms)[hostwheel.LeaveEvent], 1)
		must(t, s.wheel.Release())
		equal(t, "released", s.count(20*sec + 2*ms)[hostwheel.LeaveEvent], 19)
		equal(t, "later", s.count(23 * sec)[hostwheel.LeaveEvent], 0)
		equal(t, "waiting", s.wheel.Stats().Waiting, 1)
		equal(t, "after a minute", s.count(80*sec + ms)[hostwheel.LeaveEvent], 1)
	})
}

func TestWhatIsLeftOfAReleaseIsVoid(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Brake = hostwheel.Brake{BurstMin: 1, RefillMin: 1}
		s := open(t, c)
		members := s.fleet(8, 10*sec)
		s.count(20 * sec)
		equal(t, "leaves", s.count(30 * sec)[hostwheel.LeaveEvent], 1)
		equal(t, "waiting", s.wheel.Stats().Waiting, 7)
		// All who waited are heard at the last moment: nobody is there whom the release could let go.
		must(t, s.wheel.Release())
		for _, m := range members {
			if err := m.Renew(); err != nil {
				wants(t, "the one that left", err, hostwheel.ErrStale)
			}
		}
		equal(t, "leaves", s.count(31 * sec)[hostwheel.LeaveEvent], 0)
		s.count(50 * sec)
		// Later they die after all, and the brake holds as ever.
		if n := s.count(60 * sec)[hostwheel.LeaveEvent]; n > 1 {
			t.Errorf("%d leave at once on an old release", n)
		}
	})
}

func TestASmallFleetIsNotBrakedByDefault(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Brake = hostwheel.Brake{}
		s := open(t, c)
		s.fleet(100, 10*sec)
		s.count(20 * sec)
		equal(t, "leaves", s.count(30 * sec)[hostwheel.LeaveEvent], 100)
		equal(t, "brake", s.wheel.Stats().Brake, 0)
	})
}

func TestByDefaultAFifthOfALargeFleetMayGoAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Brake, c.Grace = hostwheel.Brake{}, hostwheel.Off
		s := open(t, c)
		s.fleet(1000, 10*sec)
		witness := s.announce("witness", 10*sec)
		s.count(10 * sec)
		must(t, witness.Renew())
		equal(t, "at once", s.count(20 * sec)[hostwheel.LeaveEvent], 200)
		must(t, witness.Renew())
		equal(t, "in half a minute", s.count(50 * sec)[hostwheel.LeaveEvent], 100)
		equal(t, "in a minute", s.count(80 * sec)[hostwheel.LeaveEvent], 100)
	})
}

func TestNobodyLeavesWhileNobodyAtAllIsHeard(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.SilenceExpected, c.Grace = 0, sec
		s := open(t, c)
		members := s.fleet(40, 10*sec)
		// Suspect events flow meanwhile.
		equal(t, "suspects", s.count(20 * sec)[hostwheel.SuspectEvent], 40)
		for at := 21 * sec; at < 100*sec; at += sec {
			equal(t, "leaves", s.count(at)[hostwheel.LeaveEvent], 0)
		}
		stats := s.wheel.Stats()
		if stats.Silences != 1 || stats.Silence != 78*sec || stats.Waiting != 40 {
			t.Errorf("in the silence: %+v", stats)
		}
		status := s.status(members[7])
		if status.HeldBy != hostwheel.HeldBySilence || status.HeldSince != 21*sec || status.State != hostwheel.Suspected {
			t.Errorf("held: %+v", status)
		}
		// A release is for the brake.
		must(t, s.wheel.Release())
		equal(t, "released", s.count(100 * sec)[hostwheel.LeaveEvent], 0)
		// The first that is heard ends it. The others get one more interval and their grace.
		must(t, members[0].Renew())
		equal(t, "recovered", s.count(100 * sec)[hostwheel.RecoveredEvent], 1)
		must(t, members[1].Renew())
		equal(t, "not yet", s.count(111*sec - 1*ms)[hostwheel.LeaveEvent], 0)
		equal(t, "leaves", s.count(111 * sec)[hostwheel.LeaveEvent], 38)
		e := s.one()
		if e.Held != 90*sec || e.Lateness != 90*sec {
			t.Errorf("held %v, late %v", e.Held, e.Lateness)
		}
		stats = s.wheel.Stats()
		if stats.Silences != 1 || stats.Silence != 79*sec || stats.Waiting != 0 || stats.Live != 2 {
			t.Errorf("after the silence: %+v", stats)
		}
	})
}

func TestASilenceEndsAfterOneHostTTLAndThenTheDeadLeave(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.SilenceExpected, c.Grace, c.HostTTL = 0, sec, 60*sec
		s := open(t, c)
		s.fleet(40, 10*sec)
		s.count(20 * sec)
		s.count(21 * sec)
		equal(t, "held", s.count(81*sec - 1*ms)[hostwheel.LeaveEvent], 0)
		s.count(81 * sec)
		equal(t, "held still", s.count(92*sec - 1*ms)[hostwheel.LeaveEvent], 0)
		equal(t, "leaves", s.count(92 * sec)[hostwheel.LeaveEvent], 40)
		equal(t, "silences", s.wheel.Stats().Silences, 1)
		equal(t, "silence", s.wheel.Stats().Silence, 60*sec)
	})
}

func TestAHealthyFleetMeetsNoGuardHoweverSynchronised(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for name, off := range map[string]func(i int) time.Duration{
			"all at once": func(int) time.Duration { return 0 },
			"spread":      func(i int) time.Duration { return time.Duration(i) * 100 * ms },
		} {
			c := manual(backend)
			c.SilenceExpected, c.Brake = 0, hostwheel.Brake{}
			s := open(t, c)
			members := s.fleet(100, 10*sec)
			dead := s.announce("dead", 10*sec)
			gone := 0
			for at := time.Duration(0); at < 120*sec; at += 100 * ms {
				got := s.count(at)
				gone += got[hostwheel.LeaveEvent]
				equal(t, name+": suspects", got[hostwheel.SuspectEvent], map[bool]int{true: 1, false: 0}[at == 20*sec])
				for i, m := range members {
					if at >= off(i) && (at-off(i))%(10*sec) == 0 {
						must(t, m.Renew())
					}
				}
			}
			equal(t, name+": leaves", gone, 1)
			wants(t, "the dead one", dead.Renew(), hostwheel.ErrStale)
			stats := s.wheel.Stats()
			if stats.Silences != 0 || stats.Brake != 0 || stats.LatenessMax != 0 {
				t.Errorf("%s: a guard held: %+v", name, stats)
			}
		}
	})
}

func TestNoMoreLeavesThanAllowedAreOutstanding(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace, c.MaxOutstanding = hostwheel.Off, 3
		s := open(t, c)
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(time.Hour) }
		members := s.fleet(10, 10*sec)
		equal(t, "leaves", s.count(20 * sec)[hostwheel.LeaveEvent], 3)
		stats := s.wheel.Stats()
		if stats.Outstanding != 3 || stats.Waiting != 7 {
			t.Errorf("%+v", stats)
		}
		held := 0
		for _, m := range members {
			if s.status(m).HeldBy == hostwheel.HeldByOutstanding {
				held++
				must(t, m.Renew())
			}
		}
		equal(t, "held", held, 7)
		s.answer = nil
		s.count(30 * sec)
		equal(t, "at their own time, with the retried ones still in the way", s.count(40 * sec)[hostwheel.LeaveEvent], 0)
		s.count(20*sec + time.Hour)
		equal(t, "live", s.wheel.Stats().Live, 0)
		equal(t, "leaves", s.wheel.Stats().LeavesTTL, 10)
		equal(t, "outstanding", s.wheel.Stats().Outstanding, 0)
	})
}

func TestTimeInWhichNobodyWatchedCountsAgainstNobody(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Watchdog = 0 // the default
		s := open(t, c)
		alive, dead := s.announce("alive", sec), s.announce("dead", sec)
		s.to(500 * ms)
		s.to(1000 * ms)
		// The next look is planned half a MinInterval ahead, with a quarter of slack: what is beyond does not count.
		s.to(time.Hour)
		stats := s.wheel.Stats()
		if stats.Now != 1750*ms || stats.Away != time.Hour-1750*ms {
			t.Errorf("now %v, away %v", stats.Now, stats.Away)
		}
		must(t, alive.Renew())
		equal(t, "last seen", s.status(alive).LastSeen, 1750*ms)
		// The pause hides no dead one.
		e := s.to(time.Hour+250*ms, "suspect dead")[0]
		equal(t, "away", e.Away, time.Hour-1750*ms)
		s.to(time.Hour + 750*ms)
		e = s.to(time.Hour+1250*ms, "leave dead")[0]
		if e.Member != dead || e.Now != 3*sec || e.Lateness != 0 || e.Away != time.Hour-1750*ms {
			t.Errorf("the leave: %+v", e)
		}
		// Pause after pause: time passes, more slowly.
		must(t, alive.Renew())
		steps := 0
		for at := 2 * time.Hour; s.wheel.Stats().Live > 0; at += time.Hour {
			s.count(at)
			if steps++; steps > 20 {
				t.Fatal("an observer that is late at every look finds nobody dead")
			}
		}
		if steps < 4 {
			t.Errorf("left after %d looks that were late", steps)
		}
	})
}

func TestAPauseCostsAHealthyFleetNobody(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Watchdog = 0
		s := open(t, c)
		members := s.fleet(200, 5*sec)
		for round := range 50 {
			at := time.Duration(round) * time.Minute
			s.count(at)
			for step := range 12 {
				equal(t, "events", len(s.count(at+time.Duration(step)*500*ms)), 0)
			}
			for _, m := range members {
				must(t, m.Renew())
			}
			// And then more than fifty seconds, in which the process is stopped.
		}
		equal(t, "live", s.wheel.Stats().Live, 200)
	})
}

func TestWithoutRunNobodyLeaves(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var suspects, leaves atomic.Int64
		w, err := hostwheel.New(config{
			Backend: backend, MinInterval: 20 * ms, SilenceExpected: -1,
			Suspect: func(*event) { suspects.Add(1) },
			Leave:   func(*event) hostwheel.Verdict { leaves.Add(1); return hostwheel.Done },
		})
		must(t, err)
		m, _, err := w.Announce("a", 20*ms, "")
		must(t, err)
		// Many times its TTL, before the first Run and between two.
		for round := range 3 {
			time.Sleep(150 * ms)
			status, err := m.Inspect()
			must(t, err)
			if status.State == hostwheel.Taken || leaves.Load() > 0 {
				t.Fatal("it left while nobody watched")
			}
			must(t, m.Renew())
			if round < 2 {
				ctx, cancel := context.WithTimeout(context.Background(), ms)
				wants(t, "Run", w.Run(ctx), context.DeadlineExceeded)
				cancel()
			}
		}
		ended := run(context.Background(), w)
		until(t, "it leaves once somebody watches", func() bool { return leaves.Load() == 1 })
		must(t, w.Close())
		must(t, <-ended)
		// The native backend has a thread that looks meanwhile.
		if backend == hostwheel.Pure {
			equal(t, "suspects", suspects.Load(), 1)
		}
	})
}
