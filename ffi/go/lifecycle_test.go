package hostwheel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestAHostThatFallsSilentIsSuspectAtItsTTLAndLeavesAfterItsGraceToTheMillisecond(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m, outcome, err := s.wheel.Announce("a", 10*sec, "metadata")
		must(t, err)
		equal(t, "outcome", outcome, hostwheel.Registered)
		if m.Handle() == 0 || m.ID() != "a" || m.Value() != "metadata" || m.Suspect() {
			t.Errorf("a new member: %d %q %q %v", m.Handle(), m.ID(), m.Value(), m.Suspect())
		}
		s.to(20*sec - 1*ms)
		equal(t, "suspect", m.Suspect(), false)
		e := s.to(20*sec, "suspect a")[0]
		equal(t, "suspect", m.Suspect(), true)
		want := event{
			Kind: hostwheel.SuspectEvent, Reason: hostwheel.TTL, Attempt: 1, Member: m, Interval: 10 * sec,
			Deadline: 20 * sec, Now: 20 * sec,
		}
		equal(t, "the suspect event", e, want)
		equal(t, "state", s.status(m).State, hostwheel.Suspected)
		s.to(30*sec - 1*ms)
		e = s.to(30*sec, "leave a")[0]
		want.Kind, want.Now = hostwheel.LeaveEvent, 30*sec
		equal(t, "the leave", e, want)
		if e.Handle() != m.Handle() || e.ID() != "a" || e.Value() != "metadata" || e.String() == "" {
			t.Errorf("what the event tells of its host: %v %q %q %q", e.Handle(), e.ID(), e.Value(), e.String())
		}
		s.to(1000 * time.Hour)
		stats := s.wheel.Stats()
		if stats.Registered != 1 || stats.Suspects != 1 || stats.LeavesTTL != 1 || stats.Live != 0 ||
			stats.Outstanding != 0 || stats.LatenessMax != 0 || stats.Lateness[0] != 1 || stats.Rescues != 0 {
			t.Errorf("counters: %+v", stats)
		}
	})
}

func TestEachAnnounceAndRenewalMovesTheDeadline(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		for at := 10 * sec; at <= 200*sec; at += 10 * sec {
			s.to(at - 1*ms)
			if at%(20*sec) == 0 {
				must(t, m.Renew())
			} else {
				again, outcome, err := s.wheel.Announce("a", 10*sec, "another value")
				must(t, err)
				equal(t, "outcome", outcome, hostwheel.Renewed)
				equal(t, "member", again, m)
			}
			status := s.status(m)
			equal(t, "last seen", status.LastSeen, at-1*ms)
			equal(t, "deadline", status.Deadline, at+20*sec-1*ms)
			equal(t, "leaves at", status.LeavesAt, at+30*sec-1*ms)
		}
		equal(t, "value", m.Value(), "value of a")
		s.to(219_998 * ms)
		s.to(219_999*ms, "suspect a")
		s.to(229_999*ms, "leave a")
	})
}

func TestASuspectThatIsHeardRecoversOnce(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		ways := map[string]func(m *member) hostwheel.Outcome{
			"announce": func(m *member) hostwheel.Outcome {
				_, outcome, err := s.wheel.Announce(m.ID(), 10*sec, "")
				must(t, err)
				return outcome
			},
			"renew":    func(m *member) hostwheel.Outcome { must(t, m.Renew()); return hostwheel.Recovered },
			"renew-at": func(m *member) hostwheel.Outcome { must(t, m.RenewAt(heard(21*sec))); return hostwheel.Recovered },
			"announceat": func(m *member) hostwheel.Outcome {
				must(t, m.AnnounceAt(heard(21*sec), 10*sec))
				return hostwheel.Recovered
			},
		}
		members := map[string]*member{}
		var suspects, recovered, leaves []string
		for way := range ways {
			members[way] = s.announce(way, 10*sec)
			suspects, recovered = append(suspects, "suspect "+way), append(recovered, "recovered "+way)
			leaves = append(leaves, "leave "+way)
		}
		s.to(20*sec, suspects...)
		s.to(21 * sec)
		for way, hear := range ways {
			equal(t, way, hear(members[way]), hostwheel.Recovered)
			equal(t, way+": suspect", members[way].Suspect(), false)
			_, outcome, err := s.wheel.Announce(way, 10*sec, "")
			must(t, err)
			equal(t, way+": heard again", outcome, hostwheel.Renewed)
		}
		s.to(21*sec, recovered...)
		s.to(41*sec-1*ms, nil...)
		s.to(41*sec, suspects...)
		s.to(51*sec, leaves...)
		stats := s.wheel.Stats()
		equal(t, "recoveries", stats.Recoveries, 4)
		equal(t, "suspects", stats.Suspects, 8)
	})
}

