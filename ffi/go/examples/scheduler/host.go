package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// longestCall is the longest that a host waits for an answer.
const longestCall = 5 * time.Second

func hostCommand(ctx context.Context, args []string) error {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	flags := flag.NewFlagSet("scheduler host", flag.ContinueOnError)
	scheduler := flags.String("scheduler", "127.0.0.1:8002", "address of the scheduler")
	id := flags.String("id", hostname, "id of the host")
	ip := flags.String("ip", "127.0.0.1", "IP address of the host")
	port := flags.Int("port", 4000, "port of the host's gRPC service, 1024 to 65534")
	interval := flags.Duration("interval", 30*time.Second, "how often the host announces itself")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *interval <= 0 {
		return errors.New("the interval must be positive")
	}
	conn, err := grpc.NewClient(*scheduler,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// By default gRPC waits up to two minutes before it connects again. A scheduler that restarts should hear of us sooner.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  min(*interval, time.Second),
				Multiplier: backoff.DefaultConfig.Multiplier,
				Jitter:     backoff.DefaultConfig.Jitter,
				MaxDelay:   *interval,
			},
			MinConnectTimeout: longestCall,
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	return announceUntil(ctx, schedulerv2.NewSchedulerClient(conn), *interval, &commonv2.Host{
		Id:           *id,
		Hostname:     hostname,
		Ip:           *ip,
		Port:         int32(*port),
		DownloadPort: int32(*port),
		Os:           runtime.GOOS,
		Name:         *id,
	})
}

// announceUntil announces the host every interval until ctx ends, and then says goodbye. It gives up if the scheduler says
// that the announce itself is wrong.
func announceUntil(ctx context.Context, client schedulerv2.SchedulerClient, interval time.Duration, host *commonv2.Host) error {
	request := &schedulerv2.AnnounceHostRequest{Host: host, Interval: durationpb.New(interval)}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for ctx.Err() == nil {
		if err := announce(client, request, min(interval, longestCall)); status.Code(err) == codes.InvalidArgument {
			return fmt.Errorf("announce: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
	}
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestCall)
	defer cancel()
	_, err := client.DeleteHost(goodbye, &schedulerv2.DeleteHostRequest{HostId: host.GetId()})
	// Who is not found is gone already.
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("say goodbye: %w", err)
	}
	slog.Info("said goodbye", "id", host.GetId())
	return nil
}

// announce announces once. One that gets no answer is not repeated: the next comes soon, and the TTL is twice the interval.
//
// It is not broken off when the host is told to stop: the scheduler could then work on it after the goodbye, and take the
// host for one that came back.
func announce(client schedulerv2.SchedulerClient, request *schedulerv2.AnnounceHostRequest, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	sent := time.Now()
	if _, err := client.AnnounceHost(ctx, request); err != nil {
		slog.Warn("announce failed", "id", request.GetHost().GetId(), "sent", sent, "error", err)
		return err
	}
	slog.Info("announced", "id", request.GetHost().GetId(), "sent", sent, "answered", time.Now())
	return nil
}
