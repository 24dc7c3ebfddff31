package hostwheel

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// index finds hosts by their ids. Looking takes no lock, waits for nobody and allocates nothing, and touches one cache line of
// a table: with very many hosts that is what a look-up costs. (A sync.Map of a million hosts is six levels of nodes.) The
// hash is keyed, so that no client can choose ids that collide.
type index struct {
	seed maphash.Seed
	// Many tables, so that whoever builds one anew, for all its hosts, holds nobody up for long.
	shards [shards]shard
}

// shards is a power of two.
const shards = 256

type shard struct {
	table atomic.Pointer[table]
	mu    sync.Mutex // of who writes
	hosts int
	// passed is how many groups bear the mark.
	passed int
}

const (
	groupSlots = 7
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

// table is groups, a power of two of them. Only its shard writes to it, and nobody once there is a newer one.
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
	first := make([]group, shards)
	for i := range x.shards {
		x.shards[i].table.Store(&table{first[i : i+1 : i+1]})
	}
}

// shard is where an id belongs, and its hash there.
func (x *index) shard(id string) (*shard, uint64) {
	hash := maphash.String(x.seed, id)
	// Of the bits between those of the group and those of the tag.
	return &x.shards[hash>>48%shards], hash
}

// get is the host that was last put with an id; nil if there is none. It may have left since.
func (x *index) get(id string) *host {
	s, hash := x.shard(id)
	h, _, _ := s.table.Load().find(hash, id)
	return h
}

func (t *table) find(hash uint64, id string) (*host, *group, int) {
	at, tag := t.home(hash)
	for range t.groups {
		g := &t.groups[at]
		tags := g.tags.Load()
		for found := matches(tags, tag); found != 0; found &= found - 1 {
			slot := bits.TrailingZeros64(found) / 8
			if h := g.hosts[slot].Load(); h != nil && (h.is(id) || canaryTagOnly) {
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
	s, hash := x.shard(h.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	if _, g, slot := t.find(hash, h.id); g != nil {
		g.hosts[slot].Store(h)
		return
	}
	switch room := len(t.groups) * groupSlots; {
	case (s.hosts+1)*8 > room*5:
		t = x.rebuild(s, len(t.groups)*2)
	case s.passed*4 > len(t.groups):
		// Hosts that came and went have left their marks.
		t = x.rebuild(s, len(t.groups))
	}
	s.passed += t.add(hash, h)
	s.hosts++
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

// rebuild copies all hosts of a shard to a new table, for looks to come.
func (x *index) rebuild(s *shard, groups int) *table {
	t := &table{make([]group, groups)}
	s.passed = 0
	s.table.Load().each(func(h *host) bool {
		s.passed += t.add(maphash.String(x.seed, h.id), h)
		return true
	})
	s.table.Store(t)
	return t
}

// remove takes a host out, if it has not been replaced.
func (x *index) remove(h *host) {
	s, hash := x.shard(h.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, g, slot := s.table.Load().find(hash, h.id); found == h {
		g.tags.Store(g.tags.Load() &^ (0xff << (8 * slot)))
		g.hosts[slot].Store(nil)
		s.hosts--
	}
}

// each walks over all hosts, until f says false. Hosts that come or go meanwhile may be missed.
func (x *index) each(f func(*host) bool) {
	for i := range x.shards {
		if !x.shards[i].table.Load().each(f) {
			return
		}
	}
}

func (t *table) each(f func(*host) bool) bool {
	for i := range t.groups {
		for slot := range groupSlots {
			if h := t.groups[i].hosts[slot].Load(); h != nil && !f(h) {
				return false
			}
		}
	}
	return true
}