func TestAHostThatSaysGoodbyeFiresNothingInWhateverStateItIs(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		byID, byMember := s.announce("by id", 10*sec), s.announce("by member", 10*sec)
		suspect := s.announce("suspect", 1*sec)
		recovered := s.announce("recovered", 1*sec)
		s.to(2*sec, "suspect suspect", "suspect recovered")
		must(t, recovered.Renew())
		must(t, s.wheel.Leave("by id"))
		for _, m := range []*member{byMember, suspect, recovered} {
			must(t, m.Leave())
		}
		for _, m := range []*member{byID, byMember, suspect, recovered} {
			wants(t, "renew", m.Renew(), hostwheel.ErrStale)
			wants(t, "leave again", m.Leave(), hostwheel.ErrStale)
			wants(t, "leave again by id", s.wheel.Leave(m.ID()), hostwheel.ErrNotFound)
			if _, ok := s.wheel.Lookup(m.ID()); ok {
				t.Errorf("%q is still found", m.ID())
			}
		}
		s.to(time.Hour)
		equal(t, "known", len(slices.Collect(s.wheel.All())), 0)
		stats := s.wheel.Stats()
		if stats.Left != 4 || stats.Live != 0 || stats.Suspect != 0 || stats.Recoveries != 0 || stats.LeavesTTL != 0 {
			t.Errorf("counters: %+v", stats)
		}
	})
}

func TestARetriedLeaveComesAgainAfterItsOwnDelayOrTheBackOff(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace = hostwheel.Off
		s := open(t, c)
		var after time.Duration
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(after) }
		m := s.announce("a", 1*sec)
		at := 2 * sec
		s.to(at, "leave a")
		attempt := 1
		for _, step := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			at += time.Duration(step) * sec
			s.to(at - 1*ms)
			wants(t, "renew", m.Renew(), hostwheel.ErrTaken)
			e := s.to(at, "leave a")[0]
			attempt++
			equal(t, "attempt", e.Attempt, attempt)
			equal(t, "lateness", e.Lateness, at-2*sec)
			equal(t, "deadline", e.Deadline, 2*sec)
		}
		after = 1500*time.Microsecond - 1
		at += 60 * sec
		s.to(at, "leave a")
		// Durations are rounded up to milliseconds.
		s.to(at + 1*ms)
		s.answer = nil
		s.to(at+2*ms, "leave a")
		s.to(at + 1000*time.Hour)
		wants(t, "renew", m.Renew(), hostwheel.ErrStale)
		stats := s.wheel.Stats()
		if stats.LeavesTTL != 1 || stats.Retries != 11 || stats.Outstanding != 0 || stats.Lateness[16] != 1 {
			t.Errorf("counters: %+v", stats)
		}
	})
}

func TestALeaveThatIsNotAcceptedHoldsItsMemberTakenAndItsIDFree(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(time.Hour) }
		m := s.announce("a", 1*sec)
		s.to(3*sec, "suspect a", "leave a")
		equal(t, "state", s.status(m).State, hostwheel.Taken)
		equal(t, "suspect", m.Suspect(), false)
		wants(t, "renew", m.Renew(), hostwheel.ErrTaken)
		wants(t, "renew at", m.RenewAt(heard(3*sec)), hostwheel.ErrTaken)
		wants(t, "announce at", m.AnnounceAt(heard(3*sec), sec), hostwheel.ErrTaken)
		wants(t, "leave", m.Leave(), hostwheel.ErrTaken)
		wants(t, "leave by id", s.wheel.Leave("a"), hostwheel.ErrNotFound)
		if _, ok := s.wheel.Lookup("a"); ok {
			t.Error("a host that was handed out is found")
		}
		equal(t, "yielded", len(slices.Collect(s.wheel.All())), 0)
		stats := s.wheel.Stats()
		if stats.Outstanding != 1 || stats.Live != 0 || stats.Suspect != 0 {
			t.Errorf("counters: %+v", stats)
		}
		// Nobody lives any more: time must not stand still for that.
		s.answer = nil
		s.to(time.Hour+3*sec-1*ms, nil...)
		s.to(time.Hour+3*sec, "leave a")
		wants(t, "renew", m.Renew(), hostwheel.ErrStale)
		_, err := m.Inspect()
		wants(t, "inspect", err, hostwheel.ErrStale)
	})
}

