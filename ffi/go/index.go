package hostwheel

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// index finds hosts by their ids. Looking takes no lock, waits for nobody and allocates nothing, and touches one cache line of
// the table: with very many hosts that is what a look-up costs. (A sync.Map of a million hosts is six levels of nodes.) The
// hash is keyed, so that no client can choose ids that collide.
type index struct {
	seed  maphash.Seed
	table atomic.Pointer[table]
	mu    sync.Mutex // of who writes
	hosts int
	// passed is how many groups bear the mark.
	passed int
}

const (
	groupSlots = 7
	leastTable = 16 // groups
	tagOnes    = 0x0001_0101_0101_0101
	tagHighs   = 0x0080_8080_8080_8080
	// passedMark, in a group's tags: a host was put into a later group as this one was full. It stays until the table is
	// built anew, so that who leaves need not be looked after.
	passedMark = 1 << 63
)

// group is one cache line.
type group struct {
	// tags has a byte of each slot's hash, not 0 if the slot is used, and the mark.
	tags  atomic.Uint64
	hosts [groupSlots]atomic.Pointer[host]
}

// table is groups, a power of two of them. Only its index writes to it, and nobody once there is a newer one.
type table struct {
	groups []group
}

// home is the group where a hash is at home, and its tag.
func (t *table) home(hash uint64) (uint64, uint64) {
	return hash & uint64(len(t.groups)-1), hash>>56 | 1
}

func (t *table) next(at uint64) uint64 { return (at + 1) & uint64(len(t.groups)-1) }

// matches has the highest bit of each byte that may be the tag, and of each that is; the mark is none of them.
func matches(tags, tag uint64) uint64 {
	differ := tags&^passedMark ^ tag*tagOnes
	return (differ - tagOnes) & ^differ & tagHighs
}

func (x *index) init() {
	x.seed = maphash.MakeSeed()
	x.table.Store(&table{make([]group, leastTable)})
}

func (x *index) hash(id string) uint64 { return maphash.String(x.seed, id) }

// get is the host that was last put with an id; nil if there is none. It may have left since.
func (x *index) get(id string) *host {
	h, _, _ := x.table.Load().find(x.hash(id), id)
	return h
}

func (t *table) find(hash uint64, id string) (*host, *group, int) {
	at, tag := t.home(hash)
	for range t.groups {
		g := &t.groups[at]
		tags := g.tags.Load()
		for found := matches(tags, tag); found != 0; found &= found - 1 {
			slot := bits.TrailingZeros64(found) / 8
			if h := g.hosts[slot].Load(); h != nil && h.is(id) {
				return h, g, slot
			}
		}
		if tags&passedMark == 0 {
			break
		}
		at = t.next(at)
	}
	return nil, nil, 0
}

// put enters a host, in the place of the one with the same id, if there is one.
func (x *index) put(h *host) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t, hash := x.table.Load(), x.hash(h.id)
	if _, g, slot := t.find(hash, h.id); g != nil {
		g.hosts[slot].Store(h)
		return
	}
	room := len(t.groups) * groupSlots
	switch {
	case (x.hosts+1)*8 > room*5:
		t = x.rebuild(len(t.groups) * 2)
	case x.passed*4 > len(t.groups):
		// Hosts that came and went have left their marks.
		t = x.rebuild(len(t.groups))
	}
	x.passed += t.add(hash, h)
	x.hosts++
}

// add enters a host whose id is not there, and says how many groups it has marked.
func (t *table) add(hash uint64, h *host) (marked int) {
	at, tag := t.home(hash)
	for {
		g := &t.groups[at]
		tags := g.tags.Load()
		for slot := range groupSlots {
			if tags>>(8*slot)&0xff == 0 {
				// Who sees the tag finds the host.
				g.hosts[slot].Store(h)
				g.tags.Store(tags | tag<<(8*slot))
				return marked
			}
		}
		if tags&passedMark == 0 {
			g.tags.Store(tags | passedMark)
			marked++
		}
		at = t.next(at)
	}
}

// rebuild copies all hosts to a new table, for looks to come.
func (x *index) rebuild(groups int) *table {
	t := &table{make([]group, groups)}
	x.passed = 0
	x.each(func(h *host) bool {
		x.passed += t.add(x.hash(h.id), h)
		return true
	})
	x.table.Store(t)
	return t
}

// remove takes a host out, if it has not been replaced.
func (x *index) remove(h *host) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if found, g, slot := x.table.Load().find(x.hash(h.id), h.id); found == h {
		g.tags.Store(g.tags.Load() &^ (0xff << (8 * slot)))
		g.hosts[slot].Store(nil)
		x.hosts--
	}
}

// each walks over all hosts, until f says false. Hosts that come or go meanwhile may be missed.
func (x *index) each(f func(*host) bool) {
	groups := x.table.Load().groups
	for i := range groups {
		for slot := range groupSlots {
			if h := groups[i].hosts[slot].Load(); h != nil && !f(h) {
				return
			}
		}
	}
}
