package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// host is what this scheduler knows of one incarnation of a host, beside what its wheel knows. Callbacks of one incarnation
// come one at a time, and only they change it.
type host struct {
	// read is the second at which, by Redis, the host was heard, as of the last answer; 0 if there was none.
	read int64
	// floor is the moment before which nothing counts against the host, in the watch's time: an interval before this scheduler
	// learned of it from Redis.
	floor time.Duration
}

type (
	member = hostwheel.Member[*host]
	event  = hostwheel.Event[*host]
)

// doubt is about a host from its suspicion until it is heard or gone. Only callbacks of its member change it.
type doubt struct {
	member *member
	// asked is what Redis said of the host; nil if it was not asked, or did not answer.
	asked *answer
	// failures are commands about the host that failed when it was to be deleted.
	failures int
}

// Watch has a wheel of all hosts that schedulers share in Redis, and deletes those that are gone. Make one with New. All methods
// may be called from all goroutines.
type Watch struct {
	Options
	wheel  *hostwheel.Wheel[*host]
	store  store
	redis  *redisStore // nil in simulations
	link   link
	finder finder
	logger *slog.Logger
	// wall is the time of day, which updated_at is held against; instant is what the wheel goes by. In simulations they differ.
	wall, instant func() time.Time
	began         time.Time
	counted       counters
	// doubts are those about hosts, by id. The wheel does not find a host that it has handed out as a leave: here it is known.
	doubts sync.Map

	// running: Run is at work. full: there are more hosts than the wheel takes.
	running, full atomic.Bool
	begun         atomic.Bool
	warned        sync.Map // what an operator was told once
	// quiet is until when failures are only counted, in the watch's time.
	quiet atomic.Int64
}

// Removal says that a host was deleted.
type Removal struct {
	ID       string
	Resource Resource
	// LastHeard is when the last scheduler heard it, by that one's clock and in whole seconds.
	LastHeard time.Time
	// Interval is what the host had said.
	Interval time.Duration
	// Peers are the ids of those peers that were deleted with it, with Options.LeavePeers.
	Peers []string
}

// New makes a watch, which does nothing before Run. From then on Dragonfly's scans of the watched resources do nothing.
//
// Errors: ErrOptions, and what hostwheel.New says of the wheel's settings.
func New(options Options) (*Watch, error) {
	if options.GC != nil && len(options.Resources) == 0 {
		if options.Resources = options.GC.scanned(); len(options.Resources) == 0 {
			return nil, fmt.Errorf("%w: GC has no scan of shared hosts: persistent.New or persistentcache.New must get it", ErrOptions)
		}
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	w, err := newWatch(options, hostwheel.Config[*host]{}, time.Now, time.Now)
	if err != nil {
		return nil, err
	}
	w.redis = newRedisStore(&w.Options)
	w.connect(w.redis)
	if err := options.GC.attach(w); err != nil {
		_ = w.wheel.Close()
		return nil, err
	}
	return w, nil
}

// newWatch makes a watch without a store. The options are complete; config has what is special about the wheel.
func newWatch(o Options, config hostwheel.Config[*host], wall, instant func() time.Time) (*Watch, error) {
	w := &Watch{Options: o, logger: o.Logger, wall: wall, instant: instant, began: instant()}
	config.HostTTL = o.HostTTL
	// The wheel waits as long as the host must, if its interval is not too short for that; onLeave sees to the rest.
	config.Grace = o.Grace + o.margin()
	config.MinInterval = o.MinInterval
	config.MaxHosts = o.MaxHosts
	config.Workers = o.Workers
	config.Brake = o.Brake
	config.SilenceExpected = o.SilenceExpected
	config.Backend = o.Backend
	config.Logger = o.Logger
	config.Suspect = w.onSuspect
	config.Leave = w.onLeave
	config.Recovered = w.onRecovered
	wheel, err := hostwheel.New(config)
	if err != nil {
		return nil, fmt.Errorf("hostwheel/cluster: %w", err)
	}
	w.wheel = wheel
	return w, nil
}

// connect gives the watch its store.
func (w *Watch) connect(s store) {
	w.store = s
	w.link = link{store: s, heartbeat: w.Heartbeat, clock: w.instant, logger: w.logger, recovered: w.askAgain, good: w.instant()}
	w.finder = finder{watch: w}
}

// Run watches until ctx ends; once. No host is deleted after it has returned. If Redis does not answer just then, that takes as
// long as its client waits for an answer: the ReadTimeout, unless ContextTimeoutEnabled is set.
//
// Errors: ErrOptions if it was called before, and what hostwheel's Run says. Dragonfly's scan then goes on.
func (w *Watch) Run(ctx context.Context) error {
	if !w.begun.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: Run was called already", ErrOptions)
	}
	w.running.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	parts.Go(func() { w.redis.run(ctx) })
	parts.Go(func() { w.link.run(ctx) })
	parts.Go(func() { w.finder.run(ctx) })
	err := w.wheel.Run(ctx)
	w.running.Store(false)
	if ctx.Err() == nil {
		w.logger.Error("hostwheel/cluster: the wheel does not work; Dragonfly's scan goes on", "error", err)
	}
	cancel()
	// That the wheel failed was said.
	_ = w.wheel.Close()
	parts.Wait()
	return err
}

