package dragonfly

import (
	"sync"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"google.golang.org/grpc"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// Resource is a scheduler's resource whose hosts are watched. Give it to rpcserver.New, together with ServerOptions, and
// call Serve and Stop where those of the wrapped one were called. All methods may be called from all goroutines.
type Resource struct {
	standard.Resource
	// watch is nil in the mode Off.
	watch *watch
	stop  sync.Once
}

// Wrap has the hosts of a resource watched, also those that it knows already. The resource must have been made with
// options.GC; its host manager must not be used past this one any more.
//
// Errors: ErrOptions, and what hostwheel.New says of the wheel's settings. The resource is then as before.
func Wrap(inner standard.Resource, options Options) (*Resource, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	if options.Mode == Off {
		return &Resource{Resource: inner}, nil
	}
	w, err := newWatch(inner, options)
	if err != nil {
		return nil, err
	}
	if err := options.GC.attach(w); err != nil {
		w.wheel.Close()
		return nil, err
	}
	w.adoptAll()
	return &Resource{Resource: inner, watch: w}, nil
}

// HostManager manages the hosts, and tells the wheel of them.
func (r *Resource) HostManager() standard.HostManager {
	if r.watch == nil {
		return r.Resource.HostManager()
	}
	return r.watch.manager
}

// Serve starts to watch, and serves the wrapped resource until Stop. Before it, no host is removed.
func (r *Resource) Serve() error {
	if r.watch != nil {
		r.watch.start()
	}
	return r.Resource.Serve()
}

// Stop stops watching and the wrapped resource; once, however often it is called. The wheel and its back-stop remove no host
// after it returned. Dragonfly's server answers calls for some time after that, which do what they do without this package.
func (r *Resource) Stop() {
	r.stop.Do(func() {
		if r.watch != nil {
			r.watch.stop()
		}
		r.Resource.Stop()
	})
}

// ServerOptions are the interceptors, as rpcserver.New takes them. They run after Dragonfly's own, so what those refuse is
// not heard.
func (r *Resource) ServerOptions() []grpc.ServerOption {
	if r.watch == nil {
		return nil
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(r.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(r.StreamServerInterceptor()),
	}
}

// Stats are the counters of the wheel; all 0 in the mode Off. With Backend it is what hostwheelprom takes.
func (r *Resource) Stats() hostwheel.Stats {
	if r.watch == nil {
		return hostwheel.Stats{}
	}
	return r.watch.wheel.Stats()
}

// Backend says which implementation of the wheel works; DefaultBackend in the mode Off.
func (r *Resource) Backend() hostwheel.Backend {
	if r.watch == nil {
		return hostwheel.DefaultBackend
	}
	return r.watch.wheel.Backend()
}

// Release has the wheel's brake let those hosts go that wait for it now.
//
// Errors: hostwheel.ErrClosed after Stop.
func (r *Resource) Release() error {
	if r.watch == nil {
		return nil
	}
	return r.watch.wheel.Release()
}
