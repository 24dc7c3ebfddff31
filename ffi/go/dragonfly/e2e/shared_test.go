//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pkgredis "d7y.io/dragonfly/v2/pkg/redis"

	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/cluster"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/redistest"
)

// TestSharedHosts has two of Dragonfly's schedulers share a Redis. Host processes announce themselves to the first one; some
// are killed, one says goodbye.
func TestSharedHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes twenty seconds")
	}
	server := redistest.Start(t)
	program := buildScheduler(t)
	args := []string{"-mode", "enforce", "-redis", server.Address, "-cluster", "3", "-discover", "3s", "-leave-peers"}
	schedulers := []*scheduler{runScheduler(t, program, args...), runScheduler(t, program, args...)}

	var living, killed []*process
	for i := range 4 {
		living = append(living, schedulers[0].startHost(t, fmt.Sprint("living-", i)))
		killed = append(killed, schedulers[0].startHost(t, fmt.Sprint("killed-", i)))
	}
	polite := schedulers[0].startHost(t, "polite")
	for _, h := range slices.Concat(living, killed, []*process{polite}) {
		h.awaitAnnounces(t, 5)
	}
	sets := []string{pkgredis.MakePersistentHostsInScheduler(3), pkgredis.MakePersistentCacheHostsInScheduler(3)}
	list := func() (all string) {
		for _, set := range sets {
			ids, err := server.Client.SMembers(context.Background(), set).Result()
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(ids)
			all += strings.Join(ids, " ") + "; "
		}
		return all
	}
	both := func(ids string) string { return ids + "; " + ids + "; " }
	const live = "living-0 living-1 living-2 living-3"
	if got, want := list(), both("killed-0 killed-1 killed-2 killed-3 "+live+" polite"); got != want {
		t.Fatalf("there is %s\nwant %s", got, want)
	}

	polite.Signal(syscall.SIGTERM)
	polite.Exit(t)
	if got, want := list(), both("killed-0 killed-1 killed-2 killed-3 "+live); got != want {
		t.Fatalf("after a goodbye there is %s\nwant %s", got, want)
	}
	last := map[string]time.Time{}
	for _, h := range killed {
		h.Signal(syscall.SIGKILL)
		h.Exit(t)
		announces := h.announces()
		last[h.Name] = announces[len(announces)-1].answered
	}
	// Twice the interval, the grace (the interval here), a second and the skew.
	const due = 3*interval + time.Second + cluster.DefaultSkew
	for len(last) > 0 {
		there := list()
		for id, answered := range last {
			age := time.Since(answered)
			if strings.Contains(there, id) {
				if age > due+5*time.Second {
					t.Fatalf("%s is still there %v after its announce", id, age)
				}
				continue
			}
			if age < due-time.Second-cluster.DefaultSkew {
				t.Errorf("%s was deleted %v after its announce", id, age)
			}
			t.Logf("%s: gone %v after its last announce; due is %v", id, age.Round(10*time.Millisecond), due)
			delete(last, id)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got, want := list(), both(live); got != want {
		t.Errorf("at the end there is %s\nwant %s", got, want)
	}

	var removed, heard uint64
	for _, s := range schedulers {
		var r cluster.Report
		if err := json.Unmarshal(s.page(t, "/shared"), &r); err != nil {
			t.Fatal(err)
		}
		removed += r.Removed["persistent"] + r.Removed["persistent-cache"]
		heard += r.HeardElsewhere
		if !strings.Contains(string(s.page(t, "/metrics")), "hostwheel_cluster_up 1") {
			t.Error("/metrics does not say that Redis is up")
		}
		s.Signal(syscall.SIGTERM)
		if status := s.Exit(t); status != 0 {
			t.Errorf("exit status %d, want 0", status)
		}
	}
	if removed != 8 || heard == 0 {
		t.Errorf("%d records were deleted, of 8; the second scheduler heard %d times from Redis", removed, heard)
	}
}
