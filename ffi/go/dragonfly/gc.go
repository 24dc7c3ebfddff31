package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// GC is Dragonfly's garbage collection, whose scan of hosts asks the wheel first. Give it to standard.New and to Wrap, and
// use it everywhere else too.
type GC struct {
	pkggc.GC
	// scan is the host manager's own.
	scan  atomic.Pointer[pkggc.Runner]
	watch atomic.Pointer[watch]
}

// WrapGC wraps a garbage collection. Until Wrap is called it does what that does.
func WrapGC(inner pkggc.GC) *GC { return &GC{GC: inner} }

// Add adds a task.
func (g *GC) Add(task pkggc.Task) error {
	if task.ID != standard.GCHostID || task.Runner == nil {
		return g.GC.Add(task)
	}
	scan, before := task.Runner, g.scan.Load()
	task.Runner = hostScan{g}
	g.scan.Store(&scan)
	if err := g.GC.Add(task); err != nil {
		g.scan.Store(before)
		return err
	}
	return nil
}

// attach has the scan of hosts ask a watch.
func (g *GC) attach(w *watch) error {
	if g.scan.Load() == nil {
		return fmt.Errorf("%w: GC has no scan of hosts: standard.New must get it", ErrOptions)
	}
	if !g.watch.CompareAndSwap(nil, w) {
		return fmt.Errorf("%w: GC has another resource already", ErrOptions)
	}
	return nil
}

// hostScan is the task in place of the host manager's own.
type hostScan struct{ gc *GC }

// RunGC does what is left to do for the scan.
func (h hostScan) RunGC(ctx context.Context) error {
	scan := *h.gc.scan.Load()
	if w := h.gc.watch.Load(); w != nil {
		return w.collect(ctx, scan.RunGC, false)
	}
	return scan.RunGC(ctx)
}

// sweeping is whose turn the back-stop is.
type sweeping struct {
	// turn holds something while it is at work, or may not work any more.
	turn chan struct{}
	// last is when it looked at all hosts the last time.
	last time.Time
}

// collect is the scan of hosts. If it was asked for by hand, it does not matter when the last one was. It leaves it to
// another one that is at work.
func (w *watch) collect(ctx context.Context, scan func(context.Context) error, asked bool) error {
	if w.Mode == Shadow || w.failed.Load() {
		err := scan(ctx)
		w.compare()
		return err
	}
	select {
	case w.sweeping.turn <- struct{}{}:
		defer func() { <-w.sweeping.turn }()
	default:
		return nil
	}
	if !asked && time.Since(w.sweeping.last) < w.Backstop && w.counted.untracked.Load() == 0 {
		return nil
	}
	if w.sweep(ctx) {
		w.sweeping.last = time.Now()
	}
	return nil
}

// slack is how far past its end a host must be for the back-stop to take it.
const slack = 2 * time.Second

// sweep is the back-stop: it looks at all hosts, and removes those that the wheel should have removed and did not. It trusts
// what the wheel knows of a host, and time in which nobody watched counts against none; but not that the wheel looks at it.
// While hosts are held back, or workers are busy, the wheel is late and knows why: then it does not finish, and says so.
func (w *watch) sweep(ctx context.Context) bool {
	for i := range w.table.stripes {
		stats := w.wheel.Stats()
		if ctx.Err() != nil || !w.works() || stats.Waiting > 0 || stats.Outstanding > 0 {
			return false
		}
		for _, host := range w.lostIn(&w.table.stripes[i], stats) {
			host.Log.Info("host is gone and the wheel did not notice, causing the host to leave peers")
			w.leavePeers(host)
		}
	}
	w.adoptAll()
	return true
}

// lostIn deletes the hosts of a stripe that are gone and that the wheel lost or never had.
func (w *watch) lostIn(s *stripe, stats hostwheel.Stats) []*standard.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost []*standard.Host
	now := time.Now()
	for _, e := range s.entries {
		updated := e.host.Load().UpdatedAt.Load()
		if !w.expires(e.said()) || e.member != nil && now.Sub(updated) <= 2*w.effective(e) || !w.isLost(e, stats) {
			continue
		}
		if e.asked = updated; !w.isOver(s, e) {
			continue
		}
		if host := w.remove(s, e); host != nil {
			w.counted.rescues.Add(1)
			lost = append(lost, host)
		}
	}
	return lost
}

// isLost says whether the wheel should have removed a host by now, or does not have it. The host's lock is held.
func (w *watch) isLost(e *entry, stats hostwheel.Stats) bool {
	if e.member == nil {
		// There may be room now. If not, it is removed as the scan does it.
		w.track(e, e.host.Load().UpdatedAt.Load())
		return e.untracked != nil
	}
	status, err := e.member.Inspect()
	switch {
	case errors.Is(err, hostwheel.ErrStale):
		// Its leave was answered, and it is still here.
		return true
	case err != nil, status.State == hostwheel.Taken, status.HeldBy != hostwheel.NotHeld:
		return false
	default:
		return stats.Now > status.LeavesAt+slack
	}
}

// isOver says whether a host that the wheel lost, or never had, is gone. The host's lock is held.
func (w *watch) isOver(s *stripe, e *entry) bool {
	interval := w.effective(e)
	grace := w.wait(interval)
	u := e.untracked
	heard := e.asked
	if u != nil && u.heard.After(heard) {
		heard = u.heard
	}
	if time.Since(heard) <= 2*interval+grace+slack || w.downloads(s, e.host.Load().ID) {
		return false
	}
	if u != nil && u.overdue.IsZero() {
		u.overdue = time.Now()
	}
	// The wheel does not tell whether that one could be heard all the time. So it gets another chance.
	return u == nil || time.Since(u.overdue) > interval+grace
}

// effective is the interval that the wheel goes by; 0 if the host never expires.
func (w *watch) effective(e *entry) time.Duration {
	interval := e.said()
	if interval <= 0 {
		return w.HostTTL / 2
	}
	return min(max(interval, w.MinInterval), hostwheel.Longest)
}

// wait is the grace of a host of that interval.
func (w *watch) wait(interval time.Duration) time.Duration { return min(w.Grace, interval) }
