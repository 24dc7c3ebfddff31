package dragonfly

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"
)

// entry is what is known of one host that the host manager has.
type entry struct {
	// interval is what the host said last, in nanoseconds; not positive if it named none. Changed under the stripe's lock.
	interval atomic.Int64
	// host is the one that the manager has. Changed under the stripe's lock.
	host atomic.Pointer[standard.Host]

	// The rest is under the lock of the stripe.

	// member is its latest incarnation in the wheel; nil if the wheel does not have it.
	member *member
	// untracked is about a host that the wheel should have and did not take; nil for others.
	untracked *untracked
	// asked is the host's UpdatedAt when the wheel was told of it last: what is later is news.
	asked time.Time
	// doubt is what is known, in the mode Shadow, of a host that the wheel suspects or would have removed; nil for others.
	doubt *doubt
}

// untracked is what the back-stop knows of a host that is its own to watch.
type untracked struct {
	// heard is when the host was heard last, overdue when it was first found to be gone; zero if it was not.
	heard, overdue time.Time
}

func (e *entry) said() time.Duration { return time.Duration(e.interval.Load()) }

func (e *entry) say(interval time.Duration) { e.interval.Store(int64(interval)) }

// stripes is how many locks the hosts share: so many that a look at all hosts of one of them is short.
const stripes = 1024

// table is all entries, by their hosts' ids.
type table struct {
	seed    maphash.Seed
	stripes [stripes]stripe
}

// reports are the open streams of one host.
type reports struct {
	open int // under the lock of the stripe
	// last is when the latest message came, as watch.now tells the time.
	last atomic.Int64
}

// stripe is a part of the hosts, and its lock.
type stripe struct {
	mu      sync.Mutex
	entries map[string]*entry
	// reports are the open streams on which a host reports downloads; absent if none.
	reports map[string]*reports
	_       [40]byte
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.stripes {
		t.stripes[i].entries = make(map[string]*entry)
		t.stripes[i].reports = make(map[string]*reports)
	}
}

func (t *table) stripe(id string) *stripe {
	return &t.stripes[maphash.String(t.seed, id)%stripes]
}

// lock is the stripe of a host, locked.
func (t *table) lock(id string) *stripe {
	s := t.stripe(id)
	s.mu.Lock()
	return s
}

// len is how many hosts have an entry.
func (t *table) len() (n int) {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}
