//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/processes"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/redistest"
)

// sizes are those of the fleet: HOSTWHEEL_CLUSTER_HOSTS hosts, a tenth of which dies, at an interval of
// HOSTWHEEL_CLUSTER_INTERVAL.
func sizes(t *testing.T) (hosts int, interval time.Duration) {
	hosts, interval = 600, 3*second
	var err error
	if text := os.Getenv("HOSTWHEEL_CLUSTER_HOSTS"); text != "" {
		if hosts, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("HOSTWHEEL_CLUSTER_INTERVAL"); text != "" {
		if interval, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	return hosts, interval
}

// TestSchedulers has three schedulers as processes on a Redis of their own, and a fleet that announces itself to all of them.
// First nobody dies, and what Redis is asked is compared with what Dragonfly's load of all hosts asks. Then a tenth dies; one
// scheduler hears nobody any more, one is killed, and Redis is killed and restarted in the midst of the deletions.
func TestSchedulers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	for _, b := range backends() {
		t.Run(b.String(), func(t *testing.T) {
			if hosts, _ := sizes(t); hosts < 5000 {
				t.Parallel() // it waits most of the time
			}
			testSchedulers(t, b)
		})
	}
}

func testSchedulers(t *testing.T, b hostwheel.Backend) {
	hosts, interval := sizes(t)
	c := &clusterTest{t: t, server: redistest.Start(t), interval: interval, deleted: map[string]int{}}
	for i := range 3 {
		c.members = append(c.members, c.startMember(i, b))
	}
	c.begin(hosts)
	c.follow()
	time.Sleep(2*interval + interval/2)
	c.quiet()
	c.deaths()
	c.finish()
}

// clusterTest is a run.
type clusterTest struct {
	t        *testing.T
	server   *redistest.Server
	interval time.Duration
	members  []*processes.Process

	mu    sync.Mutex
	hosts []*announcer
	deaf  [3]bool
	// deleted is how often each key of a host was deleted.
	deleted map[string]int
	wrong   []string
	polls   int
	ending  sync.WaitGroup
	end     func()
}

// announcer is a host.
type announcer struct {
	id   string
	dead bool
	// last is when it announced itself for the last time.
	last time.Time
	// seen is in which resources it was seen: how soon its first announce is stored is the machine's affair.
	seen [resources]bool
}

func (c *clusterTest) startMember(i int, b hostwheel.Backend) *processes.Process {
	program, err := os.Executable()
	must(c.t, err)
	command := exec.Command(program, "-redis", c.server.Address, "-backend", b.String())
	command.Env = append(os.Environ(), asMember+"=1")
	p := processes.Start(c.t, fmt.Sprint("scheduler-", i), command)
	p.Line(c.t, "serving")
	return p
}

// begin has hosts announce themselves, spread over the interval, until the end.
func (c *clusterTest) begin(n int) {
	for i := range n {
		c.hosts = append(c.hosts, &announcer{id: fmt.Sprintf("%064x", i*7919)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	c.ending.Go(func() {
		// A hundred groups, one after the other.
		const groups = 100
		began := time.Now()
		for turn := 0; ctx.Err() == nil; turn++ {
			c.announce(turn%groups, groups)
			time.Sleep(time.Until(began.Add(time.Duration(turn+1) * c.interval / groups)))
		}
	})
	c.t.Cleanup(func() {
		cancel()
		c.ending.Wait()
	})
}

func (c *clusterTest) announce(group, groups int) {
	line := strings.Builder{}
	fmt.Fprintf(&line, "announce %d", int64(c.interval))
	c.mu.Lock()
	for i := group; i < len(c.hosts); i += groups {
		if h := c.hosts[i]; !h.dead {
			h.last = time.Now()
			line.WriteString(" " + h.id)
		}
	}
	deaf := c.deaf
	c.mu.Unlock()
	for i, m := range c.members {
		if !deaf[i] {
			// Refused if it was killed just now.
			_ = m.Tell(line.String())
		}
	}
}

// follow watches what is deleted, and which hosts there are.
func (c *clusterTest) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	deletions := c.server.Client.PSubscribe(ctx, "__keyevent@0__:del")
	_, err := deletions.Receive(ctx)
	must(c.t, err)
	c.ending.Go(func() {
		for m := range deletions.Channel() {
			c.mu.Lock()
			c.deleted[m.Payload]++
			c.mu.Unlock()
		}
	})
	c.ending.Go(func() {
		for ctx.Err() == nil {
			c.poll(ctx)
			time.Sleep(500 * time.Millisecond)
		}
	})
	stop := c.end
	c.end = func() {
		stop()
		cancel()
		deletions.Close()
	}
}

// poll compares the hosts in Redis with those that should be there.
func (c *clusterTest) poll(ctx context.Context) {
	for r := range resources {
		asked := time.Now()
		ids, err := c.server.Client.SMembersMap(ctx, r.keys(clusterID).hosts).Result()
		if err != nil {
			return // it is being restarted
		}
		c.mu.Lock()
		for _, h := range c.hosts {
			_, there := ids[h.id]
			h.seen[r] = h.seen[r] || there
			switch {
			case !h.dead && !there && h.seen[r]:
				c.wrong = append(c.wrong, fmt.Sprintf("%s lives and is not there any more, %v after its announce", h.id, asked.Sub(h.last)))
			case h.dead && there && asked.Sub(h.last) > c.due()+5*second:
				c.wrong = append(c.wrong, fmt.Sprintf("%s is dead and still there, %v after its announce", h.id, asked.Sub(h.last)))
			}
		}
		c.polls++
		c.mu.Unlock()
	}
}

// due is when a host is due, by the schedulers' settings.
func (c *clusterTest) due() time.Duration {
	o := options()
	return o.due(c.interval)
}

// report is a scheduler's account.
func (c *clusterTest) report(i int, when string) (r Report) {
	c.t.Helper()
	must(c.t, c.members[i].Tell("report "+when))
	_, text, _ := strings.Cut(c.members[i].Line(c.t, "report "+when), when+" ")
	must(c.t, json.Unmarshal([]byte(text), &r))
	return r
}

// quiet counts commands while nobody dies.
func (c *clusterTest) quiet() {
	// What Dragonfly asks in a load of all hosts of both resources, counted by Redis.
	d := newDragonflys(c.t, c.server.Client)
	before := c.server.Calls()
	_, err := d.persistent.HostManager().LoadAll(context.Background())
	must(c.t, err)
	_, err = d.cache.HostManager().LoadAll(context.Background())
	must(c.t, err)
	after := c.server.Calls()
	load := after["hgetall"] + after["sscan"] - before["hgetall"] - before["sscan"] - (after["sscan"]-before["sscan"])/1000
	today := float64(load) / 5

	var first [3]Report
	for i := range first {
		first[i] = c.report(i, "before")
	}
	began := time.Now()
	time.Sleep(max(10*second, 2*c.interval))
	for i, f := range first {
		r := c.report(i, "after")
		sent := 0
		for purpose, n := range r.Commands {
			sent += int(n - f.Commands[purpose])
		}
		a := float64(sent) / time.Since(began).Minutes()
		c.t.Logf("scheduler %d: %.0f commands a minute, of which %v in %v; a load of all hosts each 5 minutes is %.0f: %.0f x", i, a, r.Commands,
			time.Since(began).Round(second), today, today/a)
		if len(c.hosts) >= 10_000 && today/a < 50 {
			c.t.Errorf("scheduler %d: not 50 x fewer commands than a load of all hosts", i)
		}
		doubts := func(r Report) uint64 {
			return r.HeardElsewhere + r.Missing + r.Removed["persistent"] + r.Removed["persistent-cache"]
		}
		if doubts(r) != doubts(f) {
			c.t.Errorf("scheduler %d: nobody died, it said %+v and now says %+v", i, f, r)
		}
	}
}

// deaths has a tenth of the fleet die.
func (c *clusterTest) deaths() {
	c.mu.Lock()
	for i := 0; i < len(c.hosts); i += 10 {
		c.hosts[i].dead = true
	}
	c.mu.Unlock()
	died := time.Now()
	time.Sleep(c.interval / 2)
	c.mu.Lock()
	c.deaf[2] = true
	c.mu.Unlock()
	time.Sleep(c.interval / 2)
	c.mu.Lock()
	c.deaf[0] = true
	c.mu.Unlock()
	c.members[0].Signal(syscall.SIGKILL)
	c.members[0].Exit(c.t)
	// Half of the dead are due.
	time.Sleep(time.Until(died.Add(c.due() - c.interval/2)))
	c.server.Kill()
	c.mu.Lock()
	before := maps.Clone(c.deleted)
	c.mu.Unlock()
	time.Sleep(1500 * time.Millisecond)
	c.server.Restart()
	// When it reads its file it tells of old deletions again.
	time.Sleep(200 * time.Millisecond)
	c.mu.Lock()
	c.deleted = before
	c.mu.Unlock()
	c.t.Logf("Redis was restarted, %v after the deaths", time.Since(died).Round(time.Millisecond))
	time.Sleep(time.Until(died.Add(c.due() + 7*second)))
}

// finish judges.
func (c *clusterTest) finish() {
	reports := []Report{c.report(1, "end"), c.report(2, "end")}
	c.end()
	c.ending.Wait()
	dead := 0
	for _, h := range c.hosts {
		for r := range resources {
			switch n := c.deleted[r.keys(clusterID).host+h.id]; {
			case !h.dead && n > 0:
				c.t.Errorf("%s lives, and was deleted %d times", h.id, n)
			case n > 1:
				c.t.Errorf("%s was deleted %d times", h.id, n)
			}
		}
		if h.dead {
			dead++
		}
	}
	for _, wrong := range c.wrong[:min(len(c.wrong), 10)] {
		c.t.Error(wrong)
	}
	ctx := context.Background()
	for r := range resources {
		if n := c.server.Client.SCard(ctx, r.keys(clusterID).hosts).Val(); int(n) != len(c.hosts)-dead {
			c.t.Errorf("%v: %d hosts are there, want %d", r, n, len(c.hosts)-dead)
		}
		removed := int(reports[0].Removed[r.String()] + reports[1].Removed[r.String()])
		// Redis may have been killed between its work and its answer.
		if removed > dead || removed < dead-most {
			c.t.Errorf("%v: %d hosts were deleted by their own account, %d are dead", r, removed, dead)
		}
		c.t.Logf("%v: %d dead of %d, deleted %d by one scheduler and %d by the deaf one", r, dead, len(c.hosts),
			reports[0].Removed[r.String()], reports[1].Removed[r.String()])
	}
	for _, r := range reports {
		if !r.Up {
			c.t.Errorf("Redis is down, by the account %+v", r)
		}
	}
	if c.polls < 20 {
		c.t.Errorf("Redis was looked at %d times only", c.polls)
	}
}
