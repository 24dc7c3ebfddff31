//go:build unix

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"

	"github.com/hostwheel/hostwheel/ffi/go/dragonfly"
)

const (
	shadowHosts = 200
	shadowDead  = 20 // of these
	shadowLoss  = 0.1
	// margin is by how much the wheel's stamp may be later than the announce.
	margin = 10 * time.Millisecond
	// shadowScan is how often Dragonfly scans. By default it does every 5 minutes, and its hosts announce as often.
	shadowScan = 5 * time.Second
)

// lossy is a host whose announces get lost.
type lossy struct {
	id string
	// heard is when it was heard, by its own account.
	heard []announce
}

// live announces the host until ctx ends; it does not send what gets lost. What comes after a loss comes a little late, as by
// a connection that was just bad.
func (l *lossy) live(ctx context.Context, client schedulerv2.SchedulerClient, random *rand.Rand) {
	request := announcement(l.id, normal, interval, true)
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	lost := false
	for {
		// The first one tells the scheduler that it exists.
		if len(l.heard) > 0 && random.Float64() < shadowLoss {
			lost = true
		} else {
			if lost {
				time.Sleep(time.Duration(50+random.Int64N(150)) * time.Millisecond)
			}
			lost = !l.announce(client, request)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (l *lossy) announce(client schedulerv2.SchedulerClient, request *schedulerv2.AnnounceHostRequest) bool {
	ctx, cancel := context.WithTimeout(context.Background(), interval)
	defer cancel()
	sent := time.Now()
	if _, err := client.AnnounceHost(ctx, request); err != nil {
		return false
	}
	l.heard = append(l.heard, announce{sent, time.Now()})
	return true
}

// TestShadow runs the scheduler in the mode shadow with hosts that lose announces and some that die, and compares its report
// with what the hosts tell. HOSTWHEEL_SHADOW is how long; 18 s if not set.
func TestShadow(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	length := 18 * time.Second
	if text := os.Getenv("HOSTWHEEL_SHADOW"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := startScheduler(t, "-mode", "shadow", "-scan", shadowScan.String())
	hosts, report := runLossy(t, s, length)
	judgeShadow(t, report, hosts)
}

// runLossy runs the hosts, and returns them and the report at the end. The dead have been found by then, by the wheel and by
// the scan; the others live on, as nobody is removed while nobody at all is heard.
func runLossy(t *testing.T, s *scheduler, length time.Duration) ([]*lossy, dragonfly.Report) {
	connection, err := connect(s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	random := rand.New(rand.NewPCG(1, 2))
	everybody, stop := context.WithCancel(t.Context())
	var hosts []*lossy
	var living sync.WaitGroup
	for i := range shadowHosts {
		l := &lossy{id: fmt.Sprintf("lossy-%d", i)}
		hosts = append(hosts, l)
		ctx := everybody
		if i < shadowDead {
			dies := time.Duration((0.2 + 0.8*random.Float64()) * float64(length-term-shadowScan-tolerance))
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(everybody, dies)
			defer cancel()
		}
		own := rand.New(rand.NewPCG(3, uint64(i)))
		delay := time.Duration(random.Int64N(int64(interval)))
		living.Go(func() {
			time.Sleep(delay)
			l.live(ctx, schedulerv2.NewSchedulerClient(connection), own)
		})
	}
	time.Sleep(length)
	report := s.report(t)
	stop()
	living.Wait()
	return hosts, report
}

// judgeShadow compares the report with the gaps between announces. When in the course of a call a host was heard nobody
// knows, so gaps near a limit may count or not; the same holds for those around the moment of the report.
func judgeShadow(t *testing.T, r dragonfly.Report, hosts []*lossy) {
	t.Logf("\n%v", r)
	// surely and perhaps are how many gaps were longer.
	count := func(than time.Duration) (surely, perhaps uint64) {
		for _, l := range hosts {
			for i := range len(l.heard) - 1 {
				if l.heard[i+1].sent.Sub(l.heard[i].answered) > than+margin {
					surely++
				}
				if l.heard[i+1].answered.Sub(l.heard[i].sent) > than {
					perhaps++
				}
			}
		}
		return surely, perhaps
	}
	c := r.Comparison
	if c == nil || r.Removed != 0 {
		t.Fatal("the wheel removed hosts, or compared nothing")
	}
	between := func(what string, got, least, most uint64) {
		t.Logf("%s: %d, by the hosts' account %d to %d", what, got, least, most)
		if got < least || got > most {
			t.Errorf("%s: %d, want %d to %d", what, got, least, most)
		}
	}
	wrong := func(grace time.Duration) uint64 {
		for _, g := range c.Graces {
			if g.Grace == grace {
				return g.Wrong
			}
		}
		t.Fatalf("nothing is said of a grace of %v", grace)
		return 0
	}
	// A gap that began with a removal by the scan ends in a registration, and is not seen. The last announces may be later
	// than the report.
	unseen := c.ScanFirst + c.Agreed - min(c.ScanFirst+c.Agreed, shadowDead) + 5
	for _, g := range []struct{ grace, limit time.Duration }{{0, 2 * interval}, {15 * time.Second, 3 * interval}} {
		surely, perhaps := count(g.limit)
		between(fmt.Sprintf("wrong with a grace of %v", g.grace), wrong(g.grace), surely-min(surely, unseen), perhaps)
	}
	_, perhaps := count(3 * interval)
	between("would have removed", c.Found, shadowDead-min(shadowDead, c.ScanFirst), shadowDead+perhaps)
	if c.Found != c.Agreed+c.Wrong+c.Dropped+c.Pending {
		t.Errorf("the numbers do not add up: %+v", c)
	}
	if c.Agreed == 0 || c.GainedMax > shadowScan+tolerance {
		t.Errorf("%d agreed; the scan was up to %v later", c.Agreed, c.GainedMax)
	}
}
