package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"google.golang.org/grpc"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// eachBackend runs a test on the backends that are in the build, in real time.
func eachBackend(t *testing.T, test func(t *testing.T, backend hostwheel.Backend)) {
	for _, backend := range []hostwheel.Backend{hostwheel.Pure, hostwheel.Native} {
		t.Run(backend.String(), func(t *testing.T) {
			wheel, err := hostwheel.New(hostwheel.Config[int]{Backend: backend})
			if backend == hostwheel.Native && errors.Is(err, hostwheel.ErrInvalid) {
				t.Skip("not in this build")
			}
			must(t, err)
			must(t, wheel.Close())
			test(t, backend)
		})
	}
}

// handle is the part of Dragonfly's handler of announces that matters here, without the fields that it writes and reads
// unsynchronised.
func (r *rig) handle(id string, interval time.Duration) *standard.Host {
	host, loaded := r.HostManager().Load(id)
	if loaded {
		host.UpdatedAt.Store(time.Now())
		return host
	}
	host = standard.NewHost(id, "127.0.0.1", id, id, 1, 2, 3, 0, standard.WithAnnounceInterval(interval))
	r.HostManager().Store(host)
	return host
}

// announced announces a host as handle does it.
func (r *rig) announced(id string, interval time.Duration) (host *standard.Host) {
	request := &schedulerv2.AnnounceHostRequest{Host: announcement(id, nil).Host, Interval: durationpb.New(interval)}
	_, err := r.UnaryServerInterceptor()(context.Background(), request, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
		host = r.handle(id, interval)
		return nil, nil
	})
	must(r.t, err)
	return host
}

// storm is hosts that come and go while all else happens that may.
type storm struct {
	*rig
	until time.Time
	work  sync.WaitGroup

	mu    sync.Mutex
	peers map[*standard.Host]*standard.Peer
}

const (
	stormInterval = 20 * time.Millisecond
	stormHosts    = 48
)

func (s *storm) over() bool { return time.Now().After(s.until) }

// flap announces a host for a while, then is silent for a while, and so on. As long as it announces itself it must be there.
func (s *storm) flap(id string, random *rand.Rand) {
	for !s.over() {
		interval := stormInterval * time.Duration(1+random.IntN(3))
		for range random.IntN(6) + 1 {
			sent := time.Now()
			host := s.announced(id, interval)
			s.remember(host)
			if random.IntN(4) == 0 {
				time.Sleep(interval / 2)
			}
			if known, ok := s.HostManager().Load(id); (!ok || known != host) && time.Since(sent) < 2*interval {
				s.t.Errorf("%s is not there %v after its announce", id, time.Since(sent))
				return
			}
			time.Sleep(time.Duration(random.Int64N(int64(interval))))
		}
		// Around the moment in which it leaves.
		time.Sleep(2*interval + time.Duration(random.Int64N(int64(2*interval))))
	}
}

// remember gives a host a peer, by which to see whether it left.
func (s *storm) remember(host *standard.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[host] == nil {
		task := standard.NewTask("task", "http://example.org", "", "", 0, nil, nil, 1)
		peer := standard.NewPeer(fmt.Sprintf("peer %p", host), task, host)
		s.PeerManager().Store(peer)
		s.peers[host] = peer
	}
}

// disturb does until the end what else a scheduler does.
func (s *storm) disturb(what func(id string, random *rand.Rand), prefix string, seed uint64) {
	s.work.Go(func() {
		random := rand.New(rand.NewPCG(5, seed))
		for !s.over() {
			what(fmt.Sprintf("%s-%d", prefix, random.IntN(stormHosts)), random)
			time.Sleep(time.Duration(random.Int64N(int64(2 * time.Millisecond))))
		}
	})
}

