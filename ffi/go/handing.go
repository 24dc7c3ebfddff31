package hostwheel

import "time"

// take makes a due host a leave, if nothing holds it back; false if its word changed. The caller holds the lock, here and
// wherever it is not taken in this file.
func (p *pure) take(h *host, w word) bool {
	now, interval, grace := p.looker.tick(), p.effective(w.cadence()), p.graceOf(w.cadence())
	until := tick(0)
	if now < p.leavesAt(w)+p.silence.limit+interval+grace {
		due := dueHost{interval: interval, grace: grace, at: p.leavesAt(w)}
		p.silence.ask(now, p.clock.heardUntil(), due, &p.rates, p.eachInterval)
		until = p.silence.sparesUntil(w.last(), interval, grace)
	}
	spared := until > now && !p.silence.lasts
	if (spared || !p.mayTake()) && h.held == 0 {
		h.held = now
	}
	if spared {
		return p.spare(h, w, until)
	}
	if !p.mayTake() {
		p.wait(h)
		return true
	}
	if p.paused() {
		return p.starve(h)
	}
	gone := w.in(taken)
	if !h.swap(w, gone) {
		return false
	}
	p.endSuspicion(h)
	p.count(h, 0)
	p.brake.pass()
	p.counts.Outstanding++
	// Before it is delivered, so that the consumer's next announce of the id makes a new incarnation.
	p.index.remove(h)
	e := p.made(h, gone, LeaveEvent)
	h.handout = &handout{attempt: 1, reason: e.reason}
	if h.held != 0 {
		h.handout.held = saturatingSub(now, max(h.held, p.leavesAt(w)))
		e.held = lengthOf(h.handout.held)
	}
	p.counts.late(max(e.lateness-e.held, 0))
	if e.reason == HostTTL {
		p.counts.LeavesHostTTL++
	} else {
		p.counts.LeavesTTL++
	}
	p.handOut(h, e)
	return true
}

// eachInterval calls f with the last announce and the effective interval of every living host, until f says false.
func (p *pure) eachInterval(f func(last, interval tick) bool) {
	p.index.each(func(h *host) bool {
		w := h.word()
		return !w.alive() || f(w.last(), p.effective(w.cadence()))
	})
}

// wait puts a due host among those that wait for their turn to leave. An announce or a goodbye still finds it there.
func (p *pure) wait(h *host) {
	p.arm(h, p.looker.tick())
	p.timing.unlist(h)
	p.incoming.put(h)
}

// starve puts a host that has something to tell among those that wait for room in the queue.
func (p *pure) starve(h *host) bool {
	p.arm(h, p.looker.tick())
	p.timing.unlist(h)
	p.starved.put(h)
	return true
}

// handOut queues a leave. In the queue it does not age.
func (p *pure) handOut(h *host, e event) {
	p.arm(h, p.looker.tick())
	p.timing.unlist(h)
	h.handout.stage = queued
	p.queue = append(p.queue, e)
}

func (p *pure) visitTaken(h *host) {
	o := h.handout
	switch {
	case o.stage == queued:
	case o.stage == answered:
		p.actOn(h)
	case o.due > p.looker.tick():
		p.schedule(h, o.due)
	case p.paused():
		p.starve(h)
	default:
		o.attempt++
		p.counts.Retries++
		e := p.made(h, h.word(), LeaveEvent)
		e.attempt, e.reason = o.attempt, o.reason
		e.held = lengthOf(o.held)
		p.handOut(h, e)
	}
}

func (p *pure) actOn(h *host) {
	o := h.handout
	if !o.verdict.retry {
		p.counts.Outstanding--
		p.free(h)
		return
	}
	o.stage = retrying
	o.due = p.looker.tick() + backOff(o.attempt, o.verdict.after)
	p.schedule(h, o.due)
}

// backOff is how long after an attempt the next one comes: what was asked for, or 1 s doubling to 60 s.
func backOff(attempt int, asked time.Duration) tick {
	if asked > 0 {
		return ceilTicks(asked)
	}
	return min(tick(1000)<<min(attempt-1, 6), 60_000)
}

func (p *pure) emit(h *host, w word, kind Kind) {
	p.queue = append(p.queue, p.made(h, w, kind))
}

// made is an event of this moment.
func (p *pure) made(h *host, w word, kind Kind) event {
	deadline := p.deadline(w)
	due := deadline
	if kind == LeaveEvent {
		due = p.leavesAt(w)
	}
	e := event{
		kind:     kind,
		reason:   TTL,
		attempt:  1,
		host:     h,
		interval: w.cadence().interval(),
		lastSeen: sinceOpen(w.last()),
		deadline: sinceOpen(deadline),
		now:      sinceOpen(p.looker.tick()),
		away:     p.looker.missedSince(w.last()),
	}
	if w.cadence() == 0 {
		e.reason = HostTTL
	}
	if kind != RecoveredEvent && !h.bornLate {
		e.lateness = p.looker.late(due)
	}
	return e
}

func (p *pure) drain(limit int) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(limit, len(p.queue))
	drained := p.queue[:n:n]
	p.queue = p.queue[n:]
	if len(p.queue) == 0 {
		p.queue = nil
	}
	for _, e := range drained {
		if e.kind == LeaveEvent {
			e.host.handout.stage = out
			e.host.handout.due = p.looker.tick() + p.settleTimeout
			p.schedule(e.host, e.host.handout.due)
		}
	}
	return drained
}

func (p *pure) supersede(e *event) {
	if h := p.find(e.host.id); h != nil && h != e.host {
		e.superseded = true
		p.superseded.Add(1)
	}
}

func (p *pure) told(h *host) {
	p.mu.Lock()
	h.untold--
	p.mu.Unlock()
	p.report(h, 0)
}

func (p *pure) settle(h *host, attempt int, v Verdict) error {
	if p.closed() {
		return ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := h.handout
	switch {
	case o == nil || o.stage == answered && !o.verdict.retry:
		return errNoLeave
	case o.stage != out || o.attempt != attempt:
		return errAttempt
	}
	o.stage, o.verdict = answered, v
	p.report(h, 0)
	return nil
}
