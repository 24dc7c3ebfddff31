package hostwheel_test

import (
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestIntervalsAreClampedBothWaysRoundedUpAndCounted(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.MinInterval, c.MaxInterval = 2*sec, 60*sec
		s := open(t, c)
		clamps := uint64(0)
		for _, announced := range []struct {
			interval, effective time.Duration
			clamped             bool
		}{
			{1, 2 * sec, true},
			{2*sec - 1*ms, 2 * sec, true},
			{2 * sec, 2 * sec, false},
			{2*sec + 1, 2*sec + 1*ms, false},
			{3*sec - 1, 3 * sec, false},
			{60 * sec, 60 * sec, false},
			{60*sec + 1*ms, 60 * sec, true},
			{hostwheel.Longest, 60 * sec, true},
			{1<<63 - 1, 60 * sec, true},
		} {
			if announced.clamped {
				clamps++
			}
			m := s.announce("a", announced.interval)
			equal(t, announced.interval.String(), s.status(m).Interval, announced.effective)
			equal(t, announced.interval.String()+", by the member", m.Interval(), announced.effective)
			equal(t, announced.interval.String()+": clamps", s.wheel.Stats().Clamps, clamps)
		}
		m, _ := s.wheel.Lookup("a")
		must(t, m.AnnounceAt(heard(0), 1))
		equal(t, "by member", s.status(m).Interval, 2*sec)
		m = s.announce("nameless", 0)
		equal(t, "none", m.Interval(), 0)
		equal(t, "clamps", s.wheel.Stats().Clamps, clamps+1)
	})
}

func TestAHostWithoutIntervalHasTheHostTTLAndHalfOfItAsItsInterval(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.HostTTL, c.Grace = 20*sec, time.Hour
		s := open(t, c)
		m := s.announce("a", 0)
		status := s.status(m)
		if status.Interval != 0 || status.Deadline != 20*sec || status.LeavesAt != 30*sec {
			t.Errorf("without an interval: %+v", status)
		}
		e := s.to(20*sec, "suspect a")[0]
		equal(t, "reason", e.Reason, hostwheel.HostTTL)
		e = s.to(30*sec, "leave a")[0]
		if e.Reason != hostwheel.HostTTL || e.Interval != 0 || e.Deadline != 20*sec {
			t.Errorf("the leave: %+v", e)
		}
		equal(t, "by reason", s.wheel.Stats().LeavesHostTTL, 1)
		equal(t, "by reason", s.wheel.Stats().LeavesTTL, 0)
		equal(t, "clamps", s.wheel.Stats().Clamps, 0)
	})
}

func TestTheDefaultsAreAnHourOfHostTTLAnd15SecondsOfGrace(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		s.announce("none", 0)
		s.announce("long", time.Hour)
		s.announce("short", 1)
		s.to(2*sec, "suspect short")
		s.to(3*sec, "leave short")
		s.to(time.Hour-1*ms, nil...)
		s.to(time.Hour, "suspect none")
		s.to(time.Hour + 15*sec - 1*ms)
		s.to(time.Hour+15*sec, "leave none")
		s.to(2*time.Hour, "suspect long")
		s.to(2*time.Hour+15*sec, "leave long")
	})
}

func TestGraceOffIsTheLiteralTTLWithoutASuspectStage(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace = hostwheel.Off
		s := open(t, c)
		s.announce("a", 10*sec)
		s.announce("b", 0)
		s.to(20*sec - 1*ms)
		s.to(20*sec, "leave a")
		s.to(time.Hour, "leave b")
	})
}

func TestTheIntervalMayChangeAtAnyAnnounceBothWaysAndRenewalsKeepIt(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		now := time.Duration(0)
		check := func(interval time.Duration) {
			t.Helper()
			status := s.status(m)
			ttl, grace := 2*interval, min(15*sec, interval)
			if interval == 0 {
				ttl, grace = time.Hour, 15*sec
			}
			if status.Interval != interval || status.LastSeen != now || status.Deadline != now+ttl || status.LeavesAt != now+ttl+grace {
				t.Fatalf("at %v with interval %v: %+v", now, interval, status)
			}
		}
		for i, interval := range []time.Duration{300 * sec, 1 * sec, 0, 24 * time.Hour, 0, 2 * sec, 2 * sec, time.Hour, 1 * sec} {
			now += 1 * sec
			s.to(now)
			if i%2 == 0 {
				s.announce("a", interval)
			} else {
				must(t, m.AnnounceAt(heard(now), interval))
			}
			check(interval)
			now += 1 * sec
			s.to(now)
			must(t, m.Renew())
			check(interval)
		}
		s.to(now+2*sec, "suspect a")
		s.to(now+3*sec, "leave a")
	})
}

