package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// member is one incarnation of a host in the wheel.
type member = hostwheel.Member[*entry]

// watch is a wheel, the hosts of one Dragonfly resource, and what keeps them together.
//
// The host manager says which hosts there are, the wheel which of them live. Whoever changes what both know of a host holds
// the lock of its stripe: that makes each of these changes one step for all others. The lock is never held while peers are
// told to leave, or a handler of Dragonfly's runs.
//
// An announce goes by the wheel twice. Before the handler, so that no host can be removed between the handler's look-up of
// it and its news: if it was found gone already, then either it is deleted by now and the handler stores a new one, or it
// is another incarnation from here on, and the old one's leave does nothing. And after the handler, so that the wheel's
// stamp is not before UpdatedAt: only news from elsewhere is later than it.
type watch struct {
	Options
	inner   standard.HostManager
	peers   standard.PeerManager
	manager *hostManager
	wheel   *hostwheel.Wheel[*entry]
	logger  *slog.Logger
	table   table
	counted counters
	// compared is what Shadow finds.
	compared comparison
	sweeping sweeping

	// loads: the wheel has just those hosts that the table has, so the manager may load from it. Not so once it is closed, or
	// if Dragonfly's scan removes hosts past it.
	loads atomic.Bool
	// failed: the wheel does not work, by a bug of its own.
	failed atomic.Bool

	warnOnce sync.Once
	began    time.Time

	mu      sync.Mutex
	stopped bool
	ended   chan struct{} // closed when the wheel's Run has returned; nil before start
}

// counters are what Report tells, beside what the wheel counts itself.
type counters struct {
	removed, heardElsewhere, downloads, putBack, superseded, rescues atomic.Uint64
	// untracked is how many entries are marked so now.
	untracked atomic.Int64
}

// newWatch makes a watch over a resource, none of whose hosts it knows yet; see adoptAll.
func newWatch(inner standard.Resource, o Options) (*watch, error) {
	w := &watch{Options: o, inner: inner.HostManager(), peers: inner.PeerManager(), logger: o.Logger, began: time.Now()}
	w.sweeping = sweeping{turn: make(chan struct{}, 1), last: w.began}
	w.manager = &hostManager{HostManager: w.inner, watch: w}
	w.table.init()
	wheel, err := hostwheel.New(hostwheel.Config[*entry]{
		HostTTL:         o.HostTTL,
		Grace:           o.Grace,
		MinInterval:     o.MinInterval,
		MaxHosts:        o.MaxHosts,
		Workers:         o.Workers,
		Brake:           o.Brake,
		SilenceExpected: o.SilenceExpected,
		Backend:         o.Backend,
		Logger:          o.Logger,
		Leave:           w.onLeave,
		Suspect:         w.onSuspect,
		Recovered:       w.onRecovered,
	})
	if err != nil {
		return nil, fmt.Errorf("hostwheel/dragonfly: %w", err)
	}
	w.wheel = wheel
	w.loads.Store(o.Mode == Enforce)
	w.compared.init(o.Grace)
	return w, nil
}

// start has the wheel work until stop.
func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.ended != nil {
		return
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		if err := w.wheel.Run(context.Background()); err != nil {
			w.fail()
			w.logger.Error("hostwheel: the wheel does not work; Dragonfly's scan does it all", "error", err)
		}
	}()
}

// fail leaves all to Dragonfly.
func (w *watch) fail() {
	w.loads.Store(false)
	w.failed.Store(true)
}

// stop returns when no callback runs any more, and no back-stop.
func (w *watch) stop() {
	w.mu.Lock()
	ended := w.ended
	w.stopped = true
	w.mu.Unlock()
	w.loads.Store(false)
	// That the wheel failed was said when it did.
	_ = w.wheel.Close()
	if ended != nil {
		<-ended
	}
	w.sweeping.turn <- struct{}{}
}

// works says whether the watch is between start and stop.
func (w *watch) works() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended != nil && !w.stopped
}

// now is the time since the watch began, in nanoseconds.
func (w *watch) now() int64 { return int64(time.Since(w.began)) }

// expires says whether a host that said that interval ever expires.
func (w *watch) expires(interval time.Duration) bool { return interval > 0 || w.HostTTL > 0 }

// heard says that a host announced itself, with an interval or without saying one, and returns its member; nil if the wheel
// does not have it: it is not stored yet, or never expires.
func (w *watch) heard(id string, interval time.Duration, says bool) *member {
	// Not the entry's, which would be one cache line more.
	if m, ok := w.wheel.Lookup(id); ok && (!says || m.Interval() == interval) && m.Renew() == nil {
		return m
	}
	s := w.table.lock(id)
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return nil
	}
	switch stored, ok := w.inner.Load(id); {
	case !ok:
		// The scan has removed it, and the handler will store another.
		w.compared.scanned(e)
		w.forget(s, id)
		return nil
	case stored != e.host.Load():
		// Stored past the manager.
		w.adopt(s, stored, time.Time{})
	}
	switch {
	case says && interval != e.said():
		e.say(interval)
		w.track(e, time.Time{})
	case e.member == nil && e.untracked == nil:
	case e.member == nil || e.member.Renew() != nil:
		// There was no room for it in the wheel, or it was found gone: then its leave does nothing from now on.
		w.track(e, time.Time{})
	}
	return e.member
}

// track has the wheel know a host that was heard at an instant, the zero one being now, with the interval that it said last,
// if it expires at all. The host's lock is held.
func (w *watch) track(e *entry, at time.Time) {
	var options []hostwheel.AnnounceOption
	if at.IsZero() {
		at = time.Now()
	} else {
		options = append(options, hostwheel.SeenAt(at))
	}
	w.compared.heard(e, at)
	before := e.member
	e.member = nil
	if !w.expires(e.said()) {
		w.mark(e, nil)
		if before != nil {
			// If it was found gone meanwhile, that means nothing any more.
			_ = before.Leave()
		}
		return
	}
	m, _, err := w.wheel.Announce(e.host.Load().ID, max(e.said(), 0), e, options...)
	e.member = m
	switch {
	case err == nil || errors.Is(err, hostwheel.ErrClosed):
		w.mark(e, nil)
	case e.untracked == nil || e.untracked.heard.Before(at):
		w.mark(e, &untracked{heard: at})
		w.warnOnce.Do(func() {
			w.logger.Warn("hostwheel: the wheel does not take a host; the back-stop watches it. Others will only be counted",
				"host", e.host.Load().ID, "error", err)
		})
	}
}

// mark notes whether the wheel does not have a host that expires. The host's lock is held.
func (w *watch) mark(e *entry, u *untracked) {
	switch {
	case e.untracked == nil && u != nil:
		w.counted.untracked.Add(1)
	case e.untracked != nil && u == nil:
		w.counted.untracked.Add(-1)
	}
	e.untracked = u
}
