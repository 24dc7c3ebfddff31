package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
)

// GC is Dragonfly's garbage collection, whose scans of shared hosts do nothing while a [Watch] works. Give it to
// persistent.New and persistentcache.New, to New, and use it everywhere else too.
type GC struct {
	pkggc.GC
	watch atomic.Pointer[Watch]

	mu    sync.Mutex
	scans [resources]bool
}

// WrapGC wraps a garbage collection. Until New is called it does what that does.
func WrapGC(inner pkggc.GC) *GC { return &GC{GC: inner} }

// Add adds a task.
func (g *GC) Add(task pkggc.Task) error {
	for r := range resources {
		if task.ID == r.scan() && task.Runner != nil {
			task.Runner = hostScan{g, r, task.Runner}
			if err := g.GC.Add(task); err != nil {
				return err
			}
			g.mu.Lock()
			g.scans[r] = true
			g.mu.Unlock()
			return nil
		}
	}
	return g.GC.Add(task)
}

// scanned are the resources whose scans were added.
func (g *GC) scanned() []Resource {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Resource
	for r := range resources {
		if g.scans[r] {
			list = append(list, r)
		}
	}
	return list
}

// attach has the scans ask a watch.
func (g *GC) attach(w *Watch) error {
	if !g.watch.CompareAndSwap(nil, w) {
		return fmt.Errorf("%w: GC has another watch already", ErrOptions)
	}
	return nil
}

// hostScan is the task in place of a host manager's own.
type hostScan struct {
	gc       *GC
	resource Resource
	inner    pkggc.Runner
}

// RunGC does Dragonfly's scan if nobody does its work.
func (h hostScan) RunGC(ctx context.Context) error {
	if w := h.gc.watch.Load(); w != nil && w.replaces(h.resource) {
		return nil
	}
	return h.inner.RunGC(ctx)
}
