package hostwheel_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestEverySettingOutOfRangeIsRefusedByName(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const beyond = hostwheel.Longest + 1
		for name, change := range map[string]func(*config){
			"HostTTL too long":              func(c *config) { c.HostTTL = beyond },
			"HostTTL negative":              func(c *config) { c.HostTTL = -1 },
			"HostTTL more negative":         func(c *config) { c.HostTTL = -time.Second },
			"HostTTL of one tick":           func(c *config) { c.HostTTL = 1 * ms },
			"Grace too long":                func(c *config) { c.Grace = beyond },
			"Grace negative":                func(c *config) { c.Grace = -2 },
			"MinInterval too long":          func(c *config) { c.MinInterval, c.MaxInterval = beyond, beyond },
			"MinInterval negative":          func(c *config) { c.MinInterval = -1 },
			"MaxInterval too long":          func(c *config) { c.MaxInterval = beyond },
			"MaxInterval negative":          func(c *config) { c.MaxInterval = -1 },
			"MinInterval above MaxInterval": func(c *config) { c.MinInterval, c.MaxInterval = 2*sec, sec },
			"MaxInterval below the default": func(c *config) { c.MaxInterval = 999 * ms },
			"Watchdog too long":             func(c *config) { c.Watchdog = beyond },
			"Watchdog negative":             func(c *config) { c.Watchdog = -2 },
			"Backstop too long":             func(c *config) { c.Backstop = beyond },
			"Backstop negative":             func(c *config) { c.Backstop = -2 },
			"MaxHosts negative":             func(c *config) { c.MaxHosts = -1 },
			"MaxHosts too many":             func(c *config) { c.MaxHosts = hostwheel.MostHosts + 1 },
			"MaxOutstanding negative":       func(c *config) { c.MaxOutstanding = -1 },
			"MaxOutstanding too many":       func(c *config) { c.MaxOutstanding = 1<<24 + 1 },
			"Workers negative":              func(c *config) { c.Workers = -1 },
			"Workers too many":              func(c *config) { c.Workers = 65_537 },
			"Brake without refill":          func(c *config) { c.Brake = hostwheel.Brake{BurstMin: 1} },
			"Brake with a share, no refill": func(c *config) { c.Brake = hostwheel.Brake{BurstPermille: 100} },
			"Brake negative":                func(c *config) { c.Brake = hostwheel.Brake{BurstMin: -1, RefillMin: 1} },
			"Brake's refill negative":       func(c *config) { c.Brake = hostwheel.Brake{BurstMin: 1, RefillMin: -1} },
			"Backend that does not exist":   func(c *config) { c.Backend = 77 },
			"Backend negative":              func(c *config) { c.Backend = -1 },
		} {
			c := config{Backend: backend}
			change(&c)
			w, err := hostwheel.New(c)
			if !errors.Is(err, hostwheel.ErrInvalid) || w != nil {
				t.Errorf("%s: got a wheel: %v, %v", name, w != nil, err)
			} else if field := strings.TrimSuffix(strings.Fields(name)[0], "'s"); !strings.Contains(err.Error(), field) {
				t.Errorf("%s: the error does not name it: %v", name, err)
			}
		}
	})
}

func TestTheOutermostSettingsAreAllowed(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const most = hostwheel.Longest
		for name, c := range map[string]config{
			"default": {},
			"least": {HostTTL: 2 * ms, Grace: hostwheel.Off, MinInterval: 1, MaxInterval: 1, Watchdog: 1, Backstop: hostwheel.Off,
				MaxHosts: 1, MaxOutstanding: 1, Workers: 1, SilenceExpected: 1, Brake: hostwheel.Brake{BurstMin: 1, RefillMin: 1}},
			"most": {HostTTL: most, Grace: most, MinInterval: most, MaxInterval: most, Watchdog: most, Backstop: most,
				Workers: 65_536, SilenceExpected: 1 << 30,
				Brake: hostwheel.Brake{BurstPermille: 1000, BurstMin: 1 << 28, RefillPermille: 1000, RefillMin: 1 << 28}},
			"no brake": {Brake: hostwheel.Brake{RefillPermille: 5}},
		} {
			c.Backend = backend
			w, err := hostwheel.New(c)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			equal(t, "backend", w.Backend(), backend)
			must(t, w.Close())
		}
	})
}

func TestTheDefaultBackendIsOneOfThoseThatExist(t *testing.T) {
	w, err := hostwheel.New(config{})
	must(t, err)
	if !slices.Contains(backends(t), w.Backend()) {
		t.Errorf("it is %v", w.Backend())
	}
}

