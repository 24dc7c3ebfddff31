//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	managertypes "d7y.io/dragonfly/v2/manager/types"
	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/scheduler/config"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"d7y.io/dragonfly/v2/scheduler/service"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly"
)

// alone is the subject without a wheel.
const alone = "Dragonfly"

// subject is a scheduler's resource, with a wheel or without.
type subject struct {
	name    string
	manager standard.HostManager
	// watched is nil without a wheel.
	watched *dragonfly.Resource
	// announce is what a server calls for an announce. pass is the same with a handler that does nothing, so what an
	// announce costs in addition; without a wheel it is what the measuring itself costs.
	announce, pass grpc.UnaryHandler
}

// rig is one resource, with the hosts of a fleet, and the subjects over it: all of them have the same hosts, so that where
// those lie in memory is no difference between them.
type rig struct {
	fleet *fleet
	// hosts are in the order of the fleet's ids.
	hosts    []*standard.Host
	subjects []*subject
}

// unserved is a resource without what it serves beside the host manager.
type unserved struct{ standard.Resource }

func (unserved) Serve() error { return nil }
func (unserved) Stop()        {}

// settings are a cluster's, which come from a manager otherwise.
type settings struct{ config.DynconfigInterface }

func (settings) GetSchedulerClusterClientConfig() (managertypes.SchedulerClusterClientConfig, error) {
	return managertypes.SchedulerClusterClientConfig{LoadLimit: 50}, nil
}

// newRig makes a resource whose hosts announce themselves with an interval, and were heard at the time that heard says of
// each, or now if it is nil.
func newRig(f *fleet, every time.Duration, heard func(host int) time.Time, backends ...hostwheel.Backend) *rig {
	debug.FreeOSMemory()
	for _, request := range f.requests {
		request.Interval = durationpb.New(every)
	}
	resource, err := standard.New(config.New(), pkggc.New(), insecure.NewCredentials())
	must(err)
	inner := unserved{resource}
	r := &rig{fleet: f}
	for i, id := range f.ids {
		host := newHost(id, every)
		if heard != nil {
			host.UpdatedAt.Store(heard(i))
		}
		inner.HostManager().Store(host)
		r.hosts = append(r.hosts, host)
	}
	r.subjects = append(r.subjects, newSubject(alone, inner, nil))
	for _, b := range backends {
		r.subjects = append(r.subjects, r.watch(inner, b))
	}
	debug.FreeOSMemory()
	return r
}

// watch puts a wheel around a resource, and waits until it has looked at all hosts: until then each announce reports its host.
func (r *rig) watch(inner standard.Resource, backend hostwheel.Backend) *subject {
	// A garbage collection of its own, with the same scan: there may be several wheels.
	gc := dragonfly.WrapGC(pkggc.New())
	must(gc.Add(pkggc.Task{ID: standard.GCHostID, Interval: interval, Timeout: interval, Runner: inner.HostManager()}))
	watched, err := dragonfly.Wrap(inner, dragonfly.Options{Mode: dragonfly.Enforce, GC: gc, Backend: backend})
	must(err)
	must(watched.Serve())
	for watched.Stats().Visits < uint64(len(r.hosts)) {
		time.Sleep(time.Millisecond)
	}
	return newSubject(backend.String(), watched, watched)
}

func newSubject(name string, resource standard.Resource, watched *dragonfly.Resource) *subject {
	v2 := service.NewV2(config.New(), resource, nil, nil, nil, nil, nil, settings{})
	s := &subject{
		name: name, manager: resource.HostManager(), watched: watched,
		announce: func(ctx context.Context, request any) (any, error) {
			return nil, v2.AnnounceHost(ctx, request.(*schedulerv2.AnnounceHostRequest))
		},
		pass: func(context.Context, any) (any, error) { return nil, nil },
	}
	if watched != nil {
		s.announce = through(watched.UnaryServerInterceptor(), s.announce)
		s.pass = through(watched.UnaryServerInterceptor(), s.pass)
	}
	return s
}

// through is a handler behind an interceptor as gRPC has it: a closure more for each call.
func through(interceptor grpc.UnaryServerInterceptor, handler grpc.UnaryHandler) grpc.UnaryHandler {
	info := &grpc.UnaryServerInfo{}
	return func(ctx context.Context, request any) (any, error) {
		return interceptor(ctx, request, info, func(ctx context.Context, request any) (any, error) { return handler(ctx, request) })
	}
}

// close stops the wheels, and checks that nobody was lost: then something else was measured than living hosts.
func (r *rig) close() {
	for _, s := range r.subjects {
		if s.watched == nil {
			continue
		}
		report := s.watched.Report()
		s.watched.Stop()
		if report.Removed > 0 || report.Untracked > 0 {
			panic(fmt.Sprint("the wheel lost hosts that live: ", report))
		}
	}
	if known := r.subjects[0].manager.Len(); known != len(r.hosts) {
		panic(fmt.Sprint("the scan lost hosts that live: ", known, " are left"))
	}
}
