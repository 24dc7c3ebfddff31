package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"github.com/hostwheel/hostwheel/ffi/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// server is the host part of a scheduler. The wheel knows who is alive; the map knows what else there is to know of them.
//
// Both are changed together under mu, and the leave callback takes mu too. That rules out two mistakes:
//
//   - A host is registered, and before its metadata is in the map it is found gone: its leave would find nothing to
//     delete, and the metadata that comes afterwards would stay for ever. But the registration and the map's change are one
//     step for the callback, so a leave always finds the entry of the handle that it is about.
//   - A host is found gone and comes back before the callback gets to it, under a new handle: the callback would delete a
//     living host. But it compares handles, and leaves an entry alone that is not the one it knows.
//
// The wheel makes no callback inside of a method, so mu may be held while it is called. An announce is short; a scheduler
// with very many of them would keep several such maps, by a hash of the id.
type server struct {
	schedulerv2.UnimplementedSchedulerServer

	// The wheel's value is the address of a host: what callbacks log without the lock.
	wheel *hostwheel.Wheel[string]

	mu    sync.Mutex
	hosts map[string]*entry
}

// entry is what the scheduler knows of one host.
type entry struct {
	// handle names the incarnation of the host that this is about.
	handle uint64
	// suspect: it is past its TTL and within its grace.
	suspect bool
	// metadata is replaced by each announce and never changed, so it may be read without the lock.
	metadata *commonv2.Host
}

// newServer makes a server with a wheel of its own. The callbacks of the configuration are the server's.
func newServer(config hostwheel.Config[string]) (*server, error) {
	s := &server{hosts: make(map[string]*entry)}
	wheel, err := hostwheel.New(s.callbacks(config))
	if err != nil {
		return nil, err
	}
	s.wheel = wheel
	return s, nil
}

// callbacks is the configuration with the server's callbacks.
func (s *server) callbacks(config hostwheel.Config[string]) hostwheel.Config[string] {
	config.Leave = s.onLeave
	config.Suspect = func(e *hostwheel.Event[string]) { s.onDoubt(e, true) }
	config.Recovered = func(e *hostwheel.Event[string]) { s.onDoubt(e, false) }
	return config
}

// AnnounceHost says that a host lives, and how often it says so. Its metadata replaces what it said before.
func (s *server) AnnounceHost(_ context.Context, request *schedulerv2.AnnounceHostRequest) (*emptypb.Empty, error) {
	if err := request.Validate(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if interval := request.GetInterval(); interval != nil {
		if err := interval.CheckValid(); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	host := request.GetHost()
	member, outcome, err := s.announce(request)
	if err != nil {
		return nil, rpcError(err)
	}
	if outcome == hostwheel.Registered {
		slog.Info("host registered", "id", host.GetId(), "address", member.Value(), "interval", request.GetInterval().AsDuration())
	}
	return &emptypb.Empty{}, nil
}

func (s *server) announce(request *schedulerv2.AnnounceHostRequest) (*hostwheel.Member[string], hostwheel.Outcome, error) {
	host := request.GetHost()
	s.mu.Lock()
	defer s.mu.Unlock()
	// Without an interval this is 0, and the host TTL applies.
	member, outcome, err := s.wheel.Announce(host.GetId(), request.GetInterval().AsDuration(), address(host))
	if err != nil {
		return nil, 0, err
	}
	known, ok := s.hosts[member.ID()]
	if !ok || known.handle != member.Handle() {
		// Also in place of an incarnation that is gone and whose leave is on its way.
		known = &entry{handle: member.Handle()}
		s.hosts[member.ID()] = known
	}
	known.metadata = host
	return member, outcome, nil
}

// ListHosts lists all hosts, suspects last: who needs a host takes one from the front. Each part is sorted by id.
func (s *server) ListHosts(_ context.Context, request *schedulerv2.ListHostsRequest) (*schedulerv2.ListHostsResponse, error) {
	if err := request.Validate(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.mu.Lock()
	var live, suspects []*commonv2.Host
	for _, known := range s.hosts {
		switch {
		case request.Type != nil && known.metadata.GetType() != request.GetType():
		case known.suspect:
			suspects = append(suspects, known.metadata)
		default:
			live = append(live, known.metadata)
		}
	}
	s.mu.Unlock()
	byID := func(a, b *commonv2.Host) int { return cmp.Compare(a.GetId(), b.GetId()) }
	slices.SortFunc(live, byID)
	slices.SortFunc(suspects, byID)
	return &schedulerv2.ListHostsResponse{Hosts: append(live, suspects...)}, nil
}

// DeleteHost is a host's goodbye.
func (s *server) DeleteHost(_ context.Context, request *schedulerv2.DeleteHostRequest) (*emptypb.Empty, error) {
	if err := request.Validate(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Not found is also a host whose leave is on its way; its callback deletes the entry.
	if err := s.wheel.Leave(request.GetHostId()); err != nil {
		return nil, rpcError(err)
	}
	delete(s.hosts, request.GetHostId())
	slog.Info("host said goodbye", "id", request.GetHostId())
	return &emptypb.Empty{}, nil
}

// onLeave deletes a host that is gone, unless it has come back.
func (s *server) onLeave(e *hostwheel.Event[string]) hostwheel.Verdict {
	s.mu.Lock()
	known, ok := s.hosts[e.Member.ID()]
	same := ok && known.handle == e.Member.Handle()
	if same {
		delete(s.hosts, e.Member.ID())
	}
	s.mu.Unlock()
	slog.Info("host is gone", "id", e.Member.ID(), "address", e.Member.Value(), "reason", e.Reason, "lateness", e.Lateness,
		"away", e.Away, "returned", !same)
	return hostwheel.Done
}

// onDoubt marks a host that has become suspect, or is trusted again. The events of one host come in order.
func (s *server) onDoubt(e *hostwheel.Event[string], suspect bool) {
	s.mu.Lock()
	if known, ok := s.hosts[e.Member.ID()]; ok && known.handle == e.Member.Handle() {
		known.suspect = suspect
	}
	s.mu.Unlock()
	slog.Info("host is "+e.Kind.String(), "id", e.Member.ID(), "address", e.Member.Value())
}

// address is where a host's gRPC service listens.
func address(host *commonv2.Host) string {
	return net.JoinHostPort(host.GetIp(), strconv.Itoa(int(host.GetPort())))
}

// rpcError is the gRPC status of an error of the wheel.
func rpcError(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, hostwheel.ErrInvalid):
		code = codes.InvalidArgument
	case errors.Is(err, hostwheel.ErrFull):
		code = codes.ResourceExhausted
	case errors.Is(err, hostwheel.ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, hostwheel.ErrNotFound):
		code = codes.NotFound
	}
	return status.Error(code, err.Error())
}
