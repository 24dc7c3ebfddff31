package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// onSuspect answers the wheel's question whether others have heard of a host.
func (w *Watch) onSuspect(ev *event) {
	d := &doubt{member: ev.Member}
	w.doubts.Store(ev.ID(), d)
	defer w.settleIfLeft(ev.Member)
	if !w.link.up() {
		return
	}
	a, err := w.ask(ev.ID())
	if err != nil {
		return
	}
	if !a.exists() {
		// Another scheduler has deleted it, or it was never stored.
		w.counted.missing.Add(1)
		w.leave(ev.Member)
		return
	}
	h, ok := a.latest()
	if !ok {
		return
	}
	interval, ago := w.news(ev.Value(), h)
	if !w.lives(h.interval, ago) {
		d.asked = &a
		return
	}
	w.counted.heardElsewhere.Add(1)
	// Refused if it has said goodbye meanwhile, or the wheel is closed.
	if at := w.instant().Add(-ago); interval == ev.Interval {
		_ = ev.Member.RenewAt(at)
	} else {
		_ = ev.Member.AnnounceAt(at, interval)
	}
}

// ask reads a host in all resources, or up to one in which it lives.
func (w *Watch) ask(id string) (a answer, err error) {
	for _, r := range w.Resources {
		if a[r], err = w.store.ask(context.Background(), r, id); err != nil {
			w.failed("read of a host", err)
			return a, err
		}
		if h, ok := a[r].parse(); ok && w.lives(h.interval, w.wall().Sub(h.at)) {
			break
		}
	}
	return a, nil
}

// lives says whether a host that was heard so long ago, by Redis, is within its TTL. Redis may seem to know a little later of one
// and the same announce than this scheduler: it has another's clock, in whole seconds, and that one may have heard the host a
// moment later. That is no news, and no reason to ask twice.
func (w *Watch) lives(interval, ago time.Duration) bool {
	effective := w.effective(interval)
	return !w.expires(interval) || ago+min(w.margin(), effective/4) < 2*effective
}

// askAgain asks for all hosts that are in doubt. After an outage that may be all, none of which Redis was asked for, and if this
// scheduler hears nobody itself, its wheel would take that for its own fault, and wait.
func (w *Watch) askAgain(ctx context.Context) {
	var members []*member
	w.doubts.Range(func(_, d any) bool {
		members = append(members, d.(*doubt).member)
		return true
	})
	for list := range slices.Chunk(members, w.Page) {
		if !w.link.keep(ctx) {
			return
		}
		ids := make([]string, len(list))
		answers := make([]answer, len(list))
		for i, m := range list {
			ids[i] = m.ID()
		}
		for _, r := range w.Resources {
			records, err := w.store.read(ctx, r, ids)
			if err != nil {
				// Another outage, or what is next is asked one by one.
				w.failed("read of hosts in doubt", err)
				return
			}
			for i, is := range records {
				answers[i][r] = is
			}
		}
		for i, m := range list {
			h, ok := answers[i].latest()
			if ago := w.wall().Sub(h.at); ok && ago < 2*w.effective(h.interval) {
				// Refused if it is handed out already, and then it is asked for again.
				_ = m.RenewAt(w.instant().Add(-max(0, ago)))
			}
		}
	}
}

// onRecovered ends the doubt about a host.
func (w *Watch) onRecovered(ev *event) { w.settle(ev.Member) }

// news is what the wheel is to be told of an answer: the interval, and how long ago the host was heard.
func (w *Watch) news(known *host, h heard) (interval, ago time.Duration) {
	ago = max(0, w.wall().Sub(h.at))
	if lost := w.lost(known, h); lost > 0 {
		w.counted.regressions.Add(1)
		if w.once("regression") {
			w.logger.Warn("hostwheel/cluster: Redis has gone back in time; hosts get another interval to be heard", "by", lost)
		}
		ago = min(ago, w.effective(h.interval))
		known.floor = w.now() - w.effective(h.interval)
	}
	known.read = h.at.Unix()
	if !w.expires(h.interval) {
		ago = 0
	}
	return w.announced(h.interval), ago
}

// lost is by how much Redis knew better before, if by more than clocks differ: it has lost what it was told, and maybe more.
func (w *Watch) lost(known *host, h heard) time.Duration {
	lost := time.Duration(known.read-h.at.Unix()) * time.Second
	if known.read == 0 || lost <= w.margin() {
		return 0
	}
	return lost
}

const (
	// retry is how long a leave waits at first for a Redis that does not answer.
	retry = 500 * time.Millisecond
	// longest is how long a leave waits at most before it looks at the clocks again.
	longest = time.Minute
)

