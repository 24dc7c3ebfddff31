package hostwheel

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// flood: so many hosts that said goodbye and were not freed yet, and as many as live, have a registration free them.
const flood = 8192

// pure is the backend in Go.
//
// The truth about a host is one atomic word. Who announces swaps it and is done, unless the host is due sooner than the
// observer planned to look at it: then it marks the host and wakes the observer. The timing wheel holds hints, one for
// each host, and is read and written under the lock mu alone, by whoever observes: run, or advance. A visit reads the
// word and acts on it, or hints again.
//
//	announcer                                  observer
//	1 swap the word                            place:  store armed, read the word again,
//	2 deadline before armed? mark                      again if its deadline is earlier now
//	3 deadline before the alarm? wake          sleep:  store the alarm, stay awake if a host is marked
//
// Of two that each write and then read what the other writes, at least one sees the other; Go's atomics are sequentially
// consistent. So no hint is lost, and there is no back-stop: a host is in one list of the wheel, or in the queue of
// events, or marked, or has a callback running, each of which ends with a visit; and all lists change under one lock.
type pure struct {
	settings
	clock clock
	index index
	marks marks
	// alarm is the tick until which the observer sleeps; 0 while it is awake.
	alarm    atomic.Uint64
	wakes    chan struct{}
	shut     chan struct{}
	shutOnce sync.Once
	// What announcers and callbacks count.
	goodbyes, clamps, panics, superseded atomic.Uint64
	released                             atomic.Bool

	mu      sync.Mutex
	timing  timing
	looker  looker
	brake   bucket
	silence silence
	rates   rates
	handles handles
	// incoming and outgoing are the hosts that wait for their turn to leave: those since the last exchange, and before.
	incoming, outgoing *list
	// starved are the hosts that wait for room in the queue.
	starved    *list
	queue      []event
	queueLimit int
	// inUse is how many hosts were registered and not freed yet; known, how many of these the observer has looked at.
	inUse, known int
	goodbyesSeen uint64
	braking      bool
	brakingSince tick
	brakeTicks   tick
	counts       Stats
	guards       guardTold
}

func newPure(s settings) *pure {
	p := &pure{settings: s, wakes: make(chan struct{}, 1), shut: make(chan struct{})}
	p.index.init()
	p.clock.init(&s)
	p.looker.init(&s)
	now := p.looker.tick()
	p.timing.elapsed = now
	p.brake.init(s.brake, s.hostTTL, now)
	p.silence.init(s.silenceExpected, s.hostTTL, 1<<p.clock.granuleLog2)
	p.handles.seed = rand.Uint32()
	p.incoming, p.outgoing, p.starved = &list{level: -1}, &list{level: -1}, &list{level: -1}
	p.queueLimit = min(s.maxOutstanding, 1024)
	if s.manual {
		// The first look, so that time may pass from now on.
		p.mu.Lock()
		p.step()
		p.mu.Unlock()
	}
	return p
}

func (p *pure) kind() Backend         { return Pure }
func (p *pure) closed() bool          { return p.clock.closed.Load() }
func (p *pure) done() <-chan struct{} { return p.shut }
func (p *pure) panicked()             { p.panics.Add(1) }
func (p *pure) fault() error          { return nil }

func (p *pure) close() {
	p.shutOnce.Do(func() {
		p.clock.close()
		close(p.shut)
	})
}

func (p *pure) phase(h *host) phase { return h.word().phase() }

func (p *pure) touch(h *host, c call) (Outcome, error) {
	if p.closed() {
		return 0, ErrClosed
	}
	cadence, clamped := p.clamp(c.interval)
	for {
		w := h.word()
		switch w.phase() {
		case live, suspect:
		case taken:
			return 0, ErrTaken
		default:
			return 0, ErrStale
		}
		now := p.clock.stamp()
		stamp := p.stampOf(c, now)
		heard := p.heard(w, c, cadence, now, stamp)
		if heard != w && !h.swap(w, heard) {
			continue
		}
		p.clock.hear(stamp, now)
		if c.sets && clamped {
			p.clamps.Add(1)
		}
		if w.phase() == suspect && heard.phase() == live {
			if stamp < now {
				p.clock.vouched.Store(now)
			}
			p.report(h, 0)
			return Recovered, nil
		}
		p.reportEarly(h, heard)
		return Renewed, nil
	}
}

