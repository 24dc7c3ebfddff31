//go:build unix

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/scheduler/config"
	"d7y.io/dragonfly/v2/scheduler/resource/persistent"
	"d7y.io/dragonfly/v2/scheduler/resource/persistentcache"
	"github.com/bits-and-blooms/bitset"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/redistest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const clusterID = 7

// dragonflys are Dragonfly's own resources over a Redis.
type dragonflys struct {
	gc         *GC
	persistent persistent.Resource
	cache      persistentcache.Resource
	config     *config.Config
}

func openDragonflys(client redis.UniversalClient) (*dragonflys, error) {
	d := &dragonflys{gc: WrapGC(pkggc.New()), config: config.New()}
	d.config.Manager.SchedulerClusterID = clusterID
	var err error
	if d.persistent, err = persistent.New(d.config, d.gc, client, insecure.NewCredentials()); err != nil {
		return nil, err
	}
	d.cache, err = persistentcache.New(d.config, d.gc, client, insecure.NewCredentials())
	return d, err
}

func newDragonflys(t testing.TB, client redis.UniversalClient) *dragonflys {
	t.Helper()
	d, err := openDragonflys(client)
	must(t, err)
	return d
}

// store stores a host as Dragonfly does it for an announce.
func (d *dragonflys) store(ctx context.Context, id string, interval time.Duration, at time.Time) error {
	if err := d.persistent.HostManager().Store(ctx, persistent.NewHost(id, "", "", "", "", "", "", "", "", 0, 0, 0, 0, false, 0, persistent.CPU{},
		persistent.Memory{}, persistent.Network{}, persistent.Disk{}, persistent.Build{}, interval, at, at, nil)); err != nil {
		return err
	}
	return d.cache.HostManager().Store(ctx, persistentcache.NewHost(id, "", "", "", "", "", "", "", "", 0, 0, 0, 0, false, 0, persistentcache.CPU{},
		persistentcache.Memory{}, persistentcache.Network{}, persistentcache.Disk{}, persistentcache.Build{}, interval, at, at, nil))
}

// storeOn is a redis store that runs until the test ends.
func storeOn(t testing.TB, client redis.UniversalClient, change func(*Options)) *redisStore {
	o := options()
	o.Redis, o.ClusterID = client, clusterID
	if change != nil {
		change(&o)
	}
	s := newRedisStore(&o)
	ctx, cancel := context.WithCancel(context.Background())
	go s.run(ctx)
	t.Cleanup(func() {
		cancel()
		<-s.ended
	})
	return s
}

func TestDragonflysRecordsAreReadAndRemoved(t *testing.T) {
	server, ctx := redistest.Start(t), context.Background()
	d, s := newDragonflys(t, server.Client), storeOn(t, server.Client, nil)
	at := time.Now().Add(-time.Hour)
	for i := range 30 {
		must(t, d.store(ctx, fmt.Sprint("host-", i), 20*second, at))
	}
	hosts, err := d.persistent.HostManager().LoadAll(ctx)
	must(t, err)
	if len(hosts) != 30 {
		t.Fatalf("Dragonfly loads %d hosts, of 30", len(hosts))
	}

	for r := range resources {
		ids, next, err := s.page(ctx, r, 0)
		must(t, err)
		if len(ids) != 30 || next != 0 {
			t.Errorf("%v: a page of %d ids, the next one is %d", r, len(ids), next)
		}
		records, err := s.read(ctx, r, append(ids, "nobody"))
		must(t, err)
		for i, is := range records[:30] {
			if h, ok := is.parse(); !ok || h.interval != 20*second || !h.at.Equal(at.Truncate(second)) {
				t.Errorf("%v: %s is %v, which says %v", r, ids[i], is, h)
			}
		}
		if records[30].exists() {
			t.Errorf("there is a record of nobody: %v", records[30])
		}
	}

	for r := range resources {
		was, err := s.ask(ctx, r, "host-3")
		must(t, err)
		for _, c := range []struct {
			id       string
			was      record
			earliest time.Time
			want     outcome
		}{
			{"nobody", was, at, missing},
			{"host-3", record{"2026-01-01T00:00:00Z", was.interval}, at, changed},
			{"host-3", record{was.updated, "1"}, at, changed},
			{"host-3", was, time.Now().Add(time.Minute), early},
			{"host-3", was, time.Now(), removed},
			{"host-3", was, at, missing},
		} {
			is, err := s.remove(ctx, r, c.id, c.was, c.earliest)
			must(t, err)
			if is.outcome != c.want {
				t.Errorf("%v: removing %s, which was %v: %+v, want %v", r, c.id, c.was, is, c.want)
			}
			if is.outcome == changed && is.record != was {
				t.Errorf("%v: it has changed to %v", r, is.record)
			}
			if is.outcome == early && (is.wait < 50*second || is.wait > 70*second) {
				t.Errorf("%v: a minute early is %v", r, is.wait)
			}
		}
	}
	for _, load := range []func(string) bool{
		func(id string) bool { _, ok := d.persistent.HostManager().Load(ctx, id); return ok },
		func(id string) bool { _, ok := d.cache.HostManager().Load(ctx, id); return ok },
	} {
		if load("host-3") || !load("host-4") {
			t.Error("host-3 is still there, or host-4 is gone")
		}
	}
	hosts, err = d.persistent.HostManager().LoadAll(ctx)
	must(t, err)
	if len(hosts) != 29 {
		t.Errorf("Dragonfly loads %d hosts, of 29", len(hosts))
	}
}

