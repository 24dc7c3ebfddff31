package dragonfly

import (
	"context"
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// hostManager is the host manager that Dragonfly sees. It reads from the inner one, and changes it together with the wheel.
type hostManager struct {
	standard.HostManager
	watch *watch
}

// Load is the host of that id. An announce has just had its lines fetched from memory: for its handler this is cheaper than
// the inner manager's map, and pays for the better part of what the wheel costs.
func (h *hostManager) Load(id string) (*standard.Host, bool) {
	if h.watch.loads.Load() {
		if m, ok := h.watch.wheel.Lookup(id); ok {
			return m.Value().host.Load(), true
		}
	}
	return h.HostManager.Load(id)
}

// Store stores a host in place of one of that id.
func (h *hostManager) Store(host *standard.Host) {
	s := h.watch.table.lock(host.ID)
	defer s.mu.Unlock()
	h.store(s, host)
}

// LoadOrStore loads the host of that id, or stores the given one, and says whether it was loaded.
func (h *hostManager) LoadOrStore(host *standard.Host) (*standard.Host, bool) {
	s := h.watch.table.lock(host.ID)
	defer s.mu.Unlock()
	if known, ok := h.HostManager.Load(host.ID); ok {
		return known, true
	}
	h.store(s, host)
	return host, false
}

// store stores a host. Its lock is held.
func (h *hostManager) store(s *stripe, host *standard.Host) {
	if e := s.entries[host.ID]; e != nil && !h.watch.isStored(e) {
		h.watch.compared.scanned(e)
	}
	h.HostManager.Store(host)
	h.watch.adopt(s, host, time.Time{})
}

// Delete deletes the host of that id: it said goodbye.
func (h *hostManager) Delete(id string) {
	s := h.watch.table.lock(id)
	defer s.mu.Unlock()
	h.HostManager.Delete(id)
	if e := s.entries[id]; e != nil {
		h.watch.compared.dropped(e)
	}
	h.watch.forget(s, id)
}

// RunGC is Dragonfly's scan in the mode Shadow. In Enforce it is the back-stop, at once; if one is at work already, that one.
func (h *hostManager) RunGC(ctx context.Context) error {
	return h.watch.collect(ctx, h.HostManager.RunGC, true)
}

// isStored says whether the inner manager has the host that an entry is about: it may have been removed, or replaced, past
// this one. The host's lock is held.
func (w *watch) isStored(e *entry) bool {
	host := e.host.Load()
	stored, ok := w.inner.Load(host.ID)
	return ok && stored == host
}

// adopt has the wheel know a host that was stored, and was heard at an instant, the zero one being now. The host's lock is
// held.
func (w *watch) adopt(s *stripe, host *standard.Host, at time.Time) {
	e := s.entries[host.ID]
	if e == nil {
		e = &entry{}
		s.entries[host.ID] = e
	}
	if e.host.Load() != host {
		e.host.Store(host)
		// Who stores a new host has it to himself until then; of one that was stored before, this is read as Dragonfly's scan
		// reads it. Later intervals come from the requests.
		e.say(host.AnnounceInterval)
	}
	w.track(e, at)
}

// adoptAll has the wheel know the hosts that were stored past the manager, if there are any.
func (w *watch) adoptAll() {
	if w.inner.Len() == w.table.len() {
		return
	}
	w.inner.Range(func(_, value any) bool {
		if host, ok := value.(*standard.Host); ok {
			w.adoptStored(host)
		}
		return true
	})
}

// adoptStored has the wheel know a host that was stored past it, if it is still there.
func (w *watch) adoptStored(host *standard.Host) {
	s := w.table.lock(host.ID)
	defer s.mu.Unlock()
	if stored, ok := w.inner.Load(host.ID); !ok || stored != host {
		return
	}
	if e := s.entries[host.ID]; e != nil && e.host.Load() == host {
		return
	}
	w.adopt(s, host, host.UpdatedAt.Load())
}

// forget has the wheel forget a host that was deleted. The host's lock is held.
func (w *watch) forget(s *stripe, id string) {
	e := s.entries[id]
	if e == nil {
		return
	}
	delete(s.entries, id)
	w.mark(e, nil)
	if e.member != nil {
		// If it was found gone meanwhile, that does nothing any more.
		if err := e.member.Leave(); err != nil && err != hostwheel.ErrTaken && err != hostwheel.ErrStale {
			w.loads.Store(false)
		}
		e.member = nil
	}
}
