//go:build unix

package main

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// poll is one answer of ListHosts. The list is that of some moment between sent and received, by the wall clock, which the
// hosts' logs go by as well.
type poll struct {
	sent, received time.Time
	listed         map[string]bool
}

// watcher polls ListHosts all the time.
type watcher struct {
	mu    sync.Mutex
	polls []poll
}

// watch polls until the test ends.
func watch(t *testing.T, address string) *watcher {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{}
	ctx, cancel := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	polling.Go(func() {
		client := schedulerv2.NewSchedulerClient(conn)
		for ctx.Err() == nil {
			w.poll(ctx, client)
			time.Sleep(25 * time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		polling.Wait()
		conn.Close()
	})
	return w
}

func (w *watcher) poll(ctx context.Context, client schedulerv2.SchedulerClient) {
	p := poll{sent: time.Now().Round(0), listed: make(map[string]bool)}
	response, err := client.ListHosts(ctx, &schedulerv2.ListHostsRequest{})
	if err != nil {
		return // the scheduler has stopped
	}
	p.received = time.Now().Round(0)
	for _, host := range response.GetHosts() {
		p.listed[host.GetId()] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls = append(w.polls, p)
}

// all are the polls up to now.
func (w *watcher) all() []poll {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.polls[:len(w.polls):len(w.polls)]
}

// after waits for a poll that was sent from now on, and returns it.
func (w *watcher) after(t *testing.T) poll {
	t.Helper()
	now := time.Now().Round(0)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if polls := w.all(); len(polls) > 0 && polls[len(polls)-1].sent.After(now) {
			return polls[len(polls)-1]
		}
	}
	t.Fatal("ListHosts does not answer")
	return poll{}
}

// awaitGone waits until none of the hosts is listed.
func (w *watcher) awaitGone(t *testing.T, hosts []*process) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		listed := 0
		last := w.after(t)
		for _, h := range hosts {
			if last.listed[h.name] {
				listed++
			}
		}
		if listed == 0 {
			return
		}
	}
	t.Fatal("dead hosts are still listed after a minute")
}

// scrape reads /metrics, by name and labels as they stand there.
func scrape(t *testing.T, address string) map[string]float64 {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	metrics := make(map[string]float64)
	for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
		name, text, _ := strings.Cut(scanner.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil && name != "#" {
			metrics[name] = value
		}
	}
	if response.StatusCode != http.StatusOK || metrics["hostwheel_registrations_total"] == 0 {
		t.Fatalf("/metrics answers %s with %d metrics", response.Status, len(metrics))
	}
	return metrics
}

// away is the time that the scheduler did not count, by its own account.
func away(metrics map[string]float64) time.Duration {
	return time.Duration(metrics["hostwheel_away_seconds_total"] * float64(time.Second))
}
