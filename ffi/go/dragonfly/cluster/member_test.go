//go:build unix

package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// asMember has the test binary be a scheduler of a cluster.
const asMember = "HOSTWHEEL_TEST_AS_MEMBER"

func TestMain(m *testing.M) {
	if os.Getenv(asMember) == "" {
		flag.Parse()
		os.Exit(m.Run())
	}
	if err := memberCommand(os.Args[1:]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// A member is a scheduler process: Dragonfly's resources over Redis, a watch, and hosts that it hears on its standard input,
// many a line. What it hears goes through the interceptor and is stored in Redis: of new hosts all that Dragonfly stores, then
// what an announce changes of it.
type memberProcess struct {
	dragonflys *dragonflys
	client     redis.UniversalClient
	watch      *Watch
	known      map[string]bool
}

func memberCommand(args []string) error {
	flags := flag.NewFlagSet("member", flag.ContinueOnError)
	address := flags.String("redis", "", "")
	backend := flags.String("backend", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b, err := hostwheel.ParseBackend(*backend)
	if err != nil {
		return err
	}
	m := &memberProcess{client: redis.NewClient(&redis.Options{Addr: *address}), known: map[string]bool{}}
	if m.dragonflys, err = openDragonflys(m.client); err != nil {
		return err
	}
	if m.watch, err = New(Options{Redis: m.client, ClusterID: clusterID, GC: m.dragonflys.gc, Backend: b}); err != nil {
		return err
	}
	go func() {
		if err := m.watch.Run(context.Background()); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
	}()
	slog.Info("serving")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "announce":
			nanos, ids, _ := strings.Cut(rest, " ")
			interval, err := strconv.ParseInt(nanos, 10, 64)
			if err != nil {
				return err
			}
			m.hear(strings.Fields(ids), time.Duration(interval))
		case "report":
			text, err := json.Marshal(m.watch.Report())
			if err != nil {
				return err
			}
			fmt.Println("report", rest, string(text))
		}
	}
	return lines.Err()
}

// hear is what a scheduler does with announces.
func (m *memberProcess) hear(ids []string, interval time.Duration) {
	ctx := context.Background()
	intercept := m.watch.UnaryServerInterceptor()
	renewals := m.client.Pipeline()
	for _, id := range ids {
		request := &schedulerv2.AnnounceHostRequest{Host: &commonv2.Host{Id: id}, Interval: durationpb.New(interval)}
		_, _ = intercept(ctx, request, nil, func(context.Context, any) (any, error) {
			now := time.Now()
			if !m.known[id] {
				m.known[id] = m.dragonflys.store(ctx, id, interval, now) == nil
				return nil, nil
			}
			for r := range resources {
				k := r.keys(clusterID)
				renewals.HSet(ctx, k.host+id, "updated_at", now.Format(time.RFC3339), "announce_interval", int64(interval))
				renewals.SAdd(ctx, k.hosts, id)
			}
			return nil, nil
		})
	}
	// What fails in an outage is lost, as it is with Dragonfly.
	_, _ = renewals.Exec(ctx)
}
