//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"d7y.io/dragonfly/v2/pkg/types"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"google.golang.org/grpc"
)

// batch is how many requests are made at a time, outside of what is measured: so few that they are in the processor's cache
// when they are handled, as one is that has just been decoded.
const batch = 64

// fleet is the hosts that everything is measured with, and the requests by which they announce themselves.
type fleet struct {
	// ids have 64 bytes, as Dragonfly's.
	ids []string
	// order is the random one in which they announce themselves; next is whose turn it is.
	order    []int
	next     int
	requests [batch]*schedulerv2.AnnounceHostRequest
}

func newFleet(hosts int) *fleet {
	f := &fleet{order: rand.New(rand.NewPCG(3350, 0)).Perm(hosts)}
	for i := range hosts {
		f.ids = append(f.ids, idOf("host", i))
	}
	for i := range f.requests {
		f.requests[i] = newRequest()
	}
	return f
}

func idOf(kind string, number int) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, kind, number)))
}

// newRequest is what a client says of its host, all of it but its id and interval.
func newRequest() *schedulerv2.AnnounceHostRequest {
	text := func(s string) *string { return &s }
	number := func(n uint64) *uint64 { return &n }
	return &schedulerv2.AnnounceHostRequest{
		Host: &commonv2.Host{
			Type: uint32(types.HostTypeNormal), Hostname: "host-1", Name: "host-1", Ip: "10.0.0.1", Port: 4000, DownloadPort: 4001,
			ProxyPort: 4002, Os: "linux", Platform: "ubuntu", PlatformFamily: "debian", PlatformVersion: "24.04",
			KernelVersion: "6.8.0-50-generic", SchedulerClusterId: 1,
			Cpu: &commonv2.CPU{LogicalCount: 64, PhysicalCount: 32, Percent: 20, ProcessPercent: 1,
				Times: &commonv2.CPUTimes{User: 1, System: 2, Idle: 3, Nice: 4, Iowait: 5, Irq: 6, Softirq: 7}},
			Memory: &commonv2.Memory{Total: 1 << 38, Available: 1 << 37, Used: 1 << 37, UsedPercent: 50, ProcessUsedPercent: 1,
				Free: 1 << 37},
			Network: &commonv2.Network{TcpConnectionCount: 1000, UploadTcpConnectionCount: 10, Location: text("area|country|city"),
				Idc: text("idc-1"), MaxRxBandwidth: 1 << 33, RxBandwidth: number(1 << 30), MaxTxBandwidth: 1 << 33, TxBandwidth: number(1 << 30)},
			Disk: &commonv2.Disk{Total: 1 << 42, Free: 1 << 41, Used: 1 << 41, UsedPercent: 50, InodesTotal: 1 << 28, InodesUsed: 1 << 27,
				InodesFree: 1 << 27, InodesUsedPercent: 50, ReadBandwidth: 1 << 20, WriteBandwidth: 1 << 20},
			Build: &commonv2.Build{GitVersion: "v2.5.1", GitCommit: text("abcdef0"), Platform: text("linux")},
		},
	}
}

// prepare makes the requests of the hosts whose turn it is, each with an id of its own, as one that came with a request.
func (f *fleet) prepare() {
	for _, r := range f.requests {
		r.Host.Id = strings.Clone(f.ids[f.order[f.next]])
		f.next = (f.next + 1) % len(f.order)
	}
}

// call has at least so many hosts announce themselves, and returns the processor time per call in nanoseconds.
func (f *fleet) call(handler grpc.UnaryHandler, calls int) float64 {
	var took time.Duration
	done := 0
	for ; done < calls; done += batch {
		f.prepare()
		start := processor()
		for _, r := range f.requests {
			_, err := handler(context.Background(), r)
			must(err)
		}
		took += since(start)
	}
	return float64(took) / float64(done)
}

// newHost is a host as the handler makes it.
func newHost(id string, every time.Duration) *standard.Host {
	return standard.NewHost(strings.Clone(id), "10.0.0.1", "host-1", "host-1", 4000, 4001, 4002, types.HostTypeNormal,
		standard.WithOS("linux"), standard.WithAnnounceInterval(every))
}
