package dragonfly

import (
	"context"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// hostManager is the host manager that Dragonfly sees. It reads from the inner one, and changes it together with the wheel.
type hostManager struct {
	standard.HostManager
	watch *watch
}

// Store stores a host in place of one of that id.
func (h *hostManager) Store(host *standard.Host) {
	s := h.watch.table.stripe(host.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	h.HostManager.Store(host)
	h.watch.adopt(s, host)
}

// LoadOrStore loads the host of that id, or stores the given one, and says whether it was loaded.
func (h *hostManager) LoadOrStore(host *standard.Host) (*standard.Host, bool) {
	s := h.watch.table.stripe(host.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := h.HostManager.Load(host.ID); ok {
		return known, true
	}
	h.HostManager.Store(host)
	h.watch.adopt(s, host)
	return host, false
}

// Delete deletes the host of that id: it said goodbye.
func (h *hostManager) Delete(id string) {
	s := h.watch.table.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	h.HostManager.Delete(id)
	if e := s.entries[id]; e != nil {
		h.watch.compared.dropped(e)
	}
	h.watch.forget(s, id)
}

// RunGC looks for hosts that are gone, as far as that is not the wheel's.
func (h *hostManager) RunGC(ctx context.Context) error {
	return h.watch.collect(ctx, h.HostManager.RunGC, true)
}

// adopt has the wheel know a host that was stored. The host's lock is held.
func (w *watch) adopt(s *stripe, host *standard.Host, options ...hostwheel.AnnounceOption) {
	e := s.entries[host.ID]
	if e == nil {
		e = &entry{}
		s.entries[host.ID] = e
	}
	if e.host != host {
		e.host = host
		// Nobody else has the host yet, so nobody writes to it. Later intervals come from the requests.
		e.say(host.AnnounceInterval)
	}
	w.track(e, options...)
}

// adoptAll has the wheel know the hosts that there are.
func (w *watch) adoptAll() {
	w.inner.Range(func(_, value any) bool {
		if host, ok := value.(*standard.Host); ok {
			w.adoptStored(host)
		}
		return true
	})
}

// adoptStored has the wheel know a host that was stored past it, if it is still there.
func (w *watch) adoptStored(host *standard.Host) {
	s := w.table.stripe(host.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored, ok := w.inner.Load(host.ID); !ok || stored != host {
		return
	}
	if e := s.entries[host.ID]; e != nil && e.host == host {
		return
	}
	w.adopt(s, host, hostwheel.SeenAt(host.UpdatedAt.Load()))
}

// forget has the wheel forget a host that was deleted. The host's lock is held.
func (w *watch) forget(s *stripe, id string) {
	e := s.entries[id]
	if e == nil {
		return
	}
	delete(s.entries, id)
	w.mark(e, false)
	if e.member != nil {
		// If it was found gone meanwhile, that does nothing any more.
		_ = e.member.Leave()
		e.member = nil
	}
}
