package hostwheel

import "math/bits"

// The timing wheel: at which tick to look at which host. It knows ticks and lists, and of a host only its place in them;
// its owner holds the wheel's lock.
//
// Four levels of 256 slots, 1 ms, 256 ms, 65.5 s and 4.7 h wide. Its entries are hints. One may come up early, when a slot
// of an upper level does; the owner then reads the host's word and schedules it anew. So a host that renewed meanwhile
// costs one look and no cascade.
const (
	levels   = 4
	slots    = 256
	slotBits = 8
	topShift = (levels - 1) * slotBits
	// bigSlot: an upper slot with more hints than this begins a quarter of its width early, once. What is due in its last
	// quarter returns to it. So a big slot is worked off in time, and nobody who is due meanwhile waits for it.
	bigSlot = 4096
	// keptCapacity is how many entries an emptied list keeps room for.
	keptCapacity = 1024
)

// list is a slot's hints, or a queue of hosts that wait. Entries are taken from its tail, so that places stay valid.
type list struct {
	hosts []*host
	// level and slot name the slot that owns the list; level is -1 when no slot does.
	level, slot int
}

// put appends a host that is in no list.
func (l *list) put(h *host) {
	h.list, h.position = l, int32(len(l.hosts))
	l.hosts = append(l.hosts, h)
}

// pop takes the last host out; nil if there is none.
func (l *list) pop() *host {
	n := len(l.hosts) - 1
	if n < 0 {
		return nil
	}
	h := l.hosts[n]
	l.drop(h)
	return h
}

// drop takes a host out; the last one fills its place.
func (l *list) drop(h *host) {
	n := len(l.hosts) - 1
	last := l.hosts[n]
	l.hosts[h.position], last.position = last, h.position
	l.hosts[n] = nil
	l.hosts = l.hosts[:n]
	h.list, h.position = nil, 0
	if n == 0 && cap(l.hosts) > keptCapacity {
		// A burst must not be paid for ever.
		l.hosts = nil
	}
}

type level struct {
	slots    [slots]*list
	occupied [slots / 64]uint64
	// drains are lists that were taken out of slots that have begun, the oldest first.
	drains []*list
	// begunEarly is the number (not modulo 256) of the slot last begun early.
	begunEarly uint64
}

// next is how many slots after from the next occupied one is, from itself included.
func (l *level) next(from uint64) (uint64, bool) {
	start := from % slots
	for i := range uint64(len(l.occupied) + 1) {
		at := (start/64 + i) % uint64(len(l.occupied))
		word := l.occupied[at]
		if i == 0 {
			word &= ^uint64(0) << (start % 64)
		}
		if word != 0 {
			slot := at*64 + uint64(bits.TrailingZeros64(word))
			return (slot - start) % slots, true
		}
	}
	return 0, false
}

type timing struct {
	// elapsed is the first tick not yet served.
	elapsed tick
	levels  [levels]level
	spare   []*list
}

// locate is the level and slot of a hint. The level is the lowest on which the slot numbers differ by at most 255. (By the
// highest differing bit, as is usual, the whole fleet would drain at one tick whenever a level's boundary is crossed.) A
// tick too far for the top level goes into its last slot; it is clamped before a slot is chosen, so that the slot is not
// the one being drained.
func (t *timing) locate(when tick) (int, int) {
	when = max(when, t.elapsed)
	if last := t.elapsed>>topShift + slots - 1; when>>topShift > last {
		when = last << topShift
	}
	for l := range levels - 1 {
		shift := l * slotBits
		if when>>shift-t.elapsed>>shift < slots {
			return l, int(when >> shift % slots)
		}
	}
	return levels - 1, int(when >> topShift % slots)
}

// schedule hints to look at the host at a tick; one in the past counts as the first not yet served. A host that is in a
// list already is moved.
func (t *timing) schedule(h *host, when tick) {
	t.unlist(h)
	at, slot := t.locate(when)
	level := &t.levels[at]
	if level.slots[slot] == nil {
		level.slots[slot] = t.open(at, slot)
		level.occupied[slot/64] |= 1 << (slot % 64)
	}
	level.slots[slot].put(h)
}

// unlist takes the host out of the list that it is in, if any.
func (t *timing) unlist(h *host) {
	l := h.list
	if l == nil {
		return
	}
	l.drop(h)
	if len(l.hosts) == 0 && l.level >= 0 {
		t.vacate(l.level, l.slot)
		t.close(l)
	}
}

