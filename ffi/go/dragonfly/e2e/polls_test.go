//go:build unix

package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/protobuf/proto"
)

// poll is one answer of ListHosts, of all hosts or of those of a type: the list at some moment between sent and received.
type poll struct {
	kind           string // empty: of all types
	sent, received time.Time
	listed         map[string]bool
}

// watcher polls ListHosts all the time.
type watcher struct {
	mu    sync.Mutex
	polls []poll
}

var kinds = []struct {
	name string
	code *uint32
}{{"", nil}, {normal, proto.Uint32(0)}, {seed, proto.Uint32(1)}}

// watch polls until the test ends.
func watch(t *testing.T, address string) *watcher {
	t.Helper()
	connection, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{}
	ctx, cancel := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	polling.Go(func() {
		client := schedulerv2.NewSchedulerClient(connection)
		for ctx.Err() == nil {
			for _, k := range kinds {
				w.poll(ctx, client, k.name, k.code)
			}
			time.Sleep(25 * time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		polling.Wait()
		connection.Close()
	})
	return w
}

func (w *watcher) poll(ctx context.Context, client schedulerv2.SchedulerClient, kind string, code *uint32) {
	p := poll{kind: kind, sent: time.Now().Round(0), listed: make(map[string]bool)}
	answer, err := client.ListHosts(ctx, &schedulerv2.ListHostsRequest{Type: code})
	if err != nil {
		return // the scheduler has stopped
	}
	p.received = time.Now().Round(0)
	for _, host := range answer.GetHosts() {
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

// after waits for a poll of each kind that was sent from now on, and returns them.
func (w *watcher) after(t *testing.T) []poll {
	t.Helper()
	now := time.Now().Round(0)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		polls := w.all()
		if n := len(polls) - len(kinds); n >= 0 && polls[n].sent.After(now) {
			return polls[n:]
		}
	}
	t.Fatal("ListHosts does not answer")
	return nil
}

// awaitGone waits until none of the hosts is in any list.
func (w *watcher) awaitGone(t *testing.T, limit time.Duration, hosts ...*process) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		listed := ""
		for _, p := range w.after(t) {
			for _, h := range hosts {
				if p.listed[h.Name] {
					listed = h.Name
				}
			}
		}
		switch {
		case listed == "":
			return
		case time.Now().After(deadline):
			t.Errorf("%s is still listed after %v", listed, limit)
			return
		}
	}
}

// death is a host that is not heard any more.
type death struct {
	host *process
	kind string
	// sent is when it sent its last announce that was answered: it was heard then at the earliest.
	sent time.Time
	// silent is since when it surely was not heard any more.
	silent time.Time
	// term is how long after that it is due.
	term time.Duration
}

// tolerance is what a removal may be late by, on whatever machine this runs.
const tolerance = 2 * time.Second

// judge checks when a dead host was dropped, in the list of all and in that of its type. away is the most time that was not
// counted meanwhile.
func (d death) judge(t *testing.T, polls []poll, away time.Duration) {
	t.Helper()
	earliest, latest := d.sent.Add(d.term), d.silent.Add(d.term+away+tolerance)
	for _, kind := range []string{"", d.kind} {
		dropped := time.Time{}
		for _, p := range polls {
			if p.kind != kind || p.received.Before(d.sent) {
				continue
			}
			listed := p.listed[d.host.Name]
			switch {
			case !listed && p.received.Before(earliest):
				t.Errorf("%s is gone %v after its last announce, before %v", d.host.Name, p.received.Sub(d.sent), d.term)
				return
			case listed && p.sent.After(latest):
				t.Errorf("%s is listed %v after its last sign of life, due is %v", d.host.Name, p.sent.Sub(d.silent), d.term)
				return
			case listed && !dropped.IsZero():
				t.Errorf("%s was gone and is listed again", d.host.Name)
				return
			case !listed && dropped.IsZero():
				dropped = p.received
			}
		}
	}
}

// gone is when a host was dropped from the last list; zero if it is still in one.
func gone(polls []poll, host string, since time.Time) (at time.Time) {
	for _, p := range polls {
		switch {
		case p.received.Before(since):
		case p.listed[host]:
			at = time.Time{}
		case p.kind == "" && at.IsZero():
			at = p.received
		}
	}
	return at
}

// missing is when a living host was not listed for the first time; zero if it always was.
func missing(polls []poll, host, kind string, since time.Time) time.Time {
	for _, p := range polls {
		if (p.kind == "" || p.kind == kind) && p.sent.After(since) && !p.listed[host] {
			return p.received
		}
	}
	return time.Time{}
}