// replaces says whether Dragonfly's scan of a resource has nothing to do.
func (w *Watch) replaces(r Resource) bool {
	return w.running.Load() && !w.full.Load() && slices.Contains(w.Resources, r)
}

// heard says that a host announced itself here, with an interval or without saying one.
func (w *Watch) heard(id string, interval time.Duration, says bool) {
	m, known := w.wheel.Lookup(id)
	if known && (!says || m.Interval() == w.told(interval)) && m.Renew() == nil {
		return
	}
	switch {
	case says:
		w.announce(id, w.announced(interval), 0, &host{})
	case known:
		w.announce(id, m.Interval(), 0, &host{})
	default:
		// Redis may know its interval; the finder asks.
	}
}

// announce has the wheel know a host that was heard some time ago. It says whether there was room.
func (w *Watch) announce(id string, interval, ago time.Duration, value *host) bool {
	_, _, err := w.wheel.Announce(id, interval, value, hostwheel.SeenAt(w.instant().Add(-ago)))
	if err == nil || errors.Is(err, hostwheel.ErrClosed) {
		return true
	}
	w.counted.refused.Add(1)
	if w.once("refused") {
		w.logger.Warn("hostwheel/cluster: the wheel does not take a host; others will only be counted", "host", id, "error", err)
	}
	return false
}

// knows says whether a host is in the wheel, or is about to be deleted.
func (w *Watch) knows(id string) bool {
	if _, ok := w.wheel.Lookup(id); ok {
		return true
	}
	_, ok := w.doubts.Load(id)
	return ok
}

// learn has the wheel know a host that Redis told of. However long ago it was heard, it gets an interval and the grace to be
// heard again: nobody knows whether it could be, meanwhile. It says whether there was room.
func (w *Watch) learn(id string, h heard) bool {
	w.counted.learned.Add(1)
	interval := w.effective(h.interval)
	ago := min(max(0, w.wall().Sub(h.at)), interval)
	return w.announce(id, w.announced(h.interval), ago, &host{read: h.at.Unix(), floor: w.now() - interval})
}

// now is the time since the watch was made.
func (w *Watch) now() time.Duration { return w.instant().Sub(w.began) }

// forget says that a host said goodbye here.
func (w *Watch) forget(id string) {
	if m, ok := w.wheel.Lookup(id); ok {
		w.leave(m)
	}
}

// leave takes a host out of the wheel that nobody has to delete any more.
func (w *Watch) leave(m *member) {
	// Refused if it was found gone just now, and then the doubt is needed.
	if m.Leave() == nil {
		w.settle(m)
	}
}

// settle ends the doubt about a host, if there is one.
func (w *Watch) settle(m *member) {
	if d, ok := w.doubts.Load(m.ID()); ok && d.(*doubt).member == m {
		w.doubts.CompareAndDelete(m.ID(), d)
	}
}

// settleIfLeft ends the doubt about a host that said goodbye just before there was one.
func (w *Watch) settleIfLeft(m *member) {
	if _, err := m.Inspect(); errors.Is(err, hostwheel.ErrStale) {
		w.settle(m)
	}
}

// unreadable notes a record that makes no sense. Dragonfly can neither load nor remove such a host.
func (w *Watch) unreadable(id string, r Resource, is record) {
	w.counted.unreadable.Add(1)
	if w.once("unreadable") {
		w.logger.Warn("hostwheel/cluster: a host in Redis cannot be read and is left alone; others will only be counted", "host", id,
			"resource", r, "updated_at", is.updated, "announce_interval", is.interval)
	}
}

// failed notes that a command failed. An operator is told of one a minute: in an outage, all do.
func (w *Watch) failed(what string, err error) {
	if errors.Is(err, errEnded) || errors.Is(err, context.Canceled) {
		return // the watch's own end
	}
	w.counted.failures.Add(1)
	now, quiet := w.now(), w.quiet.Load()
	if int64(now) >= quiet && w.quiet.CompareAndSwap(quiet, int64(now+time.Minute)) {
		w.logger.Warn("hostwheel/cluster: a command to Redis failed and is tried again", "command", what, "error", err,
			"failures", w.counted.failures.Load())
	}
}

// once says whether something happens for the first time.
func (w *Watch) once(what string) bool {
	_, known := w.warned.LoadOrStore(what, true)
	return !known
}
