package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage is a time in which Redis took no writes, or nobody looked whether it did.
type outage struct{ from, to time.Time }

// remembered is how many outages are told apart. Of more, the two oldest count as one, with what is between.
const remembered = 64

// link says when Redis took writes. In the time in which it did not, announces of living hosts were lost, so it counts against no
// host.
type link struct {
	store     store
	heartbeat time.Duration
	clock     func() time.Time
	logger    *slog.Logger
	// recovered is called after an outage.
	recovered func(context.Context)

	mu      sync.Mutex
	outages []outage
	// good is when Redis took a write for the last time; down says that it has failed since.
	good time.Time
	down bool
	// outageCount counts those that were not forgotten as well, failures heartbeats that failed.
	outageCount, failures uint64
}

// retryDown is how often Redis is tried while it is down.
const retryDown = 300 * time.Millisecond

// slow is how late a heartbeat may be. After that nobody knows what became of announces: Redis stood still, and the client tried
// until it went on; or this scheduler did, and maybe others on the same machine.
const slow = 3 * time.Second

// run watches Redis until ctx ends.
func (l *link) run(ctx context.Context) {
	// Nobody has looked since the watch was made.
	l.mu.Lock()
	l.good = l.clock()
	l.mu.Unlock()
	for wait := time.Duration(0); sleep(ctx, wait); wait = l.beat(ctx) {
	}
}

// beat looks whether Redis takes writes, and returns when to look again.
func (l *link) beat(ctx context.Context) time.Duration {
	err := l.store.beat(ctx)
	if ctx.Err() != nil {
		return 0
	}
	switch ended := l.note(err); {
	case err != nil:
		return retryDown
	case ended:
		l.recovered(ctx)
	}
	return l.heartbeat
}

// keep has the heart beat in the midst of long work, and says whether Redis takes writes.
func (l *link) keep(ctx context.Context) bool {
	l.mu.Lock()
	due := l.clock().Sub(l.good) >= l.heartbeat
	l.mu.Unlock()
	if !due {
		return true
	}
	err := l.store.beat(ctx)
	if ctx.Err() == nil {
		l.note(err)
	}
	return err == nil
}

// note notes whether Redis took a write, and says whether that ends an outage.
func (l *link) note(err error) bool {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failures++
		if !l.down {
			l.down = true
			l.logger.Warn("hostwheel/cluster: Redis takes no writes: no host is deleted until it does", "error", err)
		}
		return false
	}
	ended := l.down || l.late(now)
	if ended {
		l.down = false
		l.outageCount++
		l.outages = append(l.outages, outage{l.good, now})
		if len(l.outages) > remembered {
			l.outages[1].from = l.outages[0].from
			l.outages = append(l.outages[:0], l.outages[1:]...)
		}
		l.logger.Info("hostwheel/cluster: Redis takes writes again, or this scheduler goes on", "after", now.Sub(l.good))
	}
	l.good = now
	return ended
}

// wrote notes that Redis took a write of somebody else's.
func (l *link) wrote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Of a heartbeat that is late, its own answer tells.
	if now := l.clock(); !l.down && !l.late(now) {
		l.good = now
	}
}

// late says whether the heartbeat should have been answered long ago. The caller holds the lock.
func (l *link) late(now time.Time) bool { return now.Sub(l.good) > l.heartbeat+slow }

// up says whether Redis took the latest write, and not too long ago.
func (l *link) up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.down && !l.late(l.clock())
}

// short is an outage that takes one announce of a host at most, or, of one that announces itself very often, no more than the
// margin covers.
const short = 5 * time.Second

// lost is how much longer than usual a host of that interval, which was heard then, must be waited for, because announces may
// have been lost in outages. Hosts announce themselves at their interval, whether they were heard or not: an outage costs as
// many whole intervals as it has announces of the host, however little it is longer than needed for that. But one short one
// is a lost announce, which the grace is for.
func (l *link) lost(heard time.Time, interval time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost time.Duration
	excused := false
	for _, o := range l.outages {
		length := o.to.Sub(later(o.from, heard))
		switch {
		case length <= 0:
		case length <= short && !excused:
			excused = true
			lost += length
		default:
			lost += (length/interval + 1) * interval
		}
	}
	return lost
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits, and says whether ctx is still good.
func sleep(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
