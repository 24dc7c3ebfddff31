package hostwheel_test

import (
	"errors"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// The tests of the package as its users see it. Each runs on every backend that was compiled in.

type (
	wheel  = hostwheel.Wheel[string]
	member = hostwheel.Member[string]
	event  = hostwheel.Event[string]
	config = hostwheel.Config[string]
)

const (
	ms  = time.Millisecond
	sec = time.Second
	// patience is for what comes within milliseconds on a healthy machine: only a hang uses it up.
	patience = 60 * time.Second
)

func backends(t testing.TB) []hostwheel.Backend {
	t.Helper()
	found := []hostwheel.Backend{hostwheel.Pure}
	w, err := hostwheel.New(config{Backend: hostwheel.Native})
	if err == nil {
		found = append(found, hostwheel.Native)
		_ = w.Close()
	} else if !errors.Is(err, hostwheel.ErrInvalid) {
		t.Fatalf("the native backend is there and does not open: %v", err)
	}
	return found
}

// onEach runs a test once per backend.
func onEach(t *testing.T, test func(t *testing.T, backend hostwheel.Backend)) {
	t.Helper()
	for _, backend := range backends(t) {
		t.Run(backend.String(), func(t *testing.T) { test(t, backend) })
	}
}

// nobody is a logger for tests that panic on purpose.
func nobody() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// must is for calls that cannot fail in the test that makes them.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noted is must for goroutines other than the test's own.
func noted(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// wants compares an error with the one that the documentation names.
func wants(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// equal compares anything.
func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// until waits for what other goroutines do.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(ms) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// goroutinesAreBack waits until there are no more goroutines than before; a native core may keep none of its own in Go.
func goroutinesAreBack(t testing.TB, before int) {
	t.Helper()
	until(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// scene is a wheel on the manual clock, on which all time counts and no guard holds, and what it told.
type scene struct {
	*testing.T
	wheel  *wheel
	mu     sync.Mutex
	events []event
	// answer is what the next leaves get; nil: Done.
	answer func(*event) hostwheel.Verdict
}

// manual is a configuration for exact moments: each test says what is different.
func manual(backend hostwheel.Backend) config {
	return config{
		Backend: backend, Manual: true, Watchdog: hostwheel.Off, Brake: hostwheel.Brake{Off: true}, SilenceExpected: -1,
		Logger: nobody(),
	}
}

func open(t *testing.T, c config) *scene {
	t.Helper()
	s := &scene{T: t}
	note := func(e *event, then func(*event)) {
		s.mu.Lock()
		s.events = append(s.events, *e)
		s.mu.Unlock()
		if then != nil {
			then(e)
		}
	}
	suspect, recovered := c.Suspect, c.Recovered
	c.Suspect = func(e *event) { note(e, suspect) }
	c.Recovered = func(e *event) { note(e, recovered) }
	if c.Leave != nil {
		s.answer = c.Leave
	}
	c.Leave = func(e *event) (verdict hostwheel.Verdict) {
		note(e, func(e *event) {
			if s.answer != nil {
				verdict = s.answer(e)
			}
		})
		return verdict
	}
	w, err := hostwheel.New(c)
	must(t, err)
	s.wheel = w
	t.Cleanup(func() { _ = w.Close() })
	return s
}

// announce announces with a value that names the host.
func (s *scene) announce(id string, interval time.Duration, options ...hostwheel.AnnounceOption) *member {
	s.Helper()
	m, _, err := s.wheel.Announce(id, interval, "value of "+id, options...)
	must(s, err)
	return m
}

// said is one event in short, as tests name it.
func said(e *event) string { return e.Kind.String() + " " + e.ID() }

// to advances, and insists on exactly these events: in order for each host, in any order between hosts.
func (s *scene) to(at time.Duration, want ...string) []event {
	s.Helper()
	s.events = nil
	n, err := s.wheel.Advance(at)
	must(s, err)
	equal(s, "number of events", n, len(s.events))
	got := make([]string, 0, len(s.events))
	for i := range s.events {
		got = append(got, said(&s.events[i]))
	}
	// Stable, and by the host alone: a leave before its suspect event would show.
	host := func(a, b string) int {
		_, a, _ = strings.Cut(a, " ")
		_, b, _ = strings.Cut(b, " ")
		return strings.Compare(a, b)
	}
	want = slices.Clone(want)
	slices.SortStableFunc(got, host)
	slices.SortStableFunc(want, host)
	if !slices.Equal(got, want) {
		s.Fatalf("at %v: got %q, want %q", at, got, want)
	}
	return s.events
}

// status inspects a member that must be known.
func (s *scene) status(m *member) hostwheel.Status {
	s.Helper()
	status, err := m.Inspect()
	must(s, err)
	return status
}

// heard is an instant on the manual clock.
func heard(at time.Duration) time.Time { return time.UnixMilli(at.Milliseconds()) }

// view is all that a wheel shows from outside: what a refused call may not change.
type view struct {
	stats hostwheel.Stats
	hosts map[string]hostwheel.Status
}

func look(t testing.TB, w *wheel) view {
	t.Helper()
	v := view{stats: w.Stats(), hosts: map[string]hostwheel.Status{}}
	for m := range w.All() {
		status, err := m.Inspect()
		must(t, err)
		v.hosts[m.ID()+"="+m.Value()] = status
	}
	return v
}

// unchanged insists that a call leaves the wheel as it was.
func (s *scene) unchanged(what string, call func()) {
	s.Helper()
	before := look(s, s.wheel)
	call()
	if after := look(s, s.wheel); !reflect.DeepEqual(before, after) {
		s.Errorf("%s changed the wheel:\n%+v\n%+v", what, before, after)
	}
}
