package hostwheel_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestAHostIsReplacedWithoutAnEvent(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		c := manual(backend)
		c.MaxHosts = 2
		s := open(t, c)
		first, ended, err := s.wheel.Replace("a", 10*sec, "one")
		must(t, err)
		equal(t, "ended", ended == nil, true)
		s.announce("b", 100*sec)
		s.to(5 * sec)
		second, ended, err := s.wheel.Replace("a", 30*sec, "two")
		must(t, err)
		equal(t, "the one that ended", ended, first)
		equal(t, "its value", ended.Value(), "one")
		equal(t, "interval", second.Interval(), 30*sec)
		found, _ := s.wheel.Lookup("a")
		equal(t, "found", found, second)
		wants(t, "a late renew", first.Renew(), hostwheel.ErrStale)
		wants(t, "a late goodbye", first.Leave(), hostwheel.ErrStale)
		_, _, err = s.wheel.Replace("c", sec, "")
		wants(t, "a full table", err, hostwheel.ErrFull)
		_, _, err = s.wheel.Replace("", sec, "")
		wants(t, "no id", err, hostwheel.ErrInvalid)
		_, _, err = s.wheel.Replace("a", -sec, "")
		wants(t, "a negative interval", err, hostwheel.ErrInvalid)
		s.to(65*sec, "suspect a")
		equal(t, "left", s.wheel.Stats().Left, 1)
		must(t, s.wheel.Close())
		_, _, err = s.wheel.Replace("a", sec, "")
		wants(t, "closed", err, hostwheel.ErrClosed)
	})
}

// At no moment is an id that is replaced unknown, or known twice.
func TestAnIDThatIsReplacedAllTheTimeIsKnownAllTheTime(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		w, err := hostwheel.New(config{Backend: backend})
		must(t, err)
		defer func() { noted(t, w.Close()) }()
		_, _, err = w.Announce("a", 60*sec, "")
		must(t, err)
		over := make(chan struct{})
		var looking, replacing sync.WaitGroup
		looking.Add(1)
		go func() {
			defer looking.Done()
			for {
				select {
				case <-over:
					return
				default:
				}
				m, ok := w.Lookup("a")
				equal(t, "known", ok, true)
				if m.Renew() == nil {
					continue
				}
				again, _ := w.Lookup("a")
				equal(t, "a stale member is not the one that is known", again != m, true)
			}
		}()
		ended := make(chan uint64, 2000)
		for range 2 {
			replacing.Add(1)
			go func() {
				defer replacing.Done()
				for range 1000 {
					_, old, err := w.Replace("a", 60*sec, "")
					noted(t, err)
					ended <- old.Handle()
				}
			}()
		}
		replacing.Wait()
		close(over)
		looking.Wait()
		close(ended)
		seen := map[uint64]bool{}
		for handle := range ended {
			seen[handle] = true
		}
		equal(t, "each incarnation ended once", len(seen), 2000)
		equal(t, "live", w.Stats().Live, 1)
	})
}

func TestAPlaceThatAGoodbyeGaveBackIsThereAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		for _, c := range []config{{Backend: backend, MaxHosts: 1}, {Backend: backend, MaxHosts: 1, Manual: true}} {
			w, err := hostwheel.New(c)
			must(t, err)
			m, _, err := w.Announce("a", 60*sec, "")
			must(t, err)
			for range 1000 {
				must(t, m.Leave())
				m, _, err = w.Announce("a", 60*sec, "")
				must(t, err)
				_, _, err = w.Announce("b", 60*sec, "")
				wants(t, "a full table", err, hostwheel.ErrFull)
			}
			must(t, w.Close())
		}
	})
}

// A callback that brings its host back overdue does not keep Advance for ever: the next one goes on.
func TestAdvanceEndsWhateverCallbacksMake(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var w *wheel
		leaves := 0
		c := config{
			Backend: backend, Manual: true, Grace: hostwheel.Off, Watchdog: hostwheel.Off, SilenceExpected: -1,
			Leave: func(e *event) hostwheel.Verdict {
				leaves++
				_, _, err := w.Announce(e.ID(), sec, "", hostwheel.SeenAt(time.Unix(0, 0)))
				noted(t, err)
				return hostwheel.Done
			},
		}
		w, err := hostwheel.New(c)
		must(t, err)
		_, _, err = w.Announce("a", sec, "")
		must(t, err)
		for round := 1; round <= 3; round++ {
			delivered, err := w.Advance(time.Duration(round) * 10 * sec)
			must(t, err)
			equal(t, "delivered", delivered, 1)
			equal(t, "leaves", leaves, round)
		}
		must(t, w.Close())
	})
}

func TestAGuardIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		var told []hostwheel.GuardEvent
		w, err := hostwheel.New(config{
			Backend: backend, Manual: true, Watchdog: hostwheel.Off,
			Guard: func(e hostwheel.GuardEvent) { told = append(told, e) },
		})
		must(t, err)
		var members []*member
		for n := range 40 {
			m, _, err := w.Announce(string(rune('a'+n)), 300*sec, "")
			must(t, err)
			members = append(members, m)
		}
		for second := 1; second <= 615; second++ {
			_, err := w.Advance(time.Duration(second) * sec)
			must(t, err)
		}
		equal(t, "events", len(told), 1)
		equal(t, "kind", told[0].Kind, hostwheel.SilenceBegan)
		equal(t, "when", told[0].Now, 615*sec)
		equal(t, "waiting", told[0].Waiting, 40)
		status, err := members[7].Inspect()
		must(t, err)
		equal(t, "held by", status.HeldBy, hostwheel.HeldBySilence)
		equal(t, "held since", status.HeldSince, 615*sec)
		_, err = w.Advance(700 * sec)
		must(t, err)
		must(t, members[3].Renew())
		_, err = w.Advance(701 * sec)
		must(t, err)
		equal(t, "events", len(told), 2)
		equal(t, "kind", told[1].Kind, hostwheel.SilenceEnded)
		equal(t, "since", told[1].Since, 615*sec)
		equal(t, "it lasted until a host was heard", told[1].Lasted > 84*sec && told[1].Lasted <= 86*sec, true)
		must(t, w.Close())
	})
}

// The same on the wheel's own clock: a guard event needs no event of a host to be told.
func TestAnAbsenceIsTold(t *testing.T) {
	told := make(chan hostwheel.GuardEvent, 64)
	w, err := hostwheel.New(config{Backend: hostwheel.Pure, Manual: true, Guard: func(e hostwheel.GuardEvent) { told <- e }})
	must(t, err)
	_, _, err = w.Announce("a", 60*sec, "")
	must(t, err)
	_, err = w.Advance(100 * ms)
	must(t, err)
	_, err = w.Advance(30 * sec)
	must(t, err)
	e := <-told
	equal(t, "kind", e.Kind, hostwheel.WasAway)
	equal(t, "not counted", e.Lasted, w.Stats().Away)
	must(t, w.Close())
}