func (p *pure) stampOf(c call, now tick) tick {
	switch {
	case !c.dated:
		return now
	case c.aged:
		return saturatingSub(now, c.age)
	default:
		return p.clock.stampOf(c.at, now)
	}
}

// heard is the word after an announce.
func (p *pure) heard(w word, c call, announced cadence, now, stamp tick) word {
	if c.dated && stamp < w.last() && !canaryOldNews {
		// News from before the last announce changes nothing: what came later knew better.
		stamp, announced = w.last(), w.cadence()
	}
	if !c.sets {
		announced = w.cadence()
	}
	heard := newWord(max(w.last(), stamp), announced, w.phase())
	if heard.phase() == suspect && p.deadline(heard) > now {
		return heard.in(live)
	}
	return heard
}

// reportEarly reports a host that the observer must look at sooner than it planned. Every announce asks, also one that
// changed nothing: the one that did may be held back before it reports.
func (p *pure) reportEarly(h *host, w word) {
	if due := p.lookAt(w); due < h.armed.Load() {
		p.report(h, due)
	}
}

func (p *pure) report(h *host, due tick) {
	p.marks.add(h)
	if due < p.alarm.Load() {
		p.wake()
	}
}

// wake wakes the observer, or keeps it from its next sleep.
func (p *pure) wake() {
	select {
	case p.wakes <- struct{}{}:
	default:
	}
}

func (p *pure) find(id string) *host {
	h := p.index.get(id)
	if h == nil || !h.word().alive() {
		return nil
	}
	return h
}

func (p *pure) hear(id string, c call) (*host, Outcome, bool) {
	h := p.find(id)
	if h == nil {
		return nil, 0, false
	}
	if !c.dated {
		// In its usual form the announce is a renew: the interval is the one that it was.
		if cadence, clamped := p.clamp(c.interval); !clamped && h.renewNow(cadence) {
			return h, Renewed, true
		}
	}
	outcome, err := p.touch(h, c)
	return h, outcome, err == nil
}

func (p *pure) register(id string, c call, fresh func() *host) (*host, Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed() {
			return nil, 0, ErrClosed
		}
		// Another goroutine may have been faster; that host may have left again when we get to it.
		h := p.find(id)
		if h == nil {
			break
		}
		if outcome, err := p.touch(h, c); err == nil {
			return h, outcome, nil
		}
	}
	p.relieve()
	if p.alive()+p.counts.Outstanding >= uint64(p.maxHosts) {
		return nil, 0, ErrFull
	}
	return p.enter(c, fresh), Registered, nil
}

func (p *pure) lookup(id string) *host {
	h := p.index.get(id)
	if h == nil || h.word().alive() {
		return h
	}
	// It may have been replaced at this moment.
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(id)
}

func (p *pure) replace(id string, interval time.Duration, fresh func() *host) (*host, *host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed() {
			return nil, nil, ErrClosed
		}
		old := p.find(id)
		if old == nil {
			p.relieve()
			if p.alive()+p.counts.Outstanding >= uint64(p.maxHosts) {
				return nil, nil, ErrFull
			}
		} else if p.leave(old) != nil {
			continue // it has left, or was taken
		}
		// While we hold the lock the id is looked up by waiting for us: see lookup.
		return p.enter(call{sets: true, interval: interval}, fresh), old, nil
	}
}

