//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

const (
	interval = time.Second
	grace    = time.Second
	// term is how long after its last announce a host leaves.
	term = 2*interval + grace
	// tolerance is what a leave may be late by, on whatever machine this runs.
	tolerance = 2 * time.Second
	// stop is how long the scheduler is stopped: long enough to find every host dead, if that time counted.
	stop = term + 2*time.Second
)

// TestFleet has real host processes die, leave and live, and compares what ListHosts says with what happened.
func TestFleet(t *testing.T) {
	for _, backend := range []hostwheel.Backend{hostwheel.Pure, hostwheel.Native} {
		t.Run(backend.String(), func(t *testing.T) {
			wheel, err := hostwheel.New(hostwheel.Config[string]{Backend: backend})
			switch {
			case backend == hostwheel.Native && errors.Is(err, hostwheel.ErrInvalid):
				t.Skip("not in this build")
			case err != nil:
				t.Fatal(err)
			}
			wheel.Close()
			testFleet(t, backend)
		})
	}
}

// fleet is a scheduler and its hosts, by what becomes of them.
type fleet struct {
	scheduler       *process
	metrics         string
	watcher         *watcher
	polite          []*process // say goodbye
	killed, unlucky []*process // are killed; the unlucky ones just before the scheduler stops
	healthy         []*process // live on
}

func testFleet(t *testing.T, backend hostwheel.Backend) {
	// The monotonic clock tells later whether the wall clock was set meanwhile.
	began := time.Now()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	f := startFleet(t, backend, snapshot)

	before := scrape(t, f.metrics)
	sayGoodbye(t, f)
	deaths := kill(t, f.killed)
	f.watcher.awaitGone(t, f.killed)
	calm := scrape(t, f.metrics)

	late := kill(t, f.unlucky)
	stopped := time.Now().Round(0)
	f.scheduler.signal(syscall.SIGSTOP)
	time.Sleep(stop)
	continued := time.Now().Round(0)
	f.scheduler.signal(syscall.SIGCONT)
	f.watcher.awaitGone(t, f.unlucky)
	// Who was wrongly found dead by the stop would be gone by now.
	time.Sleep(time.Until(continued.Add(term + time.Second)))
	f.watcher.after(t)
	end := scrape(t, f.metrics)
	polls := f.watcher.all()

	f.scheduler.signal(syscall.SIGTERM)
	if status := f.scheduler.exit(t); status != 0 {
		t.Errorf("the scheduler's exit status is %d", status)
	}
	for _, path := range []string{snapshot, metadataPath(snapshot)} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if now := time.Now(); (now.Sub(began) - now.Round(0).Sub(began.Round(0))).Abs() > 20*time.Millisecond {
		t.Skip("the wall clock was set during the test: times cannot be compared")
	}

	judgeDead(t, polls, deaths, away(calm)-away(before))
	judgeDead(t, polls, late, away(end)-away(calm))
	starved := judgeHealthy(t, polls, f.healthy, stopped, continued)
	if missed := away(end) - away(calm); missed < stop/2 {
		t.Errorf("the stop of %v was noticed as %v", stop, missed)
	}
	if !starved {
		judgeMetrics(t, f, end)
	}
	report(t, end)
}

// startFleet starts the scheduler and the hosts, and waits until all are known.
func startFleet(t *testing.T, backend hostwheel.Backend, snapshot string) *fleet {
	t.Helper()
	f := &fleet{scheduler: start(t, "scheduler", "serve", "-listen", "127.0.0.1:0", "-metrics", "127.0.0.1:0",
		"-grace", grace.String(), "-min-interval", interval.String(), "-snapshot", snapshot, "-backend", backend.String())}
	line := f.scheduler.awaitLine(t, "serving")
	address := field(line, "grpc")
	f.metrics = field(line, "metrics")
	f.watcher = watch(t, address)
	for _, group := range []struct {
		name  string
		size  int
		hosts *[]*process
	}{{"polite", 5, &f.polite}, {"killed", 3, &f.killed}, {"unlucky", 2, &f.unlucky}, {"healthy", 10, &f.healthy}} {
		for n := range group.size {
			id := fmt.Sprintf("%s-%d", group.name, n)
			*group.hosts = append(*group.hosts,
				start(t, id, "host", "-scheduler", address, "-id", id, "-interval", interval.String()))
		}
	}
	for _, hosts := range [][]*process{f.polite, f.killed, f.unlucky, f.healthy} {
		for _, h := range hosts {
			h.await(t, "two announces", func() bool { return len(h.announced) >= 2 })
		}
	}
	return f
}

// sayGoodbye has the polite hosts leave. They go at once: who has said goodbye is in no list that is asked for afterwards.
//
// It comes before all deaths. With the 15 hosts that are left, too few announces are due for the wheel to hold that it is
// cut off itself, so no leave waits for that.
func sayGoodbye(t *testing.T, f *fleet) {
	t.Helper()
	for _, h := range f.polite {
		h.signal(syscall.SIGTERM)
	}
	for _, h := range f.polite {
		if status := h.exit(t); status != 0 {
			t.Errorf("%s: exit status %d, want 0", h.name, status)
		}
	}
	if last := f.watcher.after(t); anyListed(last, f.polite) {
		t.Errorf("listed after their goodbyes: %v", last.listed)
	}
}

func anyListed(p poll, hosts []*process) bool {
	for _, h := range hosts {
		if p.listed[h.name] {
			return true
		}
	}
	return false
}

// death is a host that was killed.
type death struct {
	host *process
	// sent is when it sent its last announce that was answered: it was heard then at the earliest.
	sent time.Time
	// silent is since when it surely was not heard any more.
	silent time.Time
}