func TestIDsOf1To1024BytesOfAnyValueAreHostsOfTheirOwnAndOthersAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		longest := strings.Repeat("x", hostwheel.LongestID)
		ids := []string{"a", "a\x00", "a\x00\x00", "\x00", "\xff", "\xff\xfe\xc0", "é", "e\u0301", " ", "\n", longest, longest[1:], longest[:1023] + "\x00"}
		handles := map[uint64]bool{}
		for _, id := range ids {
			handles[s.announce(id, 10*sec).Handle()] = true
		}
		equal(t, "hosts", len(handles), len(ids))
		for _, id := range ids {
			m, ok := s.wheel.Lookup(id)
			if !ok || m.ID() != id || m.Value() != "value of "+id {
				t.Errorf("%q is not what was announced", id)
			}
		}
		for _, id := range []string{"", longest + "x", strings.Repeat("\x00", 5000)} {
			s.unchanged("a bad id", func() {
				m, outcome, err := s.wheel.Announce(id, 10*sec, "")
				wants(t, "announce", err, hostwheel.ErrInvalid)
				if m != nil || outcome != 0 {
					t.Errorf("a refused announce answers %v %v", m, outcome)
				}
				wants(t, "leave", s.wheel.Leave(id), hostwheel.ErrInvalid)
				if _, ok := s.wheel.Lookup(id); ok {
					t.Error("found")
				}
			})
		}
		var suspects, leaves []string
		for _, id := range ids {
			suspects, leaves = append(suspects, "suspect "+id), append(leaves, "leave "+id)
		}
		for _, e := range s.to(20*sec, suspects...) {
			equal(t, "value", e.Value(), "value of "+e.ID())
		}
		s.to(30*sec, leaves...)
	})
}

func TestNegativeIntervalsAreRefusedAndChangeNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		s.to(5 * sec)
		for _, interval := range []time.Duration{-1, -ms, -sec, -1 << 63} {
			s.unchanged("a negative interval", func() {
				_, _, err := s.wheel.Announce("a", interval, "")
				wants(t, "announce a known host", err, hostwheel.ErrInvalid)
				_, _, err = s.wheel.Announce("b", interval, "")
				wants(t, "announce a new host", err, hostwheel.ErrInvalid)
				wants(t, "announce by member", m.AnnounceAt(heard(5*sec), interval), hostwheel.ErrInvalid)
			})
		}
	})
}

func TestAFullWheelRefusesNewHostsOnlyAndTakesThemAgainAfterALeave(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.MaxHosts, c.Grace = 3, hostwheel.Off
		s := open(t, c)
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(10 * sec) }
		s.announce("a", 1*sec)
		b, _ := s.announce("b", 100*sec), s.announce("c", 100*sec)
		refused := func() {
			t.Helper()
			s.unchanged("a full wheel", func() {
				m, outcome, err := s.wheel.Announce("d", 100*sec, "")
				wants(t, "a fourth host", err, hostwheel.ErrFull)
				if m != nil || outcome != 0 {
					t.Errorf("a refused announce answers %v %v", m, outcome)
				}
			})
			_, outcome, err := s.wheel.Announce("b", 100*sec, "")
			must(t, err)
			equal(t, "a known host", outcome, hostwheel.Renewed)
			must(t, b.Renew())
		}
		refused()
		// A leave that waits for its answer keeps its place: also its own host does not get in beside it.
		s.to(2*sec, "leave a")
		refused()
		_, _, err := s.wheel.Announce("a", sec, "")
		wants(t, "the host that is leaving", err, hostwheel.ErrFull)
		s.answer = nil
		s.to(12*sec, "leave a")
		s.announce("d", 100*sec)
		_, _, err = s.wheel.Announce("a", sec, "")
		wants(t, "a fourth again", err, hostwheel.ErrFull)
		// A goodbye gives its place back at the next look at the latest.
		must(t, b.Leave())
		s.to(12*sec + 1*ms)
		s.announce("a", 100*sec)
		equal(t, "peak", s.wheel.Stats().Records, 3)
	})
}

func TestOnlyOneRunOrAdvanceIsAtWorkAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, isManual := range []bool{true, false} {
			w, err := hostwheel.New(config{Backend: backend, Manual: isManual})
			must(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 2)
			for range 2 {
				go func() { ended <- w.Run(ctx) }()
			}
			wants(t, "the second Run", <-ended, hostwheel.ErrInvalid)
			cancel()
			wants(t, "the first Run", <-ended, context.Canceled)
			must(t, w.Close())
			must(t, w.Run(context.Background()))
		}
	})
}

func TestAdvanceIsForTheManualClock(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		w, err := hostwheel.New(config{Backend: backend})
		must(t, err)
		n, err := w.Advance(time.Hour)
		wants(t, "Advance", err, hostwheel.ErrInvalid)
		equal(t, "events", n, 0)
		must(t, w.Close())
	})
}

func TestAdvanceInsideACallbackIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var s *scene
		refused := 0
		try := func(*event) {
			n, err := s.wheel.Advance(time.Hour)
			wants(t, "inside a callback", err, hostwheel.ErrInvalid)
			equal(t, "events", n, 0)
			refused++
		}
		c := manual(backend)
		c.Suspect, c.Recovered = try, try
		c.Leave = func(e *event) hostwheel.Verdict { try(e); return hostwheel.Done }
		s = open(t, c)
		m := s.announce("a", 10*sec)
		s.to(20*sec, "suspect a")
		must(t, m.Renew())
		s.to(21*sec, "recovered a")
		s.to(40*sec, "suspect a")
		s.to(50*sec, "leave a")
		equal(t, "refused", refused, 4)
		equal(t, "now", s.wheel.Stats().Now, 50*sec)
	})
}

