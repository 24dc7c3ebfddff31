package hostwheelprom_test

import (
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/hostwheelprom"
)

// busyWheel is a wheel that has seen some of everything, up to 13 s.
func busyWheel(t *testing.T) *hostwheel.Wheel[struct{}] {
	t.Helper()
	refused := false
	wheel, err := hostwheel.New(hostwheel.Config[struct{}]{
		Backend:  hostwheel.Pure,
		Manual:   true,
		Watchdog: hostwheel.Off,
		HostTTL:  10 * time.Second,
		Grace:    time.Second,
		Leave: func(e *hostwheel.Event[struct{}]) hostwheel.Verdict {
			if e.Member.ID() == "retried" && !refused {
				refused = true
				return hostwheel.Retry(time.Second)
			}
			return hostwheel.Done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	announce := func(id string, interval time.Duration) {
		t.Helper()
		if _, _, err := wheel.Announce(id, interval, struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	advance := func(to time.Duration) {
		t.Helper()
		if _, err := wheel.Advance(to); err != nil {
			t.Fatal(err)
		}
	}
	for id, interval := range map[string]time.Duration{
		"dead":       2 * time.Second,
		"retried":    2 * time.Second,
		"polite":     2 * time.Second,
		"recovering": 3 * time.Second,
		"clamped":    time.Millisecond,
		"quiet":      0,
		"healthy":    30 * time.Second,
		"doubted":    6 * time.Second,
	} {
		announce(id, interval)
	}
	advance(time.Second)
	if err := wheel.Leave("polite"); err != nil {
		t.Fatal(err)
	}
	advance(3100 * time.Millisecond)    // the clamped one is gone, 100 ms late
	advance(5 * time.Second)            // as are the dead and the retried
	advance(6100 * time.Millisecond)    // the retried again; the recovering is suspect
	announce("recovering", time.Minute) // and is heard
	advance(11500 * time.Millisecond)   // the quiet one is gone, 500 ms late
	advance(12500 * time.Millisecond)   // the doubted is suspect
	return wheel
}

func TestExpositionOfAWheel(t *testing.T) {
	compareGolden(t, "wheel.prom", exposition(t, hostwheelprom.NewCollector(busyWheel(t)), effort))
}