// onLeave deletes a host that this scheduler has given up, if Redis says the same of it.
func (w *Watch) onLeave(ev *event) hostwheel.Verdict {
	if wait := w.give(ev); wait > 0 {
		return hostwheel.Retry(min(wait, longest))
	}
	w.settle(ev.Member)
	return hostwheel.Done
}

// give deletes a host, or keeps it. It returns how long to wait if neither can be done now; 0 if it is done.
func (w *Watch) give(ev *event) time.Duration {
	if m, ok := w.wheel.Lookup(ev.ID()); ok && m != ev.Member {
		w.counted.superseded.Add(1)
		return 0
	}
	if !w.link.up() {
		// Soon, as it is due when Redis is back; but tens of thousands may wait for that.
		return retry << min(ev.Attempt-1, 2)
	}
	d := w.doubtOf(ev)
	if d.asked == nil {
		a, err := w.ask(ev.ID())
		if err != nil {
			return d.again()
		}
		if !a.exists() {
			w.counted.missing.Add(1)
			return 0
		}
		d.asked = &a
	}
	h, ok := d.asked.latest()
	if !ok {
		for _, r := range w.Resources {
			if is := d.asked[r]; is.exists() {
				w.unreadable(ev.ID(), r, is)
			}
		}
		return 0
	}
	age := min(w.wall().Sub(h.at), w.now()-ev.Value().floor)
	// What was lost together with an outage is seen here first, as in it nobody was asked for.
	if w.lost(ev.Value(), h) > 0 || !w.expires(h.interval) || age < 2*w.effective(h.interval) {
		return w.keep(ev, h)
	}
	if wait := w.due(h.interval) - age + w.link.lost(w.instant().Add(-age), w.effective(h.interval)); wait > 0 {
		return wait
	}
	return w.remove(ev, d, h)
}

// again is how long a leave waits after another command about its host has failed, though Redis takes writes: twice as long each
// time, as it may be refused for ever.
func (d *doubt) again() time.Duration {
	d.failures++
	return retry << min(d.failures-1, 7)
}

// doubtOf is the doubt about a host that is handed out as a leave.
func (w *Watch) doubtOf(ev *event) *doubt {
	if known, ok := w.doubts.Load(ev.ID()); ok && known.(*doubt).member == ev.Member {
		return known.(*doubt)
	}
	// The doubt about another incarnation took its place, or the wheel did not call this one a suspect first.
	d := &doubt{member: ev.Member}
	w.doubts.LoadOrStore(ev.ID(), d)
	return d
}

// keep has a host back in the wheel that was found gone and of which there is news.
func (w *Watch) keep(ev *event, h heard) time.Duration {
	w.counted.heardElsewhere.Add(1)
	interval, ago := w.news(ev.Value(), h)
	w.announce(ev.ID(), interval, ago, &host{read: ev.Value().read, floor: ev.Value().floor})
	return 0
}

// remove deletes a host, if it is still what it was when it was asked for.
func (w *Watch) remove(ev *event, d *doubt, h heard) time.Duration {
	// By Redis's clock, which may be behind this one by the skew.
	earliest := h.at.Add(w.due(h.interval) - w.Skew)
	for _, r := range w.Resources {
		if _, readable := d.asked[r].parse(); !readable {
			continue
		}
		is, err := w.store.remove(context.Background(), r, ev.ID(), d.asked[r], earliest)
		if err != nil {
			w.failed("deletion of a host", err)
			return d.again()
		}
		switch is.outcome {
		case removed:
			w.link.wrote()
			w.removed(ev, Removal{ID: ev.ID(), Resource: r, LastHeard: h.at, Interval: h.interval, Peers: is.peers})
		case missing:
			w.counted.others[r].Add(1)
		case early:
			w.counted.early.Add(1)
			if w.once("early") {
				w.logger.Warn("hostwheel/cluster: Redis's clock is behind this scheduler's by more than the skew; hosts are deleted when both agree",
					"host", ev.ID(), "by", is.wait)
			}
			return max(is.wait, retry)
		case changed:
			if now, ok := is.record.parse(); ok {
				return w.keep(ev, now)
			}
			w.unreadable(ev.ID(), r, is.record)
		}
		// Should the other resource have to be tried again.
		d.asked[r] = record{}
	}
	return 0
}

// removed tells of a host that was deleted.
func (w *Watch) removed(ev *event, r Removal) {
	w.counted.removed[r.Resource].Add(1)
	w.counted.peers.Add(uint64(len(r.Peers)))
	w.logger.Info("hostwheel/cluster: host has been reclaimed", "host", r.ID, "resource", r.Resource, "peers", len(r.Peers), "why", ev)
	if w.Removed != nil {
		w.Removed(r)
	}
}