func TestAdvanceWhileAnotherIsAtWorkIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		inside, goOn := make(chan bool), make(chan bool)
		c := manual(backend)
		c.Suspect = func(*event) { inside <- true; <-goOn }
		s := open(t, c)
		s.announce("a", 10*sec)
		var group sync.WaitGroup
		group.Add(1)
		go func() {
			defer group.Done()
			n, err := s.wheel.Advance(20 * sec)
			if n != 1 || err != nil {
				t.Errorf("the first Advance: %d %v", n, err)
			}
		}()
		<-inside
		_, err := s.wheel.Advance(30 * sec)
		wants(t, "the second Advance", err, hostwheel.ErrInvalid)
		close(goOn)
		group.Wait()
		s.to(30*sec, "leave a")
	})
}

func TestATimeBeforeThePresentCountsAsThePresent(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		m := s.announce("a", 10*sec)
		s.to(15 * sec)
		for _, at := range []time.Duration{15 * sec, 3 * sec, 0, -sec, -1 << 63} {
			s.to(at)
			equal(t, "now", s.wheel.Stats().Now, 15*sec)
		}
		must(t, m.Renew())
		equal(t, "last seen", s.status(m).LastSeen, 15*sec)
	})
}

func TestAfterCloseEveryChangeIsRefusedAndEveryQuestionAnswered(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		s := open(t, c)
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(0) }
		gone, left := s.announce("gone", 1*sec), s.announce("left", 1*sec)
		must(t, left.Leave())
		s.to(3*sec, "suspect gone", "leave gone")
		live, suspect := s.announce("live", 100*sec), s.announce("suspect", 1*sec)
		s.to(5*sec, "suspect suspect", "leave gone")
		path := filepath.Join(t.TempDir(), "hosts.snap")
		must(t, s.wheel.Snapshot(path))
		before := look(t, s.wheel)
		for range 3 {
			must(t, s.wheel.Close())
		}
		for _, m := range []*member{live, suspect, gone, left} {
			wants(t, "renew", m.Renew(), hostwheel.ErrClosed)
			wants(t, "renew at", m.RenewAt(heard(5*sec)), hostwheel.ErrClosed)
			wants(t, "announce at", m.AnnounceAt(heard(5*sec), sec), hostwheel.ErrClosed)
			wants(t, "leave", m.Leave(), hostwheel.ErrClosed)
			if m.ID() == "" || m.Value() != "value of "+m.ID() || m.Handle() == 0 {
				t.Errorf("after close %q has lost what it is", m.ID())
			}
			wants(t, "leave by id", s.wheel.Leave(m.ID()), hostwheel.ErrClosed)
			_, _, err := s.wheel.Announce(m.ID(), sec, "")
			wants(t, "announce", err, hostwheel.ErrClosed)
		}
		_, _, err := s.wheel.Announce("new", sec, "")
		wants(t, "announce a new one", err, hostwheel.ErrClosed)
		wants(t, "release", s.wheel.Release(), hostwheel.ErrClosed)
		wants(t, "restore", s.wheel.Restore(path, nil), hostwheel.ErrClosed)
		n, err := s.wheel.Advance(time.Hour)
		wants(t, "advance", err, hostwheel.ErrClosed)
		equal(t, "events", n, 0)
		must(t, s.wheel.Run(context.Background()))

		equal(t, "what is seen", look(t, s.wheel).hosts, before.hosts)
		equal(t, "counters", s.wheel.Stats().Registered, before.stats.Registered)
		equal(t, "live", s.wheel.Stats().Live, before.stats.Live)
		found, ok := s.wheel.Lookup("live")
		if !ok || found != live || !suspect.Suspect() || live.Suspect() {
			t.Error("questions are not answered as before")
		}
		equal(t, "state", s.status(suspect).State, hostwheel.Suspected)
		equal(t, "state", s.status(gone).State, hostwheel.Taken)
		again := filepath.Join(t.TempDir(), "again.snap")
		must(t, s.wheel.Snapshot(again))
		next := open(t, manual(backend))
		must(t, next.wheel.Restore(again, nil))
		equal(t, "restored", next.wheel.Stats().Registered, 2)
	})
}

func TestBackendsHaveNames(t *testing.T) {
	for _, b := range []hostwheel.Backend{hostwheel.DefaultBackend, hostwheel.Pure, hostwheel.Native} {
		again, err := hostwheel.ParseBackend(b.String())
		must(t, err)
		equal(t, b.String(), again, b)
	}
	for _, name := range []string{"", "Pure", "unknown"} {
		if _, err := hostwheel.ParseBackend(name); !errors.Is(err, hostwheel.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
