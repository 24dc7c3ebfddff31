package hostwheel_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// book keeps what befell one incarnation.
type book struct {
	member     atomic.Pointer[member]
	registered atomic.Int64
	// heard is when its last announce began that returned, in ns since the storm began.
	heard              atomic.Int64
	goodbyes, accepted atomic.Int64
}

// storm is a wheel under fire, and the books.
type storm struct {
	*testing.T
	wheel *wheel
	grace time.Duration
	began time.Time
	books sync.Map // of handles
	// calm: nobody announces any more, and all hosts go.
	calm atomic.Bool
}

func (s *storm) book(handle uint64) *book {
	found, ok := s.books.Load(handle)
	if !ok {
		found, _ = s.books.LoadOrStore(handle, new(book))
	}
	return found.(*book)
}

// intervalOf is the interval of an id, always the same.
func intervalOf(id string) time.Duration { return time.Duration(id[len(id)-1]%5+1) * 2 * ms }

func (s *storm) heard(m *member, began time.Duration) {
	heard := &s.book(m.Handle()).heard
	for before := heard.Load(); before < int64(began) && !heard.CompareAndSwap(before, int64(began)); before = heard.Load() {
	}
}

func (s *storm) leave(e *event) hostwheel.Verdict {
	now, b, interval := time.Since(s.began), s.book(e.Handle()), intervalOf(e.ID())
	due := time.Duration(b.heard.Load()) + 2*interval + min(s.grace, interval)
	if now < due {
		s.Errorf("%s left %v early: %v", e.ID(), due-now, e)
	}
	if b.accepted.Load() != 0 || b.goodbyes.Load() != 0 {
		s.Errorf("%s was handed out though it is gone: %v", e.ID(), e)
	}
	switch rand.IntN(6) {
	case 0:
		return hostwheel.Retry(time.Duration(rand.IntN(3000)) * time.Microsecond)
	case 1:
		if !s.calm.Load() {
			_ = s.announce(e.ID())
		}
	case 2:
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
	b.accepted.Add(1)
	return hostwheel.Done
}

// announce announces an id and writes it down. The error is ErrClosed, or a failure.
func (s *storm) announce(id string) error {
	began := time.Since(s.began)
	m, outcome, err := s.wheel.Announce(id, intervalOf(id), "of "+id)
	if err != nil {
		return err
	}
	if m.ID() != id || m.Value() != "of "+id {
		s.Errorf("announced %q, got the member of %q", id, m.ID())
	}
	if outcome == hostwheel.Registered {
		b := s.book(m.Handle())
		b.member.Store(m)
		if b.registered.Add(1) != 1 {
			s.Errorf("handle %d was given out twice", m.Handle())
		}
	}
	s.heard(m, began)
	return nil
}

// act does one thing with a host. The error is ErrClosed, or a failure.
func (s *storm) act(r *rand.Rand, id string) error {
	m, ok := s.wheel.Lookup(id)
	if !ok || r.IntN(3) == 0 {
		return s.announce(id)
	}
	began := time.Since(s.began)
	switch r.IntN(6) {
	case 0, 1:
		if err := m.Renew(); err != nil {
			return err
		}
	case 2:
		if err := m.RenewAt(time.Now()); err != nil {
			return err
		}
	case 3:
		if err := m.AnnounceAt(time.Now(), intervalOf(id)); err != nil {
			return err
		}
	case 4:
		if r.IntN(3) > 0 {
			return nil
		}
		err := m.Leave()
		if err == nil {
			s.book(m.Handle()).goodbyes.Add(1)
		}
		return err
	default:
		_ = m.Suspect()
		_, _ = m.Inspect()
		return nil
	}
	s.heard(m, began)
	return nil
}

func (s *storm) announcer(seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(s.began.UnixNano())))
	for i := 0; !s.calm.Load(); i++ {
		// Some hosts are everybody's, and some this goroutine's own.
		id := fmt.Sprint("shared-", r.IntN(40))
		if r.IntN(2) == 0 {
			id = fmt.Sprint("own-", seed, "-", r.IntN(40))
		}
		switch err := s.act(r, id); {
		case errors.Is(err, hostwheel.ErrClosed):
			return
		case err != nil && !errors.Is(err, hostwheel.ErrStale) && !errors.Is(err, hostwheel.ErrTaken):
			s.Errorf("%s: %v", id, err)
			return
		}
		if i%200 == 0 {
			// Long enough for some to fall silent.
			time.Sleep(time.Duration(r.IntN(15)) * ms)
		}
	}
}

// runner runs the wheel again and again until it is closed.
func (s *storm) runner() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(60))*ms)
		err := s.wheel.Run(ctx)
		cancel()
		if err == nil {
			return
		}
		wants(s, "Run", err, context.DeadlineExceeded)
	}
}

