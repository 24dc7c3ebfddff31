//go:build unix

package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/redistest"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	good := options()
	for what, change := range map[string]func(*Options){
		"Redis is nil":           func(o *Options) { o.Redis = nil },
		"GC is nil":              func(o *Options) { o.GC = nil },
		"has no scan":            func(o *Options) { o.Resources = nil },
		"is negative":            func(o *Options) { o.Skew = -1 },
		"misses outages":         func(o *Options) { o.Heartbeat = time.Minute },
		"MaxHosts":               func(o *Options) { o.MaxHosts = -1 },
		"has another watch":      func(o *Options) { o.GC.watch.Store(&Watch{}) },
		"a resource is unknown":  func(o *Options) { o.Resources = []Resource{7} },
		"a resource named twice": func(o *Options) { o.Resources = []Resource{Persistent, Persistent} },
	} {
		o := good
		o.GC = WrapGC(nil)
		change(&o)
		w, err := New(o)
		if w != nil || !errors.Is(err, ErrOptions) && !errors.Is(err, hostwheel.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("%q does not say %q", err, what)
		}
	}
}

// recorder is a garbage collection that runs what it is told to.
type recorder struct {
	pkggc.GC
	tasks map[string]pkggc.Task
}

func (r *recorder) Add(task pkggc.Task) error {
	r.tasks[task.ID] = task
	return nil
}

// scans counts scans.
type scans int

func (s *scans) RunGC(context.Context) error {
	*s++
	return nil
}

func TestTheScanRestsWhileTheWatchWorks(t *testing.T) {
	server, ctx := redistest.Start(t), context.Background()
	var shared, other scans
	inner := &recorder{tasks: map[string]pkggc.Task{}}
	gc := WrapGC(inner)
	must(t, gc.Add(pkggc.Task{ID: Persistent.scan(), Runner: &shared}))
	must(t, gc.Add(pkggc.Task{ID: "peer", Runner: &other}))
	scan := func() (n int) {
		before := shared
		must(t, inner.tasks[Persistent.scan()].Runner.RunGC(ctx))
		must(t, inner.tasks["peer"].Runner.RunGC(ctx))
		return int(shared - before)
	}
	w, err := New(Options{Redis: server.Client, ClusterID: clusterID, GC: gc, MaxHosts: 100, Discover: second})
	must(t, err)
	if len(w.Resources) != 1 || w.Resources[0] != Persistent {
		t.Errorf("it watches %v", w.Resources)
	}
	if scan() != 1 {
		t.Error("no scan before Run")
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	until(t, "Run", func() bool { return w.running.Load() })
	if scan() != 0 {
		t.Error("a scan while the watch works")
	}
	if err := w.Run(ctx); !errors.Is(err, ErrOptions) {
		t.Errorf("a second Run: %v", err)
	}
	// More hosts than the wheel takes.
	d := newDragonflys(t, server.Client)
	for i := range 120 {
		must(t, d.store(ctx, strings.Repeat("x", i+1), time.Minute, time.Now()))
	}
	until(t, "a full wheel", func() bool { return scan() == 1 })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if scan() != 1 {
		t.Error("no scan after Run")
	}
	if other == 0 {
		t.Error("other tasks are not run")
	}
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("no ", what)
		}
	}
}