func (t *timing) open(at, slot int) *list {
	if n := len(t.spare) - 1; n >= 0 {
		l := t.spare[n]
		t.spare = t.spare[:n]
		l.level, l.slot = at, slot
		return l
	}
	return &list{level: at, slot: slot}
}

func (t *timing) close(l *list) {
	l.level = -1
	t.spare = append(t.spare, l)
}

func (t *timing) vacate(at, slot int) {
	t.levels[at].slots[slot] = nil
	t.levels[at].occupied[slot/64] &^= 1 << (slot % 64)
}

// pop is the next host to look at, which is in no list then. nil: every hint for a tick up to now was handed out. What is
// due exactly comes before the slots of upper levels that have begun.
func (t *timing) pop(now tick) *host {
	for {
		if h := t.drain(0); h != nil {
			return h
		}
		if t.advance(now) {
			continue
		}
		for l := 1; l < levels; l++ {
			if h := t.drain(l); h != nil {
				return h
			}
		}
		return nil
	}
}

// drain pops from the oldest list of a level that has begun.
func (t *timing) drain(at int) *host {
	level := &t.levels[at]
	for len(level.drains) > 0 {
		if h := level.drains[0].pop(); h != nil {
			return h
		}
		t.close(level.drains[0])
		level.drains[0] = nil
		level.drains = level.drains[1:]
	}
	level.drains = nil
	return nil
}

// draining says whether slots have begun and are not empty yet.
func (t *timing) draining() bool {
	for i := range t.levels {
		for _, l := range t.levels[i].drains {
			if len(l.hosts) > 0 {
				return true
			}
		}
	}
	return false
}

// begin is a slot of an upper level that comes up.
type begin struct {
	tick   tick
	level  int
	number uint64
	early  bool
}

// nextBegin is the next upper slot that begins. Of each level only the next occupied one matters.
func (t *timing) nextBegin() (begin, bool) {
	next, found := begin{tick: never}, false
	for l := 1; l < levels; l++ {
		level, shift := &t.levels[l], l*slotBits
		first := t.elapsed>>shift + 1
		ahead, ok := level.next(first)
		if !ok {
			continue
		}
		number := first + ahead
		at := number << shift
		size := len(level.slots[number%slots].hosts)
		early := size > bigSlot && level.begunEarly != number
		if early {
			at = max(at-1<<shift/4, t.elapsed)
		}
		if at < next.tick {
			next, found = begin{at, l, number, early}, true
		}
	}
	return next, found
}

func (t *timing) nextNear() tick {
	if ahead, ok := t.levels[0].next(t.elapsed); ok {
		return t.elapsed + ahead
	}
	return never
}

// nextLook is the earliest tick at which there is something to hand out, never if there is none.
func (t *timing) nextLook() tick {
	if t.draining() {
		return t.elapsed
	}
	next := t.nextNear()
	if begin, ok := t.nextBegin(); ok {
		next = min(next, begin.tick)
	}
	return next
}

// advance moves to the next occupied slot of level 0 and begins it. If there is none up to now it moves past now and says
// so. Upper slots on the way begin.
func (t *timing) advance(now tick) bool {
	for t.elapsed <= now {
		near := t.nextNear()
		// An upper slot begins before the slot of level 0 at the same tick, which moves the position past it.
		if next, ok := t.nextBegin(); ok && next.tick <= min(near, now) {
			t.moveTo(next.tick)
			if next.early {
				t.levels[next.level].begunEarly = next.number
				t.start(next.level, next.number)
			}
			continue
		}
		if near > now {
			t.moveTo(now + 1)
			return false
		}
		t.moveTo(near)
		t.start(0, near)
		t.moveTo(near + 1)
		return true
	}
	return false
}

// moveTo moves the position, past no occupied slot, and begins the upper slots that start there.
func (t *timing) moveTo(to tick) {
	t.elapsed = to
	for l := 1; l < levels; l++ {
		shift := l * slotBits
		if to%(1<<shift) != 0 {
			return
		}
		t.start(l, to>>shift)
	}
}

// start takes the slot's list out, to be drained, and leaves the slot empty: what goes back into it does not make the
// drain endless.
func (t *timing) start(at int, number uint64) {
	slot := int(number % slots)
	l := t.levels[at].slots[slot]
	if l == nil {
		return
	}
	t.vacate(at, slot)
	l.level = -1
	t.levels[at].drains = append(t.levels[at].drains, l)
}
