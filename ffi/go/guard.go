package hostwheel

import (
	"fmt"
	"time"
)

// GuardKind says what happened to a guard.
type GuardKind int

const (
	// SilenceBegan: no host at all is heard. No host leaves while that lasts.
	SilenceBegan GuardKind = iota + 1
	// SilenceEnded: a host is heard again, or silence has lasted for one host TTL.
	SilenceEnded
	// BrakeBegan: very many hosts leave at once. The brake begins to hold some of them.
	BrakeBegan
	// BrakeEnded: the brake holds no host any more.
	BrakeEnded
	// WasAway: the observer did not look for longer than planned. That time counts against no host.
	WasAway
	// ClockFellBack: the processor's counter cannot be trusted. The native backend stamps announces with the coarse clock for a while.
	ClockFellBack
	// ClockCameBack: announces are stamped with the processor's counter again.
	ClockCameBack
)

// String is the kind's name.
func (k GuardKind) String() string {
	switch k {
	case SilenceBegan:
		return "silence_began"
	case SilenceEnded:
		return "silence_ended"
	case BrakeBegan:
		return "brake_began"
	case BrakeEnded:
		return "brake_ended"
	case WasAway:
		return "away"
	case ClockFellBack:
		return "clock_fell_back"
	case ClockCameBack:
		return "clock_came_back"
	default:
		return "unknown"
	}
}

// GuardEvent tells an operator what a guard does. Times of day in it are wheel time: time since [New], less the time in which
// the observer was away.
type GuardEvent struct {
	Kind GuardKind
	// Since is since when it has been so: since when no host is heard (SilenceBegan); when what ended had begun; when the observer
	// looked last (WasAway).
	Since time.Duration
	// Now is when the event was made.
	Now time.Duration
	// Lasted is how long it has lasted; for WasAway, the time that is not counted.
	Lasted time.Duration
	// Waiting is how many due hosts waited when the event was made.
	Waiting int
}

// String is one line that an operator understands.
func (e GuardEvent) String() string {
	return fmt.Sprintf("guard %v: since %v, for %v; now %v, %d hosts wait", e.Kind, e.Since, e.Lasted, e.Now, e.Waiting)
}

// guardsKept is the most guard events that wait to be told; the oldest ones give way.
const guardsKept = 64

// guardTold is what the backend in Go has told of its guards. Its owner holds the wheel's lock.
type guardTold struct {
	silence    bool
	silenceAt  tick
	silences   uint64
	brake      bool
	brakeSince tick
	waiting    []GuardEvent
}

func (p *pure) tellGuard(kind GuardKind, since, now tick, lasted time.Duration) {
	e := GuardEvent{Kind: kind, Since: sinceOpen(since), Now: sinceOpen(now), Lasted: lasted, Waiting: p.turn()}
	if p.guards.waiting = append(p.guards.waiting, e); len(p.guards.waiting) > guardsKept {
		p.guards.waiting = append(p.guards.waiting[:0], p.guards.waiting[1:]...)
	}
}

// tellOfGuards tells what has changed in this step.
func (p *pure) tellOfGuards(now tick) {
	t, s := &p.guards, &p.silence
	if t.silence && (!s.lasts || s.since != t.silenceAt) {
		t.silence = false
		p.tellGuard(SilenceEnded, t.silenceAt, now, lengthOf(saturatingSub(s.ended, t.silenceAt)))
	}
	if s.starts != t.silences {
		t.silences, t.silence, t.silenceAt = s.starts, s.lasts, s.since
		heard := min(p.clock.heardUntil(), now)
		p.tellGuard(SilenceBegan, heard, now, lengthOf(now-heard))
	}
	switch {
	case !t.brake && p.braking:
		t.brake, t.brakeSince = true, now
		p.tellGuard(BrakeBegan, now, now, 0)
	case t.brake && p.turn() == 0:
		t.brake = false
		p.tellGuard(BrakeEnded, t.brakeSince, now, lengthOf(now-t.brakeSince))
	}
}

func (p *pure) guardsWait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.guards.waiting) > 0
}

func (p *pure) drainGuards() []GuardEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.guards.waiting
	p.guards.waiting = nil
	return events
}
