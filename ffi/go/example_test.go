package hostwheel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// The examples use the manual clock, so that their output is always the same. A scheduler leaves Manual and Watchdog out,
// and calls Run instead of Advance.

// A host that stops announcing is suspect after twice its interval, and leaves after the grace.
func Example() {
	wheel, err := hostwheel.New(hostwheel.Config[string]{
		Grace:    5 * time.Second,
		Manual:   true,
		Watchdog: hostwheel.Off,
		Suspect: func(e *hostwheel.Event[string]) {
			fmt.Printf("%v: %s in %s is suspect\n", e.Now, e.ID(), e.Value())
		},
		Leave: func(e *hostwheel.Event[string]) hostwheel.Verdict {
			fmt.Printf("%v: %s in %s is gone, last seen at %v\n", e.Now, e.ID(), e.Value(), e.LastSeen)
			return hostwheel.Done
		},
	})
	if err != nil {
		panic(err)
	}
	defer wheel.Close()

	// Each announce says how often the host announces, and registers it with a value if it is new.
	quiet, _, _ := wheel.Announce("10.0.0.7:8002", 30*time.Second, "rack 3")
	busy, _, _ := wheel.Announce("10.0.0.8:8002", 30*time.Second, "rack 4")

	for now := 10 * time.Second; now <= 90*time.Second; now += 10 * time.Second {
		// Cheaper than to announce by the id: no look-up, no lock, no allocation.
		_ = busy.Renew()
		_, _ = wheel.Advance(now)
	}

	fmt.Println("renewing a host that has left:", errors.Is(quiet.Renew(), hostwheel.ErrStale))
	// Output:
	// 1m0s: 10.0.0.7:8002 in rack 3 is suspect
	// 1m10s: 10.0.0.7:8002 in rack 3 is gone, last seen at 0s
	// renewing a host that has left: true
}