func TestAStormOfHostsThatComeAndGo(t *testing.T) {
	length := 2 * time.Second
	if text := os.Getenv("HOSTWHEEL_STRESS"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		must(t, err)
	}
	eachBackend(t, func(t *testing.T, backend hostwheel.Backend) {
		o := quiet(Options{Mode: Enforce, Backend: backend, MinInterval: time.Millisecond, Backstop: time.Nanosecond, Workers: 4})
		s := &storm{rig: newRig(t, o), until: time.Now().Add(length), peers: make(map[*standard.Host]*standard.Peer)}
		must(t, s.Serve())
		defer s.Stop()
		for i, id := range append(ids("host", stormHosts), ids("polite", stormHosts)...) {
			s.work.Go(func() { s.flapOrNot(id, rand.New(rand.NewPCG(7, uint64(i)))) })
		}
		s.disturb(func(id string, _ *rand.Rand) { s.HostManager().Delete(id) }, "polite", 1)
		s.disturb(func(id string, _ *rand.Rand) {
			if host, ok := s.HostManager().Load(id); ok {
				host.UpdatedAt.Store(time.Now()) // an upload
			}
		}, "host", 2)
		s.disturb(func(id string, random *rand.Rand) {
			_, end, broken := s.reports(id)
			time.Sleep(time.Duration(random.Int64N(int64(4 * stormInterval))))
			if random.IntN(2) == 0 {
				end()
			} else {
				broken()
			}
		}, "host", 3)
		s.disturb(func(string, *rand.Rand) {
			s.HostManager().LoadAll()
			s.HostManager().LoadAllNormals()
			s.Report()
			s.Stats()
		}, "host", 4)
		s.disturb(func(string, *rand.Rand) { _ = s.HostManager().RunGC(context.Background()) }, "host", 5)
		s.work.Wait()
		s.judge(t)
	})
}

// flapOrNot is flap; hosts to which others say goodbye are not judged while they live.
func (s *storm) flapOrNot(id string, random *rand.Rand) {
	if id[0] == 'h' {
		s.flap(id, random)
		return
	}
	for !s.over() {
		s.announced(id, stormInterval)
		time.Sleep(time.Duration(random.Int64N(int64(4 * stormInterval))))
	}
}

// judge waits until all are gone, and checks that nothing is left of them, and that the peers of each have left.
func (s *storm) judge(t *testing.T) {
	for deadline := time.Now().Add(20 * time.Second); len(s.HostManager().LoadAll()) > 0 || s.Stats().Live > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d hosts are still there, %d in the wheel", len(s.HostManager().LoadAll()), s.Stats().Live)
		}
		time.Sleep(time.Millisecond)
	}
	s.Stop()
	s.consistent()
	report := s.Report()
	t.Logf("%+v", report)
	for host, peer := range s.peers {
		if !peer.FSM.Is(standard.PeerStateLeave) {
			t.Errorf("%s is gone, and its peer is %s", host.ID, peer.FSM.Current())
		}
	}
	if report.Removed == 0 || report.HeardElsewhere == 0 || report.Rescues > 0 || report.Untracked > 0 {
		t.Errorf("%+v", report)
	}
}

// The same life on both backends, by the real clock. Never early is exact; late is only until somebody looks.
func TestLifeAndDeathInRealTime(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend hostwheel.Backend) {
		const interval = 100 * time.Millisecond
		r := newRig(t, quiet(Options{Mode: Enforce, Backend: backend, MinInterval: time.Millisecond}))
		must(t, r.Serve())
		defer r.Stop()
		r.announce("uploads", interval)
		r.announce("downloads", interval)
		peer := r.addPeer("uploads")
		_, end, _ := r.reports("downloads")
		r.announceSeed("dead", interval)
		r.announce("dies", interval)
		sent := time.Now()
		for range 12 {
			time.Sleep(interval / 2)
			before := sent
			sent = time.Now()
			if sent.Sub(before) > 2*interval {
				t.Skip("the machine is too busy for an upload in time")
			}
			r.host("uploads").UpdatedAt.Store(sent)
			r.wantThere("downloads")
		}
		r.awaitGone("dead")
		r.awaitGone("dies")
		r.awaitGone("uploads")
		if after := time.Since(sent); after < 3*interval {
			t.Errorf("gone %v after its last upload", after)
		}
		r.wantThere("downloads")
		end()
		r.awaitGone("downloads")
		r.Stop() // callbacks have returned
		if report := r.Report(); report.Removed != 4 || report.Rescues != 0 || !peer.FSM.Is(standard.PeerStateLeave) {
			t.Errorf("%+v; a peer is %s", report, peer.FSM.Current())
		}
	})
}

func (r *rig) awaitGone(id string) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); r.places(id) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s is still there", id)
		}
	}
}
