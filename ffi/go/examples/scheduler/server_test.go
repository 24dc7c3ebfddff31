package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"github.com/hostwheel/hostwheel/ffi/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
)

// manual is a configuration whose time moves in Advance only.
func manual() hostwheel.Config[string] {
	return hostwheel.Config[string]{Manual: true, Watchdog: hostwheel.Off, Grace: time.Second, HostTTL: time.Minute}
}

func mustServer(t *testing.T, config hostwheel.Config[string]) *server {
	t.Helper()
	s, err := newServer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.wheel.Close() })
	return s
}

// dial serves in memory, and gives a client.
func dial(t *testing.T, s *server) schedulerv2.SchedulerClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	grpcServer := grpc.NewServer()
	schedulerv2.RegisterSchedulerServer(grpcServer, s)
	go grpcServer.Serve(listener)
	t.Cleanup(grpcServer.Stop)
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return schedulerv2.NewSchedulerClient(conn)
}

// request announces a host; an interval of 0 is none.
func request(id, hostname string, interval time.Duration) *schedulerv2.AnnounceHostRequest {
	r := &schedulerv2.AnnounceHostRequest{
		Host: &commonv2.Host{Id: id, Hostname: hostname, Ip: "127.0.0.1", Port: 4000, DownloadPort: 4001},
	}
	if interval != 0 {
		r.Interval = durationpb.New(interval)
	}
	return r
}

func announceOK(t *testing.T, client schedulerv2.SchedulerClient, id, hostname string, interval time.Duration) {
	t.Helper()
	if _, err := client.AnnounceHost(t.Context(), request(id, hostname, interval)); err != nil {
		t.Fatal(err)
	}
}

func advance(t *testing.T, s *server, to time.Duration) {
	t.Helper()
	if _, err := s.wheel.Advance(to); err != nil {
		t.Fatal(err)
	}
}

