// Command scheduler is Dragonfly's scheduler on one machine, without manager and Redis, with hostwheel. It is put together
// from Dragonfly's own packages as Dragonfly does it; what hostwheel adds is in the function assemble.
//
//	go run . -mode enforce -grace 15s
//
// On -metrics it serves /metrics, for Prometheus, and /report, what the wheel did.
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
	"syscall"
	"time"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/pkg/rpc"
	"d7y.io/dragonfly/v2/scheduler/config"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"d7y.io/dragonfly/v2/scheduler/rpcserver"
	"d7y.io/dragonfly/v2/scheduler/scheduling"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly"
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
	listen, metrics, folder string
	dragonfly               *config.Config
	options                 dragonfly.Options
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
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.options.Grace = *grace
	if *grace == 0 {
		s.options.Grace = hostwheel.Off
	}
	return s, nil
}

// assemble makes the scheduler's server and its resource, and the garbage collection, which are started together.
func assemble(s *settings) (*grpc.Server, *dragonfly.Resource, pkggc.GC, error) {
	dynconfig, err := config.NewDynconfig(nil, filepath.Join(s.folder, "dynconfig.yaml"), s.dragonfly)
	if err != nil {
		return nil, nil, nil, err
	}

	// Three changes to what Dragonfly's scheduler.New does: the garbage collection is wrapped,
	gc := dragonfly.WrapGC(pkggc.New())
	inner, err := standard.New(s.dragonfly, gc, rpc.NewInsecureCredentials())
	if err != nil {
		return nil, nil, nil, err
	}
	// and the resource,
	s.options.GC = gc
	resource, err := dragonfly.Wrap(inner, s.options)
	if err != nil {
		return nil, nil, nil, err
	}
	// and the server has interceptors.
	scheduling := scheduling.New(&s.dragonfly.Scheduler, nil, nil, dynconfig, s.folder)
	server := rpcserver.New(s.dragonfly, resource, nil, nil, scheduling, nil, dynconfig, resource.ServerOptions()...)
	return server, resource, gc, nil
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	server, resource, gc, err := assemble(s)
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
	pages := &http.Server{Handler: pages(resource), ReadHeaderTimeout: 5 * time.Second}
	gc.Start(context.WithoutCancel(ctx))
	go func() { failed <- resource.Serve() }()
	go func() { failed <- server.Serve(calls) }()
	go func() { failed <- pages.Serve(scrapes) }()
	slog.Info("serving", "grpc", calls.Addr(), "metrics", scrapes.Addr(), "mode", s.options.Mode, "backend", resource.Backend())

	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	// In Dragonfly's order: the resource first, the calls last.
	resource.Stop()
	gc.Stop()
	cutOff := time.AfterFunc(5*time.Second, server.Stop)
	server.GracefulStop()
	cutOff.Stop()
	fmt.Print(resource.Report())
	return errors.Join(err, pages.Close())
}

// pages serves the metrics and the report.
func pages(resource *dragonfly.Resource) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(hostwheelprom.NewCollector(resource))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/report", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		// Refused only if the caller is gone.
		_ = json.NewEncoder(answer).Encode(resource.Report())
	})
	return mux
}
