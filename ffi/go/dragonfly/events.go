package dragonfly

import (
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

type event = hostwheel.Event[*entry]

// onSuspect answers the wheel's question whether a host was heard elsewhere.
func (w *watch) onSuspect(ev *event) {
	s := w.table.lock(ev.ID())
	defer s.mu.Unlock()
	e := ev.Value()
	if !s.current(ev) {
		return
	}
	e.asked = e.host.Load().UpdatedAt.Load()
	// Refused only if it has said goodbye, or the wheel was closed.
	if w.downloads(s, ev.ID()) {
		_ = ev.Member.Renew()
	} else {
		_ = ev.Member.RenewAt(e.asked)
	}
	switch {
	case !ev.Member.Suspect():
		w.counted.heardElsewhere.Add(1)
	case w.Mode == Shadow:
		e.doubt = newDoubt(ev, w.effective(e))
	}
}

// onRecovered notes by how much a host was late.
func (w *watch) onRecovered(ev *event) {
	s := w.table.lock(ev.ID())
	defer s.mu.Unlock()
	e := ev.Value()
	if !s.current(ev) || e.doubt == nil {
		return
	}
	w.compared.recovered(e, ev.LastSeen-e.doubt.since)
}

// onLeave removes a host that is gone.
func (w *watch) onLeave(ev *event) hostwheel.Verdict {
	if host := w.take(ev); host != nil {
		host.Log.Infof("host is gone, causing the host to leave peers: %v", ev)
		w.leavePeers(host)
	}
	return hostwheel.Done
}

// leavePeers has the peers of a host leave that was deleted.
func (w *watch) leavePeers(host *standard.Host) {
	host.LeavePeers()
	w.counted.removed.Add(1)
	host.Log.Info("host has been reclaimed")
}

// take deletes a host that is gone, and returns it; nil if it stays after all.
func (w *watch) take(ev *event) *standard.Host {
	s := w.table.lock(ev.ID())
	defer s.mu.Unlock()
	e := ev.Value()
	if !s.current(ev) {
		w.counted.superseded.Add(1)
		return nil
	}
	if w.heardElsewhere(s, e) {
		return nil
	}
	if w.Mode == Shadow {
		w.compared.found(e, newDoubt(ev, w.effective(e)))
		e.host.Load().Log.Infof("host would have been reclaimed: %v", ev)
		return nil
	}
	return w.remove(s, e)
}

// current says whether an event is about the latest incarnation of a host. The lock is held.
func (s *stripe) current(ev *event) bool {
	e := ev.Value()
	return s.entries[ev.ID()] == e && e.member == ev.Member
}

// counts says whether open streams count as heard. The lock of their stripe is held.
func (w *watch) counts(r *reports) bool {
	return time.Duration(w.now()-r.last.Load()) < w.DownloadTimeout
}

// downloads says whether a host counts as heard because it downloads. The host's lock is held.
func (w *watch) downloads(s *stripe, id string) bool {
	if r := s.reports[id]; r == nil || !w.counts(r) {
		return false
	}
	w.counted.downloads.Add(1)
	return true
}

// heardElsewhere has a host back in the wheel that was found gone, if there is news of it. The host's lock is held.
func (w *watch) heardElsewhere(s *stripe, e *entry) bool {
	at := time.Time{}
	if !w.downloads(s, e.host.Load().ID) {
		if at = e.host.Load().UpdatedAt.Load(); at.Equal(e.asked) {
			return false
		}
		e.asked = at
	}
	w.counted.heardElsewhere.Add(1)
	w.track(e, at)
	return true
}

// remove deletes a host of which there is no news, and returns it; nil if there was some during that: then it is back. The
// host's lock is held.
func (w *watch) remove(s *stripe, e *entry) *standard.Host {
	host := e.host.Load()
	if stored, ok := w.inner.Load(host.ID); ok && stored != host {
		// Stored past the manager.
		w.adopt(s, stored, stored.UpdatedAt.Load())
		return nil
	}
	w.inner.Delete(host.ID)
	if updated := host.UpdatedAt.Load(); !updated.Equal(e.asked) {
		w.inner.Store(host)
		e.asked = updated
		w.track(e, updated)
		w.counted.putBack.Add(1)
		return nil
	}
	w.forget(s, host.ID)
	return host
}
