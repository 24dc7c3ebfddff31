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

	// The rest is under the lock of the stripe.

	host *standard.Host
	// member is its latest incarnation in the wheel; nil if the wheel does not have it.
	member *member
	// untracked: it should have.
	untracked bool
	// asked is the host's UpdatedAt when the wheel was told of it last: what is later is news.
	asked time.Time
	// doubt is what is known of a host that the wheel suspects or, in the mode Shadow, would have removed; nil for others.
	doubt *doubt
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

// stripe is a part of the hosts, and its lock.
type stripe struct {
	mu      sync.Mutex
	entries map[string]*entry
	// downloads is how many open streams report downloads of a host; absent if none.
	downloads map[string]int
	_         [40]byte
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.stripes {
		t.stripes[i].entries = make(map[string]*entry)
		t.stripes[i].downloads = make(map[string]int)
	}
}

func (t *table) stripe(id string) *stripe {
	return &t.stripes[maphash.String(t.seed, id)%stripes]
}
