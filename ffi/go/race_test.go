package hostwheel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// Announces that meet the observer at the very moment at which it looks at their host, or falls asleep. The watchdog is
// off: what gets lost is not found again by a look that comes anyway.

// spin waits without giving the processor away.
func spin(until time.Time) {
	for time.Now().Before(until) {
	}
}

func TestAnIntervalShortenedWhileItsHostIsLookedAtIsNotLost(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		const batch = 400
		w, err := hostwheel.New(config{
			Backend: backend, MinInterval: ms, Grace: hostwheel.Off, Watchdog: hostwheel.Off, SilenceExpected: -1,
			Brake: hostwheel.Brake{Off: true},
		})
		must(t, err)
		ended := run(context.Background(), w)
		announce := func(m *member, interval time.Duration) {
			// On a busy machine it may have left before its time was prolonged.
			err := m.AnnounceAt(time.Now(), interval)
			if err != nil && !errors.Is(err, hostwheel.ErrTaken) && !errors.Is(err, hostwheel.ErrStale) {
				t.Error(err)
			}
		}
		members := make([]*member, batch)
		for end, round := time.Now().Add(stressTime(t)/2), 0; time.Now().Before(end); round++ {
			start := time.Now()
			for i := range members {
				m, _, err := w.Announce(fmt.Sprint(i), 10*ms, "")
				must(t, err)
				members[i] = m
			}
			// Their hints are for 20 ms from now, at which they turn out to live for an hour.
			for _, m := range members {
				announce(m, time.Hour)
			}
			// But while the observer finds that out, their intervals are cut again.
			spin(start.Add(20*ms + time.Duration(round%20)*50*time.Microsecond))
			for i := range members {
				if round%2 == 0 {
					i = batch - 1 - i
				}
				announce(members[i], ms)
			}
			until(t, "all have left", func() bool { return w.Stats().Live == 0 })
		}
		must(t, w.Close())
		must(t, <-ended)
	})
}

func TestAnAnnounceThatMeetsTheObserverFallingAsleepIsNotLost(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		left := make(chan bool, 1)
		w, err := hostwheel.New(config{
			Backend: backend, MinInterval: ms, Grace: hostwheel.Off, Watchdog: hostwheel.Off, Workers: 1,
			Leave: func(*event) hostwheel.Verdict { left <- true; return hostwheel.Done },
		})
		must(t, err)
		ended := run(context.Background(), w)
		limit := time.NewTimer(patience)
		defer limit.Stop()
		for end, round := time.Now().Add(stressTime(t)/2), 0; time.Now().Before(end); round++ {
			_, _, err := w.Announce(fmt.Sprint(round%3), ms, "")
			must(t, err)
			limit.Reset(patience)
			select {
			case <-left:
			case <-limit.C:
				t.Fatalf("round %d: its leave never came: %+v", round, w.Stats())
			}
			// The answer to the leave wakes the observer; the next announce comes when it is done with it.
			spin(time.Now().Add(time.Duration(round%40) * 500 * time.Nanosecond))
		}
		must(t, w.Close())
		must(t, <-ended)
	})
}
