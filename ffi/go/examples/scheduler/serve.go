package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/hostwheelprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// patience is how long calls that are under way may take when the scheduler stops.
const patience = 5 * time.Second

type serveOptions struct {
	listen, metrics, snapshot string
	config                    hostwheel.Config[string]
}

func serveCommand(ctx context.Context, args []string) error {
	o := serveOptions{config: hostwheel.Config[string]{Backend: hostwheel.DefaultBackend}}
	flags := flag.NewFlagSet("scheduler serve", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8002", "address of the gRPC service")
	flags.StringVar(&o.metrics, "metrics", "127.0.0.1:8000", "address of /metrics, for Prometheus")
	flags.StringVar(&o.snapshot, "snapshot", "", "file that the hosts are restored from at the start and saved to at the end; none: not at all")
	flags.DurationVar(&o.config.HostTTL, "host-ttl", time.Hour, "TTL of hosts that announce no interval")
	grace := flags.Duration("grace", 15*time.Second, "how long a host past its TTL stays suspect before it leaves; 0: it leaves at once")
	flags.DurationVar(&o.config.MinInterval, "min-interval", time.Second, "what announced intervals below it are raised to")
	flags.Func("backend", "implementation of the wheel: pure, native or default", func(name string) (err error) {
		o.config.Backend, err = hostwheel.ParseBackend(name)
		return err
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	o.config.Grace = *grace
	if *grace == 0 {
		o.config.Grace = hostwheel.Off
	}
	return serve(ctx, o)
}

// serve runs the scheduler until ctx ends.
func serve(ctx context.Context, o serveOptions) error {
	s, err := newServer(o.config)
	if err != nil {
		return err
	}
	if o.snapshot != "" {
		restored, err := s.restore(o.snapshot)
		if err != nil {
			return err
		}
		slog.Info("restored", "hosts", restored)
	}
	rpcs, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer rpcs.Close()
	scrapes, err := net.Listen("tcp", o.metrics)
	if err != nil {
		return err
	}
	defer scrapes.Close()

	failed := make(chan error, 3)
	observed := make(chan error, 1)
	grpcServer := grpc.NewServer(grpc.WaitForHandlers(true))
	schedulerv2.RegisterSchedulerServer(grpcServer, s)
	httpServer := &http.Server{Handler: metricsHandler(s.wheel), ReadHeaderTimeout: patience}
	// The wheel runs on after ctx has ended, until the last call was answered.
	go func() {
		observed <- s.wheel.Run(context.WithoutCancel(ctx))
		failed <- errors.New("the wheel has stopped")
	}()
	go func() { failed <- grpcServer.Serve(rpcs) }()
	go func() { failed <- httpServer.Serve(scrapes) }()
	slog.Info("serving", "grpc", rpcs.Addr(), "metrics", scrapes.Addr(), "backend", s.wheel.Backend())

	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	return errors.Join(err, s.stop(grpcServer, observed, o.snapshot), httpServer.Close())
}

// stop stops what depends on something before that: first no more announces, then no more callbacks, and then, when
// nothing can change any more, the snapshot.
func (s *server) stop(grpcServer *grpc.Server, observed <-chan error, snapshot string) error {
	slog.Info("stopping")
	// Calls that hang are cut off.
	cutOff := time.AfterFunc(patience, grpcServer.Stop)
	grpcServer.GracefulStop()
	cutOff.Stop()

	// Close only asks; when Run has returned, no callback runs any more.
	err := errors.Join(s.wheel.Close(), <-observed)
	if snapshot != "" {
		err = errors.Join(err, s.save(snapshot))
	}
	if err == nil {
		slog.Info("stopped", "hosts", len(s.hosts))
	}
	return err
}

// metricsHandler serves the metrics of the wheel and of the process.
func metricsHandler(wheel hostwheelprom.Wheel) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		hostwheelprom.NewCollector(wheel),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}