func TestAnnouncesAndGoodbyesAreHeard(t *testing.T) {
	w := newWorld(t, 1).start(options(), nil).Watch
	intercept := w.UnaryServerInterceptor()
	call := func(request any, fails error) {
		t.Helper()
		answer, err := intercept(context.Background(), request, nil, func(context.Context, any) (any, error) { return 7, fails })
		if answer != 7 || !errors.Is(err, fails) {
			t.Errorf("the answer is %v, %v", answer, err)
		}
	}
	interval := func() time.Duration {
		if m, ok := w.wheel.Lookup("a"); ok {
			return m.Interval()
		}
		return -1
	}
	announce := func(interval *durationpb.Duration) *schedulerv2.AnnounceHostRequest {
		return &schedulerv2.AnnounceHostRequest{Host: &commonv2.Host{Id: "a"}, Interval: interval}
	}
	for i, step := range []struct {
		request any
		fails   error
		want    time.Duration // of the host after it; -1: it is not known
	}{
		{announce(nil), nil, -1},
		{announce(durationpb.New(time.Minute)), errors.New("not stored"), time.Minute},
		{announce(nil), nil, time.Minute},
		{announce(durationpb.New(30 * second)), nil, 30 * second},
		{announce(durationpb.New(0)), nil, hostwheel.Longest},
		{announce(nil), nil, hostwheel.Longest},
		{announce(durationpb.New(time.Millisecond)), nil, second},
		{&schedulerv2.DeleteHostRequest{HostId: "a"}, errors.New("not found"), second},
		{&schedulerv2.DeleteHostRequest{HostId: "b"}, nil, second},
		{&schedulerv2.DeleteHostRequest{HostId: "a"}, nil, -1},
		{&schedulerv2.AnnounceHostRequest{}, nil, -1},
		{&schedulerv2.ListHostsRequest{}, nil, -1},
	} {
		call(step.request, step.fails)
		if got := interval(); got != step.want {
			t.Errorf("step %d: the interval is %v, want %v", i, got, step.want)
		}
	}
}

func TestTheCollectorIsWellFormed(t *testing.T) {
	w := newWorld(t, 1).start(options(), nil).Watch
	w.counted.removed[Persistent].Add(3)
	registry := prometheus.NewPedanticRegistry()
	must(t, registry.Register(NewCollector(w)))
	families, err := registry.Gather()
	must(t, err)
	found := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "hostwheel_cluster_removed_total" && m.GetLabel()[0].GetValue() == "persistent" {
				found = m.GetCounter().GetValue() == 3
			}
		}
	}
	if !found || len(families) < 15 {
		t.Errorf("%d families; 3 removed: %v", len(families), found)
	}
}

func TestOutagesAreRemembered(t *testing.T) {
	now := epoch
	l := link{store: nil, clock: func() time.Time { return now }, logger: options().Logger, good: now, heartbeat: 7 * second}
	at := func(seconds int, err error) {
		now = epoch.Add(time.Duration(seconds) * second)
		l.note(err)
	}
	fails := errors.New("no answer")
	lost := func(since int, interval time.Duration) time.Duration {
		return l.lost(epoch.Add(time.Duration(since)*second), interval)
	}
	at(10, nil)
	at(12, fails)
	at(14, nil) // 10 to 14
	if got := lost(0, 20*second); got != 4*second {
		t.Errorf("a short one costs %v", got)
	}
	if got := lost(12, 20*second); got != 2*second {
		t.Errorf("half of a short one costs %v", got)
	}
	if got := lost(14, 20*second); got != 0 {
		t.Errorf("one before the host was heard costs %v", got)
	}
	at(50, fails)
	at(52, nil) // 14 to 52: nobody knows better
	if got := lost(0, 20*second); got != 44*second {
		t.Errorf("a short and a long one cost %v", got)
	}
	if got := lost(48, 20*second); got != 4*second {
		t.Errorf("the end of a long one costs %v", got)
	}
	at(53, fails)
	at(54, nil)
	if got := lost(0, 20*second); got != 64*second {
		t.Errorf("two short ones and a long one cost %v", got)
	}
	at(64, nil) // in time
	if got := lost(0, 20*second); got != 64*second || l.outageCount != 3 {
		t.Errorf("two short ones and a long one cost %v", got)
	}
	now = epoch.Add(84 * second)
	l.wrote()
	at(84, nil) // the heartbeat took 20 s, but it was answered
	if got := lost(0, 20*second); got != 104*second || l.outageCount != 4 {
		t.Errorf("with a late heartbeat they cost %v", got)
	}
	if now = now.Add(11 * second); l.up() {
		t.Error("Redis is up, and nobody has looked for 11 s")
	}
	for i := range 2 * remembered {
		at(100+2*i, fails)
		at(101+2*i, nil)
	}
	if len(l.outages) != remembered || l.outageCount != 4+2*remembered {
		t.Errorf("%d outages are remembered, of %d", len(l.outages), l.outageCount)
	}
	if got := lost(0, 20*second); got < 60*second {
		t.Errorf("what was joined costs %v", got)
	}
	l.wrote()
	at(400, fails)
	if l.up() || lost(360, second) != 0 {
		t.Error("an outage counts before it has ended")
	}
}
