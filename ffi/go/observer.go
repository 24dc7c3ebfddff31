package hostwheel

import (
	"runtime"
	"time"
)

// visitsPerStep is the most visits of one kind in a step: after so many the clock is read again, and the lock is free for
// a moment.
const visitsPerStep = 1024

// step is a look at the clock, and then at what is marked or due, up to a limit. Events are in the queue afterwards. The
// caller holds the lock, here and in all of this file.
func (p *pure) step() {
	missed := p.looker.missedNS
	now := p.looker.look(&p.clock, p.known == 0)
	if p.looker.missedNS != missed {
		p.silence.wasAway(now)
		p.tellGuard(WasAway, now, now, time.Duration(p.looker.missedNS-missed))
	}
	p.silence.look(now, p.clock.heardUntil())
	p.silence.vouchedAt = p.clock.vouched.Load()
	p.silence.learn(now, p.clock.takeGap(), &p.rates)
	p.brake.look(now, p.alive())
	turn := p.turn()
	if p.released.Swap(false) {
		p.brake.released = uint64(turn)
	}
	if turn == 0 {
		// Nobody waits any more: what is left of a release is void.
		p.brake.released = 0
	}
	p.serveStarved(min(len(p.starved.hosts), visitsPerStep))
	p.serveWaiting(min(turn, visitsPerStep))
	for range visitsPerStep {
		h := p.marks.take()
		if h == nil {
			break
		}
		p.visit(h)
	}
	for range visitsPerStep {
		h := p.timing.pop(now)
		if h == nil {
			break
		}
		p.visit(h)
	}
	if p.braking {
		p.brakeTicks += now - p.brakingSince
	}
	p.braking = p.turn() > 0 && !p.brake.open() && !p.silence.lasts
	p.brakingSince = now
	p.tellOfGuards(now)
}

// serveStarved looks again at hosts that were waiting for room in the queue before this step.
func (p *pure) serveStarved(n int) {
	for ; n > 0 && !p.paused(); n-- {
		p.visit(p.starved.pop())
	}
}

// serveWaiting looks again at hosts that were waiting for their turn before this step.
func (p *pure) serveWaiting(n int) {
	for ; n > 0 && !p.paused() && p.mayTake(); n-- {
		if len(p.outgoing.hosts) == 0 {
			p.incoming, p.outgoing = p.outgoing, p.incoming
		}
		h := p.outgoing.pop()
		if h == nil {
			return
		}
		p.visit(h)
	}
}

// turn is how many hosts wait for their turn to leave.
func (p *pure) turn() int { return len(p.incoming.hosts) + len(p.outgoing.hosts) }

// paused says whether events must be drained before more are made.
func (p *pure) paused() bool { return len(p.queue) >= p.queueLimit }

// mayTake says whether another leave may go: nothing holds it, and another may be outstanding.
func (p *pure) mayTake() bool {
	return p.counts.Outstanding < uint64(p.maxOutstanding) && p.brake.open() && !p.silence.lasts
}

// more says whether there is more to do at once.
func (p *pure) more() bool {
	room := !p.paused() && (len(p.starved.hosts) > 0 || p.turn() > 0 && p.mayTake())
	return room || p.marks.any() || p.timing.draining() || p.timing.nextLook() <= p.looker.tick()
}

// nextLook is when to step again if nobody wakes the observer; never if it need not.
func (p *pure) nextLook() tick {
	if p.known == 0 || p.looker.tick() == lastTick {
		return never
	}
	next := p.looker.nextLook()
	if p.turn() > 0 && !p.paused() {
		switch {
		case p.silence.lasts:
			// Who ends it earlier by announcing need not wake us.
			next = min(next, p.silence.since+p.silence.limit, p.looker.tick()+1000)
		case !p.brake.open():
			next = min(next, p.brake.opensAt())
		}
	}
	return min(next, p.timing.nextLook())
}

// visit looks at a host and does what its word asks for. Early visits are harmless, so anyone may cause one.
func (p *pure) visit(h *host) {
	p.counts.Visits++
	for settled := false; !settled; {
		w := h.word()
		// All of these return whether they are done; if not, the word changed under them.
		switch w.phase() {
		case live:
			settled = p.visitLive(h, w)
		case suspect:
			settled = p.visitSuspect(h, w)
		case left:
			p.visitLeft(h, w)
			settled = true
		case taken:
			p.visitTaken(h)
			settled = true
		default: // freed since it was marked
			settled = true
		}
	}
}