func TestAShortenedIntervalBringsTheLeaveForward(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		// At the boundaries where a wheel's levels meet, and beside them.
		for _, at := range []time.Duration{1, 63, 64, 65, 255, 256, 4095, 4096, 65_535, 65_536, 1 << 24} {
			s := open(t, manual(backend))
			s.announce("a", hostwheel.Longest)
			s.to(at * ms)
			s.announce("a", 1*sec)
			s.to(at*ms + 2*sec - 1*ms)
			s.to(at*ms+2*sec, "suspect a")
			s.announce("a", hostwheel.Longest)
			s.to(at*ms+2*sec, "recovered a")
			s.to(at*ms + 2*sec + 2*hostwheel.Longest - 1*ms)
			s.to(at*ms+2*sec+2*hostwheel.Longest, "suspect a")
			s.to(at*ms+17*sec+2*hostwheel.Longest, "leave a")
		}
	})
}

func TestSuspectsRecoverWhateverIntervalTheyAnnounce(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		s.announce("a", 2*sec)
		s.announce("b", 2*sec)
		s.announce("c", 2*sec)
		s.to(4*sec, "suspect a", "suspect b", "suspect c")
		for id, interval := range map[string]time.Duration{"a": 50 * sec, "b": 1 * sec, "c": 0} {
			_, outcome, err := s.wheel.Announce(id, interval, "")
			must(t, err)
			equal(t, "outcome", outcome, hostwheel.Recovered)
		}
		s.to(4*sec, "recovered a", "recovered b", "recovered c")
		s.to(6*sec, "suspect b")
		s.to(7*sec, "leave b")
		s.to(104*sec, "suspect a")
		s.to(119*sec, "leave a")
		s.to(time.Hour+4*sec, "suspect c")
	})
}

func TestNewsOfThePastCountsFromThenAndOlderNewsChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		s.to(5 * sec)
		must(t, m.Renew())
		s.to(8 * sec)
		older := map[string]func() error{
			"seen at": func() error {
				_, outcome, err := s.wheel.Announce("a", 1*sec, "", hostwheel.SeenAt(heard(5*sec-1*ms)))
				equal(t, "outcome", outcome, hostwheel.Renewed)
				return err
			},
			"announce at": func() error { return m.AnnounceAt(heard(4*sec), 1*sec) },
			"renew at":    func() error { return m.RenewAt(heard(0)) },
			"before New":  func() error { return m.RenewAt(heard(-time.Hour)) },
			"long ago": func() error {
				_, _, err := s.wheel.Announce("a", sec, "", hostwheel.SeenAt(time.Unix(-1<<40, 0)))
				return err
			},
		}
		for what, tell := range older {
			must(t, tell())
			status := s.status(m)
			if status.LastSeen != 5*sec || status.Interval != 10*sec {
				t.Errorf("%s: %+v", what, status)
			}
		}
		must(t, m.RenewAt(heard(6*sec)))
		equal(t, "renewed at 6 s", s.status(m).LastSeen, 6*sec)
		must(t, m.AnnounceAt(heard(7*sec), 3*sec))
		equal(t, "announced at 7 s", s.status(m).Deadline, 13*sec)
		equal(t, "age", s.status(m).Age, 1*sec)
		s.announce("a", 4*sec, hostwheel.SeenAt(heard(7500*ms)))
		equal(t, "seen at 7.5 s", s.status(m).Deadline, 15_500*ms)
		// News of the same moment as the last announce has a say about the interval.
		s.announce("a", 2*sec, hostwheel.SeenAt(heard(7500*ms)))
		equal(t, "the same moment", s.status(m).Deadline, 11_500*ms)
		s.to(11_499 * ms)
		s.to(11_500*ms, "suspect a")
	})
}

