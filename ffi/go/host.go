package hostwheel

import (
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// host is one incarnation of a host, without its value: what all backends know of it, and what one of them does. It is made
// anew for each incarnation; the garbage collector frees it.
//
// What a renew touches comes first, so that it costs one cache line: with very many hosts that is what it costs.
type host struct {
	// record is where the native backend has truth and armed; nil if they are here.
	record *record
	// announcing is nil if every renew is the backend's.
	announcing *announcing
	handle     uint64
	id         string
	// truth is a word: last announce, interval and phase. The backend in Go has it here; as each incarnation has its own, no
	// word of one can be taken for one of another.
	truth atomic.Uint64
	// armed is the tick at which the observer looks at the host next; never until it was placed. Written under the wheel's
	// lock.
	armed atomic.Uint64

	core backend
	*pureHost
}

// pureHost is what the backend in Go knows of a host beside that.
type pureHost struct {
	// Under the wheel's lock.
	list     *list
	position int32
	// counted is the cadence by which the host is counted, and 1; 0 if it is not.
	counted cadence
	// held since a tick, though it is due; 0 if it is not.
	held tick
	// handout is what is known of the leave; nil if there is none.
	handout *handout
	// untold counts suspect events that the consumer has not seen yet.
	untold int32
	// suspected: the suspect event was made, and no recovered event.
	suspected bool
	// bornLate: it was registered with an age that its TTL did not survive. Nobody is late who could not be in time.
	bornLate bool

	// Under the lock of the marks.
	marked bool
	next   *host
}

func (h *host) word() word { return word(h.truth.Load()) }

func (h *host) swap(from, to word) bool {
	return h.truth.CompareAndSwap(uint64(from), uint64(to))
}

// record is a record of the Rust core, in its memory, as far as announcers touch it.
type record struct {
	truth, armed atomic.Uint64
	_            [24]byte
	generation   atomic.Uint32
	_            [20]byte
}

// idRoom is the room for an id that is not too long, right before its host: so that a look-up that has found a host by its hash
// fetches both at once.
type idRoom [idRoomLen]byte

const idRoomLen = 64

// setID keeps a copy of the id, which may be part of something large.
func (h *host) setID(id string, room *idRoom) {
	if len(id) > idRoomLen {
		h.id = strings.Clone(id)
		return
	}
	// Nobody writes there again.
	copy(room[:], id)
	h.id = unsafe.String(&room[0], len(id))
}

// is says whether the host has an id.
func (h *host) is(id string) bool {
	if len(id) > idRoomLen {
		return h.id == id
	}
	// As h.id == id; but where its bytes are need not be loaded first.
	room := (*idRoom)(unsafe.Add(unsafe.Pointer(h), -idRoomLen))
	return len(h.id) == len(id) && unsafe.String(&room[0], len(id)) == id
}

// index is the number of the record.
func (h *host) index() uint32 { return uint32(h.handle) }

// generation tells the incarnations in one record apart.
func (h *host) generation() uint32 { return uint32(h.handle >> 32) }

// stage says what an outstanding leave waits for.
type stage uint8

const (
	queued   stage = iota // to be drained
	out                   // an answer, until due
	answered              // the observer, to act on the answer
	retrying              // the next attempt, at due
)

// handout is a leave that was handed out and not answered with Done yet.
type handout struct {
	attempt int
	stage   stage
	reason  Reason
	held    tick
	due     tick
	verdict Verdict
}

// marks are the hosts that the observer must look at sooner than it planned. The lock is held for a few instructions and
// never together with work, so that nobody who finds a host marked already trusts a mark that is not there yet.
type marks struct {
	mu          sync.Mutex
	first, last *host
	count       atomic.Int64
}

func (m *marks) add(h *host) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.marked {
		return
	}
	h.marked, h.next = true, nil
	if m.last == nil {
		m.first = h
	} else {
		m.last.next = h
	}
	m.last = h
	m.count.Add(1)
}

// take takes the oldest mark; nil if there is none.
func (m *marks) take() *host {
	if m.count.Load() == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.first
	if h == nil {
		return nil
	}
	m.first, h.next, h.marked = h.next, nil, false
	if m.first == nil {
		m.last = nil
	}
	m.count.Add(-1)
	return h
}

// any says whether a host is marked.
func (m *marks) any() bool { return m.count.Load() > 0 }

// handles gives out handles: an index, and above it a generation that tells the incarnations of one index apart. First
// generations are random, so that the handle of another wheel is almost surely none of this one.
type handles struct {
	seed        uint32
	generations []uint32
	free        []uint32
}

func (t *handles) take() uint64 {
	n := len(t.free) - 1
	if n < 0 {
		t.generations = append(t.generations, t.seed%(1<<31)+1)
		return uint64(t.generations[len(t.generations)-1])<<32 | uint64(len(t.generations)-1)
	}
	index := t.free[n]
	t.free = t.free[:n]
	return uint64(t.generations[index])<<32 | uint64(index)
}

func (t *handles) give(handle uint64) {
	index := uint32(handle)
	t.generations[index]++
	// One that wrapped was used up: the index is never given out again.
	if t.generations[index] != 0 {
		t.free = append(t.free, index)
	}
}
