// Command scheduler is Dragonfly's scheduler without a manager, with hostwheel. It is put together from Dragonfly's own packages
// as Dragonfly does it; what hostwheel adds is in the functions assemble and share.
//
//	go run . -mode enforce -grace 15s
//	go run . -mode enforce -redis 127.0.0.1:6379
//
// With Redis it has persistent and persistent cache hosts as well, which it shares with other schedulers of its cluster.
//
// On -metrics it serves /metrics, for Prometheus, and /report, what the wheel did; and /shared, the same of the hosts in Redis.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	pkgredis "d7y.io/dragonfly/v2/pkg/redis"
	"d7y.io/dragonfly/v2/pkg/rpc"
	"d7y.io/dragonfly/v2/scheduler/config"
	"d7y.io/dragonfly/v2/scheduler/resource/persistent"
	"d7y.io/dragonfly/v2/scheduler/resource/persistentcache"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"d7y.io/dragonfly/v2/scheduler/rpcserver"
	"d7y.io/dragonfly/v2/scheduler/scheduling"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/cluster"
	"github.com/hostwheel/hostwheel/ffi/go/hostwheelprom"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		slog.Error("scheduler failed", "error", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	listen, metrics, folder, redis string
	dragonfly                      *config.Config
	options                        dragonfly.Options
	shared                         cluster.Options
}

func parse(args []string) (*settings, error) {
	s := &settings{dragonfly: config.New()}
	flags := flag.NewFlagSet("scheduler", flag.ContinueOnError)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8002", "address of the gRPC service")
	flags.StringVar(&s.metrics, "metrics", "127.0.0.1:8000", "address of /metrics and /report")
	flags.StringVar(&s.folder, "folder", filepath.Join(os.TempDir(), "hostwheel-dragonfly"), "folder for Dragonfly's files")
	flags.DurationVar(&s.dragonfly.Scheduler.GC.HostGCInterval, "scan", s.dragonfly.Scheduler.GC.HostGCInterval,
		"how often Dragonfly scans its hosts")
	flags.Func("mode", "off, shadow or enforce (default off)", func(name string) (err error) {
		s.options.Mode, err = dragonfly.ParseMode(name)
		return err
	})
	flags.Func("backend", "implementation of the wheel: pure, native or default", func(name string) (err error) {
		s.options.Backend, err = hostwheel.ParseBackend(name)
		return err
	})
	flags.DurationVar(&s.options.HostTTL, "host-ttl", 0, "TTL of hosts that name no interval; 0: they never expire")
	flags.DurationVar(&s.options.Backstop, "backstop", 0, "how often to look for hosts that the wheel lost (default 1h)")
	grace := flags.Duration("grace", hostwheel.DefaultGrace, "how long a host past twice its interval is waited for; 0: not at all")
	flags.StringVar(&s.redis, "redis", "", "address of the Redis of the cluster; empty: none")
	flags.UintVar(&s.dragonfly.Manager.SchedulerClusterID, "cluster", 1, "number of the cluster, for Redis")
	flags.DurationVar(&s.shared.Skew, "skew", 0, "by how much the clocks of schedulers and Redis may differ (default 5s)")
	flags.DurationVar(&s.shared.Discover, "discover", 0, "how long a look at all ids in Redis takes (default 5m)")
	flags.BoolVar(&s.shared.LeavePeers, "leave-peers", false, "delete a host's peers in Redis with it")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.options.Grace = *grace
	if *grace == 0 {
		s.options.Grace = hostwheel.Off
	}
	s.shared.Backend, s.shared.Grace, s.shared.HostTTL = s.options.Backend, s.options.Grace, s.options.HostTTL
	return s, nil
}

// scheduler is what is started together.
type scheduler struct {
	server   *grpc.Server
	resource *dragonfly.Resource
	gc       pkggc.GC
	// shared watches the hosts in Redis; nil without Redis, or in another mode than Enforce.
	shared *cluster.Watch
}