// A leave may come late: it was retried, or waited for a worker. Meanwhile its host may have returned. So the scheduler
// keeps the handle beside the host, and compares it before it deletes.
func Example_returnedHost() {
	type host struct{ handle uint64 }
	var mu sync.Mutex
	hosts := map[string]host{}
	busy := true

	wheel, err := hostwheel.New(hostwheel.Config[struct{}]{
		Grace:    hostwheel.Off,
		Manual:   true,
		Watchdog: hostwheel.Off,
		Leave: func(e *hostwheel.Event[struct{}]) hostwheel.Verdict {
			if busy {
				fmt.Println("attempt", e.Attempt, "- not now")
				return hostwheel.Retry(5 * time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			if known := hosts[e.ID()]; known.handle == e.Handle() {
				delete(hosts, e.ID())
				fmt.Println("attempt", e.Attempt, "- deleted")
			} else {
				fmt.Println("attempt", e.Attempt, "- it has returned: kept")
			}
			return hostwheel.Done
		},
	})
	if err != nil {
		panic(err)
	}
	defer wheel.Close()
	announce := func(id string) {
		// The lock is held over both, so that the leave of this incarnation finds its handle in the map.
		mu.Lock()
		defer mu.Unlock()
		member, outcome, _ := wheel.Announce(id, 10*time.Second, struct{}{})
		if outcome == hostwheel.Registered {
			hosts[id] = host{member.Handle()}
		}
	}

	announce("worker-1")
	_, _ = wheel.Advance(20 * time.Second)
	announce("worker-1")
	busy = false
	_, _ = wheel.Advance(25 * time.Second)
	fmt.Println("hosts:", len(hosts))
	_, _ = wheel.Advance(40 * time.Second)
	fmt.Println("hosts:", len(hosts))
	// Output:
	// attempt 1 - not now
	// attempt 2 - it has returned: kept
	// hosts: 1
	// attempt 1 - deleted
	// hosts: 0
}

// Who hears of its hosts by other traffic need not announce each time: it notes when, and answers the suspect event.
func Example_suspectAsProbe() {
	// When traffic of each host was last seen. Here by the manual clock, which counts from the Unix epoch.
	traffic := map[string]time.Time{}

	wheel, err := hostwheel.New(hostwheel.Config[string]{
		Grace:    5 * time.Second,
		Manual:   true,
		Watchdog: hostwheel.Off,
		Suspect: func(e *hostwheel.Event[string]) {
			seen, ok := traffic[e.ID()]
			if !ok {
				return
			}
			// Old news does no harm: a host that it cannot clear stays suspect.
			_ = e.Member.RenewAt(seen)
			fmt.Printf("%v: %s was seen at %ds, suspect: %v\n", e.Now, e.ID(), seen.Unix(), e.Member.Suspect())
		},
		Leave: func(e *hostwheel.Event[string]) hostwheel.Verdict {
			fmt.Printf("%v: %s leaves\n", e.Now, e.ID())
			return hostwheel.Done
		},
	})
	if err != nil {
		panic(err)
	}
	defer wheel.Close()

	_, _, _ = wheel.Announce("a", 10*time.Second, "")
	traffic["a"] = time.Unix(17, 0)
	_, _ = wheel.Advance(20 * time.Second)
	// No more traffic: 17 s and two intervals later it is suspect again, and nothing clears it.
	_, _ = wheel.Advance(37 * time.Second)
	_, _ = wheel.Advance(42 * time.Second)
	// Output:
	// 20s: a was seen at 17s, suspect: false
	// 37s: a was seen at 17s, suspect: true
	// 42s: a leaves
}

// The order of a graceful end: stop to take announces, close the wheel, wait for Run. After that no callback runs, so what
// the callbacks use may go.
func Example_shutdown() {
	database := "open"
	wheel, err := hostwheel.New(hostwheel.Config[string]{
		Leave: func(e *hostwheel.Event[string]) hostwheel.Verdict {
			fmt.Println("removed", e.ID(), "from a database that is", database)
			return hostwheel.Done
		},
	})
	if err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- wheel.Run(context.Background()) }()
	_, _, _ = wheel.Announce("a", time.Minute, "")

	// Closing asks; it may be done anywhere, also in a callback.
	fmt.Println("Close:", wheel.Close())
	// The end of Run is the barrier.
	fmt.Println("Run:", <-ended)
	database = "closed"

	// Hosts that were alive get no leave: the next process restores them, or they announce there.
	_, _, err = wheel.Announce("a", time.Minute, "")
	fmt.Println("Announce:", errors.Is(err, hostwheel.ErrClosed))
	// Output:
	// Close: <nil>
	// Run: <nil>
	// Announce: true
}

// A scheduler that restarts takes its hosts along. Each has at least one interval and its grace to be heard again.
func Example_warmRestart() {
	folder, err := os.MkdirTemp("", "hostwheel")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "hosts.snap")
	open := func() *hostwheel.Wheel[string] {
		wheel, err := hostwheel.New(hostwheel.Config[string]{
			Grace:    5 * time.Second,
			Manual:   true,
			Watchdog: hostwheel.Off,
			Leave: func(e *hostwheel.Event[string]) hostwheel.Verdict {
				fmt.Printf("%v: %s (%s) leaves\n", e.Now, e.ID(), e.Value())
				return hostwheel.Done
			},
		})
		if err != nil {
			panic(err)
		}
		return wheel
	}

	before := open()
	_, _, _ = before.Announce("a", 10*time.Second, "rack 1")
	_, _ = before.Advance(6 * time.Second)
	_, _, _ = before.Announce("b", 10*time.Second, "rack 2")
	// From time to time, and once more at the end: a snapshot works after Close as well.
	_ = before.Close()
	if err := before.Snapshot(path); err != nil {
		panic(err)
	}

	after := open()
	defer after.Close()
	// A file that is not there, or not whole, restores nothing; the scheduler begins with no hosts.
	if err := after.Restore(filepath.Join(folder, "other.snap"), nil); errors.Is(err, os.ErrNotExist) {
		fmt.Println("there is no other snapshot")
	}
	// Values are not in the file: they are looked up by id.
	racks := map[string]string{"a": "rack 1", "b": "rack 2"}
	if err := after.Restore(path, func(id string) string { return racks[id] }); err != nil {
		panic(err)
	}
	fmt.Println("restored:", after.Stats().Live)
	b, _ := after.Lookup("b")
	_, _ = after.Advance(10 * time.Second)
	_ = b.Renew()
	_, _ = after.Advance(20 * time.Second)
	// Output:
	// there is no other snapshot
	// restored: 2
	// 20s: a (rack 1) leaves
}

// A consumer's own tests can run a wheel with its real clock in a bubble of testing/synctest, in no time. The backend must
// be Pure there.
func TestAConsumerInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		gone := make(chan time.Duration, 1)
		wheel, err := hostwheel.New(hostwheel.Config[string]{
			Backend: hostwheel.Pure,
			Leave: func(*hostwheel.Event[string]) hostwheel.Verdict {
				gone <- time.Since(start)
				return hostwheel.Done
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- wheel.Run(t.Context()) }()
		if _, _, err := wheel.Announce("worker-1", time.Minute, ""); err != nil {
			t.Fatal(err)
		}

		// Twice its interval, and the default grace.
		if at := <-gone; at != 2*time.Minute+15*time.Second {
			t.Errorf("it left after %v", at)
		}

		// Everything in a bubble must end.
		if err := wheel.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