func TestAnInstantInTheFutureCountsAsNow(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec, hostwheel.SeenAt(heard(time.Hour)))
		equal(t, "registered", s.status(m).LastSeen, 0)
		s.to(5 * sec)
		for what, tell := range map[string]func(t time.Time) error{
			"seen at": func(at time.Time) error {
				_, _, err := s.wheel.Announce("a", 10*sec, "", hostwheel.SeenAt(at))
				return err
			},
			"announce at": func(at time.Time) error { return m.AnnounceAt(at, 10*sec) },
			"renew at":    m.RenewAt,
		} {
			for _, at := range []time.Time{heard(5*sec + 1*ms), heard(7 * sec), heard(100 * time.Hour), time.Unix(1<<40, 0)} {
				must(t, tell(at))
				// RenewAt may be off by a second, as it reads no clock; never by more.
				status := s.status(m)
				most := 5 * sec
				if what == "renew at" {
					most += sec
				}
				if status.LastSeen < 5*sec || status.LastSeen > most {
					t.Errorf("%s, %v: last seen %v", what, at, status.LastSeen)
				}
			}
		}
		s.to(30*sec, "suspect a")
	})
}

func TestOldNewsOfASuspectDoesNotVouchForIt(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace = 5 * sec
		s := open(t, c)
		m := s.announce("a", 10*sec)
		s.to(24*sec, "suspect a")
		must(t, m.RenewAt(heard(3*sec)))
		equal(t, "suspect", m.Suspect(), true)
		status := s.status(m)
		if status.State != hostwheel.Suspected || status.LastSeen != 3*sec || status.LeavesAt != 28*sec {
			t.Errorf("%+v", status)
		}
		_, outcome, err := s.wheel.Announce("a", 10*sec, "", hostwheel.SeenAt(heard(3500*ms)))
		must(t, err)
		equal(t, "outcome", outcome, hostwheel.Renewed)
		s.to(28*sec + 499*ms)
		e := s.to(28*sec+500*ms, "leave a")[0]
		if e.LastSeen != 3500*ms || e.Deadline != 23_500*ms || e.Lateness != 0 {
			t.Errorf("%+v", e)
		}
	})
}

func TestARegistrationHeardBeforeTheOpeningCountsFromThen(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec, hostwheel.SeenAt(heard(-4*sec)))
		status := s.status(m)
		if status.LastSeen != 0 || status.Age != 4*sec || status.Deadline != 16*sec {
			t.Errorf("%+v", status)
		}
		s.to(16*sec, "suspect a")
		s.to(26*sec, "leave a")
	})
}

// On the real clock instants count by their monotonic reading where they have one. Those that lack it, such as ones that
// came over the network, count by the time of day, and nothing is asserted that a step of it could break by minutes.
func TestInstantsOfTheRealClockCountWithAndWithoutTheirMonotonicReading(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		w, err := hostwheel.New(config{Backend: backend, Watchdog: hostwheel.Off})
		must(t, err)
		defer w.Close()
		for name, strip := range map[string]func(time.Time) time.Time{
			"monotonic":  func(at time.Time) time.Time { return at },
			"round":      func(at time.Time) time.Time { return at.Round(0) },
			"other zone": func(at time.Time) time.Time { return at.Round(0).In(time.FixedZone("far", 14*3600)) },
		} {
			m, _, err := w.Announce(name, time.Hour, "", hostwheel.SeenAt(strip(time.Now().Add(-30*time.Minute))))
			must(t, err)
			about := func(age time.Duration) {
				t.Helper()
				status, err := m.Inspect()
				must(t, err)
				if off := status.Age - age; off < -5*time.Minute || off > 5*time.Minute {
					t.Errorf("%s: its age is %v, not about %v", name, status.Age, age)
				}
			}
			about(30 * time.Minute)
			must(t, m.RenewAt(strip(time.Now().Add(-50*time.Minute))))
			about(30 * time.Minute)
			must(t, m.RenewAt(strip(time.Now().Add(-20*time.Minute))))
			about(20 * time.Minute)
			must(t, m.AnnounceAt(strip(time.Now().Add(-10*time.Minute)), time.Hour))
			about(10 * time.Minute)
			must(t, m.AnnounceAt(strip(time.Now().Add(time.Hour)), time.Hour))
			about(0)
		}
	})
}