// kill kills hosts, each right after an announce.
func kill(t *testing.T, hosts []*process) []death {
	t.Helper()
	var deaths []death
	for _, h := range hosts {
		h.awaitAnnounce(t)
		h.signal(syscall.SIGKILL)
		h.exit(t)
		killed := time.Now().Round(0)
		announced := h.announcements()
		last := announced[len(announced)-1]
		d := death{host: h, sent: last.sent, silent: last.answered}
		if killed.Sub(last.sent) > interval/2 {
			// Its next announce may have been on its way.
			d.silent = killed
		}
		deaths = append(deaths, d)
	}
	return deaths
}

// judgeDead compares when dead hosts were dropped with when that was due. away is the most time that the scheduler did not
// count meanwhile.
func judgeDead(t *testing.T, polls []poll, deaths []death, away time.Duration) {
	t.Helper()
	for _, d := range deaths {
		dropped, wrong := d.judge(polls, away)
		if wrong != "" {
			t.Errorf("%s %s: due is %v, %v not counted", d.host.name, wrong, term, away)
			continue
		}
		t.Logf("%s: gone at most %v after its last announce; due is %v, %v not counted", d.host.name,
			dropped.Sub(d.sent).Round(time.Millisecond), term, away.Round(time.Millisecond))
	}
}

// judge tells by when the host was dropped, and what was wrong with that.
func (d death) judge(polls []poll, away time.Duration) (dropped time.Time, wrong string) {
	earliest, latest := d.sent.Add(term), d.silent.Add(term+away+tolerance)
	for _, p := range polls {
		listed := p.listed[d.host.name]
		switch {
		case p.received.Before(d.sent): // it lives
		case !listed && p.received.Before(earliest):
			return dropped, fmt.Sprintf("is gone %v after its last announce", p.received.Sub(d.sent))
		case listed && p.sent.After(latest):
			return dropped, fmt.Sprintf("is listed %v after its last announce", p.sent.Sub(d.silent))
		case listed && !dropped.IsZero():
			return dropped, "was gone and is listed again"
		case !listed && dropped.IsZero():
			dropped = p.received
		}
	}
	return dropped, ""
}

// judgeHealthy checks that living hosts are always listed. It says whether any host got no time to announce itself, by its
// own account: such a host leaves by right.
func judgeHealthy(t *testing.T, polls []poll, hosts []*process, stopped, continued time.Time) (starved bool) {
	t.Helper()
	longest := time.Duration(0)
	for _, h := range hosts {
		announced := h.announcements()
		gap := time.Duration(0)
		for i := range len(announced) - 1 {
			from, to := announced[i].sent, announced[i+1].answered
			gap = max(gap, to.Sub(from)-overlap(from, to, stopped, continued))
		}
		longest = max(longest, gap)
		// Of the stop, up to 3/4 of an interval may count.
		if gap >= term-interval*3/4 {
			t.Logf("%s did not announce itself for %v: it is not judged", h.name, gap)
			starved = true
			continue
		}
		// The log rounds down.
		known := announced[0].answered.Add(time.Millisecond)
		for _, p := range polls {
			if !p.listed[h.name] && p.sent.After(known) {
				t.Errorf("%s lives and is not listed at %v, %v after the stop began", h.name, p.received, p.received.Sub(stopped))
				break
			}
		}
	}
	t.Logf("living hosts announced themselves at least every %v, the stop left out", longest.Round(time.Millisecond))
	return starved
}

// overlap is how much of one period lies in another.
func overlap(from, to, since, until time.Time) time.Duration {
	if since.After(from) {
		from = since
	}
	if until.Before(to) {
		to = until
	}
	return max(to.Sub(from), 0)
}

// judgeMetrics checks that each leave was counted once.
func judgeMetrics(t *testing.T, f *fleet, metrics map[string]float64) {
	t.Helper()
	dead := len(f.killed) + len(f.unlucky)
	known := metrics[`hostwheel_hosts{state="live"}`] + metrics[`hostwheel_hosts{state="suspect"}`]
	for _, c := range []struct {
		what string
		got  float64
		want int
	}{
		{"registrations", metrics["hostwheel_registrations_total"], len(f.polite) + dead + len(f.healthy)},
		{"goodbyes", metrics[`hostwheel_leaves_total{reason="goodbye"}`], len(f.polite)},
		{"leaves", metrics[`hostwheel_leaves_total{reason="ttl"}`], dead},
		{"lateness count", metrics["hostwheel_leave_lateness_seconds_count"], dead},
		{"hosts", known, len(f.healthy)},
	} {
		if c.got != float64(c.want) {
			t.Errorf("the metrics tell of %v %s, want %d", c.got, c.what, c.want)
		}
	}
}

// report prints how late the leaves were.
func report(t *testing.T, metrics map[string]float64) {
	count := metrics["hostwheel_leave_lateness_seconds_count"]
	t.Logf("lateness of %v leaves: mean %.2f ms, at most %.2f ms; time not counted %.2f s", count,
		1000*metrics["hostwheel_leave_lateness_seconds_sum"]/max(count, 1), 1000*metrics["hostwheel_leave_lateness_max_seconds"],
		metrics["hostwheel_away_seconds_total"])
	for _, bound := range hostwheel.LatenessBounds {
		le := fmt.Sprintf(`hostwheel_leave_lateness_seconds_bucket{le="%v"}`, bound.Seconds())
		t.Logf("at most %v: %v", bound, metrics[le])
		if metrics[le] == count {
			return
		}
	}
}
