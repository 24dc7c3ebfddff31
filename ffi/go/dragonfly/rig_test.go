package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv1 "d7y.io/api/v2/pkg/apis/scheduler/v1"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	managertypes "d7y.io/dragonfly/v2/manager/types"
	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/pkg/types"
	"d7y.io/dragonfly/v2/scheduler/config"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"d7y.io/dragonfly/v2/scheduler/service"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
)

const (
	second = time.Second
	// tick is what a moment may be late by in a bubble.
	tick = 5 * time.Millisecond
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a wrapped resource of Dragonfly's, with its own services over it.
type rig struct {
	t     testing.TB
	gc    *GC
	inner *hooked
	*Resource
	v1 *service.V1
	v2 *service.V2
}

// hooked is a resource whose host manager can be watched and disturbed.
type hooked struct {
	standard.Resource
	manager hookedManager
}

func (h *hooked) HostManager() standard.HostManager { return &h.manager }

// Serve, Stop: what the real one serves is not wanted in tests.
func (h *hooked) Serve() error { return nil }
func (h *hooked) Stop()        {}

type hookedManager struct {
	standard.HostManager
	mu sync.Mutex
	// deleted counts deletions by id; hook is called before each.
	deleted map[string]int
	hook    func(id string)
}

func (m *hookedManager) atDelete(hook func(id string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

func (m *hookedManager) Delete(id string) {
	m.mu.Lock()
	m.deleted[id]++
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		hook(id)
	}
	m.HostManager.Delete(id)
}

// settings is a dynamic configuration without any content.
type settings struct{ config.DynconfigInterface }

var errNone = errors.New("none")

func (settings) GetSchedulerClusterClientConfig() (managertypes.SchedulerClusterClientConfig, error) {
	return managertypes.SchedulerClusterClientConfig{}, errNone
}

func (settings) GetSeedPeerClusterConfig() (managertypes.SeedPeerClusterConfig, error) {
	return managertypes.SeedPeerClusterConfig{}, errNone
}

// quiet are options for tests that lose whole fleets.
func quiet(o Options) Options {
	o.Brake, o.SilenceExpected = hostwheel.Brake{Off: true}, -1
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return o
}

// newInner makes a resource of Dragonfly's and the garbage collection that it was made with.
func newInner(t testing.TB) (*hooked, *GC) {
	t.Helper()
	gc := WrapGC(pkggc.New())
	resource, err := standard.New(config.New(), gc, insecure.NewCredentials())
	must(t, err)
	return &hooked{resource, hookedManager{HostManager: resource.HostManager(), deleted: make(map[string]int)}}, gc
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	inner, gc := newInner(t)
	return wrapRig(t, inner, gc, o)
}

func wrapRig(t testing.TB, inner *hooked, gc *GC, o Options) *rig {
	t.Helper()
	o.GC = gc
	resource, err := Wrap(inner, o)
	must(t, err)
	cfg := config.New()
	return &rig{
		t: t, gc: gc, inner: inner, Resource: resource,
		v1: service.NewV1(cfg, resource, nil, settings{}),
		v2: service.NewV2(cfg, resource, nil, nil, nil, nil, nil, settings{}),
	}
}

// bubble runs a test on the pure backend whose time is exact and takes none.
func bubble(t *testing.T, o Options, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := quiet(o)
		if o.Mode == Off {
			o.Mode = Enforce
		}
		o.Backend = hostwheel.Pure
		r := newRig(t, o)
		must(t, r.Serve())
		defer r.Stop()
		synctest.Wait()
		test(t, r)
	})
}

// call calls a handler by way of the interceptor, as the server does.
func (r *rig) call(request any, handler func(ctx context.Context) error) error {
	_, err := r.UnaryServerInterceptor()(context.Background(), request, &grpc.UnaryServerInfo{},
		func(ctx context.Context, _ any) (any, error) { return nil, handler(ctx) })
	return err
}

func announcement(id string, interval *durationpb.Duration) *schedulerv2.AnnounceHostRequest {
	return &schedulerv2.AnnounceHostRequest{
		Host:     &commonv2.Host{Id: id, Type: uint32(types.HostTypeNormal), Ip: "127.0.0.1", Hostname: id, Build: &commonv2.Build{}},
		Interval: interval,
	}
}

// announce announces a host by the second version of the API; an interval below 0 says none.
func (r *rig) announce(id string, interval time.Duration) {
	r.t.Helper()
	request := announcement(id, nil)
	if interval >= 0 {
		request.Interval = durationpb.New(interval)
	}
	must(r.t, r.call(request, func(ctx context.Context) error { return r.v2.AnnounceHost(ctx, request) }))
}

func (r *rig) announceSeed(id string, interval time.Duration) {
	r.t.Helper()
	request := announcement(id, durationpb.New(interval))
	request.Host.Type = uint32(types.HostTypeSuperSeed)
	must(r.t, r.call(request, func(ctx context.Context) error { return r.v2.AnnounceHost(ctx, request) }))
}

