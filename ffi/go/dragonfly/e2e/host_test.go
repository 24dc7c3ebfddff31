//go:build unix

package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv1 "d7y.io/api/v2/pkg/apis/scheduler/v1"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The host command: a host process, which announces itself and does what it is told line by line on its standard input.

const (
	normal = "normal"
	seed   = "super"
)

type host struct {
	id, api, kind string
	connection    *grpc.ClientConn
	// interval is how often it announces itself; named whether it says so.
	interval time.Duration
	named    bool
	closing  context.CancelFunc // ends the stream of its download
}

func hostCommand(args []string) error {
	h := host{}
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	address := flags.String("scheduler", "", "")
	flags.StringVar(&h.id, "id", "", "")
	flags.StringVar(&h.api, "api", "v2", "")
	flags.StringVar(&h.kind, "type", normal, "")
	flags.DurationVar(&h.interval, "interval", time.Second, "")
	flags.BoolVar(&h.named, "named", true, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if h.connection, err = connect(*address); err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	orders := make(chan string)
	go func() {
		// The test holds the other end. However it ends, so do we.
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
			orders <- scanner.Text()
		}
		os.Exit(3)
	}()
	return h.live(asked, orders)
}

func connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}, MinConnectTimeout: time.Second}))
}

// live announces the host until it is told to say goodbye.
func (h *host) live(goodbye <-chan os.Signal, orders <-chan string) error {
	next := time.NewTimer(0)
	due := time.Now()
	for {
		select {
		case <-goodbye:
			return h.sayGoodbye()
		case <-next.C:
			h.announce()
			due = due.Add(h.interval)
			next.Reset(time.Until(due))
		case order := <-orders:
			word, rest, _ := strings.Cut(order, " ")
			length, _ := time.ParseDuration(rest)
			switch word {
			case "interval": // from the next announce on, which is now
				h.interval = length
				due = time.Now()
				next.Reset(0)
			case "skip": // the next announce comes so long after the last
				due = due.Add(length - h.interval)
				next.Reset(time.Until(due))
			case "pause":
				next.Stop()
			case "download":
				if err := h.download(); err != nil {
					return err
				}
			case "finish":
				h.closing()
			}
			fmt.Println("obeyed", order)
		}
	}
}

// announce announces the host once, by its API.
func (h *host) announce() {
	ctx, cancel := context.WithTimeout(context.Background(), h.interval)
	defer cancel()
	sent := time.Now()
	var err error
	if h.api == "v1" {
		_, err = schedulerv1.NewSchedulerClient(h.connection).AnnounceHost(ctx, &schedulerv1.AnnounceHostRequest{
			Id: h.id, Type: h.kind, Hostname: h.id, Ip: "127.0.0.1", Port: 4000, DownloadPort: 4001,
			// All of these must be there.
			Cpu: &schedulerv1.CPU{Times: &schedulerv1.CPUTimes{}}, Memory: &schedulerv1.Memory{}, Network: &schedulerv1.Network{}, Disk: &schedulerv1.Disk{},
			Build: &schedulerv1.Build{}})
	} else {
		_, err = schedulerv2.NewSchedulerClient(h.connection).AnnounceHost(ctx, announcement(h.id, h.kind, h.interval, h.named))
	}
	if err != nil {
		fmt.Println("failed", sent.UnixNano(), time.Now().UnixNano(), err)
		return
	}
	fmt.Println("announced", sent.UnixNano(), time.Now().UnixNano())
}

func announcement(id, kind string, interval time.Duration, named bool) *schedulerv2.AnnounceHostRequest {
	request := &schedulerv2.AnnounceHostRequest{Host: &commonv2.Host{
		Id: id, Hostname: id, Name: id, Ip: "127.0.0.1", Port: 4000, DownloadPort: 4001,
		// With Redis, Dragonfly's handler panics without these.
		Cpu: &commonv2.CPU{Times: &commonv2.CPUTimes{}}, Memory: &commonv2.Memory{}, Network: &commonv2.Network{}, Disk: &commonv2.Disk{},
		Build: &commonv2.Build{}}}
	if kind == seed {
		request.Host.Type = 1
	}
	if named {
		request.Interval = durationpb.New(interval)
	}
	return request
}

// download registers a peer, and leaves the stream open on which it would report.
func (h *host) download() error {
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := schedulerv2.NewSchedulerClient(h.connection).AnnouncePeer(ctx)
	if err != nil {
		cancel()
		return err
	}
	var once sync.Once
	h.closing = func() {
		once.Do(func() {
			_ = stream.CloseSend()
			time.AfterFunc(time.Second, cancel)
		})
	}
	if err := stream.Send(&schedulerv2.AnnouncePeerRequest{
		HostId: h.id, TaskId: "task of " + h.id, PeerId: "peer of " + h.id,
		Request: &schedulerv2.AnnouncePeerRequest_RegisterPeerRequest{RegisterPeerRequest: &schedulerv2.RegisterPeerRequest{
			Download: &commonv2.Download{Url: "http://example.org/" + h.id, NeedBackToSource: true}}},
	}); err != nil {
		return err
	}
	// The scheduler's word that the peer is to fetch the source itself.
	_, err = stream.Recv()
	return err
}

func (h *host) sayGoodbye() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	if h.api == "v1" {
		_, err = schedulerv1.NewSchedulerClient(h.connection).LeaveHost(ctx, &schedulerv1.LeaveHostRequest{Id: h.id})
	} else {
		_, err = schedulerv2.NewSchedulerClient(h.connection).DeleteHost(ctx, &schedulerv2.DeleteHostRequest{HostId: h.id})
	}
	return err
}