func (p *pure) visitLive(h *host, w word) bool {
	p.silence.saw(w.last())
	if h.suspected {
		if p.paused() {
			return p.starve(h)
		}
		p.endSuspicion(h)
		p.counts.Recoveries++
		p.emit(h, w, RecoveredEvent)
	}
	p.count(h, w.cadence()+1)
	deadline, now := p.deadline(w), p.looker.tick()
	if deadline > now {
		h.held, h.bornLate = 0, false
		p.place(h, deadline)
		return true
	}
	if p.graceOf(w.cadence()) == 0 {
		return p.take(h, w)
	}
	if p.paused() {
		return p.starve(h)
	}
	doubted := w.in(suspect)
	if !h.swap(w, doubted) {
		return false
	}
	h.suspected = true
	h.untold++
	p.counts.Suspect++
	p.counts.Suspects++
	p.emit(h, doubted, SuspectEvent)
	p.place(h, p.leavesAt(doubted))
	return true
}

func (p *pure) visitSuspect(h *host, w word) bool {
	p.count(h, w.cadence()+1)
	if leavesAt := p.leavesAt(w); leavesAt > p.looker.tick() {
		h.held = 0
		p.place(h, leavesAt)
		return true
	}
	if h.untold > 0 {
		// The consumer has yet to see its suspect event, and may answer it for the host. told marks it then.
		p.arm(h, p.looker.tick())
		p.timing.unlist(h)
		return true
	}
	return p.take(h, w)
}

func (p *pure) visitLeft(h *host, w word) {
	if p.manual && p.looker.tick() <= w.last() {
		// It counts until wheel time has passed its last announce, as in the Rust core, whose records are used again.
		p.endSuspicion(h)
		p.count(h, 0)
		p.schedule(h, w.last()+1)
		return
	}
	p.sayGoodbye(h)
}

// sayGoodbye frees a host that left by itself.
func (p *pure) sayGoodbye(h *host) {
	p.endSuspicion(h)
	p.count(h, 0)
	p.goodbyesSeen++
	p.free(h)
}

// endSuspicion: a suspect is counted as one no longer.
func (p *pure) endSuspicion(h *host) {
	if h.suspected {
		h.suspected = false
		p.counts.Suspect--
	}
}

// count counts a host by its cadence and 1, or no longer if that is 0.
func (p *pure) count(h *host, counted cadence) {
	if h.counted == counted {
		return
	}
	if h.counted != 0 {
		p.rates.drop(p.effective(h.counted - 1))
	}
	if counted != 0 {
		p.rates.add(p.effective(counted - 1))
	}
	h.counted = counted
}

// free is the last rite.
func (p *pure) free(h *host) {
	p.timing.unlist(h)
	if h.armed.Load() != never {
		p.known--
	}
	p.index.remove(h)
	h.truth.Store(uint64(h.word().in(freed)))
	h.handout = nil
	p.handles.give(h.handle)
	p.inUse--
}

// place arms a living host for a tick and puts its hint there, or earlier if its deadline moved meanwhile.
func (p *pure) place(h *host, due tick) {
	for {
		p.arm(h, due)
		// An announce before this is seen here; one after it sees what was armed.
		w := h.word()
		if !w.alive() || p.lookAt(w) >= due {
			break // any other change of phase is marked by whoever made it
		}
		due = p.lookAt(w)
	}
	p.timing.schedule(h, due)
}

// spare places a due host that is spared until a tick; false if its word changed.
func (p *pure) spare(h *host, w word, until tick) bool {
	p.arm(h, until)
	if h.word() != w {
		return false
	}
	p.timing.schedule(h, until)
	return true
}

// schedule places a host that no announce can change any more.
func (p *pure) schedule(h *host, due tick) {
	p.arm(h, due)
	p.timing.schedule(h, due)
}

func (p *pure) arm(h *host, due tick) {
	if h.armed.Load() == never {
		p.known++
	}
	h.armed.Store(due)
}

// advance moves the manual clock.
func (p *pure) advance(now time.Duration) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.queue)
	p.clock.setManual(int64(now))
	p.counts.WakeUps++
	for {
		p.step()
		if !p.more() {
			return len(p.queue) - before
		}
	}
}

// run observes until it is stopped.
func (p *pure) run(stop <-chan struct{}, m *mailbox) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !p.closed() {
		select {
		case <-stop:
			return
		default:
		}
		p.mu.Lock()
		p.step()
		p.mu.Unlock()
		// Who waits for the lock, to register a host, does not get it from somebody who takes it again at once.
		runtime.Gosched()
		m.fill(p)
		alarm, asleep := p.fallAsleep()
		if !asleep {
			continue
		}
		var fired <-chan time.Time
		if alarm != never {
			timer.Reset(max(p.clock.until(alarm), 0))
			fired = timer.C
		}
		select {
		case <-fired:
		case <-p.wakes:
		case <-stop:
		case <-p.shut:
		}
		p.alarm.Store(0)
	}
}

// fallAsleep declares until when the observer sleeps; false if it must not.
func (p *pure) fallAsleep() (tick, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alarm := p.nextLook()
	p.alarm.Store(alarm)
	// Who marks a host after this sees the alarm.
	if p.more() {
		p.alarm.Store(0)
		return 0, false
	}
	p.counts.WakeUps++
	return alarm, true
}