// enter registers a host that is not known. The caller holds the lock, and has looked for room.
func (p *pure) enter(c call, fresh func() *host) *host {
	cadence, clamped := p.clamp(c.interval)
	if clamped {
		p.clamps.Add(1)
	}
	now := p.clock.stamp()
	stamp := p.stampOf(c, now)
	h := fresh()
	h.handle, h.announcing = p.handles.take(), &p.clock.announcing
	h.bornLate = now-stamp >= p.ttl(cadence)
	h.armed.Store(never)
	w := newWord(max(stamp, 1), cadence, live)
	h.truth.Store(uint64(w))
	p.index.put(h)
	p.inUse++
	p.counts.Registered++
	p.counts.Records = max(p.counts.Records, uint64(p.inUse))
	p.clock.hear(stamp, now)
	p.report(h, p.lookAt(w))
	return h
}

// relieve frees hosts that said goodbye when they pile up: goodbyes wake nobody. On the manual clock things happen in advance
// alone.
func (p *pure) relieve() {
	if p.manual || p.goodbyes.Load()-p.goodbyesSeen < max(flood, p.alive()) {
		return
	}
	for range p.marks.count.Load() {
		h := p.marks.take()
		if h == nil {
			return
		}
		if h.word().phase() == left {
			p.sayGoodbye(h)
		} else {
			p.marks.add(h)
		}
	}
}

// alive is how many hosts are known and not handed out.
func (p *pure) alive() uint64 {
	c := &p.counts
	return c.Registered - min(c.Registered, p.goodbyes.Load()+c.LeavesTTL+c.LeavesHostTTL)
}

func (p *pure) leave(h *host) error {
	if p.closed() {
		return ErrClosed
	}
	for {
		w := h.word()
		switch w.phase() {
		case live, suspect:
		case taken:
			return ErrTaken
		default:
			return ErrStale
		}
		if h.swap(w, w.in(left)) {
			p.goodbyes.Add(1)
			p.marks.add(h)
			return nil
		}
	}
}

func (p *pure) release() error {
	if p.closed() {
		return ErrClosed
	}
	p.released.Store(true)
	p.wake()
	return nil
}

func (p *pure) each(f func(*host) bool) {
	p.index.each(func(h *host) bool {
		if !h.word().alive() {
			if h = p.lookup(h.id); h == nil {
				return true
			}
		}
		return f(h)
	})
}

func (p *pure) inspect(h *host) (Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, now := h.word(), p.clock.tickNow()
	s := Status{
		Handle:   h.handle,
		Interval: w.cadence().interval(),
		LastSeen: sinceOpen(w.last()),
		Age:      lengthOf(saturatingSub(now, w.last())),
		Deadline: sinceOpen(p.deadline(w)),
		LeavesAt: sinceOpen(p.leavesAt(w)),
	}
	switch w.phase() {
	case live:
		s.State = Live
	case suspect:
		s.State = Suspected
	case taken:
		s.State = Taken
	default:
		return Status{}, ErrStale
	}
	armed := h.armed.Load()
	if armed != never {
		s.Looked, s.NextLook = true, sinceOpen(armed)
	}
	if h.held != 0 && w.alive() && p.leavesAt(w) <= now {
		s.HeldSince = sinceOpen(h.held)
		switch {
		case armed > now || p.silence.lasts:
			s.HeldBy = HeldBySilence
		case p.counts.Outstanding >= uint64(p.maxOutstanding):
			s.HeldBy = HeldByOutstanding
		default:
			s.HeldBy = HeldByBrake
		}
	}
	return s, nil
}

func (p *pure) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Live = p.alive()
	s.Left = p.goodbyes.Load()
	s.Clamps, s.Panics, s.Superseded = p.clamps.Load(), p.panics.Load(), p.superseded.Load()
	s.Waiting = uint64(p.turn() + len(p.starved.hosts))
	s.Silence = lengthOf(p.silence.length(p.looker.tick()))
	s.Silences = p.silence.starts
	s.Brake = lengthOf(p.brakeTicks)
	s.Away = time.Duration(p.looker.missedNS)
	s.Now = time.Duration(p.clock.nowNS())
	s.Margin = p.clock.announcing.watch.margin()
	return s
}