// bystander asks whatever can be asked.
func (s *storm) bystander(path string, over *atomic.Bool) {
	noted(s, s.wheel.Snapshot(path))
	for !over.Load() {
		stats := s.wheel.Stats()
		if stats.Registered < stats.Left+stats.LeavesTTL || stats.Rescues != 0 {
			s.Errorf("%+v", stats)
		}
		for m := range s.wheel.All() {
			_, _ = m.Inspect()
		}
		_ = s.wheel.Release()
		time.Sleep(ms)
	}
}

func (s *storm) rage(length time.Duration, inTheMiddle bool) {
	var over atomic.Bool
	var announcers, others sync.WaitGroup
	others.Add(2)
	go func() { defer others.Done(); s.runner() }()
	path := filepath.Join(s.TempDir(), "hosts.snap")
	go func() { defer others.Done(); s.bystander(path, &over) }()
	for seed := range uint64(6) {
		announcers.Add(1)
		go func() { defer announcers.Done(); s.announcer(seed) }()
	}
	time.Sleep(length)
	if inTheMiddle {
		must(s, s.wheel.Close())
	} else {
		s.calm.Store(true)
		announcers.Wait()
		until(s, "everybody has left", func() bool {
			stats := s.wheel.Stats()
			return stats.Live+stats.Outstanding == 0
		})
		must(s, s.wheel.Close())
	}
	over.Store(true)
	announcers.Wait()
	others.Wait()
}

// check compares the books with the wheel, after its Run has returned.
func (s *storm) check(inTheMiddle bool) {
	alive := map[uint64]bool{}
	for m := range s.wheel.All() {
		alive[m.Handle()] = true
	}
	registered, goodbyes := uint64(0), uint64(0)
	s.books.Range(func(handle, found any) bool {
		b := found.(*book)
		ends := b.goodbyes.Load() + b.accepted.Load()
		registered += uint64(b.registered.Load())
		goodbyes += uint64(b.goodbyes.Load())
		if b.registered.Load() != 1 || ends > 1 {
			s.Errorf("%d: registered %d times, %d goodbyes, %d leaves accepted", handle, b.registered.Load(), b.goodbyes.Load(), b.accepted.Load())
			return true
		}
		status, err := b.member.Load().Inspect()
		lives := alive[handle.(uint64)]
		switch {
		case lives && (ends != 0 || err != nil || status.State == hostwheel.Taken || !inTheMiddle):
			s.Errorf("%d lives, with %d ends: %+v %v", handle, ends, status, err)
		// One that was handed out, but not accepted before the close, waits for ever.
		case !lives && ends == 0 && (err != nil || status.State != hostwheel.Taken || !inTheMiddle):
			s.Errorf("%d was lost: %+v %v", handle, status, err)
		}
		return true
	})
	stats := s.wheel.Stats()
	if stats.Registered != registered || stats.Left != goodbyes || int(stats.Live) != len(alive) || stats.Rescues != 0 {
		s.Errorf("%d registered, %d goodbyes, %d alive: %+v", registered, goodbyes, len(alive), stats)
	}
	if stats.Registered != stats.Left+stats.Live+stats.LeavesTTL {
		s.Errorf("the counters do not add up: %+v", stats)
	}
}

func TestAStormEndsEachIncarnationAtMostOnceAndLosesNone(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		before := runtime.NumGoroutine()
		var leaves, recoveries, registered uint64
		end := time.Now().Add(stressTime(t))
		for round := 0; time.Now().Before(end) && !t.Failed(); round++ {
			s := &storm{T: t, grace: pick(rand.New(rand.NewPCG(uint64(round), 0)), 0, ms, 5*ms)}
			c := config{
				Backend: backend, MinInterval: ms, Grace: s.grace, Workers: 1 + round%4, Leave: s.leave, Logger: nobody(),
				Watchdog:        []time.Duration{0, 5 * ms, hostwheel.Off, ms}[round%4],
				SilenceExpected: -1, Brake: hostwheel.Brake{Off: true},
			}
			if s.grace == 0 {
				c.Grace = hostwheel.Off
			}
			if round%5 == 3 {
				c.MaxOutstanding, c.Brake = 10, hostwheel.Brake{BurstMin: 20, RefillMin: 1 << 20}
			}
			w, err := hostwheel.New(c)
			must(t, err)
			s.wheel, s.began = w, time.Now()
			inTheMiddle := round%2 == 0
			s.rage(time.Duration(100+rand.IntN(200))*ms, inTheMiddle)
			s.check(inTheMiddle)
			stats := w.Stats()
			leaves, recoveries, registered = leaves+stats.LeavesTTL, recoveries+stats.Recoveries, registered+stats.Registered
		}
		if leaves == 0 || registered < 100 {
			t.Errorf("%d registrations and %d leaves are no storm", registered, leaves)
		}
		t.Logf("%d registered, %d left unasked, %d recovered", registered, leaves, recoveries)
		goroutinesAreBack(t, before)
	})
}