// announceV1 announces a host by the first version of the API.
func (r *rig) announceV1(id string) {
	r.t.Helper()
	request := &schedulerv1.AnnounceHostRequest{Id: id, Ip: "127.0.0.1", Hostname: id, Type: "normal"}
	must(r.t, r.call(request, func(ctx context.Context) error { return r.v1.AnnounceHost(ctx, request) }))
}

// host is a host that must be there.
func (r *rig) host(id string) *standard.Host {
	r.t.Helper()
	host, ok := r.HostManager().Load(id)
	if !ok {
		r.t.Fatalf("%s is not there", id)
	}
	return host
}

// addPeer gives a host a peer.
func (r *rig) addPeer(id string) *standard.Peer {
	r.t.Helper()
	task := standard.NewTask("task", "http://example.org", "", "", commonv2.TaskType_STANDARD, nil, nil, 1)
	peer := standard.NewPeer("peer of "+id, task, r.host(id))
	r.PeerManager().Store(peer)
	return peer
}

// places is in how many of the lists of hosts a host is: 0 if it is gone, 2 if it is there.
func (r *rig) places(id string) int {
	n := 0
	count := func(key, _ any) bool {
		if key == id {
			n++
		}
		return true
	}
	r.HostManager().Range(count)
	r.HostManager().RangeNormals(count)
	r.HostManager().RangeSeeds(count)
	return n
}

func (r *rig) wantThere(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if n := r.places(id); n != 2 {
			r.t.Fatalf("%s is in %d lists, want it in 2", id, n)
		}
		r.host(id)
	}
}

func (r *rig) wantGone(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if n := r.places(id); n != 0 {
			r.t.Fatalf("%s is in %d lists, want it gone", id, n)
		}
		if _, ok := r.HostManager().Load(id); ok {
			r.t.Fatalf("%s is loaded, and in no list", id)
		}
	}
}

// wantGoneAt checks that a host is there until a moment from now on, and gone then.
func (r *rig) wantGoneAt(id string, after time.Duration) {
	r.t.Helper()
	time.Sleep(after - time.Millisecond)
	synctest.Wait()
	r.wantThere(id)
	time.Sleep(tick)
	synctest.Wait()
	r.wantGone(id)
}

// known is the host of that id and its member as the watch knows them.
func (r *rig) known(id string) (host *standard.Host, m *member) {
	s := r.watch.table.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil {
		host, m = e.host.Load(), e.member
	}
	return host, m
}

// consistent checks that the table, the host manager and the wheel tell the same.
func (r *rig) consistent() {
	r.t.Helper()
	stored := 0
	r.watch.inner.Range(func(key, value any) bool {
		stored++
		id := key.(string)
		host, m := r.known(id)
		if host != value {
			r.t.Errorf("%s is not in the table", id)
		}
		if inWheel, _ := r.watch.wheel.Lookup(id); inWheel != m {
			r.t.Errorf("%s is not in the wheel as the table says", id)
		}
		r.wantThere(id)
		return true
	})
	entries := r.watch.table.len()
	if entries != stored {
		r.t.Errorf("%d entries, %d hosts", entries, stored)
	}
}

// hostStream is a stream of a host's messages; Recv takes them from a channel.
type hostStream struct {
	grpc.ServerStream
	ctx      context.Context
	messages chan func(into any)
}

func (s *hostStream) Context() context.Context { return s.ctx }

func (s *hostStream) RecvMsg(into any) error {
	select {
	case fill, ok := <-s.messages:
		if !ok {
			return io.EOF
		}
		fill(into)
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// stream opens a stream on which a host reports downloads. Its handler receives until it ends.
func (r *rig) stream(newMessage func() any) (send func(fill func(into any)), end func(), broken func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &hostStream{ctx: ctx, messages: make(chan func(any))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.StreamServerInterceptor()(nil, s, &grpc.StreamServerInfo{}, func(_ any, stream grpc.ServerStream) error {
			for {
				if err := stream.RecvMsg(newMessage()); err != nil {
					return err
				}
			}
		})
	}()
	send = func(fill func(any)) { s.messages <- fill }
	end = func() { close(s.messages); <-done; cancel() }
	broken = func() { cancel(); <-done }
	return send, end, broken
}

// reports opens a stream of the second version of the API on which a host has reported once.
func (r *rig) reports(id string) (again, end, broken func()) {
	send, end, broken := r.stream(func() any { return &schedulerv2.AnnouncePeerRequest{} })
	again = func() { send(func(into any) { into.(*schedulerv2.AnnouncePeerRequest).HostId = id }) }
	again()
	return again, end, broken
}

func ids(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s-%d", prefix, i))
	}
	return list
}