// assemble makes the scheduler.
func assemble(s *settings) (*scheduler, error) {
	dynconfig, err := config.NewDynconfig(nil, filepath.Join(s.folder, "dynconfig.yaml"), s.dragonfly)
	if err != nil {
		return nil, err
	}

	// Three changes to what Dragonfly's scheduler.New does: the garbage collection is wrapped,
	gc := dragonfly.WrapGC(pkggc.New())
	inner, err := standard.New(s.dragonfly, gc, rpc.NewInsecureCredentials())
	if err != nil {
		return nil, err
	}
	// and the resource,
	s.options.GC = gc
	resource, err := dragonfly.Wrap(inner, s.options)
	if err != nil {
		return nil, err
	}
	// and the server has interceptors.
	all := &scheduler{resource: resource, gc: gc}
	interceptors := resource.ServerOptions()
	var hosts persistent.Resource
	var cached persistentcache.Resource
	if s.redis != "" {
		if hosts, cached, err = share(s, all); err != nil {
			return nil, err
		}
		if all.shared != nil {
			interceptors = append(interceptors, all.shared.ServerOptions()...)
		}
	}
	scheduling := scheduling.New(&s.dragonfly.Scheduler, hosts, cached, dynconfig, s.folder)
	all.server = rpcserver.New(s.dragonfly, resource, hosts, cached, scheduling, nil, dynconfig, interceptors...)
	return all, nil
}

// share has the scheduler share hosts with others, and watch them in the mode Enforce. In scheduler.New that is: the garbage
// collection is wrapped once more, and there is a watch.
func share(s *settings, all *scheduler) (persistent.Resource, persistentcache.Resource, error) {
	client, err := pkgredis.NewRedis(&redis.UniversalOptions{Addrs: []string{s.redis}})
	if err != nil {
		return nil, nil, err
	}
	gc := cluster.WrapGC(all.gc)
	hosts, err := persistent.New(s.dragonfly, gc, client, rpc.NewInsecureCredentials())
	if err != nil {
		return nil, nil, err
	}
	cached, err := persistentcache.New(s.dragonfly, gc, client, rpc.NewInsecureCredentials())
	if err != nil {
		return nil, nil, err
	}
	all.gc = gc
	if s.options.Mode == dragonfly.Enforce {
		s.shared.Redis, s.shared.ClusterID, s.shared.GC = client, s.dragonfly.Manager.SchedulerClusterID, gc
		all.shared, err = cluster.New(s.shared)
	}
	return hosts, cached, err
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	all, err := assemble(s)
	if err != nil {
		return err
	}
	calls, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	defer calls.Close()
	scrapes, err := net.Listen("tcp", s.metrics)
	if err != nil {
		return err
	}
	defer scrapes.Close()

	failed := make(chan error, 3)
	pages := &http.Server{Handler: pages(all), ReadHeaderTimeout: 5 * time.Second}
	all.gc.Start(context.WithoutCancel(ctx))
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	if all.shared != nil {
		// What it says of its end it has logged; Dragonfly's scan goes on then.
		watch.Go(func() { _ = all.shared.Run(watching) })
	}
	go func() { failed <- all.resource.Serve() }()
	go func() { failed <- all.server.Serve(calls) }()
	go func() { failed <- pages.Serve(scrapes) }()
	slog.Info("serving", "grpc", calls.Addr(), "metrics", scrapes.Addr(), "mode", s.options.Mode, "backend", all.resource.Backend())

	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	// In Dragonfly's order: the resource first, the calls last.
	stopWatching()
	watch.Wait()
	all.resource.Stop()
	all.gc.Stop()
	cutOff := time.AfterFunc(5*time.Second, all.server.Stop)
	all.server.GracefulStop()
	cutOff.Stop()
	fmt.Print(all.resource.Report())
	return errors.Join(err, pages.Close())
}

// pages serves the metrics and the reports.
func pages(all *scheduler) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(hostwheelprom.NewCollector(all.resource))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/report", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		// Refused only if the caller is gone.
		_ = json.NewEncoder(answer).Encode(all.resource.Report())
	})
	if all.shared != nil {
		registry.MustRegister(cluster.NewCollector(all.shared))
		registry.MustRegister(hostwheelprom.NewCollector(all.shared, hostwheelprom.WithNamespace("hostwheel_shared")))
		mux.HandleFunc("/shared", func(answer http.ResponseWriter, _ *http.Request) {
			answer.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(answer).Encode(all.shared.Report())
		})
	}
	return mux
}