func TestAReturnedHostIsAnotherMemberAndTheLateLeaveNamesTheOldOne(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(5 * sec) }
		old := s.announce("a", 1*sec)
		first := s.to(3*sec, "suspect a", "leave a")[1]
		equal(t, "superseded", first.Superseded, false)
		equal(t, "member", first.Member, old)

		returned, outcome, err := s.wheel.Announce("a", 10*sec, "new value")
		must(t, err)
		equal(t, "outcome", outcome, hostwheel.Registered)
		if returned == old || returned.Handle() == old.Handle() {
			t.Errorf("the returned host has the old member or handle")
		}
		late := s.to(8*sec, "leave a")[0]
		if !late.Superseded || late.Attempt != 2 || late.Member != old || late.Value() != "value of a" || late.Handle() != old.Handle() {
			t.Errorf("the late leave: %+v of %q", late, late.Value())
		}
		found, ok := s.wheel.Lookup("a")
		if !ok || found != returned || found.Value() != "new value" || found.Handle() == late.Handle() {
			t.Error("the returned host is not the one that is known")
		}
		equal(t, "superseded", s.wheel.Stats().Superseded, 1)

		// One that came back and said goodbye supersedes nothing.
		must(t, returned.Leave())
		late = s.to(13*sec, "leave a")[0]
		equal(t, "superseded", late.Superseded, false)
		s.answer = nil
		s.to(18*sec, "leave a")
		wants(t, "the old one", old.Renew(), hostwheel.ErrStale)
		wants(t, "the returned one", returned.Renew(), hostwheel.ErrStale)
		s.to(time.Hour)
	})
}

func TestNoTwoIncarnationsShareAHandle(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.Grace = hostwheel.Off
		s := open(t, c)
		seen := map[uint64]bool{}
		now := time.Duration(0)
		for i := range 2000 {
			m := s.announce("a", 1*sec)
			if seen[m.Handle()] || m.Handle() == 0 {
				t.Fatalf("handle %d was given out twice, or is 0", m.Handle())
			}
			seen[m.Handle()] = true
			now += 2 * sec
			if i%2 == 0 {
				must(t, m.Leave())
				s.to(now)
			} else {
				s.to(now, "leave a")
			}
		}
		stats := s.wheel.Stats()
		if stats.Records > 2 {
			t.Errorf("%d hosts were known at a time, of one that flaps", stats.Records)
		}
	})
}

func TestValuesStayWithTheirMember(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		type metadata struct{ name string }
		var got []*metadata
		w, err := hostwheel.New(hostwheel.Config[*metadata]{
			Backend: backend, Manual: true, Watchdog: hostwheel.Off,
			Leave: func(e *hostwheel.Event[*metadata]) hostwheel.Verdict {
				got = append(got, e.Value())
				return hostwheel.Retry(sec)
			},
		})
		must(t, err)
		one, two := &metadata{"one"}, &metadata{"two"}
		first, _, err := w.Announce("a", sec, one)
		must(t, err)
		again, _, err := w.Announce("a", sec, two)
		must(t, err)
		equal(t, "member", again, first)
		_, err = w.Advance(3 * sec)
		must(t, err)
		second, outcome, err := w.Announce("a", sec, two)
		must(t, err)
		equal(t, "outcome", outcome, hostwheel.Registered)
		_, err = w.Advance(4 * sec)
		must(t, err)
		if first.Value() != one || second.Value() != two || len(got) != 2 || got[0] != one || got[1] != one {
			t.Errorf("values: %v %v, events %v", first.Value(), second.Value(), got)
		}
		must(t, second.Leave())
		equal(t, "after the goodbye", second.Value(), two)
	})
}

func TestAHostThatRegistersOverdueIsToldOnceAndNotEarly(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		s.to(100 * sec)
		m := s.announce("a", 10*sec, hostwheel.SeenAt(heard(75*sec)))
		status := s.status(m)
		equal(t, "last seen", status.LastSeen, 75*sec)
		equal(t, "deadline", status.Deadline, 95*sec)
		s.to(100*sec, "suspect a")
		s.to(105*sec - 1*ms)
		s.to(105*sec, "leave a")
		s.to(time.Hour)
	})
}