// expectList compares the hosts, each as "id hostname", with those that are listed.
func expectList(t *testing.T, client schedulerv2.SchedulerClient, want ...string) {
	t.Helper()
	response, err := client.ListHosts(t.Context(), &schedulerv2.ListHostsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, host := range response.GetHosts() {
		got = append(got, host.GetId()+" "+host.GetHostname())
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}

func TestLifeOfAHost(t *testing.T) {
	s := mustServer(t, manual())
	client := dial(t, s)
	expectList(t, client)
	announceOK(t, client, "a", "first", 2*time.Second)
	announceOK(t, client, "b", "second", time.Hour)
	announceOK(t, client, "c", "third", 0)
	advance(t, s, time.Second)
	announceOK(t, client, "a", "renamed", 2*time.Second)
	expectList(t, client, "a renamed", "b second", "c third")

	advance(t, s, 5*time.Second) // suspect: not the first choice
	expectList(t, client, "b second", "c third", "a renamed")
	announceOK(t, client, "a", "renamed", 2*time.Second)
	advance(t, s, 5001*time.Millisecond)
	expectList(t, client, "a renamed", "b second", "c third")

	advance(t, s, 9999*time.Millisecond)
	expectList(t, client, "b second", "c third", "a renamed")
	advance(t, s, 10*time.Second)
	expectList(t, client, "b second", "c third")

	advance(t, s, 61*time.Second) // without an interval the host TTL counts
	expectList(t, client, "b second")
}

func TestListByType(t *testing.T) {
	s := mustServer(t, manual())
	client := dial(t, s)
	seed := request("seed", "one", time.Minute)
	seed.Host.Type = 1
	if _, err := client.AnnounceHost(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	announceOK(t, client, "normal", "two", time.Minute)
	for kind, want := range map[uint32]string{0: "normal", 1: "seed"} {
		response, err := client.ListHosts(t.Context(), &schedulerv2.ListHostsRequest{Type: &kind})
		if err != nil || len(response.GetHosts()) != 1 || response.GetHosts()[0].GetId() != want {
			t.Errorf("of type %d are %v (%v), want %s", kind, response.GetHosts(), err, want)
		}
	}
}

func TestGoodbye(t *testing.T) {
	s := mustServer(t, manual())
	client := dial(t, s)
	announceOK(t, client, "polite", "one", 2*time.Second)
	announceOK(t, client, "other", "two", time.Minute)
	goodbye := &schedulerv2.DeleteHostRequest{HostId: "polite"}
	if _, err := client.DeleteHost(t.Context(), goodbye); err != nil {
		t.Fatal(err)
	}
	expectList(t, client, "other two")
	if _, err := client.DeleteHost(t.Context(), goodbye); status.Code(err) != codes.NotFound {
		t.Errorf("the second goodbye: %v, want NotFound", err)
	}
	// It may come back, and nothing is left of its first life.
	announceOK(t, client, "polite", "again", 20*time.Second)
	advance(t, s, 10*time.Second)
	expectList(t, client, "other two", "polite again")
	if stats := s.wheel.Stats(); stats.Left != 1 || stats.LeavesTTL != 0 {
		t.Errorf("%d goodbyes and %d leaves, want 1 and 0", stats.Left, stats.LeavesTTL)
	}
}

// A host that comes back after it was found gone, and before the callback deleted it, stays.
func TestReturnedHostAgainstLateLeave(t *testing.T) {
	s := &server{hosts: make(map[string]*entry)}
	config := s.callbacks(manual())
	client := dial(t, s)
	late := 0
	config.Leave = func(e *hostwheel.Event[string]) hostwheel.Verdict {
		if late++; late == 1 {
			announceOK(t, client, e.Member.ID(), "returned", time.Minute)
		}
		return s.onLeave(e)
	}
	var err error
	if s.wheel, err = hostwheel.New(config); err != nil {
		t.Fatal(err)
	}
	defer s.wheel.Close()
	announceOK(t, client, "flapping", "first", 2*time.Second)
	first := s.hosts["flapping"].handle
	advance(t, s, 5*time.Second)
	if late != 1 {
		t.Fatalf("%d leaves, want 1", late)
	}
	expectList(t, client, "flapping returned")
	member, ok := s.wheel.Lookup("flapping")
	if now := s.hosts["flapping"].handle; !ok || now == first || now != member.Handle() {
		t.Errorf("the handle in the map is %x, was %x before; the wheel knows %v", now, first, member)
	}
	// Its second life ends like any other.
	advance(t, s, 5*time.Minute)
	expectList(t, client)
}

// While a leave waits for its callback, its host has left: a goodbye finds nobody, and the callback deletes it.
func TestGoodbyeAgainstLateLeave(t *testing.T) {
	s := &server{hosts: make(map[string]*entry)}
	config := s.callbacks(manual())
	client := dial(t, s)
	config.Leave = func(e *hostwheel.Event[string]) hostwheel.Verdict {
		_, err := client.DeleteHost(t.Context(), &schedulerv2.DeleteHostRequest{HostId: e.Member.ID()})
		if status.Code(err) != codes.NotFound {
			t.Errorf("the goodbye: %v, want NotFound", err)
		}
		return s.onLeave(e)
	}
	var err error
	if s.wheel, err = hostwheel.New(config); err != nil {
		t.Fatal(err)
	}
	defer s.wheel.Close()
	announceOK(t, client, "a", "one", 2*time.Second)
	advance(t, s, 5*time.Second)
	expectList(t, client)
}

func TestErrors(t *testing.T) {
	config := manual()
	config.MaxHosts = 1
	s := mustServer(t, config)
	client := dial(t, s)
	announceOK(t, client, "known", "one", time.Minute)
	announce := func(change func(*schedulerv2.AnnounceHostRequest)) error {
		r := request("known", "one", time.Minute)
		change(r)
		_, err := client.AnnounceHost(t.Context(), r)
		return err
	}
	expect := func(name string, err error, want codes.Code) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	long := strings.Repeat("x", hostwheel.LongestID+1)
	expect("no host", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Host = nil }), codes.InvalidArgument)
	expect("no id", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Host.Id = "" }), codes.InvalidArgument)
	expect("no address", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Host.Ip = "" }), codes.InvalidArgument)
	expect("long id", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Host.Id = long }), codes.InvalidArgument)
	expect("negative interval", announce(func(r *schedulerv2.AnnounceHostRequest) {
		r.Interval = durationpb.New(-time.Second)
	}), codes.InvalidArgument)
	expect("no duration", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Interval.Nanos = -1 }), codes.InvalidArgument)
	expect("full", announce(func(r *schedulerv2.AnnounceHostRequest) { r.Host.Id = "another" }), codes.ResourceExhausted)
	goodbye := func(id string) error {
		_, err := client.DeleteHost(t.Context(), &schedulerv2.DeleteHostRequest{HostId: id})
		return err
	}
	expect("goodbye without id", goodbye(""), codes.InvalidArgument)
	expect("goodbye with a long id", goodbye(long), codes.InvalidArgument)
	expect("goodbye of a stranger", goodbye("another"), codes.NotFound)
	expectList(t, client, "known one")

	s.wheel.Close()
	expect("announce after close", announce(func(*schedulerv2.AnnounceHostRequest) {}), codes.Unavailable)
	expect("goodbye after close", goodbye("known"), codes.Unavailable)
	expectList(t, client, "known one")
}