func TestPeersLeaveWithTheirHost(t *testing.T) {
	for _, leave := range []bool{false, true} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			server, ctx := redistest.Start(t), context.Background()
			d, s := newDragonflys(t, server.Client), storeOn(t, server.Client, func(o *Options) { o.LeavePeers = leave })
			at := time.Now()
			must(t, d.store(ctx, "mine", 20*second, at))
			must(t, d.store(ctx, "other", 20*second, at))
			task := persistent.NewTask("task", "", "", "", persistent.TaskStateSucceeded, 1, 1, 1, time.Hour, at, at, nil)
			must(t, d.persistent.TaskManager().Store(ctx, task))
			for _, id := range []string{"mine", "other"} {
				host, ok := d.persistent.HostManager().Load(ctx, id)
				if !ok {
					t.Fatal("a host is not there")
				}
				for i := range 3 {
					must(t, d.persistent.PeerManager().Store(ctx, persistent.NewPeer(fmt.Sprint(id, "-", i), persistent.PeerStateSucceeded, i == 0, bitset.New(1), nil,
						task, host, 0, at, at, host.Log)))
				}
			}
			was, err := s.ask(ctx, Persistent, "mine")
			must(t, err)
			is, err := s.remove(ctx, Persistent, "mine", was, at)
			must(t, err)
			slices.Sort(is.peers)
			left, _, err := server.Client.Scan(ctx, 0, "*mine*", 1000).Result()
			must(t, err)
			switch {
			case leave && (!slices.Equal(is.peers, []string{"mine-0", "mine-1", "mine-2"}) || len(left) != 1):
				t.Errorf("peers %v have left; there is %v", is.peers, left)
			case !leave && (len(is.peers) != 0 || len(left) != 5):
				t.Errorf("peers %v have left; there is %v", is.peers, left)
			}
			// Those of the task.
			ids, err := d.persistent.PeerManager().LoadAllIDsByTaskID(ctx, "task")
			must(t, err)
			persistents, err := server.Client.SMembers(ctx, s.keys[Persistent].persistentTaskPeers.key("task")).Result()
			must(t, err)
			if leave && (len(ids) != 3 || len(persistents) != 1) || !leave && (len(ids) != 6 || len(persistents) != 2) {
				t.Errorf("the task has the peers %v, %v of them persistent", ids, persistents)
			}
			if peers, err := d.persistent.PeerManager().LoadAllByHostID(ctx, "other"); err != nil || len(peers) != 3 {
				t.Errorf("the other host has %d peers, %v", len(peers), err)
			}
		})
	}
}

func TestTheScriptIsLoadedAgain(t *testing.T) {
	server, ctx := redistest.Start(t), context.Background()
	s := storeOn(t, server.Client, nil)
	for range 2 {
		is, err := s.remove(ctx, Persistent, "nobody", record{"a", "1"}, time.Now())
		if err != nil || is.outcome != missing {
			t.Fatal(is, err)
		}
		server.Kill()
		server.Restart()
	}
	if n := s.sent.load.Load(); n != 2 {
		t.Errorf("it was loaded %d times, want 2", n)
	}
}

func TestWhatIsNoHostIsLeftAlone(t *testing.T) {
	server, ctx := redistest.Start(t), context.Background()
	d, s := newDragonflys(t, server.Client), storeOn(t, server.Client, nil)
	must(t, d.store(ctx, "good", 20*second, time.Now()))
	k := s.keys[Persistent]
	must(t, server.Client.Set(ctx, k.host+"string", "x", 0).Err())
	must(t, server.Client.HSet(ctx, k.host+"half", "updated_at", "2026-01-01T00:00:00Z").Err())
	must(t, server.Client.HSet(ctx, k.host+"odd", "updated_at", "yesterday", "announce_interval", "soon").Err())
	records, err := s.read(ctx, Persistent, []string{"string", "half", "odd", "good"})
	must(t, err)
	for i, is := range records {
		if _, ok := is.parse(); ok != (i == 3) {
			t.Errorf("record %d is %v", i, is)
		}
	}
	if is, err := s.ask(ctx, Persistent, "string"); err != nil || !is.exists() || !strings.Contains(is.updated, "WRONGTYPE") {
		t.Errorf("a string is the host %v, %v", is, err)
	}
	for _, id := range []string{"string", "half"} {
		if is, err := s.remove(ctx, Persistent, id, record{"2026-01-01T00:00:00Z", ""}, time.Unix(0, 0)); err == nil && is.outcome != missing {
			t.Errorf("removing %q: %v, %v", id, is, err)
		}
	}
	if n := server.Client.Exists(ctx, k.host+"string", k.host+"half", k.host+"odd").Val(); n != 3 {
		t.Errorf("%d are left, of 3", n)
	}
}

// Answers belong to their questions, however many ask at a time.
func TestManyAskAtATime(t *testing.T) {
	server, ctx := redistest.Start(t), context.Background()
	s := storeOn(t, server.Client, nil)
	k := s.keys[Persistent]
	const n = 2000
	for i := range n {
		must(t, server.Client.HSet(ctx, k.host+fmt.Sprint(i), "updated_at", fmt.Sprint("u", i), "announce_interval", fmt.Sprint(i)).Err())
	}
	errs := make(chan error, n)
	for i := range n {
		go func() {
			is, err := s.ask(ctx, Persistent, fmt.Sprint(i))
			if want := (record{fmt.Sprint("u", i), fmt.Sprint(i)}); err == nil && is != want {
				err = fmt.Errorf("%d is %v", i, is)
			}
			errs <- err
		}()
	}
	for range n {
		must(t, <-errs)
	}
}

func TestAfterItsEndAStoreRefuses(t *testing.T) {
	server := redistest.Start(t)
	o := options()
	o.Redis, o.ClusterID = server.Client, clusterID
	s := newRedisStore(&o)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.run(ctx)
	for range 3 * most {
		if _, err := s.ask(context.Background(), Persistent, "x"); err == nil {
			t.Fatal("it answers after its end")
		}
	}
}