func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.snapshot")
	before := mustServer(t, manual())
	if n, err := before.restore(path); n != 0 || err != nil {
		t.Fatalf("restored %d hosts from no file: %v", n, err)
	}
	client := dial(t, before)
	announceOK(t, client, "a", "one", 10*time.Second)
	announceOK(t, client, "b", "two", 10*time.Second)
	if err := before.save(path); err != nil {
		t.Fatal(err)
	}
	after := mustServer(t, manual())
	if n, err := after.restore(path); n != 2 || err != nil {
		t.Fatalf("restored %d hosts: %v", n, err)
	}
	client = dial(t, after)
	expectList(t, client, "a one", "b two")
	// Who is not heard any more leaves, as if nothing had been.
	announceOK(t, client, "b", "two", time.Hour)
	advance(t, after, 25*time.Second)
	expectList(t, client, "b two")
}

// While the lock is held, as a leave callback does, nobody gets known to the wheel whose metadata is not in the map.
func TestRegistrationIsOneStep(t *testing.T) {
	s := mustServer(t, manual())
	client := dial(t, s)
	s.mu.Lock()
	announced := make(chan error, 1)
	go func() {
		_, err := client.AnnounceHost(t.Context(), request("a", "one", time.Minute))
		announced <- err
	}()
	time.Sleep(100 * time.Millisecond) // a server that does not wait for the lock registers the host now
	registered := s.wheel.Stats().Registered
	s.mu.Unlock()
	if err := <-announced; err != nil {
		t.Fatal(err)
	}
	if registered != 0 {
		t.Error("the host was registered before its metadata could be kept")
	}
	expectList(t, client, "a one")
}

// However registrations, goodbyes and leaves meet, the map holds those whom the wheel knows, and nobody else.
func TestMapFollowsWheel(t *testing.T) {
	config := manual()
	config.Brake.Off = true
	config.SilenceExpected = -1
	s := mustServer(t, config)
	var announcers sync.WaitGroup
	for n := range 4 {
		announcers.Go(func() {
			for round := range 5000 {
				// Some are shared; of the others, one that is forgotten stays for ever.
				id := fmt.Sprint("shared-", (n*7+round)%16)
				if round%3 != 0 {
					id = fmt.Sprint(n, "-", round)
				}
				if _, _, err := s.announce(request(id, "host", time.Second)); err != nil {
					t.Error(err)
				}
				if round%5 == 0 {
					// Another goroutine may have been faster.
					_, _ = s.DeleteHost(t.Context(), &schedulerv2.DeleteHostRequest{HostId: id})
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		announcers.Wait()
		close(finished)
	}()
	now := time.Duration(0)
	for running := true; running; {
		select {
		case <-finished:
			running = false
		default:
		}
		now += 4 * time.Second
		advance(t, s, now)
	}
	advance(t, s, now+4*time.Second)
	advance(t, s, now+8*time.Second)
	stats := s.wheel.Stats()
	if len(s.hosts) != 0 || stats.Live != 0 {
		t.Errorf("%d hosts in the map and %d in the wheel, want none", len(s.hosts), stats.Live)
	}
	if stats.LeavesTTL == 0 || stats.Left == 0 {
		t.Errorf("%d leaves and %d goodbyes: nothing was tried", stats.LeavesTTL, stats.Left)
	}
	t.Logf("%d registrations, %d leaves, %d goodbyes", stats.Registered, stats.LeavesTTL, stats.Left)
}
